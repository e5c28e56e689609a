//! Where two ledgers part, for every place at which they may.

use shadow::{
    digest::{Comparison, compare_ledgers},
    ledger::{FORMAT_VERSION, LedgerEntry},
};
use storage_snapshot::{BlockHash, Store, StoreOptions, TopoHeight};
use tempfile::TempDir;

#[test]
fn the_first_differing_topoheight_is_found_wherever_it_is() {
    let (_one_directory, one) = ledger(3, 40, None);
    for parts_at in 3..40 {
        let (_directory, other) = ledger(3, 40, Some(parts_at));
        let found = compare_ledgers(&one, &other).unwrap();
        assert!(
            matches!(&found, Comparison::Part { at, .. } if at.as_u64() == parts_at),
            "{found:?} instead of {parts_at}"
        );
    }
}

#[test]
fn ledgers_are_compared_where_both_have_entries() {
    #[track_caller]
    fn check(one: (u64, u64), other: (u64, u64), through: Option<u64>) {
        let (_one_directory, one) = ledger(one.0, one.1, None);
        let (_other_directory, other) = ledger(other.0, other.1, None);
        let found = match compare_ledgers(&one, &other).unwrap() {
            Comparison::Same { through, .. } => Some(through.as_u64()),
            Comparison::NothingInCommon | Comparison::OtherBeginning { .. } => None,
            part @ Comparison::Part { .. } => panic!("{part}"),
        };
        assert_eq!(found, through);
    }
    check((0, 10), (0, 10), Some(9));
    check((0, 10), (0, 8), Some(7));
    check((9, 10), (9, 20), Some(9));
    // What was written before the second began is in the sums of the first alone.
    check((0, 10), (5, 8), None);
    check((0, 10), (10, 20), None);
    check((0, 0), (0, 10), None);
}

/// A ledger from one topoheight to before another, whose states differ from some topoheight on.
fn ledger(from: u64, to: u64, parts_at: Option<u64>) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    for number in from..to {
        let parted = parts_at.is_some_and(|parts_at| number >= parts_at);
        let entry = LedgerEntry {
            format_version: FORMAT_VERSION,
            topoheight: TopoHeight::new(number),
            block_hash: BlockHash::new([7; 32]),
            state_digest: format!("{number} {parted}"),
            stale: false,
            stale_depth: 0,
            blind: false,
            rules: String::new(),
            control_build: String::new(),
            candidates: Vec::new(),
            canary: None,
            again: None,
            transactions: Default::default(),
            kinds: Default::default(),
            shapes: Default::default(),
            node: Default::default(),
            earlier_mismatches: 0,
            stable: false,
            earlier_doubts: Default::default(),
            earlier_problems: Vec::new(),
            re_orders: Default::default(),
            conservation_unchecked: 0,
            quirks: Default::default(),
            loads: Default::default(),
            seconds: Default::default(),
        };
        let bytes = serde_json::to_vec(&entry).unwrap();
        store.put_ledger(TopoHeight::new(number), &bytes).unwrap();
    }
    (directory, store)
}
