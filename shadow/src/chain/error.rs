//! Why a node's answer is not a block: which block, which transaction, which field.

use std::fmt;

use storage_snapshot::{Amount, BlockHash, TopoHeight, TxHash};

use super::{AddressError, EncodeError, Network};

/// An answer that cannot be taken as a block.
#[derive(Debug)]
pub struct BlockError {
    /// Which block it claims to be.
    pub block: BlockName,
    /// What is wrong with it.
    pub problem: Box<BlockProblem>,
}

/// What an answer says of its own identity, as far as that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockName {
    /// Its position in execution order.
    pub topoheight: Option<TopoHeight>,
    /// The hash that it claims.
    pub hash: Option<BlockHash>,
}

/// What is wrong with a block.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockProblem {
    /// A field does not have the form that the node gives it.
    Json {
        /// The path of the field.
        field: String,
        /// What was expected there.
        source: serde_json::Error,
    },
    /// The miner is not an account.
    Miner(AddressError),
    /// The extra nonce is not 64 hex digits.
    ExtraNonce(hex::FromHexError),
    /// It has no place in the execution order.
    NotOrdered,
    /// It has a place in the execution order, yet is called orphaned.
    OrphanedInOrder,
    /// It is in the execution order, yet a field is missing that every such block has.
    Missing {
        /// The field.
        field: &'static str,
    },
    /// The shares of the reward do not add up to it.
    Reward {
        /// The claimed sum.
        reward: Amount,
        /// The miner's share.
        miner_reward: Amount,
        /// The share of the dev key.
        dev_reward: Amount,
    },
    /// The content has another hash than the block claims.
    Hash {
        /// The hash of the content.
        computed: BlockHash,
    },
    /// It lists transactions more than once, in a way that does not change its hash.
    Repeated,
    /// There is not one transaction per hash.
    TransactionCount {
        /// How many hashes are listed.
        hashes: usize,
        /// How many transactions came with them.
        transactions: usize,
    },
    /// A transaction is not the one that is listed at its place.
    TransactionOrder {
        /// Its index.
        index: usize,
        /// The hash listed there.
        listed: TxHash,
        /// The hash that the transaction claims.
        claimed: TxHash,
    },
    /// A transaction cannot be taken.
    Transaction {
        /// Its index.
        index: usize,
        /// Why.
        source: TransactionError,
    },
}

/// An answer that cannot be taken as a transaction.
#[derive(Debug)]
pub struct TransactionError {
    /// The hash that it claims, if it can be read.
    pub transaction: Option<TxHash>,
    /// What is wrong with it.
    pub problem: TransactionProblem,
}

/// What is wrong with a transaction.
#[derive(Debug)]
#[non_exhaustive]
pub enum TransactionProblem {
    /// It looks like one that is not known, but has the hash of one that is.
    Disguised {
        /// The field that was altered.
        field: &'static str,
    },
    /// A field does not have the form that the node gives it.
    Json {
        /// The path of the field.
        field: String,
        /// What was expected there.
        source: serde_json::Error,
    },
    /// A field is not the address of an account.
    Address {
        /// The path of the field.
        field: String,
        /// Why not.
        source: AddressError,
    },
    /// An address is written for another network than the rest of the block.
    Network {
        /// The path of the field.
        field: String,
        /// The network of the address.
        found: Network,
        /// The network of the block.
        expected: Network,
    },
    /// A field is not 128 hex digits.
    Signature {
        /// The path of the field.
        field: String,
        /// Why not.
        source: hex::FromHexError,
    },
    /// The content has no binary form.
    Unencodable(EncodeError),
    /// The content has another hash than the transaction claims, whichever fee it pays.
    Hash {
        /// The hash if the fee is paid in the native asset.
        computed: TxHash,
    },
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.block, self.problem)
    }
}

