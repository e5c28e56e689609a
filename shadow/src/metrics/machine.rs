//! What is looked at now and then: how much the state directory takes, how much room is left, and what
//! somebody accepted there.

use std::{fs, path::Path};

use crate::{accept::Acceptances, evidence::EVIDENCE};

/// What was seen last.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub(super) store_bytes: u64,
    pub(super) evidence_bytes: u64,
    pub(super) disk_free_bytes: u64,
    pub(super) disk_size_bytes: u64,
    pub(super) acceptances: Acceptances,
}

impl Machine {
    /// Looks at a state directory. That may take a while where there is much evidence.
    pub(super) fn see(directory: &Path) -> Self {
        let mut files_left = FILES_MAX;
        let (store_bytes, evidence_bytes) = sizes(directory, &mut files_left);
        let (disk_free_bytes, disk_size_bytes) = rustix::fs::statvfs(directory)
            .map(|disk| {
                let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
                (bytes(disk.f_bavail), bytes(disk.f_blocks))
            })
            .unwrap_or_default();
        // What cannot be read accepts nothing.
        let acceptances = Acceptances::read(directory).unwrap_or_default();
        Self { store_bytes, evidence_bytes, disk_free_bytes, disk_size_bytes, acceptances }
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

/// A directory of more files than this is only looked at in part, so that nobody waits for it.
const FILES_MAX: u32 = 20_000;
