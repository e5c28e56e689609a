//! What the ledger is worth at this moment for the candidates as they are now, kept up with it block by block.
//!
//! The answer of a run that ends is about each candidate's configuration: what another build of it did, or this
//! one by other rules, is no evidence about it. While the run goes on nobody may be told anything greener.

use std::collections::BTreeMap;

use comparator::Severity;

use crate::{
    coverage::Configuration,
    gaps::{self, Verdicts},
    ledger::LedgerEntry,
};

/// What speaks for the candidates that are under test.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    blocks: u64,
    again_blocks: u64,
    again_differ: u64,
    candidates: BTreeMap<String, (Configuration, Verdicts)>,
}

impl Evidence {
    /// Asks for verdicts on a build of a candidate.
    pub(super) fn ask_for(&mut self, candidate: &str, build: &str) {
        let asked = (Configuration::now(build), Verdicts::default());
        self.candidates.insert(candidate.to_owned(), asked);
    }

    /// Adds what one entry says, or takes it back.
    pub(super) fn count(&mut self, entry: &LedgerEntry, is_added: bool) {
        let change = |count: &mut u64, by: bool| {
            let by = u64::from(by);
            *count = if is_added { *count + by } else { count.saturating_sub(by) };
        };
        change(&mut self.blocks, true);
        if let Some(again) = &entry.again {
            change(&mut self.again_blocks, true);
            change(&mut self.again_differ, again.differs.is_some());
        }
        for judged in &entry.candidates {
            let Some((asked, verdicts)) = self.candidates.get_mut(&judged.candidate) else {
                continue;
            };
            change(&mut verdicts.on_any, true);
            if asked.is_of(entry, judged) {
                change(&mut verdicts.on_this, true);
                // A mismatch proves nothing, accepted or not.
                change(&mut verdicts.exercised, judged.verdict == Severity::Match);
                change(&mut verdicts.suspended, judged.is_suspended());
            }
        }
    }

    /// Adds controls of blocks that were ordered away which did not do the same again, or takes them back.
    pub(super) fn count_again(&mut self, differ: u64, is_added: bool) {
        for count in [&mut self.again_blocks, &mut self.again_differ] {
            *count = if is_added { *count + differ } else { count.saturating_sub(differ) };
        }
    }

    /// How many controls did the same when they were executed again, and how many did not.
    pub(super) const fn again(&self) -> (u64, u64) {
        (self.again_blocks.saturating_sub(self.again_differ), self.again_differ)
    }

    /// What is missing for an answer, a sentence each.
    pub(super) fn missing(&self) -> Vec<String> {
        let nobody = self.candidates.is_empty().then(gaps::nobody);
        let of_candidate = |(name, (_, verdicts)): (&String, &(Configuration, Verdicts))| {
            verdicts.gap(name, self.blocks)
        };
        nobody
            .into_iter()
            .chain(self.candidates.iter().filter_map(of_candidate))
            .chain(gaps::noisy(self.again_differ, self.again_blocks))
            .collect()
    }
}
