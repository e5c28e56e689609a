//! Which verdict an observation gets.

use std::{error::Error, time::Duration};

use comparator::{
    CompareError, Difference, Execution, FailReason, Failure, Field, Inconclusive, Invariants,
    Limits, Mismatch, NotExercised, Observation, OpaqueKind, Outcome, Provenance, Schedule,
    Severity, Side, SkipReason, Status, Verdict, check, compare, decode_execution,
    pre_state_from_json, schedule_difference,
};
use storage_snapshot::{Amount, AssetId, MemoryState, ReadError, StateKey, StateRead, StateValue};

use crate::{
    support::*,
    world::{Expectations, TransactionExpectation},
};

/// A and B send one free transaction each that moves nothing.
fn right() -> Execution {
    execution(
        &[outcome(1, Status::Executed, 0), outcome(2, Status::Executed, 0)],
        &[(StateKey::Nonce(A), nonce(1)), (StateKey::Nonce(B), nonce(1))],
    )
}

fn before() -> MemoryState {
    state(&[(StateKey::Nonce(A), nonce(0)), (StateKey::Nonce(B), nonce(0))])
}

fn expectations(execution: &Execution) -> Expectations {
    let transactions = execution
        .outcomes
        .iter()
        .zip([A, B])
        .map(|(outcome, source)| TransactionExpectation {
            hash: outcome.hash,
            source,
            assets: [AssetId::NATIVE].into(),
            burns: None,
            changes_multisig: false,
        })
        .collect();
    Expectations { transactions, ..Expectations::default() }
}

#[track_caller]
fn judge(control: &Execution, candidate: &Observation) -> Verdict {
    compare(control, candidate, &before(), &expectations(control), &Limits::default()).unwrap()
}

/// The verdict on a candidate that agrees, and worked in this way.
#[track_caller]
fn judge_exercise(change: impl FnOnce(&mut Observation)) -> Verdict {
    let mut candidate = observation(right());
    change(&mut candidate);
    judge(&right(), &candidate)
}

fn exercise(candidate: &mut Observation) -> &mut comparator::Exercise {
    &mut candidate.result.as_mut().unwrap().exercise
}

#[test]
fn an_agreement_that_was_worked_for_is_a_match() {
    assert_eq!(judge_exercise(|_| {}), Verdict::Match);
}

#[test]
fn the_answer_of_the_protocols_example_keeps_every_rule_and_matches_itself() {
    let file = include_str!("../fixtures/candidate-protocol.example.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let answer = decode_execution(&file["response"]["result"].to_string()).unwrap();
    let request = &file["request"]["params"];
    let entries = serde_json::from_value(request["pre_state"].clone()).unwrap();
    let pre_state = pre_state_from_json(entries).unwrap();

    let block = &request["block"];
    let amount = |value: &serde_json::Value| Amount::new(value.as_u64().unwrap());
    let transactions = block["transactions"].as_array().unwrap();
    let expectations = Expectations {
        miner_reward: amount(&block["miner_reward"]),
        dev_reward: amount(&block["dev_reward"]),
        transactions: transactions
            .iter()
            .map(|transaction| TransactionExpectation {
                hash: transaction["hash"].as_str().unwrap().parse().unwrap(),
                source: transaction["source"].as_str().unwrap().parse().unwrap(),
                assets: [AssetId::NATIVE].into(),
                burns: transaction["data"]
                    .get("burn")
                    .map(|burn| (AssetId::NATIVE, amount(&burn["amount"]))),
                changes_multisig: transaction["data"].get("multi_sig").is_some(),
            })
            .collect(),
        ..Expectations::default()
    };
    assert_eq!(check(&answer, &pre_state, &expectations), Ok(Invariants::default()));
    let verdict = compare(
        &answer,
        &observation(answer.clone()),
        &pre_state,
        &expectations,
        &Limits::default(),
    );
    assert_eq!(verdict.unwrap(), Verdict::Match);
}

#[test]
fn two_workers_and_two_lanes_are_enough() {
    let verdict = judge_exercise(|candidate| {
        candidate.schedule.workers = 2;
        *exercise(candidate) =
            comparator::Exercise { workers: 2, batches: 1, max_in_flight: 2, ..wide() };
    });
    assert_eq!(verdict, Verdict::Match);
}

#[test]
fn an_agreement_that_proves_nothing_is_no_match() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut Observation), expected: NotExercised) {
        assert_eq!(judge_exercise(change), Verdict::NotExercised(expected));
    }
    check(|c| exercise(c).provenance = Provenance::Delegated, NotExercised::Delegated);
    check(|c| exercise(c).fallback = Some("small".into()), NotExercised::Fallback("small".into()));
    check(|c| exercise(c).fallback = Some(String::new()), NotExercised::Fallback(String::new()));
    check(|c| (exercise(c).workers, exercise(c).max_in_flight) = (1, 1), NotExercised::OneWorker);
    check(|c| (exercise(c).workers, exercise(c).max_in_flight) = (0, 0), NotExercised::OneWorker);
    check(|c| exercise(c).max_in_flight = 1, NotExercised::NoWideBatch);
    check(|c| exercise(c).max_in_flight = 0, NotExercised::NoWideBatch);
    check(|c| exercise(c).batches = 0, NotExercised::NoWideBatch);
    check(|c| exercise(c).max_in_flight = 5, NotExercised::ImpossibleClaim);
    check(|c| exercise(c).workers = 1, NotExercised::ImpossibleClaim);
    // There are two transactions.
    check(|c| exercise(c).max_in_flight = 3, NotExercised::ImpossibleClaim);
}

