//! Random histories of the store against a model that knows nothing of logs, windows or views.
//!
//! The model is a list of blocks over a base. After every operation everything that can be asked is
//! asked, of the store and of the model. A crash is a copy of the directory while the store is open:
//! what a process leaves behind when it is killed. The copy must then have every block, and of ledger
//! and view what they were after *some* operation since the last flush.

use std::path::Path;

use proptest::{collection::vec, prelude::*, sample::Index};
use storage_snapshot::{
    BlockCommit, MemoryState, ReadError, Snapshot, StateDelta, StateRead, Store, StoreError,
    StoreOptions, TopoHeight, TxHash,
};
use tempfile::TempDir;

use crate::{
    model::{Model, differs, universe, value},
    support::{at, block, noise},
};

#[derive(Clone, Debug)]
enum Op {
    Commit(Writes),
    CommitMany(u8, Writes),
    CommitKnown(Index),
    CommitOther(Index),
    CommitLater,
    StageMany(u8, Writes, Index, Index),
    Open(Index),
    Close(Index),
    Rollback(Index),
    AdvanceView(Index),
    PruneLog(Index),
    PutLedger(Index, u16),
    Flush,
    Restart,
    Crash,
}

#[derive(Clone, Debug)]
struct Writes {
    delta: Vec<(Index, Write)>,
    correction: Vec<(Index, Write)>,
    unknown: Vec<Index>,
    executed: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Write {
    None,
    Number(u8),
    /// What the key has already.
    Equal,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => writes().prop_map(Op::Commit),
        2 => (1..40_u8, writes()).prop_map(|(count, writes)| Op::CommitMany(count, writes)),
        1 => any::<Index>().prop_map(Op::CommitKnown),
        1 => any::<Index>().prop_map(Op::CommitOther),
        1 => Just(Op::CommitLater),
        2 => (1..6_u8, writes(), any::<Index>(), any::<Index>())
            .prop_map(|(count, writes, left, kept)| Op::StageMany(count, writes, left, kept)),
        4 => any::<Index>().prop_map(Op::Open),
        2 => any::<Index>().prop_map(Op::Close),
        3 => any::<Index>().prop_map(Op::Rollback),
        4 => any::<Index>().prop_map(Op::AdvanceView),
        2 => any::<Index>().prop_map(Op::PruneLog),
        1 => (any::<Index>(), 0..20_000_u16).prop_map(|(t, bytes)| Op::PutLedger(t, bytes)),
        1 => Just(Op::Flush),
        1 => Just(Op::Restart),
        1 => Just(Op::Crash),
    ];
    vec(op, 1..40)
}

fn writes() -> impl Strategy<Value = Writes> {
    let write = prop_oneof![
        1 => Just(Write::None),
        3 => (0..4_u8).prop_map(Write::Number),
        1 => Just(Write::Equal),
    ];
    let some = (any::<Index>(), write);
    (
        vec(some.clone(), 0..6),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(some, 1..3)],
        prop_oneof![4 => Just(Vec::new()), 1 => vec(any::<Index>(), 1..3)],
        vec(0..6_u8, 0..3),
    )
        .prop_map(|(delta, correction, unknown, executed)| Writes {
            delta,
            correction,
            unknown,
            executed,
        })
}

/// A store under test with everything that is believed of it.
struct Subject {
    directory: TempDir,
    options: StoreOptions,
    store: Store,
    model: Model,
    /// What the store was after every operation since the last flush, the oldest first.
    history: Vec<Model>,
    /// With what they saw when they were opened; `None` once revoked.
    snapshots: Vec<(Snapshot, Option<MemoryState>)>,
    branch: u8,
    first: TopoHeight,
}

