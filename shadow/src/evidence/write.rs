//! Writing evidence, all of it or nothing.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use comparator::ExecutionJson;
use storage_snapshot::BlockRef;

use super::{
    Evidence, EvidenceError,
    files::{CandidateJson, entries, to_lines},
    manifest::{BLOCK, CANDIDATE, CONTROL, LOG, MANIFEST, Manifest, PRE_STATE, README, RECORD},
};
use crate::execute::external::BlockJson;

impl Evidence {
    /// Writes a directory `<topoheight>_<hash8>_<candidate>` into `parent`, which is made if it is not
    /// there, and returns its path.
    ///
    /// The directory has its name only once everything in it is on the disk. One that is there already
    /// is never touched: if it is taken the name is followed by a number.
    ///
    /// # Errors
    ///
    /// When it cannot be written. Nothing is left behind then.
    pub fn write(&self, parent: &Path) -> Result<PathBuf, EvidenceError> {
        let files = self.files()?;
        fs::create_dir_all(parent).map_err(EvidenceError::io(parent))?;
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(parent)
            .map_err(EvidenceError::io(parent))?;
        for (name, text) in &files {
            write_file(&unfinished.path().join(name), text)?;
        }
        sync(unfinished.path())?;
        let name = self.directory_name();
        for number in 1..=NAMES_MAX {
            let path = match number {
                1 => parent.join(&name),
                number => parent.join(format!("{name}-{number}")),
            };
            if path.exists() {
                continue;
            }
            match fs::rename(unfinished.path(), &path) {
                Ok(()) => {
                    // It is not where it would be removed from any more.
                    let _moved = unfinished.keep();
                    sync(parent)?;
                    return Ok(path);
                }
                // Somebody else took the name just now.
                Err(_) if path.exists() => {}
                Err(error) => return Err(EvidenceError::Io { path, error }),
            }
        }
        Err(EvidenceError::NoName(parent.join(name)))
    }

    /// The name of its directory.
    pub fn directory_name(&self) -> String {
        directory_name(&self.record.subject.block, self.candidate())
    }

    /// Every file with its content, the manifest last.
    fn files(&self) -> Result<Vec<(&'static str, Vec<u8>)>, EvidenceError> {
        let encoded = EvidenceError::Encode;
        let block = BlockJson::try_from(&*self.block).map_err(EvidenceError::Block)?;
        let mut record = self.record.to_json().map_err(EvidenceError::Record)?;
        record.push('\n');
        let mut files = vec![
            (BLOCK, to_lines(&block).map_err(encoded)?),
            (PRE_STATE, to_lines(&entries(&self.pre_state)).map_err(encoded)?),
            (CONTROL, to_lines(&ExecutionJson::from(&self.control)).map_err(encoded)?),
            (CANDIDATE, to_lines(&CandidateJson::from(&self.observed)).map_err(encoded)?),
            (RECORD, record.into_bytes()),
            (LOG, Self::log_tail(&self.log).into_bytes()),
            (README, self.readme().into_bytes()),
        ];
        let manifest = Manifest::new(self, &files).map_err(encoded)?;
        files.push((MANIFEST, to_lines(&manifest).map_err(encoded)?));
        Ok(files)
    }
}

/// The name of the directory with evidence of a candidate about a block.
pub(crate) fn directory_name(block: &BlockRef, candidate: &str) -> String {
    let safe = |char: char| match char {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => char,
        _ => '-',
    };
    let candidate: String = candidate.chars().take(NAME_CHARS_MAX).map(safe).collect();
    format!("{}_{:.8}_{candidate}", block.topoheight, block.hash)
}

/// Writes a file that is read whole or as it was before.
pub(crate) fn write_replacing(path: &Path, text: &[u8]) -> Result<(), EvidenceError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || {
        // Whoever runs the next process has to be able to read it, whoever that is.
        let readable = fs::Permissions::from_mode(0o644);
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(readable)
            .tempfile_in(parent)?;
        file.write_all(text)?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(|_| ()).map_err(EvidenceError::io(path))
}

fn write_file(path: &Path, text: &[u8]) -> Result<(), EvidenceError> {
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(text)?;
        file.sync_all()
    };
    write().map_err(EvidenceError::io(path))
}

/// Makes the names in a directory durable.
fn sync(directory: &Path) -> Result<(), EvidenceError> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(EvidenceError::io(directory))
}

/// Whether something of this name is not complete.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with(UNFINISHED)
}

/// What the name of a directory begins with that is not complete.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// How much evidence of one candidate about one block there may be in a directory.
const NAMES_MAX: u32 = 100;

const NAME_CHARS_MAX: usize = 48;
