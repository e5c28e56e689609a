//! The files of the log: what is done about each way in which they can be other than they were written.
//!
//! A copy of a directory in which a store is open is what the process would leave if it were killed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use storage_snapshot::{
    Amount, AssetId, BlockCommit, Corruption, StateDelta, StateRead, Store, StoreError,
    StoreOptions, TreeName,
};
use tempfile::TempDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    prop::copy,
    support::{BOB, at, balance, block, native, open, pays},
};

const HEADER: usize = 45;

/// Alters a file whose records begin at these offsets.
type Damage = fn(&mut Vec<u8>, &[usize]);

/// Blocks 0 to 9 with the view at 4, in files of at least so many bytes.
fn prepared(log_file_bytes: u64, branch: u8) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), log_file_bytes);
    for topoheight in 0..10 {
        store.commit(block(topoheight, branch, pays(topoheight, topoheight).delta)).unwrap();
    }
    store.advance_view(at(4)).unwrap();
    drop(store);
    directory
}

fn open_with(directory: &Path, log_file_bytes: u64) -> Store {
    let options = StoreOptions { log_file_bytes, flush_every_ms: None, ..StoreOptions::default() };
    Store::open(directory, options).unwrap()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("log")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Where each record of a file begins, and where the last one ends.
fn offsets(bytes: &[u8]) -> Vec<usize> {
    let mut offsets = vec![HEADER];
    while let Some(length) = bytes.get(offsets[offsets.len() - 1]..).and_then(<[u8]>::first_chunk) {
        let length = u64::from_be_bytes(*length) as usize;
        offsets.push(offsets[offsets.len() - 1] + 16 + length);
    }
    offsets
}

#[track_caller]
fn check_refused(directory: &Path, what: impl Fn(TreeName, Corruption) -> bool) {
    match Store::open(directory, StoreOptions::default()) {
        Err(StoreError::Corrupt { tree, problem, key }) => {
            assert!(what(tree, problem), "{problem} in the {tree}");
            assert!(!key.is_empty());
        }
        other => panic!("the damage was answered with {other:?}"),
    }
}

#[track_caller]
fn check_opens_at(directory: &Path, tip: u64) {
    let store = open(directory);
    assert_eq!(store.tip().unwrap().block.topoheight, at(tip));
    for topoheight in 0..=tip {
        assert!(store.block(at(topoheight)).unwrap().is_some(), "block {topoheight}");
    }
    drop(store);
    // And goes on from there, in files that follow what was cut off.
    let store = open_with(directory, 1);
    for topoheight in tip + 1..tip + 4 {
        store.commit(pays(topoheight, 77)).unwrap();
    }
    drop(store);
    let store = open(directory);
    assert_eq!(store.tip().unwrap().block, pays(tip + 3, 77).block);
}

#[test]
fn a_flipped_byte_is_refused_wherever_it_is() {
    let directory = prepared(4 << 20, 0);
    let [file] = files(directory.path()).try_into().unwrap();
    let whole = fs::read(&file).unwrap();
    for byte in (0..HEADER).step_by(4).chain((HEADER..whole.len()).step_by(97)) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x10;
        fs::write(&file, damaged).unwrap();
        check_refused(directory.path(), |tree, _| tree == TreeName::Log);
    }
    fs::write(&file, whole).unwrap();
    check_opens_at(directory.path(), 9);
}

#[test]
fn a_closed_log_that_was_cut_is_refused_wherever_it_was() {
    let directory = prepared(4 << 20, 0);
    let [file] = files(directory.path()).try_into().unwrap();
    let whole = fs::read(&file).unwrap();
    for length in (0..whole.len()).step_by(211).chain(offsets(&whole)).filter(|l| *l < whole.len())
    {
        fs::write(&file, &whole[..length]).unwrap();
        check_refused(directory.path(), |tree, _| tree == TreeName::Log);
    }
}

