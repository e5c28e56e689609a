//! What happened since the process started: counters and distributions, fed by every entry that becomes
//! durable.

use comparator::Severity;

use super::{
    declared::Instruments,
    levels::{NONE, caught},
    status::POSITIONS,
    words::{
        CONFLICT_RATES, CandidateNames, INCONCLUSIVE, NOT_EXERCISED, OPAQUE, OTHER, SEVERITIES,
        SIZES, among, conflict_rate_of, size_of,
    },
};
use crate::{
    kinds::TransactionKind,
    ledger::{CandidateEntry, LedgerEntry},
    rules::Quirk,
};

/// Counts one entry.
pub(super) fn count(entry: &LedgerEntry, names: &mut CandidateNames, to: &Instruments) {
    for judged in &entry.candidates {
        let (name, _) = names.label(&judged.candidate);
        count_candidate(&name, judged, entry, to);
    }
    if let Some(first) = entry.candidates.first() {
        // A block has a control or it has none, so all candidates tell the same.
        let reason = first.reason.as_deref().unwrap_or(OTHER);
        match first.verdict {
            Severity::Inconclusive => {
                to.inconclusive.with_label_values(&[among(reason, INCONCLUSIVE)]).inc();
            }
            Severity::Opaque => to.opaque.with_label_values(&[among(reason, OPAQUE)]).inc(),
            Severity::Match | Severity::NotExercised | Severity::Mismatch => {}
        }
    }
    if let Some(canary) = &entry.canary {
        to.canaries.with_label_values(&[caught(canary.was_caught())]).inc();
    }
    count_transactions(entry, to);
    let quirks = Quirk::ALL.map(Quirk::name);
    for (quirk, count) in &entry.quirks {
        to.quirks.with_label_values(&[among(quirk, &quirks)]).inc_by(*count);
    }
    let node = &entry.node;
    for (kind, count) in [
        ("compared", node.compared),
        ("differ", node.differ),
        ("taken", node.taken),
        ("not_asked", node.not_asked),
    ] {
        to.node_answers.with_label_values(&[kind]).inc_by(count);
    }
    to.loads.with_label_values(&["cache"]).inc_by(entry.loads.from_cache);
    to.loads.with_label_values(&["store"]).inc_by(entry.loads.from_store);
    let seconds = &entry.seconds;
    for (step, seconds) in [
        ("serial", seconds.serial),
        ("parallel", seconds.parallel),
        ("compare", seconds.compare),
        ("commit", seconds.commit),
    ] {
        to.step_seconds.with_label_values(&[step]).observe(seconds);
    }
}

/// A re-order took so many judged blocks back.
pub(super) fn count_re_order(taken_back: u64, to: &Instruments) {
    to.re_orders.with_label_values(&NONE).inc();
    to.re_ordered_blocks.with_label_values(&NONE).inc_by(taken_back);
    to.re_order_depth.with_label_values(&NONE).observe(taken_back as f64);
}

fn count_transactions(entry: &LedgerEntry, to: &Instruments) {
    let transactions = &entry.transactions;
    for (outcome, count) in [
        ("executed", transactions.executed),
        ("skipped", transactions.skipped),
        ("failed", transactions.failed),
        ("opaque", transactions.opaque),
    ] {
        to.transactions.with_label_values(&[outcome]).inc_by(count);
    }
    for kind in TransactionKind::ALL {
        let counts = entry.kinds.of(kind);
        let others = counts.total.saturating_sub(counts.executed);
        let of = |outcome| to.kind_transactions.with_label_values(&[kind.as_str(), outcome]);
        of("executed").inc_by(counts.executed);
        of("not_executed").inc_by(others);
    }
    if entry.conservation_unchecked > 0 {
        to.conservation_unchecked.with_label_values(&NONE).inc();
    }
}

