//! Blocks: transactions in execution order under a header that binds them.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};
use storage_snapshot::{
    Address, Amount, BlockHash, BlockRef, BlueScore, TopoHeight, TxHash, UniformState,
};

use super::{
    Network, OpaqueKind, Transaction,
    hash::{BoundHeader, merkle_root},
};

/// One block at its place in execution order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The name of the block; it binds every field but `topoheight`, `block_type`, `network` and
    /// `claimed`.
    pub hash: BlockHash,
    /// Its position in execution order, which a re-order may change.
    pub topoheight: TopoHeight,
    /// How the node saw it when asked. The same block is `Normal` first and `Sync` later.
    pub block_type: BlockType,
    /// The network that its addresses are written for.
    pub network: Network,
    /// The rules that it was made under.
    pub version: u8,
    /// Its depth in the DAG.
    pub blue_score: BlueScore,
    /// When it was made, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// What the miner varied to find it.
    pub nonce: u64,
    /// More of the same.
    pub extra_nonce: [u8; 32],
    /// Who is paid for it.
    pub miner: Address,
    /// Its parents in the header's order; none for the first block.
    pub tips: Vec<BlockHash>,
    /// What it executes, in order.
    pub transactions: Vec<Transaction>,
    /// What the node says about it that no hash binds.
    pub claimed: Claimed,
}

/// What a block says of itself without its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// As in [`Block`].
    pub hash: BlockHash,
    /// As in [`Block`].
    pub topoheight: TopoHeight,
    /// As in [`Block`].
    pub version: u8,
    /// As in [`Block`].
    pub blue_score: BlueScore,
    /// As in [`Block`].
    pub miner: Address,
    /// How many transactions it lists.
    pub transaction_count: usize,
    /// As in [`Block`].
    pub claimed: Claimed,
}

/// What the node says of a block's money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// What was paid for the block without fees: the next two together.
    pub reward: Amount,
    /// The miner's share.
    pub miner_reward: Amount,
    /// The share of the dev key.
    pub dev_reward: Amount,
    /// What was ever emitted up to this block.
    pub supply: Amount,
    /// The sum of fees; not told when the block was asked for without transactions.
    pub total_fees: Option<Amount>,
}

/// What a node thinks of a block at the moment of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BlockType {
    /// On the main chain and too deep for a re-order.
    Sync,
    /// Merged beside the main chain.
    Side,
    /// Not in the execution order.
    Orphaned,
    /// On the main chain, not yet deep.
    Normal,
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sync => "sync",
            Self::Side => "side",
            Self::Orphaned => "orphaned",
            Self::Normal => "normal",
        })
    }
}

impl Block {
    /// The same content under its own hash, whatever `hash` was before.
    ///
    /// The transactions are taken by the hashes that they have.
    #[must_use]
    pub fn seal(mut self) -> Self {
        self.hash = self.computed_hash();
        self
    }

    /// The hash of the content.
    pub fn computed_hash(&self) -> BlockHash {
        BoundHeader {
            version: self.version,
            blue_score: self.blue_score,
            tips: &self.tips,
            merkle_root: merkle_root(self.transaction_hashes().map(TxHash::as_bytes)),
            timestamp_ms: self.timestamp_ms,
            nonce: self.nonce,
            extra_nonce: &self.extra_nonce,
            miner: &self.miner,
        }
        .hash()
    }

    /// Which block it is, and where.
    pub const fn reference(&self) -> BlockRef {
        BlockRef { topoheight: self.topoheight, hash: self.hash }
    }

    /// The hashes of the transactions in order.
    pub fn transaction_hashes(&self) -> impl ExactSizeIterator<Item = &TxHash> {
        self.transactions.iter().map(|transaction| &transaction.hash)
    }

    /// Whether a transaction occurs twice. The chain's own execution pairs such a block's
    /// transactions with the wrong hashes.
    pub fn has_duplicate_transactions(&self) -> bool {
        let count = self.transactions.len();
        let mut seen = HashSet::with_capacity_and_hasher(count, UniformState::default());
        !self.transaction_hashes().all(|hash| seen.insert(hash))
    }

    /// The transactions that are not executed here, with their index.
    pub fn opaque_transactions(&self) -> impl Iterator<Item = (usize, OpaqueKind)> {
        self.transactions
            .iter()
            .enumerate()
            .filter_map(|(index, transaction)| Some((index, transaction.opaque_kind()?)))
    }
}
