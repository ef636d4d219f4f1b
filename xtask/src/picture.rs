//! Pictures for the README. `cargo xtask picture`: what a command printed, as a picture of a terminal; the other one, of the
//! dashboard, is made by `cargo xtask generate`.
//!
//! `(echo '$ kubectl get cloudimages -A'; kubectl get cloudimages -A) | cargo xtask picture docs/kubectl-get.svg`

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde_json::Value;

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
    let safe = escaped(line);
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

/// Width of the dashboard's picture, of one of its 24 columns, and height of a panel and of a row's question, in pixels.
const WIDTH: u64 = 1008;
const COLUMN: u64 = 40;
const PANEL: u64 = 92;
const QUESTION: u64 = 34;
/// How many pixels a letter of a description has on average.
const LETTER: u64 = 7;

/// The layout of a Grafana dashboard: each row's question, and below it the panels with what they say. No curves: those are
/// made of what one has.
pub(crate) fn dashboard(dashboard: &Value) -> String {
    let mut y = 62;
    let mut parts = String::new();
    let mut is_first = true;
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        let title = escaped(panel["title"].as_str().unwrap_or_default());
        if panel["type"] == "row" {
            y += if is_first { 0 } else { PANEL + 10 };
            is_first = false;
            parts += &format!("<text x=\"24\" y=\"{}\" class=\"question\">{title}</text>\n", y + 22);
            y += QUESTION;
            continue;
        }
        let grid = |field: &str| panel["gridPos"][field].as_u64().unwrap_or_default();
        let (x, width) = (24 + grid("x") * COLUMN, grid("w") * COLUMN - 8);
        parts +=
            &format!("<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{PANEL}\" class=\"panel\"/>\n");
        parts += &format!("<text x=\"{}\" y=\"{}\" class=\"title\">{title}</text>\n", x + 10, y + 20);
        let description = panel["description"].as_str().unwrap_or_default();
        for (number, line) in (0..).zip(wrapped(description, (width - 20) / LETTER)) {
            let line_y = y + 38 + number * 15;
            parts += &format!("<text x=\"{}\" y=\"{line_y}\">{}</text>\n", x + 10, escaped(&line));
        }
        let shown = escaped(&shown(panel));
        parts += &format!("<text x=\"{}\" y=\"{}\" class=\"unit\">{shown}</text>\n", x + 10, y + PANEL - 9);
    }
    let height = y + PANEL + 24;
    let title = escaped(dashboard["title"].as_str().unwrap_or_default());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\">\n<!-- Written by `cargo xtask generate` from the dashboard; do not edit. -->\n<style>\n\
         text {{ font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #9aa4b2 }}\n\
         .name {{ font-size: 18px; font-weight: 600; fill: #d7dce4 }}\n\
         .question {{ font-size: 15px; font-weight: 600; fill: #7cc4ff }}\n\
         .title {{ font-size: 13px; font-weight: 600; fill: #d7dce4 }}\n\
         .unit {{ font-size: 11px; fill: #7ee787 }}\n\
         .panel {{ fill: #22272f; stroke: #363d48 }}\n</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#1b1f27\"/>\n\
         <text x=\"24\" y=\"36\" class=\"name\">{title}</text>\n\
         <text x=\"{}\" y=\"36\" text-anchor=\"end\">the layout: every question, and the panels that answer it</text>\n\
         {parts}</svg>\n",
        WIDTH - 28
    )
}

/// In what, and for what each, a panel shows its numbers.
fn shown(panel: &Value) -> String {
    let unit = match panel["fieldConfig"]["defaults"]["unit"].as_str() {
        Some("s") => "seconds",
        Some("ops") => "each second",
        Some("percentunit") => "per cent",
        _ => "how many",
    };
    let legend = panel["targets"][0]["legendFormat"].as_str().unwrap_or_default();
    let labels: Vec<_> =
        legend.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim())).collect();
    if labels.is_empty() { unit.to_owned() } else { format!("{unit}, by {}", labels.join(", ")) }
}

/// A text in lines of at most so many letters, unless a word is longer.
fn wrapped(text: &str, most: u64) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if (line.chars().count() as u64 + word.chars().count() as u64) < most => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_is_drawn_as_it_is_laid_out() {
        let json = serde_json::json!({ "title": "All & more", "panels": [
            { "type": "row", "title": "Does it work?" },
            { "type": "stat", "title": "Leaders", "description": "One of them leads.", "gridPos": { "x": 0, "w": 6 },
              "fieldConfig": { "defaults": { "unit": "none" } }, "targets": [{ "legendFormat": "leaders" }] },
            { "type": "timeseries", "title": "Calls", "description": "many words ".repeat(8), "gridPos": { "x": 6, "w": 6 },
              "fieldConfig": { "defaults": { "unit": "ops" } }, "targets": [{ "legendFormat": "{{vendor}} {{ action }}" }] },
            { "type": "row", "title": "Are we slow?" },
        ] });
        let picture = dashboard(&json);
        for text in [
            ">All &amp; more<",
            ">Does it work?<",
            ">Leaders<",
            ">how many<",
            ">each second, by vendor, action<",
        ] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
        assert_eq!(picture.matches("class=\"panel\"").count(), 2);
        assert_eq!(picture.matches("words").count(), 8);
        let of = |text: &str| {
            let (before, _) = picture.split_once(text).unwrap();
            let (_, y) = before.rsplit_once("y=\"").unwrap();
            y.split('"').next().unwrap().parse::<u64>().unwrap()
        };
        assert!(
            of(">Does it work?<") < of(">Leaders<") && of(">Leaders<") + PANEL < of(">Are we slow?<") + 20
        );
    }

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
