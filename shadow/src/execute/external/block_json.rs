//! The JSON form of a block that is ready to be executed.
//!
//! It is what an outside program is sent and what an evidence directory holds, so it says everything
//! that an executor needs and nothing that only the chain does: no signatures, no extra data.

use std::fmt;

use serde::{Deserialize, Serialize};
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, BlockRef, MultisigConfig, Nonce, TopoHeight, TxHash,
};

use crate::{
    chain::{FeeType, Reference, Transaction, TransactionData, Transfer},
    execute::{ExecutableBlock, ExecutableTransaction},
    rules::Reward,
};

/// The JSON object of an [`ExecutableBlock`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BlockJson {
    topoheight: TopoHeight,
    hash: BlockHash,
    block_type: BlockType,
    miner: Address,
    dev: Address,
    miner_reward: Amount,
    dev_reward: Amount,
    transactions: Vec<TransactionJson>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BlockType {
    Normal,
    Side,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TransactionJson {
    hash: TxHash,
    source: Address,
    nonce: Nonce,
    fee: Amount,
    fee_type: FeeTypeJson,
    reference: ReferenceJson,
    already_executed: bool,
    data: DataJson,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FeeTypeJson {
    Tos,
    Energy,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct ReferenceJson {
    hash: BlockHash,
    topoheight: TopoHeight,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", try_from = "AnyDataJson")]
enum DataJson {
    Transfers(Vec<TransferJson>),
    Burn(BurnJson),
    MultiSig(MultiSigJson),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct BurnJson {
    asset: AssetId,
    amount: Amount,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct MultiSigJson {
    threshold: u8,
    participants: Vec<Address>,
}

/// As it is read: one of these, beside fields that nobody knows.
#[derive(Deserialize)]
struct AnyDataJson {
    transfers: Option<Vec<TransferJson>>,
    burn: Option<BurnJson>,
    multi_sig: Option<MultiSigJson>,
}

impl TryFrom<AnyDataJson> for DataJson {
    type Error = &'static str;

    fn try_from(json: AnyDataJson) -> Result<Self, &'static str> {
        match (json.transfers, json.burn, json.multi_sig) {
            (Some(transfers), None, None) => Ok(Self::Transfers(transfers)),
            (None, Some(burn), None) => Ok(Self::Burn(burn)),
            (None, None, Some(config)) => Ok(Self::MultiSig(config)),
            (None, None, None) => Err("there is none of transfers, burn and multi_sig"),
            _ => Err("there is more than one of transfers, burn and multi_sig"),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct TransferJson {
    asset: AssetId,
    destination: Address,
    amount: Amount,
}

impl TryFrom<&ExecutableBlock> for BlockJson {
    type Error = BlockJsonError;

    fn try_from(block: &ExecutableBlock) -> Result<Self, BlockJsonError> {
        let transactions = block.transactions.iter().map(TransactionJson::try_from);
        Ok(Self {
            topoheight: block.block.topoheight,
            hash: block.block.hash,
            block_type: if block.side_block { BlockType::Side } else { BlockType::Normal },
            miner: block.miner,
            dev: block.dev,
            miner_reward: block.reward.miner,
            dev_reward: block.reward.dev,
            transactions: transactions.collect::<Result<_, _>>()?,
        })
    }
}

/// What is not said of a transaction is empty: it has no effect on the result.
impl From<BlockJson> for ExecutableBlock {
    fn from(json: BlockJson) -> Self {
        Self {
            block: BlockRef { topoheight: json.topoheight, hash: json.hash },
            side_block: json.block_type == BlockType::Side,
            miner: json.miner,
            dev: json.dev,
            reward: Reward { miner: json.miner_reward, dev: json.dev_reward },
            transactions: json.transactions.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<&ExecutableTransaction> for TransactionJson {
    type Error = BlockJsonError;

    fn try_from(transaction: &ExecutableTransaction) -> Result<Self, BlockJsonError> {
        let body = &transaction.body;
        let data = match &body.data {
            TransactionData::Transfers(transfers) => {
                DataJson::Transfers(transfers.iter().map(TransferJson::from).collect())
            }
            TransactionData::Burn { asset, amount } => {
                DataJson::Burn(BurnJson { asset: *asset, amount: *amount })
            }
            TransactionData::Multisig(config) => DataJson::MultiSig(MultiSigJson {
                threshold: config.threshold,
                participants: config.participants.clone(),
            }),
            TransactionData::Opaque(_) => return Err(BlockJsonError::Opaque(body.hash)),
        };
        Ok(Self {
            hash: body.hash,
            source: body.source,
            nonce: body.nonce,
            fee: body.fee,
            fee_type: match body.fee_type {
                FeeType::Tos => FeeTypeJson::Tos,
                FeeType::Energy => FeeTypeJson::Energy,
            },
            reference: ReferenceJson {
                hash: body.reference.hash,
                topoheight: body.reference.topoheight,
            },
            already_executed: transaction.already_executed,
            data,
        })
    }
}

impl From<TransactionJson> for ExecutableTransaction {
    fn from(json: TransactionJson) -> Self {
        let data = match json.data {
            DataJson::Transfers(transfers) => {
                TransactionData::Transfers(transfers.into_iter().map(Into::into).collect())
            }
            DataJson::Burn(BurnJson { asset, amount }) => TransactionData::Burn { asset, amount },
            DataJson::MultiSig(MultiSigJson { threshold, participants }) => {
                TransactionData::Multisig(MultisigConfig { threshold, participants })
            }
        };
        let body = Transaction {
            hash: json.hash,
            version: 0,
            source: json.source,
            data,
            fee: json.fee,
            fee_type: match json.fee_type {
                FeeTypeJson::Tos => FeeType::Tos,
                FeeTypeJson::Energy => FeeType::Energy,
            },
            nonce: json.nonce,
            reference: Reference {
                hash: json.reference.hash,
                topoheight: json.reference.topoheight,
            },
            multisig: None,
            signature: [0; 64],
        };
        Self { body, already_executed: json.already_executed }
    }
}

impl From<&Transfer> for TransferJson {
    fn from(transfer: &Transfer) -> Self {
        let Transfer { asset, destination, amount, extra_data: _ } = *transfer;
        Self { asset, destination, amount }
    }
}

impl From<TransferJson> for Transfer {
    fn from(json: TransferJson) -> Self {
        let TransferJson { asset, destination, amount } = json;
        Self { asset, destination, amount, extra_data: None }
    }
}

/// Why a block has no JSON form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockJsonError {
    /// It holds a transaction of a kind that is not executed.
    Opaque(TxHash),
}

impl fmt::Display for BlockJsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opaque(hash) => write!(
                f,
                "transaction {hash} is of a kind that is not executed here: leave its block out"
            ),
        }
    }
}

impl std::error::Error for BlockJsonError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_of_one_kind_whatever_is_beside_it() {
        #[track_caller]
        fn check(json: &str, expected: Option<&str>) {
            let error = serde_json::from_str::<DataJson>(json).err().map(|error| error.to_string());
            match expected {
                Some(words) => assert!(error.is_some_and(|error| error.contains(words))),
                None => assert_eq!(error, None),
            }
        }
        check(r#"{"transfers":[]}"#, None);
        check(r#"{"transfers":[],"memo":"what is this?"}"#, None);
        check(r#"{"memo":1,"multi_sig":{"threshold":0,"participants":[],"memo":1}}"#, None);
        check(r#"{"memo":1}"#, Some("none of transfers, burn and multi_sig"));
        let both = r#"{"transfers":[],"multi_sig":{"threshold":0,"participants":[]}}"#;
        check(both, Some("more than one of transfers"));
    }
}