#[test]
fn a_candidate_that_was_given_one_worker_is_not_believed_to_have_used_four() {
    let verdict = judge_exercise(|candidate| candidate.schedule.workers = 1);
    assert_eq!(verdict, Verdict::NotExercised(NotExercised::OneWorker));
}

#[test]
fn a_block_with_less_than_two_executed_transactions_exercises_nothing() {
    let skipped = |number| outcome(number, Status::Skipped(SkipReason::Nonce), 0);
    let mut none = execution(&[skipped(1), skipped(2)], &[]);
    assert_eq!(
        judge(&none, &observation(none.clone())),
        Verdict::NotExercised(NotExercised::Empty)
    );
    none.outcomes.clear();
    assert_eq!(
        judge(&none, &observation(none.clone())),
        Verdict::NotExercised(NotExercised::Empty)
    );
    let one = execution(
        &[outcome(1, Status::Executed, 0), skipped(2)],
        &[(StateKey::Nonce(A), nonce(1))],
    );
    assert_eq!(
        judge(&one, &observation(one.clone())),
        Verdict::NotExercised(NotExercised::OneTransaction)
    );
    let mut failed = right();
    failed.outcomes[1].status = Status::Failed(FailReason::CreditOverflow);
    assert_eq!(
        judge(&failed, &observation(failed.clone())),
        Verdict::NotExercised(NotExercised::OneTransaction)
    );
}

#[test]
fn a_difference_is_a_mismatch_however_the_candidate_worked() {
    let verdict = judge_exercise(|candidate| {
        exercise(candidate).provenance = Provenance::Delegated;
        exercise(candidate).workers = 1;
        candidate.result.as_mut().unwrap().delta.remove(&StateKey::Nonce(B));
    });
    let Verdict::Mismatch(mismatch) = verdict else { panic!("{verdict:?}") };
    assert_eq!(mismatch.first().unwrap().key, Some(StateKey::Nonce(B)));
    assert_eq!(mismatch.counts, [(Field::Nonce, 1)].into());
}

#[test]
fn every_failure_is_a_mismatch_and_never_a_skipped_block() {
    for (failure, field) in [
        (Failure::Error("e".into()), Field::Error),
        (Failure::Crashed("c".into()), Field::Crashed),
        (Failure::Hang { budget: Duration::from_millis(200) }, Field::Hang),
        (Failure::Protocol("p".into()), Field::Protocol),
    ] {
        // Even for a block that would exercise nothing.
        let control = execution(&[], &[]);
        let candidate = Observation { result: Err(failure), ..observation(right()) };
        let verdict = judge(&control, &candidate);
        let Verdict::Mismatch(mismatch) = verdict else { panic!("{verdict:?}") };
        assert_eq!(mismatch.counts, [(field, 1)].into());
        assert_eq!(mismatch.differences.len(), 1);
    }
}

