//! How a command ends when it does not end well.

use std::fmt::Display;
use std::process::ExitCode;

/// What stopped a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The user, or whoever runs the command, asked it to end.
    #[error("interrupted")]
    Interrupted,
    /// A program that the command ran ended with this code, after saying itself what is wrong.
    #[error("{program} ended with exit code {code}")]
    Exit {
        /// The program, in words that the user has seen.
        program: String,
        /// Its exit code, handed on as the command's own.
        code: u8,
    },
    /// Anything else, in a sentence that says what to do where something can be done.
    #[error("{0}")]
    Failed(String),
}

/// A result whose error ends the command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The exit code of a command that ended so: 130 is what shells show for an interrupt.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted => ExitCode::from(130),
            Self::Exit { code, .. } => ExitCode::from(*code),
            Self::Failed(_) => ExitCode::FAILURE,
        }
    }
}

/// Says what was being done when a lower layer failed.
pub trait Doing<T> {
    /// Turns the failure into a sentence: `could not <what>: <cause>`.
    fn doing<W: Display>(self, what: impl FnOnce() -> W) -> Result<T>;
}

impl<T, E: Display> Doing<T> for std::result::Result<T, E> {
    fn doing<W: Display>(self, what: impl FnOnce() -> W) -> Result<T> {
        self.map_err(|cause| Error::Failed(format!("could not {}: {cause}", what())))
    }
}
