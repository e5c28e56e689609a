//! Reading evidence, and believing nothing of it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use comparator::{
    Difference, Execution, ExecutionJson, Limits, Mismatch, MismatchRecord, RecordedDifference,
    StateEntryJson, WireError, for_each_difference,
};
use serde::{Deserialize, de::DeserializeOwned};
use storage_snapshot::{BlockRef, StateKey, StateValue};

use super::{
    Evidence, EvidenceError, FORMAT_VERSION, Observed, Problem,
    files::{CandidateJson, CandidateKind, pre_state},
    manifest::{
        BLOCK, CANDIDATE, CONTROL, FILES, LOG, MANIFEST, Manifest, PRE_STATE, README, RECORD,
    },
};
use crate::{
    execute::{ExecutableBlock, PreState, external::BlockJson},
    fingerprint::Fingerprint,
    rules::RULES,
};

impl Evidence {
    /// Reads a directory that [`write`](Self::write) wrote, wherever it was moved to since.
    ///
    /// # Errors
    ///
    /// When it is not exactly what was written: the error names the file and the field.
    pub fn read(directory: &Path) -> Result<Self, EvidenceError> {
        let reading = Reading { directory };
        let manifest = reading.manifest()?;
        let block: BlockJson = reading.json(BLOCK, &manifest)?;
        let values: Vec<StateEntryJson> = reading.json(PRE_STATE, &manifest)?;
        let control: ExecutionJson = reading.json(CONTROL, &manifest)?;
        let candidate = reading.candidate(&manifest)?;
        let record = reading.text(RECORD, &manifest)?;
        let log = reading.text(LOG, &manifest)?;
        // Nothing depends on it; but whoever reads it believes it.
        reading.text(README, &manifest)?;

        let wire = |file| move |error| reading.broken(file, "", Problem::Wire(error));
        let block = ExecutableBlock::from(block);
        let unknown = manifest.unknown.iter().cloned().map(key_of).collect::<Result<_, _>>();
        let unknown =
            unknown.map_err(|error| reading.broken(MANIFEST, "unknown", Problem::Wire(error)))?;
        let pre_state = pre_state(values, unknown).map_err(wire(PRE_STATE))?;
        let control = Execution::try_from(control).map_err(wire(CONTROL))?;
        let observed = Observed::try_from(candidate).map_err(wire(CANDIDATE))?;
        let record = MismatchRecord::from_json(record.trim_end())
            .map_err(|error| reading.broken(RECORD, "", Problem::Record(error)))?;
        reading.check_manifest(&manifest, &block, &record)?;
        reading.check_record(&record, &control, &observed, &pre_state)?;
        Ok(Self {
            block: Arc::new(block),
            pre_state: Arc::new(pre_state),
            control,
            observed,
            record,
            fingerprint: manifest.fingerprint,
            candidate_spec: manifest.candidate_spec,
            rules: manifest.rules,
            log,
        })
    }
}

/// A directory that is being read.
#[derive(Clone, Copy)]
struct Reading<'a> {
    directory: &'a Path,
}

