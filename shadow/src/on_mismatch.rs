//! The command that is run when a problem is found: `--on-mismatch`.
//!
//! Somebody has to be told, and in which way is theirs to say. Ten thousand mismatches are one problem
//! more often than not, so the command is run once for each problem of a state directory, one at a time
//! and no more often than once a second, on a thread of its own that steps back from everything else.
//! Verification never waits for it: a queue that is full is an announcement that is left out and counted,
//! and made up for with the next mismatch of that problem, or by the next run.
//!
//! What was told is in a file of the state directory. A process that was killed between keeping evidence
//! and telling somebody leaves evidence that is not in that file, and the next process begins with it: so
//! a problem is told at least once, and once more only if the process died while the command ran.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use comparator::{Field, MismatchRecord};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, nice as step_back, waitid,
};
use serde::{Deserialize, Serialize};
use storage_snapshot::TopoHeight;

use crate::{
    cli::option_variables,
    evidence::{Evidence, is_case, write_replacing},
    execute::external::{CommandLine, ParseCommandError},
};

/// A command as a person types it: words, split and unquoted as a shell does it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MismatchCommand(Vec<String>);

impl FromStr for MismatchCommand {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Self, ParseCommandError> {
        text.parse::<CommandLine>()?;
        Ok(Self(shlex::split(text).unwrap_or_default()))
    }
}

/// What became of the announcements of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct CommandCounts {
    /// How often the command came to its end by itself, and well.
    pub(crate) succeeded: u64,
    /// How often it did not, or could not be started.
    pub(crate) failed: u64,
    /// How often it took too long and was ended.
    pub(crate) timed_out: u64,
    /// How often too much waited already.
    pub(crate) left_out: u64,
    /// How many problems were still to be told when the run ended; the next run goes on with them.
    pub(crate) waiting: u64,
}

/// What became of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Succeeded,
    Failed,
    TimedOut,
    LeftOut,
}

/// Counts on both sides of the queue.
#[derive(Clone, Debug, Default)]
struct Counter(Arc<Mutex<CommandCounts>>);

impl Counter {
    fn add(&self, outcome: Outcome) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *match outcome {
            Outcome::Succeeded => &mut counts.succeeded,
            Outcome::Failed => &mut counts.failed,
            Outcome::TimedOut => &mut counts.timed_out,
            Outcome::LeftOut => &mut counts.left_out,
        } += 1;
    }

    /// So many more are to be told.
    fn wait(&self, count: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting += count as u64;
    }

    /// One of them was dealt with.
    fn dealt_with(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting -= 1;
    }

    fn counts(&self) -> CommandCounts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of whoever finds problems. It never waits.
#[derive(Debug)]
pub struct Announcer {
    queue: SyncSender<Problem>,
    state_dir: PathBuf,
    /// What is on its way, or was told.
    announced: BTreeSet<String>,
    counter: Counter,
}

impl Announcer {
    /// A mismatch was recorded, and its evidence, if any is kept, is on the disk.
    pub(crate) fn announce(&mut self, record: &MismatchRecord) {
        let Some(problem) = Problem::of(record, &self.state_dir) else { return };
        if self.announced.contains(&problem.name()) {
            return;
        }
        let name = problem.name();
        // Before it is taken, so that there are never fewer than none.
        self.counter.wait(1);
        match self.queue.try_send(problem) {
            Ok(()) => drop(self.announced.insert(name)),
            // Not taken as announced: its next mismatch is another chance.
            Err(TrySendError::Full(problem)) => {
                self.counter.dealt_with();
                self.counter.add(Outcome::LeftOut);
                tracing::warn!(%problem, "too much waits to be told: --on-mismatch is not run now");
            }
            // The thread is gone only after the run.
            Err(TrySendError::Disconnected(_)) => self.counter.dealt_with(),
        }
    }
}

/// The handle of the thread that runs the command.
#[derive(Debug)]
pub(crate) struct OnMismatch {
    queue: SyncSender<Problem>,
    state_dir: PathBuf,
    counter: Counter,
    stop: Arc<AtomicBool>,
    ended: Receiver<()>,
    limit: Duration,
}

