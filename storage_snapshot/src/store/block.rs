//! A block as the store sees it: who it is, what it wrote, and what it leaves to the next one.

use crate::{
    BlockFacts, BlockHash, BlockRef, StateDelta, StateDigest, StateKey, StateValue, TxHash,
    version::Version,
};

/// One block to commit.
///
/// The writes are applied in the order of the fields: where `correction` writes what `delta` wrote
/// the correction stays, and a key in `unknown` is unknown whatever the other two say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCommit {
    /// Which block, and where.
    pub block: BlockRef,
    /// What later blocks need to know of it.
    pub facts: BlockFacts,
    /// What it wrote.
    pub delta: StateDelta,
    /// What is written over that because the chain says otherwise. Usually empty.
    pub correction: StateDelta,
    /// The keys whose value can no longer be told after this block.
    pub unknown: Vec<StateKey>,
    /// The transactions that it executed.
    pub executed: Vec<TxHash>,
    /// Values of the base that nobody had needed to know before: what keys were before the first
    /// block, found out because this one names them.
    ///
    /// A key that has a value of the base already, or that a folded block wrote, keeps what it has.
    /// Open snapshots see what was added, and rolling the block back does not take it away.
    pub base: StateDelta,
}

impl BlockCommit {
    /// A block that wrote what is in `delta`, and nothing else.
    pub fn new(block: BlockRef, facts: BlockFacts, delta: StateDelta) -> Self {
        Self {
            block,
            facts,
            delta,
            correction: StateDelta::new(),
            unknown: Vec::new(),
            executed: Vec::new(),
            base: StateDelta::new(),
        }
    }

    /// The last version of every key that the block touches, in the order of the keys.
    pub(crate) fn versions(&self) -> Vec<(StateKey, Version)> {
        let known =
            |(key, value): (&StateKey, Option<&StateValue>)| (*key, Version::Known(value.cloned()));
        let mut versions =
            Vec::with_capacity(self.unknown.len() + self.correction.len() + self.delta.len());
        // What overrides comes first, and is what is left of several.
        versions.extend(self.unknown.iter().map(|key| (*key, Version::Unknown)));
        versions.extend(self.correction.iter().map(known));
        versions.extend(self.delta.iter().map(known));
        // Usually there is a delta only, and that is sorted: then this is one pass.
        versions.sort_by_key(|(key, _)| *key);
        versions.dedup_by(|(later, _), (earlier, _)| later == earlier);
        versions
    }
}

/// The last block of the store and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last block.
    pub block: BlockRef,
    /// What later blocks need to know of it.
    pub facts: BlockFacts,
    /// Everything written since the base, this block included.
    pub digest: StateDigest,
}

/// A block as it is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedBlock {
    /// What was committed.
    pub commit: BlockCommit,
    /// The digest of the state after it.
    pub digest: StateDigest,
    /// The block that was committed before it; the first one has none.
    pub previous: Option<BlockHash>,
}

impl CommittedBlock {
    /// What the tip was when this block was the last one.
    pub const fn tip(&self) -> Tip {
        Tip { block: self.commit.block, facts: self.commit.facts, digest: self.digest }
    }
}
