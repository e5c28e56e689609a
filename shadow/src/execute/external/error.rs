//! Why a program cannot be put under test.

use std::fmt;

use comparator::Failure;

use super::CommandLine;

/// Why a run cannot begin with a program. Once it has begun, the same is an observation.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The operating system does not start it.
    Spawn {
        /// What was to be started.
        command: CommandLine,
        /// Why it was not.
        error: std::io::Error,
    },
    /// It was started, and did not say who it is.
    Initialize {
        /// What was started.
        command: CommandLine,
        /// What it did instead.
        failure: Failure,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn { command, error } => {
                write!(f, "candidate `{command}` cannot be started: {error}")
            }
            Self::Initialize { command, failure } => write!(
                f,
                "candidate `{command}` does not answer as the candidate protocol says; asked to \
                 initialize, it {failure}"
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn { error, .. } => Some(error),
            Self::Initialize { .. } => None,
        }
    }
}
