//! In which order the store brings to the disk what depends on each other, and what is left to do when
//! something of it failed.

use std::{fs, path::Path};

use super::{
    ledger_file::HEADER_BYTES,
    witness::{Change, watch, watch_failing},
};
use crate::{
    Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, StateDelta, StateKey,
    StateRead, StateValue, Store, StoreError, StoreOptions, TopoHeight, TreeName,
};

const ALICE: Address = Address::new([1; 32]);
const BOB: Address = Address::new([2; 32]);
const OF_ALICE: StateKey = StateKey::Balance(ALICE, AssetId::NATIVE);

fn at(topoheight: u64) -> TopoHeight {
    TopoHeight::new(topoheight)
}

fn block(topoheight: u64) -> BlockCommit {
    let hash = BlockHash::new([topoheight as u8; 32]);
    let mut delta = StateDelta::new();
    delta.set_balance(ALICE, AssetId::NATIVE, Amount::new(topoheight));
    let block = BlockRef { topoheight: at(topoheight), hash };
    BlockCommit::new(block, BlockFacts::default(), delta)
}

fn base() -> StateDelta {
    let mut base = StateDelta::new();
    base.set_balance(BOB, AssetId::NATIVE, Amount::new(5));
    base
}

fn open(directory: &Path) -> Result<Store, StoreError> {
    // Nothing is flushed but when it is asked for, and a block takes more than a file.
    let options = StoreOptions { flush_every_ms: None, log_file_bytes: 600, ..Default::default() };
    Store::open(directory, options)
}

/// One hundred blocks, the view at 80, and nothing left to be flushed.
fn prepared() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for topoheight in 0..100 {
        store.commit(block(topoheight)).unwrap();
    }
    store.advance_view(at(80)).unwrap();
    store.flush().unwrap();
    (directory, store)
}

/// What was done, in words; the same thing again and again is one.
fn words(changes: &[Change]) -> String {
    let word = |change: &Change| match change {
        Change::Created(_) => "create",
        change if is_verdict(change) => "verdicts",
        Change::Wrote { path, .. } if is_of_ledger(path) => "mark verdicts",
        Change::Synced(path) if is_of_ledger(path) => "sync verdicts",
        Change::Wrote { .. } => "write",
        Change::Cut { .. } => "cut",
        Change::Synced(_) => "sync",
        Change::Renamed { .. } => "rename",
        Change::Removed(_) => "remove",
        Change::SyncedDirectory(_) => "sync names",
        Change::DatabaseWrote(TreeName::Meta) => "META",
        Change::DatabaseWrote(TreeName::Ledger) => "INDEX",
        Change::DatabaseWrote(_) => "VIEW",
        Change::DatabaseFlushed => "FLUSH",
        Change::DatabaseSynced => "SYNC",
    };
    let mut words: Vec<_> = changes.iter().map(word).collect();
    words.dedup();
    words.join(", ")
}

fn is_of_ledger(path: &Path) -> bool {
    path.parent().is_some_and(|directory| directory.ends_with("ledger"))
}

/// Whether verdicts are written, and not how far they are on the disk.
fn is_verdict(change: &Change) -> bool {
    matches!(change, Change::Wrote { path, offset: HEADER_BYTES.., .. } if is_of_ledger(path))
}

/// What the database does is in capitals, the rest is done to files of the log and of the view.
#[track_caller]
fn check(work: impl FnOnce(&Store) -> Result<(), StoreError>, expected: &str) {
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| work(&store));
    done.unwrap();
    assert_eq!(words(&changes), expected);
}

#[test]
fn a_store_has_a_version_once_it_has_a_log_a_ledger_and_a_view() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, changes) = watch(|| open(directory.path()).unwrap());
    let ledger = "create, mark verdicts, sync verdicts, rename, sync names";
    assert_eq!(words(&changes), format!("sync names, {ledger}, META, FLUSH"));
}

#[test]
fn what_a_fold_that_died_left_is_removed_once_no_loss_of_power_brings_it_back() {
    let (directory, store) = prepared();
    drop(store);
    fs::write(directory.path().join("view/00000000000000000099.run"), b"left").unwrap();
    let (_store, changes) = watch(|| open(directory.path()).unwrap());
    let found = words(&changes);
    assert!(found.ends_with("FLUSH, SYNC, remove"), "{found}");
}

#[test]
fn a_commit_waits_for_no_disk() {
    check(|store| store.commit(block(100)).map(drop), "write");
}

