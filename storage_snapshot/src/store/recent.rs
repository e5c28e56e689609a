//! The last blocks, in memory: their facts, the transactions they executed.
//!
//! Kept are the blocks above the view's tip and the [`FACTS_KEPT`] up to it, whose log entries are
//! never pruned. A rollback ends at the view's tip at the lowest, so there is always something to
//! look back on; and the same blocks are here before and after a restart.

use std::{collections::VecDeque, hash::BuildHasher};

use hashbrown::HashTable;

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
    hasher: UniformState,
    /// Where each executed transaction is listed. It is executed once on any chain that follows the rules;
    /// should it happen twice it is here twice, so that forgetting one block does not forget the other.
    executed: HashTable<Listed>,
}

/// A transaction in the list of a block; its hash is there.
struct Listed {
    hash: u64,
    at: TopoHeight,
    index: usize,
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
        for (index, tx) in executed.iter().enumerate() {
            let hash = self.hasher.hash_one(tx);
            let listed = Listed { hash, at: block.topoheight, index };
            self.executed.insert_unique(hash, listed, |listed| listed.hash);
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
        let hash = self.hasher.hash_one(tx);
        let listed = self.executed.iter_hash(hash).filter(|listed| listed.hash == hash);
        listed.filter(|listed| self.listed(listed) == Some(tx)).map(|listed| listed.at).max()
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
            self.executed.shrink_to_fit(|listed| listed.hash);
        }
    }

    fn forget(&mut self, block: &RecentBlock) {
        let at = block.block.topoheight;
        for (index, tx) in block.executed.iter().enumerate() {
            let is_it = |listed: &Listed| listed.at == at && listed.index == index;
            if let Ok(entry) = self.executed.find_entry(self.hasher.hash_one(tx), is_it) {
                entry.remove();
            }
        }
    }

    fn listed(&self, listed: &Listed) -> Option<&TxHash> {
        self.blocks.get(self.index(listed.at)?)?.executed.get(listed.index)
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
