//! The rule set `tos-v3`: what a block of a TOS node of the V3 era does to the state.
//!
//! Every rule is stated once, as a function of the block alone wherever the chain allows it, and is
//! shared by all executors. What executors do *not* share is how they schedule, stage and merge the
//! effects, because that is what is under test.
//!
//! The rules reproduce the node's serial path with its quirks: where that path loses or makes
//! money, so does the control, and the [`Quirk`] is counted. One quirk is left out on purpose: a
//! sender whose first spend refers to a topoheight before its first receipt is not debited by the
//! node. The control always debits, so a node that does not shows up as a difference.

mod effects;
mod named_keys;
mod nonce;
mod quirks;
mod reward;

pub use effects::{Effect, for_each_effect};
pub use named_keys::{Finder, NamedKeys, Walk};
pub use nonce::{NonceWindow, Used};
pub use quirks::{Quirk, Quirks};
pub use reward::{
    BLOCK_TIME_MILLISECONDS, Reward, SIDE_BLOCK_WINDOW, SideBlock, base_reward, dev_percentage,
    side_percentage,
};

/// The name of the rule set, as outside candidates are told it.
pub const RULES: &str = "tos-v3";

/// The last block version whose rules these are. A block of a later one is not executed here.
pub const BLOCK_VERSION_MAX: u8 = 3;
