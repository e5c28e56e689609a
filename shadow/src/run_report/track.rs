//! A run along its topoheights, in a bounded number of stretches however long it is.

use std::collections::BTreeMap;

use storage_snapshot::TopoHeight;

use super::speed_up::{Spent, spent_on};
use crate::{coverage::BlockCounts, ledger::LedgerEntry};

/// Neighbouring blocks, summed up. When there are too many stretches each two become one.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// How many topoheights a stretch has.
    width: u64,
    stretches: BTreeMap<u64, Stretch>,
}

/// What is known of some neighbouring blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretch {
    /// By the worst verdict of all candidates.
    pub(crate) blocks: BlockCounts,
    /// Of each candidate, what it and the control took for the blocks in which it was exercised.
    pub(crate) spent: BTreeMap<String, Spent>,
    /// The longest that a block of these waited for its verdict, in seconds, as far as it was seen.
    pub(crate) lag_seconds: Option<f64>,
}

impl Default for Track {
    fn default() -> Self {
        Self { width: 1, stretches: BTreeMap::new() }
    }
}

impl Track {
    /// Adds a block that stands.
    pub(crate) fn add(&mut self, entry: &LedgerEntry) {
        let stretch = self.at(entry.topoheight.as_u64());
        stretch.blocks.count(entry.severity(), entry.is_exercised());
        for judged in &entry.candidates {
            let Some(spent) = spent_on(entry, judged) else { continue };
            let is_known = stretch.spent.contains_key(&judged.candidate);
            if is_known || stretch.spent.len() < CANDIDATES_MAX {
                stretch.spent.entry(judged.candidate.clone()).or_default().add(spent);
            }
        }
    }

    /// Notes how long the oldest block without a verdict had waited, when the block here was verified.
    pub(crate) fn note_lag(&mut self, at: TopoHeight, seconds: f64) {
        let stretch = self.at(at.as_u64());
        stretch.lag_seconds = Some(stretch.lag_seconds.map_or(seconds, |lag| lag.max(seconds)));
    }

    /// Adds what another one knows of the same topoheights.
    pub(crate) fn absorb(&mut self, other: Self) {
        let width = other.width;
        for (place, stretch) in other.stretches {
            self.at(place.saturating_mul(width)).merge(stretch);
        }
    }

    /// The stretches in order, each with its first topoheight and the one after its last.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, &Stretch)> {
        self.stretches.iter().map(|(place, stretch)| {
            let from = place.saturating_mul(self.width);
            (from, from.saturating_add(self.width), stretch)
        })
    }

    fn at(&mut self, topoheight: u64) -> &mut Stretch {
        while !self.stretches.contains_key(&(topoheight / self.width))
            && self.stretches.len() >= STRETCHES_MAX
        {
            self.width = self.width.saturating_mul(2);
            for (place, stretch) in std::mem::take(&mut self.stretches) {
                self.stretches.entry(place / 2).or_default().merge(stretch);
            }
        }
        self.stretches.entry(topoheight / self.width).or_default()
    }
}

impl Stretch {
    fn merge(&mut self, other: Self) {
        self.blocks.add(&other.blocks);
        for (candidate, spent) in other.spent {
            if self.spent.contains_key(&candidate) || self.spent.len() < CANDIDATES_MAX {
                self.spent.entry(candidate).or_default().add(spent);
            }
        }
        self.lag_seconds = match (self.lag_seconds, other.lag_seconds) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
    }
}

/// How many stretches there are at most.
pub(crate) const STRETCHES_MAX: usize = 200;

/// Anybody may put programs of new names under test on one state directory for as long as it exists.
const CANDIDATES_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(topoheights: impl IntoIterator<Item = u64>, longest: f64) {
        let mut track = Track::default();
        let mut last = None;
        for at in topoheights {
            track.note_lag(TopoHeight::new(at), at as f64);
            last = Some(at);
        }
        assert!(track.stretches.len() <= STRETCHES_MAX);
        let found = track.iter().filter_map(|(_, _, stretch)| stretch.lag_seconds);
        assert_eq!(found.fold(0.0, f64::max), longest);
        if let Some(last) = last {
            assert!(track.iter().any(|(from, end, _)| (from..end).contains(&last)));
        }
        for ((_, end, _), (from, _, _)) in track.iter().zip(track.iter().skip(1)) {
            assert!(end <= from, "stretches do not overlap");
        }
    }

    #[test]
    fn a_long_run_is_a_bounded_number_of_stretches_that_forget_no_peak() {
        check([], 0.0);
        check([7], 7.0);
        check(0..100_000, 99_999.0);
        check((0..5_000).rev(), 4_999.0);
        check((0..1_000).map(|at| at * 1_000_003), 999.0 * 1_000_003.0);
        check([u64::MAX - 1, 0], (u64::MAX - 1) as f64);
        let mut far: Vec<u64> = (0..1_000).collect();
        far.push(1 << 60);
        check(far, (1_u64 << 60) as f64);
    }

    #[test]
    fn what_was_seen_while_it_ran_is_added_to_what_the_ledger_tells() {
        let (mut ledger, mut seen) = (Track::default(), Track::default());
        for at in 0..10_000 {
            ledger.at(at).blocks.total += 1;
        }
        for at in 300..320 {
            seen.note_lag(TopoHeight::new(at), 2.0);
        }
        ledger.absorb(seen);
        assert!(ledger.stretches.len() <= STRETCHES_MAX);
        assert_eq!(ledger.iter().map(|(_, _, stretch)| stretch.blocks.total).sum::<u64>(), 10_000);
        let lags: Vec<_> =
            ledger.iter().filter_map(|(_, _, stretch)| stretch.lag_seconds).collect();
        assert!(!lags.is_empty() && lags.iter().all(|lag| *lag == 2.0), "{lags:?}");
    }
}
