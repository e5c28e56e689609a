//! The chain's rules, one small block each, by what the serial executor makes of it.

use std::sync::Arc;

use comparator::{Execution, FailReason, SkipReason, Status};
use shadow::{
    execute::{ControlError, PreState, SerialExecutor},
    rules::{NamedKeys, Quirk},
};
use storage_snapshot::{Amount, Nonce, ReadError, StateKey, StateValue};

use crate::support::{A, B, C, D, DEV, DEV_REWARD, GOLD, M, MINER_REWARD, NATIVE, World, config};

#[test]
fn an_empty_block_pays_its_reward_and_writes_nothing_else() {
    let execution = World::new().serial();
    check(&execution, &[balance(M, MINER_REWARD), balance(DEV, DEV_REWARD)]);
    assert_eq!(execution.totals.miner_reward, Amount::new(MINER_REWARD));
}

#[test]
fn a_miner_nobody_has_seen_is_registered_by_its_reward() {
    let execution = World::default().account(DEV, 0, 0).serial();
    let written = [balance(M, MINER_REWARD), balance(DEV, DEV_REWARD), nonce(M, 0), registered(M)];
    check(&execution, &written);
}

#[test]
fn a_transfer_moves_the_amount_and_its_fee_goes_to_the_miner() {
    let execution = World::new().account(A, 3, 100).account(B, 0, 1).pay(A, 3, B, 10, 2).serial();
    check(
        &execution,
        &[
            balance(M, MINER_REWARD + 2),
            balance(DEV, DEV_REWARD),
            nonce(A, 4),
            balance(A, 88),
            balance(B, 11),
        ],
    );
    assert_eq!(execution.totals.fees, Amount::new(2));
}

#[test]
fn who_receives_for_the_first_time_gets_nonce_zero_and_is_registered() {
    let execution = World::new().account(A, 0, 100).pay(A, 0, B, 0, 0).serial();
    check(
        &execution,
        &[
            balance(M, MINER_REWARD),
            balance(DEV, DEV_REWARD),
            nonce(A, 1),
            balance(A, 100),
            nonce(B, 0),
            registered(B),
            balance(B, 0),
        ],
    );
}

#[test]
fn a_net_zero_change_is_written() {
    let world = World::new().account(A, 0, 100).account(B, 0, 50);
    let execution = world.pay(A, 0, B, 11, 1).pay(B, 0, A, 10, 1).serial();
    assert_eq!(written(&execution, StateKey::Balance(B, NATIVE)), Some(Some(value(50))));
}

#[test]
fn a_burn_of_the_native_asset_counts_and_one_of_another_does_not() {
    let world = World::new().account(A, 0, 100).holding(A, GOLD, 9);
    let execution = world.burn(A, 0, NATIVE, 5, 1).burn(A, 1, GOLD, 4, 1).serial();
    assert_eq!(execution.totals.burned, Amount::new(5));
    assert_eq!(written(&execution, StateKey::Balance(A, NATIVE)), Some(Some(value(93))));
    assert_eq!(written(&execution, StateKey::Balance(A, GOLD)), Some(Some(value(5))));
}

#[test]
fn the_last_multisig_of_a_block_stays_and_a_deletion_is_written_as_none() {
    let world = World::new().account(A, 0, 100);
    let set = world.clone().multisig(A, 0, 1, &[B], 1).multisig(A, 1, 2, &[B, C], 1);
    let expected = StateValue::from(config(2, &[B, C]));
    assert_eq!(written(&set.serial(), StateKey::Multisig(A)), Some(Some(expected)));
    let deleted = set.multisig(A, 2, 0, &[], 1).serial();
    assert_eq!(written(&deleted, StateKey::Multisig(A)), Some(None));
    // Deleting what was never there is a write of none all the same.
    let never = world.multisig(A, 0, 0, &[], 1).serial();
    assert_eq!(written(&never, StateKey::Multisig(A)), Some(None));
}

#[test]
fn a_miner_spends_its_reward_in_its_own_block_but_not_its_fees() {
    let execution = World::new().pay(M, 0, B, MINER_REWARD - 1, 1).serial();
    assert_eq!(written(&execution, StateKey::Balance(M, NATIVE)), Some(Some(value(1))));
}

