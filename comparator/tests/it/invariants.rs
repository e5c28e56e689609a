//! Rules that hold for any right execution, even if two wrong ones agree.

use comparator::{
    Execution, FailReason, Field, Invariants, Outcome, SkipReason, Status, Totals, Violation, check,
};
use storage_snapshot::{
    Amount, AssetId, MemoryState, Nonce, ReadError, StateKey, StateRead, StateValue,
};

use crate::{
    support::*,
    world::{Expectations, TransactionExpectation},
};

/// A sends 10 gold to B with a fee of 1, and C burns 5 native with a fee of 1. M mines for 90, of
/// which 10 go to the developers.
struct Case {
    execution: Execution,
    pre_state: MemoryState,
    expectations: Expectations,
}

const A_GOLD: StateKey = StateKey::Balance(A, GOLD);
const B_GOLD: StateKey = StateKey::Balance(B, GOLD);

impl Case {
    fn new() -> Self {
        let mut execution = execution(
            &[executed(1), executed(2)],
            &[
                (StateKey::Nonce(A), nonce(4)),
                (StateKey::Nonce(B), nonce(0)),
                (StateKey::Nonce(C), nonce(1)),
                (StateKey::Registered(B), Some(StateValue::Registered)),
                (A_GOLD, balance(0)),
                (B_GOLD, balance(10)),
                (native(A), balance(99)),
                (native(C), balance(94)),
                (native(MINER), balance(82)),
                (native(DEV), balance(10)),
            ],
        );
        execution.totals = Totals {
            fees: Amount::new(2),
            burned: Amount::new(5),
            miner_reward: Amount::new(80),
            dev_reward: Amount::new(10),
        };
        let transaction = |number, source, asset| TransactionExpectation {
            hash: tx(number),
            source,
            assets: [AssetId::NATIVE, asset].into_iter().collect(),
            burns: None,
            changes_multisig: false,
        };
        let mut expectations = Expectations {
            miner_reward: Amount::new(80),
            dev_reward: Amount::new(10),
            transactions: vec![transaction(1, A, GOLD), transaction(2, C, AssetId::NATIVE)],
            ..Expectations::default()
        };
        expectations.transactions[1].burns = Some((AssetId::NATIVE, Amount::new(5)));
        let pre_state = state(&[
            (StateKey::Nonce(A), nonce(3)),
            (StateKey::Nonce(C), nonce(0)),
            (A_GOLD, balance(10)),
            (native(A), balance(100)),
            (native(C), balance(100)),
        ]);
        Self { execution, pre_state, expectations }
    }

    #[track_caller]
    fn check(&self) -> Invariants {
        check(&self.execution, &self.pre_state, &self.expectations).unwrap()
    }

    fn write(&mut self, key: StateKey, value: Option<StateValue>) {
        self.execution.delta.insert(key, value);
    }
}

/// Changes the right case and expects exactly these violations.
#[track_caller]
fn violates(change: impl FnOnce(&mut Case), expected: &[Violation]) {
    let mut case = Case::new();
    change(&mut case);
    assert_eq!(case.check().violations, expected);
}

fn conservation(asset: AssetId, expected: i64, found: i64) -> Violation {
    Violation::Conservation {
        asset,
        expected: Amount::new(expected as u64),
        found: Amount::new(found as u64),
    }
}

#[test]
fn a_right_execution_keeps_every_rule() {
    assert_eq!(Case::new().check(), Invariants::default());
}

#[test]
fn money_that_appears_or_vanishes_is_seen() {
    violates(|case| case.write(B_GOLD, balance(11)), &[conservation(GOLD, 0, 1)]);
    violates(
        |case| drop(case.execution.delta.remove(&native(MINER))),
        &[conservation(AssetId::NATIVE, 85, 3)],
    );
    violates(
        |case| case.write(native(MINER), balance(164)),
        &[conservation(AssetId::NATIVE, 85, 167)],
    );
}

#[test]
fn a_deleted_balance_counts_as_nothing() {
    violates(|case| case.write(A_GOLD, None), &[]);
    violates(|case| case.write(B_GOLD, None), &[conservation(GOLD, 0, -10)]);
}

#[test]
fn a_burn_of_an_asset_that_nobody_wrote_is_seen() {
    violates(
        |case| {
            case.execution.delta.remove(&A_GOLD);
            case.execution.delta.remove(&B_GOLD);
            case.expectations.transactions[0].burns = Some((GOLD, Amount::new(10)));
        },
        &[conservation(GOLD, -10, 0)],
    );
}

