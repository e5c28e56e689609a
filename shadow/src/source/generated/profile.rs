//! What a generated chain dwells on.
//!
//! A [`Profile`] is the name that a person picks; its [`Mix`] is the table behind it: how large blocks
//! are, how many of their transactions belong to a shape, and how often which shape is drawn. A
//! change of a table changes the chains of its profile.

use std::fmt;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::shape::Shape;

/// What a generated chain dwells on. It is part of the chain's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Money in motion: chains, relays, rings, many outputs, three assets, burns, huge amounts.
    Transfers,
    /// Nearly everybody meets nearly everybody: hot accounts on both sides, long chains.
    Contention,
    /// Configurations that are set, replaced, deleted and set again by accounts that spend.
    Multisig,
    /// The block's miner and the dev key pay and are paid in the block that pays them.
    MinerActive,
    /// Accounts that nobody has heard of before are paid, and send from the next block on.
    NewAccounts,
    /// Credits that overflow, and nonces that are used again, left out, or in the wrong order.
    Failures,
    /// Several blocks of one blue score in a row, with transactions that were executed before, and
    /// re-orders.
    SideBlocks,
    /// All of it.
    #[default]
    Everything,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 8] = [
        Self::Transfers,
        Self::Contention,
        Self::Multisig,
        Self::MinerActive,
        Self::NewAccounts,
        Self::Failures,
        Self::SideBlocks,
        Self::Everything,
    ];

    /// The stable name, part of the chain's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transfers => "transfers",
            Self::Contention => "contention",
            Self::Multisig => "multisig",
            Self::MinerActive => "miner-active",
            Self::NewAccounts => "new-accounts",
            Self::Failures => "failures",
            Self::SideBlocks => "side-blocks",
            Self::Everything => "everything",
        }
    }

    /// The table behind the name.
    pub(super) const fn mix(self) -> &'static Mix {
        match self {
            Self::Transfers => &TRANSFERS,
            Self::Contention => &CONTENTION,
            Self::Multisig => &MULTISIG,
            Self::MinerActive => &MINER_ACTIVE,
            Self::NewAccounts => &NEW_ACCOUNTS,
            Self::Failures => &FAILURES,
            Self::SideBlocks => &SIDE_BLOCKS,
            Self::Everything => &EVERYTHING,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a profile fills its blocks. Weights count relative to the sum of their table.
#[derive(Debug)]
pub(super) struct Mix {
    /// How large blocks are.
    pub(super) sizes: &'static [(Size, u32)],
    /// How often a group of transactions has a shape; the others are plain transfers.
    pub(super) shaped_percent: u32,
    /// Which shape it has then.
    pub(super) shapes: &'static [(Shape, u32)],
    /// How often a block is the sibling of one that is no side block itself.
    pub(super) side_percent: u32,
    /// How often a side block is followed by another of the same blue score.
    pub(super) side_again_percent: u32,
    /// How often the dev key is the miner.
    pub(super) dev_mines_percent: u32,
    /// How often a block is one that the chain will go back to.
    pub(super) forks_per_thousand: u32,
}

/// How large a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Empty,
    One,
    /// 2 to 10.
    Few,
    /// The size that was asked for, an eighth more or less.
    Usual,
    /// Up to four times that, but not above 1,000 unless the usual size is.
    Large,
    /// 1,001 to 10,000, the smaller ones the more often.
    Huge,
}

impl Size {
    /// A number of transactions of this size.
    pub(super) fn draw(self, usual: usize, random: &mut ChaCha8Rng) -> usize {
        match self {
            Self::Empty => 0,
            Self::One => 1,
            Self::Few => random.random_range(2..=10),
            Self::Usual => random.random_range(usual - usual / 8..=usual + usual / 8),
            Self::Large => {
                let most = (usual * 4).min(HUGE_FROM - 1).max(usual);
                random.random_range(usual..=most)
            }
            Self::Huge => {
                let most = random.random_range(HUGE_FROM..=HUGE_MAX);
                random.random_range(HUGE_FROM..=most)
            }
        }
    }
}

