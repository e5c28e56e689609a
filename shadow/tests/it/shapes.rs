//! The shapes of a block, one tiny block with each and one that only looks like it.

use std::{collections::BTreeSet, sync::Arc};

use shadow::{
    chain::MultisigSignature,
    execute::{ExecutableBlock, SerialExecutor},
    kinds::TransactionKind,
    shapes::{Shape, ShapeCounts, shapes},
};
use storage_snapshot::{Address, StateKey, StateValue};

use crate::support::{A, B, C, D, DEV, GOLD, M, NATIVE, World, config};

const E: Address = Address::new([0xe5; 32]);

/// So many transactions take part in a shape in one block, and none in another.
#[track_caller]
fn check(shape: Shape, expected: u64, with: World, without: World) {
    assert_eq!(counted(&with).of(shape), expected, "with {shape}");
    assert_eq!(counted(&without).of(shape), 0, "without {shape}");
}

#[test]
fn strangers_who_pay_strangers_have_no_shape() {
    assert!(counted(&people().pay(A, 0, B, 1, 1).pay(C, 0, D, 1, 1)).is_empty());
    assert!(counted(&people()).is_empty());
}

#[test]
fn a_same_sender_chain_is_two_transactions_of_one_account() {
    let one = people().pay(A, 0, B, 1, 1);
    check(Shape::SameSenderChain, 2, one.clone().pay(A, 1, C, 1, 1), one.pay(B, 0, C, 1, 1));
}

#[test]
fn a_shared_receiver_is_paid_by_two_transactions() {
    let one = people().pay(A, 0, C, 1, 1);
    check(Shape::SharedReceiver, 2, one.clone().pay(B, 0, C, 1, 1), one.pay(B, 0, D, 1, 1));
}

#[test]
fn a_receiver_that_spends_does_so_after_it_was_paid() {
    let (paid, spends) = ((A, 0, B), (B, 0, C));
    let pay = |world: World, (from, nonce, to)| world.pay(from, nonce, to, 1, 1);
    let receives_first = pay(pay(people(), paid), spends);
    let spends_first = pay(pay(people(), spends), paid);
    check(Shape::ReceiverSpends, 2, receives_first.clone(), spends_first.clone());
    check(Shape::SpenderReceives, 2, spends_first, receives_first);
}

#[test]
fn a_net_zero_account_has_what_it_had() {
    let to_and_fro = |back| people().pay(A, 0, B, 11, 1).pay(B, 0, A, back, 1);
    check(Shape::NetZero, 2, to_and_fro(10), to_and_fro(9));
}

#[test]
fn a_repeated_destination_is_paid_twice_by_one_transaction() {
    let transfer = |second| people().transfer(A, 0, &[(NATIVE, B, 1), (GOLD, second, 1)], 1);
    check(Shape::RepeatedDestination, 1, transfer(B), transfer(C));
    assert_eq!(counted(&transfer(B)).of(Shape::SharedReceiver), 0, "one transaction is no other");
}

#[test]
fn a_self_transfer_pays_its_own_account() {
    check(Shape::SelfTransfer, 1, people().pay(A, 0, A, 1, 1), people().pay(A, 0, B, 1, 1));
}

#[test]
fn a_zero_amount_is_a_payment_of_nothing() {
    check(Shape::ZeroAmount, 1, people().pay(A, 0, B, 0, 1), people().pay(A, 0, B, 1, 0));
}

#[test]
fn several_assets_are_moved_by_who_pays_the_fee_in_another() {
    let transfer = |asset| people().transfer(A, 0, &[(asset, B, 1)], 1);
    check(Shape::SeveralAssets, 1, transfer(GOLD), transfer(NATIVE));
    let burn = |asset| people().burn(A, 0, asset, 1, 1);
    check(Shape::SeveralAssets, 1, burn(GOLD), burn(NATIVE));
}

#[test]
fn a_burn_is_one() {
    check(Shape::Burn, 1, people().burn(A, 0, NATIVE, 1, 1), people().pay(A, 0, B, 1, 1));
}

