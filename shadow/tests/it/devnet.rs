//! The stand-in node answers as a real one did.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use shadow::{
    chain::{Network, NetworkAddress, decode_block},
    devnet::{DevnetChain, DevnetNode, DevnetOptions, Pace},
    source::{BlockSource, GeneratedChain, Profile},
};
use storage_snapshot::{Address, AssetId, StateKey, StateValue, TopoHeight};

use crate::{
    devnet_client::{Client, generated, serving},
    recordings::recording,
    walk::{Walk, standing},
};

#[test]
fn every_recorded_question_gets_the_recorded_answer() {
    #[track_caller]
    fn check(name: &str, file: &str, least: usize, client: &Client) {
        let exchanges = lines(&recording(name).join(format!("{file}.jsonl.gz")));
        let exchanges: Vec<_> = exchanges.into_iter().filter(is_known).collect();
        assert!(exchanges.len() >= least, "{name}/{file}: {} are few", exchanges.len());
        let questions = exchanges
            .iter()
            .map(|line| (line["method"].as_str().unwrap().to_owned(), line["params"].clone()));
        let answers = client.ask_all(&questions.collect::<Vec<_>>());
        for (line, answer) in exchanges.iter().zip(answers) {
            assert_eq!(comparable(&answer), comparable(line), "{name}/{file}: {line}");
        }
    }
    let node = serve("serial-main");
    let client = Client::of(&node);
    check("serial-main", "blocks", 435, &client);
    check("serial-main", "versions", 7054, &client);
    check("serial-main", "txs", 3178, &client);
    check("serial-main", "final_state", 1160, &client);
    check("serial-main", "node", 24, &client);
    let node = serve("parallel-a");
    let client = Client::of(&node);
    check("parallel-a", "blocks", 35, &client);
    check("parallel-a", "versions", 285, &client);
    check("parallel-a", "txs", 24, &client);
    check("parallel-a", "node", 22, &client);
}

#[test]
fn every_recorded_version_of_the_history_is_there() {
    let node = serve("serial-main");
    let client = Client::of(&node);
    let history = lines(&recording("serial-main").join("history.jsonl.gz"));
    let questions = history.iter().map(|line| {
        let method = format!("get_{}_at_topoheight", line["k"].as_str().unwrap());
        let mut params = json!({"address": line["address"], "topoheight": line["topoheight"]});
        if let Some(asset) = line.get("asset").filter(|asset| !asset.is_null()) {
            params["asset"] = asset.clone();
        }
        (method, params)
    });
    let answers = client.ask_all(&questions.collect::<Vec<_>>());
    for (line, answer) in history.iter().zip(answers) {
        assert_eq!(answer["result"], line["result"], "{line}");
    }
}

#[test]
fn examples_of_the_protocol_are_answered_as_they_were() {
    let node = serve("serial-main");
    let client = Client::of(&node);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rpc_examples.jsonl.gz");
    let mut compared = 0;
    for line in lines(&path) {
        let method = line["request"]["method"].as_str().unwrap();
        let is_told_here = KNOWN_EXAMPLES.contains(&method);
        // Blocks that left the order while the chain was recorded are not in the recording.
        let is_orphaned = line.to_string().contains("Orphaned")
            || line["note"].as_str().is_some_and(|note| {
                note.contains("orphaned") || note.contains("unexpected params")
            });
        if !is_told_here || is_orphaned {
            continue;
        }
        let response = client.respond(method, line["request"]["params"].clone());
        assert_eq!(comparable(&response), comparable(&line["response"]), "{line}");
        compared += 1;
    }
    assert!(compared >= 30, "only {compared} examples");
}

#[test]
fn a_method_without_parameters_has_none_in_braces_either() {
    let node = serve("parallel-a");
    let client = Client::of(&node);
    for method in ["get_version", "get_info", "get_topoheight", "get_stable_topoheight"] {
        client.ask(method, Value::Null);
        let unexpected = (-32602, "Unexpected parameters for this method".to_owned());
        assert_eq!(client.refused(method, json!({})), unexpected);
        assert_eq!(client.refused(method, json!({"a": 1})), unexpected);
    }
}

