//! The closed world of one block: the values of its named keys just before it.
//!
//! The control and every candidate read this and nothing else. So they agree on what they started
//! from by construction, a block can be executed again from its evidence alone, and no snapshot has
//! to stay open while a slow candidate thinks.

use std::collections::HashMap;

use storage_snapshot::{ReadError, StateKey, StateRead, StateValue};

/// The values of a block's named keys before it; what is not listed does not exist.
#[derive(Clone, Debug, Default)]
pub struct PreState {
    values: HashMap<StateKey, Known, ahash::RandomState>,
}

#[derive(Clone, Debug)]
enum Known {
    Value(StateValue),
    /// Listed so that reading it is an error instead of "does not exist".
    Unknown,
}

impl PreState {
    /// Reads the keys from a snapshot, all before anything executes.
    ///
    /// # Errors
    ///
    /// When the snapshot fails. A value that is not *known* is no error here: it becomes one for
    /// the executor that needs it.
    pub fn resolve(keys: &[StateKey], snapshot: &impl StateRead) -> Result<Self, ReadError> {
        let mut values = HashMap::with_capacity_and_hasher(keys.len(), Default::default());
        for key in keys {
            match snapshot.read(key) {
                Ok(Some(value)) => values.insert(*key, Known::Value(value)),
                Ok(None) => None,
                Err(ReadError::Unknown(_)) => values.insert(*key, Known::Unknown),
                Err(error) => return Err(error),
            };
        }
        Ok(Self { values })
    }

    /// The values that exist, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&StateKey, &StateValue)> {
        self.values.iter().filter_map(|(key, known)| match known {
            Known::Value(value) => Some((key, value)),
            Known::Unknown => None,
        })
    }
}

impl StateRead for PreState {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self.values.get(key) {
            Some(Known::Value(value)) => Ok(Some(value.clone())),
            Some(Known::Unknown) => Err(ReadError::Unknown(*key)),
            None => Ok(None),
        }
    }
}

impl FromIterator<(StateKey, StateValue)> for PreState {
    fn from_iter<I: IntoIterator<Item = (StateKey, StateValue)>>(values: I) -> Self {
        let values = values.into_iter().map(|(key, value)| (key, Known::Value(value))).collect();
        Self { values }
    }
}