#[test]
fn the_miner_and_the_dev_account_are_noticed_on_either_side() {
    let stranger = people().pay(A, 0, B, 1, 1);
    check(Shape::MinerInTransaction, 1, people().pay(A, 0, M, 1, 1), stranger.clone());
    check(Shape::MinerInTransaction, 1, people().pay(M, 0, A, 1, 1), stranger.clone());
    check(Shape::MinerSpends, 1, people().pay(M, 0, A, 1, 1), people().pay(A, 0, M, 1, 1));
    check(Shape::DevInTransaction, 1, people().pay(A, 0, DEV, 1, 1), stranger.clone());
    check(Shape::DevInTransaction, 1, people().pay(DEV, 0, A, 1, 1), stranger);
}

#[test]
fn a_new_account_is_one_that_did_not_exist() {
    let to = |first, second| people().pay(A, 0, first, 1, 1).pay(B, 0, second, 1, 1);
    check(Shape::NewAccount, 1, to(E, C), to(C, D));
    check(Shape::NewAccountOfSeveral, 2, to(E, E), to(E, C));
}

#[test]
fn a_multisig_is_changed_by_setting_and_by_deleting_it() {
    let plain = people().pay(A, 0, B, 1, 1);
    check(Shape::MultisigChanged, 1, people().multisig(A, 0, 1, &[B], 1), plain.clone());
    let set = people().with(StateKey::Multisig(A), StateValue::from(config(1, &[B])));
    check(Shape::MultisigChanged, 1, set.multisig(A, 0, 0, &[], 1), plain);
}

#[test]
fn a_multisig_is_changed_and_used_by_one_account_in_one_block() {
    let changed = people().multisig(A, 0, 1, &[B], 1);
    let used = changed.clone().pay(A, 1, C, 1, 1);
    check(Shape::MultisigChangedAndUsed, 2, used, changed.clone().pay(B, 0, C, 1, 1));
    let twice = changed.clone().multisig(A, 1, 0, &[], 1);
    check(Shape::MultisigChangedAndUsed, 2, twice, changed);
}

#[test]
fn signatures_of_participants_are_noticed() {
    let plain = people().pay(A, 0, B, 1, 1);
    let mut block = ExecutableBlock::clone(&plain.block());
    block.transactions[0].body.multisig =
        Some(vec![MultisigSignature { id: 0, signature: [0; 64] }]);
    assert_eq!(counted_of(&plain, &block).of(Shape::MultisigSigned), 1);
    assert_eq!(counted(&plain).of(Shape::MultisigSigned), 0);
}

#[test]
fn a_failed_transaction_is_one_of_its_sender_and_pays_nobody() {
    let full = people().account(E, 0, u64::MAX);
    let failed = full.clone().pay(A, 0, E, 1, 1);
    check(Shape::FailedTransaction, 1, failed.clone(), full.pay(E, 0, A, 1, 1));
    assert_eq!(counted(&failed.clone().pay(A, 0, C, 1, 1)).of(Shape::SameSenderChain), 2);
    assert_eq!(counted(&failed.clone().pay(B, 0, E, 1, 1)).of(Shape::SharedReceiver), 0);
    let several = failed.transfer(B, 0, &[(NATIVE, C, 1), (NATIVE, E, 1)], 1).pay(D, 0, C, 1, 1);
    assert_eq!(counted(&several).of(Shape::SharedReceiver), 0);
}

#[test]
fn nonces_that_leave_gaps_come_late_or_are_refused_are_told_apart() {
    let nonces = |all: &[u64]| all.iter().fold(people(), |world, n| world.pay(A, *n, B, 1, 1));
    check(Shape::NonceGap, 1, nonces(&[1]), nonces(&[0]));
    check(Shape::NonceOutOfOrder, 1, nonces(&[1, 0]), nonces(&[0, 1]));
    check(Shape::NonceRefused, 1, nonces(&[0, 0]), nonces(&[0, 1]));
}

