//! Small words for tests.

use std::path::Path;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, BlueScore, Nonce,
    StateDelta, StateKey, StateValue, Store, StoreOptions, TopoHeight,
};

pub(crate) const ALICE: Address = Address::new([0xa1; 32]);
pub(crate) const BOB: Address = Address::new([0xb0; 32]);

pub(crate) fn at(topoheight: u64) -> TopoHeight {
    TopoHeight::new(topoheight)
}

pub(crate) fn open(directory: &Path) -> Store {
    Store::open(directory, StoreOptions::default()).unwrap()
}

/// A block whose hash is made of its topoheight and a branch.
pub(crate) fn block(topoheight: u64, branch: u8, delta: StateDelta) -> BlockCommit {
    let mut hash = [branch; 32];
    hash[..8].copy_from_slice(&topoheight.to_be_bytes());
    let block = BlockRef { topoheight: at(topoheight), hash: BlockHash::new(hash) };
    let facts = BlockFacts {
        blue_score: BlueScore::new(topoheight * 2),
        side_block: topoheight % 3 == 1,
        emitted_supply: Amount::new(topoheight * 50),
        burned_supply: (branch > 0).then(|| Amount::new(u64::from(branch))),
    };
    BlockCommit::new(block, facts, delta)
}

/// A block that sets Alice's native balance.
pub(crate) fn pays(topoheight: u64, amount: u64) -> BlockCommit {
    let mut delta = StateDelta::new();
    delta.set_balance(ALICE, AssetId::NATIVE, Amount::new(amount));
    block(topoheight, 0, delta)
}

pub(crate) fn native(account: Address) -> StateKey {
    StateKey::Balance(account, AssetId::NATIVE)
}

pub(crate) fn balance(amount: u64) -> StateValue {
    StateValue::Balance(Amount::new(amount))
}

pub(crate) fn nonce(number: u64) -> StateValue {
    StateValue::Nonce(Nonce::new(number))
}

/// The database under a store that is closed. It waits for threads that outlive the store a little.
pub(crate) fn raw(directory: &Path) -> sled::Db {
    let file = std::fs::File::open(directory.join("state/db")).unwrap();
    file.lock().unwrap();
    drop(file);
    sled::Config::default().path(directory.join("state")).open().unwrap()
}

pub(crate) fn close_raw(database: sled::Db, directory: &Path) {
    database.flush().unwrap();
    drop(database);
    let file = std::fs::File::open(directory.join("state/db")).unwrap();
    file.lock().unwrap();
}

/// Bytes that nothing makes fewer.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut noise);
    noise
}
