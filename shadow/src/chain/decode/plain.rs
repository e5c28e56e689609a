//! Blocks as they nearly always are, read without a detour.
//!
//! A block with its transactions is parsed in one pass, and the transactions are hashed many at once. What
//! is not taken here is opaque, or not right; which of them, and why, is for [`super::decode_block`] to
//! tell.

use serde::Deserialize;
use storage_snapshot::TxHash;

use super::{Decoder, checked};
use crate::chain::{
    Block, BlockProblem, EncodeError, Network, Transaction, TransactionProblem,
    many::{AT_ONCE, hash_messages},
    opaque::VERSION_KNOWN,
    wire::{WireBlock, WireData, WireTransaction},
};

/// A node's block that was parsed with all its transactions in one pass and is not checked yet: for whoever
/// reads it as a part of something.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct ParsedBlock<'a>(#[serde(borrow)] WireBlock<'a, ParsedTransaction<'a>>);

type ParsedTransaction<'a> = WireTransaction<'a, WireData<'a>>;

impl ParsedBlock<'_> {
    /// The block, if [`super::decode_block`] would take it and no transaction in it is opaque.
    pub(crate) fn checked(self) -> Option<Block> {
        checked(self.0, plain_transactions).ok()
    }
}

/// Parses a node's block with its transactions and does nothing else with it; tells how many there are.
/// What [`super::decode_block`] takes longer than this is spent on checking.
///
/// # Errors
///
/// When the text does not have the node's form.
pub(crate) fn parse_only(json: &str) -> Result<usize, serde_json::Error> {
    let ParsedBlock(block) = serde_json::from_str(json)?;
    Ok(block.transactions.map_or(0, |transactions| transactions.len()))
}

/// A block that is not right or not plain. What it is has to be found out part by part.
struct NotPlain;

impl From<BlockProblem> for NotPlain {
    fn from(_: BlockProblem) -> Self {
        Self
    }
}

impl From<TransactionProblem> for NotPlain {
    fn from(_: TransactionProblem) -> Self {
        Self
    }
}

impl From<EncodeError> for NotPlain {
    fn from(_: EncodeError) -> Self {
        Self
    }
}

fn plain_transactions(
    hashes: &[TxHash],
    parsed: &[ParsedTransaction<'_>],
    network: Network,
) -> Result<Vec<Transaction>, NotPlain> {
    if hashes.len() != parsed.len() {
        return Err(NotPlain);
    }
    let mut decoder = Decoder { network, scratch: Vec::new() };
    let mut transactions = Vec::with_capacity(parsed.len());
    for (hashes, parsed) in hashes.chunks(AT_ONCE).zip(parsed.chunks(AT_ONCE)) {
        let first = transactions.len();
        for (listed, wire) in hashes.iter().zip(parsed) {
            if wire.version != VERSION_KNOWN
                || matches!(wire.data, WireData::Other { .. })
                || wire.hash != *listed
            {
                return Err(NotPlain);
            }
            let (source, data) = (decoder.source(wire)?, decoder.known(&wire.data)?);
            transactions.push(decoder.put_together(wire, source, data)?);
        }
        if let Some(transactions) = transactions.get_mut(first..) {
            check_hashes(&mut decoder, transactions)?;
        }
    }
    Ok(transactions)
}

/// Checks the hashes of at most [`AT_ONCE`] transactions, of which all but few pay in the native asset.
fn check_hashes(decoder: &mut Decoder, transactions: &mut [Transaction]) -> Result<(), NotPlain> {
    decoder.scratch.clear();
    let mut ends = [0; AT_ONCE];
    for (transaction, end) in transactions.iter().zip(&mut ends) {
        transaction.write(&mut decoder.scratch)?;
        *end = decoder.scratch.len();
    }
    let mut computed = [[0; 32]; AT_ONCE];
    let mut start = 0;
    let messages = ends[..transactions.len().min(AT_ONCE)].iter().map(|end| {
        let message = decoder.scratch.get(start..*end).unwrap_or_default();
        start = *end;
        message
    });
    hash_messages(messages, &mut computed);
    for (transaction, computed) in transactions.iter_mut().zip(&computed) {
        if transaction.hash.as_bytes() != computed {
            transaction.fee_type = decoder.fee_type(transaction)?;
        }
    }
    Ok(())
}
