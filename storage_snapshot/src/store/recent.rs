//! The last blocks, in memory: their facts, the transactions they executed.
//!
//! Kept are the blocks above the view's tip and the [`FACTS_KEPT`] up to it, whose log entries are
//! never pruned. A rollback ends at the view's tip at the lowest, so there is always something to
//! look back on; and the same blocks are here before and after a restart.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use super::{
    block::{BlockCommit, Tip},
    window::is_mostly_empty,
};
use crate::{
    BlockFacts, BlockRef, StateDigest, TopoHeight, TxHash, UniformState, version::Position,
};

#[derive(Default)]
pub(super) struct Recent {
    blocks: VecDeque<RecentBlock>,
    /// A transaction is executed once on any chain that follows the rules; should it happen twice,
    /// forgetting one block must not forget the other.
    executed: HashMap<TxHash, SmallVec<[TopoHeight; 1]>, UniformState>,
}

struct RecentBlock {
    block: BlockRef,
    facts: BlockFacts,
    /// Of the state after it, once the block is written.
    digest: Option<StateDigest>,
    executed: Box<[TxHash]>,
}

impl Recent {
    /// Adds the next block.
    pub(super) fn push(&mut self, commit: &BlockCommit) {
        let BlockCommit { block, facts, executed, .. } = commit;
        let executed: Box<[TxHash]> = executed.as_slice().into();
        for tx in &executed {
            let at = self.executed.entry(*tx).or_default();
            if at.last() != Some(&block.topoheight) {
                at.push(block.topoheight);
            }
        }
        self.blocks.push_back(RecentBlock { block: *block, facts: *facts, digest: None, executed });
    }

    /// A block is written, and so it is known what the state after it adds up to.
    pub(super) fn written(&mut self, topoheight: TopoHeight, digest: StateDigest) {
        if let Some(index) = self.index(topoheight)
            && let Some(block) = self.blocks.get_mut(index)
        {
            block.digest = Some(digest);
        }
    }

    /// The block in a position.
    pub(super) fn block_at(&self, topoheight: TopoHeight) -> Option<BlockRef> {
        self.blocks.get(self.index(topoheight)?).map(|block| block.block)
    }

    /// What the tip was when the block in a position was the last one; `None` if it is not written.
    pub(super) fn tip_at(&self, topoheight: TopoHeight) -> Option<Tip> {
        let RecentBlock { block, facts, digest, .. } = self.blocks.get(self.index(topoheight)?)?;
        Some(Tip { block: *block, facts: *facts, digest: (*digest)? })
    }

    pub(super) fn executed_at(&self, tx: &TxHash) -> Option<TopoHeight> {
        self.executed.get(tx)?.last().copied()
    }

    pub(super) fn facts(&self, up_to: TopoHeight, count: usize) -> Vec<(BlockRef, BlockFacts)> {
        let end = self.blocks.partition_point(|block| block.block.topoheight <= up_to);
        let start = end.saturating_sub(count);
        self.blocks.range(start..end).map(|block| (block.block, block.facts)).collect()
    }

    /// Forgets the blocks above `to`.
    pub(super) fn drop_above(&mut self, to: Position) {
        while self.blocks.back().is_some_and(|block| Some(block.block.topoheight) > to) {
            let Some(block) = self.blocks.pop_back() else { break };
            self.forget(&block);
        }
    }

    /// Forgets what is not needed once the view is at `view`.
    pub(super) fn folded(&mut self, view: TopoHeight) {
        let oldest = oldest_kept(view).unwrap_or(TopoHeight::GENESIS);
        while self.blocks.front().is_some_and(|block| block.block.topoheight < oldest) {
            let Some(block) = self.blocks.pop_front() else { break };
            self.forget(&block);
        }
        if is_mostly_empty(self.executed.len(), self.executed.capacity()) {
            self.executed.shrink_to_fit();
        }
    }

    fn forget(&mut self, block: &RecentBlock) {
        for tx in &block.executed {
            if let Some(at) = self.executed.get_mut(tx) {
                at.retain(|topoheight| *topoheight != block.block.topoheight);
                if at.is_empty() {
                    self.executed.remove(tx);
                }
            }
        }
    }

    fn index(&self, topoheight: TopoHeight) -> Option<usize> {
        let first = self.blocks.front()?.block.topoheight;
        let index = topoheight.as_u64().checked_sub(first.as_u64())?;
        usize::try_from(index).ok()
    }
}

/// How many blocks up to the view's tip are kept for their facts.
pub(super) const FACTS_KEPT: u64 = 64;

/// The first block that is kept when the view is at `view`; `None` if all are.
pub(super) const fn oldest_kept(view: TopoHeight) -> Option<TopoHeight> {
    view.checked_sub(FACTS_KEPT - 1)
}
