//! The manifest: the file that says what the others are, and what they were when they were written.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader},
    path::Path,
};

use comparator::{Schedule, StateEntryJson};
use serde::{Deserialize, Serialize};
use storage_snapshot::{BlockHash, TopoHeight};

use super::{Evidence, digests::FileDigest, files::unknown_entries};
use crate::fingerprint::Fingerprint;

/// The version of the directory format that is written and read.
pub const FORMAT_VERSION: u64 = 1;

/// The name of the file that every directory of evidence has.
pub(crate) const MANIFEST: &str = "evidence.json";
pub(super) const BLOCK: &str = "block.json";
pub(super) const PRE_STATE: &str = "pre_state.json";
pub(super) const CONTROL: &str = "control.json";
pub(super) const CANDIDATE: &str = "candidate.json";
pub(super) const RECORD: &str = "record.json";
pub(super) const LOG: &str = "log.txt";
pub(super) const README: &str = "README.md";

/// Every file but the manifest.
pub(super) const FILES: [&str; 7] = [BLOCK, PRE_STATE, CONTROL, CANDIDATE, RECORD, LOG, README];

/// The object in `evidence.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format_version: u64,
    pub(super) topoheight: TopoHeight,
    pub(super) block_hash: BlockHash,
    pub(super) candidate: String,
    pub(super) candidate_spec: Option<String>,
    pub(super) schedule: Schedule,
    pub(super) rules: String,
    pub(super) control_build: String,
    pub(super) candidate_build: String,
    pub(super) fingerprint: Fingerprint,
    /// Keys of the state before the block whose value was not known; without a value.
    pub(super) unknown: Vec<StateEntryJson>,
    pub(super) files: BTreeMap<String, FileDigest>,
    /// Of everything above.
    pub(super) blake3: String,
}

impl Manifest {
    /// The manifest of evidence with these files.
    pub(super) fn new(
        evidence: &Evidence,
        files: &[(&'static str, Vec<u8>)],
    ) -> Result<Self, serde_json::Error> {
        let subject = &evidence.record.subject;
        let files =
            files.iter().map(|(name, text)| ((*name).to_owned(), FileDigest::of(text))).collect();
        let mut manifest = Self {
            format_version: FORMAT_VERSION,
            topoheight: subject.block.topoheight,
            block_hash: subject.block.hash,
            candidate: subject.candidate.clone(),
            candidate_spec: evidence.candidate_spec.clone(),
            schedule: subject.schedule,
            rules: evidence.rules.clone(),
            control_build: subject.control_build.clone(),
            candidate_build: subject.candidate_build.clone(),
            fingerprint: evidence.fingerprint.clone(),
            unknown: unknown_entries(&evidence.pre_state),
            files,
            blake3: String::new(),
        };
        manifest.blake3 = manifest.digest()?;
        Ok(manifest)
    }

    /// The manifest of a directory, none of which is verified.
    pub(super) fn peek(directory: &Path) -> io::Result<Self> {
        let file = File::open(directory.join(MANIFEST))?;
        Ok(serde_json::from_reader(BufReader::new(file))?)
    }

    /// The digest of everything but the digest.
    pub(super) fn digest(&self) -> Result<String, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            object.remove("blake3");
        }
        Ok(blake3::hash(value.to_string().as_bytes()).to_hex().to_string())
    }
}
