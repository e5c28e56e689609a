//! The node's JSON, as it is written.
//!
//! Fields that nothing here needs are ignored, so that a node may add some. Texts are borrowed from
//! the answer, numbers are read as the integers that they are, and a transaction stays text until it
//! is its turn, so that an error can say which one it is in; or it is read together with the block, by whoever
//! does not have to say it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use storage_snapshot::{Amount, AssetId, BlockHash, BlueScore, Nonce, TopoHeight, TxHash};

use super::BlockType;

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct WireBlock<'a, T = &'a RawValue> {
    pub(super) hash: BlockHash,
    pub(super) topoheight: Option<TopoHeight>,
    pub(super) block_type: BlockType,
    pub(super) supply: Option<Amount>,
    pub(super) reward: Option<Amount>,
    pub(super) miner_reward: Option<Amount>,
    pub(super) dev_reward: Option<Amount>,
    pub(super) total_fees: Option<Amount>,
    pub(super) version: u8,
    pub(super) tips: Vec<BlockHash>,
    pub(super) timestamp: u64,
    pub(super) blue_score: BlueScore,
    pub(super) nonce: u64,
    #[serde(borrow)]
    pub(super) extra_nonce: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) miner: Cow<'a, str>,
    pub(super) txs_hashes: Vec<TxHash>,
    #[serde(default = "Option::default")]
    pub(super) transactions: Option<Vec<T>>,
}

/// A transaction. Its data stays text, because the version decides whether its shape is known, unless it is read as
/// one of a known version.
#[derive(Deserialize)]
#[serde(bound(deserialize = "D: Deserialize<'de>"))]
pub(super) struct WireTransaction<'a, D = &'a RawValue> {
    pub(super) hash: TxHash,
    pub(super) version: u8,
    #[serde(borrow)]
    pub(super) source: Cow<'a, str>,
    pub(super) data: D,
    pub(super) fee: Amount,
    pub(super) nonce: Nonce,
    pub(super) reference: WireReference,
    #[serde(borrow)]
    pub(super) multisig: Option<WireMultisig<'a>>,
    #[serde(borrow)]
    pub(super) signature: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct WireReference {
    pub(super) hash: BlockHash,
    pub(super) topoheight: TopoHeight,
}

#[derive(Deserialize)]
pub(super) struct WireMultisig<'a> {
    #[serde(borrow)]
    pub(super) signatures: Vec<WireSignature<'a>>,
}

#[derive(Deserialize)]
pub(super) struct WireSignature<'a> {
    pub(super) id: u8,
    #[serde(borrow)]
    pub(super) signature: Cow<'a, str>,
}

/// The data of a transaction: one tag, and what stands under it.
pub(super) enum WireData<'a> {
    Transfers(Vec<WireTransfer<'a>>),
    Burn(WireBurn),
    MultiSig(WireConfig),
    Other { tag: Cow<'a, str>, body: &'a RawValue },
}

#[derive(Deserialize)]
pub(super) struct WireTransfer<'a> {
    pub(super) asset: AssetId,
    #[serde(borrow)]
    pub(super) destination: Cow<'a, str>,
    pub(super) amount: Amount,
    pub(super) extra_data: Option<ExtraData>,
}

#[derive(Deserialize)]
pub(super) struct WireBurn {
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
}

#[derive(Deserialize)]
pub(super) struct WireConfig {
    pub(super) threshold: u8,
    /// Raw keys, not addresses.
    pub(super) participants: Vec<[u8; 32]>,
}

impl<'de: 'a, 'a> Deserialize<'de> for WireData<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = WireData<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the kind of the transaction and its body")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<WireData<'de>, M::Error> {
        let Some(Tag(tag)) = map.next_key()? else {
            return Err(M::Error::custom("the kind of the transaction is missing"));
        };
        let data = match &*tag {
            "transfers" => WireData::Transfers(map.next_value()?),
            "burn" => WireData::Burn(map.next_value()?),
            "multi_sig" => WireData::MultiSig(map.next_value()?),
            _ => WireData::Other { tag, body: map.next_value()? },
        };
        // A second kind would be bound by no hash.
        match map.next_entry::<IgnoredAny, IgnoredAny>()? {
            None => Ok(data),
            Some(_) => Err(M::Error::custom("a transaction is of one kind only")),
        }
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Tag<'a>(#[serde(borrow)] Cow<'a, str>);

/// Bytes as the node shows them, an array of numbers. Hex digits are read as well: the hash of the
/// transaction settles which bytes were meant.
pub(super) struct ExtraData(pub(super) Vec<u8>);

impl<'de> Deserialize<'de> for ExtraData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl<'de> Visitor<'de> for BytesVisitor {
            type Value = ExtraData;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of bytes or hex digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ExtraData, E> {
                hex::decode(text).map(ExtraData).map_err(E::custom)
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<ExtraData, S::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(ExtraData(bytes))
            }
        }

        deserializer.deserialize_any(BytesVisitor)
    }
}
