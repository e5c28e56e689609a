//! The verifier over a generated chain: what becomes of wrong candidates, re-orders and restarts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use comparator::{
    Execution, Failure, Field, MismatchRecord, MismatchSink, Schedule, Severity, SinkError,
};
use shadow::{
    Verifier,
    accept::Acceptances,
    canary::CanaryRate,
    execute::{
        BlockExecutor, ExecutableBlock, Performed, PreState, SerialExecutor, WithinBudget,
        parallel::ParallelExecutor,
    },
    judge::{Candidate, Judge, Progress},
    ledger::{LedgerEntry, LedgerError, check_whole},
    mismatches::Problems,
    node::NodeCheck,
    report::Report,
    schedules::Schedules,
    source::{BlockSource, ChainEvent, CommittedBlock, GeneratedChain, GeneratedOptions, Profile},
    summary::{RunVerdict, Summary},
};
use storage_snapshot::{Amount, MemoryState, StateRead, Store, StoreOptions, TopoHeight};
use tempfile::TempDir;

use crate::{support::Altered, walk::Walk};

#[test]
fn every_candidate_has_a_verdict_of_its_own() {
    let bench = Bench::new();
    let wrong = Altered(|_: &_, _: &_, execution: &mut Execution| {
        execution.totals.fees = execution.totals.fees.wrapping_add(Amount::new(1));
    });
    bench.verify(chain().take(21), vec![engine(), Arc::new(wrong)]);
    let summary = bench.summary();
    assert_eq!(summary["candidates"]["altered"]["mismatch"], 21);
    assert_eq!(summary["candidates"]["v3"]["mismatch"], 0);
    assert!(summary["candidates"]["v3"]["match"].as_u64() > Some(15), "{summary:#}");
    // The block is counted under the worst of them.
    assert_eq!(summary["blocks"]["mismatch"], 21);
    assert_eq!(bench.records.lock().unwrap().len(), 21);
}

#[test]
fn a_supply_that_jumps_is_the_nodes_mismatch_where_it_does() {
    let bench = Bench::new();
    let blocks = chain().take(21).map(|mut committed| {
        if committed.block.topoheight >= TopoHeight::new(7) {
            let supply = &mut committed.block.claimed.supply;
            *supply = supply.checked_add(Amount::new(1000)).unwrap();
        }
        committed
    });
    let candidate = Candidate { executor: engine(), schedules: Schedules::plain(2) };
    bench.verify_node(NodeCheck::Compare, blocks.map(committed), vec![candidate]);
    let records = bench.records.lock().unwrap();
    let found: Vec<_> = records
        .iter()
        .map(|record| (record.subject.block.topoheight.as_u64(), record.differences[0].field))
        .collect();
    // A thousand units more or less emitted change no reward, as small as the chain is.
    assert_eq!(found, [(7, Field::Emitted)]);
}

#[test]
fn a_mismatch_does_not_reach_the_next_block() {
    let bench = Bench::new();
    let wrong = Altered(|block: &ExecutableBlock, _: &_, execution: &mut Execution| {
        if block.block.topoheight == TopoHeight::new(5) {
            execution.delta.set_balance(block.miner, crate::support::NATIVE, Amount::new(1));
        }
    });
    bench.verify(chain().take(21), vec![Arc::new(wrong)]);
    let records = bench.records.lock().unwrap();
    let places: Vec<_> =
        records.iter().map(|record| record.subject.block.topoheight.as_u64()).collect();
    assert_eq!(places, [5]);
    assert_eq!(records[0].differences[0].field, Field::Balance);
}

#[test]
fn a_candidate_that_panics_is_observed_then_left_alone_and_the_others_go_on() {
    let bench = Bench::new();
    let panics = Altered(|_: &_, _: &_, _: &mut Execution| panic!("planted"));
    bench.verify(chain().take(12), vec![Arc::new(panics), engine()]);
    let summary = bench.summary();
    // Three times in a row, then eight blocks without it, then once more.
    assert_eq!(summary["mismatches"]["by_field"]["crashed"], 4);
    assert_eq!(summary["candidates"]["altered"]["not_exercised"], 8);
    assert_eq!(summary["reasons"]["not_exercised:suspended"], 8);
    assert_eq!(summary["candidates"]["v3"]["total"], 12);
    assert_eq!(summary["candidates"]["v3"]["mismatch"], 0);
}

