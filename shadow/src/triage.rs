//! Triage: what kind of a mismatch it is.
//!
//! Whether a difference is there in every run or in one of twenty decides how it is looked for. So the
//! block is run again from its evidence: the control, the candidate under the schedule in which it
//! differed, and the candidate under others. The result stands beside the evidence, which is not touched.

mod background;

use std::{
    fmt, fs, io,
    path::Path,
    time::{Duration, Instant},
};

pub use background::{StartCandidate, Triager};
use comparator::{CompareError, Field, Schedule};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{Evidence, EvidenceError, Observed, Replay, write_replacing},
    execute::BlockExecutor,
    fingerprint::FingerprintId,
    schedules::Schedules,
};

/// What running a block again showed. Its JSON form is the file `triage.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Triage {
    format_version: u64,
    /// The problem.
    pub fingerprint: FingerprintId,
    /// What kind of mismatch it is.
    pub verdict: TriageVerdict,
    /// Why nothing more can be said, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// The control, against what it came to first; `differs` is how often it came to something else.
    pub control: Repeats,
    /// The candidate under the schedule of the evidence.
    pub own_schedule: Repeats,
    /// The candidate under other schedules, each once.
    pub other_schedules: Repeats,
    /// The first other schedules under which it differs in the same way.
    pub differs_under: Vec<Schedule>,
    /// The first other schedules under which it does not.
    pub agrees_under: Vec<Schedule>,
    /// How long it took.
    pub seconds: f64,
}

/// How often something was run, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// How often.
    pub runs: u32,
    /// In how many of them it was the same problem.
    pub differs: u32,
    /// In how many of them it was another one.
    pub differs_otherwise: u32,
}

/// What kind of mismatch it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriageVerdict {
    /// The candidate differs in every run, whatever the schedule is.
    Deterministic,
    /// It differs in some runs, or under some schedules.
    ScheduleDependent,
    /// The control does not come to the same result every time: nothing can be said of the candidate.
    ControlNotDeterministic,
    /// The candidate answers with an error.
    Error,
    /// The candidate ends without an answer.
    Crash,
    /// The candidate gives no answer in time.
    Hang,
    /// The candidate gives an answer that makes no sense.
    Nonsense,
    /// The evidence does not show the difference again, or cannot be run.
    EvidenceIncomplete,
}

impl TriageVerdict {
    /// The word for it in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deterministic => "deterministic",
            Self::ScheduleDependent => "schedule_dependent",
            Self::ControlNotDeterministic => "control_not_deterministic",
            Self::Error => "error",
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Nonsense => "nonsense",
            Self::EvidenceIncomplete => "evidence_incomplete",
        }
    }
}

impl fmt::Display for TriageVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much a mismatch is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriageLimits {
    /// How often the control, the candidate under its own schedule, and the candidate under others are
    /// run, each.
    pub runs: u32,
    /// How long all of it may take. A run that has begun is not cut short.
    pub time: Duration,
}

impl Default for TriageLimits {
    /// Sixty runs each: what shows in one of twenty is missed by both once in five hundred times.
    fn default() -> Self {
        Self { runs: 60, time: Duration::from_secs(10) }
    }
}

impl Triage {
    /// Looks into evidence; without a candidate, because there is none to be run, into its control.
    ///
    /// # Errors
    ///
    /// When a comparison cannot be made.
    pub fn of(
        evidence: &Evidence,
        candidate: Result<&dyn BlockExecutor, String>,
        limits: TriageLimits,
    ) -> Result<Self, CompareError> {
        let started = Instant::now();
        let mut triage = Self::new(evidence.fingerprint.id());
        let until = |share: u32| started + limits.time * share / 3;
        // One that does not come back is left behind with what it holds.
        let hangs = evidence.fingerprint.field == Field::Hang;
        let runs = if hangs { limits.runs.min(HANGS_MAX) } else { limits.runs };
        match evidence.replay() {
            Err(error) => triage.because = Some(error.to_string()),
            Ok(replay) => {
                triage.repeat_control(evidence, &replay, limits.runs, until(1));
                match candidate {
                    Err(reason) => triage.because = Some(reason),
                    Ok(candidate) => {
                        triage.repeat_own(evidence, &replay, candidate, runs, until(2))?;
                        triage.repeat_others(evidence, &replay, candidate, runs, until(3))?;
                    }
                }
            }
        }
        triage.verdict = triage.concluded(evidence);
        if triage.verdict == TriageVerdict::EvidenceIncomplete && triage.because.is_none() {
            triage.because = Some(triage.did_not_show());
        }
        triage.seconds = started.elapsed().as_secs_f64();
        Ok(triage)
    }

    fn new(fingerprint: FingerprintId) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            fingerprint,
            verdict: TriageVerdict::EvidenceIncomplete,
            because: None,
            control: Repeats::default(),
            own_schedule: Repeats::default(),
            other_schedules: Repeats::default(),
            differs_under: Vec::new(),
            agrees_under: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Why nothing can be said although the candidate was run.
    fn did_not_show(&self) -> String {
        let (own, others) = (self.own_schedule, self.other_schedules);
        let runs = own.runs + others.runs;
        match own.differs_otherwise + others.differs_otherwise {
            _ if own.differs > 0 => "there was no run under another schedule".to_owned(),
            0 => format!(
                "it did not show again in {runs} runs: it is rarer, or depends on what came before the block"
            ),
            otherwise => format!(
                "it did not show again, but in {otherwise} of {runs} runs something else differs: what it is \
                 changes from run to run"
            ),
        }
    }

