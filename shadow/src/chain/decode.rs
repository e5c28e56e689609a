//! From the node's JSON to a block whose every bound field has been checked.
//!
//! The block hash binds the header and the list of transaction hashes; each of those binds a
//! transaction whose binary form can be rebuilt from the JSON. What remains is bound by nothing: the
//! topoheight, the claimed amounts, and the bodies of some opaque transactions.

mod plain;

use std::collections::HashSet;

use hex::FromHexError;
pub(crate) use plain::{ParsedBlock, parse_only};
use serde::Deserialize;
use serde_json::value::RawValue;
use storage_snapshot::{Address, Amount, MultisigConfig, TxHash, UniformState};

use super::{
    Block, BlockError, BlockHeader, BlockName, BlockProblem, BlockType, Claimed, EncodeError,
    FeeType, MultisigSignature, Network, NetworkAddress, OpaqueData, OpaqueKind, Reference,
    Transaction, TransactionData, TransactionError, TransactionProblem, Transfer,
    codec::fee_type_byte,
    hash::{BoundHeader, merkle_root},
    opaque::VERSION_KNOWN,
    transaction::hash_of,
    wire::{ExtraData, WireBlock, WireData, WireMultisig, WireTransaction, WireTransfer},
};

/// Reads a node's block, with its transactions, and checks every hash in it.
///
/// `json` is the value of `result` in the answer to `get_block_at_topoheight` and its like.
///
/// # Errors
///
/// When the block is not ordered, contradicts itself, or does not have the hash that it claims; the
/// error names the block, and the transaction and field where there is one. A transaction that is
/// not executed here is no error.
pub fn decode_block(json: &str) -> Result<Block, BlockError> {
    wire_block(json)
        .and_then(|wire| checked(wire, transactions))
        .map_err(|problem| BlockError { block: name_of(json), problem: Box::new(problem) })
}

/// Reads a node's transaction and checks its hash, where its binary form can be rebuilt.
///
/// # Errors
///
/// When a field does not have the node's form, an address belongs to another network than
/// `network`, or the content does not have the hash that it claims.
pub fn decode_transaction(json: &str, network: Network) -> Result<Transaction, TransactionError> {
    Decoder { network, scratch: Vec::new() }.transaction(json)
}

/// Reads a node's block without its transactions, and checks its hash.
///
/// `json` is one entry of the answer to `get_blocks_range_by_topoheight`, or of its like.
///
/// # Errors
///
/// As [`decode_block`], but for the transactions.
pub fn decode_header(json: &str) -> Result<BlockHeader, BlockError> {
    let header = || Ok(Checked::of(&wire_block(json)?)?.header);
    header().map_err(|problem| BlockError { block: name_of(json), problem: Box::new(problem) })
}

/// The block that was parsed, with the transactions that `decode` makes of those in it: as many as there
/// are hashes, and with these.
fn checked<T, P: From<BlockProblem>>(
    wire: WireBlock<'_, T>,
    decode: impl FnOnce(&[TxHash], &[T], Network) -> Result<Vec<Transaction>, P>,
) -> Result<Block, P> {
    let Checked { header, extra_nonce, network } = Checked::of(&wire)?;
    Ok(Block {
        hash: header.hash,
        topoheight: header.topoheight,
        block_type: wire.block_type,
        network,
        version: header.version,
        blue_score: header.blue_score,
        timestamp_ms: wire.timestamp,
        nonce: wire.nonce,
        extra_nonce,
        miner: header.miner,
        transactions: decode(
            &wire.txs_hashes,
            wire.transactions.as_deref().unwrap_or_default(),
            network,
        )?,
        tips: wire.tips,
        claimed: header.claimed,
    })
}

