//! Reading a list of many pages to its end, or saying that it could not be: a part of a list must never pass for all of it.

use super::{CallError, encode::lower_camel};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    future::Future,
};

/// A vendor that never ends a list is not asked for ever.
const PAGES: usize = 1000;

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// As the vendor sent them.
    pub rows: Vec<Value>,
    /// Where the next page begins, in the vendor's words; `None` or empty: this was the last.
    pub next: Option<String>,
    /// How many rows all pages have together, where the vendor tells. Where `next` is the vendor's word, that is for people who wait,
    /// and nothing follows from it.
    pub total: Option<u64>,
    /// Whether pages are told by their numbers: see [`Page::numbered`].
    pub is_numbered: bool,
}

impl Page {
    /// One of a list whose pages have numbers, from 1, and `size` rows or less. What is deleted while such a list is read moves a row
    /// from a page that is to come to one that was read already: whoever reads the list ([`all`], [`Walk`]) sees to that.
    pub fn numbered(number: usize, size: usize, rows: Vec<Value>, total: Option<u64>) -> Self {
        let is_last = rows.is_empty() || total.is_none() && rows.len() < size;
        Self { next: (!is_last).then(|| (number + 1).to_string()), rows, total, is_numbered: true }
    }
}

/// The number of the page that begins where [`Page::numbered`] said.
pub fn number(next: Option<&str>) -> usize {
    next.and_then(|next| next.parse().ok()).unwrap_or(1)
}

/// A number of the vendor's that is only shown: as it comes, or as a text; nothing where it is neither.
pub fn total<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// The rows of all pages, keys in lowerCamelCase, each once; or of the first pages that are `enough`. `key` names the
/// rows' id, in lowerCamelCase; `read` gets one page, the first one for `None`.
///
/// A list may start over, since a token was not valid any more: it is read once more from its beginning then. When that
/// fails as well, when rows have no id, and when a list whose pages have numbers does not become steady (see [`Walk`]), the answer
/// is [`CallError::NoAnswer`] and not what there is.
pub async fn all<R: Future<Output = Result<Page, CallError>>>(
    key: &str,
    mut read: impl FnMut(Option<String>) -> R,
    mut enough: impl FnMut(&[Value]) -> bool,
) -> Result<Vec<Value>, CallError> {
    for _ in 0..2 {
        if let Some(rows) = once(key, &mut read, &mut enough).await? {
            return Ok(rows);
        }
    }
    Err(CallError::NoAnswer(
        "the vendor's list starts over and over, so it could not be read to its end".into(),
    ))
}

/// All rows, or nothing for a list that started over.
async fn once<R: Future<Output = Result<Page, CallError>>>(
    key: &str,
    read: &mut impl FnMut(Option<String>) -> R,
    enough: &mut impl FnMut(&[Value]) -> bool,
) -> Result<Option<Vec<Value>>, CallError> {
    let (mut walk, mut rows, mut reading) = (Walk::default(), vec![], 0);
    loop {
        let step = walk.step(key, read).await?;
        // What is there is what the last reading has: something may be gone that one before it had.
        if walk.reading != reading {
            (rows, reading) = (vec![], walk.reading);
        }
        match step {
            Step::Rows(more) => rows.extend(more.into_iter().map(|(row, _)| row)),
            Step::Over => return Ok(None),
            Step::End => return Ok(Some(rows)),
        }
        if !walk.ended && enough(&rows) {
            return Ok(Some(rows));
        }
    }
}

/// How often a list whose pages have numbers is read before its rows are taken for unsteady.
const READINGS: usize = 3;

/// A list that is read page by page, for whom it may be too long to hold. It remembers the ids of what it has given, and no more.
///
/// Where pages have numbers, something that is deleted meanwhile hides another row: then there are fewer rows than the vendor counted,
/// and the list is read again, until all are there or two readings give the same. What of them was not seen before is given then.
#[derive(Debug, Default)]
pub struct Walk {
    /// In which reading each was seen last.
    ids: HashMap<String, usize>,
    tokens: HashSet<String>,
    token: Option<String>,
    /// The first is 1.
    reading: usize,
    /// How many pages, rows, and rows with different ids this reading has had so far.
    pages: usize,
    rows: u64,
    seen: usize,
    /// How many of those the reading before had, too.
    again: usize,
    /// How many rows with different ids the reading before had.
    before: Option<usize>,
    /// The most that the vendor has counted in this reading, if something is to follow from it.
    counted: Option<u64>,
    total: Option<u64>,
    /// Whether this reading has come to its end.
    ended: bool,
    /// Whether it may lack rows all the same.
    may_lack: bool,
}

