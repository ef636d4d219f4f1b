//! `cloud-image-operator`: arguments, logging and signals; everything else is in the library.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cloud_image_operator::{
    cli, kinds, log,
    run::{self, Options},
    traces::Traces,
};
use std::{ffi::OsStr, io::Write, path::Path, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The system's keeps what was needed for a moment, and more so with each thread.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Kubernetes operator that makes cloud images declarative on Volcengine, Alibaba Cloud and ZStack, and its command line.
#[derive(Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator, with the kubeconfig or in-cluster.
    Run(Options),
    /// Print every CRD as YAML.
    Crds,
    #[command(flatten)]
    Ask(cli::Command),
    #[cfg(debug_assertions)]
    #[command(flatten)]
    Generate(Generate),
}

/// What files of the repository are generated from. What makes that is as large as a kind, so it is not in a release.
#[cfg(debug_assertions)]
#[derive(Subcommand)]
enum Generate {
    /// Print every CRD as YAML, as the code says it.
    #[command(hide = true)]
    Definitions,
    /// Print the README's table of kinds.
    #[command(hide = true)]
    Kinds,
    /// Print the documentation's table of metrics.
    #[command(hide = true)]
    Metrics,
    /// Print what the documentation is generated from, as JSON.
    #[command(hide = true)]
    Docs,
}

fn main() -> ExitCode {
    let name = called_as(std::env::args_os().next().as_deref());
    if name == cli::COMPLETER {
        let words = std::env::args_os().skip(1).collect();
        let answer = cli::completion::answer(arguments(cli::PLUGIN), words);
        return if output(&answer).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let command = match parse(name) {
        Ok(command) => command,
        Err(error) => {
            // Without anybody to read it there is nobody to tell.
            let _ = error.print();
            // 2 is an answer here (see `cli`), and no word for a mistyped command.
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match command {
        Command::Run(options) => operate(options),
        Command::Ask(question) => match ask(question, name) {
            Ok(answer) => return answer.into(),
            Err(error) => Err(error),
        },
        Command::Crds => print_crds(),
        #[cfg(debug_assertions)]
        Command::Generate(what) => generate(&what),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without anybody to read it there is nobody to tell.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The name under which the program was started: as a plugin of kubectl it has others.
fn called_as(program: Option<&OsStr>) -> &'static str {
    let stem = program.and_then(|program| Path::new(program).file_stem());
    let others = [cli::PLUGIN, cli::COMPLETER];
    others.into_iter().find(|name| stem.is_some_and(|stem| stem == *name)).unwrap_or(env!("CARGO_PKG_NAME"))
}

/// What can be typed after this name.
fn arguments(name: &'static str) -> clap::Command {
    let command = Arguments::command().name(name);
    if name != cli::PLUGIN {
        return command.bin_name(name);
    }
    // Nobody runs an operator as a plugin.
    let command = command.mut_subcommand("run", |run| run.hide(true));
    command.bin_name("kubectl cloudimages").about(
        "Cloud images of Volcengine, Alibaba Cloud and ZStack: what an account has, what applying manifests would do, how objects \
         stand.",
    )
}

fn parse(name: &'static str) -> Result<Command, clap::Error> {
    let mut command = arguments(name);
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Arguments::from_arg_matches(&matches).map(|arguments| arguments.command)
}

fn ask(question: cli::Command, name: &str) -> Result<cli::Answer, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(cli::run::<Arguments>(question, name))?)
}

fn print_crds() -> Result<(), Box<dyn std::error::Error>> {
    output(&yaml(&kinds::definitions::all())?)
}

/// YAML documents, one after the other.
fn yaml(objects: &[serde_json::Value]) -> Result<String, Box<dyn std::error::Error>> {
    let mut documents = String::new();
    for object in objects {
        documents += "---\n";
        documents += &serde_saphyr::to_string(object)?;
    }
    Ok(documents)
}

#[cfg(debug_assertions)]
fn generate(what: &Generate) -> Result<(), Box<dyn std::error::Error>> {
    output(&match what {
        Generate::Definitions => {
            let defined = kinds::defined::all().into_iter().map(serde_json::to_value);
            yaml(&defined.collect::<Result<Vec<_>, _>>()?)?
        }
        Generate::Kinds => kinds::defined::table(),
        Generate::Metrics => cloud_image_operator::engine::metrics::Metrics::default().table(),
        Generate::Docs => cloud_image_operator::docs::facts().to_string(),
    })
}

/// A reader that has seen enough and closes the pipe is no error.
fn output(text: &str) -> Result<(), Box<dyn std::error::Error>> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn operate(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // One thread, however many CPUs a machine has: it has time for several hundred objects a second, more than an API server
    // writes; more threads spend a quarter more CPU time on waking each other, and each takes memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let traces = Traces::start(runtime.handle(), |name| std::env::var(name).ok());
    let (traces, untraced) = match traces {
        Ok(traces) => (traces, None),
        Err(why) => (None, Some(why)),
    };
    log::start(options.log_format, traces.as_ref());
    if let Some(why) = untraced {
        tracing::warn!("no traces are sent: {why}");
    }
    let done = runtime.block_on(async {
        let done = run_until_told(options).await;
        if let Some(traces) = traces {
            // This thread sends what is left, so another one waits for that.
            let _ = tokio::task::spawn_blocking(move || traces.end()).await;
        }
        done
    });
    // A name that is being looked up cannot be interrupted, and is not worth waiting for.
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    done
}

async fn run_until_told(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let stop = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop: no new work is taken");
        told.cancel();
    });
    Ok(run::run(options, stop).await?)
}