impl Subject {
    fn new(base: StateDelta, first: TopoHeight, cache_bytes: u64, log_file_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            flush_every_ms: None,
            cache_bytes,
            log_file_bytes,
            ..StoreOptions::default()
        };
        let store = Store::open(directory.path(), options.clone()).unwrap();
        store.seed(&base).unwrap();
        store.flush().unwrap();
        let model = Model { base, ..Model::default() };
        let history = vec![model.clone()];
        Self { directory, options, store, model, history, snapshots: Vec::new(), branch: 0, first }
    }

    fn next_block(&self, writes: &Writes) -> BlockCommit {
        let universe = universe();
        let state = self.model.state(self.model.tip());
        let choose = |writes: &[(Index, Write)]| -> StateDelta {
            writes
                .iter()
                .map(|(index, write)| {
                    let key = universe[index.index(universe.len())];
                    let value = match write {
                        Write::None => None,
                        Write::Number(number) => Some(value(&key, *number)),
                        Write::Equal => state.read(&key).unwrap_or_default(),
                    };
                    (key, value)
                })
                .collect()
        };
        let topoheight = self.model.tip().map_or(self.first, TopoHeight::next);
        let mut commit = block(topoheight.as_u64(), self.branch, choose(&writes.delta));
        commit.correction = choose(&writes.correction);
        commit.unknown =
            writes.unknown.iter().map(|index| universe[index.index(universe.len())]).collect();
        commit.executed = writes.executed.iter().map(|byte| TxHash::new([*byte; 32])).collect();
        commit
    }

    fn commit(&mut self, writes: &Writes) {
        let commit = self.next_block(writes);
        let tip = self.store.commit(commit.clone()).unwrap();
        assert_eq!(tip.block, commit.block);
        self.model.blocks.push(commit);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Commit(writes) => self.commit(writes),
            Op::CommitMany(count, writes) => {
                for _ in 0..*count {
                    self.commit(writes);
                    self.history.push(self.model.clone());
                }
            }
            Op::CommitKnown(index) => {
                if let Some(known) = self.known(*index) {
                    let tip = self.store.tip();
                    let committed = self.store.commit(known.clone());
                    if known.block.topoheight < self.model.pruned_below {
                        assert!(matches!(committed, Err(StoreError::Pruned(_))));
                    } else {
                        let there = self.store.block(known.block.topoheight).unwrap().unwrap();
                        assert_eq!(committed.unwrap(), there.tip());
                        assert_eq!(self.store.tip(), tip);
                    }
                }
            }
            Op::CommitOther(index) => {
                if let Some(mut other) = self.known(*index) {
                    other.block.hash = storage_snapshot::BlockHash::new([0xff; 32]);
                    let committed = self.store.commit(other.clone());
                    if other.block.topoheight < self.model.pruned_below {
                        assert!(matches!(committed, Err(StoreError::Pruned(_))));
                    } else {
                        assert!(matches!(committed, Err(StoreError::OtherBlock { .. })));
                    }
                }
            }
            Op::CommitLater => {
                if let Some(tip) = self.model.tip() {
                    let later = block(tip.as_u64() + 2, self.branch, StateDelta::new());
                    let committed = self.store.commit(later);
                    assert!(matches!(committed, Err(StoreError::NotNext { .. })));
                }
            }
            Op::StageMany(count, writes, left, kept) => {
                let written = left.index(usize::from(*count) + 1);
                let kept = written + kept.index(usize::from(*count) + 1 - written);
                self.stage(*count, writes, written, kept);
            }
            Op::Open(index) => self.open_snapshot(*index),
            Op::Close(index) => {
                if !self.snapshots.is_empty() {
                    let index = index.index(self.snapshots.len());
                    self.snapshots.remove(index);
                }
            }
            Op::Rollback(index) => self.rollback(*index),
            Op::AdvanceView(index) => {
                if let Some(to) = self.model.pick(*index) {
                    let pins = self.snapshots.iter().filter(|(_, state)| state.is_some());
                    let lowest = pins.map(|(snapshot, _)| snapshot.topoheight()).min();
                    let goal = Some(to).min(self.model.tip()).min(lowest.unwrap_or(Some(to)));
                    // Below the first block there is nothing to fold.
                    let first = self.model.blocks.first().map(|block| block.block.topoheight);
                    let goal = goal.filter(|_| goal >= first);
                    self.model.view = self.model.view.max(goal);
                    assert_eq!(self.store.advance_view(to).unwrap(), self.model.view);
                }
            }
            Op::PruneLog(index) => {
                if let Some(below) = self.model.pick(*index) {
                    let kept = self.model.view.and_then(|view| view.checked_sub(63));
                    let bound = below.min(kept.unwrap_or_default());
                    let in_log = |b: &&BlockCommit| {
                        let topoheight = b.block.topoheight;
                        topoheight >= self.model.pruned_below && topoheight < bound
                    };
                    let expected = self.model.blocks.iter().filter(in_log).count() as u64;
                    assert_eq!(self.store.prune_log(below).unwrap(), expected);
                    self.model.pruned_below = self.model.pruned_below.max(bound);
                }
            }
            Op::PutLedger(index, bytes) => {
                if let Some(topoheight) = self.model.pick(*index) {
                    let entry = noise((*bytes).into());
                    self.store.put_ledger(topoheight, &entry).unwrap();
                    self.model.ledger.insert(topoheight, entry);
                }
            }
            Op::Flush => {
                self.store.flush().unwrap();
                self.history.clear();
            }
            Op::Restart => self.restart(),
            Op::Crash => self.crash(),
        }
        self.history.push(self.model.clone());
    }

    /// Stages some blocks, writes the first few, takes all off again but `kept`, and writes what is left.
    fn stage(&mut self, count: u8, writes: &Writes, written: usize, kept: usize) {
        let below = self.model.tip();
        let mut staged = Vec::new();
        for _ in 0..count {
            let commit = self.next_block(writes);
            let at = commit.block.topoheight;
            staged.push((at, self.store.stage(commit.clone()).unwrap()));
            assert_eq!(self.store.head(), Some(commit.block));
            assert_eq!(self.store.tip().map(|tip| tip.block.topoheight), below);
            self.model.blocks.push(commit);
            // What is staged is read like anything else.
            let (snapshot, state) =
                (self.store.snapshot_at(at).unwrap(), self.model.state(Some(at)));
            for key in universe() {
                assert_eq!(snapshot.read(&key), state.read(&key), "{key} of {snapshot:?}");
            }
        }
        let mut staged = staged.into_iter();
        for (at, block) in staged.by_ref().take(written) {
            assert_eq!(self.store.write(block).unwrap().block.topoheight, at);
        }
        let count = self.model.blocks.len() - usize::from(count) + kept;
        let left: Vec<_> = staged.by_ref().take(kept - written).collect();
        self.model.blocks.truncate(count);
        self.store.rollback(self.model.tip()).unwrap();
        self.branch += 1;
        for (at, block) in left {
            assert_eq!(self.store.write(block).unwrap().block.topoheight, at);
        }
        for (_, gone) in staged {
            assert!(matches!(self.store.write(gone), Err(StoreError::NotNext { .. })));
        }
    }

    fn known(&self, index: Index) -> Option<BlockCommit> {
        let topoheight = self.model.pick(index)?;
        self.model.blocks.iter().find(|b| b.block.topoheight == topoheight).cloned()
    }

    fn open_snapshot(&mut self, index: Index) {
        let picked = self.model.pick(index);
        let opened = match picked {
            Some(topoheight) => self.store.snapshot_at(topoheight),
            None => self.store.base_snapshot(),
        };
        let first = self.model.blocks.first().map(|block| block.block.topoheight);
        let is_there = picked.is_none() || (picked >= first && picked <= self.model.tip());
        let is_kept = picked >= self.model.view;
        match opened {
            Ok(snapshot) => {
                assert!(is_there && is_kept, "opened at {picked:?}");
                self.snapshots.push((snapshot, Some(self.model.state(picked))));
            }
            Err(StoreError::BelowView { .. }) => assert!(!is_kept),
            Err(StoreError::AboveTip { .. } | StoreError::BeforeFirst { .. }) => {
                assert!(!is_there);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn rollback(&mut self, index: Index) {
        let to = self.model.pick(index);
        let rolled_back = self.store.rollback(to);
        if to >= self.model.tip() {
            return rolled_back.unwrap();
        }
        if to < self.model.view {
            assert!(matches!(rolled_back, Err(StoreError::BelowView { .. })));
            return;
        }
        rolled_back.unwrap();
        self.branch += 1;
        self.model.blocks.retain(|block| Some(block.block.topoheight) <= to);
        let tip = self.model.tip();
        for (snapshot, state) in &mut self.snapshots {
            if snapshot.topoheight() > tip {
                *state = None;
            }
        }
    }

    fn restart(&mut self) {
        self.snapshots.clear();
        let nowhere = tempfile::tempdir().unwrap();
        let elsewhere = Store::open(nowhere.path(), self.options.clone()).unwrap();
        drop(std::mem::replace(&mut self.store, elsewhere));
        self.store = Store::open(self.directory.path(), self.options.clone()).unwrap();
        self.history.clear();
    }

    fn crash(&mut self) {
        self.snapshots.clear();
        let directory = tempfile::tempdir().unwrap();
        copy(self.directory.path(), directory.path());
        self.store = Store::open(directory.path(), self.options.clone()).unwrap();
        self.directory = directory;
        // The operating system has the whole log and of the ledger some first part, and of what the database wrote
        // it may have less: the view may be older than the verdicts, and never newer.
        let moments = self.history.iter().enumerate().rev();
        let candidates = moments.flat_map(|(at, verdicts)| {
            self.history[..=at].iter().rev().map(|folded| Model {
                view: folded.view,
                ledger: verdicts.ledger.clone(),
                ..self.model.clone()
            })
        });
        let survivor = candidates.into_iter().find(|model| differs(&self.store, model).is_none());
        let Some(survivor) = survivor else {
            panic!("what survived was never there; {:?}", differs(&self.store, &self.model));
        };
        self.model = survivor;
        self.branch += 1;
        self.store.flush().unwrap();
        self.history.clear();
    }

    fn check(&self) {
        if let Some(difference) = differs(&self.store, &self.model) {
            panic!("{difference}");
        }
        for (snapshot, state) in &self.snapshots {
            for key in universe() {
                let expected = match state {
                    Some(state) => state.read(&key),
                    None => Err(ReadError::Revoked),
                };
                assert_eq!(snapshot.read(&key), expected, "{key} of {snapshot:?}");
            }
        }
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_like_the_model(
        base in vec((any::<Index>(), 0..4_u8), 0..6),
        first in prop_oneof![Just(0_u64), Just(1), Just(5_000)],
        cache_bytes in prop_oneof![Just(0_u64), Just(600), Just(1 << 20)],
        log_file_bytes in prop_oneof![Just(1_000_u64), Just(4 << 20)],
        ops in ops(),
    ) {
        let universe = universe();
        let base = base
            .into_iter()
            .map(|(index, number)| {
                let key = universe[index.index(universe.len())];
                (key, Some(value(&key, number)))
            })
            .collect();
        let mut subject = Subject::new(base, at(first), cache_bytes, log_file_bytes);
        for op in &ops {
            subject.apply(op);
            subject.check();
        }
    }
}
