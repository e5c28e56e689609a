//! The chain as the stand-in has it at this moment: blocks in their order, the ones that left it,
//! and every version of the state.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::value::RawValue;
use storage_snapshot::{
    Address, AssetId, BlockFacts, BlockHash, BlockRef, StateKey, TopoHeight, TxHash,
};

use super::{
    served_block::{ServedBlock, ServedTransaction},
    versions::{Version, Versions},
};
use crate::{
    chain::{BlockType, Network},
    rules::SIDE_BLOCK_WINDOW,
};

/// What a node would have in its storage.
#[derive(Debug)]
pub(super) struct ServedChain {
    pub(super) network: Network,
    blocks: Vec<ServedBlock>,
    places: HashMap<BlockHash, TopoHeight, ahash::RandomState>,
    orphaned: HashMap<BlockHash, ServedBlock, ahash::RandomState>,
    transactions: HashMap<TxHash, TransactionPlace, ahash::RandomState>,
    pub(super) versions: Versions,
    accounts: BTreeSet<Address>,
    assets: BTreeMap<Address, BTreeSet<AssetId>>,
    stable: TopoHeight,
    /// How many blocks of the order have each blue score.
    at_score: HashMap<u64, u64, ahash::RandomState>,
    /// Answers that were recorded once the chain was complete, for questions that nothing here
    /// knows the answer of.
    pub(super) at_the_end: AtTheEnd,
}

/// Answers by method and parameters.
#[derive(Debug, Default)]
pub(super) struct AtTheEnd {
    /// How many blocks the whole chain has.
    pub(super) block_count: usize,
    /// Whether some of its blocks will still be ordered away.
    pub(super) is_far: bool,
    pub(super) answers: HashMap<(String, String), Recorded>,
}

/// One recorded answer.
#[derive(Clone, Debug)]
pub(super) enum Recorded {
    Result(String),
    Error { code: i64, message: String },
}

/// Where a transaction is.
#[derive(Clone, Debug, Default)]
struct TransactionPlace {
    /// The blocks that list it, those out of the order included.
    blocks: Vec<(BlockHash, usize)>,
    executed_in: Option<BlockHash>,
    outputs: Option<Box<RawValue>>,
}

/// A block that takes the next position.
#[derive(Debug)]
pub(super) struct NextBlock {
    pub(super) block: ServedBlock,
    pub(super) versions: Vec<(StateKey, Version)>,
    pub(super) executed: Vec<TxHash>,
    pub(super) outputs: Vec<(TxHash, Box<RawValue>)>,
}

/// What one burst of blocks changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// The blocks that left their position, and where that was.
    left: Vec<(BlockHash, TopoHeight)>,
    pub(super) ordered: Vec<BlockRef>,
    pub(super) executed: Vec<(TxHash, BlockRef)>,
    /// What blocks that left had executed.
    undone: Vec<TxHash>,
    /// Before the burst.
    pub(super) stable_before: Option<Stable>,
}

/// How far the order cannot change any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stable {
    pub(super) topoheight: u64,
    pub(super) blue_score: u64,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty() && self.ordered.is_empty()
    }
}

