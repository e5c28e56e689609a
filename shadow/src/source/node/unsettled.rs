//! Blocks that were compared with a node's answers before they were stable, and are to be once more.

use std::collections::VecDeque;

use storage_snapshot::{BlockRef, StateKey, TopoHeight};

/// The blocks that wait to become stable, in order.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    blocks: VecDeque<Waiting>,
    keys: usize,
}

/// A block that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) block: BlockRef,
    /// The keys that are to be asked for again.
    pub(super) keys: Vec<StateKey>,
    /// Whether these are all that it names. Of a block that an earlier process followed only those are held that
    /// it wrote, and a node writes to the wrong place just where nothing is to be written.
    pub(super) is_whole: bool,
}

impl Unsettled {
    /// Adds a block. When too many keys wait, it is left out: it was compared once.
    pub(super) fn push(&mut self, waiting: Waiting) {
        if self.keys + waiting.keys.len() > KEYS_MAX {
            tracing::warn!(topoheight = %waiting.block.topoheight, "too much waits to become stable; the \
                node is not asked about this block again");
            return;
        }
        self.keys += waiting.keys.len();
        self.blocks.push_back(waiting);
    }

    /// The blocks that are stable by now.
    pub(super) fn stable(&self, stable: Option<TopoHeight>) -> impl Iterator<Item = &Waiting> {
        self.blocks.iter().take_while(move |waiting| Some(waiting.block.topoheight) <= stable)
    }

    /// Forgets the first block.
    pub(super) fn pop(&mut self) {
        if let Some(waiting) = self.blocks.pop_front() {
            self.keys -= waiting.keys.len();
        }
    }

    /// Forgets the blocks above a position: they are not there any more.
    pub(super) fn revert_to(&mut self, to: TopoHeight) {
        while self.blocks.back().is_some_and(|waiting| waiting.block.topoheight > to) {
            if let Some(waiting) = self.blocks.pop_back() {
                self.keys -= waiting.keys.len();
            }
        }
    }
}

/// How many keys may wait: some hundred mebibytes.
const KEYS_MAX: usize = 2_000_000;
