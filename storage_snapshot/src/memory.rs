//! State in memory: the model that the store is checked against, and the closed world that one
//! block is executed in.

use std::collections::{BTreeMap, BTreeSet};

use crate::{ReadError, StateDelta, StateKey, StateRead, StateValue};

/// State at one moment, in a sorted map.
///
/// What is neither listed nor marked unknown does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryState {
    values: BTreeMap<StateKey, StateValue>,
    unknown: BTreeSet<StateKey>,
}

impl MemoryState {
    /// The empty state.
    pub const fn new() -> Self {
        Self { values: BTreeMap::new(), unknown: BTreeSet::new() }
    }

    /// Applies the writes of a block; a key that is written is known again.
    pub fn apply(&mut self, delta: &StateDelta) {
        for (key, value) in delta.iter() {
            self.set(*key, value.cloned());
        }
    }

    /// Sets or clears one key.
    pub fn set(&mut self, key: StateKey, value: Option<StateValue>) {
        self.unknown.remove(&key);
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
    }

    /// Marks a key whose value cannot be told any more.
    pub fn forget(&mut self, key: StateKey) {
        self.values.remove(&key);
        self.unknown.insert(key);
    }

    /// The values in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&StateKey, &StateValue)> {
        self.values.iter()
    }

    /// The keys whose value is not known.
    pub fn unknown(&self) -> impl ExactSizeIterator<Item = &StateKey> {
        self.unknown.iter()
    }
}

impl StateRead for MemoryState {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self.values.get(key) {
            Some(value) => Ok(Some(value.clone())),
            None if self.unknown.contains(key) => Err(ReadError::Unknown(*key)),
            None => Ok(None),
        }
    }
}
