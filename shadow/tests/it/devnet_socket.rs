//! The stand-in node tells its subscribers what a real one told.

use std::{collections::BTreeSet, net::TcpStream};

use serde_json::{Value, json};
use shadow::{
    devnet::{DevnetNode, DevnetOptions, Fault, FaultRates, Pace},
    source::Profile,
};
use tokio_tungstenite::tungstenite::{Message, WebSocket, connect, stream::MaybeTlsStream};

use crate::devnet_client::{Client, PATIENCE, serving};

/// A subscriber.
pub(crate) struct Socket(WebSocket<MaybeTlsStream<TcpStream>>);

impl Socket {
    pub(crate) fn of(node: &DevnetNode) -> Self {
        let (socket, _) = connect(format!("ws://{}/json_rpc", node.address())).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        Self(socket)
    }

    pub(crate) fn subscribed(node: &DevnetNode) -> Self {
        let mut socket = Self::of(node);
        for (id, name) in (100..).zip(EVENTS) {
            let answer = socket.ask(id, "subscribe", json!({"notify": name}));
            assert_eq!(answer, json!({"id": id, "jsonrpc": "2.0", "result": true}));
        }
        socket
    }

    fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.0.send(Message::text(call.to_string())).unwrap();
        self.next()
    }

    fn next(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    /// Everything that is told before a question asked now is answered.
    pub(crate) fn events(&mut self) -> Vec<Value> {
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "get_topoheight"});
        self.0.send(Message::text(call.to_string())).unwrap();
        let mut events = Vec::new();
        loop {
            let message = self.next();
            if message["id"] == json!(1) {
                return events;
            }
            let kind = message["result"]["event"].as_str().unwrap();
            let id = EVENTS.iter().position(|name| *name == kind).unwrap() + 100;
            assert_eq!(message["id"], json!(id), "{message}");
            events.push(message["result"].clone());
        }
    }
}

#[test]
fn a_ping_is_answered_with_nothing_in_it() {
    let node = start(serving(Profile::Transfers, 3));
    let mut socket = Socket::of(&node);
    socket.0.send(Message::Ping(b"are you there".as_slice().into())).unwrap();
    let answer = loop {
        match socket.0.read().unwrap() {
            Message::Pong(payload) => break payload,
            _ => continue,
        }
    };
    assert!(answer.is_empty(), "{answer:?}");
    // The connection is as good as before.
    assert_eq!(socket.ask(5, "get_topoheight", Value::Null)["result"], json!(0));
}

#[test]
fn nobody_is_told_what_nobody_asked_for() {
    let node = start(serving(Profile::Transfers, 3));
    let mut socket = Socket::of(&node);
    node.advance(2).unwrap();
    assert_eq!(socket.events(), Vec::<Value>::new());
    let answer = socket.ask(9, "subscribe", json!({"notify": "nothing"}));
    assert_eq!(answer["error"]["code"], json!(-32602));
    assert_eq!(socket.ask(9, "subscribe", json!({"notify": "new_block"}))["result"], json!(true));
    assert_eq!(socket.ask(9, "unsubscribe", json!({"notify": "new_block"}))["result"], json!(true));
    node.advance(1).unwrap();
    assert_eq!(socket.events(), Vec::<Value>::new());
    let client = Client::of(&node);
    let (code, _) = client.refused("subscribe", json!({"notify": "new_block"}));
    assert_eq!(code, -32601, "there is nobody to tell over HTTP");
}

#[test]
fn a_young_chain_is_announced_as_a_whole_with_every_block() {
    let node = start(serving(Profile::Transfers, 64));
    let mut socket = Socket::subscribed(&node);
    for top in 1..=64_u64 {
        let stable_before = node.progress().stable_topoheight.as_u64();
        node.advance(1).unwrap();
        let events = socket.events();
        let ordered: Vec<_> = topoheights(&events, "block_ordered");
        let expected = if stable_before == 0 { 0..=top } else { top..=top };
        assert_eq!(ordered, expected.clone().collect::<Vec<_>>(), "after {top}");
        let executed: BTreeSet<_> =
            topoheights(&events, "transaction_executed").into_iter().collect();
        assert!(executed.iter().all(|at| expected.contains(at)), "after {top}: {executed:?}");
        let types = of_kind(&events, "block_ordered").map(|event| event["block_type"].clone());
        assert_eq!(types.last(), Some(json!("Normal")));
    }
    assert!(node.progress().stable_topoheight.as_u64() > 0);
}

