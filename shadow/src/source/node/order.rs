//! The order of blocks as it was told so far, to see where it changes.

use std::collections::VecDeque;

use storage_snapshot::{BlockHash, BlockRef, TopoHeight};

/// The last blocks that were handed over, without gaps.
#[derive(Debug)]
pub(super) struct KnownOrder {
    /// The position of the first one that is kept.
    first: TopoHeight,
    hashes: VecDeque<BlockHash>,
}

impl KnownOrder {
    /// Nothing is known, and the next block is the one at `next`.
    pub(super) const fn beginning_at(next: TopoHeight) -> Self {
        Self { first: next, hashes: VecDeque::new() }
    }

    /// The position after the last block.
    pub(super) fn next(&self) -> TopoHeight {
        TopoHeight::new(self.first.as_u64() + self.hashes.len() as u64)
    }

    /// The last block.
    pub(super) fn last(&self) -> Option<BlockRef> {
        let hash = *self.hashes.back()?;
        Some(BlockRef { topoheight: self.next().previous()?, hash })
    }

    /// The position of the first block that is kept, if any is.
    pub(super) fn first(&self) -> Option<TopoHeight> {
        (!self.hashes.is_empty()).then_some(self.first)
    }

    pub(super) fn hash_at(&self, at: TopoHeight) -> Option<BlockHash> {
        let index = at.as_u64().checked_sub(self.first.as_u64())?;
        self.hashes.get(usize::try_from(index).ok()?).copied()
    }

    /// Takes in the next block.
    pub(super) fn push(&mut self, hash: BlockHash) {
        self.hashes.push_back(hash);
        if self.hashes.len() > KEPT_MAX {
            self.hashes.pop_front();
            self.first = self.first.next();
        }
    }

    /// Forgets what is above a position.
    pub(super) fn revert_to(&mut self, to: TopoHeight) {
        let kept = to.next().as_u64().saturating_sub(self.first.as_u64());
        self.hashes.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// The lowest position at which another order, which begins at `start`, differs.
    pub(super) fn lowest_difference(
        &self,
        start: TopoHeight,
        other: &[BlockHash],
    ) -> Option<TopoHeight> {
        let positions = (start.as_u64()..).map(TopoHeight::new);
        positions
            .zip(other)
            .find(|(at, hash)| self.hash_at(*at).is_some_and(|known| known != **hash))
            .map(|(at, _)| at)
    }
}

/// As far as a re-order may reach, and some more.
pub(super) const KEPT_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> BlockHash {
        BlockHash::new([byte; 32])
    }

    fn known(first: u64, hashes: &[u8]) -> KnownOrder {
        let mut known = KnownOrder::beginning_at(TopoHeight::new(first));
        hashes.iter().for_each(|byte| known.push(hash(*byte)));
        known
    }

    #[test]
    fn the_lowest_difference_is_found_wherever_the_other_order_begins() {
        #[track_caller]
        fn check(start: u64, other: &[u8], expected: Option<u64>) {
            let other: Vec<_> = other.iter().map(|byte| hash(*byte)).collect();
            let found = known(10, &[1, 2, 3, 4]).lowest_difference(TopoHeight::new(start), &other);
            assert_eq!(found.map(TopoHeight::as_u64), expected);
        }
        check(10, &[1, 2, 3, 4], None);
        check(10, &[1, 2, 3, 4, 5], None);
        check(10, &[1, 9, 3, 9], Some(11));
        check(12, &[3, 9], Some(13));
        check(8, &[9, 9, 1, 2], None);
        check(14, &[9], None);
        check(10, &[], None);
    }

    #[test]
    fn what_is_reverted_is_forgotten() {
        let mut order = known(10, &[1, 2, 3, 4]);
        order.revert_to(TopoHeight::new(11));
        assert_eq!(order.next(), TopoHeight::new(12));
        assert_eq!(order.hash_at(TopoHeight::new(12)), None);
        order.push(hash(9));
        assert_eq!(order.hash_at(TopoHeight::new(12)), Some(hash(9)));
        order.revert_to(TopoHeight::new(3));
        assert_eq!((order.first(), order.last()), (None, None));
    }

    #[test]
    fn only_so_many_are_kept() {
        let mut order = KnownOrder::beginning_at(TopoHeight::GENESIS);
        for number in 0..KEPT_MAX + 10 {
            order.push(hash((number % 251) as u8));
        }
        assert_eq!(order.first(), Some(TopoHeight::new(10)));
        assert_eq!(order.next(), TopoHeight::new(KEPT_MAX as u64 + 10));
        assert_eq!(order.hash_at(TopoHeight::new(10)), Some(hash(10)));
    }
}
