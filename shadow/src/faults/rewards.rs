//! Faults in what a block pays and burns as a whole.

use comparator::{Failure, Field};
use storage_snapshot::{Amount, AssetId};

use super::{
    Mutant, Place, Wrong,
    site::{Done, Site},
};
use crate::{chain::TransactionData, rules::Reward};

const BALANCE: &[Field] = &[Field::Balance];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "reward-not-visible",
        Some("T16"),
        "a miner that sends in its own block works on a balance from before the reward, and loses it",
        BALANCE,
        reward_not_visible,
    ),
    Mutant::alters(
        "reward-overwrites",
        Some("T17"),
        "the reward overwrites what the miner had",
        BALANCE,
        reward_overwrites,
    ),
    Mutant::alters(
        "reward-twice",
        Some("T21"),
        "the miner is credited with the reward twice",
        BALANCE,
        reward_twice,
    ),
    Mutant::alters(
        "dev-reward-lost",
        None,
        "the dev share is not credited to anybody",
        BALANCE,
        dev_reward_lost,
    ),
    Mutant::alters(
        "reward-shares-swapped",
        None,
        "the miner gets the dev share and the dev key the rest",
        // Where the dev key mines, only the totals tell.
        &[Field::Balance, Field::MinerReward],
        reward_shares_swapped,
    ),
    Mutant::alters(
        "dev-share-rounded-up",
        None,
        "off by one: the dev share is rounded up instead of down",
        &[Field::Balance, Field::MinerReward],
        dev_share_rounded_up,
    ),
    Mutant::alters(
        "side-block-paid-in-full",
        None,
        "a side block is paid as if its share were all of a reward three times as high",
        BALANCE,
        side_block_paid_in_full,
    ),
    Mutant::alters(
        "miner-reward-misreported",
        None,
        "the total of the miner's reward includes the dev share",
        &[Field::MinerReward],
        miner_reward_misreported,
    ),
    Mutant::alters(
        "dev-reward-misreported",
        None,
        "the total of the dev share is left at zero",
        &[Field::DevReward],
        dev_reward_misreported,
    ),
    Mutant::alters(
        "fees-to-dev",
        None,
        "the fees are credited to the dev key instead of the miner",
        BALANCE,
        fees_to_dev,
    ),
    Mutant::alters(
        "fees-credited-early",
        None,
        "the fees are credited before the transactions run, those of failed and skipped ones included",
        BALANCE,
        fees_credited_early,
    ),
    Mutant::alters(
        "last-fee-not-credited",
        None,
        "the fees are credited while the last executed transaction still runs, so its fee is left out",
        BALANCE,
        last_fee_not_credited,
    ),
    Mutant::alters(
        "fees-of-failed-counted",
        None,
        "the fee total includes those of failed transactions",
        &[Field::Fees],
        fees_of_failed_counted,
    ),
    Mutant::alters(
        "burn-does-nothing",
        Some("T7"),
        "a burn is executed as a transaction of a kind that does nothing",
        BALANCE,
        burn_does_nothing,
    ),
    Mutant::alters(
        "burn-of-other-asset-counted",
        None,
        "a burn of another asset is counted as one of native units",
        &[Field::Burned],
        burn_of_other_asset_counted,
    ),
    Mutant::alters(
        "burn-counter-clamped",
        Some("T21"),
        "the counter of burned units stops at 255",
        &[Field::Burned],
        burn_counter_clamped,
    ),
    Mutant::alters(
        "burn-paid-to-miner",
        None,
        "what is burned is credited to the miner",
        BALANCE,
        burn_paid_to_miner,
    ),
];

fn reward_not_visible(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let miner = site.block.miner;
    let mut lost = site.block.reward.miner;
    for Done { index, .. } in site.executed().filter(|done| done.body.source == miner) {
        wrong.change(site, (miner, AssetId::NATIVE), index, |balance| balance.wrapping_sub(lost));
        lost = Amount::ZERO;
    }
    Ok(())
}

fn reward_overwrites(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let miner = site.block.miner;
    let lost = site.before(miner, AssetId::NATIVE);
    wrong.change_paid(site, miner, |balance| balance.wrapping_sub(lost));
    Ok(())
}

fn reward_twice(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let reward = site.block.reward.miner;
    wrong.change_paid(site, site.block.miner, |balance| balance.wrapping_add(reward));
    Ok(())
}

fn dev_reward_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let reward = site.block.reward.dev;
    wrong.change_paid(site, site.block.dev, |balance| balance.wrapping_sub(reward));
    Ok(())
}

