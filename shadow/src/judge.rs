//! The judge: runs the candidates on blocks that have a control, compares, and publishes.
//!
//! It works on a thread of its own, behind the control by at most a queue. All that it needs of a
//! block was resolved before, so it cannot disturb the chain's state, and the chain does not wait
//! for it until the queue is full.

use std::{
    collections::BTreeMap,
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
    CompareError, Inconclusive, Limits, Mismatch, MismatchRecord, MismatchSink, NotExercised,
    Observation, OpaqueKind, RecordedDifference, Schedule, Severity, SinkError, Status, Subject,
    Verdict, compare_with_sound,
};
use storage_snapshot::{StateDigest, Store, StoreError, TopoHeight, TxHash};

use crate::{
    execute::{
        BlockExecutor, Control, ExecutableBlock, Loads, PreState, SerialExecutor, expectations,
    },
    ledger::{
        CandidateEntry, ExerciseEntry, FORMAT_VERSION, FirstMismatch, LedgerEntry, LedgerError,
        LoadCounts, StepSeconds, TransactionCounts, entry_at,
    },
    locate::{Rerun, locate},
    node::{NodeCounts, NodeFindings},
    observe::observe,
    rules::Quirks,
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

/// A block that waits for its verdict.
#[derive(Debug)]
pub struct Case {
    /// The block.
    pub block: Arc<ExecutableBlock>,
    /// The state before it.
    pub pre_state: Arc<PreState>,
    /// What the control came to.
    pub finding: Finding,
    /// What comparing the node with the control found, if the node is on trial.
    pub node: Option<NodeFindings>,
    /// How many of the node's answers were put to which use.
    pub node_counts: NodeCounts,
    /// How many assets were touched whose conservation could not be checked.
    pub conservation_unchecked: u64,
    /// The oddities that showed before the block ran.
    pub quirks: Quirks,
    /// Whether the block may have paid accounts that nobody knows of.
    pub blind: bool,
    /// The sum over the state after it.
    pub digest: StateDigest,
    /// How long the control took.
    pub serial: Duration,
    /// How long checking the control's invariants took.
    pub check: Duration,
    /// How long the commit took.
    pub commit: Duration,
}

/// What the control of a block came to.
#[derive(Debug)]
pub enum Finding {
    /// A result to compare with.
    Control(Box<Control>),
    /// The block is not executed here.
    Opaque(OpaqueKind),
    /// There is no result, so nothing is claimed.
    Inconclusive(Inconclusive),
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
        let bench = Bench {
            store,
            candidates,
            sink,
            progress,
            pending: Pending::default(),
            view_advanced_to: None,
        };
        let thread = thread::Builder::new()
            .name("shadow-judge".to_owned())
            .spawn(move || bench.run(&messages))?;
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
struct Bench {
    store: Store,
    candidates: Vec<Candidate>,
    sink: Box<dyn MismatchSink + Send>,
    progress: Arc<Progress>,
    pending: Pending,
    view_advanced_to: Option<TopoHeight>,
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

impl Bench {
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
        let mut entry = empty_entry(case);
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
            entry.add_loads(loads);
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
            entry.candidates.push(CandidateEntry {
                candidate,
                build,
                verdict: verdict.severity(),
                reason: reason_of(verdict),
                detail: detail_of(verdict),
                fields: BTreeMap::new(),
                first: None,
                exercise: None,
            });
        }
    }

    /// The ledger's form of a verdict; a mismatch is also located, logged and recorded.
    fn record(
        &mut self,
        verdict: &Verdict,
        ran: &Ran<'_>,
        case: &Case,
    ) -> Result<CandidateEntry, JudgeError> {
        let mut entry = CandidateEntry {
            candidate: ran.name.to_owned(),
            build: ran.build.clone(),
            verdict: verdict.severity(),
            reason: reason_of(verdict),
            detail: detail_of(verdict),
            fields: BTreeMap::new(),
            first: None,
            exercise: ran.exercise,
        };
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

    /// Lets the store fold away what no re-order can reach any more.
    fn advance_view(&mut self, judged: TopoHeight) -> Result<(), JudgeError> {
        let Some(target) = judged.checked_sub(RETAINED_BLOCKS) else { return Ok(()) };
        let behind = self.view_advanced_to.map_or(target.as_u64(), |tip| target.blocks_since(tip));
        if behind >= FOLDED_BLOCKS_MIN {
            self.store.advance_view(target).map_err(JudgeError::Store)?;
            self.view_advanced_to = Some(target);
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

impl LedgerEntry {
    fn add_loads(&mut self, loads: Loads) {
        self.loads.requested += loads.requested;
        self.loads.from_cache += loads.from_cache;
        self.loads.from_store += loads.from_store;
    }
}

/// A candidate's run, as far as its verdict has to tell of it.
struct Ran<'a> {
    name: &'a str,
    build: String,
    schedule: Schedule,
    exercise: Option<ExerciseEntry>,
    /// `None` where it cannot be run again.
    rerun: Option<Rerun<'a>>,
}

fn empty_entry(case: &Case) -> LedgerEntry {
    let mut quirks: BTreeMap<String, u64> = BTreeMap::new();
    let control_quirks = match &case.finding {
        Finding::Control(control) => control.quirks.clone(),
        Finding::Opaque(_) | Finding::Inconclusive(_) => Quirks::default(),
    };
    for (quirk, count) in case.quirks.iter().chain(control_quirks.iter()) {
        *quirks.entry(quirk.name().to_owned()).or_default() += count;
    }
    LedgerEntry {
        format_version: FORMAT_VERSION,
        topoheight: case.block.block.topoheight,
        block_hash: case.block.block.hash,
        state_digest: case.digest.to_string(),
        stale: false,
        blind: case.blind,
        candidates: Vec::new(),
        transactions: transaction_counts(case),
        node: case.node_counts,
        earlier_mismatches: 0,
        conservation_unchecked: case.conservation_unchecked,
        quirks,
        loads: LoadCounts::default(),
        seconds: StepSeconds {
            serial: case.serial.as_secs_f64(),
            compare: case.check.as_secs_f64(),
            commit: case.commit.as_secs_f64(),
            ..StepSeconds::default()
        },
    }
}

fn transaction_counts(case: &Case) -> TransactionCounts {
    let total = case.block.transactions.len() as u64;
    let mut counts = TransactionCounts { total, ..TransactionCounts::default() };
    match &case.finding {
        Finding::Control(control) => {
            for outcome in &control.execution.outcomes {
                match outcome.status {
                    Status::Executed => counts.executed += 1,
                    Status::Skipped(_) => counts.skipped += 1,
                    Status::Failed(_) => counts.failed += 1,
                }
            }
        }
        Finding::Opaque(_) | Finding::Inconclusive(_) => counts.opaque = total,
    }
    counts
}

/// The node is judged by coverage: an agreement on half of the questions is no agreement.
fn node_verdict(findings: &NodeFindings) -> Verdict {
    match Mismatch::collect(findings.differences.iter().cloned(), &Limits::default()) {
        Some(mismatch) => Verdict::Mismatch(mismatch),
        None if findings.counts.not_asked > 0 => Verdict::NotExercised(NotExercised::NotAsked),
        None => Verdict::Match,
    }
}

fn reason_of(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Match | Verdict::Mismatch(_) => None,
        Verdict::Inconclusive(reason) => Some(reason.word().to_owned()),
        Verdict::NotExercised(reason) => Some(reason.word().to_owned()),
        Verdict::Opaque(kind) => Some(kind.as_str().to_owned()),
    }
}

fn detail_of(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Inconclusive(reason) => Some(reason.to_string()),
        Verdict::NotExercised(NotExercised::Fallback(reason)) => Some(reason.clone()),
        _ => None,
    }
}

fn exercise_of(observation: &Observation) -> Option<ExerciseEntry> {
    let exercise = &observation.result.as_ref().ok()?.exercise;
    Some(ExerciseEntry {
        workers: exercise.workers,
        seed: observation.schedule.seed,
        batches: exercise.batches,
        max_in_flight: exercise.max_in_flight,
    })
}

/// The first difference is traced to its transaction by executing parts of the block again; for the
/// others the first transaction that touches them has to do.
fn record_of(mismatch: &Mismatch, ran: &Ran<'_>, block: &ExecutableBlock) -> MismatchRecord {
    let subject = Subject {
        block: block.block,
        candidate: ran.name.to_owned(),
        schedule: ran.schedule,
        control_build: SerialExecutor.build(),
        candidate_build: ran.build.clone(),
    };
    let hashes: Vec<TxHash> =
        block.transactions.iter().map(|transaction| transaction.body.hash).collect();
    let mut record = MismatchRecord::new(subject, mismatch, &hashes);
    let pairs = mismatch.differences.iter().zip(&mut record.differences);
    for (position, (difference, recorded)) in pairs.enumerate() {
        let rerun = if position == 0 { ran.rerun } else { None };
        recorded.transaction = locate(difference, block, rerun);
    }
    record
}

fn first_mismatch(first: &RecordedDifference, record: &MismatchRecord) -> FirstMismatch {
    let subject = &record.subject;
    FirstMismatch {
        topoheight: subject.block.topoheight,
        block_hash: subject.block.hash,
        candidate: subject.candidate.clone(),
        field: first.field,
        account: first.key.map(|key| *key.account()),
        asset: first.key.and_then(|key| key.asset().copied()),
        control: first.control.clone(),
        observed: first.observed.clone(),
        difference: first.amount(),
        transaction: first.transaction,
    }
}

/// One line per block, never one per difference.
fn log_mismatch(record: &MismatchRecord) {
    let Some(first) = record.differences.first() else { return };
    tracing::error!(
        topoheight = record.subject.block.topoheight.as_u64(),
        block_hash = %record.subject.block.hash,
        candidate = record.subject.candidate,
        field = %first.field,
        differences = record.total(),
        first = %first_mismatch(first, record).sentence(),
        "mismatch"
    );
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
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// How many blocks below the last judged one can still be rolled back. The chain orders its last 60
/// blue scores anew at will, and several blocks may share one.
const RETAINED_BLOCKS: u64 = 256;

/// Folding fewer blocks at a time than this costs more than it frees.
const FOLDED_BLOCKS_MIN: u64 = 64;
