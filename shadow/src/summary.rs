//! The summary of a run: the sum of its ledger, and what it means.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use comparator::Field;
use serde::Serialize;
use storage_snapshot::StateDigest;

use crate::{
    compared::{NotCompared, compared},
    coverage::BlockCounts,
    exit_code::ExitCode,
    ledger::{
        FirstMismatch, LedgerEntry, LoadCounts, ReOrderCounts, StepSeconds, TransactionCounts,
    },
    node::NodeCounts,
    report::stale_difference,
    rules::RULES,
    source::node::TrafficCounts,
};

pub(crate) use text::words;

/// The version of the summary object.
const FORMAT_VERSION: u64 = 1;

/// What a ledger adds up to. Its JSON form is the summary object.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    format_version: u64,
    rules: &'static str,
    verdict: RunVerdict,
    blocks: BlockCounts,
    transactions: TransactionCounts,
    node_check: NodeCounts,
    quirks: BTreeMap<String, u64>,
    mismatches: Mismatches,
    exercise: Exercise,
    loads: LoadCounts,
    seconds: Seconds,
    state_digest: Option<String>,
    /// Each candidate's own verdicts.
    candidates: BTreeMap<String, BlockCounts>,
    /// Why blocks proved nothing or were not judged, by `verdict:reason`.
    reasons: BTreeMap<String, u64>,
    /// Entries of blocks that have since been ordered away, and that none has taken the place of.
    stale: u64,
    /// Differences that were found in blocks that have since been ordered away; counted nowhere else.
    stale_mismatches: u64,
    /// Which blocks have since been ordered away, replaced or not.
    re_orders: ReOrderCounts,
    /// Blocks with assets whose conservation could not be checked, because a failed transaction loses
    /// what it had debited.
    conservation_unchecked_blocks: u64,
    /// Results that were altered on purpose, to see whether that is noticed.
    canaries: Canaries,
    /// Blocks in which runs of a candidate under different schedules differ from each other.
    schedule_dependent_blocks: u64,
    /// What every block with a control is compared in.
    compared: Vec<Field>,
    /// What it is not.
    not_compared: &'static [NotCompared],
    /// Whether the run was stopped before its end.
    interrupted: bool,
    /// Why, in a sentence.
    interrupted_because: Option<String>,
    /// What was asked of the node by this process, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic: Option<TrafficOfRun>,
    /// What ended the run early.
    error: Option<String>,
    /// The candidates that the run was asked for: each has to have been exercised.
    #[serde(skip)]
    asked: Vec<String>,
}

/// What a run says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunVerdict {
    /// Nothing differs, and enough was exercised to say so.
    Clean,
    /// Something differs.
    Mismatch,
    /// Nothing differs, and that proves too little.
    NotEnoughEvidence,
    /// The run ended early.
    Error,
}

/// What was asked of a node for the blocks that a run took from it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TrafficOfRun {
    /// How many blocks were taken, those included that were ordered away.
    blocks: u64,
    requests_per_block: f64,
    bytes_per_block: f64,
    #[serde(flatten)]
    counts: TrafficCounts,
}

impl TrafficOfRun {
    pub(crate) fn new(blocks: u64, counts: TrafficCounts) -> Self {
        let each = |count: u64| count as f64 / blocks.max(1) as f64;
        Self {
            blocks,
            requests_per_block: each(counts.requests),
            bytes_per_block: each(counts.bytes_sent + counts.bytes_received),
            counts,
        }
    }
}

