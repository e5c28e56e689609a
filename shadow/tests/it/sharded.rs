//! The engine whose lanes own accounts, case by case: where its way could differ from the block's order.

use std::sync::{Arc, LazyLock};

use comparator::{Failure, NotExercised, Schedule, Verdict};
use proptest::prelude::*;
use shadow::{
    chain::{OpaqueData, TransactionData},
    execute::{
        BlockExecutor, ExecutableBlock, PreState, SerialExecutor, parallel::ParallelExecutor,
        sharded::ShardedExecutor,
    },
};
use storage_snapshot::{Address, AssetId, StateKey, StateValue};

use crate::support::{A, B, C, D, DEV, DEV_REWARD, GOLD, M, MINER_REWARD, NATIVE, World, config};

static SHARDED: LazyLock<ShardedExecutor> = LazyLock::new(|| ShardedExecutor::new(2).unwrap());
static V3: LazyLock<ParallelExecutor> = LazyLock::new(|| ParallelExecutor::new(2).unwrap());

/// Comes after GOLD.
const SILVER: AssetId = AssetId::new([0x70; 32]);

/// In no state.
const STRANGER: Address = Address::new([0x77; 32]);

const WORKERS: std::ops::RangeInclusive<u32> = 1..=8;
const SEEDS: std::ops::Range<u64> = 0..4;

fn schedules() -> impl Iterator<Item = Schedule> {
    WORKERS.flat_map(|workers| SEEDS.map(move |seed| Schedule { workers, seed }))
}

/// The engine comes to what the control comes to, by itself or by handing the block on.
#[track_caller]
fn check_on(block: &Arc<ExecutableBlock>, pre_state: &Arc<PreState>, fallback: Option<&str>) {
    let control = SerialExecutor.control(block, pre_state).unwrap().execution;
    for schedule in schedules() {
        let execution = SHARDED.execute(block, pre_state, schedule).unwrap().execution;
        assert_eq!(execution.exercise.fallback.as_deref(), fallback, "{schedule}");
        assert_eq!(execution.outcomes, control.outcomes, "{schedule}");
        assert_eq!(execution.delta, control.delta, "{schedule}");
        assert_eq!(execution.totals, control.totals, "{schedule}");
    }
}

#[track_caller]
fn check(world: &World) {
    check_on(&world.block(), &world.pre_state(), None);
}

#[track_caller]
fn check_in_order(world: &World) {
    check_on(&world.block(), &world.pre_state(), Some("credit_overflow"));
}

/// There is no result, neither of the control nor of the engine, which says what `v3` says.
#[track_caller]
fn check_fails(world: &World, expected: &str) {
    let (block, pre_state) = (world.block(), world.pre_state());
    assert!(SerialExecutor.control(&block, &pre_state).is_err());
    for schedule in schedules() {
        let failure = SHARDED.execute(&block, &pre_state, schedule).unwrap_err();
        assert_eq!(failure, V3.execute(&block, &pre_state, schedule).unwrap_err(), "{schedule}");
        let Failure::Error(message) = &failure else { panic!("{failure}") };
        assert!(message.contains(expected), "{message}");
    }
}

/// Accounts that have something of everything.
fn people() -> World {
    [A, B, C, D].into_iter().fold(World::new(), |world, account| {
        let world = world.account(account, 3, 1000).holding(account, GOLD, 500);
        world.holding(account, SILVER, 50)
    })
}

#[test]
fn blocks_of_nothing_and_of_one_transaction() {
    check(&World::new());
    check(&people().pay(A, 3, B, 1, 1));
}

#[test]
fn conflicts_that_are_none_here() {
    check(&people().pay(A, 3, C, 1, 1).pay(B, 3, C, 2, 1).pay(D, 3, C, 4, 1));
    check(&people().pay(A, 3, B, 1, 1).pay(B, 3, C, 2, 1).pay(C, 3, D, 3, 1).pay(D, 3, A, 4, 1));
}

#[test]
fn chains_of_one_sender() {
    let chain = (3..30).fold(people(), |world, nonce| world.pay(A, nonce, B, nonce, 1));
    check(&chain);
    check(&(3..30).fold(chain, |world, nonce| world.pay(B, nonce, A, 1, nonce)));
}

#[test]
fn nonces_left_out_out_of_order_and_used_again() {
    check(&people().pay(A, 9, B, 1, 1).pay(A, 3, B, 1, 1).pay(A, 4, B, 1, 1).pay(A, 9, C, 5, 1));
    check(&people().pay(A, 2, B, 1, 1).pay(B, 3, A, 1, 1).pay(B, 3, C, 1, 1));
    check(&people().pay(A, u64::MAX, B, 1, 1).pay(B, u64::MAX - 1, A, 1, 1));
    check(&people().pay(A, 3, B, 1, 1).executed_before().pay(A, 3, B, 2, 1).pay(B, 3, A, 1, 1));
}

