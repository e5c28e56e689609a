//! What is taken from the node for a block that is not executed here.

use std::{collections::HashSet, sync::Arc};

use shadow::{
    chain::{FeeType, OpaqueData, TransactionData},
    execute::ExecutableBlock,
    opaque::{TakenState, take_state},
    rules::NamedKeys,
    source::{CurrentValue, NodeAnswers, Payout, VersionAnswer},
};
use storage_snapshot::{Address, Amount, MemoryState, Nonce, StateKey, StateRead, StateValue};

use crate::support::{A, B, C, DEV, GOLD, M, NATIVE, World};

#[test]
fn what_the_node_says_was_written_is_taken() {
    let versions = vec![
        (StateKey::Balance(A, NATIVE), VersionAnswer::Written(Some(balance(7)))),
        (StateKey::Nonce(A), VersionAnswer::NotWritten),
    ];
    let answers = NodeAnswers { versions, ..NodeAnswers::default() };
    let taken = take(&call(World::new().account(A, 0, 100)), &answers);
    assert_eq!(written(&taken, StateKey::Balance(A, NATIVE)), Some(Some(balance(7))));
    assert_eq!(written(&taken, StateKey::Nonce(A)), None);
    assert!(!taken.unknown.contains(&StateKey::Nonce(A)));
}

#[test]
fn a_named_key_that_nobody_asked_about_is_unknown() {
    let taken = take(&call(World::new().account(A, 0, 100)), &NodeAnswers::default());
    assert!(taken.unknown.contains(&StateKey::Balance(A, NATIVE)));
    assert!(taken.unknown.contains(&StateKey::Nonce(A)));
    assert_eq!(taken.writes.len(), 0);
}

#[test]
fn what_the_node_has_after_an_opaque_block_is_compared_with_nothing_and_counted() {
    let world = call(World::new().account(A, 0, 100));
    let before = take(&world, &NodeAnswers::default()).not_asked;
    let value = Some(balance(7));
    let key = StateKey::Balance(B, NATIVE);
    let answers = NodeAnswers {
        current: vec![CurrentValue { key, value, written_at: None }],
        burned_supply: Some(Amount::new(5)),
        ..NodeAnswers::default()
    };
    let taken = take(&world, &answers);
    assert_eq!((taken.not_asked, taken.taken), (before + 1, 1));
    assert_eq!(written(&taken, key), None);
}

#[test]
fn a_key_whose_whole_history_is_known_was_not_written_if_it_is_not_in_it() {
    let walked = HashSet::from([StateKey::Balance(A, NATIVE)]);
    let answers = NodeAnswers { walked: Arc::new(walked), ..NodeAnswers::default() };
    let taken = take(&call(World::new().account(A, 0, 100)), &answers);
    assert!(!taken.unknown.contains(&StateKey::Balance(A, NATIVE)));
}

#[test]
fn a_payment_to_somebody_the_block_does_not_name_is_added_to_what_was_there() {
    let world = call(World::new().account(A, 0, 100).account(B, 0, 0).holding(B, GOLD, 5));
    let taken = take(&world, &paying(&world, &[(B, 10), (C, 3), (B, 1)]));
    assert_eq!(written(&taken, StateKey::Balance(B, GOLD)), Some(Some(balance(16))));
    assert_eq!(written(&taken, StateKey::Nonce(B)), None);
    // Somebody new is registered by it.
    assert_eq!(written(&taken, StateKey::Balance(C, GOLD)), Some(Some(balance(3))));
    let nonce = StateValue::Nonce(Nonce::new(0));
    assert_eq!(written(&taken, StateKey::Nonce(C)), Some(Some(nonce)));
    assert_eq!(written(&taken, StateKey::Registered(C)), Some(Some(StateValue::Registered)));
    assert!(!taken.blind);
}

