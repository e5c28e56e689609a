//! What was judged and is not durable yet, and what is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use storage_snapshot::TopoHeight;

use crate::{
    ledger::LedgerEntry,
    metrics::{Change, Metrics},
    stopwatch::ProcessorClock,
};

/// What has been found so far, for whoever watches. Counted only once it is durable.
#[derive(Debug, Default)]
pub struct Progress {
    /// Blocks with a verdict.
    pub blocks: AtomicU64,
    /// Positions of the chain up to the last of them: fewer where blocks were ordered away, more
    /// where others had their verdict before.
    pub positions: AtomicU64,
    /// Their transactions.
    pub transactions: AtomicU64,
    /// Blocks in which every candidate that executes was compared at work.
    pub exercised: AtomicU64,
    /// Differences.
    pub mismatches: AtomicU64,
    /// Canaries that were planted and caught.
    pub canaries_caught: AtomicU64,
    /// Canaries that were planted and missed.
    pub canaries_missed: AtomicU64,
    /// Comparing: the invariants of the controls, the comparisons, and executing controls again. Counted at once.
    pub compare_clock: ProcessorClock,
    /// Making and writing the entries of the ledger. Counted at once.
    pub ledger_clock: ProcessorClock,
    /// The same in detail, if somebody wants it.
    pub metrics: Option<Arc<Metrics>>,
}

/// Entries that are written but not yet durable.
#[derive(Debug, Default)]
pub(super) struct Pending {
    since: Option<Instant>,
    pub(super) last: Option<TopoHeight>,
    blocks: u64,
    transactions: u64,
    exercised: u64,
    mismatches: u64,
    canaries_caught: u64,
    canaries_missed: u64,
    /// In order, and only if somebody wants them.
    pub(super) changes: Vec<Change>,
}

impl Pending {
    pub(super) fn add(&mut self, entry: &LedgerEntry) {
        self.since.get_or_insert_with(Instant::now);
        self.last = Some(entry.topoheight);
        self.blocks += 1;
        self.transactions += entry.transactions.total;
        self.exercised += u64::from(entry.is_exercised());
        if let Some(canary) = &entry.canary {
            let caught = u64::from(canary.was_caught());
            self.canaries_caught += caught;
            self.canaries_missed += 1 - caught;
        }
        self.mismatches +=
            entry.candidates.iter().flat_map(|candidate| candidate.fields.values()).sum::<u64>();
    }

    /// Differences that were added to the verdict of an earlier block.
    pub(super) const fn add_mismatches(&mut self, mismatches: u64) {
        self.mismatches += mismatches;
    }

    /// Whether there is nothing to count.
    pub(super) const fn is_empty(&self) -> bool {
        self.last.is_none() && self.mismatches == 0
    }

    /// What is durable is counted.
    pub(super) fn count_into(&self, progress: &Progress) {
        progress.blocks.fetch_add(self.blocks, Ordering::Relaxed);
        if let Some(last) = self.last {
            progress.positions.store(last.next().as_u64(), Ordering::Relaxed);
        }
        progress.transactions.fetch_add(self.transactions, Ordering::Relaxed);
        progress.exercised.fetch_add(self.exercised, Ordering::Relaxed);
        progress.mismatches.fetch_add(self.mismatches, Ordering::Relaxed);
        progress.canaries_caught.fetch_add(self.canaries_caught, Ordering::Relaxed);
        progress.canaries_missed.fetch_add(self.canaries_missed, Ordering::Relaxed);
    }

    /// Whether it is time to make them durable.
    pub(super) fn is_due(&self) -> bool {
        self.blocks >= PENDING_BLOCKS_DUE
            || self.since.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL)
    }

    /// Whether that cannot be put off.
    pub(super) const fn is_full(&self) -> bool {
        self.blocks >= 2 * PENDING_BLOCKS_DUE
    }
}

/// How many verdicts are gathered before they are made durable, unless those before are not yet.
const PENDING_BLOCKS_DUE: u64 = 256;

/// How long verdicts are gathered.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
