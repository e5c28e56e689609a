//! The protocol's test vector: both engines, given its request, give its response.

use std::{path::Path, sync::Arc};

use comparator::{Execution, Schedule, StateEntryJson, decode_execution};
use serde_json::Value;
use shadow::{
    chain::{FeeType, Reference, Transaction, TransactionData, Transfer},
    execute::{
        BlockExecutor, ExecutableBlock, ExecutableTransaction, PreState, SerialExecutor,
        parallel::ParallelExecutor,
    },
    rules::Reward,
};
use storage_snapshot::{
    Amount, BlockHash, BlockRef, MultisigConfig, Nonce, StateKey, StateValue, TopoHeight,
};

#[test]
fn the_serial_engine_gives_the_response_of_the_protocol() {
    check(&SerialExecutor, 1);
}

#[test]
fn the_parallel_engine_gives_the_response_of_the_protocol() {
    check(&ParallelExecutor::new(4).unwrap(), 4);
}

#[track_caller]
pub(crate) fn check(executor: &dyn BlockExecutor, workers: u32) {
    let vector = vector();
    let expected = decode_execution(&vector["response"]["result"].to_string()).unwrap();
    let params = &vector["request"]["params"];
    let block = Arc::new(block(&params["block"]));
    let pre_state = Arc::new(pre_state(&params["pre_state"]));
    let schedule = Schedule { workers, seed: 7 };
    let found = executor.execute(&block, &pre_state, schedule).unwrap().execution;
    let sorted = |mut execution: Execution| {
        execution.outcomes.sort_by_key(|outcome| outcome.hash);
        (execution.outcomes, execution.delta, execution.totals)
    };
    assert_eq!(sorted(found), sorted(expected));
}

fn vector() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../comparator/tests/fixtures/candidate-protocol.example.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn pre_state(json: &Value) -> PreState {
    let entries: Vec<StateEntryJson> = serde_json::from_value(json.clone()).unwrap();
    let entry = |entry: StateEntryJson| -> (StateKey, StateValue) {
        let (key, value): (StateKey, Option<StateValue>) = entry.try_into().unwrap();
        (key, value.unwrap())
    };
    entries.into_iter().map(entry).collect()
}

fn block(json: &Value) -> ExecutableBlock {
    let transactions = json["transactions"].as_array().unwrap();
    ExecutableBlock {
        block: BlockRef {
            topoheight: TopoHeight::new(number(&json["topoheight"])),
            hash: parse(&json["hash"]),
        },
        side_block: json["block_type"] == "side",
        miner: parse(&json["miner"]),
        dev: parse(&json["dev"]),
        reward: Reward {
            miner: Amount::new(number(&json["miner_reward"])),
            dev: Amount::new(number(&json["dev_reward"])),
        },
        transactions: transactions.iter().map(transaction).collect(),
    }
}

fn transaction(json: &Value) -> ExecutableTransaction {
    let body = Transaction {
        hash: parse(&json["hash"]),
        version: 0,
        source: parse(&json["source"]),
        data: data(&json["data"]),
        fee: Amount::new(number(&json["fee"])),
        fee_type: FeeType::Tos,
        nonce: Nonce::new(number(&json["nonce"])),
        reference: Reference { hash: BlockHash::new([0; 32]), topoheight: TopoHeight::GENESIS },
        multisig: None,
        signature: [0; 64],
    };
    ExecutableTransaction { body, already_executed: json["already_executed"] == true }
}

fn data(json: &Value) -> TransactionData {
    if let Some(transfers) = json["transfers"].as_array() {
        let transfer = |json: &Value| Transfer {
            asset: parse(&json["asset"]),
            destination: parse(&json["destination"]),
            amount: Amount::new(number(&json["amount"])),
            extra_data: None,
        };
        return TransactionData::Transfers(transfers.iter().map(transfer).collect());
    }
    if let Some(burn) = json.get("burn") {
        let amount = Amount::new(number(&burn["amount"]));
        return TransactionData::Burn { asset: parse(&burn["asset"]), amount };
    }
    let config = &json["multi_sig"];
    TransactionData::Multisig(MultisigConfig {
        threshold: number(&config["threshold"]).try_into().unwrap(),
        participants: config["participants"].as_array().unwrap().iter().map(parse).collect(),
    })
}

fn number(json: &Value) -> u64 {
    json.as_u64().unwrap()
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(json: &Value) -> T {
    json.as_str().unwrap().parse().unwrap()
}
