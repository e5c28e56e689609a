//! What counts as a difference, and of which field.

use comparator::{
    Difference, FailReason, Failure, Field, Outcome, Side, SkipReason, Status, for_each_difference,
};
use proptest::prelude::*;
use std::time::Duration;
use storage_snapshot::{Amount, ReadError, StateKey, StateRead, StateValue};

use crate::support::*;

type Write = Option<Option<StateValue>>;

/// Compares one key: what was there before, what each side wrote (`None` for no write).
#[track_caller]
fn check(
    key: StateKey,
    before: Option<StateValue>,
    control: Write,
    candidate: Write,
    expected: Option<(Field, Side, Side)>,
) {
    let pre_state = state(&[(key, before)]);
    let side = |write: Write| {
        execution(&[], &write.map(|value| (key, value)).into_iter().collect::<Vec<_>>())
    };
    let found = differences(&side(control), &side(candidate), &pre_state);
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(field, control, observed)| Difference {
            field,
            key: Some(key),
            transaction: None,
            control,
            observed,
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn equal_writes_are_no_difference() {
    check(native(A), balance(1), Some(balance(2)), Some(balance(2)), None);
    check(native(A), balance(1), Some(balance(1)), Some(balance(1)), None);
    check(StateKey::Multisig(A), None, Some(None), Some(None), None);
    check(native(A), balance(1), None, None, None);
}

#[test]
fn different_writes_are_of_the_field_of_their_key() {
    let number =
        |field, control, observed| Some((field, Side::Number(control), Side::Number(observed)));
    check(native(A), None, Some(balance(2)), Some(balance(3)), number(Field::Balance, 2, 3));
    check(StateKey::Nonce(A), None, Some(nonce(2)), Some(nonce(3)), number(Field::Nonce, 2, 3));
    check(
        StateKey::Multisig(A),
        None,
        Some(multisig(1, &[B, C])),
        Some(multisig(1, &[C, B])),
        Some((
            Field::Multisig,
            Side::Multisig(config(1, &[B, C])),
            Side::Multisig(config(1, &[C, B])),
        )),
    );
    check(
        StateKey::Registered(A),
        None,
        Some(Some(StateValue::Registered)),
        Some(None),
        Some((Field::Registration, Side::Registered, Side::None)),
    );
}

#[test]
fn different_writes_differ_even_if_one_is_the_value_before() {
    check(
        native(A),
        balance(2),
        Some(balance(2)),
        Some(balance(3)),
        Some((Field::Balance, Side::Number(2), Side::Number(3))),
    );
}

#[test]
fn a_lone_write_of_another_value_is_of_the_field_of_its_key() {
    check(
        native(A),
        balance(5),
        Some(balance(6)),
        None,
        Some((Field::Balance, Side::Number(6), Side::Absent)),
    );
    check(
        native(A),
        balance(5),
        None,
        Some(balance(6)),
        Some((Field::Balance, Side::Absent, Side::Number(6))),
    );
}

#[test]
fn a_lone_write_of_the_value_before_is_of_the_field_version() {
    check(
        native(A),
        balance(5),
        Some(balance(5)),
        None,
        Some((Field::Version, Side::Number(5), Side::Absent)),
    );
    check(
        StateKey::Multisig(A),
        multisig(1, &[B]),
        None,
        Some(multisig(1, &[B])),
        Some((Field::Version, Side::Absent, Side::Multisig(config(1, &[B])))),
    );
}

#[test]
fn absent_none_and_zero_are_three_values() {
    // None against absent.
    check(
        StateKey::Multisig(A),
        None,
        None,
        Some(None),
        Some((Field::Version, Side::Absent, Side::None)),
    );
    check(
        StateKey::Multisig(A),
        multisig(1, &[B]),
        Some(None),
        None,
        Some((Field::Multisig, Side::None, Side::Absent)),
    );
    // Zero against absent.
    check(
        native(A),
        None,
        Some(balance(0)),
        None,
        Some((Field::Balance, Side::Number(0), Side::Absent)),
    );
    check(
        StateKey::Nonce(A),
        nonce(0),
        Some(nonce(0)),
        None,
        Some((Field::Version, Side::Number(0), Side::Absent)),
    );
    // Zero against none.
    check(
        native(A),
        None,
        Some(balance(0)),
        Some(None),
        Some((Field::Balance, Side::Number(0), Side::None)),
    );
}

#[test]
fn a_value_that_was_not_known_before_counts_as_changed() {
    let mut pre_state = state(&[]);
    pre_state.forget(native(A));
    let control = execution(&[], &[(native(A), balance(5))]);
    let found = differences(&control, &execution(&[], &[]), &pre_state);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].field, Field::Balance);
}

