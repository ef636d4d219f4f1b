//! What the kills led to, for everybody to read: `docs/reliability.md`.

use super::{
    gate::{Point, To},
    life::{Step, folder},
    soak,
};
use serde::{Deserialize, Serialize};
use std::{fmt, fs, path::PathBuf};
use xtask::workspace;

/// What came of one kill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cell {
    /// The step was not taken, since an earlier one went wrong.
    NotTaken,
    /// The request was not made this time.
    NotReached,
    /// The object arrived where the undisturbed one did, and so did the vendor.
    #[serde(rename_all = "camelCase")]
    Arrived {
        /// How many things the vendor ever made.
        made: usize,
        /// How many of them are left.
        left: usize,
    },
    /// It did not.
    Failed(String),
}

/// One request, at which the operator was killed twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// A kind, or the start.
    pub group: String,
    /// What was under way.
    pub step: Step,
    /// Who was asked.
    pub to: To,
    /// The request.
    pub point: Point,
    /// Killed before it was forwarded.
    pub before: Cell,
    /// Killed after it took its effect.
    pub after: Cell,
}

/// All rows of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// The kind.
    pub group: String,
    /// In the order of the requests.
    pub rows: Vec<Row>,
}

impl Results {
    /// Keeps them, so that kinds can be run one after the other.
    pub fn keep(&self) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        let file = folder().join(format!("{}.json", self.group.trim_matches(['(', ')']).replace(' ', "-")));
        fs::create_dir_all(folder()).and_then(|()| fs::write(file, text)).expect("the results are written");
    }
}

impl Cell {
    fn show(&self, step: Step) -> String {
        match (self, step) {
            (Self::Arrived { made, left: 0 }, Step::Delete) => format!("✓ gone, made {made}, nothing left"),
            (Self::Arrived { made, .. }, Step::Delete) => format!("✓ gone, made {made}, the file stays"),
            (Self::Arrived { made, .. }, Step::Change) => format!("✓ as changed, made {made}"),
            (Self::Arrived { made, left }, Step::Bump) => {
                format!("✓ the new version, made {made}, {left} left")
            }
            (Self::Arrived { made, .. }, _) => format!("✓ Ready, made {made}"),
            (Self::NotReached, _) => "– not asked this time".into(),
            (Self::NotTaken, _) => "✗ not tried".into(),
            (Self::Failed(why), _) => format!("✗ {}", why.replace('|', "\\|")),
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "## {}\n",
            if self.group.starts_with('(') { "The start of the operator" } else { &self.group }
        )?;
        writeln!(out, "| step | request | killed before it was forwarded | killed after it took effect |")?;
        writeln!(out, "|---|---|---|---|")?;
        for row in &self.rows {
            let to = match row.to {
                To::ApiServer => "",
                To::Vendor => "vendor: ",
            };
            let nth = if row.point.nth > 1 { format!(" ({}.)", row.point.nth) } else { String::new() };
            let (before, after) = (row.before.show(row.step), row.after.show(row.step));
            writeln!(out, "| {} | {to}`{}`{nth} | {before} | {after} |", row.step.word(), row.point.label)?;
        }
        Ok(())
    }
}

const HEAD: &str = "\
# Reliability: killed at every request

Written by `cargo xtask test --kill-points`; do not edit. Anybody can run it.

A proxy stands between the operator and the API server, another one between it and the vendors, and number every
request. For each kind, an object is created, changed and deleted, again and again, and each time the operator's process is
killed (SIGKILL) at another request: once before it is forwarded, and once after it took its effect and before the answer is
passed on. Then the operator is started again. Nobody helps: no annotation, no restart, no edit. The operator has no code for
any of this; it is the program that users run.

A cell is green (✓) only if the object arrives exactly where one arrives that nobody disturbed (phase, conditions, what
the vendor reports), the vendor's ledger holds exactly the same effects (so each thing was made once), and after the deletion
nothing is left. The vendors are simulated ones that keep the real ones' rules, with short builds; `listDelay`, after which a
call whose answer was lost counts as not made, is three seconds here, and nothing but the operator exports
(`ecs.exportedBy: OperatorOnly`; otherwise a person tells whose a task is). `ImageExport` leaves the exported file, which is the user's. A request may not be made each time,
such as the second look at a build (–).

[How it never makes a thing twice](never-twice.md) says why this holds.
";

