//! A verifier that is stopped anywhere on a chain with re-orders, and started again with a source that
//! begins anew: it ends as if it had never been stopped.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use comparator::{Execution, MismatchRecord, MismatchSink, SinkError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use shadow::{
    Verifier, VerifyError,
    canary::CanaryRate,
    execute::{BlockExecutor, ExecutableBlock, parallel::ParallelExecutor},
    judge::{Candidate, Judge, Progress},
    ledger::LedgerEntry,
    node::NodeCheck,
    schedules::Schedules,
    source::{BlockSource, ChainEvent, CommittedBlock, GeneratedChain, GeneratedOptions, Profile},
    summary::Summary,
};
use storage_snapshot::{Amount, Store, StoreOptions, Tip, TopoHeight};

use crate::{
    program::{nobody_starts, shadow},
    support::Altered,
};

#[test]
fn a_verifier_that_was_stopped_anywhere_ends_like_one_that_never_was() {
    let replayed = std::env::var("SHADOW_SEED").ok();
    let seeds = match &replayed {
        Some(seed) => vec![seed.parse().unwrap()],
        None => vec![1, 2, 3, 4],
    };
    for seed in seeds {
        let options = GeneratedOptions { seed, ..OPTIONS };
        let straight = tempfile::tempdir().unwrap();
        let events = event_count(options);
        run(straight.path(), options, Stop::AtTheEnd);
        let expected = found(straight.path());
        assert_eq!(expected.summary["stale"], 0);
        assert!(expected.summary["re_orders"]["count"].as_u64() > Some(4));
        assert!(expected.summary["stale_mismatches"].as_u64() > Some(0));

        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for round in 0..8 {
            let directory = tempfile::tempdir().unwrap();
            let mut stops = Vec::new();
            for _ in 0..random.random_range(1..=3) {
                let after = random.random_range(1..events);
                let stop = match random.random_range(0..3) {
                    0 => Stop::Settled { after },
                    1 => Stop::Unsettled { after },
                    _ => Stop::WithinRevert { after, kept_percent: random.random_range(0..100) },
                };
                run(directory.path(), options, stop);
                stops.push(stop);
            }
            run(directory.path(), options, Stop::AtTheEnd);
            let found = found(directory.path());
            let stopped = format!("SHADOW_SEED={seed}, round {round}, {stops:?}");
            assert_eq!(found.tip, expected.tip, "{stopped}");
            for (entry, expected) in found.entries.iter().zip(&expected.entries) {
                assert_eq!(entry, expected, "{stopped}");
            }
            assert_eq!(found, expected, "{stopped}");
        }
    }
}

#[test]
fn a_chain_that_was_verified_to_its_end_is_not_verified_again() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), OPTIONS, Stop::AtTheEnd);
    let before = found(directory.path());
    assert_eq!(run(directory.path(), OPTIONS, Stop::AtTheEnd), 0);
    assert_eq!(found(directory.path()), before);
    // Wherever the chain is cut, be it in a branch that was abandoned.
    for blocks in 0..80 {
        let shorter = GeneratedOptions { blocks, ..OPTIONS };
        assert_eq!(run(directory.path(), shorter, Stop::AtTheEnd), 0, "{blocks}");
    }
    assert_eq!(found(directory.path()), before);
}

#[test]
fn a_run_that_ends_below_what_an_earlier_one_left_without_a_verdict_is_whole() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let soak = |blocks: &str| {
        shadow([
            "soak",
            "--json",
            "--blocks",
            blocks,
            "--profile",
            "transfers",
            "--state-dir",
            directory,
        ])
    };
    assert_eq!(soak("40").code, 0);
    {
        // As after a crash: the last blocks are there, and what was said of them is not durable.
        let _alone = nobody_starts();
        let store = Store::open(state.path(), StoreOptions::default()).unwrap();
        for at in (31..=40).map(TopoHeight::new) {
            let entry = store.ledger(at).unwrap().unwrap();
            let mut entry: Value = serde_json::from_slice(&entry).unwrap();
            entry["stale"] = json!(true);
            store.put_ledger(at, entry.to_string().as_bytes()).unwrap();
        }
        store.flush().unwrap();
    }
    let ran = soak("10");
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 31);
    let ran = soak("50");
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 51);
}

