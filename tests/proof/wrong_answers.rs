//! Both proxies lose, delay, repeat, cut and replace answers, by a seed: the same seed does the same to the same requests. The
//! object becomes Ready all the same, one thing is made, and nothing is left of it.

use super::{
    gate::{Chance, Deed},
    life::{Life, Step},
};
use crate::subject;
use cloud_image_operator::kinds::KINDS;
use futures::future::join_all;
use std::env;

/// What a network and what stands in it may do to a call to a vendor.
const TO_VENDORS: &[Deed] = &[
    Deed::NotSent,
    Deed::Lost,
    Deed::Truncated,
    Deed::Delay,
    Deed::Twice,
    Deed::TooMany,
    Deed::Throttled,
    Deed::Error(false),
    Deed::Error(true),
    Deed::BadGateway(false),
    Deed::BadGateway(true),
    Deed::Garbage,
    Deed::Hollow,
];

/// And to one to the API server.
const TO_THE_API_SERVER: &[Deed] = &[
    Deed::NotSent,
    Deed::Lost,
    Deed::Truncated,
    Deed::Delay,
    Deed::Twice,
    Deed::TooMany,
    Deed::Error(false),
    Deed::Error(true),
    Deed::BadGateway(false),
    Deed::BadGateway(true),
    Deed::Garbage,
    Deed::Hollow,
];

/// These make another thing each time that they arrive, so that nobody could know of what a network repeats.
pub const UNREPEATABLE: &[&str] = &["BuildAOSPImage", "ExportImage"];

/// What may happen, by a seed. `silence`: also that nobody ever answers, which takes as long as a request may.
pub fn chance(seed: u64, one_in: u64, most: u32, silence: bool) -> Chance {
    let with = |deeds: &[Deed]| {
        let silence = silence.then_some(Deed::Silence);
        deeds.iter().copied().chain(silence).collect()
    };
    Chance {
        seed,
        one_in,
        most,
        vendor: with(TO_VENDORS),
        api_server: with(TO_THE_API_SERVER),
        unrepeatable: UNREPEATABLE.to_vec(),
    }
}

/// Gives what went wrong.
async fn lives(seeds: impl Iterator<Item = u64> + Clone, most: u32, silence: bool) -> Vec<String> {
    let subjects = subject::all(KINDS);
    let lives = subjects.iter().flat_map(|subject| seeds.clone().map(move |seed| (subject, seed)));
    let lives = lives.map(async |(subject, seed)| {
        let kind = subject.kind.to_lowercase();
        let life = Life::begin(subject, &format!("wrong-{kind}-{seed}"), 1).await;
        let steps = [Step::Create, Step::Change, Step::Delete].map(|step| (step, None)).to_vec();
        let (ended, hits) = life.live(steps, Some(chance(seed, 3, most, silence))).await;
        let what = format!("{} with seed {seed}, {hits:?}", subject.kind);
        let stays = usize::from(subject.kind == "ImageExport");
        let mut failures = vec![];
        for ended in ended {
            match ended.arrived {
                Err(error) => failures.push(format!("{what}, {:?}: {error}", ended.step)),
                Ok(arrived) if arrived.made != 1 => {
                    failures.push(format!("{what}, {:?}: made {}", ended.step, arrived.made));
                }
                Ok(arrived) if ended.step == Step::Delete && arrived.left != stays => {
                    failures.push(format!("{what}: {} left", arrived.left));
                }
                Ok(_) => {}
            }
        }
        if hits.is_empty() {
            failures.push(format!("{what}: nothing happened to it"));
        }
        failures
    });
    join_all(lives).await.concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_answers_make_nothing_twice_and_lose_nothing() {
    let failures = lives(1..=2, 4, false).await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// `WRONG_ANSWERS`: how many seeds, from 1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes many minutes; cargo test --test proof -- --ignored many_wrong_answers"]
async fn many_wrong_answers() {
    let seeds: u64 = env::var("WRONG_ANSWERS").ok().and_then(|number| number.parse().ok()).unwrap_or(8);
    let mut failures = vec![];
    for first in (1..=seeds).step_by(4) {
        failures.extend(lives(first..=seeds.min(first + 3), 6, true).await);
        eprintln!("{} of {seeds} seeds, {} failures", seeds.min(first + 3), failures.len());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
