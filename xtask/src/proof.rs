//! `cargo xtask soak`: what random tests find in more time than anybody would wait for each time. It starts a test of the
//! project, a part of which runs in `cargo xtask test`.

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
