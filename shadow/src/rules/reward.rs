//! What a block earns: emission, the share of side blocks and the share of the dev key.

use storage_snapshot::{Amount, BlockFacts, BlueScore};

/// The units of the native asset that will ever be emitted: 184,000,000 with 8 decimals.
const MAXIMUM_SUPPLY: u64 = 184_000_000 * 100_000_000;

/// How fast emission falls: each block emits what remains, divided by 2^20.
const EMISSION_SHIFT: u32 = 20;

/// The target time between blocks; the emission is meant for one block every three minutes and is
/// scaled down to it.
pub const BLOCK_TIME_MILLISECONDS: u64 = 1000;

/// Up to how many previous blocks decide whether a block is a side block.
pub const SIDE_BLOCK_WINDOW: usize = 60;

/// The reward of a full block after `emitted` units.
pub const fn base_reward(emitted: Amount) -> Amount {
    let remaining = MAXIMUM_SUPPLY.saturating_sub(emitted.as_u64());
    // Integer steps in this order: the node rounds after each.
    Amount::new((remaining >> EMISSION_SHIFT) * BLOCK_TIME_MILLISECONDS / 1000 / 180)
}

/// The percentage of the base reward that the `n`-th (from 0) side block of a blue score earns.
pub const fn side_percentage(n: usize) -> u64 {
    match n {
        0 => 30,
        1 => 15,
        2 => 7,
        _ => 5,
    }
}

/// The percentage of a reward that goes to the dev key from this blue score on.
pub const fn dev_percentage(score: u64) -> u64 {
    if score < 15_768_000 { 10 } else { 5 }
}

/// Whether a block is a side block, and the how-manieth of its blue score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideBlock {
    /// The block extends the chain.
    No,
    /// As many side blocks of the same blue score were rewarded before this one.
    After(usize),
}

impl SideBlock {
    /// Decides from the blocks ordered before this one, at most [`SIDE_BLOCK_WINDOW`] of them.
    pub fn decide<'a>(
        blue_score: BlueScore,
        previous: impl IntoIterator<Item = &'a BlockFacts>,
    ) -> Self {
        let (mut is_side, mut siblings) = (false, 0);
        for facts in previous {
            is_side |= blue_score <= facts.blue_score;
            siblings += usize::from(facts.side_block && facts.blue_score == blue_score);
        }
        if is_side { Self::After(siblings) } else { Self::No }
    }

    /// Whether it is one at all.
    pub const fn is_side(self) -> bool {
        matches!(self, Self::After(_))
    }
}

/// What a block pays out before its first transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reward {
    /// To the miner of the block.
    pub miner: Amount,
    /// To the dev key.
    pub dev: Amount,
}

impl Reward {
    /// The reward of a block after `emitted` units, undivided.
    pub const fn total_of(emitted: Amount, side_block: SideBlock) -> Amount {
        let base = base_reward(emitted);
        match side_block {
            SideBlock::No => base,
            SideBlock::After(n) => Amount::new(base.as_u64() * side_percentage(n) / 100),
        }
    }

    /// Divides a reward between miner and dev key.
    pub const fn split(total: Amount, dev_percentage: u64) -> Self {
        let dev = Amount::new(total.as_u64() * dev_percentage / 100);
        Self { miner: total.wrapping_sub(dev), dev }
    }

    /// Both shares together.
    pub const fn total(self) -> Amount {
        self.miner.wrapping_add(self.dev)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(blue_score: u64, side_block: bool) -> BlockFacts {
        BlockFacts { blue_score: BlueScore::new(blue_score), side_block, ..BlockFacts::default() }
    }

    #[test]
    fn the_first_block_emits_what_the_chain_says() {
        let reward =
            Reward::split(Reward::total_of(Amount::ZERO, SideBlock::No), dev_percentage(0));
        assert_eq!(base_reward(Amount::ZERO), Amount::new(97_486_707));
        assert_eq!(reward, Reward { miner: Amount::new(87_738_037), dev: Amount::new(9_748_670) });
        assert_eq!(reward.total(), Amount::new(97_486_707));
    }

    #[test]
    fn nothing_is_emitted_past_the_maximum() {
        assert_eq!(base_reward(Amount::new(MAXIMUM_SUPPLY)), Amount::ZERO);
        assert_eq!(base_reward(Amount::new(u64::MAX)), Amount::ZERO);
    }

    #[test]
    fn a_block_is_a_side_block_when_its_blue_score_is_not_above_all_before_it() {
        #[track_caller]
        fn check(blue_score: u64, previous: &[BlockFacts], expected: SideBlock) {
            assert_eq!(SideBlock::decide(BlueScore::new(blue_score), previous), expected);
        }
        check(0, &[], SideBlock::No);
        check(5, &[facts(3, false), facts(4, false)], SideBlock::No);
        check(4, &[facts(3, false), facts(4, false)], SideBlock::After(0));
        check(4, &[facts(4, false), facts(4, true)], SideBlock::After(1));
        check(4, &[facts(4, true), facts(5, false), facts(4, true)], SideBlock::After(2));
        check(4, &[facts(3, true), facts(5, false)], SideBlock::After(0));
    }

    #[test]
    fn side_blocks_of_one_blue_score_earn_less_and_less() {
        let rewards: Vec<u64> =
            (0..5).map(|n| Reward::total_of(Amount::ZERO, SideBlock::After(n)).as_u64()).collect();
        assert_eq!(rewards, [29_246_012, 14_623_006, 6_824_069, 4_874_335, 4_874_335]);
    }
}
