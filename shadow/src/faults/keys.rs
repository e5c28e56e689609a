//! Faults in which keys a block writes.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{Failure, Field};
use storage_snapshot::{Address, Amount, AssetId, StateKey, StateValue};

use super::{
    Mutant, Wrong,
    site::{Done, Move, Site, Way, outputs},
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "net-zero-dropped",
        Some("T18"),
        "a balance that is the same after the block as before it is not written",
        &[Field::Version],
        net_zero_dropped,
    ),
    Mutant::alters(
        "untouched-nonce-written",
        Some("T18"),
        "the nonce of an account that only receives is written with the value that it had",
        &[Field::Version],
        untouched_nonce_written,
    ),
    Mutant::alters(
        "registered-again",
        Some("T18"),
        "an account that is known already is registered when it receives",
        &[Field::Version],
        registered_again,
    ),
    Mutant::alters(
        "registration-dropped",
        Some("T18"),
        "an account that receives for the first time is not registered",
        &[Field::Registration],
        registration_dropped,
    ),
    Mutant::alters(
        "first-nonce-dropped",
        None,
        "an account that receives for the first time is not given its first nonce",
        &[Field::Nonce],
        first_nonce_dropped,
    ),
    Mutant::alters(
        "nothing-received-ignored",
        None,
        "an account that receives an amount of zero is left alone",
        &[Field::Nonce, Field::Balance, Field::Version],
        nothing_received_ignored,
    ),
    Mutant::alters(
        "write-lost",
        None,
        "what the third executed transfer leaves its first receiver with is not written",
        &[Field::Balance, Field::Version],
        write_lost,
    ),
    Mutant::alters(
        "other-assets-not-merged",
        None,
        "only native balances reach the result",
        &[Field::Balance, Field::Version],
        other_assets_not_merged,
    ),
    Mutant::alters(
        "zero-deletes",
        None,
        "a balance of zero is written as a deletion",
        &[Field::Balance],
        zero_deletes,
    ),
    Mutant::alters(
        "stranger-written",
        None,
        "a balance is written for an account that the block does not name",
        &[Field::Balance],
        stranger_written,
    ),
];

fn net_zero_dropped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for moved in site.moves().into_iter().filter(Move::is_applied) {
        let key = StateKey::Balance(moved.account, moved.asset);
        let was_there = site.value(&key);
        wrong.blame_key(key, moved.index);
        if site.right.delta.get(&key) == Some(was_there.as_ref()) {
            wrong.drop_write(key, moved.index);
        }
    }
    Ok(())
}

fn untouched_nonce_written(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        for output in outputs(body) {
            let key = StateKey::Nonce(output.destination);
            let value = site.value(&key);
            if value.is_some() && site.right.delta.get(&key).is_none() {
                wrong.write(key, value, index);
            }
        }
    }
    Ok(())
}

fn registered_again(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        for output in outputs(body) {
            let key = StateKey::Registered(output.destination);
            wrong.write(key, Some(StateValue::Registered), index);
        }
    }
    Ok(())
}

fn registration_dropped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, index) in receipts(site) {
        wrong.drop_write(StateKey::Registered(account), index);
    }
    Ok(())
}

fn first_nonce_dropped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, index) in receipts(site) {
        if site.nonce_before(account).is_none() {
            wrong.drop_write(StateKey::Nonce(account), index);
        }
    }
    Ok(())
}

fn nothing_received_ignored(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut moves = BTreeMap::<Address, Vec<Move>>::new();
    for moved in site.moves().into_iter().filter(Move::is_applied) {
        moves.entry(moved.account).or_default().push(moved);
    }
    moves.retain(|account, moves| {
        !site.is_paid(account)
            && moves.iter().all(|moved| moved.way == Way::Credit && moved.amount == Amount::ZERO)
    });
    for moved in moves.into_values().flatten() {
        wrong.drop_write(StateKey::Balance(moved.account, moved.asset), moved.index);
        wrong.drop_write(StateKey::Nonce(moved.account), moved.index);
        wrong.drop_write(StateKey::Registered(moved.account), moved.index);
    }
    Ok(())
}

fn write_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut transfers = site.executed().filter(|done| !outputs(done.body).is_empty());
    if let Some(Done { index, body, .. }) = transfers.nth(2)
        && let [output, ..] = outputs(body)
    {
        wrong.drop_write(StateKey::Balance(output.destination, output.asset), index);
    }
    Ok(())
}

fn other_assets_not_merged(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for moved in site.moves().into_iter().filter(Move::is_applied) {
        if moved.asset != AssetId::NATIVE {
            wrong.drop_write(StateKey::Balance(moved.account, moved.asset), moved.index);
        }
    }
    Ok(())
}

fn zero_deletes(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let zero = StateValue::Balance(Amount::ZERO);
    for moved in site.moves().into_iter().filter(Move::is_applied) {
        let key = StateKey::Balance(moved.account, moved.asset);
        wrong.blame_key(key, moved.index);
        if site.right.delta.get(&key) == Some(Some(&zero)) {
            wrong.write(key, None, moved.index);
        }
    }
    Ok(())
}

fn stranger_written(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if let Some(Done { index, .. }) = site.executed().next() {
        let unit = StateValue::Balance(Amount::new(1));
        wrong.write(StateKey::Balance(STRANGER, AssetId::NATIVE), Some(unit), index);
    }
    Ok(())
}

/// Who received something from which transaction, but for those that the block pays by itself.
fn receipts(site: &Site<'_>) -> BTreeSet<(Address, usize)> {
    let credits = site.moves().into_iter().filter(Move::is_credit);
    credits
        .filter(|credit| !site.is_paid(&credit.account))
        .map(|credit| (credit.account, credit.index))
        .collect()
}

/// Nobody's: addresses of a chain are hashes.
const STRANGER: Address = Address::new([0x5f; 32]);