fn reward_shares_swapped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let Reward { miner, dev } = site.block.reward;
    pay(site, wrong, Reward { miner: dev, dev: miner })
}

fn dev_share_rounded_up(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let Reward { miner, dev } = site.block.reward;
    let total = miner.wrapping_add(dev).as_u64();
    // A share without a remainder is the same however it is rounded.
    let is_exact = (1..=100).any(|percent| {
        dev.as_u64() == total * percent / 100 && (total * percent).is_multiple_of(100)
    });
    let unit = Amount::new(u64::from(!is_exact));
    pay(site, wrong, Reward { miner: miner.wrapping_sub(unit), dev: dev.wrapping_add(unit) })
}

fn side_block_paid_in_full(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    if !site.block.side_block {
        return Ok(());
    }
    let thrice = |share: Amount| share.wrapping_add(share).wrapping_add(share);
    let Reward { miner, dev } = site.block.reward;
    pay(site, wrong, Reward { miner: thrice(miner), dev: thrice(dev) })
}

/// The block as it is when another reward is paid.
fn pay(site: &Site<'_>, wrong: &mut Wrong, reward: Reward) -> Result<(), Failure> {
    wrong.execution = site.execute(|block| block.reward = reward)?;
    Ok(())
}

fn miner_reward_misreported(_: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let totals = &mut wrong.execution.totals;
    totals.miner_reward = totals.miner_reward.wrapping_add(totals.dev_reward);
    Ok(())
}

fn dev_reward_misreported(_: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    wrong.execution.totals.dev_reward = Amount::ZERO;
    Ok(())
}

fn fees_to_dev(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let [miner, dev] =
            [site.block.miner, site.block.dev].map(|account| (account, AssetId::NATIVE));
        wrong.change(site, miner, index, |balance| balance.wrapping_sub(body.fee));
        wrong.change(site, dev, index, |balance| balance.wrapping_add(body.fee));
    }
    Ok(())
}

fn fees_credited_early(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, outcome } in site.all() {
        let miner = (site.block.miner, AssetId::NATIVE);
        wrong.change(site, miner, index, |balance| {
            balance.wrapping_add(body.fee).wrapping_sub(outcome.fee)
        });
    }
    Ok(())
}

fn last_fee_not_credited(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let miner = (site.block.miner, AssetId::NATIVE);
    let mut last = Amount::ZERO;
    for Done { index, body, .. } in site.executed() {
        // In each beginning of the block another one is the last.
        wrong.change(site, miner, index, |balance| {
            balance.wrapping_add(last).wrapping_sub(body.fee)
        });
        last = body.fee;
    }
    Ok(())
}

fn fees_of_failed_counted(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.failed() {
        let fees = &mut wrong.execution.totals.fees;
        *fees = fees.wrapping_add(body.fee);
        wrong.blame(Place::Total(Field::Fees), index);
    }
    Ok(())
}

fn burn_does_nothing(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (index, body, asset, amount) in burns(site) {
        let key = (body.source, asset);
        wrong.change(site, key, index, |balance| balance.wrapping_add(amount));
        if asset == AssetId::NATIVE {
            let burned = &mut wrong.execution.totals.burned;
            *burned = burned.wrapping_sub(amount);
        }
    }
    Ok(())
}

fn burn_of_other_asset_counted(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (index, _, asset, amount) in burns(site) {
        if asset != AssetId::NATIVE {
            let burned = &mut wrong.execution.totals.burned;
            *burned = burned.wrapping_add(amount);
            wrong.blame(Place::Total(Field::Burned), index);
        }
    }
    Ok(())
}

fn burn_counter_clamped(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (index, _, asset, _) in burns(site) {
        if asset == AssetId::NATIVE {
            let burned = &mut wrong.execution.totals.burned;
            *burned = (*burned).min(Amount::new(255));
            wrong.blame(Place::Total(Field::Burned), index);
        }
    }
    Ok(())
}

fn burn_paid_to_miner(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (index, _, asset, amount) in burns(site) {
        let miner = (site.block.miner, asset);
        wrong.change(site, miner, index, |balance| balance.wrapping_add(amount));
    }
    Ok(())
}

/// The executed burns.
fn burns<'a>(
    site: &'a Site<'_>,
) -> impl Iterator<Item = (usize, &'a crate::chain::Transaction, AssetId, Amount)> {
    site.executed().filter_map(|Done { index, body, .. }| match body.data {
        TransactionData::Burn { asset, amount } => Some((index, body, asset, amount)),
        _ => None,
    })
}
