//! The archive: where evidence is kept, and how much of it.
//!
//! A candidate that is wrong everywhere must not fill the disk, and the ten thousandth case of a problem
//! tells nobody more than the first few. So of each problem some cases are kept; the others are counted,
//! and the index of the archive says how many there were and where.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use storage_snapshot::TopoHeight;

use super::{
    Evidence, EvidenceError,
    manifest::Manifest,
    write::{UNFINISHED, write_replacing},
};
use crate::{
    fingerprint::{Fingerprint, FingerprintId},
    minimize::is_minimal,
};

/// How much evidence is kept of each problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveLimits {
    /// How many cases. One is kept whatever the limits say.
    pub cases: usize,
    /// How many bytes they may take together.
    pub bytes: u64,
    /// How many bytes all problems together may take.
    pub bytes_in_all: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self { cases: 4, bytes: 64 << 20, bytes_in_all: 1 << 30 }
    }
}

/// A directory of evidence.
#[derive(Debug)]
pub struct Archive {
    directory: PathBuf,
    limits: ArchiveLimits,
    problems: BTreeMap<FingerprintId, Cases>,
    /// Whether the index on disk is behind.
    is_ahead: bool,
}

/// What there is of one problem.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cases {
    fingerprint: Fingerprint,
    /// The names of the directories, in the order in which they were written.
    kept: Vec<String>,
    bytes: u64,
    not_kept: NotKept,
}

/// Cases of which there is no evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotKept {
    /// How many.
    pub count: u64,
    /// Where the first was.
    pub first: Option<TopoHeight>,
    /// Where the last was.
    pub last: Option<TopoHeight>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is the first of its problem, and is here.
    First(PathBuf),
    /// It is here.
    Another(PathBuf),
    /// It was here already: the block is judged again.
    Before(PathBuf),
    /// It was only counted.
    Not,
}

impl Kept {
    /// Where it is.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::First(path) | Self::Another(path) | Self::Before(path) => Some(path),
            Self::Not => None,
        }
    }
}

/// The index as it is written.
#[derive(Serialize, Deserialize)]
struct IndexJson {
    format_version: u64,
    limits: ArchiveLimits,
    problems: Vec<Cases>,
}

impl Archive {
    /// Opens a directory, which need not be there yet.
    ///
    /// What is kept is told from the directories themselves; only what was not kept from the index, so
    /// an index that is lost, or was written before the process died, costs no more than that note.
    ///
    /// # Errors
    ///
    /// When the directory is there and cannot be read.
    pub fn open(directory: PathBuf, limits: ArchiveLimits) -> Result<Self, EvidenceError> {
        let mut archive = Self { directory, limits, problems: BTreeMap::new(), is_ahead: false };
        let index = fs::read(archive.directory.join(INDEX)).unwrap_or_default();
        if let Ok(index) = serde_json::from_slice::<IndexJson>(&index) {
            for cases in index.problems {
                let cases = Cases { kept: Vec::new(), bytes: 0, ..cases };
                archive.problems.insert(cases.fingerprint.id(), cases);
            }
        }
        for name in archive.names()? {
            let path = archive.directory.join(&name);
            if name.starts_with(UNFINISHED) {
                // Another run may be writing it just now, but not for so long.
                if is_older_than(&path, UNFINISHED_FOR_MAX) {
                    fs::remove_dir_all(&path).map_err(EvidenceError::io(&path))?;
                }
                continue;
            }
            if is_case(&name)
                && let Ok(manifest) = Manifest::peek(&path)
            {
                archive.cases(&manifest.fingerprint).add(name, size(&path));
            }
        }
        Ok(archive)
    }

    /// The directory of the first case of each problem, if any of its cases was kept.
    pub fn first_cases(&self) -> impl Iterator<Item = PathBuf> {
        let first = self.problems.values().filter_map(|cases| cases.kept.first());
        first.map(|name| self.directory.join(name))
    }