#[test]
fn the_events_of_a_block_are_grouped_and_the_groups_come_in_any_order() {
    let node = start(serving(Profile::Transfers, 100));
    node.advance(62).unwrap();
    let mut socket = Socket::subscribed(&node);
    let mut first = BTreeSet::new();
    for _ in 0..30 {
        node.advance(1).unwrap();
        let events = socket.events();
        let mut kinds: Vec<_> =
            events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        kinds.dedup();
        let distinct: BTreeSet<_> = kinds.iter().copied().collect();
        assert_eq!(kinds.len(), distinct.len(), "{kinds:?}");
        let place = |name| kinds.iter().position(|kind| *kind == name).unwrap();
        first.insert(place("new_block") < place("block_ordered"));
        assert!(distinct.contains("stable_topo_height_changed"), "{kinds:?}");

        let new = of_kind(&events, "new_block").next().unwrap();
        // The node forgets the transactions there, whatever the block holds.
        assert_eq!((&new["txs_hashes"], &new["total_fees"]), (&json!([]), &json!(0)));
        assert_eq!(new["topoheight"], json!(node.progress().topoheight));
    }
    assert_eq!(first.len(), 2, "always in the same order");
}

#[test]
fn a_reorder_is_told_in_one_burst() {
    let mut options = serving(Profile::Transfers, 150);
    options.faults = FaultRates::default().with(Fault::Reorder, 1.0);
    let node = start(options);
    let client = Client::of(&node);
    let mut socket = Socket::subscribed(&node);
    let (mut deepest, mut orphaned_before) = (0, 0);
    while !node.progress().is_complete {
        let before = node.progress();
        let known = order(&client, before.topoheight.as_u64());
        let top = node.advance(1).unwrap().topoheight.as_u64();
        let now = order(&client, top);
        let events = socket.events();
        let orphaned: Vec<_> = of_kind(&events, "block_orphaned").collect();
        assert!(of_kind(&events, "new_block").count() == 1);
        for event in &orphaned {
            let at = event["old_topoheight"].as_u64().unwrap();
            assert_eq!(event["block_hash"], known[at as usize]);
            assert_ne!(now[at as usize], known[at as usize]);
            assert!(topoheights(&events, "block_ordered").contains(&at));
            assert!(at > before.stable_topoheight.as_u64(), "what was stable was ordered anew");
            let params = json!({"hash": event["block_hash"], "include_txs": true});
            let block = client.ask("get_block_by_hash", params);
            assert_eq!(block["block_type"], json!("Orphaned"));
            for field in ["topoheight", "reward", "miner_reward", "dev_reward", "supply"] {
                assert_eq!(block[field], Value::Null, "{field}");
            }
        }
        deepest = deepest.max(orphaned.len());
        orphaned_before += orphaned.len();
        for event in of_kind(&events, "block_ordered") {
            let at = event["topoheight"].as_u64().unwrap();
            assert_eq!(event["block_hash"], now[at as usize]);
        }
    }
    assert!(deepest > 5 && orphaned_before > 30, "{deepest} of {orphaned_before}");
}

fn start(mut options: DevnetOptions) -> DevnetNode {
    options.pace = Pace::OnRequest;
    DevnetNode::start(options).unwrap()
}

/// The hashes of all blocks up to the top.
fn order(client: &Client, top: u64) -> Vec<Value> {
    let starts = (0..=top).step_by(64);
    let parts = starts.map(|start| {
        let params = json!({"start_topoheight": start, "end_topoheight": top.min(start + 63)});
        client.ask("get_dag_order", params).as_array().unwrap().clone()
    });
    parts.flatten().collect()
}

pub(crate) fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == json!(kind))
}

pub(crate) fn topoheights(events: &[Value], kind: &str) -> Vec<u64> {
    of_kind(events, kind).map(|event| event["topoheight"].as_u64().unwrap()).collect()
}

const EVENTS: [&str; 7] = [
    "new_block",
    "block_ordered",
    "block_orphaned",
    "stable_height_changed",
    "stable_topo_height_changed",
    "transaction_executed",
    "transaction_orphaned",
];
