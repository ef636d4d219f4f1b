//! The commands as users run them: what they do, what they say, and that they never outlive their starter.

mod controlplane;
mod demo;
mod missing;
mod processes;

use std::process::Command;
use std::sync::{Arc, OnceLock};

use signal_hook::{consts::SIGHUP, flag};
use xtask::interrupt;

/// `cargo xtask`, without cargo.
const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Lets programs that are started from now on hear SIGHUP, also where we ignore it, as under `nohup`: what is ignored is
/// inherited, and what is caught is not.
fn let_hangups_be_heard() {
    static CAUGHT: OnceLock<()> = OnceLock::new();
    CAUGHT.get_or_init(|| {
        if interrupt::hangups_are_ignored().expect("a shell") {
            flag::register(SIGHUP, Arc::default()).expect("a signal that can be caught");
        }
    });
}

fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(XTASK);
    command.args(arguments);
    command
}