/// Results that were altered on purpose.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Canaries {
    planted: u64,
    caught: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Mismatches {
    total: u64,
    by_field: BTreeMap<Field, u64>,
    first: Option<FirstMismatch>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Exercise {
    /// The most that one block ran under.
    workers: u32,
    /// In all blocks together.
    batches: u64,
    /// The widest of all.
    max_in_flight: u32,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Seconds {
    /// Of this process, as the clock on the wall shows it.
    elapsed: f64,
    #[serde(flatten)]
    steps: StepSeconds,
}

impl Summary {
    /// An empty ledger, of a run that was asked to judge these candidates.
    pub fn new(candidates: impl IntoIterator<Item = String>) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            rules: RULES,
            verdict: RunVerdict::NotEnoughEvidence,
            blocks: BlockCounts::default(),
            transactions: TransactionCounts::default(),
            node_check: NodeCounts::default(),
            quirks: BTreeMap::new(),
            mismatches: Mismatches::default(),
            exercise: Exercise::default(),
            loads: LoadCounts::default(),
            seconds: Seconds::default(),
            state_digest: None,
            candidates: BTreeMap::new(),
            reasons: BTreeMap::new(),
            stale: 0,
            stale_mismatches: 0,
            re_orders: ReOrderCounts::default(),
            conservation_unchecked_blocks: 0,
            canaries: Canaries::default(),
            schedule_dependent_blocks: 0,
            compared: compared().iter().map(|compared| compared.field).collect(),
            not_compared: NotCompared::ALL,
            interrupted: false,
            interrupted_because: None,
            traffic: None,
            error: None,
            asked: candidates.into_iter().collect(),
        }
    }

    /// Adds a block. Entries are added in the order of topoheights, so that the first mismatch is
    /// the first.
    pub fn add(&mut self, entry: &LedgerEntry) {
        self.re_orders = self.re_orders.and(entry.ordered_away());
        if entry.stale {
            self.stale += 1;
            self.stale_mismatches += entry.mismatches();
            return;
        }
        self.stale_mismatches += entry.earlier_mismatches;
        self.conservation_unchecked_blocks += u64::from(entry.conservation_unchecked > 0);
        self.blocks.count(entry.severity());
        if let Some(canary) = &entry.canary {
            self.canaries.planted += 1;
            self.canaries.caught += u64::from(canary.was_caught());
        }
        let mut candidates = entry.candidates.iter();
        self.schedule_dependent_blocks +=
            u64::from(candidates.any(|candidate| candidate.schedule_dependent));
        let transactions = &entry.transactions;
        self.transactions.total += transactions.total;
        self.transactions.executed += transactions.executed;
        self.transactions.skipped += transactions.skipped;
        self.transactions.failed += transactions.failed;
        self.transactions.opaque += transactions.opaque;
        self.node_check.add(entry.node);
        for (quirk, count) in &entry.quirks {
            *self.quirks.entry(quirk.clone()).or_default() += count;
        }
        self.loads.requested += entry.loads.requested;
        self.loads.from_cache += entry.loads.from_cache;
        self.loads.from_store += entry.loads.from_store;
        self.seconds.steps.serial += entry.seconds.serial;
        self.seconds.steps.parallel += entry.seconds.parallel;
        self.seconds.steps.compare += entry.seconds.compare;
        self.seconds.steps.commit += entry.seconds.commit;
        // A reason that several candidates share is one reason of one block.
        let mut reasons = BTreeSet::new();
        for candidate in &entry.candidates {
            let counts = self.candidates.entry(candidate.candidate.clone()).or_default();
            counts.count(candidate.verdict);
            if let Some(reason) = &candidate.reason {
                reasons.insert(format!("{}:{reason}", candidate.verdict.word()));
            }
            for (field, count) in &candidate.fields {
                self.mismatches.total += count;
                *self.mismatches.by_field.entry(*field).or_default() += count;
            }
            if self.mismatches.first.is_none() {
                self.mismatches.first.clone_from(&candidate.first);
            }
            if let Some(exercise) = &candidate.exercise {
                self.exercise.workers = self.exercise.workers.max(exercise.workers);
                self.exercise.batches += u64::from(exercise.batches);
                self.exercise.max_in_flight =
                    self.exercise.max_in_flight.max(exercise.max_in_flight);
            }
        }
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Notes that the run was stopped before its end, so that it cannot be clean.
    #[must_use]
    pub fn interrupt(mut self, because: String) -> Self {
        self.interrupted = true;
        self.interrupted_because = Some(because);
        self
    }

    /// Adds what was asked of the node.
    pub(crate) fn add_traffic(&mut self, traffic: Option<TrafficOfRun>) {
        self.traffic = traffic;
    }

    /// Asks for verdicts on these candidates: without them there is not enough evidence.
    pub fn ask_for<'a>(&mut self, candidates: impl IntoIterator<Item = &'a str>) {
        self.asked.extend(candidates.into_iter().map(str::to_owned));
    }

    /// Takes every candidate that was added to have been asked for.
    #[must_use]
    pub fn ask_for_all(mut self) -> Self {
        self.asked = self.candidates.keys().cloned().collect();
        self
    }

    /// Whether anything differs, or did before its block was ordered away.
    pub const fn has_mismatches(&self) -> bool {
        self.blocks.mismatch > 0 || self.stale_mismatches > 0
    }

    /// Whether there is something to look into.
    pub const fn has_findings(&self) -> bool {
        self.has_mismatches() || self.blocks.inconclusive > 0
    }

    /// Closes the summary of a run.
    #[must_use]
    pub fn finish(
        mut self,
        digest: Option<StateDigest>,
        elapsed_seconds: f64,
        error: Option<String>,
    ) -> Self {
        self.state_digest = digest.map(|digest| digest.to_string());
        self.seconds.elapsed = elapsed_seconds;
        self.error = error;
        self.verdict = if self.error.is_some() {
            RunVerdict::Error
        } else if self.has_mismatches() {
            RunVerdict::Mismatch
        } else if self.interrupted || self.missing().next().is_some() {
            RunVerdict::NotEnoughEvidence
        } else {
            RunVerdict::Clean
        };
        self
    }

    pub(crate) const fn quirks(&self) -> &BTreeMap<String, u64> {
        &self.quirks
    }

    /// What the run says.
    pub const fn verdict(&self) -> RunVerdict {
        self.verdict
    }

    /// The exit code of a run that came to its end.
    pub const fn exit_code(&self) -> ExitCode {
        self.verdict.exit_code()
    }

    /// The summary object on one line.
    ///
    /// # Errors
    ///
    /// Never for a summary that was added up here; the encoder's signature allows it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// What differs, a sentence each.
    pub(crate) fn differs(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        if self.blocks.mismatch > 0 {
            let (total, blocks) = (self.mismatches.total, self.blocks.mismatch);
            sentences.push(format!("{total} mismatches in {blocks} blocks, of whatever build"));
        }
        sentences.extend(stale_difference(self.stale_mismatches));
        sentences
    }

    /// What is missing for an answer, a sentence each: a candidate; for each candidate that was asked
    /// for, that it was exercised at all, and a verdict on every block, which is not there if an earlier
    /// run on the same directory did not ask; a control that can be trusted; and a comparator that can.
    pub(crate) fn missing(&self) -> impl Iterator<Item = String> {
        let nobody = self
            .asked
            .is_empty()
            .then(|| "no candidate was judged on any block: that proves nothing".to_owned());
        let inconclusive = (self.blocks.inconclusive > 0)
            .then(|| format!("{} blocks are inconclusive", self.blocks.inconclusive));
        let canary = (self.canaries.caught < self.canaries.planted).then(|| {
            "a result that was altered on purpose was not found to differ: no match of this run can \
             be trusted; please report it"
                .to_owned()
        });
        nobody.into_iter().chain(self.gaps()).chain(inconclusive).chain(canary)
    }

    fn gaps(&self) -> impl Iterator<Item = String> {
        self.asked.iter().filter_map(|name| {
            let counts = self.candidates.get(name).copied().unwrap_or_default();
            let without = self.blocks.total.saturating_sub(counts.total);
            if counts.exercised() == 0 {
                Some(format!(
                    "nothing was exercised for candidate {name}: a green result for it would prove \
                     nothing"
                ))
            } else if without > 0 {
                Some(format!(
                    "candidate {name} has no verdict on {without} blocks, because an earlier run was \
                     not asked for it; another --state-dir begins anew"
                ))
            } else {
                None
            }
        })
    }
}

impl RunVerdict {
    /// The exit code of what came to its end; what ended early has one of its own.
    pub const fn exit_code(self) -> ExitCode {
        match self {
            Self::Clean => ExitCode::Clean,
            Self::Mismatch => ExitCode::Mismatch,
            Self::NotEnoughEvidence => ExitCode::NotEnoughEvidence,
            Self::Error => ExitCode::BadInput,
        }
    }

    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Mismatch => "MISMATCH",
            Self::NotEnoughEvidence => "not enough evidence",
            Self::Error => "ended early",
        }
    }
}