#[test]
fn a_chain_grows_from_wherever_it_was_cut() {
    let (grown, straight) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for blocks in (0..90).step_by(3) {
        let cut = GeneratedOptions { blocks, ..OPTIONS };
        run(grown.path(), cut, Stop::AtTheEnd);
        let found = found(grown.path());
        assert_eq!(found.tip.map(|tip| tip.block.topoheight), Some(TopoHeight::new(blocks)));
        assert_eq!(found.summary["blocks"]["total"], blocks + 1);
    }
    run(straight.path(), GeneratedOptions { blocks: 87, ..OPTIONS }, Stop::AtTheEnd);
    // What a longer chain would have abandoned besides was never there, so it is not counted.
    let mut both = [&grown, &straight].map(|directory| found(directory.path()));
    for found in &mut both {
        for entry in &mut found.entries {
            let entry = entry.as_object_mut().unwrap();
            entry.retain(|name, _| {
                !["re_orders", "earlier_mismatches", "earlier_problems"].contains(&name.as_str())
            });
        }
    }
    let [grown, straight] = both;
    assert_eq!(grown.entries, straight.entries);
    assert_eq!(grown.tip, straight.tip);
}

#[test]
fn another_chain_is_refused_however_long_it_is() {
    #[track_caller]
    fn check(differs_at: u64, judged: u64, offered: u64, refused_after: Option<u64>) {
        let directory = tempfile::tempdir().unwrap();
        let events = blocks(STRAIGHT).take(judged as usize).map(committed);
        take_all(directory.path(), STRAIGHT, events).unwrap();
        let before = found(directory.path());

        let mut other: Vec<_> = blocks(STRAIGHT).take(offered as usize).collect();
        for block in &mut other[differs_at as usize..] {
            block.block.nonce ^= 1;
            block.block = block.block.clone().seal();
        }
        let offered: Vec<_> = other.into_iter().map(committed).collect();
        let mut taken = 0;
        let counted = offered.into_iter().inspect(|_| taken += 1);
        let refused = take_all(directory.path(), STRAIGHT, counted).unwrap_err();
        let VerifyError::OtherBlock { place, held } = &refused else { panic!("{refused}") };
        assert_eq!(place.topoheight.as_u64(), differs_at);
        assert_ne!(place.hash, *held);
        assert!(refused.to_string().contains("use another --state-dir"), "{refused}");
        if let Some(refused_after) = refused_after {
            assert_eq!(taken, refused_after);
        }
        assert_eq!(found(directory.path()), before, "something was written");
    }
    check(0, 1, 1, None);
    check(5, 20, 6, None);
    check(5, 20, 20, None);
    // Longer than what is there, and longer than any branch that was abandoned.
    check(19, 20, 60, None);
    check(5, 20, 120, Some(5 + 65));
}

#[test]
fn another_chain_is_refused_though_it_goes_back() {
    let directory = tempfile::tempdir().unwrap();
    take_all(directory.path(), STRAIGHT, blocks(STRAIGHT).take(20).map(committed)).unwrap();
    let before = found(directory.path());
    let altered = |nonce: u64| {
        blocks(STRAIGHT).take(30).skip(8).map(move |mut block| {
            block.block.nonce = nonce;
            block.block = block.block.seal();
            committed(block)
        })
    };
    let to = |to| ChainEvent::Reverted { to: TopoHeight::new(to) };
    let events = blocks(STRAIGHT)
        .take(8)
        .map(committed)
        .chain(altered(1))
        // Not far enough to say that the branch was left as a whole.
        .chain([to(15), to(7)])
        .chain(altered(2))
        .chain([to(7)])
        .chain(altered(3).take(2));
    let refused = take_all(directory.path(), STRAIGHT, events).unwrap_err();
    assert!(matches!(refused, VerifyError::OtherBlock { .. }), "{refused}");
    assert_eq!(found(directory.path()), before, "something was written");
}