fn wire_block(json: &str) -> Result<WireBlock<'_>, BlockProblem> {
    serde_json::from_str(json)
        .map_err(|source| BlockProblem::Json { field: path_of::<WireBlock<'_>>(json), source })
}

/// A header that has the hash that it claims.
struct Checked {
    header: BlockHeader,
    extra_nonce: [u8; 32],
    network: Network,
}

impl Checked {
    fn of<T>(wire: &WireBlock<'_, T>) -> Result<Self, BlockProblem> {
        let topoheight = wire.topoheight.ok_or(BlockProblem::NotOrdered)?;
        if wire.block_type == BlockType::Orphaned {
            return Err(BlockProblem::OrphanedInOrder);
        }
        let NetworkAddress { account: miner, network } =
            wire.miner.parse().map_err(BlockProblem::Miner)?;
        let mut extra_nonce = [0; 32];
        decode_hex(&wire.extra_nonce, &mut extra_nonce).map_err(BlockProblem::ExtraNonce)?;
        let claimed = claimed(wire)?;
        let merkle_root = merkle_root(wire.txs_hashes.iter().map(TxHash::as_bytes));
        if is_repetition(&wire.txs_hashes, &merkle_root) {
            return Err(BlockProblem::Repeated);
        }
        let computed = BoundHeader {
            version: wire.version,
            blue_score: wire.blue_score,
            tips: &wire.tips,
            merkle_root,
            timestamp_ms: wire.timestamp,
            nonce: wire.nonce,
            extra_nonce: &extra_nonce,
            miner: &miner,
        }
        .hash();
        if computed != wire.hash {
            return Err(BlockProblem::Hash { computed });
        }
        let header = BlockHeader {
            hash: wire.hash,
            topoheight,
            version: wire.version,
            blue_score: wire.blue_score,
            miner,
            transaction_count: wire.txs_hashes.len(),
            claimed,
        };
        Ok(Self { header, extra_nonce, network })
    }
}

fn claimed<T>(wire: &WireBlock<'_, T>) -> Result<Claimed, BlockProblem> {
    let present = |field, amount: Option<Amount>| amount.ok_or(BlockProblem::Missing { field });
    let reward = present("reward", wire.reward)?;
    let miner_reward = present("miner_reward", wire.miner_reward)?;
    let dev_reward = present("dev_reward", wire.dev_reward)?;
    let supply = present("supply", wire.supply)?;
    if miner_reward.checked_add(dev_reward) != Some(reward) {
        return Err(BlockProblem::Reward { reward, miner_reward, dev_reward });
    }
    Ok(Claimed { reward, miner_reward, dev_reward, supply, total_fees: wire.total_fees })
}

fn transactions(
    hashes: &[TxHash],
    texts: &[&RawValue],
    network: Network,
) -> Result<Vec<Transaction>, BlockProblem> {
    if hashes.len() != texts.len() {
        return Err(BlockProblem::TransactionCount {
            hashes: hashes.len(),
            transactions: texts.len(),
        });
    }
    let mut decoder = Decoder { network, scratch: Vec::new() };
    let decode = |(index, (listed, text)): (usize, (&TxHash, &&RawValue))| {
        let transaction = decoder
            .transaction(text.get())
            .map_err(|source| BlockProblem::Transaction { index, source })?;
        if transaction.hash != *listed {
            let claimed = transaction.hash;
            return Err(BlockProblem::TransactionOrder { index, listed: *listed, claimed });
        }
        Ok(transaction)
    };
    hashes.iter().zip(texts).enumerate().map(decode).collect()
}

/// Decodes the transactions of one block.
struct Decoder {
    network: Network,
    /// The binary form of the current transaction; kept for its capacity.
    scratch: Vec<u8>,
}

impl Decoder {
    fn transaction(&mut self, json: &str) -> Result<Transaction, TransactionError> {
        let wire: WireTransaction<'_> =
            serde_json::from_str(json).map_err(|source| TransactionError {
                transaction: claimed_hash_of(json),
                problem: TransactionProblem::Json {
                    field: path_of::<WireTransaction<'_>>(json),
                    source,
                },
            })?;
        self.checked(&wire)
            .map_err(|problem| TransactionError { transaction: Some(wire.hash), problem })
    }

    fn checked(&mut self, wire: &WireTransaction<'_>) -> Result<Transaction, TransactionProblem> {
        let source = self.source(wire)?;
        let data = self.data(wire.version, wire.data.get())?;
        let mut transaction = self.put_together(wire, source, data)?;
        transaction.fee_type = self.fee_type(&transaction)?;
        if let Some(field) = self.disguise(&transaction, wire.data.get()) {
            return Err(TransactionProblem::Disguised { field });
        }
        Ok(transaction)
    }

    fn source<D>(&self, wire: &WireTransaction<'_, D>) -> Result<Address, TransactionProblem> {
        self.account(&wire.source, || "source".to_owned())
    }

    /// The transaction, as if its fee were taken in the native asset.
    fn put_together<D>(
        &self,
        wire: &WireTransaction<'_, D>,
        source: Address,
        data: TransactionData,
    ) -> Result<Transaction, TransactionProblem> {
        Ok(Transaction {
            hash: wire.hash,
            version: wire.version,
            source,
            data,
            fee: wire.fee,
            fee_type: FeeType::Tos,
            nonce: wire.nonce,
            reference: Reference {
                hash: wire.reference.hash,
                topoheight: wire.reference.topoheight,
            },
            multisig: wire.multisig.as_ref().map(multisig).transpose()?,
            signature: signature(&wire.signature, || "signature".to_owned())?,
        })
    }

    /// The field that makes a transaction look unknown, if without it it would be one that hashes to
    /// what it claims. Such a field was altered: nothing that is really unknown has the hash of
    /// something known.
    fn disguise(&self, transaction: &Transaction, data: &str) -> Option<&'static str> {
        let (field, texts) = match transaction.opaque_kind()? {
            OpaqueKind::UnknownVersion => ("version", vec![data.to_owned()]),
            OpaqueKind::UnknownKind => {
                let WireData::Other { body, .. } = serde_json::from_str(data).ok()? else {
                    return None;
                };
                let retagged = REBUILDABLE_TAGS.map(|tag| format!("{{\"{tag}\":{body}}}"));
                ("data", retagged.into())
            }
            _ => return None,
        };
        texts
            .iter()
            .filter_map(|text| self.data(VERSION_KNOWN, text).ok())
            .flat_map(|data| {
                [FeeType::Tos, FeeType::Energy].map(|fee_type| (data.clone(), fee_type))
            })
            .any(|(data, fee_type)| {
                let known =
                    Transaction { version: VERSION_KNOWN, data, fee_type, ..transaction.clone() };
                known.computed_hash().is_ok_and(|computed| computed == transaction.hash)
            })
            .then_some(field)
    }

    fn data(&self, version: u8, text: &str) -> Result<TransactionData, TransactionProblem> {
        let malformed = |source| TransactionProblem::Json {
            field: match path_of::<WireData<'_>>(text).as_str() {
                "." => "data".to_owned(),
                path => format!("data.{path}"),
            },
            source,
        };
        if version != VERSION_KNOWN {
            let data = OpaqueData::from_json(version, text).map_err(malformed)?;
            return Ok(TransactionData::Opaque(Box::new(data)));
        }
        self.known(&serde_json::from_str(text).map_err(malformed)?)
    }

    fn known(&self, data: &WireData<'_>) -> Result<TransactionData, TransactionProblem> {
        Ok(match data {
            WireData::Transfers(transfers) => {
                let mut all = Vec::with_capacity(transfers.len());
                for (index, transfer) in transfers.iter().enumerate() {
                    all.push(self.transfer(index, transfer)?);
                }
                TransactionData::Transfers(all)
            }
            WireData::Burn(burn) => {
                TransactionData::Burn { asset: burn.asset, amount: burn.amount }
            }
            WireData::MultiSig(config) => TransactionData::Multisig(MultisigConfig {
                threshold: config.threshold,
                participants: config.participants.iter().copied().map(Address::new).collect(),
            }),
            WireData::Other { tag, body } => {
                TransactionData::Opaque(Box::new(OpaqueData::of_tag(tag, body)))
            }
        })
    }

    fn transfer(
        &self,
        index: usize,
        transfer: &WireTransfer<'_>,
    ) -> Result<Transfer, TransactionProblem> {
        Ok(Transfer {
            asset: transfer.asset,
            destination: self.account(&transfer.destination, || {
                format!("data.transfers[{index}].destination")
            })?,
            amount: transfer.amount,
            extra_data: transfer.extra_data.as_ref().map(|ExtraData(bytes)| bytes.clone()),
        })
    }

    fn account(
        &self,
        text: &str,
        field: impl Fn() -> String,
    ) -> Result<Address, TransactionProblem> {
        let NetworkAddress { account, network } = text
            .parse()
            .map_err(|source| TransactionProblem::Address { field: field(), source })?;
        if network != self.network {
            return Err(TransactionProblem::Network {
                field: field(),
                found: network,
                expected: self.network,
            });
        }
        Ok(account)
    }

    /// What pays for the transaction: the JSON does not say, but only one of the two gives the hash
    /// that the transaction claims. If neither does, the content is not what was hashed.
    fn fee_type(&mut self, transaction: &Transaction) -> Result<FeeType, TransactionProblem> {
        self.scratch.clear();
        let fee_type_offset = match transaction.write(&mut self.scratch) {
            Ok(offset) => offset,
            // Only the list of hashes in the block binds it. It is opaque already, so its fee is
            // not taken here.
            Err(EncodeError::BodyUnknown(_) | EncodeError::Version(_)) => return Ok(FeeType::Tos),
            Err(source) => return Err(TransactionProblem::Unencodable(source)),
        };
        let computed = hash_of(&self.scratch);
        if computed == transaction.hash {
            return Ok(FeeType::Tos);
        }
        if let Some(byte) = self.scratch.get_mut(fee_type_offset) {
            *byte = fee_type_byte(FeeType::Energy);
        }
        if hash_of(&self.scratch) == transaction.hash {
            return Ok(FeeType::Energy);
        }
        Err(TransactionProblem::Hash { computed })
    }
}

