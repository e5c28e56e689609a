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
    CompareError, Expectations, Limits, Mismatch, MismatchSink, NotExercised, Observation,
    Schedule, Severity, SinkError, Verdict, compare_with_sound,
};
use storage_snapshot::{Store, StoreError, TopoHeight};

pub use crate::trial::Candidate;
use crate::{
    block_log::BlockLog,
    canary::{CANARY, CanaryEntry, CanaryRate, alter},
    case::{Case, Finding},
    execute::Control,
    ledger::{CandidateEntry, LedgerEntry, LedgerError, entry_at},
    locate::Rerun,
    metrics::Metrics,
    node::NodeFindings,
    patience::Patience,
    record::{Ran, add_mismatch, candidate_entry, exercise_of, log_canary, record_of},
    trial::{Question, Trial},
};

/// The name of the candidate that is the node itself.
pub const NODE: &str = "node";

/// The build of the node is whatever answered.
const NODE_BUILD: &str = "as it answered";

/// What has been found so far, for whoever watches. Counted only once it is durable.
#[derive(Debug, Default)]
pub struct Progress {
    /// Blocks with a verdict.
    pub blocks: AtomicU64,
    /// Positions of the chain up to the last of them: fewer where blocks were ordered away, more
    /// where others had their verdict before.
    pub positions: AtomicU64,
    /// Their transactions.
    pub transactions: AtomicU64,
    /// Blocks in which a candidate was compared at work.
    pub exercised: AtomicU64,
    /// Differences.
    pub mismatches: AtomicU64,
    /// Canaries that were planted and caught.
    pub canaries_caught: AtomicU64,
    /// Canaries that were planted and missed.
    pub canaries_missed: AtomicU64,
    /// The same in detail, if somebody wants it.
    pub metrics: Option<Arc<Metrics>>,
}

/// The handle of the judge's thread.
#[derive(Debug)]
pub struct Judge {
    queue: SyncSender<Message>,
    progress: Arc<Progress>,
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
        canaries: CanaryRate,
        sink: Box<dyn MismatchSink + Send>,
        progress: Arc<Progress>,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE_LENGTH_MAX);
        let candidates = candidates.into_iter().map(Tried::new).collect();
        let watched = Arc::clone(&progress);
        let judging = JudgeLoop {
            store,
            candidates,
            canaries,
            sink,
            progress,
            log: BlockLog::default(),
            pending: Pending::default(),
        };
        let thread = thread::Builder::new()
            .name("shadow-judge".to_owned())
            .spawn(move || judging.run(&messages))?;
        Ok(Self { queue, progress: watched, thread })
    }

    /// Hands over a block. Waits when too many wait already.
    ///
    /// # Errors
    ///
    /// When the judge has ended; [`finish`](Self::finish) says why.
    pub fn submit(&self, case: Case) -> Result<(), JudgeError> {
        if let Some(metrics) = &self.progress.metrics {
            metrics.queued();
        }
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
    candidates: Vec<Tried>,
    canaries: CanaryRate,
    sink: Box<dyn MismatchSink + Send>,
    progress: Arc<Progress>,
    log: BlockLog,
    pending: Pending,
}

/// A candidate, and what to expect of it.
struct Tried {
    candidate: Candidate,
    patience: Patience,
}

impl Tried {
    fn new(candidate: Candidate) -> Self {
        Self { candidate, patience: Patience::default() }
    }
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
    canaries_caught: u64,
    canaries_missed: u64,
    /// Only if somebody wants them.
    entries: Vec<LedgerEntry>,
}

impl JudgeLoop {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), JudgeError> {
        loop {
            match messages.recv_timeout(FLUSH_INTERVAL) {
                Ok(Message::Judge(case)) => {
                    if let Some(metrics) = &self.progress.metrics {
                        metrics.taken();
                    }
                    let mut entry = self.judge(&case)?;
                    self.replace_stale(&mut entry)?;
                    self.publish(entry)?;
                }
                Ok(Message::Settle(done)) => {
                    self.flush()?;
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush()?;
                    self.log.catch_up();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.log.finish();
                    return self.flush();
                }
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
            Finding::Control { control, expectations } => {
                self.judge_by(control, expectations, case, &mut entry)?;
            }
            Finding::Opaque(kind) => {
                self.without_control(&Verdict::Opaque(kind.clone()), case, &mut entry)
            }
            Finding::Inconclusive(reason) => {
                self.log.inconclusive(case.block.block, reason);
                self.without_control(&Verdict::Inconclusive(reason.clone()), case, &mut entry);
            }
        }
        Ok(entry)
    }

