//! The summary of a run: the sum of its ledger, and what it means.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use comparator::Field;
use serde::Serialize;
use storage_snapshot::{StateDigest, Store, TopoHeight};

use crate::{
    accept::Acceptances,
    compared::{NotCompared, compared},
    coverage::{BlockCounts, Configuration},
    exit_code::ExitCode,
    fingerprint::FingerprintId,
    gaps::{self, Verdicts},
    ledger::{
        CandidateEntry, FirstMismatch, LedgerEntry, LedgerError, LoadCounts, ReOrderCounts,
        StepSeconds, TransactionCounts, entries,
    },
    node::NodeCounts,
    on_mismatch::CommandCounts,
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
    /// The first of them that nobody accepted.
    stale_first: Option<FirstMismatch>,
    /// Which blocks have since been ordered away, replaced or not.
    re_orders: ReOrderCounts,
    /// Blocks with assets whose conservation could not be checked, because a failed transaction loses
    /// what it had debited.
    conservation_unchecked_blocks: u64,
    /// Results that were altered on purpose, to see whether that is noticed.
    canaries: Canaries,
    /// Blocks whose control was executed a second time, to see whether the verifier is noisy.
    again: Again,
    /// How often candidates ran blocks, under whatever schedule.
    runs: u64,
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
    /// How the command fared that this process ran for new problems, if it was given one.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_mismatch: Option<CommandCounts>,
    /// What ended the run early.
    error: Option<String>,
    /// The candidates that the run was asked for: each has to have been exercised.
    #[serde(skip)]
    asked: Vec<Asked>,
    /// The verdicts on each candidate, by its configuration; the one of the last verdict is the last.
    #[serde(skip)]
    configurations: BTreeMap<String, Vec<OfConfiguration>>,
    #[serde(skip)]
    acceptances: Acceptances,
}

/// A candidate that there have to be verdicts on.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    /// In which configuration; if in none, in the one of its last verdict.
    configuration: Option<Configuration>,
}

