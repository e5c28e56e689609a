//! Re-orders of generated chains: how deep they are, what comes back, and what became of it.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};

use comparator::{SkipReason, Status};
use shadow::{
    chain::Block,
    rules::Quirk,
    source::{BlockSource, ChainEvent, GeneratedChain, GeneratedOptions, Profile},
};
use storage_snapshot::{BlockHash, TopoHeight};

use crate::walk::{Step, Walk, count, standing};

/// A chain with many re-orders, executed.
static STEPS: LazyLock<Vec<Step>> =
    LazyLock::new(|| Walk::new(options(Profile::SideBlocks, 400, 40)).collect());

/// The events of a long chain of small blocks.
static EVENTS: LazyLock<Vec<Event>> =
    LazyLock::new(|| events(options(Profile::Everything, 4000, 1)));

#[test]
fn re_orders_are_shallow_and_deep_and_never_deeper_than_sixty() {
    let depths: Vec<u64> = re_orders(&EVENTS).iter().map(|re_order| re_order.depth()).collect();
    for class in [1..=1, 2..=5, 6..=20, 21..=59, 60..=60] {
        let count = depths.iter().filter(|depth| class.contains(*depth)).count();
        assert!(count > 0, "none of {class:?} in {depths:?}");
    }
    assert!(depths.iter().all(|depth| *depth <= 60), "{depths:?}");
    let shallow = depths.iter().filter(|depth| **depth <= 5).count();
    assert!(shallow * 2 > depths.len(), "{shallow} of {} are shallow", depths.len());
}

#[test]
fn the_default_chain_goes_back_within_two_hundred_blocks_of_any_seed() {
    for seed in 1..=20 {
        let options = GeneratedOptions { seed, ..options(Profile::Everything, 200, 1) };
        assert!(!re_orders(&events(options)).is_empty(), "seed {seed}");
    }
}

#[test]
fn only_two_profiles_go_back() {
    for profile in Profile::ALL {
        let goes_back = !re_orders(&events(options(profile, 300, 2))).is_empty();
        let expected = [Profile::SideBlocks, Profile::Everything].contains(&profile);
        assert_eq!(goes_back, expected, "{profile}");
    }
}

#[test]
fn what_takes_the_place_is_as_long_and_begins_with_a_new_block() {
    for re_order in re_orders(&EVENTS) {
        assert!(re_order.late.len() >= re_order.early.len(), "{re_order:?}");
        assert!(!re_order.early.contains(&re_order.late[0]), "{re_order:?}");
    }
}

#[test]
fn some_blocks_come_back_elsewhere_and_some_do_not() {
    let (mut back, mut gone) = (0, 0);
    for ReOrder { early, late, .. } in re_orders(&EVENTS) {
        let (mut last, mut is_over) = (0, false);
        for (was, hash) in early.iter().enumerate() {
            match late.iter().position(|other| other == hash) {
                // Behind where it was, and behind what it was behind.
                Some(at) => {
                    assert!(!is_over && at > was && at > last);
                    (last, back) = (at, back + 1);
                }
                None => (is_over, gone) = (true, gone + 1),
            }
        }
    }
    assert!(back > 100 && gone > 100, "{back} came back, {gone} did not");
}

#[test]
fn a_block_that_comes_back_is_the_same_in_another_position() {
    let mut seen: HashMap<BlockHash, &Block> = HashMap::new();
    let mut back = 0;
    for Step { block, .. } in &*STEPS {
        let Some(was) = seen.insert(block.hash, block) else { continue };
        assert!(block.topoheight > was.topoheight);
        assert_eq!(block.transactions, was.transactions);
        assert_eq!(block.computed_hash(), block.hash);
        back += 1;
    }
    assert!(back > 10, "{back}");
}

#[test]
fn transactions_of_blocks_that_come_back_are_executed_already_or_their_nonces_refused() {
    let became = |before: fn(&Status) -> bool, after: Status| {
        returning().any(|(was, is)| {
            let mut sent = is.block.transactions.iter();
            sent.any(|sent| before(was.status(sent)) && *is.status(sent) == after)
        })
    };
    let executed = |status: &Status| *status == Status::Executed;
    assert!(became(executed, Status::Skipped(SkipReason::AlreadyExecuted)));
    assert!(became(executed, Status::Skipped(SkipReason::Nonce)));
    assert!(became(executed, Status::Executed));
}

#[test]
fn a_block_that_comes_back_may_be_a_side_block_and_of_another_reward() {
    let side = |was: bool, is: bool| {
        returning().any(|(before, after)| {
            before.executable.side_block == was && after.executable.side_block == is
        })
    };
    assert!(side(false, true) && side(false, false) && side(true, true));
    let rewards = |step: &Step| step.executable.reward.total();
    assert!(returning().any(|(was, is)| rewards(is).as_u64() * 2 < rewards(was).as_u64()));
    for (was, is) in returning() {
        assert_eq!(is.block.claimed.reward, rewards(is));
        assert_ne!(is.block.claimed.supply, was.block.claimed.supply);
    }
}

#[test]
fn side_blocks_are_counted_from_the_beginning_of_a_re_order() {
    let quirks =
        STEPS.iter().filter(|step| count(&step.prepared_quirks, Quirk::SideRewardOrder) > 0);
    assert!(quirks.count() > 0);
}

#[test]
fn new_blocks_carry_what_abandoned_blocks_carried() {
    let mut seen = HashSet::new();
    let carried = STEPS.iter().filter(|step| seen.insert(step.block.hash)).any(|step| {
        let position = STEPS.iter().position(|other| other.block.hash == step.block.hash).unwrap();
        let abandoned = STEPS[..position]
            .iter()
            .filter(|other| other.block.topoheight >= step.block.topoheight);
        let sent: HashSet<_> =
            abandoned.flat_map(|other| other.block.transaction_hashes()).collect();
        step.executed().any(|carried| sent.contains(&carried.hash))
    });
    assert!(carried);
}

