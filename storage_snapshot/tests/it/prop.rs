//! Random histories of the store against a model that knows nothing of logs, windows or views.
//!
//! The model is a list of blocks over a base. After every operation everything that can be asked is
//! asked, of the store and of the model. A crash is a copy of the directory while the store is open:
//! what a process leaves behind when it is killed. The copy must then be what the store was after
//! *some* operation since the last flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use proptest::{collection::vec, prelude::*, sample::Index};
use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, MemoryState, MultisigConfig, Nonce, ReadError, Snapshot,
    StateDelta, StateKey, StateRead, StateValue, Store, StoreError, StoreOptions, TopoHeight,
    TxHash, Version,
};
use tempfile::TempDir;

use crate::support::{at, block};

#[derive(Clone, Debug)]
enum Op {
    Commit(Writes),
    CommitMany(u8, Writes),
    CommitKnown(Index),
    CommitOther(Index),
    CommitLater,
    Open(Index),
    Close(Index),
    Rollback(Index),
    AdvanceView(Index),
    PruneLog(Index),
    PutLedger(Index, u16),
    CommitWithLedger(Writes, u16),
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
        4 => any::<Index>().prop_map(Op::Open),
        2 => any::<Index>().prop_map(Op::Close),
        3 => any::<Index>().prop_map(Op::Rollback),
        4 => any::<Index>().prop_map(Op::AdvanceView),
        2 => any::<Index>().prop_map(Op::PruneLog),
        1 => (any::<Index>(), 0..20_000_u16).prop_map(|(t, bytes)| Op::PutLedger(t, bytes)),
        1 => (writes(), 0..20_000_u16).prop_map(|(w, bytes)| Op::CommitWithLedger(w, bytes)),
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

/// Every key that is ever written, and some that never are.
fn universe() -> Vec<StateKey> {
    let accounts = [1, 2, 3].map(|byte| Address::new([byte; 32]));
    let asset = AssetId::new([9; 32]);
    accounts
        .into_iter()
        .flat_map(|account| {
            [
                StateKey::Nonce(account),
                StateKey::Balance(account, AssetId::NATIVE),
                StateKey::Balance(account, asset),
                StateKey::Multisig(account),
                StateKey::Registered(account),
            ]
        })
        .collect()
}

fn value(key: &StateKey, number: u8) -> StateValue {
    match key {
        StateKey::Nonce(_) => StateValue::Nonce(Nonce::new(number.into())),
        StateKey::Balance(..) => StateValue::Balance(Amount::new(number.into())),
        StateKey::Multisig(account) => StateValue::Multisig(MultisigConfig {
            threshold: number,
            participants: vec![*account; number.into()],
        }),
        StateKey::Registered(_) => StateValue::Registered,
    }
}

/// What the store is believed to be.
#[derive(Clone, Debug, Default)]
struct Model {
    base: StateDelta,
    /// The blocks that were not rolled back, pruned or not.
    blocks: Vec<BlockCommit>,
    view: Option<TopoHeight>,
    pruned_below: TopoHeight,
    ledger: BTreeMap<TopoHeight, Vec<u8>>,
}

impl Model {
    fn tip(&self) -> Option<TopoHeight> {
        self.blocks.last().map(|block| block.block.topoheight)
    }

    fn up_to(&self, position: Option<TopoHeight>) -> impl Iterator<Item = &BlockCommit> {
        self.blocks.iter().filter(move |block| Some(block.block.topoheight) <= position)
    }

    fn state(&self, position: Option<TopoHeight>) -> MemoryState {
        let mut state = MemoryState::new();
        state.apply(&self.base);
        for block in self.up_to(position) {
            state.apply(&block.delta);
            state.apply(&block.correction);
            for key in &block.unknown {
                state.forget(*key);
            }
        }
        state
    }

    fn version(
        &self,
        position: Option<TopoHeight>,
        key: &StateKey,
        state: &MemoryState,
    ) -> Option<(Option<TopoHeight>, Version)> {
        let writer = self.up_to(position).filter(|b| wrote(b, key)).last();
        let written_at = match writer {
            Some(block) => Some(block.block.topoheight),
            None if self.base.get(key).is_some() => None,
            None => return None,
        };
        let version = match state.read(key) {
            Ok(value) => Version::Known(value),
            Err(_) => Version::Unknown,
        };
        Some((written_at, version))
    }

