//! The judge: runs the candidates on blocks that have a control, compares, and publishes.
//!
//! It works on a thread of its own, behind the control by at most a queue. All that it needs of a
//! block was resolved before, so it cannot disturb the chain's state, and the chain does not wait
//! for it until the queue is full.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use comparator::{
    CompareError, Limits, Mismatch, MismatchSink, NotExercised, Schedule, Severity, SinkError,
    Verdict, compare_with_sound,
};
use storage_snapshot::{Store, StoreError, TopoHeight};

use crate::{
    case::{Case, Finding},
    execute::{BlockExecutor, Control, expectations},
    ledger::{CandidateEntry, LedgerEntry, LedgerError, entry_at},
    locate::Rerun,
    node::NodeFindings,
    observe::observe,
    record::{Ran, candidate_entry, exercise_of, first_mismatch, log_mismatch, record_of},
};

/// The name of the candidate that is the node itself.
pub const NODE: &str = "node";

/// The build of the node is whatever answered.
const NODE_BUILD: &str = "as it answered";

/// An executor under test, and how it is to run.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What is under test.
    pub executor: Arc<dyn BlockExecutor>,
    /// Under which schedule.
    pub schedule: Schedule,
}

/// What has been found so far, for whoever watches. Counted only once it is durable.
#[derive(Debug, Default)]
pub struct Progress {
    /// Blocks with a verdict.
    pub blocks: AtomicU64,
    /// Their transactions.
    pub transactions: AtomicU64,
    /// Blocks in which a candidate was compared at work.
    pub exercised: AtomicU64,
    /// Differences.
    pub mismatches: AtomicU64,
}

/// The handle of the judge's thread.
#[derive(Debug)]
pub struct Judge {
    queue: SyncSender<Message>,
    thread: JoinHandle<Result<(), JudgeError>>,
}

impl Judge {
    /// Starts judging.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub fn start(
        store: Store,
        candidates: Vec<Candidate>,
        sink: Box<dyn MismatchSink + Send>,
        progress: Arc<Progress>,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE_LENGTH_MAX);
        let judging = JudgeLoop { store, candidates, sink, progress, pending: Pending::default() };
        let thread = thread::Builder::new()
            .name("shadow-judge".to_owned())
            .spawn(move || judging.run(&messages))?;
        Ok(Self { queue, thread })
    }

    /// Hands over a block. Waits when too many wait already.
    ///
    /// # Errors
    ///
    /// When the judge has ended; [`finish`](Self::finish) says why.
    pub fn submit(&self, case: Case) -> Result<(), JudgeError> {
        self.queue.send(Message::Judge(Box::new(case))).map_err(|_| JudgeError::Ended)
    }

    /// Waits until every block that was handed over has a durable verdict.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn settle(&self) -> Result<(), JudgeError> {
        let (done, settled) = mpsc::channel();
        self.queue.send(Message::Settle(done)).map_err(|_| JudgeError::Ended)?;
        settled.recv().map_err(|_| JudgeError::Ended)
    }

    /// Waits for all verdicts and ends the thread.
    ///
    /// # Errors
    ///
    /// What the judge failed with.
    pub fn finish(self) -> Result<(), JudgeError> {
        drop(self.queue);
        self.thread.join().unwrap_or(Err(JudgeError::Panicked))
    }
}

enum Message {
    Judge(Box<Case>),
    Settle(Sender<()>),
}

/// The judge's side of the queue.
struct JudgeLoop {
    store: Store,
    candidates: Vec<Candidate>,
    sink: Box<dyn MismatchSink + Send>,
    progress: Arc<Progress>,
    pending: Pending,
}

/// Entries that are written but not yet durable.
#[derive(Default)]
struct Pending {
    since: Option<Instant>,
    last: Option<TopoHeight>,
    blocks: u64,
    transactions: u64,
    exercised: u64,
    mismatches: u64,
}

