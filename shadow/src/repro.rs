//! Running evidence again, from its directory and nothing else.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc, time::Duration};

use comparator::{CompareError, Schedule, Verdict};
use serde::Serialize;

use crate::{
    candidate_spec::{CandidateSpec, StartCandidateError, start},
    evidence::{Evidence, EvidenceError, Observed, ReplayError},
    execute::{BlockExecutor, SerialExecutor},
    exit_code::ExitCode,
    fingerprint::{Fingerprint, FingerprintId},
};

/// How evidence is run again.
#[derive(Clone, Debug)]
pub struct ReproOptions {
    /// Who is run instead of the candidate of the evidence.
    pub candidate: Option<CandidateSpec>,
    /// How often.
    pub times: u32,
    /// Under how many workers instead of those of the evidence.
    pub workers: Option<u32>,
    /// Under which seed instead of that of the evidence.
    pub seed: Option<u64>,
    /// How long one run may take.
    pub budget: Duration,
    /// How many bytes of address space an outside program may have.
    pub memory_bytes: Option<u64>,
}

/// What running it again showed.
#[derive(Clone, Debug, Serialize)]
pub struct Repro {
    /// The problem of the evidence.
    pub fingerprint: Fingerprint,
    /// Who was run.
    pub candidate: String,
    /// Which build of it.
    pub candidate_build: String,
    /// Which build the evidence is about.
    pub recorded_build: String,
    /// Under which schedule.
    pub schedule: Schedule,
    /// How often.
    pub times: u32,
    /// In how many runs it differs.
    pub differs: u32,
    /// In how many runs it agrees without having been at work, which proves nothing.
    pub not_exercised: u32,
    /// In how many of these it left the work to somebody else or to a single worker, unlike in the evidence.
    pub idle: u32,
    /// In how many runs with the fingerprint of the evidence.
    pub same_fingerprint: u32,
    /// With which others, and in how many runs.
    pub other_fingerprints: BTreeMap<FingerprintId, u32>,
    /// Whether the control of this build comes to what the evidence says.
    pub control_is_the_same: bool,
}

impl Repro {
    /// Runs it.
    ///
    /// # Errors
    ///
    /// When there is no evidence, or nobody to run.
    pub fn of(directory: &Path, options: &ReproOptions) -> Result<Self, ReproError> {
        let evidence = Evidence::read(directory).map_err(ReproError::Evidence)?;
        let executor = executor(&evidence, options)?;
        let replay = evidence.replay().map_err(ReproError::Replay)?;
        let own = evidence.schedule();
        let schedule = Schedule {
            workers: options.workers.unwrap_or(own.workers).max(1),
            seed: options.seed.unwrap_or(own.seed),
        };
        let mut repro = Self {
            fingerprint: evidence.fingerprint.clone(),
            candidate: executor.name().to_owned(),
            candidate_build: executor.build(),
            recorded_build: evidence.record.subject.candidate_build.clone(),
            schedule,
            times: options.times,
            differs: 0,
            not_exercised: 0,
            idle: 0,
            same_fingerprint: 0,
            other_fingerprints: BTreeMap::new(),
            control_is_the_same: replay.control == evidence.control,
        };
        let expected = evidence.fingerprint.id();
        for _ in 0..options.times {
            let run = replay.run(&*executor, schedule).map_err(ReproError::Compare)?;
            repro.not_exercised += u32::from(matches!(run.verdict, Verdict::NotExercised(_)));
            repro.idle += u32::from(run.is_idle(&evidence));
            let Some(found) = run.problem_of(&evidence) else { continue };
            repro.differs += 1;
            if found == expected {
                repro.same_fingerprint += 1;
            } else {
                *repro.other_fingerprints.entry(found).or_default() += 1;
            }
        }
        Ok(repro)
    }

    /// How the program ends: something differs, nothing does, or nobody was at work.
    pub const fn exit_code(&self) -> ExitCode {
        match self.differs {
            0 if self.idle == self.times => ExitCode::NotEnoughEvidence,
            0 => ExitCode::Clean,
            _ => ExitCode::Mismatch,
        }
    }
}

