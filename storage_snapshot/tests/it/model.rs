//! What a store is, without logs, windows or views: a list of blocks over a base.

use std::collections::{BTreeMap, BTreeSet};

use proptest::sample::Index;
use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, MemoryState, MultisigConfig, Nonce, ReadError,
    StateDelta, StateKey, StateRead, StateValue, Store, TopoHeight, TxHash, Version,
};

use crate::support::at;

/// Every key that is ever written, and some that never are.
pub(crate) fn universe() -> Vec<StateKey> {
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

pub(crate) fn value(key: &StateKey, number: u8) -> StateValue {
    match key {
        StateKey::Nonce(_) => StateValue::Nonce(Nonce::new(number.into())),
        StateKey::Balance(..) => StateValue::Balance(Amount::new(number.into())),
        StateKey::Multisig(account) => StateValue::from(MultisigConfig {
            threshold: number,
            participants: vec![*account; number.into()],
        }),
        StateKey::Registered(_) => StateValue::Registered,
    }
}

/// What the store is believed to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) base: StateDelta,
    /// The blocks that were not rolled back, pruned or not.
    pub(crate) blocks: Vec<BlockCommit>,
    pub(crate) view: Option<TopoHeight>,
    pub(crate) pruned_below: TopoHeight,
    pub(crate) ledger: BTreeMap<TopoHeight, Vec<u8>>,
}

impl Model {
    pub(crate) fn tip(&self) -> Option<TopoHeight> {
        self.blocks.last().map(|block| block.block.topoheight)
    }

    fn up_to(&self, position: Option<TopoHeight>) -> impl Iterator<Item = &BlockCommit> {
        self.blocks.iter().filter(move |block| Some(block.block.topoheight) <= position)
    }

    pub(crate) fn state(&self, position: Option<TopoHeight>) -> MemoryState {
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

    /// From scratch.
    fn digest(&self, position: Option<TopoHeight>) -> [u8; 32] {
        let state = self.state(position);
        let written: BTreeSet<_> = self
            .up_to(position)
            .flat_map(|b| b.delta.keys().chain(b.correction.keys()).chain(&b.unknown))
            .collect();
        digest(written, &state)
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
    pub(crate) fn pick(&self, index: Index) -> Option<TopoHeight> {
        let first = self.blocks.first().map_or(0, |block| block.block.topoheight.as_u64());
        // One above the tip, one below the first.
        let picked = index.index(self.blocks.len() + 2) as u64;
        (first + picked).checked_sub(1).map(at)
    }
}

/// The digest of the keys that were written, with bytes and sums of its own.
pub(crate) fn digest<'a>(
    written: impl IntoIterator<Item = &'a StateKey>,
    state: &MemoryState,
) -> [u8; 32] {
    let mut sum = [0_u64; 4];
    for key in written {
        let mut message = canonical(key, state.read(key));
        message.resize(message.len().max(64), 0);
        let hash = blake3::hash(&message);
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

fn wrote(block: &BlockCommit, key: &StateKey) -> bool {
    block.delta.get(key).is_some()
        || block.correction.get(key).is_some()
        || block.unknown.contains(key)
}

fn canonical(key: &StateKey, value: Result<Option<StateValue>, ReadError>) -> Vec<u8> {
    let mut bytes = match key {
        StateKey::Nonce(_) => vec![1],
        StateKey::Balance(_, AssetId::NATIVE) => vec![5],
        StateKey::Balance(..) => vec![2],
        StateKey::Multisig(_) => vec![3],
        StateKey::Registered(_) => vec![4],
    };
    bytes.extend(key.account().as_bytes());
    let asset = key.asset().filter(|asset| **asset != AssetId::NATIVE);
    bytes.extend(asset.into_iter().flat_map(|asset| asset.as_bytes()));
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

/// The first answer of the store that the model does not give.
pub(crate) fn differs(store: &Store, model: &Model) -> Option<String> {
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