#[test]
fn nothing_is_claimed_by_a_control_that_breaks_a_rule() {
    let mut control = right();
    control.delta.set_balance(C, AssetId::NATIVE, Amount::new(5));
    let expected = "the balances of asset 0000000000000000000000000000000000000000000000000000000000000000 \
                    changed by 5 in sum, and had to change by 0";
    // Neither where the candidate agrees nor where it does not.
    for candidate in [control.clone(), right()] {
        assert_eq!(
            judge(&control, &observation(candidate)),
            Verdict::Inconclusive(Inconclusive::ControlInvariant(expected.into()))
        );
    }
}

#[test]
fn further_broken_rules_are_counted() {
    let mut control = right();
    control.delta = delta(&[]);
    let verdict = judge(&control, &observation(control.clone()));
    let Verdict::Inconclusive(Inconclusive::ControlInvariant(text)) = verdict else {
        panic!("{verdict:?}")
    };
    assert!(text.ends_with("(and 1 more)"), "{text}");
}

#[test]
fn a_state_that_cannot_be_read_gives_no_verdict() {
    struct Broken;
    impl StateRead for Broken {
        fn read(&self, _: &StateKey) -> Result<Option<StateValue>, ReadError> {
            Err(ReadError::Storage("disk on fire".into()))
        }
    }
    let control = right();
    let error = compare(
        &control,
        &observation(right()),
        &Broken,
        &expectations(&control),
        &Limits::default(),
    )
    .unwrap_err();
    assert!(matches!(error, CompareError::Read(ReadError::Storage(_))), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("disk on fire"));
}

#[test]
fn long_texts_of_a_candidate_are_cut() {
    let limits = Limits { text_bytes: 10, ..Limits::default() };
    let long = "x".repeat(1_000);

    let reason = Status::Skipped(SkipReason::Other(long.clone()));
    let differs: Outcome = outcome(1, reason, 0);
    let difference = Difference {
        field: Field::Outcome,
        key: None,
        transaction: Some(tx(1)),
        control: Side::Text(long.clone()),
        observed: Side::Outcome(differs),
    };
    let mismatch = Mismatch::collect([difference], &limits).unwrap();
    let expected = "xxxxxxxxxx… (990 more bytes)";
    let first = mismatch.first().unwrap();
    assert_eq!(first.control, Side::Text(expected.into()));
    let Side::Outcome(Outcome { status: Status::Skipped(reason), .. }) = &first.observed else {
        panic!("{first:?}")
    };
    assert_eq!(reason.text(), expected);

    let mut candidate = observation(right());
    exercise(&mut candidate).fallback = Some(long);
    let control = right();
    let verdict =
        compare(&control, &candidate, &before(), &expectations(&control), &limits).unwrap();
    assert_eq!(verdict, Verdict::NotExercised(NotExercised::Fallback(expected.into())));
}

#[test]
fn no_differences_are_no_mismatch() {
    assert_eq!(Mismatch::collect([], &Limits::default()), None);
}

#[test]
fn one_difference_is_kept_whatever_the_limit() {
    let difference = Difference::of_key(native(A), Side::Number(1), Side::Number(2));
    let limits = Limits { differences: 0, ..Limits::default() };
    let mismatch = Mismatch::collect(vec![difference.clone(); 3], &limits).unwrap();
    assert_eq!(mismatch.first(), Some(&difference));
    assert_eq!((mismatch.omitted, mismatch.total()), (2, 3));
}

fn one_of_each() -> Vec<Verdict> {
    vec![
        Verdict::Match,
        Verdict::Opaque(OpaqueKind::new("energy")),
        Verdict::NotExercised(NotExercised::Empty),
        Verdict::Inconclusive(Inconclusive::UnknownState(native(A))),
        Verdict::Mismatch(Mismatch::default()),
    ]
}

