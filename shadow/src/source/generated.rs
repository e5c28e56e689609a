//! A devnet that never was: a chain made from a seed, on the spot.
//!
//! The same options give the same chain on every machine: each block is drawn from a generator that
//! is seeded with the seed and the block's topoheight, and nothing else. The blocks carry real hashes
//! and the rewards of the rules; only their signatures are not real, because nobody verifies them.
//!
//! A block is made of *shapes*, small groups of transactions that parallel executors have been seen
//! to get wrong, among plain transfers. A [`Profile`] says which shapes, and how many. Whatever is
//! decided is decided with whole numbers: rounding is nothing that machines agree on.

mod accounts;
mod draft;
mod profile;
mod shape;

use std::collections::VecDeque;

use accounts::Accounts;
use draft::Draft;
pub use profile::Profile;
use profile::pick;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockFacts, BlockHash, BlockRef, BlueScore, StateDelta, TopoHeight,
};

use super::{BlockSource, ChainEvent, ChainIdentity, CommittedBlock, NodeAnswers, SourceError};
use crate::{
    chain::{Block, BlockType, Claimed, Network, Transaction},
    rules::{Reward, SIDE_BLOCK_WINDOW, SideBlock, dev_percentage},
};

/// What a generated chain is like. Every field is part of its identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeneratedOptions {
    /// What it dwells on.
    pub profile: Profile,
    /// Seeds everything.
    pub seed: u64,
    /// How many blocks follow the first one.
    pub blocks: u64,
    /// How many transactions a usual block has.
    pub transactions_per_block: usize,
    /// The share of plain transfers, from 0 to 1, that meet in the block's one busy account.
    pub conflict_rate: f64,
}

/// A chain that is generated block by block.
#[derive(Debug)]
pub struct GeneratedChain {
    options: GeneratedOptions,
    /// The conflict rate as a whole number.
    conflicts_per_million: u32,
    identity: ChainIdentity,
    base: StateDelta,
    accounts: Accounts,
    next: TopoHeight,
    tip: Option<BlockHash>,
    /// What decides about side blocks, the newest last.
    facts: VecDeque<(BlockRef, BlockFacts)>,
    emitted: Amount,
    /// Transactions of recent blocks, for a side block to carry a second time.
    recent: VecDeque<Transaction>,
}

impl GeneratedChain {
    /// The chain of these options.
    pub fn new(options: GeneratedOptions) -> Self {
        let accounts = Accounts::new(options.seed, options.transactions_per_block);
        let GeneratedOptions { profile, seed, transactions_per_block, conflict_rate, .. } = options;
        let mut chain = Self {
            options,
            // A rate within its range fits, and one outside is cut to it.
            conflicts_per_million: (conflict_rate.clamp(0.0, 1.0) * 1e6).round() as u32,
            base: accounts.base_state(),
            identity: ChainIdentity {
                name: format!(
                    "a generated chain (profile {profile}, seed {seed}, {transactions_per_block} \
                     transactions per block, conflict rate {conflict_rate})"
                ),
                genesis: BlockHash::new([0; 32]),
                dev: accounts.dev(),
            },
            accounts,
            next: TopoHeight::GENESIS,
            tip: None,
            facts: VecDeque::new(),
            emitted: Amount::ZERO,
            recent: VecDeque::new(),
        };
        chain.identity.genesis = chain.genesis().hash;
        chain
    }

    fn genesis(&self) -> Block {
        let mut random = self.random(TopoHeight::GENESIS);
        let place = Place { blue_score: BlueScore::new(0), tips: Vec::new() };
        self.seal(TopoHeight::GENESIS, place, self.accounts.dev(), Vec::new(), &mut random).0
    }

    fn next_block(&mut self) -> Block {
        let topoheight = self.next;
        self.next = topoheight.next();
        let (block, facts) = if topoheight == TopoHeight::GENESIS {
            let genesis = self.genesis();
            let facts = self.facts_of(&genesis, SideBlock::No);
            (genesis, facts)
        } else {
            self.draw(topoheight)
        };
        self.emitted = facts.emitted_supply;
        self.tip = Some(block.hash);
        self.facts.push_back((block.reference(), facts));
        if self.facts.len() > SIDE_BLOCK_WINDOW {
            self.facts.pop_front();
        }
        block
    }