#[test]
fn a_missing_block_is_noticed() {
    for missing in 0..10 {
        let directory = prepared(4 << 20, 0);
        let [file] = files(directory.path()).try_into().unwrap();
        let mut bytes = fs::read(&file).unwrap();
        let offsets = offsets(&bytes);
        bytes.drain(offsets[missing]..offsets[missing + 1]);
        fs::write(&file, bytes).unwrap();
        check_refused(directory.path(), |tree, _| tree == TreeName::Log);
    }
}

#[test]
fn a_missing_file_is_noticed() {
    for missing in 0..10 {
        let directory = prepared(1, 0);
        let files = files(directory.path());
        assert_eq!(files.len(), 10);
        fs::remove_file(&files[missing]).unwrap();
        let expected = if missing == 9 { Corruption::Parts } else { Corruption::Sequence };
        check_refused(directory.path(), |tree, problem| {
            (tree, problem) == (TreeName::Log, expected)
        });
    }
}

#[test]
fn a_file_of_another_branch_is_out_of_sequence() {
    for foreign in [0, 5, 7, 9] {
        let (directory, stranger) = (prepared(1, 0), prepared(1, 3));
        fs::copy(&files(stranger.path())[foreign], &files(directory.path())[foreign]).unwrap();
        check_refused(directory.path(), |_, problem| problem == Corruption::Sequence);
    }
}

// postmortem: the end of a file was of the branch that was taken back, the next file of the other one.
#[test]
fn a_file_of_another_branch_that_nothing_vouches_for_ends_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), 1);
    let [left, other] = [0, 3].map(|branch| {
        store.rollback(Some(at(4))).unwrap();
        for topoheight in store.tip().map_or(0, |_| 5)..8 {
            store.commit(block(topoheight, branch, pays(topoheight, topoheight).delta)).unwrap();
            if topoheight == 4 {
                store.flush().unwrap();
            }
        }
        let left = tempfile::tempdir().unwrap();
        copy(directory.path(), left.path());
        left
    });
    for foreign in [6, 7] {
        fs::copy(&files(other.path())[foreign], &files(left.path())[foreign]).unwrap();
    }
    check_opens_at(left.path(), 5);
}