#[test]
fn payments_to_oneself_and_of_nothing() {
    check(&people().pay(A, 3, A, 5, 1).pay(B, 3, C, 0, 0).pay(C, 3, STRANGER, 0, 1));
    let outputs = [(NATIVE, A, 1), (GOLD, B, 0), (NATIVE, A, 2), (GOLD, A, 7), (NATIVE, C, 1)];
    check(&people().transfer(A, 3, &outputs, 1).pay(C, 3, C, 0, 0));
}

#[test]
fn several_assets_and_some_that_nobody_had() {
    let new = AssetId::new([0x01; 32]);
    let outputs = [(SILVER, B, 1), (new, C, 2), (GOLD, B, 3), (NATIVE, D, 4), (new, STRANGER, 0)];
    let world = people().transfer(A, 3, &outputs, 1).transfer(B, 3, &outputs, 1);
    check(&world.burn(C, 3, GOLD, 600, 1).burn(D, 3, NATIVE, 5, 1).burn(D, 4, new, 1, 1));
}

#[test]
fn balances_that_wrap_and_spending_that_saturates() {
    check(&people().pay(A, 3, B, 5000, 1).pay(C, 3, D, 5000, 1));
    let world = people().burn(A, 3, GOLD, u64::MAX, 1).burn(A, 4, GOLD, u64::MAX, 1);
    check(&world.pay(B, 3, C, 1, 1));
}

#[test]
fn the_miner_and_the_dev_key_as_sources() {
    let world = people().account(M, 1, 50).account(DEV, 2, 50);
    check(&world.pay(M, 1, DEV, 60, 3).pay(DEV, 2, M, 55, 4).pay(A, 3, M, 1, 1).pay(M, 2, A, 9, 1));
}

#[test]
fn multisigs_set_replaced_deleted_and_spent() {
    let world = people().with(StateKey::Multisig(D), StateValue::from(config(1, &[A])));
    let world = world.multisig(A, 3, 1, &[B], 1).multisig(B, 3, 2, &[C, D], 1).pay(A, 4, C, 1, 1);
    let world = world.multisig(A, 5, 0, &[], 1).multisig(A, 6, 2, &[B, C], 1);
    check(&world.multisig(D, 3, 0, &[], 1).pay(D, 4, A, 1, 1).multisig(A, 7, 0, &[], 1));
}

#[test]
fn a_credit_that_overflows_has_the_block_executed_in_its_order() {
    let world = people().account(B, 3, u64::MAX - 10).holding(C, GOLD, u64::MAX);
    // At the first output and at a later one, in another asset, and only together with another payment.
    check_in_order(&world.clone().pay(A, 3, B, 11, 1).pay(C, 3, D, 1, 1));
    let outputs = [(NATIVE, D, 1), (NATIVE, B, 11), (NATIVE, C, 1)];
    check_in_order(&world.clone().transfer(A, 3, &outputs, 1).pay(C, 3, D, 1, 1));
    check_in_order(&world.clone().transfer(A, 3, &[(GOLD, C, 1)], 1).pay(D, 3, C, 1, 1));
    check_in_order(&world.clone().pay(A, 3, B, 6, 1).pay(C, 3, B, 6, 1).pay(D, 3, B, 4, 1));
    check_in_order(&people().pay(A, 3, B, u64::MAX, 1).pay(C, 3, B, u64::MAX, 1));
    // What B spends is taken at the end, and does not help.
    check_in_order(&world.clone().pay(B, 3, A, 500, 1).pay(A, 3, B, 11, 1));
    // A nonce that is free again, and one that is then not the expected one any more.
    check_in_order(&world.clone().pay(A, 3, B, 11, 1).pay(A, 3, D, 1, 1).pay(A, 4, D, 1, 1));
    // The most that fits.
    check(&world.pay(A, 3, B, 4, 1).pay(C, 3, B, 6, 1));
}

#[test]
fn a_reward_that_overflows_leaves_no_result() {
    let world = people().pay(A, 3, B, 1, 1).pay(B, 3, A, 1, 1);
    let message = "reward or fees overflow a balance";
    check_fails(&world.clone().account(M, 0, u64::MAX - MINER_REWARD + 1), message);
    check_fails(&world.account(DEV, 0, u64::MAX - DEV_REWARD + 1), message);
}

