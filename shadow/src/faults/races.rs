//! Faults that come from doing things at the same time, and show under some schedules only.
//!
//! A race that is left to the machine shows when it likes to. These are played out: which worker
//! executes what, and who writes last, follows from the schedule and the transactions.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use comparator::{Failure, Field};
use storage_snapshot::{Address, Amount, AssetId};

use super::{
    Mutant, Place, Wrong,
    site::{Done, Move, Site},
};
use crate::{chain::TransactionData, execute::parallel::conflict_free_batches};

const BALANCE: &[Field] = &[Field::Balance];
const OUTCOME: &[Field] = &[Field::Outcome];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "lost-update",
        Some("T20"),
        "workers read a balance, alter it and write it back without regard for each other: the last \
         one wins",
        BALANCE,
        lost_update,
    ),
    Mutant::alters(
        "planner-forgets-destinations",
        None,
        "batches are planned by sender alone, so two workers credit one account and one credit is lost",
        BALANCE,
        planner_forgets_destinations,
    ),
    Mutant::alters(
        "planner-forgets-miner",
        None,
        "a worker that touches the miner's balance writes back its own copy, without the fees of the \
         other workers",
        BALANCE,
        planner_forgets_miner,
    ),
    Mutant::alters(
        "loser-overwrites",
        Some("T20"),
        "the later of two transactions of one sender overwrites what the earlier one spent",
        BALANCE,
        loser_overwrites,
    ),
    Mutant::alters(
        "batch-in-reverse",
        None,
        "with an odd seed a block is executed from its end to its beginning",
        &[Field::Outcome, Field::Multisig],
        batch_in_reverse,
    ),
    Mutant::alters(
        "remainder-forgotten",
        None,
        "a batch is divided among workers by whole numbers, and what remains is never executed",
        OUTCOME,
        remainder_forgotten,
    ),
    Mutant::alters(
        "third-worker-lost",
        None,
        "the credits of all workers but the first two are lost",
        BALANCE,
        third_worker_lost,
    ),
    Mutant::alters(
        "seed-decides",
        None,
        "whether a credit is applied depends on the seed, but for seed 0",
        BALANCE,
        seed_decides,
    ),
    Mutant::alters(
        "rare-race",
        None,
        "one in 64 times that two workers meet in a balance, a credit is lost",
        BALANCE,
        rare_race,
    ),
    Mutant::alters(
        "burn-counter-raced",
        None,
        "the counter of burned units is no atomic: of several workers the last one wins",
        &[Field::Burned],
        burn_counter_raced,
    ),
    Mutant::alters(
        "fee-counter-raced",
        None,
        "the fee total is no atomic: of several workers the last one wins, and the miner gets that",
        BALANCE,
        fee_counter_raced,
    ),
];

fn lost_update(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    // The seed decides who is last.
    let rank = |lane: usize| (lane as u64).wrapping_add(site.schedule.seed) % site.workers() as u64;
    for (_, moves) in by_key(site.moves().into_iter().filter(Move::is_applied)) {
        let last = moves.iter().map(|moved| rank(site.lane(moved.index))).max();
        for moved in moves {
            let is_lost = Some(rank(site.lane(moved.index))) != last;
            wrong.change(site, moved.key(), moved.index, |balance| match is_lost {
                true => moved.undone(balance),
                false => balance,
            });
        }
    }
    Ok(())
}

fn planner_forgets_destinations(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    // The how-manieth transaction of its sender it is decides about the batch of a transaction.
    let mut sent = HashMap::<Address, usize, ahash::RandomState>::default();
    let mut sizes = Vec::<usize>::new();
    let mut places = BTreeMap::new();
    for Done { index, body, .. } in site.executed() {
        let batch = sent.entry(body.source).or_default();
        if sizes.len() <= *batch {
            sizes.push(0);
        }
        if let Some(size) = sizes.get_mut(*batch) {
            places.insert(index, (*batch, *size));
            *size += 1;
        }
        *batch += 1;
    }
    let credits = site.moves().into_iter().filter(|moved| moved.executed && moved.is_credit());
    for (_, credits) in by_key(credits) {
        let mut last = BTreeMap::new();
        for credit in &credits {
            if let Some((batch, place)) = places.get(&credit.index) {
                last.insert(*batch, site.lane(*place));
            }
        }
        for credit in credits {
            let is_lost = places
                .get(&credit.index)
                .is_some_and(|(batch, place)| last.get(batch) != Some(&site.lane(*place)));
            wrong.change(site, credit.key(), credit.index, |balance| match is_lost {
                true => credit.undone(balance),
                false => balance,
            });
        }
    }
    Ok(())
}