#[test]
fn a_candidate_that_differs_and_then_hangs_is_left_alone_too() {
    let bench = Bench::new();
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if execution.exercise.workers == 4 {
            panic!("planted");
        }
        execution.totals.fees = execution.totals.fees.wrapping_add(Amount::new(1));
    };
    // The first run is under two workers.
    let candidate =
        Candidate { executor: Arc::new(Altered(fault)), schedules: Schedules::disturbed(5, 2) };
    bench.verify_with(chain().take(12).map(committed), vec![candidate]);
    let summary = bench.summary();
    assert_eq!(summary["mismatches"]["by_field"]["fees"], 4);
    assert_eq!(summary["reasons"]["not_exercised:suspended"], 8);
}

/// Fails under some schedules, and knows under which seeds it was run.
#[derive(Debug)]
struct Fails(fn(Schedule) -> Option<Failure>, Mutex<BTreeSet<u64>>);

impl BlockExecutor for Fails {
    fn name(&self) -> &str {
        "fails"
    }

    fn build(&self) -> String {
        "test".to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        self.1.lock().unwrap().insert(schedule.seed);
        match (self.0)(schedule) {
            Some(failure) => Err(failure),
            None => SerialExecutor.execute(block, pre_state, schedule),
        }
    }
}

/// postmortem: a program that answered with errors or nonsense was started again for every block of a run.
#[test]
fn a_candidate_that_fails_in_any_way_is_left_alone_after_a_while() {
    #[track_caller]
    fn check(failure: fn(Schedule) -> Option<Failure>, field: &str) {
        let bench = Bench::new();
        let schedules = Schedules::disturbed(3, 2);
        let executor = Arc::new(Fails(failure, Mutex::default()));
        let candidate = Candidate { executor, schedules };
        bench.verify_with(chain().take(12).map(committed), vec![candidate]);
        let summary = bench.summary();
        assert_eq!(summary["mismatches"]["by_field"][field], 4, "{summary:#}");
        assert_eq!(summary["reasons"]["not_exercised:suspended"], 8, "{summary:#}");
    }
    check(|_| Some(Failure::Error("no".to_owned())), "error");
    check(|_| Some(Failure::Protocol("what?".to_owned())), "protocol");
    check(|_| Some(Failure::Crashed("gone".to_owned())), "crashed");
    // The first run of a block is the only one that nothing disturbs.
    check(|asked| (asked.seed == 0).then(|| Failure::Error("no".to_owned())), "error");
}

/// Nonsense is what a broken program says, and starting it once more for each schedule helps nobody. An error
/// is an answer, which may be another one under another schedule.
#[test]
fn after_nonsense_a_block_is_not_run_again_and_after_an_error_it_is() {
    #[track_caller]
    fn check(failure: fn(Schedule) -> Option<Failure>, seeds: usize) {
        let bench = Bench::new();
        let executor = Arc::new(Fails(failure, Mutex::default()));
        let candidate = Candidate {
            executor: Arc::clone(&executor) as _,
            schedules: Schedules::disturbed(3, 2),
        };
        bench.verify_with(chain().take(1).map(committed), vec![candidate]);
        assert_eq!(executor.1.lock().unwrap().len(), seeds);
    }
    check(|_| Some(Failure::Error("no".to_owned())), 3);
    check(|_| Some(Failure::Protocol("what?".to_owned())), 1);
    check(|_| Some(Failure::Crashed("gone".to_owned())), 1);
}

#[test]
fn a_candidate_that_hangs_costs_its_budget_and_the_others_go_on() {
    let bench = Bench::new();
    let (never, waits) = mpsc::channel::<()>();
    let waits = Mutex::new(waits);
    let hangs = Altered(move |block: &ExecutableBlock, _: &_, _: &mut Execution| {
        if block.block.topoheight.as_u64() == 3 {
            let _never = waits.lock().unwrap().recv();
        }
    });
    let hangs = WithinBudget::new(Arc::new(hangs), Duration::from_secs(1));
    bench.verify(chain().take(6), vec![Arc::new(hangs), engine()]);
    let summary = bench.summary();
    assert_eq!(summary["mismatches"]["by_field"], serde_json::json!({ "hang": 1 }));
    assert_eq!(summary["mismatches"]["first"]["topoheight"], 3);
    assert_eq!(summary["candidates"]["altered"]["total"], 6);
    assert_eq!(summary["candidates"]["v3"]["mismatch"], 0);
    drop(never);
}

