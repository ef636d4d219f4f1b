//! The operator is killed at each of its requests: before it is forwarded, and after it took its effect and before the answer
//! is passed on. Started again, it brings the object to where it would have come anyway.

use super::{
    gate::{Deed, Point, To, comes_by_itself, distinct},
    life::{Ended, Life, Plan, Step},
    report::{Cell, Results, Row},
};
use crate::subject::{self, Subject};
use cloud_image_operator::kinds::KINDS;
use futures::future::join_all;
use std::{collections::BTreeMap, env, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};

const DEEDS: [Deed; 2] = [Deed::KillBefore, Deed::KillAfter];

/// What the operator does before it looks after anything is the same for every kind.
const START: (&str, &str) = ("(any kind)", "ImageComponent");

/// The kind whose versions follow each other.
const VERSIONS: (&str, &str) = ("ImageComponent with versionPolicy Bump", "ImageComponent");

/// A kind, or the start.
#[derive(Clone)]
struct Group {
    name: String,
    subject: Subject,
    steps: Vec<Step>,
}

fn groups(names: &str) -> Vec<Group> {
    let subjects = subject::all(KINDS);
    let wanted = |name: &str| names.is_empty() || names.split(',').any(|wanted| wanted == name);
    let kinds = subjects.iter().map(|subject| Group {
        name: subject.kind.clone(),
        subject: subject.clone(),
        steps: vec![Step::Create, Step::Change, Step::Delete],
    });
    let start = subjects.iter().filter(|subject| subject.kind == START.1).map(|subject| Group {
        name: START.0.into(),
        subject: subject.clone(),
        steps: vec![Step::Start, Step::Delete],
    });
    let versions = subjects.iter().filter(|subject| subject.kind == VERSIONS.1).map(|subject| Group {
        name: VERSIONS.0.into(),
        subject: subject.clone(),
        steps: vec![Step::Create, Step::Bump, Step::Delete],
    });
    start
        .chain(kinds)
        .chain(versions)
        .filter(|group| wanted(&group.name) || group.name == START.0 && wanted("start"))
        .collect()
}

impl Group {
    fn namespace(&self, number: usize) -> String {
        let name: String = self.name.to_lowercase().chars().filter(char::is_ascii_alphabetic).collect();
        format!("kill-{name}-{number}")
    }

    async fn live(&self, number: usize, plans: Vec<Plan>) -> Vec<Ended> {
        let life = Life::begin(&self.subject, &self.namespace(number), number).await;
        let plans =
            self.steps.iter().copied().zip(plans.into_iter().chain(std::iter::repeat(None))).collect();
        life.live(plans, None).await.0
    }

    /// The requests of an undisturbed step at which the operator is to be killed.
    fn points(&self, ended: &Ended) -> Vec<Point> {
        let of_kinds = |label: &str| {
            label.starts_with("PATCH ") || label.starts_with("CREATE events") || label.starts_with("UPDATE ")
        };
        let counts = |(to, point): &(To, Point)| match ended.step {
            // The rest is in the kinds' own rows.
            Step::Start => *to == To::ApiServer && !of_kinds(&point.label),
            // That is in the kind's own row.
            Step::Create if self.name == VERSIONS.0 => false,
            _ if self.name == START.0 => false,
            _ => !comes_by_itself(&point.label),
        };
        distinct(ended.seen.iter().filter(|seen| counts(seen)).map(|(_, point)| point.clone()))
    }
}

/// Compares a step with the undisturbed one.
fn judge(ended: &Ended, undisturbed: &Ended) -> Cell {
    let Some(_) = &ended.plan else { return Cell::NotTaken };
    match (&ended.arrived, &undisturbed.arrived) {
        (Err(error), _) => Cell::Failed(error.lines().next().unwrap_or_default().chars().take(300).collect()),
        (Ok(arrived), Ok(expected)) if arrived != expected => {
            Cell::Failed(format!("arrived elsewhere: {}", difference(arrived, expected)))
        }
        _ if !ended.reached => Cell::NotReached,
        (Ok(arrived), _) => Cell::Arrived { made: arrived.made, left: arrived.left },
    }
}

