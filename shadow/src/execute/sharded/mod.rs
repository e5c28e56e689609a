//! The built-in engine `sharded`: every lane owns a range of accounts, and nobody waits for a conflict.
//!
//! Whether a transaction is executed depends on the nonces of its source alone, and all that it does
//! beyond crediting others is to its source. Credits commute: within a block they only ever add up, and
//! what is spent is taken at the end. So a block is cut by accounts instead of by transactions:
//!
//! 1. Each lane goes through the block in order and executes the transactions whose source it owns. Credits
//!    of accounts that another lane owns are left for that lane.
//! 2. When all lanes have done so, each takes what the others left for it, and produces the writes of its
//!    range. Ranges are contiguous, so the block's writes are those of the lanes one after another.
//!
//! One thing does not commute: a credit that overflows breaks its transaction, and which one that is
//! depends on the order. If the credits of an account do not all fit, or anything else is in the way of a
//! result, nothing of this is used: the block is executed in its order by the engine `v3`, and the result
//! says that it was. That no *sum* overflows is enough, for then no part of it does.

mod accounts;
mod executor;
mod lane;
mod ranges;

pub use executor::ShardedExecutor;

/// Why a block has no result that does not depend on the order of its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// An account is not where the world says that the block names it: it was made for another block.
    Elsewhere,
    /// The block has to be executed in its order; the reason in a word.
    InOrder(&'static str),
}

impl Stop {
    const CREDIT_OVERFLOW: Self = Self::InOrder("credit_overflow");
    const TOTAL_OVERFLOW: Self = Self::InOrder("total_overflow");
    /// State that is not known is an error only if the transaction that needs it is executed.
    const UNREADABLE: Self = Self::InOrder("unreadable_state");
    const WITHOUT_NONCE: Self = Self::InOrder("source_without_nonce");
    /// Another lane stopped, and says why.
    const OTHER_LANE: Self = Self::InOrder("other_lane");
}