/// postmortem: sixty-four of the largest blocks could wait for a slow candidate, and took a gigabyte.
#[test]
fn few_large_blocks_wait_for_their_verdict() {
    const AT_ONCE_MAX: u64 = 10;
    let bench = Bench::new();
    let (taken, ahead) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let slow = {
        let (taken, ahead) = (Arc::clone(&taken), Arc::clone(&ahead));
        Altered(move |_: &ExecutableBlock, _: &_, _: &mut Execution| {
            if ahead.load(Ordering::Relaxed) > 0 {
                return;
            }
            let until = Instant::now() + Duration::from_secs(1);
            // A chain that did not wait would go on meanwhile.
            while ahead.load(Ordering::Relaxed) <= AT_ONCE_MAX && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
                ahead.store(taken.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        })
    };
    let options = GeneratedOptions { transactions_per_block: 600, ..OPTIONS };
    let mut source = GeneratedChain::new(options);
    let events = std::iter::from_fn(|| {
        taken.fetch_add(1, Ordering::Relaxed);
        source.next_event().unwrap()
    });
    bench.verify_events(events.take(20), vec![Arc::new(slow)]);
    let ahead = ahead.load(Ordering::Relaxed);
    assert!((1..=AT_ONCE_MAX).contains(&ahead), "{ahead} blocks");
    assert_eq!(bench.summary()["candidates"]["altered"]["total"], 20);
}

#[test]
fn a_result_that_depends_on_the_schedule_is_said_to() {
    let bench = Bench::new();
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if execution.exercise.workers == 4 {
            execution.totals.fees = execution.totals.fees.wrapping_add(Amount::new(1));
        }
    };
    let candidate =
        Candidate { executor: Arc::new(Altered(fault)), schedules: Schedules::disturbed(5, 2) };
    bench.verify_with(chain().take(4).map(committed), vec![candidate]);
    for entry in bench.entries() {
        let verdict = &entry.candidates[0];
        assert!(verdict.schedule_dependent);
        assert_eq!(verdict.exercise.unwrap().runs, 5);
        assert_eq!(verdict.fields, BTreeMap::from([(Field::Fees, 1), (Field::Schedule, 1)]));
    }
    let records = bench.records.lock().unwrap();
    assert!(records.iter().all(|record| record.subject.schedule.workers == 4));
    assert_eq!(bench.summary()["schedule_dependent_blocks"], 4);
}

#[test]
fn every_nth_block_has_a_canary_which_is_caught_and_no_mismatch() {
    let (bench, resumed) = (Bench::new(), Bench::new());
    bench.verify(chain().take(240), vec![engine()]);
    for blocks in [30, 77, 78, 240] {
        resumed.verify(chain().take(blocks), vec![engine()]);
    }
    for bench in [&bench, &resumed] {
        let mut planted = Vec::new();
        for entry in bench.entries() {
            let Some(canary) = entry.canary else { continue };
            assert!(canary.was_caught(), "{canary:?}");
            planted.push((entry.topoheight.as_u64(), canary.planted));
        }
        // They take turns, and begin soon.
        let turns = [
            (3, Field::Balance),
            (53, Field::Nonce),
            (103, Field::Outcome),
            (153, Field::Fees),
            (203, Field::Registration),
        ];
        assert_eq!(planted, turns);
        assert_eq!(bench.summary()["mismatches"]["total"], 0);
        assert_eq!(bench.summary()["canaries"], serde_json::json!({ "planted": 5, "caught": 5 }));
    }
}

#[test]
fn one_control_in_thirty_two_is_executed_again_and_does_the_same() {
    let bench = Bench::new();
    bench.verify(chain().take(40), vec![engine()]);
    assert_eq!(bench.summary()["again"], serde_json::json!({ "blocks": 2, "differ": 0 }));
}

/// postmortem: canaries were planted in results that nobody had worked for, where anything is noticed.
#[test]
fn only_a_match_has_a_canary() {
    let bench = Bench::new();
    let falls_back = Altered(|_: &_, _: &_, execution: &mut Execution| {
        execution.exercise.fallback = Some("small".to_owned());
    });
    bench.verify(chain().take(12), vec![Arc::new(falls_back)]);
    assert_eq!(bench.summary()["canaries"]["planted"], 0);
    bench.verify(chain().skip(12).take(60), vec![engine()]);
    assert_eq!(bench.summary()["canaries"]["planted"], 1);
}

