//! The ledger: one entry per topoheight that says what was found there.
//!
//! An entry holds everything that is ever counted about its block, so a summary is the sum of
//! entries and nothing else: a run that was interrupted and resumed counts like one that was not.

use std::{collections::BTreeMap, fmt};

use comparator::{Field, LocatedTransaction, NotExercised, Severity, Side};
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, AssetId, BlockHash, Store, StoreError, TopoHeight};

use crate::{
    again::AgainEntry,
    canary::CanaryEntry,
    execute::Loads,
    fingerprint::{Fingerprint, FingerprintId},
    judge::NODE,
    kinds::KindCounts,
    node::NodeCounts,
    shapes::ShapeCounts,
};

/// The version of the entry format that is written.
pub const FORMAT_VERSION: u64 = 1;

/// What was found at one topoheight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u64,
    /// Where.
    pub topoheight: TopoHeight,
    /// Which block was there.
    pub block_hash: BlockHash,
    /// The sum over everything written since the base, this block included: two runs that agree in
    /// it agree in every value.
    pub state_digest: String,
    /// Whether the block has since been ordered away. Kept, but no longer counted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// If it is the first that was ordered away, how many were ordered away with it, itself included.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale_depth: u64,
    /// Whether the block may have paid accounts that nobody knows of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
    /// Whether the source said when the block was fetched that it cannot be ordered away any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stable: bool,
    /// The rules that it was judged by; empty where a build wrote it that did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rules: String,
    /// Which build of the control it was compared with; empty as above.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub control_build: String,
    /// One verdict per candidate.
    pub candidates: Vec<CandidateEntry>,
    /// What became of a result that was altered on purpose. Never counted as a mismatch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryEntry>,
    /// What came of executing the control again; nothing where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<AgainEntry>,
    /// The block's transactions.
    pub transactions: TransactionCounts,
    /// The same by kind; empty where a build wrote it that did not tell kinds apart.
    #[serde(default, skip_serializing_if = "KindCounts::is_empty")]
    pub kinds: KindCounts,
    /// How many of them take part in which shape. Nothing is told of a block without a control.
    #[serde(default, skip_serializing_if = "ShapeCounts::is_empty")]
    pub shapes: ShapeCounts,
    /// What became of the node's answers.
    pub node: NodeCounts,
    /// How many differences were found here in blocks that have since been ordered away.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier_mismatches: u64,
    /// Of which problems they are cases, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_problems: Vec<FoundProblem>,
    /// Why verdicts could not be trusted here, in blocks that have since been ordered away.
    #[serde(default, skip_serializing_if = "Doubts::is_empty")]
    pub earlier_doubts: Doubts,
    /// What has been ordered away from here.
    #[serde(default, skip_serializing_if = "ReOrderCounts::is_empty")]
    pub re_orders: ReOrderCounts,
    /// How many assets were touched whose conservation could not be checked, because a failed
    /// transaction loses what it had debited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub conservation_unchecked: u64,
    /// Which oddities of the chain fired, and how often.
    pub quirks: BTreeMap<String, u64>,
    /// State reads of the candidates.
    pub loads: LoadCounts,
    /// Where the time went.
    pub seconds: StepSeconds,
}

/// Why verdicts cannot be trusted. A verifier that was blind or noisy once does not become sound because the chain
/// went another way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubts {
    /// Results that were altered on purpose, which was not noticed.
    pub canaries_missed: u64,
    /// Controls that did something else when they were executed again.
    pub again_differ: u64,
}

