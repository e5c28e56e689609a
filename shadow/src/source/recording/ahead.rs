//! The blocks of a recording, read ahead of whoever takes them.
//!
//! Decompressing, parsing and checking the hashes of a block takes about as long as verifying it, and
//! needs nothing of the blocks before it but their number: so it is done on a thread of its own. What
//! is wrong with a block is told when it is that block's turn, and not before.

use std::{
    io,
    panic::resume_unwind,
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use storage_snapshot::TopoHeight;

use super::{RecordingError, block_line::read_block, lines::Lines};
use crate::chain::Block;

/// The blocks of a file in order.
#[derive(Debug)]
pub(crate) struct BlocksAhead {
    /// Until the thread has ended.
    blocks: Option<Receiver<Block>>,
    /// Its result is how the file ends.
    thread: Option<JoinHandle<Result<(), RecordingError>>>,
}

impl BlocksAhead {
    /// Opens a file and begins to read it.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordingError> {
        let lines = Lines::open(path)?;
        Self::start(move |taken| read(lines, taken))
            .map_err(|source| RecordingError::Thread { path: path.to_owned(), source })
    }

    fn start(
        read: impl FnOnce(&SyncSender<Block>) -> Result<(), RecordingError> + Send + 'static,
    ) -> io::Result<Self> {
        let (taken, blocks) = sync_channel(AHEAD_MAX);
        let thread =
            thread::Builder::new().name("shadow-reader".to_owned()).spawn(move || read(&taken))?;
        Ok(Self { blocks: Some(blocks), thread: Some(thread) })
    }

    /// The next block. After the last one, and after an error, there is none.
    pub(crate) fn next(&mut self) -> Result<Option<Block>, RecordingError> {
        if let Some(blocks) = &self.blocks
            && let Ok(block) = blocks.recv()
        {
            return Ok(Some(block));
        }
        self.blocks = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(end)) => end.map(|()| None),
            // Taken for the end it would make a chain shorter than it is.
            Some(Err(panic)) => resume_unwind(panic),
            None => Ok(None),
        }
    }
}

impl Drop for BlocksAhead {
    fn drop(&mut self) {
        // It ends with the block that it is at, because nobody takes that any more.
        self.blocks = None;
        if let Some(thread) = self.thread.take() {
            // Nobody is left to whom it matters how.
            let _end = thread.join();
        }
    }
}

/// Reads until the end, the first error, or until nobody takes the blocks any more.
fn read(mut lines: Lines, taken: &SyncSender<Block>) -> Result<(), RecordingError> {
    let (mut expected, mut network) = (TopoHeight::GENESIS, None);
    while let Some(block) = read_block(&mut lines, expected, network)? {
        expected = block.topoheight.next();
        network = Some(block.network);
        if taken.send(block).is_err() {
            break;
        }
    }
    Ok(())
}

/// How many blocks are read ahead: enough that neither side waits for the other while it has no
/// processor, and few, because a block may be large.
const AHEAD_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn recorded() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/recordings/serial-main/blocks.jsonl.gz")
    }

    #[test]
    fn blocks_come_in_order_and_then_there_are_none() {
        let mut blocks = BlocksAhead::open(&recorded()).unwrap();
        let mut expected = TopoHeight::GENESIS;
        while let Some(block) = blocks.next().unwrap() {
            assert_eq!(block.topoheight, expected);
            expected = expected.next();
        }
        assert_eq!(expected, TopoHeight::new(435));
        assert!(blocks.next().unwrap().is_none());
    }

    #[test]
    fn an_error_comes_after_every_block_before_it_and_once() {
        let recorded = recorded();
        let mut blocks = BlocksAhead::start(move |taken| {
            let mut lines = Lines::open(&recorded)?;
            let first = read_block(&mut lines, TopoHeight::GENESIS, None)?;
            taken.send(first.unwrap()).unwrap();
            // The line after it is about topoheight 1.
            read_block(&mut lines, TopoHeight::new(7), None).map(|_| ())
        })
        .unwrap();
        assert!(blocks.next().unwrap().is_some());
        let error = blocks.next().unwrap_err().to_string();
        assert!(error.contains("line 2: topoheight 7 is missing"), "{error}");
        assert!(blocks.next().unwrap().is_none());
    }

    /// If it were not so this would never end.
    #[test]
    fn who_takes_no_more_blocks_waits_for_none() {
        for taken in [0, 1, 5] {
            let mut blocks = BlocksAhead::open(&recorded()).unwrap();
            for _ in 0..taken {
                blocks.next().unwrap();
            }
        }
    }

    #[test]
    #[should_panic(expected = "the reader is broken")]
    fn a_reader_that_panicked_did_not_reach_the_end() {
        let mut blocks = BlocksAhead::start(|_| panic!("the reader is broken")).unwrap();
        let _block = blocks.next();
    }
}
