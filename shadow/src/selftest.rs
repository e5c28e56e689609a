//! The self-test: is what is wrong found, and only that?
//!
//! Every mutant of the catalogue is sent through a generated chain until it is caught, and what is
//! reported first is held against what the mutant knows that it altered. Before that the verifier is
//! held against itself: two runs of what is right must not differ anywhere. Controls that break the rules
//! have to be inconclusive. And executors that prove nothing must not come out as a match.
//!
//! On request each fault that is caught is also minimised and diagnosed: the block that is left has to
//! be as small as the fault allows, and what is said of it has to be what was planted.

mod broken;
mod chain;
mod diagnose;
mod report;

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::Arc,
    time::{Duration, Instant},
};

use broken::break_controls;
use chain::{Case, cases};
use comparator::{
    CompareError, Difference, Inconclusive, Limits, LocatedTransaction, Mismatch, Observation,
    Schedule, Verdict, compare_with_sound, schedule_difference,
};
pub use diagnose::Diagnosed;
use diagnose::diagnose;
pub use report::{BrokenRow, ControlRow, IdleRow, MutantRow, Report, Traced};
use storage_snapshot::ReadError;

use crate::{
    execute::{SerialExecutor, WithinBudget, parallel::ParallelExecutor},
    exit_code::ExitCode,
    faults::{Idle, Mutant, MutantExecutor, NOT_EXERCISED, catalogue},
    locate::{Rerun, locate},
    observe::observe,
    source::{Profile, SourceError},
};

/// What is tested, and on which chain.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the chain is generated from.
    pub seed: u64,
    /// How many blocks a fault may take to show.
    pub blocks: u64,
    /// How many transactions a usual block has.
    pub transactions_per_block: usize,
    /// The names of the mutants and idle executors to test; none means all.
    pub only: Vec<String>,
    /// Whether each fault is also minimised and diagnosed.
    pub diagnose: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, blocks: 400, transactions_per_block: 60, only: Vec::new(), diagnose: false }
    }
}

