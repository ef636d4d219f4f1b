//! `cargo xtask picture`: what a command printed, as a picture of a terminal for the README.
//!
//! `(echo '$ kubectl get cloudimages -A'; kubectl get cloudimages -A) | cargo xtask picture docs/kubectl-get.svg`

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Doing, Result};

/// Width of a character and height of a line, in pixels, of the fonts that the picture names.
const CHARACTER: f32 = 7.83;
const LINE: usize = 20;
/// Room around the text.
const MARGIN: usize = 18;

/// Runs the command: standard input becomes a picture at `path`.
pub fn run(path: &Path) -> Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).doing(|| "read standard input")?;
    fs::write(path, terminal(&text)).doing(|| format!("write {}", path.display()))
}

/// The picture: a dark window, prompts in blue, `True` and `Ready` in green.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few hundred pixels"
)]
fn terminal(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let width = (longest as f32 * CHARACTER).ceil() as usize + 2 * MARGIN;
    let height = lines.len() * LINE + 2 * MARGIN;
    let mut rows = String::new();
    for (number, line) in lines.iter().enumerate() {
        let y = MARGIN + number * LINE + LINE * 3 / 4;
        let color = if line.starts_with("$ ") { " fill=\"#7cc4ff\"" } else { "" };
        rows += &format!("<text x=\"{MARGIN}\" y=\"{y}\"{color}>{}</text>\n", colored(line));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         role=\"img\">\n<!-- Made by `cargo xtask picture` of what kubectl printed. -->\n\
         <rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#1b1f27\"/>\n\
         <g font-family=\"ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"13\" \
         fill=\"#d7dce4\" style=\"white-space: pre\">\n{rows}</g>\n</svg>\n"
    )
}

fn colored(line: &str) -> String {
    let safe = line.replace('&', "&amp;").replace('<', "&lt;");
    let mut out = String::new();
    for (number, word) in safe.split(' ').enumerate() {
        // A blank that cannot break is kept by every renderer.
        out += if number > 0 { "\u{a0}" } else { "" };
        out += &match word {
            "True" | "Ready" => format!("<tspan fill=\"#7ee787\">{word}</tspan>"),
            "False" | "Failed" | "Unclear" => format!("<tspan fill=\"#ff7b72\">{word}</tspan>"),
            word => word.to_owned(),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_in_the_picture_and_nothing_in_it_is_markup() {
        let picture = terminal("$ kubectl get x\nNAME   READY\n<a&b>  True\n");
        assert!(picture.contains("$\u{a0}kubectl\u{a0}get\u{a0}x"), "{picture}");
        assert!(
            picture.contains("&lt;a&amp;b>\u{a0}\u{a0}<tspan fill=\"#7ee787\">True</tspan>"),
            "{picture}"
        );
        assert_eq!(picture.matches("<text ").count(), 3);
    }
}
