//! What is said to be compared is compared.

use std::{collections::BTreeSet, mem::discriminant};

use comparator::{Field, Verdict};
use shadow::{
    compared::{NotCompared, Scope, compared, key_kinds},
    execute::PreState,
};
use storage_snapshot::{Address, Amount, Nonce, StateDelta, StateKey, StateValue};

use crate::support::{A, Altered, B, C, World};

#[test]
fn a_write_that_is_lost_is_found_under_every_kind_of_key() {
    for kind in key_kinds() {
        check(&kind, "lost", |delta, key| {
            delta.remove(key);
        });
    }
}

#[test]
fn a_value_that_is_wrong_is_found_under_every_kind_of_key() {
    for kind in key_kinds() {
        check(&kind, "wrong", |delta, key| {
            delta.insert(*key, other_value(key));
        });
    }
}

#[test]
fn a_write_that_nobody_asked_for_is_found_under_every_kind_of_key() {
    for kind in key_kinds() {
        let made_up = |delta: &mut StateDelta, _: &StateKey| {
            let key = with_account(&kind, STRANGER);
            let value = match key {
                StateKey::Registered(_) => Some(StateValue::Registered),
                _ => other_value(&key),
            };
            assert_eq!(delta.insert(key, value), None);
        };
        check(&kind, "made up", made_up);
    }
}

#[test]
fn the_fields_of_all_kinds_of_keys_are_those_that_are_said_to_be_of_the_state() {
    let mut of_keys: BTreeSet<Field> = key_kinds().map(|key| Field::of(&key)).collect();
    // What a key can differ in beside its value.
    of_keys.insert(Field::Version);
    let said: BTreeSet<Field> =
        compared().iter().filter(|one| one.of == Scope::State).map(|one| one.field).collect();
    assert_eq!(of_keys, said);
}

#[test]
fn the_kinds_of_keys_are_distinct_and_in_order() {
    let kinds: Vec<_> = key_kinds().collect();
    assert!(kinds.is_sorted());
    let distinct: BTreeSet<_> = kinds.iter().map(Field::of).collect();
    assert_eq!(distinct.len(), kinds.len());
}

#[test]
fn nothing_is_said_to_be_both() {
    let words: BTreeSet<_> = compared().iter().map(|one| one.field.as_str()).collect();
    let not: BTreeSet<_> = NotCompared::ALL.iter().map(|what| what.as_str()).collect();
    assert_eq!(not.len(), NotCompared::ALL.len());
    assert!(words.is_disjoint(&not));
}

/// A fault under a key of this kind is a mismatch of the kind's field, or of the version.
#[track_caller]
fn check(kind: &StateKey, fault: &str, alter: impl Fn(&mut StateDelta, &StateKey) + Send + Sync) {
    let world = World::new().account(A, 0, 1000).account(B, 0, 1000).pay(A, 0, C, 10, 1).multisig(
        B,
        0,
        1,
        &[A],
        1,
    );
    let written = world.serial().delta;
    let key = written.keys().find(|key| discriminant(*key) == discriminant(kind)).copied();
    let key = key.unwrap_or_else(|| panic!("the block writes no key like {kind}"));
    let faulty = Altered(|_: &_, _: &PreState, execution: &mut comparator::Execution| {
        alter(&mut execution.delta, &key);
    });
    let Verdict::Mismatch(mismatch) = world.verdict(&faulty, 2) else {
        panic!("{key}: {fault}, and nobody noticed");
    };
    let fields: Vec<_> = mismatch.counts.keys().copied().collect();
    assert!([vec![Field::of(kind)], vec![Field::Version]].contains(&fields), "{key}: {fields:?}");
    assert_eq!(mismatch.total(), 1, "{key}: {fault}");
}

/// What no execution of the block writes under a key; `None` deletes.
fn other_value(key: &StateKey) -> Option<StateValue> {
    match key {
        StateKey::Nonce(_) => Some(StateValue::Nonce(Nonce::new(77))),
        StateKey::Balance(..) => Some(StateValue::Balance(Amount::new(777))),
        StateKey::Multisig(_) | StateKey::Registered(_) => None,
    }
}

fn with_account(key: &StateKey, account: Address) -> StateKey {
    match key {
        StateKey::Nonce(_) => StateKey::Nonce(account),
        StateKey::Balance(_, asset) => StateKey::Balance(account, *asset),
        StateKey::Multisig(_) => StateKey::Multisig(account),
        StateKey::Registered(_) => StateKey::Registered(account),
    }
}

/// Not in the block.
const STRANGER: Address = Address::new([0x99; 32]);
