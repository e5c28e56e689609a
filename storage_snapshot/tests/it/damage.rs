//! What was not written is never served: bytes are flipped, moved and removed under the store.

use std::{fs, path::Path};

use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, ReadError, StateDelta, StateRead, Store, StoreError,
    StoreOptions, TreeName,
};

use crate::support::{ALICE, BOB, at, balance, block, close_raw, native, noise, open, pays, raw};

/// Blocks 0 to 9 with the view at 4, a ledger entry and an identity.
fn prepared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.set_identity(b"a chain").unwrap();
    for topoheight in 0..10 {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    store.advance_view(at(4)).unwrap();
    store.put_ledger(at(2), b"a verdict").unwrap();
    store.put_ledger(at(5), b"another").unwrap();
    drop(store);
    directory
}

fn part(key: &[u8]) -> Vec<u8> {
    [key, &[0; 4]].concat()
}

fn flip(directory: &Path, tree: &str, key: &[u8], byte: usize) {
    let database = raw(directory);
    let tree = database.open_tree(tree).unwrap();
    let mut value = tree.get(part(key)).unwrap().expect("the entry is there").to_vec();
    let byte = byte % value.len();
    value[byte] ^= 0x10;
    tree.insert(part(key), value).unwrap();
    drop(tree);
    close_raw(database, directory);
}

#[track_caller]
fn check_corrupt<T>(result: Result<T, StoreError>, expected: TreeName) {
    match result.map(drop) {
        Err(StoreError::Corrupt { tree, key, .. }) => {
            assert_eq!(tree, expected);
            assert!(!key.is_empty());
        }
        other => panic!("damage in the {expected} was answered with {other:?}"),
    }
}

fn reopen(directory: &Path) -> Result<Store, StoreError> {
    Store::open(directory, StoreOptions::default())
}

