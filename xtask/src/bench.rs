//! `cargo xtask bench`: what objects cost, measured on a real control plane with simulated vendors that take 5 ms for a call.
//!
//! Wall time says something only beside that of the [`floor`] in the same run: a client that makes the two writes and the
//! vendor call that an object needs, at full concurrency, and nothing else. Counts, CPU time and memory say something alone.

mod floor;
mod lab;
mod quota;
mod reading;
mod report;
mod scenes;
mod store;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::demo::services::OPERATOR;
use crate::error::{Doing, Result};
use crate::{controlplane, kubectl, simulator, workspace};
use report::Report;

/// What the user chose.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A tenth of everything, in two minutes: for a look, not for figures to publish.
    #[arg(long)]
    quick: bool,
    /// Only these parts; may be given several times.
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// Measure this operator instead of the one that is built here, for example an earlier one.
    #[arg(long, value_name = "PROGRAM")]
    operator: Option<PathBuf>,
    /// Measure what the dev profile builds: good for counts and, roughly, memory, and built sooner.
    #[arg(long)]
    dev: bool,
    /// How the floor writes: updates cost the API server least, patches are what the operator makes.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = Writes::Updates)]
    floor: Writes,
    /// Where the figures go as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 1 000 creations and deletions, with and without Events, against the floor.
    Create,
    /// A cold start with 5 000, without Events.
    Crowd,
    /// Objects that are Ready, up to 50 000, of them 5 000 created in a burst: memory, two minutes of nothing, restarts.
    Rest,
    /// Builds under way, and how soon their end shows.
    Builds,
    /// Many accounts, each with a Secret of its own.
    Accounts,
    /// What the floor takes for 5 000, which the parts of 5 000 are then compared with, and not with its 1 000: four minutes, and
    /// only if it is named.
    Floor,
    /// 3 000 creations against the vendor's quota, alone and beside a client that takes half of it: ten minutes, and only if it is
    /// named.
    Quota,
}

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Writes {
    /// Whole.
    Updates,
    /// Only what changes, as JSON patches.
    Patches,
}

impl Options {
    fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.names(part)
    }

    fn names(&self, part: Part) -> bool {
        self.only.contains(&part)
    }

    /// What the programs are built with: as they are published, unless something else is asked for.
    fn profile(&self) -> &'static str {
        if self.dev { "dev" } else { "release" }
    }

    /// A number of objects, or what is left of it for a look.
    fn count(&self, whole: usize) -> usize {
        if self.quick { whole / 10 } else { whole }
    }

    /// How long nothing happens.
    fn rest(&self) -> Duration {
        Duration::from_secs(if self.quick { 20 } else { 120 })
    }
}

/// Runs the command. What was built without optimisation hands over to itself with it: the client's own work must not
/// count for more than the operator's.
pub fn run(options: &Options) -> Result<()> {
    if cfg!(debug_assertions) && !options.dev {
        return hand_over(options.profile());
    }
    controlplane::expect_programs()?;
    kubectl::expect_program()?;
    let given = options.operator.is_some();
    build(options.profile(), if given { &[simulator::PROGRAM] } else { &[OPERATOR, simulator::PROGRAM] })?;
    let mut report = Report::new();
    let runtime = tokio::runtime::Runtime::new().doing(|| "start tokio")?;
    let measured = runtime.block_on(scenes::run(options, &mut report));
    // What was measured until it failed, or was interrupted, is worth having.
    let report = report.finished(measured.is_ok());
    report.write(&workspace::root().join(&options.json))?;
    println!("{report}");
    measured
}

fn hand_over(profile: &str) -> Result<()> {
    build(profile, &["xtask"])?;
    let mut command = std::process::Command::new(workspace::binary_of(profile, "xtask")?);
    command.args(std::env::args_os().skip(1));
    workspace::run(command)
}

fn build(profile: &str, packages: &[&str]) -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--quiet", "--locked", "--profile", profile, "--bins"]);
    build.args(packages.iter().flat_map(|package| ["--package", package]));
    workspace::run(build)
}
