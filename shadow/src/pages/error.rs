//! Why there is no page.

use std::{fmt, io};

use axum::http::StatusCode;

use crate::{evidence::EvidenceError, ledger::LedgerError};

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    /// Nothing has that address.
    Nothing(&'static str),
    /// The address makes no sense.
    Address(String),
    /// The ledger cannot be read.
    Ledger(LedgerError),
    /// Evidence cannot be read.
    Evidence(EvidenceError),
    /// A file cannot be read.
    Io(io::Error),
    /// Whoever was to make it did not come back.
    Lost,
}

impl PageError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Nothing(_) => StatusCode::NOT_FOUND,
            Self::Address(_) => StatusCode::BAD_REQUEST,
            Self::Ledger(_) | Self::Evidence(_) | Self::Io(_) | Self::Lost => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(what) => write!(f, "there is no such {what}"),
            Self::Address(why) => write!(f, "the address makes no sense: {why}"),
            Self::Ledger(error) => error.fmt(f),
            Self::Evidence(error) => error.fmt(f),
            Self::Io(error) => write!(f, "a file cannot be read: {error}"),
            Self::Lost => f.write_str("making the page failed; the log says why"),
        }
    }
}

impl std::error::Error for PageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Ledger(error) => Some(error),
            Self::Evidence(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Nothing(_) | Self::Address(_) | Self::Lost => None,
        }
    }
}

impl From<LedgerError> for PageError {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

impl From<EvidenceError> for PageError {
    fn from(error: EvidenceError) -> Self {
        Self::Evidence(error)
    }
}

impl From<io::Error> for PageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
