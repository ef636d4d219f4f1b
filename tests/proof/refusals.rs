//! An API server that refuses all the time: writes with 409, as if somebody else were always quicker, with their effect or without;
//! requests with 429 or 5xx; each watch at its start, and all in the middle, as too old. Each object arrives where one arrives
//! that nobody disturbs, with the same effects at the vendor. That it refuses once, at each request in turn, is `each_request`.

use super::{
    gate::{Cut, Deed, Habit},
    life::{self, Ended, Life, Step},
};
use crate::subject::Subject;
use futures::future::join_all;
use std::time::Duration;
use tokio::time::sleep;

/// How far apart all watches are ended: an operator that reads everything anew comes to rest in between.
const CUTS: Duration = Duration::from_secs(5);

/// What an API server does, and whether it ends all watches besides.
type Weather = (&'static str, Vec<Habit>, bool);

fn is_write(label: &str) -> bool {
    ["PATCH ", "CREATE ", "UPDATE "].iter().any(|verb| label.starts_with(verb))
}

fn is_watch(label: &str) -> bool {
    label.starts_with("WATCH ")
}

/// Of what an operator asks before it looks after anything, it asks only once, and ends without an answer.
fn is_of_work(label: &str) -> bool {
    is_write(label) || is_watch(label) || label.starts_with("LIST ")
}

fn weathers() -> Vec<Weather> {
    vec![
        ("conflicts", vec![(Deed::Conflict, is_write)], false),
        ("conflicts-after", vec![(Deed::ConflictAfter, is_write)], false),
        ("busy", vec![(Deed::TooMany, is_of_work)], false),
        ("failing", vec![(Deed::Error(true), is_of_work)], false),
        ("expired", vec![(Deed::Expired, is_watch)], true),
    ]
}

const STEPS: [Step; 3] = [Step::Create, Step::Change, Step::Delete];

async fn live(subject: &Subject, world: &str, weather: Option<&Weather>) -> Vec<Ended> {
    let name = weather.map_or("none", |weather| weather.0);
    let life = Life::begin(subject, &format!("{world}-{name}-{}", subject.kind.to_lowercase()), 1).await;
    let gate = life.shared_gate();
    gate.adopt(weather.map(|weather| weather.1.clone()).unwrap_or_default());
    let cuts = weather.is_some_and(|weather| weather.2);
    let cutting = async {
        for how in [Cut::Expired, Cut::Gone].into_iter().cycle() {
            sleep(CUTS).await;
            if cuts {
                gate.cut_watches(how);
            }
        }
    };
    tokio::select! {
        lived = life.live(STEPS.map(|step| (step, None)).to_vec(), None) => lived.0,
        () = cutting => vec![],
    }
}

/// Gives what went wrong in `wanted` of all pairs of kind and weather.
async fn compare(world: &str, wanted: impl Fn(usize, usize) -> bool) -> Vec<String> {
    let (subjects, weathers) = (life::subjects(), weathers());
    let lives = subjects.iter().enumerate().map(|(kind, subject)| {
        let (weathers, wanted) = (&weathers, &wanted);
        async move {
            let chosen = weathers.iter().enumerate().filter(|(index, _)| wanted(kind, *index));
            let chosen: Vec<_> = chosen.map(|(_, weather)| weather).collect();
            let lived = join_all(chosen.iter().map(|weather| live(subject, world, Some(weather))));
            let (undisturbed, lived) = tokio::join!(live(subject, world, None), lived);
            let mut failures = vec![];
            for (weather, lived) in chosen.iter().zip(lived) {
                for (step, undisturbed) in undisturbed.iter().enumerate() {
                    let what = format!("{} {}, {}", subject.kind, undisturbed.step.word(), weather.0);
                    match (lived.get(step).map(|ended| &ended.arrived), &undisturbed.arrived) {
                        (Some(Ok(arrived)), Ok(expected)) if arrived == expected => {}
                        (arrived, expected) => {
                            failures.push(format!("{what}: {arrived:#?}, not {expected:#?}"));
                        }
                    }
                }
            }
            failures
        }
    });
    join_all(lives).await.concat()
}

/// Of what is not about conflicts, each kind meets one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_api_server_refuses_once_is_done_once() {
    let failures = compare("refusals", |kind, weather| weather < 2 || weather == 2 + kind % 3).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// All that the API server does, for each kind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo test --test proof -- --ignored every_refusal"]
async fn every_refusal_for_every_kind() {
    let failures = compare("every-refusal", |_, _| true).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