#[test]
fn no_source_is_without_a_nonce_and_nothing_wraps_however_long_the_chain_is() {
    for (profile, seed) in [(Profile::SideBlocks, 2), (Profile::Everything, 3)] {
        let options = GeneratedOptions { seed, ..options(profile, 1500, 12) };
        for step in Walk::new(options) {
            for quirk in [Quirk::DebitWrapped, Quirk::DebitSaturated] {
                assert_eq!(count(&step.quirks, quirk), 0, "{profile}, {}", step.block.topoheight);
            }
            assert!(!step.block.has_duplicate_transactions());
            for failed in step.failed() {
                let fits = |to: &shadow::chain::Transfer| {
                    step.before(to.destination, to.asset).checked_add(to.amount).is_some()
                };
                let by_accident = crate::walk::outputs(failed).iter().all(fits);
                assert!(!by_accident, "{profile}, {}", step.block.topoheight);
            }
        }
    }
}

#[test]
fn a_shorter_chain_is_the_longer_one_cut() {
    #[track_caller]
    fn check(profile: Profile, all: &[Event], blocks: u64) {
        let shorter = GeneratedChain::new(options(profile, blocks, 3));
        let stands = |place: &TopoHeight| place.as_u64() <= blocks;
        let cut: Vec<_> = all
            .iter()
            .filter(|event| match event {
                Event::Block(place, _) => stands(place),
                Event::Reverted(to) => to.as_u64() < blocks,
            })
            .copied()
            .collect();
        let shorter_events = events(options(profile, blocks, 3));
        assert_eq!(shorter_events, cut, "{profile}, {blocks}");
        assert_eq!(shorter.block_count(), Some(blocks + 1));
        let standing = standing(shorter);
        assert!(standing.iter().zip(0..).all(|(block, at)| block.topoheight.as_u64() == at));
        assert_eq!(standing.len() as u64, blocks + 1, "{profile}, {blocks}");
    }
    for profile in [Profile::SideBlocks, Profile::Everything] {
        let all = events(options(profile, 260, 3));
        // What happens beyond the positions of the shorter chain is none of its business.
        let all = &all[..];
        for blocks in 0..120 {
            check(profile, all, blocks);
        }
    }
}

/// A change of the generator changes these sums of everything that happens.
#[test]
fn what_happens_on_the_chains_of_a_seed_is_this() {
    #[track_caller]
    fn check(profile: Profile, expected: &str) {
        let mut sum = blake3::Hasher::new();
        let mut all = BTreeSet::new();
        for event in events(options(profile, 300, 20)) {
            let (place, hash) = match event {
                Event::Block(place, hash) => (place, hash),
                Event::Reverted(to) => (to, BlockHash::new([0; 32])),
            };
            sum.update(&place.as_u64().to_le_bytes());
            sum.update(hash.as_bytes());
            all.insert(hash);
        }
        assert!(all.len() > 300);
        assert_eq!(sum.finalize().to_string(), expected, "{profile}");
    }
    check(Profile::SideBlocks, "8146c2edd37c22c7e20f71e4129da18830311ddf7b188555ea2160909c5160ce");
    check(Profile::Everything, "4fc2933c18377d650df74cebe74e67466c4792ada11149911091206de6297bd1");
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Block(TopoHeight, BlockHash),
    Reverted(TopoHeight),
}

/// What was there, and what took its place before the next re-order.
#[derive(Debug)]
struct ReOrder {
    early: Vec<BlockHash>,
    late: Vec<BlockHash>,
}

impl ReOrder {
    fn depth(&self) -> u64 {
        self.early.len() as u64
    }
}

fn re_orders(events: &[Event]) -> Vec<ReOrder> {
    let mut standing: Vec<BlockHash> = Vec::new();
    let mut re_orders: Vec<ReOrder> = Vec::new();
    for event in events {
        match event {
            Event::Block(place, hash) => {
                assert_eq!(place.as_u64(), standing.len() as u64);
                standing.push(*hash);
                if let Some(last) = re_orders.last_mut() {
                    last.late.push(*hash);
                }
            }
            Event::Reverted(to) => {
                let early = standing.split_off(to.as_u64() as usize + 1);
                if let Some(last) = re_orders.last_mut() {
                    let apart = last.late.len().checked_sub(early.len());
                    let apart = apart.expect("a re-order goes back into the one before");
                    last.late.truncate(apart);
                }
                re_orders.push(ReOrder { early, late: Vec::new() });
            }
        }
    }
    re_orders
}

fn events(options: GeneratedOptions) -> Vec<Event> {
    let mut chain = GeneratedChain::new(options);
    std::iter::from_fn(|| {
        Some(match chain.next_event().unwrap()? {
            ChainEvent::Committed(committed) => {
                Event::Block(committed.block.topoheight, committed.block.hash)
            }
            ChainEvent::Reverted { to } => Event::Reverted(to),
            other => panic!("a generated chain tells of no {other:?}"),
        })
    })
    .collect()
}

/// Every block that came back, as it was before and as it is then.
fn returning() -> impl Iterator<Item = (&'static Step, &'static Step)> {
    let mut seen: HashMap<BlockHash, &Step> = HashMap::new();
    STEPS.iter().filter_map(move |step| Some((seen.insert(step.block.hash, step)?, step)))
}

fn options(profile: Profile, blocks: u64, transactions_per_block: usize) -> GeneratedOptions {
    GeneratedOptions { profile, seed: 1, blocks, transactions_per_block, conflict_rate: 0.2 }
}
