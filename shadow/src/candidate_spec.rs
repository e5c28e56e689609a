//! Which candidates are put under test, as a person names them.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

#[cfg(feature = "faults")]
use crate::faults::{Mutant, catalogue};
use crate::{
    execute::{
        BlockExecutor, WithinBudget,
        external::{CommandLine, ExternalExecutor, ExternalOptions, ParseCommandError, StartError},
        parallel::ParallelExecutor,
        sharded::ShardedExecutor,
    },
    judge::NODE,
};

/// A candidate by name: `v3`, `sharded`, `node`, `external:COMMAND`, or `fault:NAME`.
#[derive(Clone, Debug)]
pub enum CandidateSpec {
    /// The built-in parallel engine of the chain's design.
    V3,
    /// The built-in parallel engine whose lanes own accounts.
    Sharded,
    /// The node that the chain comes from. It is asked, not run.
    Node,
    /// A program that speaks the candidate protocol.
    External(CommandLine),
    /// The built-in engine with a fault that is planted in it.
    #[cfg(feature = "faults")]
    Fault(&'static Mutant),
}

impl PartialEq for CandidateSpec {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for CandidateSpec {}

impl FromStr for CandidateSpec {
    type Err = ParseCandidateError;

    fn from_str(text: &str) -> Result<Self, ParseCandidateError> {
        if text == ParallelExecutor::NAME {
            return Ok(Self::V3);
        }
        if text == ShardedExecutor::NAME {
            return Ok(Self::Sharded);
        }
        if text == NODE {
            return Ok(Self::Node);
        }
        #[cfg(feature = "faults")]
        if let Some(name) = text.strip_prefix(FAULT) {
            let fault = catalogue().find(|mutant| mutant.name == name);
            return fault.map(Self::Fault).ok_or(ParseCandidateError::Fault);
        }
        match text.strip_prefix(EXTERNAL) {
            Some(command) => {
                command.parse().map(Self::External).map_err(ParseCandidateError::Command)
            }
            None => Err(ParseCandidateError::Unknown),
        }
    }
}

impl fmt::Display for CandidateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V3 => f.write_str(ParallelExecutor::NAME),
            Self::Sharded => f.write_str(ShardedExecutor::NAME),
            Self::Node => f.write_str(NODE),
            Self::External(command) => write!(f, "{EXTERNAL}{command}"),
            #[cfg(feature = "faults")]
            Self::Fault(mutant) => write!(f, "{FAULT}{}", mutant.name),
        }
    }
}

/// A text that names no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseCandidateError {
    /// It is no kind of candidate.
    Unknown,
    /// What follows `fault:` is the name of none.
    Fault,
    /// What follows `external:` is no command.
    Command(ParseCommandError),
}

