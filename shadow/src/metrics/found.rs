//! What was found where, kept so that nobody who looks has to read the ledger for it.
//!
//! The whole range is kept as a bounded number of stretches, each with how many of its blocks have which
//! verdict, and the problems with the newest of their cases. As in the ledger, a block whose place another
//! one took no longer counts; for that the newest blocks are remembered one by one.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use comparator::{Field, Severity};
use storage_snapshot::{BlockHash, TopoHeight};

use crate::{
    accept::{Acceptance, Acceptances},
    fingerprint::{Fingerprint, FingerprintId},
    ledger::{FoundProblem, LedgerEntry},
};

/// What was found where.
#[derive(Debug, Default)]
pub(super) struct Found {
    stretches: Stretches,
    problems: BTreeMap<FingerprintId, Problem>,
    /// The newest blocks that have to do with a problem, those included that are gone.
    cases: BTreeMap<TopoHeight, BTreeSet<FingerprintId>>,
    newest: BTreeMap<TopoHeight, Newest>,
}

/// The ledger as a bounded number of stretches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretches {
    /// Where the first one begins.
    first: TopoHeight,
    /// How many topoheights each of them has.
    width: u64,
    all: Vec<Standings>,
}

/// How many blocks of a stretch stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standings([u64; Standing::ALL.len()]);

/// How a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has this verdict.
    Judged(Severity),
    /// It was ordered away, and nothing took its place yet.
    Stale,
}

/// One stretch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: TopoHeight,
    pub(crate) last: TopoHeight,
    pub(crate) standings: Standings,
}

/// A problem, as far as it is kept here.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) fingerprint: Fingerprint,
    /// In how many blocks it was found.
    pub(crate) blocks: u64,
    pub(crate) first: TopoHeight,
    pub(crate) last: TopoHeight,
    /// The directories with its evidence, as the ledger names them.
    pub(crate) evidence: Vec<String>,
    /// Its blocks by build and by which fields differ.
    variants: BTreeMap<(String, BTreeSet<Field>), u64>,
}

/// A block that may still be ordered away.
#[derive(Debug)]
struct Newest {
    hash: BlockHash,
    digest: String,
    standing: Standing,
    found: Vec<FoundProblem>,
}

impl Found {
    /// Adds an entry that became durable.
    pub(super) fn add(&mut self, entry: &LedgerEntry) {
        let at = entry.topoheight;
        let replaced = self.newest.remove(&at);
        if let Some(replaced) = &replaced {
            self.stretches.count(at, replaced.standing, -1);
            self.forget(&replaced.found);
        }
        // A block that is judged again leaves those above it where they are.
        let is_again = replaced.is_some_and(|before| {
            before.hash == entry.block_hash && before.digest == entry.state_digest && !entry.stale
        });
        if !is_again {
            let mut above: Vec<_> = self.newest.range_mut(at..).collect();
            for (above, block) in &mut above {
                self.stretches.count(**above, block.standing, -1);
                self.stretches.count(**above, Standing::Stale, 1);
                block.standing = Standing::Stale;
            }
        }
        let standing =
            if entry.stale { Standing::Stale } else { Standing::Judged(entry.severity()) };
        self.stretches.count(at, standing, 1);
        let found = self.learn(entry);
        let (hash, digest) = (entry.block_hash, entry.state_digest.clone());
        self.newest.insert(at, Newest { hash, digest, standing, found });
        if self.newest.len() > NEWEST_MAX {
            self.newest.pop_first();
        }
    }

    /// Adds what more was found in a block that was added before.
    pub(super) fn amend(&mut self, before: &LedgerEntry, entry: &LedgerEntry) {
        let at = entry.topoheight;
        if self.newest.contains_key(&at) {
            return self.add(entry);
        }
        // It was too long ago to be remembered.
        self.stretches.count(at, Standing::Judged(before.severity()), -1);
        self.stretches.count(at, Standing::Judged(entry.severity()), 1);
        self.forget(&before.problems().collect::<Vec<_>>());
        self.learn(entry);
    }

    /// The whole range.
    pub(super) const fn stretches(&self) -> &Stretches {
        &self.stretches
    }

    /// Every problem, in the order of where it was found first.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let standing = self.problems.values().filter(|problem| problem.blocks > 0);
        let mut problems: Vec<_> = standing.cloned().collect();
        problems.sort_by_key(|problem| (problem.first, problem.fingerprint.id()));
        problems
    }

    /// One of them.
    pub(super) fn problem(&self, id: FingerprintId) -> Option<Problem> {
        self.problems.get(&id).filter(|problem| problem.blocks > 0).cloned()
    }

    /// The newest cases of a problem below a topoheight, the newest first.
    pub(super) fn cases_before(
        &self,
        id: FingerprintId,
        before: TopoHeight,
        count: usize,
    ) -> Vec<TopoHeight> {
        let of = self.cases.range(..before).rev().filter(|(_, problems)| problems.contains(&id));
        of.take(count).map(|(at, _)| *at).collect()
    }

    fn learn(&mut self, entry: &LedgerEntry) -> Vec<FoundProblem> {
        let at = entry.topoheight;
        let ids: BTreeSet<_> = entry.problems().map(|found| found.fingerprint).collect();
        self.cases.remove(&at);
        if !ids.is_empty() {
            self.cases.insert(at, ids);
            if self.cases.len() > CASES_MAX {
                self.cases.pop_first();
            }
        }
        let mut here = Vec::new();
        for found in entry.problems() {
            let room = PROBLEMS_MAX - self.problems.len();
            let problem = match (self.problems.entry(found.fingerprint), &found.problem) {
                (Entry::Occupied(known), _) => known.into_mut(),
                (Entry::Vacant(new), Some(fingerprint)) if room > 0 => new.insert(Problem {
                    fingerprint: fingerprint.clone(),
                    blocks: 0,
                    first: at,
                    last: at,
                    evidence: Vec::new(),
                    variants: BTreeMap::new(),
                }),
                (Entry::Vacant(_), _) => continue,
            };
            problem.blocks += 1;
            problem.first = problem.first.min(at);
            problem.last = problem.last.max(at);
            if let Some(evidence) = &found.evidence
                && !problem.evidence.contains(evidence)
                && problem.evidence.len() < EVIDENCE_MAX
            {
                problem.evidence.push(evidence.clone());
            }
            let variant = variant(&found);
            if problem.variants.len() < VARIANTS_MAX || problem.variants.contains_key(&variant) {
                *problem.variants.entry(variant).or_default() += 1;
            }
            here.push(found);
        }
        here
    }

    /// Takes back what was counted of a block whose place another one takes.
    fn forget(&mut self, found: &[FoundProblem]) {
        for found in found {
            let Some(problem) = self.problems.get_mut(&found.fingerprint) else { continue };
            problem.blocks = problem.blocks.saturating_sub(1);
            if let Some(count) = problem.variants.get_mut(&variant(found)) {
                *count = count.saturating_sub(1);
            }
        }
    }
}

