//! A devnet that never was: a chain made from a seed, on the spot.
//!
//! The same options give the same chain on every machine: each block is drawn from a generator that
//! is seeded with the seed, the block's topoheight and its branch, and nothing else. The blocks carry
//! real hashes and the rewards of the rules; only their signatures are not real, because nobody
//! verifies them.
//!
//! A block is made of *shapes*, small groups of transactions that parallel executors have been seen
//! to get wrong, among plain transfers. A [`Profile`] says which shapes, and how many. Whatever is
//! decided is decided with whole numbers: rounding is nothing that machines agree on.
//!
//! Some profiles have *re-orders*: the chain goes back, and another branch takes the place of the
//! blocks that were there. How many blocks were asked for decides nothing but where the chain is cut:
//! of everything that happens what is above the last topoheight is left out.

mod accounts;
mod draft;
mod profile;
mod reorder;
mod shape;

use std::collections::VecDeque;

use accounts::Accounts;
use draft::Draft;
pub use profile::Profile;
use profile::pick;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use reorder::{Abandoned, Early, Late, Plan, Way};
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

/// As the command line has them.
impl Default for GeneratedOptions {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            seed: 1,
            blocks: 1000,
            transactions_per_block: 60,
            conflict_rate: 0.2,
        }
    }
}

/// A chain that is generated block by block.
#[derive(Debug)]
pub struct GeneratedChain {
    options: GeneratedOptions,
    /// The conflict rate as a whole number.
    conflicts_per_million: u32,
    identity: ChainIdentity,
    base: StateDelta,
    head: Head,
    way: Way,
}

/// All that the next block is drawn from, which is all that a re-order sets back.
#[derive(Clone, Debug)]
struct Head {
    accounts: Accounts,
    next: TopoHeight,
    tip: Option<BlockHash>,
    /// What decides about side blocks, the newest last.
    facts: VecDeque<(BlockRef, BlockFacts)>,
    emitted: Amount,
    /// Transactions of recent blocks, for a side block to carry a second time.
    recent: VecDeque<Transaction>,
}

