//! The summary of a run: the sum of its ledger, and what it means.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use comparator::{Field, Severity};
use serde::Serialize;
use storage_snapshot::StateDigest;

use crate::{
    execute::parallel::ParallelExecutor,
    exit_code::ExitCode,
    judge::NODE,
    ledger::{
        FirstMismatch, LedgerEntry, LoadCounts, ReOrderCounts, StepSeconds, TransactionCounts,
    },
    node::NodeCounts,
    rules::RULES,
};

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
    /// Whether somebody stopped the run before its end.
    interrupted: bool,
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

/// Blocks by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BlockCounts {
    total: u64,
    #[serde(rename = "match")]
    matching: u64,
    mismatch: u64,
    inconclusive: u64,
    not_exercised: u64,
    opaque: u64,
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
            interrupted: false,
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
    pub const fn interrupt(mut self) -> Self {
        self.interrupted = true;
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
        } else if self.interrupted
            || self.blocks.inconclusive > 0
            || self.canaries.caught < self.canaries.planted
            || self.gaps().next().is_some()
        {
            RunVerdict::NotEnoughEvidence
        } else {
            RunVerdict::Clean
        };
        self
    }

    /// What the run says.
    pub const fn verdict(&self) -> RunVerdict {
        self.verdict
    }

    /// The exit code of a run that came to its end.
    pub const fn exit_code(&self) -> ExitCode {
        match self.verdict {
            RunVerdict::Clean => ExitCode::Clean,
            RunVerdict::Mismatch => ExitCode::Mismatch,
            RunVerdict::NotEnoughEvidence => ExitCode::NotEnoughEvidence,
            RunVerdict::Error => ExitCode::BadInput,
        }
    }

    /// The summary object on one line.
    ///
    /// # Errors
    ///
    /// Never for a summary that was added up here; the encoder's signature allows it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }

    /// What is missing for a candidate that was asked for: that it was exercised at all, and a verdict
    /// on every block. The latter is not there if an earlier run on the same directory did not ask.
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

    /// The summary for people: the first line is the answer.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let counts_of = |name| self.candidates.get(name).copied().unwrap_or_default();
        let node = match counts_of(NODE).exercised() {
            0 => ", no node was compared".to_owned(),
            blocks => format!(", the node was compared in {blocks} blocks"),
        };
        writeln!(
            text,
            "{} of {} blocks exercised, {} {} ({}; {} is Shadow's own engine{node})",
            counts_of(ParallelExecutor::NAME).exercised(),
            self.blocks.total,
            self.mismatches.total,
            if self.mismatches.total == 1 { "mismatch" } else { "mismatches" },
            self.verdict.words(),
            ParallelExecutor::NAME,
        )?;
        writeln!(text)?;
        let blocks = &self.blocks;
        writeln!(
            text,
            "blocks        {} match, {} mismatch, {} inconclusive, {} not exercised, {} opaque",
            blocks.matching,
            blocks.mismatch,
            blocks.inconclusive,
            blocks.not_exercised,
            blocks.opaque
        )?;
        let transactions = &self.transactions;
        writeln!(
            text,
            "transactions  {} executed, {} skipped, {} failed, {} in opaque blocks",
            transactions.executed, transactions.skipped, transactions.failed, transactions.opaque
        )?;
        for (name, counts) in &self.candidates {
            writeln!(
                text,
                "candidate     {name}: {} match, {} mismatch, {} not exercised",
                counts.matching, counts.mismatch, counts.not_exercised
            )?;
        }
        if self.node_check != NodeCounts::default() {
            let node = &self.node_check;
            writeln!(
                text,
                "node answers  {} compared, {} differ, {} taken for blocks not executed here, {} \
                 never asked",
                node.compared, node.differ, node.taken, node.not_asked
            )?;
        }
        self.write_counts(text, "because", &self.reasons)?;
        if self.conservation_unchecked_blocks > 0 {
            writeln!(
                text,
                "unchecked     conservation of assets that failed transactions lost, in {} blocks",
                self.conservation_unchecked_blocks
            )?;
        }
        let ReOrderCounts { count, deepest, blocks } = self.re_orders;
        if blocks > 0 {
            writeln!(
                text,
                "re-orders     {count}, of up to {deepest} blocks; {blocks} blocks ordered away, with \
                 {} mismatches",
                self.stale_mismatches
            )?;
        }
        if self.schedule_dependent_blocks > 0 {
            writeln!(
                text,
                "schedules     in {} blocks the result depends on the schedule",
                self.schedule_dependent_blocks
            )?;
        }
        if self.canaries.planted > 0 {
            let Canaries { planted, caught } = self.canaries;
            writeln!(text, "canaries      {planted} planted, {caught} caught")?;
        }
        self.write_counts(text, "quirks", &self.quirks)?;
        writeln!(
            text,
            "parallelism   up to {} workers, {} batches, at most {} in flight",
            self.exercise.workers, self.exercise.batches, self.exercise.max_in_flight
        )?;
        writeln!(
            text,
            "state reads   {} by candidates, {} saved by their caches",
            self.loads.requested, self.loads.from_cache
        )?;
        let seconds = &self.seconds;
        writeln!(
            text,
            "seconds       {:.2} elapsed: {:.2} serial, {:.2} parallel, {:.2} compare, {:.2} commit",
            seconds.elapsed,
            seconds.steps.serial,
            seconds.steps.parallel,
            seconds.steps.compare,
            seconds.steps.commit
        )?;
        if let Some(digest) = &self.state_digest {
            writeln!(text, "state digest  {digest}")?;
        }
        if let Some(first) = &self.mismatches.first {
            writeln!(text, "\nfirst mismatch: {}", first.sentence())?;
        }
        if self.canaries.caught < self.canaries.planted {
            writeln!(
                text,
                "\na result that was altered on purpose was not found to differ: no match of this run \
                 can be trusted; please report it"
            )?;
        }
        for gap in self.gaps() {
            writeln!(text, "\n{gap}")?;
        }
        if self.interrupted {
            writeln!(text, "\ninterrupted; the same --state-dir goes on from here")?;
        }
        if let Some(error) = &self.error {
            writeln!(text, "\nended early: {error}")?;
        }
        Ok(())
    }

    fn write_counts(
        &self,
        text: &mut String,
        title: &str,
        counts: &BTreeMap<String, u64>,
    ) -> std::fmt::Result {
        if counts.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(text, "{title:<14}{}", list.join(", "))
    }
}

