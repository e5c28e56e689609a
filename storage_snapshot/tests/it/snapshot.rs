//! Snapshots, pins, rollback and folding, case by case.

use storage_snapshot::{
    Amount, AssetId, BlockCommit, MultisigConfig, ReadError, Snapshot, StateDelta, StateKey,
    StateRead, StateValue, Store, StoreError, TxHash, Version,
};

use crate::support::{ALICE, BOB, at, balance, block, native, nonce, open, pays};

#[track_caller]
fn check(snapshot: &Snapshot, key: StateKey, expected: Result<Option<StateValue>, ReadError>) {
    assert_eq!(snapshot.read(&key), expected, "{key} at {:?}", snapshot.topoheight());
}

fn store_with(blocks: u64) -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for topoheight in 0..blocks {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    (directory, store)
}

#[test]
fn a_snapshot_does_not_see_later_blocks() {
    let (_directory, store) = store_with(1);
    let before = store.snapshot_at(at(0)).unwrap();
    store.commit(pays(1, 100)).unwrap();
    check(&before, native(ALICE), Ok(Some(balance(0))));
    check(&store.snapshot_at(at(1)).unwrap(), native(ALICE), Ok(Some(balance(100))));
    check(&store.base_snapshot().unwrap(), native(ALICE), Ok(None));
}

#[test]
fn none_unknown_and_never_written_are_three_answers() {
    let (_directory, store) = store_with(1);
    let mut delta = StateDelta::new();
    delta.set_multisig(ALICE, None);
    let mut commit = block(1, 0, delta);
    commit.unknown = vec![native(ALICE)];
    store.commit(commit).unwrap();
    let snapshot = store.snapshot_at(at(1)).unwrap();
    check(&snapshot, native(ALICE), Err(ReadError::Unknown(native(ALICE))));
    check(&snapshot, StateKey::Multisig(ALICE), Ok(None));
    check(&snapshot, StateKey::Multisig(BOB), Ok(None));
    assert_eq!(snapshot.version(&native(ALICE)), Ok(Some((Some(at(1)), Version::Unknown))));
    assert_eq!(
        snapshot.version(&StateKey::Multisig(ALICE)),
        Ok(Some((Some(at(1)), Version::Known(None))))
    );
    assert_eq!(snapshot.version(&StateKey::Multisig(BOB)), Ok(None));
}

#[test]
fn an_unknown_key_is_known_again_once_it_is_written() {
    let (_directory, store) = store_with(1);
    let mut commit = block(1, 0, StateDelta::new());
    commit.unknown = vec![native(ALICE)];
    store.commit(commit).unwrap();
    store.advance_view(at(1)).unwrap();
    check(
        &store.snapshot_at(at(1)).unwrap(),
        native(ALICE),
        Err(ReadError::Unknown(native(ALICE))),
    );
    store.commit(pays(2, 7)).unwrap();
    check(&store.snapshot_at(at(2)).unwrap(), native(ALICE), Ok(Some(balance(7))));
}

#[test]
fn a_correction_is_written_over_the_delta() {
    let (_directory, store) = store_with(1);
    let mut commit = pays(1, 5);
    commit.correction.insert(native(ALICE), Some(balance(6)));
    let tip = store.commit(commit).unwrap();
    check(&store.snapshot_at(at(1)).unwrap(), native(ALICE), Ok(Some(balance(6))));

    let (_other_directory, other) = store_with(1);
    assert_eq!(other.commit(pays(1, 6)).unwrap().digest, tip.digest);
}

#[test]
fn the_base_is_read_through_but_is_not_in_the_digest() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut base = StateDelta::new();
    base.insert(native(ALICE), Some(balance(9)));
    base.insert(StateKey::Nonce(BOB), Some(nonce(3)));
    store.seed(&base).unwrap();
    let tip = store.commit(pays(500, 1)).unwrap();
    let snapshot = store.snapshot_at(at(500)).unwrap();
    assert_eq!(
        snapshot.version(&StateKey::Nonce(BOB)),
        Ok(Some((None, Version::Known(Some(nonce(3))))))
    );
    check(&snapshot, native(ALICE), Ok(Some(balance(1))));
    check(&store.base_snapshot().unwrap(), native(ALICE), Ok(Some(balance(9))));

    let without_base = tempfile::tempdir().unwrap();
    assert_eq!(open(without_base.path()).commit(pays(500, 1)).unwrap().digest, tip.digest);
}