impl Head {
    /// The block takes the next position.
    fn push(&mut self, block: BlockRef, facts: BlockFacts) {
        self.next = block.topoheight.next();
        self.tip = Some(block.hash);
        self.emitted = facts.emitted_supply;
        self.facts.push_back((block, facts));
        if self.facts.len() > SIDE_BLOCK_WINDOW {
            self.facts.pop_front();
        }
    }
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
            head: Head {
                accounts,
                next: TopoHeight::GENESIS,
                tip: None,
                facts: VecDeque::new(),
                emitted: Amount::ZERO,
                recent: VecDeque::new(),
            },
            way: Way::Straight,
        };
        chain.identity.genesis = chain.genesis().hash;
        chain
    }

    fn genesis(&self) -> Block {
        let mut random = self.random(TopoHeight::GENESIS, None);
        let place = Place { blue_score: BlueScore::new(0), tips: Vec::new() };
        let dev = self.head.accounts.dev();
        self.seal(TopoHeight::GENESIS, place, dev, Vec::new(), None, &mut random).0
    }

    /// What happens next, if nothing is left out.
    fn advance(&mut self) -> ChainEvent {
        let (way, event) = match std::mem::take(&mut self.way) {
            Way::Straight => match self.plan() {
                Some(plan) => {
                    let early = Box::new(Early::new(plan, self.head.clone()));
                    self.advance_early(early)
                }
                None => (Way::Straight, committed(self.next_block(None).block)),
            },
            Way::Early(early) if early.is_complete() => {
                let (late, to) = early.go_back(&mut self.head);
                (Way::Late(Box::new(late)), ChainEvent::Reverted { to })
            }
            Way::Early(early) => self.advance_early(early),
            Way::Late(mut late) => {
                let block = match late.next_returning(&mut self.head.accounts) {
                    Some(block) => self.order_anew(block, late.fork()),
                    None => self.next_block(Some(&late)).block,
                };
                let way = if late.is_complete() { Way::Straight } else { Way::Late(late) };
                (way, committed(block))
            }
        };
        self.way = way;
        event
    }

    fn advance_early(&mut self, mut early: Box<Early>) -> (Way, ChainEvent) {
        let abandoned = self.next_block(None);
        let block = abandoned.block.clone();
        early.push(abandoned);
        (Way::Early(early), committed(block))
    }

    /// The re-order that goes back to the tip as it is now, if there will be one.
    fn plan(&self) -> Option<Plan> {
        let fork = self.head.next.previous()?;
        Plan::draw(self.options.seed, fork, self.options.profile.mix())
    }

    fn next_block(&mut self, late: Option<&Late>) -> Abandoned {
        let topoheight = self.head.next;
        let (block, facts, born) = if topoheight == TopoHeight::GENESIS {
            let genesis = self.genesis();
            let facts = self.facts_of(&genesis, SideBlock::No);
            (genesis, facts, Vec::new())
        } else {
            self.draw(topoheight, late)
        };
        self.head.push(block.reference(), facts);
        Abandoned { block, born }
    }

    /// The same block in the next position, where it may be a side block, and of another reward.
    fn order_anew(&mut self, block: Block, fork: TopoHeight) -> Block {
        let (side_block, claimed) = self.earns(block.blue_score, Some(fork));
        let block_type = block_type(side_block);
        let block = Block { topoheight: self.head.next, block_type, claimed, ..block };
        let facts = self.facts_of(&block, side_block);
        self.head.push(block.reference(), facts);
        block
    }

    fn draw(
        &mut self,
        topoheight: TopoHeight,
        late: Option<&Late>,
    ) -> (Block, BlockFacts, Vec<Address>) {
        let mut random = self.random(topoheight, late);
        let place = self.place(&mut random);
        let is_side = self.side_block(place.blue_score, None).is_side();
        let mix = self.options.profile.mix();
        let accounts = &mut self.head.accounts;
        let miner = match random.random_ratio(mix.dev_mines_percent, 100) {
            true => accounts.dev(),
            false => accounts.miner(&mut random),
        };
        let sizes = if late.is_some() { profile::LATE_SIZES } else { mix.sizes };
        let size = pick(sizes, &mut random);
        let count = size.draw(self.options.transactions_per_block, &mut random);

        // Both branches are made of what was sent to everybody.
        let carried = late.map(|late| late.carry(topoheight, accounts, &mut random));
        let mut draft = Draft::new(accounts, miner, topoheight, self.head.tip);
        draft.fill(count, mix, self.conflicts_per_million, &mut random);
        let (mut transactions, born) = draft.finish();
        let fresh: Vec<_> = transactions.iter().take(RECENT_PER_BLOCK).cloned().collect();
        if is_side {
            // A block of another branch often carries what this branch has executed already.
            let recent: Vec<_> = self.head.recent.iter().collect();
            let count = random.random_range(1..=AGAIN_MAX);
            let again = recent.choose_multiple(&mut random, count).map(|again| (*again).clone());
            let at = random.random_range(0..=transactions.len());
            transactions.splice(at..at, again.collect::<Vec<_>>());
        }
        transactions.splice(0..0, carried.unwrap_or_default());
        self.head.recent.extend(fresh);
        while self.head.recent.len() > RECENT_MAX {
            self.head.recent.pop_front();
        }
        let fork = late.map(Late::fork);
        let (block, facts) = self.seal(topoheight, place, miner, transactions, fork, &mut random);
        (block, facts, born)
    }

    /// Now and then a block is a sibling of the one before, and sometimes several in a row are.
    fn place(&self, random: &mut ChaCha8Rng) -> Place {
        let mix = self.options.profile.mix();
        // The newest is the highest, except when it came back in a re-order.
        let highest = self.head.facts.iter().max_by_key(|(_, facts)| facts.blue_score);
        let (reference, newest) = highest.copied().unwrap_or((
            BlockRef { topoheight: TopoHeight::GENESIS, hash: self.identity.genesis },
            BlockFacts::default(),
        ));
        let percent = if newest.side_block { mix.side_again_percent } else { mix.side_percent };
        // The blocks of one blue score share their parent.
        let mut older = self.head.facts.iter().rev();
        let parent = older.find(|(_, facts)| facts.blue_score < newest.blue_score);
        match parent {
            Some((parent, _)) if random.random_ratio(percent, 100) => {
                Place { blue_score: newest.blue_score, tips: vec![parent.hash] }
            }
            _ => {
                let merged = self.head.tip.filter(|tip| *tip != reference.hash);
                let tips: Vec<_> = std::iter::once(reference.hash).chain(merged).collect();
                let blue_score = BlueScore::new(newest.blue_score.as_u64() + tips.len() as u64);
                Place { blue_score, tips }
            }
        }
    }

    fn seal(
        &self,
        topoheight: TopoHeight,
        place: Place,
        miner: Address,
        transactions: Vec<Transaction>,
        fork: Option<TopoHeight>,
        random: &mut ChaCha8Rng,
    ) -> (Block, BlockFacts) {
        let (side_block, claimed) = self.earns(place.blue_score, fork);
        let block = Block {
            hash: BlockHash::new([0; 32]),
            topoheight,
            block_type: block_type(side_block),
            network: Network::Test,
            version: BLOCK_VERSION,
            blue_score: place.blue_score,
            timestamp_ms: FIRST_TIMESTAMP_MS + topoheight.as_u64() * 1000,
            nonce: random.random(),
            extra_nonce: random.random(),
            miner,
            tips: place.tips,
            transactions,
            claimed,
        }
        .seal();
        let facts = self.facts_of(&block, side_block);
        (block, facts)
    }

    /// What a block of this blue score is in the next position, and what it is paid there.
    fn earns(&self, blue_score: BlueScore, fork: Option<TopoHeight>) -> (SideBlock, Claimed) {
        let side_block = self.side_block(blue_score, fork);
        let total = Reward::total_of(self.head.emitted, side_block);
        let reward = Reward::split(total, dev_percentage(blue_score.as_u64()));
        let claimed = Claimed {
            reward: total,
            miner_reward: reward.miner,
            dev_reward: reward.dev,
            supply: self.head.emitted.saturating_add(total),
            total_fees: None,
        };
        (side_block, claimed)
    }

    /// A re-order counts the side blocks of a blue score from its own beginning: those that stand
    /// below it do not lower the reward.
    fn side_block(&self, blue_score: BlueScore, fork: Option<TopoHeight>) -> SideBlock {
        let facts = self.head.facts.iter();
        match SideBlock::decide(blue_score, facts.clone().map(|(_, facts)| facts)) {
            SideBlock::No => SideBlock::No,
            SideBlock::After(_) => SideBlock::After(
                facts
                    .filter(|(place, facts)| {
                        let is_counted = Some(place.topoheight) > fork && facts.side_block;
                        is_counted && facts.blue_score == blue_score
                    })
                    .count(),
            ),
        }
    }

    fn facts_of(&self, block: &Block, side_block: SideBlock) -> BlockFacts {
        BlockFacts {
            blue_score: block.blue_score,
            side_block: side_block.is_side(),
            emitted_supply: block.claimed.supply,
            ..BlockFacts::default()
        }
    }

    /// The randomness of one block: seed, position and branch decide everything in it.
    fn random(&self, topoheight: TopoHeight, late: Option<&Late>) -> ChaCha8Rng {
        let mut hasher = blake3::Hasher::new_derive_key("shadow generated chain, block");
        hasher.update(&self.options.seed.to_le_bytes());
        hasher.update(&topoheight.as_u64().to_le_bytes());
        if late.is_some() {
            hasher.update(b"late");
        }
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
        loop {
            let is_above = self.head.next.as_u64() > self.options.blocks;
            // A branch that goes too high comes to nothing, and another takes its place.
            if is_above && !matches!(self.way, Way::Early(_)) {
                return Ok(None);
            }
            match self.advance() {
                ChainEvent::Committed(_) if is_above => {}
                event => return Ok(Some(event)),
            }
        }
    }

    fn block_count(&self) -> Option<u64> {
        Some(self.options.blocks + 1)
    }
}

fn committed(block: Block) -> ChainEvent {
    ChainEvent::Committed(Box::new(CommittedBlock { block, answers: NodeAnswers::default() }))
}

const fn block_type(side_block: SideBlock) -> BlockType {
    if side_block.is_side() { BlockType::Side } else { BlockType::Normal }
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