#[test]
fn messages_have_their_limits() {
    let node = serve("parallel-a");
    let client = Client::of(&node);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "get_version"});
    let batch = |count| Value::Array(vec![call.clone(); count]).to_string();
    let answers: Vec<Value> = serde_json::from_str(&client.post(batch(20)).text).unwrap();
    assert_eq!(answers.len(), 20);
    let refused: Value = serde_json::from_str(&client.post(batch(21)).text).unwrap();
    assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!(-32600), &Value::Null));

    let padded = |bytes: usize| format!("{call}{}", " ".repeat(bytes - call.to_string().len()));
    let largest = client.post(padded(262_144));
    assert_eq!((largest.status, &*largest.content_type), (200, "application/json"));
    let larger = client.post(padded(262_145));
    assert_eq!(larger.status, 413);
    assert!(larger.content_type.starts_with("text/plain"), "{}", larger.content_type);
    assert!(serde_json::from_str::<Value>(&larger.text).is_err(), "{}", larger.text);

    let broken: Value = serde_json::from_str(&client.post("{\"id\":".to_owned()).text).unwrap();
    assert_eq!(broken["error"]["code"], json!(-32700));
    let requests = node.requests();
    assert_eq!((requests.batch_max, requests.by_method["get_version"]), (20, 21));
    assert_eq!((requests.messages, requests.in_flight_max), (4, 1));
}

#[test]
fn a_generated_block_is_one_that_its_hashes_vouch_for() {
    let node = DevnetNode::start(serving(Profile::Everything, 40)).unwrap();
    let client = Client::of(&node);
    let order = standing(GeneratedChain::new(generated(Profile::Everything, 40)));
    assert_eq!(order.len(), 41);
    for made in &order {
        let params = json!({"topoheight": made.topoheight, "include_txs": true});
        let answer = client.ask("get_block_at_topoheight", params);
        let mut served = decode_block(&answer.to_string()).unwrap();
        assert!(served.claimed.total_fees.is_some());
        assert_eq!(answer["txs_hashes"].as_array().unwrap().len(), made.transactions.len());
        served.claimed.total_fees = made.claimed.total_fees;
        served.block_type = made.block_type;
        assert_eq!(served, *made);

        let params = json!({"hash": made.hash, "include_txs": false});
        let without = client.ask("get_block_by_hash", params);
        assert_eq!((without.get("transactions"), &without["total_fees"]), (None, &Value::Null));
        assert_eq!(without["topoheight"], json!(made.topoheight));
    }
}

#[test]
fn the_versions_of_a_generated_chain_are_those_of_the_control() {
    let options = generated(Profile::Everything, 40);
    let node = DevnetNode::start(serving(Profile::Everything, 40)).unwrap();
    let client = Client::of(&node);
    let base = GeneratedChain::new(options).base();
    let mut last: BTreeMap<StateKey, u64> = base.keys().map(|key| (*key, 0)).collect();
    let (mut compared, mut from_base) = (0, BTreeSet::new());
    let mut standing = Vec::new();
    for step in Walk::new(options) {
        standing.truncate(step.block.topoheight.as_u64() as usize);
        standing.push(step);
    }
    for step in standing {
        let at = step.block.topoheight;
        let written = step.control.delta.iter().filter(|(key, _)| !is_registration(key));
        let written: Vec<_> = written.collect();
        let questions: Vec<_> = written.iter().map(|(key, _)| exact(key, at)).collect();
        for ((key, value), answer) in written.into_iter().zip(client.ask_all(&questions)) {
            let answer = &answer["result"];
            assert_eq!(number_of(key, answer), value.and_then(number), "{key} at {at}: {answer}");
            if !matches!(key, StateKey::Multisig(_)) {
                let previous = last.insert(*key, at.as_u64());
                assert_eq!(answer["previous_topoheight"], json!(previous), "{key} at {at}");
                if previous == Some(0) {
                    from_base.insert(*key);
                }
            }
            compared += 1;
        }
    }
    assert!(compared > 1000, "{compared}");
    // The version before the first one that a block wrote is what the account had from the start.
    assert!(from_base.len() > 100, "{}", from_base.len());
    for key in from_base {
        let (method, params) = exact(&key, TopoHeight::GENESIS);
        let answer = client.ask(&method, params);
        if let Some(value) = base.get(&key) {
            assert_eq!(number_of(&key, &answer), value.and_then(number), "{key}");
            assert_eq!(answer["previous_topoheight"], Value::Null, "{key}");
        }
    }
}

#[test]
fn blocks_appear_when_they_are_asked_for() {
    let mut options = serving(Profile::Transfers, 100);
    options.pace = Pace::OnRequest;
    let node = DevnetNode::start(options).unwrap();
    let client = Client::of(&node);
    assert_eq!(client.ask("get_topoheight", Value::Null), json!(0));
    let progress = node.advance(5).unwrap();
    assert_eq!((progress.topoheight.as_u64(), progress.is_complete), (5, false));
    assert_eq!(client.ask("get_topoheight", Value::Null), json!(5));
    let (code, _) = client.refused("get_block_at_topoheight", json!({"topoheight": 6}));
    assert_eq!(code, -32004);
    assert_eq!(client.ask("get_stable_topoheight", Value::Null), json!(0));
    let progress = node.advance(1000).unwrap();
    assert_eq!((progress.topoheight.as_u64(), progress.is_complete), (100, true));
    assert_eq!(progress.stable_topoheight.as_u64(), 40);
    assert_eq!(client.ask("get_stable_topoheight", Value::Null), json!(40));
    let type_at = |topoheight: u64| {
        let params = json!({"topoheight": topoheight});
        client.ask("get_block_at_topoheight", params)["block_type"].clone()
    };
    assert_eq!((type_at(40), type_at(41)), (json!("Sync"), json!("Normal")));
}