    /// Keeps a case, or counts it. What is kept is on the disk when this returns; `evidence` is only
    /// made if it is needed.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn keep(
        &mut self,
        fingerprint: &Fingerprint,
        at: TopoHeight,
        directory_name: &str,
        evidence: impl FnOnce() -> Option<Evidence>,
    ) -> Result<Kept, EvidenceError> {
        let in_all: u64 = self.problems.values().map(|cases| cases.bytes).sum();
        let limits = self.limits;
        let directory = self.directory.clone();
        let cases = self.cases(fingerprint);
        if let Some(name) = cases.kept.iter().find(|name| *name == directory_name) {
            return Ok(Kept::Before(directory.join(name)));
        }
        let is_first = cases.kept.is_empty();
        let is_full = cases.kept.len() >= limits.cases
            || cases.bytes >= limits.bytes
            || in_all >= limits.bytes_in_all;
        if is_full && !is_first {
            cases.not_kept.add(at);
            self.is_ahead = true;
            return Ok(Kept::Not);
        }
        let Some(evidence) = evidence() else { return Ok(Kept::Not) };
        let path = match evidence.write(&directory) {
            Ok(path) => path,
            // Judged again and again under changing builds, a block has no names left one day.
            Err(EvidenceError::NoName(_)) => {
                cases.not_kept.add(at);
                self.is_ahead = true;
                return Ok(Kept::Not);
            }
            Err(error) => return Err(error),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        cases.add(name, size(&path));
        self.write_index()?;
        Ok(if is_first { Kept::First(path) } else { Kept::Another(path) })
    }

    /// Writes the index, if it changed.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), EvidenceError> {
        if self.is_ahead { self.write_index() } else { Ok(()) }
    }

    /// Of each problem, of how many cases there is no evidence.
    pub fn not_kept(&self) -> impl Iterator<Item = (FingerprintId, NotKept)> {
        self.problems.iter().map(|(id, cases)| (*id, cases.not_kept))
    }

    /// How a directory with evidence is named to whoever stands in the state directory: relative to it
    /// if it is in there, otherwise absolute.
    pub fn reference(state_dir: &Path, evidence: &Path) -> String {
        let inside = evidence.strip_prefix(state_dir).map(Path::to_owned);
        let path = inside.or_else(|_| std::path::absolute(evidence));
        path.unwrap_or_else(|_| evidence.to_owned()).display().to_string()
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn cases(&mut self, fingerprint: &Fingerprint) -> &mut Cases {
        self.problems.entry(fingerprint.id()).or_insert_with(|| Cases {
            fingerprint: fingerprint.clone(),
            kept: Vec::new(),
            bytes: 0,
            not_kept: NotKept::default(),
        })
    }

    fn write_index(&mut self) -> Result<(), EvidenceError> {
        let index = IndexJson {
            format_version: INDEX_VERSION,
            limits: self.limits,
            problems: self.problems.values().cloned().collect(),
        };
        let text = serde_json::to_vec(&index).map_err(EvidenceError::Encode)?;
        fs::create_dir_all(&self.directory).map_err(EvidenceError::io(&self.directory))?;
        write_replacing(&self.directory.join(INDEX), &text)?;
        self.is_ahead = false;
        Ok(())
    }

    /// What is in the directory, in order; nothing if it is not there.
    fn names(&self) -> Result<Vec<String>, EvidenceError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(EvidenceError::Io { path: self.directory.clone(), error });
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(EvidenceError::io(&self.directory))?;
            if let Ok(name) = entry.file_name().into_string()
                && entry.path().is_dir()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}

impl Cases {
    fn add(&mut self, name: String, bytes: u64) {
        self.kept.push(name);
        self.bytes += bytes;
    }
}

impl NotKept {
    /// These and others.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        let first = self.first.into_iter().chain(other.first).min();
        Self { count: self.count + other.count, first, last: self.last.max(other.last) }
    }

    fn add(&mut self, at: TopoHeight) {
        self.count += 1;
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = self.last.max(Some(at));
    }
}

fn is_older_than(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// Whether a directory with evidence that has this name is a case that was kept, and not what was made of one or is
/// not finished.
pub(crate) fn is_case(name: &str) -> bool {
    !is_minimal(name) && !name.starts_with(UNFINISHED)
}

/// The bytes of all files of a directory.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// After which time nobody is writing a directory any more.
const UNFINISHED_FOR_MAX: Duration = Duration::from_secs(3600);

/// The name of the index.
pub(crate) const INDEX: &str = "index.json";

const INDEX_VERSION: u64 = 1;
