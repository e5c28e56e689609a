//! Under which schedules candidates run.
//!
//! Most of what a parallel executor gets wrong shows in every run, and the rest only in some: with
//! another number of workers, in another order within a batch, with a pause in the wrong place. So a
//! block may be run several times. What is chosen follows from the block's topoheight alone, so that a
//! run that is resumed chooses the same.

use comparator::Schedule;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::TopoHeight;

/// How often a candidate runs each block, and under what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedules {
    runs: u32,
    workers: u32,
    /// Whether the only run of some blocks is disturbed, so that what shows only then has a chance.
    disturbs_only_run: bool,
    transactions_min: usize,
}

impl Schedules {
    /// One run of each block, as it would be in earnest: so many workers, and nothing disturbed.
    pub const fn plain(workers: u32) -> Self {
        Self { runs: 1, workers, disturbs_only_run: false, transactions_min: 0 }
    }

    /// So many runs of each block, at least one. The first is the plain one. The others are disturbed
    /// by a seed, and take turns in running with 1 worker, with 2, with `workers`, and with twice as
    /// many. Where there are no others one block in thirty-two is disturbed in its only run, with `workers`.
    pub fn disturbed(runs: u32, workers: u32) -> Self {
        let runs = runs.max(1);
        Self { runs, workers, disturbs_only_run: runs == 1, transactions_min: 0 }
    }

    /// The same, for blocks of at least so many transactions: a chain executes smaller ones serially.
    #[must_use]
    pub const fn from_transactions(self, transactions_min: usize) -> Self {
        Self { transactions_min, ..self }
    }

    /// Whether a block of so many transactions is run at all.
    pub const fn run_block_of(self, transactions: usize) -> bool {
        transactions >= self.transactions_min
    }

    /// The schedules of a block.
    pub fn of_block(self, topoheight: TopoHeight) -> impl Iterator<Item = Schedule> {
        let workers = [1, 2, self.workers, self.workers.saturating_mul(2)];
        let disturbed = u64::from(self.runs - 1);
        let first = topoheight.as_u64().wrapping_mul(disturbed);
        let others = (0..disturbed).map(move |run| {
            let turn = first.wrapping_add(run);
            Schedule { workers: workers[turn as usize % workers.len()], seed: seed(turn) }
        });
        let topoheight = topoheight.as_u64();
        let is_disturbed =
            self.disturbs_only_run && topoheight % DISTURBED_EVERY == DISTURBED_EVERY - 1;
        let first = if is_disturbed { seed(topoheight) } else { UNDISTURBED };
        std::iter::once(Schedule { workers: self.workers, seed: first }).chain(others)
    }
}

/// The seed of a run that is disturbed.
fn seed(turn: u64) -> u64 {
    ChaCha8Rng::seed_from_u64(turn).next_u64().max(UNDISTURBED + 1)
}

/// The seed of a run that is not.
const UNDISTURBED: u64 = 0;

/// One block in so many is disturbed where it is run only once: pauses take time, and the others are to be run as in
/// earnest.
const DISTURBED_EVERY: u64 = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn of_block(schedules: Schedules, topoheight: u64) -> Vec<Schedule> {
        schedules.of_block(TopoHeight::new(topoheight)).collect()
    }

    #[test]
    fn the_first_run_of_a_block_is_the_plain_one() {
        for topoheight in 0..10 {
            let plain = [Schedule { workers: 3, seed: 0 }];
            assert_eq!(of_block(Schedules::plain(3), topoheight), plain);
            assert_eq!(of_block(Schedules::disturbed(4, 3), topoheight)[..1], plain);
        }
    }

    #[test]
    fn the_others_take_turns_in_the_number_of_workers_and_no_two_have_the_same_seed() {
        let schedules = Schedules::disturbed(3, 5);
        let others: Vec<_> =
            (0..8).flat_map(|topoheight| of_block(schedules, topoheight).split_off(1)).collect();
        let workers: Vec<_> = others.iter().map(|schedule| schedule.workers).collect();
        assert_eq!(workers, [1, 2, 5, 10].repeat(4));
        let seeds: BTreeSet<_> = others.iter().map(|schedule| schedule.seed).collect();
        assert_eq!(seeds.len(), others.len());
        assert!(!seeds.contains(&0));
    }

    #[test]
    fn small_blocks_are_run_unless_somebody_says_so() {
        assert!(Schedules::plain(2).run_block_of(0));
        let from_four = Schedules::disturbed(2, 2).from_transactions(4);
        assert_eq!([3, 4, 5].map(|count| from_four.run_block_of(count)), [false, true, true]);
    }

    #[test]
    fn no_runs_at_all_are_one_run() {
        assert_eq!(Schedules::disturbed(0, 2), Schedules::disturbed(1, 2));
    }

    #[test]
    fn the_only_run_of_one_block_in_thirty_two_is_disturbed() {
        let seeds = |schedules| -> Vec<_> {
            (0..64).flat_map(|topoheight| of_block(schedules, topoheight)).map(|s| s.seed).collect()
        };
        let disturbed = seeds(Schedules::disturbed(1, 2));
        assert_eq!(disturbed.len(), 64);
        let places: Vec<_> = (0..64).filter(|place| disturbed[*place] != 0).collect();
        assert_eq!(places, [31, 63]);
        assert_ne!(disturbed[31], disturbed[63]);
        assert_eq!(seeds(Schedules::plain(2)), [0; 64]);
    }
}
