//! What a node says about the state at one position of its chain.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use storage_snapshot::{Address, Amount, AssetId, StateKey, StateValue, TopoHeight, TxHash};

/// Everything a node answered about one block.
///
/// An answer that is missing was never asked for: nothing can be concluded from it.
#[derive(Clone, Debug, Default)]
pub struct NodeAnswers {
    /// Whether the block wrote a version of a key, and which. A key may occur more than once when
    /// it was asked for in more than one way.
    pub versions: Vec<(StateKey, VersionAnswer)>,
    /// The keys of which every version that ever was is known: one that is not listed for this
    /// block was not written by it.
    pub walked: Arc<HashSet<StateKey>>,
    /// Whether the block executed a transaction.
    pub executed: HashMap<TxHash, bool>,
    /// What the contracts that a transaction called or deployed did.
    pub payouts: HashMap<TxHash, Vec<Payout>>,
    /// The newest value of keys, asked for when this block was the last.
    pub current: Vec<CurrentValue>,
    /// The burned supply, asked for when this block was the last.
    pub burned_supply: Option<Amount>,
}

/// Whether a key has a version exactly at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionAnswer {
    /// It has: this one. `None` is a version that says "deleted".
    Written(Option<StateValue>),
    /// It has none: the block did not write the key.
    NotWritten,
}

/// The newest value of a key, and where it was written if the node says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentValue {
    /// Which key.
    pub key: StateKey,
    /// Its value; `None` if it has none.
    pub value: Option<StateValue>,
    /// The position of its newest version.
    pub written_at: Option<TopoHeight>,
}

/// One output of a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payout {
    /// The contract paid an account.
    Transfer {
        /// Who received.
        destination: Address,
        /// In which asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
    },
    /// So much of the gas that was paid for was not used, and came back.
    RefundedGas(Amount),
}

impl NodeAnswers {
    /// Whether the block wrote each key that was asked for, by the first answer about it.
    pub fn first_versions(&self) -> HashMap<StateKey, &VersionAnswer> {
        let mut versions = HashMap::with_capacity(self.versions.len());
        for (key, answer) in &self.versions {
            versions.entry(*key).or_insert(answer);
        }
        versions
    }

    /// What is known of a key that no answer is about; `None` if nothing is.
    pub fn unlisted(&self, key: &StateKey) -> Option<&'static VersionAnswer> {
        self.walked.contains(key).then_some(&VersionAnswer::NotWritten)
    }
}