#[test]
fn the_base_is_fixed_by_the_first_block_and_by_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let reader = store.base_snapshot().unwrap();
    assert!(matches!(store.seed(&StateDelta::new()), Err(StoreError::Pinned)));
    drop(reader);
    store.seed(&StateDelta::new()).unwrap();
    store.commit(pays(0, 1)).unwrap();
    assert!(matches!(store.seed(&StateDelta::new()), Err(StoreError::HasBlocks)));
    store.rollback(None).unwrap();
    store.seed(&StateDelta::new()).unwrap();
}

#[test]
fn a_seed_of_many_accounts_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let account = |number: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        storage_snapshot::Address::new(bytes)
    };
    let mut base = StateDelta::new();
    for number in 0..1_300 {
        base.insert(native(account(number)), Some(balance(number.into())));
        base.insert(StateKey::Nonce(account(number)), Some(nonce(number.into())));
    }
    store.seed(&base).unwrap();
    let snapshot = store.base_snapshot().unwrap();
    for number in 0..1_300 {
        check(&snapshot, native(account(number)), Ok(Some(balance(number.into()))));
        check(&snapshot, StateKey::Nonce(account(number)), Ok(Some(nonce(number.into()))));
    }
}

#[test]
fn only_the_next_block_can_be_committed() {
    let (_directory, store) = store_with(3);
    assert!(matches!(
        store.commit(pays(4, 0)),
        Err(StoreError::NotNext { expected, found }) if expected == at(3) && found == at(4)
    ));
    let before = store.tip();
    let known = store.block(at(1)).unwrap().unwrap().tip();
    assert_eq!(store.commit(pays(1, 1)).unwrap(), known);
    assert_eq!(store.tip(), before);
    let other = block(1, 9, StateDelta::new());
    assert!(matches!(
        store.commit(other.clone()),
        Err(StoreError::OtherBlock { committed, offered })
            if committed == pays(1, 1).block && offered == other.block.hash
    ));
    assert_eq!(store.tip().unwrap().block, pays(2, 2).block);
}

#[test]
fn a_snapshot_needs_a_committed_block_that_is_still_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert!(matches!(store.snapshot_at(at(0)), Err(StoreError::AboveTip { tip: None, .. })));
    for topoheight in 10..14 {
        store.commit(pays(topoheight, topoheight)).unwrap();
    }
    assert!(matches!(store.snapshot_at(at(14)), Err(StoreError::AboveTip { .. })));
    assert!(matches!(
        store.snapshot_at(at(9)),
        Err(StoreError::BeforeFirst { first, .. }) if first == at(10)
    ));
    assert_eq!(store.advance_view(at(12)).unwrap(), Some(at(12)));
    assert!(matches!(
        store.snapshot_at(at(11)),
        Err(StoreError::BelowView { oldest, .. }) if oldest == at(12)
    ));
    assert!(matches!(store.base_snapshot(), Err(StoreError::BelowView { topoheight: None, .. })));
    check(&store.snapshot_at(at(12)).unwrap(), native(ALICE), Ok(Some(balance(12))));
}

#[test]
fn there_is_nothing_to_fold_below_the_first_block() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    assert_eq!(store.advance_view(at(5)).unwrap(), None);
    store.commit(pays(10, 1)).unwrap();
    assert_eq!(store.advance_view(at(9)).unwrap(), None);
    check(&store.base_snapshot().unwrap(), native(ALICE), Ok(None));
    store.rollback(None).unwrap();
}

#[test]
fn the_view_stops_at_the_lowest_pin_and_at_the_tip() {
    let (_directory, store) = store_with(6);
    let base = store.base_snapshot().unwrap();
    assert_eq!(store.advance_view(at(5)).unwrap(), None);
    let low = store.snapshot_at(at(2)).unwrap();
    let high = store.snapshot_at(at(4)).unwrap();
    drop(base);
    assert_eq!(store.advance_view(at(5)).unwrap(), Some(at(2)));
    check(&low, native(ALICE), Ok(Some(balance(2))));
    drop(low);
    assert_eq!(store.advance_view(at(5)).unwrap(), Some(at(4)));
    drop(high);
    assert_eq!(store.advance_view(at(3)).unwrap(), Some(at(4)));
    assert_eq!(store.advance_view(at(100)).unwrap(), Some(at(5)));
}

