//! What is taken away, in which order.
//!
//! What makes the most difference comes first: whole transactions. Each later kind of step may let
//! another one of an earlier kind succeed, so all of them are tried again until none does.

use comparator::Schedule;
use storage_snapshot::{StateKey, StateValue};

use super::{
    ddmin::{ddmin, few},
    draft::Draft,
    numbers,
    oracle::Oracle,
};
use crate::{chain::TransactionData, execute::ExecutableTransaction};

/// Shrinks a draft that shows the difference, until no single part can be taken away, and says whether
/// it came to that: there is an end to the time, and to the rounds.
pub(super) fn shrink(mut best: Draft, oracle: &mut Oracle<'_>) -> (Draft, bool) {
    for _ in 0..ROUNDS_MAX {
        let before = size(&best);
        transactions(&mut best, oracle);
        transactions_elsewhere(&mut best, oracle);
        attachments(&mut best, oracle);
        outputs(&mut best, oracle);
        participants(&mut best, oracle);
        state(&mut best, oracle);
        numbers::round(&mut best, oracle);
        schedule(&mut best, oracle);
        if oracle.is_over() || size(&best) == before {
            let is_complete = !oracle.is_over();
            return (best, is_complete);
        }
    }
    (best, false)
}

/// Keeps a draft if it shows the difference.
pub(super) fn keep(best: &mut Draft, mut smaller: Draft, oracle: &mut Oracle<'_>) -> bool {
    let shows = oracle.shows(&mut smaller);
    if shows {
        oracle.remember(std::mem::replace(best, smaller));
    }
    shows
}

fn transactions(best: &mut Draft, oracle: &mut Oracle<'_>) {
    let all = best.block.transactions.clone();
    let count = all.len();
    if count == 0 {
        return;
    }
    let whole = best.clone();
    let left = ddmin(all, |listed| {
        let schedule = best.schedule;
        listed.len() < count && keep_transactions(best, listed, schedule, oracle)
    });
    debug_assert!(oracle.is_over() || left.len() == best.block.transactions.len());
    // One after another, a few transactions of many are tried as often as there are ways to choose
    // them; so only where there are few, or a run costs little.
    let tried =
        if oracle.is_certain() && !oracle.is_hang() { SEARCHED_MAX } else { SEARCHED_FEW_MAX };
    let left = best.block.transactions.clone();
    if (2..=tried).contains(&left.len()) {
        few(&left, FEW, |listed| {
            let schedule = best.schedule;
            keep_transactions(best, listed, schedule, oracle)
        });
    }
    transactions_with_culprit(best, &whole, oracle);
}

/// The transaction with which the difference begins, and one or two others of all that there were:
/// those that are left are only those of which none can go by itself.
fn transactions_with_culprit(best: &mut Draft, whole: &Draft, oracle: &mut Oracle<'_>) {
    let all = &whole.block.transactions;
    if all.len() > SEARCHED_WITH_ONE_MAX {
        return;
    }
    let others_max = if all.len() > SEARCHED_WITH_TWO_MAX { 1 } else { FEW - 1 };
    if best.block.transactions.len() <= 2 || oracle.is_hang() || !oracle.is_certain() {
        return;
    }
    let Some(culprit) = oracle.culprit(whole) else { return };
    let others: Vec<usize> = (0..all.len()).filter(|index| *index != culprit).collect();
    few(&others, others_max, |chosen| {
        if chosen.len() + 1 >= best.block.transactions.len() || oracle.is_half_over() {
            return false;
        }
        let chosen = all.iter().enumerate().filter(|(at, _)| *at == culprit || chosen.contains(at));
        let listed: Vec<_> = chosen.map(|(_, listed)| listed.clone()).collect();
        let schedule = best.schedule;
        keep_transactions(best, &listed, schedule, oracle)
    });
}

/// Fewer transactions may do under another schedule, where it is their places that decide who runs when.
fn transactions_elsewhere(best: &mut Draft, oracle: &mut Oracle<'_>) {
    for schedule in plainer_schedules(best.schedule) {
        let left = best.block.transactions.clone();
        let is_few = (2..=SEARCHED_FEW_MAX).contains(&left.len());
        if !is_few || oracle.is_hang() || !oracle.is_certain() {
            return;
        }
        few(&left, FEW, |listed| keep_transactions(best, listed, schedule, oracle));
    }
}

/// Keeps only these transactions if they show the difference. Those of a sender that are left may need
/// the nonces of those that are not.
fn keep_transactions(
    best: &mut Draft,
    listed: &[ExecutableTransaction],
    schedule: Schedule,
    oracle: &mut Oracle<'_>,
) -> bool {
    let smaller = Draft { schedule, ..best.with_transactions(listed) };
    let closed_up = smaller.closed_up();
    keep(best, smaller, oracle) || closed_up.is_some_and(|closed_up| keep(best, closed_up, oracle))
}

/// What has no effect on state.
fn attachments(best: &mut Draft, oracle: &mut Oracle<'_>) {
    let mut plain = best.clone();
    let mut is_plain = true;
    for transaction in &mut plain.block.transactions {
        is_plain &= transaction.body.multisig.take().is_none();
        if let TransactionData::Transfers(outputs) = &mut transaction.body.data {
            for output in outputs {
                is_plain &= output.extra_data.take().is_none();
            }
        }
    }
    if !is_plain {
        keep(best, plain, oracle);
    }
}

