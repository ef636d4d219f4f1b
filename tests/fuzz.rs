//! Whatever a vendor, a user or a Secret sends: no parser panics, what it lets through is what it says, and what the signers
//! make of any text the simulated vendors, which share no code with them, find in order.
//!
//! A part runs with every test. `cargo xtask fuzz` runs all of it for as long as one likes, with seeds of its own. Inputs that
//! failed are kept in `tests/fuzz/regressions` and tried first.

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/creating.rs"]
mod creating;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/server.rs"]
mod server;

mod fuzz {
    pub mod answers;
    pub mod signers;
    pub mod texts;
    pub mod words;
}

use fuzz::{answers, signers, texts};
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner};
use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

/// Tries inputs, as many and whichever the runner says; gives the smallest that fails and why.
type Target = fn(&mut TestRunner) -> Result<(), String>;

/// Each with its name, and how many inputs the gate tries.
const TARGETS: &[(&str, u32, Target)] = &[
    ("period", 3000, texts::period),
    ("record", 3000, texts::record),
    ("endpoint", 4000, texts::endpoint),
    ("encoding", 2000, texts::encoding),
    ("one-line", 1000, texts::one_line),
    ("normalised", 2000, texts::normalised),
    ("zstack-dates", 2000, texts::zstack_dates),
    ("error-tables", 1000, texts::error_tables),
    ("credentials", 2000, texts::credentials),
    ("ca-bundle", 100, texts::ca_bundle),
    ("proxy", 500, texts::proxy),
    ("accounts", 30, answers::accounts),
    ("objects", 500, answers::objects),
    ("answers-component", 15, answers::component),
    ("answers-copy", 15, answers::copy),
    ("answers-pipeline", 15, answers::pipeline),
    ("answers-build", 15, answers::build),
    ("answers-batchcompute", 8, answers::batch_compute),
    ("answers-aosp", 15, answers::aosp),
    ("answers-export", 15, answers::export),
    ("answers-template", 15, answers::template),
    ("sign-volcengine", 120, signers::volcengine),
    ("sign-aliyun", 120, signers::aliyun),
    ("sign-batchcompute", 120, signers::batch_compute),
    ("sign-zstack", 120, signers::zstack),
];

fn try_inputs(name: &str, target: Target, cases: u32, seed: u64) -> Result<(), String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fuzz/regressions/{name}.txt"));
    let file: &'static str = file.to_string_lossy().into_owned().leak();
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(file))),
        ..Config::default()
    };
    target(&mut TestRunner::new(config)).map_err(|error| format!("{name}, seed {seed}: {error}"))
}

/// The same inputs each time, and all that ever failed.
#[test]
fn a_few_inputs_of_every_target() {
    let failures: Vec<_> = TARGETS
        .iter()
        .filter_map(|(name, cases, target)| {
            let begun = Instant::now();
            let failure = try_inputs(name, *target, *cases, 1).err();
            eprintln!("{name}: {cases} inputs, {:.1} s", begun.elapsed().as_secs_f64());
            failure
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// `cargo xtask fuzz`. `FUZZ_SECONDS` for all targets whose names contain `FUZZ_TARGET`, with inputs by `FUZZ_SEED`.
#[test]
#[ignore = "takes as long as is asked for; cargo xtask fuzz"]
fn fuzz_for_long() {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    let wanted = env::var("FUZZ_TARGET").unwrap_or_default();
    let targets: Vec<_> = TARGETS.iter().filter(|(name, ..)| name.contains(&wanted)).collect();
    assert!(!targets.is_empty(), "no target's name contains {wanted:?}");
    let seconds = number("FUZZ_SECONDS").unwrap_or(300);
    let each = Duration::from_secs(seconds) / u32::try_from(targets.len()).expect("few targets");
    eprintln!(
        "FUZZ_SEED={seed} FUZZ_SECONDS={seconds}: {} targets, {} s each",
        targets.len(),
        each.as_secs()
    );
    let mut failures = vec![];
    for (name, cases, target) in targets {
        let (begun, mut inputs) = (Instant::now(), 0);
        for round in 0.. {
            inputs += u64::from(*cases);
            if let Err(failure) = try_inputs(name, *target, *cases, seed.wrapping_add(round)) {
                eprintln!("{failure}");
                failures.push(failure);
                break;
            }
            if begun.elapsed() >= each {
                break;
            }
        }
        eprintln!("{name}: {inputs} inputs, {:.1} s", begun.elapsed().as_secs_f64());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
