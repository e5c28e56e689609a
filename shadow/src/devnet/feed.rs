//! What happens to the chain of a stand-in node, step by step.
//!
//! A branch that takes the place of another one comes at once, as soon as it is as long: that is
//! when a node hears of it. On request, blocks are first others: the *variants* of some blocks come
//! one by one, and then the blocks themselves take their place.

use std::collections::{HashSet, VecDeque};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Address, BlockHash, TopoHeight};

use super::{
    DevnetChain, DevnetError, DevnetOptions,
    executed::{Engine, execute},
    recorded::{RecordedBlock, RecordedBlocks},
    served_chain::{Changes, ServedChain},
    versions::Version,
};
use crate::{
    chain::{Block, BlockType, Transaction, TransactionData},
    source::{BlockSource, ChainEvent, GeneratedChain},
};

/// Yields what happens to a chain.
#[derive(Debug)]
pub(super) struct Feed {
    source: Source,
    engine: Engine,
    dev: Address,
    /// What happens before anything new of the source.
    planned: VecDeque<Next>,
    random: ChaCha8Rng,
}

#[derive(Debug)]
enum Source {
    Recorded(Box<RecordedBlocks>),
    Generated(Box<GeneratedChain>),
}

/// What happens next.
#[derive(Debug)]
enum Next {
    /// A block comes that has to be executed.
    Made(Box<Block>),
    /// A block comes whose versions are known.
    Recorded(Box<RecordedBlock>),
    /// The blocks above a position leave it.
    Reverted(TopoHeight),
}

impl Feed {
    /// Opens what the options name, and gives the chain what its accounts have before the first
    /// block, as if that had granted it.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn open(
        options: &DevnetOptions,
        chain: &mut ServedChain,
    ) -> Result<Self, DevnetError> {
        let (source, dev) = match &options.chain {
            DevnetChain::Recording(directory) => {
                let blocks = RecordedBlocks::open(directory, chain)?;
                let dev = blocks.dev();
                (Source::Recorded(Box::new(blocks)), dev)
            }
            DevnetChain::Generated(generated) => {
                let source = GeneratedChain::new(*generated);
                for (key, value) in source.base() {
                    chain.grant(key, Version::new(value, None));
                }
                let count = source.block_count().unwrap_or_default();
                chain.at_the_end.block_count = usize::try_from(count).unwrap_or(usize::MAX);
                let dev = source.identity().dev;
                (Source::Generated(Box::new(source)), dev)
            }
        };
        let random = ChaCha8Rng::seed_from_u64(options.seed);
        let engine = Engine::open(options)?;
        Ok(Self { source, engine, dev, planned: VecDeque::new(), random })
    }

    /// Makes the next step happen; `None` at the end of the chain. `reorders` decides whether it is
    /// the first of some that will not stay.
    ///
    /// # Errors
    ///
    /// When the chain cannot be read on.
    pub(super) fn advance(
        &mut self,
        chain: &mut ServedChain,
        reorders: impl Fn() -> bool,
    ) -> Result<Option<Changes>, DevnetError> {
        let (mut changes, length) = (Changes::default(), chain.len());
        if self.planned.is_empty() && length > 0 && reorders() {
            self.plan_reorder()?;
        }
        let advanced = self.step(chain, length, &mut changes);
        chain.at_the_end.is_far = !self.planned.is_empty();
        Ok(advanced?.then_some(changes))
    }

    /// Makes blocks come until there are as many as before; whether any came.
    fn step(
        &mut self,
        chain: &mut ServedChain,
        length: usize,
        changes: &mut Changes,
    ) -> Result<bool, DevnetError> {
        loop {
            match self.next()? {
                Some(Next::Made(block)) => {
                    let next = execute(&self.engine, self.dev, *block, chain)?;
                    chain.push(next, changes);
                }
                Some(Next::Recorded(block)) => chain.push(block.served, changes),
                Some(Next::Reverted(to)) => chain.revert(to, changes),
                None => return Ok(!changes.is_empty()),
            }
            if chain.len() >= length.max(1) {
                return Ok(true);
            }
        }
    }

    fn next(&mut self) -> Result<Option<Next>, DevnetError> {
        match self.planned.pop_front() {
            Some(next) => Ok(Some(next)),
            None => self.source.next(),
        }
    }

    /// Takes the next blocks, puts their variants before them, and has those ordered away.
    fn plan_reorder(&mut self) -> Result<(), DevnetError> {
        let depth = self.draw_depth();
        let mut blocks = Vec::new();
        let mut after = None;
        while blocks.len() < depth {
            match self.source.next()? {
                Some(reverted @ Next::Reverted(_)) => {
                    after = Some(reverted);
                    break;
                }
                Some(block) => blocks.push(block),
                None => break,
            }
        }
        let variants = variants(&blocks, &mut self.random);
        let fork = variants.first().and_then(|first| first.topoheight.previous());
        if let Some(fork) = fork {
            self.planned.extend(variants.into_iter().map(|block| Next::Made(Box::new(block))));
            self.planned.push_back(Next::Reverted(fork));
        }
        self.planned.extend(blocks);
        self.planned.extend(after);
        Ok(())
    }

    /// Shallow ones most often, each of the depths sometimes.
    fn draw_depth(&mut self) -> usize {
        let most = [1, 3, 10, DEPTH_MAX][self.random.random_range(0..4)];
        self.random.random_range(1..=most)
    }
}