fn difference(arrived: &super::life::Arrived, expected: &super::life::Arrived) -> String {
    let (arrived, expected) = (serde_json::to_value(arrived), serde_json::to_value(expected));
    let (arrived, expected) = (arrived.unwrap_or_default(), expected.unwrap_or_default());
    json_patch::diff(&expected, &arrived).iter().map(|change| format!("{change} ")).collect()
}

/// Lives all lives of some groups, and gives what came of each kill. `choose` says at which requests.
async fn run(groups: Vec<Group>, at_once: usize) -> Vec<Results> {
    let places = Arc::new(Semaphore::new(at_once));
    let undisturbed = groups.iter().map(|group| async {
        let _place = places.acquire().await;
        group.live(0, vec![]).await
    });
    let undisturbed = join_all(undisturbed).await;
    let mut lives = JoinSet::new();
    let mut results = vec![];
    for (group, undisturbed) in groups.iter().zip(undisturbed) {
        for ended in &undisturbed {
            assert!(
                ended.arrived.is_ok(),
                "{} undisturbed, {:?}: {:?}",
                group.name,
                ended.step,
                ended.arrived
            );
        }
        let plans: Vec<Vec<(Point, Deed)>> = undisturbed
            .iter()
            .map(|ended| {
                let points = group.points(ended);
                points.into_iter().flat_map(|point| DEEDS.map(|deed| (point.clone(), deed))).collect()
            })
            .collect();
        let most = plans.iter().map(Vec::len).max().unwrap_or_default();
        eprintln!("{}: {} kills in {most} lives", group.name, plans.iter().map(Vec::len).sum::<usize>());
        let index = results.len();
        results.push(Results { group: group.name.clone(), rows: rows(&group.name, &undisturbed, &plans) });
        for number in 0..most {
            let plans = plans.iter().map(|plans| plans.get(number).cloned()).collect();
            let (group, undisturbed, places) = (group.clone(), undisturbed.clone(), places.clone());
            lives.spawn(async move {
                let _place = places.acquire().await;
                let ended = group.live(number + 1, plans).await;
                let cells: Vec<_> = ended
                    .iter()
                    .zip(&undisturbed)
                    .map(|(ended, undisturbed)| (ended.step, ended.plan.clone(), judge(ended, undisturbed)))
                    .collect();
                (index, number + 1, cells)
            });
        }
    }
    let total = lives.len();
    let mut done = 0;
    while let Some(life) = lives.join_next().await {
        let (index, number, cells) = life.expect("no panic");
        done += 1;
        for (step, plan, cell) in cells {
            let Some((point, deed)) = plan else {
                if let Cell::Failed(error) = cell {
                    eprintln!("{}, life {number}, {}: {error}", results[index].group, step.word());
                }
                continue;
            };
            if let Cell::Failed(error) = &cell {
                eprintln!(
                    "{}, life {number}, {} at {point}, {deed:?}: {error}",
                    results[index].group,
                    step.word()
                );
            }
            let row = results[index].rows.iter_mut().find(|row| row.step == step && row.point == point);
            let row = row.expect("it was planned");
            if deed == Deed::KillBefore { row.before = cell } else { row.after = cell }
        }
        if done % 10 == 0 || done == total {
            eprintln!("{done} of {total} lives");
        }
    }
    results
}

fn rows(group: &str, undisturbed: &[Ended], plans: &[Vec<(Point, Deed)>]) -> Vec<Row> {
    let mut rows = vec![];
    for (ended, plans) in undisturbed.iter().zip(plans) {
        let to: BTreeMap<_, _> = ended.seen.iter().map(|(to, point)| (point, *to)).collect();
        for point in distinct(plans.iter().map(|(point, _)| point.clone())) {
            rows.push(Row {
                group: group.into(),
                step: ended.step,
                to: to[&point],
                point,
                before: Cell::NotTaken,
                after: Cell::NotTaken,
            });
        }
    }
    rows
}

