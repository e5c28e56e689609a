//! Which values of the state are still known.
//!
//! A contract may pay anybody. If a block ran one and nobody asked the node whom it paid, then every
//! balance that nobody has written since may be another one now. Such values are not zero and not
//! the old ones; they are unknown until something tells them.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use storage_snapshot::{
    ReadError, Snapshot, StateDelta, StateKey, StateRead, StateValue, TopoHeight, Version,
};

use crate::source::BeforeStart;

/// A snapshot that does not answer what it cannot know.
#[derive(Debug)]
pub struct KnownState {
    snapshot: Snapshot,
    /// The last block that may have paid anybody.
    blind_since: Option<TopoHeight>,
    /// Keys of which every version is known, so that no payment can have been missed.
    walked: Arc<HashSet<StateKey>>,
    /// Values that were found out about exactly this state.
    in_force: HashMap<StateKey, Option<StateValue>>,
    /// What was found out about the state before the first block, and is not held yet.
    base: StateDelta,
    /// Whether keys that were never heard of do not exist. Where the chain was not followed from its
    /// beginning they may.
    unheard: Unheard,
}

/// What it means that a key was never heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unheard {
    /// It does not exist.
    Nonexistent,
    /// Nothing.
    Unknown,
}

impl KnownState {
    /// What of a snapshot is known, if the last block that may have paid anybody was `blind_since`.
    pub fn new(
        snapshot: Snapshot,
        blind_since: Option<TopoHeight>,
        walked: Arc<HashSet<StateKey>>,
    ) -> Self {
        Self {
            snapshot,
            blind_since,
            walked,
            in_force: HashMap::new(),
            base: StateDelta::new(),
            unheard: Unheard::Nonexistent,
        }
    }

    /// The same of a chain that was not followed from its beginning, with what was found out about
    /// exactly this state.
    #[must_use]
    pub fn of_followed(mut self, before: &BeforeStart) -> Self {
        self.in_force.extend(before.in_force.iter().cloned());
        self.base = before.base.clone();
        self.unheard = Unheard::Unknown;
        self
    }

    /// The last write of a key that is held: in which block (`None`: before the first one), and what;
    /// `None` if none is held.
    ///
    /// # Errors
    ///
    /// When the snapshot cannot be read.
    pub fn last_write(
        &self,
        key: &StateKey,
    ) -> Result<Option<(Option<TopoHeight>, Version)>, ReadError> {
        if let Some(value) = self.base.get(key) {
            return Ok(Some((None, Version::Known(value.cloned()))));
        }
        self.snapshot.version(key)
    }
}

impl KnownState {
    /// What is known of a key of which this is held.
    fn known(
        &self,
        key: &StateKey,
        held: Option<(Option<TopoHeight>, Version)>,
    ) -> Result<Option<StateValue>, ReadError> {
        let (written_at, version) = match held {
            Some((written_at, version)) => (written_at, version),
            None if self.unheard == Unheard::Unknown => return Err(ReadError::Unknown(*key)),
            None => (None, Version::Known(None)),
        };
        let value = match version {
            Version::Known(value) => value,
            Version::Unknown => return Err(ReadError::Unknown(*key)),
        };
        let Some(blind_since) = self.blind_since else { return Ok(value) };
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

impl StateRead for KnownState {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self.in_force.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.known(key, self.snapshot.version(key)?),
        }
    }

    fn read_many(
        &self,
        keys: &[StateKey],
        answer: &mut dyn FnMut(Result<Option<StateValue>, ReadError>),
    ) -> Result<(), ReadError> {
        self.snapshot.versions(keys, |key, held| {
            answer(match self.in_force.get(key) {
                Some(value) => Ok(value.clone()),
                None => self.known(key, held),
            });
        })
    }
}