/// Tests the verifier.
///
/// # Errors
///
/// When there is nobody of a given name, or the test itself cannot go on.
pub fn run(options: &Options) -> Result<Report, SelftestError> {
    let started = Instant::now();
    let names = || {
        let idle = NOT_EXERCISED.iter().map(|idle| idle.name);
        catalogue().map(|mutant| mutant.name).chain(idle)
    };
    if let Some(unknown) = options.only.iter().find(|only| names().all(|name| name != **only)) {
        return Err(SelftestError::UnknownName(unknown.clone()));
    }
    let is_chosen =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);

    let cases = cases(options)?;
    let widest = WORKERS.into_iter().max().unwrap_or(1);
    let engine = Arc::new(ParallelExecutor::new(widest as usize).map_err(SelftestError::Thread)?);
    let controls = against_itself(&engine, &cases)?;
    let broken_controls = break_controls(&cases)?;
    let mut mutants = Vec::new();
    for mutant in catalogue().filter(|mutant| is_chosen(mutant.name)) {
        mutants.push(hunt(mutant, &engine, &cases, options.diagnose)?);
    }
    let mut not_exercised = Vec::new();
    for idle in NOT_EXERCISED.iter().filter(|idle| is_chosen(idle.name)) {
        not_exercised.push(unmask(idle, &cases)?);
    }
    Ok(Report {
        seed: options.seed,
        profile: Profile::Everything.name(),
        blocks: cases.len() as u64,
        mutants,
        not_exercised,
        controls,
        broken_controls,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Runs what is right against what is right: any difference would be the verifier's own.
fn against_itself(
    engine: &Arc<ParallelExecutor>,
    cases: &[Case],
) -> Result<Vec<ControlRow>, SelftestError> {
    let mut serial = ControlRow::new("serial against serial");
    let mut parallel = ControlRow::of_work("parallel against serial");
    let mut schedules = ControlRow::new("parallel against itself");
    for (case, position) in cases.iter().zip(0..) {
        let schedule = Schedule { workers: 1, seed: position };
        let (again, _) = observe(&SerialExecutor, &case.block, &case.pre_state, schedule);
        serial.add(&verdict(case, &again)?);

        let mut first: Option<Observation> = None;
        for schedule in rotation(position) {
            let (ran, _) = observe(&**engine, &case.block, &case.pre_state, schedule);
            parallel.add(&verdict(case, &ran)?);
            match &first {
                None => first = Some(ran),
                Some(first) => {
                    let difference = schedule_difference(first, &ran, &*case.pre_state);
                    schedules.count(difference.map_err(SelftestError::Compare)?.as_ref());
                }
            }
        }
    }
    Ok(vec![serial, parallel, schedules])
}

/// Sends a mutant through the chain until it is caught.
fn hunt(
    mutant: &'static Mutant,
    engine: &Arc<ParallelExecutor>,
    cases: &[Case],
    is_diagnosed: bool,
) -> Result<MutantRow, SelftestError> {
    let executor = Arc::new(mutant.executor(Arc::clone(engine)));
    let within = |budget| WithinBudget::new(Arc::clone(&executor) as _, budget);
    let (patient, hasty) = (within(BUDGET), within(HANG_BUDGET));
    let mut row = MutantRow::new(mutant);
    for (case, position) in cases.iter().zip(0..) {
        row.blocks_needed += 1;
        for schedule in rotation(position) {
            // On a busy machine anything may take as long as a hang is waited for, so only where a mutant
            // knows that it will hang is it waited for so shortly.
            let hangs = mutant.hangs() && is_altered(&executor, case, schedule);
            let budgeted = if hangs { &hasty } else { &patient };
            let (observation, _) = observe(budgeted, &case.block, &case.pre_state, schedule);
            if let Verdict::Mismatch(mismatch) = verdict(case, &observation)? {
                caught(&mut row, mutant, &executor, case, schedule, &mismatch);
                if let Some(first) = mismatch.first().filter(|_| is_diagnosed) {
                    row.diagnosis = Some(diagnose(mutant, &executor, case, schedule, first));
                }
                return Ok(row);
            }
            // Whoever knows what was altered can tell that something was overlooked.
            row.overlooked += u64::from(is_altered(&executor, case, schedule));
        }
    }
    Ok(row)
}

/// Whether a mutant does something else than the engine, by its own word.
fn is_altered(executor: &MutantExecutor, case: &Case, schedule: Schedule) -> bool {
    let altered = executor.altered(&case.block, &case.pre_state, schedule);
    altered.is_ok_and(|altered| altered.first.is_some())
}

fn caught(
    row: &mut MutantRow,
    mutant: &Mutant,
    executor: &Arc<MutantExecutor>,
    case: &Case,
    schedule: Schedule,
    mismatch: &Mismatch,
) {
    let Some(first) = mismatch.first() else { return };
    let located = trace(first, mutant, executor, case, schedule);
    row.caught = true;
    row.field = Some(first.field);
    row.place = Some(first.place());
    row.topoheight = Some(case.block.block.topoheight);
    row.block_hash = Some(case.block.block.hash);
    row.schedule = Some(schedule);
    row.differences = mismatch.total();
    row.field_is_right = mutant.fields.contains(&first.field);
    let altered = executor.altered(&case.block, &case.pre_state, schedule);
    row.first_is_right = altered.is_ok_and(|altered| {
        altered.is_right(first, located.as_ref().map(|located| located.index))
    });
    row.transaction = located.map(Traced::from);
}

/// The transaction that the difference begins with, found as for any candidate.
fn trace(
    first: &Difference,
    mutant: &Mutant,
    executor: &Arc<MutantExecutor>,
    case: &Case,
    schedule: Schedule,
) -> Option<LocatedTransaction> {
    let rerun = Rerun { candidate: &**executor, pre_state: &case.pre_state, schedule };
    // What hangs is not started again.
    locate(first, &case.block, (!mutant.hangs()).then_some(rerun))
}

/// Sends an executor that proves nothing through the whole chain.
fn unmask(idle: &'static Idle, cases: &[Case]) -> Result<IdleRow, SelftestError> {
    let mut verdicts = BTreeMap::<String, u64>::new();
    for (case, position) in cases.iter().zip(0..) {
        let schedule = Schedule { workers: idle.workers, seed: position };
        let (observation, _) = observe(idle, &case.block, &case.pre_state, schedule);
        let word = match verdict(case, &observation)? {
            Verdict::NotExercised(reason) => reason.word(),
            other => other.word(),
        };
        *verdicts.entry(word.to_owned()).or_default() += 1;
    }
    Ok(IdleRow { name: idle.name, does: idle.does, reason: idle.reason, verdicts })
}

fn verdict(case: &Case, observation: &Observation) -> Result<Verdict, SelftestError> {
    let (control, limits) = (&case.control, Limits::default());
    compare_with_sound(control, observation, &*case.pre_state, &*case.block, &limits)
        .map_err(SelftestError::Compare)
}

/// Under which schedules the block at a position of the chain is executed. Each number of workers
/// meets seed 0, under which nothing is shuffled, in every third block.
fn rotation(position: u64) -> [Schedule; 3] {
    [0, 1, 2].map(|turn: u64| Schedule {
        workers: WORKERS[turn as usize],
        seed: if (position + turn).is_multiple_of(3) { 0 } else { position * 3 + turn },
    })
}

const WORKERS: [u32; 3] = [2, 4, 1];

/// How long a mutant that hangs is waited for.
const HANG_BUDGET: Duration = Duration::from_millis(500);

/// How long everything else is waited for: no machine is so slow that it would be called a hang.
const BUDGET: Duration = Duration::from_secs(60);

/// Why the self-test cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum SelftestError {
    /// There is no mutant and no idle executor of this name.
    UnknownName(String),
    /// The chain cannot be generated.
    Source(SourceError),
    /// The state of the chain cannot be read.
    Read(ReadError),
    /// The control of a block cannot be trusted.
    Control(Inconclusive),
    /// A comparison cannot be made.
    Compare(CompareError),
    /// The operating system refuses a thread.
    Thread(io::Error),
}

impl SelftestError {
    /// How the program ends. What keeps the verifier from testing itself is its own fault, except for
    /// what was typed, and for the machine.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::UnknownName(_) => ExitCode::BadInput,
            Self::Source(_) | Self::Thread(_) => ExitCode::Infrastructure,
            Self::Read(_) | Self::Control(_) | Self::Compare(_) => ExitCode::Mismatch,
        }
    }
}

impl fmt::Display for SelftestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName(name) => {
                write!(f, "there is no mutant {name:?}; run without --only to see their names")
            }
            Self::Source(error) => error.fmt(f),
            Self::Read(error) => write!(f, "the state of the generated chain: {error}"),
            Self::Control(reason) => write!(f, "the control of a generated block: {reason}"),
            Self::Compare(error) => write!(f, "comparing failed: {error}"),
            Self::Thread(error) => write!(f, "starting a thread failed: {error}"),
        }
    }
}

impl std::error::Error for SelftestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::UnknownName(_) | Self::Control(_) => None,
            Self::Source(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Compare(error) => Some(error),
            Self::Thread(error) => Some(error),
        }
    }
}