#[test]
fn a_burn_of_another_asset_is_no_part_of_the_burned_total() {
    violates(
        |case| {
            case.expectations.transactions[0].burns = Some((GOLD, Amount::new(10)));
            case.write(B_GOLD, balance(0));
        },
        &[],
    );
}

#[test]
fn an_overdrawn_balance_wraps_and_is_conserved() {
    violates(
        |case| {
            case.pre_state.set(A_GOLD, balance(3));
            case.write(A_GOLD, balance(3_u64.wrapping_sub(10)));
        },
        &[],
    );
}

#[test]
fn what_a_failed_transaction_touched_is_not_checked_and_said_to_be_so() {
    let mut case = Case::new();
    case.execution.outcomes[0].status = Status::Failed(FailReason::CreditOverflow);
    case.execution.outcomes[0].fee = Amount::ZERO;
    case.execution.totals.fees = Amount::new(1);
    // The debits stay, the credits and the fee are lost.
    case.execution.delta.remove(&B_GOLD);
    case.write(native(MINER), balance(81));
    let found = case.check();
    assert_eq!(found.violations, []);
    assert_eq!(found.leaky_assets, [AssetId::NATIVE, GOLD].into());
}

#[test]
fn a_failed_transaction_leaves_other_assets_checked() {
    let mut case = Case::new();
    case.execution.outcomes[1].status = Status::Failed(FailReason::Other("why not".into()));
    case.execution.totals.fees = Amount::new(1);
    case.execution.totals.burned = Amount::ZERO;
    case.write(B_GOLD, balance(11));
    let found = case.check();
    assert_eq!(found.leaky_assets, [AssetId::NATIVE].into());
    assert_eq!(found.violations, [conservation(GOLD, 0, 1)]);
}

#[test]
fn an_asset_that_the_block_may_leak_is_not_checked() {
    let mut case = Case::new();
    case.write(B_GOLD, balance(11));
    assert_eq!(case.check().violations, [conservation(GOLD, 0, 1)]);
    case.expectations.leaky_assets = [GOLD].into();
    let found = case.check();
    assert_eq!(found.violations, []);
    assert_eq!(found.leaky_assets, [GOLD].into());
}

#[test]
fn a_skipped_transaction_burns_and_pays_nothing() {
    let skip = |case: &mut Case| {
        let skipped = Status::Skipped(SkipReason::Nonce);
        case.execution.outcomes[1] = Outcome { status: skipped, ..outcome(2, Status::Executed, 0) };
        case.execution.totals.fees = Amount::new(1);
        case.execution.totals.burned = Amount::ZERO;
        case.execution.delta.remove(&StateKey::Nonce(C));
        case.execution.delta.remove(&native(C));
        case.write(native(MINER), balance(81));
    };
    violates(skip, &[]);
    violates(
        |case| {
            skip(case);
            case.write(native(C), balance(95));
        },
        &[conservation(AssetId::NATIVE, 90, 85)],
    );
}

#[test]
fn an_unknown_balance_leaves_its_asset_unchecked_and_is_said_to_be_so() {
    let mut case = Case::new();
    case.pre_state.forget(A_GOLD);
    case.write(B_GOLD, balance(11));
    let found = case.check();
    assert_eq!(found.violations, []);
    assert_eq!(found.unknown_keys, [A_GOLD].into());
}

#[test]
fn a_nonce_never_goes_back() {
    let went_back = |before, after| Violation::NonceWentBack {
        account: A,
        before: Some(Nonce::new(before)),
        after,
    };
    violates(|case| case.write(StateKey::Nonce(A), nonce(2)), &[went_back(3, Some(Nonce::new(2)))]);
    violates(|case| case.write(StateKey::Nonce(A), None), &[went_back(3, None)]);
    violates(
        |case| {
            case.pre_state.set(StateKey::Nonce(B), nonce(1));
        },
        &[Violation::NonceWentBack {
            account: B,
            before: Some(Nonce::new(1)),
            after: Some(Nonce::new(0)),
        }],
    );
}

#[test]
fn an_executed_transaction_raises_the_nonce_of_its_source() {
    let not_raised = Violation::NonceNotRaised { account: A, transaction: tx(1) };
    violates(|case| case.write(StateKey::Nonce(A), nonce(3)), std::slice::from_ref(&not_raised));
    violates(
        |case| drop(case.execution.delta.remove(&StateKey::Nonce(A))),
        std::slice::from_ref(&not_raised),
    );
    // By how much is for the rules of the chain to say.
    violates(|case| case.write(StateKey::Nonce(A), nonce(9)), &[]);
    // A first nonce is a rise, whatever it is.
    violates(|case| case.pre_state.set(StateKey::Nonce(A), None), &[]);
}

