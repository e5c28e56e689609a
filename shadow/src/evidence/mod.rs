//! Evidence: a mismatch in a directory, which can be replayed on its own.
//!
//! A mismatch that was seen once may never be seen again, so everything about the run in which it
//! showed is kept at that moment, before anything is run a second time: the block, the closed world that
//! both sides read, what each of them did, and how they differ. Nothing else is needed to run it again,
//! on another machine or by another build; copied into the tests, the directory is a regression test.
//!
//! A directory holds, in the JSON forms of the candidate protocol:
//!
//! * `evidence.json`: what it is about, the version of the format, and a digest of every other file;
//! * `block.json` and `pre_state.json`: the block, and every value that it was executed on;
//! * `control.json` and `candidate.json`: the two results, or how the candidate failed;
//! * `record.json`: the record of the mismatch;
//! * `log.txt`: the end of what the candidate wrote to its log;
//! * `README.md`: what happened, in words, and how to run it again.
//!
//! Writing is atomic: a directory with its final name is complete. Reading believes nothing: whatever is
//! missing, cut off or altered is refused with its file and field.

mod archive;
mod digests;
mod error;
mod files;
mod manifest;
mod read;
mod readme;
mod replay;
mod write;

use std::{fmt, sync::Arc};

pub(crate) use archive::is_case;
pub use archive::{Archive, ArchiveLimits, Kept, NotKept};
use comparator::{Execution, Failure, Mismatch, MismatchRecord, Schedule, Subject};
pub use error::{EvidenceError, Problem};
pub use manifest::FORMAT_VERSION;
pub(crate) use manifest::MANIFEST;
pub use replay::{DoesNotHold, Replay, ReplayError, Run};
pub(crate) use write::{directory_name, is_unfinished, write_replacing};

use crate::{
    execute::{BlockExecutor, ExecutableBlock, PreState, SerialExecutor},
    fingerprint::Fingerprint,
    locate::locate,
    node::NodeCounts,
    rules::RULES,
};

/// A mismatch, with everything that is needed to run it again.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The block. What has no effect on a result is empty when it was read from a directory.
    pub block: Arc<ExecutableBlock>,
    /// The state before it: what is neither listed nor unknown does not exist.
    pub pre_state: Arc<PreState>,
    /// What the control did.
    pub control: Execution,
    /// What the candidate did.
    pub observed: Observed,
    /// How they differ, under which schedule, and which builds they are.
    pub record: MismatchRecord,
    /// The problem that it is a case of.
    pub fingerprint: Fingerprint,
    /// How the candidate is named on the command line, if it can be.
    pub candidate_spec: Option<String>,
    /// The rules that the control executed by.
    pub rules: String,
    /// The end of the candidate's own log.
    pub log: String,
}

/// What a candidate did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It came to its end.
    Execution(Execution),
    /// It did not.
    Failure(Failure),
    /// It was not asked to execute: it is a node that answered questions about a block that it had
    /// executed long before. Those of its answers that differ are in the record.
    Answers(NodeCounts),
}

impl From<Result<Execution, Failure>> for Observed {
    fn from(result: Result<Execution, Failure>) -> Self {
        match result {
            Ok(execution) => Self::Execution(execution),
            Err(failure) => Self::Failure(failure),
        }
    }
}

/// Who did it: all that evidence has to know of a candidate besides what it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its name.
    pub name: String,
    /// Which build of it.
    pub build: String,
    /// How it is named on the command line, if it can be.
    pub spec: Option<String>,
    /// The end of its own log.
    pub log: String,
}

impl Who {
    /// What an executor says of itself, just after it ran.
    pub fn of(executor: &dyn BlockExecutor) -> Self {
        Self {
            name: executor.name().to_owned(),
            build: executor.build(),
            spec: executor.spec(),
            log: Evidence::log_tail(&executor.log()),
        }
    }
}

impl Evidence {
    /// The evidence of a mismatch; `None` if there is no difference in it. Nothing is executed for it, so
    /// a difference that names no transaction is located by who touches its key.
    pub fn new(
        (block, pre_state): (&Arc<ExecutableBlock>, &Arc<PreState>),
        control: &Execution,
        observed: Observed,
        who: Who,
        schedule: Schedule,
        mismatch: &Mismatch,
    ) -> Option<Self> {
        let fingerprint = Fingerprint::of(&who.name, mismatch.first()?, block);
        let subject = Subject {
            block: block.block,
            candidate: who.name,
            schedule,
            control_build: SerialExecutor.build(),
            candidate_build: who.build,
        };
        let transactions = block.transactions.iter();
        let hashes: Vec<_> = transactions.map(|transaction| transaction.body.hash).collect();
        let mut record = MismatchRecord::new(subject, mismatch, &hashes);
        for (difference, recorded) in mismatch.differences.iter().zip(&mut record.differences) {
            recorded.transaction = locate(difference, block, None);
        }
        record.fingerprint = Some(fingerprint.id().to_string());
        Some(Self {
            block: Arc::clone(block),
            pre_state: Arc::clone(pre_state),
            control: control.clone(),
            observed,
            record,
            fingerprint,
            candidate_spec: who.spec,
            rules: RULES.to_owned(),
            log: who.log,
        })
    }

    /// The schedule under which the candidate ran.
    pub const fn schedule(&self) -> Schedule {
        self.record.subject.schedule
    }

    /// The name of the candidate.
    pub fn candidate(&self) -> &str {
        &self.record.subject.candidate
    }

    /// The end of a log, as much of it as is kept.
    pub(crate) fn log_tail(log: &str) -> String {
        let mut start = log.len().saturating_sub(LOG_BYTES_MAX);
        while !log.is_char_boundary(start) {
            start += 1;
        }
        log[start..].to_owned()
    }
}

/// In one line: who, where, and what.
impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, fingerprint, .. } = self;
        let block = record.subject.block;
        write!(
            f,
            "candidate {} in block {} at topoheight {}: {fingerprint}",
            record.subject.candidate, block.hash, block.topoheight
        )
    }
}

/// Where evidence is kept in a state directory.
pub const EVIDENCE: &str = "evidence";

/// How much of a candidate's log is kept.
const LOG_BYTES_MAX: usize = 64 << 10;