impl Problem {
    /// In which builds of the candidate it was found.
    pub(crate) fn builds(&self) -> BTreeSet<&str> {
        self.standing().map(|((build, _), _)| build.as_str()).collect()
    }

    /// In which fields its blocks differ.
    pub(crate) fn fields(&self) -> BTreeSet<Field> {
        self.standing().flat_map(|((_, fields), _)| fields.iter().copied()).collect()
    }

    /// By what it is accepted, and how many of its blocks that covers.
    pub(crate) fn accepted<'a>(
        &self,
        acceptances: &'a Acceptances,
    ) -> Option<(&'a Acceptance, u64)> {
        let acceptance = acceptances.of_problem(&self.fingerprint)?;
        let covered = self.standing().filter(|((build, fields), _)| {
            let Fingerprint { candidate, .. } = &self.fingerprint;
            acceptance.covers_all(self.fingerprint.id(), candidate, build, fields.iter())
        });
        Some((acceptance, covered.map(|(_, count)| count).sum()))
    }

    fn standing(&self) -> impl Iterator<Item = (&(String, BTreeSet<Field>), u64)> {
        self.variants
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(variant, count)| (variant, *count))
    }
}

fn variant(found: &FoundProblem) -> (String, BTreeSet<Field>) {
    (found.build.clone(), found.fields.keys().copied().collect())
}

impl Stretches {
    /// The stretches through `last`, in order.
    pub(crate) fn iter(&self, last: TopoHeight) -> impl Iterator<Item = Stretch> {
        self.all.iter().enumerate().map(move |(index, standings)| {
            let first = self.first.as_u64() + self.width * index as u64;
            let end = (first + self.width.saturating_sub(1)).min(last.as_u64()).max(first);
            Stretch {
                first: TopoHeight::new(first),
                last: TopoHeight::new(end),
                standings: *standings,
            }
        })
    }

    fn count(&mut self, at: TopoHeight, standing: Standing, by: i64) {
        if self.all.is_empty() {
            (self.first, self.width) = (at, 1);
        }
        // What is below the first block is counted with it.
        let offset = at.as_u64().saturating_sub(self.first.as_u64());
        while offset / self.width >= STRETCHES_MAX {
            self.widen();
        }
        let index = (offset / self.width) as usize;
        if index >= self.all.len() {
            self.all.resize(index + 1, Standings::default());
        }
        let count = &mut self.all[index].0[standing.index()];
        *count = count.saturating_add_signed(by);
    }

    fn widen(&mut self) {
        self.width *= 2;
        self.all = self
            .all
            .chunks(2)
            .map(|pair| {
                let mut sum = Standings::default();
                for standings in pair {
                    sum.0.iter_mut().zip(standings.0).for_each(|(sum, count)| *sum += count);
                }
                sum
            })
            .collect();
    }
}

impl Standings {
    /// How many blocks stand like this.
    pub(crate) const fn of(&self, standing: Standing) -> u64 {
        self.0[standing.index()]
    }

    /// How many blocks have an entry.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Standing {
    /// Every one, the worst first.
    pub(crate) const ALL: [Self; 6] = [
        Self::Judged(Severity::Mismatch),
        Self::Judged(Severity::Inconclusive),
        Self::Stale,
        Self::Judged(Severity::Opaque),
        Self::Judged(Severity::NotExercised),
        Self::Judged(Severity::Match),
    ];

    /// The word for it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Judged(severity) => severity.word(),
            Self::Stale => "stale",
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::Judged(Severity::Mismatch) => 0,
            Self::Judged(Severity::Inconclusive) => 1,
            Self::Stale => 2,
            Self::Judged(Severity::Opaque) => 3,
            Self::Judged(Severity::NotExercised) => 4,
            Self::Judged(Severity::Match) => 5,
        }
    }
}

/// So many stretches there are at most.
const STRETCHES_MAX: u64 = 96;

/// A re-order reaches back no further than this.
const NEWEST_MAX: usize = 1024;

const CASES_MAX: usize = 10_000;
const PROBLEMS_MAX: usize = 1000;
const VARIANTS_MAX: usize = 64;
const EVIDENCE_MAX: usize = 32;
