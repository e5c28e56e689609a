//! Readers, a committer that sometimes rolls back, and a folder, all at once.
//!
//! Nothing is asserted about who runs when; every answer must be right whenever it is given.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use storage_snapshot::{
    Address, Amount, AssetId, ReadError, Snapshot, StateDelta, StateKey, StateRead, StateValue,
    Store, StoreOptions, TopoHeight,
};

use crate::support::{at, block};

const BLOCKS: u64 = 400;
const HOT: u8 = 5;
const COLD: u8 = 60;
const BRANCH: u64 = 1_000_000;

fn hot(number: u8) -> StateKey {
    StateKey::Balance(Address::new([number; 32]), AssetId::NATIVE)
}

/// In the accounts of the hot keys too, so that a record holds versions of several ages.
fn cold(number: u8) -> StateKey {
    StateKey::Balance(Address::new([number % (2 * HOT); 32]), AssetId::new([number + 1; 32]))
}

/// Every block writes the hot keys; a cold key is written every so many blocks.
fn writes(topoheight: u64, branch: u64) -> StateDelta {
    let value = StateValue::Balance(Amount::new(branch * BRANCH + topoheight));
    let cold = (0..COLD).filter(|n| topoheight.is_multiple_of(period(*n))).map(cold);
    (0..HOT).map(hot).chain(cold).map(|key| (key, Some(value.clone()))).collect()
}

fn period(number: u8) -> u64 {
    u64::from(number) + 1
}

fn read(snapshot: &Snapshot, key: StateKey) -> Option<u64> {
    match snapshot.read(&key) {
        Ok(Some(StateValue::Balance(amount))) => Some(amount.as_u64()),
        Err(ReadError::Revoked) => {
            assert!(snapshot.is_revoked());
            None
        }
        other => panic!("{key} at {:?}: {other:?}", snapshot.topoheight()),
    }
}

/// Reads everything twice; `None` if the snapshot was revoked meanwhile.
fn read_all(snapshot: &Snapshot) -> Option<()> {
    let topoheight = snapshot.topoheight().expect("it is the state after a block").as_u64();
    for _ in 0..2 {
        let first = read(snapshot, hot(0))?;
        assert_eq!(first % BRANCH, topoheight);
        for number in 1..HOT {
            assert_eq!(read(snapshot, hot(number))?, first);
        }
        for number in 0..COLD {
            let expected = topoheight - topoheight % period(number);
            assert_eq!(read(snapshot, cold(number))? % BRANCH, expected, "{number} {topoheight}");
        }
    }
    Some(())
}

fn last(store: &Store) -> TopoHeight {
    store.tip().expect("the first block is committed").block.topoheight
}