#[test]
fn a_canary_that_was_missed_leaves_a_run_without_evidence() {
    let bench = Bench::new();
    bench.verify(chain().take(51), vec![engine()]);
    let verdict = || Report::read(&bench.store, None).unwrap().verdict();
    assert_eq!(verdict(), RunVerdict::Clean);
    let mut entry = bench.entries().into_iter().find(|entry| entry.canary.is_some()).unwrap();
    let canary = entry.canary.as_mut().unwrap();
    canary.verdict.verdict = Severity::Match;
    canary.verdict.fields.clear();
    assert!(!canary.was_caught());
    bench.store.put_ledger(entry.topoheight, &serde_json::to_vec(&entry).unwrap()).unwrap();
    assert_eq!(verdict(), RunVerdict::NotEnoughEvidence);
}

#[test]
fn a_candidate_is_not_believed_to_have_used_more_workers_than_it_was_given() {
    #[track_caller]
    fn check(claimed: u32, counted: u32) {
        let bench = Bench::new();
        let boasts = Altered(move |_: &_, _: &_, execution: &mut Execution| {
            execution.exercise.workers = claimed;
            execution.exercise.max_in_flight = claimed;
            execution.exercise.batches = u32::MAX;
        });
        bench.verify(chain().take(6), vec![Arc::new(boasts)]);
        for entry in bench.entries() {
            let exercise = entry.candidates[0].exercise.unwrap();
            assert_eq!(exercise.workers, counted, "{claimed} claimed");
            // A lane is a worker that executed something.
            let lanes = u64::from(counted).min(entry.transactions.executed);
            assert_eq!(u64::from(exercise.max_in_flight), lanes, "{claimed} claimed");
            assert!(u64::from(exercise.batches) <= entry.transactions.total);
        }
    }
    check(64, 2);
    check(1, 1);
}

#[test]
fn a_block_that_is_offered_again_is_not_judged_again() {
    let bench = Bench::new();
    bench.verify(chain().take(11), vec![engine()]);
    let before = bench.summary();
    bench.verify(chain().take(11), vec![engine()]);
    assert_eq!(bench.judged.load(Ordering::Relaxed), 11);
    assert_eq!(bench.summary(), before);
}

#[test]
fn a_block_without_a_verdict_is_judged_after_a_restart() {
    let (bench, straight) = (Bench::new(), Bench::new());
    bench.verify(chain().take(11), vec![engine()]);
    // The process died between the commit of the last blocks and their entries in the ledger.
    let copy = Bench::new();
    let base = GeneratedChain::new(OPTIONS).base();
    copy.store.seed(&base).unwrap();
    copy.store.set_identity(&bench.store.identity().unwrap().unwrap()).unwrap();
    for number in 0..11 {
        let place = TopoHeight::new(number);
        copy.store.commit(bench.store.block(place).unwrap().unwrap().commit).unwrap();
        if number < 8 {
            copy.store.put_ledger(place, &bench.store.ledger(place).unwrap().unwrap()).unwrap();
        }
    }
    copy.verify(chain().take(21), vec![engine()]);
    straight.verify(chain().take(21), vec![engine()]);
    assert_eq!(copy.judged.load(Ordering::Relaxed), 13);
    assert_eq!(copy.summary(), straight.summary());
    assert_eq!(copy.store.tip(), straight.store.tip());
}

#[test]
fn a_re_order_rolls_back_and_the_new_blocks_are_judged() {
    let (bench, straight) = (Bench::new(), Bench::new());
    let blocks: Vec<_> = chain().take(16).collect();
    let first = blocks.iter().map(copy_of).map(committed);
    // Another block takes the place of block 11, without the last transactions of that one.
    let mut other = copy_of(&blocks[11]);
    other.block.transactions.truncate(20);
    let other = CommittedBlock { block: other.block.seal(), ..other };
    let to = TopoHeight::new(10);
    let events = first.chain([ChainEvent::Reverted { to }, committed(copy_of(&other))]);
    bench.verify_events(events, vec![engine()]);
    let straightforward = blocks.iter().take(11).map(copy_of).chain([other]).map(committed);
    straight.verify_events(straightforward, vec![engine()]);

    assert_eq!(bench.store.tip(), straight.store.tip());
    let (mut summary, expected) = (bench.summary(), straight.summary());
    // The verdicts on what was ordered away are kept, and counted apart.
    assert_eq!(summary["stale"], 4);
    summary["stale"] = 0.into();
    assert_eq!(summary["re_orders"], serde_json::json!({"count": 1, "deepest": 5, "blocks": 5}));
    summary["re_orders"] = expected["re_orders"].clone();
    assert_eq!(summary, expected);
    let stale = bench.entries().into_iter().filter(|entry| entry.stale).count();
    assert_eq!(stale, 4);
}