fn failures(results: &[Results]) -> Vec<String> {
    let rows = results.iter().flat_map(|results| &results.rows);
    rows.flat_map(|row| {
        [("before", &row.before), ("after", &row.after)].into_iter().filter_map(
            move |(when, cell)| match cell {
                Cell::Failed(error) => {
                    Some(format!("{} {}, {when} {}: {error}", row.group, row.step.word(), row.point))
                }
                // A life that ended early.
                Cell::NotTaken => {
                    Some(format!("{} {}, {when} {}: not tried", row.group, row.step.word(), row.point))
                }
                _ => None,
            },
        )
    })
    .collect()
}

/// `cargo xtask test --kill-points`. `KILL_POINTS`: of which kinds, all if empty; `KILL_POINTS_AT_ONCE`: how many lives run
/// side by side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour; cargo xtask test --kill-points"]
async fn killed_at_every_request() {
    let names = env::var("KILL_POINTS").unwrap_or_default();
    let at_once = env::var("KILL_POINTS_AT_ONCE").ok().and_then(|number| number.parse().ok()).unwrap_or(16);
    let results = run(groups(&names), at_once).await;
    for results in &results {
        results.keep();
    }
    super::report::write();
    let failures = failures(&results);
    assert!(failures.is_empty(), "{} red cells:\n{}", failures.len(), failures.join("\n"));
}

/// Of each kind, the calls around which it matters most: that which makes the thing and that which deletes it.
pub const AROUND_THE_CALL: &[(&str, &str, &str)] = &[
    ("ImageComponent", "CreateImageComponent", "DeleteImageComponent"),
    ("BatchComputeImage", "POST /images", "DELETE /images/{id}"),
    ("AospImage", "BuildAOSPImage", "DeleteAOSPImage"),
    ("ImageExport", "ExportImage", ""),
    (
        "RootVolumeTemplate",
        "POST /zstack/v1/images/root-volume-templates/from/volumes/{id}",
        "DELETE /zstack/v1/images/{id}",
    ),
];

/// The part of the whole that is always run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_the_creating_and_the_deleting_call() {
    let point = |label: &str| Point { label: label.into(), nth: 1 };
    let is_kind = |group: &Group| group.name != START.0 && group.name != VERSIONS.0;
    let lives = groups("").into_iter().filter(is_kind).flat_map(|group| {
        let (_, creating, deleting) = AROUND_THE_CALL.iter().find(|row| row.0 == group.name).expect("a row");
        DEEDS.map(|deed| (group.clone(), *creating, *deleting, deed))
    });
    let lives = (0..).zip(lives).map(async |(number, (group, creating, deleting, deed))| {
        let plan = |label: &str| (!label.is_empty()).then(|| (point(label), deed));
        let steps = vec![(Step::Create, plan(creating)), (Step::Delete, plan(deleting))];
        let life = Life::begin(&group.subject, &format!("around-{}", group.namespace(number)), 1).await;
        let stays = usize::from(group.name == "ImageExport");
        let (ended, _) = life.live(steps, None).await;
        let wrong = ended.into_iter().filter_map(|ended| {
            let what = format!("{} {} {:?}", group.name, ended.step.word(), ended.plan);
            match ended.arrived {
                Err(error) => Some(format!("{what}: {error}")),
                Ok(_) if ended.plan.is_some() && !ended.reached => Some(format!("{what}: never asked")),
                Ok(arrived) if arrived.made != 1 => Some(format!("{what}: made {}", arrived.made)),
                Ok(arrived) if ended.step == Step::Delete && arrived.left != stays => {
                    Some(format!("{what}: {} left", arrived.left))
                }
                Ok(_) => None,
            }
        });
        wrong.collect::<Vec<_>>()
    });
    let wrong = join_all(lives).await.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
