//! A block as the stand-in answers it: its JSON in the pieces that answers are put together from.
//!
//! Putting a block into JSON costs more than anything else in an answer, and nothing of it changes
//! but the type, so it is done once per block.

use serde_json::{Map, Value};
use storage_snapshot::{BlockFacts, BlockRef, TopoHeight, TxHash};

use super::DevnetError;
use crate::chain::{Block, BlockType};

/// One block.
#[derive(Clone, Debug)]
pub(super) struct ServedBlock {
    pub(super) place: BlockRef,
    pub(super) facts: BlockFacts,
    pub(super) version: u8,
    pub(super) timestamp_ms: u64,
    pub(super) transactions: Vec<ServedTransaction>,
    pub(super) difficulty: String,
    total_fees: u64,
    /// The fields that are the same in every answer, as they stand between braces.
    fields: String,
    /// The same of a block that is not in the order any more.
    orphaned_fields: String,
}

/// One transaction of a block.
#[derive(Clone, Debug)]
pub(super) struct ServedTransaction {
    pub(super) hash: TxHash,
    /// Its JSON without the closing brace.
    open: String,
}

/// Which answer a block is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    WithTransactions,
    WithoutTransactions,
    /// As in the event, where a node forgets the transactions.
    AsNew,
}

impl ServedBlock {
    /// The pieces of a block's whole JSON, as a node answers it with transactions.
    ///
    /// # Errors
    ///
    /// When a piece cannot be written.
    pub(super) fn new(
        block: &Block,
        facts: BlockFacts,
        mut fields: Map<String, Value>,
    ) -> Result<Self, DevnetError> {
        let wrong = |source| DevnetError::Json { block: block.hash, source };
        let transactions = match fields.remove("transactions") {
            Some(Value::Array(transactions)) => transactions,
            _ => Vec::new(),
        };
        let total_fees = fields.remove("total_fees").and_then(|fees| fees.as_u64());
        let difficulty = fields.get("difficulty").and_then(Value::as_str).unwrap_or("0").to_owned();
        fields.remove("block_type");
        fields.remove("txs_hashes");
        let mut orphaned = fields.clone();
        for unknown in ["topoheight", "reward", "miner_reward", "dev_reward", "supply"] {
            orphaned.insert(unknown.to_owned(), Value::Null);
        }
        let transactions = block.transaction_hashes().zip(transactions);
        let transactions = transactions.map(|(hash, transaction)| {
            let mut open = serde_json::to_string(&transaction)?;
            open.pop();
            Ok(ServedTransaction { hash: *hash, open })
        });
        Ok(Self {
            place: block.reference(),
            facts,
            version: block.version,
            timestamp_ms: block.timestamp_ms,
            transactions: transactions.collect::<Result<_, _>>().map_err(wrong)?,
            difficulty,
            total_fees: total_fees.unwrap_or(0),
            fields: inner(&fields).map_err(wrong)?,
            orphaned_fields: inner(&orphaned).map_err(wrong)?,
        })
    }

    pub(super) const fn topoheight(&self) -> TopoHeight {
        self.place.topoheight
    }

    /// Appends the block as a JSON object; the type is what the node thinks of it now.
    pub(super) fn write(&self, block_type: BlockType, shown: Shown, text: &mut String) {
        let is_orphaned = block_type == BlockType::Orphaned;
        let type_name = match block_type {
            BlockType::Sync => "Sync",
            BlockType::Side => "Side",
            BlockType::Orphaned => "Orphaned",
            BlockType::Normal => "Normal",
        };
        text.push_str("{\"block_type\":\"");
        text.push_str(type_name);
        text.push_str("\",");
        text.push_str(if is_orphaned { &self.orphaned_fields } else { &self.fields });
        text.push_str(",\"txs_hashes\":[");
        if shown != Shown::AsNew {
            for (index, transaction) in self.transactions.iter().enumerate() {
                let separator = if index == 0 { "\"" } else { ",\"" };
                text.push_str(separator);
                text.push_str(&transaction.hash.to_string());
                text.push('"');
            }
        }
        text.push(']');
        match shown {
            Shown::WithoutTransactions => text.push_str(",\"total_fees\":null"),
            Shown::AsNew => text.push_str(",\"total_fees\":0,\"event\":\"new_block\""),
            Shown::WithTransactions => {
                // Whoever is not in the order has no fees: nothing of it was executed.
                let total_fees = if is_orphaned { 0 } else { self.total_fees };
                text.push_str(&format!(",\"total_fees\":{total_fees}"));
                if !self.transactions.is_empty() {
                    text.push_str(",\"transactions\":[");
                    for (index, transaction) in self.transactions.iter().enumerate() {
                        if index > 0 {
                            text.push(',');
                        }
                        text.push_str(&transaction.open);
                        text.push('}');
                    }
                    text.push(']');
                }
            }
        }
        text.push('}');
    }
}

impl ServedTransaction {
    /// The transaction as a JSON object without its closing brace, so that more can be said of it.
    pub(super) fn open(&self) -> &str {
        &self.open
    }
}

/// A JSON object without its braces.
fn inner(fields: &Map<String, Value>) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string(fields)?;
    text.pop();
    text.remove(0);
    Ok(text)
}