impl OnMismatch {
    /// Starts the thread, which begins with the problems that a process before it told nobody of.
    ///
    /// # Errors
    ///
    /// When the operating system refuses it.
    pub(crate) fn start(
        command: MismatchCommand,
        limit: Duration,
        state_dir: &Path,
        evidence: &Path,
    ) -> io::Result<Self> {
        let (queue, problems) = mpsc::sync_channel(QUEUE_LENGTH_MAX);
        let (end, ended) = mpsc::channel();
        let counter = Counter::default();
        let stop = Arc::<AtomicBool>::default();
        let state_dir = std::path::absolute(state_dir)?;
        let teller = Teller {
            command,
            limit,
            told: Told::read(&state_dir),
            tried: BTreeSet::new(),
            evidence: evidence.to_owned(),
            counter: counter.clone(),
            stop: Arc::clone(&stop),
            started: None,
        };
        thread::Builder::new()
            .name("shadow-on-mismatch".to_owned())
            .spawn(move || teller.run(&problems, &end))?;
        Ok(Self { queue, state_dir, counter, stop, ended, limit })
    }

    /// The side of whoever finds problems.
    pub(crate) fn announcer(&self) -> Announcer {
        Announcer {
            queue: self.queue.clone(),
            state_dir: self.state_dir.clone(),
            announced: BTreeSet::new(),
            counter: self.counter.clone(),
        }
    }

    /// Waits until everybody was told, but not for ever; what remains is told by the next run.
    pub(crate) fn finish(self) -> CommandCounts {
        let patience = self.limit.saturating_add(FINISH_MARGIN);
        self.finish_within(patience)
    }

    /// The same once somebody asked the process to stop.
    pub(crate) fn abandon(self) -> CommandCounts {
        self.finish_within(ABANDON_MAX)
    }

    fn finish_within(self, patience: Duration) -> CommandCounts {
        let Self { queue, counter, stop, ended, .. } = self;
        drop(queue);
        if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            stop.store(true, Ordering::Relaxed);
            let waiting = counter.counts().waiting;
            tracing::warn!(
                waiting,
                "--on-mismatch was not waited for; the next run goes on with it"
            );
            // The command in hand is ended, which does not take long.
            let _ = ended.recv_timeout(ABANDON_MAX);
        }
        counter.counts()
    }
}

/// A problem that somebody is told of: its first case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// What the node says only later has none.
    fingerprint: Option<String>,
    topoheight: TopoHeight,
    candidate: String,
    field: Field,
    /// The directory with its evidence, or else the file with its record.
    record: PathBuf,
}

impl Problem {
    fn of(record: &MismatchRecord, state_dir: &Path) -> Option<Self> {
        let path = record.evidence.as_deref().unwrap_or(RECORDS);
        Some(Self {
            fingerprint: record.fingerprint.clone(),
            topoheight: record.subject.block.topoheight,
            candidate: record.subject.candidate.clone(),
            field: record.differences.first()?.field,
            record: state_dir.join(path),
        })
    }

    /// What tells it from others.
    fn name(&self) -> String {
        let otherwise = || format!("{} {}", self.candidate, self.field.as_str());
        self.fingerprint.clone().unwrap_or_else(otherwise)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at topoheight {}", self.name(), self.topoheight)
    }
}

/// The thread's side of the queue.
struct Teller {
    command: MismatchCommand,
    limit: Duration,
    told: Told,
    /// Those that it has dealt with, whatever came of it. A problem may have been left behind and be found as
    /// well: its evidence is on the disk before it is announced.
    tried: BTreeSet<String>,
    evidence: PathBuf,
    counter: Counter,
    stop: Arc<AtomicBool>,
    /// When the last command was started.
    started: Option<Instant>,
}

impl Teller {
    fn run(mut self, problems: &Receiver<Problem>, _end: &Sender<()>) {
        // On this system the priority is that of the thread, and of those that it starts.
        let _as_before = step_back(NICENESS);
        let left_behind = left_behind(&self.evidence, &self.told);
        self.counter.wait(left_behind.len());
        for problem in left_behind.into_iter().chain(problems) {
            if self.tell(&problem) {
                self.counter.dealt_with();
            }
        }
    }

