//! The control again: now and then a block is executed serially a second time and compared with the first.
//!
//! A verifier that sees differences where there are none is as useless as one that sees nothing. The
//! serial execution has no freedom, so whatever differs between two of them is the verifier's own
//! noise, and then no verdict of it can be trusted, good or bad. Noise that is there at all is there in
//! many blocks, so one in thirty-two is enough, and it costs nearly nothing.

use comparator::{CompareError, Limits, Schedule, Verdict, compare_with_sound};
use serde::{Deserialize, Serialize};
use storage_snapshot::TopoHeight;

use crate::{
    execute::{BlockExecutor, SerialExecutor},
    ledger::{CandidateEntry, FirstMismatch},
    observe::observe,
    record::{Ran, add_mismatch, candidate_entry, record_of},
    trial::Question,
};

/// What came of executing the control again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AgainEntry {
    /// In what it differs from the first time; `None` if it did the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<FirstMismatch>,
}

/// Whether the control of this block is executed again.
pub(crate) const fn is_due(topoheight: TopoHeight) -> bool {
    topoheight.as_u64().is_multiple_of(EVERY)
}

const EVERY: u64 = 32;

/// Executes the control of a block again.
pub(crate) fn again(question: &Question<'_>) -> Result<AgainEntry, CompareError> {
    let Question { block, pre_state, control } = question;
    let schedule = Schedule { workers: 1, seed: 0 };
    let (observation, _) = observe(&SerialExecutor, block, pre_state, schedule);
    let limits = Limits::default();
    let verdict = compare_with_sound(control, &observation, &***pre_state, &***block, &limits)?;
    let Verdict::Mismatch(mismatch) = &verdict else {
        return Ok(AgainEntry { differs: None });
    };
    let (name, build) = (SerialExecutor.name(), SerialExecutor.build());
    let mut judged: CandidateEntry = candidate_entry(name, &build, &verdict, None);
    let ran = Ran { name, build, schedule, exercise: None, rerun: None, evidence: None };
    add_mismatch(&mut judged, &record_of(mismatch, &ran, block));
    if let Some(first) = &judged.first {
        tracing::error!(first = %first.sentence(), "the control differs from itself");
    }
    Ok(AgainEntry { differs: judged.first })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use comparator::Field;
    use storage_snapshot::{Address, Amount, BlockHash, BlockRef, StateKey, TopoHeight};

    use super::*;
    use crate::{
        execute::{ExecutableBlock, PreState},
        rules::Reward,
    };

    /// What is found in a block without transactions whose control was altered like this.
    #[track_caller]
    fn check(alter: fn(&mut comparator::Execution), expected: Option<Field>) {
        let block = Arc::new(ExecutableBlock {
            block: BlockRef { topoheight: TopoHeight::new(7), hash: BlockHash::new([7; 32]) },
            side_block: false,
            miner: Address::new([1; 32]),
            dev: Address::new([2; 32]),
            reward: Reward { miner: Amount::new(90), dev: Amount::new(10) },
            transactions: Vec::new(),
        });
        let pre_state = Arc::new(PreState::default());
        let mut control = SerialExecutor.control(&block, &pre_state).unwrap().execution;
        alter(&mut control);
        let question = Question { block: &block, pre_state: &pre_state, control: &control };
        let found = again(&question).unwrap().differs.map(|first| first.field);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_control_is_the_same_again() {
        check(|_| {}, None);
    }

    #[test]
    fn a_control_that_came_to_something_else_is_noticed() {
        check(|control| control.totals.fees = Amount::new(1), Some(Field::Fees));
        let registered = |control: &mut comparator::Execution| {
            control.delta.remove(&StateKey::Registered(Address::new([1; 32])));
        };
        check(registered, Some(Field::Registration));
    }
}
