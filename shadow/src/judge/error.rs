//! Why the judge cannot go on.

use std::fmt;

use comparator::{CompareError, SinkError};
use storage_snapshot::StoreError;

use crate::{evidence::EvidenceError, ledger::LedgerError};

/// Why the judge cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum JudgeError {
    /// The comparison itself could not be made.
    Compare(CompareError),
    /// A block or its verdict could not be written.
    Store(StoreError),
    /// A record could not be kept.
    Sink(SinkError),
    /// The evidence of a mismatch could not be kept.
    Evidence(EvidenceError),
    /// An entry could not be made or read.
    Ledger(LedgerError),
    /// It ended before this; the reason is in what [`Judge::finish`](super::Judge::finish) returns.
    Ended,
    /// It panicked, which is a fault of the verifier and not of a candidate.
    Panicked,
}

impl fmt::Display for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(error) => write!(f, "comparing failed: {error}"),
            Self::Store(error) => write!(f, "writing the state directory failed: {error}"),
            Self::Sink(error) => write!(f, "keeping the record of a mismatch failed: {error}"),
            Self::Evidence(error) => {
                write!(f, "keeping the evidence of a mismatch failed: {error}")
            }
            Self::Ledger(error) => error.fmt(f),
            Self::Ended => f.write_str("judging has ended"),
            Self::Panicked => {
                f.write_str("the judge panicked; this is a fault of Shadow, please report it")
            }
        }
    }
}

impl std::error::Error for JudgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compare(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Sink(error) => Some(error),
            Self::Evidence(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Ended | Self::Panicked => None,
        }
    }
}