/// One entry of a table of weights.
pub(super) fn pick<T: Copy>(table: &[(T, u32)], random: &mut ChaCha8Rng) -> T {
    let total: u32 = table.iter().map(|(_, weight)| weight).sum();
    let mut at = random.random_range(0..total);
    for (entry, weight) in table {
        match at.checked_sub(*weight) {
            Some(rest) => at = rest,
            None => return *entry,
        }
    }
    // The number is below the sum of the weights, so one of them reached it.
    unreachable!("the weights of a table add up to its total")
}

const SIZES: &[(Size, u32)] = &[
    (Size::Empty, 15),
    (Size::One, 15),
    (Size::Few, 40),
    (Size::Usual, 894),
    (Size::Large, 35),
    (Size::Huge, 1),
];

/// Of the profiles that dwell on one subject.
const EVEN_SIZES: &[(Size, u32)] =
    &[(Size::Empty, 1), (Size::One, 1), (Size::Few, 5), (Size::Usual, 93)];

/// Of the new blocks that another branch puts among blocks that come back. Mostly small: where all
/// nonces were used before, nothing would be left to execute.
pub(super) const LATE_SIZES: &[(Size, u32)] =
    &[(Size::Empty, 2), (Size::One, 3), (Size::Few, 75), (Size::Usual, 20)];

const TRANSFERS: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 50,
    shapes: &[
        (Shape::HotReceiver, 8),
        (Shape::HotSender, 6),
        (Shape::SenderChain, 12),
        (Shape::Relay, 12),
        (Shape::ThereAndBack, 8),
        (Shape::Ring, 6),
        (Shape::ManyOutputs, 10),
        (Shape::ManyToOne, 6),
        (Shape::ZeroAmount, 6),
        (Shape::OtherAsset, 8),
        (Shape::MixedAssets, 8),
        (Shape::Burn, 8),
        (Shape::LargeAmount, 1),
        (Shape::HugeAmount, 1),
    ],
    side_percent: 0,
    side_again_percent: 0,
    dev_mines_percent: 0,
    forks_per_thousand: 0,
};

const CONTENTION: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 95,
    shapes: &[
        (Shape::HotReceiver, 100),
        (Shape::HotSender, 100),
        (Shape::SenderChain, 8),
        (Shape::Relay, 8),
        (Shape::ThereAndBack, 6),
        (Shape::Ring, 4),
        (Shape::ManyToOne, 4),
    ],
    side_percent: 2,
    side_again_percent: 10,
    dev_mines_percent: 0,
    forks_per_thousand: 0,
};

const MULTISIG: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 60,
    shapes: &[
        (Shape::SetMultisig, 20),
        (Shape::ReplaceMultisig, 15),
        (Shape::DeleteMultisig, 15),
        (Shape::DeleteEarlierMultisig, 10),
        (Shape::SetMultisigAgain, 15),
        (Shape::SpendWithMultisig, 25),
    ],
    side_percent: 2,
    side_again_percent: 10,
    dev_mines_percent: 0,
    forks_per_thousand: 0,
};

const MINER_ACTIVE: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 50,
    shapes: &[
        (Shape::MinerSpends, 30),
        (Shape::DevSpends, 15),
        (Shape::MinerPaysDev, 15),
        (Shape::DevPaysMiner, 15),
        (Shape::MinerAndDevReceive, 25),
    ],
    side_percent: 5,
    side_again_percent: 20,
    dev_mines_percent: 10,
    forks_per_thousand: 0,
};

const NEW_ACCOUNTS: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 70,
    shapes: &[
        (Shape::NewAccount, 60),
        (Shape::NewAccountOfTwo, 20),
        (Shape::NewAccountOfNothing, 20),
    ],
    side_percent: 2,
    side_again_percent: 10,
    dev_mines_percent: 0,
    forks_per_thousand: 0,
};

