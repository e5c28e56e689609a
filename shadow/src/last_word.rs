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
    fingerprint::Fingerprint,
    judge::{JudgeError, NODE, NODE_BUILD},
    ledger::{CandidateEntry, LedgerEntry, entry_at},
    record::{Ran, add_mismatch, record_of},
    rules::Reward,
    source::{AnswersAgain, VersionAnswer},
};

/// A verdict with the node's last word in it.
#[derive(Debug)]
pub(crate) struct Amended {
    /// The entry of the block, as it was.
    pub(crate) before: LedgerEntry,
    /// The same with what was found now.
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
    let before = entry.clone();
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
    Ok(Some(Amended { before, entry, record }))
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
    let block = bodiless(committed);
    let mut record = record_of(mismatch, &ran, &block);
    if node.fingerprint.is_none() {
        node.fingerprint = mismatch.first().map(|first| Fingerprint::of(NODE, first, &block));
    }
    record.fingerprint = node.fingerprint.as_ref().map(|fingerprint| fingerprint.id().to_string());
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use comparator::Difference;
    use storage_snapshot::{
        Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, Nonce, StateDelta,
        StoreOptions, TopoHeight,
    };

    use super::*;

    const A: Address = Address::new([1; 32]);
    const NONCE: StateKey = StateKey::Nonce(A);
    const BALANCE: StateKey = StateKey::Balance(A, AssetId::NATIVE);

    fn block(at: u64) -> BlockRef {
        BlockRef { topoheight: TopoHeight::new(at), hash: BlockHash::new([at as u8; 32]) }
    }

    fn value(number: u64) -> StateValue {
        StateValue::Balance(Amount::new(number))
    }

    /// Two blocks that write the balance, 10 and 20; the node matched in the second one, or differed
    /// in the nonce.
    fn judged(verdict: Severity) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let differed = verdict == Severity::Mismatch;
        for at in [4, 5] {
            let mut delta = StateDelta::new();
            delta.set_balance(A, AssetId::NATIVE, Amount::new((at - 3) * 10));
            delta.set_nonce(A, Nonce::new(at));
            let mut correction = StateDelta::new();
            if differed {
                correction.set_nonce(A, Nonce::new(77));
            }
            let commit = BlockCommit::new(block(at), BlockFacts::default(), delta);
            store.commit(BlockCommit { correction, ..commit }).unwrap();
        }
        let fields = if differed { BTreeMap::from([(Field::Nonce, 1)]) } else { BTreeMap::new() };
        let entry = serde_json::json!({
            "format_version": 1, "topoheight": 5, "block_hash": block(5).hash,
            "state_digest": "", "quirks": {},
            "candidates": [{
                "candidate": "node", "build": "", "verdict": verdict, "fields": fields,
            }],
            "transactions": {"total": 0, "executed": 0, "skipped": 0, "failed": 0, "opaque": 0},
            "node": {"compared": 2, "differ": 0, "taken": 0, "not_asked": 0, "early": 2},
            "loads": {"requested": 0, "from_cache": 0, "from_store": 0},
            "seconds": {"serial": 0.0, "parallel": 0.0, "compare": 0.0, "commit": 0.0},
        });
        store.put_ledger(TopoHeight::new(5), entry.to_string().as_bytes()).unwrap();
        (directory, store)
    }

    fn again(nonce: VersionAnswer, balance: VersionAnswer) -> AnswersAgain {
        AnswersAgain { block: block(5), versions: vec![(NONCE, nonce), (BALANCE, balance)] }
    }

    fn nonce(number: u64) -> VersionAnswer {
        VersionAnswer::Written(Some(StateValue::Nonce(Nonce::new(number))))
    }

    fn balance(number: u64) -> VersionAnswer {
        VersionAnswer::Written(Some(value(number)))
    }

    #[track_caller]
    fn check(before: Severity, again: &AnswersAgain, expected: Severity, fields: &[(Field, u64)]) {
        let (_directory, store) = judged(before);
        let amended = amend(&store, again).unwrap().unwrap();
        let node = &amended.entry.candidates[0];
        assert_eq!(node.verdict, expected);
        assert_eq!(node.fields, fields.iter().copied().collect());
        assert_eq!(amended.entry.node.again, 2);
        assert_eq!(amended.record.is_some(), amended.entry.node.differ_again > 0);
        assert_eq!(amended.before.candidates[0].verdict, before);
        // Without a name it could be neither counted with others nor accepted.
        let named = amended.record.is_none() || node.fingerprint.is_some();
        assert!(named, "{node:?}");

        // Once is enough.
        let bytes = amended.entry.encode().unwrap();
        store.put_ledger(TopoHeight::new(5), &bytes).unwrap();
        assert!(amend(&store, again).unwrap().is_none());
    }

    #[test]
    fn the_same_answers_change_nothing_but_that_they_were_given() {
        check(Severity::Match, &again(nonce(5), balance(20)), Severity::Match, &[]);
    }

    #[test]
    fn what_differs_only_now_becomes_part_of_the_verdict() {
        let mismatch = Severity::Mismatch;
        check(Severity::Match, &again(nonce(5), balance(21)), mismatch, &[(Field::Balance, 1)]);
        let gone = again(VersionAnswer::NotWritten, balance(20));
        check(Severity::Match, &gone, mismatch, &[(Field::Nonce, 1)]);
    }

    #[test]
    fn what_differed_at_once_is_not_counted_twice() {
        let fields = [(Field::Nonce, 1)];
        let mismatch = Severity::Mismatch;
        check(mismatch, &again(nonce(77), balance(20)), mismatch, &fields);
        check(mismatch, &again(nonce(5), balance(20)), mismatch, &fields);
        let fields = [(Field::Nonce, 1), (Field::Balance, 1)];
        check(mismatch, &again(nonce(77), balance(21)), mismatch, &fields);
    }

    #[test]
    fn a_block_that_is_not_there_any_more_is_left_alone() {
        let (_directory, store) = judged(Severity::Match);
        let mut other = again(nonce(9), balance(9));
        other.block.hash = BlockHash::new([99; 32]);
        assert!(amend(&store, &other).unwrap().is_none());
        other.block = block(4);
        assert!(amend(&store, &other).unwrap().is_none());
    }

    #[test]
    fn differences_are_in_the_order_of_their_keys() {
        let (_directory, store) = judged(Severity::Match);
        let mut answers = again(nonce(9), balance(9));
        answers.versions.reverse();
        let committed = store.block(TopoHeight::new(5)).unwrap().unwrap();
        let found: Vec<Difference> = differences(&store, &committed, &answers);
        let keys: Vec<_> = found.iter().map(|difference| difference.key).collect();
        assert_eq!(keys, [Some(NONCE), Some(BALANCE)]);
    }
}
