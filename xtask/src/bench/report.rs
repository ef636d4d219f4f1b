//! The figures, as a table for people and as JSON for programs.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Doing, Result};

/// What was measured so far.
pub(super) struct Report {
    start: Instant,
    rows: Vec<Row>,
    details: serde_json::Map<String, Value>,
}

/// One figure.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<f64>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), rows: vec![], details: serde_json::Map::new() }
    }

    /// Says what is being done, since it takes a while.
    pub(super) fn step(&self, what: &str) {
        eprintln!("{:>6.1} s  {what}", self.start.elapsed().as_secs_f64());
    }

    /// Adds a figure, and that of the floor if it has one.
    pub(super) fn add(
        &mut self,
        what: impl Into<String>,
        unit: &'static str,
        value: f64,
        floor: Option<f64>,
    ) {
        let row = Row { what: what.into(), unit, value, floor };
        eprintln!("{:10}{row}", "");
        self.rows.push(row);
    }

    /// Adds what only the JSON has.
    pub(super) fn detail(&mut self, name: &str, value: impl Serialize) {
        self.details.insert(name.to_owned(), json!(value));
    }

    /// `whole`: all that was to be measured was.
    pub(super) fn finished(mut self, whole: bool) -> Self {
        self.detail("whole", whole);
        self.detail("seconds", self.start.elapsed().as_secs_f64());
        self.detail("cores", thread::available_parallelism().map_or(0, usize::from));
        self
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let json =
            json!({ "version": env!("CARGO_PKG_VERSION"), "figures": self.rows, "details": self.details });
        let text = serde_json::to_string_pretty(&json).doing(|| "write the figures")?;
        fs::write(file, text + "\n").doing(|| format!("write {}", file.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "\n{:<58}{:>16}{:>16}{:>9}", "", "operator", "floor", "ratio")?;
        self.rows.iter().try_for_each(|row| writeln!(out, "{row}"))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: f64| format!("{} {}", digits(value), self.unit);
        write!(out, "{:<58}{:>16}", self.what, shown(self.value))?;
        match self.floor {
            Some(floor) if floor > 0.0 => write!(out, "{:>16}{:>9.2}", shown(floor), self.value / floor),
            Some(floor) => write!(out, "{:>16}", shown(floor)),
            None => Ok(()),
        }
    }
}

/// Three digits that count, no more.
fn digits(value: f64) -> String {
    match value {
        value if value >= 100.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_stands_beside_the_floors() {
        let row = |value, floor| Row { what: "it".into(), unit: "s", value, floor }.to_string();
        let words = |row: String| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(row(12.34, Some(6.17))), "it 12.3 s 6.17 s 2.00");
        assert_eq!(words(row(0.0, Some(0.0))), "it 0 s 0 s");
        assert_eq!(words(row(123.4, None)), "it 123 s");
    }
}
