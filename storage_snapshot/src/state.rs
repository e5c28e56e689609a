//! State: the keys an account-based chain keeps, their values, and the right to read them.
//!
//! Everything that executes, compares or stores speaks of state in these words only, so a key that
//! is missing here is missing everywhere, and one that is added is noticed by every `match`.

use std::fmt;

use crate::{Address, Amount, AssetId, BlockHash, BlueScore, Nonce, TopoHeight};

/// What a value belongs to.
///
/// The order is the order in which differences are shown: nonces, balances, multisig, registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKey {
    /// The next nonce of an account.
    Nonce(Address),
    /// What an account holds of an asset.
    Balance(Address, AssetId),
    /// The multisig configuration of an account.
    Multisig(Address),
    /// Whether an account is known to the chain.
    Registered(Address),
}

impl StateKey {
    /// The account that the key is about.
    #[inline]
    pub const fn account(&self) -> &Address {
        match self {
            Self::Nonce(account)
            | Self::Balance(account, _)
            | Self::Multisig(account)
            | Self::Registered(account) => account,
        }
    }

    /// The asset, for a balance.
    pub const fn asset(&self) -> Option<&AssetId> {
        match self {
            Self::Balance(_, asset) => Some(asset),
            Self::Nonce(_) | Self::Multisig(_) | Self::Registered(_) => None,
        }
    }

    /// Whether a value is of the kind that this key holds.
    pub const fn holds(&self, value: &StateValue) -> bool {
        matches!(
            (self, value),
            (Self::Nonce(_), StateValue::Nonce(_))
                | (Self::Balance(..), StateValue::Balance(_))
                | (Self::Multisig(_), StateValue::Multisig(_))
                | (Self::Registered(_), StateValue::Registered)
        )
    }
}

/// A value under a [`StateKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateValue {
    /// Under [`StateKey::Nonce`].
    Nonce(Nonce),
    /// Under [`StateKey::Balance`].
    Balance(Amount),
    /// Under [`StateKey::Multisig`]. Boxed, because few keys hold one and every value would have room for it.
    Multisig(Box<MultisigConfig>),
    /// Under [`StateKey::Registered`]: an account is registered or has no value, never "false".
    Registered,
}

impl From<MultisigConfig> for StateValue {
    fn from(config: MultisigConfig) -> Self {
        Self::Multisig(Box::new(config))
    }
}

/// How many of which participants must sign for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultisigConfig {
    /// How many signatures a transaction needs.
    pub threshold: u8,
    /// The accounts that may sign; their order is part of the configuration.
    pub participants: Vec<Address>,
}

/// Which block: a hash alone does not say where it was executed, and a topoheight alone does not
/// say which block was there before a re-order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// The position in execution order.
    pub topoheight: TopoHeight,
    /// The block at that position.
    pub hash: BlockHash,
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:.8})", self.topoheight, self.hash)
    }
}

/// What later blocks need to know of a block besides the state that it wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockFacts {
    /// The block's blue score: it decides whether a later block is a side block.
    pub blue_score: BlueScore,
    /// Whether the block was rewarded as a side block.
    pub side_block: bool,
    /// The units of the native asset ever emitted, this block included.
    pub emitted_supply: Amount,
    /// The units of the native asset ever burned, this block included; `None` once a block burned
    /// an amount that could not be told.
    pub burned_supply: Option<Amount>,
}

impl Default for BlockFacts {
    /// The facts before the first block.
    fn default() -> Self {
        Self {
            blue_score: BlueScore::default(),
            side_block: false,
            emitted_supply: Amount::ZERO,
            burned_supply: Some(Amount::ZERO),
        }
    }
}

/// The right to read state, and nothing else.
///
/// An executor that is handed a `StateRead` cannot write: that is how no result of a candidate can
/// reach the store.
pub trait StateRead {
    /// The value of a key, `None` if it has none (never written, or deleted).
    ///
    /// # Errors
    ///
    /// When the value cannot be told. That is not the same as having none, and must never be
    /// taken as zero.
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError>;

    /// Reads many keys and answers for each, in their order, like [`read`](Self::read). It is fastest if the
    /// keys of an account come one after another.
    ///
    /// # Errors
    ///
    /// When the state as a whole cannot be read; no more is answered then. That a value is not known is an
    /// answer.
    fn read_many(
        &self,
        keys: &[StateKey],
        answer: &mut dyn FnMut(Result<Option<StateValue>, ReadError>),
    ) -> Result<(), ReadError> {
        for key in keys {
            match self.read(key) {
                Err(error) if !matches!(error, ReadError::Unknown(_)) => return Err(error),
                answered => answer(answered),
            }
        }
        Ok(())
    }

    /// A reader for many keys. It answers like [`read`](Self::read), and may be faster when it is
    /// asked in the order of the keys: whoever keeps them in order need not search for each.
    fn reader(&self) -> Box<Reader<'_>> {
        Box::new(|key| self.read(key))
    }
}

/// Answers for one key after another.
pub type Reader<'a> = dyn FnMut(&StateKey) -> Result<Option<StateValue>, ReadError> + 'a;

impl<S: StateRead + ?Sized> StateRead for &S {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        (**self).read(key)
    }

    fn read_many(
        &self,
        keys: &[StateKey],
        answer: &mut dyn FnMut(Result<Option<StateValue>, ReadError>),
    ) -> Result<(), ReadError> {
        (**self).read_many(keys, answer)
    }

    fn reader(&self) -> Box<Reader<'_>> {
        (**self).reader()
    }
}

impl<S: StateRead + ?Sized> StateRead for std::sync::Arc<S> {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        (**self).read(key)
    }

    fn read_many(
        &self,
        keys: &[StateKey],
        answer: &mut dyn FnMut(Result<Option<StateValue>, ReadError>),
    ) -> Result<(), ReadError> {
        (**self).read_many(keys, answer)
    }

    fn reader(&self) -> Box<Reader<'_>> {
        (**self).reader()
    }
}

/// Why a value cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Something that was not executed here may have changed the key, and its new value was never
    /// learned.
    Unknown(StateKey),
    /// The snapshot was revoked, because the state under it had to be rolled back.
    Revoked,
    /// The storage failed.
    Storage(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => write!(f, "the value of {key} is not known"),
            Self::Revoked => f.write_str("the snapshot was revoked by a rollback"),
            Self::Storage(message) => write!(f, "reading the store failed: {message}"),
        }
    }
}

impl std::error::Error for ReadError {}

impl fmt::Display for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonce(account) => write!(f, "the nonce of {account}"),
            Self::Balance(account, asset) if *asset == AssetId::NATIVE => {
                write!(f, "the native balance of {account}")
            }
            Self::Balance(account, asset) => write!(f, "the balance of {account} in {asset}"),
            Self::Multisig(account) => write!(f, "the multisig of {account}"),
            Self::Registered(account) => write!(f, "the registration of {account}"),
        }
    }
}