#[test]
fn what_a_block_brings_to_the_base_is_in_the_log() {
    let brings = BlockCommit { base: base(), ..block(100) };
    check(|store| store.commit(brings).map(drop), "write");
}

#[test]
fn blocks_are_on_the_disk_before_their_verdicts() {
    let commits_and_flushes = |store: &Store| {
        store.commit(block(100))?;
        store.put_ledger(at(100), b"fine")?;
        store.flush()
    };
    check(commits_and_flushes, "write, sync, write, verdicts, sync verdicts, mark verdicts, FLUSH");
}

#[test]
fn verdicts_are_written_before_the_view_that_came_after_them() {
    let judges_and_folds = |store: &Store| {
        store.put_ledger(at(99), b"fine")?;
        store.advance_view(at(90)).map(drop)
    };
    let file = "create, write, sync, rename, sync names";
    let verdicts = "verdicts, sync verdicts, mark verdicts";
    check(judges_and_folds, &format!("{verdicts}, {file}, VIEW"));
}

#[test]
fn verdicts_are_gathered_until_they_fill_a_group() {
    let judges = |store: &Store| {
        (0..20).try_for_each(|topoheight| store.put_ledger(at(topoheight), &[1; 1_000]))
    };
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| judges(&store));
    done.unwrap();
    // Eight of them fill one.
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(is_verdict));
}

#[test]
fn verdicts_that_replace_others_are_written_together() {
    let (_directory, store) = prepared();
    let entries: Vec<_> = (0..21).map(|topoheight| (at(topoheight), vec![1; 1_000])).collect();
    store.put_ledgers(&entries).unwrap();
    store.flush().unwrap();
    let (done, changes) = watch(|| store.put_ledgers(&entries));
    done.unwrap();
    assert_eq!(changes.len(), 1);
    assert!(changes.iter().all(is_verdict));
}

#[test]
fn many_verdicts_are_not_written_at_once() {
    let (_directory, store) = prepared();
    let entries: Vec<_> = (0..400).map(|topoheight| (at(topoheight), vec![1; 1_000])).collect();
    let (done, changes) = watch(|| store.put_ledgers(&entries));
    done.unwrap();
    assert!(changes.len() > 2 && changes.iter().all(is_verdict));
}

#[test]
fn verdicts_that_could_not_be_written_are_still_read() {
    let (_directory, store) = prepared();
    let (found, has_failed) = watch_failing(0, || {
        let put = |topoheight| store.put_ledger(at(topoheight), &[1; 1_000]).is_ok();
        let taken = (0..20).take_while(|topoheight| put(*topoheight)).count();
        (taken, (0..20).filter(|at| store.ledger(self::at(*at)).unwrap().is_some()).count())
    });
    assert!(has_failed);
    // Eight fill a group, and the ninth is refused with it.
    assert_eq!(found, (8, 8));
}

#[test]
fn blocks_are_on_the_disk_before_they_are_in_the_view() {
    let commits_and_folds = |store: &Store| {
        store.commit(block(100))?;
        store.advance_view(at(90)).map(drop)
    };
    let file = "create, write, sync, rename, sync names";
    check(commits_and_folds, &format!("write, sync, write, {file}, VIEW"));
}

#[test]
fn the_view_is_on_the_disk_before_the_log_forgets() {
    let expected = "FLUSH, SYNC, remove, sync names, remove, sync names";
    let prunes = |store: &Store| store.prune_log(at(10)).map(drop);
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| prunes(&store));
    done.unwrap();
    let found = words(&changes);
    assert!(found.starts_with(expected) && found.ends_with("sync names, write"), "{found}");
}

#[test]
fn verdicts_are_on_the_disk_before_the_log_forgets() {
    let judges_and_prunes = |store: &Store| {
        store.put_ledger(at(5), b"fine")?;
        store.prune_log(at(10)).map(drop)
    };
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| judges_and_prunes(&store));
    done.unwrap();
    let found = words(&changes);
    let expected = "verdicts, sync verdicts, mark verdicts, FLUSH, SYNC, remove";
    assert!(found.starts_with(expected), "{found}");
}

#[test]
fn the_view_is_on_the_disk_before_a_file_that_it_replaced_is_gone() {
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| {
        for topoheight in 100..110 {
            store.commit(block(topoheight))?;
            store.advance_view(at(topoheight))?;
        }
        Ok::<_, StoreError>(())
    });
    done.unwrap();
    let found = words(&changes);
    assert!(found.contains("VIEW, FLUSH, SYNC, remove"), "{found}");
    assert_eq!(found.matches("remove").count(), found.matches("SYNC, remove").count(), "{found}");
}

