//! Where blocks come from.

mod answers;
mod generated;
mod recording;

use std::{error::Error, fmt};

pub use answers::{CurrentValue, NodeAnswers, Payout, VersionAnswer};
pub use generated::{GeneratedChain, GeneratedOptions, Profile};
pub use recording::{Recording, RecordingError};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, BlockHash, StateDelta, TopoHeight};

use crate::chain::Block;

/// Something that yields a chain, block by block, in the order of execution.
pub trait BlockSource {
    /// Which chain it is.
    fn identity(&self) -> &ChainIdentity;

    /// The state before the first block: everything that exists without a block having written it.
    fn base(&self) -> StateDelta;

    /// What happens to the chain next; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the source cannot go on.
    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError>;

    /// How many positions the chain has in the end, where that is known. Where blocks are ordered away
    /// the source yields more than one block for some of them.
    fn block_count(&self) -> Option<u64>;
}

/// Which chain a source yields. A state directory belongs to one chain for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainIdentity {
    /// What the chain is, in words that include everything its blocks depend on.
    pub name: String,
    /// The hash of its first block.
    pub genesis: BlockHash,
    /// The key that receives the dev share of every reward.
    pub dev: Address,
}

/// What happened to the chain.
#[derive(Debug)]
pub enum ChainEvent {
    /// A block takes the next position.
    Committed(Box<CommittedBlock>),
    /// The blocks above a position are gone.
    Reverted {
        /// The last position that stands.
        to: TopoHeight,
    },
}

impl ChainEvent {
    /// The last position that is taken after it.
    pub fn head(&self) -> TopoHeight {
        match self {
            Self::Committed(block) => block.block.topoheight,
            Self::Reverted { to } => *to,
        }
    }
}

/// A block in its position.
#[derive(Debug)]
pub struct CommittedBlock {
    /// The block.
    pub block: Block,
    /// What the node says about the state at this position; empty where no node was asked.
    pub answers: NodeAnswers,
}

/// Why a source cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceError {
    /// What it read is not what it should be; the text names the place.
    Input(Box<dyn Error + Send + Sync>),
    /// It could not be read.
    Io(std::io::Error),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Io(error) => write!(f, "reading the chain failed: {error}"),
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Input(error) => Some(&**error),
            Self::Io(error) => Some(error),
        }
    }
}
