//! Another reward than the block's, explained by what was done to its shares.

use std::collections::BTreeMap;

use comparator::Field;
use storage_snapshot::{Address, Amount, AssetId, StateKey, StateValue};

use super::{
    cause::{Cause, Finding, Hypotheses, STRIKING},
    facts::{Facts, Way},
};
use crate::rules::Reward;

/// Tries other rewards: each predicts both balances and both totals, and has to predict all of them
/// rightly.
pub(super) fn explain(facts: &Facts<'_>, index: usize, fitting: &mut Hypotheses) {
    let reward = facts.block().reward;
    let Reward { miner, dev } = reward;
    let swapped = Reward { miner: dev, dev: miner };
    try_reward(facts, index, swapped, fitting, || {
        let words = format!(
            "the miner was paid {dev} and the dev key {miner}: each got the other's share of the reward"
        );
        (Finding::SharesSwapped, words)
    });
    let unit = Amount::new(1);
    let rounded = [
        ("up", Reward { miner: miner.wrapping_sub(unit), dev: dev.wrapping_add(unit) }),
        ("down", Reward { miner: miner.wrapping_add(unit), dev: dev.wrapping_sub(unit) }),
    ];
    for (way, paid) in rounded {
        try_reward(facts, index, paid, fitting, || {
            let words = format!(
                "the share of the dev key is {} instead of {dev}, and the miner's makes up for it: \
                 rounded {way}",
                paid.dev
            );
            (Finding::ShareRounded, words)
        });
    }
    for factor in 2..=MULTIPLES_MAX {
        let times = |share: Amount| Amount::new(share.as_u64().wrapping_mul(factor));
        let paid = Reward { miner: times(miner), dev: times(dev) };
        try_reward(facts, index, paid, fitting, || {
            let kind = if facts.block().side_block { ", of a side block," } else { "" };
            let words = format!("{factor} times the reward of the block{kind} was paid");
            (Finding::RewardMultiplied, words)
        });
    }
}

fn try_reward(
    facts: &Facts<'_>,
    index: usize,
    paid: Reward,
    fitting: &mut Hypotheses,
    words: impl FnOnce() -> (Finding, String),
) {
    let (block, control) = (facts.block(), facts.question.control);
    let Some(observed) = facts.observed() else { return };
    if paid == block.reward {
        return;
    }
    let mut more = BTreeMap::<Address, Amount>::new();
    let shares =
        [(block.miner, block.reward.miner, paid.miner), (block.dev, block.reward.dev, paid.dev)];
    for (account, due, paid) in shares {
        let sum = more.entry(account).or_default();
        *sum = sum.wrapping_add(paid).wrapping_sub(due);
    }
    let mut explains = Vec::new();
    for (account, more) in more {
        let key = StateKey::Balance(account, AssetId::NATIVE);
        let Some(Some(StateValue::Balance(due))) = control.delta.get(&key) else { return };
        // An overdraft that another reward would have covered ends elsewhere.
        let is_plain = facts.moves.iter().all(|moved| {
            moved.account != account || moved.asset != AssetId::NATIVE || moved.way != Way::Overflow
        });
        let expected = StateValue::Balance(due.wrapping_add(more));
        if !is_plain || observed.delta.get(&key) != Some(Some(&expected)) {
            return;
        }
        explains.extend(facts.index_of_key(key));
    }
    let totals = &observed.totals;
    if (totals.miner_reward, totals.dev_reward) != (paid.miner, paid.dev) {
        return;
    }
    explains.extend(facts.index_of_total(Field::MinerReward));
    explains.extend(facts.index_of_total(Field::DevReward));
    if explains.contains(&index) {
        let (finding, sentence) = words();
        fitting.add(STRIKING, explains, Cause::new(finding, sentence).of(paid.miner));
    }
}

/// The smallest share of a side block is a fourteenth of the largest.
const MULTIPLES_MAX: u64 = 20;
