//! A verdict: what one block says about one candidate.
//!
//! There are five, because "it agreed" is worth something only where the candidate did its own work
//! in the way that is on trial. What could not be judged, was not exercised, or was opaque is said
//! to be so, and never counted as a match.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};
use storage_snapshot::StateKey;

use crate::Mismatch;

/// What one block says about one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The candidate did its own work, in the way that is on trial, and agrees.
    Match,
    /// The candidate differs.
    Mismatch(Mismatch),
    /// The control cannot be trusted for this block, so nothing is claimed.
    Inconclusive(Inconclusive),
    /// Nothing differs, and that proves nothing.
    NotExercised(NotExercised),
    /// The block holds something that is not executed here.
    Opaque(OpaqueKind),
}

impl Verdict {
    /// The word for it in files, metrics and answers.
    pub const fn word(&self) -> &'static str {
        self.severity().word()
    }

    /// How bad it is.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::Match => Severity::Match,
            Self::Opaque(_) => Severity::Opaque,
            Self::NotExercised(_) => Severity::NotExercised,
            Self::Inconclusive(_) => Severity::Inconclusive,
            Self::Mismatch(_) => Severity::Mismatch,
        }
    }

    /// The worse of two verdicts on one block; of two that are equally bad, the first.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if other.severity() > self.severity() { other } else { self }
    }
}

/// How bad a verdict is, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// [`Verdict::Match`].
    Match,
    /// [`Verdict::Opaque`].
    Opaque,
    /// [`Verdict::NotExercised`].
    NotExercised,
    /// [`Verdict::Inconclusive`].
    Inconclusive,
    /// [`Verdict::Mismatch`].
    Mismatch,
}

impl Severity {
    /// The word for it in files, metrics and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Opaque => "opaque",
            Self::NotExercised => "not_exercised",
            Self::Inconclusive => "inconclusive",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Why the control of a block cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inconclusive {
    /// A value that the block starts from is not known.
    UnknownState(StateKey),
    /// The control did not come to its end.
    ControlFailed(String),
    /// The control breaks a rule that any right execution keeps.
    ControlInvariant(String),
}

impl Inconclusive {
    /// The word for it in files, metrics and answers.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::UnknownState(_) => "unknown_state",
            Self::ControlFailed(_) => "control_failed",
            Self::ControlInvariant(_) => "control_invariant",
        }
    }
}

impl fmt::Display for Inconclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownState(key) => write!(f, "{key} was not known before the block"),
            Self::ControlFailed(message) => write!(f, "the control failed: {message}"),
            Self::ControlInvariant(message) => write!(f, "the control is wrong: {message}"),
        }
    }
}

/// Why an agreement proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotExercised {
    /// No transaction was executed.
    Empty,
    /// One transaction was executed: it could not meet another.
    OneTransaction,
    /// Only one worker was asked for, or took part.
    OneWorker,
    /// In no batch did two lanes run an executed transaction each.
    NoWideBatch,
    /// The candidate fell back to another way, for the reason that it gives.
    Fallback(String),
    /// The result is somebody else's work.
    Delegated,
    /// What the candidate says of how it worked cannot be.
    ImpossibleClaim,
    /// The block is below the size from which the candidate is on trial.
    BelowMinimum,
    /// The candidate is suspended after too many failures.
    Suspended,
    /// The candidate was not asked about this block.
    NotAsked,
}

impl NotExercised {
    /// The word for it in files, metrics and answers.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::OneTransaction => "one_transaction",
            Self::OneWorker => "one_worker",
            Self::NoWideBatch => "no_wide_batch",
            Self::Fallback(_) => "fallback",
            Self::Delegated => "delegated",
            Self::ImpossibleClaim => "impossible_claim",
            Self::BelowMinimum => "below_minimum",
            Self::Suspended => "suspended",
            Self::NotAsked => "not_asked",
        }
    }
}

/// The word for what a block holds that is not executed here, such as `invoke_contract`.
///
/// The words belong to the language of blocks, which is not spoken here; they are few and fixed, so
/// they may be used for counting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpaqueKind(Cow<'static, str>);

impl OpaqueKind {
    /// The kind with this word.
    pub fn new(word: impl Into<Cow<'static, str>>) -> Self {
        Self(word.into())
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OpaqueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
