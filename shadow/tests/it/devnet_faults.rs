//! The stand-in node goes wrong as it is told to, and in no other way.

use serde_json::{Value, json};
use shadow::{
    chain::decode_block,
    devnet::{DevnetChain, DevnetNode, DevnetOptions, Fault, FaultRates, Pace},
    source::Profile,
};

use crate::{
    devnet_client::{Client, serving},
    devnet_socket::Socket,
    recordings::recording,
};

#[test]
fn rates_are_read_by_name() {
    #[track_caller]
    fn check(spec: &str, expected: &[(Fault, f64)]) {
        let rates: FaultRates = spec.parse().unwrap();
        for fault in Fault::ALL {
            let rate = expected.iter().rev().find(|(named, _)| *named == fault);
            assert_eq!(rates.of(fault), rate.map_or(0.0, |(_, rate)| *rate), "{spec}: {fault}");
        }
    }
    check("", &[]);
    check("slow=0.5", &[(Fault::Slow, 0.5)]);
    check(" slow=0.5 , drop=1,slow=0", &[(Fault::Drop, 1.0)]);
    let mut all = Fault::ALL.map(|fault| (fault, 0.25)).to_vec();
    all.push((Fault::Restart, 0.0));
    check("all=0.25,restart=0", &all);

    #[track_caller]
    fn refused(spec: &str, words: &str) {
        let error = spec.parse::<FaultRates>().unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    refused("slow", "slow=0.1");
    refused("slow=2", "0 to 1");
    refused("slow=NaN", "0 to 1");
    refused("quick=1", "wrong-hash");
}

#[test]
fn a_connection_ends_with_nothing_or_half_of_an_answer() {
    let (node, client) = faulty(Fault::Drop);
    assert!(client.try_post(question()).is_err());
    assert_eq!(node.requests().faults["drop"], node.requests().messages);

    let (node, client) = faulty(Fault::Half);
    assert!(client.try_post(question()).is_err());
    assert!(node.requests().faults["half"] > 0);
}

#[test]
fn an_answer_is_an_error_of_http_or_of_the_node() {
    let (_node, client) = faulty(Fault::Http500);
    let answer = client.post(question());
    assert_eq!((answer.status, &*answer.text), (500, "Internal Server Error"));

    let (_node, client) = faulty(Fault::Error);
    let (code, _) = client.refused("get_topoheight", Value::Null);
    assert_eq!(code, -32603);
}

#[test]
fn a_slow_answer_is_an_answer() {
    let (node, client) = faulty(Fault::Slow);
    assert_eq!(client.ask("get_topoheight", Value::Null), json!(5));
    assert_eq!(node.requests().faults["slow"], 1);
}

#[test]
fn a_block_with_a_wrong_hash_does_not_hash_to_it() {
    let (_node, client) = faulty(Fault::WrongHash);
    for topoheight in 1..=5 {
        let params = json!({"topoheight": topoheight, "include_txs": true});
        let block = client.ask("get_block_at_topoheight", params);
        // One digit of one of the hashes is wrong, and each hash is bound by another, but for that
        // of the block that a sender refers to, and that is signed with the rest.
        assert!(decode_block(&block.to_string()).is_err(), "{block}");
    }
    assert_eq!(client.ask("get_topoheight", Value::Null), json!(5));
}

#[test]
fn events_are_lost_told_twice_or_told_late() {
    let ordered = |fault: Option<Fault>| {
        let mut options = serving(Profile::Transfers, 5);
        options.pace = Pace::OnRequest;
        options.faults = fault.map_or_else(FaultRates::default, always);
        let node = DevnetNode::start(options).unwrap();
        let mut socket = Socket::subscribed(&node);
        let bursts = (0..3).map(|_| {
            node.advance(1).unwrap();
            crate::devnet_socket::topoheights(&socket.events(), "block_ordered")
        });
        bursts.collect::<Vec<_>>()
    };
    let told = [vec![0, 1], vec![0, 1, 2], vec![0, 1, 2, 3]];
    assert_eq!(ordered(None), told);
    assert_eq!(ordered(Some(Fault::LoseEvent)), vec![Vec::<u64>::new(); 3]);
    assert_eq!(ordered(Some(Fault::DelayEvent)), [vec![], vec![0, 1], vec![0, 1, 2]]);
    let twice = ordered(Some(Fault::RepeatEvent));
    assert_eq!(twice[0], [0, 0, 1, 1]);
    assert_eq!(twice[1], [0, 0, 1, 1, 2, 2]);
    let mut any = ordered(Some(Fault::ShuffleEvents)).concat();
    any.sort_unstable();
    let mut all = told.concat();
    all.sort_unstable();
    assert_eq!(any, all);
}

#[test]
fn a_node_that_was_away_goes_on_at_the_same_address() {
    let mut options = serving(Profile::Transfers, 5);
    options.faults = FaultRates::default().with(Fault::Restart, 0.1);
    let node = DevnetNode::start(options).unwrap();
    let client = Client::of(&node);
    let (mut answered, mut tries) = (0, 0);
    while answered < 20 || !node.requests().faults.contains_key("restart") {
        answered += u64::from(client.try_post(question()).is_ok());
        tries += 1;
        assert!(tries < 1_000_000, "{answered} answers");
        std::thread::yield_now();
    }
}

#[test]
fn a_chain_that_was_ordered_anew_all_the_time_is_the_same_in_the_end() {
    #[track_caller]
    fn check(mut options: DevnetOptions, least: u64) {
        let calm = DevnetNode::start(options.clone()).unwrap();
        options.pace = Pace::OnRequest;
        options.faults = always(Fault::Reorder);
        let wild = DevnetNode::start(options).unwrap();
        let progress = wild.advance(u64::from(u32::MAX)).unwrap();
        assert_eq!(progress, calm.progress());
        assert!(wild.requests().faults["reorder"] >= least, "{:?}", wild.requests().faults);
        let (calm, wild) = (Client::of(&calm), Client::of(&wild));
        let mut questions = Vec::new();
        for topoheight in 0..=progress.topoheight.as_u64() {
            let params = json!({"topoheight": topoheight, "include_txs": true});
            questions.push(("get_block_at_topoheight".to_owned(), params));
        }
        let accounts = calm.ask("get_accounts", json!({}));
        assert_eq!(wild.ask("get_accounts", json!({})), accounts);
        let native = "00".repeat(32);
        for address in accounts.as_array().unwrap() {
            questions.push(("get_nonce".to_owned(), json!({"address": address})));
            questions.push(("get_multisig".to_owned(), json!({"address": address})));
            let params = json!({"address": address, "asset": native});
            questions.push(("get_balance".to_owned(), params));
        }
        let answers = calm.ask_all(&questions).into_iter().zip(wild.ask_all(&questions));
        for (question, (calm, wild)) in questions.iter().zip(answers) {
            assert_eq!(wild, calm, "{question:?}");
        }
    }
    check(serving(Profile::SideBlocks, 60), 3);
    check(serving(Profile::Everything, 60), 3);
    check(DevnetOptions::new(DevnetChain::Recording(recording("serial-main"))), 10);
}

#[cfg(feature = "faults")]
mod mutants {
    use std::collections::BTreeSet;

    use super::*;

    fn balances(mutant: Option<&str>) -> Vec<Value> {
        let mut options = serving(Profile::Transfers, 20);
        options.faulty_parallel = mutant.map(str::to_owned);
        let node = DevnetNode::start(options).unwrap();
        assert_eq!(node.progress().topoheight.as_u64(), 20);
        let client = Client::of(&node);
        let native = "00".repeat(32);
        let accounts = client.ask("get_accounts", json!({}));
        let questions = accounts.as_array().unwrap().iter().map(|address| {
            ("get_balance".to_owned(), json!({"address": address, "asset": native}))
        });
        client.ask_all(&questions.collect::<Vec<_>>())
    }

    #[test]
    fn the_state_of_a_planted_fault_is_another_one() {
        let right = balances(None);
        assert_eq!(balances(None), right);
        let mut shown = BTreeSet::new();
        for mutant in shadow::faults::catalogue().filter(|mutant| !mutant.hangs()) {
            if balances(Some(mutant.name)) != right {
                shown.insert(mutant.name);
            }
        }
        assert!(shown.len() > 15, "{shown:?}");
    }

    #[test]
    fn a_fault_that_nobody_has_or_that_never_ends_is_refused() {
        #[track_caller]
        fn check(name: &str, words: &str) {
            let mut options = serving(Profile::Transfers, 3);
            options.faulty_parallel = Some(name.to_owned());
            let error = DevnetNode::start(options).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        check("nobody", "there is no fault nobody");
        let mut hanging = shadow::faults::catalogue().filter(|mutant| mutant.hangs());
        check(hanging.next().unwrap().name, "never comes to a result");
    }
}

fn always(fault: Fault) -> FaultRates {
    FaultRates::default().with(fault, 1.0)
}

fn faulty(fault: Fault) -> (DevnetNode, Client) {
    let mut options = serving(Profile::Transfers, 5);
    options.faults = always(fault);
    let node = DevnetNode::start(options).unwrap();
    let client = Client::of(&node);
    (node, client)
}

fn question() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "get_topoheight"}).to_string()
}
