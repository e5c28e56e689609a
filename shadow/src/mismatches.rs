//! The problems of a state directory: its mismatches by fingerprint.
//!
//! They are counted from the ledger, so that what is said here is what the summary says, however often
//! the runs on the directory were interrupted; only what cannot be told from it, such as how a triage
//! ended, is looked up beside the evidence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use comparator::{Field, Severity};
use serde::Serialize;
use storage_snapshot::{Store, TopoHeight};

use crate::{
    accept::{Acceptance, Acceptances},
    evidence::{Archive, ArchiveLimits, EVIDENCE, NotKept},
    fingerprint::{Fingerprint, FingerprintId},
    ledger::{FoundProblem, LedgerEntry, LedgerError, entries},
    triage::Triage,
};

/// The mismatches of a state directory.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Problems {
    /// Each once, the first found first.
    pub problems: Vec<ProblemRow>,
    /// Blocks that differ and that a build judged that did not tell problems apart.
    pub blocks_without_fingerprint: u64,
    #[serde(skip)]
    places: BTreeMap<FingerprintId, usize>,
}

/// One problem.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemRow {
    /// What it is.
    pub fingerprint: Fingerprint,
    /// In how many blocks it was found, those included that were ordered away.
    pub blocks: u64,
    /// Where it was found first.
    pub first: TopoHeight,
    /// Where it was found last.
    pub last: TopoHeight,
    /// In which builds of the candidate; the last one last.
    pub builds: Vec<String>,
    /// In which fields its blocks differ.
    pub fields: BTreeSet<Field>,
    /// The directories with evidence that are there.
    pub evidence: Vec<PathBuf>,
    /// Cases of which no evidence was kept.
    pub not_kept: NotKept,
    /// What looking into it showed, if anybody has.
    pub triage: Option<Triage>,
    /// By what it is accepted, if it is.
    pub accepted: Option<Acceptance>,
    /// How many of the blocks are covered by that.
    pub blocks_accepted: u64,
}

impl Problems {
    /// The problems in the ledger of a state directory.
    ///
    /// # Errors
    ///
    /// When the ledger cannot be read.
    pub fn read(
        store: &Store,
        state_dir: &Path,
        acceptances: &Acceptances,
    ) -> Result<Self, LedgerError> {
        let mut problems = Self::default();
        for entry in entries(store, TopoHeight::GENESIS) {
            problems.add(&entry?, state_dir, acceptances);
        }
        // Evidence may have been kept elsewhere, and in several places by several runs.
        let kept = problems.problems.iter().flat_map(|problem| &problem.evidence);
        let mut archives: BTreeSet<_> =
            kept.filter_map(|path| path.parent()).map(Path::to_owned).collect();
        archives.insert(state_dir.join(EVIDENCE));
        for archive in archives {
            // What cannot be read is not there; the ledger has counted it all the same.
            let archive = Archive::open(archive, ArchiveLimits::default());
            for (id, not_kept) in archive.iter().flat_map(Archive::not_kept) {
                if let Some(place) = problems.places.get(&id) {
                    let problem = &mut problems.problems[*place];
                    problem.not_kept = problem.not_kept.and(not_kept);
                }
            }
        }
        for problem in &mut problems.problems {
            let mut triages = problem.evidence.iter().map(|directory| Triage::read(directory));
            problem.triage = triages.find_map(|triage| triage.ok().flatten());
        }
        Ok(problems)
    }

    /// One problem.
    pub fn of(&self, fingerprint: FingerprintId) -> Option<&ProblemRow> {
        self.places.get(&fingerprint).map(|place| &self.problems[*place])
    }

    fn add(&mut self, entry: &LedgerEntry, state_dir: &Path, acceptances: &Acceptances) {
        let differing = entry.candidates.iter().filter(|one| one.verdict == Severity::Mismatch);
        let nameless = differing.filter(|one| one.fingerprint.is_none()).count();
        self.blocks_without_fingerprint += nameless as u64;
        // What was found in a block that was ordered away was found.
        for found in entry.problems() {
            let id = found.fingerprint;
            let place = match (self.places.get(&id), &found.problem) {
                (Some(place), _) => *place,
                (None, Some(fingerprint)) => {
                    self.places.insert(id, self.problems.len());
                    self.problems.push(ProblemRow {
                        fingerprint: fingerprint.clone(),
                        blocks: 0,
                        first: entry.topoheight,
                        last: entry.topoheight,
                        builds: Vec::new(),
                        fields: BTreeSet::new(),
                        evidence: Vec::new(),
                        not_kept: NotKept::default(),
                        triage: None,
                        accepted: acceptances.of_problem(fingerprint).cloned(),
                        blocks_accepted: 0,
                    });
                    self.problems.len() - 1
                }
                (None, None) => {
                    self.blocks_without_fingerprint += 1;
                    continue;
                }
            };
            let is_accepted = acceptances.cover(&found);
            self.problems[place].add(entry.topoheight, found, state_dir, is_accepted);
        }
    }
}

impl ProblemRow {
    fn add(&mut self, at: TopoHeight, found: FoundProblem, state_dir: &Path, is_accepted: bool) {
        self.blocks += 1;
        self.last = at;
        self.fields.extend(found.fields.keys());
        self.blocks_accepted += u64::from(is_accepted);
        self.builds.retain(|build| *build != found.build);
        self.builds.push(found.build);
        if let Some(evidence) = &found.evidence {
            let path = state_dir.join(evidence);
            if path.is_dir() && !self.evidence.contains(&path) {
                self.evidence.push(path);
            }
        }
    }
}

/// In words; the first line is the answer.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: u64 = self.problems.iter().map(|problem| problem.blocks).sum();
        writeln!(f, "{} problems in {blocks} verdicts", self.problems.len())?;
        for problem in &self.problems {
            problem.fmt(f)?;
        }
        if self.blocks_without_fingerprint > 0 {
            writeln!(
                f,
                "\n{} verdicts are of a build that told no problems apart",
                self.blocks_without_fingerprint
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for ProblemRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fingerprint, blocks, first, last, .. } = self;
        writeln!(f, "\n{}  candidate {}: {fingerprint}", fingerprint.id(), fingerprint.candidate)?;
        writeln!(f, "  seen      in {blocks} blocks, from topoheight {first} to {last}")?;
        match &self.triage {
            Some(triage) => writeln!(f, "  triage    {}", triage.sentence())?,
            None => writeln!(f, "  triage    none yet")?,
        }
        for directory in &self.evidence {
            writeln!(f, "  evidence  {}", directory.display())?;
        }
        if self.not_kept.count > 0 {
            writeln!(f, "  not kept  evidence of {} more cases", self.not_kept.count)?;
        }
        if let Some(accepted) = &self.accepted {
            let reason = accepted.reason.escape_debug();
            writeln!(f, "  accepted  in {} of its blocks: {reason}", self.blocks_accepted)?;
            if self.blocks_accepted < self.blocks {
                writeln!(
                    f,
                    "  expired   in the others: another build, or more differs than was accepted"
                )?;
            }
        }
        Ok(())
    }
}
