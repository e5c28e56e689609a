//! The node's last word: a block's versions, asked for again once the block is stable.
//!
//! What a node answers at once is the evidence that it may be unable to give later, and what it answers
//! later may be another thing: a node that executes a block wrongly may overwrite what the block below
//! had written. So both are compared, and what differs only the second time is added to the verdict of
//! the block. The state is not touched: the blocks above were judged by what the node said of them.

use comparator::{Difference, Field, Limits, Mismatch, MismatchRecord, Schedule, Severity, Side};
use storage_snapshot::{CommittedBlock, ReadError, StateKey, StateRead, StateValue, Store};

use crate::{
    execute::ExecutableBlock,
    judge::{JudgeError, NODE, NODE_BUILD},
    ledger::{CandidateEntry, LedgerEntry, entry_at},
    record::{Ran, add_mismatch, record_of},
    rules::Reward,
    source::{AnswersAgain, VersionAnswer},
};

/// A verdict with the node's last word in it.
#[derive(Debug)]
pub(crate) struct Amended {
    /// The entry of the block.
    pub(crate) entry: LedgerEntry,
    /// What differs only now, if anything does.
    pub(crate) record: Option<MismatchRecord>,
}

impl Amended {
    /// How many differences were added.
    pub(crate) fn mismatches(&self) -> u64 {
        self.record.as_ref().map_or(0, MismatchRecord::total)
    }
}

/// Compares what the node says now with what the control wrote. `None` where there is nothing to
/// amend: the block is not there any more, the node is not on trial, or it was asked again before.
pub(crate) fn amend(store: &Store, again: &AnswersAgain) -> Result<Option<Amended>, JudgeError> {
    let at = again.block.topoheight;
    let Some(mut entry) = entry_at(store, at).map_err(JudgeError::Ledger)? else { return Ok(None) };
    let is_same = !entry.stale && entry.block_hash == again.block.hash;
    let Some(committed) = store.block(at).map_err(JudgeError::Store)? else { return Ok(None) };
    if !is_same || committed.commit.block != again.block || entry.node.again > 0 {
        return Ok(None);
    }
    let Some(node) = entry.candidates.iter_mut().find(|candidate| candidate.candidate == NODE)
    else {
        return Ok(None);
    };
    // What was taken from the node cannot be held against it.
    if matches!(node.verdict, Severity::Opaque | Severity::Inconclusive) {
        return Ok(None);
    }
    let differences = differences(store, &committed, again);
    entry.node.again = again.versions.len() as u64;
    entry.node.differ_again = differences.len() as u64;
    let record = Mismatch::collect(differences, &Limits::default())
        .map(|mismatch| add_to(node, &mismatch, &committed));
    Ok(Some(Amended { entry, record }))
}

fn differences(store: &Store, committed: &CommittedBlock, again: &AnswersAgain) -> Vec<Difference> {
    let parent = committed.commit.block.topoheight.previous();
    let parent = parent.and_then(|parent| store.snapshot_at(parent).ok());
    let before = |key: &StateKey| -> Result<Option<StateValue>, ReadError> {
        parent.as_ref().map_or(Err(ReadError::Unknown(*key)), |parent| parent.read(key))
    };
    let mut differences = Vec::new();
    for (key, answer) in &again.versions {
        // It differed at once already.
        if committed.commit.correction.get(key).is_some() {
            continue;
        }
        let control = committed.commit.delta.get(key);
        let (observed, lone_write) = match (control, answer) {
            (None, VersionAnswer::NotWritten) => continue,
            (Some(written), VersionAnswer::Written(value)) if written == value.as_ref() => continue,
            (Some(_), VersionAnswer::Written(value)) => (Side::of_write(value.as_ref()), None),
            (None, VersionAnswer::Written(value)) => {
                (Side::of_write(value.as_ref()), Some(value.as_ref()))
            }
            (Some(written), VersionAnswer::NotWritten) => (Side::Absent, Some(written)),
        };
        let control = control.map_or(Side::Absent, Side::of_write);
        let mut difference = Difference::of_key(*key, control, observed);
        if lone_write
            .is_some_and(|written| before(key).is_ok_and(|value| value.as_ref() == written))
        {
            difference.field = Field::Version;
        }
        differences.push(difference);
    }
    differences.sort_by_key(|difference| difference.key);
    differences
}

/// Adds to the node's verdict. What was found at once stays the first.
fn add_to(
    node: &mut CandidateEntry,
    mismatch: &Mismatch,
    committed: &CommittedBlock,
) -> MismatchRecord {
    let ran = Ran {
        name: NODE,
        build: NODE_BUILD.to_owned(),
        schedule: Schedule { workers: 0, seed: 0 },
        exercise: None,
        rerun: None,
        evidence: None,
    };
    let record = record_of(mismatch, &ran, &bodiless(committed));
    let (fields, first) = (std::mem::take(&mut node.fields), node.first.take());
    add_mismatch(node, &record);
    for (field, count) in fields {
        *node.fields.entry(field).or_default() += count;
    }
    node.first = first.or(node.first.take());
    node.verdict = Severity::Mismatch;
    node.reason = None;
    node.detail = None;
    record
}

/// The block as far as it is still there: without its transactions no difference is traced to one.
fn bodiless(committed: &CommittedBlock) -> ExecutableBlock {
    let nobody = storage_snapshot::Address::new([0; 32]);
    ExecutableBlock {
        block: committed.commit.block,
        side_block: committed.commit.facts.side_block,
        miner: nobody,
        dev: nobody,
        reward: Reward {
            miner: storage_snapshot::Amount::ZERO,
            dev: storage_snapshot::Amount::ZERO,
        },
        transactions: Vec::new(),
    }
}