#[test]
fn what_another_block_executed_has_no_effect() {
    let execution = World::new().account(A, 0, 100).pay(A, 0, B, 10, 1).executed_before().serial();
    check(&execution, &[balance(M, MINER_REWARD), balance(DEV, DEV_REWARD)]);
    let status = Status::Skipped(SkipReason::AlreadyExecuted);
    assert_eq!((&execution.outcomes[0].status, execution.outcomes[0].fee), (&status, Amount::ZERO));
}

#[test]
fn a_refused_nonce_has_no_effect() {
    let world = World::new().account(A, 5, 100);
    let execution = world.pay(A, 4, B, 1, 1).pay(A, 5, B, 2, 1).pay(A, 5, C, 3, 1).serial();
    statuses(
        &execution,
        &[Status::Skipped(SkipReason::Nonce), Status::Executed, Status::Skipped(SkipReason::Nonce)],
    );
    assert_eq!(written(&execution, StateKey::Balance(A, NATIVE)), Some(Some(value(97))));
    assert_eq!(written(&execution, StateKey::Balance(C, NATIVE)), None);
}

#[test]
fn a_nonce_below_the_expected_one_leaves_the_account_at_the_highest() {
    let world = World::new().account(A, 0, 100).pay(A, 4, B, 1, 1).pay(A, 2, B, 1, 1);
    let execution = world.serial();
    statuses(&execution, &[Status::Executed, Status::Executed]);
    assert_eq!(
        written(&execution, StateKey::Nonce(A)),
        Some(Some(StateValue::Nonce(Nonce::new(5))))
    );
    assert_eq!(quirks(&world), [(Quirk::NonceGap, 1), (Quirk::NonceOutOfOrder, 1)]);
}

#[test]
fn a_failed_transaction_keeps_its_nonce_its_debits_and_the_credits_before_it_failed() {
    let world = World::new().account(A, 0, 100).account(B, 0, u64::MAX).account(C, 0, 7);
    let world = world.transfer(A, 0, &[(NATIVE, C, 5), (NATIVE, B, 1), (NATIVE, D, 9)], 2);
    let execution = world.serial();
    statuses(&execution, &[Status::Failed(FailReason::CreditOverflow)]);
    check(
        &execution,
        &[
            balance(M, MINER_REWARD),
            balance(DEV, DEV_REWARD),
            nonce(A, 1),
            balance(A, 83),
            balance(C, 12),
        ],
    );
    assert_eq!(execution.totals.fees, Amount::ZERO);
    assert_eq!(quirks(&world), [(Quirk::FailedKeepsEffects, 1)]);
}

#[test]
fn a_failed_nonce_may_be_used_again_in_the_same_block() {
    let world = World::new().account(A, 0, 100).account(B, 0, u64::MAX).pay(A, 0, B, 1, 1);
    let execution = world.pay(A, 0, C, 1, 1).serial();
    statuses(&execution, &[Status::Failed(FailReason::CreditOverflow), Status::Executed]);
}

#[test]
fn what_an_account_spends_does_not_make_room_for_what_it_receives() {
    // The debit is taken at the end of the block, so the credit meets the balance from before.
    let world = World::new().account(A, 0, 100).account(B, 0, u64::MAX);
    let execution = world.pay(B, 0, C, 50, 0).pay(A, 0, B, 1, 1).serial();
    statuses(&execution, &[Status::Executed, Status::Failed(FailReason::CreditOverflow)]);
}

#[test]
fn an_overdrawn_balance_wraps_around() {
    let world = World::new().account(A, 0, 5).pay(A, 0, B, 10, 1);
    let after = value(5_u64.wrapping_sub(11));
    assert_eq!(written(&world.serial(), StateKey::Balance(A, NATIVE)), Some(Some(after)));
    assert_eq!(quirks(&world), [(Quirk::DebitWrapped, 1)]);
}

#[test]
fn spending_past_the_range_of_an_amount_stops_there() {
    let world = World::new().account(A, 0, 7).transfer(A, 0, &[(NATIVE, B, u64::MAX)], 3);
    let after = value(7_u64.wrapping_sub(u64::MAX));
    assert_eq!(written(&world.serial(), StateKey::Balance(A, NATIVE)), Some(Some(after)));
    assert_eq!(quirks(&world), [(Quirk::DebitWrapped, 1), (Quirk::DebitSaturated, 1)]);
}