const FAILURES: Mix = Mix {
    sizes: EVEN_SIZES,
    shaped_percent: 50,
    shapes: &[
        (Shape::OverflowFirst, 25),
        (Shape::OverflowLater, 25),
        (Shape::NonceReplay, 10),
        (Shape::NonceOfEarlierBlock, 10),
        (Shape::NonceGap, 10),
        (Shape::NonceLeftOut, 10),
        (Shape::NonceReversed, 10),
    ],
    side_percent: 2,
    side_again_percent: 10,
    dev_mines_percent: 0,
    forks_per_thousand: 0,
};

const SIDE_BLOCKS: Mix = Mix {
    sizes: EVEN_SIZES,
    side_percent: 25,
    side_again_percent: 65,
    dev_mines_percent: 2,
    forks_per_thousand: 60,
    ..EVERYTHING
};

const EVERYTHING: Mix = Mix {
    sizes: SIZES,
    shaped_percent: 25,
    shapes: &[
        (Shape::HotReceiver, 120),
        (Shape::HotSender, 120),
        (Shape::SenderChain, 80),
        (Shape::Relay, 80),
        (Shape::ThereAndBack, 50),
        (Shape::Ring, 30),
        (Shape::ManyOutputs, 60),
        (Shape::ManyToOne, 25),
        (Shape::ZeroAmount, 25),
        (Shape::OtherAsset, 60),
        (Shape::MixedAssets, 40),
        (Shape::Burn, 60),
        (Shape::LargeAmount, 20),
        (Shape::HugeAmount, 20),
        (Shape::SetMultisig, 25),
        (Shape::ReplaceMultisig, 20),
        (Shape::DeleteMultisig, 20),
        (Shape::DeleteEarlierMultisig, 15),
        (Shape::SetMultisigAgain, 20),
        (Shape::SpendWithMultisig, 25),
        (Shape::NewAccount, 50),
        (Shape::NewAccountOfTwo, 15),
        (Shape::NewAccountOfNothing, 15),
        (Shape::MinerSpends, 30),
        (Shape::DevSpends, 20),
        (Shape::MinerPaysDev, 15),
        (Shape::DevPaysMiner, 15),
        (Shape::MinerAndDevReceive, 30),
        (Shape::NonceReplay, 20),
        (Shape::NonceOfEarlierBlock, 15),
        (Shape::NonceGap, 20),
        (Shape::NonceLeftOut, 15),
        (Shape::NonceReversed, 20),
        (Shape::OverflowFirst, 20),
        (Shape::OverflowLater, 20),
    ],
    side_percent: 5,
    side_again_percent: 50,
    dev_mines_percent: 2,
    forks_per_thousand: 25,
};

/// From how many transactions on a block is huge.
const HUGE_FROM: usize = 1001;
const HUGE_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn huge_blocks_are_rare_and_stay_within_ten_thousand() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let draws: Vec<_> =
            (0..100_000).map(|_| pick(SIZES, &mut random).draw(60, &mut random)).collect();
        let huge = draws.iter().filter(|size| **size > 1000).count();
        assert!((1..=200).contains(&huge), "{huge} of 100000");
        assert!(draws.iter().all(|size| *size <= 10_000));
        assert!(draws.iter().any(|size| *size > 5000));
        let unexercised = draws.iter().filter(|size| **size < 2).count();
        assert!(unexercised > 0 && unexercised < 5000, "{unexercised} of 100000");
    }

    #[test]
    fn a_block_of_the_least_usual_size_can_be_drawn() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for size in [Size::Usual, Size::Large] {
            assert!((1..=4).contains(&size.draw(1, &mut random)));
        }
    }

    #[test]
    fn everything_has_each_shape_of_the_others() {
        for profile in Profile::ALL {
            for (shape, weight) in profile.mix().shapes {
                assert!(*weight > 0, "{shape:?} never occurs in {profile}");
                let held = EVERYTHING.shapes.iter().any(|(other, _)| other == shape);
                assert!(held, "{shape:?} of {profile} is missing");
            }
        }
    }
}
