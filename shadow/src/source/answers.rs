//! What a node says about the state at one position of its chain.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use storage_snapshot::{
    Address, Amount, AssetId, BlockFacts, BlockRef, StateDelta, StateKey, StateValue, TopoHeight,
    TxHash,
};

use super::node::AskLater;

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
    /// Where the version before the one that the block wrote is, of nonces and balances; `None` if
    /// that is the first.
    pub previous: HashMap<StateKey, Option<TopoHeight>>,
    /// What keys, of which the block wrote no version, are in a node that wrote its versions to
    /// another position. Its next block starts from that.
    pub moved: HashMap<StateKey, Option<StateValue>>,
    /// Whether the block could still be ordered away when these answers were given.
    pub early: bool,
    /// Whether the source said then that it cannot be ordered away any more.
    pub stable: bool,
    /// What was before the first block, where the chain is not told from its beginning.
    pub before: Option<Box<BeforeStart>>,
    /// Who can be asked if it turns out that more has to be known.
    pub ask_later: Option<AskLater>,
}

/// What a block needs to know of the time before the first block that is told.
#[derive(Clone, Debug, Default)]
pub struct BeforeStart {
    /// What keys that nothing was known of so far were before the first block.
    pub base: StateDelta,
    /// What keys that nothing was known of so far were just before this block.
    pub in_force: Vec<(StateKey, Option<StateValue>)>,
    /// The facts of the last blocks before the first one; only told to the blocks that they matter to.
    pub facts: Arc<Vec<(BlockRef, BlockFacts)>>,
    /// Which transactions of this block were executed before the first one; told likewise.
    pub executed: Vec<TxHash>,
}

/// What a node answered about a block when it was asked again, after the block could not be ordered
/// away any more.
#[derive(Clone, Debug)]
pub struct AnswersAgain {
    /// Which block.
    pub block: BlockRef,
    /// Whether the block wrote a version of a key, and which.
    pub versions: Vec<(StateKey, VersionAnswer)>,
}

/// Whether a key has a version exactly at a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionAnswer {
    /// It has: this one. `None` is a version that says "deleted".
    Written(Option<StateValue>),
    /// It has none: the block did not write the key.
    NotWritten,
}

impl From<Option<Option<StateValue>>> for VersionAnswer {
    fn from(version: Option<Option<StateValue>>) -> Self {
        version.map_or(Self::NotWritten, Self::Written)
    }
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
