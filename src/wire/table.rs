//! Tables of vendors' errors: code and a part of the message → class and hint.

use super::Class;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The vendor's code; one that ends in `*` stands for all that begin so.
    pub code: &'static str,
    /// What the message contains, where the code alone does not tell; empty: anything.
    pub part: &'static str,
    /// What sort of "no".
    pub class: Class,
    /// What to do about it, in English and Chinese, with ` / ` in between.
    pub hint: &'static str,
}

/// A row, to be written in a table.
pub const fn row(code: &'static str, part: &'static str, class: Class, hint: &'static str) -> Row {
    Row { code, part, class, hint }
}

/// The first row of a table that fits; rows that ask for more must stand before those that ask for less.
pub fn find(table: &'static [Row], code: &str, message: &str) -> Option<&'static Row> {
    table.iter().find(|row| {
        let named = match row.code.strip_suffix('*') {
            Some(prefix) => code.starts_with(prefix),
            None => row.code == code,
        };
        named && message.contains(row.part)
    })
}

/// What every table must be: each row can be reached, and speaks both languages.
#[cfg(test)]
pub(crate) fn check(table: &'static [Row]) {
    for row in table {
        let message = format!("Something is not valid: {}.", row.part);
        assert_eq!(find(table, &row.code.replace('*', "X"), &message), Some(row), "hidden by an earlier row");
        let (english, chinese) =
            row.hint.split_once(" / ").unwrap_or_else(|| panic!("{} has one language", row.code));
        assert!(english.is_ascii() && !chinese.is_ascii(), "{}", row.code);
    }
}
