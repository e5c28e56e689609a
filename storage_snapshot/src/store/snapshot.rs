//! A snapshot: the state just after one block, for as long as it is held.
//!
//! Opening one costs the same whatever the size of the state. It is a [`StateRead`], and nothing can
//! be written through it.
//!
//! **Why reading the window first and the view second is right while a fold runs.** A fold writes a
//! version into the view *before* it drops it from the window, so a version that is not in the window
//! any more is in the view by the time the reader gets there, and one that is still in both places is
//! the same in both. The fold never goes past the lowest pin, so it never brings a version into the
//! view that is later than what this reader may see.

use std::{fmt, sync::Arc};

use super::{Inner, pins::Pin, window::KEYS_AT_ONCE};
use crate::{
    Address, ReadError, StateKey, StateRead, StateValue, TopoHeight,
    version::{Stamped, Version},
};

/// The state just after one block. Keeps the store open and pins the block until dropped.
pub struct Snapshot {
    store: Arc<Inner>,
    pin: Pin,
}

impl Snapshot {
    pub(super) const fn new(store: Arc<Inner>, pin: Pin) -> Self {
        Self { store, pin }
    }

    /// The block; `None` for the base.
    pub const fn topoheight(&self) -> Option<TopoHeight> {
        self.pin.position()
    }

    /// Whether a rollback went below the block. Every read is then refused.
    pub fn is_revoked(&self) -> bool {
        self.pin.is_revoked()
    }

    /// The last version of a key together with the block that wrote it (`None`: it is a value of the
    /// base); `None` for a key that was never written. Unlike a read it tells an unknown value as
    /// such.
    ///
    /// # Errors
    ///
    /// [`ReadError::Revoked`] and [`ReadError::Storage`].
    pub fn version(
        &self,
        key: &StateKey,
    ) -> Result<Option<(Option<TopoHeight>, Version)>, ReadError> {
        let stamped = self.stamped(key)?;
        Ok(stamped.map(|stamped| (stamped.written_at, stamped.version)))
    }

    /// The same of many keys, told in their order. It takes far less time than asking for each if those of an
    /// account come one after another.
    ///
    /// # Errors
    ///
    /// As [`version`](Self::version).
    pub fn versions(
        &self,
        keys: &[StateKey],
        mut told: impl FnMut(&StateKey, Option<(Option<TopoHeight>, Version)>),
    ) -> Result<(), ReadError> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            if self.is_revoked() {
                return Err(ReadError::Revoked);
            }
            let found = self.store.stamped_each(keys, self.pin.position());
            // Afterwards as well, for the same reason as with one key.
            if self.is_revoked() {
                return Err(ReadError::Revoked);
            }
            let found = found.map_err(|error| ReadError::Storage(error.to_string()))?;
            for (key, stamped) in keys.iter().zip(found) {
                told(key, stamped.map(|stamped| (stamped.written_at, stamped.version)));
            }
        }
        Ok(())
    }

    /// Brings what is needed to read these keys into memory, in one pass over the disk.
    ///
    /// A record that cannot be read is left out; reading its keys then says why.
    pub fn prefetch(&self, keys: &[StateKey]) {
        let mut accounts: Vec<&Address> = keys
            .iter()
            .filter(|key| self.store.window.read(key, self.pin.position()).is_none())
            .map(StateKey::account)
            .collect();
        accounts.sort_unstable();
        accounts.dedup();
        for account in accounts {
            if self.is_revoked() {
                return;
            }
            let _told_by_the_read = self.store.view.prefetch(account);
        }
    }

    /// Checks before, so that a revoked snapshot costs nothing, and after, because a rollback may
    /// drop versions while they are looked up. It revokes first and drops afterwards, so whoever
    /// missed a dropped version also sees the revocation.
    fn stamped(&self, key: &StateKey) -> Result<Option<Stamped>, ReadError> {
        if self.is_revoked() {
            return Err(ReadError::Revoked);
        }
        let stamped = self.store.stamped(key, self.pin.position());
        if self.is_revoked() {
            return Err(ReadError::Revoked);
        }
        stamped.map_err(|error| ReadError::Storage(error.to_string()))
    }
}

impl StateRead for Snapshot {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self.stamped(key)? {
            Some(stamped) => stamped.version.read(key),
            None => Ok(None),
        }
    }

    fn read_many(
        &self,
        keys: &[StateKey],
        answer: &mut dyn FnMut(Result<Option<StateValue>, ReadError>),
    ) -> Result<(), ReadError> {
        self.versions(keys, |key, version| {
            answer(version.map_or(Ok(None), |(_, version)| version.read(key)));
        })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("topoheight", &self.topoheight())
            .field("revoked", &self.is_revoked())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        BlockCommit, BlockFacts, BlockHash, BlockRef, Nonce, StateDelta, Store, StoreOptions,
    };

    const ACCOUNT: Address = Address::new([1; 32]);

    #[test]
    fn a_snapshot_that_is_revoked_in_the_middle_of_a_read_does_not_answer() {
        check_revoked_while(|snapshot| snapshot.read(&StateKey::Nonce(ACCOUNT)).map(drop));
        check_revoked_while(|snapshot| {
            let keys = [StateKey::Nonce(ACCOUNT), StateKey::Registered(ACCOUNT)];
            snapshot.read_many(&keys, &mut |answer| panic!("it answered {answer:?}"))
        });
    }

    #[track_caller]
    fn check_revoked_while(read: fn(&Snapshot) -> Result<(), ReadError>) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for number in 0..2 {
            let topoheight = TopoHeight::new(number);
            let mut delta = StateDelta::new();
            delta.set_nonce(ACCOUNT, Nonce::new(number));
            let block = BlockRef { topoheight, hash: BlockHash::new([number as u8; 32]) };
            store.commit(BlockCommit::new(block, BlockFacts::default(), delta)).unwrap();
        }
        let snapshot = store.snapshot_at(TopoHeight::new(1)).unwrap();
        let held = store.inner.window.hold();
        let reading = thread::spawn(move || read(&snapshot));
        // It has most likely begun to read by then; if not it must be refused all the same.
        let deadline = Instant::now() + Duration::from_millis(100);
        while Instant::now() < deadline {
            thread::yield_now();
        }
        store.inner.frontier.lock().retreat(None, None);
        drop(held);
        assert_eq!(reading.join().unwrap(), Err(ReadError::Revoked));
    }
}
