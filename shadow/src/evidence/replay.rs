//! A block that is run again, from nothing but what an evidence directory holds.

use std::{fmt, sync::Arc};

use comparator::{
    CompareError, Execution, ExplainLimits, Limits, MismatchRecord, NotExercised, Observation,
    Provenance, Schedule, Verdict, check, compare_with_sound, explain,
};
use storage_snapshot::ReadError;

use super::{Evidence, Observed, Who};
use crate::{
    execute::{BlockExecutor, ControlError, ExecutableBlock, PreState, SerialExecutor},
    fingerprint::{Fingerprint, FingerprintId},
    observe::observe,
    schedules::Schedules,
};

/// A block with a control that was executed now, ready for candidates.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The block.
    pub block: Arc<ExecutableBlock>,
    /// The state before it.
    pub pre_state: Arc<PreState>,
    /// What the control of this build makes of it.
    pub control: Execution,
}

/// What one run of a candidate came to.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it did, and under which schedule.
    pub observation: Observation,
    /// What that is by the control.
    pub verdict: Verdict,
    /// The problem that it is a case of, if it differs.
    pub fingerprint: Option<Fingerprint>,
}

impl Run {
    /// Whether it differs from the control.
    pub const fn differs(&self) -> bool {
        matches!(self.verdict, Verdict::Mismatch(_))
    }

    /// The problem that it is a case of, as if the candidate of the evidence had done it.
    pub fn problem_of(&self, evidence: &Evidence) -> Option<FingerprintId> {
        let found = self.fingerprint.clone()?.told_by(&evidence.fingerprint);
        Some(Fingerprint { candidate: evidence.candidate().to_owned(), ..found }.id())
    }
}

impl Replay {
    /// Executes the control.
    ///
    /// # Errors
    ///
    /// When there is no control that candidates could be compared with.
    pub fn new(block: Arc<ExecutableBlock>, pre_state: Arc<PreState>) -> Result<Self, ReplayError> {
        let control = SerialExecutor.control(&block, &pre_state).map_err(ReplayError::Control)?;
        let control = control.execution;
        let rules = check(&control, &*pre_state, &*block).map_err(ReplayError::Read)?;
        match rules.broken() {
            Some(reason) => Err(ReplayError::Unsound(reason.to_string())),
            None => Ok(Self { block, pre_state, control }),
        }
    }

    /// Runs a candidate once.
    ///
    /// # Errors
    ///
    /// When the comparison cannot be made. Whatever the candidate does is a [`Run`].
    pub fn run(
        &self,
        candidate: &dyn BlockExecutor,
        schedule: Schedule,
    ) -> Result<Run, CompareError> {
        let (observation, _) = observe(candidate, &self.block, &self.pre_state, schedule);
        let verdict = compare_with_sound(
            &self.control,
            &observation,
            &*self.pre_state,
            &*self.block,
            &Limits::default(),
        )?;
        let fingerprint = match &verdict {
            Verdict::Mismatch(mismatch) => {
                mismatch.first().map(|first| Fingerprint::of(candidate.name(), first, &self.block))
            }
            _ => None,
        };
        Ok(Run { observation, verdict, fingerprint })
    }

    /// The evidence of a run; `None` if it does not differ.
    pub fn evidence(&self, run: Run, candidate: &dyn BlockExecutor) -> Option<Evidence> {
        let Verdict::Mismatch(mismatch) = &run.verdict else { return None };
        let Observation { result, schedule, .. } = run.observation;
        let world = (&self.block, &self.pre_state);
        let observed = Observed::from(result);
        Evidence::new(world, &self.control, observed, Who::of(candidate), schedule, mismatch)
    }
}

impl Run {
    /// Whether the candidate left the work to somebody else, or to a single worker, although it was at work when
    /// the evidence was made. That it agrees then says nothing about what it did there.
    pub(crate) fn is_idle(&self, evidence: &Evidence) -> bool {
        let was_at_work = match &evidence.observed {
            Observed::Execution(execution) => {
                execution.exercise.fallback.is_none()
                    && execution.exercise.provenance == Provenance::Independent
            }
            Observed::Failure(_) | Observed::Answers(_) => true,
        };
        match &self.verdict {
            Verdict::NotExercised(NotExercised::OneWorker) => evidence.schedule().workers >= 2,
            Verdict::NotExercised(
                NotExercised::Fallback(_) | NotExercised::Delegated | NotExercised::ImpossibleClaim,
            ) => was_at_work,
            _ => false,
        }
    }
}

impl Evidence {
    /// The block of this evidence, to be run again.
    ///
    /// # Errors
    ///
    /// When the control of this build has no result for it.
    pub fn replay(&self) -> Result<Replay, ReplayError> {
        Replay::new(Arc::clone(&self.block), Arc::clone(&self.pre_state))
    }

    /// Runs an executor on the block, under the schedule of the evidence first and then under others:
    /// it holds if it agrees with the control every time. This is all that a regression test has to ask.
    ///
    /// # Errors
    ///
    /// When it differs in any run; the message shows how. When it was at work in none, although it was when the
    /// evidence was made.
    pub fn holds(&self, executor: &dyn BlockExecutor) -> Result<(), DoesNotHold> {
        let replay = self.replay().map_err(DoesNotHold::Replay)?;
        let own = self.schedule();
        let place = self.block.block.topoheight;
        let others = Schedules::disturbed(RUNS, own.workers.max(2)).of_block(place);
        let mut is_idle = true;
        for schedule in std::iter::once(own).chain(others) {
            let run = replay.run(executor, schedule).map_err(DoesNotHold::Compare)?;
            is_idle &= run.is_idle(self);
            if let Some(evidence) = replay.evidence(run, executor) {
                return Err(DoesNotHold::Differs(Box::new(evidence.record)));
            }
        }
        if is_idle { Err(DoesNotHold::Idle) } else { Ok(()) }
    }
}

/// Why a block cannot be run again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// The control has no result.
    Control(ControlError),
    /// The control breaks a rule of the block.
    Unsound(String),
    /// The state before the block cannot be read.
    Read(ReadError),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(error) => write!(f, "the control of this build has no result: {error}"),
            Self::Unsound(reason) => f.write_str(reason),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Control(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Unsound(_) => None,
        }
    }
}

/// Why an executor does not hold on evidence.
#[derive(Debug)]
#[non_exhaustive]
pub enum DoesNotHold {
    /// It differs from the control.
    Differs(Box<MismatchRecord>),
    /// It was at work in no run, so that it agrees proves nothing.
    Idle,
    /// The block cannot be run again.
    Replay(ReplayError),
    /// A comparison cannot be made.
    Compare(CompareError),
}

/// What differs, as a text for people.
impl fmt::Display for DoesNotHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(record) => f.write_str(&explain(record, &ExplainLimits::default())),
            Self::Idle => f.write_str(
                "it left the block to somebody else or to a single worker in every run: that it agrees proves \
                 nothing",
            ),
            Self::Replay(error) => error.fmt(f),
            Self::Compare(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DoesNotHold {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Differs(_) | Self::Idle => None,
            Self::Replay(error) => Some(error),
            Self::Compare(error) => Some(error),
        }
    }
}

/// Under how many other schedules an executor has to hold.
const RUNS: u32 = 7;
