//! Faults that parallel executors were shipped with, planted by hand: each has to be noticed, as a
//! difference of the right field at the right transaction.
//!
//! The smallest block that shows a fault is also the one that shows what a careless comparison
//! overlooks: fresh receivers, net-zero changes, failed transactions, a miner that transacts.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use comparator::{Execution, FailReason, Field, LocateMethod, Outcome, Status};
use shadow::{
    chain::{Transaction, TransactionData},
    execute::{ExecutableBlock, PreState},
};
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateKey, StateRead, StateValue};

use crate::support::{A, Altered, B, C, D, DEV, GOLD, M, MINER_REWARD, NATIVE, World};

/// Plants a fault and checks what is reported first: the field, the key and the transaction.
#[track_caller]
fn check(
    world: &World,
    fault: impl Fn(&ExecutableBlock, &PreState, &mut Execution) + Send + Sync,
    field: Field,
    key: Option<StateKey>,
    transaction: Option<(usize, LocateMethod)>,
) {
    let (mismatch, located) = world.mismatch(&Altered(fault));
    let first = mismatch.first().unwrap();
    assert_eq!(first.field, field, "{mismatch:#?}");
    assert_eq!(first.key, key, "{mismatch:#?}");
    let found = located.map(|located| (located.index, located.method));
    assert_eq!(found, transaction, "{mismatch:#?}");
}

const PREFIX: LocateMethod = LocateMethod::Prefix;

#[test]
fn t1_a_fee_that_is_counted_and_never_debited() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            change(execution, transaction.source, NATIVE, |old| old.wrapping_add(transaction.fee));
        }
    };
    check(&world, fault, Field::Balance, balance(A), Some((0, PREFIX)));
}

/// postmortem: whoever crashed or hung only on the parts of a block did so once for each of them.
#[test]
fn a_candidate_that_breaks_on_parts_of_a_block_is_not_asked_about_every_part() {
    let mut world = World::new().account(A, 0, 100);
    for nonce in 0..32 {
        world = world.pay(A, nonce, B, 1, 1);
    }
    let runs = AtomicUsize::new(0);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        runs.fetch_add(1, Ordering::Relaxed);
        assert_eq!(block.transactions.len(), 32, "as planted");
        change(execution, B, NATIVE, |old| old.wrapping_add(Amount::new(1)));
    };
    let first = Some((0, LocateMethod::Touch));
    check(&world, fault, Field::Balance, balance(B), first);
    assert_eq!(runs.into_inner(), 3, "in earnest, once more, and without transactions");
}

#[test]
fn t2_a_credit_that_overwrites_what_the_receiver_had() {
    let world = World::new().account(A, 0, 100).account(B, 0, 500).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            for (asset, destination, amount) in outputs(transaction) {
                change(execution, destination, asset, |_| amount);
            }
        }
    };
    check(&world, fault, Field::Balance, balance(B), Some((0, PREFIX)));
}

#[test]
fn t3_a_balance_that_was_not_loaded_and_is_taken_as_zero() {
    let world = World::new().account(A, 0, 100).account(B, 0, 0).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, pre_state: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            let lost = before(pre_state, transaction.source, NATIVE);
            change(execution, transaction.source, NATIVE, |old| old.wrapping_sub(lost));
        }
    };
    check(&world, fault, Field::Balance, balance(A), Some((0, PREFIX)));
}

#[test]
fn t6_a_multisig_configuration_that_is_not_merged() {
    let world = World::new().account(A, 0, 100).account(B, 0, 100);
    let world = world.pay(B, 0, A, 1, 1).multisig(A, 0, 2, &[B, C], 1);
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.delta.remove(&StateKey::Multisig(A));
    };
    check(&world, fault, Field::Multisig, Some(StateKey::Multisig(A)), Some((1, PREFIX)));
}

#[test]
fn t7_a_kind_that_is_not_supported_and_succeeds_as_a_no_op() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 1, 1).burn(A, 1, NATIVE, 7, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            if let TransactionData::Burn { asset, amount } = transaction.data {
                change(execution, transaction.source, asset, |old| old.wrapping_add(amount));
                execution.totals.burned = Amount::ZERO;
            }
        }
    };
    check(&world, fault, Field::Balance, balance(A), Some((1, PREFIX)));
    let (mismatch, _) = world.mismatch(&Altered(fault));
    assert_eq!(mismatch.counts.get(&Field::Burned), Some(&1));
}