#[test]
fn a_file_under_another_name_is_refused() {
    let directory = prepared(1, 0);
    let files = files(directory.path());
    fs::copy(&files[6], &files[7]).unwrap();
    check_refused(directory.path(), |tree, _| tree == TreeName::Log);
    // As the last one, and where it was the last one, it would hide a block.
    let (directory, shorter) = (prepared(1, 0), tempfile::tempdir().unwrap());
    let store = open_with(shorter.path(), 1);
    for topoheight in 0..9 {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    drop(store);
    fs::copy(&self::files(shorter.path())[8], &self::files(directory.path())[9]).unwrap();
    check_refused(directory.path(), |tree, _| tree == TreeName::Log);
}

#[test]
fn files_of_another_kind_are_left_alone() {
    let directory = prepared(4 << 20, 0);
    let strange = ["5.log", "00000000000000000005.bak", "+0000000000000000005.txt", "notes"];
    let strange = strange.map(|name| directory.path().join("log").join(name));
    strange.iter().for_each(|path| fs::write(path, b"mine").unwrap());
    check_opens_at(directory.path(), 9);
    strange.iter().for_each(|path| assert_eq!(fs::read(path).unwrap(), b"mine"));
}

#[test]
fn a_block_that_is_damaged_while_the_store_is_open_is_not_served() {
    let directory = prepared(4 << 20, 0);
    let store = open(directory.path());
    let [file] = files(directory.path()).try_into().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let damaged = offsets(&bytes)[3] + 60;
    bytes[damaged] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(store.block(at(2)).unwrap().unwrap().commit, pays(2, 2));
    let served = store.block(at(3));
    assert!(
        matches!(served, Err(StoreError::Corrupt { problem: Corruption::Checksum, .. })),
        "{served:?}"
    );
}

/// The checksum is of the right place, but what it is of was made for another one, or by something else.
#[test]
fn a_record_that_is_not_what_its_place_says_is_refused() {
    let forged: [(Damage, Corruption); 2] = [
        (|content, _| content[7] += 1, Corruption::Sequence),
        (|content, _| content.push(0), Corruption::Form),
    ];
    for (forge, expected) in forged {
        let directory = prepared(4 << 20, 0);
        let [file] = files(directory.path()).try_into().unwrap();
        let whole = fs::read(&file).unwrap();
        let offsets = offsets(&whole);
        let before = &whole[offsets[8] + 8..offsets[8] + 16];
        let mut content = whole[offsets[9] + 16..].to_vec();
        forge(&mut content, &[]);
        let seed = xxh3_64(&[before, &9_u64.to_be_bytes()].concat());
        let checksum = xxh3_64_with_seed(&content, seed).to_be_bytes();
        let length = (content.len() as u64).to_be_bytes();
        let record = [&length[..], &checksum, &content].concat();
        fs::write(&file, [&whole[..offsets[9]], &record].concat()).unwrap();
        check_refused(directory.path(), |tree, problem| {
            (tree, problem) == (TreeName::Log, expected)
        });
    }
}

/// Of the headers that a flush wrote, the disk may have one and not the other.
#[test]
fn damage_is_noticed_though_the_header_of_one_of_two_files_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), 500);
    let mut topoheight = 0;
    while !directory.path().join("log").read_dir().is_ok_and(|files| files.count() == 2) {
        store.commit(pays(topoheight, topoheight)).unwrap();
        topoheight += 1;
    }
    let paths: [_; 2] = files(directory.path()).try_into().unwrap();
    let old = paths.map(|file| fs::read(file).unwrap()[..HEADER].to_vec());
    drop(store);

    let left_with_old_header = |of: usize| {
        let left = tempfile::tempdir().unwrap();
        copy(directory.path(), left.path());
        let file = &files(left.path())[of];
        let new = fs::read(file).unwrap();
        fs::write(file, [&old[of], &new[HEADER..]].concat()).unwrap();
        left
    };
    let damages: [(usize, Damage); 2] =
        [(0, |bytes, _| *bytes.last_mut().unwrap() ^= 1), (1, |bytes, _| bytes.extend([0; 100]))];
    for (of, damage) in damages {
        check_opens_at(left_with_old_header(of).path(), topoheight - 1);
        let left = left_with_old_header(of);
        let first = &files(left.path())[0];
        let mut bytes = fs::read(first).unwrap();
        damage(&mut bytes, &[]);
        fs::write(first, bytes).unwrap();
        check_refused(left.path(), |tree, _| tree == TreeName::Log);
    }
}

#[test]
fn the_last_topoheight_that_there_is_can_be_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = block(0, 0, StateDelta::new());
    last.block.topoheight = at(u64::MAX);
    let store = open(directory.path());
    let tip = store.commit(last.clone()).unwrap();
    assert_eq!(store.commit(last.clone()).unwrap(), tip);
    drop(store);
    let store = open(directory.path());
    assert_eq!(store.tip(), Some(tip));
    assert_eq!(store.block(at(u64::MAX)).unwrap().unwrap().commit, last);
}

#[test]
fn a_log_that_ends_below_the_view_is_noticed() {
    let (directory, shorter) = (prepared(4 << 20, 0), tempfile::tempdir().unwrap());
    let store = open(shorter.path());
    for topoheight in 0..4 {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    drop(store);
    fs::copy(&files(shorter.path())[0], &files(directory.path())[0]).unwrap();
    check_refused(directory.path(), |tree, problem| {
        (tree, problem) == (TreeName::View, Corruption::Sequence)
    });
}

#[test]
fn a_log_without_its_directory_or_without_its_database_is_refused() {
    let directory = prepared(4 << 20, 0);
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    let error = Store::open(directory.path(), StoreOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if path.ends_with("log")), "{error}");

    let directory = prepared(4 << 20, 0);
    fs::remove_dir_all(directory.path().join("state")).unwrap();
    check_refused(directory.path(), |tree, _| tree == TreeName::Meta);
}