impl JudgeLoop {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), JudgeError> {
        loop {
            match messages.recv_timeout(FLUSH_INTERVAL) {
                Ok(Message::Judge(case)) => {
                    let mut entry = self.judge(&case)?;
                    entry.earlier_mismatches = self.earlier_mismatches(entry.topoheight)?;
                    self.publish(&entry)?;
                }
                Ok(Message::Settle(done)) => {
                    self.flush()?;
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.flush()?,
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if self.pending.is_due() {
                self.flush()?;
            }
        }
    }

    /// One block, every candidate.
    fn judge(&mut self, case: &Case) -> Result<LedgerEntry, JudgeError> {
        let mut entry = case.entry();
        match &case.finding {
            Finding::Control(control) => self.judge_by(control, case, &mut entry)?,
            Finding::Opaque(kind) => {
                self.without_control(&Verdict::Opaque(kind.clone()), case, &mut entry)
            }
            Finding::Inconclusive(reason) => {
                tracing::warn!(topoheight = %case.block.block.topoheight, %reason, "inconclusive");
                self.without_control(&Verdict::Inconclusive(reason.clone()), case, &mut entry);
            }
        }
        Ok(entry)
    }

    fn judge_by(
        &mut self,
        control: &Control,
        case: &Case,
        entry: &mut LedgerEntry,
    ) -> Result<(), JudgeError> {
        let expectations = expectations(&case.block);
        for candidate in self.candidates.clone() {
            let (observation, loads) =
                observe(&*candidate.executor, &case.block, &case.pre_state, candidate.schedule);
            let started = Instant::now();
            let verdict = compare_with_sound(
                &control.execution,
                &observation,
                &*case.pre_state,
                &expectations,
                &Limits::default(),
            )
            .map_err(JudgeError::Compare)?;
            entry.seconds.compare += started.elapsed().as_secs_f64();
            entry.seconds.parallel += observation.elapsed.as_secs_f64();
            entry.loads.add(loads);
            let rerun = Rerun {
                candidate: &*candidate.executor,
                pre_state: &case.pre_state,
                schedule: candidate.schedule,
            };
            let exercise = exercise_of(&observation);
            let ran = Ran {
                name: candidate.executor.name(),
                build: candidate.executor.build(),
                schedule: candidate.schedule,
                exercise,
                rerun: Some(rerun),
            };
            let verdict = self.record(&verdict, &ran, case)?;
            entry.candidates.push(verdict);
        }
        if let Some(findings) = &case.node {
            let verdict = node_verdict(findings);
            let ran = Ran {
                name: NODE,
                build: NODE_BUILD.to_owned(),
                schedule: Schedule { workers: 0, seed: 0 },
                exercise: None,
                rerun: None,
            };
            let verdict = self.record(&verdict, &ran, case)?;
            entry.candidates.push(verdict);
        }
        Ok(())
    }

    fn without_control(&self, verdict: &Verdict, case: &Case, entry: &mut LedgerEntry) {
        let executors = self
            .candidates
            .iter()
            .map(|candidate| (candidate.executor.name().to_owned(), candidate.executor.build()));
        let node = case.node.as_ref().map(|_| (NODE.to_owned(), NODE_BUILD.to_owned()));
        for (candidate, build) in executors.chain(node) {
            entry.candidates.push(candidate_entry(&candidate, &build, verdict, None));
        }
    }

    /// The ledger's form of a verdict; a mismatch is also located, logged and recorded.
    fn record(
        &mut self,
        verdict: &Verdict,
        ran: &Ran<'_>,
        case: &Case,
    ) -> Result<CandidateEntry, JudgeError> {
        let mut entry = candidate_entry(ran.name, &ran.build, verdict, ran.exercise);
        if let Verdict::Mismatch(mismatch) = verdict {
            let record = record_of(mismatch, ran, &case.block);
            entry.fields.clone_from(&record.counts);
            entry.first = record.differences.first().map(|first| first_mismatch(first, &record));
            log_mismatch(&record);
            self.sink.publish(&record).map_err(JudgeError::Sink)?;
        }
        Ok(entry)
    }

    /// What was found at a topoheight before its block was ordered away: a difference that was real
    /// does not become unreal because the chain went another way.
    fn earlier_mismatches(&self, at: TopoHeight) -> Result<u64, JudgeError> {
        let earlier = entry_at(&self.store, at).map_err(JudgeError::Ledger)?;
        Ok(earlier.filter(|entry| entry.stale).map_or(0, |entry| entry.mismatches()))
    }

    fn publish(&mut self, entry: &LedgerEntry) -> Result<(), JudgeError> {
        let bytes = entry.encode().map_err(JudgeError::Ledger)?;
        self.store.put_ledger(entry.topoheight, &bytes).map_err(JudgeError::Store)?;
        self.pending.add(entry);
        Ok(())
    }

    /// Makes what was written durable, and only then lets it be counted.
    fn flush(&mut self) -> Result<(), JudgeError> {
        let Some(last) = self.pending.last else { return Ok(()) };
        self.store.flush().map_err(JudgeError::Store)?;
        let pending = std::mem::take(&mut self.pending);
        let progress = &self.progress;
        progress.blocks.fetch_add(pending.blocks, Ordering::Relaxed);
        progress.transactions.fetch_add(pending.transactions, Ordering::Relaxed);
        progress.exercised.fetch_add(pending.exercised, Ordering::Relaxed);
        progress.mismatches.fetch_add(pending.mismatches, Ordering::Relaxed);
        self.advance_view(last)
    }

    /// Lets the store fold away what no re-order can reach any more, and then drop it from the log:
    /// verdicts and digests are in the ledger, and what a later block asks of earlier ones the store
    /// keeps by itself. Otherwise the directory would grow by every block for as long as this runs.
    fn advance_view(&mut self, judged: TopoHeight) -> Result<(), JudgeError> {
        let Some(target) = judged.checked_sub(RETAINED_BLOCKS) else { return Ok(()) };
        let view = self.store.view_tip();
        let behind = view.map_or(target.as_u64(), |view| target.blocks_since(view));
        if behind >= FOLDED_BLOCKS_MIN {
            let view = self.store.advance_view(target).map_err(JudgeError::Store)?;
            self.store.prune_log(view.unwrap_or(target)).map_err(JudgeError::Store)?;
        }
        Ok(())
    }
}

impl Pending {
    fn add(&mut self, entry: &LedgerEntry) {
        self.since.get_or_insert_with(Instant::now);
        self.last = Some(entry.topoheight);
        self.blocks += 1;
        self.transactions += entry.transactions.total;
        self.exercised += u64::from(entry.candidates.iter().any(|candidate| {
            candidate.candidate != NODE
                && matches!(candidate.verdict, Severity::Match | Severity::Mismatch)
        }));
        self.mismatches +=
            entry.candidates.iter().flat_map(|candidate| candidate.fields.values()).sum::<u64>();
    }