#[test]
fn an_unknown_nonce_is_unchecked_and_said_to_be_so() {
    let mut case = Case::new();
    case.pre_state.forget(StateKey::Nonce(A));
    case.write(StateKey::Nonce(A), nonce(0));
    let found = case.check();
    assert_eq!(found.violations, []);
    assert_eq!(found.unknown_keys, [StateKey::Nonce(A)].into());
}

#[test]
fn multisig_is_written_only_where_a_transaction_says_so() {
    let key = StateKey::Multisig(A);
    let set = |case: &mut Case, value| case.write(key, value);
    violates(|case| set(case, multisig(1, &[B])), &[Violation::MultisigNotAllowed(A)]);
    // A deletion is a write too, even of what is not there.
    violates(|case| set(case, None), &[Violation::MultisigNotAllowed(A)]);
    violates(
        |case| {
            case.expectations.transactions[0].changes_multisig = true;
            set(case, None);
        },
        &[],
    );
    // Of another account's transaction.
    violates(
        |case| {
            case.expectations.transactions[1].changes_multisig = true;
            set(case, None);
        },
        &[Violation::MultisigNotAllowed(A)],
    );
}

#[test]
fn a_skipped_transaction_allows_no_change_of_multisig() {
    let mut case = Case::new();
    case.expectations.transactions[0].changes_multisig = true;
    case.execution.outcomes[0].status = Status::Skipped(SkipReason::Nonce);
    case.execution.totals.fees = Amount::new(1);
    case.write(StateKey::Multisig(A), None);
    assert!(case.check().violations.contains(&Violation::MultisigNotAllowed(A)));
}

#[test]
fn every_transaction_has_exactly_one_outcome() {
    violates(
        |case| {
            case.execution.outcomes.push(outcome(9, Status::Skipped(SkipReason::Nonce), 0));
        },
        &[Violation::OutcomeUnexpected(tx(9))],
    );
    violates(
        |case| {
            case.execution.outcomes.push(outcome(1, Status::Skipped(SkipReason::Nonce), 0));
        },
        &[Violation::OutcomeUnexpected(tx(1))],
    );
    let mut case = Case::new();
    case.execution.outcomes.remove(0);
    assert_eq!(case.check().violations[0], Violation::OutcomeMissing(tx(1)));
}

#[test]
fn a_transaction_that_is_twice_in_the_block_takes_its_outcomes_in_order() {
    violates(
        |case| {
            let again = case.expectations.transactions[1].clone();
            case.expectations.transactions.push(again);
            case.execution.outcomes.push(outcome(
                2,
                Status::Skipped(SkipReason::AlreadyExecuted),
                0,
            ));
        },
        &[],
    );
}

#[test]
fn totals_are_what_the_block_adds_up_to() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Totals), field: Field, expected: u64, found: u64) {
        let (expected, found) = (Amount::new(expected), Amount::new(found));
        violates(
            |case| change(&mut case.execution.totals),
            &[Violation::Total { field, expected, found }],
        );
    }
    check(|totals| totals.fees = Amount::new(1), Field::Fees, 2, 1);
    check(|totals| totals.burned = Amount::ZERO, Field::Burned, 5, 0);
    check(|totals| totals.miner_reward = Amount::new(90), Field::MinerReward, 80, 90);
    check(|totals| totals.dev_reward = Amount::ZERO, Field::DevReward, 10, 0);
}

#[test]
fn a_state_that_cannot_be_read_is_an_error() {
    struct Revoked;
    impl StateRead for Revoked {
        fn read(&self, _: &StateKey) -> Result<Option<StateValue>, ReadError> {
            Err(ReadError::Revoked)
        }
    }
    let case = Case::new();
    assert_eq!(check(&case.execution, &Revoked, &case.expectations), Err(ReadError::Revoked));
}

#[test]
fn a_violation_is_a_sentence() {
    #[track_caller]
    fn check(violation: Violation, expected: &str) {
        assert_eq!(violation.to_string(), expected);
    }
    check(
        conservation(AssetId::NATIVE, 85, -3),
        &format!(
            "the balances of asset {} changed by -3 in sum, and had to change by 85",
            AssetId::NATIVE
        ),
    );
    check(
        Violation::NonceWentBack { account: A, before: Some(Nonce::new(3)), after: None },
        &format!("the nonce of {A} went back from 3 to none"),
    );
    check(
        Violation::Total { field: Field::Fees, expected: Amount::new(2), found: Amount::ZERO },
        "fees is 0, and the block adds up to 2",
    );
}
