//! `cargo xtask soak` and `cargo xtask fuzz`: what random tests find in more time than anybody would wait for each time. Both
//! start tests of the project; parts of them run in `cargo xtask test`.

use crate::controlplane;
use crate::error::Result;
use crate::workspace;

/// What `cargo xtask soak` takes.
#[derive(Debug, clap::Args)]
pub struct Soak {
    /// For so long users make new objects; then everything settles and is deleted, which takes a minute or two more.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    minutes: u64,

    /// The same users, faults and kills as a run that printed this seed. What meets what depends on the machine.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// So many users side by side.
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    users: u64,

    /// Write the result to docs/reliability.md; it goes to target/soak as JSON in any case.
    #[arg(long)]
    page: bool,
}

/// What `cargo xtask fuzz` takes.
#[derive(Debug, clap::Args)]
pub struct Fuzz {
    /// For so long, divided among the targets.
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    minutes: u64,

    /// Only targets whose names contain this, such as `sign` or `period`.
    #[arg(long, value_name = "TARGET", default_value = "")]
    target: String,

    /// The same inputs as a run that printed this seed.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs the soak.
pub fn soak(options: &Soak) -> Result<()> {
    controlplane::expect_programs()?;
    let mut command = workspace::cargo();
    command.args([
        "test",
        "--test",
        "proof",
        "--",
        "--ignored",
        "--exact",
        "--nocapture",
        "proof::soak::soak",
    ]);
    command.env("SOAK_SECONDS", (options.minutes * 60).to_string());
    command.env("SOAK_USERS", options.users.to_string());
    if let Some(seed) = options.seed {
        command.env("SOAK_SEED", seed.to_string());
    }
    if options.page {
        command.env("SOAK_PAGE", "yes");
    }
    if std::env::var_os("RUST_LOG").is_none() {
        command.env("RUST_LOG", "error");
    }
    workspace::run(command)
}

/// Runs the fuzzing.
pub fn fuzz(options: &Fuzz) -> Result<()> {
    let mut command = workspace::cargo();
    command.args(["test", "--test", "fuzz", "--", "--ignored", "--exact", "--nocapture", "fuzz_for_long"]);
    command.env("FUZZ_SECONDS", (options.minutes * 60).to_string());
    command.env("FUZZ_TARGET", &options.target);
    if let Some(seed) = options.seed {
        command.env("FUZZ_SEED", seed.to_string());
    }
    workspace::run(command)
}
