//! An evidence directory, minimised: a smaller one beside it, with a test in it.
//!
//! What is written is evidence like any other, and is read by the same code. Two files are added that
//! no program needs: `MINIMAL.md`, which says how it was made and what it means, and `regression.rs`,
//! a test that fails until the fault is gone. The original is not touched.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use comparator::{Observation, Verdict};

use super::{Case, MinimizeError, Minimized, Options, Wanted, minimize, regression};
use crate::{
    diagnosis::{Diagnosis, difference_of},
    evidence::{Evidence, EvidenceError, Replay, ReplayError, Run},
    execute::BlockExecutor,
    fingerprint::{Fingerprint, FingerprintId},
    locate::{Rerun, locate},
    run_report::markdown::{code, plain},
};

/// What became of an evidence directory.
#[derive(Debug)]
pub struct Written {
    /// The directory of the smaller evidence.
    pub path: PathBuf,
    /// How it was found.
    pub minimized: Minimized,
    /// The smaller evidence. Numbers and accounts that decide on a fingerprint may have gone, so it
    /// may have another one.
    pub evidence: Evidence,
    /// The problem that the original is a case of.
    pub problem: FingerprintId,
    /// What it says about the cause.
    pub diagnosis: Option<Diagnosis>,
    /// How many transactions the original has.
    pub transactions: usize,
}

/// Minimises the evidence in a directory and writes what is left beside it, as `<name>_minimal`; if
/// that is there the name is followed by a number.
///
/// The candidate has to be the one of the evidence, or one that is wrong in the same way.
///
/// # Errors
///
/// When the evidence is not what was written, when the candidate does not show its difference, and when
/// the disk fails. Nothing is left behind then.
pub fn minimize_directory(
    directory: &Path,
    candidate: &dyn BlockExecutor,
    options: Options<'_>,
) -> Result<Written, DirectoryError> {
    let evidence = Evidence::read(directory).map_err(DirectoryError::Evidence)?;
    let minimized = minimize_evidence(&evidence, candidate, options)?;
    let smaller = evidence_of(&minimized, candidate)?;
    let diagnosis = Diagnosis::of_evidence(&smaller);
    let path = write(directory, &evidence, &smaller, &minimized, diagnosis.as_ref())?;
    let transactions = evidence.block.transactions.len();
    let problem = evidence.fingerprint.id();
    Ok(Written { path, minimized, evidence: smaller, problem, diagnosis, transactions })
}

/// Minimises evidence.
///
/// # Errors
///
/// When the candidate does not show its difference.
pub fn minimize_evidence(
    evidence: &Evidence,
    candidate: &dyn BlockExecutor,
    options: Options<'_>,
) -> Result<Minimized, DirectoryError> {
    let first = evidence.record.differences.first().ok_or(DirectoryError::NoDifference)?;
    let first = difference_of(first);
    let case = Case {
        block: evidence.block.clone(),
        pre_state: evidence.pre_state.clone(),
        schedule: evidence.schedule(),
    };
    let hangs = first.field == comparator::Field::Hang;
    let rerun = Rerun { candidate, pre_state: &case.pre_state, schedule: case.schedule };
    let wanted = Wanted::new(&first, &case.block, (!hangs).then_some(rerun));
    minimize(&case, candidate, &wanted, options).map_err(DirectoryError::Minimize)
}

/// The evidence of the smallest case.
fn evidence_of(
    minimized: &Minimized,
    candidate: &dyn BlockExecutor,
) -> Result<Evidence, DirectoryError> {
    let Case { block, pre_state, schedule } = &minimized.case;
    let replay = Replay::new(block.clone(), pre_state.clone()).map_err(DirectoryError::Replay)?;
    let first = minimized.mismatch.first();
    let run = Run {
        observation: Observation {
            result: minimized.observed.clone(),
            elapsed: Duration::ZERO,
            schedule: *schedule,
        },
        verdict: Verdict::Mismatch(minimized.mismatch.clone()),
        fingerprint: first.map(|first| Fingerprint::of(candidate.name(), first, block)),
    };
    let mut evidence = replay.evidence(run, candidate).ok_or(DirectoryError::NoDifference)?;
    // The block is small enough for the transaction to be found by executing parts of it.
    if let (Some(first), Some(recorded)) = (first, evidence.record.differences.first_mut()) {
        let hangs = first.field == comparator::Field::Hang;
        let rerun = Rerun { candidate, pre_state, schedule: *schedule };
        recorded.transaction = locate(first, block, (!hangs).then_some(rerun));
    }
    Ok(evidence)
}