impl Doubts {
    /// These and others.
    #[must_use]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self {
            canaries_missed: self.canaries_missed + other.canaries_missed,
            again_differ: self.again_differ + other.again_differ,
        }
    }

    /// These without others.
    #[must_use]
    const fn without(self, other: Self) -> Self {
        Self {
            canaries_missed: self.canaries_missed.saturating_sub(other.canaries_missed),
            again_differ: self.again_differ.saturating_sub(other.again_differ),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Blocks that were judged and have since been ordered away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReOrderCounts {
    /// How many re-orders began with these blocks.
    pub count: u64,
    /// How many blocks the deepest of them ordered away.
    pub deepest: u64,
    /// How many blocks there are.
    pub blocks: u64,
}

impl ReOrderCounts {
    /// These and others.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            deepest: self.deepest.max(other.deepest),
            blocks: self.blocks + other.blocks,
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The verdict on one candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CandidateEntry {
    /// Its name.
    pub candidate: String,
    /// Which build of it.
    pub build: String,
    /// The verdict.
    pub verdict: Severity,
    /// Why it is no match, as a word that can be counted; a mismatch has fields instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same in a sentence, where the word does not say it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How many differences there are of each field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<Field, u64>,
    /// The first difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstMismatch>,
    /// The problem that the mismatch is a case of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// The directory with its evidence, seen from the state directory, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// Whether runs under different schedules differ from each other.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub schedule_dependent: bool,
    /// How the candidate worked, if it executed the block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exercise: Option<ExerciseEntry>,
}

impl CandidateEntry {
    /// Under how many workers it ran; 0 where that is not known.
    pub fn workers(&self) -> u32 {
        self.exercise.map_or(0, |exercise| exercise.workers)
    }

    /// Whether the candidate was left alone, because it had failed in the blocks before.
    pub fn is_suspended(&self) -> bool {
        let reason = NotExercised::Suspended.word();
        self.verdict == Severity::NotExercised && self.reason.as_deref() == Some(reason)
    }

    /// Whether the candidate was compared at work. One that differs may as well have crashed, or have
    /// worked alone; the node's work is not seen, only its answers.
    pub fn is_exercised(&self) -> bool {
        match self.verdict {
            Severity::Match => true,
            Severity::Mismatch => {
                self.candidate == NODE || self.exercise.is_some_and(|exercise| exercise.is_wide())
            }
            Severity::Opaque | Severity::NotExercised | Severity::Inconclusive => false,
        }
    }
}

/// A mismatch by what is left of it when its block was ordered away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundProblem {
    /// Who differed.
    pub candidate: String,
    /// Which build of it.
    pub build: String,
    /// The problem.
    pub fingerprint: FingerprintId,
    /// How many differences there were of each field.
    pub fields: BTreeMap<Field, u64>,
    /// What the problem is, in its parts; nothing where a build wrote it that did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Fingerprint>,
    /// The directory with its evidence, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// The first difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<FirstMismatch>,
}

impl FoundProblem {
    /// The mismatch of a candidate, if there is one.
    pub fn of(entry: &CandidateEntry) -> Option<Self> {
        Some(Self {
            candidate: entry.candidate.clone(),
            build: entry.build.clone(),
            fingerprint: entry.fingerprint.as_ref()?.id(),
            fields: entry.fields.clone(),
            problem: entry.fingerprint.clone(),
            evidence: entry.evidence.clone(),
            first: entry.first.clone(),
        })
    }

    /// How many differences there were.
    pub fn mismatches(&self) -> u64 {
        self.fields.values().sum()
    }
}

/// The first difference of a block, complete enough to be read alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstMismatch {
    /// Where.
    pub topoheight: TopoHeight,
    /// In which block.
    pub block_hash: BlockHash,
    /// Of which candidate.
    pub candidate: String,
    /// What kind of thing differs.
    pub field: Field,
    /// Whose, for state.
    pub account: Option<Address>,
    /// In which asset, for a balance.
    pub asset: Option<AssetId>,
    /// What the control shows.
    pub control: Side,
    /// What the candidate shows.
    pub observed: Side,
    /// How much more the candidate has, for numbers.
    pub difference: Option<i128>,
    /// Where it begins.
    pub transaction: Option<LocatedTransaction>,
}

/// How a candidate worked.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct ExerciseEntry {
    /// Under how many workers.
    pub workers: u32,
    /// Under which seed.
    pub seed: u64,
    /// In how many batches.
    pub batches: u32,
    /// How many lanes of the widest batch executed something.
    pub max_in_flight: u32,
    /// How often the block was run; all else is about the run that the verdict is taken from.
    #[serde(default = "one")]
    pub runs: u32,
    /// How many seconds that run took; 0 where a build wrote the entry that did not say.
    #[serde(default)]
    pub seconds: f64,
}

impl ExerciseEntry {
    /// Whether two workers each executed a transaction of one batch.
    const fn is_wide(self) -> bool {
        self.workers >= 2 && self.batches > 0 && self.max_in_flight >= 2
    }
}

const fn one() -> u32 {
    1
}

/// The transactions of a block by what became of them in the control.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionCounts {
    /// All of them.
    pub total: u64,
    /// Those that took effect.
    pub executed: u64,
    /// Those without effect.
    pub skipped: u64,
    /// Those whose effects broke.
    pub failed: u64,
    /// Those in blocks that were not executed here.
    pub opaque: u64,
}

