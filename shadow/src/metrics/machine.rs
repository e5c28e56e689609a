//! What is looked at now and then: how much the state directory takes, how much room is left, and what
//! somebody accepted there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{accept::Acceptances, evidence::EVIDENCE};

/// What was seen last.
#[derive(Debug)]
pub(super) struct Machine {
    directory: PathBuf,
    looked: Option<Instant>,
    pub(super) store_bytes: u64,
    pub(super) evidence_bytes: u64,
    pub(super) disk_free_bytes: u64,
    pub(super) disk_size_bytes: u64,
    pub(super) acceptances: Acceptances,
}

impl Machine {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            looked: None,
            store_bytes: 0,
            evidence_bytes: 0,
            disk_free_bytes: 0,
            disk_size_bytes: 0,
            acceptances: Acceptances::default(),
        }
    }

    /// Looks again, unless that was just done. What cannot be seen stays as it was seen last.
    pub(super) fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < INTERVAL) {
            return;
        }
        self.looked = Some(now);
        let mut files_left = FILES_MAX;
        (self.store_bytes, self.evidence_bytes) = sizes(&self.directory, &mut files_left);
        // What cannot be read accepts nothing.
        self.acceptances = Acceptances::read(&self.directory).unwrap_or_default();
        if let Ok(disk) = rustix::fs::statvfs(&self.directory) {
            self.disk_free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
            self.disk_size_bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
        }
    }
}

/// The bytes of the store and of the evidence in a state directory.
fn sizes(directory: &Path, files_left: &mut u32) -> (u64, u64) {
    let (mut store, mut evidence) = (0, 0);
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_evidence = EVIDENCE_NAMES.iter().any(|evidence| *name == **evidence);
        *(if is_evidence { &mut evidence } else { &mut store }) += size(&entry, files_left);
    }
    (store, evidence)
}

fn size(entry: &fs::DirEntry, files_left: &mut u32) -> u64 {
    let Some(left) = files_left.checked_sub(1) else { return 0 };
    *files_left = left;
    match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => fs::read_dir(entry.path())
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| size(&entry, files_left))
            .sum(),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

/// What of a state directory is evidence.
const EVIDENCE_NAMES: &[&str] = &["mismatches.jsonl", EVIDENCE];

/// How long what was seen is good enough.
const INTERVAL: Duration = Duration::from_secs(5);

/// A directory of more files than this is only looked at in part, so that nobody waits for it.
const FILES_MAX: u32 = 20_000;
