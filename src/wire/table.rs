//! Tables of vendors' errors: code and a part of the message → class and hint.

use super::Class;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The vendor's code; one that ends in `*` stands for all that begin so, one that also begins with `*` for all that
    /// contain it.
    pub code: &'static str,
    /// What the message contains, where the code alone does not tell; empty: anything.
    pub part: &'static str,
    /// What sort of "no".
    pub class: Class,
    /// What to do about it, in English and Chinese, with ` / ` in between.
    pub hint: &'static str,
}

impl Row {
    /// Whether the row is about this code, or about what the vendor said instead of one.
    pub fn explains(&self, said: &str) -> bool {
        if self.code.is_empty() { said.contains(self.part) } else { names(self.code, said) }
    }
}

/// A row for a code, to be written in a table.
pub const fn row(code: &'static str, class: Class, hint: &'static str) -> Row {
    row_saying(code, "", class, hint)
}

/// A row for a code with a message that contains `part`.
pub const fn row_saying(code: &'static str, part: &'static str, class: Class, hint: &'static str) -> Row {
    Row { code, part, class, hint }
}

/// Class and hint of the first row that fits, in the order of the tables; rows that ask for more must stand before those
/// that ask for less. An error that no row knows is [`Class::Unlisted`] without a hint.
pub fn lookup(tables: &[&[Row]], code: &str, message: &str) -> (Class, &'static str) {
    let mut rows = tables.iter().copied().flatten();
    let found = rows.find(|row| names(row.code, code) && message.contains(row.part));
    found.map_or((Class::Unlisted, ""), |row| (row.class, row.hint))
}

fn names(pattern: &str, code: &str) -> bool {
    match pattern.strip_suffix('*') {
        None => code == pattern,
        Some(start) => {
            start.strip_prefix('*').map_or_else(|| code.starts_with(start), |part| code.contains(part))
        }
    }
}

/// What every table must be: each row can be reached, and speaks both languages.
#[cfg(test)]
pub(crate) fn check(table: &[Row]) {
    for row in table {
        let message = format!("Something is not valid: {}.", row.part);
        assert_eq!(
            lookup(&[table], &row.code.replace('*', "X"), &message),
            (row.class, row.hint),
            "{} is hidden by an earlier row",
            row.code
        );
        let (english, chinese) =
            row.hint.split_once(" / ").unwrap_or_else(|| panic!("{} has one language", row.code));
        assert!(english.is_ascii() && !chinese.is_ascii(), "{}", row.code);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_row_that_fits_counts() {
        let first = [
            row("Exact", Class::Invalid, "exact"),
            row("Family.*", Class::Quota, "family"),
            row("*Flow*", Class::Throttled, "part"),
            row_saying("Said", "why", Class::Busy, "said"),
        ];
        let second = [row("Said", Class::Conflict, "code"), row("E*", Class::NotFound, "later")];
        for (code, message, hint) in [
            ("Exact", "", "exact"),
            ("Exactly", "", "later"),
            ("Family.A", "", "family"),
            ("Family", "", ""),
            ("AccountFlowLimit", "", "part"),
            ("Flow", "", "part"),
            ("Said", "that is why", "said"),
            ("Said", "", "code"),
            ("Something.New", "", ""),
        ] {
            assert_eq!(lookup(&[&first, &second], code, message).1, hint, "{code}: {message}");
        }
        let (class, _) = lookup(&[&first], "Something.New", "");
        assert!(class == Class::Unlisted && !class.is_final(), "what is not known is never final");
    }
}