    /// Of all runs of the candidate, how many showed the problem: from 0 to 1.
    pub fn rate(&self) -> f64 {
        let (own, others) = (self.own_schedule, self.other_schedules);
        let runs = own.runs + others.runs;
        if runs == 0 { 0.0 } else { f64::from(own.differs + others.differs) / f64::from(runs) }
    }

    /// The verdict and what it rests on, in one line.
    pub fn sentence(&self) -> String {
        let (own, others) = (self.own_schedule, self.other_schedules);
        let mut text = format!(
            "{}: {} of {} runs under its own schedule, {} of {} under others",
            self.verdict, own.differs, own.runs, others.differs, others.runs
        );
        let otherwise = own.differs_otherwise + others.differs_otherwise;
        if otherwise > 0 {
            text.push_str(&format!("; in {otherwise} runs something else differs"));
        }
        if let Some(because) = &self.because {
            text = format!("{}: {because}", self.verdict);
        }
        text
    }

    /// Reads the triage beside evidence; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is none.
    pub fn read(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(directory.join(TRIAGE)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it beside evidence, in the place of one that was there before.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), EvidenceError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(EvidenceError::Encode)?;
        text.push(b'\n');
        write_replacing(&directory.join(TRIAGE), &text)
    }

    fn repeat_control(&mut self, evidence: &Evidence, replay: &Replay, runs: u32, until: Instant) {
        for run in 0..runs {
            if run > 0 && Instant::now() >= until {
                break;
            }
            let is_same = match run {
                0 => replay.control == evidence.control,
                _ => evidence.replay().is_ok_and(|again| again.control == evidence.control),
            };
            self.control.runs += 1;
            self.control.differs += u32::from(!is_same);
        }
    }

    fn repeat_own(
        &mut self,
        evidence: &Evidence,
        replay: &Replay,
        candidate: &dyn BlockExecutor,
        runs: u32,
        until: Instant,
    ) -> Result<(), CompareError> {
        for run in 0..runs {
            if run > 0 && Instant::now() >= until {
                break;
            }
            let ran = replay.run(candidate, evidence.schedule())?;
            self.own_schedule.add(ran.problem_of(evidence), self.fingerprint);
        }
        Ok(())
    }

    fn repeat_others(
        &mut self,
        evidence: &Evidence,
        replay: &Replay,
        candidate: &dyn BlockExecutor,
        runs: u32,
        until: Instant,
    ) -> Result<(), CompareError> {
        let own = evidence.schedule();
        let schedules = Schedules::disturbed(runs.saturating_add(1), own.workers.max(2))
            .of_block(replay.block.block.topoheight);
        let others = schedules.filter(|schedule| *schedule != own).take(runs as usize);
        for schedule in others {
            // Without a single one nothing could be said of what the schedule has to do with it.
            if self.other_schedules.runs > 0 && Instant::now() >= until {
                break;
            }
            let ran = replay.run(candidate, schedule)?;
            let found = ran.problem_of(evidence);
            self.other_schedules.add(found, self.fingerprint);
            let list = if found == Some(self.fingerprint) {
                &mut self.differs_under
            } else {
                &mut self.agrees_under
            };
            if list.len() < SCHEDULES_MAX && (found.is_none() || found == Some(self.fingerprint)) {
                list.push(schedule);
            }
        }
        Ok(())
    }

    fn concluded(&self, evidence: &Evidence) -> TriageVerdict {
        let (own, others) = (self.own_schedule, self.other_schedules);
        if self.control.differs > 0 {
            return TriageVerdict::ControlNotDeterministic;
        }
        if self.because.is_some() || own.differs + others.differs == 0 {
            return TriageVerdict::EvidenceIncomplete;
        }
        match (&evidence.observed, evidence.fingerprint.field) {
            (Observed::Failure(_), Field::Crashed) => TriageVerdict::Crash,
            (Observed::Failure(_), Field::Hang) => TriageVerdict::Hang,
            (Observed::Failure(_), Field::Error) => TriageVerdict::Error,
            (Observed::Failure(_), _) => TriageVerdict::Nonsense,
            _ if others.runs == 0 => TriageVerdict::EvidenceIncomplete,
            _ if own.differs == own.runs && others.differs == others.runs => {
                TriageVerdict::Deterministic
            }
            _ => TriageVerdict::ScheduleDependent,
        }
    }
}

impl Repeats {
    fn add(&mut self, found: Option<FingerprintId>, expected: FingerprintId) {
        self.runs += 1;
        self.differs += u32::from(found == Some(expected));
        self.differs_otherwise += u32::from(found.is_some_and(|found| found != expected));
    }
}

/// The name of the file.
const TRIAGE: &str = "triage.json";

const FORMAT_VERSION: u64 = 1;

/// How often a candidate that hangs is run again under its own schedule, and under others.
const HANGS_MAX: u32 = 2;

/// How many schedules are listed.
const SCHEDULES_MAX: usize = 16;