    fn is_due(&self) -> bool {
        self.blocks >= PENDING_BLOCKS_MAX
            || self.since.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL)
    }
}

/// The node is judged by coverage: an agreement on half of the questions is no agreement.
fn node_verdict(findings: &NodeFindings) -> Verdict {
    match Mismatch::collect(findings.differences.iter().cloned(), &Limits::default()) {
        Some(mismatch) => Verdict::Mismatch(mismatch),
        None if findings.counts.not_asked > 0 => Verdict::NotExercised(NotExercised::NotAsked),
        None => Verdict::Match,
    }
}

/// Why the judge cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum JudgeError {
    /// The comparison itself could not be made.
    Compare(CompareError),
    /// The ledger could not be written.
    Store(StoreError),
    /// A record could not be kept.
    Sink(SinkError),
    /// An entry could not be made or read.
    Ledger(LedgerError),
    /// It ended before this; the reason is in what [`Judge::finish`] returns.
    Ended,
    /// It panicked, which is a fault of the verifier and not of a candidate.
    Panicked,
}

impl fmt::Display for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(error) => write!(f, "comparing failed: {error}"),
            Self::Store(error) => write!(f, "writing the ledger failed: {error}"),
            Self::Sink(error) => write!(f, "keeping the record of a mismatch failed: {error}"),
            Self::Ledger(error) => error.fmt(f),
            Self::Ended => f.write_str("judging has ended"),
            Self::Panicked => {
                f.write_str("the judge panicked; this is a fault of Shadow, please report it")
            }
        }
    }
}

impl std::error::Error for JudgeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Compare(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Sink(error) => Some(error),
            Self::Ledger(error) => Some(error),
            Self::Ended | Self::Panicked => None,
        }
    }
}

/// How many blocks may wait for their verdict.
const QUEUE_LENGTH_MAX: usize = 64;

/// How many verdicts may be written and not yet durable.
const PENDING_BLOCKS_MAX: u64 = 256;

/// How long a verdict may be written and not yet durable.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How many blocks below the last judged one can still be rolled back. The chain orders its last 60
/// blue scores anew at will, and several blocks may share one.
const RETAINED_BLOCKS: u64 = 256;

/// Folding fewer blocks at a time than this costs more than it frees: an account that many of them
/// write is written to disk once.
const FOLDED_BLOCKS_MIN: u64 = 256;
