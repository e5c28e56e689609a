//! Where blocks come from.

mod answer_json;
mod answers;
mod generated;
pub mod node;
pub(crate) mod recording;

use std::{error::Error, fmt};

pub use answer_json::AnswerError;
pub use answers::{AnswersAgain, BeforeStart, CurrentValue, NodeAnswers, Payout, VersionAnswer};
pub use generated::{GeneratedChain, GeneratedOptions, Profile};
pub use recording::{Recording, RecordingError};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, BlockHash, StateDelta, Store, TopoHeight};

use self::node::NodeWatch;
use crate::chain::{Block, Network};

/// Something that yields a chain, block by block, in the order of execution.
pub trait BlockSource {
    /// Which chain it is.
    fn identity(&self) -> &ChainIdentity;

    /// The state before the first block: everything that exists without a block having written it.
    fn base(&self) -> StateDelta;

    /// Told once, before the first event, what is held of the chain already. A source may begin after
    /// that; one that begins anew is passed over up to there.
    ///
    /// # Errors
    ///
    /// When what is held is no part of the chain, or the source cannot begin there.
    fn go_on(&mut self, _held: &Held<'_>) -> Result<(), SourceError> {
        Ok(())
    }

    /// What happens to the chain next; `None` at its end.
    ///
    /// # Errors
    ///
    /// When the source cannot go on.
    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError>;

    /// How many positions the chain has in the end, where that is known. Where blocks are ordered away
    /// the source yields more than one block for some of them.
    fn block_count(&self) -> Option<u64>;

    /// What can be watched of the node that the chain comes from, if there is one.
    fn watch(&self) -> Option<NodeWatch> {
        None
    }

    /// Why the end came before everything that was asked for, in a sentence; `None` if it did not.
    fn ended_early(&self) -> Option<&str> {
        None
    }
}

/// The lowest position whose versions are not values of the base, for a chain that is followed from
/// `first` on: what the first block of a chain wrote without naming it was there before.
pub fn first_after_base(first: TopoHeight) -> TopoHeight {
    first.max(TopoHeight::GENESIS.next())
}

/// What of a chain is held already.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Where.
    pub store: &'a Store,
    /// The first block that was ever held.
    pub first: Option<TopoHeight>,
    /// The last block of the unbroken run of blocks that have a verdict.
    pub judged: Option<TopoHeight>,
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

impl ChainIdentity {
    /// The identity of a node's chain.
    pub fn of(network: Network, genesis: BlockHash, dev: Address) -> Self {
        Self { name: format!("tos ({network})"), genesis, dev }
    }
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
    /// The node was asked again about a block that cannot be ordered away any more.
    AnsweredAgain(Box<AnswersAgain>),
    /// Nothing for a while. Whoever waits may look around.
    Idle,
}

impl ChainEvent {
    /// The last position that is taken after it; `None` if that does not change.
    pub fn head(&self) -> Option<TopoHeight> {
        match self {
            Self::Committed(block) => Some(block.block.topoheight),
            Self::Reverted { to } => Some(*to),
            Self::AnsweredAgain(_) | Self::Idle => None,
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
    /// The node that it comes from could not be asked.
    Unreachable(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) | Self::Unreachable(error) => error.fmt(f),
            Self::Io(error) => write!(f, "reading the chain failed: {error}"),
        }
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Input(error) | Self::Unreachable(error) => Some(&**error),
            Self::Io(error) => Some(error),
        }
    }
}
