//! The judge: runs the candidates on blocks that have a control, compares, and publishes.
//!
//! It works on a thread of its own, behind the control by at most a queue. All that it needs of a
//! block was resolved before, so it cannot disturb the chain's state, and the chain does not wait
//! for it until the queue is full.

mod backlog;
mod durable;
mod error;
mod pending;
mod unwritten;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
};

use backlog::Backlog;
use comparator::{
    Execution, Limits, Mismatch, MismatchRecord, MismatchSink, NotExercised, Observation, Schedule,
    Verdict, compare_with_sound,
};
use durable::Durable;
pub(crate) use durable::fold_below;
pub use error::JudgeError;
pub(crate) use pending::FLUSH_INTERVAL;
use pending::Pending;
pub use pending::Progress;
use storage_snapshot::{Staged, Store, TopoHeight};
use unwritten::{Unwritten, Written};

pub use crate::trial::Candidate;
use crate::{
    again,
    block_log::BlockLog,
    canary::{CANARY, CanaryEntry, CanaryRate, alter},
    case::{Case, Finding},
    evidence::{Archive, Evidence, EvidenceError, Kept, Observed, Who, directory_name},
    execute::Control,
    fingerprint::{Fingerprint, FingerprintId},
    last_word::amend,
    ledger::{CandidateEntry, LedgerEntry, entry_at},
    locate::Rerun,
    metrics::Change,
    nap::{NAP, receive_after_naps, send_after_naps},
    node::NodeFindings,
    on_mismatch::Announcer,
    patience::Patience,
    record::{Ran, add_mismatch, candidate_entry, exercise_of, log_canary, record_of},
    source::AnswersAgain,
    stopwatch::timed,
    triage::Triager,
    trial::{Question, Trial},
};

/// The name of the candidate that is the node itself.
pub const NODE: &str = "node";

/// The name of the judge's thread.
pub(crate) const THREAD: &str = "shadow-judge";

/// The build of the node is whatever answered.
pub(crate) const NODE_BUILD: &str = "as it answered";

/// The handle of the judge's thread.
#[derive(Debug)]
pub struct Judge {
    queue: SyncSender<Message>,
    unwritten: Arc<Unwritten>,
    backlog: Arc<Backlog>,
    abandon: Arc<AtomicBool>,
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
        Self::start_keeping(store, candidates, canaries, sink, progress, None)
    }

    /// The same, with the evidence of mismatches kept.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_keeping(
        store: Store,
        candidates: Vec<Candidate>,
        canaries: CanaryRate,
        sink: Box<dyn MismatchSink + Send>,
        progress: Arc<Progress>,
        keeping: Option<Keeping>,
    ) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::sync_channel(QUEUE_LENGTH_MAX);
        let candidates = candidates.into_iter().map(Tried::new).collect();
        let abandon = Arc::<AtomicBool>::default();
        let abandoned = Arc::clone(&abandon);
        let watched = Arc::clone(&progress);
        let unwritten = Arc::new(Unwritten::new(store.clone()));
        let backlog = Arc::<Backlog>::default();
        let keep_blocks = keeping.as_ref().map_or(KEEP_BLOCKS, |keeping| keeping.keep_blocks);
        let durable = Durable::start(store.clone(), Arc::clone(&progress), keep_blocks)?;
        let judging = JudgeLoop {
            abandoned,
            unwritten: Arc::clone(&unwritten),
            backlog: Arc::clone(&backlog),
            store,
            candidates,
            canaries,
            sink,
            progress,
            log: BlockLog::default(),
            keeping,
            located: BTreeMap::new(),
            last_entry: None,
            pending: Pending::default(),
            durable,
        };
        let thread =
            thread::Builder::new().name(THREAD.to_owned()).spawn(move || judging.run(&messages))?;
        Ok(Self { queue, unwritten, backlog, abandon, progress: watched, thread })
    }

    /// Hands over a block, and what is left to do of its commit. When too many wait already it writes some of
    /// them, and then waits.
    ///
    /// # Errors
    ///
    /// When the judge has ended; [`finish`](Self::finish) says why.
    pub fn submit(&self, case: Case, staged: Staged) -> Result<(), JudgeError> {
        if let Some(metrics) = &self.progress.metrics {
            metrics.queued();
        }
        self.unwritten.push(staged);
        let transactions = case.block.transactions.len();
        while !self.backlog.has_room(transactions) && !self.thread.is_finished() {
            if !self.unwritten.write_ahead() {
                thread::sleep(NAP);
            }
        }
        self.backlog.add(transactions);
        let mut message = Message::Judge(Box::new(case));
        loop {
            message = match self.queue.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(message)) => message,
                Err(TrySendError::Disconnected(_)) => return Err(JudgeError::Ended),
            };
            if !self.unwritten.write_ahead() {
                return send_after_naps(&self.queue, message, NAPS).map_err(|_| JudgeError::Ended);
            }
        }
    }

    /// Hands over what the node answered about a block when it was asked again.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn submit_again(&self, again: AnswersAgain) -> Result<(), JudgeError> {
        self.queue.send(Message::Again(Box::new(again))).map_err(|_| JudgeError::Ended)
    }

    /// Waits until every block that was handed over has a durable verdict, and nothing is being folded any more.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn settle(&self) -> Result<(), JudgeError> {
        let (done, settled) = mpsc::channel();
        self.queue.send(Message::Settle(done)).map_err(|_| JudgeError::Ended)?;
        settled.recv().map_err(|_| JudgeError::Ended)
    }

    /// What has been found so far.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Lets blocks that wait for their verdict go without one.
    pub fn abandon(&self) {
        self.abandon.store(true, Ordering::Relaxed);
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
    /// The next block; it is among the unwritten ones.
    Judge(Box<Case>),
    Again(Box<AnswersAgain>),
    Settle(Sender<()>),
}