#[test]
fn a_block_is_pinned_until_the_last_snapshot_of_it_is_dropped() {
    let (_directory, store) = store_with(10);
    let [one, other] = [(); 2].map(|()| store.snapshot_at(at(4)).unwrap());
    drop(one);
    assert_eq!(store.advance_view(at(9)).unwrap(), Some(at(4)));
    check(&other, native(ALICE), Ok(Some(balance(4))));
    drop(other);
    assert_eq!(store.advance_view(at(9)).unwrap(), Some(at(9)));
}

#[test]
fn a_rollback_goes_down_to_the_view_and_no_further() {
    let (_directory, store) = store_with(6);
    store.advance_view(at(2)).unwrap();
    assert!(matches!(
        store.rollback(Some(at(1))),
        Err(StoreError::BelowView { topoheight: Some(_), oldest }) if oldest == at(2)
    ));
    assert!(matches!(store.rollback(None), Err(StoreError::BelowView { topoheight: None, .. })));
    assert_eq!(store.tip().unwrap().block.topoheight, at(5));
    store.rollback(Some(at(2))).unwrap();
    assert_eq!(store.tip().unwrap().block, pays(2, 2).block);
    check(&store.snapshot_at(at(2)).unwrap(), native(ALICE), Ok(Some(balance(2))));
    store.rollback(Some(at(7))).unwrap();
    assert_eq!(store.tip().unwrap().block, pays(2, 2).block);
}

#[test]
fn a_rollback_revokes_the_snapshots_above_it_and_no_others() {
    let (_directory, store) = store_with(4);
    let kept = store.snapshot_at(at(1)).unwrap();
    let revoked = store.snapshot_at(at(3)).unwrap();
    store.rollback(Some(at(1))).unwrap();
    check(&kept, native(ALICE), Ok(Some(balance(1))));
    check(&revoked, native(ALICE), Err(ReadError::Revoked));
    assert_eq!(revoked.version(&native(ALICE)), Err(ReadError::Revoked));
    assert!(revoked.is_revoked() && !kept.is_revoked());

    // A block at the same place does not bring it back, and dropping it does not unpin others.
    store.commit(pays(2, 20)).unwrap();
    store.commit(pays(3, 30)).unwrap();
    check(&revoked, native(ALICE), Err(ReadError::Revoked));
    let again = store.snapshot_at(at(3)).unwrap();
    drop(revoked);
    drop(kept);
    store.commit(pays(4, 40)).unwrap();
    assert_eq!(store.advance_view(at(4)).unwrap(), Some(at(3)));
    check(&again, native(ALICE), Ok(Some(balance(30))));
}

#[test]
fn a_revoked_snapshot_does_not_hold_back_the_view() {
    let (_directory, store) = store_with(4);
    let revoked = store.snapshot_at(at(2)).unwrap();
    store.rollback(Some(at(1))).unwrap();
    for topoheight in 2..6 {
        store.commit(pays(topoheight, 0)).unwrap();
    }
    assert_eq!(store.advance_view(at(5)).unwrap(), Some(at(5)));
    check(&revoked, native(ALICE), Err(ReadError::Revoked));
}

#[test]
fn a_rollback_of_everything_leaves_the_base() {
    let (_directory, store) = store_with(3);
    store.rollback(None).unwrap();
    assert_eq!(store.tip(), None);
    check(&store.base_snapshot().unwrap(), native(ALICE), Ok(None));
    // Any block may be the first again.
    store.commit(pays(70, 1)).unwrap();
    // Below the first block there is nothing to keep.
    store.rollback(Some(at(30))).unwrap();
    assert_eq!(store.tip(), None);
}

#[test]
fn executed_transactions_follow_the_blocks() {
    let (_directory, store) = store_with(1);
    let tx = TxHash::new([5; 32]);
    let mut commit = pays(1, 1);
    commit.executed = vec![tx];
    store.commit(commit).unwrap();
    assert_eq!(store.executed_at(&tx), Some(at(1)));
    store.rollback(Some(at(0))).unwrap();
    assert_eq!(store.executed_at(&tx), None);
}

