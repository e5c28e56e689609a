//! Numbers that a person can add up: small, round, and such that no two of them make a third.

use std::collections::{BTreeMap, BTreeSet};

use storage_snapshot::{Address, Amount, Nonce, StateKey, StateValue};

use super::{draft::Draft, oracle::Oracle, steps::keep};
use crate::chain::TransactionData;

/// Makes amounts, fees, rewards, balances and nonces rounder, all at once if that works, otherwise one
/// by one.
pub(super) fn round(best: &mut Draft, oracle: &mut Oracle<'_>) {
    let targets = targets(best);
    let mut all = best.clone();
    for (place, target) in &targets {
        place.set(&mut all, *target);
    }
    if digits(&all) < digits(best) {
        keep(best, all, oracle);
    }
    for (place, target) in targets {
        let Some(now) = place.of(best) else { continue };
        let rounder = candidates(now, target);
        for candidate in rounder {
            let mut smaller = best.clone();
            place.set(&mut smaller, candidate);
            if keep(best, smaller, oracle) {
                break;
            }
        }
    }
    nonces(best, oracle);
}

/// How many digits a person has to read.
pub(super) fn digits(draft: &Draft) -> u64 {
    let numbers = targets(draft).into_iter().filter_map(|(place, _)| place.of(draft));
    let nonces = draft.state.values().filter_map(|value| match value {
        StateValue::Nonce(nonce) => Some(nonce.as_u64()),
        _ => None,
    });
    numbers.map(cost).sum::<u64>() + nonces.map(|nonce| u64::from(nonce > 0)).sum::<u64>()
}

/// A number of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Fee(usize),
    /// Of an output, or what is burned.
    Amount(usize, usize),
    MinerReward,
    DevReward,
    Balance(StateKey),
}

impl Place {
    fn of(self, draft: &Draft) -> Option<u64> {
        let body = |index: usize| draft.block.transactions.get(index).map(|listed| &listed.body);
        let amount = match self {
            Self::Fee(index) => body(index)?.fee,
            Self::Amount(index, nth) => match &body(index)?.data {
                TransactionData::Transfers(outputs) => outputs.get(nth)?.amount,
                TransactionData::Burn { amount, .. } => *amount,
                TransactionData::Multisig(_) | TransactionData::Opaque(_) => return None,
            },
            Self::MinerReward => draft.block.reward.miner,
            Self::DevReward => draft.block.reward.dev,
            Self::Balance(key) => match draft.state.get(&key)? {
                StateValue::Balance(amount) => *amount,
                _ => return None,
            },
        };
        Some(amount.as_u64())
    }

    fn set(self, draft: &mut Draft, number: u64) {
        let number = Amount::new(number);
        match self {
            Self::Fee(index) => {
                if let Some(transaction) = draft.block.transactions.get_mut(index) {
                    transaction.body.fee = number;
                }
            }
            Self::Amount(index, nth) => match draft.data_mut(index) {
                Some(TransactionData::Transfers(outputs)) => {
                    if let Some(output) = outputs.get_mut(nth) {
                        output.amount = number;
                    }
                }
                Some(TransactionData::Burn { amount, .. }) => *amount = number,
                _ => {}
            },
            Self::MinerReward => draft.block.reward.miner = number,
            Self::DevReward => draft.block.reward.dev = number,
            Self::Balance(key) => {
                draft.state.insert(key, StateValue::Balance(number));
            }
        }
    }
}

/// What each number is to become. Of those of one kind no two are the same, none is the sum or the
/// difference of two others, and the kinds are told apart by their length.
fn targets(draft: &Draft) -> Vec<(Place, u64)> {
    let mut targets = vec![(Place::MinerReward, 500_000), (Place::DevReward, 50_000)];
    let (mut fees, mut amounts, mut balances) = (rising(1), rising(10), rising(1_000));
    for (index, transaction) in draft.block.transactions.iter().enumerate() {
        targets.extend(fees.next().map(|fee| (Place::Fee(index), fee)));
        let count = match &transaction.body.data {
            TransactionData::Transfers(outputs) => outputs.len(),
            TransactionData::Burn { .. } => 1,
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => 0,
        };
        let places = (0..count).map(|nth| Place::Amount(index, nth));
        // An amount of nothing is a case of its own, and as round as can be.
        let places = places.filter(|place| place.of(draft) != Some(0));
        targets.extend(places.zip(&mut amounts));
    }
    let balances_there = draft.state.iter().filter(
        |(_, value)| matches!(value, StateValue::Balance(amount) if *amount != Amount::ZERO),
    );
    let keys = balances_there.map(|(key, _)| Place::Balance(*key));
    targets.extend(keys.zip(&mut balances));
    targets
}

/// 1, 3, 7, 12, 20, … times a unit: each is the smallest such that all differences are new.
fn rising(unit: u64) -> impl Iterator<Item = u64> {
    let mut taken: Vec<u64> = Vec::new();
    let mut differences = BTreeSet::new();
    std::iter::from_fn(move || {
        let last = taken.last().copied().unwrap_or(0);
        let next = (last + 1..).find(|next| {
            let new: Vec<u64> = taken.iter().map(|earlier| next - earlier).collect();
            new.iter().all(|new| !differences.contains(new) && !taken.contains(new))
                && !differences.contains(next)
        })?;
        differences.extend(taken.iter().map(|earlier| next - earlier));
        taken.push(next);
        next.checked_mul(unit)
    })
    .take(DISTINCT_MAX)
}