impl Reading<'_> {
    fn manifest(self) -> Result<Manifest, EvidenceError> {
        /// Only what every version of the format has in common.
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let Some(text) = self.content(MANIFEST, MANIFEST_BYTES_MAX)? else {
            return Err(EvidenceError::NotEvidence(self.directory.to_owned()));
        };
        let Version { format_version } = self.parse(MANIFEST, &text)?;
        if format_version != FORMAT_VERSION {
            let problem = Problem::Version { found: format_version };
            return Err(self.broken(MANIFEST, "format_version", problem));
        }
        let manifest: Manifest = self.parse(MANIFEST, &text)?;
        let listed = manifest.files.keys().map(String::as_str);
        let mut expected = FILES;
        expected.sort_unstable();
        if !listed.eq(expected) {
            return Err(self.broken(MANIFEST, "files", Problem::Edited));
        }
        Ok(manifest)
    }

    /// A file that is JSON, if it is what the manifest says.
    fn json<T: DeserializeOwned>(
        self,
        file: &'static str,
        manifest: &Manifest,
    ) -> Result<T, EvidenceError> {
        let parses = |text: &[u8]| {
            // Where the whole is no JSON the place is named, whatever is meant by it.
            self.parse::<serde_json::Value>(file, text)?;
            self.parse::<T>(file, text).map(|_| ())
        };
        let text = self.verified(file, manifest, parses)?;
        self.parse(file, &text)
    }

    fn candidate(self, manifest: &Manifest) -> Result<CandidateJson, EvidenceError> {
        Ok(match self.json(CANDIDATE, manifest)? {
            CandidateKind { failure: Some(_), .. } => {
                CandidateJson::Failure(self.json(CANDIDATE, manifest)?)
            }
            CandidateKind { answers: Some(_), .. } => {
                CandidateJson::Answers(self.json(CANDIDATE, manifest)?)
            }
            CandidateKind { .. } => CandidateJson::Execution(self.json(CANDIDATE, manifest)?),
        })
    }

    /// A file that is text, if it is what the manifest says.
    fn text(self, file: &'static str, manifest: &Manifest) -> Result<String, EvidenceError> {
        let is_json = file == RECORD;
        let bytes = self.verified(file, manifest, |text| match is_json {
            true => self.parse::<serde_json::Value>(file, text).map(|_| ()),
            false => Ok(()),
        })?;
        String::from_utf8(bytes).map_err(|_| self.broken(file, "", Problem::Edited))
    }

    /// The content of a file, if it is what the manifest says. If it is not, the most telling of what
    /// is wrong with it is the error: what cannot be parsed, then what was altered, then the length.
    fn verified(
        self,
        file: &'static str,
        manifest: &Manifest,
        parses: impl FnOnce(&[u8]) -> Result<(), EvidenceError>,
    ) -> Result<Vec<u8>, EvidenceError> {
        let Some(digest) = manifest.files.get(file) else {
            return Err(self.broken(MANIFEST, "files", Problem::Edited));
        };
        // What was added is read too, so that it can be named, but not without end.
        let bytes_max = digest.bytes.saturating_add(ADDED_BYTES_MAX);
        let Some(text) = self.content(file, bytes_max)? else {
            return Err(self.broken(file, "", Problem::Missing));
        };
        if digest.is_of(&text) {
            return Ok(text);
        }
        let (found, written) = (text.len() as u64, digest.bytes);
        if found < bytes_max {
            parses(&text)?;
        }
        let field = digest.first_altered(&text);
        let problem = match field.as_str() {
            "" if found != written => Problem::Length { found, written },
            _ => Problem::Edited,
        };
        Err(self.broken(file, &field, problem))
    }

    /// At most so many bytes of a file; `None` if it is not there.
    fn content(self, file: &'static str, bytes_max: u64) -> Result<Option<Vec<u8>>, EvidenceError> {
        let path = self.directory.join(file);
        let mut content = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(bytes_max).read_to_end(&mut content));
        match read {
            Ok(_) => Ok(Some(content)),
            // Nothing is in what is no directory either.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(self.broken(file, "", Problem::Directory))
            }
            Err(error) => Err(EvidenceError::Io { path, error }),
        }
    }

    fn parse<T: DeserializeOwned>(
        self,
        file: &'static str,
        text: &[u8],
    ) -> Result<T, EvidenceError> {
        let deserializer = &mut serde_json::Deserializer::from_slice(text);
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => String::new(),
                path => path,
            };
            self.broken(file, &path, Problem::Json(error.into_inner()))
        })
    }

    /// What is said in two places is the same in both.
    fn check_manifest(
        self,
        manifest: &Manifest,
        block: &ExecutableBlock,
        record: &MismatchRecord,
    ) -> Result<(), EvidenceError> {
        let subject = &record.subject;
        let told = Fingerprint::of_record(record, block)
            .map(|fingerprint| fingerprint.told_by(&manifest.fingerprint));
        let place = BlockRef { topoheight: manifest.topoheight, hash: manifest.block_hash };
        let same = [
            (place.topoheight == block.block.topoheight, "topoheight", BLOCK),
            (place.hash == block.block.hash, "block_hash", BLOCK),
            (place == subject.block, "block_hash", RECORD),
            (manifest.candidate == subject.candidate, "candidate", RECORD),
            (manifest.schedule == subject.schedule, "schedule", RECORD),
            (manifest.control_build == subject.control_build, "control_build", RECORD),
            (manifest.candidate_build == subject.candidate_build, "candidate_build", RECORD),
            (told.as_ref() == Some(&manifest.fingerprint), "fingerprint", RECORD),
            (
                record.fingerprint.as_ref() == Some(&manifest.fingerprint.id().to_string()),
                "fingerprint.id",
                RECORD,
            ),
        ];
        if let Some((_, field, other)) = same.into_iter().find(|(same, ..)| !same) {
            return Err(self.broken(MANIFEST, field, Problem::Contradicts(other)));
        }
        if !manifest.digest().is_ok_and(|digest| digest == manifest.blake3) {
            return Err(self.broken(MANIFEST, "blake3", Problem::Edited));
        }
        if manifest.rules != RULES {
            let problem = Problem::Rules { found: manifest.rules.clone() };
            return Err(self.broken(MANIFEST, "rules", problem));
        }
        Ok(())
    }

    /// The record says what comparing the two results says.
    fn check_record(
        self,
        record: &MismatchRecord,
        control: &Execution,
        observed: &Observed,
        pre_state: &PreState,
    ) -> Result<(), EvidenceError> {
        let limits = Limits::default();
        let mut compared = Mismatch::default();
        match observed {
            // What a node answered is in the record alone.
            Observed::Answers(_) => return Ok(()),
            Observed::Failure(failure) => compared.push(Difference::from(failure), &limits),
            Observed::Execution(execution) => {
                for_each_difference(control, execution, pre_state, &mut |difference| {
                    compared.push(difference, &limits);
                })
                // The state is in memory, and what is not known in it is no error here.
                .map_err(|_| self.broken(PRE_STATE, "", Problem::Contradicts(RECORD)))?;
            }
        }
        if compared.counts != record.counts {
            return Err(self.broken(RECORD, "counts", Problem::Contradicts(CANDIDATE)));
        }
        for (index, (compared, recorded)) in
            compared.differences.iter().zip(&record.differences).enumerate()
        {
            let compared = RecordedDifference::new(compared, recorded.transaction);
            if compared != *recorded {
                let field = format!("differences[{index}]");
                return Err(self.broken(RECORD, &field, Problem::Contradicts(CANDIDATE)));
            }
        }
        Ok(())
    }

    fn broken(self, file: &'static str, field: &str, problem: Problem) -> EvidenceError {
        let (directory, field) = (self.directory.to_owned(), field.to_owned());
        let problem = Box::new(problem);
        EvidenceError::Broken { directory, file, field, problem }
    }
}

fn key_of(entry: StateEntryJson) -> Result<StateKey, WireError> {
    <(StateKey, Option<StateValue>)>::try_from(entry).map(|(key, _)| key)
}

/// How much more than was written is looked at.
const ADDED_BYTES_MAX: u64 = 64 << 10;

/// A manifest holds some bytes for each transaction and each value of its block.
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