#[test]
fn the_base_is_with_the_operating_system_before_the_blocks_that_brought_it_are_gone() {
    let rolls_back = |store: &Store| {
        store.commit(BlockCommit { base: base(), ..block(100) })?;
        store.put_ledger(at(100), b"fine")?;
        store.rollback(Some(at(98)))
    };
    let (_directory, store) = prepared();
    let (done, changes) = watch(|| rolls_back(&store));
    done.unwrap();
    let found = words(&changes);
    let file = "create, write, sync, rename, sync names";
    assert!(found.starts_with(&format!("write, verdicts, {file}, VIEW, FLUSH, ")), "{found}");
    assert!(found.contains("write, sync, remove, sync names"), "{found}");
}

#[test]
fn a_store_with_an_identity_has_its_whole_base() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    let (done, changes) = watch(|| {
        store.seed(&base())?;
        store.set_identity(b"a chain")
    });
    done.unwrap();
    let file = "create, write, sync, rename, sync names";
    assert_eq!(words(&changes), format!("{file}, VIEW, FLUSH, META, FLUSH"));
}

#[test]
fn after_any_failure_nothing_is_written_and_what_was_there_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, changes) = watch(|| {
        let store = open(directory.path()).unwrap();
        work(&store).unwrap();
        store
    });
    let verdict_at = changes.iter().position(is_verdict).unwrap();
    // Before the verdict there is one commit like the other.
    for number in (0..12).chain(verdict_at..=changes.len()) {
        let directory = tempfile::tempdir().unwrap();
        let (committed, has_failed) = watch_failing(number, || {
            let Ok(store) = open(directory.path()) else { return 0 };
            if work(&store).is_err() {
                check_refused(&store);
            }
            store.tip().map_or(0, |tip| tip.block.topoheight.as_u64() + 1)
        });
        let store = open(directory.path()).unwrap();
        let found = store.tip().map_or(0, |tip| tip.block.topoheight.as_u64() + 1);
        if !has_failed {
            assert_eq!((found, committed), (76, 76));
            return;
        }
        // A rollback that failed has dropped some of its blocks.
        assert!(found == committed || committed == 76 && found <= 80, "{number}: {found}");
        for topoheight in store.view_tip().map_or(0, TopoHeight::as_u64)..found {
            let read = store.snapshot_at(at(topoheight)).unwrap().read(&OF_ALICE);
            assert_eq!(read, Ok(Some(StateValue::Balance(Amount::new(topoheight)))));
        }
        if found == 0 {
            // Another beginning than the one that failed.
            store.commit(block(7_000)).unwrap();
            drop(store);
            assert_eq!(open(directory.path()).unwrap().tip().unwrap().block, block(7_000).block);
        }
    }
}

fn work(store: &Store) -> Result<(), StoreError> {
    store.seed(&base())?;
    store.set_identity(b"a chain")?;
    for topoheight in 0..80 {
        store.commit(block(topoheight))?;
    }
    store.put_ledger(at(79), b"fine")?;
    store.advance_view(at(70))?;
    store.prune_log(at(7))?;
    store.flush()?;
    store.rollback(Some(at(75)))
}

fn check_refused(store: &Store) {
    let tip = store.tip();
    let (view, next) =
        (store.view_tip(), tip.map_or(0, |tip| tip.block.topoheight.next().as_u64()));
    let refused = [
        store.commit(block(next)).map(drop),
        store.put_ledger(at(1), b"fine"),
        store.put_ledgers(&[(at(1), b"fine".to_vec())]),
        store.advance_view(TopoHeight::MAX).map(drop),
        store.prune_log(TopoHeight::MAX).map(drop),
        store.rollback(view),
        store.flush(),
    ];
    for (index, refused) in refused.into_iter().enumerate() {
        // Without a view deep enough there is nothing to prune.
        let has_nothing_to_do = index == 4 && refused.is_ok() && view < Some(at(63));
        let is_refused = matches!(refused, Err(StoreError::Broken));
        assert!(is_refused || has_nothing_to_do, "{index}: {refused:?}");
    }
    // Nor did any of them change what is in memory.
    assert_eq!(store.tip(), tip);
    let below = tip.and_then(|tip| tip.block.topoheight.checked_sub(1));
    if let Some(below) = below.filter(|below| Some(*below) >= view) {
        assert!(store.snapshot_at(below).is_ok());
    }
}