#[test]
fn nobody_is_refused_who_stops_before_the_source_comes_round() {
    let directory = tempfile::tempdir().unwrap();
    run(directory.path(), OPTIONS, Stop::AtTheEnd);
    let before = found(directory.path());
    for after in 0..200 {
        run(directory.path(), OPTIONS, Stop::Settled { after });
    }
    assert_eq!(found(directory.path()), before);
}

/// Goes back often.
const OPTIONS: GeneratedOptions = GeneratedOptions {
    profile: Profile::SideBlocks,
    seed: 1,
    blocks: 400,
    transactions_per_block: 3,
    conflict_rate: 0.2,
};

/// Never goes back.
const STRAIGHT: GeneratedOptions = GeneratedOptions { profile: Profile::Transfers, ..OPTIONS };

/// When a verifier stops, and what it leaves undone.
#[derive(Clone, Copy, Debug)]
enum Stop {
    AtTheEnd,
    /// After so many events, with a verdict on every block.
    Settled {
        after: usize,
    },
    /// Some blocks after so many events: as many as the judge is behind when it dies.
    Unsettled {
        after: usize,
    },
    /// At the first time that the chain goes back after so many events: some of the blocks are gone,
    /// and none of their verdicts is marked.
    WithinRevert {
        after: usize,
        kept_percent: u64,
    },
}

/// Verifies a chain from its beginning until it is stopped; how many blocks were judged.
fn run(directory: &Path, options: GeneratedOptions, stop: Stop) -> u64 {
    let _alone = nobody_starts();
    let store = Store::open(directory, StoreOptions::default()).unwrap();
    let mut source = GeneratedChain::new(options);
    let Process { mut verifier, dying, progress } = Process::new(&store, &source);
    let after = match stop {
        Stop::AtTheEnd => usize::MAX,
        Stop::Settled { after } | Stop::Unsettled { after } | Stop::WithinRevert { after, .. } => {
            after
        }
    };
    let mut taken = 0;
    let (mut last, mut next) = (None, None);
    while let Some(event) = source.next_event().unwrap() {
        let is_revert = matches!(event, ChainEvent::Reverted { .. });
        let is_last = taken >= after;
        if is_last && (is_revert || !matches!(stop, Stop::WithinRevert { .. })) {
            next = Some(event);
            break;
        }
        if let ChainEvent::Committed(committed) = &event {
            last = Some(committed.block.reference());
        }
        verifier.take(event).unwrap();
        taken += 1;
    }
    match stop {
        Stop::AtTheEnd => verifier.finish().unwrap(),
        Stop::Settled { .. } => verifier.stop().unwrap(),
        Stop::Unsettled { .. } => {
            dying.store(true, Ordering::SeqCst);
            let rest = std::iter::from_fn(|| source.next_event().unwrap());
            let died = next.into_iter().chain(rest).find_map(|event| verifier.take(event).err());
            assert!(matches!(died, None | Some(VerifyError::Judge(_))), "{died:?}");
            assert!(matches!(verifier.stop(), Ok(()) | Err(VerifyError::Judge(_))));
        }
        Stop::WithinRevert { kept_percent, .. } => {
            verifier.stop().unwrap();
            // If the store is further on, it went back here long ago.
            let tip = store.tip().map(|tip| tip.block).filter(|tip| Some(*tip) == last);
            if let (Some(ChainEvent::Reverted { to }), Some(tip)) = (next, tip) {
                let depth = tip.topoheight.blocks_since(to);
                let kept = TopoHeight::new(to.as_u64() + depth * kept_percent / 100);
                store.rollback(Some(kept)).unwrap();
            }
        }
    }
    let judged = progress.blocks.load(Ordering::Relaxed);
    if judged > 0 && matches!(stop, Stop::AtTheEnd) {
        assert_eq!(Some(progress.positions.load(Ordering::Relaxed)), source.block_count());
    }
    judged
}

/// Verifies these events to their end.
fn take_all(
    directory: &Path,
    options: GeneratedOptions,
    events: impl Iterator<Item = ChainEvent>,
) -> Result<(), VerifyError> {
    let _alone = nobody_starts();
    let store = Store::open(directory, StoreOptions::default()).unwrap();
    let source = GeneratedChain::new(options);
    let Process { mut verifier, .. } = Process::new(&store, &source);
    for event in events {
        if let Err(error) = verifier.take(event) {
            verifier.stop().unwrap();
            return Err(error);
        }
    }
    verifier.finish()
}

