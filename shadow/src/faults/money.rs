//! Faults in what accounts spend and receive.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use comparator::{Failure, Field};
use storage_snapshot::{Address, Amount, AssetId, StateKey, StateValue};

use super::{
    Mutant, Wrong,
    site::{Done, Move, Site, Way, outputs},
};
use crate::chain::TransactionData;

const BALANCE: &[Field] = &[Field::Balance];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "fee-not-debited",
        Some("T1"),
        "a fee is counted and credited to the miner, and never taken from the sender",
        BALANCE,
        fee_not_debited,
    ),
    Mutant::alters(
        "fee-debited-twice",
        None,
        "a fee is taken from the sender twice",
        BALANCE,
        fee_debited_twice,
    ),
    Mutant::alters(
        "sender-not-debited",
        Some("T12"),
        "what a transfer pays out is not taken from the sender",
        BALANCE,
        sender_not_debited,
    ),
    Mutant::alters(
        "sender-debited-twice",
        Some("T13"),
        "what a transfer pays out is taken from the sender twice",
        BALANCE,
        sender_debited_twice,
    ),
    Mutant::alters(
        "credit-overwrites",
        Some("T2"),
        "a credit overwrites what the receiver had before the block",
        BALANCE,
        credit_overwrites,
    ),
    Mutant::alters(
        "unloaded-is-zero",
        Some("T3"),
        "the balance of a sender that was not loaded is taken to be zero, and written",
        BALANCE,
        unloaded_is_zero,
    ),
    Mutant::alters(
        "last-output-lost",
        None,
        "off by one: of several outputs the last is not credited",
        BALANCE,
        last_output_lost,
    ),
    Mutant::alters(
        "first-output-twice",
        None,
        "of several outputs the first is credited twice",
        BALANCE,
        first_output_twice,
    ),
    Mutant::alters(
        "outputs-swapped",
        None,
        "the amounts of the first two outputs of a transaction are credited the other way round",
        BALANCE,
        outputs_swapped,
    ),
    Mutant::alters(
        "wrong-asset",
        None,
        "what is received in another asset is credited in the native one",
        BALANCE,
        wrong_asset,
    ),
    Mutant::alters(
        "wrong-destination",
        None,
        "an output to the miner is credited to the dev key",
        BALANCE,
        wrong_destination,
    ),
    Mutant::alters(
        "credit-to-sender-lost",
        None,
        "an account that also sends in the block is not credited",
        BALANCE,
        credit_to_sender_lost,
    ),
    Mutant::alters(
        "amounts-as-doubles",
        None,
        "amounts pass through a floating-point number and lose units above 2^53",
        BALANCE,
        amounts_as_doubles,
    ),
    Mutant::alters(
        "overdraft-stops-at-zero",
        None,
        "an overdrawn balance stops at zero instead of wrapping around 2^64",
        BALANCE,
        overdraft_stops_at_zero,
    ),
    Mutant::alters(
        "spending-wraps",
        None,
        "what an account spends in a block is summed up modulo 2^64 instead of stopping at 2^64-1",
        BALANCE,
        spending_wraps,
    ),
    Mutant::alters(
        "stale-write",
        None,
        "the sender of the third executed transaction is written as it was before the block",
        BALANCE,
        stale_write,
    ),
    Mutant::alters(
        "writes-swapped",
        None,
        "the native balances of sender and receiver of the third executed transfer are swapped",
        BALANCE,
        writes_swapped,
    ),
];

fn fee_not_debited(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let key = (body.source, AssetId::NATIVE);
        wrong.change(site, key, index, |balance| balance.wrapping_add(body.fee));
    }
    Ok(())
}

fn fee_debited_twice(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let key = (body.source, AssetId::NATIVE);
        wrong.change(site, key, index, |balance| balance.wrapping_sub(body.fee));
    }
    Ok(())
}

fn sender_not_debited(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        for output in outputs(body) {
            let key = (body.source, output.asset);
            wrong.change(site, key, index, |balance| balance.wrapping_add(output.amount));
        }
    }
    Ok(())
}

fn sender_debited_twice(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        for output in outputs(body) {
            let key = (body.source, output.asset);
            wrong.change(site, key, index, |balance| balance.wrapping_sub(output.amount));
        }
    }
    Ok(())
}

fn credit_overwrites(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut overwritten = HashSet::<_, ahash::RandomState>::default();
    for credit in credits(site) {
        if site.is_paid(&credit.account) {
            continue;
        }
        let lost = match overwritten.insert(credit.key()) {
            true => site.before(credit.account, credit.asset),
            false => Amount::ZERO,
        };
        wrong.change(site, credit.key(), credit.index, |balance| balance.wrapping_sub(lost));
    }
    Ok(())
}

fn unloaded_is_zero(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut loaded = HashSet::<_, ahash::RandomState>::default();
    for Done { index, body, .. } in site.executed() {
        if !site.is_paid(&body.source) && loaded.insert(body.source) {
            let key = (body.source, AssetId::NATIVE);
            let lost = site.before(body.source, AssetId::NATIVE);
            wrong.change(site, key, index, |balance| balance.wrapping_sub(lost));
        }
    }
    Ok(())
}

fn last_output_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        if let [_, .., last] = outputs(body) {
            let key = (last.destination, last.asset);
            wrong.change(site, key, index, |balance| balance.wrapping_sub(last.amount));
        }
    }
    Ok(())
}

fn first_output_twice(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        if let [first, _, ..] = outputs(body) {
            let key = (first.destination, first.asset);
            wrong.change(site, key, index, |balance| balance.wrapping_add(first.amount));
        }
    }
    Ok(())
}

