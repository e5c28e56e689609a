//! Which lane owns which accounts.

use std::ops::Range;

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// The places of a block's accounts, divided into contiguous ranges, one a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Where each range but the first begins.
    cuts: Vec<u32>,
    /// Where the last one ends.
    end: u32,
    /// From how many accounts the transactions come that they were divided by.
    sources: usize,
}

impl Ranges {
    /// Divides so many places by the transactions that come from them.
    ///
    /// Each lane gets about as many transactions, and as long as there are sources enough at least one: two
    /// transactions of different sources run on two lanes, however small the block is. With a seed other
    /// than 0 the shares are drawn.
    pub(super) fn balanced(
        places: usize,
        sources: impl Iterator<Item = u32>,
        lanes: usize,
        seed: u64,
    ) -> Self {
        let mut transactions = vec![0_u32; places];
        let (mut left, mut sources_left) = (0_u64, 0_usize);
        for source in sources {
            if let Some(count) = transactions.get_mut(source as usize) {
                left += 1;
                sources_left += usize::from(*count == 0);
                *count += 1;
            }
        }
        let distinct = sources_left;
        let mut random = (seed != 0).then(|| ChaCha8Rng::seed_from_u64(seed));
        let mut share = |left: u64, lanes: usize| {
            let even = 2 * left / lanes as u64;
            random.as_mut().map_or(even, |random| random.random_range(0..=2 * even))
        };
        let mut cuts = Vec::with_capacity(lanes);
        // Doubled, so that the middle of a transaction count is a number.
        let mut doubled_share = share(left, lanes);
        let mut held = 0_u64;
        for (place, count) in (0_u32..).zip(&transactions) {
            if *count == 0 {
                continue;
            }
            let lanes_after = lanes - 1 - cuts.len();
            let is_full = 2 * held + u64::from(*count) > doubled_share;
            if lanes_after > 0 && held > 0 && (is_full || sources_left <= lanes_after) {
                cuts.push(place);
                left -= held;
                held = 0;
                doubled_share = share(left, lanes_after);
            }
            held += u64::from(*count);
            sources_left -= 1;
        }
        let end = places as u32;
        cuts.resize(lanes - 1, end);
        Self { cuts, end, sources: distinct }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cuts.len() + 1
    }

    /// From how many accounts the transactions come that they were divided by.
    pub(super) const fn sources(&self) -> usize {
        self.sources
    }

    /// The places of one.
    pub(super) fn range(&self, number: usize) -> Range<u32> {
        let start = number.checked_sub(1).map_or(0, |before| self.cuts[before]);
        start..self.cuts.get(number).copied().unwrap_or(self.end)
    }

    /// The one that a place is in.
    pub(super) fn of(&self, place: u32) -> usize {
        self.cuts.partition_point(|cut| *cut <= place)
    }
}

/// Which lane works on which range; with a seed other than 0 not the first on the first.
pub(super) fn assigned(lanes: usize, seed: u64) -> Vec<usize> {
    let mut ranges: Vec<_> = (0..lanes).collect();
    if seed != 0 {
        ranges.shuffle(&mut ChaCha8Rng::seed_from_u64(!seed));
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(places: usize, sources: &[u32], lanes: usize, cuts: &[u32]) {
        let ranges = Ranges::balanced(places, sources.iter().copied(), lanes, 0);
        assert_eq!(ranges.cuts, cuts);
    }

    #[test]
    fn every_lane_gets_about_as_many_transactions() {
        check(4, &[0, 1, 2, 3], 2, &[2]);
        check(8, &[0, 1, 2, 3, 4, 5], 3, &[2, 4]);
        check(6, &[0, 0, 0, 4, 5, 5], 2, &[4]);
        check(6, &[1, 2, 5], 3, &[2, 5]);
    }

    #[test]
    fn one_busy_source_does_not_take_the_other_one_with_it() {
        check(2, &[0, 1, 1, 1], 2, &[1]);
        check(2, &[0, 0, 0, 1], 2, &[1]);
        check(9, &[7, 8, 8, 8, 8], 2, &[8]);
    }

    #[test]
    fn lanes_for_which_there_is_no_source_own_nothing() {
        check(5, &[], 2, &[5]);
        check(5, &[2, 2], 2, &[5]);
        check(5, &[1, 3], 4, &[3, 5, 5]);
        check(0, &[], 1, &[]);
    }

    proptest! {
        #[test]
        fn every_place_is_owned_once_and_no_lane_is_idle_without_need(
            sources in prop::collection::vec(0..20_u32, 0..40),
            lanes in 1..9_usize,
            seed in 0..5_u64,
        ) {
            let ranges = Ranges::balanced(20, sources.iter().copied(), lanes, seed);
            prop_assert_eq!(ranges.len(), lanes);
            let owned: Vec<u32> = (0..lanes).flat_map(|lane| ranges.range(lane)).collect();
            prop_assert_eq!(owned, (0..20).collect::<Vec<_>>());
            for lane in 0..lanes {
                for place in ranges.range(lane) {
                    prop_assert_eq!(ranges.of(place), lane);
                }
            }
            let mut distinct = sources.clone();
            distinct.sort_unstable();
            distinct.dedup();
            let busy = (0..lanes)
                .filter(|lane| sources.iter().any(|source| ranges.range(*lane).contains(source)))
                .count();
            prop_assert_eq!(busy, distinct.len().min(lanes));
        }

        #[test]
        fn every_range_is_assigned_once(lanes in 1..9_usize, seed in 0..9_u64) {
            let mut ranges = assigned(lanes, seed);
            ranges.sort_unstable();
            prop_assert_eq!(ranges, (0..lanes).collect::<Vec<_>>());
        }
    }
}
