//! The bytes on disk, frozen. If one of these tests fails, `Store::FORMAT_VERSION` has to change.

use std::fs;

use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, BlueScore,
    MultisigConfig, Nonce, StateDelta, StateKey, StateValue, TxHash,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::support::{at, close_raw, open, raw};

const A: Address = Address::new([0xaa; 32]);
const B: Address = Address::new([0xbb; 32]);

fn first() -> BlockCommit {
    let mut delta = StateDelta::new();
    delta.set_nonce(A, Nonce::new(0x0102));
    delta.set_balance(A, AssetId::NATIVE, Amount::new(0x0304));
    delta.set_balance(A, AssetId::new([0xcc; 32]), Amount::new(u64::MAX));
    delta.set_multisig(A, Some(MultisigConfig { threshold: 2, participants: vec![B, A] }));
    delta.register(A);
    let mut correction = StateDelta::new();
    correction.set_multisig(B, None);
    BlockCommit {
        block: BlockRef { topoheight: at(0x11), hash: BlockHash::new([0xdd; 32]) },
        facts: BlockFacts {
            blue_score: BlueScore::new(0x22),
            side_block: true,
            emitted_supply: Amount::new(0x33),
            burned_supply: Some(Amount::new(0x44)),
        },
        delta,
        correction,
        unknown: vec![StateKey::Nonce(B)],
        executed: vec![TxHash::new([0xee; 32])],
        base: [(StateKey::Nonce(B), Some(StateValue::Nonce(Nonce::new(0x0506))))]
            .into_iter()
            .collect(),
    }
}

fn second() -> BlockCommit {
    let block = BlockRef { topoheight: at(0x12), hash: BlockHash::new([0xdf; 32]) };
    BlockCommit::new(block, BlockFacts::default(), StateDelta::new())
}

/// Joins what is written in groups, with `x*n` for a byte that is repeated.
fn bytes(text: &str) -> String {
    text.split_whitespace()
        .map(|group| match group.split_once('*') {
            Some((byte, times)) => byte.repeat(times.parse().unwrap()),
            None => group.to_owned(),
        })
        .collect()
}

/// The content of an entry of one part, behind its checksum and the number of its parts.
#[track_caller]
fn check(database: &sled::Db, tree: &str, key: &str, content: &str) {
    let key = hex::decode(bytes(key)).unwrap();
    let content = hex::decode(bytes(content)).unwrap();
    let checksum = blake3::hash(&[tree.as_bytes(), &[0], &key, &content].concat());
    let expected = [&checksum.as_bytes()[..8], &[0, 0, 0, 1], &content].concat();
    let part = [&key[..], &[0; 4]].concat();
    let found = database.open_tree(tree).unwrap().get(part).unwrap().expect("the entry is there");
    assert_eq!(hex::encode(found), hex::encode(expected));
}

#[test]
fn the_bytes_on_disk_are_these() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.set_identity(b"id").unwrap();
    let mut base = StateDelta::new();
    base.set_balance(B, AssetId::NATIVE, Amount::new(5));
    store.seed(&base).unwrap();
    let tip = store.commit(first()).unwrap();
    assert_eq!(tip.digest.to_string(), DIGEST);
    store.commit(second()).unwrap();
    store.advance_view(at(0x11)).unwrap();
    store.put_ledger(at(0x11), b"ok").unwrap();
    store.put_ledger(at(0x13), b"fine").unwrap();
    drop(store);

    let database = raw(directory.path());
    assert_eq!(database.get("format_version").unwrap().unwrap(), [0, 0, 0, 8]);
    check(&database, "meta", "6964656e74697479", "6964");
    // The group is behind the header of its file, and is the only one.
    check(&database, "ledger", "0000000000000011", "00000000001c 0000001d");
    check(&database, "meta", "6c65646765725f696e6465786564", "000000000000004d");
    let file = fs::read(directory.path().join("view/00000000000000000001.run")).unwrap();
    let check_of_file = hex::encode(&file[file.len() - 8..]);
    let bytes_of_file = file.len();
    check(&database, "view",
        "7374617465",
        &format!(
            "01 0000000000000011 dd*32 0000000000000022 01 0000000000000033 01 0000000000000044 {DIGEST}
             0000000000000002
             0000000000000001 0000000000000001 {bytes_of_file:016x} {check_of_file}"
        ),
    );
    close_raw(database, directory.path());
}

#[test]
fn the_bytes_of_a_file_of_the_view_are_these() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut base = StateDelta::new();
    base.set_balance(B, AssetId::NATIVE, Amount::new(5));
    store.seed(&base).unwrap();
    store.commit(first()).unwrap();
    store.advance_view(at(0x11)).unwrap();
    drop(store);

    // Two records, each behind the account and its length.
    let block = hex::decode(bytes(
        "aa*32 000000c0
         0000000000000005
         01 01 0000000000000011 02 0000000000000102
         05 01 0000000000000011 03 0000000000000304
         02 cc*32 01 0000000000000011 03 ff*8
         03 01 0000000000000011 04 02 0000000000000002 bb*32 aa*32
         04 01 0000000000000011 05
         bb*32 00000029
         0000000000000003
         01 01 0000000000000011 01
         05 00 03 0000000000000005
         03 01 0000000000000011 00",
    ))
    .unwrap();
    let short = |hash: &blake3::Hash| hash.as_bytes()[..8].to_vec();
    let checksum = hex::encode(xxh3_64(&block).to_be_bytes());
    // The file has the number 1, the one with the base was 0.
    let tail = hex::decode(bytes(&format!(
        "aa*32 0000000000000000 {checksum}
         {FILTER}
         {} 00000008 0000000000000001 0000000000000002 0000000000000001 0000000000000001",
        hex::encode("shadowrn")
    )))
    .unwrap();
    let check = blake3::hash(&tail);
    let expected = [block, tail, short(&check)].concat();
    let found = fs::read(directory.path().join("view/00000000000000000001.run")).unwrap();
    assert_eq!(hex::encode(found), hex::encode(expected));
}