enum Step {
    /// Those of a page that were on none before it in this reading, and whether they were in no reading before.
    Rows(Vec<(Value, bool)>),
    /// The list has started over.
    Over,
    End,
}

impl Walk {
    /// The rows of the next page that were not on one before, keys in lowerCamelCase; `None`: that was all. A list that starts
    /// over is an error here, since what came of it cannot be taken back.
    pub async fn next<R: Future<Output = Result<Page, CallError>>>(
        &mut self,
        key: &str,
        read: &mut impl FnMut(Option<String>) -> R,
    ) -> Result<Option<Vec<Value>>, CallError> {
        match self.step(key, read).await? {
            Step::Rows(rows) => {
                Ok(Some(rows.into_iter().filter_map(|(row, is_new)| is_new.then_some(row)).collect()))
            }
            Step::Over => {
                Err(CallError::NoAnswer("the vendor's list started over before its end; try again".into()))
            }
            Step::End => Ok(None),
        }
    }

    /// How many rows have been read; from none again where the list is read again.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many there are, as far as the vendor has told.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    async fn step<R: Future<Output = Result<Page, CallError>>>(
        &mut self,
        key: &str,
        read: &mut impl FnMut(Option<String>) -> R,
    ) -> Result<Step, CallError> {
        if self.ended && !self.may_lack {
            return Ok(Step::End);
        }
        if self.ended || self.reading == 0 {
            self.begin()?;
        }
        if self.pages >= PAGES {
            return Err(CallError::NoAnswer(format!(
                "the vendor's list has more than {PAGES} pages, so it was not read to its end"
            )));
        }
        self.pages += 1;
        let page = read(self.token.take()).await?;
        self.rows += page.rows.len() as u64;
        self.total = page.total.or(self.total);
        let (mut rows, empty) = (vec![], page.rows.is_empty());
        for row in page.rows.into_iter().map(lower_camel) {
            let Some(id) = row.get(key).and_then(Value::as_str) else {
                return Err(CallError::NoAnswer(format!("the vendor's list has a row without {key}")));
            };
            let last = self.ids.insert(id.to_owned(), self.reading);
            if last != Some(self.reading) {
                self.again += usize::from(last == Some(self.reading - 1));
                rows.push((row, last.is_none()));
            }
        }
        self.seen += rows.len();
        let (is_known, next) = (rows.is_empty() && !empty, page.next.filter(|next| !next.is_empty()));
        if page.is_numbered {
            self.counted = self.counted.max(page.total);
            self.end_numbered(next, is_known);
            return Ok(Step::Rows(rows));
        }
        match next {
            None => self.ended = true,
            // A filter of the vendor's may leave a page empty, but a token that came before leads round in a circle.
            Some(next) if is_known || !self.tokens.insert(next.clone()) => return Ok(Step::Over),
            next => self.token = next,
        }
        Ok(Step::Rows(rows))
    }

    /// Begins the next reading.
    fn begin(&mut self) -> Result<(), CallError> {
        if self.reading >= READINGS {
            return Err(CallError::NoAnswer(
                "the vendor's list has other rows each time than it says, so it could not be read to its end; try again"
                    .into(),
            ));
        }
        self.before = (self.reading > 0).then_some(self.seen);
        self.reading += 1;
        (self.pages, self.rows, self.seen, self.again, self.counted) = (0, 0, 0, 0, None);
        (self.ended, self.may_lack) = (false, false);
        Ok(())
    }

    /// After a page that has a number. `is_known`: it has rows, and all of them were there before, so that the vendor does not go on.
    fn end_numbered(&mut self, next: Option<String>, is_known: bool) {
        let has_all = self.counted.is_none_or(|counted| self.seen as u64 >= counted);
        let is_end = next.is_none() || self.counted.is_some() && has_all;
        let is_as_before = self.before == Some(self.seen) && self.again == self.seen;
        self.ended = is_end || is_known;
        self.may_lack = !is_end || !has_all && !is_as_before;
        self.token = next.filter(|_| !self.ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{
        cell::Cell,
        future::{self, ready},
        pin::pin,
        task,
    };

    /// A list of numbered pages with two rows, from which something is deleted before some calls.
    fn changing<'a>(
        rows: &[&'a str],
        deletions: &'a [(usize, &'a str)],
        counted: Option<u64>,
        calls: &'a Cell<usize>,
    ) -> impl FnMut(Option<String>) -> future::Ready<Result<Page, CallError>> + 'a {
        let mut rows = rows.to_vec();
        move |next| {
            let number = number(next.as_deref());
            calls.set(calls.get() + 1);
            for (_, gone) in deletions.iter().filter(|(call, _)| *call == calls.get()) {
                rows.retain(|row| row != gone);
            }
            let page = rows.iter().skip((number - 1) * 2).take(2).map(|id| json!({ "Id": id })).collect();
            ready(Ok(Page::numbered(number, 2, page, Some(counted.unwrap_or(rows.len() as u64)))))
        }
    }

    fn text(rows: Vec<Value>) -> String {
        rows.iter().filter_map(|row| row["id"].as_str()).collect()
    }

    fn steps(
        rows: &[&str],
        deletions: &[(usize, &str)],
        counted: Option<u64>,
    ) -> (Result<String, CallError>, usize) {
        let calls = Cell::new(0);
        let done = now(all("id", changing(rows, deletions, counted, &calls), |_| false));
        (done.map(text), calls.get())
    }

    #[test]
    fn a_deletion_between_two_numbered_pages_hides_no_row() {
        let five = ["a", "b", "c", "d", "e"];
        for (rows, deletions, counted, expected, calls) in [
            (&five[..], &[][..], None, "abcde", 3),
            (&five[..4], &[], None, "abcd", 2),
            (&[], &[], None, "", 1),
            // c moves to the first page, which was read.
            (&five, &[(2, "a")], None, "bcde", 5),
            (&five, &[(2, "a"), (5, "b")], None, "cde", 8),
            // The vendor counts what it does not show.
            (&five, &[], Some(7), "abcde", 8),
        ] {
            let (read, count) = steps(rows, deletions, counted);
            assert_eq!((read.as_deref(), count), (Ok(expected), calls), "{deletions:?} {counted:?}");
        }
        let (read, _) = steps(&five, &[(2, "a"), (5, "b"), (7, "c"), (8, "d"), (9, "e")], Some(5));
        assert!(matches!(read, Err(CallError::NoAnswer(_))), "{read:?}");
    }

    #[test]
    fn a_walk_over_numbered_pages_gives_what_a_deletion_moved_and_nothing_twice() {
        let five = ["a", "b", "c", "d", "e"];
        let walked = |deletions: &[(usize, &str)], counted| {
            let (calls, mut walk, mut given) = (Cell::new(0), Walk::default(), vec![]);
            let mut read = changing(&five, deletions, counted, &calls);
            while let Some(rows) = now(walk.next("id", &mut read))? {
                given.push(text(rows));
            }
            Ok::<_, CallError>(given.join("|"))
        };
        for (deletions, counted, expected) in [
            (&[][..], None, "ab|cd|e"),
            // c moves to the first page, which was read: it is seen when that is read again.
            (&[(2, "a")], None, "ab|de||c|"),
            (&[(2, "a"), (5, "b")], None, "ab|de||c||||"),
            // Nothing is held back until the list is known to be whole.
            (&[], Some(7), "ab|cd|e|||||"),
        ] {
            assert_eq!(walked(deletions, counted).as_deref(), Ok(expected), "{deletions:?} {counted:?}");
        }
        let unsteady = walked(&[(2, "a"), (5, "b"), (7, "c"), (8, "d"), (9, "e")], Some(5));
        assert!(matches!(unsteady, Err(CallError::NoAnswer(_))), "{unsteady:?}");
    }

    #[test]
    fn a_vendor_that_repeats_a_numbered_page_is_not_believed() {
        let calls = Cell::new(0);
        let read = |next: Option<String>| {
            calls.set(calls.get() + 1);
            let rows = vec![json!({ "Id": "a" }), json!({ "Id": "b" })];
            ready(Ok(Page::numbered(number(next.as_deref()), 2, rows, Some(9))))
        };
        assert!(matches!(now(all("id", read, |_| false)), Err(CallError::NoAnswer(_))));
        assert_eq!(calls.get(), 6);
    }

    /// Reads what `page` makes of each token, and counts the pages.
    fn list(
        page: impl Fn(usize, Option<&str>) -> (Vec<&'static str>, &'static str),
        most: usize,
    ) -> (Result<Vec<String>, CallError>, usize) {
        let calls = Cell::new(0);
        let read = |token: Option<String>| {
            calls.set(calls.get() + 1);
            let (ids, next) = page(calls.get(), token.as_deref());
            let rows = ids.into_iter().map(|id| json!({ "Id": id })).collect();
            ready(Ok(Page { rows, next: Some(next.into()), ..Page::default() }))
        };
        let done = now(all("id", read, |rows| rows.len() >= most));
        let id = |row: &Value| row["id"].as_str().unwrap_or_default().to_owned();
        (done.map(|rows| rows.iter().map(id).collect()), calls.get())
    }

    /// Nothing here ever waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        match pin!(future).poll(&mut task::Context::from_waker(task::Waker::noop())) {
            task::Poll::Ready(done) => done,
            task::Poll::Pending => panic!("it waits"),
        }
    }

    fn pages(token: Option<&str>) -> (Vec<&'static str>, &'static str) {
        match token {
            Some("2") => (vec!["b", "c"], "3"),
            Some("3") => (vec![], "4"),
            Some("4") => (vec!["d"], ""),
            _ => (vec!["a", "b"], "2"),
        }
    }

    #[test]
    fn all_pages_are_read_and_each_row_is_there_once() {
        let (rows, calls) = list(|_, token| pages(token), usize::MAX);
        assert_eq!((rows.unwrap().concat().as_str(), calls), ("abcd", 4));
        let (rows, calls) = list(|_, token| pages(token), 3);
        assert_eq!((rows.unwrap().concat().as_str(), calls), ("abc", 2), "enough is enough");
    }

    #[test]
    fn a_list_that_starts_over_is_read_once_more() {
        let (rows, calls) = list(|call, token| pages(token.filter(|_| call != 2)), usize::MAX);
        assert_eq!((rows.unwrap().concat().as_str(), calls), ("abcd", 6));
    }

    #[test]
    fn a_part_never_passes_for_the_whole() {
        type Spoilt = fn(usize, Option<&str>) -> (Vec<&'static str>, &'static str);
        let spoilt: [(&str, Spoilt); 3] = [
            ("starts over", |_, _| pages(None)),
            ("goes in a circle", |call, _| (vec![["a", "b", "c", "d"][call % 4]], ["2", "3"][call % 2])),
            ("gives the same token again", |_, _| (vec![], "same")),
        ];
        for (how, page) in spoilt {
            let (rows, calls) = list(page, usize::MAX);
            assert!(matches!(rows, Err(CallError::NoAnswer(_))), "{how}");
            assert!(calls <= 6, "{how}: {calls}");
        }
    }

    #[test]
    fn what_a_vendor_tells_of_all_rows_is_remembered_and_never_believed() {
        let mut walk = Walk::default();
        let mut read = |token: Option<String>| {
            let (id, next, total) =
                if token.is_none() { ("a", Some("2"), Some(9)) } else { ("b", None, None) };
            let rows = vec![json!({ "Id": id }), json!({ "Id": "a" })];
            ready(Ok(Page { rows, next: next.map(Into::into), total, ..Page::default() }))
        };
        for (rows, count) in [(Some(1), 2), (Some(1), 4), (None, 4)] {
            let seen = now(walk.next("id", &mut read)).unwrap();
            assert_eq!((seen.map(|rows| rows.len()), walk.rows(), walk.total()), (rows, count, Some(9)));
        }
        for (value, read) in [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!(-1), None),
            (json!(null), None),
            (json!([]), None),
            (json!("many"), None),
        ] {
            assert_eq!(total(&value).unwrap(), read, "{value}");
        }
    }

    #[test]
    fn a_list_without_an_end_ends() {
        let calls = Cell::new(0);
        let read = |_| {
            calls.set(calls.get() + 1);
            let id = calls.get().to_string();
            ready(Ok(Page { rows: vec![json!({ "Id": id })], next: Some(id), ..Page::default() }))
        };
        assert!(matches!(now(all("id", read, |_| false)), Err(CallError::NoAnswer(_))));
        assert_eq!(calls.get(), PAGES);
        let nameless = |_| ready(Ok(Page { rows: vec![json!({ "Id": null })], ..Page::default() }));
        assert!(matches!(now(all("id", nameless, |_| false)), Err(CallError::NoAnswer(_))));
    }
}
