//! The parallel engines against the serial one: same blocks, same results, under every schedule.

use std::sync::{Arc, LazyLock};

use comparator::{Execution, NotExercised, Schedule, Verdict, compare};
use proptest::prelude::*;
use shadow::{
    chain::TransactionData,
    execute::{
        BlockExecutor, SerialExecutor,
        parallel::{ParallelExecutor, conflict_free_batches},
        sharded::ShardedExecutor,
    },
    observe::observe,
    source::{GeneratedOptions, Profile},
};
use storage_snapshot::{Address, StateKey, StateValue};

use crate::{
    support::{A, B, C, D, DEV, GOLD, M, NATIVE, World, config},
    walk::{self, Walk},
};

static V3: LazyLock<ParallelExecutor> = LazyLock::new(|| ParallelExecutor::new(2).unwrap());
static SHARDED: LazyLock<ShardedExecutor> = LazyLock::new(|| ShardedExecutor::new(2).unwrap());

fn engines() -> [&'static dyn BlockExecutor; 2] {
    [&*V3, &*SHARDED]
}

const WORKERS: [u32; 4] = [1, 2, 8, 32];

#[test]
fn two_independent_transactions_exercise_the_engines() {
    let world = World::new().account(A, 0, 100).account(B, 0, 100);
    let world = world.pay(A, 0, C, 1, 1).pay(B, 0, D, 2, 1);
    for engine in engines() {
        assert_eq!(world.verdict(engine, 2), Verdict::Match, "{}", engine.name());
    }
}

#[test]
fn what_cannot_run_side_by_side_exercises_nothing() {
    #[track_caller]
    fn check(world: World, workers: u32, reason: NotExercised) {
        assert_eq!(world.verdict(&*V3, workers), Verdict::NotExercised(reason));
    }
    let world = World::new().account(A, 0, 100).account(B, 0, 100);
    check(world.clone(), 2, NotExercised::Empty);
    check(world.clone().pay(A, 0, C, 1, 1), 2, NotExercised::OneTransaction);
    check(world.clone().pay(A, 0, C, 1, 1).pay(A, 1, D, 1, 1), 2, NotExercised::NoWideBatch);
    check(world.clone().pay(A, 0, C, 1, 1).pay(B, 0, C, 1, 1), 2, NotExercised::NoWideBatch);
    check(world.clone().pay(A, 0, C, 1, 1).pay(B, 0, D, 1, 1), 1, NotExercised::OneWorker);
    // Two lanes, but only one of them executed something.
    let skipped = world.pay(A, 0, C, 1, 1).pay(A, 1, C, 1, 1).pay(B, 9, D, 1, 1);
    let skipped = skipped.account(B, 10, 100);
    check(skipped, 2, NotExercised::NoWideBatch);
}

#[test]
fn batches_are_free_of_conflicts_and_keep_the_order_of_those_that_conflict() {
    let world = World::new().account(A, 0, 9).account(B, 0, 9).account(C, 0, 9);
    let world = world
        .pay(A, 0, B, 1, 0)
        .pay(C, 0, D, 1, 0)
        .pay(B, 0, C, 1, 0)
        .pay(A, 1, D, 1, 0)
        .pay(DEV, 0, M, 1, 0);
    let batches = conflict_free_batches(&world.block().transactions);
    assert_eq!(batches, [vec![0, 1, 4], vec![2, 3]]);
}

#[test]
fn a_panic_in_one_transaction_is_its_own_outcome() {
    // Nobody may execute an opaque transaction; the engine that is made to do it says which.
    let json = r#"{"energy":{"UnfreezeTos":{"amount":1}}}"#;
    let data = shadow::chain::OpaqueData::from_json(0, json).unwrap();
    let data = TransactionData::Opaque(Box::new(data));
    let world = World::new().account(A, 0, 100).account(B, 0, 100).account(C, 0, 100);
    let world = world.pay(A, 0, D, 1, 1).transaction(B, 0, 1, data).pay(C, 0, M, 1, 1);
    for engine in engines() {
        let execution = parallel(engine, &world, 2, 0);
        let failed: Vec<_> = execution
            .outcomes
            .iter()
            .filter(|outcome| outcome.status != comparator::Status::Executed)
            .collect();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].hash, world.block().transactions[1].body.hash);
    }
}

