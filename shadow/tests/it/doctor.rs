//! Which nodes can be verified, and which are refused.

use serde_json::Value;
use shadow::{
    chain::{Network, decode_block},
    devnet::{DevnetChain, DevnetNode, DevnetOptions},
    doctor::{CheckState, Examination},
    source::{
        Profile,
        node::{DevFee, GenesisFacts, HardFork, NoAnswer, NodeFacts, RecentFacts},
    },
};
use storage_snapshot::{Address, BlockHash, TopoHeight};

use crate::{crooked::crooked, devnet_client::serving, program::shadow, recordings::recording};

/// What a node of the rules says of itself.
fn facts() -> NodeFacts {
    let fork = |height, version| HardFork { height, version };
    let fee = |height, fee_percentage| DevFee { height, fee_percentage };
    NodeFacts {
        version: Some("0.1.1-cde9aae6".to_owned()),
        network: Some("Dev".to_owned()),
        block_time_target: Some(1000),
        top: TopoHeight::new(434),
        stable: TopoHeight::new(374),
        pruned: None,
        hard_forks: Ok(vec![fork(0, 1), fork(10, 2), fork(15, 3)]),
        dev_fees: Ok(vec![fee(0, 10), fee(15_768_000, 5)]),
        genesis: Ok(GenesisFacts {
            hash: BlockHash::new([1; 32]),
            dev: Address::new([2; 32]),
            network: Network::Test,
        }),
        recent: Ok(RecentFacts {
            block_version: 3,
            blue_score: 434,
            transactions: 5,
            of_unknown_version: 0,
        }),
    }
}

#[track_caller]
fn refused(alter: impl FnOnce(&mut NodeFacts), expected: &str) {
    let mut facts = facts();
    alter(&mut facts);
    let refusal = Examination::of(&facts).refusal().expect("it was not refused");
    assert!(refusal.starts_with("the node (0.1.1-cde9aae6) does not follow the rules of tos-v3"));
    assert!(refusal.contains(expected), "{refusal}");
}

#[test]
fn a_node_of_the_rules_is_taken() {
    let examination = Examination::of(&facts());
    assert_eq!(examination.refusal(), None);
    assert!(examination.checks().iter().all(|check| check.state == CheckState::Ok));
}

#[test]
fn a_node_of_other_rules_is_refused_with_what_is_other() {
    let recent = |facts: &NodeFacts| *facts.recent.as_ref().unwrap();
    refused(
        |facts| facts.recent = Ok(RecentFacts { of_unknown_version: 5, ..recent(facts) }),
        "its transactions are not of version 0",
    );
    refused(
        |facts| facts.recent = Ok(RecentFacts { block_version: 4, ..recent(facts) }),
        "its blocks are of version 4",
    );
    let other =
        || decode_block(r#"{"hash":"00","height":7,"cumulative_difficulty":"1"}"#).unwrap_err();
    refused(|facts| facts.recent = Err(other()), "its last blocks are of another form");
    refused(|facts| facts.genesis = Err(other()), "its first block is of another form");
    refused(
        |facts| facts.hard_forks = Err(NoAnswer::Unknown { method: "get_hard_forks" }),
        "it does not answer get_hard_forks",
    );
    refused(
        |facts| facts.stable = TopoHeight::new(435),
        "it calls blocks stable that it does not have: its last is at 434",
    );
    refused(
        |facts| facts.hard_forks.as_mut().unwrap().push(HardFork { height: 434, version: 4 }),
        "block version 4 is in force",
    );
    refused(
        |facts| facts.dev_fees = Err(NoAnswer::Unknown { method: "get_dev_fee_thresholds" }),
        "it does not answer get_dev_fee_thresholds",
    );
    refused(
        |facts| facts.dev_fees.as_mut().unwrap()[1].height = 15_768_001,
        "the dev key gets 10 % of a reward at blue score 15768000, by the rules it is 5 %",
    );
    refused(
        |facts| facts.dev_fees.as_mut().unwrap()[0].fee_percentage = 9,
        "the dev key gets 9 % of a reward at blue score 0, by the rules it is 10 %",
    );
    refused(|facts| facts.block_time_target = Some(15_000), "a block every 15000 ms");
}

#[test]
fn rules_that_begin_later_are_worth_a_note() {
    let mut facts = facts();
    facts.hard_forks.as_mut().unwrap().push(HardFork { height: 435, version: 4 });
    let examination = Examination::of(&facts);
    assert_eq!(examination.refusal(), None);
    let notes: Vec<_> = examination.notes().collect();
    assert!(matches!(notes[..], [note] if note.contains("from blue score 435")), "{notes:?}");
}

#[test]
fn a_running_node_is_examined() {
    let chain = DevnetChain::Recording(recording("serial-main"));
    let node = DevnetNode::start(DevnetOptions::new(chain)).unwrap();
    let ran = shadow(["doctor", "--json", "--node", &node.url()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found["ok"], true, "{found:#}");
    assert_eq!((&found["topoheight"], &found["stable_topoheight"]), (&434.into(), &374.into()));
    let ran = shadow(["doctor", "--node", &node.url()]);
    assert!(ran.stdout.starts_with("the node's chain can be verified"), "{ran:#?}");
}

#[test]
fn an_answer_of_another_form_is_asked_for_again_and_told() {
    let node = DevnetNode::start(serving(Profile::Transfers, 3)).unwrap();
    let spoilt = |mut times: u32| {
        crooked(&[&node], move |questions, nodes| {
            let mut answers = nodes.ask(0, questions);
            if questions[0]["method"] == "get_hard_forks" && times > 0 {
                times -= 1;
                answers[0]["result"] = "none".into();
            }
            Ok(answers)
        })
    };
    let ran = shadow(["doctor", "--node", &spoilt(1)]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let ran = shadow(["doctor", "--node", &spoilt(u32::MAX)]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stdout.contains("it answers get_hard_forks in another form"), "{ran:#?}");
}