#[test]
fn a_run_that_ends_right_after_a_re_order_has_no_hole() {
    let bench = Bench::new();
    let blocks = chain().take(16).map(committed);
    let to = TopoHeight::new(10);
    bench.verify_events(blocks.chain([ChainEvent::Reverted { to }]), vec![engine()]);
    assert_eq!(bench.store.tip().unwrap().block.topoheight, to);
    check_whole(&bench.store).unwrap();
}

#[test]
fn a_verdict_that_is_missing_is_named() {
    let bench = Bench::new();
    bench.verify(chain().take(16), vec![engine()]);
    check_whole(&bench.store).unwrap();
    // A ledger that lost what it said of one block.
    for lost in [1, 7, 15] {
        let copy = Bench::new();
        copy.store.seed(&GeneratedChain::new(OPTIONS).base()).unwrap();
        copy.store.set_identity(&bench.store.identity().unwrap().unwrap()).unwrap();
        for place in (0..16).map(TopoHeight::new) {
            copy.store.commit(bench.store.block(place).unwrap().unwrap().commit).unwrap();
            if place != TopoHeight::new(lost) {
                let entry = bench.store.ledger(place).unwrap().unwrap();
                copy.store.put_ledger(place, &entry).unwrap();
            }
        }
        match check_whole(&copy.store) {
            Err(LedgerError::Missing(missing)) => assert_eq!(missing, TopoHeight::new(lost)),
            other => panic!("without {lost}: {other:?}"),
        }
    }
}

#[test]
fn a_mismatch_in_a_block_that_was_ordered_away_stays_one() {
    let bench = Bench::new();
    let wrong_once = std::sync::atomic::AtomicBool::new(true);
    let wrong = Altered(move |block: &ExecutableBlock, _: &_, execution: &mut Execution| {
        let place = block.block.topoheight == TopoHeight::new(12);
        if place && !block.transactions.is_empty() && wrong_once.swap(false, Ordering::Relaxed) {
            execution.totals.burned = Amount::new(u64::MAX);
        }
    });
    let blocks: Vec<_> = chain().take(16).collect();
    let first = blocks.iter().take(15).map(copy_of).map(committed);
    let again = blocks.iter().skip(11).map(copy_of).map(committed);
    let to = TopoHeight::new(10);
    let events = first.chain([ChainEvent::Reverted { to }]).chain(again);
    bench.verify_events(events, vec![Arc::new(wrong)]);
    let summary = bench.summary();
    assert_eq!(summary["blocks"]["mismatch"], 0, "{summary:#}");
    assert_eq!(summary["stale_mismatches"], 1, "{summary:#}");
    assert_eq!(summary["stale_first"]["topoheight"], 12, "{summary:#}");
    assert_eq!(summary["verdict"], "mismatch");

    // It is listed as any other, so that it can be looked into, and accepted.
    let directory = bench.directory.path();
    let problems = Problems::read(&bench.store, directory, &Acceptances::default()).unwrap();
    let [problem] = &problems.problems[..] else { panic!("{problems}") };
    assert_eq!((problem.blocks, problem.first), (1, TopoHeight::new(12)));
    assert_eq!(problem.fingerprint.field, Field::Burned);
    assert_eq!(problem.builds.len(), 1);
}

#[test]
fn a_roll_back_that_was_cut_short_is_ended_at_the_next_start() {
    let (bench, straight) = (Bench::new(), Bench::new());
    bench.verify(chain().take(16), vec![engine()]);
    // The process died after the blocks were gone and before their verdicts were marked.
    bench.store.rollback(Some(TopoHeight::new(9))).unwrap();
    bench.verify(chain().take(21), vec![engine()]);
    straight.verify(chain().take(21), vec![engine()]);
    assert_eq!(bench.store.tip(), straight.store.tip());
    assert_eq!(bench.summary(), straight.summary());
}

