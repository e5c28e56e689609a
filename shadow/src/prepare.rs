//! Everything that is decided about a block before its first transaction runs.
//!
//! Reward, side block and executed marks follow from the chain so far. They are decided once, here,
//! so that the control and all candidates start from the same facts.

use std::sync::Arc;

use comparator::OpaqueKind;
use storage_snapshot::{Address, Amount, BlockFacts, BlockRef, TxHash};

use crate::{
    chain::{Block, Claimed},
    execute::{ExecutableBlock, ExecutableTransaction},
    rules::{BLOCK_VERSION_MAX, NamedKeys, Quirk, Quirks, Reward, SideBlock, dev_percentage},
};

/// A block with everything decided that the chain decides before it runs.
#[derive(Debug)]
pub struct PreparedBlock {
    /// What executors are given.
    pub executable: ExecutableBlock,
    /// What the node says of the block in the block itself.
    pub claimed: Claimed,
    /// The keys that the block names.
    pub named_keys: Arc<NamedKeys>,
    /// Why the block is not executed here, if it is not.
    pub opaque: Option<OpaqueKind>,
    /// What later blocks need to know, but for what it burns.
    pub facts: BlockFacts,
    /// The oddities that showed so far.
    pub quirks: Quirks,
}

/// The chain before a block, as far as it decides about the block.
#[derive(Debug)]
pub struct ChainSoFar<'a, E> {
    /// Who receives the dev share.
    pub dev: Address,
    /// The facts of the blocks before, the newest last.
    pub previous: &'a [(BlockRef, BlockFacts)],
    /// Whether a transaction was executed by a block before.
    pub was_executed: E,
}

/// Decides what can be decided about a block before it runs.
pub fn prepare<E: Fn(&TxHash) -> bool>(block: Block, chain: &ChainSoFar<'_, E>) -> PreparedBlock {
    let mut quirks = Quirks::default();
    let parent = chain.previous.last().map_or(BlockFacts::default(), |(_, facts)| *facts);
    let side_block =
        SideBlock::decide(block.blue_score, chain.previous.iter().map(|(_, facts)| facts));
    let total = reward(parent.emitted_supply, side_block, block.claimed.reward, &mut quirks);
    let reward = Reward::split(total, dev_percentage(block.blue_score.as_u64()));

    let named_keys = NamedKeys::of_block(&block.miner, &chain.dev, block.transactions.iter());
    let is_unknown_version = block.version > BLOCK_VERSION_MAX;
    let duplicates = block.has_duplicate_transactions();
    let transactions: Vec<_> = block
        .transactions
        .into_iter()
        .map(|body| ExecutableTransaction {
            already_executed: (chain.was_executed)(&body.hash),
            body,
        })
        .collect();
    let opaque = if is_unknown_version {
        Some(OpaqueKind::new("unknown_block_version"))
    } else if duplicates {
        quirks.count(Quirk::DuplicateTransaction);
        Some(OpaqueKind::new(Quirk::DuplicateTransaction.name()))
    } else {
        opaque_kind(&transactions)
    };
    PreparedBlock {
        executable: ExecutableBlock {
            block: BlockRef { topoheight: block.topoheight, hash: block.hash },
            side_block: side_block.is_side(),
            miner: block.miner,
            dev: chain.dev,
            reward,
            transactions,
        },
        claimed: block.claimed,
        named_keys: Arc::new(named_keys),
        opaque,
        facts: BlockFacts {
            blue_score: block.blue_score,
            side_block: side_block.is_side(),
            emitted_supply: parent.emitted_supply.saturating_add(total),
            burned_supply: parent.burned_supply,
        },
        quirks,
    }
}

/// The reward by the rules. The how-manieth side block of its blue score a block was when the node
/// rewarded it cannot be told from the order alone, so among those the node is believed.
fn reward(emitted: Amount, side_block: SideBlock, claimed: Amount, quirks: &mut Quirks) -> Amount {
    let expected = Reward::total_of(emitted, side_block);
    if claimed == expected || !side_block.is_side() {
        return expected;
    }
    let other = (0..4).map(|n| Reward::total_of(emitted, SideBlock::After(n)));
    match other.into_iter().find(|other| *other == claimed) {
        Some(other) => {
            quirks.count(Quirk::SideRewardOrder);
            other
        }
        None => expected,
    }
}

/// An opaque transaction that another block executed has no effect, so it does not make a block
/// opaque.
fn opaque_kind(transactions: &[ExecutableTransaction]) -> Option<OpaqueKind> {
    let effective = transactions.iter().filter(|transaction| !transaction.already_executed);
    let kind = effective.filter_map(|transaction| transaction.body.opaque_kind()).next()?;
    Some(OpaqueKind::new(kind.as_str()))
}
