//! The summary object, read back: what a report shows of it, whether of a run of this process or of
//! another one.

use std::collections::BTreeMap;

use comparator::Field;
use serde::Deserialize;

use crate::{
    ledger::{FirstMismatch, ReOrderCounts, TransactionCounts},
    node::NodeCounts,
};

/// What a summary object says.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) rules: String,
    pub(crate) verdict: Word,
    pub(crate) blocks: Blocks,
    pub(crate) transactions: TransactionCounts,
    pub(crate) node_check: NodeCounts,
    pub(crate) mismatches: Mismatches,
    pub(crate) accepted: Accepted,
    pub(crate) seconds: Seconds,
    pub(crate) state_digest: Option<String>,
    pub(crate) candidates: BTreeMap<String, Blocks>,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) stale_mismatches: u64,
    pub(crate) stale_first: Option<FirstMismatch>,
    pub(crate) re_orders: ReOrderCounts,
    pub(crate) canaries: Canaries,
    pub(crate) again: Again,
    pub(crate) runs: u64,
    pub(crate) schedule_dependent_blocks: u64,
    pub(crate) compared: Vec<String>,
    pub(crate) not_compared: Vec<String>,
    pub(crate) interrupted: bool,
    pub(crate) interrupted_because: Option<String>,
    pub(crate) error: Option<String>,
}

/// The verdict of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    Clean,
    Mismatch,
    NotEnoughEvidence,
    Error,
}

impl Word {
    /// As a report begins with it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "CLEAN",
            Self::Mismatch => "MISMATCH",
            Self::NotEnoughEvidence => "NOT ENOUGH EVIDENCE",
            Self::Error => "ERROR",
        }
    }
}

/// Blocks by verdict.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Blocks {
    pub(crate) total: u64,
    #[serde(rename = "match")]
    pub(crate) matching: u64,
    pub(crate) mismatch: u64,
    pub(crate) inconclusive: u64,
    pub(crate) not_exercised: u64,
    pub(crate) opaque: u64,
    pub(crate) exercised: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Mismatches {
    pub(crate) total: u64,
    pub(crate) by_field: BTreeMap<Field, u64>,
    pub(crate) first: Option<FirstMismatch>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) blocks: u64,
    pub(crate) mismatches: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Seconds {
    pub(crate) elapsed: f64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Canaries {
    pub(crate) planted: u64,
    pub(crate) caught: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Again {
    pub(crate) blocks: u64,
    pub(crate) differ: u64,
}
