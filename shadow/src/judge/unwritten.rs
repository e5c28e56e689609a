//! The blocks that are staged and not written yet, and those that are written and not judged.
//!
//! Writing a block is work that has to be done before its verdict and in the order of the chain, and by nobody
//! in particular: the judge does it when it comes to the block, and the verifier does it ahead of the judge
//! whenever it would otherwise wait for it. So neither of the two processors stands still as long as there is
//! something to write.

use std::{collections::VecDeque, time::Duration};

use parking_lot::Mutex;
use storage_snapshot::{Staged, Store, StoreError, Tip};

use crate::stopwatch::timed;

/// Shared by the verifier and the judge.
#[derive(Debug)]
pub(super) struct Unwritten {
    store: Store,
    blocks: Mutex<Blocks>,
}

#[derive(Debug, Default)]
struct Blocks {
    staged: VecDeque<Staged>,
    /// What came of each block that was written ahead of the judge.
    written: VecDeque<Result<Written, StoreError>>,
}

/// A block that is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) tip: Tip,
    /// How long that took.
    pub(super) time: Duration,
}

impl Unwritten {
    pub(super) fn new(store: Store) -> Self {
        Self { store, blocks: Mutex::default() }
    }

    /// Adds the next block.
    pub(super) fn push(&self, staged: Staged) {
        self.blocks.lock().staged.push_back(staged);
    }

    /// Writes the next block ahead of the judge; false if there is none left, or if one could not be written.
    pub(super) fn write_ahead(&self) -> bool {
        let Blocks { staged, written } = &mut *self.blocks.lock();
        if matches!(written.back(), Some(Err(_))) {
            return false;
        }
        let Some(next) = staged.pop_front() else { return false };
        written.push_back(self.write(next));
        true
    }

    /// The next block, which is written now if it is not yet; each block is told once, in order. `None` if
    /// there is none.
    pub(super) fn next_written(&self) -> Option<Result<Written, StoreError>> {
        let Blocks { staged, written } = &mut *self.blocks.lock();
        match written.pop_front() {
            Some(written) => Some(written),
            None => staged.pop_front().map(|next| self.write(next)),
        }
    }

    fn write(&self, staged: Staged) -> Result<Written, StoreError> {
        let (tip, time) = timed(|| self.store.write(staged));
        Ok(Written { tip: tip?, time })
    }
}

#[cfg(test)]
mod tests {
    use storage_snapshot::{
        BlockCommit, BlockFacts, BlockHash, BlockRef, StateDelta, StoreOptions, TopoHeight,
    };

    use super::*;

    /// The first blocks are written ahead, and then all of them are told, each once and in order.
    #[track_caller]
    fn check(ahead: usize) {
        const BLOCKS: u64 = 5;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let unwritten = Unwritten::new(store.clone());
        for number in 0..BLOCKS {
            let topoheight = TopoHeight::new(number);
            let block = BlockRef { topoheight, hash: BlockHash::new([number as u8; 32]) };
            let commit = BlockCommit::new(block, BlockFacts::default(), StateDelta::new());
            unwritten.push(store.stage(commit).unwrap());
        }
        let done = (0..ahead).filter(|_| unwritten.write_ahead()).count() as u64;
        assert_eq!(done, BLOCKS.min(ahead as u64));
        let above = store.tip().map_or(0, |tip| tip.block.topoheight.next().as_u64());
        assert_eq!(above, done);
        for number in 0..BLOCKS {
            let written = unwritten.next_written().unwrap().unwrap();
            assert_eq!(written.tip.block.topoheight, TopoHeight::new(number));
            assert!(store.tip().unwrap().block.topoheight >= TopoHeight::new(number));
        }
        assert!(unwritten.next_written().is_none());
    }

    #[test]
    fn every_block_is_written_once_in_order_and_before_it_is_told() {
        for ahead in 0..7 {
            check(ahead);
        }
    }

    #[test]
    fn a_block_that_could_not_be_written_is_told_in_its_place_and_nothing_is_written_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let unwritten = Unwritten::new(store.clone());
        for number in 0..3 {
            let topoheight = TopoHeight::new(number);
            let block = BlockRef { topoheight, hash: BlockHash::new([number as u8; 32]) };
            let commit = BlockCommit::new(block, BlockFacts::default(), StateDelta::new());
            unwritten.push(store.stage(commit).unwrap());
        }
        store.rollback(Some(TopoHeight::new(0))).unwrap();
        assert!(unwritten.write_ahead() && unwritten.write_ahead());
        assert!(!unwritten.write_ahead());
        assert!(unwritten.next_written().unwrap().is_ok());
        let failed = unwritten.next_written().unwrap();
        assert!(matches!(failed, Err(StoreError::NotNext { .. })));
    }
}
