//! Coverage: which topoheights were compared, under which conditions, and how much of what.
//!
//! A number of agreements is worth what was exercised to get it. So every candidate has its own
//! evidence, counted for one configuration of it: evidence about another build, or by other rules, is
//! shown and never added to it.

mod ranges;

use std::{collections::BTreeMap, fmt};

use comparator::{Field, Severity};
pub use ranges::{Ranges, VerdictRanges};
use serde::Serialize;
use storage_snapshot::{Store, TopoHeight};

use crate::{
    accept::Acceptances,
    execute::{BlockExecutor, SerialExecutor},
    kinds::{KindCount, TransactionKind},
    ledger::{CandidateEntry, LedgerEntry, LedgerError, entries},
    rules::RULES,
    shapes::{Shape, ShapeCounts},
};

/// What a ledger covers.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// The topoheights by the worst verdict of all candidates.
    pub verdicts: VerdictRanges,
    /// Those of blocks that have since been ordered away, and that none has taken the place of.
    pub stale: Ranges,
    /// Those between the first and the last that have no entry at all.
    pub missing: Ranges,
    /// Differences that were found in blocks that have since been ordered away.
    pub stale_mismatches: u64,
    /// Each candidate's own.
    pub candidates: BTreeMap<String, CandidateCoverage>,
    /// Those that count.
    standing: Ranges,
    last: Option<TopoHeight>,
    acceptances: Acceptances,
}

/// What a ledger covers of one candidate.
#[derive(Clone, Debug)]
pub struct CandidateCoverage {
    /// The topoheights by this candidate's verdict, whatever its configuration was.
    pub verdicts: VerdictRanges,
    /// Those of blocks that it has no verdict on.
    pub without_verdict: Ranges,
    /// What counts: the evidence about the configuration under test.
    pub evidence: Evidence,
    /// What was found with other configurations, or with this one before another was under test. Of the
    /// latter only what speaks against it counts.
    pub earlier: BTreeMap<Configuration, EarlierEvidence>,
}

/// What evidence is about. If any of it changes, counting starts again.
///
/// The number of workers is not part of it: it is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Configuration {
    /// Which build of the candidate.
    pub build: String,
    /// By which rules it was judged; empty where that is not known.
    pub rules: String,
    /// Which build of the control it was compared with; empty where that is not known.
    pub control_build: String,
}

/// What speaks for and against one configuration of a candidate.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// What it is about.
    pub configuration: Configuration,
    /// The first block that counts.
    pub since: TopoHeight,
    /// The last one.
    pub through: TopoHeight,
    /// Its blocks by verdict.
    pub blocks: BlockCounts,
    /// How many of those with a mismatch are accepted. Nothing is held to be exercised by them.
    pub accepted: u64,
    /// How many differences are in them.
    pub accepted_mismatches: u64,
    /// In how many blocks the candidate was left alone, because it had failed in those before.
    pub suspended: u64,
    /// How many blocks since the first have no verdict of this candidate.
    pub without_verdict: u64,
    /// Why blocks proved nothing or were not judged, by `verdict:reason`.
    pub reasons: BTreeMap<String, u64>,
    /// Differences by field.
    pub fields: BTreeMap<Field, u64>,
    /// What was exercised, by the number of workers; 0 is for blocks of which that is not known.
    pub by_workers: BTreeMap<u32, Tally>,
    /// What the blocks hold that have a difference, those included that were judged before another
    /// configuration was under test.
    pub in_mismatches: Tally,
}

/// What was found with a configuration before another was under test.
#[derive(Clone, Debug, Serialize)]
pub struct EarlierEvidence {
    /// The first block.
    pub since: TopoHeight,
    /// The last one.
    pub through: TopoHeight,
    /// The blocks by verdict.
    pub blocks: BlockCounts,
    /// How many of those with a mismatch are accepted.
    pub accepted: u64,
    /// How many differences are in the others.
    pub mismatches: u64,
    /// What the blocks hold that have a difference.
    #[serde(skip)]
    pub in_mismatches: Tally,
}

/// What some blocks hold.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// How many there are.
    pub blocks: u64,
    kind_blocks: [u64; TransactionKind::ALL.len()],
    kinds: [u64; TransactionKind::ALL.len()],
    shape_blocks: ShapeCounts,
    shapes: ShapeCounts,
}

