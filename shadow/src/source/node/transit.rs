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
        let snapshot = self.snapshot()?;
        let unknown = keys.filter(|key| {
            // What cannot be read is found out by whoever needs it.
            let in_store = |snapshot: &Snapshot| -> Result<bool, ReadError> {
                Ok(snapshot.version(key)?.is_some())
            };
            !self.keys.contains(key) && !in_store(&snapshot).unwrap_or(true)
        });
        Ok(unknown.collect())
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

const ATTEMPTS_MAX: usize = 16;