#[test]
fn a_call_that_was_executed_elsewhere_pays_nothing_here() {
    #[track_caller]
    fn check(world: &World, executed: Option<bool>) {
        let mut answers = paying(world, &[(B, 10)]);
        let hash = world.block().transactions[0].body.hash;
        answers.executed.extend(executed.map(|executed| (hash, executed)));
        let taken = take(world, &answers);
        assert_eq!(written(&taken, StateKey::Balance(B, GOLD)), None);
        assert_eq!(taken.executed, []);
        assert!(!taken.blind);
    }
    let world = call(World::new().account(A, 0, 100)).executed_before();
    check(&world, None);
    check(&world, Some(false));
    check(&call(World::new().account(A, 0, 100)), Some(false));
}

#[test]
fn a_call_whose_outputs_nobody_asked_for_may_have_paid_anybody() {
    let world = call(World::new().account(A, 0, 100));
    assert!(take(&world, &NodeAnswers::default()).blind);
    assert!(!take(&world, &paying(&world, &[])).blind);
}

#[test]
fn thirty_percent_of_the_used_gas_are_burned() {
    let world = call(World::new().account(A, 0, 100)).burn(A, 1, NATIVE, 5, 1);
    let hash = world.block().transactions[0].body.hash;
    let mut answers = NodeAnswers::default();
    answers.payouts.insert(hash, vec![Payout::RefundedGas(Amount::new(900))]);
    assert_eq!(take(&world, &answers).burned, Some(Amount::new(35)));
    // Without knowing what came back nobody can tell.
    assert_eq!(take(&world, &NodeAnswers::default()).burned, None);
}

#[test]
fn where_one_of_two_calls_tells_what_it_paid_nothing_is_added_up() {
    let world = call_at(1, call(World::new().account(A, 0, 100)));
    let taken = take(&world, &paying(&world, &[(B, 10)]));
    assert!(taken.blind);
    assert_eq!(written(&taken, StateKey::Balance(B, GOLD)), None);
    assert!(taken.unknown.contains(&StateKey::Balance(B, GOLD)));
}

/// A contract call by A that may use 1,000 units of gas.
fn call(world: World) -> World {
    call_at(0, world)
}

/// The same with this nonce.
fn call_at(nonce: u64, world: World) -> World {
    let data = format!(
        r#"{{"invoke_contract":{{"contract":"{}","deposits":{{}},"chunk_id":0,"max_gas":1000,"parameters":[]}}}}"#,
        "11".repeat(32)
    );
    world.transaction(
        A,
        nonce,
        1,
        TransactionData::Opaque(Box::new(OpaqueData::from_json(0, &data).unwrap())),
    )
}

/// Answers in which the first transaction's contract paid so much gold.
fn paying(world: &World, paid: &[(Address, u64)]) -> NodeAnswers {
    let transfers = paid.iter().map(|(destination, amount)| Payout::Transfer {
        destination: *destination,
        asset: GOLD,
        amount: Amount::new(*amount),
    });
    let hash = world.block().transactions[0].body.hash;
    let mut answers = NodeAnswers::default();
    answers.payouts.insert(hash, transfers.collect());
    answers
}

fn take(world: &World, answers: &NodeAnswers) -> TakenState {
    let block: Arc<ExecutableBlock> = world.block();
    let bodies = block.transactions.iter().map(|transaction| &transaction.body);
    assert!(bodies.clone().all(|body| body.fee_type == FeeType::Tos));
    let named = NamedKeys::of_block(&M, &DEV, bodies);
    let mut before = MemoryState::new();
    for (key, value) in world.pre_state().iter() {
        before.set(key, Some(value.clone()));
    }
    assert!(before.read(&StateKey::Nonce(A)).unwrap().is_some());
    take_state(&block, &named, &before, answers).unwrap()
}

fn balance(amount: u64) -> StateValue {
    StateValue::Balance(Amount::new(amount))
}

fn written(taken: &TakenState, key: StateKey) -> Option<Option<StateValue>> {
    taken.writes.get(&key).map(|value| value.cloned())
}