/// State reads of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadCounts {
    /// All of them.
    pub requested: u64,
    /// Those that an earlier one had answered.
    pub from_cache: u64,
    /// Those that reached the snapshot.
    pub from_store: u64,
}

impl LoadCounts {
    /// Adds the reads of one execution.
    pub(crate) const fn add(&mut self, loads: Loads) {
        self.requested += loads.requested;
        self.from_cache += loads.from_cache;
        self.from_store += loads.from_store;
    }
}

/// The seconds that the steps of a block took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct StepSeconds {
    /// Serial execution.
    pub serial: f64,
    /// Execution by candidates.
    pub parallel: f64,
    /// Comparing, checking the invariants of the control, and executing it again where that was done.
    pub compare: f64,
    /// Committing to the store.
    pub commit: f64,
}

/// What an entry without a mismatch seldom exceeds.
const USUAL_BYTES: usize = 2048;

impl LedgerEntry {
    /// The entry in the form that is kept.
    ///
    /// # Errors
    ///
    /// Never for an entry that was made here; the encoder's signature allows it.
    pub fn encode(&self) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = Vec::with_capacity(USUAL_BYTES);
        serde_json::to_writer(&mut bytes, self).map_err(LedgerError::Entry)?;
        Ok(bytes)
    }

    /// Reads an entry.
    ///
    /// # Errors
    ///
    /// When it was written in another format, or is not an entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        /// Only what every version of the format has in common.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        match serde_json::from_slice(bytes).map_err(LedgerError::Entry)? {
            Version { format_version: FORMAT_VERSION } => {
                serde_json::from_slice(bytes).map_err(LedgerError::Entry)
            }
            Version { format_version } => Err(LedgerError::Version { found: format_version }),
        }
    }

    /// How many differences were found, in this block and in those that were here before it.
    pub fn mismatches(&self) -> u64 {
        self.earlier_mismatches.saturating_add(self.mismatches_here())
    }

    /// What was ordered away from here, this block included if it was.
    pub fn ordered_away(&self) -> ReOrderCounts {
        if !self.stale {
            return self.re_orders;
        }
        self.re_orders.and(ReOrderCounts {
            count: u64::from(self.stale_depth > 0),
            deepest: self.stale_depth,
            blocks: 1,
        })
    }

    /// Takes over what the entry that it replaces knows of blocks that were here before.
    ///
    /// A block whose verdict became stale may be judged a second time before it is ordered away, when
    /// a process that died between the two is started again. It is still one block then, and what was
    /// found in it twice is one finding.
    pub(crate) fn replace(&mut self, replaced: &Self) {
        let is_again =
            self.block_hash == replaced.block_hash && self.state_digest == replaced.state_digest;
        if is_again {
            self.re_orders = replaced.re_orders;
            self.earlier_doubts = replaced.doubts().without(self.doubts_here());
            self.earlier_mismatches = replaced.earlier_mismatches;
            self.earlier_problems.clone_from(&replaced.earlier_problems);
            for before in replaced.candidates.iter().filter(|before| !before.fields.is_empty()) {
                self.find_again(before);
            }
        } else {
            self.re_orders = replaced.ordered_away();
            self.earlier_doubts = replaced.doubts();
            self.earlier_mismatches = replaced.mismatches();
            self.earlier_problems = replaced.problems().collect();
        }
        self.earlier_problems.truncate(EARLIER_PROBLEMS_MAX);
    }

    /// Takes over what was found when the block was judged before. What is found once more is one finding.
    fn find_again(&mut self, before: &CandidateEntry) {
        let problem = |judged: &CandidateEntry| judged.fingerprint.as_ref().map(Fingerprint::id);
        let is_the_same = |now: &&mut CandidateEntry| {
            now.candidate == before.candidate
                && now.build == before.build
                && !now.fields.is_empty()
                && problem(now) == problem(before)
        };
        if let Some(now) = self.candidates.iter_mut().find(is_the_same) {
            for (field, count) in &before.fields {
                let found = now.fields.entry(*field).or_default();
                *found = (*found).max(*count);
            }
        } else {
            self.earlier_mismatches += before.fields.values().sum::<u64>();
            self.earlier_problems.extend(FoundProblem::of(before));
        }
    }

    /// Why verdicts cannot be trusted, of this block and of those that were here before it.
    pub fn doubts(&self) -> Doubts {
        self.earlier_doubts.and(self.doubts_here())
    }

    fn doubts_here(&self) -> Doubts {
        let missed = self.canary.as_ref().is_some_and(|canary| !canary.was_caught());
        let differs = self.again.as_ref().is_some_and(|again| again.differs.is_some());
        Doubts { canaries_missed: u64::from(missed), again_differ: u64::from(differs) }
    }

    /// The problems that were found here, in this block and in those that were here before it.
    pub fn problems(&self) -> impl Iterator<Item = FoundProblem> {
        let here = self.candidates.iter().filter_map(FoundProblem::of);
        self.earlier_problems.iter().cloned().chain(here)
    }

    fn mismatches_here(&self) -> u64 {
        self.candidates.iter().flat_map(|candidate| candidate.fields.values()).sum()
    }

    /// Whether every candidate that executes was compared at work; where none does, whether the node was compared.
    pub fn is_exercised(&self) -> bool {
        self.is_exercised_as(CandidateEntry::is_exercised)
    }

    /// The same by another idea of what it is that a candidate was compared at work.
    pub(crate) fn is_exercised_as(&self, is_exercised: impl Fn(&CandidateEntry) -> bool) -> bool {
        let executors = self.candidates.iter().filter(|judged| judged.candidate != NODE);
        let mut executors = executors.peekable();
        match executors.peek() {
            Some(_) => executors.all(is_exercised),
            None => self.candidates.iter().any(is_exercised),
        }
    }

    /// The worst verdict of all candidates: the one that the block is counted under.
    pub fn severity(&self) -> Severity {
        let worst = self.candidates.iter().map(|entry| entry.verdict).max();
        worst.unwrap_or(Severity::NotExercised)
    }
}