/// What is known of the transactions of one kind, or of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Class {
    /// How many exercised blocks have one.
    pub blocks: u64,
    /// How many of them were exercised.
    pub transactions: u64,
    /// How many blocks with a mismatch have one.
    pub mismatch_blocks: u64,
    /// [`divergence_below`], of its transactions; `None` if any block with one has a mismatch.
    pub divergence_below: Option<f64>,
}

/// Blocks by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockCounts {
    /// All of them.
    pub total: u64,
    /// Compared at work, and agreed.
    #[serde(rename = "match")]
    pub matching: u64,
    /// Differed.
    pub mismatch: u64,
    /// Without a control that can be trusted.
    pub inconclusive: u64,
    /// Agreed, which proves nothing.
    pub not_exercised: u64,
    /// Not executed here.
    pub opaque: u64,
    /// Those in which the candidate was compared at work: all that match, and of those that differ the
    /// ones in which two workers each executed a transaction of one batch.
    pub exercised: u64,
}

impl Coverage {
    /// What the ledger of a store covers at this moment.
    ///
    /// # Errors
    ///
    /// When an entry cannot be read.
    pub fn read(store: &Store) -> Result<Self, LedgerError> {
        let mut coverage = Self::default();
        for entry in entries(store, TopoHeight::GENESIS) {
            coverage.add(&entry?);
        }
        Ok(coverage)
    }

    /// Counts apart what somebody expects. To be told before anything is added.
    #[must_use]
    pub fn accepting(mut self, acceptances: Acceptances) -> Self {
        self.acceptances = acceptances;
        self
    }

    /// Adds a block. Entries are added in the order of topoheights.
    pub fn add(&mut self, entry: &LedgerEntry) {
        let at = entry.topoheight;
        if let Some(next) = self.last.map(TopoHeight::next)
            && let Some(before) = at.previous()
            && next <= before
        {
            self.missing.push_all(next, before);
        }
        self.last = Some(at);
        if entry.stale {
            self.stale.push(at);
            let found: Vec<_> = entry.problems().collect();
            let accepted = self.acceptances.accepted_of(found.iter());
            self.stale_mismatches += entry.mismatches().saturating_sub(accepted);
            return;
        }
        let accepted = self.acceptances.accepted_of(entry.earlier_problems.iter());
        self.stale_mismatches += entry.earlier_mismatches.saturating_sub(accepted);
        self.verdicts.push(entry.severity(), at);
        for judged in &entry.candidates {
            let candidate = self
                .candidates
                .entry(judged.candidate.clone())
                .or_insert_with(|| CandidateCoverage::new(entry, judged, &self.standing));
            candidate.add(entry, judged, self.acceptances.covering(judged).is_some());
        }
        for (name, candidate) in &mut self.candidates {
            if entry.candidates.iter().all(|judged| judged.candidate != *name) {
                candidate.without_verdict.push(at);
                candidate.evidence.without_verdict += 1;
            }
        }
        self.standing.push(at);
    }

    /// The topoheights that count.
    pub const fn standing(&self) -> &Ranges {
        &self.standing
    }

    /// The last topoheight that has an entry.
    pub const fn last(&self) -> Option<TopoHeight> {
        self.last
    }
}

impl CandidateCoverage {
    fn new(entry: &LedgerEntry, judged: &CandidateEntry, before: &Ranges) -> Self {
        Self {
            verdicts: VerdictRanges::default(),
            without_verdict: before.clone(),
            evidence: Evidence::new(Configuration::of(entry, judged), entry.topoheight),
            earlier: BTreeMap::new(),
        }
    }

    fn add(&mut self, entry: &LedgerEntry, judged: &CandidateEntry, is_accepted: bool) {
        self.verdicts.push(judged.verdict, entry.topoheight);
        if !self.evidence.configuration.is_of(entry, judged) {
            let mut begun = Evidence::new(Configuration::of(entry, judged), entry.topoheight);
            if let Some(before) = self.earlier.get(&begun.configuration) {
                begun.in_mismatches = before.in_mismatches.clone();
            }
            let ended = std::mem::replace(&mut self.evidence, begun);
            let configuration = ended.configuration.clone();
            self.earlier
                .entry(configuration)
                .and_modify(|earlier| earlier.add(&ended))
                .or_insert_with(|| EarlierEvidence::of(&ended));
        }
        self.evidence.add(entry, judged, is_accepted);
    }
}