    fn judge_by(
        &mut self,
        control: &Control,
        expectations: &Expectations,
        case: &Case,
        entry: &mut LedgerEntry,
    ) -> Result<(), JudgeError> {
        let question = Question {
            block: &case.block,
            pre_state: &case.pre_state,
            control: &control.execution,
            expectations,
        };
        let mut result = None;
        for place in 0..self.candidates.len() {
            let Tried { candidate, patience } = &mut self.candidates[place];
            let candidate = candidate.clone();
            let executor = &*candidate.executor;
            if !patience.grants_block() {
                let verdict = Verdict::NotExercised(NotExercised::Suspended);
                let (name, build) = (executor.name(), executor.build());
                entry.candidates.push(candidate_entry(name, &build, &verdict, None));
                continue;
            }
            let trial = Trial::of(&candidate, &question).map_err(JudgeError::Compare)?;
            patience.note(trial.came_to_an_end());
            if patience.is_suspended() {
                tracing::warn!(candidate = executor.name(), "suspended for some blocks");
            }
            entry.seconds.compare += trial.comparison.as_secs_f64();
            entry.seconds.parallel += trial.execution.as_secs_f64();
            entry.loads.add(trial.loads);
            let schedule = trial.schedule();
            let rerun = Rerun { candidate: executor, pre_state: &case.pre_state, schedule };
            let ran = Ran {
                name: executor.name(),
                build: executor.build(),
                schedule,
                exercise: exercise_of(&trial),
                rerun: trial.can_be_repeated().then_some(rerun),
            };
            let mut verdict = self.record(&trial.verdict, &ran, case)?;
            verdict.schedule_dependent = trial.schedule_dependent;
            entry.candidates.push(verdict);
            if result.is_none() && verdict_is_good(&trial.verdict) {
                result = Some(trial.decisive);
            }
        }
        if let Some(observation) = result {
            entry.canary = self.canary(observation, &question)?;
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

    /// Alters a good result, if it is time to, and judges it like any other.
    fn canary(
        &self,
        mut observation: Observation,
        question: &Question<'_>,
    ) -> Result<Option<CanaryEntry>, JudgeError> {
        let topoheight = question.block.block.topoheight;
        let Some(number) = self.canaries.number(topoheight) else { return Ok(None) };
        let Ok(execution) = &mut observation.result else { return Ok(None) };
        let planted = alter(execution, number);
        let verdict = compare_with_sound(
            question.control,
            &observation,
            &**question.pre_state,
            question.expectations,
            &Limits::default(),
        )
        .map_err(JudgeError::Compare)?;
        let ran = Ran {
            name: CANARY,
            build: CANARY.to_owned(),
            schedule: observation.schedule,
            exercise: None,
            rerun: None,
        };
        let mut verdict_entry = candidate_entry(ran.name, &ran.build, &verdict, None);
        if let Verdict::Mismatch(mismatch) = &verdict {
            let record = record_of(mismatch, &ran, question.block);
            add_mismatch(&mut verdict_entry, &record);
        }
        let canary = CanaryEntry { planted, verdict: verdict_entry };
        log_canary(topoheight, &canary);
        Ok(Some(canary))
    }

    fn without_control(&self, verdict: &Verdict, case: &Case, entry: &mut LedgerEntry) {
        let executors = self
            .candidates
            .iter()
            .map(|tried| &tried.candidate.executor)
            .map(|executor| (executor.name().to_owned(), executor.build()));
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
            add_mismatch(&mut entry, &record);
            self.log.mismatch(&record);
            self.sink.publish(&record).map_err(JudgeError::Sink)?;
        }
        Ok(entry)
    }

    /// What was found at a topoheight before its block was ordered away is kept: a difference that was
    /// real does not become unreal because the chain went another way.
    fn replace_stale(&self, entry: &mut LedgerEntry) -> Result<(), JudgeError> {
        let replaced = entry_at(&self.store, entry.topoheight).map_err(JudgeError::Ledger)?;
        if let Some(replaced) = replaced.filter(|replaced| replaced.stale) {
            entry.replace(&replaced);
        }
        Ok(())
    }

    fn publish(&mut self, entry: LedgerEntry) -> Result<(), JudgeError> {
        let bytes = entry.encode().map_err(JudgeError::Ledger)?;
        self.store.put_ledger(entry.topoheight, &bytes).map_err(JudgeError::Store)?;
        self.pending.add(&entry);
        if self.progress.metrics.is_some() {
            self.pending.entries.push(entry);
        }
        Ok(())
    }

    /// Makes what was written durable, and only then lets it be counted.
    fn flush(&mut self) -> Result<(), JudgeError> {
        let Some(last) = self.pending.last else { return Ok(()) };
        self.store.flush().map_err(JudgeError::Store)?;
        let pending = std::mem::take(&mut self.pending);
        let progress = &self.progress;
        progress.blocks.fetch_add(pending.blocks, Ordering::Relaxed);
        progress.positions.store(last.next().as_u64(), Ordering::Relaxed);
        progress.transactions.fetch_add(pending.transactions, Ordering::Relaxed);
        progress.exercised.fetch_add(pending.exercised, Ordering::Relaxed);
        progress.mismatches.fetch_add(pending.mismatches, Ordering::Relaxed);
        progress.canaries_caught.fetch_add(pending.canaries_caught, Ordering::Relaxed);
        progress.canaries_missed.fetch_add(pending.canaries_missed, Ordering::Relaxed);
        if let Some(metrics) = &progress.metrics {
            metrics.judged(pending.entries);
        }
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
        if let Some(canary) = &entry.canary {
            let caught = u64::from(canary.was_caught());
            self.canaries_caught += caught;
            self.canaries_missed += 1 - caught;
        }
        self.mismatches +=
            entry.candidates.iter().flat_map(|candidate| candidate.fields.values()).sum::<u64>();
    }

    fn is_due(&self) -> bool {
        self.blocks >= PENDING_BLOCKS_MAX
            || self.since.is_some_and(|since| since.elapsed() >= FLUSH_INTERVAL)
    }
}

/// A result that differs already says nothing about whether differences are seen.
const fn verdict_is_good(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Match | Verdict::NotExercised(_))
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
pub(crate) const QUEUE_LENGTH_MAX: usize = 64;

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
