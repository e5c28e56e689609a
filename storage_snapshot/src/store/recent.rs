//! The last blocks, in memory: their facts, the transactions they executed.
//!
//! Kept are the blocks above the view's tip and the [`FACTS_KEPT`] up to it, whose log entries are
//! never pruned. A rollback ends at the view's tip at the lowest, so there is always something to
//! look back on; and the same blocks are here before and after a restart.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use super::{
    block::{CommittedBlock, Tip},
    window::is_mostly_empty,
};
use crate::{BlockFacts, BlockRef, TopoHeight, TxHash, UniformState, version::Position};

#[derive(Default)]
pub(super) struct Recent {
    blocks: VecDeque<RecentBlock>,
    /// A transaction is executed once on any chain that follows the rules; should it happen twice,
    /// forgetting one block must not forget the other.
    executed: HashMap<TxHash, SmallVec<[TopoHeight; 1]>, UniformState>,
}

struct RecentBlock {
    tip: Tip,
    executed: Box<[TxHash]>,
}

impl Recent {
    pub(super) fn push(&mut self, entry: &CommittedBlock) {
        let tip = entry.tip();
        let executed: Box<[TxHash]> = entry.commit.executed.as_slice().into();
        for tx in &executed {
            let at = self.executed.entry(*tx).or_default();
            if at.last() != Some(&tip.block.topoheight) {
                at.push(tip.block.topoheight);
            }
        }
        self.blocks.push_back(RecentBlock { tip, executed });
    }

    pub(super) fn tip_at(&self, topoheight: TopoHeight) -> Option<Tip> {
        self.blocks.get(self.index(topoheight)?).map(|block| block.tip)
    }

    pub(super) fn executed_at(&self, tx: &TxHash) -> Option<TopoHeight> {
        self.executed.get(tx)?.last().copied()
    }

    pub(super) fn facts(&self, up_to: TopoHeight, count: usize) -> Vec<(BlockRef, BlockFacts)> {
        let end = self.blocks.partition_point(|block| block.tip.block.topoheight <= up_to);
        let start = end.saturating_sub(count);
        self.blocks.range(start..end).map(|block| (block.tip.block, block.tip.facts)).collect()
    }

    /// Forgets the blocks above `to`.
    pub(super) fn drop_above(&mut self, to: Position) {
        while self.blocks.back().is_some_and(|block| Some(block.tip.block.topoheight) > to) {
            let Some(block) = self.blocks.pop_back() else { break };
            self.forget(&block);
        }
    }

    /// Forgets what is not needed once the view is at `view`.
    pub(super) fn folded(&mut self, view: TopoHeight) {
        let oldest = oldest_kept(view).unwrap_or(TopoHeight::GENESIS);
        while self.blocks.front().is_some_and(|block| block.tip.block.topoheight < oldest) {
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
                at.retain(|topoheight| *topoheight != block.tip.block.topoheight);
                if at.is_empty() {
                    self.executed.remove(tx);
                }
            }
        }
    }

    fn index(&self, topoheight: TopoHeight) -> Option<usize> {
        let first = self.blocks.front()?.tip.block.topoheight;
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
