//! `cargo xtask test`: everything that has to be true before a change goes in, in the order of the quickest no. And the
//! proof that takes longer than anybody would wait for each time.

use std::process::Command;
use std::time::Instant;

use crate::error::Result;
use crate::{controlplane, generate, kubectl, tools, workspace};

/// What `cargo xtask test` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only this, which takes up to half an hour: for every kind, create, change and delete an object again and again, each time
    /// with the operator killed at another of its requests, and write docs/reliability.md from what came of it.
    #[arg(long, group = "each_request")]
    kill_points: bool,

    /// Only this, which takes up to half an hour: as with --kill-points, but the operator lives, and the answer
    /// to one of its requests is lost, cut, never given, wrong or a "no". Writes its part of docs/reliability.md.
    #[arg(long, group = "each_request")]
    wrong_answers: bool,

    /// Only this, which takes minutes: for every kind, apply sequences of specs that are made from its schema, and see each
    /// object end where a fresh one with the last spec ends. A sequence that fails is printed as short as it can be made.
    #[arg(long, conflicts_with = "each_request")]
    states: bool,

    /// With these sequences: another number makes others, the same one makes the same.
    #[arg(long, value_name = "NUMBER", default_value_t = 2, requires = "states")]
    seed: u64,

    /// So many sequences for each kind, side by side.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, requires = "states")]
    sequences: usize,

    /// Of these kinds alone, like `AospImage`, or, where it is about each request, `start` for the start of the operator; the rows
    /// of the others stay in the page as they are.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,

    /// So many objects side by side; more need more memory, and processors.
    #[arg(long, value_name = "NUMBER", default_value_t = 24, requires = "each_request")]
    at_once: usize,
}

/// One step: what it is called, and what it does.
type Step = (&'static str, fn() -> Result<()>);

/// The steps. Build and tests name the same targets, so that nothing is compiled twice; the generated files are
/// checked with the operator that the tests ran.
const STEPS: &[Step] = &[
    ("cargo fmt --all --check", || cargo(&["fmt", "--all", "--check"])),
    ("cargo clippy --workspace --all-targets -- -D warnings", || {
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    }),
    ("cargo deny", deny),
    ("cargo test --workspace --no-run", || cargo(&["test", "--workspace", "--no-run"])),
    ("control plane", || controlplane::programs().and(kubectl::kubectl()).map(drop)),
    ("tools", || tools::all().map(drop)),
    ("actionlint", actionlint),
    ("cargo test --workspace", || cargo(&["test", "--workspace"])),
    ("generate --check", || generate::with_built_operator(true)),
];

/// Runs the command: all steps, until one fails. What the steps print is passed on as it is.
pub fn run(options: &Options) -> Result<()> {
    if options.kill_points {
        return at_each_request("killed", options);
    }
    if options.wrong_answers {
        return at_each_request("answered_wrongly", options);
    }
    if options.states {
        return states(options);
    }
    // Without these, minutes of building would end at the control plane.
    controlplane::expect_programs()?;
    kubectl::expect_program()?;
    let started = Instant::now();
    for (number, (name, step)) in STEPS.iter().enumerate() {
        let position = format!("[{}/{}] {name}", number + 1, STEPS.len());
        eprintln!("{position}");
        let begun = Instant::now();
        let done = step();
        let verdict = if done.is_ok() { "ok" } else { "FAILED" };
        eprintln!("{position}: {verdict}, {:.1} s", begun.elapsed().as_secs_f64());
        done?;
    }
    eprintln!("everything passed, {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// A whole matrix, of which [`run`] runs a part.
fn at_each_request(what: &str, options: &Options) -> Result<()> {
    proof(
        &format!("each_request::{what}_at_every_request"),
        &[
            ("EACH_REQUEST_KINDS", options.kinds.join(",")),
            ("EACH_REQUEST_AT_ONCE", options.at_once.to_string()),
        ],
    )
}

/// Sequences of specs, of which [`run`] tries some.
fn states(options: &Options) -> Result<()> {
    proof(
        "states::any_state_to_any_state",
        &[
            ("STATES_KINDS", options.kinds.join(",")),
            ("STATES_SEED", options.seed.to_string()),
            ("STATES", options.sequences.to_string()),
        ],
    )
}

/// One of the tests that take longer than anybody would wait for each time.
fn proof(test: &str, environment: &[(&str, String)]) -> Result<()> {
    controlplane::expect_programs()?;
    let mut command = workspace::cargo();
    command.args(["test", "--test", "proof", "--", "--ignored", "--exact", "--nocapture"]);
    command.arg(format!("proof::{test}"));
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    workspace::run(command)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut command = workspace::cargo();
    command.args(arguments);
    workspace::run(command)
}

/// Checks the workflows that nothing here runs.
fn actionlint() -> Result<()> {
    let mut command = Command::new(tools::actionlint()?);
    command.current_dir(workspace::root());
    workspace::run(command)
}

/// Holds what the project depends on against deny.toml, where cargo-deny is installed. CI looks for advisories too, whose
/// list has to be fetched.
fn deny() -> Result<()> {
    let is_installed = workspace::cargo().args(["deny", "--version"]).output();
    if is_installed.is_ok_and(|output| output.status.success()) {
        return cargo(&["deny", "--workspace", "check", "bans", "licenses", "sources"]);
    }
    eprintln!("cargo-deny is not installed; CI runs it");
    Ok(())
}
