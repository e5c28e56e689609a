//! A case: one block on its way to the judge, with everything that is needed to judge it.
//!
//! It holds no snapshot and no lock, so it may wait as long as it has to.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use comparator::{Inconclusive, OpaqueKind, Status};
use storage_snapshot::StateDigest;

use crate::{
    execute::{BlockExecutor, Control, ExecutableBlock, PreState, SerialExecutor},
    kinds::KindCounts,
    ledger::{
        Doubts, FORMAT_VERSION, LedgerEntry, LoadCounts, ReOrderCounts, StepSeconds,
        TransactionCounts,
    },
    node::{NodeCounts, NodeFindings},
    rules::{Quirks, RULES},
    shapes::{ShapeCounts, Told, shapes_of},
};

/// A block that waits for its verdict.
#[derive(Debug)]
pub struct Case {
    /// The block.
    pub block: Arc<ExecutableBlock>,
    /// What its transactions tell by themselves, in their order.
    pub(crate) told: Vec<Told>,
    /// The state before it.
    pub pre_state: Arc<PreState>,
    /// What the control came to.
    pub finding: Finding,
    /// What comparing the node with the control found, if the node is on trial.
    pub node: Option<NodeFindings>,
    /// How many of the node's answers were put to which use.
    pub node_counts: NodeCounts,
    /// How many assets were touched whose conservation could not be checked.
    pub conservation_unchecked: u64,
    /// The oddities that showed before the block ran.
    pub quirks: Quirks,
    /// Whether the block may have paid accounts that nobody knows of.
    pub blind: bool,
    /// Whether the source said when the block was fetched that it cannot be ordered away any more.
    pub stable: bool,
    /// How long the control took.
    pub serial: Duration,
    /// How long checking the control's invariants took.
    pub check: Duration,
    /// How long the first half of the commit took.
    pub staging: Duration,
}

/// What the control of a block came to.
#[derive(Debug)]
pub enum Finding {
    /// A result to compare with.
    Control(Box<Control>),
    /// The block is not executed here.
    Opaque(OpaqueKind),
    /// There is no result, so nothing is claimed.
    Inconclusive(Inconclusive),
}

impl Case {
    /// The ledger entry of the block, as yet without a verdict; `digest` is the sum over the state after it, and
    /// `commit` how long the second half of the commit took.
    pub(crate) fn entry(&self, digest: StateDigest, commit: Duration) -> LedgerEntry {
        let mut quirks: BTreeMap<String, u64> = BTreeMap::new();
        let control_quirks = match &self.finding {
            Finding::Control(control) => control.quirks.clone(),
            Finding::Opaque(_) | Finding::Inconclusive(_) => Quirks::default(),
        };
        for (quirk, count) in self.quirks.iter().chain(control_quirks.iter()) {
            *quirks.entry(quirk.name().to_owned()).or_default() += count;
        }
        LedgerEntry {
            format_version: FORMAT_VERSION,
            topoheight: self.block.block.topoheight,
            block_hash: self.block.block.hash,
            state_digest: digest.to_string(),
            stale: false,
            stale_depth: 0,
            blind: self.blind,
            stable: self.stable,
            rules: RULES.to_owned(),
            control_build: SerialExecutor.build(),
            candidates: Vec::new(),
            canary: None,
            again: None,
            transactions: self.transaction_counts(),
            kinds: self.kind_counts(),
            shapes: self.shape_counts(),
            node: self.node_counts,
            earlier_mismatches: 0,
            earlier_problems: Vec::new(),
            earlier_doubts: Doubts::default(),
            re_orders: ReOrderCounts::default(),
            conservation_unchecked: self.conservation_unchecked,
            quirks,
            loads: LoadCounts::default(),
            seconds: StepSeconds {
                serial: self.serial.as_secs_f64(),
                compare: self.check.as_secs_f64(),
                commit: (self.staging + commit).as_secs_f64(),
                ..StepSeconds::default()
            },
        }
    }

    fn transaction_counts(&self) -> TransactionCounts {
        let total = self.block.transactions.len() as u64;
        let mut counts = TransactionCounts { total, ..TransactionCounts::default() };
        match &self.finding {
            Finding::Control(control) => {
                for outcome in &control.execution.outcomes {
                    match outcome.status {
                        Status::Executed => counts.executed += 1,
                        Status::Skipped(_) => counts.skipped += 1,
                        Status::Failed(_) => counts.failed += 1,
                    }
                }
            }
            Finding::Opaque(_) | Finding::Inconclusive(_) => counts.opaque = total,
        }
        counts
    }

    fn kind_counts(&self) -> KindCounts {
        let outcomes = match &self.finding {
            Finding::Control(control) => &control.execution.outcomes[..],
            Finding::Opaque(_) | Finding::Inconclusive(_) => &[],
        };
        let mut counts = KindCounts::default();
        for (index, told) in self.told.iter().enumerate() {
            // The control's outcomes are in the order of the block.
            let executed =
                outcomes.get(index).is_some_and(|outcome| outcome.status == Status::Executed);
            counts.count(told.kind, executed);
        }
        counts
    }

    fn shape_counts(&self) -> ShapeCounts {
        match &self.finding {
            Finding::Control(control) => {
                shapes_of(&self.told, &self.block, &self.pre_state, control)
            }
            Finding::Opaque(_) | Finding::Inconclusive(_) => ShapeCounts::default(),
        }
    }
}
