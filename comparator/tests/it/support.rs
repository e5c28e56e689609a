//! Short names for the things that the cases are made of.

use std::time::Duration;

use comparator::{
    Difference, Execution, Exercise, Observation, Outcome, Provenance, Schedule, Status, Totals,
    for_each_difference,
};
use storage_snapshot::{
    Address, Amount, AssetId, MemoryState, MultisigConfig, Nonce, StateDelta, StateKey, StateValue,
    TxHash,
};

pub(crate) const A: Address = Address::new([0xaa; 32]);
pub(crate) const B: Address = Address::new([0xbb; 32]);
pub(crate) const C: Address = Address::new([0xcc; 32]);
pub(crate) const MINER: Address = Address::new([0x11; 32]);
pub(crate) const DEV: Address = Address::new([0x22; 32]);
pub(crate) const GOLD: AssetId = AssetId::new([0x60; 32]);

pub(crate) const fn tx(number: u8) -> TxHash {
    TxHash::new([number; 32])
}

pub(crate) const fn native(account: Address) -> StateKey {
    StateKey::Balance(account, AssetId::NATIVE)
}

pub(crate) const fn balance(amount: u64) -> Option<StateValue> {
    Some(StateValue::Balance(Amount::new(amount)))
}

pub(crate) const fn nonce(number: u64) -> Option<StateValue> {
    Some(StateValue::Nonce(Nonce::new(number)))
}

pub(crate) fn multisig(threshold: u8, participants: &[Address]) -> Option<StateValue> {
    Some(StateValue::from(config(threshold, participants)))
}

pub(crate) fn config(threshold: u8, participants: &[Address]) -> MultisigConfig {
    MultisigConfig { threshold, participants: participants.to_vec() }
}

pub(crate) fn outcome(number: u8, status: Status, fee: u64) -> Outcome {
    Outcome { hash: tx(number), status, fee: Amount::new(fee) }
}

pub(crate) fn executed(number: u8) -> Outcome {
    outcome(number, Status::Executed, 1)
}

pub(crate) fn delta(writes: &[(StateKey, Option<StateValue>)]) -> StateDelta {
    writes.iter().cloned().collect()
}

pub(crate) fn state(values: &[(StateKey, Option<StateValue>)]) -> MemoryState {
    let mut state = MemoryState::new();
    state.apply(&delta(values));
    state
}

/// How a candidate works that is really on trial.
pub(crate) fn wide() -> Exercise {
    Exercise {
        workers: 4,
        batches: 2,
        max_in_flight: 2,
        fallback: None,
        provenance: Provenance::Independent,
    }
}

pub(crate) fn execution(
    outcomes: &[Outcome],
    writes: &[(StateKey, Option<StateValue>)],
) -> Execution {
    Execution {
        outcomes: outcomes.to_vec(),
        delta: delta(writes),
        totals: Totals::default(),
        exercise: wide(),
    }
}

pub(crate) const SCHEDULE: Schedule = Schedule { workers: 4, seed: 7 };

pub(crate) fn observation(execution: Execution) -> Observation {
    Observation { result: Ok(execution), elapsed: Duration::from_millis(3), schedule: SCHEDULE }
}

#[track_caller]
pub(crate) fn differences(
    control: &Execution,
    candidate: &Execution,
    pre_state: &MemoryState,
) -> Vec<Difference> {
    let mut found = Vec::new();
    for_each_difference(control, candidate, pre_state, &mut |difference| found.push(difference))
        .expect("state in memory is always read");
    found
}
