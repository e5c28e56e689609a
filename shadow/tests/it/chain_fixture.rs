//! Answers of a real node, and made-up transactions, for the tests of the block language.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::GzDecoder;
use proptest::{collection::vec, option, prelude::*};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use shadow::chain::{
    Block, BlockType, Claimed, FeeType, MultisigSignature, Network, OpaqueData, Reference,
    Transaction, TransactionData, Transfer,
};
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, BlueScore, MultisigConfig, Nonce, TopoHeight, TxHash,
};

/// One question to the node and its answer.
#[derive(Deserialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) result: Option<Box<RawValue>>,
}

/// The lines of one file of a recording.
pub(crate) fn lines<T: DeserializeOwned>(recording: &str, file: &str) -> impl Iterator<Item = T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/recordings")
        .join(recording)
        .join(format!("{file}.jsonl.gz"));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    BufReader::new(GzDecoder::new(file)).lines().map(|line| {
        serde_json::from_str(&line.expect("the file can be unpacked")).expect("a line is JSON")
    })
}

/// The answers to one method, without errors.
pub(crate) fn answers(
    recording: &str,
    file: &str,
    method: &'static str,
) -> impl Iterator<Item = Box<RawValue>> {
    lines::<Exchange>(recording, file)
        .filter(move |exchange| exchange.method == method)
        .filter_map(|exchange| exchange.result)
}

/// The blocks of a recording, as JSON.
pub(crate) fn recorded_blocks(recording: &str) -> impl Iterator<Item = Box<RawValue>> {
    answers(recording, "blocks", "get_block_at_topoheight")
}

/// Any 32 bytes.
pub(crate) fn any_id() -> impl Strategy<Value = [u8; 32]> {
    prop::array::uniform32(any::<u8>())
}

fn any_signature() -> impl Strategy<Value = [u8; 64]> {
    (any_id(), any_id()).prop_map(|(s, e)| {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&s);
        signature[32..].copy_from_slice(&e);
        signature
    })
}

fn any_multisig(
    count: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Option<Vec<MultisigSignature>>> {
    let one = (any::<u8>(), any_signature())
        .prop_map(|(id, signature)| MultisigSignature { id, signature });
    option::of(vec(one, count))
}

fn any_transfer() -> impl Strategy<Value = Transfer> {
    (any_id(), any_id(), any::<u64>(), option::of(vec(any::<u8>(), 0..200))).prop_map(
        |(asset, destination, amount, extra_data)| Transfer {
            asset: AssetId::new(asset),
            destination: Address::new(destination),
            amount: Amount::new(amount),
            extra_data,
        },
    )
}

/// Any data of an executed kind that has a binary form.
pub(crate) fn executed_data() -> impl Strategy<Value = TransactionData> {
    let burn = (any_id(), any::<u64>()).prop_map(|(asset, amount)| TransactionData::Burn {
        asset: AssetId::new(asset),
        amount: Amount::new(amount),
    });
    let participants = vec(any_id().prop_map(Address::new), 0..=255);
    let multisig = (1_u8.., participants).prop_map(|(threshold, participants)| {
        TransactionData::Multisig(MultisigConfig { threshold, participants })
    });
    let deletion =
        TransactionData::Multisig(MultisigConfig { threshold: 0, participants: Vec::new() });
    prop_oneof![
        4 => vec(any_transfer(), 0..6).prop_map(TransactionData::Transfers),
        1 => vec(any_transfer(), 255).prop_map(TransactionData::Transfers),
        2 => burn,
        2 => multisig,
        1 => Just(deletion),
    ]
}

/// Data that is not executed, but whose binary form follows from its JSON.
pub(crate) fn rebuildable_data() -> impl Strategy<Value = TransactionData> {
    let freeze = (any::<u64>(), any::<u32>()).prop_map(|(amount, days)| {
        format!(
            r#"{{"energy":{{"FreezeTos":{{"amount":{amount},"duration":{{"days":{days}}}}}}}}}"#
        )
    });
    let unfreeze = any::<u64>()
        .prop_map(|amount| format!(r#"{{"energy":{{"UnfreezeTos":{{"amount":{amount}}}}}}}"#));
    let call = (any_id(), any::<u16>(), any::<u64>()).prop_map(|(contract, chunk, max_gas)| {
        let contract = TxHash::new(contract);
        format!(
            r#"{{"invoke_contract":{{"contract":"{contract}","deposits":{{}},"chunk_id":{chunk},"max_gas":{max_gas},"parameters":[]}}}}"#
        )
    });
    prop_oneof![freeze, unfreeze, call].prop_map(|json| {
        TransactionData::Opaque(Box::new(OpaqueData::from_json(0, &json).expect("it is JSON")))
    })
}

/// Any transaction with such data, under its own hash.
pub(crate) fn transaction(
    data: impl Strategy<Value = TransactionData>,
    signatures: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Transaction> {
    let fee_type = prop_oneof![Just(FeeType::Tos), Just(FeeType::Energy)];
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    (any_id(), data, numbers, fee_type, any_id(), any_multisig(signatures), any_signature())
        .prop_map(
            |(source, data, (fee, nonce, topoheight), fee_type, hash, multisig, signature)| {
                let unsealed = Transaction {
                    hash: TxHash::new([0; 32]),
                    version: 0,
                    source: Address::new(source),
                    data,
                    fee: Amount::new(fee),
                    fee_type,
                    nonce: Nonce::new(nonce),
                    reference: Reference {
                        hash: BlockHash::new(hash),
                        topoheight: TopoHeight::new(topoheight),
                    },
                    multisig,
                    signature,
                };
                unsealed.seal().expect("such data has a binary form")
            },
        )
}

/// A block of these transactions, under its own hash.
pub(crate) fn block_of(transactions: Vec<Transaction>) -> Block {
    let unsealed = Block {
        hash: BlockHash::new([0; 32]),
        topoheight: TopoHeight::new(7),
        block_type: BlockType::Normal,
        network: Network::Test,
        version: 3,
        blue_score: BlueScore::new(6),
        timestamp_ms: 1_700_000_000_000,
        nonce: u64::MAX,
        extra_nonce: [9; 32],
        miner: Address::new([1; 32]),
        tips: vec![BlockHash::new([2; 32]), BlockHash::new([3; 32])],
        transactions,
        claimed: Claimed {
            reward: Amount::new(100),
            miner_reward: Amount::new(90),
            dev_reward: Amount::new(10),
            supply: Amount::new(18_446_744_073_709_551_615),
            total_fees: None,
        },
    };
    unsealed.seal()
}
