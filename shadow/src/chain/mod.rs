//! The block language of a node of the V3 era: blocks, transactions, their two written forms and
//! the hashes that bind them.
//!
//! A node's answer is trusted no further than it can be checked, because everything that is said
//! about a block later rests on it. [`decode_block`] recomputes the hash of the block and of every
//! transaction whose binary form can be rebuilt, so an answer that was altered, cut or mixed up on
//! the way is an error here and never a difference in state there.
//!
//! What the sidecar does not execute is *opaque* ([`OpaqueKind`]): it is read as far as it says what
//! it may have touched, and is never an error, because a new kind of transaction on the chain must
//! not stop the sidecar.

mod address;
mod block;
mod bytes;
mod codec;
mod decode;
mod encode;
mod error;
mod hash;
mod many;
mod opaque;
mod transaction;
mod wire;

pub use address::{AddressError, Network, NetworkAddress};
pub use block::{Block, BlockHeader, BlockType, Claimed};
pub use bytes::{DecodeError, DecodeProblem};
pub use codec::EncodeError;
pub(crate) use decode::{ParsedBlock, parse_only};
pub use decode::{decode_block, decode_header, decode_transaction};
pub use encode::{JsonError, block_to_json, transaction_to_json};
pub use error::{BlockError, BlockName, BlockProblem, TransactionError, TransactionProblem};
pub use opaque::{EnergyOperation, OpaqueData, OpaqueKind};
pub use transaction::{
    FeeType, MultisigSignature, Reference, Transaction, TransactionData, Transfer,
};