impl ServedChain {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            blocks: Vec::new(),
            places: HashMap::default(),
            orphaned: HashMap::default(),
            transactions: HashMap::default(),
            versions: Versions::default(),
            accounts: BTreeSet::new(),
            assets: BTreeMap::new(),
            stable: TopoHeight::GENESIS,
            at_score: HashMap::default(),
            at_the_end: AtTheEnd::default(),
        }
    }

    pub(super) fn top(&self) -> Option<&ServedBlock> {
        self.blocks.last()
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn at(&self, topoheight: TopoHeight) -> Option<&ServedBlock> {
        self.blocks.get(usize::try_from(topoheight.as_u64()).ok()?)
    }

    pub(super) fn blocks(&self) -> &[ServedBlock] {
        &self.blocks
    }

    /// A block by its hash, in the order or not.
    pub(super) fn by_hash(&self, hash: &BlockHash) -> Option<(&ServedBlock, BlockType)> {
        match self.places.get(hash) {
            Some(at) => self.at(*at).map(|block| (block, self.block_type(block))),
            None => self.orphaned.get(hash).map(|block| (block, BlockType::Orphaned)),
        }
    }

    /// The blocks of one blue score, those out of the order last.
    pub(super) fn at_blue_score(&self, blue_score: u64) -> Vec<(&ServedBlock, BlockType)> {
        let ordered = self.blocks.iter().map(|block| (block, self.block_type(block)));
        let orphaned = self.orphaned.values().map(|block| (block, BlockType::Orphaned));
        ordered
            .chain(orphaned)
            .filter(|(block, _)| block.facts.blue_score.as_u64() == blue_score)
            .collect()
    }

    /// What the node thinks of a block in the order, now.
    pub(super) fn block_type(&self, block: &ServedBlock) -> BlockType {
        if block.facts.side_block {
            BlockType::Side
        } else if block.topoheight() <= self.stable && self.is_alone(block) {
            BlockType::Sync
        } else {
            BlockType::Normal
        }
    }

    /// Beside a block that another one of the order shares its blue score with there is a choice, so
    /// the node never calls it settled.
    fn is_alone(&self, block: &ServedBlock) -> bool {
        self.at_score.get(&block.facts.blue_score.as_u64()).is_none_or(|count| *count <= 1)
    }

    pub(super) fn stable(&self) -> Stable {
        let blue_score = self.at(self.stable).map_or(0, |block| block.facts.blue_score.as_u64());
        Stable { topoheight: self.stable.as_u64(), blue_score }
    }

    /// The facts that decide about the block after the last one, the newest last.
    pub(super) fn recent_facts(&self) -> Vec<(BlockRef, BlockFacts)> {
        let from = self.blocks.len().saturating_sub(SIDE_BLOCK_WINDOW);
        self.blocks.iter().skip(from).map(|block| (block.place, block.facts)).collect()
    }

    /// Gives the chain what its accounts had before its first block.
    pub(super) fn grant(&mut self, key: StateKey, version: Version) {
        self.write(TopoHeight::GENESIS, key, version);
    }

    /// The block takes the next position.
    pub(super) fn push(&mut self, next: NextBlock, changes: &mut Changes) {
        let NextBlock { block, versions, executed, outputs } = next;
        changes.stable_before.get_or_insert(self.stable());
        let place = block.place;
        for (key, version) in versions {
            self.write(place.topoheight, key, version);
        }
        for (index, transaction) in block.transactions.iter().enumerate() {
            let known = self.transactions.entry(transaction.hash).or_default();
            if !known.blocks.iter().any(|(block, _)| *block == place.hash) {
                known.blocks.push((place.hash, index));
            }
        }
        for hash in executed {
            changes.executed.push((hash, place));
            self.transactions.entry(hash).or_default().executed_in = Some(place.hash);
        }
        for (hash, outputs) in outputs {
            self.transactions.entry(hash).or_default().outputs = Some(outputs);
        }
        *self.at_score.entry(block.facts.blue_score.as_u64()).or_default() += 1;
        self.orphaned.remove(&place.hash);
        self.places.insert(place.hash, place.topoheight);
        self.blocks.push(block);
        changes.ordered.push(place);
        // What was stable once stays so: no re-order goes below it.
        self.stable = self.stable.max(self.find_stable());
    }

    /// The blocks above a position leave it.
    pub(super) fn revert(&mut self, to: TopoHeight, changes: &mut Changes) {
        changes.stable_before.get_or_insert(self.stable());
        let kept = usize::try_from(to.as_u64().saturating_add(1)).unwrap_or(usize::MAX);
        if kept >= self.blocks.len() {
            return;
        }
        for block in self.blocks.split_off(kept) {
            let BlockRef { topoheight, hash } = block.place;
            for transaction in &block.transactions {
                if let Some(known) = self.transactions.get_mut(&transaction.hash)
                    && known.executed_in == Some(hash)
                {
                    known.executed_in = None;
                    changes.undone.push(transaction.hash);
                }
            }
            changes.left.push((hash, topoheight));
            changes.ordered.retain(|ordered| ordered.hash != hash);
            changes.executed.retain(|(_, executed)| executed.hash != hash);
            if let Some(count) = self.at_score.get_mut(&block.facts.blue_score.as_u64()) {
                *count -= 1;
            }
            self.places.remove(&hash);
            self.orphaned.insert(hash, block);
        }
        self.versions.revert(to);
    }

    /// Of the blocks that left, those that are nowhere in the order now.
    pub(super) fn orphaned<'a>(
        &'a self,
        changes: &'a Changes,
    ) -> impl Iterator<Item = (BlockHash, TopoHeight)> + 'a {
        changes.left.iter().copied().filter(|(hash, _)| !self.places.contains_key(hash))
    }

    /// Of the transactions that were executed before, those that are not now.
    pub(super) fn orphaned_transactions<'a>(
        &'a self,
        changes: &'a Changes,
    ) -> impl Iterator<Item = &'a TxHash> + 'a {
        let mut told = HashSet::new();
        changes
            .undone
            .iter()
            .filter(move |hash| self.executed_in(hash).is_none() && told.insert(**hash))
    }

    pub(super) fn executed_in(&self, hash: &TxHash) -> Option<BlockRef> {
        let block = self.transactions.get(hash)?.executed_in?;
        self.places.get(&block).map(|at| BlockRef { topoheight: *at, hash: block })
    }

    /// A transaction and the blocks that list it.
    pub(super) fn transaction(
        &self,
        hash: &TxHash,
    ) -> Option<(&ServedTransaction, impl Iterator<Item = &BlockHash>)> {
        let known = self.transactions.get(hash)?;
        let (block, index) = known.blocks.first()?;
        let (block, _) = self.by_hash(block)?;
        Some((block.transactions.get(*index)?, known.blocks.iter().map(|(block, _)| block)))
    }

    /// What a contract did, told only once its transaction was executed.
    pub(super) fn outputs(&self, hash: &TxHash) -> Option<&RawValue> {
        self.executed_in(hash)?;
        self.transactions.get(hash)?.outputs.as_deref()
    }

    /// Every account, in order.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Address> {
        self.accounts.iter().filter(|account| self.registered_at(account).is_some())
    }

    /// The assets of which an account ever had a balance.
    pub(super) fn assets_of(&self, account: &Address) -> impl Iterator<Item = &AssetId> {
        let has_one = |asset: &&AssetId| {
            self.versions.newest(&StateKey::Balance(*account, **asset)).is_some()
        };
        self.assets.get(account).into_iter().flatten().filter(has_one)
    }

    /// Where the account became known to the chain.
    pub(super) fn registered_at(&self, account: &Address) -> Option<TopoHeight> {
        self.versions.first_at(&StateKey::Registered(*account))
    }

    /// Whether every block of a chain with an end is there.
    pub(super) fn is_complete(&self) -> bool {
        self.at_the_end.block_count == self.blocks.len() && !self.at_the_end.is_far
    }

    fn write(&mut self, at: TopoHeight, key: StateKey, version: Version) {
        self.accounts.insert(*key.account());
        if let StateKey::Balance(account, asset) = key {
            self.assets.entry(account).or_default().insert(asset);
        }
        self.versions.push(at, key, version);
    }

    /// The last block that is deep enough, is on the main chain, and beside which there is no other.
    fn find_stable(&self) -> TopoHeight {
        let deep = self.blocks.last().and_then(|top| {
            let blue_score = top.facts.blue_score.as_u64().checked_sub(STABLE_LIMIT)?;
            Some((blue_score, top.topoheight().checked_sub(STABLE_LIMIT)?))
        });
        let Some((deep, deepest)) = deep else { return TopoHeight::GENESIS };
        let mut lowest_above = u64::MAX;
        for block in self.blocks.iter().rev() {
            let blue_score = block.facts.blue_score.as_u64();
            let is_deep = blue_score <= deep && block.topoheight() <= deepest;
            if is_deep && !block.facts.side_block && blue_score < lowest_above {
                return block.topoheight();
            }
            lowest_above = lowest_above.min(blue_score);
        }
        TopoHeight::GENESIS
    }
}

/// How many blue scores below the highest the order may still change, and how many positions: a
/// generated chain gives a merging block two scores.
const STABLE_LIMIT: u64 = 60;
