//! What the ledger adds up to at this moment, kept up with it block by block.
//!
//! A block that is ordered away no longer counts, so what it had added is taken back when the block
//! that takes its place is judged. For that the newest entries are remembered, as far back as a re-order
//! can reach.

use std::collections::{BTreeMap, VecDeque};

use comparator::Severity;
use storage_snapshot::TopoHeight;

use super::{
    declared::Instruments,
    evidence::Evidence,
    words::{CandidateNames, SEVERITIES, fields},
};
use crate::{
    kinds::TransactionKind,
    ledger::{CandidateEntry, Doubts, LedgerEntry},
    shapes::Shape,
};

/// The running sum of the ledger.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// The newest blocks that stand, in order.
    newest: VecDeque<LedgerEntry>,
    /// Blocks that were ordered away and not replaced, with the differences found there, and the doubts.
    stale: BTreeMap<TopoHeight, (u64, Doubts)>,
    /// Differences of blocks that were ordered away and replaced.
    replaced_mismatches: u64,
    last: Option<TopoHeight>,
    missing: u64,
    evidence: Evidence,
}

/// How many judged blocks an entry took back: none, usually.
pub(super) type TakenBack = u64;

impl Levels {
    /// Asks for verdicts on a build of a candidate. To be told before anything is added.
    pub(super) fn ask_for(&mut self, candidate: &str, build: &str) {
        self.evidence.ask_for(candidate, build);
    }

    /// Adds an entry that became durable.
    pub(super) fn add(
        &mut self,
        entry: LedgerEntry,
        names: &mut CandidateNames,
        to: &Instruments,
    ) -> TakenBack {
        let at = entry.topoheight;
        if let Some(place) = self.newest.iter().position(|newest| is_judged_again(newest, &entry)) {
            let before = std::mem::replace(&mut self.newest[place], entry);
            self.count(&before, -1.0, names, to);
            self.count(&self.newest[place].clone(), 1.0, names, to);
            self.show(to);
            return 0;
        }
        let mut taken_back = 0;
        while self.newest.back().is_some_and(|newest| newest.topoheight >= at)
            && let Some(newest) = self.newest.pop_back()
        {
            self.count(&newest, -1.0, names, to);
            self.add_stale(&newest, to);
            self.last = newest.topoheight.previous();
            taken_back += 1;
        }
        if entry.stale {
            self.add_stale(&entry, to);
            self.show(to);
            return taken_back;
        }
        if let Some(last) = self.last {
            self.missing += at.as_u64().saturating_sub(last.as_u64() + 1);
        }
        self.remove_stale(at, to);
        self.last = Some(at);
        self.count(&entry, 1.0, names, to);
        self.newest.push_back(entry);
        if self.newest.len() > REMEMBERED_BLOCKS {
            self.newest.pop_front();
        }
        self.show(to);
        taken_back
    }

    /// Adds what more was found in a block that was added before.
    pub(super) fn amend(
        &mut self,
        before: &LedgerEntry,
        entry: LedgerEntry,
        names: &mut CandidateNames,
        to: &Instruments,
    ) {
        let at = entry.topoheight;
        self.count(before, -1.0, names, to);
        self.count(&entry, 1.0, names, to);
        if let Some(newest) = self.newest.iter_mut().find(|newest| newest.topoheight == at) {
            *newest = entry;
        }
        self.show(to);
    }

    /// The newest block that stands.
    pub(super) const fn last(&self) -> Option<TopoHeight> {
        self.last
    }

    /// What speaks for the candidates as they are now.
    pub(super) const fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Adds what one entry says, or takes it back.
    fn count(
        &mut self,
        entry: &LedgerEntry,
        sign: f64,
        names: &mut CandidateNames,
        to: &Instruments,
    ) {
        let state = match entry.severity() {
            Severity::Match => "exercised",
            // One that crashed was not compared at work.
            Severity::Mismatch if entry.is_exercised() => "exercised",
            Severity::Mismatch => Severity::NotExercised.word(),
            other => other.word(),
        };
        to.ledger_positions.with_label_values(&[state]).add(sign);
        for judged in &entry.candidates {
            let (name, _) = names.label(&judged.candidate);
            count_candidate(&name, judged, entry, sign, to);
        }
        if let Some(canary) = &entry.canary {
            to.ledger_canaries.with_label_values(&[caught(canary.was_caught())]).add(sign);
        }
        self.count_doubts(entry.earlier_doubts, sign, to);
        self.evidence.count(entry, sign > 0.0);
        self.replaced_mismatches = if sign > 0.0 {
            self.replaced_mismatches.saturating_add(entry.earlier_mismatches)
        } else {
            self.replaced_mismatches.saturating_sub(entry.earlier_mismatches)
        };
    }

