//! The writes of one block.
//!
//! Three things look alike and are not: no write, a write of *none* (a deletion), and a write of the
//! value that was there before. The chain stores a version for the last two, so all three are kept
//! apart here and compared as such.

use std::collections::{BTreeMap, btree_map};

use crate::{Address, Amount, AssetId, MultisigConfig, Nonce, StateKey, StateValue};

/// The sorted writes of one block: for each written key its value afterwards, or `None` where the
/// block deleted it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDelta(BTreeMap<StateKey, Option<StateValue>>);

impl StateDelta {
    /// No writes.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Records a write and returns the one that it replaces.
    ///
    /// # Panics
    ///
    /// When the value is not of the key's kind: no input can cause that, only a wrong caller.
    pub fn insert(
        &mut self,
        key: StateKey,
        value: Option<StateValue>,
    ) -> Option<Option<StateValue>> {
        if let Some(value) = &value {
            assert!(key.holds(value), "{key} cannot hold {value:?}");
        }
        self.0.insert(key, value)
    }

    /// Records the nonce of an account.
    pub fn set_nonce(&mut self, account: Address, nonce: Nonce) {
        self.0.insert(StateKey::Nonce(account), Some(StateValue::Nonce(nonce)));
    }

    /// Records a balance.
    pub fn set_balance(&mut self, account: Address, asset: AssetId, amount: Amount) {
        self.0.insert(StateKey::Balance(account, asset), Some(StateValue::Balance(amount)));
    }

    /// Records a multisig configuration, or its deletion.
    pub fn set_multisig(&mut self, account: Address, config: Option<MultisigConfig>) {
        self.0.insert(StateKey::Multisig(account), config.map(StateValue::Multisig));
    }

    /// Records that an account became known to the chain.
    pub fn register(&mut self, account: Address) {
        self.0.insert(StateKey::Registered(account), Some(StateValue::Registered));
    }

    /// What was written under a key: `None` for no write, `Some(None)` for a deletion.
    pub fn get(&self, key: &StateKey) -> Option<Option<&StateValue>> {
        self.0.get(key).map(Option::as_ref)
    }

    /// Takes a write back.
    pub fn remove(&mut self, key: &StateKey) -> Option<Option<StateValue>> {
        self.0.remove(key)
    }

    /// Adds the writes of a later delta; where both write a key the later one stays.
    pub fn extend(&mut self, later: StateDelta) {
        self.0.extend(later.0);
    }

    /// The writes in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&StateKey, Option<&StateValue>)> {
        self.0.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The written keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &StateKey> {
        self.0.keys()
    }

    /// How many keys are written.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for StateDelta {
    type Item = (StateKey, Option<StateValue>);
    type IntoIter = btree_map::IntoIter<StateKey, Option<StateValue>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl FromIterator<(StateKey, Option<StateValue>)> for StateDelta {
    /// Where a key occurs twice the last write stays.
    fn from_iter<I: IntoIterator<Item = (StateKey, Option<StateValue>)>>(writes: I) -> Self {
        let mut delta = Self::new();
        for (key, value) in writes {
            delta.insert(key, value);
        }
        delta
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new([1; 32]);

    #[test]
    fn a_write_of_none_is_not_no_write() {
        let mut delta = StateDelta::new();
        assert_eq!(delta.get(&StateKey::Multisig(A)), None);
        delta.set_multisig(A, None);
        assert_eq!(delta.get(&StateKey::Multisig(A)), Some(None));
    }

    #[test]
    fn a_later_delta_overrides_and_adds() {
        let mut delta = StateDelta::new();
        delta.set_nonce(A, Nonce::new(1));
        let mut later = StateDelta::new();
        later.set_nonce(A, Nonce::new(2));
        later.register(A);
        delta.extend(later);
        assert_eq!(delta.len(), 2);
        assert_eq!(delta.get(&StateKey::Nonce(A)), Some(Some(&StateValue::Nonce(Nonce::new(2)))));
    }

    #[test]
    #[should_panic(expected = "cannot hold")]
    fn a_value_of_another_kind_is_a_programmer_error() {
        StateDelta::new().insert(StateKey::Nonce(A), Some(StateValue::Registered));
    }
}
