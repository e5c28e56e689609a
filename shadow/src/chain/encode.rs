//! From a block to the node's JSON, for a stand-in node and for generated chains.
//!
//! What [`super::decode_block`] reads is written in the node's own shapes. Fields that it ignores are
//! left out: difficulty, blue work and sizes are not part of a [`Block`].

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use storage_snapshot::{Address, Amount, AssetId, BlockHash, BlueScore, Nonce, TopoHeight, TxHash};

use super::{Block, BlockType, Network, NetworkAddress, OpaqueKind, Transaction, TransactionData};

/// The block as a node answers it, transactions included.
///
/// # Errors
///
/// When a transaction has an opaque body that is only known in binary form.
pub fn block_to_json(block: &Block) -> Result<String, JsonError> {
    let network = block.network;
    let shown = ShownBlock {
        block_type: block.block_type,
        blue_score: block.blue_score,
        dev_reward: block.claimed.dev_reward,
        extra_nonce: Hex(&block.extra_nonce),
        hash: block.hash,
        miner: NetworkAddress { account: block.miner, network },
        miner_reward: block.claimed.miner_reward,
        nonce: block.nonce,
        reward: block.claimed.reward,
        supply: block.claimed.supply,
        timestamp: block.timestamp_ms,
        tips: &block.tips,
        topoheight: block.topoheight,
        total_fees: block.claimed.total_fees,
        transactions: block
            .transactions
            .iter()
            .map(|transaction| ShownTransaction::new(transaction, network))
            .collect::<Result<_, _>>()?,
        txs_hashes: block.transaction_hashes().collect(),
        version: block.version,
    };
    serde_json::to_string(&shown).map_err(JsonError::Json)
}

/// The transaction as a node shows it inside of a block.
///
/// The kind of fee is not shown; it is in the hash.
///
/// # Errors
///
/// When the body is opaque and only known in binary form.
pub fn transaction_to_json(
    transaction: &Transaction,
    network: Network,
) -> Result<String, JsonError> {
    serde_json::to_string(&ShownTransaction::new(transaction, network)?).map_err(JsonError::Json)
}

#[derive(Serialize)]
struct ShownBlock<'a> {
    block_type: BlockType,
    blue_score: BlueScore,
    dev_reward: Amount,
    extra_nonce: Hex<'a>,
    hash: BlockHash,
    miner: NetworkAddress,
    miner_reward: Amount,
    nonce: u64,
    reward: Amount,
    supply: Amount,
    timestamp: u64,
    tips: &'a [BlockHash],
    topoheight: TopoHeight,
    total_fees: Option<Amount>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transactions: Vec<ShownTransaction<'a>>,
    txs_hashes: Vec<&'a TxHash>,
    version: u8,
}

#[derive(Serialize)]
struct ShownTransaction<'a> {
    data: ShownData<'a>,
    fee: Amount,
    hash: TxHash,
    multisig: Option<ShownMultisig<'a>>,
    nonce: Nonce,
    reference: ShownReference,
    signature: Hex<'a>,
    source: NetworkAddress,
    version: u8,
}

#[derive(Serialize)]
struct ShownReference {
    hash: BlockHash,
    topoheight: TopoHeight,
}

#[derive(Serialize)]
struct ShownMultisig<'a> {
    signatures: Vec<ShownSignature<'a>>,
}

#[derive(Serialize)]
struct ShownSignature<'a> {
    id: u8,
    signature: Hex<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ShownData<'a> {
    Executed(ShownExecuted<'a>),
    Opaque(&'a RawValue),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum ShownExecuted<'a> {
    Transfers(Vec<ShownTransfer<'a>>),
    Burn { amount: Amount, asset: AssetId },
    MultiSig { participants: Vec<&'a [u8; 32]>, threshold: u8 },
}

#[derive(Serialize)]
struct ShownTransfer<'a> {
    amount: Amount,
    asset: AssetId,
    destination: NetworkAddress,
    extra_data: Option<&'a [u8]>,
}

impl<'a> ShownTransaction<'a> {
    fn new(transaction: &'a Transaction, network: Network) -> Result<Self, JsonError> {
        let shown = |account| NetworkAddress { account, network };
        Ok(Self {
            data: ShownData::new(transaction, shown)?,
            fee: transaction.fee,
            hash: transaction.hash,
            multisig: transaction.multisig.as_ref().map(|signatures| ShownMultisig {
                signatures: signatures
                    .iter()
                    .map(|entry| ShownSignature { id: entry.id, signature: Hex(&entry.signature) })
                    .collect(),
            }),
            nonce: transaction.nonce,
            reference: ShownReference {
                hash: transaction.reference.hash,
                topoheight: transaction.reference.topoheight,
            },
            signature: Hex(&transaction.signature),
            source: shown(transaction.source),
            version: transaction.version,
        })
    }
}

impl<'a> ShownData<'a> {
    fn new(
        transaction: &'a Transaction,
        shown: impl Fn(Address) -> NetworkAddress,
    ) -> Result<Self, JsonError> {
        Ok(Self::Executed(match &transaction.data {
            TransactionData::Transfers(transfers) => ShownExecuted::Transfers(
                transfers
                    .iter()
                    .map(|transfer| ShownTransfer {
                        amount: transfer.amount,
                        asset: transfer.asset,
                        destination: shown(transfer.destination),
                        extra_data: transfer.extra_data.as_deref(),
                    })
                    .collect(),
            ),
            TransactionData::Burn { asset, amount } => {
                ShownExecuted::Burn { amount: *amount, asset: *asset }
            }
            TransactionData::Multisig(config) => ShownExecuted::MultiSig {
                participants: config.participants.iter().map(Address::as_bytes).collect(),
                threshold: config.threshold,
            },
            TransactionData::Opaque(data) => {
                let text = data.json().ok_or(JsonError::BodyUnknown {
                    transaction: transaction.hash,
                    kind: data.kind(),
                })?;
                return serde_json::from_str(text).map(Self::Opaque).map_err(JsonError::Json);
            }
        }))
    }
}

/// Bytes shown as lower-case hex digits.
struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

/// Why a block or transaction has no JSON form.
#[derive(Debug)]
#[non_exhaustive]
pub enum JsonError {
    /// An opaque body was read from its binary form and cannot be shown.
    BodyUnknown {
        /// The transaction that it belongs to.
        transaction: TxHash,
        /// What it is.
        kind: OpaqueKind,
    },
    /// The text could not be written.
    Json(serde_json::Error),
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyUnknown { transaction, kind } => write!(
                f,
                "transaction {transaction}: this {kind} is only known in binary form, which has no \
                 JSON"
            ),
            Self::Json(source) => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for JsonError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(source) => Some(source),
            Self::BodyUnknown { .. } => None,
        }
    }
}