fn outputs_swapped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        if let [one, two, ..] = outputs(body) {
            for (to, right, given) in [(one, one.amount, two.amount), (two, two.amount, one.amount)]
            {
                wrong.change(site, (to.destination, to.asset), index, |balance| {
                    balance.wrapping_sub(right).wrapping_add(given)
                });
            }
        }
    }
    Ok(())
}

fn wrong_asset(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    // A credit of nothing comes to the same in any asset, and is no reason to write another one.
    let is_moved = |credit: &Move| credit.asset != AssetId::NATIVE && credit.amount != Amount::ZERO;
    for credit in credits(site).into_iter().filter(is_moved) {
        let native = (credit.account, AssetId::NATIVE);
        wrong.change(site, credit.key(), credit.index, |balance| credit.undone(balance));
        wrong.change(site, native, credit.index, |balance| credit.redone(balance));
    }
    Ok(())
}

fn wrong_destination(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let (miner, dev) = (site.block.miner, site.block.dev);
    for credit in credits(site).into_iter().filter(|credit| credit.account == miner) {
        wrong.change(site, credit.key(), credit.index, |balance| credit.undone(balance));
        let instead = (dev, credit.asset);
        wrong.change(site, instead, credit.index, |balance| credit.redone(balance));
    }
    Ok(())
}

fn credit_to_sender_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    // Whoever sends later in the block has not sent yet: then it is this transaction that shows it.
    let mut senders = BTreeSet::new();
    let mut received = BTreeMap::<Address, Vec<Move>>::new();
    let credits = credits(site);
    let mut credits = credits.iter().peekable();
    for Done { index, body, .. } in site.executed() {
        if senders.insert(body.source) {
            for credit in received.remove(&body.source).unwrap_or_default() {
                wrong.change(site, credit.key(), index, |balance| credit.undone(balance));
            }
        }
        while let Some(credit) = credits.next_if(|credit| credit.index == index) {
            if senders.contains(&credit.account) {
                wrong.change(site, credit.key(), index, |balance| credit.undone(balance));
            } else {
                received.entry(credit.account).or_default().push(*credit);
            }
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the loss is the fault"
)]
fn amounts_as_doubles(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for moved in applied(site) {
        if site.is_paid(&moved.account) {
            continue;
        }
        wrong.blame_balance(moved.account, moved.asset, moved.index);
        let key = StateKey::Balance(moved.account, moved.asset);
        if let Some(Some(StateValue::Balance(right))) = site.right.delta.get(&key) {
            let rounded = Amount::new(right.as_u64() as f64 as u64);
            wrong.change(site, moved.key(), moved.index, |_| rounded);
        }
    }
    Ok(())
}

fn overdraft_stops_at_zero(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (key, (spent, had, indexes)) in spending(site) {
        if spent > had {
            for index in indexes {
                wrong.change(site, key, index, |_| Amount::ZERO);
            }
        }
    }
    Ok(())
}

fn spending_wraps(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (key, (spent, had, indexes)) in spending(site) {
        if spent > u128::from(u64::MAX) {
            let after = had.wrapping_sub(spent) & u128::from(u64::MAX);
            let after = Amount::new(u64::try_from(after).unwrap_or(u64::MAX));
            for index in indexes {
                wrong.change(site, key, index, |_| after);
            }
        }
    }
    Ok(())
}

fn stale_write(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if let Some(Done { index, body, .. }) = site.executed().nth(2) {
        let key = (body.source, AssetId::NATIVE);
        let stale = site.before(body.source, AssetId::NATIVE);
        wrong.change(site, key, index, |_| stale);
        // Who comes to the balance later may make it what it was, and no longer so.
        for later in applied(site).iter().filter(|moved| moved.index > index && moved.key() == key)
        {
            wrong.blame_balance(later.account, later.asset, later.index);
        }
    }
    Ok(())
}

fn writes_swapped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut transfers = site.executed().filter(|done| {
        matches!(done.body.data, TransactionData::Transfers(_)) && !outputs(done.body).is_empty()
    });
    if let Some(Done { index, body, .. }) = transfers.nth(2)
        && let [output, ..] = outputs(body)
    {
        let keys = [(body.source, AssetId::NATIVE), (output.destination, AssetId::NATIVE)];
        let [sender, receiver] = keys.map(|(account, asset)| wrong.balance(site, account, asset));
        wrong.change(site, keys[0], index, |_| receiver);
        wrong.change(site, keys[1], index, |_| sender);
    }
    Ok(())
}

/// What executed transactions credited, in order.
fn credits(site: &Site<'_>) -> Vec<Move> {
    let mut moves = site.moves();
    moves.retain(|moved| moved.executed && moved.is_credit());
    moves
}

fn applied(site: &Site<'_>) -> Vec<Move> {
    let mut moves = site.moves();
    moves.retain(Move::is_applied);
    moves
}

/// For each balance that is debited: the exact sum of what it spends, what it has without that, and
/// who moved it.
type Spending = BTreeMap<(Address, AssetId), (u128, u128, BTreeSet<usize>)>;

fn spending(site: &Site<'_>) -> Spending {
    let mut spending = Spending::new();
    for moved in applied(site) {
        if site.is_paid(&moved.account) {
            continue;
        }
        let before = || u128::from(site.before(moved.account, moved.asset).as_u64());
        let (spent, had, indexes) =
            spending.entry(moved.key()).or_insert_with(|| (0, before(), BTreeSet::new()));
        let sum = if moved.way == Way::Debit { spent } else { had };
        *sum += u128::from(moved.amount.as_u64());
        indexes.insert(moved.index);
    }
    spending
}
