//! An observation: what one execution of one block did.
//!
//! It is made once and never changed. Whatever is compared, recorded or shown later is derived from
//! it, so two people who look at one observation cannot come to two verdicts.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use storage_snapshot::{Amount, StateDelta, TxHash};

/// What one execution of one block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// What came out of it, or how it failed.
    pub result: Result<Execution, Failure>,
    /// How long it took. Never part of a verdict.
    pub elapsed: Duration,
    /// What it was asked to run under.
    pub schedule: Schedule,
}

/// What an execution is asked to run under; the same schedule should do the same thing again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// How many workers it may use.
    pub workers: u32,
    /// The seed of everything that it may choose.
    pub seed: u64,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.workers == 1 { "" } else { "s" };
        write!(f, "{} worker{plural}, seed {}", self.workers, self.seed)
    }
}

/// The result of an execution that came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// One entry per transaction. The control's are in block order; those of a candidate may be in
    /// any order and are matched by hash.
    pub outcomes: Vec<Outcome>,
    /// Every key that the block touched, with its value afterwards.
    pub delta: StateDelta,
    /// The sums that belong to the block as a whole.
    pub totals: Totals,
    /// How the work was done. Never compared: it decides what an agreement is worth.
    pub exercise: Exercise,
}

impl Execution {
    /// How many transactions took effect.
    pub fn executed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.status == Status::Executed).count()
    }
}

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The transaction.
    pub hash: TxHash,
    /// Whether it took effect, and if not why.
    pub status: Status,
    /// The fee that was collected for it, in units of the native asset.
    pub fee: Amount,
}

/// In words, without the hash. A reason of hostile origin is not escaped.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.status {
            Status::Executed => f.write_str("executed")?,
            Status::Skipped(reason) => write!(f, "skipped because of {}", reason.text())?,
            Status::Failed(reason) => write!(f, "failed because of {}", reason.text())?,
        }
        write!(f, ", fee {}", self.fee)
    }
}

/// Whether a transaction took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It took effect.
    Executed,
    /// It was passed over and had no effect.
    Skipped(SkipReason),
    /// Its effects broke; what the chain keeps of them stays.
    Failed(FailReason),
}

/// Why a transaction was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// An earlier block executed it.
    AlreadyExecuted,
    /// Its nonce was refused.
    Nonce,
    /// A reason that has no word here, as it was given.
    Other(String),
}

impl SkipReason {
    /// The reason that is spelled like this; no text is refused.
    pub fn from_text(text: &str) -> Self {
        match text {
            "already_executed" => Self::AlreadyExecuted,
            "nonce" => Self::Nonce,
            _ => Self::Other(text.to_owned()),
        }
    }

    /// The reason as it is spelled in files and answers. Of hostile origin for
    /// [`Other`](Self::Other).
    pub fn text(&self) -> &str {
        match self {
            Self::AlreadyExecuted => "already_executed",
            Self::Nonce => "nonce",
            Self::Other(text) => text,
        }
    }

    /// One of a fixed set of words, for counting: `other` whatever the text says.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::AlreadyExecuted => "already_executed",
            Self::Nonce => "nonce",
            Self::Other(_) => "other",
        }
    }
}

/// Why the effects of a transaction broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailReason {
    /// A credit would have gone past 2^64-1.
    CreditOverflow,
    /// A reason that has no word here, as it was given.
    Other(String),
}

impl FailReason {
    /// The reason that is spelled like this; no text is refused.
    pub fn from_text(text: &str) -> Self {
        match text {
            "credit_overflow" => Self::CreditOverflow,
            _ => Self::Other(text.to_owned()),
        }
    }

    /// The reason as it is spelled in files and answers. Of hostile origin for
    /// [`Other`](Self::Other).
    pub fn text(&self) -> &str {
        match self {
            Self::CreditOverflow => "credit_overflow",
            Self::Other(text) => text,
        }
    }

    /// One of a fixed set of words, for counting: `other` whatever the text says.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::CreditOverflow => "credit_overflow",
            Self::Other(_) => "other",
        }
    }
}

/// The sums of a block, in units of the native asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// What executed transactions paid.
    pub fees: Amount,
    /// What this block burned.
    pub burned: Amount,
    /// What the miner was given for the block, fees not included.
    pub miner_reward: Amount,
    /// What the developers were given for the block.
    pub dev_reward: Amount,
}

/// How the work of an execution was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exercise {
    /// How many workers took part.
    pub workers: u32,
    /// Into how many batches the block was cut.
    pub batches: u32,
    /// How many lanes of the widest batch ran at least one executed transaction each.
    pub max_in_flight: u32,
    /// Why the block was not cut into batches at all, where it was not.
    pub fallback: Option<String>,
    /// Whose work it was.
    pub provenance: Provenance,
}

/// Whose work a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The execution's own.
    Independent,
    /// Somebody else's, handed on: that it agrees proves nothing.
    Delegated,
}

/// How an execution failed to come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It answered with an error.
    Error(String),
    /// It ended, or one of its workers did, before there was an answer.
    Crashed(String),
    /// There was no answer in time.
    Hang {
        /// The time that it had.
        budget: Duration,
    },
    /// It answered with something that is not an answer.
    Protocol(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(message) => write!(f, "answered with an error: {message}"),
            Self::Crashed(message) => write!(f, "crashed: {message}"),
            Self::Hang { budget } => write!(f, "gave no answer within {budget:?}"),
            Self::Protocol(message) => write!(f, "gave an answer that is none: {message}"),
        }
    }
}