fn multisig(wire: &WireMultisig<'_>) -> Result<Vec<MultisigSignature>, TransactionProblem> {
    wire.signatures
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            let field = || format!("multisig.signatures[{index}].signature");
            Ok(MultisigSignature { id: entry.id, signature: signature(&entry.signature, field)? })
        })
        .collect()
}

fn signature(text: &str, field: impl Fn() -> String) -> Result<[u8; 64], TransactionProblem> {
    let mut bytes = [0; 64];
    decode_hex(text, &mut bytes)
        .map_err(|source| TransactionProblem::Signature { field: field(), source })?;
    Ok(bytes)
}

/// Decodes hex digits of either case. The fast way does not say what is wrong with them.
fn decode_hex(text: &str, bytes: &mut [u8]) -> Result<(), FromHexError> {
    if text.len() == 2 * bytes.len() && faster_hex::hex_decode(text.as_bytes(), bytes).is_ok() {
        return Ok(());
    }
    hex::decode_to_slice(text, bytes)
}

/// The kinds whose binary form can be rebuilt from the JSON, by their tags there.
const REBUILDABLE_TAGS: [&str; 5] = ["transfers", "burn", "multi_sig", "energy", "invoke_contract"];

/// Whether a list of transactions repeats some so that it has the Merkle root of the list without
/// them. The hash of the block cannot tell the two apart, so the list is not bound by it.
fn is_repetition(hashes: &[TxHash], root: &[u8; 32]) -> bool {
    let mut seen = HashSet::with_capacity_and_hasher(hashes.len(), UniformState::default());
    if hashes.iter().all(|hash| seen.insert(hash)) {
        return false;
    }
    seen.clear();
    let distinct = hashes.iter().filter(|hash| seen.insert(hash));
    merkle_root(distinct.map(TxHash::as_bytes)) == *root
}

/// What a text that is not a block says of its identity.
fn name_of(json: &str) -> BlockName {
    #[derive(Default, Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        hash: Option<&'a RawValue>,
        #[serde(borrow)]
        topoheight: Option<&'a RawValue>,
    }
    let Wire { hash, topoheight } = serde_json::from_str(json).unwrap_or_default();
    BlockName { hash: hash.and_then(parsed), topoheight: topoheight.and_then(parsed) }
}

/// The hash that a text claims that is not a transaction.
fn claimed_hash_of(json: &str) -> Option<TxHash> {
    #[derive(Default, Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        hash: Option<&'a RawValue>,
    }
    serde_json::from_str::<Wire<'_>>(json).unwrap_or_default().hash.and_then(parsed)
}

fn parsed<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// The path of the field that keeps a text from being a `T`. Following the path costs time, so it
/// is only done once the text is known to be wrong.
fn path_of<'a, T: Deserialize<'a>>(json: &'a str) -> String {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => String::from("after the end"),
        Err(error) => error.path().to_string(),
    }
}