#[test]
fn t8_a_multisig_deletion_that_is_lost() {
    let world = with_multisig(World::new().account(A, 0, 100)).multisig(A, 0, 0, &[], 1);
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.delta.remove(&StateKey::Multisig(A));
    };
    check(&world, fault, Field::Multisig, Some(StateKey::Multisig(A)), Some((0, PREFIX)));
}

#[test]
fn t8_none_that_is_written_for_everybody() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 1, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            execution.delta.set_multisig(transaction.source, None);
        }
    };
    check(&world, fault, Field::Version, Some(StateKey::Multisig(A)), Some((0, PREFIX)));
}

#[test]
fn t12_a_sender_that_is_never_debited() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            execution.delta.remove(&StateKey::Balance(transaction.source, NATIVE));
        }
    };
    check(&world, fault, Field::Balance, balance(A), Some((0, PREFIX)));
}

#[test]
fn t13_a_sender_that_is_debited_twice() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            for (asset, _, amount) in outputs(transaction) {
                change(execution, transaction.source, asset, |old| old.wrapping_sub(amount));
            }
            change(execution, transaction.source, NATIVE, |old| old.wrapping_sub(transaction.fee));
        }
    };
    check(&world, fault, Field::Balance, balance(A), Some((0, PREFIX)));
}

#[test]
fn t14_a_panic_that_shifts_every_later_outcome_by_one() {
    let world = World::new().account(A, 0, 100).account(B, 0, 100).account(C, 0, 100);
    let world = world.pay(A, 0, D, 1, 1).pay(B, 0, M, 1, 2).pay(C, 0, DEV, 1, 3);
    // The first result is missing, so each of the others is handed to the transaction before it.
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        let hashes: Vec<_> = execution.outcomes.iter().map(|outcome| outcome.hash).collect();
        let results = execution.outcomes.drain(..).skip(1);
        execution.outcomes =
            results.zip(hashes).map(|(result, hash)| Outcome { hash, ..result }).collect();
    };
    check(&world, fault, Field::Outcome, None, Some((0, LocateMethod::Outcome)));
}

#[test]
fn t15_a_failed_transaction_whose_kept_effects_are_rolled_back() {
    let world = World::new().account(A, 0, 100).account(B, 0, u64::MAX - 5).account(C, 0, 9);
    let world = world.pay(C, 0, D, 1, 1).pay(A, 0, B, 10, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for (transaction, outcome) in block.transactions.iter().zip(execution.outcomes.clone()) {
            if outcome.status == Status::Failed(FailReason::CreditOverflow) {
                execution.delta.remove(&StateKey::Nonce(transaction.body.source));
                execution.delta.remove(&StateKey::Balance(transaction.body.source, NATIVE));
            }
        }
    };
    check(&world, fault, Field::Nonce, Some(StateKey::Nonce(A)), Some((1, PREFIX)));
}

#[test]
fn t15_a_failed_transaction_whose_credit_was_published() {
    let world = World::new().account(A, 0, 100).account(B, 0, u64::MAX - 5);
    let world = world.transfer(A, 0, &[(NATIVE, C, 2), (NATIVE, B, 10)], 1);
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if !execution.outcomes.is_empty() {
            execution.delta.set_balance(B, NATIVE, Amount::new(4));
        }
    };
    check(&world, fault, Field::Balance, balance(B), Some((0, PREFIX)));
}

#[test]
fn t16_a_reward_that_the_miner_cannot_spend_in_its_own_block() {
    let world = World::new().account(B, 0, 0).pay(M, 0, B, 5, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if !block.transactions.is_empty() {
            // The debit found nothing to take from and stopped at zero.
            change(execution, M, NATIVE, |_| Amount::new(MINER_REWARD + 1));
        }
    };
    check(&world, fault, Field::Balance, balance(M), Some((0, PREFIX)));
}