#[test]
fn a_source_without_a_nonce_has_no_result() {
    let world = World::new().pay(A, 0, B, 1, 1);
    let error = SerialExecutor.control(&world.block(), &world.pre_state()).unwrap_err();
    assert!(matches!(error, ControlError::SourceWithoutNonce { source, .. } if source == A));
}

#[test]
fn a_value_that_is_not_known_has_no_result() {
    let world = World::new().account(A, 0, 100).pay(A, 0, B, 1, 1);
    let mut before: storage_snapshot::MemoryState = Default::default();
    let mut keys = Vec::new();
    for (key, value) in world.pre_state().iter() {
        before.set(key, Some(value.clone()));
        keys.push(key);
    }
    let unknown = StateKey::Balance(A, NATIVE);
    before.forget(unknown);
    let pre_state = PreState::resolve(&Arc::new(keys.iter().collect()), &before).unwrap();
    let error = SerialExecutor.control(&world.block(), &pre_state).unwrap_err();
    assert_eq!(error, ControlError::Read(ReadError::Unknown(unknown)));
}

#[test]
fn fees_past_the_range_of_an_amount_have_no_result() {
    let world = World::new().account(A, 0, 5).account(B, 0, 5);
    let world = world.pay(A, 0, C, 1, u64::MAX).pay(B, 0, C, 1, 1);
    let error = SerialExecutor.control(&world.block(), &world.pre_state()).unwrap_err();
    assert!(matches!(error, ControlError::TotalOverflow(_)), "{error:?}");
}

#[test]
fn a_block_names_every_key_that_it_may_touch_once_and_in_order() {
    let world = World::new().transfer(B, 0, &[(GOLD, A, 1), (NATIVE, A, 1)], 1);
    let world = world.burn(A, 0, GOLD, 1, 1).multisig(C, 0, 1, &[D], 1).pay(B, 1, M, 1, 1);
    let block = world.block();
    let bodies = block.transactions.iter().map(|transaction| &transaction.body);
    let named: Vec<_> = NamedKeys::of_block(&M, &DEV, bodies).iter().collect();
    let people = [M, DEV, A, B, C];
    let mut expected: Vec<_> = people
        .iter()
        .flat_map(|account| {
            [
                StateKey::Nonce(*account),
                StateKey::Multisig(*account),
                StateKey::Registered(*account),
                StateKey::Balance(*account, NATIVE),
            ]
        })
        .chain([A, B].map(|account| StateKey::Balance(account, GOLD)))
        .collect();
    expected.sort_unstable();
    assert_eq!(named, expected);
}

type Write = (StateKey, Option<StateValue>);

fn value(amount: u64) -> StateValue {
    StateValue::Balance(Amount::new(amount))
}

fn balance(account: storage_snapshot::Address, amount: u64) -> Write {
    (StateKey::Balance(account, NATIVE), Some(value(amount)))
}

fn nonce(account: storage_snapshot::Address, nonce: u64) -> Write {
    (StateKey::Nonce(account), Some(StateValue::Nonce(Nonce::new(nonce))))
}

fn registered(account: storage_snapshot::Address) -> Write {
    (StateKey::Registered(account), Some(StateValue::Registered))
}

/// The writes are exactly these.
#[track_caller]
fn check(execution: &Execution, expected: &[Write]) {
    assert_eq!(execution.delta, expected.iter().cloned().collect());
}

#[track_caller]
fn statuses(execution: &Execution, expected: &[Status]) {
    let found: Vec<_> = execution.outcomes.iter().map(|outcome| &outcome.status).collect();
    assert_eq!(found, expected.iter().collect::<Vec<_>>());
}

fn written(execution: &Execution, key: StateKey) -> Option<Option<StateValue>> {
    execution.delta.get(&key).map(|value| value.cloned())
}

fn quirks(world: &World) -> Vec<(Quirk, u64)> {
    SerialExecutor.control(&world.block(), &world.pre_state()).unwrap().quirks.iter().collect()
}
