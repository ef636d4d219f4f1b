//! `cargo xtask <command>`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{Error, controlplane, demo, generate, interrupt, test};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start only a Kubernetes control plane, print its kubeconfig's path, stay until interrupted.
    ///
    /// It also ends with the shell or script that started it, except under nohup.
    Controlplane,
    /// Start everything (control plane, simulated vendors, operator) and show one sample of every kind becoming Ready.
    Demo(demo::Options),
    /// Rewrite everything that is generated.
    Generate {
        /// Write nothing; show what would change and fail if something would.
        #[arg(long)]
        check: bool,
    },
    /// Run every check and test of the project; what CI runs.
    Test,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = interrupt::catch().and_then(|()| match arguments.command {
        Verb::Controlplane => controlplane::run(),
        Verb::Demo(options) => demo::run(&options),
        Verb::Generate { check } => generate::run(check),
        Verb::Test => test::run(),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::Exit { .. }) {
                eprintln!("error: {error}");
            }
            error.exit_code()
        }
    }
}
