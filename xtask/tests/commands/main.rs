//! The commands as users run them: what they do, what they say, and that they never outlive their starter.

mod controlplane;
mod demo;
mod missing;
mod processes;

use std::process::Command;

/// `cargo xtask`, without cargo.
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(XTASK);
    command.args(arguments);
    command
}
