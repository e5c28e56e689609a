//! What state *is*: the words for accounts, assets and balances, the writes of a block, and a
//! versioned store that answers "what was the value of this key just after block T".
//!
//! Reads are performed through [`StateRead`], which [`MemoryState`] and the store's snapshots
//! implement; writes are collected in a [`StateDelta`] and reach the store in one atomic commit per
//! block. The crate knows nothing of transactions, rules or execution.

mod delta;
mod digest;
mod encoding;
mod error;
mod ids;
mod memory;
mod state;
mod store;
mod uniform;
mod units;
mod version;

pub use delta::{DeltaPart, StateDelta};
pub use digest::StateDigest;
pub use error::{Corruption, StoreError, TreeName};
pub use ids::{Address, AssetId, BlockHash, ParseIdError, TxHash};
pub use memory::MemoryState;
pub use state::{
    BlockFacts, BlockRef, MultisigConfig, ReadError, Reader, StateKey, StateRead, StateValue,
};
pub use store::{
    BlockCommit, CommittedBlock, LockHolder, Snapshot, Staged, Store, StoreOptions, Tip,
    lock_holder,
};
pub use uniform::{UniformHasher, UniformState};
pub use units::{Amount, BlueScore, Nonce, TopoHeight};
pub use version::Version;