#[test]
fn prefetching_changes_no_answer() {
    let (_directory, store) = store_with(3);
    store.advance_view(at(1)).unwrap();
    let keys = [native(ALICE), native(BOB), StateKey::Nonce(BOB)];
    let snapshot = store.snapshot_at(at(1)).unwrap();
    snapshot.prefetch(&keys);
    check(&snapshot, keys[0], Ok(Some(balance(1))));
    check(&snapshot, keys[1], Ok(None));
    store.commit(block(3, 0, [(keys[1], Some(balance(8)))].into_iter().collect())).unwrap();
    drop(snapshot);
    store.advance_view(at(3)).unwrap();
    check(&store.snapshot_at(at(3)).unwrap(), keys[1], Ok(Some(balance(8))));
}

#[test]
fn an_account_with_many_assets_is_one_record() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let asset = |number: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        AssetId::new(bytes)
    };
    let mut delta = StateDelta::new();
    for number in 0..700 {
        delta.insert(StateKey::Balance(ALICE, asset(number)), Some(balance(number.into())));
    }
    let config = MultisigConfig { threshold: 2, participants: vec![BOB; 300] };
    delta.set_multisig(ALICE, Some(config.clone()));
    store.commit(block(0, 0, delta)).unwrap();
    store.advance_view(at(0)).unwrap();
    drop(store);

    let store = open(directory.path());
    let snapshot = store.snapshot_at(at(0)).unwrap();
    for number in 0..700 {
        let key = StateKey::Balance(ALICE, asset(number));
        check(&snapshot, key, Ok(Some(balance(number.into()))));
    }
    check(&snapshot, StateKey::Multisig(ALICE), Ok(Some(StateValue::from(config))));
    drop(snapshot);

    // The record gets shorter by more than a part.
    let mut delta = StateDelta::new();
    delta.set_multisig(ALICE, None);
    store.commit(block(1, 0, delta)).unwrap();
    store.advance_view(at(1)).unwrap();
    drop(store);
    let store = open(directory.path());
    let snapshot = store.snapshot_at(at(1)).unwrap();
    check(&snapshot, StateKey::Multisig(ALICE), Ok(None));
    check(&snapshot, StateKey::Balance(ALICE, asset(699)), Ok(Some(balance(699))));
}

#[test]
fn what_is_learned_of_the_base_is_there_for_every_reader_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    store.commit(pays(7, 70)).unwrap();
    let open_before = store.snapshot_at(at(7)).unwrap();
    let mut base = StateDelta::new();
    base.set_balance(BOB, AssetId::NATIVE, Amount::new(5));
    base.insert(StateKey::Nonce(BOB), None);
    store.commit(BlockCommit { base, ..pays(8, 80) }).unwrap();
    let learned = |snapshot: &Snapshot| {
        check(snapshot, native(BOB), Ok(Some(balance(5))));
        let none = Some((None, Version::Known(None)));
        assert_eq!(snapshot.version(&StateKey::Nonce(BOB)), Ok(none));
    };
    learned(&open_before);
    learned(&store.base_snapshot().unwrap());
    drop(open_before);

    store.rollback(Some(at(7))).unwrap();
    drop(store);
    let store = open(directory.path());
    learned(&store.snapshot_at(at(7)).unwrap());
    let digest = store.tip().unwrap().digest;
    store.advance_view(at(7)).unwrap();
    learned(&store.snapshot_at(at(7)).unwrap());
    assert_eq!(store.tip().unwrap().digest, digest);
}

#[test]
fn what_is_learned_never_replaces_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut base = StateDelta::new();
    base.set_balance(ALICE, AssetId::NATIVE, Amount::new(1));
    base.set_balance(BOB, AssetId::NATIVE, Amount::new(2));
    store.commit(BlockCommit { base, ..pays(7, 70) }).unwrap();
    let mut other = StateDelta::new();
    other.set_balance(ALICE, AssetId::NATIVE, Amount::new(9));
    other.set_balance(BOB, AssetId::NATIVE, Amount::new(9));
    let unchanged_by = |topoheight: u64| {
        let block = block(topoheight, 0, StateDelta::new());
        store.commit(BlockCommit { base: other.clone(), ..block }).unwrap();
        let snapshot = store.snapshot_at(at(topoheight)).unwrap();
        check(&snapshot, native(ALICE), Ok(Some(balance(70))));
        check(&snapshot, native(BOB), Ok(Some(balance(2))));
    };
    unchanged_by(8);
    check(&store.base_snapshot().unwrap(), native(ALICE), Ok(Some(balance(1))));
    store.advance_view(at(8)).unwrap();
    unchanged_by(9);
}
