//! The closed world of one block: the values of its named keys just before it.
//!
//! The control and every candidate read this and nothing else. So they agree on what they started
//! from by construction, a block can be executed again from its evidence alone, and no snapshot has
//! to stay open while a slow candidate thinks.

use std::{borrow::Cow, sync::Arc};

use comparator::Before;
use storage_snapshot::{
    Address, Amount, AssetId, Nonce, ReadError, Reader, StateKey, StateRead, StateValue,
};

use super::ExecutableBlock;
use crate::rules::{Finder, NamedKeys, Walk};

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
        // The keys of the account that is come to last may be more than were to be asked for.
        let most = keys.len().min(ASKED_AT_ONCE + KEYS_PER_ACCOUNT);
        let mut positions = Vec::with_capacity(most);
        let mut asked = Vec::with_capacity(most);
        let mut places = 0..keys.accounts().len();
        while !places.is_empty() {
            positions.clear();
            asked.clear();
            while asked.len() < ASKED_AT_ONCE
                && let Some(place) = places.next()
            {
                // The keys of an account together.
                keys.for_each_at(place, |position, key| {
                    positions.push(position);
                    asked.push(key);
                });
            }
            let (mut answered, mut failed) = (positions.iter(), None);
            snapshot.read_many(&asked, &mut |answer| {
                let Some(position) = answered.next() else { return };
                match answer {
                    Ok(Some(value)) => values[*position] = Known::Value(value),
                    Ok(None) => {}
                    Err(ReadError::Unknown(_)) => values[*position] = Known::Unknown,
                    Err(error) => failed = failed.take().or(Some(error)),
                }
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if answered.len() > 0 {
                // Taken for keys that do not exist they would be a state that nobody has.
                return Err(ReadError::Storage("not every key was answered for".to_owned()));
            }
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

    /// The accounts of which something is listed, in order: an account's place is its place among them.
    pub fn accounts(&self) -> &[Address] {
        self.keys.accounts()
    }

    /// How many balances are listed.
    pub fn balances(&self) -> usize {
        self.keys.balances()
    }

    /// The place of an account.
    pub fn place(&self, account: &Address) -> Option<usize> {
        self.keys.place(account)
    }

    /// Finds the places of a block's accounts.
    pub fn walk(&self) -> Walk<'_> {
        self.keys.walk()
    }

    /// Finds the places of accounts, without a search if asked in the order of the keys.
    pub fn finder(&self) -> Finder<'_> {
        self.keys.finder()
    }

    /// For every transaction of the block that the world was made for the places of the accounts that it
    /// names, its source first; nothing if it was made for none.
    pub fn mentions(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.keys.mentions()
    }

    /// The place of the source of the transaction with a number in the block that the world was made for;
    /// `None` if it was made for none.
    pub fn source(&self, transaction: usize) -> Option<usize> {
        self.keys.source(transaction)
    }

    /// The nonce of the account at a place.
    ///
    /// # Errors
    ///
    /// When it is not known.
    pub fn nonce_at(&self, place: usize) -> Result<Option<Nonce>, ReadError> {
        match self.values[self.keys.nonce_position(place)] {
            Known::Value(StateValue::Nonce(nonce)) => Ok(Some(nonce)),
            Known::Unknown => Err(ReadError::Unknown(StateKey::Nonce(self.accounts()[place]))),
            Known::Value(_) | Known::None => Ok(None),
        }
    }

    /// The balance of the account at a place, 0 if it has none.
    ///
    /// # Errors
    ///
    /// When it is not known.
    pub fn balance_at(&self, place: usize, asset: AssetId) -> Result<Amount, ReadError> {
        match self.keys.balance_position(place, &asset).map(|position| &self.values[position]) {
            Some(Known::Value(StateValue::Balance(amount))) => Ok(*amount),
            Some(Known::Unknown) => {
                Err(ReadError::Unknown(StateKey::Balance(self.accounts()[place], asset)))
            }
            Some(Known::Value(_) | Known::None) | None => Ok(Amount::ZERO),
        }
    }

    /// The nonce or the balance under a key of the account at a place; `None` where the key is not listed.
    #[inline(always)]
    pub fn before_at(&self, place: usize, key: &StateKey) -> Option<Before> {
        Some(match &self.values[self.keys.position_at(place, key)?] {
            Known::Value(value) => Before::of(Some(value)),
            Known::Unknown if matches!(key, StateKey::Nonce(_) | StateKey::Balance(..)) => {
                Before::Unknown
            }
            Known::None | Known::Unknown => Before::Nothing,
        })
    }

    /// Whether the account at a place is known to the chain.
    ///
    /// # Errors
    ///
    /// When that is not known.
    pub fn is_registered_at(&self, place: usize) -> Result<bool, ReadError> {
        match self.values[self.keys.registered_position(place)] {
            Known::Value(_) => Ok(true),
            Known::Unknown => Err(ReadError::Unknown(StateKey::Registered(self.accounts()[place]))),
            Known::None => Ok(false),
        }
    }

    /// The same world, in which every account that the block names has a place.
    ///
    /// What was resolved for the block is such a world already. One that was read from its values lists
    /// only accounts that have any.
    pub fn covering(&self, block: &ExecutableBlock) -> Cow<'_, Self> {
        let bodies = || block.transactions.iter().map(|transaction| &transaction.body);
        if self.keys.names(&block.miner, &block.dev, bodies()) {
            return Cow::Borrowed(self);
        }
        Cow::Owned(self.made_for(block))
    }

    /// The same world, in which the block's accounts have their places and are listed in its order.
    pub fn made_for(&self, block: &ExecutableBlock) -> Self {
        let bodies = block.transactions.iter().map(|transaction| &transaction.body);
        let keys = NamedKeys::of_block(&block.miner, &block.dev, bodies);
        let values = keys.iter().map(|key| {
            let position = self.keys.position(&key);
            position.map_or(Known::None, |position| self.values[position].clone())
        });
        let values = values.collect();
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

/// How many keys are asked for at once: enough that their reader can look ahead, and so few that they stay in
/// the processor's cache.
const ASKED_AT_ONCE: usize = 256;

/// What most accounts name.
const KEYS_PER_ACCOUNT: usize = 4;

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
