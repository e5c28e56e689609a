//! The last blocks, in memory: their facts, the transactions they executed, the keys they wrote.
//!
//! Kept are the blocks above the view's tip and the [`FACTS_KEPT`] up to it, whose log entries are
//! never pruned. A rollback ends at the view's tip at the lowest, so there is always something to
//! look back on; and the same blocks are here before and after a restart.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use super::block::{CommittedBlock, Tip};
use crate::{BlockFacts, BlockRef, StateKey, TopoHeight, TxHash, version::Position};

#[derive(Default)]
pub(super) struct Recent {
    blocks: VecDeque<RecentBlock>,
    /// A transaction is executed once on any chain that follows the rules; should it happen twice,
    /// forgetting one block must not forget the other.
    executed: HashMap<TxHash, SmallVec<[TopoHeight; 1]>, ahash::RandomState>,
}

struct RecentBlock {
    tip: Tip,
    executed: Box<[TxHash]>,
    /// Only needed until the block is in the view.
    written: Box<[StateKey]>,
}

impl Recent {
    pub(super) fn push(&mut self, entry: &CommittedBlock, written: Box<[StateKey]>) {
        let tip = entry.tip();
        let executed: Box<[TxHash]> = entry.commit.executed.as_slice().into();
        for tx in &executed {
            let at = self.executed.entry(*tx).or_default();
            if at.last() != Some(&tip.block.topoheight) {
                at.push(tip.block.topoheight);
            }
        }
        self.blocks.push_back(RecentBlock { tip, executed, written });
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

    /// What the blocks above `from` and up to `to` wrote, each key once, the keys of an account
    /// together.
    pub(super) fn written(&self, from: Position, to: TopoHeight) -> Vec<StateKey> {
        let mut keys: Vec<_> = self
            .blocks
            .iter()
            .filter(|block| {
                let topoheight = block.tip.block.topoheight;
                Some(topoheight) > from && topoheight <= to
            })
            .flat_map(|block| block.written.iter().copied())
            .collect();
        keys.sort_unstable_by(|a, b| (a.account(), a).cmp(&(b.account(), b)));
        keys.dedup();
        keys
    }

    /// Forgets the blocks above `to` and returns what they wrote.
    pub(super) fn drop_above(&mut self, to: Position) -> Vec<StateKey> {
        let mut written = Vec::new();
        while self.blocks.back().is_some_and(|block| Some(block.tip.block.topoheight) > to) {
            let Some(block) = self.blocks.pop_back() else { break };
            self.forget(&block);
            written.extend(block.written);
        }
        written
    }

    /// Forgets what is not needed once the view is at `view`.
    pub(super) fn folded(&mut self, view: TopoHeight) {
        let oldest = oldest_kept(view).unwrap_or(TopoHeight::GENESIS);
        while self.blocks.front().is_some_and(|block| block.tip.block.topoheight < oldest) {
            let Some(block) = self.blocks.pop_front() else { break };
            self.forget(&block);
        }
        for block in self.blocks.iter_mut().take_while(|b| b.tip.block.topoheight <= view) {
            block.written = Box::default();
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
