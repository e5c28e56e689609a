//! Faults in what becomes of transactions that fail.

use std::collections::BTreeMap;

use comparator::{FailReason, Failure, Field, Status};
use storage_snapshot::{Amount, StateKey, StateValue};

use super::{
    Mutant, Wrong,
    site::{Done, Move, Site, Way},
};

const OUTCOME: &[Field] = &[Field::Outcome];
const BALANCE: &[Field] = &[Field::Balance];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "failed-rolled-back",
        Some("T15"),
        "a failed transaction loses the effects that the chain keeps: nonce, debits, earlier credits",
        &[Field::Nonce, Field::Balance],
        failed_rolled_back,
    ),
    Mutant::alters(
        "failed-debits-returned",
        Some("T15"),
        "what a failed transaction spent is given back",
        BALANCE,
        failed_debits_returned,
    ),
    Mutant::alters(
        "failed-credit-published",
        Some("T15"),
        "a credit that overflows is published at 2^64-1, although its transaction fails",
        BALANCE,
        failed_credit_published,
    ),
    Mutant::alters(
        "failed-goes-on",
        Some("T15"),
        "the outputs after the one that overflowed are credited all the same",
        BALANCE,
        failed_goes_on,
    ),
    Mutant::alters(
        "overflow-clamped",
        None,
        "a credit that overflows stops at 2^64-1, and its transaction is executed",
        OUTCOME,
        overflow_clamped,
    ),
    Mutant::alters(
        "failed-fee-charged",
        None,
        "the fee of a failed transaction is collected",
        OUTCOME,
        failed_fee_charged,
    ),
    Mutant::alters(
        "panic-becomes-failure",
        None,
        "a panic in the third executed transaction is passed off as a failure of it",
        OUTCOME,
        panic_becomes_failure,
    ),
];

fn failed_rolled_back(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut rolled_back = BTreeMap::new();
    for Done { index, body, outcome } in site.failed() {
        rolled_back.insert(index, Some(outcome.clone()));
        wrong.blame_all(site, index, body);
    }
    if !rolled_back.is_empty() {
        wrong.execution = site.execute_without(&rolled_back)?;
    }
    Ok(())
}

fn failed_debits_returned(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for debit in moves_of_failed(site, Way::Debit) {
        wrong.change(site, debit.key(), debit.index, |balance| debit.undone(balance));
    }
    Ok(())
}

fn failed_credit_published(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for overflow in moves_of_failed(site, Way::Overflow) {
        wrong.change(site, overflow.key(), overflow.index, |_| FULL);
    }
    Ok(())
}

fn failed_goes_on(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for unreached in moves_of_failed(site, Way::Unreached) {
        wrong.change(site, unreached.key(), unreached.index, |balance| {
            balance.wrapping_add(unreached.amount)
        });
    }
    Ok(())
}

fn overflow_clamped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for overflow in moves_of_failed(site, Way::Overflow) {
        let key = StateKey::Balance(overflow.account, overflow.asset);
        wrong.write(key, Some(StateValue::Balance(FULL)), overflow.index);
    }
    for Done { index, body, .. } in site.failed() {
        wrong.change_outcome(index, |outcome| {
            outcome.status = Status::Executed;
            outcome.fee = body.fee;
        });
        let totals = &mut wrong.execution.totals;
        totals.fees = totals.fees.wrapping_add(body.fee);
    }
    Ok(())
}

fn failed_fee_charged(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.failed() {
        wrong.change_outcome(index, |outcome| outcome.fee = body.fee);
    }
    Ok(())
}

fn panic_becomes_failure(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if let Some(Done { index, .. }) = site.executed().nth(2) {
        wrong.change_outcome(index, |outcome| {
            let reason = "panicked: attempt to add with overflow".to_owned();
            outcome.status = Status::Failed(FailReason::Other(reason));
            outcome.fee = Amount::ZERO;
        });
    }
    Ok(())
}

fn moves_of_failed(site: &Site<'_>, way: Way) -> Vec<Move> {
    let mut moves = site.moves();
    moves.retain(|moved| !moved.executed && moved.way == way);
    moves
}

/// As much as a balance can hold.
const FULL: Amount = Amount::new(u64::MAX);
