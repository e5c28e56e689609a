//! The lock of a directory: one process at a time, and whoever is refused learns who has it.
//!
//! The operating system keeps the lock and releases it when the process ends, however it ends; the
//! content of the file only says who took it last.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::StoreError;

/// Who has a directory open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The process.
    pub pid: u32,
    /// When it opened the directory, in seconds since 1970.
    pub opened_at_seconds: u64,
    /// Where it answers questions, if it does.
    pub listen_address: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if let Some(address) = &self.listen_address {
            write!(f, " at {address}")?;
        }
        Ok(())
    }
}

/// Held while the directory is open.
pub(super) struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing alone would leave the lock with a child process that is being started right now.
        // Should this fail, closing follows.
        let _released_by_closing = self.file.unlock();
    }
}

impl DirectoryLock {
    pub(super) fn acquire(
        directory: &Path,
        listen_address: Option<String>,
    ) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let failed = |source| StoreError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked {
                    path: directory.to_owned(),
                    holder: read(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let opened_at_seconds =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let holder = LockHolder { pid: std::process::id(), opened_at_seconds, listen_address };
        write(&mut file, &holder).map_err(failed)?;
        Ok(Self { file })
    }
}

/// Who has a directory open at this moment, without opening it.
///
/// # Errors
///
/// When the lock file exists and cannot be read, and [`StoreError::Locked`] when the directory is
/// in use by somebody who cannot be told.
pub fn lock_holder(directory: &Path) -> Result<Option<LockHolder>, StoreError> {
    let path = directory.join(FILE);
    let failed = |source| StoreError::Io { path: path.clone(), source };
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => match read(&mut file) {
            Some(holder) => Ok(Some(holder)),
            None => Err(StoreError::Locked { path: directory.to_owned(), holder: None }),
        },
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

const FILE: &str = "lock";

fn write(file: &mut File, holder: &LockHolder) -> io::Result<()> {
    let mut text = serde_json::to_vec(holder)?;
    text.push(b'\n');
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

/// The holder writes after it locked, so for a moment there may be nothing to read.
fn read(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