fn outputs(best: &mut Draft, oracle: &mut Oracle<'_>) {
    for index in 0..best.block.transactions.len() {
        let Some(all) = best.several_outputs(index).map(<[_]>::to_vec) else { continue };
        let count = all.len();
        ddmin(all, |listed| {
            if listed.is_empty() || listed.len() == count {
                return false;
            }
            let mut smaller = best.clone();
            if let Some(data) = smaller.data_mut(index) {
                *data = TransactionData::Transfers(listed.to_vec());
            }
            keep(best, smaller, oracle)
        });
    }
}

/// Of configurations that are set, and of those that are there.
fn participants(best: &mut Draft, oracle: &mut Oracle<'_>) {
    for index in 0..best.block.transactions.len() {
        let Some(TransactionData::Multisig(config)) =
            best.block.transactions.get(index).map(|transaction| transaction.body.data.clone())
        else {
            continue;
        };
        shrink_participants(&config.participants, |listed| {
            let mut smaller = best.clone();
            if let Some(TransactionData::Multisig(config)) = smaller.data_mut(index) {
                config.participants = listed.to_vec();
                config.threshold = config.threshold.min(listed.len() as u8);
            }
            keep(best, smaller, oracle)
        });
    }
    let configured: Vec<StateKey> =
        best.state.keys().filter(|key| matches!(key, StateKey::Multisig(_))).copied().collect();
    for key in configured {
        let Some(StateValue::Multisig(config)) = best.state.get(&key).cloned() else { continue };
        shrink_participants(&config.participants, |listed| {
            let mut smaller = best.clone();
            if let Some(StateValue::Multisig(config)) = smaller.state.get_mut(&key) {
                config.participants = listed.to_vec();
                config.threshold = config.threshold.min(listed.len() as u8);
            }
            keep(best, smaller, oracle)
        });
    }
}

/// A configuration of nobody would be a deletion.
fn shrink_participants<T: Clone>(all: &[T], mut holds: impl FnMut(&[T]) -> bool) {
    let count = all.len();
    ddmin(all.to_vec(), |listed| !listed.is_empty() && listed.len() < count && holds(listed));
}

fn state(best: &mut Draft, oracle: &mut Oracle<'_>) {
    let entries = |draft: &Draft| -> Vec<(StateKey, StateValue)> {
        draft.state.iter().map(|(key, value)| (*key, value.clone())).collect()
    };
    // Most of what is there belongs to accounts that are no longer named.
    let needed: Vec<_> = entries(best).into_iter().filter(|(key, _)| is_named(best, key)).collect();
    if needed.len() < best.state.len() {
        let smaller = best.with_state(&needed);
        keep(best, smaller, oracle);
    }
    if !best.unknown.is_empty() {
        let known = Draft { unknown: Vec::new(), ..best.clone() };
        keep(best, known, oracle);
    }
    let all = entries(best);
    let count = all.len();
    ddmin(all, |listed| {
        let smaller = best.with_state(listed);
        listed.len() < count && keep(best, smaller, oracle)
    });
}

fn is_named(draft: &Draft, key: &StateKey) -> bool {
    let account = key.account();
    let is_paid = [&draft.block.miner, &draft.block.dev].contains(&account);
    is_paid
        || draft.block.transactions.iter().any(|transaction| {
            transaction.body.source == *account
                || matches!(&transaction.body.data, TransactionData::Transfers(outputs)
                    if outputs.iter().any(|output| output.destination == *account))
        })
}

/// The plainest schedule under which it shows.
fn schedule(best: &mut Draft, oracle: &mut Oracle<'_>) {
    for schedule in plainer_schedules(best.schedule) {
        let plainer = Draft { schedule, ..best.clone() };
        if keep(best, plainer, oracle) {
            return;
        }
    }
}

/// The schedules before this one, from the plainest.
fn plainer_schedules(now: Schedule) -> impl Iterator<Item = Schedule> {
    let workers = [2, now.workers].into_iter().filter(move |workers| *workers <= now.workers);
    let schedules =
        workers.flat_map(move |workers| [0, 1, 2, now.seed].map(|seed| Schedule { workers, seed }));
    schedules.take_while(move |schedule| *schedule != now)
}

/// Gets smaller with each step that is kept.
fn size(draft: &Draft) -> (usize, usize, usize, u64) {
    let outputs = draft.block.transactions.iter().map(|transaction| match &transaction.body.data {
        TransactionData::Transfers(outputs) => outputs.len(),
        TransactionData::Multisig(config) => config.participants.len(),
        TransactionData::Burn { .. } | TransactionData::Opaque(_) => 0,
    });
    (draft.block.transactions.len(), outputs.sum(), draft.state.len(), numbers::digits(draft))
}

/// Each round tries everything again.
const ROUNDS_MAX: usize = 16;

/// So few transactions are looked for in every combination.
const FEW: usize = 3;

/// Of at most so many.
const SEARCHED_MAX: usize = 24;

/// Two others of at most so many are looked for that show the difference with the one it begins with.
const SEARCHED_WITH_TWO_MAX: usize = 64;

/// One other of at most so many.
const SEARCHED_WITH_ONE_MAX: usize = 512;

/// Of at most so many where each of them takes long.
const SEARCHED_FEW_MAX: usize = 5;