    /// Whether it is dealt with.
    fn tell(&mut self, problem: &Problem) -> bool {
        let name = problem.name();
        if self.told.problems.contains_key(&name) || self.tried.contains(&name) {
            return true;
        }
        if !self.wait_for_turn() {
            return false;
        }
        self.tried.insert(name);
        self.started = Some(Instant::now());
        let child = match self.start(problem) {
            Ok(child) => child,
            Err(error) => {
                self.counter.add(Outcome::Failed);
                tracing::error!(%problem, %error, "--on-mismatch cannot be started");
                return true;
            }
        };
        let outcome = match self.wait(child) {
            Some(Ok(status)) if status.success() => {
                tracing::info!(%problem, "--on-mismatch was run");
                Outcome::Succeeded
            }
            Some(Ok(status)) => {
                tracing::error!(%problem, %status, "--on-mismatch failed");
                Outcome::Failed
            }
            Some(Err(error)) => {
                tracing::error!(%problem, %error, "--on-mismatch cannot be waited for");
                Outcome::Failed
            }
            None if self.is_stopped() => return false,
            None => {
                let seconds = self.limit.as_secs_f64();
                tracing::error!(%problem, seconds, "--on-mismatch took too long and was ended");
                Outcome::TimedOut
            }
        };
        self.counter.add(outcome);
        self.told.add(problem, outcome);
        true
    }

    /// Waits until a command may be started; whether there is any use in it still.
    fn wait_for_turn(&self) -> bool {
        while let Some(started) = self.started
            && started.elapsed() < PAUSE_MIN
            && !self.is_stopped()
        {
            thread::sleep(POLL);
        }
        !self.is_stopped()
    }

    fn start(&self, problem: &Problem) -> io::Result<Child> {
        let mut words = self.command.0.iter();
        // What was parsed has a first word.
        let program = words.next().map(String::as_str).unwrap_or_default();
        let mut command = Command::new(program);
        // What configured this run is not meant for a command that runs this program again: it would come back
        // here, or run another candidate than the one that differs.
        for variable in option_variables() {
            command.env_remove(variable);
        }
        command
            .args(words)
            .arg(&problem.record)
            .env("SHADOW_RECORD", &problem.record)
            .env("SHADOW_MISMATCH_FINGERPRINT", problem.fingerprint.as_deref().unwrap_or_default())
            .env("SHADOW_MISMATCH_TOPOHEIGHT", problem.topoheight.to_string())
            .env("SHADOW_MISMATCH_CANDIDATE", &problem.candidate)
            .env("SHADOW_MISMATCH_FIELD", problem.field.as_str())
            .process_group(0)
            .stdin(Stdio::null())
            // Standard output is for the answer of the run.
            .stdout(io::stderr());
        let mut running = running();
        let child = command.spawn()?;
        *running = Some(child.id());
        Ok(child)
    }

    /// How the command ended; `None` if it had to be ended. What it left running in its process group
    /// is ended with it.
    fn wait(&self, mut child: Child) -> Option<io::Result<ExitStatus>> {
        let pid = Pid::from_child(&child);
        let deadline = Instant::now() + self.limit;
        let ended = loop {
            // It stays a zombie, so that the number of its group is that of no other.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            match waitid(WaitId::Pid(pid), options) {
                Ok(Some(_)) => break true,
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break true,
            }
            if Instant::now() >= deadline || self.is_stopped() {
                break false;
            }
            thread::sleep(POLL);
        };
        // All of it may be gone already.
        let _ = kill_process_group(pid, Signal::KILL);
        *running() = None;
        let status = child.wait();
        ended.then_some(status)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Ends the command that runs, because this process ends at once.
pub(crate) fn end_running() {
    let pid = running().take().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may be gone already.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// The command that runs, if one does: there is one at a time.
fn running() -> MutexGuard<'static, Option<u32>> {
    static RUNNING: Mutex<Option<u32>> = Mutex::new(None);
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first case of each problem that there is evidence of and that nobody was told of.
fn left_behind(evidence: &Path, told: &Told) -> Vec<Problem> {
    let mut found: BTreeMap<String, Problem> = BTreeMap::new();
    for entry in fs::read_dir(evidence).into_iter().flatten().flatten() {
        let path = entry.path();
        // What was made of a case has most likely another fingerprint, and is no problem that was found.
        if !entry.file_name().to_str().is_some_and(is_case) {
            continue;
        }
        // What is no evidence is somebody else's to complain about.
        let Ok(evidence) = Evidence::read(&path) else { continue };
        let Some(first) = evidence.record.differences.first() else { continue };
        let problem = Problem {
            fingerprint: Some(evidence.fingerprint.id().to_string()),
            topoheight: evidence.block.block.topoheight,
            candidate: evidence.candidate().to_owned(),
            field: first.field,
            record: std::path::absolute(&path).unwrap_or(path),
        };
        let name = problem.name();
        let is_earlier = found.get(&name).is_none_or(|other| problem.topoheight < other.topoheight);
        if !told.problems.contains_key(&name) && is_earlier {
            found.insert(name, problem);
        }
    }
    found.into_values().collect()
}

/// The problems that somebody was told of, in a file.
#[derive(Debug, Default)]
struct Told {
    path: PathBuf,
    problems: BTreeMap<String, ToldOf>,
}

/// Which case it was, and what became of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ToldOf {
    topoheight: TopoHeight,
    outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
struct ToldJson {
    format_version: u64,
    problems: BTreeMap<String, ToldOf>,
}

impl Told {
    /// Without the file, or with one that cannot be read, nobody was told of anything: once more is
    /// better than never.
    fn read(state_dir: &Path) -> Self {
        let path = state_dir.join(TOLD);
        let told = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Self { path, ..Self::default() };
            }
            Err(error) => Err(error),
        };
        match told {
            Ok(ToldJson { format_version: FORMAT_VERSION, mut problems }) => {
                // Who failed to tell somebody is tried again.
                problems.retain(|_, told| matches!(told.outcome, Outcome::Succeeded));
                Self { path, problems }
            }
            Ok(ToldJson { format_version, .. }) => {
                tracing::warn!(path = %path.display(), format_version, "of another version");
                Self { path, ..Self::default() }
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "not read");
                Self { path, ..Self::default() }
            }
        }
    }

    fn add(&mut self, problem: &Problem, outcome: Outcome) {
        let told = ToldOf { topoheight: problem.topoheight, outcome };
        self.problems.insert(problem.name(), told);
        let json = ToldJson { format_version: FORMAT_VERSION, problems: self.problems.clone() };
        let written = serde_json::to_vec_pretty(&json)
            .map_err(|error| error.to_string())
            .and_then(|text| write_replacing(&self.path, &text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(%path, %error, "not written: the next run tells it once more");
        }
    }
}