impl std::error::Error for BlockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.problem {
            BlockProblem::Json { source, .. } => Some(source),
            BlockProblem::Miner(source) => Some(source),
            BlockProblem::ExtraNonce(source) => Some(source),
            BlockProblem::Transaction { source, .. } => Some(source),
            BlockProblem::NotOrdered
            | BlockProblem::OrphanedInOrder
            | BlockProblem::Missing { .. }
            | BlockProblem::Reward { .. }
            | BlockProblem::Hash { .. }
            | BlockProblem::Repeated
            | BlockProblem::TransactionCount { .. }
            | BlockProblem::TransactionOrder { .. } => None,
        }
    }
}

impl fmt::Display for BlockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.topoheight, self.hash) {
            (Some(topoheight), Some(hash)) => write!(f, "block {hash} at topoheight {topoheight}"),
            (Some(topoheight), None) => write!(f, "the block at topoheight {topoheight}"),
            (None, Some(hash)) => write!(f, "block {hash}"),
            (None, None) => f.write_str("a block that says neither its hash nor its topoheight"),
        }
    }
}

impl fmt::Display for BlockProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json { field, source } => write!(f, "{field}: {source}"),
            Self::Miner(source) => write!(f, "miner: {source}"),
            Self::ExtraNonce(source) => write!(f, "extra_nonce: {source}"),
            Self::NotOrdered => {
                f.write_str("topoheight: it has none; ask for the block that is at the place")
            }
            Self::OrphanedInOrder => {
                f.write_str("block_type: it is orphaned, yet has a topoheight; ask again")
            }
            Self::Missing { field } => write!(f, "{field}: missing from a block with a topoheight"),
            Self::Reward { reward, miner_reward, dev_reward } => write!(
                f,
                "reward: {reward} is not miner_reward {miner_reward} and dev_reward {dev_reward}"
            ),
            Self::Hash { computed } => write!(
                f,
                "hash: the content hashes to {computed}; ask again, and if it stays so the answer \
                 is damaged or the header has other rules"
            ),
            Self::Repeated => f.write_str(
                "txs_hashes: some are listed twice, and the block has the same hash without that; ask \
                 again",
            ),
            Self::TransactionCount { hashes, transactions: 0 } => {
                write!(f, "transactions: none came with {hashes} hashes; ask with include_txs")
            }
            Self::TransactionCount { hashes, transactions } => {
                write!(f, "transactions: {transactions} came with {hashes} hashes")
            }
            Self::TransactionOrder { index, listed, claimed } => write!(
                f,
                "transactions[{index}]: transaction {claimed} stands where txs_hashes lists {listed}"
            ),
            Self::Transaction { index, source } => write!(f, "transactions[{index}]: {source}"),
        }
    }
}

impl fmt::Display for TransactionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transaction {
            Some(hash) => write!(f, "transaction {hash}: {}", self.problem),
            None => write!(f, "a transaction without a readable hash: {}", self.problem),
        }
    }
}

impl std::error::Error for TransactionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            TransactionProblem::Json { source, .. } => Some(source),
            TransactionProblem::Address { source, .. } => Some(source),
            TransactionProblem::Signature { source, .. } => Some(source),
            TransactionProblem::Unencodable(source) => Some(source),
            TransactionProblem::Disguised { .. }
            | TransactionProblem::Network { .. }
            | TransactionProblem::Hash { .. } => None,
        }
    }
}

impl fmt::Display for TransactionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disguised { field } => write!(
                f,
                "{field}: without it the transaction would be a known one with the hash that it claims"
            ),
            Self::Json { field, source } => write!(f, "{field}: {source}"),
            Self::Address { field, source } => write!(f, "{field}: {source}"),
            Self::Network { field, found, expected } => {
                write!(f, "{field}: an address of {found} among addresses of {expected}")
            }
            Self::Signature { field, source } => write!(f, "{field}: {source}"),
            Self::Unencodable(source) => write!(f, "{source}"),
            Self::Hash { computed } => write!(
                f,
                "hash: the content hashes to {computed}; ask again, and if it stays so the answer \
                 is damaged"
            ),
        }
    }
}