    fn draw(&mut self, topoheight: TopoHeight) -> (Block, BlockFacts) {
        let mut random = self.random(topoheight);
        let place = self.place(&mut random);
        let is_side =
            self.facts.back().is_some_and(|(_, facts)| facts.blue_score >= place.blue_score);
        let mix = self.options.profile.mix();
        let miner = match random.random_ratio(mix.dev_mines_percent, 100) {
            true => self.accounts.dev(),
            false => self.accounts.miner(&mut random),
        };
        let size = pick(mix.sizes, &mut random);
        let count = size.draw(self.options.transactions_per_block, &mut random);

        let mut draft = Draft::new(&mut self.accounts, miner, topoheight, self.tip);
        draft.fill(count, mix, self.conflicts_per_million, &mut random);
        let mut transactions = draft.finish();
        let fresh: Vec<_> = transactions.iter().take(RECENT_PER_BLOCK).cloned().collect();
        if is_side {
            // A block of another branch often carries what this branch has executed already.
            let recent: Vec<_> = self.recent.iter().collect();
            let count = random.random_range(1..=AGAIN_MAX);
            let again = recent.choose_multiple(&mut random, count).map(|again| (*again).clone());
            let at = random.random_range(0..=transactions.len());
            transactions.splice(at..at, again.collect::<Vec<_>>());
        }
        self.recent.extend(fresh);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        self.seal(topoheight, place, miner, transactions, &mut random)
    }

    /// Now and then a block is a sibling of the one before, and sometimes several in a row are.
    fn place(&self, random: &mut ChaCha8Rng) -> Place {
        let mix = self.options.profile.mix();
        let (reference, newest) = self.facts.back().copied().unwrap_or((
            BlockRef { topoheight: TopoHeight::GENESIS, hash: self.identity.genesis },
            BlockFacts::default(),
        ));
        let percent = if newest.side_block { mix.side_again_percent } else { mix.side_percent };
        // The blocks of one blue score share their parent.
        let mut older = self.facts.iter().rev();
        let parent = older.find(|(_, facts)| facts.blue_score < newest.blue_score);
        match parent {
            Some((parent, _)) if random.random_ratio(percent, 100) => {
                Place { blue_score: newest.blue_score, tips: vec![parent.hash] }
            }
            _ => Place {
                blue_score: BlueScore::new(newest.blue_score.as_u64() + 1),
                tips: vec![reference.hash],
            },
        }
    }

    fn seal(
        &self,
        topoheight: TopoHeight,
        place: Place,
        miner: Address,
        transactions: Vec<Transaction>,
        random: &mut ChaCha8Rng,
    ) -> (Block, BlockFacts) {
        let previous = self.facts.iter().map(|(_, facts)| facts);
        let side_block = SideBlock::decide(place.blue_score, previous);
        let total = Reward::total_of(self.emitted, side_block);
        let reward = Reward::split(total, dev_percentage(place.blue_score.as_u64()));
        let block = Block {
            hash: BlockHash::new([0; 32]),
            topoheight,
            block_type: if side_block.is_side() { BlockType::Side } else { BlockType::Normal },
            network: Network::Test,
            version: BLOCK_VERSION,
            blue_score: place.blue_score,
            timestamp_ms: FIRST_TIMESTAMP_MS + topoheight.as_u64() * 1000,
            nonce: random.random(),
            extra_nonce: random.random(),
            miner,
            tips: place.tips,
            transactions,
            claimed: Claimed {
                reward: total,
                miner_reward: reward.miner,
                dev_reward: reward.dev,
                supply: self.emitted.saturating_add(total),
                total_fees: None,
            },
        }
        .seal();
        let facts = self.facts_of(&block, side_block);
        (block, facts)
    }

    fn facts_of(&self, block: &Block, side_block: SideBlock) -> BlockFacts {
        BlockFacts {
            blue_score: block.blue_score,
            side_block: side_block.is_side(),
            emitted_supply: block.claimed.supply,
            ..BlockFacts::default()
        }
    }

    /// The randomness of one block: seed and position decide everything in it.
    fn random(&self, topoheight: TopoHeight) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("shadow generated chain, block");
        hasher.update(&self.options.seed.to_le_bytes());
        hasher.update(&topoheight.as_u64().to_le_bytes());
        ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
    }
}

impl BlockSource for GeneratedChain {
    fn identity(&self) -> &ChainIdentity {
        &self.identity
    }

    fn base(&self) -> StateDelta {
        self.base.clone()
    }

    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError> {
        if self.next.as_u64() > self.options.blocks {
            return Ok(None);
        }
        let block = self.next_block();
        let answers = NodeAnswers::default();
        Ok(Some(ChainEvent::Committed(Box::new(CommittedBlock { block, answers }))))
    }

    fn block_count(&self) -> Option<u64> {
        Some(self.options.blocks + 1)
    }
}

/// Where a block sits in the DAG.
struct Place {
    blue_score: BlueScore,
    tips: Vec<BlockHash>,
}

/// The assets of a generated chain.
const ASSETS: [AssetId; 3] = [AssetId::NATIVE, SECOND_ASSET, THIRD_ASSET];
const SECOND_ASSET: AssetId = AssetId::new([0xa5; 32]);
const THIRD_ASSET: AssetId = AssetId::new([0x3a; 32]);

const BLOCK_VERSION: u8 = 3;
const FIRST_TIMESTAMP_MS: u64 = 1_700_000_000_000;
const RECENT_PER_BLOCK: usize = 4;
const RECENT_MAX: usize = 32;

/// How many transactions of earlier blocks a side block carries a second time at most.
const AGAIN_MAX: usize = 5;
