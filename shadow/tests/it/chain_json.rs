use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use shadow::chain::{
    Block, Network, NetworkAddress, OpaqueKind, block_to_json, decode_block, decode_transaction,
    transaction_to_json,
};

use crate::chain_fixture::{
    block_of, executed_data, rebuildable_data, recorded_blocks, transaction,
};

/// A recorded block with three executed transactions.
fn recorded() -> Value {
    let json = recorded_blocks("serial-main").last().expect("a block");
    serde_json::from_str(json.get()).unwrap()
}

/// What becomes of the recorded block when its answer is altered.
#[track_caller]
fn altered(alter: impl FnOnce(&mut Value)) -> Result<Block, String> {
    let mut block = recorded();
    alter(&mut block);
    decode_block(&block.to_string()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(alter: impl FnOnce(&mut Value), words: &[&str]) {
    let error = altered(alter).expect_err("the block contradicts itself");
    for word in words {
        assert!(error.contains(word), "{word:?} is missing: {error}");
    }
}

#[test]
fn a_block_out_of_order_is_not_taken() {
    refused(|block| block["topoheight"] = Value::Null, &["79148eb29f", "topoheight", "has none"]);
    refused(|block| block["block_type"] = json!("Orphaned"), &["topoheight 434", "block_type"]);
    refused(|block| block["block_type"] = json!("Pending"), &["topoheight 434", "block_type"]);
}

#[test]
fn a_block_that_contradicts_itself_is_not_taken() {
    refused(|block| block["miner_reward"] = json!(1), &["topoheight 434", "miner_reward 1 "]);
    refused(|block| block["reward"] = Value::Null, &["topoheight 434", "reward: missing"]);
    refused(|block| block["supply"] = Value::Null, &["topoheight 434", "supply: missing"]);
    refused(
        |block| {
            block["miner_reward"] = json!(u64::MAX);
            block["dev_reward"] = json!(u64::MAX);
        },
        &["topoheight 434", "dev_reward"],
    );
}

#[test]
fn transactions_must_be_the_listed_ones_in_order() {
    refused(|block| block["transactions"] = json!([]), &["topoheight 434", "ask with include_txs"]);
    refused(
        |block| drop(block.as_object_mut().unwrap().remove("transactions")),
        &["topoheight 434", "ask with include_txs"],
    );
    refused(
        |block| drop(block["transactions"].as_array_mut().unwrap().pop()),
        &["topoheight 434", "2 came with 3 hashes"],
    );
    refused(
        |block| block["transactions"].as_array_mut().unwrap().swap(0, 2),
        &["topoheight 434", "transactions[0]", "c0c52b7aeb", "9cc8acbbc3"],
    );
    refused(
        |block| block["txs_hashes"].as_array_mut().unwrap().swap(0, 2),
        &["topoheight 434", "hash: the content hashes to"],
    );
}

#[test]
fn a_field_of_another_form_is_named() {
    refused(
        |block| block["transactions"][1]["data"]["transfers"][0]["amount"] = json!("1"),
        &["topoheight 434", "7f8977594f", "data.transfers[0].amount"],
    );
    refused(
        |block| block["transactions"][1]["data"]["transfers"][0]["amount"] = json!(1.0),
        &["topoheight 434", "7f8977594f", "data.transfers[0].amount"],
    );
    refused(
        |block| block["transactions"][1]["reference"]["hash"] = json!("00"),
        &["topoheight 434", "7f8977594f", "reference.hash"],
    );
    refused(
        |block| block["transactions"][2]["source"] = json!("tst1qqq"),
        &["topoheight 434", "c0c52b7aeb", "source"],
    );
    refused(
        |block| block["transactions"][2]["signature"] = json!("00"),
        &["topoheight 434", "c0c52b7aeb", "signature"],
    );
    refused(|block| block["timestamp"] = json!(-1), &["topoheight 434", "timestamp"]);
    refused(|block| block["extra_nonce"] = json!("zz"), &["topoheight 434", "extra_nonce"]);
    refused(|block| block["miner"] = json!("tst1qqq"), &["topoheight 434", "miner"]);
}

#[test]
fn what_is_not_a_block_at_all_says_so() {
    #[track_caller]
    fn check(text: &str) {
        let error = decode_block(text).unwrap_err().to_string();
        assert!(error.contains("neither its hash nor its topoheight"), "{error}");
    }
    check("");
    check("null");
    check("[]");
    check("{}");
    check(&"[".repeat(100_000));
}

#[test]
fn one_block_is_of_one_network() {
    let other = |text: &Value| {
        let address: NetworkAddress = text.as_str().unwrap().parse().unwrap();
        json!(NetworkAddress { network: Network::Mainnet, ..address }.to_string())
    };
    refused(
        |block| {
            block["transactions"][1]["source"] = other(&block["transactions"][1]["source"]);
        },
        &["topoheight 434", "7f8977594f", "source", "mainnet"],
    );
    refused(
        |block| {
            let transfer = &mut block["transactions"][1]["data"]["transfers"][0];
            transfer["destination"] = other(&transfer["destination"]);
        },
        &["topoheight 434", "7f8977594f", "data.transfers[0].destination", "mainnet"],
    );
    refused(|block| block["miner"] = other(&block["miner"]), &["topoheight 434", "source"]);
}

#[track_caller]
fn becomes_opaque(alter: impl FnOnce(&mut Value), kind: OpaqueKind) {
    let block = altered(|block| alter(&mut block["transactions"][1])).unwrap();
    assert_eq!(block.opaque_transactions().collect::<Vec<_>>(), [(1, kind)]);
    assert_eq!(decode_block(&block_to_json(&block).unwrap()).unwrap(), block);
}

#[test]
fn what_is_new_on_the_chain_is_opaque_and_no_error() {
    becomes_opaque(
        |tx| tx["data"] = json!({"uno_transfers": [{"commitment": "00"}]}),
        OpaqueKind::UnknownKind,
    );
    becomes_opaque(|tx| tx["data"] = json!({"energy": {"Melt": 1}}), OpaqueKind::UnknownKind);
    becomes_opaque(|tx| tx["data"] = json!({"\"": null}), OpaqueKind::UnknownKind);
    becomes_opaque(|tx| tx["data"] = json!({"a_i_mining": {}}), OpaqueKind::AiMining);
    becomes_opaque(
        |tx| {
            tx["version"] = json!(255);
            tx["data"] = json!({"transfers": "of another shape"});
        },
        OpaqueKind::UnknownVersion,
    );
}

#[test]
fn what_only_looks_new_is_an_error() {
    refused(
        |block| block["transactions"][1]["version"] = json!(1),
        &["topoheight 434", "7f8977594f", "version: without it"],
    );
    refused(
        |block| {
            let transfers = block["transactions"][1]["data"]["transfers"].take();
            block["transactions"][1]["data"] = json!({ "transfer": transfers });
        },
        &["topoheight 434", "7f8977594f", "data: without it"],
    );
}

#[test]
fn a_transaction_is_of_one_kind() {
    refused(
        |block| {
            let data = &mut block["transactions"][1]["data"];
            data["zzz"] = json!({"amount": 1});
        },
        &["topoheight 434", "7f8977594f", "one kind only"],
    );
    refused(
        |block| block["transactions"][1]["data"] = json!({}),
        &["topoheight 434", "7f8977594f", "data"],
    );
}

#[test]
fn new_fields_are_ignored() {
    let block = altered(|block| {
        block["colour"] = json!({"red": [1, 2]});
        block["transactions"][0]["chain_id"] = json!(3);
        block["transactions"][0]["reference"]["at"] = json!("noon");
    });
    assert_eq!(block.map(|block| block.topoheight.as_u64()), Ok(434));
}

#[test]
fn a_repeated_transaction_is_noticed() {
    let mut block = decode_block(&recorded().to_string()).unwrap();
    assert!(!block.has_duplicate_transactions());
    block.transactions.push(block.transactions[0].clone());
    let block = block.seal();
    assert!(block.has_duplicate_transactions());
    assert_eq!(decode_block(&block_to_json(&block).unwrap()).unwrap(), block);
}

#[test]
fn escapes_in_a_text_are_read() {
    let text = recorded().to_string().replace("tst1", r"\u0074st1");
    assert!(decode_block(&text).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_sealed_block_is_written_and_read_back(
        transactions in vec(
            transaction(prop_oneof![3 => executed_data(), 1 => rebuildable_data()], 0..3),
            0..4,
        ),
        mainnet: bool,
    ) {
        let mut block = block_of(transactions);
        block.network = if mainnet { Network::Mainnet } else { Network::Test };
        let json = block_to_json(&block).unwrap();
        prop_assert_eq!(decode_block(&json).map_err(|error| error.to_string()), Ok(block));
    }

    #[test]
    fn extra_data_may_be_hex_digits(transaction in transaction(executed_data(), 0..2)) {
        let mut json: Value =
            serde_json::from_str(&transaction_to_json(&transaction, Network::Test).unwrap()).unwrap();
        let transfers = json.pointer_mut("/data/transfers").and_then(Value::as_array_mut);
        for transfer in transfers.into_iter().flatten() {
            if let Some(bytes) = transfer["extra_data"].as_array() {
                let bytes: Vec<u8> =
                    bytes.iter().map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()).collect();
                transfer["extra_data"] = json!(hex::encode(bytes));
            }
        }
        let read = decode_transaction(&json.to_string(), Network::Test);
        prop_assert_eq!(read.map_err(|error| error.to_string()), Ok(transaction));
    }
}
