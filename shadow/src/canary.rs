//! Canaries: results that were altered on purpose, to see whether it is noticed.
//!
//! A verifier that has gone blind looks exactly like one with nothing to see. So now and then the
//! result of a candidate is altered after its verdict, and judged again under a name of its own. It
//! has to come out of the ledger as the mismatch that it is, or the run proves nothing. Which blocks
//! have one follows from their topoheights alone, so that a run that is resumed plants the same; one
//! without a good result has none.

use std::num::NonZeroU64;

use comparator::{Execution, Field, Severity, Status};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, Amount, StateKey, StateValue, TopoHeight};

use crate::ledger::CandidateEntry;

/// The name under which an altered result is judged.
pub const CANARY: &str = "canary";

/// When there is a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryRate(Option<NonZeroU64>);

impl CanaryRate {
    /// One in so many blocks; none for 0.
    pub const fn every(blocks: u64) -> Self {
        Self(NonZeroU64::new(blocks))
    }

    /// How many canaries come before the one of this block; `None` if it has none.
    pub(crate) fn number(self, topoheight: TopoHeight) -> Option<u64> {
        let every = self.0?.get();
        let topoheight = topoheight.as_u64();
        topoheight.is_multiple_of(every).then(|| topoheight / every)
    }
}

/// What became of a canary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CanaryEntry {
    /// What was altered.
    pub planted: Field,
    /// The verdict on the altered result.
    pub verdict: CandidateEntry,
}

impl CanaryEntry {
    /// Whether it was noticed, and as what it is.
    pub fn was_caught(&self) -> bool {
        self.verdict.verdict == Severity::Mismatch
            && self.verdict.fields.len() == 1
            && self.verdict.fields.get(&self.planted) == Some(&1)
    }
}

/// Alters one thing in a result and tells what. The canaries take turns in what it is.
pub(crate) fn alter(execution: &mut Execution, number: u64) -> Field {
    let alterations = [alter_balance, alter_nonce, alter_outcome, alter_fees, add_registration];
    let count = alterations.len() as u64;
    (0..count)
        .map(|turn| alterations[((number + turn) % count) as usize])
        .find_map(|alter| alter(execution))
        // Fees can always be altered.
        .unwrap_or(Field::Fees)
}

fn alter_balance(execution: &mut Execution) -> Option<Field> {
    let (key, amount) = execution.delta.iter().find_map(|(key, value)| match value {
        Some(StateValue::Balance(amount)) => Some((*key, *amount)),
        _ => None,
    })?;
    let value = StateValue::Balance(amount.wrapping_add(Amount::new(1)));
    execution.delta.insert(key, Some(value));
    Some(Field::Balance)
}

fn alter_nonce(execution: &mut Execution) -> Option<Field> {
    let (key, next) = execution.delta.iter().find_map(|(key, value)| match value {
        Some(StateValue::Nonce(nonce)) => Some((*key, nonce.next()?)),
        _ => None,
    })?;
    execution.delta.insert(key, Some(StateValue::Nonce(next)));
    Some(Field::Nonce)
}

fn alter_outcome(execution: &mut Execution) -> Option<Field> {
    let mut outcomes = execution.outcomes.iter_mut();
    let outcome = outcomes.find(|outcome| outcome.status == Status::Executed)?;
    outcome.fee = outcome.fee.wrapping_add(Amount::new(1));
    Some(Field::Outcome)
}

fn alter_fees(execution: &mut Execution) -> Option<Field> {
    let fees = &mut execution.totals.fees;
    *fees = fees.wrapping_add(Amount::new(1));
    Some(Field::Fees)
}

/// An account that no block names comes into being.
fn add_registration(execution: &mut Execution) -> Option<Field> {
    let stranger = Address::new(*b"a canary that nobody else knows!");
    execution.delta.insert(StateKey::Registered(stranger), Some(StateValue::Registered));
    Some(Field::Registration)
}