impl RunVerdict {
    const fn words(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Mismatch => "MISMATCH",
            Self::NotEnoughEvidence => "not enough evidence",
            Self::Error => "ended early",
        }
    }
}

impl BlockCounts {
    fn count(&mut self, verdict: Severity) {
        self.total += 1;
        *match verdict {
            Severity::Match => &mut self.matching,
            Severity::Mismatch => &mut self.mismatch,
            Severity::Inconclusive => &mut self.inconclusive,
            Severity::NotExercised => &mut self.not_exercised,
            Severity::Opaque => &mut self.opaque,
        } += 1;
    }

    /// Blocks in which the candidate was really compared at work.
    const fn exercised(&self) -> u64 {
        self.matching + self.mismatch
    }
}

impl FirstMismatch {
    /// The mismatch in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut text = format!(
            "candidate {}, topoheight {}, block {}: {}",
            self.candidate, self.topoheight, self.block_hash, self.field
        );
        if let Some(account) = &self.account {
            let _ = write!(text, " of {account}");
        }
        if let Some(asset) = &self.asset {
            let _ = write!(text, " in {asset}");
        }
        let _ = write!(text, " is {}, the control says {}", self.observed, self.control);
        if let Some(difference) = self.difference {
            let _ = write!(text, " ({difference:+})");
        }
        if let Some(transaction) = &self.transaction {
            let _ = write!(
                text,
                "; transaction #{} {} (by {})",
                transaction.index,
                transaction.hash,
                transaction.method.as_str()
            );
        }
        text
    }
}
