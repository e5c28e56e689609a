//! The closed world of one block: the values of its named keys just before it.
//!
//! The control and every candidate read this and nothing else. So they agree on what they started
//! from by construction, a block can be executed again from its evidence alone, and no snapshot has
//! to stay open while a slow candidate thinks.

use std::sync::Arc;

use storage_snapshot::{ReadError, Reader, StateKey, StateRead, StateValue};

use crate::rules::NamedKeys;

/// The values of a block's named keys before it; what is not listed does not exist.
#[derive(Clone, Debug, Default)]
pub struct PreState {
    keys: Arc<NamedKeys>,
    /// In the order of the keys.
    values: Vec<Known>,
}

#[derive(Clone, Debug)]
enum Known {
    /// The key has no value.
    None,
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
    pub fn resolve(keys: &Arc<NamedKeys>, snapshot: &impl StateRead) -> Result<Self, ReadError> {
        let mut values = vec![Known::None; keys.len()];
        for (position, key) in keys.by_account() {
            values[position] = match snapshot.read(&key) {
                Ok(Some(value)) => Known::Value(value),
                Ok(None) => continue,
                Err(ReadError::Unknown(_)) => Known::Unknown,
                Err(error) => return Err(error),
            };
        }
        Ok(Self { keys: Arc::clone(keys), values })
    }

    /// The values that exist, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (StateKey, &StateValue)> {
        self.keys.iter().zip(&self.values).filter_map(|(key, known)| match known {
            Known::Value(value) => Some((key, value)),
            Known::None | Known::Unknown => None,
        })
    }

    /// The keys that are listed although their value is not known, in order.
    pub fn unknown(&self) -> impl Iterator<Item = StateKey> {
        self.keys
            .iter()
            .zip(&self.values)
            .filter_map(|(key, known)| matches!(known, Known::Unknown).then_some(key))
    }

    /// A closed world of these values, and of these keys whose value is not known.
    pub fn with_unknown(
        values: impl IntoIterator<Item = (StateKey, StateValue)>,
        unknown: impl IntoIterator<Item = StateKey>,
    ) -> Self {
        let values = values.into_iter().map(|(key, value)| (key, Known::Value(value)));
        let unknown = unknown.into_iter().map(|key| (key, Known::Unknown));
        let listed: Vec<_> = values.chain(unknown).collect();
        let keys: NamedKeys = listed.iter().map(|(key, _)| key).collect();
        let mut values = vec![Known::None; keys.len()];
        for (key, known) in listed {
            if let Some(position) = keys.position(&key) {
                values[position] = known;
            }
        }
        Self { keys: Arc::new(keys), values }
    }

    fn answer(
        &self,
        key: &StateKey,
        position: Option<usize>,
    ) -> Result<Option<StateValue>, ReadError> {
        match position.map(|position| &self.values[position]) {
            Some(Known::Value(value)) => Ok(Some(value.clone())),
            Some(Known::Unknown) => Err(ReadError::Unknown(*key)),
            Some(Known::None) | None => Ok(None),
        }
    }
}

impl StateRead for PreState {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        self.answer(key, self.keys.position(key))
    }

    fn reader(&self) -> Box<Reader<'_>> {
        let mut finder = self.keys.finder();
        Box::new(move |key| self.answer(key, finder.position(key)))
    }
}

impl FromIterator<(StateKey, StateValue)> for PreState {
    fn from_iter<I: IntoIterator<Item = (StateKey, StateValue)>>(values: I) -> Self {
        Self::with_unknown(values, [])
    }
}