/// Writes the directory under a name that nobody looks for, and renames it when it is complete.
fn write(
    original: &Path,
    whole: &Evidence,
    smaller: &Evidence,
    minimized: &Minimized,
    diagnosis: Option<&Diagnosis>,
) -> Result<PathBuf, DirectoryError> {
    let original = original.canonicalize().map_err(|error| DirectoryError::io(original, error))?;
    let (Some(parent), Some(name)) = (original.parent(), original.file_name()) else {
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        return Err(DirectoryError::io(&original, error));
    };
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(parent)
        .map_err(|error| DirectoryError::io(parent, error))?;
    let written = smaller.write(unfinished.path()).map_err(DirectoryError::Evidence)?;
    let name = name.to_string_lossy().into_owned();
    for number in 1..=NAMES_MAX {
        let minimal = match number {
            1 => format!("{name}{MINIMAL}"),
            number => format!("{name}{MINIMAL}-{number}"),
        };
        let path = parent.join(&minimal);
        if path.exists() {
            continue;
        }
        let made_of = format!("{name}, a case of problem {}", whole.fingerprint.id());
        let page = page(&minimal, &made_of, whole, smaller, minimized, diagnosis);
        let test = regression::test_of(smaller, &minimal, &made_of, diagnosis);
        for (file, text) in [(PAGE, page), (REGRESSION, test)] {
            write_file(&written.join(file), &text)?;
        }
        match fs::rename(&written, &path) {
            Ok(()) => return Ok(path),
            // Somebody else took the name just now.
            Err(_) if path.exists() => {}
            Err(error) => return Err(DirectoryError::io(&path, error)),
        }
    }
    Err(DirectoryError::Evidence(EvidenceError::NoName(parent.join(format!("{name}{MINIMAL}")))))
}

fn write_file(path: &Path, text: &str) -> Result<(), DirectoryError> {
    let write = || {
        // What is left of an earlier try under another name.
        let mut file = File::create(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| DirectoryError::io(path, error))
}

/// What `MINIMAL.md` says.
fn page(
    name: &str,
    made_of: &str,
    whole: &Evidence,
    smaller: &Evidence,
    minimized: &Minimized,
    diagnosis: Option<&Diagnosis>,
) -> String {
    let entries = |evidence: &Evidence| evidence.pre_state.iter().count();
    let mut text = format!(
        "# {}\n\n\
         {}.\n\n\
         It is made of {}.\n\n\
         This block is made of block {} and is no block of the chain: of its {} transactions {} are\n\
         left, of the {} values before it {}, and numbers were made rounder where the difference did not\n\
         depend on them. Transactions and the block keep the hashes that they had, as names: they are\n\
         not the hashes of what is written here.\n\n\
         It shows the same difference in {}, under {}. {}\n",
        code(name),
        plain(&smaller.to_string()),
        plain(made_of),
        smaller.block.block.hash,
        whole.block.transactions.len(),
        smaller.block.transactions.len(),
        entries(whole),
        entries(smaller),
        minimized.shown,
        minimized.case.schedule,
        match minimized.is_complete {
            true => "No single part of it can be left out.",
            false =>
                "Not everything was tried before minimising ended, so it may get smaller still.",
        },
    );
    text.push_str("\n## Cause\n\n");
    match diagnosis.map(Diagnosis::sentences).filter(|sentences| !sentences.is_empty()) {
        Some(sentences) => {
            for sentence in sentences {
                text.push_str(&format!("* {}\n", plain(&sentence)));
            }
        }
        None => text.push_str("The numbers do not tell.\n"),
    }
    text.push_str(&format!(
        "\n## As a test\n\n\
         `{REGRESSION}` fails as long as the candidate is wrong. Copy it to `tests/` of the crate that has\n\
         the executor, and this directory to `tests/fixtures/`.\n"
    ));
    text
}

/// Why an evidence directory could not be minimised.
#[derive(Debug)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The evidence cannot be read, or the smaller one not be written.
    Evidence(EvidenceError),
    /// The record of the evidence has no difference.
    NoDifference,
    /// The difference does not show.
    Minimize(MinimizeError),
    /// The smaller block has no control.
    Replay(ReplayError),
    /// A file or directory could not be written.
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DirectoryError {
    fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evidence(error) => error.fmt(f),
            Self::NoDifference => f.write_str("the record of the evidence has no difference"),
            Self::Minimize(error) => error.fmt(f),
            Self::Replay(error) => error.fmt(f),
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for DirectoryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Evidence(error) => Some(error),
            Self::NoDifference => None,
            Self::Minimize(error) => Some(error),
            Self::Replay(error) => Some(error),
            Self::Io { error, .. } => Some(error),
        }
    }
}

/// Whether a directory of this name was made by minimising another.
pub(crate) fn is_minimal(name: &str) -> bool {
    let base = name.trim_end_matches(|char: char| char.is_ascii_digit());
    name.ends_with(MINIMAL) || base.strip_suffix('-').is_some_and(|base| base.ends_with(MINIMAL))
}

/// What the name of the original is followed by.
const MINIMAL: &str = "_minimal";

/// The page that says how it was made.
const PAGE: &str = "MINIMAL.md";

/// The test.
const REGRESSION: &str = "regression.rs";

const UNFINISHED: &str = ".unfinished-minimal-";

/// How many smaller ones of one directory there may be.
const NAMES_MAX: u32 = 100;
