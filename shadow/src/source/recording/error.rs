//! What can be wrong with a recording.

use std::{fmt, io, path::PathBuf};

use storage_snapshot::{Amount, StateKey, TopoHeight};

use crate::chain::BlockError;

/// Why a recording cannot be used. Every case says where.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordingError {
    /// The directory cannot be listed.
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is neither `blocks.jsonl.gz` nor `blocks.jsonl`.
    NoBlocks {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// There is not a single block in the file of blocks.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file is there both compressed and plain, so it is not clear which of them counts.
    Twice {
        /// The compressed one.
        compressed: PathBuf,
        /// The plain one.
        plain: PathBuf,
    },
    /// A file cannot be read or decompressed to its end.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system refuses the thread that reads a file.
    Thread {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what it should be.
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A line holds a block that is not what its hashes say.
    Block {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with the block.
        source: BlockError,
    },
    /// One question has two answers.
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The position that was asked about.
        topoheight: TopoHeight,
        /// The key that was asked about.
        key: StateKey,
    },
    /// There are answers about blocks that are not in the recording.
    Cut {
        /// The last block of the recording.
        last: TopoHeight,
        /// What there is about later ones.
        beyond: String,
    },
    /// A block's supply is not that of the block before plus its reward.
    Supply {
        /// The block.
        topoheight: TopoHeight,
        /// What it says.
        claimed: Amount,
        /// What follows from the block before.
        expected: Amount,
    },
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { directory, source } => {
                write!(f, "{}: not a readable directory: {source}", directory.display())
            }
            Self::Empty { path } => write!(
                f,
                "{}: there is not a single block in it, so there is nothing to verify",
                path.display()
            ),
            Self::NoBlocks { directory } => write!(
                f,
                "{}: no blocks in it; a recording is a directory with blocks.jsonl.gz or \
                 blocks.jsonl",
                directory.display()
            ),
            Self::Twice { compressed, plain } => write!(
                f,
                "{} and {}: both are there, and only one of them can be meant; remove the other",
                compressed.display(),
                plain.display()
            ),
            Self::File { path, source } => write!(
                f,
                "{}: cannot be read to its end: {source}; fetch the file again",
                path.display()
            ),
            Self::Thread { path, source } => {
                write!(f, "{}: no thread to read it on: {source}", path.display())
            }
            Self::Line { path, line, reason } => {
                write!(f, "{}, line {line}: {reason}", path.display())
            }
            Self::Block { path, line, source } => {
                write!(f, "{}, line {line}: {source}", path.display())
            }
            Self::Contradiction { path, topoheight, key } => write!(
                f,
                "{}: what {key} is at topoheight {topoheight} is answered in two ways; remove the answer \
                 that is not the node's",
                path.display()
            ),
            Self::Cut { last, beyond } => write!(
                f,
                "the blocks end at topoheight {last}, but {beyond}; fetch the missing blocks, or remove \
                 the answers about them"
            ),
            Self::Supply { topoheight, claimed, expected } => write!(
                f,
                "the block at topoheight {topoheight} claims a supply of {claimed}, but the block \
                 before it and its reward make {expected}"
            ),
        }
    }
}

impl std::error::Error for RecordingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { source, .. }
            | Self::File { source, .. }
            | Self::Thread { source, .. } => Some(source),
            Self::Block { source, .. } => Some(source),
            Self::NoBlocks { .. }
            | Self::Twice { .. }
            | Self::Empty { .. }
            | Self::Line { .. }
            | Self::Contradiction { .. }
            | Self::Cut { .. }
            | Self::Supply { .. } => None,
        }
    }
}
