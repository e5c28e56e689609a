//! Observing an execution: whatever an executor does, the result is a value.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use comparator::{Failure, Observation, Schedule};

use crate::execute::{BlockExecutor, ExecutableBlock, Loads, PreState, panic_message};

/// Runs an executor on a block and notes what happened. An error or a panic of the executor is part
/// of the observation and never ends the caller.
pub fn observe(
    executor: &dyn BlockExecutor,
    block: &Arc<ExecutableBlock>,
    pre_state: &Arc<PreState>,
    schedule: Schedule,
) -> (Observation, Loads) {
    let started = Instant::now();
    let performed = catch_unwind(AssertUnwindSafe(|| executor.execute(block, pre_state, schedule)))
        .unwrap_or_else(|panic| Err(Failure::Crashed(panic_message(&*panic))));
    let elapsed = started.elapsed();
    match performed {
        Ok(performed) => {
            let elapsed = performed.elapsed.unwrap_or(elapsed);
            let observation = Observation { result: Ok(performed.execution), elapsed, schedule };
            (observation, performed.loads)
        }
        Err(failure) => (Observation { result: Err(failure), elapsed, schedule }, Loads::default()),
    }
}
