//! Triage on a thread of its own, behind everything else.
//!
//! The chain does not wait for it: what it is handed it takes or leaves, it runs its own candidates and
//! not those under test, and it steps back from whoever else wants the processor.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use super::{Triage, TriageLimits};
use crate::{
    evidence::{Evidence, EvidenceError, Observed},
    execute::BlockExecutor,
    minimize::{Options, minimize_directory},
};

/// Starts a candidate by its name on the command line, or says why that cannot be done.
pub type StartCandidate = Box<dyn Fn(&str) -> Result<Arc<dyn BlockExecutor>, String> + Send>;

/// The handle of the thread.
#[derive(Debug)]
pub struct Triager {
    queue: SyncSender<PathBuf>,
    ended: Receiver<()>,
    /// Set when nobody waits for it any more.
    stop: Arc<AtomicBool>,
    taken: u32,
}

impl Triager {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the operating system refuses it.
    pub fn start(limits: TriageLimits, minimize: bool, start: StartCandidate) -> io::Result<Self> {
        let (queue, directories) = mpsc::sync_channel(QUEUE_LENGTH_MAX);
        let (end, ended) = mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let background = Background { limits, minimize, start, stop: Arc::clone(&stop) };
        thread::Builder::new()
            .name("shadow-triage".to_owned())
            .spawn(move || background.run(&directories, &end))?;
        Ok(Self { queue, ended, stop, taken: 0 })
    }

    /// Hands over a directory with evidence. Never waits: what is too much is left out, and says so in
    /// the log.
    pub fn submit(&mut self, directory: &Path) {
        let is_taken = self.taken < JOBS_MAX && self.queue.try_send(directory.to_owned()).is_ok();
        self.taken += u32::from(is_taken);
        if !is_taken {
            tracing::warn!(directory = %directory.display(), "too much to look into: not triaged");
        }
    }

    /// Waits until everything that was handed over has been looked into, but not for ever.
    pub fn finish(self) {
        self.finish_within(FINISH_MAX);
    }

    /// Waits no longer than what is in hand needs to notice.
    pub fn abandon(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.finish_within(ABANDON_MAX);
    }

    fn finish_within(self, patience: Duration) {
        drop(self.queue);
        if self.ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            self.stop.store(true, Ordering::Relaxed);
            tracing::warn!("the triage of the last mismatches was not waited for");
        }
    }
}

struct Background {
    limits: TriageLimits,
    /// Whether a case is also minimised.
    minimize: bool,
    start: StartCandidate,
    stop: Arc<AtomicBool>,
}

impl Background {
    fn run(&self, directories: &Receiver<PathBuf>, _end: &Sender<()>) {
        // On this system the priority is that of the thread, and of those that it starts.
        let _as_before = rustix::process::nice(NICENESS);
        for directory in directories {
            if let Err(error) = self.look_into(&directory) {
                tracing::warn!(directory = %directory.display(), %error, "not looked into");
            }
        }
    }

    /// Everything is taken from the directory, so that what is found is found in what is kept.
    fn look_into(&self, directory: &Path) -> Result<(), BackgroundError> {
        let evidence = Evidence::read(directory).map_err(BackgroundError::Evidence)?;
        let candidate = match (&evidence.observed, &evidence.candidate_spec) {
            (Observed::Answers(_), _) => Err("a node cannot be asked to execute again".to_owned()),
            (_, Some(spec)) => (self.start)(spec),
            (_, None) => Err("the candidate cannot be started once more".to_owned()),
        };
        if self.limits.runs > 0 {
            self.triage(directory, &evidence, candidate.as_deref().map_err(Clone::clone))?;
        }
        if let (true, Ok(candidate)) = (self.minimize, &candidate) {
            self.minimize(directory, &**candidate);
        }
        Ok(())
    }

    fn triage(
        &self,
        directory: &Path,
        evidence: &Evidence,
        candidate: Result<&dyn BlockExecutor, String>,
    ) -> Result<(), BackgroundError> {
        let started = Instant::now();
        let triage = Triage::of(evidence, candidate, self.limits)
            .map_err(|error| BackgroundError::Compare(error.to_string()))?;
        triage.write(directory).map_err(BackgroundError::Evidence)?;
        tracing::info!(
            directory = %directory.display(),
            fingerprint = %triage.fingerprint,
            verdict = %triage.verdict,
            seconds = started.elapsed().as_secs_f64(),
            "triaged"
        );
        Ok(())
    }

    fn minimize(&self, directory: &Path, candidate: &dyn BlockExecutor) {
        let options = Options { budget: MINIMIZE_MAX, seed: 1, stop: &self.stop };
        match minimize_directory(directory, candidate, options) {
            Ok(written) => tracing::info!(
                directory = %written.path.display(),
                transactions = written.evidence.block.transactions.len(),
                of = written.transactions,
                seconds = written.minimized.elapsed.as_secs_f64(),
                "minimized"
            ),
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "not minimized");
            }
        }
    }
}

/// Why there is no triage.
#[derive(Debug)]
enum BackgroundError {
    Evidence(EvidenceError),
    Compare(String),
}

impl fmt::Display for BackgroundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(error) => error.fmt(f),
            Self::Compare(error) => f.write_str(error),
        }
    }
}

/// How many mismatches may wait.
const QUEUE_LENGTH_MAX: usize = 32;

/// How many mismatches a run looks into.
const JOBS_MAX: u32 = 64;

/// How long minimising a case may take.
const MINIMIZE_MAX: Duration = Duration::from_secs(10);

/// How long the end of a run waits for it.
const FINISH_MAX: Duration = Duration::from_secs(20);

/// The same once somebody asked the process to stop.
const ABANDON_MAX: Duration = Duration::from_millis(100);

/// As far back as one can step.
const NICENESS: i32 = 19;