#[test]
fn loads_are_counted_and_the_cache_saves_some() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 1, 1).pay(A, 1, B, 1, 1);
    let schedule = Schedule { workers: 2, seed: 0 };
    for engine in engines() {
        let loads = engine.execute(&world.block(), &world.pre_state(), schedule).unwrap().loads;
        assert_eq!(loads.requested, loads.from_cache + loads.from_store);
        // Miner, dev key, and of the two accounts a nonce and two balances.
        assert_eq!(loads.from_store, 5, "{}", engine.name());
        assert!(loads.from_cache > 0, "{}", engine.name());
    }
}

#[test]
fn generated_blocks_match_under_every_worker_count_and_seed() {
    let options = GeneratedOptions {
        profile: Profile::Everything,
        seed: 5,
        blocks: 60,
        transactions_per_block: 40,
        conflict_rate: 0.3,
    };
    let (mut matches, mut handed_on, mut blocks) = ([0; 6], [0; 6], 0);
    let runs = engines().into_iter().flat_map(|engine| [2, 4, 16].map(|workers| (engine, workers)));
    let runs: Vec<_> = runs.collect();
    for walk::Step { executable, pre_state, control, .. } in Walk::new(options) {
        let counts = matches.iter_mut().zip(&mut handed_on);
        for ((matches, handed_on), (engine, workers)) in counts.zip(&runs) {
            let schedule = Schedule { workers: *workers, seed: u64::from(*workers) };
            let (observation, _) = observe(*engine, &executable, &pre_state, schedule);
            let limits = comparator::Limits::default();
            let verdict = compare(&control, &observation, &*pre_state, &*executable, &limits);
            match verdict.unwrap() {
                Verdict::Match => *matches += 1,
                Verdict::NotExercised(NotExercised::Delegated) => *handed_on += 1,
                Verdict::NotExercised(_) => {}
                other => panic!("{}, {schedule}: {other:#?}", engine.name()),
            }
        }
        blocks += 1;
    }
    // A third of these blocks holds a credit that overflows, which only one of the engines does itself.
    let [v3, sharded] = [0..3, 3..6].map(|runs| (&matches[runs.clone()], &handed_on[runs]));
    assert_eq!(v3.1, [0; 3]);
    assert!(sharded.0.iter().all(|matches| matches * 5 > blocks * 3), "{matches:?} of {blocks}");
    for (matches, handed_on) in matches.iter().zip(handed_on) {
        assert!((matches + handed_on) * 5 > blocks * 4, "{matches:?}, {handed_on:?} of {blocks}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever a block holds, the engines do what the control does, under every schedule.
    #[test]
    fn the_engines_agree_with_the_control(world in worlds(), seed in 0_u64..4) {
        let (block, pre_state) = (world.block(), world.pre_state());
        let Ok(control) = SerialExecutor.control(&block, &pre_state) else {
            // No result there is no result here.
            let schedule = Schedule { workers: 2, seed };
            for engine in engines() {
                prop_assert!(engine.execute(&block, &pre_state, schedule).is_err());
            }
            return Ok(());
        };
        for (engine, workers) in engines().into_iter().flat_map(|engine| WORKERS.map(|workers| (engine, workers))) {
            let schedule = Schedule { workers, seed };
            let (observation, _) =
                observe(engine, &block, &pre_state, schedule);
            let verdict = compare(
                &control.execution,
                &observation,
                &*pre_state,
                &*block,
                &comparator::Limits::default(),
            ).unwrap();
            let agrees = matches!(verdict, Verdict::Match | Verdict::NotExercised(_));
            let name = engine.name();
            prop_assert!(agrees, "{name}, {workers} workers, seed {seed}: {verdict:#?}");
        }
    }
}

fn parallel(engine: &dyn BlockExecutor, world: &World, workers: u32, seed: u64) -> Execution {
    let schedule = Schedule { workers, seed };
    engine.execute(&Arc::clone(&world.block()), &world.pre_state(), schedule).unwrap().execution
}

/// Blocks among few accounts, so that everything meets: chains, gaps, replays, overflows, wraps.
fn worlds() -> impl Strategy<Value = World> {
    let balance = prop_oneof![Just(0), 0..200_u64, Just(u64::MAX), Just(u64::MAX - 20)];
    let accounts = prop::collection::vec((0..3_u64, balance.clone(), balance), 6);
    (accounts, prop::collection::vec(steps(), 0..24)).prop_map(|(accounts, steps)| {
        let mut world = World::new();
        for (address, (nonce, native, gold)) in PEOPLE.into_iter().zip(accounts) {
            world = world.account(address, nonce, native).holding(address, GOLD, gold);
        }
        let multisig = StateValue::from(config(1, &[B]));
        world = world.with(StateKey::Multisig(A), multisig);
        steps.into_iter().fold(world, |world, step| step.apply(world))
    })
}

const PEOPLE: [Address; 6] = [A, B, C, D, M, DEV];

/// Never named before the block.
const STRANGER: Address = Address::new([0x77; 32]);

#[derive(Clone, Debug)]
enum Step {
    Transfer { from: usize, nonce: u64, outputs: Vec<(bool, usize, u64)>, fee: u64 },
    Burn { from: usize, nonce: u64, gold: bool, amount: u64 },
    Multisig { from: usize, nonce: u64, threshold: u8 },
    ExecutedBefore { from: usize, to: usize },
}

fn steps() -> impl Strategy<Value = Step> {
    let (from, nonce) = (0..6_usize, 0..8_u64);
    let amount = prop_oneof![8 => 0..30_u64, 1 => Just(u64::MAX)];
    let outputs = prop::collection::vec((any::<bool>(), 0..7_usize, amount.clone()), 1..4);
    prop_oneof![
        6 => (from.clone(), nonce.clone(), outputs, 0..3_u64)
            .prop_map(|(from, nonce, outputs, fee)| Step::Transfer { from, nonce, outputs, fee }),
        2 => (from.clone(), nonce.clone(), any::<bool>(), 1..30_u64)
            .prop_map(|(from, nonce, gold, amount)| Step::Burn { from, nonce, gold, amount }),
        1 => (from.clone(), nonce, 0..3_u8)
            .prop_map(|(from, nonce, threshold)| Step::Multisig { from, nonce, threshold }),
        1 => (from.clone(), from).prop_map(|(from, to)| Step::ExecutedBefore { from, to }),
    ]
}

impl Step {
    fn apply(self, world: World) -> World {
        let asset = |gold| if gold { GOLD } else { NATIVE };
        match self {
            Self::Transfer { from, nonce, outputs, fee } => {
                let outputs: Vec<_> = outputs
                    .into_iter()
                    .map(|(gold, to, amount)| {
                        (asset(gold), *PEOPLE.get(to).unwrap_or(&STRANGER), amount)
                    })
                    .collect();
                world.transfer(PEOPLE[from], nonce, &outputs, fee)
            }
            Self::Burn { from, nonce, gold, amount } => {
                world.burn(PEOPLE[from], nonce, asset(gold), amount, 1)
            }
            Self::Multisig { from, nonce, threshold } => {
                world.multisig(PEOPLE[from], nonce, threshold, &[B, C][..threshold.into()], 1)
            }
            Self::ExecutedBefore { from, to } => {
                world.pay(PEOPLE[from], 0, PEOPLE[to], 1, 1).executed_before()
            }
        }
    }
}
