//! Which values of the state are still known.
//!
//! A contract may pay anybody. If a block ran one and nobody asked the node whom it paid, then every
//! balance that nobody has written since may be another one now. Such values are not zero and not
//! the old ones; they are unknown until something tells them.

use std::{collections::HashSet, sync::Arc};

use storage_snapshot::{ReadError, Snapshot, StateKey, StateRead, StateValue, TopoHeight, Version};

/// A snapshot that does not answer what it cannot know.
#[derive(Debug)]
pub struct KnownState {
    snapshot: Snapshot,
    /// The last block that may have paid anybody.
    blind_since: Option<TopoHeight>,
    /// Keys of which every version is known, so that no payment can have been missed.
    walked: Arc<HashSet<StateKey>>,
}

impl KnownState {
    /// What of a snapshot is known, if the last block that may have paid anybody was `blind_since`.
    pub const fn new(
        snapshot: Snapshot,
        blind_since: Option<TopoHeight>,
        walked: Arc<HashSet<StateKey>>,
    ) -> Self {
        Self { snapshot, blind_since, walked }
    }

    /// The block that wrote a key last; `None` if none did.
    ///
    /// # Errors
    ///
    /// When the snapshot cannot be read.
    pub fn written_at(&self, key: &StateKey) -> Result<Option<TopoHeight>, ReadError> {
        Ok(self.snapshot.version(key)?.and_then(|(written_at, _)| written_at))
    }
}

impl StateRead for KnownState {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        let Some(blind_since) = self.blind_since else { return self.snapshot.read(key) };
        let (written_at, version) = match self.snapshot.version(key)? {
            Some((written_at, version)) => (written_at, version),
            None => (None, Version::Known(None)),
        };
        let value = match version {
            Version::Known(value) => value,
            Version::Unknown => return Err(ReadError::Unknown(*key)),
        };
        let may_have_changed = match key {
            StateKey::Balance(..) => true,
            // A payment gives an account both, and changes neither.
            StateKey::Nonce(_) | StateKey::Registered(_) => value.is_none(),
            StateKey::Multisig(_) => false,
        };
        if may_have_changed && written_at < Some(blind_since) && !self.walked.contains(key) {
            return Err(ReadError::Unknown(*key));
        }
        Ok(value)
    }
}
