//! Why a stand-in node cannot be started, or cannot go on.

use std::{error::Error, fmt, io, net::SocketAddr};

use storage_snapshot::BlockHash;

use crate::source::SourceError;

/// What is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub enum DevnetError {
    /// Nobody can listen at the address.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The machine has no thread left for it.
    Thread(io::Error),
    /// What is served cannot be read.
    Source(SourceError),
    /// A block cannot be shown.
    Json {
        /// Which.
        block: BlockHash,
        /// Why.
        source: serde_json::Error,
    },
    /// A block cannot be shown.
    Block {
        /// Which.
        block: BlockHash,
        /// Why.
        source: crate::chain::JsonError,
    },
    /// There is no fault of this name, or none that a node could have.
    Fault(String),
    /// The node is not there any more.
    Stopped,
}

impl fmt::Display for DevnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, source } => {
                write!(f, "nobody can listen at {address}: {source}; take another --listen")
            }
            Self::Thread(source) => write!(f, "no thread to serve with: {source}"),
            Self::Source(source) => source.fmt(f),
            Self::Json { block, source } => write!(f, "block {block} has no JSON: {source}"),
            Self::Block { block, source } => write!(f, "block {block} has no JSON: {source}"),
            Self::Fault(message) => f.write_str(message),
            Self::Stopped => f.write_str("the stand-in node has stopped"),
        }
    }
}

impl Error for DevnetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen { source, .. } | Self::Thread(source) => Some(source),
            Self::Source(source) => Some(source),
            Self::Json { source, .. } => Some(source),
            Self::Block { source, .. } => Some(source),
            Self::Fault(_) | Self::Stopped => None,
        }
    }
}

impl From<SourceError> for DevnetError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}
