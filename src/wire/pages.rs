//! Reading a list of many pages to its end, or saying that it could not be: a part of a list must never pass for all of it.

use super::{CallError, encode::lower_camel};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::{collections::HashSet, future::Future};

/// A vendor that never ends a list is not asked for ever.
const PAGES: usize = 1000;

/// One page of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// As the vendor sent them.
    pub rows: Vec<Value>,
    /// Where the next page begins, in the vendor's words; `None` or empty: this was the last.
    pub next: Option<String>,
    /// How many rows all pages have together, where the vendor tells: for people who wait, and nothing follows from it.
    pub total: Option<u64>,
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
/// fails as well, and when rows have no id, the answer is [`CallError::NoAnswer`] and not what there is.
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
    let (mut walk, mut rows) = (Walk::default(), vec![]);
    loop {
        match walk.step(key, read).await? {
            Step::Rows(more) => rows.extend(more),
            Step::Over => return Ok(None),
            Step::End => return Ok(Some(rows)),
        }
        if !walk.ended && enough(&rows) {
            return Ok(Some(rows));
        }
    }
}

/// A list that is read page by page, for whom it may be too long to hold. It remembers the ids of what it has given, and no more.
#[derive(Debug, Default)]
pub struct Walk {
    ids: HashSet<String>,
    tokens: HashSet<String>,
    token: Option<String>,
    pages: usize,
    rows: u64,
    total: Option<u64>,
    ended: bool,
}

enum Step {
    Rows(Vec<Value>),
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
            Step::Rows(rows) => Ok(Some(rows)),
            Step::Over => {
                Err(CallError::NoAnswer("the vendor's list started over before its end; try again".into()))
            }
            Step::End => Ok(None),
        }
    }

    /// How many rows have been read.
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
        if self.ended {
            return Ok(Step::End);
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
            if self.ids.insert(id.to_owned()) {
                rows.push(row);
            }
        }
        self.token = page.next.filter(|next| !next.is_empty());
        match &self.token {
            None => self.ended = true,
            // A filter of the vendor's may leave a page empty, but a token that came before leads round in a circle.
            Some(next) if !self.tokens.insert(next.clone()) || rows.is_empty() && !empty => {
                return Ok(Step::Over);
            }
            Some(_) => {}
        }
        Ok(Step::Rows(rows))
    }
}

/// One page of a list whose pages have numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbered {
    /// As the vendor sent them.
    pub rows: Vec<Value>,
    /// How many rows all pages have, where the vendor tells.
    pub total: Option<usize>,
}

/// How often a list whose pages have numbers is read before its rows are taken for unsteady.
const READINGS: usize = 3;

/// The same as [`all`] for a list whose pages have numbers, from 1, and `size` rows or less. What is deleted while it is read
/// moves a row from a page that is to come to one that was read already: then there are fewer rows than the vendor counted, and
/// it is read again, until all are there or two readings give the same.
pub async fn numbered<R: Future<Output = Result<Numbered, CallError>>>(
    key: &str,
    size: usize,
    mut read: impl FnMut(usize) -> R,
    mut enough: impl FnMut(&[Value]) -> bool,
) -> Result<Vec<Value>, CallError> {
    let mut before: Option<HashSet<String>> = None;
    for _ in 0..READINGS {
        let (mut rows, mut ids, mut total, mut ended) = (vec![], HashSet::new(), None, false);
        for number in 1..=PAGES {
            let page = read(number).await?;
            let came = page.rows.len();
            total = total.max(page.total);
            let known = rows.len();
            for row in page.rows.into_iter().map(lower_camel) {
                let Some(id) = row.get(key).and_then(Value::as_str) else {
                    return Err(CallError::NoAnswer(format!("the vendor's list has a row without {key}")));
                };
                if ids.insert(id.to_owned()) {
                    rows.push(row);
                }
            }
            ended = came == 0 || total.map_or(came < size, |total| rows.len() >= total);
            // A page that was there before says that the vendor does not go on.
            if ended || rows.len() == known {
                break;
            }
            if enough(&rows) {
                return Ok(rows);
            }
        }
        let is_all = ended && total.is_none_or(|total| rows.len() >= total);
        if is_all || ended && before.as_ref() == Some(&ids) {
            return Ok(rows);
        }
        before = Some(ids);
    }
    Err(CallError::NoAnswer(
        "the vendor's list has other rows each time than it says, so it could not be read to its end".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::{cell::Cell, future::ready, pin::pin, task};

    /// A list of numbered pages with two rows, from which something is deleted before some calls.
    fn steps(
        rows: &[&str],
        deletions: &[(usize, &str)],
        counted: Option<usize>,
    ) -> (Result<String, CallError>, usize) {
        let rows = std::cell::RefCell::new(rows.to_vec());
        let calls = Cell::new(0);
        let read = |number: usize| {
            calls.set(calls.get() + 1);
            for (_, gone) in deletions.iter().filter(|(call, _)| *call == calls.get()) {
                rows.borrow_mut().retain(|row| row != gone);
            }
            let rows = rows.borrow();
            let page = rows.iter().skip((number - 1) * 2).take(2).map(|id| json!({ "Id": id })).collect();
            ready(Ok(Numbered { rows: page, total: Some(counted.unwrap_or(rows.len())) }))
        };
        let done = now(numbered("id", 2, read, |_| false));
        let text = |rows: Vec<Value>| rows.iter().filter_map(|row| row["id"].as_str()).collect();
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
    fn a_vendor_that_repeats_a_numbered_page_is_not_believed() {
        let calls = Cell::new(0);
        let read = |_| {
            calls.set(calls.get() + 1);
            ready(Ok(Numbered { rows: vec![json!({ "Id": "a" }), json!({ "Id": "b" })], total: Some(9) }))
        };
        assert!(matches!(now(numbered("id", 2, read, |_| false)), Err(CallError::NoAnswer(_))));
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
            ready(Ok(Page { rows, next: Some(next.into()), total: None }))
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
            ready(Ok(Page { rows, next: next.map(Into::into), total }))
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
            ready(Ok(Page { rows: vec![json!({ "Id": id })], next: Some(id), total: None }))
        };
        assert!(matches!(now(all("id", read, |_| false)), Err(CallError::NoAnswer(_))));
        assert_eq!(calls.get(), PAGES);
        let nameless = |_| ready(Ok(Page { rows: vec![json!({ "Id": null })], ..Page::default() }));
        assert!(matches!(now(all("id", nameless, |_| false)), Err(CallError::NoAnswer(_))));
    }
}
