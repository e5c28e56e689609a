//! Folding: bringing the view forward, so that the window stays small.
//!
//! What a fold writes becomes visible all at once, and nothing below its goal is readable from the moment it
//! begins: while it runs the window has what the view had. One that failed is begun again by the next.

use std::sync::Arc;

use super::{Inner, window::Write};
use crate::{
    Corruption, StateKey, StoreError, TopoHeight,
    version::{Position, Stamped},
};

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
        // The view must never be found ahead of the log, nor of the verdicts that were there before.
        self.log.sync()?;
        self.ledger.sync()?;
        let blocks = self.window.written(view, target);
        self.view.fold(last_versions(&blocks), after)?;

        self.frontier.end_fold(target);
        self.window.drop_up_to(target);
        self.recent.write().folded(target);
        Ok(())
    }
}

/// The last version of every key that some blocks wrote, one after another; those of an account are together,
/// and the accounts ascend.
fn last_versions(
    blocks: &[(TopoHeight, Arc<[Write]>)],
) -> impl Iterator<Item = (StateKey, Stamped)> {
    // Every write says which one it replaced, so those that stand in the end are found without looking at keys.
    let mut stands: Vec<_> = blocks.iter().map(|(_, writes)| vec![true; writes.len()]).collect();
    let first = blocks.first().map_or(TopoHeight::GENESIS, |(first, _)| *first);
    for replaced in blocks.iter().flat_map(|(_, writes)| writes.iter().filter_map(Write::replaced))
    {
        // What an earlier block wrote is in the view.
        if replaced.at() >= first {
            stands[replaced.at().blocks_since(first) as usize][replaced.index()] = false;
        }
    }
    // The first bytes of an account nearly always decide, and fit into a register.
    let mut writes: Vec<(u64, TopoHeight, &Write)> = blocks
        .iter()
        .zip(&stands)
        .flat_map(|((at, writes), stands)| {
            let standing = writes.iter().zip(stands).filter(|(_, stands)| **stands);
            standing.map(|(write, _)| (write.key().account().prefix(), *at, write))
        })
        .collect();
    writes.sort_unstable_by(|(one_prefix, _, one), (other_prefix, _, other)| {
        one_prefix.cmp(other_prefix).then_with(|| {
            let (one, other) = (one.key(), other.key());
            (one.account(), one).cmp(&(other.account(), other))
        })
    });
    writes.into_iter().map(|(_, at, write)| {
        let version = write.version().clone();
        (*write.key(), Stamped { written_at: Some(at), version })
    })
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
        assert_eq!(store.writes_to_fold(TopoHeight::new(4)), 5 * ACCOUNTS.len());
        store.advance_view(TopoHeight::new(4)).unwrap();
        assert_eq!(store.writes_to_fold(TopoHeight::new(4)), 0);
        assert_eq!(store.writes_to_fold(TopoHeight::new(9)), ACCOUNTS.len());
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
