//! Shows how a file would change, in the few lines that a person wants to see first.

use std::fmt::Write;
use std::path::Path;

/// How many lines of one file are shown on each side.
const SHOWN: usize = 12;

/// How many unchanged lines stand before and after.
const CONTEXT: usize = 2;

/// The difference of one file in the manner of `diff -u`, as a single block: everything from the first line that
/// differs to the last. Missing content means that there is no such file.
pub(super) fn show(path: &Path, old: Option<&str>, new: Option<&str>) -> String {
    let side = |prefix: &str, text: Option<&str>| match text {
        Some(_) => format!("{prefix}/{}", path.display()),
        None => "/dev/null".to_owned(),
    };
    let mut shown = format!("--- {}\n+++ {}\n", side("a", old), side("b", new));
    let old: Vec<&str> = old.unwrap_or_default().lines().collect();
    let new: Vec<&str> = new.unwrap_or_default().lines().collect();
    let start = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - start; // the end must not overlap the start
    let end = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();

    let before = &old[start.saturating_sub(CONTEXT)..start];
    let after = &old[old.len() - end..(old.len() - end + CONTEXT).min(old.len())];
    let _ = writeln!(shown, "@@ line {} @@", start + 1); // writing to a String cannot fail
    lines(&mut shown, ' ', before);
    lines(&mut shown, '-', &old[start..old.len() - end]);
    lines(&mut shown, '+', &new[start..new.len() - end]);
    lines(&mut shown, ' ', after);
    shown
}

fn lines(shown: &mut String, sign: char, lines: &[&str]) {
    for line in lines.iter().take(SHOWN) {
        let _ = writeln!(shown, "{sign}{line}");
    }
    if lines.len() > SHOWN {
        let _ = writeln!(shown, "{sign}... and {} more lines", lines.len() - SHOWN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> String {
        show(Path::new("f"), Some(old), Some(new))
    }

    #[test]
    fn only_what_differs_is_shown_with_its_surroundings() {
        assert_eq!(
            shown("1\n2\n3\n4\n5\n6\n", "1\n2\n3\nfour\n5\n6\n"),
            "--- a/f\n+++ b/f\n@@ line 4 @@\n 2\n 3\n-4\n+four\n 5\n 6\n"
        );
    }

    #[test]
    fn repeated_lines_do_not_count_twice() {
        assert_eq!(shown("a\na\n", "a\na\na\n"), "--- a/f\n+++ b/f\n@@ line 3 @@\n a\n a\n+a\n");
        assert_eq!(shown("a\na\na\n", "a\n"), "--- a/f\n+++ b/f\n@@ line 2 @@\n a\n-a\n-a\n");
    }

    #[test]
    fn new_and_deleted_files_have_an_empty_side() {
        assert_eq!(show(Path::new("f"), None, Some("x\n")), "--- /dev/null\n+++ b/f\n@@ line 1 @@\n+x\n");
        assert_eq!(show(Path::new("f"), Some("x\n"), None), "--- a/f\n+++ /dev/null\n@@ line 1 @@\n-x\n");
    }

    #[test]
    fn long_differences_are_cut() {
        let long = "x\n".repeat(SHOWN + 3);
        assert!(show(Path::new("f"), None, Some(&long)).ends_with("+x\n+... and 3 more lines\n"));
    }
}
