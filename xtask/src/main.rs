//! `cargo xtask <command>`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{
    Error, bench, controlplane, demo, docs, generate, image, interrupt, picture, proof, sdk, test, tools,
};

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure what objects cost: time, requests, vendor calls, CPU and memory, against a client that does no more than it must.
    ///
    /// Takes a quarter of an hour on two cores that have nothing else to do, and a minute or two with --quick.
    Bench(bench::Options),
    /// Start only a Kubernetes control plane, print its kubeconfig's path, stay until interrupted.
    ///
    /// It also ends with the shell or script that started it, except under nohup.
    Controlplane,
    /// Start everything (control plane, simulated vendors, operator) and show one sample of every kind becoming Ready.
    Demo(demo::Options),
    /// Build the documentation's site into target/book with mdBook, which is installed into the cache once.
    Docs {
        /// Show it at http://localhost:3000 and build it again when a page changes.
        #[arg(long)]
        serve: bool,
    },
    /// Send arbitrary text, answers, Secrets and URLs through every parser, and arbitrary requests through every signer and the
    /// simulated vendor's own check of it; what fails is shrunk and kept as a case.
    Fuzz(proof::Fuzz),
    /// Rewrite everything that is generated.
    Generate {
        /// Write nothing; show what would change and fail if something would.
        #[arg(long)]
        check: bool,
    },
    /// Build the programs and the container images of them, without a container engine.
    Image(image::Options),
    /// Make a picture of a terminal, for the README, of what a command printed: it comes from standard input.
    Picture {
        /// Where the SVG goes.
        path: PathBuf,
    },
    /// Drive the simulated vendors with the vendors' own SDKs (Python), which are installed into the cache once.
    Sdk(sdk::Options),
    /// Let users of all kinds do what they may at random while everything goes wrong at random, and hold the vendors' ledger
    /// against the objects all the while: nothing may be made twice, lost, or left.
    Soak(proof::Soak),
    /// Run every check and test of the project; what CI runs.
    Test(test::Options),
    /// Build the tools that tests use (Helm, linters, Flux), and print their paths.
    Tools,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The others come to an end by themselves.
    let follow_parent = matches!(arguments.command, Verb::Controlplane | Verb::Demo(_));
    let done = interrupt::catch(follow_parent).and_then(|()| match arguments.command {
        Verb::Bench(options) => bench::run(&options),
        Verb::Controlplane => controlplane::run(),
        Verb::Demo(options) => demo::run(&options),
        Verb::Docs { serve } => docs::run(serve),
        Verb::Fuzz(options) => proof::fuzz(&options),
        Verb::Generate { check } => generate::run(check),
        Verb::Image(options) => image::run(&options),
        Verb::Picture { path } => picture::run(&path),
        Verb::Sdk(options) => sdk::run(&options),
        Verb::Soak(options) => proof::soak(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Tools => tools::run(),
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
