//! What kills and wrong answers led to, for everybody to read: `docs/reliability.md`.

use super::{
    each_request::{Series, Trial},
    gate::{Deed, Point, To},
    life::{Step, folder},
    soak,
};
use serde::{Deserialize, Serialize};
use std::{fs, path::PathBuf};
use xtask::workspace;

/// What came of one deed.
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

/// One request, and all that was done at it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was under way.
    pub step: Step,
    /// Who was asked.
    pub to: To,
    /// The request.
    pub point: Point,
    /// Each deed that fits it, and what came of it.
    pub cells: Vec<(Deed, Cell)>,
}

/// All rows of one kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// What was done at each request.
    pub series: Series,
    /// The kind, or the start.
    pub group: String,
    /// In the order of the requests.
    pub rows: Vec<Row>,
}

impl Results {
    /// Keeps them, for whoever wants to look into them.
    pub fn keep(&self) {
        let text = serde_json::to_string_pretty(self).expect("JSON");
        let group = self.group.trim_matches(['(', ')']).replace(' ', "-");
        let file = folder().join(format!("{}-{group}.json", self.series.word()));
        fs::create_dir_all(folder()).and_then(|()| fs::write(file, text)).expect("the results are written");
    }

    fn title(&self) -> &str {
        if self.group.starts_with('(') { "The start of the operator" } else { &self.group }
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

impl Row {
    fn request(&self) -> String {
        let nth = if self.point.nth > 1 { format!(" ({}.)", self.point.nth) } else { String::new() };
        format!("`{}`{nth}", self.point.label)
    }

    fn of(&self, trial: &Trial) -> Option<&Cell> {
        self.cells.iter().find(|(deed, _)| *deed == trial.deed).map(|(_, cell)| cell)
    }
}

fn heads(trials: &[Trial]) -> String {
    trials.iter().map(|trial| format!(" {} |", trial.name)).collect()
}

/// One table of what the kills led to.
fn kills(results: &Results) -> String {
    let trials = Series::Kills.trials(To::Vendor);
    let mut out = format!("## {}\n\n| step | request |", results.title());
    out += &heads(trials);
    out += &format!("\n|---|---|{}\n", "---|".repeat(trials.len()));
    for row in &results.rows {
        let to = match row.to {
            To::ApiServer => "",
            To::Vendor => "vendor: ",
        };
        out += &format!("| {} | {to}{} |", row.step.word(), row.request());
        for trial in trials {
            out += &format!(" {} |", row.of(trial).map(|cell| cell.show(row.step)).unwrap_or_default());
        }
        out += "\n";
    }
    out
}

/// What the wrong answers led to: two tables with signs, since there are many, and what the red ones mean.
fn answers(results: &Results) -> String {
    let mut out = format!("### {}, answered wrongly\n", results.title());
    for (to, whom) in [(To::Vendor, "the vendor"), (To::ApiServer, "the API server")] {
        let rows: Vec<_> = results.rows.iter().filter(|row| row.to == to).collect();
        if rows.is_empty() {
            continue;
        }
        let trials = Series::Answers.trials(to);
        out += &format!("\n| step | request to {whom} |");
        out += &heads(trials);
        out += &format!("\n|---|---|{}\n", ":-:|".repeat(trials.len()));
        let mut red = String::new();
        for row in rows {
            out += &format!("| {} | {} |", row.step.word(), row.request());
            for trial in trials {
                let sign = match row.of(trial) {
                    None => "",
                    Some(Cell::Arrived { .. }) => "✓",
                    Some(Cell::NotReached) => "–",
                    Some(cell @ (Cell::Failed(_) | Cell::NotTaken)) => {
                        let (step, request) = (row.step.word(), row.request());
                        red += &format!("- {step}, {request}, {}: {}\n", trial.name, cell.show(row.step));
                        "✗"
                    }
                };
                out += &format!(" {sign} |");
            }
            out += "\n";
        }
        if !red.is_empty() {
            out += &format!("\n{red}");
        }
    }
    out
}

const HEAD: &str = "\
# Reliability: killed at every request

Written by `cargo xtask test --kill-points`; do not edit. Anybody can run it, also for one kind alone (`--kind AospImage`), whose
rows then take the place of those here.

A proxy stands between the operator and the API server, another one between it and the vendors, and number every
request. For each kind, an object is created, changed and deleted, again and again, and each time the operator's process is
killed (SIGKILL) at another request: once before it is forwarded, and once after it took its effect and before the answer is
passed on. Then the operator is started again. Nobody helps: no annotation, no restart, no edit. The operator has no code for
any of this; it is the program that users run.

A cell is green (✓) only if the object arrives exactly where one arrives that nobody disturbed (phase, conditions, what
the vendor reports), the vendor's ledger holds exactly the same effects (so each thing was made once), and after the deletion
nothing is left. The vendors are simulated ones that keep the real ones' rules, with short builds; `listDelay`, after which a
call whose answer was lost counts as not made, is three seconds here, and nothing but the operator exports
(`ecs.exportedBy: OperatorOnly`; otherwise a person tells whose a task is). `ImageExport` leaves the exported file, which is the user's. An `ImageDistribution`
has a copy in each of two regions; its change takes one region out, puts another one in and sets a tag of the copy that stays, so
that three copies are made in all, each region's once, and no `AliyunImageCopy` is left. With a `ClusterCloudAccount`, only what
is asked about that is in a table of its own: the rest is in the kind's. A request may not be made each time, such as
the second look at a build (–).

[How it never makes a thing twice](never-twice.md) says why this holds.
";

const ANSWERS_HEAD: &str = "\
## Answered wrongly at every request

Written by `cargo xtask test --wrong-answers`. The same proxies and the same requests, but the operator is not killed: something
is done to the request, or to its answer, at one request in each life. The cells say the same as above: ✓ is where an undisturbed
object arrives, with the same effects in the ledger; – was not asked this time; an empty cell does not fit the request.

| column | what happens |
|---|---|
| refused | it is not forwarded, and the connection ends |
| lost | it takes its effect, and the connection ends without an answer |
| cut | it takes its effect, and the connection ends in the middle of the answer |
| silent | it takes its effect, and no answer ever comes: the operator gives up at its deadline |
| 500 | it takes its effect, and something in between answers 500 |
| a page | it takes its effect, and the answer is 200 with a page of HTML, as of a portal where one logs in |
| `{}` | it takes its effect, and the answer is 200 with an empty object: no \"no\", and nothing else |
| 429 | it is not forwarded, and the answer is 429 |
| 409 | it is not forwarded, and the answer is 409 |
| 409, done | it takes its effect, and the answer is 409 all the same, as after a repetition in between |
| overtaken | just before it, somebody else writes the object that it is about, so that it goes on from an old version |
| 410 | it is not forwarded, and the version that it goes on from is said to be too old |
| twice | a network forwards it twice, and the second answer is passed on. Not for `BuildAOSPImage` and `ExportImage`, of which each makes another thing, so that nobody can know |

An API server that shows an older version of everything is another test: see [the table](never-twice.md#what-the-api-server-may-do).
";

/// Writes a series' part of the page: these results, and the tables of the other kinds as they are there.
pub fn write(series: Series, results: &[Results], groups: &[String]) {
    let mut page = Page::read();
    let part = match series {
        Series::Kills => &mut page.kills,
        Series::Answers => &mut page.answers,
    };
    *part = part_with(series, part, results, groups);
    page.write();
}

/// The part of the page with other results for some of all groups.
fn part_with(series: Series, part: &str, results: &[Results], groups: &[String]) -> String {
    let (head, what, table): (_, _, fn(&Results) -> String) = match series {
        Series::Kills => (HEAD, "kills survived", kills),
        Series::Answers => (ANSWERS_HEAD, "wrong answers survived", answers),
    };
    let mut tables = String::new();
    for group in groups {
        let of_group = Results { series, group: group.clone(), rows: vec![] };
        let heading = table(&of_group).lines().next().unwrap_or_default().to_owned();
        let shown = match results.iter().find(|results| results.group == *group) {
            Some(results) => table(results),
            None => section(part, &heading),
        };
        if !shown.is_empty() {
            tables += &format!("\n{}\n", shown.trim());
        }
    }
    let [arrived, failed, not_reached] = ["✓", "✗", "–"].map(|sign| cells(&tables, sign));
    format!(
        "{head}\n**{arrived} {what}, {failed} not; {not_reached} requests were not made again.**\n{tables}"
    )
}

/// What stands under a heading, with it, until the next one of its level or above.
fn section(part: &str, heading: &str) -> String {
    let is_heading =
        |line: &str| line.starts_with("# ") || line.starts_with("## ") || line.starts_with("### ");
    let mut lines = part.lines().skip_while(|line| *line != heading);
    let first = lines.next().into_iter();
    first.chain(lines.take_while(|line| !is_heading(line))).map(|line| format!("{line}\n")).collect()
}

/// How many cells of tables begin with a sign.
fn cells(tables: &str, sign: &str) -> usize {
    let rows = tables.lines().filter(|line| line.starts_with("| "));
    let cells = rows.flat_map(|row| row.split(" | ").skip(2));
    cells.filter(|cell| cell.trim_start().starts_with(sign)).count()
}

/// Where the part about wrong answers begins.
const ANSWERS: &str = "<!-- wrong answers -->";

/// Where the soak's part of the page begins.
const SOAK: &str = "<!-- soak -->";

const SOAK_HEAD: &str = "\
## The soak

Written by `cargo xtask soak --minutes N --page`. Users of eight kinds and of distributions create, change, suspend, overwrite, take over and
delete objects at random, in any state, while both proxies lose, delay, repeat, cut and replace answers, the vendors' lists lag,
builds fail and tasks are forgotten, and watches end or expire. Of two replicas of the operator, that which leads is killed,
stopped where it is for seconds, or for longer than its Lease lasts, ended and started again, and now and then both are killed;
the next blow comes when one leads again. Every second, what the ledger says lives at the vendors is held against the objects:

- no object has two things;
- what lives is known by its object, or its object said that it is to stay, or an Event says what becomes of it;
- what is Ready lives;
- no object needs a person, unless the vendor's build failed, the vendor calls a clock wrong, or the object names what another
  has.

At the end nothing goes wrong any more, every object settles and is deleted, and nothing may be left. The same seed
(`--seed`) makes the same users, faults and kills; what meets what depends on the machine.
";

/// The page, whose parts are written at different times.
struct Page {
    kills: String,
    answers: String,
    soak: String,
}

impl Page {
    fn read() -> Self {
        let page = fs::read_to_string(file()).unwrap_or_default();
        let (rest, soak) = page.split_once(SOAK).unwrap_or((&page, ""));
        let (kills, answers) = rest.split_once(ANSWERS).unwrap_or((rest, ""));
        Self { kills: kills.into(), answers: answers.into(), soak: soak.into() }
    }

    fn write(&self) {
        let [kills, answers, soak] = [&self.kills, &self.answers, &self.soak].map(|part| part.trim());
        let page = format!("{kills}\n\n{ANSWERS}\n\n{answers}\n\n{SOAK}\n\n{soak}\n");
        fs::write(file(), page).expect("the page is written");
        eprintln!("wrote {}", file().display());
    }
}

/// Writes what came of a soak to the page.
pub fn write_soak(report: &soak::Report) {
    let mut part = format!("{SOAK_HEAD}\n");
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
    Page { soak: part, ..Page::read() }.write();
}

const BROKEN: &str = "
## Broken on purpose

A proof that cannot fail proves nothing. To try this one, let `first_permit` and `permit` in `src/engine/journal.rs` give the
permit without the write before it (`Ok((object.clone(), Permit(intent)))`), and run both, or a part of each that takes two minutes:

- `EACH_REQUEST_KINDS=AospImage EACH_REQUEST_LABEL=BuildAOSPImage EACH_REQUEST_DEEDS=Kill cargo test --test proof -- --ignored some_deeds_at_some_requests`
- `cargo test --test proof whatever_happens_nothing_is_made_twice_and_nothing_is_lost`

Done so, the table has red cells: an `AospImage` whose operator is killed after the vendor was asked to build, or before the answer
is stored, is built twice (`KillAfter at BuildAOSPImage #1`: 2 made, 2 left), and so is an `ImageExport` (`ExportImage`). The soak,
even its 15 seconds that every run of the tests has, finds what no object holds (`leaked: AospImage soak-0-1 is gone, and … lives`).
`ImageComponent` stays green, since its token finds the lost call again.
";

fn file() -> PathBuf {
    workspace::root().join("docs/reliability.md")
}

#[test]
fn other_kinds_keep_their_tables_when_one_is_run_again() {
    let point = |label: &str| Point { label: label.into(), nth: 1 };
    let results = |series, to, group: &str, cells: &[(Deed, Cell)]| {
        let row = Row { step: Step::Create, to, point: point("PATCH things"), cells: cells.to_vec() };
        Results { series, group: group.into(), rows: vec![row] }
    };
    let green = Cell::Arrived { made: 1, left: 1 };
    let red = Cell::Failed("made | twice".into());
    let (groups, to) = (["(any kind)", "A", "A B"].map(String::from), To::ApiServer);
    for (series, before, after) in
        [(Series::Kills, Deed::KillBefore, Deed::KillAfter), (Series::Answers, Deed::Lost, Deed::TooMany)]
    {
        let of = |group: &str, cells: [Cell; 2]| {
            let [one, other] = cells;
            results(series, to, group, &[(before, one), (after, other)])
        };
        let all = [
            of("(any kind)", [green.clone(), Cell::NotReached]),
            of("A", [green.clone(), red.clone()]),
            of("A B", [green.clone(), green.clone()]),
        ];
        let whole = part_with(series, "", &all, &groups);
        assert!(whole.contains("**4 ") && whole.contains(", 1 not; 1 requests"), "{whole}");
        assert_eq!(part_with(series, &whole, &all[1..2], &groups), whole);
        // What was red is not, and a kind that is not there any more goes.
        let again = part_with(series, &whole, &[of("A", [green.clone(), green.clone()])], &groups[..2]);
        assert!(again.contains("**3 ") && again.contains(", 0 not; 1 requests"), "{again}");
        assert!(!again.contains("A B") && again.contains("The start of the operator"), "{again}");
    }
}