/// The judge's side of the queue.
struct JudgeLoop {
    abandoned: Arc<AtomicBool>,
    unwritten: Arc<Unwritten>,
    backlog: Arc<Backlog>,
    store: Store,
    candidates: Vec<Tried>,
    canaries: CanaryRate,
    sink: Box<dyn MismatchSink + Send>,
    progress: Arc<Progress>,
    log: BlockLog,
    keeping: Option<Keeping>,
    /// In how many blocks the transaction was looked for that a problem begins with.
    located: BTreeMap<FingerprintId, u32>,
    /// The last topoheight that has an entry in the ledger, or is about to; not known yet at first.
    last_entry: Option<Option<TopoHeight>>,
    pending: Pending,
    durable: Durable,
}

/// What is done with a mismatch besides counting it.
#[derive(Debug)]
pub struct Keeping {
    /// Where its evidence is kept.
    pub archive: Archive,
    /// The directory that the paths in records and in the ledger are seen from.
    pub state_dir: PathBuf,
    /// Who looks into the first case of each problem, if anybody.
    pub triager: Option<Triager>,
    /// Who tells somebody of each problem, if anybody.
    pub announcer: Option<Announcer>,
    /// How many blocks below the last judged one can be rolled back.
    pub keep_blocks: u64,
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

impl JudgeLoop {
    fn run(mut self, messages: &Receiver<Message>) -> Result<(), JudgeError> {
        self.judge_all(messages).map_err(|error| self.cause_of(error))?;
        let triager = self.keeping.and_then(|keeping| keeping.triager);
        match (triager, self.abandoned.load(Ordering::Relaxed)) {
            (Some(triager), false) => triager.finish(),
            (Some(triager), true) => triager.abandon(),
            (None, _) => {}
        }
        Ok(())
    }

    /// Who made verdicts durable or wrote blocks ahead may know why, where the judge only met a refusal.
    fn cause_of(&mut self, error: JudgeError) -> JudgeError {
        let (durable, unwritten) = (&mut self.durable, &self.unwritten);
        error.or_cause(|| {
            durable.failure().into_iter().chain(unwritten.failure().map(JudgeError::Store))
        })
    }

