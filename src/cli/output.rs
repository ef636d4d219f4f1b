//! How results are printed: as a table for people, or as JSON or YAML for programs. Colours only on a terminal.

use super::Error;
use anstyle::{AnsiColor, Style};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::io::Write;

/// How a result looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For programs and people.
    Yaml,
}

impl Format {
    /// Prints `result`; `table` makes its form for people.
    pub fn print<T: Serialize>(self, result: &T, table: impl FnOnce() -> String) -> Result<(), Error> {
        print(&match self {
            Self::Table => table(),
            Self::Json => serde_json::to_string_pretty(result)? + "\n",
            Self::Yaml => serde_saphyr::to_string(result)?,
        })
    }
}

/// Writes text to standard output; its colours are left out where that is no terminal.
pub fn print(text: &str) -> Result<(), Error> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Tells a person something beside the result, on standard error.
pub fn note(text: &str) {
    // Without anybody to read it there is nobody to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// On its way.
pub const UNDER_WAY: Style = AnsiColor::Yellow.on_default();
/// For a person to mend.
pub const BAD: Style = AnsiColor::Red.on_default();
/// What is there for those who want to know more.
pub const QUIET: Style = Style::new().dimmed();
/// What the eye looks for.
pub const HEADING: Style = Style::new().bold();

/// Text in a style.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns as kubectl prints them. All lines have as many cells as `head`.
pub fn columns(head: &[&str], lines: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    Columns::new(head).more(lines)
}

/// Columns that are printed page by page, below one head.
pub struct Columns<'a> {
    head: Option<&'a [&'a str]>,
    /// How wide each column has been.
    widths: Vec<u16>,
}

/// Between two columns.
const GAP: u16 = 3;

impl<'a> Columns<'a> {
    /// With this head.
    pub fn new(head: &'a [&'a str]) -> Self {
        Self { head: Some(head), widths: vec![] }
    }

    /// The next lines, the first time below the head. No column gets narrower.
    pub fn more(&mut self, lines: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_preset(comfy_table::presets::NOTHING);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        if let Some(head) = self.head.take() {
            table.set_header(head.iter().copied());
        }
        table.add_rows(lines);
        self.widths.resize(self.widths.len().max(table.column_count()), 0);
        let widest = table.column_max_content_widths();
        for ((column, width), widest) in table.column_iter_mut().zip(&mut self.widths).zip(widest) {
            *width = widest.max(*width);
            column.set_padding((0, GAP));
            let width = comfy_table::Width::Fixed(width.saturating_add(GAP));
            column.set_constraint(comfy_table::ColumnConstraint::LowerBoundary(width));
        }
        table.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }
}

/// How long ago something was, in the largest units: `45s`, `3m12s`, `5h`, `9d`.
pub fn ago(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since))
}

/// A time span as [`ago`] shows it; none is negative.
pub fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => format!("{minutes}m{}s", seconds % 60),
        600..7200 => format!("{minutes}m"),
        7200..172_800 => format!("{hours}h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_are_shown_as_kubectl_shows_them() {
        for (seconds, shown) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m0s"),
            (192, "3m12s"),
            (3600, "60m"),
            (7200, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let lines = columns(&["NAME", "PHASE"], [vec!["a-long-name".into(), "Ready".into()]]);
        assert_eq!(lines, ["NAME          PHASE", "a-long-name   Ready"]);
        let mut columns = Columns::new(&["NAME", "PHASE"]);
        let mut more = |name: &str| columns.more([vec![name.into(), "Ready".into()]]);
        assert_eq!(more("a-long-name"), ["NAME          PHASE", "a-long-name   Ready"]);
        assert_eq!(more("short"), ["short         Ready"], "the next page");
        assert_eq!(columns.more([]), [""; 0]);
    }
}
