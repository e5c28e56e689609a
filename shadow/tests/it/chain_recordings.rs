//! Every block that a real node answered, read and checked.

use serde_json::Value;
use shadow::chain::{
    Block, Network, NetworkAddress, OpaqueKind, Transaction, TransactionData, block_to_json,
    decode_block, decode_transaction,
};
use storage_snapshot::{Amount, TopoHeight};

use crate::chain_fixture::{answers, recorded_blocks};

fn blocks(recording: &str) -> Vec<Block> {
    recorded_blocks(recording)
        .map(|json| decode_block(json.get()).unwrap_or_else(|error| panic!("{error}")))
        .collect()
}

#[track_caller]
fn check(recording: &str, block_count: usize, transactions: usize, opaque: &[(u64, OpaqueKind)]) {
    let blocks = blocks(recording);
    assert_eq!(blocks.len(), block_count);
    let mut transactions_found = 0;
    let mut opaque_found = Vec::new();
    for (topoheight, block) in (0..).zip(&blocks) {
        assert_eq!(block.topoheight, TopoHeight::new(topoheight));
        assert_eq!(block.network, Network::Test);
        assert!(!block.has_duplicate_transactions());
        transactions_found += block.transactions.len();
        opaque_found.extend(block.opaque_transactions().map(|(_, kind)| (topoheight, kind)));
    }
    assert_eq!(transactions_found, transactions);
    assert_eq!(opaque_found, opaque);
}

#[test]
fn the_main_recording_is_read_and_only_its_known_transactions_are_opaque() {
    let opaque = [
        (49, OpaqueKind::DeployContract),
        (62, OpaqueKind::InvokeContract),
        (64, OpaqueKind::InvokeContract),
        (159, OpaqueKind::Energy),
        (165, OpaqueKind::EnergyFee),
        (288, OpaqueKind::Energy),
        (288, OpaqueKind::EnergyFee),
    ];
    check("serial-main", 435, 1_064, &opaque);
}

#[test]
fn the_parallel_recording_is_read_and_nothing_in_it_is_opaque() {
    check("parallel-a", 35, 8, &[]);
}

#[test]
fn what_an_opaque_transaction_may_touch_is_told() {
    let blocks = blocks("serial-main");
    let data_at = |topoheight: usize| {
        let mut opaque = blocks[topoheight].transactions.iter().filter_map(|tx| match &tx.data {
            TransactionData::Opaque(data) => Some((tx.hash, data)),
            _ => None,
        });
        opaque.next().expect("an opaque transaction")
    };
    let (contract, deployment) = data_at(49);
    assert_eq!(deployment.max_gas(), Some(Amount::new(150_000_000)));
    assert_eq!(deployment.deposits().len(), 0);
    let (_, call) = data_at(62);
    assert_eq!(call.contract(), Some(contract));
    assert_eq!(call.max_gas(), Some(Amount::new(1_000_000)));
    assert!(data_at(159).1.energy().is_some());
}

#[test]
fn every_block_is_written_and_read_back() {
    for recording in ["serial-main", "parallel-a"] {
        for block in blocks(recording) {
            let json = block_to_json(&block).unwrap();
            assert_eq!(decode_block(&json).unwrap(), block);
        }
    }
}

/// The node's own fields, each with the node's own value, but for those that a block does not keep.
#[test]
fn a_written_block_has_the_shape_of_the_recorded_one() {
    fn strip(value: &mut Value) {
        let fields = value.as_object_mut().expect("an object");
        for ignored in ["difficulty", "blue_work", "total_size_in_bytes", "size"] {
            fields.remove(ignored);
        }
        for transaction in fields.get_mut("transactions").into_iter().flat_map(Value::as_array_mut)
        {
            transaction.iter_mut().for_each(strip);
        }
    }
    for json in recorded_blocks("serial-main") {
        let mut recorded: Value = serde_json::from_str(json.get()).unwrap();
        strip(&mut recorded);
        let written = block_to_json(&decode_block(json.get()).unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), recorded);
    }
}

#[test]
fn every_executed_transaction_is_written_in_binary_and_read_back() {
    let mut written = 0;
    for block in blocks("serial-main").into_iter().chain(blocks("parallel-a")) {
        for transaction in block.transactions {
            if matches!(transaction.data, TransactionData::Opaque(_)) {
                continue;
            }
            let bytes = transaction.to_bytes().unwrap();
            assert_eq!(Transaction::from_bytes(&bytes), Ok(transaction));
            written += 1;
        }
    }
    assert_eq!(written, 1_064 - 5 + 8);
}

#[test]
fn every_answer_about_one_transaction_is_read() {
    let mut count = 0;
    for json in answers("serial-main", "txs", "get_transaction") {
        if let Err(error) = decode_transaction(json.get(), Network::Test) {
            panic!("{error}");
        }
        count += 1;
    }
    assert_eq!(count, 1_056);
}

#[test]
fn every_recorded_address_is_read_and_written_back() {
    fn walk(value: &Value, addresses: &mut Vec<String>) {
        match value {
            Value::String(text) if text.starts_with("tst1") => addresses.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| walk(value, addresses)),
            Value::Object(fields) => fields.values().for_each(|value| walk(value, addresses)),
            _ => {}
        }
    }
    let mut addresses = Vec::new();
    for recording in ["serial-main", "parallel-a"] {
        for file in ["blocks", "txs", "node"] {
            for line in crate::chain_fixture::lines::<Value>(recording, file) {
                walk(&line, &mut addresses);
            }
        }
    }
    assert!(addresses.len() > 5_000, "{}", addresses.len());
    for text in addresses {
        let address: NetworkAddress = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(address.to_string(), text);
    }
}