#[test]
fn the_worst_verdict_wins_and_of_equals_the_first() {
    let verdicts = one_of_each();
    for (i, better) in verdicts.iter().enumerate() {
        for worse in &verdicts[i..] {
            assert_eq!(better.clone().worst(worse.clone()), *worse);
            assert_eq!(worse.clone().worst(better.clone()), *worse);
        }
    }
    let first = Verdict::NotExercised(NotExercised::Empty);
    let second = Verdict::NotExercised(NotExercised::OneWorker);
    assert_eq!(first.clone().worst(second), first);
    assert!(Severity::Match < Severity::Mismatch);
}

#[test]
fn the_words_for_verdicts_are_frozen() {
    let words: Vec<_> = one_of_each().iter().map(Verdict::word).collect();
    assert_eq!(words, ["match", "opaque", "not_exercised", "inconclusive", "mismatch"]);

    let reasons = [
        NotExercised::Empty,
        NotExercised::OneTransaction,
        NotExercised::OneWorker,
        NotExercised::NoWideBatch,
        NotExercised::Fallback("anything".into()),
        NotExercised::Delegated,
        NotExercised::ImpossibleClaim,
        NotExercised::BelowMinimum,
        NotExercised::Suspended,
        NotExercised::NotAsked,
    ];
    let words: Vec<_> = reasons.iter().map(NotExercised::word).collect();
    assert_eq!(
        words.join(" "),
        "empty one_transaction one_worker no_wide_batch fallback delegated impossible_claim \
         below_minimum suspended not_asked"
    );

    let reasons = [
        Inconclusive::UnknownState(native(A)),
        Inconclusive::ControlFailed(String::new()),
        Inconclusive::ControlInvariant(String::new()),
    ];
    let words: Vec<_> = reasons.iter().map(Inconclusive::word).collect();
    assert_eq!(words, ["unknown_state", "control_failed", "control_invariant"]);
    assert_eq!(OpaqueKind::new("invoke_contract").to_string(), "invoke_contract");
}

#[track_caller]
fn between_runs(first: Observation, other: Observation) -> Option<(String, String)> {
    let difference = schedule_difference(&first, &other, &before()).unwrap()?;
    assert_eq!(difference.field, Field::Schedule);
    match (difference.control, difference.observed) {
        (Side::Text(control), Side::Text(observed)) => Some((control, observed)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_runs_may_work_differently_and_must_do_the_same() {
    let mut other = observation(right());
    other.schedule = Schedule { workers: 1, seed: 8 };
    other.elapsed = Duration::from_secs(9);
    exercise(&mut other).workers = 1;
    other.result.as_mut().unwrap().outcomes.reverse();
    assert_eq!(between_runs(observation(right()), other.clone()), None);

    other.result.as_mut().unwrap().delta.set_nonce(B, storage_snapshot::Nonce::new(2));
    assert_eq!(
        between_runs(observation(right()), other),
        Some((
            format!("with 4 workers, seed 7: the nonce of {B} is 1"),
            format!("with 1 worker, seed 8: the nonce of {B} is 2 (difference 1 of 1)"),
        ))
    );
}

#[test]
fn two_runs_that_fail_alike_do_the_same() {
    let failed = |message: &str| Observation {
        result: Err(Failure::Crashed(message.into())),
        ..observation(right())
    };
    assert_eq!(between_runs(failed("a"), failed("a")), None);
    // What they say may be a counter of theirs, or of ours.
    assert_eq!(between_runs(failed("a"), failed("b")), None);
    let error = Observation { result: Err(Failure::Error("a".into())), ..failed("a") };
    assert!(between_runs(failed("a"), error).is_some());
    assert_eq!(
        between_runs(observation(right()), failed("a")),
        Some((
            "with 4 workers, seed 7: came to its end".into(),
            "with 4 workers, seed 7: crashed: a".into(),
        ))
    );
}