/// A record behind the one that has the checksum `before`, and its own.
fn record(before: &[u8], topoheight: u64, content: &str) -> (Vec<u8>, Vec<u8>) {
    let content = hex::decode(bytes(content)).unwrap();
    let seed = xxh3_64(&[before, &topoheight.to_be_bytes()].concat());
    let checksum = xxh3_64_with_seed(&content, seed).to_be_bytes().to_vec();
    let length = (content.len() as u64).to_be_bytes();
    ([&length[..], &checksum, &content].concat(), checksum)
}

#[test]
fn the_bytes_of_a_file_of_the_log_are_these() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut base = StateDelta::new();
    base.set_balance(B, AssetId::NATIVE, Amount::new(5));
    store.seed(&base).unwrap();
    store.commit(first()).unwrap();
    store.commit(second()).unwrap();
    drop(store);

    let (one, checksum) = record(
        &[0; 8],
        0x11,
        &format!(
            "0000000000000011 dd*32 0000000000000022 01 0000000000000033 01 0000000000000044 {DIGEST}
             00
             0000000000000005
             01 aa*32 02 0000000000000102
             05 aa*32 03 0000000000000304
             02 aa*32 cc*32 03 ff*8
             03 aa*32 04 02 0000000000000002 bb*32 aa*32
             04 aa*32 05
             0000000000000001 03 bb*32 00
             0000000000000001 01 bb*32
             0000000000000001 ee*32
             0000000000000001 01 bb*32 02 0000000000000506"
        ),
    );
    let (two, _) = record(
        &checksum,
        0x12,
        &format!(
            "0000000000000012 df*32 00*8 00 00*8 01 00*8 {DIGEST}
             01 dd*32
             00*8 00*8 00*8 00*8 00*8"
        ),
    );
    // The magic, the format, the first block, from where on it is shown, how much is on the disk,
    // and that no other file follows.
    let synced = 45 + one.len() + two.len();
    let header = format!(
        "{} 00000008 0000000000000011 0000000000000011 {synced:016x} 00",
        hex::encode("shadowlg")
    );
    let header = hex::decode(bytes(&header)).unwrap();
    let check = blake3::hash(&header);
    let expected = [&header[..], &check.as_bytes()[..8], &one, &two].concat();
    let found = fs::read(directory.path().join("log/00000000000000000017.log")).unwrap();
    assert_eq!(hex::encode(found), hex::encode(expected));
}

#[test]
fn the_bytes_of_the_file_of_the_ledger_are_these() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.put_ledger(at(0x11), b"ok").unwrap();
    store.put_ledger(at(0x13), b"fine").unwrap();
    store.flush().unwrap();
    // Two at once: one is changed, and the other is new.
    let both = [(at(0x13), b"well".to_vec()), (at(0x14), b"ok".to_vec())];
    store.put_ledgers(&both).unwrap();
    drop(store);

    // Thirty bytes, many of which are those before them: 0000000000000011 00000002 6f6b
    // 0000000000000013 00000004 66696e65.
    let first = "1e000000 12 00 0100 72 11000000026f6b 0d00 a0 00130000000466696e65";
    let changed = "1e000000 12 00 0100 72 11000000026f6b 0d00 a0 00130000000477656c6c";
    // Fourteen: 0000000000000014 00000002 6f6b.
    let new = "0e000000 12 00 0100 70 14000000026f6b";
    let records = [(0x11, 0, first), (0x11, 1_u32 << 31, changed), (0x14, 0, new)];
    let mut expected = Vec::new();
    for (topoheight, marked, group) in records {
        let group = hex::decode(bytes(group)).unwrap();
        let offset = 28 + expected.len() as u64;
        let marked = marked | group.len() as u32;
        let head = [&marked.to_be_bytes()[..], &u64::to_be_bytes(topoheight)].concat();
        let seed = xxh3_64(&[&offset.to_be_bytes()[..], &head].concat());
        let checksum = xxh3_64_with_seed(&group, seed).to_be_bytes();
        expected.extend([&head[..], &checksum, &group].concat());
    }
    // The magic, the format, and how much is on the disk.
    let synced = 28 + expected.len();
    let header = format!("{} 00000008 {synced:016x}", hex::encode("shadowgr"));
    let header = hex::decode(bytes(&header)).unwrap();
    let check = blake3::hash(&header);
    let expected = [&header[..], &check.as_bytes()[..8], &expected].concat();
    let found = fs::read(directory.path().join("ledger/groups")).unwrap();
    assert_eq!(hex::encode(found), hex::encode(expected));
}

const DIGEST: &str = "c6a3223a93fb746a1bad6f3c930187d92a2f55472cf9c3a037371ec2e38d296c";

/// In each of eight words a bit for either account.
const FILTER: &str = "0000000010008000000200000000008000004000004000000004000001000000
     0000000000000a00400000800000000000000000000101000800004000000000";