/// Writes the page from the results of all kinds, if they are there.
pub fn write() {
    let mut all: Vec<Results> = vec![];
    for entry in fs::read_dir(folder()).expect("the results").flatten() {
        if entry.path().extension().is_some_and(|end| end == "json") {
            let text = fs::read_to_string(entry.path()).expect("a result");
            all.push(serde_json::from_str(&text).expect("a result"));
        }
    }
    all.sort_by(|one, other| one.group.cmp(&other.group));
    let cells = || all.iter().flat_map(|results| &results.rows).flat_map(|row| [&row.before, &row.after]);
    let arrived = cells().filter(|cell| matches!(cell, Cell::Arrived { .. })).count();
    let failed = cells().filter(|cell| matches!(cell, Cell::Failed(_) | Cell::NotTaken)).count();
    let not_reached = cells().filter(|cell| matches!(cell, Cell::NotReached)).count();
    let mut page = HEAD.to_owned();
    page += &format!(
        "\n**{arrived} kills survived, {failed} not; {not_reached} requests were not made again.**\n"
    );
    for results in &all {
        page += &format!("\n{results}");
    }
    let (_, others) = parts();
    write_page(&page, &others);
}

/// Where the soak's part of the page begins.
const SOAK: &str = "<!-- soak -->";

const SOAK_HEAD: &str = "\
## The soak

Written by `cargo xtask soak --minutes N --page`. Users of all five kinds create, change, suspend, overwrite, take over and
delete objects at random, in any state, while both proxies lose, delay, repeat, cut and replace answers, the vendors' lists lag,
builds fail and tasks are forgotten, watches end or expire, and the operator is killed, stopped for up to nine seconds, ended and
started again. Every second, what the ledger says lives at the vendors is held against the objects:

- no object has two things;
- what lives is known by its object, or its object said that it is to stay, or an Event says what becomes of it;
- what is Ready lives;
- no object needs a person, unless the vendor's build failed, the vendor calls a clock wrong, or the object names what another
  has.

At the end nothing goes wrong any more, every object settles and is deleted, and nothing may be left. The same seed
(`--seed`) makes the same users, faults and kills; what meets what depends on the machine.
";

/// The kill points' part of the page as it is, and the rest.
fn parts() -> (String, String) {
    let page = fs::read_to_string(file()).unwrap_or_default();
    let (kills, rest) = page.split_once(SOAK).unwrap_or((&page, ""));
    (kills.to_owned(), rest.to_owned())
}

/// Writes what came of a soak to the page.
pub fn write_soak(report: &soak::Report) {
    let mut part = format!("\n\n{SOAK_HEAD}\n");
    let violations = match report.violations.len() {
        0 => "nothing made twice, nothing lost, nobody needed".to_owned(),
        number => format!("{number} violations"),
    };
    let (minutes, users, seed) = (report.seconds / 60, report.users, report.seed);
    part += &format!(
        "**{minutes} minutes, {users} users, seed {seed}: {violations}.**\n\n| | what | how often |\n|---|---|---|\n"
    );
    for (group, rows) in &report.tally {
        for (what, count) in rows {
            part += &format!("| {group} | {what} | {count} |\n");
        }
    }
    for violation in &report.violations {
        part += &format!("\n- ✗ {}\n", violation.replace('|', "\\|"));
    }
    part += BROKEN;
    let (kills, _) = parts();
    write_page(&kills, &part);
}

const BROKEN: &str = "
## Broken on purpose

A proof that cannot fail proves nothing. To try this one, let `first_permit` and `permit` in `src/engine/journal.rs` give the
permit without the write before it (`Ok((object.clone(), Permit(intent)))`), and run both. Done so, the table has red cells: an `AospImage`
whose operator is killed after the vendor was asked to build, or before the answer is stored, is built twice. Within three minutes
the soak finds an image that no object holds. `ImageComponent` stays green, since its token finds the lost call again.
";

fn write_page(kills: &str, rest: &str) {
    let kills = kills.trim_end();
    let rest = if rest.is_empty() { "\n" } else { rest };
    fs::write(file(), format!("{kills}\n\n{SOAK}{rest}")).expect("the page is written");
    eprintln!("wrote {}", file().display());
}

fn file() -> PathBuf {
    workspace::root().join("docs/reliability.md")
}