#[test]
fn a_state_that_cannot_be_read_is_an_error_and_no_difference() {
    struct Revoked;
    impl StateRead for Revoked {
        fn read(&self, _: &StateKey) -> Result<Option<StateValue>, ReadError> {
            Err(ReadError::Revoked)
        }
    }
    let control = execution(&[], &[(native(A), balance(5))]);
    let result = for_each_difference(&control, &execution(&[], &[]), &Revoked, &mut |_| {});
    assert_eq!(result, Err(ReadError::Revoked));
}

#[track_caller]
fn check_outcomes(
    control: &[Outcome],
    candidate: &[Outcome],
    expected: &[(Field, u8, Side, Side)],
) {
    let found = differences(&execution(control, &[]), &execution(candidate, &[]), &state(&[]));
    let expected: Vec<_> = expected
        .iter()
        .map(|(field, number, control, observed)| Difference {
            field: *field,
            key: None,
            transaction: Some(tx(*number)),
            control: control.clone(),
            observed: observed.clone(),
        })
        .collect();
    assert_eq!(found, expected);
}

fn shown(outcome: &Outcome) -> Side {
    Side::Outcome(outcome.clone())
}

fn skipped(number: u8) -> Outcome {
    outcome(number, Status::Skipped(SkipReason::Nonce), 0)
}

#[test]
fn outcomes_are_matched_by_transaction_and_not_by_position() {
    check_outcomes(&[executed(1), skipped(2)], &[skipped(2), executed(1)], &[]);
}

#[test]
fn status_reason_and_fee_are_all_compared() {
    let failed = outcome(1, Status::Failed(FailReason::CreditOverflow), 0);
    let other = |reason: &str| outcome(1, Status::Failed(FailReason::Other(reason.into())), 0);
    for (control, observed) in [
        (executed(1), skipped(1)),
        (skipped(1), outcome(1, Status::Skipped(SkipReason::AlreadyExecuted), 0)),
        (failed.clone(), other("overflow")),
        (other("one"), other("another")),
        (executed(1), outcome(1, Status::Executed, 2)),
        (skipped(1), outcome(1, Status::Skipped(SkipReason::Nonce), 1)),
        (skipped(1), failed),
    ] {
        check_outcomes(
            std::slice::from_ref(&control),
            std::slice::from_ref(&observed),
            &[(Field::Outcome, 1, shown(&control), shown(&observed))],
        );
    }
}

#[test]
fn a_missing_outcome_does_not_shift_the_others() {
    check_outcomes(
        &[executed(1), skipped(2), executed(3)],
        &[executed(3), executed(1)],
        &[(Field::Outcome, 2, shown(&skipped(2)), Side::Absent)],
    );
}

#[test]
fn an_outcome_of_no_transaction_of_the_block_is_a_difference() {
    check_outcomes(
        &[executed(1)],
        &[executed(9), executed(1)],
        &[(Field::Outcome, 9, Side::Absent, shown(&executed(9)))],
    );
}

#[test]
fn a_second_outcome_is_nonsense_even_if_it_says_the_same() {
    let text =
        Side::Text(format!("one more outcome for transaction {} than it has in the block", tx(1)));
    let extra = (Field::Protocol, 1, Side::Absent, text);
    check_outcomes(&[executed(1)], &[executed(1), executed(1)], std::slice::from_ref(&extra));
    check_outcomes(&[executed(1)], &[skipped(1), executed(1)], std::slice::from_ref(&extra));
    check_outcomes(
        &[],
        &[executed(1), skipped(1)],
        &[(Field::Outcome, 1, Side::Absent, shown(&executed(1))), extra],
    );
}