impl EarlierEvidence {
    fn of(ended: &Evidence) -> Self {
        Self {
            since: ended.since,
            through: ended.through,
            blocks: ended.blocks,
            accepted: ended.accepted,
            mismatches: ended.mismatches(),
            in_mismatches: ended.in_mismatches.clone(),
        }
    }

    fn add(&mut self, ended: &Evidence) {
        self.through = ended.through;
        self.blocks.add(&ended.blocks);
        self.accepted += ended.accepted;
        self.mismatches += ended.mismatches();
        // There the earlier ones are already.
        self.in_mismatches = ended.in_mismatches.clone();
    }
}

impl Configuration {
    /// What a verdict of this build on a candidate of that one is about.
    pub(crate) fn now(build: impl Into<String>) -> Self {
        Self { build: build.into(), rules: RULES.to_owned(), control_build: SerialExecutor.build() }
    }

    pub(crate) fn of(entry: &LedgerEntry, judged: &CandidateEntry) -> Self {
        Self {
            build: judged.build.clone(),
            rules: entry.rules.clone(),
            control_build: entry.control_build.clone(),
        }
    }

    pub(crate) fn is_of(&self, entry: &LedgerEntry, judged: &CandidateEntry) -> bool {
        self.build == judged.build
            && self.rules == entry.rules
            && self.control_build == entry.control_build
    }
}

/// In words: the build, the rules, and what it was compared with.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |word: &str| if word.is_empty() { "not known" } else { word }.to_owned();
        write!(
            f,
            "build {}; rules {}; control {}",
            or_unknown(&self.build),
            or_unknown(&self.rules),
            or_unknown(&self.control_build)
        )
    }
}

impl Evidence {
    fn new(configuration: Configuration, since: TopoHeight) -> Self {
        Self {
            configuration,
            since,
            through: since,
            blocks: BlockCounts::default(),
            accepted: 0,
            accepted_mismatches: 0,
            suspended: 0,
            without_verdict: 0,
            reasons: BTreeMap::new(),
            fields: BTreeMap::new(),
            by_workers: BTreeMap::new(),
            in_mismatches: Tally::default(),
        }
    }

    fn add(&mut self, entry: &LedgerEntry, judged: &CandidateEntry, is_accepted: bool) {
        self.through = entry.topoheight;
        let is_exercised = judged.is_exercised() && !is_accepted;
        self.blocks.count(judged.verdict, is_exercised);
        if let Some(reason) = &judged.reason {
            let reason = format!("{}:{reason}", judged.verdict.word());
            *self.reasons.entry(reason).or_default() += 1;
        }
        for (field, count) in &judged.fields {
            *self.fields.entry(*field).or_default() += count;
        }
        self.suspended += u64::from(judged.is_suspended());
        if is_accepted {
            self.accepted += 1;
            self.accepted_mismatches += judged.fields.values().sum::<u64>();
        }
        if is_exercised {
            self.by_workers.entry(judged.workers()).or_default().add(entry);
        }
        if judged.verdict == Severity::Mismatch {
            self.in_mismatches.add(entry);
        }
    }

    /// What was exercised under at least so many workers.
    pub fn exercised_under(&self, workers: u32) -> Tally {
        let mut sum = Tally::default();
        self.by_workers.range(workers..).for_each(|(_, tally)| sum.add_all(tally));
        sum
    }

    /// Everything that was exercised.
    pub fn exercised(&self) -> Tally {
        self.exercised_under(0)
    }

    /// What is known of a kind. A mismatch in a block that is gone may have been of any kind.
    pub fn of_kind(&self, kind: TransactionKind, stale_mismatches: u64) -> Class {
        let exercised = self.exercised();
        let blocks = exercised.kind_blocks[kind as usize];
        let mismatch_blocks = self.in_mismatches.kind_blocks[kind as usize];
        Class::new(blocks, exercised.of_kind(kind), mismatch_blocks, stale_mismatches)
    }

