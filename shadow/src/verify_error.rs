//! Why a chain cannot be verified any further. What a candidate does is never among it.

use std::fmt;

use storage_snapshot::{BlockHash, BlockRef, ReadError, StoreError, TopoHeight};

use crate::{
    judge::JudgeError,
    ledger::LedgerError,
    source::{ChainIdentity, SourceError},
};

/// Why the verifier cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// The source of blocks failed.
    Source(SourceError),
    /// The store failed.
    Store(StoreError),
    /// State could not be read.
    Read(ReadError),
    /// The judge failed.
    Judge(JudgeError),
    /// The state directory is about another chain.
    OtherChain {
        /// What it is about.
        held: Box<ChainIdentity>,
        /// What it was opened for.
        offered: Box<ChainIdentity>,
    },
    /// The state directory has another block at this position.
    OtherBlock {
        /// The block that was offered.
        place: BlockRef,
        /// The hash of the block that is there.
        held: BlockHash,
    },
    /// Blocks were ordered anew whose state before is not kept any more.
    DeepReOrder {
        /// The last block that stays where it was.
        to: TopoHeight,
        /// The oldest state that is kept.
        oldest: TopoHeight,
    },
    /// The store does not know the block before the one that was offered.
    NoParent(TopoHeight),
    /// The ledger cannot be read or written.
    Ledger(LedgerError),
    /// The state directory does not say which chain it is about in a form that can be read.
    Identity(serde_json::Error),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Judge(error) => error.fmt(f),
            Self::OtherChain { held, offered } => write!(
                f,
                "the state directory is about {}, whose first block is {}, not about {}, whose first block is \
                 {}; use another --state-dir",
                held.name, held.genesis, offered.name, offered.genesis
            ),
            Self::OtherBlock { place, held } => write!(
                f,
                "the state directory has block {held} at topoheight {}, the input has {}; it is \
                 about another chain, use another --state-dir",
                place.topoheight, place.hash
            ),
            Self::DeepReOrder { to, oldest } => write!(
                f,
                "the chain was ordered anew above topoheight {to}, and the state is kept from \
                 topoheight {oldest} on: what was found stays in this state directory, go on with \
                 another --state-dir and a greater --keep-blocks"
            ),
            Self::NoParent(topoheight) => {
                write!(f, "nothing is known of the block at topoheight {topoheight}")
            }
            Self::Ledger(error) => error.fmt(f),
            Self::Identity(error) => {
                write!(f, "the state directory does not say which chain it is about: {error}")
            }
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Judge(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Identity(error) => Some(error),
            Self::OtherChain { .. }
            | Self::OtherBlock { .. }
            | Self::DeepReOrder { .. }
            | Self::NoParent(_) => None,
        }
    }
}

impl From<SourceError> for VerifyError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OtherBlock { committed, offered } => Self::OtherBlock {
                place: BlockRef { hash: offered, ..committed },
                held: committed.hash,
            },
            error => Self::Store(error),
        }
    }
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<JudgeError> for VerifyError {
    fn from(error: JudgeError) -> Self {
        Self::Judge(error)
    }
}

impl From<LedgerError> for VerifyError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Store(error) => Self::from(error),
            error => Self::Ledger(error),
        }
    }
}
