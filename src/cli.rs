//! The command line for people, as `cloud-image-operator …` and, under the name `kubectl-cloudimages`, as a plugin of
//! kubectl: what image objects are at, and what codes mean. It reads with the rights of whoever calls it and writes nothing.
//!
//! Exit codes: 0 done, 1 it could not be done, 2 it was done and the answer is no ([`Answer::No`]), 3 no answer in time.

mod account;
pub mod completion;
pub mod explain;
pub mod import;
mod manifests;
pub mod objects;
pub mod orphans;
pub mod output;
pub mod plan;
mod progress;
pub mod rules;
pub mod status;
pub mod tree;
mod unmanaged;
pub mod wait;

use clap::{CommandFactory, Subcommand};
use std::process::ExitCode;

/// The command's name as a plugin of kubectl, which finds it by that.
pub const PLUGIN: &str = "kubectl-cloudimages";
/// The name under which kubectl asks what the plugin completes a command line with.
pub const COMPLETER: &str = "kubectl_complete-cloudimages";

/// What people can ask.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print manifests for what an account has and nobody manages: applied, they change nothing at the vendor.
    ///
    /// Each names its image by id, with managementPolicy Observe and deletionPolicy Retain, and with parameters as the vendor
    /// tells them.
    Import(import::Options),
    /// Show where image objects stand: phase, progress, what they wait for, the last Event and the next look.
    Status(status::Options),
    /// Show what the operator made, by its marks at the vendor, and no object stands for; say how to import or delete each.
    ///
    /// Exit codes: 0 there is nothing; 2 there is something.
    Orphans(orphans::Options),
    /// Show what applying manifests would do, reading only: create, adopt, change in place, replace, refused, or nothing.
    ///
    /// Exit codes: 0 nothing to do; 2 something would change, be refused, or wait for a person; 1 it could not be found out.
    Plan(plan::Options),
    /// Wait until image objects are Ready, and say why when one fails.
    ///
    /// Exit codes: 0 all are Ready; 2 one failed, is suspended, or waits for a person; 3 --timeout is over.
    Wait(wait::Options),
    /// Show accounts, the image objects that use them, and what refers to what.
    Tree(tree::Options),
    /// Explain a vendor's error code or a condition's reason: what it means, what the operator does, what you can do.
    Explain(explain::Options),
    /// Print the completion script for a shell. Example: `source <(kubectl-cloudimages completion bash)`
    ///
    /// kubectl completes `kubectl cloudimages` without one, where the program is on the PATH as kubectl_complete-cloudimages too.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What came of a command that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is as asked.
    Yes,
    /// It is not as asked; why was printed.
    No,
    /// Not in the time that was given.
    NotInTime,
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Yes => Self::SUCCESS,
            Answer::No => Self::from(2),
            Answer::NotInTime => Self::from(3),
        }
    }
}

/// Why a command could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kubeconfig, or none that can be used.
    #[error("no way to the API server: {}; give --kubeconfig and --context, or set KUBECONFIG", all(.0))]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server cannot be asked.
    #[error("the API server cannot be asked: {0}")]
    Client(kube::Error),
    /// A list was refused.
    #[error("{what} cannot be read: {}", said(.error))]
    Read {
        /// What was to be read.
        what: String,
        /// What the API server said.
        error: Box<kube::Error>,
    },
    /// A kind that does not exist here.
    #[error("{0:?} is no kind of image; there are {1}")]
    UnknownKind(String, String),
    /// Something that was named is not there.
    #[error("{0} does not exist in {1}")]
    NotFound(String, String),
    /// An account that cannot be used, or a vendor that does not answer.
    #[error("{0}: {1}")]
    Account(String, String),
    /// A file that holds no objects.
    #[error("{0}")]
    Manifest(String),
    /// An argument that means nothing.
    #[error("{0}")]
    Usage(String),
    /// A code that no table has.
    #[error("{0:?} is no code or reason that is known here{1}")]
    UnknownCode(String, String),
    /// Nothing can be written any more.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// A result that has no YAML.
    #[error("the output cannot be written: {0}")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// A result that has no JSON.
    #[error("the output cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// An error with all its causes, each once.
fn all(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text += &format!(": {next}");
        }
        cause = error.source();
    }
    text
}

/// What an API server said, and what a person can do about it.
pub fn said(error: &kube::Error) -> String {
    let text = match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.trim().to_owned(),
        error => all(error),
    };
    let advice = match error {
        kube::Error::Api(status) => match status.code {
            401 => "; log in again, or choose another --context",
            403 => "; ask for that right, or choose another --context",
            404 => {
                "; this cluster does not know the operator's kinds: choose another --context, or install them \
                 (cloud-image-operator crds | kubectl apply --server-side -f -)"
            }
            _ => "",
        },
        _ => "; is it up, and is it the one you mean (--context)?",
    };
    text + advice
}

/// Carries a command out. `Arguments` is the whole command line, for completions; `name` what it was called as.
pub async fn run<Arguments: CommandFactory>(command: Command, name: &str) -> Result<Answer, Error> {
    let done = match command {
        Command::Import(options) => import::run(options).await,
        Command::Orphans(options) => orphans::run(options).await,
        Command::Plan(options) => plan::run(options).await,
        Command::Status(options) => status::run(options).await,
        Command::Wait(options) => wait::run(options).await,
        Command::Tree(options) => tree::run(options).await,
        Command::Explain(options) => explain::run(&options),
        Command::Completion { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Arguments::command(), name, &mut script);
            output::print(&String::from_utf8_lossy(&script)).map(|()| Answer::Yes)
        }
    };
    match done {
        // A reader that has seen enough and closes the pipe is no error.
        Err(Error::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Answer::Yes),
        done => done,
    }
}
