//! Where the files of a report go, whole or not at all.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use quick_junit::SerializeError;

/// The directory of a report.
#[derive(Clone, Debug)]
pub(crate) struct ReportFiles(PathBuf);

impl ReportFiles {
    /// Takes a directory, which is made if it is not there, and removes what an earlier run left in it:
    /// nothing that was clean once may be read as the answer of a run that never came to one.
    pub(crate) fn take(directory: &Path) -> Result<Self, ReportError> {
        let failed = |error| ReportError::Directory { path: directory.to_owned(), error };
        fs::create_dir_all(directory).map_err(failed)?;
        let files = Self(std::path::absolute(directory).map_err(failed)?);
        for name in ALL {
            match fs::remove_file(files.0.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(files)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), ReportError> {
        let path = self.0.join(name);
        let write = || {
            // Whoever collects reports may be somebody else.
            let readable = fs::Permissions::from_mode(0o666);
            let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(&self.0)?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_data()?;
            file.persist(&path).map_err(|error| error.error)
        };
        write().map(drop).map_err(|error| ReportError::File { path: path.clone(), error })
    }
}

pub(crate) const SUMMARY: &str = "summary.json";
pub(crate) const REPORT: &str = "report.md";
pub(crate) const JUNIT: &str = "junit.xml";
pub(crate) const CHART: &str = "chart.svg";

/// The names of all files.
const ALL: [&str; 4] = [SUMMARY, REPORT, JUNIT, CHART];

/// Why there is no report.
#[derive(Debug)]
pub(crate) enum ReportError {
    /// The directory cannot be used.
    Directory { path: PathBuf, error: io::Error },
    /// A file cannot be written.
    File { path: PathBuf, error: io::Error },
    /// The summary is not what it has to be.
    Summary(serde_json::Error),
    /// The cases have no XML form.
    Junit(SerializeError),
    /// The chart cannot be drawn.
    Chart(String),
}

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, error } => write!(
                f,
                "the report cannot be written to {}: {error}; give a directory that can be written to",
                path.display()
            ),
            Self::File { path, error } => {
                write!(f, "{} cannot be written: {error}", path.display())
            }
            Self::Summary(error) => {
                write!(f, "the summary cannot be put into a report: {error}; please report it")
            }
            Self::Junit(error) => {
                write!(f, "the cases have no XML form: {error}; please report it")
            }
            Self::Chart(what) => write!(f, "the chart cannot be drawn: {what}; please report it"),
        }
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory { error, .. } | Self::File { error, .. } => Some(error),
            Self::Summary(error) => Some(error),
            Self::Junit(error) => Some(error),
            Self::Chart(_) => None,
        }
    }
}
