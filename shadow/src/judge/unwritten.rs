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
    /// Held for as long as a block is being written, so that they are written in order.
    writing: Mutex<()>,
    /// Held for a moment only: the verifier adds blocks, and is never to wait until one is written.
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
        Self { store, writing: Mutex::default(), blocks: Mutex::default() }
    }

    /// Adds the next block.
    pub(super) fn push(&self, staged: Staged) {
        self.blocks.lock().staged.push_back(staged);
    }

    /// Writes the next block ahead of the judge; false if there is none left, if one could not be written, or
    /// if the judge is writing one itself.
    pub(super) fn write_ahead(&self) -> bool {
        let Some(_writing) = self.writing.try_lock() else { return false };
        let next = {
            let Blocks { staged, written } = &mut *self.blocks.lock();
            if matches!(written.back(), Some(Err(_))) {
                return false;
            }
            staged.pop_front()
        };
        let Some(next) = next else { return false };
        let written = self.write(next);
        self.blocks.lock().written.push_back(written);
        true
    }

    /// The next block, which is written now if it is not yet; each block is told once, in order. `None` if
    /// there is none.
    pub(super) fn next_written(&self) -> Option<Result<Written, StoreError>> {
        let told = self.blocks.lock().written.pop_front();
        if told.is_some() {
            return told;
        }
        let _writing = self.writing.lock();
        let next = {
            let Blocks { staged, written } = &mut *self.blocks.lock();
            // It may have been written meanwhile.
            if let Some(written) = written.pop_front() {
                return Some(written);
            }
            staged.pop_front()
        };
        next.map(|next| self.write(next))
    }

    /// Why the first block could not be written that was not told yet; not that the store refuses to write any more,
    /// which is the consequence of it. What was not told by then is not told.
    pub(super) fn failure(&self) -> Option<StoreError> {
        // Who is writing one at this moment is about to find out.
        let _writing = self.writing.lock();
        let failed =
            self.blocks.lock().written.drain(..).filter_map(Result::err).collect::<Vec<_>>();
        failed.into_iter().find(|error| !matches!(error, StoreError::Broken))
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

    fn commit(number: u64) -> BlockCommit {
        let topoheight = TopoHeight::new(number);
        let block = BlockRef { topoheight, hash: BlockHash::new([number as u8; 32]) };
        BlockCommit::new(block, BlockFacts::default(), StateDelta::new())
    }

    fn staged(store: &Store, number: u64) -> Staged {
        store.stage(commit(number)).unwrap()
    }

    /// The first blocks are written ahead, and then all of them are told, each once and in order.
    #[track_caller]
    fn check(ahead: usize) {
        const BLOCKS: u64 = 5;
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let unwritten = Unwritten::new(store.clone());
        for number in 0..BLOCKS {
            unwritten.push(staged(&store, number));
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
    fn why_a_block_could_not_be_written_is_found_out_before_it_is_its_turn() {
        #[track_caller]
        fn check(outcomes: Vec<Result<(), StoreError>>, expected: Option<TopoHeight>) {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
            let tip = store.commit(commit(0)).unwrap();
            let unwritten = Unwritten::new(store);
            let written =
                |outcome: Result<(), _>| outcome.map(|()| Written { tip, time: Duration::ZERO });
            unwritten.blocks.lock().written = outcomes.into_iter().map(written).collect();
            let found = unwritten.failure().map(|error| match error {
                StoreError::Pruned(at) => at,
                error => panic!("{error}"),
            });
            assert_eq!(found, expected);
            assert!(unwritten.failure().is_none(), "it is told once");
        }
        let failed = |at| Err(StoreError::Pruned(TopoHeight::new(at)));
        check(vec![], None);
        check(vec![Ok(()), Ok(())], None);
        check(vec![Ok(()), failed(1)], Some(TopoHeight::new(1)));
        check(vec![Err(StoreError::Broken), failed(1), failed(2)], Some(TopoHeight::new(1)));
        check(vec![Ok(()), Err(StoreError::Broken)], None);
    }

    #[test]
    fn nobody_waits_to_add_a_block_while_another_is_being_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let unwritten = Unwritten::new(store.clone());
        let writing = unwritten.writing.lock();
        unwritten.push(staged(&store, 0));
        assert!(!unwritten.write_ahead(), "there is somebody at it");
        drop(writing);
        assert!(unwritten.write_ahead());
        let writing = unwritten.writing.lock();
        assert!(unwritten.next_written().is_some(), "what is written is told at once");
        drop(writing);
    }

    #[test]
    fn a_block_that_could_not_be_written_is_told_in_its_place_and_nothing_is_written_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let unwritten = Unwritten::new(store.clone());
        for number in 0..3 {
            unwritten.push(staged(&store, number));
        }
        store.rollback(Some(TopoHeight::new(0))).unwrap();
        assert!(unwritten.write_ahead() && unwritten.write_ahead());
        assert!(!unwritten.write_ahead());
        assert!(unwritten.next_written().unwrap().is_ok());
        let failed = unwritten.next_written().unwrap();
        assert!(matches!(failed, Err(StoreError::NotNext { .. })));
    }
}