#[test]
fn an_overdraft_is_one_for_each_balance_that_wraps_around() {
    let spends = |amount| World::new().account(A, 0, 100).pay(A, 0, B, amount, 1);
    check(Shape::DebitWrapped, 1, spends(100), spends(99));
    let twice = |second| spends(u64::MAX - 1).pay(A, 1, C, second, 1);
    check(Shape::DebitSaturated, 1, twice(0), spends(u64::MAX - 1));
    assert_eq!(counted(&twice(0)).of(Shape::DebitWrapped), 1);
}

#[test]
fn what_was_passed_over_counts_for_the_reason_and_for_nothing_else() {
    let duplicate = people().pay(A, 0, B, 0, 1).executed_before();
    let only: ShapeCounts = [(Shape::Duplicate, 1)].into_iter().collect();
    assert_eq!(counted(&duplicate), only);
    check(Shape::Duplicate, 1, duplicate.clone(), people().pay(A, 0, B, 0, 1));
    // Nobody meets what had no effect.
    assert_eq!(counted(&duplicate.pay(C, 0, B, 1, 1)), only);
    let refused = people().pay(A, 0, B, 1, 1).pay(A, 0, B, 1, 1);
    assert_eq!(counted(&refused), [(Shape::NonceRefused, 1)].into_iter().collect());
}

#[test]
fn in_a_side_block_everything_that_took_effect_takes_part() {
    let world = people().pay(A, 0, B, 1, 1).pay(C, 0, D, 1, 1).pay(C, 0, D, 1, 1);
    let side = ExecutableBlock { side_block: true, ..ExecutableBlock::clone(&world.block()) };
    assert_eq!(counted_of(&world, &side).of(Shape::SideBlock), 2);
    assert_eq!(counted(&world).of(Shape::SideBlock), 0);
}

#[test]
fn every_shape_has_a_word_of_its_own_and_is_read_by_it() {
    let words: BTreeSet<_> = Shape::ALL.iter().map(|shape| shape.as_str()).collect();
    assert_eq!(words.len(), Shape::ALL.len());
    let all: ShapeCounts = Shape::ALL.iter().zip(1..).map(|(shape, n)| (*shape, n)).collect();
    let json = serde_json::to_string(&all).unwrap();
    assert_eq!(serde_json::from_str::<ShapeCounts>(&json).unwrap(), all);
    for (shape, number) in Shape::ALL.iter().zip(1..) {
        assert!(json.contains(&format!("\"{shape}\":{number}")), "{json}");
    }
    assert_eq!(serde_json::to_string(&ShapeCounts::default()).unwrap(), "{}");
    let unknown = serde_json::from_str::<ShapeCounts>(r#"{"triangle":1}"#).unwrap_err();
    assert!(unknown.to_string().contains("triangle"), "{unknown}");
}

#[test]
fn a_transaction_has_one_kind() {
    #[track_caller]
    fn check(world: World, kind: TransactionKind) {
        assert_eq!(TransactionKind::of(&world.block().transactions[0].body), kind);
    }
    check(people().pay(A, 0, B, 1, 1), TransactionKind::Transfer);
    check(people().burn(A, 0, GOLD, 1, 1), TransactionKind::Burn);
    check(people().multisig(A, 0, 1, &[B], 1), TransactionKind::Multisig);
    let mut with_energy = people().pay(A, 0, B, 1, 1).block();
    Arc::make_mut(&mut with_energy).transactions[0].body.fee_type = shadow::chain::FeeType::Energy;
    assert_eq!(TransactionKind::of(&with_energy.transactions[0].body), TransactionKind::Opaque);
}

/// Four who have something of everything.
fn people() -> World {
    [A, B, C, D].into_iter().fold(World::new(), |world, account| {
        world.account(account, 0, 1000).holding(account, GOLD, 1000)
    })
}

fn counted(world: &World) -> ShapeCounts {
    counted_of(world, &world.block())
}

fn counted_of(world: &World, block: &ExecutableBlock) -> ShapeCounts {
    // Its values do not list every account that the block names; a world that is made for it does.
    let pre_state = world.pre_state();
    let control = SerialExecutor.control(block, &pre_state).unwrap();
    let counted = shapes(block, &pre_state, &control);
    assert_eq!(shapes(block, &pre_state.made_for(block), &control), counted);
    counted
}