/// Flips a bit in the last file of the view.
fn flip_in_view(directory: &Path, byte: usize) {
    let mut files: Vec<_> =
        fs::read_dir(directory.join("view")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let last = files.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes[byte] ^= 0x10;
    fs::write(last, bytes).unwrap();
}

#[test]
fn a_flipped_byte_in_a_record_is_not_served() {
    // In the account, the length of the record, its content, and the checksum.
    for byte in [0, 31, 33, 35, 36, 44, 60, 62] {
        let directory = prepared();
        flip_in_view(directory.path(), byte);
        let store = open(directory.path());
        let read = store.snapshot_at(at(4)).unwrap().read(&native(ALICE));
        assert!(matches!(read, Err(ReadError::Storage(_))), "byte {byte}: {read:?}");
        // The window does not need the record.
        store.snapshot_at(at(5)).unwrap().read(&native(ALICE)).unwrap();
        // Nor is it folded over as if it were empty.
        check_corrupt(store.advance_view(at(8)), TreeName::View);
    }
}

#[test]
fn nothing_is_added_to_a_store_whose_roll_back_failed_half_way() {
    let directory = prepared();
    flip_in_view(directory.path(), 36);
    let store = open(directory.path());
    // What was learned of the time before has to be written beside the damaged record.
    let mut base = StateDelta::new();
    base.set_balance(BOB, AssetId::NATIVE, Amount::new(7));
    let learned = BlockCommit { base, ..pays(10, 10) };
    store.commit(learned).unwrap();
    check_corrupt(store.rollback(Some(at(9))), TreeName::View);
    let refused = store.commit(pays(11, 11));
    assert!(matches!(refused, Err(StoreError::Broken)), "{refused:?}");
    drop(store);
    // On the disk everything is as it was.
    assert_eq!(open(directory.path()).tip().unwrap().block.topoheight, at(10));
}

/// Flips a bit in the file of the ledger.
fn flip_in_ledger(directory: &Path, byte: usize) {
    let path = directory.join("ledger/groups");
    let mut bytes = fs::read(&path).unwrap();
    bytes[byte] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_in_the_ledger_is_not_served() {
    // In its index: the checksum, the number of parts, and the place.
    let in_index = [0, 8, 11, 12, 17, 21].map(|byte| {
        let directory = prepared();
        flip(directory.path(), "ledger", &2_u64.to_be_bytes(), byte);
        directory
    });
    // In its file: how long the group is, of which block, the checksum, and the group.
    let in_file = [28, 31, 39, 40, 47, 48, 60].map(|byte| {
        let directory = prepared();
        flip_in_ledger(directory.path(), byte);
        directory
    });
    for directory in in_index.into_iter().chain(in_file) {
        let store = open(directory.path());
        check_corrupt(store.ledger(at(2)), TreeName::Ledger);
        let mut range = store.ledger_range(at(0)..=at(9));
        check_corrupt(range.next().unwrap(), TreeName::Ledger);
        assert!(range.next().is_none());
        // What is there cannot be told, so nothing is put over it or behind it.
        for topoheight in [2, 5, 9] {
            check_corrupt(store.put_ledger(at(topoheight), b"new"), TreeName::Ledger);
        }
        store.put_ledger(at(1), b"before").unwrap();
    }
}

#[test]
fn a_flipped_byte_in_the_header_of_the_ledger_is_refused() {
    for byte in [0, 11, 12, 19, 20, 27] {
        let directory = prepared();
        flip_in_ledger(directory.path(), byte);
        check_corrupt(reopen(directory.path()), TreeName::Ledger);
    }
}

#[test]
fn a_ledger_that_was_cut_is_refused() {
    let directory = prepared();
    let path = directory.path().join("ledger/groups");
    let whole = fs::read(&path).unwrap();
    for length in [0, 27, 28, 50, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        check_corrupt(reopen(directory.path()), TreeName::Ledger);
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(open(directory.path()).ledger(at(5)).unwrap().unwrap(), b"another");
}

#[test]
fn a_missing_ledger_is_an_error_that_names_it() {
    let directory = prepared();
    fs::remove_file(directory.path().join("ledger/groups")).unwrap();
    let error = reopen(directory.path()).unwrap_err();
    assert!(
        matches!(&error, StoreError::Io { path, .. } if path.ends_with("ledger/groups")),
        "{error}"
    );
}

#[test]
fn a_damaged_mark_of_the_ledger_is_refused() {
    let directory = prepared();
    flip(directory.path(), "meta", b"ledger_indexed", 14);
    check_corrupt(reopen(directory.path()), TreeName::Meta);
}

#[test]
fn what_the_index_of_the_ledger_has_lost_is_found_in_its_file() {
    let directory = prepared();
    let database = raw(directory.path());
    // The database is found as it was before it was told of anything.
    database.open_tree("meta").unwrap().remove(part(b"ledger_indexed")).unwrap().unwrap();
    database.open_tree("ledger").unwrap().clear().unwrap();
    close_raw(database, directory.path());
    for _ in 0..2 {
        let store = open(directory.path());
        assert_eq!(store.ledger(at(2)).unwrap().unwrap(), b"a verdict");
        assert_eq!(store.ledger(at(5)).unwrap().unwrap(), b"another");
    }
}

#[test]
fn a_group_of_another_place_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for topoheight in [1, 2] {
        store.put_ledger(at(topoheight), b"a verdict").unwrap();
        store.flush().unwrap();
    }
    drop(store);
    // They are equally long.
    let path = directory.path().join("ledger/groups");
    let mut bytes = fs::read(&path).unwrap();
    let middle = 28 + (bytes.len() - 28) / 2;
    let (one, other) = bytes[28..].split_at_mut(middle - 28);
    one.swap_with_slice(other);
    fs::write(path, bytes).unwrap();
    for topoheight in [1, 2] {
        check_corrupt(open(directory.path()).ledger(at(topoheight)), TreeName::Ledger);
    }
}

#[test]
fn an_entry_of_no_parts_is_not_served() {
    let directory = prepared();
    let database = raw(directory.path());
    let meta = database.open_tree("meta").unwrap();
    let mut value = meta.get(part(b"identity")).unwrap().expect("it is there").to_vec();
    value[8..12].fill(0);
    meta.insert(part(b"identity"), value).unwrap();
    drop(meta);
    close_raw(database, directory.path());
    check_corrupt(open(directory.path()).identity(), TreeName::Meta);
}

#[test]
fn a_key_that_is_no_topoheight_is_damage() {
    let directory = prepared();
    let database = raw(directory.path());
    let ledger = database.open_tree("ledger").unwrap();
    ledger
        .insert(part(b"seven"), ledger.get(part(&2_u64.to_be_bytes())).unwrap().unwrap())
        .unwrap();
    drop(ledger);
    close_raw(database, directory.path());
    check_corrupt(open(directory.path()).last_ledger(), TreeName::Ledger);
}

#[test]
fn a_flipped_byte_in_the_identity_or_the_state_of_the_view_is_refused() {
    let directory = prepared();
    flip(directory.path(), "meta", b"identity", 14);
    check_corrupt(open(directory.path()).identity(), TreeName::Meta);
    let directory = prepared();
    flip(directory.path(), "view", b"state", 14);
    check_corrupt(reopen(directory.path()), TreeName::View);
}

#[test]
fn a_fold_that_failed_is_begun_again_once_it_can_be() {
    let directory = tempfile::tempdir().unwrap();
    let account = |number: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        Address::new(bytes)
    };
    let delta = |amount: u64| -> StateDelta {
        (0..1_200).map(|number| (native(account(number)), Some(balance(amount)))).collect()
    };
    let store = open(directory.path());
    for topoheight in 0..6 {
        store.commit(block(topoheight, 0, delta(topoheight))).unwrap();
    }
    store.advance_view(at(1)).unwrap();
    drop(store);

    // Far behind the first block of the file.
    flip_in_view(directory.path(), 60_000);
    let store = open(directory.path());
    check_corrupt(store.advance_view(at(4)), TreeName::View);
    assert_eq!(store.view_tip(), Some(at(1)));
    assert!(matches!(store.snapshot_at(at(3)), Err(StoreError::BelowView { .. })));
    assert!(matches!(store.rollback(Some(at(3))), Err(StoreError::BelowView { .. })));
    for number in 0..1_200 {
        let read = store.snapshot_at(at(4)).unwrap().read(&native(account(number)));
        assert_eq!(read, Ok(Some(balance(4))));
    }
    // Nothing was written, so the blocks go on.
    store.commit(block(6, 0, delta(6))).unwrap();
    drop(store);

    flip_in_view(directory.path(), 60_000);
    let store = open(directory.path());
    assert_eq!(store.view_tip(), Some(at(1)));
    store.advance_view(at(4)).unwrap();
    for topoheight in 4..7 {
        let snapshot = store.snapshot_at(at(topoheight)).unwrap();
        for (key, value) in delta(topoheight).iter() {
            assert_eq!(snapshot.read(key), Ok(value.cloned()));
        }
    }
}

/// A store with an identity of five parts.
fn with_parts() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).set_identity(&noise(30_000)).unwrap();
    directory
}