#[test]
fn a_node_that_is_told_so_goes_away_and_comes_back_at_its_address() {
    let node = DevnetNode::start(serving(Profile::Transfers, 3)).unwrap();
    let client = Client::of(&node);
    client.ask("get_topoheight", Value::Null);
    let address = node.address();
    node.restart(std::time::Duration::ZERO).unwrap();
    assert_eq!(node.address(), address);
    assert_eq!(Client::of(&node).ask("get_topoheight", Value::Null), json!(3));
    node.shutdown();
    assert!(std::net::TcpStream::connect(address).is_err());
}

fn serve(name: &str) -> DevnetNode {
    DevnetNode::start(DevnetOptions::new(DevnetChain::Recording(recording(name)))).unwrap()
}

fn lines(path: &Path) -> Vec<Value> {
    let lines = BufReader::new(GzDecoder::new(File::open(path).unwrap())).lines();
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// What the answer to a question depends on besides the chain is not compared.
fn is_known(line: &Value) -> bool {
    // It lists a block that had left the order before it was recorded.
    !line.to_string().contains("bcb96f609cbb7670140a8c7d361b4c4a21dc0c329734f5945e21249efeec741b")
        || line["method"] != json!("get_transaction")
}

/// The part of an exchange that two nodes of the same chain have in common.
fn comparable(response: &Value) -> Value {
    let mut comparable = match response.get("error") {
        Some(error) => json!({"code": error["code"], "message": error["message"]}),
        None => json!({"result": response["result"]}),
    };
    for field in ["actual_bps", "average_block_time"] {
        if let Some(result) = comparable["result"].as_object_mut() {
            result.remove(field);
        }
    }
    // The blocks of a transaction come in no order.
    if let Some(Value::Array(blocks)) = comparable.pointer_mut("/result/blocks") {
        blocks.sort_by_key(Value::to_string);
    }
    comparable
}

fn exact(key: &StateKey, at: TopoHeight) -> (String, Value) {
    let address = shown(key.account());
    let (name, asset) = match key {
        StateKey::Nonce(_) => ("nonce", None),
        StateKey::Balance(_, asset) => ("balance", Some(asset)),
        StateKey::Multisig(_) => ("multisig", None),
        StateKey::Registered(_) => panic!("there is no such question"),
    };
    let mut params = json!({"address": address, "topoheight": at});
    if let Some(asset) = asset {
        params["asset"] = json!(*asset as AssetId);
    }
    (format!("get_{name}_at_topoheight"), params)
}

fn shown(account: &Address) -> String {
    NetworkAddress { account: *account, network: Network::Test }.to_string()
}

const fn is_registration(key: &StateKey) -> bool {
    matches!(key, StateKey::Registered(_))
}

/// A value as one number; that of a configuration is its threshold.
fn number(value: &StateValue) -> Option<u64> {
    match value {
        StateValue::Nonce(nonce) => Some(nonce.as_u64()),
        StateValue::Balance(amount) => Some(amount.as_u64()),
        StateValue::Multisig(config) => Some(u64::from(config.threshold)),
        StateValue::Registered => None,
    }
}

fn number_of(key: &StateKey, answer: &Value) -> Option<u64> {
    match key {
        StateKey::Nonce(_) => answer["nonce"].as_u64(),
        StateKey::Balance(..) => answer["final_balance"].as_u64(),
        StateKey::Multisig(_) => answer["state"]["active"]["threshold"].as_u64(),
        StateKey::Registered(_) => None,
    }
}

/// Those that the stand-in answers by itself.
const KNOWN_EXAMPLES: [&str; 25] = [
    "get_block_by_hash",
    "get_block_at_topoheight",
    "get_blocks_at_blue_score",
    "get_blocks_range_by_topoheight",
    "get_dag_order",
    "get_nonce",
    "get_nonce_at_topoheight",
    "has_nonce",
    "get_balance",
    "get_balance_at_topoheight",
    "has_balance",
    "get_multisig",
    "get_multisig_at_topoheight",
    "has_multisig",
    "has_multisig_at_topoheight",
    "get_accounts",
    "get_account_assets",
    "get_account_registration_topoheight",
    "is_account_registered",
    "get_transaction",
    "get_transactions",
    "get_transaction_executor",
    "is_tx_executed_in_block",
    "get_version",
    "no_such_method",
];
