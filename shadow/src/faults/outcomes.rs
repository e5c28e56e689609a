//! Faults in what is said to have become of transactions.

use comparator::{FailReason, Failure, Field, Outcome, SkipReason, Status};
use storage_snapshot::{Amount, TxHash};

use super::{
    Mutant, Place, Wrong,
    site::{Done, Site},
};

const OUTCOME: &[Field] = &[Field::Outcome];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "outcomes-shifted-by-panic",
        Some("T14"),
        "the first executed transaction panics, and every later outcome is taken for that of the one \
         before",
        OUTCOME,
        outcomes_shifted_by_panic,
    ),
    Mutant::alters(
        "outcomes-shifted-by-skip",
        None,
        "a skipped transaction leaves no outcome, so those after it move up by one",
        OUTCOME,
        outcomes_shifted_by_skip,
    ),
    Mutant::alters(
        "outcomes-by-position",
        None,
        "outcomes come in the order of the hashes and are paired with the transactions by position",
        OUTCOME,
        outcomes_by_position,
    ),
    Mutant::alters(
        "outcome-missing",
        None,
        "the last transaction of a block has no outcome",
        OUTCOME,
        outcome_missing,
    ),
    Mutant::alters(
        "outcome-twice",
        None,
        "the last transaction of a block has its outcome twice",
        &[Field::Protocol],
        outcome_twice,
    ),
    Mutant::alters(
        "outcome-of-nobody",
        None,
        "there is an outcome for a transaction that is not in the block",
        OUTCOME,
        outcome_of_nobody,
    ),
    Mutant::alters(
        "outcome-fee-off-by-one",
        None,
        "off by one: the outcome of the second executed transaction shows a unit more than its fee",
        OUTCOME,
        outcome_fee_off_by_one,
    ),
    Mutant::alters(
        "wrong-skip-reason",
        None,
        "a transaction with a refused nonce is said to have been executed before",
        OUTCOME,
        wrong_skip_reason,
    ),
    Mutant::alters(
        "wrong-fail-reason",
        None,
        "an overflowing credit is said to be a lack of funds",
        OUTCOME,
        wrong_fail_reason,
    ),
    Mutant::alters(
        "skipped-counts-as-executed",
        None,
        "a transaction with a refused nonce is said to have been executed",
        OUTCOME,
        skipped_counts_as_executed,
    ),
];

fn outcomes_shifted_by_panic(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let first = site.executed().next().map(|done| done.index);
    shift(wrong, first);
    Ok(())
}

fn outcomes_shifted_by_skip(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut all = site.all();
    let skipped = all.find(|done| matches!(done.outcome.status, Status::Skipped(_)));
    shift(wrong, skipped.map(|done| done.index));
    Ok(())
}

/// The outcome at an index is lost; the hashes stay where they are.
fn shift(wrong: &mut Wrong, from: Option<usize>) {
    let Some(from) = from else { return };
    let outcomes = &mut wrong.execution.outcomes;
    let hashes: Vec<TxHash> = outcomes.iter().map(|outcome| outcome.hash).collect();
    outcomes.remove(from);
    for (outcome, hash) in outcomes.iter_mut().zip(&hashes) {
        outcome.hash = *hash;
    }
    for (index, hash) in hashes.into_iter().enumerate().skip(from) {
        wrong.blame(Place::Outcome(hash), index);
    }
}

fn outcomes_by_position(_: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let outcomes = &mut wrong.execution.outcomes;
    let hashes: Vec<TxHash> = outcomes.iter().map(|outcome| outcome.hash).collect();
    outcomes.sort_by_key(|outcome| outcome.hash);
    for (outcome, hash) in outcomes.iter_mut().zip(&hashes) {
        outcome.hash = *hash;
    }
    for (index, hash) in hashes.into_iter().enumerate() {
        wrong.blame(Place::Outcome(hash), index);
    }
    Ok(())
}

fn outcome_missing(_: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if let Some(lost) = wrong.execution.outcomes.pop() {
        wrong.blame(Place::Outcome(lost.hash), wrong.execution.outcomes.len());
    }
    Ok(())
}

fn outcome_twice(_: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let outcomes = &mut wrong.execution.outcomes;
    if let Some(last) = outcomes.last().cloned() {
        let place = Place::Outcome(last.hash);
        outcomes.push(last);
        wrong.blame(place, wrong.execution.outcomes.len() - 2);
    }
    Ok(())
}

fn outcome_of_nobody(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if site.executed().next().is_some() {
        let hash = TxHash::new([0x5f; 32]);
        let fee = Amount::ZERO;
        wrong.execution.outcomes.push(Outcome { hash, status: Status::Executed, fee });
    }
    Ok(())
}

fn outcome_fee_off_by_one(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if let Some(Done { index, .. }) = site.executed().nth(1) {
        wrong.change_outcome(index, |outcome| {
            outcome.fee = outcome.fee.wrapping_add(Amount::new(1));
        });
    }
    Ok(())
}

fn wrong_skip_reason(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, .. } in refused(site) {
        wrong.change_outcome(index, |outcome| {
            outcome.status = Status::Skipped(SkipReason::AlreadyExecuted);
        });
    }
    Ok(())
}

fn wrong_fail_reason(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, .. } in site.failed() {
        wrong.change_outcome(index, |outcome| {
            let reason = "insufficient_funds".to_owned();
            outcome.status = Status::Failed(FailReason::Other(reason));
        });
    }
    Ok(())
}

fn skipped_counts_as_executed(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, .. } in refused(site) {
        wrong.change_outcome(index, |outcome| outcome.status = Status::Executed);
    }
    Ok(())
}

fn refused<'a>(site: &'a Site<'_>) -> impl Iterator<Item = Done<'a>> {
    site.all().filter(|done| done.outcome.status == Status::Skipped(SkipReason::Nonce))
}