impl fmt::Display for ParseCandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                let (v3, sharded) = (ParallelExecutor::NAME, ShardedExecutor::NAME);
                write!(
                    f,
                    "no such candidate: give `{v3}`, `{sharded}`, `{NODE}`, or `{EXTERNAL}` and a command"
                )
            }
            Self::Fault => f.write_str("no such fault: `shadow selftest` lists their names"),
            Self::Command(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ParseCandidateError {}

/// Makes the executor of a candidate, with a `budget` for each block: `workers` are made ready where
/// the engine is built in, an outside program may have `memory_bytes` of address space.
///
/// # Errors
///
/// When it cannot be made. That is an error of whoever asked for it, or of the machine; an outside
/// program that is started and breaks is observed to, however early that is.
pub fn start(
    spec: &CandidateSpec,
    workers: u32,
    budget: Duration,
    memory_bytes: Option<u64>,
) -> Result<Arc<dyn BlockExecutor>, StartCandidateError> {
    start_beside(spec, &[], workers, budget, memory_bytes)
}

/// Makes the executors of several candidates, in order and under different names: a program that
/// calls itself like one before it is numbered, so that two builds of it can be told apart. The node
/// has none.
///
/// # Errors
///
/// As [`start`], for the first that cannot be made; and when a built-in one is asked for twice.
pub fn start_all(
    specs: &[CandidateSpec],
    workers: u32,
    budget: Duration,
    memory_bytes: Option<u64>,
) -> Result<Vec<Arc<dyn BlockExecutor>>, StartCandidateError> {
    let mut executors = Vec::with_capacity(specs.len());
    for spec in specs.iter().filter(|spec| **spec != CandidateSpec::Node) {
        let executor = start_beside(spec, &executors, workers, budget, memory_bytes)?;
        executors.push(once(executor, &executors)?);
    }
    Ok(executors)
}

/// Refuses a candidate that is given twice, but for programs, which are numbered.
pub(crate) fn check_each_once(specs: &[CandidateSpec]) -> Result<(), StartCandidateError> {
    let mut built_in =
        specs.iter().enumerate().filter(|(_, spec)| !matches!(spec, CandidateSpec::External(_)));
    match built_in.find(|(place, spec)| specs[..*place].contains(spec)) {
        Some((_, spec)) => Err(StartCandidateError::Twice(spec.to_string())),
        None => Ok(()),
    }
}

fn start_beside(
    spec: &CandidateSpec,
    others: &[Arc<dyn BlockExecutor>],
    workers: u32,
    budget: Duration,
    memory_bytes: Option<u64>,
) -> Result<Arc<dyn BlockExecutor>, StartCandidateError> {
    let taken = |name: &str| others.iter().any(|other| other.name() == name);
    match spec {
        CandidateSpec::V3 => {
            let executor = ParallelExecutor::new(workers as usize);
            let executor = Arc::new(executor.map_err(StartCandidateError::Threads)?);
            // An outside program sees to its budget itself, because it can be killed.
            Ok(Arc::new(WithinBudget::new(executor, budget)))
        }
        CandidateSpec::Sharded => {
            let executor = ShardedExecutor::new(workers as usize);
            let executor = Arc::new(executor.map_err(StartCandidateError::Threads)?);
            Ok(Arc::new(WithinBudget::new(executor, budget)))
        }
        #[cfg(feature = "faults")]
        CandidateSpec::Fault(mutant) => {
            let engine = ParallelExecutor::new(workers as usize);
            let engine = Arc::new(engine.map_err(StartCandidateError::Threads)?);
            Ok(Arc::new(WithinBudget::new(Arc::new(mutant.executor(engine)), budget)))
        }
        CandidateSpec::Node => Err(StartCandidateError::NotRun),
        CandidateSpec::External(command) => {
            let options = ExternalOptions { memory_bytes, ..ExternalOptions::new(budget) };
            let executor = ExternalExecutor::start(command.clone(), options)
                .map_err(StartCandidateError::External)?;
            let name = executor.name().to_owned();
            let free = (2..).find(|number| !taken(&format!("{name}-{number}")));
            Ok(Arc::new(match free {
                Some(number) if taken(&name) => executor.numbered(number),
                _ => executor,
            }))
        }
    }
}

/// Two of one name would be counted as one.
fn once(
    executor: Arc<dyn BlockExecutor>,
    others: &[Arc<dyn BlockExecutor>],
) -> Result<Arc<dyn BlockExecutor>, StartCandidateError> {
    match others.iter().any(|other| other.name() == executor.name()) {
        true => Err(StartCandidateError::Twice(executor.name().to_owned())),
        false => Ok(executor),
    }
}

/// Why there is no executor.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartCandidateError {
    /// The operating system refuses a thread.
    Threads(std::io::Error),
    /// The built-in candidate of this name is asked for twice.
    Twice(String),
    /// The candidate is the node, which executes its blocks itself.
    NotRun,
    /// An outside program does not start.
    External(StartError),
}

impl fmt::Display for StartCandidateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(error) => write!(f, "starting the workers: {error}"),
            Self::Twice(name) => write!(f, "candidate {name} is given twice: give it once"),
            Self::NotRun => write!(f, "candidate {NODE} is asked, and cannot be run"),
            Self::External(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartCandidateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Threads(error) => Some(error),
            Self::External(error) => Some(error),
            Self::Twice(_) | Self::NotRun => None,
        }
    }
}

const EXTERNAL: &str = "external:";

/// Who is wrong on purpose.
#[cfg(feature = "faults")]
const FAULT: &str = "fault:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_read_and_written() {
        #[track_caller]
        fn check(text: &str) {
            assert_eq!(text.parse::<CandidateSpec>().unwrap().to_string(), text);
        }
        check("v3");
        check("sharded");
        check("node");
        check("external:engine");
        check("external:'my engine' --fast");
        #[cfg(feature = "faults")]
        check("fault:lost-update");
    }

    #[test]
    fn what_names_no_candidate_is_refused() {
        #[track_caller]
        fn check(text: &str, expected: ParseCandidateError) {
            assert_eq!(text.parse::<CandidateSpec>(), Err(expected), "{text:?}");
        }
        check("", ParseCandidateError::Unknown);
        check("V3", ParseCandidateError::Unknown);
        check("nodes", ParseCandidateError::Unknown);
        check("external", ParseCandidateError::Unknown);
        #[cfg(feature = "faults")]
        check("fault:none", ParseCandidateError::Fault);
        check("external:", ParseCandidateError::Command(ParseCommandError::Empty));
        check("external:'", ParseCandidateError::Command(ParseCommandError::Quotes));
    }
}
