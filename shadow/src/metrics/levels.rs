//! What the ledger adds up to at this moment, kept up with it block by block.
//!
//! A block that is ordered away no longer counts, so what it had added is taken back when the block
//! that takes its place is judged. For that the newest entries are remembered, as far back as a re-order
//! can reach.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use comparator::{Field, Severity};
use storage_snapshot::TopoHeight;

use super::{
    declared::Instruments,
    evidence::Evidence,
    words::{CandidateNames, SEVERITIES, fields},
};
use crate::{
    accept::Acceptances,
    fingerprint::FingerprintId,
    kinds::TransactionKind,
    ledger::{CandidateEntry, Doubts, FoundProblem, LedgerEntry},
    shapes::Shape,
};

/// The running sum of the ledger.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// The newest blocks that stand, in order.
    newest: VecDeque<LedgerEntry>,
    /// Blocks that were ordered away and not replaced, with what was found there, and the doubts.
    stale: BTreeMap<TopoHeight, (Vec<FoundProblem>, u64, Doubts)>,
    /// Differences of blocks that were ordered away, replaced or not, by what accepting them goes by.
    gone: BTreeMap<Gone, u64>,
    /// Differences of blocks that were ordered away and replaced.
    replaced_mismatches: u64,
    last: Option<TopoHeight>,
    missing: u64,
    evidence: Evidence,
}

/// What differences have in common that are accepted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Gone {
    candidate: String,
    build: String,
    fingerprint: FingerprintId,
    fields: BTreeSet<Field>,
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
        self.count_gone(&entry.earlier_problems, sign > 0.0);
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
        let found: Vec<_> = entry.problems().collect();
        self.count_gone(&found, true);
        self.stale.insert(entry.topoheight, (found, entry.mismatches(), entry.doubts()));
    }

    /// Whatever takes its place has taken over what was found there.
    fn remove_stale(&mut self, at: TopoHeight, to: &Instruments) {
        if let Some((found, _, doubts)) = self.stale.remove(&at) {
            self.count_doubts(doubts, -1.0, to);
            self.count_gone(&found, false);
        }
    }

    fn count_gone(&mut self, found: &[FoundProblem], is_added: bool) {
        for found in found {
            let gone = Gone {
                candidate: found.candidate.clone(),
                build: found.build.clone(),
                fingerprint: found.fingerprint,
                fields: found.fields.keys().copied().collect(),
            };
            let count = self.gone.entry(gone).or_default();
            let by = found.mismatches();
            *count = if is_added { *count + by } else { count.saturating_sub(by) };
        }
        self.gone.retain(|_, count| *count > 0);
    }

    /// Shows how many differences of blocks that were ordered away nobody accepted.
    pub(super) fn show_stale(&self, acceptances: &Acceptances, to: &Instruments) {
        let stale: u64 = self.stale.values().map(|(_, mismatches, _)| mismatches).sum();
        let all = stale.saturating_add(self.replaced_mismatches);
        let accepted = self.gone.iter().filter(|(gone, _)| gone.is_accepted(acceptances));
        let accepted: u64 = accepted.map(|(_, count)| count).sum();
        let open = all.saturating_sub(accepted);
        to.ledger_stale_mismatches.with_label_values(&NONE).set(open as f64);
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
        let (same, differs) = self.evidence.again();
        to.ledger_controls_again.with_label_values(&["same"]).set(same as f64);
        to.ledger_controls_again.with_label_values(&["differs"]).set(differs as f64);
    }
}

impl Gone {
    fn is_accepted(&self, acceptances: &Acceptances) -> bool {
        let Self { candidate, build, fingerprint, fields } = self;
        acceptances.of(*fingerprint).is_some_and(|acceptance| {
            acceptance.covers_all(*fingerprint, candidate, build, fields.iter())
        })
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
