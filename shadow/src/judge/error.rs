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

impl JudgeError {
    /// After a write that failed the store refuses every other: then this is not what went wrong, and one of these
    /// may be.
    pub(super) fn or_cause<C: IntoIterator<Item = Self>>(self, causes: impl FnOnce() -> C) -> Self {
        if !self.is_refusal() {
            return self;
        }
        causes().into_iter().find(|cause| !cause.is_refusal()).unwrap_or(self)
    }

    const fn is_refusal(&self) -> bool {
        matches!(self, Self::Store(StoreError::Broken))
    }
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

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::*;

    fn refusal() -> JudgeError {
        JudgeError::Store(StoreError::Broken)
    }

    fn full() -> JudgeError {
        let source = io::ErrorKind::StorageFull.into();
        JudgeError::Store(StoreError::Io { path: PathBuf::from("log"), source })
    }

    #[track_caller]
    fn check(error: JudgeError, causes: Vec<JudgeError>, told: &JudgeError) {
        assert_eq!(error.or_cause(|| causes).to_string(), told.to_string());
    }

    #[test]
    fn a_refusal_to_write_is_told_as_what_made_the_store_refuse() {
        check(refusal(), vec![full()], &full());
        check(refusal(), vec![refusal(), full()], &full());
        check(refusal(), vec![full(), JudgeError::Panicked], &full());
    }

    #[test]
    fn a_refusal_whose_cause_nobody_knows_stays_one() {
        check(refusal(), vec![], &refusal());
        check(refusal(), vec![refusal()], &refusal());
    }

    #[test]
    fn any_other_error_is_its_own_cause_and_nobody_is_asked() {
        let ended = JudgeError::Ended.or_cause(|| -> Vec<JudgeError> { panic!("nobody is asked") });
        assert_eq!(ended.to_string(), JudgeError::Ended.to_string());
    }
}
