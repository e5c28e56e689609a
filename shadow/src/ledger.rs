//! The ledger: one entry per topoheight that says what was found there.
//!
//! An entry holds everything that is ever counted about its block, so a summary is the sum of
//! entries and nothing else: a run that was interrupted and resumed counts like one that was not.

use std::collections::BTreeMap;

use comparator::{Field, LocatedTransaction, Severity, Side};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, AssetId, BlockHash, TopoHeight};

use crate::node::NodeCounts;

/// The version of the entry format that is written.
pub const FORMAT_VERSION: u64 = 1;

/// What was found at one topoheight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u64,
    /// Where.
    pub topoheight: TopoHeight,
    /// Which block was there.
    pub block_hash: BlockHash,
    /// The sum over everything written since the base, this block included: two runs that agree in
    /// it agree in every value.
    pub state_digest: String,
    /// Whether the block has since been ordered away. Kept, but no longer counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Whether the block may have paid accounts that nobody knows of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
    /// One verdict per candidate.
    pub candidates: Vec<CandidateEntry>,
    /// The block's transactions.
    pub transactions: TransactionCounts,
    /// What became of the node's answers.
    pub node: NodeCounts,
    /// Which oddities of the chain fired, and how often.
    pub quirks: BTreeMap<String, u64>,
    /// State reads of the candidates.
    pub loads: LoadCounts,
    /// Where the time went.
    pub seconds: StepSeconds,
}

/// The verdict on one candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateEntry {
    /// Its name.
    pub candidate: String,
    /// The verdict.
    pub verdict: Severity,
    /// Why it is no match, as a word that can be counted; a mismatch has fields instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How many differences there are of each field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<Field, u64>,
    /// The first difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstMismatch>,
    /// How the candidate worked, if it executed the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exercise: Option<ExerciseEntry>,
}

/// The first difference of a block, complete enough to be read alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstMismatch {
    /// Where.
    pub topoheight: TopoHeight,
    /// In which block.
    pub block_hash: BlockHash,
    /// Of which candidate.
    pub candidate: String,
    /// What kind of thing differs.
    pub field: Field,
    /// Whose, for state.
    pub account: Option<Address>,
    /// In which asset, for a balance.
    pub asset: Option<AssetId>,
    /// What the control shows.
    pub control: Side,
    /// What the candidate shows.
    pub observed: Side,
    /// How much more the candidate has, for numbers.
    pub difference: Option<i128>,
    /// Where it begins.
    pub transaction: Option<LocatedTransaction>,
}

/// How a candidate worked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ExerciseEntry {
    /// Under how many workers.
    pub workers: u32,
    /// Under which seed.
    pub seed: u64,
    /// In how many batches.
    pub batches: u32,
    /// How many lanes of the widest batch executed something.
    pub max_in_flight: u32,
}

/// The transactions of a block by what became of them in the control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionCounts {
    /// All of them.
    pub total: u64,
    /// Those that took effect.
    pub executed: u64,
    /// Those without effect.
    pub skipped: u64,
    /// Those whose effects broke.
    pub failed: u64,
    /// Those in blocks that were not executed here.
    pub opaque: u64,
}

/// State reads of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadCounts {
    /// All of them.
    pub requested: u64,
    /// Those that an earlier one had answered.
    pub from_cache: u64,
    /// Those that reached the snapshot.
    pub from_store: u64,
}

/// The seconds that the steps of a block took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StepSeconds {
    /// Serial execution.
    pub serial: f64,
    /// Execution by candidates.
    pub parallel: f64,
    /// Comparing.
    pub compare: f64,
    /// Committing to the store.
    pub commit: f64,
}

impl LedgerEntry {
    /// The worst verdict of all candidates: the one that the block is counted under.
    pub fn severity(&self) -> Severity {
        let worst = self.candidates.iter().map(|entry| entry.verdict).max();
        worst.unwrap_or(Severity::NotExercised)
    }
}