/// The verdicts on one configuration of a candidate.
#[derive(Clone, Debug)]
struct OfConfiguration {
    configuration: Configuration,
    blocks: BlockCounts,
    /// In how many of them it was left alone.
    suspended: u64,
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

/// Blocks whose control was executed a second time.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Again {
    blocks: u64,
    /// Those in which it did not do the same.
    differ: u64,
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
            stale_first: None,
            re_orders: ReOrderCounts::default(),
            conservation_unchecked_blocks: 0,
            canaries: Canaries::default(),
            again: Again::default(),
            runs: 0,
            schedule_dependent_blocks: 0,
            compared: compared().iter().map(|compared| compared.field).collect(),
            not_compared: NotCompared::ALL,
            interrupted: false,
            interrupted_because: None,
            traffic: None,
            on_mismatch: None,
            error: None,
            asked: candidates.into_iter().map(|name| Asked { name, configuration: None }).collect(),
            configurations: BTreeMap::new(),
            acceptances: Acceptances::default(),
        }
    }

    /// The summary of all that a store holds, of runs that were asked to judge these candidates.
    ///
    /// # Errors
    ///
    /// When an entry cannot be read.
    pub fn read<'a>(
        store: &Store,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, LedgerError> {
        let mut summary = Self::new(candidates.into_iter().map(str::to_owned));
        for entry in entries(store, TopoHeight::GENESIS) {
            summary.add(&entry?);
        }
        Ok(summary.finish(store.tip().map(|tip| tip.digest), 0.0, None))
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
        let doubts = if entry.stale { entry.doubts() } else { entry.earlier_doubts };
        self.canaries.planted += doubts.canaries_missed;
        self.again.blocks += doubts.again_differ;
        self.again.differ += doubts.again_differ;
        if entry.stale {
            self.stale += 1;
            self.add_stale(entry.mismatches(), entry);
            return;
        }
        self.add_stale(entry.earlier_mismatches, entry);
        self.accepted.blocks += u64::from(self.acceptances.cover_block(entry));
        self.conservation_unchecked_blocks += u64::from(entry.conservation_unchecked > 0);
        let is_exercised = |judged: &CandidateEntry| self.acceptances.is_exercised(judged);
        self.blocks.count(entry.severity(), entry.is_exercised_as(is_exercised));
        if let Some(canary) = &entry.canary {
            self.canaries.planted += 1;
            self.canaries.caught += u64::from(canary.was_caught());
        }
        if let Some(again) = &entry.again {
            self.again.blocks += 1;
            self.again.differ += u64::from(again.differs.is_some());
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
            let exercised = self.acceptances.is_exercised(candidate);
            counts.count(candidate.verdict, exercised);
            self.count_configuration(entry, candidate, exercised);
            if let Some(reason) = &candidate.reason {
                reasons.insert(format!("{}:{reason}", candidate.verdict.word()));
            }
            self.add_mismatch(candidate);
            if let Some(exercise) = &candidate.exercise {
                self.runs += u64::from(exercise.runs);
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
            problem.reason.clone_from(&accepted.reason);
            return;
        }
        let was_accepted = |problem| self.acceptances.of_problem(problem).is_some();
        self.accepted.expired +=
            u64::from(candidate.fingerprint.as_ref().is_some_and(was_accepted));
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
        if self.stale_first.is_none() {
            let open = found.iter().filter(|found| !self.acceptances.cover(found));
            self.stale_first = open.filter_map(|found| found.first.as_ref()).next().cloned();
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

    /// Adds what became of the command that is run for new problems.
    pub(crate) const fn add_commands(&mut self, commands: Option<CommandCounts>) {
        self.on_mismatch = commands;
    }

    fn count_configuration(
        &mut self,
        entry: &LedgerEntry,
        judged: &CandidateEntry,
        exercised: bool,
    ) {
        let all = self.configurations.entry(judged.candidate.clone()).or_default();
        // Nearly always it is the last one.
        let place = all.iter().rposition(|one| one.configuration.is_of(entry, judged));
        let mut one = match place {
            Some(place) => all.remove(place),
            None => OfConfiguration {
                configuration: Configuration::of(entry, judged),
                blocks: BlockCounts::default(),
                suspended: 0,
            },
        };
        one.blocks.count(judged.verdict, exercised);
        one.suspended += u64::from(judged.is_suspended());
        all.push(one);
    }

    /// Asks for verdicts on a candidate, by name and build: without them there is not enough evidence.
    /// What another build of it did, or this one by other rules, is none.
    pub fn ask_for(&mut self, candidate: &str, build: impl Into<String>) {
        let configuration = Some(Configuration::now(build));
        self.asked.push(Asked { name: candidate.to_owned(), configuration });
    }

    /// Takes every candidate that was added to have been asked for.
    #[must_use]
    pub fn ask_for_all(mut self) -> Self {
        let asked = |name: &String| Asked { name: name.clone(), configuration: None };
        self.asked = self.candidates.keys().map(asked).collect();
        self
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
    /// run on the same directory did not ask; a control that can be trusted; and a comparator that can,
    /// because it sees what differs and nothing else.
    pub(crate) fn missing(&self) -> impl Iterator<Item = String> {
        let nobody = self.asked.is_empty().then(gaps::nobody);
        let inconclusive = gaps::inconclusive(self.blocks.inconclusive);
        nobody.into_iter().chain(self.gaps()).chain(inconclusive).chain(self.doubts())
    }

    /// Why nothing that was found can be trusted, a sentence each.
    pub(crate) fn doubts(&self) -> impl Iterator<Item = String> {
        let blind = gaps::blind(self.canaries.planted.saturating_sub(self.canaries.caught));
        let noisy = gaps::noisy(self.again.differ, self.again.blocks);
        blind.into_iter().chain(noisy)
    }

    fn gaps(&self) -> impl Iterator<Item = String> {
        self.asked.iter().filter_map(|Asked { name, configuration }| {
            let mut all = self.configurations.get(name).into_iter().flatten().rev();
            let under_test = all
                .find(|one| configuration.as_ref().is_none_or(|asked| one.configuration == *asked));
            let counts = under_test.map(|one| one.blocks).unwrap_or_default();
            let verdicts = Verdicts {
                on_any: self.candidates.get(name).map_or(0, |all| all.total),
                on_this: counts.total,
                exercised: counts.exercised,
                suspended: under_test.map_or(0, |one| one.suspended),
            };
            verdicts.gap(name, self.blocks.total)
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
