//! Numbers with a meaning: positions in the chain, nonces and amounts.
//!
//! A bare `u64` says nothing about what may be done with it. These types offer the arithmetic that
//! the chain has and no other: two positions cannot be added, and money does not overflow unnoticed.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The value with this number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number alone, for encoding and display.
            pub const fn as_u64(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The position of a block in execution order, from 0.
    TopoHeight
}
number! {
    /// The blue score of a block: its depth in the DAG. Several blocks may share one.
    BlueScore
}
number! {
    /// The number that an account's next transaction is expected to carry.
    Nonce
}
number! {
    /// An amount of an asset in its smallest unit.
    Amount
}

impl TopoHeight {
    /// The first position of a chain.
    pub const GENESIS: Self = Self(0);

    /// A position that no chain reaches.
    pub const MAX: Self = Self(u64::MAX);

    /// The position after this one. Saturates: no chain reaches 2^64 blocks.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; the first has none.
    #[must_use]
    pub const fn previous(self) -> Option<Self> {
        self.checked_sub(1)
    }

    /// The position `blocks` before this one, if the chain is that long.
    #[must_use]
    pub const fn checked_sub(self, blocks: u64) -> Option<Self> {
        match self.0.checked_sub(blocks) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// How many blocks lie between an earlier position and this one; 0 if it is not earlier.
    #[must_use]
    pub const fn blocks_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Nonce {
    /// The nonce after this one; `None` past the last.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, or `None` where the chain's own addition fails.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The sum, at most 2^64-1: how the chain adds up what a sender spends.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The sum modulo 2^64.
    #[must_use]
    pub const fn wrapping_add(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    /// The difference modulo 2^64: how the chain's release build debits an overdrawn balance.
    #[must_use]
    pub const fn wrapping_sub(self, other: Self) -> Self {
        Self(self.0.wrapping_sub(other.0))
    }
}
