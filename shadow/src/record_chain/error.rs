//! Why a chain cannot be recorded.

use std::{error::Error, fmt, io, path::PathBuf};

use storage_snapshot::TopoHeight;

use crate::{chain::BlockError, source::node::NodeError};

/// What is in the way.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// The node does not help.
    Node(NodeError),
    /// What the node answers is no block.
    Block(BlockError),
    /// An answer does not have the form that a node gives it.
    Answer {
        /// The question.
        method: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The node does not have the last block yet.
    Above {
        /// The last block that was asked for.
        to: TopoHeight,
        /// The last block that the node has.
        top: TopoHeight,
    },
    /// There is nothing between the two ends.
    Empty {
        /// The first block that was asked for.
        from: TopoHeight,
        /// The last one.
        to: TopoHeight,
    },
    /// Other blocks took the place of some while they were recorded.
    Reordered {
        /// The first of them.
        at: TopoHeight,
    },
    /// The node went on while it was asked about its end.
    WentOn {
        /// The last block that was asked for.
        to: TopoHeight,
        /// The last block that the node has by now.
        now: TopoHeight,
    },
    /// The recording cannot be written.
    Write {
        /// Where.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The runtime that speaks to nodes cannot be started.
    Runtime(io::Error),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(error) => error.fmt(f),
            Self::Block(error) => error.fmt(f),
            Self::Answer { method, source } => {
                write!(f, "the answer to {method} is not as expected: {source}")
            }
            Self::Above { to, top } => write!(
                f,
                "the node has blocks up to topoheight {top} only; wait for {to}, or lower --to"
            ),
            Self::Empty { from, to } => {
                write!(f, "there are no blocks from {from} to {to}; lower --from, or raise --to")
            }
            Self::Reordered { at } => write!(
                f,
                "the block at topoheight {at} was ordered away meanwhile; record again, with a --to \
                 that is stable"
            ),
            Self::WentOn { to, now } => write!(
                f,
                "the node went on to topoheight {now} while its end at {to} was recorded; record again, \
                 with a --to below the node's last block"
            ),
            Self::Write { directory, source } => write!(f, "{}: {source}", directory.display()),
            Self::Runtime(source) => write!(f, "speaking to nodes cannot be started: {source}"),
        }
    }
}

impl Error for RecordError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Node(source) => Some(source),
            Self::Block(source) => Some(source),
            Self::Answer { source, .. } => Some(source),
            Self::Write { source, .. } | Self::Runtime(source) => Some(source),
            Self::Above { .. }
            | Self::Empty { .. }
            | Self::Reordered { .. }
            | Self::WentOn { .. } => None,
        }
    }
}

impl From<NodeError> for RecordError {
    fn from(error: NodeError) -> Self {
        Self::Node(error)
    }
}
