//! Minimising: the smallest block, on the smallest state, that still shows the same difference.
//!
//! A block of sixty transactions in which something differs says that there is a fault; one of a
//! single transaction with round numbers says which. So everything that a block and its state are made
//! of is taken away or made rounder, piece by piece, and kept so if control and candidate, executed
//! and compared anew, still differ in the same way: transactions first, then outputs, participants,
//! entries of the state, and numbers.
//!
//! What is *the same* is [`Wanted`]. Each step requires a control that keeps the rules and that shows no
//! oddity of the chain that the whole block did not show, so that a fault does not turn into another
//! one on the way. Where a fault shows in some runs only, a step is tried as often as it takes to be
//! nearly sure that it would have shown.
//!
//! A transaction keeps its hash when its content changes, and so does the block: for executors both
//! are names and nothing else. They are no longer the hashes of what they name.

mod ddmin;
mod directory;
mod draft;
mod numbers;
mod oracle;
mod regression;
mod steps;
mod wanted;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use comparator::{Execution, Failure, Mismatch, Schedule};
pub(crate) use directory::is_minimal;
pub use directory::{DirectoryError, Written, minimize_directory, minimize_evidence};
use draft::Draft;
use oracle::Oracle;
pub use regression::test_of;
pub use wanted::Wanted;

use crate::execute::{BlockExecutor, ExecutableBlock, PreState};

/// What is minimised.
#[derive(Clone, Debug)]
pub struct Case {
    /// The block.
    pub block: Arc<ExecutableBlock>,
    /// The state before it.
    pub pre_state: Arc<PreState>,
    /// The schedule under which the candidate differed.
    pub schedule: Schedule,
}

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// After so much time the best so far is the answer.
    pub budget: Duration,
    /// What other schedules are drawn from, for a fault that does not show in every run.
    pub seed: u64,
    /// Set by whoever does not want to wait any longer.
    pub stop: &'a AtomicBool,
}

impl Options<'_> {
    /// The time that is given when nobody says otherwise.
    pub const BUDGET: Duration = Duration::from_secs(30);
}

/// The smallest case that was found.
#[derive(Clone, Debug)]
pub struct Minimized {
    /// The case. Hashes are those of the block that it was made of.
    pub case: Case,
    /// What the control makes of it.
    pub control: Execution,
    /// What the candidate makes of it in a run that shows the difference.
    pub observed: Result<Execution, Failure>,
    /// The differences.
    pub mismatch: Mismatch,
    /// In how many of the last runs it showed.
    pub shown: Rate,
    /// Whether no single part can be taken away; otherwise the time was up, somebody stopped it, or it
    /// was still getting smaller after as many rounds as are made.
    pub is_complete: bool,
    /// How often the candidate was run.
    pub runs: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How often something shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In so many runs.
    pub shown: u32,
    /// Of so many.
    pub runs: u32,
}

impl Rate {
    /// From 0 to 1; 0 of no runs at all.
    pub fn as_f64(self) -> f64 {
        if self.runs == 0 { 0.0 } else { f64::from(self.shown) / f64::from(self.runs) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} runs", self.shown, self.runs)
    }
}

/// Minimises a case in which a candidate differs as is wanted.
///
/// The result follows from the case and the seed, unless the time is up or the candidate itself
/// follows from something else. A candidate that may not come back has to be given within a budget of
/// its own, see [`WithinBudget`](crate::execute::WithinBudget).
///
/// # Errors
///
/// When the wanted difference does not show in the case itself.
pub fn minimize(
    case: &Case,
    candidate: &dyn BlockExecutor,
    wanted: &Wanted,
    options: Options<'_>,
) -> Result<Minimized, MinimizeError> {
    let started = Instant::now();
    let whole = Draft::of(case);
    let mut oracle = Oracle::new(candidate, wanted, options, started);
    oracle.get_to_know(&whole)?;

    let (best, is_complete) = steps::shrink(whole.clone(), &mut oracle);
    // What was kept has shown the difference once; what is handed out has to show it again.
    let smallest = oracle.confirm(&best);
    let is_complete = is_complete && smallest.is_some();
    let confirmed = smallest.or_else(|| oracle.confirm_earlier());
    let Some((best, shown)) = confirmed.or_else(|| oracle.confirm(&whole)) else {
        return Err(MinimizeError::NotShown { runs: oracle.runs() });
    };
    Ok(Minimized {
        case: best.draft.case(),
        control: best.control,
        observed: best.observed,
        mismatch: best.mismatch,
        shown,
        is_complete,
        runs: oracle.runs(),
        elapsed: started.elapsed(),
    })
}

/// How often a candidate shows the wanted difference in a case, under its own schedule.
///
/// # Errors
///
/// When the control of the case cannot be trusted.
pub fn rate(
    case: &Case,
    candidate: &dyn BlockExecutor,
    wanted: &Wanted,
    runs: u32,
) -> Result<Rate, MinimizeError> {
    oracle::rate(case, candidate, wanted, runs)
}

/// Why there is nothing to minimise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MinimizeError {
    /// The control of the case itself cannot be trusted.
    Control(String),
    /// The candidate did not show the difference.
    NotShown {
        /// In so many runs.
        runs: u64,
    },
}

impl fmt::Display for MinimizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(reason) => {
                write!(f, "the control of the block itself cannot be trusted: {reason}")
            }
            Self::NotShown { runs } => write!(
                f,
                "the candidate did not show the difference in {runs} runs: run it under the schedule \
                 and with the build under which it did"
            ),
        }
    }
}

impl std::error::Error for MinimizeError {}