    /// From scratch, with bytes and sums of its own.
    fn digest(&self, position: Option<TopoHeight>) -> [u8; 32] {
        let state = self.state(position);
        let written: BTreeSet<_> = self
            .up_to(position)
            .flat_map(|b| b.delta.keys().chain(b.correction.keys()).chain(&b.unknown))
            .collect();
        let mut sum = [0_u64; 4];
        for key in written {
            let hash = blake3::hash(&canonical(key, state.read(key)));
            let mut carry = false;
            for (limb, bytes) in sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
                let (partial, first) =
                    limb.overflowing_add(u64::from_le_bytes(bytes.try_into().unwrap()));
                let (total, second) = partial.overflowing_add(carry.into());
                (*limb, carry) = (total, first || second);
            }
        }
        let mut digest = [0; 32];
        for (bytes, limb) in digest.chunks_exact_mut(8).zip(sum) {
            bytes.copy_from_slice(&limb.to_le_bytes());
        }
        digest
    }

    fn is_remembered(&self, topoheight: TopoHeight) -> bool {
        self.view.is_none_or(|view| topoheight.as_u64() + 64 > view.as_u64())
    }

    fn executed_at(&self, tx: &TxHash) -> Option<TopoHeight> {
        self.blocks
            .iter()
            .filter(|b| self.is_remembered(b.block.topoheight) && b.executed.contains(tx))
            .map(|b| b.block.topoheight)
            .next_back()
    }

    /// Any topoheight around the blocks, or below all.
    fn pick(&self, index: Index) -> Option<TopoHeight> {
        let first = self.blocks.first().map_or(0, |block| block.block.topoheight.as_u64());
        // One above the tip, one below the first.
        let picked = index.index(self.blocks.len() + 2) as u64;
        (first + picked).checked_sub(1).map(at)
    }
}

fn wrote(block: &BlockCommit, key: &StateKey) -> bool {
    block.delta.get(key).is_some()
        || block.correction.get(key).is_some()
        || block.unknown.contains(key)
}