fn count_candidate(name: &str, judged: &CandidateEntry, entry: &LedgerEntry, to: &Instruments) {
    to.judged_blocks.with_label_values(&[name, judged.verdict.word()]).inc();
    if judged.verdict == Severity::NotExercised {
        let reason = among(judged.reason.as_deref().unwrap_or(OTHER), NOT_EXERCISED);
        to.not_exercised.with_label_values(&[name, reason]).inc();
    }
    if judged.schedule_dependent {
        to.schedule_dependent.with_label_values(&[name]).inc();
    }
    let Some(exercise) = judged.exercise else { return };
    to.workers.with_label_values(&[name]).set(f64::from(exercise.workers));
    let in_flight = f64::from(exercise.max_in_flight);
    to.in_flight.with_label_values(&[name]).set(in_flight);
    let most = to.in_flight_max.with_label_values(&[name]);
    most.set(most.get().max(in_flight));
    to.batches.with_label_values(&[name]).inc_by(u64::from(exercise.batches));
    to.runs.with_label_values(&[name]).inc_by(u64::from(exercise.runs));
    if judged.is_exercised() && exercise.seconds > 0.0 {
        let serial = entry.seconds.serial;
        to.speedup.with_label_values(&[name]).observe(serial / exercise.seconds);
        let labels = [name, size_of(entry.transactions.total), conflict_rate_of(entry)];
        to.speedup_serial.with_label_values(&labels).inc_by(serial.max(0.0));
        to.speedup_candidate.with_label_values(&labels).inc_by(exercise.seconds);
    }
}

/// Makes every series be there before anything happened, those of candidates left out.
pub(super) fn zero(to: &Instruments) {
    for reason in INCONCLUSIVE.iter().chain([&OTHER]) {
        to.inconclusive.with_label_values(&[reason]);
    }
    for kind in OPAQUE.iter().chain([&OTHER]) {
        to.opaque.with_label_values(&[kind]);
    }
    for outcome in ["caught", "missed"] {
        to.canaries.with_label_values(&[outcome]);
        to.ledger_canaries.with_label_values(&[outcome]);
    }
    for outcome in ["executed", "skipped", "failed", "opaque"] {
        to.transactions.with_label_values(&[outcome]);
    }
    for kind in TransactionKind::ALL {
        for outcome in ["executed", "not_executed"] {
            to.kind_transactions.with_label_values(&[kind.as_str(), outcome]);
        }
    }
    for quirk in Quirk::ALL.map(Quirk::name).iter().chain([&OTHER]) {
        to.quirks.with_label_values(&[quirk]);
    }
    for kind in ["compared", "differ", "taken", "not_asked"] {
        to.node_answers.with_label_values(&[kind]);
    }
    for source in ["cache", "store"] {
        to.loads.with_label_values(&[source]);
    }
    for step in ["serial", "parallel", "compare", "commit"] {
        to.step_seconds.with_label_values(&[step]);
    }
    for state in POSITIONS {
        to.ledger_positions.with_label_values(&[state]);
    }
    to.conservation_unchecked.with_label_values(&NONE);
    to.re_orders.with_label_values(&NONE);
    to.re_ordered_blocks.with_label_values(&NONE);
    to.re_order_depth.with_label_values(&NONE);
}

/// The same for a candidate.
pub(super) fn zero_candidate(name: &str, to: &Instruments) {
    for severity in SEVERITIES {
        to.judged_blocks.with_label_values(&[name, severity.word()]);
    }
    for reason in NOT_EXERCISED.iter().chain([&OTHER]) {
        to.not_exercised.with_label_values(&[name, reason]);
    }
    for state in ["open", "accepted"] {
        to.fingerprints.with_label_values(&[name, state]);
    }
    to.schedule_dependent.with_label_values(&[name]);
    to.workers.with_label_values(&[name]);
    to.in_flight.with_label_values(&[name]);
    to.in_flight_max.with_label_values(&[name]);
    to.batches.with_label_values(&[name]);
    to.runs.with_label_values(&[name]);
    to.speedup.with_label_values(&[name]);
    for size in SIZES {
        for conflict_rate in CONFLICT_RATES {
            to.speedup_serial.with_label_values(&[name, size, conflict_rate]);
            to.speedup_candidate.with_label_values(&[name, size, conflict_rate]);
        }
    }
}
