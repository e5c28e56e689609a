//! Executors that are right and prove nothing: whoever counts them as a match claims too much.

use std::sync::Arc;

use comparator::{Exercise, Failure, Provenance, Schedule};

use crate::execute::{BlockExecutor, ExecutableBlock, Performed, PreState, SerialExecutor};

/// An executor that hands out the serial result and says how it got there.
#[derive(Debug)]
pub struct Idle {
    /// The stable name.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub does: &'static str,
    /// The reason for which it must come out as not exercised.
    pub reason: &'static str,
    /// How many workers it is asked to use.
    pub workers: u32,
    says: fn(&mut Exercise),
}

/// All of them.
pub const NOT_EXERCISED: &[Idle] = &[
    Idle {
        name: "serial-in-disguise",
        does: "executes the block on one worker, whatever it is asked for",
        reason: "one_worker",
        workers: 4,
        says: |_| {},
    },
    Idle {
        name: "boasts",
        does: "is given one worker, and claims to have used eight",
        reason: "one_worker",
        workers: 1,
        says: |exercise| (exercise.workers, exercise.max_in_flight) = (8, 2),
    },
    Idle {
        name: "falls-back",
        does: "falls back to the serial path whenever anything is in its way",
        reason: "fallback",
        workers: 4,
        says: |exercise| {
            (exercise.workers, exercise.max_in_flight) = (4, 4);
            exercise.fallback = Some("the block holds a transfer, as planted".to_owned());
        },
    },
    Idle {
        name: "delegates",
        does: "hands on the result of somebody else",
        reason: "delegated",
        workers: 4,
        says: |exercise| {
            (exercise.workers, exercise.max_in_flight) = (4, 4);
            exercise.provenance = Provenance::Delegated;
        },
    },
    Idle {
        name: "one-at-a-time",
        does: "has four workers and lets one of them work at a time",
        reason: "no_wide_batch",
        workers: 4,
        says: |exercise| exercise.workers = 4,
    },
    Idle {
        name: "no-batches",
        does: "claims four workers and no batch for them",
        reason: "no_wide_batch",
        workers: 4,
        says: |exercise| {
            (exercise.workers, exercise.max_in_flight, exercise.batches) = (4, 2, 0);
        },
    },
];

impl BlockExecutor for Idle {
    fn name(&self) -> &str {
        self.name
    }

    fn build(&self) -> String {
        concat!("shadow idle ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let mut performed = SerialExecutor.execute(block, pre_state, schedule)?;
        (self.says)(&mut performed.execution.exercise);
        Ok(performed)
    }
}