/// The candidate of evidence, or the one that is asked for instead.
pub(crate) fn executor(
    evidence: &Evidence,
    options: &ReproOptions,
) -> Result<Arc<dyn BlockExecutor>, ReproError> {
    let spec = match (&options.candidate, &evidence.candidate_spec) {
        (Some(spec), _) => spec.clone(),
        (None, _) if matches!(evidence.observed, Observed::Answers(_)) => {
            return Err(ReproError::Node);
        }
        (None, None) => return Err(ReproError::NoName(evidence.candidate().to_owned())),
        (None, Some(spec)) => match spec.parse() {
            // Evidence may come from anybody, and a command from anybody is not run.
            Ok(CandidateSpec::External(_)) => {
                return Err(ReproError::NotGiven { spec: spec.clone() });
            }
            Ok(spec) => spec,
            Err(_) => return Err(ReproError::NoName(spec.clone())),
        },
    };
    let workers = options.workers.unwrap_or(evidence.schedule().workers).max(2);
    start(&spec, workers, options.budget, options.memory_bytes).map_err(ReproError::Start)
}

/// In words; the first line is the answer.
impl fmt::Display for Repro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { candidate, times, differs, same_fingerprint, .. } = self;
        writeln!(
            f,
            "candidate {candidate} differs in {differs} of {times} runs, in {same_fingerprint} of them \
             with the same fingerprint{}",
            match self.not_exercised {
                0 => String::new(),
                runs => format!(
                    "; in {runs} runs it was not exercised, so that it agrees proves nothing"
                ),
            }
        )?;
        writeln!(f)?;
        writeln!(f, "fingerprint  {}: {}", self.fingerprint.id(), self.fingerprint)?;
        writeln!(f, "schedule     {}", self.schedule)?;
        writeln!(f, "build        {}", self.candidate_build)?;
        if self.candidate_build != self.recorded_build {
            writeln!(f, "recorded     {}", self.recorded_build)?;
        }
        for (id, runs) in &self.other_fingerprints {
            writeln!(f, "otherwise    {id} in {runs} runs")?;
        }
        if !self.control_is_the_same {
            writeln!(
                f,
                "\nthe control of this build ({}) does not come to what control.json says; the candidate \
                 was held against the control of this build",
                SerialExecutor.build()
            )?;
        }
        Ok(())
    }
}

/// A text as one word of a command line. What could reach the terminal is escaped.
pub(crate) fn as_argument(text: &str) -> String {
    match shlex::try_quote(text) {
        Ok(quoted) if !text.contains(char::is_control) => quoted.into_owned(),
        _ => text.escape_debug().to_string(),
    }
}

/// Why evidence is not run again.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReproError {
    /// There is no evidence, or it is not what was written.
    Evidence(EvidenceError),
    /// It is about a node.
    Node,
    /// Its candidate cannot be started by any name.
    NoName(String),
    /// Its candidate is a program that was not given.
    NotGiven {
        /// How it was named.
        spec: String,
    },
    /// The candidate cannot be started.
    Start(StartCandidateError),
    /// There is no control.
    Replay(ReplayError),
    /// A comparison cannot be made.
    Compare(CompareError),
}

impl ReproError {
    /// How the program ends.
    pub const fn exit_code(&self) -> ExitCode {
        match self {
            Self::Evidence(EvidenceError::Io { .. }) | Self::Compare(_) => ExitCode::Infrastructure,
            Self::Start(StartCandidateError::Threads(_)) => ExitCode::Infrastructure,
            Self::Evidence(_) | Self::Replay(_) | Self::Start(_) => ExitCode::BadInput,
            Self::Node | Self::NoName(_) | Self::NotGiven { .. } => ExitCode::NotEnoughEvidence,
        }
    }
}

impl fmt::Display for ReproError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(error) => error.fmt(f),
            Self::Node => f.write_str(
                "the candidate is a node, which executed the block once and cannot be asked to do it \
                 again; `--candidate v3` puts another one in its place",
            ),
            Self::NoName(candidate) => write!(
                f,
                "candidate {candidate} cannot be started here: give one with --candidate, or call \
                 `Evidence::holds` from the program that it is part of"
            ),
            Self::NotGiven { spec } => write!(
                f,
                "the candidate is a program, and what a directory names is not started: give it with \
                 --candidate {}",
                as_argument(spec)
            ),
            Self::Start(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::Compare(error) => write!(f, "comparing failed: {error}"),
        }
    }
}

impl std::error::Error for ReproError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Evidence(error) => Some(error),
            Self::Start(error) => Some(error),
            Self::Replay(error) => Some(error),
            Self::Compare(error) => Some(error),
            Self::Node | Self::NoName(_) | Self::NotGiven { .. } => None,
        }
    }
}