#[test]
fn a_transaction_that_is_twice_in_the_block_has_two_outcomes() {
    let twice = [executed(1), skipped(1)];
    check_outcomes(&twice, &[skipped(1), executed(1)], &[]);
    check_outcomes(
        &twice,
        &[executed(1)],
        &[(Field::Outcome, 1, shown(&skipped(1)), Side::Absent)],
    );
    check_outcomes(
        &twice,
        &[skipped(1), skipped(1)],
        &[(Field::Outcome, 1, shown(&executed(1)), shown(&skipped(1)))],
    );
}

#[test]
fn outcomes_come_first_in_block_order_then_keys_then_totals() {
    let mut control = execution(
        &[executed(2), executed(1)],
        &[(native(B), balance(1)), (StateKey::Nonce(C), nonce(1)), (StateKey::Nonce(A), nonce(1))],
    );
    control.totals.burned = Amount::new(1);
    control.totals.fees = Amount::new(1);
    let found = differences(&control, &execution(&[], &[]), &state(&[]));
    let places: Vec<_> =
        found.iter().map(|found| (found.field, found.key, found.transaction)).collect();
    assert_eq!(
        places,
        [
            (Field::Outcome, None, Some(tx(2))),
            (Field::Outcome, None, Some(tx(1))),
            (Field::Nonce, Some(StateKey::Nonce(A)), None),
            (Field::Nonce, Some(StateKey::Nonce(C)), None),
            (Field::Balance, Some(native(B)), None),
            (Field::Fees, None, None),
            (Field::Burned, None, None),
        ]
    );
}

#[test]
fn every_total_is_its_own_field() {
    for (field, change) in [
        (Field::Fees, (|totals| &mut totals.fees) as fn(&mut comparator::Totals) -> &mut Amount),
        (Field::Burned, |totals| &mut totals.burned),
        (Field::MinerReward, |totals| &mut totals.miner_reward),
        (Field::DevReward, |totals| &mut totals.dev_reward),
    ] {
        let mut candidate = execution(&[], &[]);
        *change(&mut candidate.totals) = Amount::new(9);
        let found = differences(&execution(&[], &[]), &candidate, &state(&[]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].field, found[0].amount()), (field, Some(9)));
    }
}

#[test]
fn the_way_of_working_is_not_compared() {
    let mut candidate = execution(&[executed(1)], &[]);
    candidate.exercise.workers = 99;
    candidate.exercise.fallback = Some("tired".into());
    assert_eq!(differences(&execution(&[executed(1)], &[]), &candidate, &state(&[])), []);
}

#[test]
fn an_amount_spans_the_whole_range_in_both_directions() {
    #[track_caller]
    fn check(control: Side, observed: Side, expected: Option<i128>) {
        assert_eq!(Difference::of_key(native(A), control, observed).amount(), expected);
    }
    const MAX: i128 = u64::MAX as i128;
    check(Side::Number(0), Side::Number(u64::MAX), Some(MAX));
    check(Side::Number(u64::MAX), Side::Number(0), Some(-MAX));
    check(Side::Number(0), Side::None, None);
    check(Side::Absent, Side::Number(0), None);
}

#[test]
fn every_failure_is_one_difference_of_its_own_field() {
    #[track_caller]
    fn check(failure: Failure, field: Field, text: &str) {
        let difference = Difference::from(&failure);
        assert_eq!(difference.field, field);
        assert_eq!(difference.observed, Side::Text(text.into()));
        assert_eq!(difference.control, Side::Absent);
    }
    check(Failure::Error("no".into()), Field::Error, "answered with an error: no");
    check(Failure::Crashed("bang".into()), Field::Crashed, "crashed: bang");
    check(
        Failure::Hang { budget: Duration::from_secs(5) },
        Field::Hang,
        "gave no answer within 5s",
    );
    check(Failure::Protocol("?".into()), Field::Protocol, "gave an answer that is none: ?");
}