/// What a number may become, from the one that is liked best; each is rounder than it is.
fn candidates(now: u64, target: u64) -> Vec<u64> {
    let rounded = (1..=3).map(|digits| leading(now, digits));
    let limits = [u64::MAX, (1 << 53) + 1];
    let liked = [target, target.saturating_mul(1000)];
    let mut candidates: Vec<u64> = liked.into_iter().chain(rounded).chain(limits).collect();
    candidates.retain(|candidate| cost(*candidate) < cost(now));
    candidates.dedup();
    candidates
}

/// A number with all but its first digits made zero.
fn leading(number: u64, digits: u32) -> u64 {
    let length = number.checked_ilog10().map_or(1, |log| log + 1);
    let unit = 10_u64.pow(length.saturating_sub(digits));
    number / unit * unit
}

/// How hard a number is to read: its digits before the zeros at its end count in full.
fn cost(number: u64) -> u64 {
    if number == u64::MAX || number == (1 << 53) + 1 {
        return LIMIT_COST;
    }
    let length = number.checked_ilog10().map_or(0, |log| u64::from(log) + 1);
    let mut significant = number;
    let mut zeros = 0;
    while significant != 0 && significant.is_multiple_of(10) {
        significant /= 10;
        zeros += 1;
    }
    (length - zeros) * 20 + length
}

/// The nonces of an account begin at 0, all at once or account by account, or at 1 where somebody has
/// to have sent before.
fn nonces(best: &mut Draft, oracle: &mut Oracle<'_>) {
    let lowest = lowest_nonces(best);
    let lower = |draft: &Draft, accounts: &BTreeMap<Address, u64>, keep: u64| {
        let mut lowered = draft.clone();
        let by = |account: &Address| accounts.get(account).map_or(0, |by| by.saturating_sub(keep));
        for transaction in &mut lowered.block.transactions {
            let nonce = transaction.body.nonce.as_u64();
            transaction.body.nonce = Nonce::new(nonce.saturating_sub(by(&transaction.body.source)));
        }
        for (key, value) in &mut lowered.state {
            if let (StateKey::Nonce(account), StateValue::Nonce(nonce)) = (key, value) {
                *nonce = Nonce::new(nonce.as_u64().saturating_sub(by(account)));
            }
        }
        lowered
    };
    let high: BTreeMap<Address, u64> = lowest.into_iter().filter(|(_, nonce)| *nonce > 0).collect();
    let all = lower(best, &high, 0);
    if high.is_empty() || keep(best, all, oracle) {
        return;
    }
    for (account, nonce) in high {
        let alone = BTreeMap::from([(account, nonce)]);
        for left in [0, 1].into_iter().filter(|left| *left < nonce) {
            let lowered = lower(best, &alone, left);
            if keep(best, lowered, oracle) {
                break;
            }
        }
    }
}

/// Of each account that has one the lowest nonce that it has or sends.
fn lowest_nonces(draft: &Draft) -> BTreeMap<Address, u64> {
    let had = draft.state.iter().filter_map(|(key, value)| match (key, value) {
        (StateKey::Nonce(account), StateValue::Nonce(nonce)) => Some((*account, nonce.as_u64())),
        _ => None,
    });
    let mut lowest: BTreeMap<Address, u64> = had.collect();
    for transaction in &draft.block.transactions {
        if let Some(lowest) = lowest.get_mut(&transaction.body.source) {
            *lowest = (*lowest).min(transaction.body.nonce.as_u64());
        }
    }
    lowest
}

/// So many numbers of one kind are made distinct; nobody adds up more.
const DISTINCT_MAX: usize = 32;

/// The largest number of all, and the first that a floating-point number cannot hold, are known.
const LIMIT_COST: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_the_sum_or_the_difference_of_two_others() {
        let numbers: Vec<u64> = rising(1).collect();
        assert_eq!(numbers[..4], [1, 3, 7, 12]);
        for (at, one) in numbers.iter().enumerate() {
            for other in &numbers[..at] {
                assert!(!numbers.contains(&(one - other)), "{one} - {other}");
            }
        }
    }

    #[test]
    fn a_candidate_is_rounder_than_what_it_replaces() {
        #[track_caller]
        fn check(now: u64, target: u64, expected: &[u64]) {
            assert_eq!(candidates(now, target), expected);
        }
        check(10, 10, &[]);
        let limits = [u64::MAX, (1 << 53) + 1];
        check(
            987_654_321,
            30,
            &[&[30, 30_000, 900_000_000, 980_000_000, 987_000_000][..], &limits].concat(),
        );
        check(
            u64::MAX - 5,
            1_000,
            &[
                1_000,
                1_000_000,
                10_000_000_000_000_000_000,
                18_000_000_000_000_000_000,
                18_400_000_000_000_000_000,
                u64::MAX,
                (1 << 53) + 1,
            ],
        );
        check(0, 10, &[]);
    }
}