/// A verifier with two candidates: the engine, and one that is wrong about every eighth block.
struct Process {
    verifier: Verifier,
    /// Once this is set the judge dies at its next block.
    dying: Arc<AtomicBool>,
    progress: Arc<Progress>,
}

impl Process {
    fn new(store: &Store, source: &GeneratedChain) -> Self {
        let dying = Arc::new(AtomicBool::new(false));
        let sink = Box::new(Sink(Arc::clone(&dying)));
        let always_wrong = Arc::clone(&dying);
        let wrong = Altered(move |block: &ExecutableBlock, _: &_, execution: &mut Execution| {
            let is_eighth = block.block.hash.as_bytes()[0].is_multiple_of(8);
            if is_eighth || always_wrong.load(Ordering::SeqCst) {
                execution.totals.fees = execution.totals.fees.wrapping_add(Amount::new(1));
            }
        });
        let engine = ParallelExecutor::new(2).unwrap();
        let executors: [Arc<dyn BlockExecutor>; 2] = [Arc::new(engine), Arc::new(wrong)];
        let schedules = Schedules::plain(2);
        let candidates = executors.into_iter().map(|executor| Candidate { executor, schedules });
        let progress = Arc::new(Progress::default());
        let candidates = candidates.collect();
        let canaries = CanaryRate::every(50);
        let judge =
            Judge::start(store.clone(), candidates, canaries, sink, Arc::clone(&progress)).unwrap();
        let verifier = Verifier::new(store.clone(), source, NodeCheck::Ignore, judge).unwrap();
        Self { verifier, dying, progress }
    }
}

/// A sink that fails once it is told to, and the judge with it.
struct Sink(Arc<AtomicBool>);

impl MismatchSink for Sink {
    fn publish(&mut self, _record: &MismatchRecord) -> Result<(), SinkError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(SinkError::Write(io::Error::other("killed"))),
            false => Ok(()),
        }
    }
}

/// What a state directory says, but for how long it took.
#[derive(Debug, PartialEq)]
struct Found {
    tip: Option<Tip>,
    summary: Value,
    entries: Vec<Value>,
}

fn found(directory: &Path) -> Found {
    let _alone = nobody_starts();
    let store = Store::open(directory, StoreOptions::default()).unwrap();
    let mut summary = Summary::new([]);
    let without_time = |mut value: Value| {
        value.as_object_mut().unwrap().remove("seconds").unwrap();
        let judged = value.get_mut("candidates").and_then(Value::as_array_mut);
        for judged in judged.into_iter().flatten() {
            if let Some(exercise) = judged.get_mut("exercise").and_then(Value::as_object_mut) {
                exercise.remove("seconds");
            }
        }
        value
    };
    let mut entries = Vec::new();
    for entry in store.ledger_range(TopoHeight::GENESIS..=TopoHeight::MAX) {
        let (_, bytes) = entry.unwrap();
        summary.add(&LedgerEntry::decode(&bytes).unwrap());
        entries.push(without_time(serde_json::from_slice(&bytes).unwrap()));
    }
    let tip = store.tip();
    let summary = summary.finish(tip.map(|tip| tip.digest), 0.0, None).to_json().unwrap();
    Found { tip, summary: without_time(serde_json::from_str(&summary).unwrap()), entries }
}

fn event_count(options: GeneratedOptions) -> usize {
    let mut source = GeneratedChain::new(options);
    std::iter::from_fn(|| source.next_event().unwrap()).count()
}

fn blocks(options: GeneratedOptions) -> impl Iterator<Item = CommittedBlock> {
    let mut source = GeneratedChain::new(options);
    std::iter::from_fn(move || match source.next_event().unwrap()? {
        ChainEvent::Committed(block) => Some(*block),
        ChainEvent::Reverted { to } => panic!("the chain goes back to {to}"),
        other => panic!("a generated chain tells of no {other:?}"),
    })
}

fn committed(block: CommittedBlock) -> ChainEvent {
    ChainEvent::Committed(Box::new(block))
}
