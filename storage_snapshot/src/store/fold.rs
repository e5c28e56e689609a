//! Folding: bringing the view forward, so that the window stays small.
//!
//! What a fold writes becomes visible all at once, and nothing below its goal is readable from the moment it
//! begins: while it runs the window has what the view had. One that failed is begun again by the next.

use super::Inner;
use crate::{Corruption, StoreError, TopoHeight, version::Position};

impl Inner {
    pub(super) fn advance_view(&self, to: TopoHeight) -> Result<Position, StoreError> {
        let _folding = self.folding.lock();
        self.disk.writable()?;
        match self.frontier.begin_fold(to) {
            Some(target) => self.fold(target).map(|()| Some(target)),
            None => Ok(self.frontier.view()),
        }
    }

    /// Runs beside commits and rollbacks: neither touches what is at or below the target any more.
    fn fold(&self, target: TopoHeight) -> Result<(), StoreError> {
        let view = self.frontier.view();
        let (before, after) = {
            let recent = self.recent.read();
            (view.and_then(|view| recent.tip_at(view)), recent.tip_at(target))
        };
        let (true, Some(after)) = (before.is_some() == view.is_some(), after) else {
            // The blocks from the view's tip on are always in memory.
            return Err(super::log::corrupt(target, Corruption::Sequence));
        };
        // The view must never be found ahead of the log.
        self.log.sync()?;
        let written = self.window.written(view, target);
        // Every written key has such a version: they are dropped below, and by no rollback.
        let versions = written.iter().filter_map(|key| {
            let stamped = self.window.read(key, Some(target))?;
            Some((*key, stamped))
        });
        self.view.fold(versions, after)?;

        self.frontier.end_fold(target);
        self.window.drop_up_to(target);
        self.recent.write().folded(target);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, StateDelta,
        StateKey, Store, StoreOptions, store::Tip,
    };

    const ACCOUNTS: [Address; 3] =
        [Address::new([1; 32]), Address::new([2; 32]), Address::new([3; 32])];

    fn block(topoheight: u64) -> BlockCommit {
        let mut delta = StateDelta::new();
        for account in ACCOUNTS {
            delta.set_balance(account, AssetId::NATIVE, Amount::new(topoheight * 10));
        }
        let block = BlockRef {
            topoheight: TopoHeight::new(topoheight),
            hash: BlockHash::new([topoheight as u8; 32]),
        };
        BlockCommit::new(block, BlockFacts::default(), delta)
    }

    #[test]
    fn what_was_folded_leaves_the_window() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 0..6 {
            store.commit(block(topoheight)).unwrap();
        }
        store.advance_view(TopoHeight::new(4)).unwrap();
        let key = StateKey::Balance(ACCOUNTS[0], AssetId::NATIVE);
        assert!(store.inner.window.read(&key, Some(TopoHeight::new(4))).is_none());
        assert!(store.inner.window.read(&key, Some(TopoHeight::new(5))).is_some());
    }

    #[test]
    fn a_view_of_a_block_that_is_not_there_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 0..6 {
            store.commit(block(topoheight)).unwrap();
        }
        let tip = store.tip().unwrap();
        let next = Tip { block: block(6).block, ..tip };
        store.inner.view.fold([], next).unwrap();
        drop(store);
        let refused = Store::open(directory.path(), StoreOptions::default());
        assert!(
            matches!(refused, Err(StoreError::Corrupt { problem: Corruption::Sequence, .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn an_unfinished_fold_forbids_what_lies_below_its_goal() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 0..6 {
            store.commit(block(topoheight)).unwrap();
        }
        assert_eq!(store.inner.frontier.begin_fold(TopoHeight::new(3)), Some(TopoHeight::new(3)));
        assert!(matches!(
            store.rollback(Some(TopoHeight::new(2))),
            Err(StoreError::BelowView { .. })
        ));
        assert!(matches!(store.base_snapshot(), Err(StoreError::BelowView { .. })));
        // A shorter fold takes over the goal.
        assert_eq!(store.advance_view(TopoHeight::new(1)).unwrap(), Some(TopoHeight::new(3)));
    }
}