fn part_of_identity(number: u8) -> Vec<u8> {
    [&b"identity"[..], &[0, 0, 0, number]].concat()
}

#[test]
fn a_flipped_byte_in_an_entry_of_many_parts_is_not_served() {
    for number in 0..5_u8 {
        let directory = with_parts();
        let database = raw(directory.path());
        let meta = database.open_tree("meta").unwrap();
        let key = part_of_identity(number);
        let mut value = meta.get(&key).unwrap().expect("the part is there").to_vec();
        *value.last_mut().unwrap() ^= 0x10;
        meta.insert(key, value).unwrap();
        drop(meta);
        close_raw(database, directory.path());
        check_corrupt(open(directory.path()).identity(), TreeName::Meta);
    }
}

#[test]
fn a_missing_part_is_noticed() {
    let directory = with_parts();
    for number in 0..5_u8 {
        let database = raw(directory.path());
        let meta = database.open_tree("meta").unwrap();
        let key = part_of_identity(number);
        let removed = meta.remove(&key).unwrap().expect("the part is there");
        drop(meta);
        close_raw(database, directory.path());

        let found = open(directory.path()).identity();
        match number {
            // Where the first is not, there is nothing.
            0 => assert_eq!(found.unwrap(), None),
            _ => check_corrupt(found, TreeName::Meta),
        }

        let database = raw(directory.path());
        database.open_tree("meta").unwrap().insert(key, removed).unwrap();
        close_raw(database, directory.path());
    }
    assert_eq!(open(directory.path()).identity().unwrap(), Some(noise(30_000)));
}

#[test]
fn a_part_of_another_writing_of_the_entry_is_noticed() {
    let directory = with_parts();
    // The checksum of the content that every part carries, and how many parts there are.
    for byte in [0, 7, 11] {
        let database = raw(directory.path());
        let meta = database.open_tree("meta").unwrap();
        let key = part_of_identity(2);
        let whole = meta.get(&key).unwrap().expect("the part is there");
        let mut other = whole.to_vec();
        other[byte] ^= 1;
        meta.insert(&key, other).unwrap();
        drop(meta);
        close_raw(database, directory.path());

        check_corrupt(open(directory.path()).identity(), TreeName::Meta);

        let database = raw(directory.path());
        database.open_tree("meta").unwrap().insert(key, whole).unwrap();
        close_raw(database, directory.path());
    }
    assert_eq!(open(directory.path()).identity().unwrap(), Some(noise(30_000)));
}

#[test]
fn a_file_of_another_view_is_not_served() {
    let (directory, later) = (prepared(), prepared());
    open(later.path()).advance_view(at(8)).unwrap();
    let file = |of: &Path, number: u64| of.join(format!("view/{number:020}.run"));
    fs::copy(file(later.path(), 1), file(directory.path(), 0)).unwrap();
    check_corrupt(reopen(directory.path()), TreeName::View);
}

#[test]
fn an_entry_that_was_moved_is_not_served() {
    let directory = prepared();
    let database = raw(directory.path());
    let ledger = database.open_tree("ledger").unwrap();
    let verdict = ledger.get(part(&2_u64.to_be_bytes())).unwrap().expect("it is there");
    ledger.insert(part(&3_u64.to_be_bytes()), verdict).unwrap();
    drop(ledger);
    close_raw(database, directory.path());
    check_corrupt(open(directory.path()).ledger(at(3)), TreeName::Ledger);
}
