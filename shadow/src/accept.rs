//! Differences that somebody expects: accepted for a reason, in a scope, and never silently.
//!
//! A candidate that is meant to differ, until its next build, would hide everything else behind its exit
//! code. So a problem can be accepted: its mismatches are then counted and shown apart. They stay what
//! they are in the ledger, no agreement is made of them, and as soon as the candidate is another build,
//! or differs in more than what was accepted, they count as mismatches again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};

use comparator::{Field, Severity};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::{EvidenceError, write_replacing},
    fingerprint::{Fingerprint, FingerprintId},
    ledger::{CandidateEntry, FoundProblem, LedgerEntry},
};

/// What is accepted on a state directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptances {
    all: BTreeMap<FingerprintId, Acceptance>,
}

/// One problem that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The problem.
    pub fingerprint: FingerprintId,
    /// Of which candidate.
    pub candidate: String,
    /// Of which build of it.
    pub build: String,
    /// In which fields its mismatches may differ.
    pub fields: BTreeSet<Field>,
    /// Why.
    pub reason: String,
    /// A part of the name of the first build that has to be right: until then any build may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_build: Option<String>,
}

impl Acceptance {
    /// Whether a mismatch is in the scope.
    pub fn covers(&self, found: &FoundProblem) -> bool {
        let FoundProblem { candidate, build, fingerprint, fields, .. } = found;
        self.covers_all(*fingerprint, candidate, build, fields.keys())
    }

    /// Whether all mismatches of a problem are that differ in these fields, in this build.
    pub(crate) fn covers_all<'a>(
        &self,
        fingerprint: FingerprintId,
        candidate: &str,
        build: &str,
        mut fields: impl Iterator<Item = &'a Field>,
    ) -> bool {
        let is_in_time = match &self.until_build {
            Some(until) => !build.contains(until.as_str()),
            None => build == self.build,
        };
        fingerprint == self.fingerprint
            && candidate == self.candidate
            && is_in_time
            && fields.all(|field| self.fields.contains(field))
    }
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    format_version: u64,
    accepted: Vec<Acceptance>,
}

impl Acceptances {
    /// What is accepted on a state directory.
    ///
    /// # Errors
    ///
    /// When the file is there and cannot be read.
    pub fn read(state_dir: &Path) -> Result<Self, AcceptError> {
        let path = state_dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(AcceptError::Io { path, error }),
        };
        let file = serde_json::from_slice::<FileJson>(&text);
        let file = file.map_err(|error| AcceptError::Json { path: path.clone(), error })?;
        if file.format_version != FORMAT_VERSION {
            return Err(AcceptError::Version { path, found: file.format_version });
        }
        let accepted = file.accepted.into_iter();
        Ok(Self { all: accepted.map(|accepted| (accepted.fingerprint, accepted)).collect() })
    }

    /// Accepts one more, in the place of what was accepted of the same problem before.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn accept(&mut self, state_dir: &Path, accepted: Acceptance) -> Result<(), AcceptError> {
        self.all.insert(accepted.fingerprint, accepted);
        let path = state_dir.join(FILE);
        let file = FileJson {
            format_version: FORMAT_VERSION,
            accepted: self.all.values().cloned().collect(),
        };
        let mut text = serde_json::to_vec_pretty(&file)
            .map_err(|error| AcceptError::Json { path: path.clone(), error })?;
        text.push(b'\n');
        write_replacing(&path, &text).map_err(AcceptError::Write)
    }

    /// What was accepted under this name, whether or not it still covers anything.
    pub fn of(&self, fingerprint: FingerprintId) -> Option<&Acceptance> {
        self.all.get(&fingerprint)
    }

    /// What was accepted of a problem, whether or not it still covers anything. An acceptance of all that a
    /// candidate may say in this place, as earlier builds took it, covers nothing any more.
    pub(crate) fn of_problem(&self, problem: &Fingerprint) -> Option<&Acceptance> {
        let of_all = || self.of(problem.without_what_is_said().id());
        self.of(problem.id()).or_else(of_all)
    }

    /// Whether what was found is accepted.
    pub(crate) fn cover(&self, found: &FoundProblem) -> bool {
        self.of(found.fingerprint).is_some_and(|accepted| accepted.covers(found))
    }

    /// What the mismatch of a candidate is accepted by.
    pub fn covering(&self, entry: &CandidateEntry) -> Option<&Acceptance> {
        // Nearly always there is nothing, and then nothing has to be looked at.
        let accepted = self.of(entry.fingerprint.as_ref()?.id())?;
        accepted.covers(&FoundProblem::of(entry)?).then_some(accepted)
    }

    /// Whether a candidate was compared at work, and not only found to differ as is expected.
    pub(crate) fn is_exercised(&self, entry: &CandidateEntry) -> bool {
        entry.is_exercised() && self.covering(entry).is_none()
    }

    /// Whether all that differs in a block is accepted, and something does.
    pub fn cover_block(&self, entry: &LedgerEntry) -> bool {
        let is_mismatch = |one: &&CandidateEntry| one.verdict == Severity::Mismatch;
        let mut differing = entry.candidates.iter().filter(is_mismatch).peekable();
        differing.peek().is_some() && differing.all(|one| self.covering(one).is_some())
    }

    /// How many of the differences of blocks that were ordered away are accepted.
    pub fn accepted_of<'a>(&self, found: impl Iterator<Item = &'a FoundProblem>) -> u64 {
        found.filter(|found| self.cover(found)).map(FoundProblem::mismatches).sum()
    }
}

/// Why what is accepted cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// The file cannot be read.
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not what was written.
    Json {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// The file is in a version that this build does not know.
    Version {
        /// Which one.
        path: PathBuf,
        /// The version.
        found: u64,
    },
    /// The file cannot be written.
    Write(EvidenceError),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Json { path, error } => {
                write!(f, "{}: {error}; mend it, or remove it and accept anew", path.display())
            }
            Self::Version { path, found } => write!(
                f,
                "{}: format version {found}, this build reads {FORMAT_VERSION}: use a newer build",
                path.display()
            ),
            Self::Write(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Json { error, .. } => Some(error),
            Self::Write(error) => Some(error),
            Self::Version { .. } => None,
        }
    }
}

/// The file in the state directory.
const FILE: &str = "accepted.json";

const FORMAT_VERSION: u64 = 1;