#[test]
fn t17_a_reward_that_overwrites_what_the_miner_had() {
    let world = World::new().account(M, 0, 1000).account(A, 0, 100).pay(A, 0, B, 1, 1);
    let fault = |_: &ExecutableBlock, pre_state: &PreState, execution: &mut Execution| {
        let lost = before(pre_state, M, NATIVE);
        change(execution, M, NATIVE, |old| old.wrapping_sub(lost));
    };
    // It is wrong before the first transaction, so no transaction is to blame.
    check(&world, fault, Field::Balance, balance(M), None);
}

#[test]
fn t18_a_net_zero_change_that_is_dropped() {
    let world = World::new().account(A, 0, 100).account(B, 0, 50);
    let world = world.pay(A, 0, B, 11, 1).pay(B, 0, C, 10, 1);
    let fault = |_: &ExecutableBlock, pre_state: &PreState, execution: &mut Execution| {
        let unchanged = execution
            .delta
            .iter()
            .filter(|(key, value)| pre_state.read(key).unwrap().as_ref() == *value);
        let unchanged: Vec<StateKey> = unchanged.map(|(key, _)| *key).collect();
        for key in unchanged {
            execution.delta.remove(&key);
        }
    };
    check(&world, fault, Field::Version, balance(B), Some((1, PREFIX)));
}

#[test]
fn t18_an_untouched_entry_that_is_written() {
    let world = World::new().account(A, 0, 100).account(B, 7, 50).pay(A, 0, B, 1, 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if !block.transactions.is_empty() {
            execution.delta.set_nonce(B, Nonce::new(7));
        }
    };
    check(&world, fault, Field::Version, Some(StateKey::Nonce(B)), Some((0, PREFIX)));
}

#[test]
fn t18_a_registration_that_is_dropped() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 1, 1);
    let fault = |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.delta.remove(&StateKey::Registered(B));
    };
    check(&world, fault, Field::Registration, Some(StateKey::Registered(B)), Some((0, PREFIX)));
}

#[test]
fn two_assets_that_are_mixed_up() {
    let world = World::new().account(A, 0, 100).holding(A, GOLD, 30);
    let world = world.transfer(A, 0, &[(GOLD, B, 5)], 1);
    let fault = |block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for transaction in executed(block, &execution.clone()) {
            for (asset, destination, amount) in outputs(transaction) {
                execution.delta.remove(&StateKey::Balance(destination, asset));
                execution.delta.set_balance(destination, NATIVE, amount);
            }
        }
    };
    check(&world, fault, Field::Balance, balance(B), Some((0, PREFIX)));
}

fn balance(account: Address) -> Option<StateKey> {
    Some(StateKey::Balance(account, NATIVE))
}

fn with_multisig(world: World) -> World {
    world.with(StateKey::Multisig(A), StateValue::from(crate::support::config(1, &[B])))
}

/// The transactions that took effect.
fn executed<'a>(block: &'a ExecutableBlock, execution: &Execution) -> Vec<&'a Transaction> {
    let executed: BTreeSet<_> = execution
        .outcomes
        .iter()
        .filter(|outcome| outcome.status == Status::Executed)
        .map(|outcome| outcome.hash)
        .collect();
    let bodies = block.transactions.iter().map(|transaction| &transaction.body);
    bodies.filter(|transaction| executed.contains(&transaction.hash)).collect()
}

fn outputs(transaction: &Transaction) -> Vec<(AssetId, Address, Amount)> {
    match &transaction.data {
        TransactionData::Transfers(transfers) => transfers
            .iter()
            .map(|transfer| (transfer.asset, transfer.destination, transfer.amount))
            .collect(),
        _ => Vec::new(),
    }
}

fn before(pre_state: &PreState, account: Address, asset: AssetId) -> Amount {
    match pre_state.read(&StateKey::Balance(account, asset)).unwrap() {
        Some(StateValue::Balance(amount)) => amount,
        _ => Amount::ZERO,
    }
}

fn change(
    execution: &mut Execution,
    account: Address,
    asset: AssetId,
    to: impl FnOnce(Amount) -> Amount,
) {
    let old = match execution.delta.get(&StateKey::Balance(account, asset)) {
        Some(Some(StateValue::Balance(amount))) => *amount,
        _ => Amount::ZERO,
    };
    execution.delta.set_balance(account, asset, to(old));
}