#[test]
fn fees_that_overflow_leave_no_result() {
    let world = people().pay(A, 3, B, 1, 5).pay(B, 3, A, 1, 6);
    let message = "reward or fees overflow a balance";
    check_fails(&world.clone().account(M, 0, u64::MAX - MINER_REWARD - 10), message);
    check(&world.account(M, 0, u64::MAX - MINER_REWARD - 11));
    let world = people().pay(A, 3, B, 1, u64::MAX).pay(B, 3, A, 1, u64::MAX);
    check_fails(&world, "fees exceed");
}

#[test]
fn a_payment_that_overflows_only_together_with_the_reward_fails_by_itself() {
    let world = people().account(M, 0, u64::MAX - MINER_REWARD - 20).pay(A, 3, M, 21, 1);
    check_in_order(&world.pay(B, 3, C, 1, 1));
}

#[test]
fn burns_that_overflow_leave_no_result() {
    let world = people().burn(A, 3, NATIVE, u64::MAX, 1).burn(B, 3, NATIVE, 1, 1);
    check_fails(&world, "exceed 2^64-1");
    check_fails(&people().burn(A, 3, NATIVE, u64::MAX, 1).burn(A, 4, NATIVE, 1, 1), "exceed");
}

#[test]
fn a_source_without_a_nonce_leaves_no_result() {
    check_fails(&people().pay(A, 3, B, 1, 1).pay(STRANGER, 0, A, 1, 1), "has no nonce");
}

#[test]
fn what_is_not_known_matters_only_to_whoever_needs_it() {
    let world = people().pay(A, 3, B, 1, 1).pay(C, 3, D, 1, 1).pay(D, 9, D, 1, 1);
    let block = world.block();
    let without = |key: StateKey| {
        let listed = world.pre_state();
        let values = listed.iter().map(|(key, value)| (key, value.clone()));
        let values: Vec<_> = values.filter(|(other, _)| *other != key).collect();
        Arc::new(PreState::with_unknown(values, [key]))
    };
    for key in [StateKey::Nonce(A), StateKey::Balance(B, NATIVE), StateKey::Registered(D)] {
        let pre_state = without(key);
        assert!(SerialExecutor.control(&block, &pre_state).is_err(), "{key}");
        for schedule in schedules() {
            let failure = SHARDED.execute(&block, &pre_state, schedule).unwrap_err();
            assert!(failure.to_string().contains("is not known"), "{failure}");
        }
    }
    check_on(&block, &without(StateKey::Balance(A, GOLD)), None);
    check_on(&block, &without(StateKey::Multisig(B)), None);
}

#[test]
fn a_world_that_was_made_for_another_block_will_do() {
    let world = people().pay(A, 3, B, 1, 1).pay(C, 3, STRANGER, 2, 1).pay(B, 3, C, 3, 1);
    let block = world.block();
    // All of them name the accounts that the block names: in another order, more often, in other roles.
    let to_all = [A, B, C, STRANGER].map(|account| (NATIVE, account, 1));
    let others = [
        people().transfer(D, 3, &to_all, 1),
        people().transfer(A, 3, &to_all, 1).transfer(C, 3, &to_all, 1).transfer(B, 3, &to_all, 1),
        people().pay(C, 3, STRANGER, 2, 1).pay(A, 3, B, 1, 1).pay(B, 3, C, 3, 1),
        people().pay(A, 3, STRANGER, 1, 1).pay(C, 3, B, 2, 1).pay(B, 3, C, 3, 1),
        world.clone().pay(D, 3, A, 1, 1),
    ];
    for other in others {
        check_on(&block, &Arc::new(world.pre_state().made_for(&other.block())), None);
    }
    for count in 0..3 {
        let pre_state = Arc::new(world.pre_state().made_for(&block));
        check_on(&Arc::new(block.prefix(count)), &pre_state, None);
    }
}

#[test]
fn a_transaction_that_panics_is_its_own_outcome() {
    // Nobody may execute an opaque transaction; an engine that is made to do it says which.
    let opaque = || {
        let json = r#"{"energy":{"UnfreezeTos":{"amount":1}}}"#;
        TransactionData::Opaque(Box::new(OpaqueData::from_json(0, json).unwrap()))
    };
    let world = people().pay(A, 3, D, 1, 1).transaction(B, 3, 7, opaque()).pay(C, 3, M, 1, 1);
    let world = world.pay(B, 4, A, 1, 1).pay(D, 6, A, 1, 1).transaction(D, 3, 1, opaque());
    let (block, pre_state) = (world.block(), world.pre_state());
    let v3 = V3.execute(&block, &pre_state, Schedule { workers: 2, seed: 0 }).unwrap().execution;
    assert_eq!(v3.executed(), 4);
    for schedule in schedules() {
        let execution = SHARDED.execute(&block, &pre_state, schedule).unwrap().execution;
        assert_eq!(execution.exercise.fallback, None);
        assert_eq!(execution.outcomes, v3.outcomes, "{schedule}");
        assert_eq!(execution.delta, v3.delta, "{schedule}");
        assert_eq!(execution.totals, v3.totals, "{schedule}");
    }
}