    fn add_stale(&mut self, entry: &LedgerEntry, to: &Instruments) {
        self.remove_stale(entry.topoheight, to);
        self.count_doubts(entry.doubts(), 1.0, to);
        self.stale.insert(entry.topoheight, (entry.mismatches(), entry.doubts()));
    }

    /// Whatever takes its place has taken over what was found there.
    fn remove_stale(&mut self, at: TopoHeight, to: &Instruments) {
        if let Some((_, doubts)) = self.stale.remove(&at) {
            self.count_doubts(doubts, -1.0, to);
        }
    }

    /// Adds the doubts of blocks that were ordered away, or takes them back.
    fn count_doubts(&mut self, doubts: Doubts, sign: f64, to: &Instruments) {
        let missed = sign * doubts.canaries_missed as f64;
        to.ledger_canaries.with_label_values(&[caught(false)]).add(missed);
        self.evidence.count_again(doubts.again_differ, sign > 0.0);
    }

    pub(super) fn show(&self, to: &Instruments) {
        to.ledger_positions.with_label_values(&["stale"]).set(self.stale.len() as f64);
        to.ledger_positions.with_label_values(&["missing"]).set(self.missing as f64);
        let stale: u64 = self.stale.values().map(|(mismatches, _)| mismatches).sum();
        let mismatches = stale.saturating_add(self.replaced_mismatches);
        to.ledger_stale_mismatches.with_label_values(&NONE).set(mismatches as f64);
    }
}

/// Whether an entry says something new of the same block on top of the same state.
fn is_judged_again(before: &LedgerEntry, entry: &LedgerEntry) -> bool {
    before.topoheight == entry.topoheight
        && before.block_hash == entry.block_hash
        && before.state_digest == entry.state_digest
        && !entry.stale
}

fn count_candidate(
    name: &str,
    judged: &CandidateEntry,
    entry: &LedgerEntry,
    sign: f64,
    to: &Instruments,
) {
    let change = |count: u64| sign * count as f64;
    to.ledger_blocks.with_label_values(&[name, judged.verdict.word()]).add(sign);
    for (field, count) in &judged.fields {
        to.ledger_mismatches.with_label_values(&[name, field.as_str()]).add(change(*count));
    }
    if judged.is_exercised() {
        for kind in TransactionKind::EXECUTED {
            let executed = change(entry.kinds.of(kind).executed);
            to.ledger_kind_transactions.with_label_values(&[name, kind.as_str()]).add(executed);
        }
        for (shape, count) in entry.shapes.iter() {
            let labels = [name, shape.as_str()];
            to.ledger_shape_transactions.with_label_values(&labels).add(change(count));
        }
    }
}

/// Makes every series of a candidate be there before anything happened.
pub(super) fn zero(name: &str, to: &Instruments) {
    for severity in SEVERITIES {
        to.ledger_blocks.with_label_values(&[name, severity.word()]);
    }
    for field in fields() {
        to.ledger_mismatches.with_label_values(&[name, field]);
    }
    for kind in TransactionKind::EXECUTED {
        to.ledger_kind_transactions.with_label_values(&[name, kind.as_str()]);
    }
    for shape in Shape::ALL {
        to.ledger_shape_transactions.with_label_values(&[name, shape.as_str()]);
    }
}

/// The word for what became of a canary.
pub(super) const fn caught(was_caught: bool) -> &'static str {
    if was_caught { "caught" } else { "missed" }
}

/// No labels.
pub(super) const NONE: [&str; 0] = [];

/// The store refuses to go back further than half of this.
const REMEMBERED_BLOCKS: usize = 512;
