//! A recording: what a node answered about its whole chain, kept in a directory.
//!
//! It is a directory of JSON lines, each line a question and its answer, errors included: "there is no
//! version at this topoheight" is information. The files are compressed with gzip, or plain, which takes
//! the disk more room and the processor less time. `blocks` is read while the
//! chain is replayed, somewhat ahead of it; the answers about state are read before, so that a damaged
//! file is refused before anything is written.

mod ahead;
mod answer_files;
mod block_line;
mod error;
pub(crate) mod lines;

use std::{
    collections::HashMap,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

pub(crate) use ahead::BlocksAhead;
use answer_files::AnswerFiles;
pub use error::RecordingError;
use lines::Lines;
use storage_snapshot::{Amount, StateDelta};

use super::{BlockSource, ChainEvent, ChainIdentity, CommittedBlock, NodeAnswers, SourceError};
use crate::chain::{Block, Network};

/// A recorded chain, replayed from its first block.
#[derive(Debug)]
pub struct Recording {
    identity: ChainIdentity,
    network: Network,
    block_count: u64,
    blocks: BlocksAhead,
    answers: AnswerFiles,
    /// Read one ahead, because the last block gets the answers about the end of the chain. What is
    /// wrong with it concerns nobody before its turn.
    next: Result<Option<Block>, RecordingError>,
    emitted_supply: Amount,
}

impl Recording {
    /// Opens a recording. Every file in it is read to its end once, so a checksum that does not
    /// hold is found before the first block is used.
    ///
    /// # Errors
    ///
    /// When the directory is not a recording, or a file of it is damaged; the error names the file,
    /// and the line if it is one line's fault.
    pub fn open(directory: &Path) -> Result<Self, RecordingError> {
        let files = files_of(directory)?;
        let blocks_path = files
            .get("blocks")
            .ok_or_else(|| RecordingError::NoBlocks { directory: directory.to_owned() })?;
        thread::scope(|scope| {
            let verifying = thread::Builder::new()
                .name("shadow-verifier".to_owned())
                .spawn_scoped(scope, || verify_unread(&files, blocks_path))
                .map_err(|source| RecordingError::Thread { path: blocks_path.clone(), source })?;
            let opened = read(&files, blocks_path);
            // A file whose checksum does not hold may say anything, so that comes first.
            let block_count = verifying.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            opened.map(|(first, blocks, answers)| Self {
                identity: ChainIdentity::of(first.network, first.hash, first.miner),
                network: first.network,
                block_count,
                blocks,
                answers,
                next: Ok(Some(first)),
                emitted_supply: Amount::ZERO,
            })
        })
    }

    /// The network that its addresses are written for.
    pub(crate) const fn network(&self) -> Network {
        self.network
    }

    fn next_block(&mut self) -> Result<Option<CommittedBlock>, RecordingError> {
        let Some(block) = std::mem::replace(&mut self.next, Ok(None))? else { return Ok(None) };
        self.check_supply(&block)?;
        self.next = self.blocks.next();
        let is_last = matches!(self.next, Ok(None));
        let answers = self.answers.take(&block, is_last)?;
        Ok(Some(CommittedBlock { block, answers }))
    }

    /// The supply after a block is the supply before it and the block's reward. A node that says
    /// otherwise contradicts itself, so one of its answers was altered.
    fn check_supply(&mut self, block: &Block) -> Result<(), RecordingError> {
        let expected = self.emitted_supply.wrapping_add(block.claimed.reward);
        if block.claimed.supply != expected {
            return Err(RecordingError::Supply {
                topoheight: block.topoheight,
                claimed: block.claimed.supply,
                expected,
            });
        }
        self.emitted_supply = expected;
        Ok(())
    }
}

impl BlockSource for Recording {
    fn identity(&self) -> &ChainIdentity {
        &self.identity
    }

    fn base(&self) -> StateDelta {
        StateDelta::new()
    }

    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError> {
        match self.next_block() {
            Ok(block) => Ok(block.map(|block| ChainEvent::Committed(Box::new(block)))),
            Err(error) => Err(SourceError::Input(Box::new(error))),
        }
    }

    fn block_count(&self) -> Option<u64> {
        Some(self.block_count)
    }
}

/// The first block, those after it, and all that the node said about state.
fn read(
    files: &HashMap<String, PathBuf>,
    blocks_path: &Path,
) -> Result<(Block, BlocksAhead, AnswerFiles), RecordingError> {
    let mut blocks = BlocksAhead::open(blocks_path)?;
    let first =
        blocks.next()?.ok_or_else(|| RecordingError::Empty { path: blocks_path.to_owned() })?;
    let answers = AnswerFiles::read(files, first.network)?;
    Ok((first, blocks, answers))
}

/// Reads to its end whatever is not read to its end before the first block is used, and returns how many blocks
/// there are.
fn verify_unread(
    files: &HashMap<String, PathBuf>,
    blocks_path: &Path,
) -> Result<u64, RecordingError> {
    let block_count = Lines::open(blocks_path)?.verify()?;
    for (name, path) in files {
        if path != blocks_path && !AnswerFiles::NAMES.contains(&name.as_str()) {
            Lines::open(path)?.verify()?;
        }
    }
    Ok(block_count)
}

/// The files of a directory by the part of their name before `.jsonl.gz` or `.jsonl`.
pub(crate) fn files_of(directory: &Path) -> Result<HashMap<String, PathBuf>, RecordingError> {
    let unreadable = |source| RecordingError::Directory { directory: directory.to_owned(), source };
    let mut files = HashMap::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.map(|name| name.strip_suffix(".gz").unwrap_or(name));
        let Some(name) = name.and_then(|name| name.strip_suffix(".jsonl")).map(str::to_owned)
        else {
            continue;
        };
        if files.insert(name.clone(), path).is_some() {
            return Err(RecordingError::Twice {
                compressed: directory.join(format!("{name}.jsonl.gz")),
                plain: directory.join(format!("{name}.jsonl")),
            });
        }
    }
    Ok(files)
}
