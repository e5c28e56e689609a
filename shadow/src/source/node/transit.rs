//! Keys whose value was handed over, but may not be in the store yet.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use storage_snapshot::{ReadError, Snapshot, StateKey, Store, StoreError};

/// What of the state is known, in the store or on its way there.
#[derive(Debug)]
pub(super) struct Transit {
    store: Store,
    /// How many blocks whoever takes them is done with.
    done: Arc<AtomicU64>,
    sent: u64,
    keys: HashSet<StateKey, ahash::RandomState>,
    by_block: VecDeque<(u64, Vec<StateKey>)>,
}

impl Transit {
    pub(super) fn new(store: Store, done: Arc<AtomicU64>) -> Self {
        Self { store, done, sent: 0, keys: HashSet::default(), by_block: VecDeque::new() }
    }

    /// The keys whose value cannot be told from what is known.
    pub(super) fn unknown(
        &mut self,
        keys: impl Iterator<Item = StateKey>,
    ) -> Result<Vec<StateKey>, StoreError> {
        self.forget();
        let keys: Vec<_> = keys.filter(|key| !self.keys.contains(key)).collect();
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = self.snapshot()?;
            if let Some(unknown) = unknown_in(&snapshot, &keys) {
                return Ok(unknown);
            }
        }
        // Asking for what is known costs no more than the question.
        Ok(keys)
    }

    /// A block is handed over, with the values of these keys. Blocks are counted.
    pub(super) fn send(&mut self, keys: impl Iterator<Item = StateKey>) {
        self.sent += 1;
        let keys: Vec<_> = keys.collect();
        if !keys.is_empty() {
            self.keys.extend(keys.iter().copied());
            self.by_block.push_back((self.sent, keys));
        }
    }

    /// Forgets what is in the store by now.
    fn forget(&mut self) {
        let done = self.done.load(Ordering::Acquire);
        while self.by_block.front().is_some_and(|(sent, _)| *sent <= done) {
            for key in self.by_block.pop_front().into_iter().flat_map(|(_, keys)| keys) {
                self.keys.remove(&key);
            }
        }
    }

    /// A re-order between the two questions takes the head away; then there is another one.
    fn snapshot(&self) -> Result<Snapshot, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let snapshot = match self.store.head() {
                Some(head) => self.store.snapshot_at(head.topoheight),
                None => self.store.base_snapshot(),
            };
            if let Ok(snapshot) = snapshot {
                return Ok(snapshot);
            }
        }
        self.store.base_snapshot()
    }
}

/// The keys that a snapshot has no version of; `None` if it was revoked meanwhile, so that nobody can tell.
fn unknown_in(snapshot: &Snapshot, keys: &[StateKey]) -> Option<Vec<StateKey>> {
    let mut unknown = Vec::new();
    for key in keys {
        match snapshot.version(key) {
            Ok(Some(_)) => {}
            Ok(None) => unknown.push(*key),
            Err(ReadError::Revoked) => return None,
            // What cannot be read is found out by whoever needs it.
            Err(_) => {}
        }
    }
    Some(unknown)
}

const ATTEMPTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use storage_snapshot::{
        Address, BlockCommit, BlockFacts, BlockHash, BlockRef, Nonce, StateDelta, StoreOptions,
        TopoHeight,
    };

    use super::*;

    fn key(number: u8) -> StateKey {
        StateKey::Nonce(Address::new([number; 32]))
    }

    #[test]
    fn a_snapshot_that_a_re_order_revokes_is_not_taken_to_know_everything() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for number in 0..2 {
            let mut delta = StateDelta::new();
            delta.set_nonce(Address::new([number; 32]), Nonce::new(1));
            let block = BlockRef {
                topoheight: TopoHeight::new(number.into()),
                hash: BlockHash::new([number; 32]),
            };
            store.commit(BlockCommit::new(block, BlockFacts::default(), delta)).unwrap();
        }
        let keys = [key(0), key(1), key(2)];
        let snapshot = store.snapshot_at(TopoHeight::new(1)).unwrap();
        assert_eq!(unknown_in(&snapshot, &keys), Some(vec![key(2)]));
        store.rollback(Some(TopoHeight::GENESIS)).unwrap();
        assert_eq!(unknown_in(&snapshot, &keys), None);
        let mut transit = Transit::new(store, Arc::default());
        assert_eq!(transit.unknown(keys.into_iter()).unwrap(), [key(1), key(2)]);
    }
}