fn canonical(key: &StateKey, value: Result<Option<StateValue>, ReadError>) -> Vec<u8> {
    let mut bytes = match key {
        StateKey::Nonce(_) => vec![1],
        StateKey::Balance(..) => vec![2],
        StateKey::Multisig(_) => vec![3],
        StateKey::Registered(_) => vec![4],
    };
    bytes.extend(key.account().as_bytes());
    bytes.extend(key.asset().into_iter().flat_map(|asset| asset.as_bytes()));
    match value {
        Ok(None) => bytes.push(0),
        Err(_) => bytes.push(1),
        Ok(Some(StateValue::Nonce(nonce))) => {
            bytes.push(2);
            bytes.extend(nonce.as_u64().to_be_bytes());
        }
        Ok(Some(StateValue::Balance(amount))) => {
            bytes.push(3);
            bytes.extend(amount.as_u64().to_be_bytes());
        }
        Ok(Some(StateValue::Multisig(config))) => {
            bytes.extend([4, config.threshold]);
            bytes.extend((config.participants.len() as u64).to_be_bytes());
            bytes.extend(config.participants.iter().flat_map(|account| *account.as_bytes()));
        }
        Ok(Some(StateValue::Registered)) => bytes.push(5),
    }
    bytes
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
    fn new(base: StateDelta, first: TopoHeight, cache_bytes: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { flush_every_ms: None, cache_bytes, ..StoreOptions::default() };
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

    fn commit(&mut self, writes: &Writes, ledger: Option<Vec<u8>>) {
        let commit = self.next_block(writes);
        let tip = match &ledger {
            None => self.store.commit(commit.clone()),
            Some(entry) => self.store.commit_with_ledger(commit.clone(), entry),
        }
        .unwrap();
        assert_eq!(tip.block, commit.block);
        if let Some(entry) = ledger {
            self.model.ledger.insert(commit.block.topoheight, entry);
        }
        self.model.blocks.push(commit);
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Commit(writes) => self.commit(writes, None),
            Op::CommitMany(count, writes) => {
                for _ in 0..*count {
                    self.commit(writes, None);
                    self.history.push(self.model.clone());
                }
            }
            Op::CommitWithLedger(writes, bytes) => {
                self.commit(writes, Some(vec![7; (*bytes).into()]));
            }
            Op::CommitKnown(index) => {
                if let Some(known) = self.known(*index) {
                    let committed = self.store.commit(known.clone());
                    if known.block.topoheight < self.model.pruned_below {
                        assert!(matches!(committed, Err(StoreError::Pruned(_))));
                    } else {
                        assert_eq!(Some(committed.unwrap()), self.store.tip());
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
                    let entry = vec![*bytes as u8; (*bytes).into()];
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
        let survivor =
            self.history.iter().rev().find(|model| differs(&self.store, model).is_none());
        let Some(survivor) = survivor else {
            let latest = self.history.last().expect("the history is never empty");
            panic!("what survived was never there; {:?}", differs(&self.store, latest));
        };
        self.model = survivor.clone();
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

/// The first answer of the store that the model does not give.
fn differs(store: &Store, model: &Model) -> Option<String> {
    macro_rules! same {
        ($store:expr, $model:expr, $what:expr) => {
            let (store, model) = ($store, $model);
            if store != model {
                return Some(format!("{}: {store:?} instead of {model:?}", $what));
            }
        };
    }
    let tip = store.tip();
    same!(tip.map(|tip| tip.block), model.blocks.last().map(|b| b.block), "tip");
    same!(tip.map(|tip| tip.facts), model.blocks.last().map(|b| b.facts), "facts of the tip");
    same!(store.view_tip(), model.view, "view");
    if let Some(tip) = tip {
        same!(*tip.digest.as_bytes(), model.digest(model.tip()), "digest");
    }
    for block in &model.blocks {
        let topoheight = block.block.topoheight;
        let stored = store.block(topoheight).unwrap().map(|entry| entry.commit);
        let expected = (topoheight >= model.pruned_below).then(|| block.clone());
        same!(stored, expected, format!("block {topoheight}"));
    }
    for count in [1, 8, 64, 1_000] {
        let remembered: Vec<_> = model
            .blocks
            .iter()
            .filter(|b| model.is_remembered(b.block.topoheight))
            .map(|b| (b.block, b.facts))
            .collect();
        for end in [remembered.len() / 2, remembered.len()] {
            let Some((last, _)) = remembered[..end].last() else { continue };
            let facts = store.facts_before(last.topoheight, count);
            same!(facts.as_slice(), &remembered[end.saturating_sub(count)..end], "facts");
        }
    }
    for byte in 0..6 {
        let tx = TxHash::new([byte; 32]);
        same!(store.executed_at(&tx), model.executed_at(&tx), format!("execution of {tx}"));
    }
    let all = at(0)..=at(u64::MAX);
    let ledger: BTreeMap<_, _> = store.ledger_range(all).map(Result::unwrap).collect();
    same!(&ledger, &model.ledger, "ledger");
    let positions = std::iter::once(None)
        .chain(model.blocks.iter().map(|block| Some(block.block.topoheight)))
        .filter(|position| *position >= model.view);
    for position in positions {
        let snapshot = match position {
            Some(topoheight) => store.snapshot_at(topoheight),
            None => store.base_snapshot(),
        };
        let snapshot = snapshot.unwrap();
        let state = model.state(position);
        for key in universe() {
            same!(snapshot.read(&key), state.read(&key), format!("{key} at {position:?}"));
            let version = model.version(position, &key, &state);
            same!(snapshot.version(&key), Ok(version), format!("{key} at {position:?}"));
        }
    }
    None
}

fn copy(from: &Path, to: &Path) {
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
        let mut subject = Subject::new(base, at(first), cache_bytes);
        for op in &ops {
            subject.apply(op);
            subject.check();
        }
    }
}
