//! What can go wrong in the store, and what to do about it.

use std::{error::Error, fmt, io, path::PathBuf};

use crate::{BlockHash, BlockRef, TopoHeight, store::LockHolder};

/// Why the store refused or failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// A file or a directory could not be used.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process, or another part of this one, has the directory open.
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, if that could be read.
        holder: Option<LockHolder>,
    },
    /// The directory was written by another version of this program.
    FormatVersion {
        /// The directory.
        path: PathBuf,
        /// The version of the form it is in.
        found: u32,
        /// The version that this program reads and writes.
        supported: u32,
    },
    /// What was read is not what was written.
    Corrupt {
        /// Where it was read.
        tree: TreeName,
        /// Under which key.
        key: Vec<u8>,
        /// What is wrong with it.
        problem: Corruption,
    },
    /// The embedded database failed.
    Database {
        /// Its directory.
        path: PathBuf,
        /// What it said.
        source: sled::Error,
    },
    /// An earlier write failed, so what is on disk is only known after opening it again.
    Broken,
    /// The store is about another chain, or is not empty any more.
    IdentityFixed,
    /// The base can only be written before the first block.
    HasBlocks,
    /// The base cannot be written while somebody reads it.
    Pinned,
    /// The block does not follow the tip.
    NotNext {
        /// The only topoheight that can follow.
        expected: TopoHeight,
        /// The topoheight that was offered.
        found: TopoHeight,
    },
    /// Another block is committed at that topoheight.
    OtherBlock {
        /// The block that is committed.
        committed: BlockRef,
        /// The block that was offered.
        offered: BlockHash,
    },
    /// The block at that topoheight was pruned, so it cannot be told whether it is the same.
    Pruned(TopoHeight),
    /// Nothing was committed at that topoheight yet.
    AboveTip {
        /// The topoheight that was asked for.
        topoheight: TopoHeight,
        /// The last committed one.
        tip: Option<TopoHeight>,
    },
    /// The state that was asked for is older than what is kept.
    BelowView {
        /// What was asked for; `None` is the base.
        topoheight: Option<TopoHeight>,
        /// The oldest state that is kept.
        oldest: TopoHeight,
    },
    /// The store begins with a later block.
    BeforeFirst {
        /// The topoheight that was asked for.
        topoheight: TopoHeight,
        /// The first committed one.
        first: TopoHeight,
    },
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, source } => {
                let advice = match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "free space on that disk and start again"
                    }
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                        "make it writable or choose another directory"
                    }
                    io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                        "choose a directory instead of a file"
                    }
                    _ => "check the disk and the permissions",
                };
                write!(f, "cannot use {}: {advice}", path.display())
            }
            Self::Locked { path, holder: Some(holder) } => {
                write!(f, "{} is in use by {holder}: stop it or ask it", path.display())
            }
            Self::Locked { path, holder: None } => {
                write!(f, "{} is in use by another process: stop it first", path.display())
            }
            Self::FormatVersion { path, found, supported } => write!(
                f,
                "{} has format version {found} and this program uses {supported}: use the program \
                 that wrote it, or start with an empty directory",
                path.display()
            ),
            Self::Corrupt { tree, key, problem } => write!(
                f,
                "{problem} in the {tree} under {}: the disk or its content was damaged, start \
                 again with an empty directory",
                hex::encode(key)
            ),
            Self::Database { path, .. } => {
                write!(
                    f,
                    "the database in {} failed: check the disk, then reopen it",
                    path.display()
                )
            }
            Self::Broken => f.write_str("an earlier write failed: close the store and reopen it"),
            Self::IdentityFixed => f.write_str(
                "the store is already about a chain: use another directory for another chain",
            ),
            Self::HasBlocks => f.write_str(
                "the base is fixed once a block is committed: roll every block back first",
            ),
            Self::Pinned => f.write_str("the base is being read: drop every snapshot first"),
            Self::NotNext { expected, found } => {
                write!(f, "block {found} does not follow: commit {expected} first")
            }
            Self::OtherBlock { committed, offered } => write!(
                f,
                "block {committed} is committed and {offered:.8} was offered: roll back below \
                 {} first",
                committed.topoheight
            ),
            Self::Pruned(topoheight) => {
                write!(f, "block {topoheight} was pruned: it can be neither compared nor replaced")
            }
            Self::AboveTip { topoheight, tip: Some(tip) } => {
                write!(f, "nothing is committed at {topoheight}: the tip is {tip}")
            }
            Self::AboveTip { topoheight, tip: None } => {
                write!(f, "nothing is committed at {topoheight}: the store has no block")
            }
            Self::BelowView { topoheight, oldest } => {
                match topoheight {
                    Some(topoheight) => write!(f, "the state at {topoheight} is not kept")?,
                    None => f.write_str("the base is not kept")?,
                }
                write!(f, ": the oldest is {oldest}, rebase or start again from there")
            }
            Self::BeforeFirst { topoheight, first } => write!(
                f,
                "the state at {topoheight} is not known: the first block is {first}, below it is \
                 only the base"
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Database { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A part of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TreeName {
    /// What the directory is about and in which form it is.
    Meta,
    /// The committed blocks.
    Log,
    /// The verdicts.
    Ledger,
    /// The accounts.
    View,
}

impl TreeName {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Log => "log",
            Self::Ledger => "ledger",
            Self::View => "view",
        }
    }
}

impl fmt::Display for TreeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// In what way something is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Corruption {
    /// The checksum does not fit the content.
    Checksum,
    /// A part of an entry is missing or superfluous.
    Parts,
    /// The checksum fits, but the content is not the form of anything.
    Form,
    /// The entry does not follow the one before it.
    Sequence,
    /// The entry is later than what was asked for can be.
    Future,
}

impl fmt::Display for Corruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checksum => "wrong checksum",
            Self::Parts => "incomplete entry",
            Self::Form => "unreadable entry",
            Self::Sequence => "entry out of sequence",
            Self::Future => "entry from the future",
        })
    }
}