    fn judge_all(&mut self, messages: &Receiver<Message>) -> Result<(), JudgeError> {
        let mut ahead = VecDeque::new();
        loop {
            match self.next(&mut ahead, messages) {
                Ok(Message::Again(_)) if self.abandoned.load(Ordering::Relaxed) => {}
                Ok(Message::Judge(case)) => {
                    if let Some(metrics) = &self.progress.metrics {
                        metrics.taken();
                    }
                    // No verdict without its block, and the block stays where there is to be no verdict.
                    // It was added before this message was sent.
                    let Some(written) = self.unwritten.next_written() else {
                        return Err(JudgeError::Ended);
                    };
                    let Written { tip, time } = written.map_err(JudgeError::Store)?;
                    let transactions = case.block.transactions.len();
                    if self.abandoned.load(Ordering::Relaxed) {
                        self.backlog.remove(transactions);
                        continue;
                    }
                    let (at, progress) = (tip.block.topoheight, Arc::clone(&self.progress));
                    let entry = progress.ledger_clock.run(at, || case.entry(tip.digest, time));
                    let mut entry = self.judge(&case, entry)?;
                    progress.ledger_clock.run(at, || {
                        self.replace_stale(&mut entry)?;
                        self.publish(entry)
                    })?;
                    drop(case);
                    self.backlog.remove(transactions);
                }
                Ok(Message::Again(again)) => self.judge_again(&again)?,
                Ok(Message::Settle(done)) => {
                    self.flush_archive()?;
                    self.durable.settle(&mut self.pending, done)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.durable.check()?;
                    self.flush(false)?;
                    self.log.catch_up();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.log.finish();
                    self.flush_archive()?;
                    return self.durable.finish(&mut self.pending);
                }
            }
            if self.pending.is_due() {
                self.flush(self.pending.is_full())?;
            }
        }
    }

    /// The next message. Some that wait behind it are looked at already, so that candidates can begin
    /// with the next block while this one is being compared, and nobody has to be woken in between.
    fn next(
        &self,
        ahead: &mut VecDeque<Message>,
        messages: &Receiver<Message>,
    ) -> Result<Message, RecvTimeoutError> {
        if ahead.is_empty() {
            let message = receive_after_naps(messages, NAPS, FLUSH_INTERVAL)?;
            self.announce(&message);
            ahead.push_back(message);
        }
        while ahead.len() < AHEAD_MAX
            && let Ok(message) = messages.try_recv()
        {
            self.announce(&message);
            ahead.push_back(message);
        }
        // There is at least the one that was waited for.
        ahead.pop_front().ok_or(RecvTimeoutError::Timeout)
    }

    fn announce(&self, message: &Message) {
        let Message::Judge(case) = message else { return };
        if !matches!(case.finding, Finding::Control(_)) {
            return;
        }
        for Tried { candidate, patience } in &self.candidates {
            let schedules = candidate.schedules;
            // Whoever hangs in this block may be left alone in the next, and then nobody wants it run.
            if patience.is_tried() || !schedules.run_block_of(case.block.transactions.len()) {
                continue;
            }
            // The others come after the evidence of the first one is safe.
            if let Some(schedule) = schedules.of_block(case.block.block.topoheight).next() {
                candidate.executor.announce(&case.block, &case.pre_state, schedule);
            }
        }
    }