#[test]
fn the_state_after_a_soak_is_the_sum_of_what_the_control_wrote() {
    let bench = Bench::new();
    bench.verify(chain().take(601), vec![engine()]);
    assert!(bench.store.view_tip() > Some(TopoHeight::GENESIS), "nothing was folded away");
    let mut model = MemoryState::new();
    model.apply(&GeneratedChain::new(OPTIONS).base());
    for step in Walk::new(OPTIONS).take(601) {
        model.apply(&step.control.delta);
    }
    let tip = bench.store.tip().unwrap();
    let snapshot = bench.store.snapshot_at(tip.block.topoheight).unwrap();
    for (key, value) in model.iter() {
        assert_eq!(snapshot.read(key).unwrap().as_ref(), Some(value), "{key}");
    }
}

const OPTIONS: GeneratedOptions = GeneratedOptions {
    // One that never goes back by itself.
    profile: Profile::Failures,
    seed: 11,
    blocks: 1000,
    transactions_per_block: 30,
    conflict_rate: 0.2,
};

fn chain() -> impl Iterator<Item = CommittedBlock> {
    let mut chain = GeneratedChain::new(OPTIONS);
    std::iter::from_fn(move || match chain.next_event().unwrap() {
        Some(ChainEvent::Committed(block)) => Some(*block),
        _ => None,
    })
}

fn copy_of(block: &CommittedBlock) -> CommittedBlock {
    CommittedBlock { block: block.block.clone(), answers: block.answers.clone() }
}

fn committed(block: CommittedBlock) -> ChainEvent {
    ChainEvent::Committed(Box::new(block))
}

fn engine() -> Arc<dyn BlockExecutor> {
    Arc::new(ParallelExecutor::new(2).unwrap())
}

/// A store, and what was found on it.
struct Bench {
    store: Store,
    records: Arc<Mutex<Vec<MismatchRecord>>>,
    judged: AtomicU64,
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        Self { store, records: Arc::default(), judged: AtomicU64::new(0), directory }
    }

    fn verify(
        &self,
        blocks: impl Iterator<Item = CommittedBlock>,
        candidates: Vec<Arc<dyn BlockExecutor>>,
    ) {
        self.verify_events(blocks.map(committed), candidates);
    }

    fn verify_events(
        &self,
        events: impl Iterator<Item = ChainEvent>,
        candidates: Vec<Arc<dyn BlockExecutor>>,
    ) {
        let schedules = Schedules::plain(2);
        let candidates = candidates.into_iter().map(|executor| Candidate { executor, schedules });
        self.verify_with(events, candidates.collect());
    }

    fn verify_with(&self, events: impl Iterator<Item = ChainEvent>, candidates: Vec<Candidate>) {
        self.verify_node(NodeCheck::Ignore, events, candidates);
    }

    fn verify_node(
        &self,
        node: NodeCheck,
        events: impl Iterator<Item = ChainEvent>,
        candidates: Vec<Candidate>,
    ) {
        let progress = Arc::new(Progress::default());
        let judge = Judge::start(
            self.store.clone(),
            candidates,
            CanaryRate::every(50),
            Box::new(Shared(Arc::clone(&self.records))),
            Arc::clone(&progress),
        )
        .unwrap();
        let source = GeneratedChain::new(OPTIONS);
        let mut verifier = Verifier::new(self.store.clone(), &source, node, judge).unwrap();
        for event in events {
            verifier.take(event).unwrap();
        }
        verifier.finish().unwrap();
        self.judged.fetch_add(progress.blocks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    fn entries(&self) -> Vec<LedgerEntry> {
        let entries = self.store.ledger_range(TopoHeight::GENESIS..=TopoHeight::MAX);
        entries.map(|entry| serde_json::from_slice(&entry.unwrap().1).unwrap()).collect()
    }

    /// The summary of the ledger, without what depends on the clock.
    fn summary(&self) -> serde_json::Value {
        let mut summary = Summary::new([]);
        self.entries().iter().for_each(|entry| summary.add(entry));
        let digest = self.store.tip().map(|tip| tip.digest);
        let json = summary.finish(digest, 0.0, None).to_json().unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        value.as_object_mut().unwrap().remove("seconds");
        value
    }
}

/// Records that the test can see while the judge owns the sink.
struct Shared(Arc<Mutex<Vec<MismatchRecord>>>);

impl MismatchSink for Shared {
    fn publish(&mut self, record: &MismatchRecord) -> Result<(), SinkError> {
        self.0.lock().unwrap().push(record.clone());
        Ok(())
    }
}
