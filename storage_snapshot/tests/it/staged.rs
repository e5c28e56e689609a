//! The two halves of a commit: what is there between them, and what is not.

use std::thread;

use storage_snapshot::{Store, StoreError};

use crate::support::{ALICE, at, balance, native, open, pays};

/// What Alice has just after a block.
#[track_caller]
fn check(store: &Store, topoheight: u64, amount: u64) {
    use storage_snapshot::StateRead;
    let snapshot = store.snapshot_at(at(topoheight)).unwrap();
    assert_eq!(snapshot.read(&native(ALICE)), Ok(Some(balance(amount))));
}

#[test]
fn a_staged_block_is_read_and_is_neither_the_tip_nor_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(pays(0, 10)).unwrap();
    let staged = store.stage(pays(1, 11)).unwrap();
    check(&store, 1, 11);
    assert_eq!(store.head(), Some(pays(1, 11).block));
    assert_eq!(store.tip().unwrap().block, pays(0, 10).block);
    assert_eq!(store.block(at(1)).unwrap(), None);
    let tip = store.write(staged).unwrap();
    assert_eq!(store.tip(), Some(tip));
    assert_eq!(store.block(at(1)).unwrap().unwrap().commit, pays(1, 11));
}

#[test]
fn what_was_only_staged_was_never_committed_for_the_next_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tip = store.commit(pays(0, 10)).unwrap();
    let staged = store.stage(pays(1, 11)).unwrap();
    store.flush().unwrap();
    drop((store, staged));
    let store = open(directory.path());
    assert_eq!((store.tip(), store.head()), (Some(tip), Some(tip.block)));
    check(&store, 0, 10);
}

#[test]
fn both_halves_together_are_a_commit() {
    let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (committing, staging) = (open(one.path()), open(other.path()));
    for topoheight in 0..20 {
        let tip = committing.commit(pays(topoheight, topoheight % 7)).unwrap();
        let staged = staging.stage(pays(topoheight, topoheight % 7)).unwrap();
        assert_eq!(staging.write(staged).unwrap(), tip);
    }
}

#[test]
fn blocks_are_written_in_the_order_in_which_they_were_staged() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let first = store.stage(pays(0, 10)).unwrap();
    let second = store.stage(pays(1, 11)).unwrap();
    let early = store.write(second);
    assert!(matches!(early, Err(StoreError::NotNext { .. })), "{early:?}");
    store.write(first).unwrap();
    assert_eq!(store.tip().unwrap().block.topoheight, at(0));
}

#[test]
fn a_block_that_was_staged_is_not_staged_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let _staged = store.stage(pays(0, 10)).unwrap();
    let again = store.stage(pays(0, 10));
    assert!(matches!(again, Err(StoreError::NotNext { .. })), "{again:?}");
}

#[test]
fn a_block_that_was_committed_is_staged_and_written_without_doing_anything() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tip = store.commit(pays(0, 10)).unwrap();
    store.commit(pays(1, 11)).unwrap();
    let staged = store.stage(pays(0, 10)).unwrap();
    assert_eq!(store.write(staged).unwrap(), tip);
    assert_eq!(store.tip().unwrap().block.topoheight, at(1));
}

#[test]
fn a_rollback_takes_off_what_is_staged_and_leaves_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let tip = store.commit(pays(0, 10)).unwrap();
    let kept = store.stage(pays(1, 11)).unwrap();
    let gone = store.stage(pays(2, 12)).unwrap();
    let snapshot = store.snapshot_at(at(2)).unwrap();
    store.rollback(Some(at(1))).unwrap();
    assert!(snapshot.is_revoked());
    assert_eq!((store.tip(), store.head()), (Some(tip), Some(pays(1, 11).block)));
    store.write(kept).unwrap();
    let written = store.write(gone);
    assert!(matches!(written, Err(StoreError::NotNext { .. })), "{written:?}");
    check(&store, 1, 11);
}

#[test]
fn nothing_that_is_only_staged_is_folded() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(pays(0, 10)).unwrap();
    store.commit(pays(1, 11)).unwrap();
    let staged = store.stage(pays(2, 12)).unwrap();
    assert_eq!(store.advance_view(at(2)).unwrap(), Some(at(1)));
    let tip = store.write(staged).unwrap();
    assert_eq!(store.advance_view(at(2)).unwrap(), Some(at(2)));
    drop(store);
    assert_eq!(open(directory.path()).tip(), Some(tip));
}

/// One thread stages, another one writes behind it and folds what is written.
#[test]
fn writing_and_folding_behind_changes_nothing() {
    const BLOCKS: u64 = 2_000;
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (sender, staged) = std::sync::mpsc::sync_channel(8);
    let behind = store.clone();
    let writer = thread::spawn(move || {
        for (number, staged) in staged.into_iter().enumerate() {
            let tip = behind.write(staged).unwrap();
            if number % 50 == 49 {
                behind.advance_view(tip.block.topoheight).unwrap();
            }
        }
    });
    for topoheight in 0..BLOCKS {
        sender.send(store.stage(pays(topoheight, topoheight)).unwrap()).unwrap();
        check(&store, topoheight, topoheight);
    }
    drop(sender);
    writer.join().unwrap();
    let expected = {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        for topoheight in 0..BLOCKS {
            store.commit(pays(topoheight, topoheight)).unwrap();
        }
        store.tip()
    };
    assert_eq!(store.tip(), expected);
}
