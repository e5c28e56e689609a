//! Oddities of the chain's serial path, reproduced and counted.
//!
//! They are bugs or surprises in the source of truth. An operator wants to know that one of them
//! just happened, whether or not the candidate agrees.

use std::collections::BTreeMap;

/// An oddity that fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quirk {
    /// A failed transaction kept its nonce, its debits and the credits made before it failed.
    FailedKeepsEffects,
    /// An account spent more than it had, and its balance wrapped around 2^64.
    DebitWrapped,
    /// What an account spent in the block exceeded 2^64-1, and was taken to be just that.
    DebitSaturated,
    /// A nonce was accepted although it left a gap.
    NonceGap,
    /// A nonce below the expected one was accepted because it was unused.
    NonceOutOfOrder,
    /// The node rewarded a side block by another position among its siblings than the order tells.
    SideRewardOrder,
    /// A block listed one transaction twice: the node pairs its transactions and hashes wrongly
    /// from there on, so the block is not executed here.
    DuplicateTransaction,
}

impl Quirk {
    /// Every quirk.
    pub const ALL: [Self; 7] = [
        Self::FailedKeepsEffects,
        Self::DebitWrapped,
        Self::DebitSaturated,
        Self::NonceGap,
        Self::NonceOutOfOrder,
        Self::SideRewardOrder,
        Self::DuplicateTransaction,
    ];

    /// The stable name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FailedKeepsEffects => "failed_keeps_effects",
            Self::DebitWrapped => "debit_wrapped",
            Self::DebitSaturated => "debit_saturated",
            Self::NonceGap => "nonce_gap",
            Self::NonceOutOfOrder => "nonce_out_of_order",
            Self::SideRewardOrder => "side_reward_order",
            Self::DuplicateTransaction => "duplicate_transaction",
        }
    }
}

/// How often which quirk fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks(BTreeMap<Quirk, u64>);

impl Quirks {
    /// Counts one more.
    pub fn count(&mut self, quirk: Quirk) {
        *self.0.entry(quirk).or_default() += 1;
    }

    /// Those that fired, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Quirk, u64)> {
        self.0.iter().map(|(quirk, count)| (*quirk, *count))
    }
}
