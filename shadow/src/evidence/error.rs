//! Why evidence cannot be written or read.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use comparator::{RecordError, WireError};

use crate::execute::external::BlockJsonError;

/// Why evidence cannot be written or read.
#[derive(Debug)]
#[non_exhaustive]
pub enum EvidenceError {
    /// A file or directory could not be read or written.
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// There is no evidence in a directory.
    NotEvidence(PathBuf),
    /// The directory is not what was written.
    Broken {
        /// The directory.
        directory: PathBuf,
        /// The file in it.
        file: &'static str,
        /// Where in the file; empty if the whole of it is meant.
        field: String,
        /// What is wrong with it.
        problem: Box<Problem>,
    },
    /// The block has no form in which it could be written.
    Block(BlockJsonError),
    /// The record contradicts itself.
    Record(RecordError),
    /// A part has no JSON form.
    Encode(serde_json::Error),
    /// Every name for the directory is taken by other evidence.
    NoName(PathBuf),
}

/// What is wrong with a part of an evidence directory.
#[derive(Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The file is not there.
    Missing,
    /// A directory is where the file should be.
    Directory,
    /// The file is shorter or longer than it was written.
    Length {
        /// How many bytes it has.
        found: u64,
        /// How many were written.
        written: u64,
    },
    /// It is not the JSON that it should be.
    Json(serde_json::Error),
    /// It is JSON and makes no sense.
    Wire(WireError),
    /// The record makes no sense.
    Record(RecordError),
    /// It is in a version of the format that this build does not know.
    Version {
        /// The version.
        found: u64,
    },
    /// It is not what was written there.
    Edited,
    /// It is not what another file says.
    Contradicts(&'static str),
    /// It was judged by rules that this build does not execute by.
    Rules {
        /// Their name.
        found: String,
    },
}

impl EvidenceError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

impl fmt::Display for EvidenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::NotEvidence(directory) => write!(
                f,
                "{}: no evidence directory: it has no file evidence.json",
                directory.display()
            ),
            Self::Broken { directory, file, field, problem } => {
                write!(f, "{}: {file}", directory.display())?;
                if !field.is_empty() {
                    write!(f, ", field {field}")?;
                }
                write!(f, ": {problem}")
            }
            Self::Block(error) => error.fmt(f),
            Self::Record(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "a part of the evidence has no JSON form: {error}"),
            Self::NoName(path) => {
                write!(f, "{}: other evidence has this name: move it away", path.display())
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("the file is missing: take the directory as it was written")
            }
            Self::Directory => {
                f.write_str("a directory is in its place: take the directory as it was written")
            }
            Self::Length { found, written } if found < written => {
                write!(f, "cut off: {found} of {written} bytes are there")
            }
            Self::Length { found, written } => {
                write!(f, "edited: it has {found} bytes and was written with {written}")
            }
            Self::Json(error) => error.fmt(f),
            Self::Wire(error) => error.fmt(f),
            Self::Record(error) => match std::error::Error::source(error) {
                Some(source) => write!(f, "{error}: {source}"),
                None => error.fmt(f),
            },
            Self::Version { found } => write!(
                f,
                "format version {found}, this build reads version {}: use the build that wrote it",
                super::FORMAT_VERSION
            ),
            Self::Edited => f.write_str("edited: it is not what was written there"),
            Self::Contradicts(file) => write!(f, "edited: it is not what {file} says"),
            Self::Rules { found } => {
                write!(f, "judged by rules {found:?}, this build has {:?}", crate::rules::RULES)
            }
        }
    }
}

impl std::error::Error for EvidenceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Block(error) => Some(error),
            Self::Record(error) => Some(error),
            Self::Encode(error) => Some(error),
            // The problem is part of the message.
            Self::Broken { .. } | Self::NotEvidence(_) | Self::NoName(_) => None,
        }
    }
}