fn planner_forgets_miner(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let miner = (site.block.miner, AssetId::NATIVE);
    let touching = site.moves().into_iter().filter(|moved| moved.executed && moved.key() == miner);
    let Some(last) = touching.map(|moved| moved.index).max() else { return Ok(()) };
    for Done { index, body, .. } in site.executed() {
        let is_lost = site.lane(index) != site.lane(last);
        wrong.change(site, miner, index, |balance| match is_lost {
            true => balance.wrapping_sub(body.fee),
            false => balance,
        });
    }
    Ok(())
}

fn loser_overwrites(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let debits = site.moves().into_iter().filter(|moved| moved.executed && !moved.is_credit());
    for (_, debits) in by_key(debits) {
        let last = debits.iter().map(|debit| debit.index).max();
        for debit in debits {
            let is_lost = Some(debit.index) != last;
            wrong.change(site, debit.key(), debit.index, |balance| match is_lost {
                true => debit.undone(balance),
                false => balance,
            });
        }
    }
    Ok(())
}

fn batch_in_reverse(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if site.schedule.seed.is_multiple_of(2) {
        return Ok(());
    }
    for Done { index, body, .. } in site.all() {
        wrong.blame_all(site, index, body);
    }
    wrong.execution = site.execute(|block| block.transactions.reverse())?;
    wrong.execution.outcomes.reverse();
    Ok(())
}

fn remainder_forgotten(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let workers = site.workers();
    let mut forgotten = BTreeMap::new();
    for batch in conflict_free_batches(&site.block.transactions) {
        let executed = batch.len() / workers * workers;
        for index in batch.into_iter().skip(executed) {
            forgotten.insert(index, None);
        }
    }
    for Done { index, body, .. } in site.all() {
        wrong.blame(Place::Outcome(body.hash), index);
    }
    if !forgotten.is_empty() {
        wrong.execution = site.execute_without(&forgotten)?;
    }
    Ok(())
}

fn third_worker_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    lose(site, wrong, |credit| site.lane(credit.index) >= 2);
    Ok(())
}

fn seed_decides(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if site.schedule.seed != 0 {
        let unlucky = unlucky(site, 16);
        lose(site, wrong, |credit| unlucky.contains(&credit.index));
    }
    Ok(())
}

fn rare_race(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let unlucky = unlucky(site, 64);
    let credits = site.moves().into_iter().filter(|moved| moved.executed && moved.is_credit());
    for (_, credits) in by_key(credits) {
        for pair in credits.windows(2) {
            if let [one, two] = pair
                && site.lane(one.index) != site.lane(two.index)
                && unlucky.contains(&two.index)
            {
                wrong.change(site, one.key(), two.index, |balance| one.undone(balance));
            }
        }
    }
    Ok(())
}

fn burn_counter_raced(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let burns = site.executed().filter_map(|Done { index, body, .. }| match body.data {
        TransactionData::Burn { asset: AssetId::NATIVE, amount } => Some((index, amount)),
        _ => None,
    });
    let burns: Vec<_> = burns.collect();
    // Whoever is last writes what it counted, be it nothing. The seed decides who that is.
    let last = usize::try_from(site.schedule.seed % site.workers() as u64).unwrap_or_default();
    for (index, amount) in burns {
        if site.lane(index) != last {
            let burned = &mut wrong.execution.totals.burned;
            *burned = burned.wrapping_sub(amount);
        }
        wrong.blame(Place::Total(Field::Burned), index);
    }
    Ok(())
}

fn fee_counter_raced(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let miner = (site.block.miner, AssetId::NATIVE);
    let last = site.executed().map(|done| site.lane(done.index)).last();
    for Done { index, body, .. } in site.executed() {
        let lost = if Some(site.lane(index)) == last { Amount::ZERO } else { body.fee };
        wrong.change(site, miner, index, |balance| balance.wrapping_sub(lost));
        let fees = &mut wrong.execution.totals.fees;
        *fees = fees.wrapping_sub(lost);
    }
    Ok(())
}

/// Some of the credits of executed transactions are lost.
fn lose(site: &Site<'_>, wrong: &mut Wrong, is_lost: impl Fn(&Move) -> bool) {
    let credits = site.moves().into_iter().filter(|moved| moved.executed && moved.is_credit());
    for credit in credits.filter(is_lost) {
        wrong.change(site, credit.key(), credit.index, |balance| credit.undone(balance));
    }
}

/// The transactions that the dice are against.
fn unlucky(site: &Site<'_>, chances: u64) -> BTreeSet<usize> {
    site.executed().filter(|done| site.dice(done.body, chances)).map(|done| done.index).collect()
}

fn by_key(moves: impl Iterator<Item = Move>) -> BTreeMap<(Address, AssetId), Vec<Move>> {
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for moved in moves {
        by_key.entry(moved.key()).or_default().push(moved);
    }
    by_key
}
