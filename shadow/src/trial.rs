//! A trial: one candidate, one block, every schedule, and one verdict.

use std::{sync::Arc, time::Duration};

use comparator::{
    CompareError, Execution, Failure, Limits, Mismatch, Observation, Schedule, Verdict,
    compare_with_sound, schedule_difference,
};

use crate::{
    execute::{BlockExecutor, ExecutableBlock, Loads, PreState},
    observe::observe,
    schedules::Schedules,
    stopwatch::{ProcessorClock, timed},
};

/// An executor under test, and how it is to run.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What is under test.
    pub executor: Arc<dyn BlockExecutor>,
    /// How often it runs each block, and under what.
    pub schedules: Schedules,
}

/// What a candidate is tried on.
pub(crate) struct Question<'a> {
    pub(crate) block: &'a Arc<ExecutableBlock>,
    pub(crate) pre_state: &'a Arc<PreState>,
    pub(crate) control: &'a Execution,
}

/// What came of it.
pub(crate) struct Trial {
    pub(crate) verdict: Verdict,
    /// The run that the verdict is taken from: the first that differs from the control; otherwise the
    /// first that proves something; otherwise the first of all.
    pub(crate) decisive: Observation,
    /// Whether every run gave a result, right or wrong.
    pub(crate) gave_results: bool,
    /// Whether runs of the candidate differ from each other.
    pub(crate) schedule_dependent: bool,
    /// How often it ran.
    pub(crate) runs: u32,
    /// Of all runs.
    pub(crate) loads: Loads,
    /// Of all runs.
    pub(crate) execution: Duration,
    /// Of all runs.
    pub(crate) comparison: Duration,
}

impl Trial {
    /// Runs a candidate under every schedule of the block. After a run that hung, crashed or made no sense
    /// there is none: the others would most likely cost as much, and the block has its verdict. The
    /// first run that differs is `witness`ed before anything else is run.
    pub(crate) fn of(
        candidate: &Candidate,
        question: &Question<'_>,
        clock: &ProcessorClock,
        witness: &mut dyn FnMut(&Observation, &Mismatch),
    ) -> Result<Self, CompareError> {
        let Question { block, pre_state, control } = question;
        let (mut runs, mut loads): (Vec<(_, Verdict)>, _) = (Vec::new(), Loads::default());
        let (mut execution, mut comparison) = (Duration::ZERO, Duration::ZERO);
        let mut gave_results = true;
        for schedule in candidate.schedules.of_block(block.block.topoheight) {
            let (observation, loaded) = observe(&*candidate.executor, block, pre_state, schedule);
            loads.add(loaded);
            execution += observation.elapsed;
            let compare = || {
                let limits = Limits::default();
                compare_with_sound(control, &observation, &**pre_state, &***block, &limits)
            };
            let (verdict, time) = timed(|| clock.run(block.block.topoheight, compare));
            let verdict = verdict?;
            comparison += time;
            if let Verdict::Mismatch(mismatch) = &verdict
                && !runs.iter().any(|(_, verdict)| matches!(verdict, Verdict::Mismatch(_)))
            {
                witness(&observation, mismatch);
            }
            gave_results &= observation.result.is_ok();
            let goes_on = may_run_again(&observation);
            runs.push((observation, verdict));
            if !goes_on {
                break;
            }
        }

        let count = runs.len() as u32;
        let (decisive, mut verdict) = runs.swap_remove(decisive(&runs));
        let mut schedule_dependent = false;
        if let Verdict::Mismatch(mismatch) = &mut verdict {
            // One that agrees with the control differs from this one; of two that do not it has to be
            // looked at.
            for (other, _) in &runs {
                if let Some(difference) = schedule_difference(&decisive, other, &**pre_state)? {
                    mismatch.push(difference, &Limits::default());
                    schedule_dependent = true;
                    break;
                }
            }
        }
        Ok(Self {
            verdict,
            decisive,
            gave_results,
            schedule_dependent,
            runs: count,
            loads,
            execution,
            comparison,
        })
    }

    /// Whether parts of the block may be run again to find out where it goes wrong. What hangs, crashes
    /// or makes no sense would do so again and again.
    pub(crate) const fn can_be_repeated(&self) -> bool {
        may_run_again(&self.decisive)
    }

    /// What the decisive run was asked to run under.
    pub(crate) const fn schedule(&self) -> Schedule {
        self.decisive.schedule
    }
}

/// An error is an answer, and may be another one under another schedule.
const fn may_run_again(observation: &Observation) -> bool {
    matches!(observation.result, Ok(_) | Err(Failure::Error(_)))
}

fn decisive(runs: &[(Observation, Verdict)]) -> usize {
    let first = |wanted: fn(&Verdict) -> bool| runs.iter().position(|(_, verdict)| wanted(verdict));
    first(|verdict| matches!(verdict, Verdict::Mismatch(_)))
        .or_else(|| first(|verdict| matches!(verdict, Verdict::Match)))
        .unwrap_or(0)
}