#[test]
fn two_sources_run_on_two_lanes_and_one_does_not() {
    #[track_caller]
    fn check(world: World, workers: u32, expected: Verdict) {
        assert_eq!(world.verdict(&*SHARDED, workers), expected);
    }
    let no_wide_batch = Verdict::NotExercised(NotExercised::NoWideBatch);
    check(people().pay(A, 3, C, 1, 1).pay(B, 3, D, 1, 1), 2, Verdict::Match);
    check(people().pay(A, 3, C, 1, 1).pay(B, 3, C, 1, 1), 2, Verdict::Match);
    check(people().pay(A, 3, B, 1, 1).pay(B, 3, A, 1, 1), 8, Verdict::Match);
    let world = people().pay(A, 3, C, 1, 1).pay(B, 3, C, 1, 1);
    check(world, 1, Verdict::NotExercised(NotExercised::OneWorker));
    check(people(), 2, Verdict::NotExercised(NotExercised::Empty));
    let world = people().pay(A, 3, C, 1, 1);
    check(world.clone(), 2, Verdict::NotExercised(NotExercised::OneTransaction));
    check(world.pay(A, 4, D, 1, 1), 2, no_wide_batch.clone());
    // Two lanes, but only one of them executed something.
    let skipped = people().pay(A, 3, C, 1, 1).pay(A, 4, C, 1, 1).pay(B, 9, D, 1, 1);
    check(skipped.account(B, 10, 100), 2, no_wide_batch.clone());
    // Who only has transactions that were executed before takes no lane away.
    let before = people().pay(A, 3, C, 1, 1).executed_before().pay(A, 4, C, 1, 1).executed_before();
    check(before.pay(C, 3, D, 1, 1).pay(D, 3, C, 1, 1), 2, Verdict::Match);
}

#[test]
fn a_block_that_was_handed_on_exercises_nothing() {
    let world = people().account(B, 3, u64::MAX).pay(A, 3, B, 1, 1);
    let world = world.pay(C, 3, STRANGER, 1, 1).pay(D, 3, M, 1, 1);
    assert_eq!(world.verdict(&*V3, 2), Verdict::Match);
    assert_eq!(world.verdict(&*SHARDED, 2), Verdict::NotExercised(NotExercised::Delegated));
    let schedule = Schedule { workers: 2, seed: 0 };
    let performed = SHARDED.execute(&world.block(), &world.pre_state(), schedule).unwrap();
    let exercise = performed.execution.exercise;
    assert_eq!((exercise.batches, exercise.max_in_flight), (0, 0));
    assert_eq!(exercise.fallback.as_deref(), Some("credit_overflow"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Where nothing can overflow the engine hands nothing on.
    #[test]
    fn blocks_without_overflow_are_its_own_work(
        payments in prop::collection::vec((0..6_usize, 0..7_usize, 3..9_u64, 0..30_u64, 0..3_usize), 0..60),
        workers in WORKERS,
        seed in SEEDS,
    ) {
        const PEOPLE: [Address; 7] = [A, B, C, D, M, DEV, STRANGER];
        let world = payments.into_iter().fold(people(), |world, (from, to, nonce, amount, asset)| {
            let asset = [NATIVE, GOLD, SILVER][asset];
            world.transfer(PEOPLE[from], nonce, &[(asset, PEOPLE[to], amount)], amount % 3)
        });
        let (block, pre_state) = (world.block(), world.pre_state());
        let control = SerialExecutor.control(&block, &pre_state).unwrap().execution;
        let schedule = Schedule { workers, seed };
        let performed = SHARDED.execute(&block, &pre_state, schedule).unwrap();
        let execution = performed.execution;
        prop_assert_eq!(&execution.exercise.fallback, &None);
        prop_assert_eq!(execution.exercise.batches, 1);
        prop_assert_eq!(execution.outcomes, control.outcomes);
        prop_assert_eq!(execution.delta, control.delta);
        prop_assert_eq!(execution.totals, control.totals);
    }
}