/// A copy of a store that flushed blocks 0 to 4 and then committed 5 to 9, one file or many.
fn killed(log_file_bytes: u64) -> TempDir {
    let [directory, left] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let store = open_with(directory.path(), log_file_bytes);
    for topoheight in 0..10 {
        store.commit(pays(topoheight, topoheight)).unwrap();
        if topoheight == 4 {
            store.flush().unwrap();
        }
    }
    copy(directory.path(), left.path());
    left
}

#[test]
fn a_killed_process_leaves_every_block_that_it_committed() {
    for log_file_bytes in [1, 500, 4 << 20] {
        check_opens_at(killed(log_file_bytes).path(), 9);
    }
}

#[test]
fn a_block_that_was_being_written_is_cut_off() {
    let left = killed(4 << 20);
    let whole = fs::read(&files(left.path())[0]).unwrap();
    let offsets = offsets(&whole);
    for length in (offsets[5]..whole.len()).step_by(61) {
        let left = killed(4 << 20);
        fs::write(&files(left.path())[0], &whole[..length]).unwrap();
        let whole_blocks = offsets.iter().filter(|offset| **offset <= length).count() - 1;
        check_opens_at(left.path(), whole_blocks as u64 - 1);
    }
}

#[test]
fn what_a_loss_of_power_may_leave_behind_the_last_sync_is_cut_off() {
    let left = killed(4 << 20);
    let whole = fs::read(&files(left.path())[0]).unwrap();
    let offsets = offsets(&whole);
    // Zeros, a hole with whole blocks behind it, noise, and zeros where nothing was written yet.
    let damages: [(Damage, u64); 4] = [
        (|bytes, offsets| bytes[offsets[7]..].fill(0), 6),
        (|bytes, offsets| bytes[offsets[6] + 3..offsets[6] + 60].fill(0), 5),
        (|bytes, offsets| bytes[offsets[5]..].iter_mut().for_each(|byte| *byte ^= 0xa5), 4),
        (|bytes, _| bytes.resize(bytes.len() + 9_000, 0), 9),
    ];
    for (damage, tip) in damages {
        let left = killed(4 << 20);
        let mut bytes = whole.clone();
        damage(&mut bytes, &offsets);
        fs::write(&files(left.path())[0], bytes).unwrap();
        check_opens_at(left.path(), tip);
    }
    // The remains of a longer file end the log even where the next file follows.
    let left = killed(1);
    let mut bytes = fs::read(&files(left.path())[6]).unwrap();
    bytes.extend([0xa5; 40]);
    fs::write(&files(left.path())[6], bytes).unwrap();
    check_opens_at(left.path(), 6);
    // The same below the last sync is damage.
    for below in [0, 4] {
        let left = killed(4 << 20);
        let mut bytes = whole.clone();
        bytes[offsets[below] + 20] ^= 1;
        fs::write(&files(left.path())[0], bytes).unwrap();
        check_refused(left.path(), |tree, _| tree == TreeName::Log);
    }
}

#[test]
fn files_that_a_loss_of_power_took_are_only_missed_up_to_the_last_sync() {
    for missing in 0..10 {
        let left = killed(1);
        fs::remove_file(&files(left.path())[missing]).unwrap();
        match missing {
            0..=4 => check_refused(left.path(), |tree, _| tree == TreeName::Log),
            _ => check_opens_at(left.path(), missing as u64 - 1),
        }
    }
}

#[test]
fn a_header_that_a_loss_of_power_tore_is_only_missed_up_to_the_last_sync() {
    for torn in 0..10 {
        let left = killed(1);
        fs::write(&files(left.path())[torn], b"shadow").unwrap();
        match torn {
            0..=4 => check_refused(left.path(), |tree, _| tree == TreeName::Log),
            _ => check_opens_at(left.path(), torn as u64 - 1),
        }
    }
}