impl Source {
    fn next(&mut self) -> Result<Option<Next>, DevnetError> {
        Ok(match self {
            Self::Recorded(blocks) => blocks.next()?.map(|block| Next::Recorded(Box::new(block))),
            Self::Generated(chain) => loop {
                match chain.next_event()? {
                    Some(ChainEvent::Committed(next)) => {
                        break Some(Next::Made(Box::new(next.block)));
                    }
                    Some(ChainEvent::Reverted { to }) => break Some(Next::Reverted(to)),
                    // Only a running node says so.
                    Some(ChainEvent::AnsweredAgain(_) | ChainEvent::Idle) => {}
                    None => break None,
                }
            },
        })
    }
}

/// Blocks that could have been in the places of others: of other hashes, each upon the variant of
/// its parent, with some transactions missing; of recorded ones with none, because not everything
/// that was recorded can be executed.
fn variants(blocks: &[Next], random: &mut ChaCha8Rng) -> Vec<Block> {
    let mut variants: Vec<Block> = Vec::new();
    let mut renamed: Vec<(BlockHash, BlockHash)> = Vec::new();
    for (index, next) in blocks.iter().enumerate() {
        let mut variant = match next {
            Next::Made(block) => {
                let needed = sources_of(blocks.get(index..).unwrap_or_default());
                let mut variant = (**block).clone();
                variant.transactions.retain(|transaction| {
                    pays_one_of(transaction, &needed) || random.random_ratio(2, 3)
                });
                variant
            }
            Next::Recorded(recorded) => {
                Block { transactions: Vec::new(), ..recorded.block.clone() }
            }
            Next::Reverted(_) => continue,
        };
        let original = variant.hash;
        for tip in &mut variant.tips {
            if let Some((_, other)) = renamed.iter().find(|(hash, _)| hash == tip) {
                *tip = *other;
            }
        }
        variant.extra_nonce = random.random();
        variant.claimed.total_fees = None;
        if variant.block_type == BlockType::Sync {
            variant.block_type = BlockType::Normal;
        }
        let variant = variant.seal();
        renamed.push((original, variant.hash));
        variants.push(variant);
    }
    variants
}

/// Who sends in some blocks: without what they were paid they might not exist.
fn sources_of(blocks: &[Next]) -> HashSet<Address> {
    let made = blocks.iter().filter_map(|next| match next {
        Next::Made(block) => Some(&block.transactions),
        Next::Recorded(_) | Next::Reverted(_) => None,
    });
    made.flatten().map(|transaction| transaction.source).collect()
}

fn pays_one_of(transaction: &Transaction, accounts: &HashSet<Address>) -> bool {
    match &transaction.data {
        TransactionData::Transfers(transfers) => {
            transfers.iter().any(|transfer| accounts.contains(&transfer.destination))
        }
        TransactionData::Burn { .. } | TransactionData::Multisig(_) => false,
        TransactionData::Opaque(_) => true,
    }
}

/// The chain orders no more than its last blue scores anew.
const DEPTH_MAX: usize = 60;
