//! Blocks that were compared with a node's answers before they were stable, and are to be once more.

use std::collections::VecDeque;

use storage_snapshot::{BlockRef, StateKey, TopoHeight};

/// The blocks that wait to become stable, in order.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    blocks: VecDeque<(BlockRef, Vec<StateKey>)>,
    keys: usize,
}

impl Unsettled {
    /// Adds a block and the keys that are to be asked for again. When too many wait, it is left out:
    /// it was compared once.
    pub(super) fn push(&mut self, block: BlockRef, keys: Vec<StateKey>) {
        if self.keys + keys.len() > KEYS_MAX {
            tracing::warn!(topoheight = %block.topoheight, "too much waits to become stable; the node \
                is not asked about this block again");
            return;
        }
        self.keys += keys.len();
        self.blocks.push_back((block, keys));
    }

    /// The first block, if it is stable by now.
    pub(super) fn stable(&self, stable: TopoHeight) -> Option<&(BlockRef, Vec<StateKey>)> {
        self.blocks.front().filter(|(block, _)| block.topoheight <= stable)
    }

    /// Forgets the first block.
    pub(super) fn pop(&mut self) {
        if let Some((_, keys)) = self.blocks.pop_front() {
            self.keys -= keys.len();
        }
    }

    /// Forgets the blocks above a position: they are not there any more.
    pub(super) fn revert_to(&mut self, to: TopoHeight) {
        while self.blocks.back().is_some_and(|(block, _)| block.topoheight > to) {
            if let Some((_, keys)) = self.blocks.pop_back() {
                self.keys -= keys.len();
            }
        }
    }
}

/// How many keys may wait: some hundred mebibytes.
const KEYS_MAX: usize = 2_000_000;