#[test]
fn a_file_that_was_being_made_is_cleared_away() {
    let directory = prepared(4 << 20, 0);
    let unfinished = directory.path().join("log/00000000000000000010.new");
    fs::write(&unfinished, b"half").unwrap();
    check_opens_at(directory.path(), 9);
    assert!(!unfinished.exists());
}

#[test]
fn pruning_removes_whole_files_and_shows_no_more_than_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), 2_000);
    for topoheight in 0..150 {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    store.advance_view(at(140)).unwrap();
    let before = files(directory.path());
    assert_eq!(store.prune_log(at(35)).unwrap(), 35);
    assert_eq!(store.prune_log(at(35)).unwrap(), 0);
    let after = files(directory.path());
    assert!(after.len() < before.len() && before.ends_with(&after), "{after:?}");
    let first: u64 = after[0].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let second: u64 = after[1].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(first < 35 && 35 < second, "{first} {second}");
    drop(store);

    let store = open(directory.path());
    assert_eq!(store.block(at(34)).unwrap(), None);
    assert_eq!(store.block(at(35)).unwrap().unwrap().commit, pays(35, 35));
    assert_eq!(store.prune_log(at(1_000)).unwrap(), 42);
}

#[test]
fn a_rollback_goes_back_over_files() {
    for (log_file_bytes, to) in [(1, 5), (500, 5), (4 << 20, 5), (500, 9), (500, 0)] {
        let directory = tempfile::tempdir().unwrap();
        let store = open_with(directory.path(), log_file_bytes);
        for topoheight in 0..20 {
            store.commit(pays(topoheight, topoheight)).unwrap();
            if topoheight == 12 {
                store.flush().unwrap();
            }
        }
        store.rollback(Some(at(to))).unwrap();
        let left = tempfile::tempdir().unwrap();
        copy(directory.path(), left.path());
        check_opens_at(left.path(), to);
        for topoheight in to + 1..20 {
            store.commit(block(topoheight, 8, StateDelta::new())).unwrap();
        }
        drop(store);
        assert_eq!(
            open(directory.path()).tip().unwrap().block,
            block(19, 8, StateDelta::new()).block
        );
    }
}

#[test]
fn after_a_rollback_of_everything_the_log_begins_anew() {
    let directory = prepared(500, 0);
    let directory_of_base = tempfile::tempdir().unwrap();
    let store = open_with(directory_of_base.path(), 500);
    for topoheight in 0..10 {
        store.commit(pays(topoheight, 1)).unwrap();
    }
    store.rollback(None).unwrap();
    assert_eq!(files(directory_of_base.path()), Vec::<PathBuf>::new());
    store.commit(pays(700, 1)).unwrap();
    drop(store);
    assert_eq!(open(directory_of_base.path()).tip().unwrap().block, pays(700, 1).block);
    // Not below the view.
    assert!(open(directory.path()).rollback(None).is_err());
}

/// What a block brings to the base, in a process that is killed before the database hears of it.
#[test]
fn what_a_block_brought_to_the_base_is_as_safe_as_the_block() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(directory.path(), 4 << 20);
    let mut base = StateDelta::new();
    base.set_balance(BOB, AssetId::NATIVE, Amount::new(5));
    store.commit(pays(7, 70)).unwrap();
    store.commit(BlockCommit { base, ..pays(8, 80) }).unwrap();
    let check = |path: &Path| {
        let left = tempfile::tempdir().unwrap();
        copy(path, left.path());
        let store = open(left.path());
        let before = store.base_snapshot().unwrap();
        assert_eq!(before.read(&native(BOB)), Ok(Some(balance(5))));
    };
    check(directory.path());
    store.rollback(Some(at(7))).unwrap();
    check(directory.path());
}