/// The name of the file of what was told.
const TOLD: &str = "on_mismatch.json";

/// The file of records in a state directory.
const RECORDS: &str = "mismatches.jsonl";

const FORMAT_VERSION: u64 = 1;

/// How many problems may wait to be told.
const QUEUE_LENGTH_MAX: usize = 64;

/// How much time is between two starts, at least.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// How often it is looked whether a command has ended.
const POLL: Duration = Duration::from_millis(20);

/// How much longer than one command the end of a run waits.
const FINISH_MARGIN: Duration = Duration::from_secs(5);

/// How long the end of a run waits once somebody asked the process to stop.
const ABANDON_MAX: Duration = Duration::from_millis(500);

/// As far back as one can step.
const NICENESS: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_that_was_left_behind_and_is_found_as_well_is_tried_once() {
        let directory = tempfile::tempdir().unwrap();
        let mut teller = teller(directory.path());
        let problem = problem("one");
        assert!(teller.tell(&problem));
        assert!(teller.tell(&problem));
        assert_eq!(teller.counter.counts().failed, 1);
        // Nobody was told, so the next run tries again.
        assert!(teller.told.problems.is_empty());
    }

    #[test]
    fn what_is_not_told_when_the_run_ends_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        let teller = teller(directory.path());
        let (counter, stop) = (teller.counter.clone(), Arc::clone(&teller.stop));
        let (queue, problems) = mpsc::sync_channel(2);
        let (end, _ended) = mpsc::channel();
        for name in ["one", "two"] {
            counter.wait(1);
            queue.send(problem(name)).unwrap();
        }
        drop(queue);
        stop.store(true, Ordering::Relaxed);
        teller.run(&problems, &end);
        assert_eq!(counter.counts(), CommandCounts { waiting: 2, ..CommandCounts::default() });
    }

    fn teller(directory: &Path) -> Teller {
        Teller {
            command: MismatchCommand(vec!["/no/such/program".to_owned()]),
            limit: Duration::from_secs(1),
            told: Told::read(directory),
            tried: BTreeSet::new(),
            evidence: directory.to_owned(),
            counter: Counter::default(),
            stop: Arc::default(),
            started: None,
        }
    }

    fn problem(name: &str) -> Problem {
        Problem {
            fingerprint: Some(name.to_owned()),
            topoheight: TopoHeight::new(5),
            candidate: "v3".to_owned(),
            field: Field::Fees,
            record: RECORDS.into(),
        }
    }
}