    /// What is known of a shape. A mismatch in a block that is gone may have been of any shape.
    pub fn of_shape(&self, shape: Shape, stale_mismatches: u64) -> Class {
        let exercised = self.exercised();
        let blocks = exercised.shape_blocks.of(shape);
        let mismatch_blocks = self.in_mismatches.shape_blocks.of(shape);
        Class::new(blocks, exercised.of_shape(shape), mismatch_blocks, stale_mismatches)
    }

    /// How many differences there are that nobody accepted.
    pub fn mismatches(&self) -> u64 {
        self.fields.values().sum::<u64>().saturating_sub(self.accepted_mismatches)
    }
}

impl Class {
    fn new(blocks: u64, transactions: u64, mismatch_blocks: u64, stale_mismatches: u64) -> Self {
        let divergence_below = divergence_below(transactions, mismatch_blocks + stale_mismatches);
        Self { blocks, transactions, mismatch_blocks, divergence_below }
    }
}

impl Tally {
    fn add(&mut self, entry: &LedgerEntry) {
        self.blocks += 1;
        for kind in TransactionKind::ALL {
            let KindCount { total, executed } = entry.kinds.of(kind);
            self.kind_blocks[kind as usize] += u64::from(total > 0);
            self.kinds[kind as usize] += executed;
        }
        for (shape, transactions) in entry.shapes.iter() {
            self.shape_blocks.add(shape, 1);
            self.shapes.add(shape, transactions);
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.blocks += other.blocks;
        for kind in TransactionKind::ALL {
            self.kind_blocks[kind as usize] += other.kind_blocks[kind as usize];
            self.kinds[kind as usize] += other.kinds[kind as usize];
        }
        other.shape_blocks.iter().for_each(|(shape, count)| self.shape_blocks.add(shape, count));
        other.shapes.iter().for_each(|(shape, count)| self.shapes.add(shape, count));
    }

    /// The executed transactions of a kind in these blocks.
    pub const fn of_kind(&self, kind: TransactionKind) -> u64 {
        self.kinds[kind as usize]
    }

    /// The transactions in these blocks that take part in a shape.
    pub const fn of_shape(&self, shape: Shape) -> u64 {
        self.shapes.of(shape)
    }
}

/// The rate that a kind of divergence stays below, with a confidence of 95 %, after `exercised` trials
/// of which none diverged: 3 / `exercised`, the rule of three.
///
/// It assumes that what was exercised is representative of what comes, and that the trials are
/// independent of each other. `None` where it would say nothing: with a divergence, or too few trials.
pub fn divergence_below(exercised: u64, diverged: u64) -> Option<f64> {
    (diverged == 0 && exercised > 3).then(|| 3.0 / exercised as f64)
}

/// A rate that something stays below, in percent with two digits that count: rounded up, so that it
/// does stay below, and never to nothing.
pub fn rate_in_percent(rate: f64) -> String {
    let percent = rate * 100.0;
    // Nothing that is counted here is rarer than one in 2^64.
    let decimals = (1.0 - percent.log10().floor()).clamp(0.0, 20.0) as i32;
    let step = 10_f64.powi(decimals);
    // What is exact in two digits is not made more by how numbers are held.
    let rounded = (percent * step * (1.0 - f64::EPSILON * 4.0)).ceil() / step;
    format!("{rounded:.*} %", decimals as usize)
}

impl BlockCounts {
    /// Counts one more.
    pub(crate) const fn count(&mut self, verdict: Severity, is_exercised: bool) {
        self.total += 1;
        self.exercised += is_exercised as u64;
        *match verdict {
            Severity::Match => &mut self.matching,
            Severity::Mismatch => &mut self.mismatch,
            Severity::Inconclusive => &mut self.inconclusive,
            Severity::NotExercised => &mut self.not_exercised,
            Severity::Opaque => &mut self.opaque,
        } += 1;
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.total += other.total;
        self.matching += other.matching;
        self.mismatch += other.mismatch;
        self.inconclusive += other.inconclusive;
        self.not_exercised += other.not_exercised;
        self.opaque += other.opaque;
        self.exercised += other.exercised;
    }
}
