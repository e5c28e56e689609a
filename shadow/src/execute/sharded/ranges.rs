//! Which lane owns which accounts.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The places of a block's accounts, divided into contiguous ranges, one a lane.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranges {
    /// Where each range but the first begins.
    cuts: Vec<u32>,
    /// Where the last one ends.
    end: u32,
}

impl Ranges {
    /// Divides so many places by the transactions that come from them.
    ///
    /// Each lane gets about as many transactions, and as long as there are sources enough at least one: two
    /// transactions of different sources run on two lanes, however small the block is. The first lane gets more
    /// than the others by as many as its head start is, but at most a quarter more than its share. With a seed
    /// other than 0 the shares are drawn.
    pub(super) fn balanced(
        places: usize,
        sources: impl Iterator<Item = u32>,
        lanes: usize,
        head_start: u64,
        seed: u64,
    ) -> Self {
        // Memory that comes zeroed comes from the system page by page, which takes longer than all of the rest.
        let mut transactions: Vec<u32> = std::iter::repeat_n(0, places).collect();
        let (mut left, mut sources_left) = (0_u64, 0_usize);
        for source in sources {
            if let Some(count) = transactions.get_mut(source as usize) {
                left += 1;
                sources_left += usize::from(*count == 0);
                *count += 1;
            }
        }
        let mut random = (seed != 0).then(|| ChaCha8Rng::seed_from_u64(seed));
        let mut share = |left: u64, lanes: usize| {
            let even = 2 * left / lanes as u64;
            random.as_mut().map_or(even, |random| random.random_range(0..=2 * even))
        };
        let mut cuts = Vec::with_capacity(lanes);
        // Doubled, so that the middle of a transaction count is a number.
        let mut doubled_share = share(left, lanes);
        if seed == 0 {
            let head_start = 2 * head_start * (lanes as u64 - 1) / lanes as u64;
            doubled_share += head_start.min(doubled_share / 4);
        }
        let mut held = 0_u64;
        for (place, count) in (0_u32..).zip(&transactions) {
            let lanes_after = lanes - 1 - cuts.len();
            if lanes_after == 0 {
                break;
            }
            // Every second place or so is one of a source: nobody could guess which, so it is no branch.
            let is_source = *count > 0;
            let is_full = 2 * held + u64::from(*count) > doubled_share;
            if is_source & (held > 0) & (is_full | (sources_left <= lanes_after)) {
                cuts.push(place);
                left -= held;
                held = 0;
                doubled_share = share(left, lanes_after);
            }
            held += u64::from(*count);
            sources_left -= usize::from(is_source);
        }
        let end = places as u32;
        cuts.resize(lanes - 1, end);
        Self { cuts, end }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.cuts.len() + 1
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(places: usize, sources: &[u32], lanes: usize, cuts: &[u32]) {
        let ranges = Ranges::balanced(places, sources.iter().copied(), lanes, 0, 0);
        assert_eq!(ranges.cuts, cuts);
    }

    #[test]
    fn who_has_begun_before_gets_more_but_not_much() {
        #[track_caller]
        fn check(lanes: usize, head_start: u64, cuts: &[u32]) {
            assert_eq!(Ranges::balanced(100, 0..100, lanes, head_start, 0).cuts, cuts);
        }
        check(2, 0, &[50]);
        check(2, 10, &[55]);
        check(2, 1000, &[63]);
        check(4, 8, &[31, 54, 77]);
        check(1, 8, &[]);
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
            head_start in 0..40_u64,
            seed in 0..5_u64,
        ) {
            let sources_of = sources.iter().copied();
            let ranges = Ranges::balanced(20, sources_of, lanes, head_start, seed);
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
    }
}
