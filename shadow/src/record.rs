//! From a verdict to what is kept of it: the entry of a candidate in the ledger, the record of a
//! mismatch, and the line in the log.

use std::collections::BTreeMap;

use comparator::{
    Mismatch, MismatchRecord, NotExercised, RecordedDifference, Schedule, Subject, Verdict,
};
use storage_snapshot::{TopoHeight, TxHash};

use crate::{
    canary::CanaryEntry,
    execute::{BlockExecutor, ExecutableBlock, SerialExecutor},
    ledger::{CandidateEntry, ExerciseEntry, FirstMismatch},
    locate::{Rerun, locate},
    trial::Trial,
};

/// A candidate's run, as far as its verdict has to tell of it.
pub(crate) struct Ran<'a> {
    pub(crate) name: &'a str,
    pub(crate) build: String,
    pub(crate) schedule: Schedule,
    pub(crate) exercise: Option<ExerciseEntry>,
    /// `None` where it cannot be run again.
    pub(crate) rerun: Option<Rerun<'a>>,
    /// Where its evidence is, if it was kept.
    pub(crate) evidence: Option<String>,
}

/// The entry of a candidate with this verdict; the fields of a mismatch are still missing.
pub(crate) fn candidate_entry(
    candidate: &str,
    build: &str,
    verdict: &Verdict,
    exercise: Option<ExerciseEntry>,
) -> CandidateEntry {
    CandidateEntry {
        candidate: candidate.to_owned(),
        build: build.to_owned(),
        verdict: verdict.severity(),
        reason: reason_of(verdict),
        detail: detail_of(verdict),
        fields: BTreeMap::new(),
        first: None,
        fingerprint: None,
        evidence: None,
        schedule_dependent: false,
        exercise,
    }
}

/// The first difference is traced to its transaction by executing parts of the block again; for the
/// others the first transaction that touches them has to do.
pub(crate) fn record_of(
    mismatch: &Mismatch,
    ran: &Ran<'_>,
    block: &ExecutableBlock,
) -> MismatchRecord {
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

/// What the entry of a candidate tells of a mismatch.
pub(crate) fn add_mismatch(entry: &mut CandidateEntry, record: &MismatchRecord) {
    entry.fields.clone_from(&record.counts);
    entry.first = record.differences.first().map(|first| first_mismatch(first, record));
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

/// One line per block, never one per difference; `omitted` are those before it that were left out.
pub(crate) fn log_mismatch(record: &MismatchRecord, omitted: u64) {
    let Some(first) = record.differences.first() else { return };
    tracing::error!(
        topoheight = record.subject.block.topoheight.as_u64(),
        block_hash = %record.subject.block.hash,
        candidate = record.subject.candidate,
        verdict = "mismatch",
        field = %first.field,
        differences = record.total(),
        first = %first_mismatch(first, record).sentence(),
        omitted,
        "mismatch"
    );
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

/// How the decisive run of a trial worked, if it came to an end.
pub(crate) fn exercise_of(trial: &Trial) -> Option<ExerciseEntry> {
    let execution = trial.decisive.result.as_ref().ok()?;
    let exercise = &execution.exercise;
    // What a candidate says of itself may lower what it was given, not raise it; and there is nothing
    // in a batch without a transaction.
    let workers = exercise.workers.min(trial.decisive.schedule.workers);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let transactions = count(execution.outcomes.len());
    let executed = count(execution.executed());
    Some(ExerciseEntry {
        workers,
        seed: trial.decisive.schedule.seed,
        batches: exercise.batches.min(transactions),
        // A lane is a worker that executed a transaction.
        max_in_flight: exercise.max_in_flight.min(workers).min(executed),
        runs: trial.runs,
        seconds: trial.decisive.elapsed.as_secs_f64(),
    })
}

/// A canary that was missed is worse than a mismatch: nothing that was found before it can be trusted.
pub(crate) fn log_canary(topoheight: TopoHeight, canary: &CanaryEntry) {
    let (topoheight, planted) = (topoheight.as_u64(), canary.planted);
    if canary.was_caught() {
        tracing::info!(topoheight, field = %planted, "canary caught");
    } else {
        tracing::error!(topoheight, field = %planted, verdict = ?canary.verdict, "canary missed");
    }
}
