//! How much faster than the control a candidate is, by the size of a block and by how much its
//! transactions conflict.

use std::collections::BTreeMap;

use crate::{
    ledger::{CandidateEntry, LedgerEntry},
    metrics::{conflict_rate_of, size_of},
};

/// What both sides took for some blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spent {
    /// How many blocks.
    pub(crate) blocks: u64,
    /// The control.
    pub(crate) serial_seconds: f64,
    /// The candidate, in the run that was as in earnest.
    pub(crate) candidate_seconds: f64,
}

impl Spent {
    pub(crate) fn add(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.serial_seconds += other.serial_seconds;
        self.candidate_seconds += other.candidate_seconds;
    }

    /// How many times faster the candidate was; `None` where nothing was measured.
    pub(crate) fn speed_up(&self) -> Option<f64> {
        (self.candidate_seconds > 0.0).then(|| self.serial_seconds / self.candidate_seconds)
    }
}

/// What a block took, if the candidate was exercised in it and it is known how long it took.
pub(crate) fn spent_on(entry: &LedgerEntry, judged: &CandidateEntry) -> Option<Spent> {
    let candidate_seconds = judged.exercise?.seconds;
    (judged.is_exercised() && candidate_seconds > 0.0).then(|| Spent {
        blocks: 1,
        serial_seconds: entry.seconds.serial.max(0.0),
        candidate_seconds,
    })
}

/// Of each candidate, by size and conflict rate.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpeedUps {
    by_candidate: BTreeMap<String, BTreeMap<Cell, Spent>>,
}

/// A block size and a conflict rate, in the words of the metrics.
type Cell = (&'static str, &'static str);

impl SpeedUps {
    pub(crate) fn add(&mut self, entry: &LedgerEntry) {
        for judged in &entry.candidates {
            let Some(spent) = spent_on(entry, judged) else { continue };
            let cell = (size_of(entry.transactions.total), conflict_rate_of(entry));
            let cells = self.by_candidate.entry(judged.candidate.clone()).or_default();
            cells.entry(cell).or_default().add(spent);
        }
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        for (candidate, cells) in other.by_candidate {
            let own = self.by_candidate.entry(candidate).or_default();
            cells.into_iter().for_each(|(cell, spent)| own.entry(cell).or_default().add(spent));
        }
    }

    pub(crate) fn candidates(&self) -> impl Iterator<Item = &str> {
        self.by_candidate.keys().map(String::as_str)
    }

    pub(crate) fn of(&self, candidate: &str, size: &str, conflict_rate: &str) -> Option<Spent> {
        let cells = self.by_candidate.get(candidate)?;
        let found = cells.iter().find(|((s, rate), _)| *s == size && *rate == conflict_rate);
        found.map(|(_, spent)| *spent)
    }

    /// All blocks together.
    pub(crate) fn in_all(&self, candidate: &str) -> Spent {
        let mut sum = Spent::default();
        let cells = self.by_candidate.get(candidate).into_iter().flat_map(BTreeMap::values);
        cells.for_each(|spent| sum.add(*spent));
        sum
    }
}
