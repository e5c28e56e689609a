//! The summary of a run: the sum of its ledger, and what it means.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use comparator::Field;
use serde::Serialize;
use storage_snapshot::StateDigest;

use crate::{
    accept::Acceptances,
    compared::{NotCompared, compared},
    coverage::BlockCounts,
    exit_code::ExitCode,
    fingerprint::{Fingerprint, FingerprintId},
    ledger::{
        CandidateEntry, FirstMismatch, LedgerEntry, LoadCounts, ReOrderCounts, StepSeconds,
        TransactionCounts,
    },
    node::NodeCounts,
    report::stale_difference,
    rules::RULES,
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
    /// Mismatches that somebody expects. They are in no other number but that of the blocks.
    accepted: Accepted,
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
    /// Whether somebody stopped the run before its end.
    interrupted: bool,
    /// What ended the run early.
    error: Option<String>,
    /// The candidates that the run was asked for: each has to have been exercised.
    #[serde(skip)]
    asked: Vec<String>,
    #[serde(skip)]
    acceptances: Acceptances,
    /// How many mismatches of each candidate are accepted.
    #[serde(skip)]
    accepted_verdicts: BTreeMap<String, u64>,
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

/// Mismatches that somebody expects.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Accepted {
    /// Blocks in which nothing differs but what is accepted.
    pub(crate) blocks: u64,
    /// Differences, those in blocks that have since been ordered away included.
    pub(crate) mismatches: u64,
    /// In how many verdicts each problem was found, and why it is accepted.
    pub(crate) problems: BTreeMap<FingerprintId, AcceptedProblem>,
    /// Verdicts with a problem that was accepted of another build, or with more than was accepted. They
    /// count as mismatches.
    pub(crate) expired: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct AcceptedProblem {
    pub(crate) verdicts: u64,
    pub(crate) reason: String,
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
            accepted: Accepted::default(),
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
            error: None,
            asked: candidates.into_iter().collect(),
            acceptances: Acceptances::default(),
            accepted_verdicts: BTreeMap::new(),
        }
    }

    /// Counts apart what somebody expects. To be told before anything is added.
    #[must_use]
    pub fn accepting(mut self, acceptances: Acceptances) -> Self {
        self.acceptances = acceptances;
        self
    }

    /// Adds a block. Entries are added in the order of topoheights, so that the first mismatch is
    /// the first.
    pub fn add(&mut self, entry: &LedgerEntry) {
        self.re_orders = self.re_orders.and(entry.ordered_away());
        if entry.stale {
            self.stale += 1;
            self.add_stale(entry.mismatches(), entry);
            return;
        }
        self.add_stale(entry.earlier_mismatches, entry);
        self.accepted.blocks += u64::from(self.acceptances.cover_block(entry));
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
        self.node_check.compared += entry.node.compared;
        self.node_check.differ += entry.node.differ;
        self.node_check.taken += entry.node.taken;
        self.node_check.not_asked += entry.node.not_asked;
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
            self.add_mismatch(candidate);
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

    fn add_mismatch(&mut self, candidate: &CandidateEntry) {
        if let Some(accepted) = self.acceptances.covering(candidate) {
            self.accepted.mismatches += candidate.fields.values().sum::<u64>();
            let problem = self.accepted.problems.entry(accepted.fingerprint).or_default();
            problem.verdicts += 1;
            *self.accepted_verdicts.entry(candidate.candidate.clone()).or_default() += 1;
            problem.reason.clone_from(&accepted.reason);
            return;
        }
        let known = candidate.fingerprint.as_ref().map(Fingerprint::id);
        let was_accepted = known.is_some_and(|known| self.acceptances.of(known).is_some());
        self.accepted.expired += u64::from(was_accepted);
        for (field, count) in &candidate.fields {
            self.mismatches.total += count;
            *self.mismatches.by_field.entry(*field).or_default() += count;
        }
        if self.mismatches.first.is_none() {
            self.mismatches.first.clone_from(&candidate.first);
        }
    }

    /// Differences in blocks that were ordered away, of an entry that is stale or took their place.
    fn add_stale(&mut self, mismatches: u64, entry: &LedgerEntry) {
        let found: Vec<_> = match entry.stale {
            true => entry.problems().collect(),
            false => entry.earlier_problems.clone(),
        };
        let accepted = self.acceptances.accepted_of(found.iter()).min(mismatches);
        self.accepted.mismatches += accepted;
        self.stale_mismatches += mismatches - accepted;
    }

    /// Notes that the run was stopped before its end, so that it cannot be clean.
    #[must_use]
    pub const fn interrupt(mut self) -> Self {
        self.interrupted = true;
        self
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

    /// In how many blocks a candidate was compared at work. An accepted mismatch proves nothing.
    fn exercised(&self, candidate: &str) -> u64 {
        let exercised = self.candidates.get(candidate).map_or(0, BlockCounts::exercised);
        let accepted = self.accepted_verdicts.get(candidate).copied().unwrap_or_default();
        exercised.saturating_sub(accepted)
    }

    /// Whether anything differs that nobody expects, or did before its block was ordered away.
    pub const fn has_mismatches(&self) -> bool {
        self.blocks.mismatch > self.accepted.blocks || self.stale_mismatches > 0
    }

    /// Whether there is something to look into.
    pub const fn has_findings(&self) -> bool {
        self.has_mismatches() || self.blocks.mismatch > 0 || self.blocks.inconclusive > 0
    }

    /// What is accepted, a sentence for each problem.
    pub(crate) fn accepted(&self) -> Vec<String> {
        let problems = self.accepted.problems.iter().map(|(fingerprint, problem)| {
            let AcceptedProblem { verdicts, reason } = problem;
            format!("{fingerprint} in {verdicts} blocks: {}", reason.escape_debug())
        });
        let expired = (self.accepted.expired > 0).then(|| {
            format!(
                "expired in {} blocks: another build, or more differs than was accepted; they count as \
                 mismatches",
                self.accepted.expired
            )
        });
        problems.chain(expired).collect()
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
        let blocks = self.blocks.mismatch.saturating_sub(self.accepted.blocks);
        if blocks > 0 {
            let total = self.mismatches.total;
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
            if self.exercised(name) == 0 {
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