/// The entries of a store in the order of topoheights, from one on.
pub fn entries(
    store: &Store,
    from: TopoHeight,
) -> impl Iterator<Item = Result<LedgerEntry, LedgerError>> {
    store
        .ledger_range(from..=TopoHeight::MAX)
        .map(|entry| LedgerEntry::decode(&entry.map_err(LedgerError::Store)?.1))
}

/// The entry of one topoheight, if there is one.
///
/// # Errors
///
/// When it cannot be read.
pub fn entry_at(store: &Store, at: TopoHeight) -> Result<Option<LedgerEntry>, LedgerError> {
    match store.ledger(at).map_err(LedgerError::Store)? {
        Some(bytes) => LedgerEntry::decode(&bytes).map(Some),
        None => Ok(None),
    }
}

/// Every block has exactly one verdict: a hole would be a block that was dropped silently.
///
/// # Errors
///
/// [`LedgerError::Missing`] with the first topoheight that has none; or when one cannot be read.
pub fn check_whole(store: &Store) -> Result<(), LedgerError> {
    // The next topoheight at all, and the next that stands: a run may end right after blocks were
    // ordered away, whose verdicts are then the last ones.
    let (mut next, mut expected) = (None, None);
    for entry in entries(store, TopoHeight::GENESIS) {
        let entry = entry?;
        let topoheight = next.unwrap_or(entry.topoheight);
        if entry.topoheight != topoheight {
            return Err(LedgerError::Missing(topoheight));
        }
        next = Some(topoheight.next());
        if !entry.stale {
            let standing = expected.unwrap_or(topoheight);
            if standing != topoheight {
                return Err(LedgerError::Missing(standing));
            }
            expected = next;
        }
    }
    match (store.tip(), expected) {
        (Some(tip), next) if next != Some(tip.block.topoheight.next()) => {
            Err(LedgerError::Missing(next.unwrap_or(tip.block.topoheight)))
        }
        _ => Ok(()),
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "this is how serde asks")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How many problems are known of blocks that were ordered away from one position. The differences of
/// the others are counted all the same.
const EARLIER_PROBLEMS_MAX: usize = 64;

/// Why the ledger cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store failed.
    Store(StoreError),
    /// An entry is in a format that this build does not read.
    Version {
        /// The version of that format.
        found: u64,
    },
    /// An entry is not one.
    Entry(serde_json::Error),
    /// There is no entry where there has to be one.
    Missing(TopoHeight),
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Version { found } => write!(
                f,
                "the ledger is in format {found} and this build reads format {FORMAT_VERSION}; use \
                 the build that wrote it, or another --state-dir"
            ),
            Self::Entry(error) => write!(f, "a ledger entry cannot be read: {error}"),
            Self::Missing(topoheight) => write!(
                f,
                "the ledger has no entry for topoheight {topoheight}; use another --state-dir"
            ),
        }
    }
}

impl std::error::Error for LedgerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Entry(error) => Some(error),
            Self::Version { .. } | Self::Missing(_) => None,
        }
    }
}

#[cfg(test)]
mod tests;
