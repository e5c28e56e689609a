//! What is done to the files of log, ledger and view: each thing that may fail, and that a loss of power may undo.
//!
//! All of it goes through these few functions, so that tests can let every one of them fail, and can
//! tell from what was done, and in which order, what a disk may be found to hold.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

#[cfg(test)]
use super::witness::{Change, tell};
use crate::StoreError;

/// Makes an empty file, in place of the one that may be there.
pub(super) fn create(path: &Path) -> Result<File, StoreError> {
    #[cfg(test)]
    tell(|| Change::Created(path.to_owned())).map_err(failed(path))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true);
    options.open(path).map_err(failed(path))
}

/// Writes in place. What fails may have written a part.
pub(super) fn write(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
    #[cfg(test)]
    if let Err(planted) =
        tell(|| Change::Wrote { path: path.to_owned(), offset, bytes: bytes.to_vec() })
    {
        file.write_all_at(&bytes[..bytes.len() / 2], offset).map_err(failed(path))?;
        return Err(failed(path)(planted));
    }
    file.write_all_at(bytes, offset).map_err(failed(path))
}

/// Cuts a file off behind so many bytes.
pub(super) fn cut(file: &File, path: &Path, length: u64) -> Result<(), StoreError> {
    #[cfg(test)]
    tell(|| Change::Cut { path: path.to_owned(), length }).map_err(failed(path))?;
    file.set_len(length).map_err(failed(path))
}

/// Brings the content of a file, and its length, to the disk.
pub(super) fn sync(file: &File, path: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    tell(|| Change::Synced(path.to_owned())).map_err(failed(path))?;
    if cfg!(test) {
        // No test loses power, so none need wait for the disk.
        return Ok(());
    }
    file.sync_data().map_err(failed(path))
}

/// Gives a file another name, in the same directory.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    tell(|| Change::Renamed { from: from.to_owned(), to: to.to_owned() }).map_err(failed(from))?;
    fs::rename(from, to).map_err(failed(from))
}

/// Removes a file. It may come back until its directory is synced.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    tell(|| Change::Removed(path.to_owned())).map_err(failed(path))?;
    fs::remove_file(path).map_err(failed(path))
}

/// Brings to the disk which files there are in a directory, and under which names.
pub(super) fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    #[cfg(test)]
    tell(|| Change::SyncedDirectory(directory.to_owned())).map_err(failed(directory))?;
    if cfg!(test) {
        return Ok(());
    }
    let opened = File::open(directory).map_err(failed(directory))?;
    opened.sync_all().map_err(failed(directory))
}

/// The error that names what was worked on.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { path: path.to_owned(), source }
}
