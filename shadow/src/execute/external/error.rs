//! Why a program cannot be put under test.

use std::fmt;

use super::CommandLine;

/// Why a run cannot begin with a program. Everything else that one does is an observation.
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
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spawn { command, error } => {
                write!(f, "candidate `{command}` cannot be started: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Spawn { error, .. } => Some(error),
        }
    }
}