    /// One block, every candidate.
    fn judge(&mut self, case: &Case, mut entry: LedgerEntry) -> Result<LedgerEntry, JudgeError> {
        match &case.finding {
            Finding::Control(control) => {
                self.judge_by(control, case, &mut entry)?;
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
        case: &Case,
        entry: &mut LedgerEntry,
    ) -> Result<(), JudgeError> {
        let question = Question {
            block: &case.block,
            pre_state: &case.pre_state,
            control: &control.execution,
        };
        if again::is_due(case.block.block.topoheight) {
            let clock = &self.progress.compare_clock;
            let (again, time) = timed(|| clock.run_seldom(|| again::again(&question)));
            entry.again = Some(again.map_err(JudgeError::Compare)?);
            entry.seconds.compare += time.as_secs_f64();
        }
        let mut result = None;
        for place in 0..self.candidates.len() {
            let Tried { candidate, patience } = &mut self.candidates[place];
            let candidate = candidate.clone();
            let executor = &*candidate.executor;
            let idle = if !candidate.schedules.run_block_of(case.block.transactions.len()) {
                Some(NotExercised::BelowMinimum)
            } else if !patience.grants_block() {
                Some(NotExercised::Suspended)
            } else {
                None
            };
            if let Some(reason) = idle {
                let verdict = Verdict::NotExercised(reason);
                let (name, build) = (executor.name(), executor.build());
                entry.candidates.push(candidate_entry(name, &build, &verdict, None));
                continue;
            }
            let mut witnessed = Ok(None);
            let mut keeping = self.keeping.as_mut();
            let clock = &self.progress.compare_clock;
            let trial = Trial::of(&candidate, &question, clock, &mut |observation, mismatch| {
                let Some(keeping) = &mut keeping else { return };
                let observed = || Observed::from(observation.result.clone());
                let schedule = observation.schedule;
                let seen = Witnessed { case, control: &control.execution, schedule, mismatch };
                witnessed = keeping.keep(executor.name(), || Who::of(executor), observed, &seen);
            })
            .map_err(JudgeError::Compare)?;
            patience.note(trial.gave_results);
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
                evidence: witnessed.map_err(JudgeError::Evidence)?,
            };
            let mut verdict = self.record(&trial.verdict, ran, case)?;
            verdict.schedule_dependent = trial.schedule_dependent;
            entry.candidates.push(verdict);
            if result.is_none() && trial.verdict == Verdict::Match {
                result = Some(trial.decisive);
            }
        }
        if let Some(observation) = result {
            entry.canary = self.canary(observation, &question)?;
        }
        if let Some(findings) = &case.node {
            let verdict = self.judge_node(findings, control, case)?;
            entry.candidates.push(verdict);
        }
        Ok(())
    }

    /// The node did its part long ago: there is nothing to run.
    fn judge_node(
        &mut self,
        findings: &NodeFindings,
        control: &Control,
        case: &Case,
    ) -> Result<CandidateEntry, JudgeError> {
        let verdict = node_verdict(findings);
        let schedule = Schedule { workers: 0, seed: 0 };
        let who = || Who {
            name: NODE.to_owned(),
            build: NODE_BUILD.to_owned(),
            spec: None,
            log: String::new(),
        };
        let evidence = match (&verdict, &mut self.keeping) {
            (Verdict::Mismatch(mismatch), Some(keeping)) => {
                let observed = || Observed::Answers(findings.counts);
                let seen = Witnessed { case, control: &control.execution, schedule, mismatch };
                keeping.keep(NODE, who, observed, &seen).map_err(JudgeError::Evidence)?
            }
            _ => None,
        };
        let build = NODE_BUILD.to_owned();
        let ran = Ran { name: NODE, build, schedule, exercise: None, rerun: None, evidence };
        self.record(&verdict, ran, case)
    }

    /// Alters the result of a match, if it is time to, and judges it like any other.
    fn canary(
        &self,
        mut observation: Observation,
        question: &Question<'_>,
    ) -> Result<Option<CanaryEntry>, JudgeError> {
        let topoheight = question.block.block.topoheight;
        let Some(number) = self.canaries.number(topoheight) else { return Ok(None) };
        let Ok(execution) = &mut observation.result else { return Ok(None) };
        let planted = alter(execution, &**question.pre_state, number);
        let verdict = compare_with_sound(
            question.control,
            &observation,
            &**question.pre_state,
            &**question.block,
            &Limits::default(),
        )
        .map_err(JudgeError::Compare)?;
        let ran = Ran {
            name: CANARY,
            build: CANARY.to_owned(),
            schedule: observation.schedule,
            exercise: None,
            rerun: None,
            evidence: None,
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
        mut ran: Ran<'_>,
        case: &Case,
    ) -> Result<CandidateEntry, JudgeError> {
        let mut entry = candidate_entry(ran.name, &ran.build, verdict, ran.exercise);
        if let Verdict::Mismatch(mismatch) = verdict {
            let first = mismatch.first();
            entry.fingerprint = first.map(|first| Fingerprint::of(ran.name, first, &case.block));
            if let Some(fingerprint) = &entry.fingerprint {
                // Executing parts of the block again costs many times what the block does. Where a
                // problem begins is known after some of its cases.
                let located = self.located.entry(fingerprint.id()).or_default();
                *located += 1;
                ran.rerun = ran.rerun.filter(|_| *located <= LOCATED_MAX);
            }
            let mut record = record_of(mismatch, &ran, &case.block);
            record.fingerprint =
                entry.fingerprint.as_ref().map(|fingerprint| fingerprint.id().to_string());
            record.evidence.clone_from(&ran.evidence);
            entry.evidence.clone_from(&ran.evidence);
            add_mismatch(&mut entry, &record);
            self.log.mismatch(&record);
            self.sink.publish(&record).map_err(JudgeError::Sink)?;
            self.tell(&record);
        }
        Ok(entry)
    }

    /// Has somebody told of it. By now what there is to be seen of it is on the disk.
    fn tell(&mut self, record: &MismatchRecord) {
        let announcer = self.keeping.as_mut().and_then(|keeping| keeping.announcer.as_mut());
        if let Some(announcer) = announcer {
            announcer.announce(record);
        }
    }

    /// A block whose node was asked again: what differs only now is added to its verdict.
    fn judge_again(&mut self, again: &AnswersAgain) -> Result<(), JudgeError> {
        let Some(amended) = amend(&self.store, again)? else { return Ok(()) };
        if let Some(record) = &amended.record {
            self.log.mismatch(record);
            self.sink.publish(record).map_err(JudgeError::Sink)?;
            self.tell(record);
        }
        let bytes = amended.entry.encode().map_err(JudgeError::Ledger)?;
        self.store.put_ledger(amended.entry.topoheight, &bytes).map_err(JudgeError::Store)?;
        self.pending.add_mismatches(amended.mismatches());
        if self.progress.metrics.is_some() && amended.record.is_some() {
            self.pending.changes.push(Change::Amended(Box::new(amended)));
        }
        Ok(())
    }

    /// What was found at a topoheight before its block was ordered away is kept: a difference that was
    /// real does not become unreal because the chain went another way.
    fn replace_stale(&mut self, entry: &mut LedgerEntry) -> Result<(), JudgeError> {
        let last = match self.last_entry {
            Some(last) => last,
            None => self.store.last_ledger().map_err(JudgeError::Store)?,
        };
        // Nobody else adds entries, so above that there are none.
        self.last_entry = Some(last.max(Some(entry.topoheight)));
        if last < Some(entry.topoheight) {
            return Ok(());
        }
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
            self.pending.changes.push(Change::Judged(entry));
        }
        Ok(())
    }

    /// Has what was written made durable, and only then counted. It stays until there is somebody to do it; if it
    /// `is_full` this waits for them.
    fn flush(&mut self, is_full: bool) -> Result<(), JudgeError> {
        if self.pending.is_empty() || !self.durable.hand_over(&mut self.pending, is_full)? {
            return Ok(());
        }
        self.flush_archive()
    }

    /// Of how many of the cases that the ledger counts there is no evidence is then told by the archive.
    fn flush_archive(&mut self) -> Result<(), JudgeError> {
        let Some(keeping) = &mut self.keeping else { return Ok(()) };
        keeping.archive.flush().map_err(JudgeError::Evidence)
    }
}

/// A mismatch at the moment in which it is seen.
struct Witnessed<'a> {
    case: &'a Case,
    control: &'a Execution,
    schedule: Schedule,
    mismatch: &'a Mismatch,
}

impl Keeping {
    /// Keeps the evidence of a mismatch, or counts it, and tells where it is.
    fn keep(
        &mut self,
        candidate: &str,
        who: impl FnOnce() -> Who,
        observed: impl FnOnce() -> Observed,
        witnessed: &Witnessed<'_>,
    ) -> Result<Option<String>, EvidenceError> {
        let Witnessed { case, control, schedule, mismatch } = witnessed;
        let (block, pre_state) = (&case.block, &case.pre_state);
        let Some(first) = mismatch.first() else { return Ok(None) };
        let fingerprint = Fingerprint::of(candidate, first, block);
        let name = directory_name(&block.block, candidate);
        let evidence = || {
            let world = (block, pre_state);
            Evidence::new(world, control, observed(), who(), *schedule, mismatch)
        };
        let kept = self.archive.keep(&fingerprint, block.block.topoheight, &name, evidence)?;
        if let (Kept::First(directory), Some(triager)) = (&kept, &mut self.triager) {
            triager.submit(directory);
        }
        Ok(kept.path().map(|path| Archive::reference(&self.state_dir, path)))
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

/// In how many blocks it is found out by executing again which transaction a problem begins with.
const LOCATED_MAX: u32 = 8;

/// How many messages are looked at before it is their turn: each keeps a result in memory.
const AHEAD_MAX: usize = 4;

/// How often the next block, or a place for it, is looked for before the other side is taken to have paused.
const NAPS: u32 = 8;

/// How many blocks may wait for their verdict.
pub(crate) const QUEUE_LENGTH_MAX: usize = 64;

/// How many blocks below the last judged one can still be rolled back, unless somebody says otherwise.
/// The chain orders its last 60 blue scores anew at will, and several blocks may share one.
pub const KEEP_BLOCKS: u64 = 256;