#[test]
fn the_words_for_fields_are_frozen() {
    let words: Vec<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
    assert_eq!(
        words.join(" "),
        "outcome nonce balance multisig registration version fees burned emitted miner_reward dev_reward \
         schedule protocol error crashed hang"
    );
    for field in Field::ALL {
        assert_eq!(field.as_str().parse(), Ok(*field));
    }
    let error = "Balance".parse::<Field>().unwrap_err().to_string();
    assert!(error.contains("outcome, nonce, balance"), "{error}");
}

fn any_write() -> impl Strategy<Value = (StateKey, Option<StateValue>)> {
    let account = prop::sample::select(vec![A, B]);
    (account, 0..4_u8, prop::option::of(0..3_u64)).prop_map(|(account, kind, value)| match kind {
        0 => (StateKey::Nonce(account), value.and_then(nonce)),
        1 => (native(account), value.and_then(balance)),
        2 => (StateKey::Multisig(account), value.and_then(|value| multisig(value as u8, &[C]))),
        _ => (StateKey::Registered(account), value.map(|_| StateValue::Registered)),
    })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    (0..3_u8, 0..4_u8, 0..2_u64).prop_map(|(number, status, fee)| {
        let status = match status {
            0 => Status::Executed,
            1 => Status::Skipped(SkipReason::Nonce),
            2 => Status::Skipped(SkipReason::Other("full moon".into())),
            _ => Status::Failed(FailReason::CreditOverflow),
        };
        outcome(number, status, fee)
    })
}

fn any_execution() -> impl Strategy<Value = comparator::Execution> {
    let outcomes = prop::collection::vec(any_outcome(), 0..4);
    let writes = prop::collection::vec(any_write(), 0..5);
    (outcomes, writes, 0..2_u64).prop_map(|(outcomes, writes, fees)| {
        let mut execution = execution(&outcomes, &writes);
        execution.totals.fees = Amount::new(fees);
        execution
    })
}

fn sorted(outcomes: &[Outcome]) -> Vec<String> {
    let mut sorted: Vec<_> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    sorted.sort();
    sorted
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn there_is_a_difference_exactly_where_a_naive_model_sees_one(
        control in any_execution(),
        candidate in any_execution(),
        before in prop::collection::vec(any_write(), 0..5),
    ) {
        let pre_state = state(&before);
        let found = differences(&control, &candidate, &pre_state);

        let about_outcomes = found.iter().filter(|found| found.transaction.is_some()).count();
        prop_assert_eq!(about_outcomes == 0, sorted(&control.outcomes) == sorted(&candidate.outcomes));

        let mut keys: Vec<_> = control.delta.keys().chain(candidate.delta.keys()).copied().collect();
        keys.sort();
        keys.dedup();
        keys.retain(|key| control.delta.get(key) != candidate.delta.get(key));
        let found_keys: Vec<_> = found.iter().filter_map(|found| found.key).collect();
        prop_assert_eq!(found_keys, keys);

        let about_fees = found.iter().any(|found| found.field == Field::Fees);
        prop_assert_eq!(about_fees, control.totals != candidate.totals);

        // A version is exactly a write that changed nothing where the other side has none.
        for found in found.iter().filter(|found| found.key.is_some()) {
            let key = found.key.unwrap();
            let after = |delta: &storage_snapshot::StateDelta| match delta.get(&key) {
                Some(value) => value.cloned(),
                None => pre_state.read(&key).unwrap(),
            };
            let values_agree = after(&control.delta) == after(&candidate.delta);
            prop_assert_eq!(found.field == Field::Version, values_agree);
        }
    }

    #[test]
    fn differences_of_state_are_the_same_from_both_sides(
        control in any_execution(),
        candidate in any_execution(),
    ) {
        let of_keys = |found: Vec<Difference>| -> Vec<_> {
            found.into_iter().filter(|found| found.key.is_some()).collect()
        };
        let there = of_keys(differences(&control, &candidate, &state(&[])));
        let back = of_keys(differences(&candidate, &control, &state(&[])));
        prop_assert_eq!(there.len(), back.len());
        for (there, back) in there.iter().zip(&back) {
            prop_assert_eq!((there.field, there.key), (back.field, back.key));
            prop_assert_eq!((&there.control, &there.observed), (&back.observed, &back.control));
            prop_assert_eq!(there.amount(), back.amount().map(|amount| -amount));
        }
    }
}