#[test]
fn every_answer_is_right_while_blocks_come_and_go_and_are_folded() {
    let directory = tempfile::tempdir().unwrap();
    // A cache for a few records only, so that they are loaded and evicted all the time.
    let options = StoreOptions { cache_bytes: 16 << 10, ..Default::default() };
    let store = Store::open(directory.path(), options).unwrap();
    store.commit(block(0, 0, writes(0, 0))).unwrap();
    let done = AtomicBool::new(false);
    let rounds = AtomicU64::new(0);
    let folds = AtomicU64::new(0);

    thread::scope(|scope| {
        scope.spawn(|| {
            let mut branch = 0;
            let mut topoheight = 1;
            // Until everybody has had a turn.
            while topoheight <= BLOCKS
                || rounds.load(Ordering::Relaxed) < 3
                || folds.load(Ordering::Relaxed) < 1
            {
                let mut commit = block(topoheight, branch as u8, writes(topoheight, branch));
                commit.base = brought(topoheight);
                store.commit(commit).unwrap();
                if topoheight.is_multiple_of(17) && branch < topoheight / 17 {
                    // The view may have come too close; then there is no re-order this time.
                    branch += 1;
                    if store.rollback(Some(at(topoheight - 3))).is_ok() {
                        topoheight -= 3;
                    }
                }
                topoheight += 1;
            }
            done.store(true, Ordering::Release);
        });
        let fold = || {
            while !done.load(Ordering::Acquire) {
                if let Some(goal) = last(&store).checked_sub(6) {
                    store.advance_view(goal).unwrap();
                    folds.fetch_add(1, Ordering::Relaxed);
                }
                store.prune_log(last(&store)).unwrap();
            }
        };
        scope.spawn(fold);
        scope.spawn(fold);
        for reader in 0..3_u64 {
            let (store, rounds, done) = (&store, &rounds, &done);
            scope.spawn(move || {
                let mut held = Vec::new();
                loop {
                    let finished = done.load(Ordering::Acquire);
                    let back = (rounds.load(Ordering::Relaxed) + reader) % 5;
                    let wanted = last(store).checked_sub(back).unwrap_or(at(0));
                    // It may have been folded or rolled back since.
                    if let Ok(snapshot) = store.snapshot_at(wanted) {
                        if back == 0 {
                            snapshot.prefetch(&(0..COLD).map(cold).collect::<Vec<_>>());
                        }
                        read_all(&snapshot);
                        held.push(snapshot);
                        rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    if held.len() > 3 {
                        let oldest = held.remove(0);
                        read_all(&oldest);
                    }
                    if finished {
                        break;
                    }
                }
            });
        }
    });

    let last = last(&store);
    for _ in 0..2 {
        assert!(read_all(&store.snapshot_at(last).unwrap()).is_some());
        assert_eq!(store.advance_view(last).unwrap(), Some(last));
    }
    drop(store);
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    assert_eq!(store.view_tip(), Some(last));
    let snapshot = store.snapshot_at(last).unwrap();
    assert!(read_all(&snapshot).is_some());
    for topoheight in 0..=BLOCKS {
        for (key, value) in brought(topoheight).iter() {
            assert_eq!(snapshot.read(key), Ok(value.cloned()), "brought by {topoheight}");
        }
    }
}

/// What a block brings to the base, in an account that is written all the time.
fn brought(topoheight: u64) -> StateDelta {
    let asset = [&[0xff; 24][..], &topoheight.to_be_bytes()].concat().try_into().unwrap();
    let account = Address::new([topoheight as u8 % HOT; 32]);
    let key = StateKey::Balance(account, AssetId::new(asset));
    let value = StateValue::Balance(Amount::new(topoheight));
    if topoheight == 0 { StateDelta::new() } else { [(key, Some(value))].into_iter().collect() }
}

#[test]
fn writers_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    store.commit(block(0, 0, writes(0, 0))).unwrap();
    thread::scope(|scope| {
        for branch in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for turn in 0..150 {
                    let next = last(store).next().as_u64();
                    // Somebody else may have been there before.
                    let _told = store.commit(block(next, branch, writes(next, branch.into())));
                    if turn % 7 == 0 {
                        store.rollback(next.checked_sub(3).map(at).or(Some(at(0)))).unwrap();
                    }
                }
            });
        }
    });
    let (tip, below) = (store.tip().unwrap(), last(&store));
    read_all(&store.snapshot_at(below).unwrap()).unwrap();
    let found: Vec<_> =
        (0..=below.as_u64()).map(|t| store.block(at(t)).unwrap().unwrap()).collect();
    drop(store);
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    assert_eq!(store.tip(), Some(tip));
    for block in found {
        assert_eq!(store.block(block.commit.block.topoheight).unwrap(), Some(block));
    }
}

#[test]
fn an_entry_of_many_parts_is_read_whole_while_it_is_rewritten() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    let entry = |number: u8| vec![number; 40_000];
    store.put_ledger(at(0), &entry(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=250 {
                store.put_ledger(at(0), &entry(number)).unwrap();
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let found = store.ledger(at(0)).unwrap().unwrap();
            assert_eq!(found, entry(found[0]));
        }
    });
}
