//! Folding: bringing the view forward, so that the window stays small.
//!
//! A fold takes several batches, and between the first and the last the records stand at different
//! blocks. So the view's state says in every batch how far the fold goes, nothing below that is
//! readable from the moment it begins, and a fold that was interrupted is ended before anything else:
//! it takes the same versions from the same log and writes the same records.

use super::Inner;
use crate::{Corruption, StoreError, TopoHeight, encoding::ViewState, version::Position};

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
        let between = ViewState { tip: before, folding_to: Some(target) };
        let last = ViewState { tip: Some(after), folding_to: None };
        self.view.write(versions, &between, &last)?;

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
        StateKey, StateRead, StateValue, Store, StoreOptions,
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
    fn a_fold_that_was_interrupted_is_ended_on_open() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 0..6 {
            store.commit(block(topoheight)).unwrap();
        }
        store.advance_view(TopoHeight::new(1)).unwrap();

        // The first batch of a fold to 4, and then nothing more.
        let target = TopoHeight::new(4);
        let inner = &store.inner;
        let between = ViewState {
            tip: inner.recent.read().tip_at(TopoHeight::new(1)),
            folding_to: Some(target),
        };
        let key = StateKey::Balance(ACCOUNTS[0], AssetId::NATIVE);
        let stamped = inner.window.read(&key, Some(target)).unwrap();
        inner.view.write([(key, stamped)], &between, &between).unwrap();
        drop(store);

        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        assert_eq!(store.view_tip(), Some(target));
        assert!(matches!(
            store.snapshot_at(TopoHeight::new(2)),
            Err(StoreError::BelowView { topoheight: Some(_), oldest }) if oldest == target
        ));
        for topoheight in 4..6 {
            let snapshot = store.snapshot_at(TopoHeight::new(topoheight)).unwrap();
            for account in ACCOUNTS {
                assert_eq!(
                    snapshot.read(&StateKey::Balance(account, AssetId::NATIVE)),
                    Ok(Some(StateValue::Balance(Amount::new(topoheight * 10))))
                );
            }
        }
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
    fn a_fold_to_a_block_that_is_not_there_is_damage() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 0..6 {
            store.commit(block(topoheight)).unwrap();
        }
        let between = ViewState { tip: None, folding_to: Some(TopoHeight::new(6)) };
        store.inner.view.write([], &between, &between).unwrap();
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
