//! What is recorded of a stand-in node is worth the same as what that node was made from.

use std::{num::NonZeroU32, path::Path, sync::Arc};

use serde_json::Value;
use shadow::{
    devnet::{DevnetChain, DevnetNode, DevnetOptions, FaultRates, Pace},
    record_chain::{RecordOptions, record},
    source::{Profile, node::ClientOptions},
};
use storage_snapshot::TopoHeight;

use crate::{crooked::crooked, devnet_client::serving, program::shadow, recordings::recording};

#[test]
fn a_recording_of_a_recording_has_the_same_verdicts() {
    #[track_caller]
    fn check(name: &str, faults: &str) {
        let original = recording(name);
        let mut options = DevnetOptions::new(DevnetChain::Recording(original.clone()));
        options.faults = faults.parse().unwrap();
        let node = DevnetNode::start(options).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let top = node.progress().topoheight;
        let out = directory.path().join("again");
        let recorded = record(&asking(&node, Some(top), &out)).unwrap();
        assert_eq!((recorded.blocks, recorded.with_end), (top.as_u64() + 1, true));
        assert!(!recorded.is_funded);
        let requests = node.requests();
        assert!(requests.in_flight_max <= 4 && requests.batch_max <= 20, "{requests:?}");
        assert_eq!(requests.faults.is_empty(), faults.is_empty(), "{:?}", requests.faults);
        let (mut again, mut before) = (verdicts(&out), verdicts(&original));
        if name == "parallel-a" {
            // Nobody asked that node about the end, so its wrong values are found in more answers now,
            // each of the same place.
            let total = |(_, summary): &mut (i32, Value)| {
                let mismatches = summary["mismatches"].as_object_mut().unwrap();
                mismatches.remove("by_field");
                mismatches.remove("total").unwrap().as_u64()
            };
            assert!(total(&mut again) > total(&mut before));
        }
        assert_eq!(again, before, "{name}, {faults}");
    }
    check("serial-main", "");
    check("parallel-a", "");
    check("parallel-a", "drop=0.03,half=0.03,http-500=0.03,error=0.002,wrong-hash=0.05");
}

#[test]
fn the_part_that_is_stable_is_what_is_recorded_unless_told_otherwise() {
    let node = DevnetNode::start(serving(Profile::Transfers, 80)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("stable");
    let recorded = record(&asking(&node, None, &out)).unwrap();
    assert_eq!((recorded.blocks, recorded.with_end), (21, false));
    // Those who spend on a generated chain had it from the beginning.
    assert!(recorded.is_funded);
    let again = DevnetNode::start(DevnetOptions::new(DevnetChain::Recording(out))).unwrap();
    assert_eq!(again.progress().topoheight.as_u64(), 20);
}

#[test]
fn what_cannot_be_recorded_leaves_nothing() {
    #[track_caller]
    fn check(node: &DevnetNode, to: u64, words: &str) {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("never");
        let error = record(&asking(node, Some(TopoHeight::new(to)), &out)).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
    let node = DevnetNode::start(serving(Profile::Transfers, 5)).unwrap();
    check(&node, 6, "up to topoheight 5 only");

    let mut options = serving(Profile::Transfers, 5);
    options.faults = "wrong-hash=1".parse::<FaultRates>().unwrap();
    let node = DevnetNode::start(options).unwrap();
    check(&node, 5, "hash");
}

#[test]
fn a_directory_that_is_there_is_not_written_to() {
    let node = DevnetNode::start(serving(Profile::Transfers, 3)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = record(&asking(&node, None, directory.path())).unwrap_err().to_string();
    assert!(error.contains("take another --out"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(node.requests().messages, 0);
}

#[test]
fn blocks_that_are_ordered_anew_meanwhile_are_not_a_recording() {
    let directory = tempfile::tempdir().unwrap();
    let mut refused = None;
    // Whether an answer comes before a re-order or after it is nobody's to say.
    for attempt in 0..400 {
        let mut options = serving(Profile::Transfers, 400);
        options.pace = Pace::OnRequest;
        options.faults = "reorder=1".parse::<FaultRates>().unwrap();
        options.seed = attempt;
        let node = DevnetNode::start(options).unwrap();
        // Not the last block, where a node may also go on.
        let to = node.advance(19).unwrap().topoheight;
        node.advance(1).unwrap();
        let out = directory.path().join(attempt.to_string());
        let result = std::thread::scope(|scope| {
            let recording = scope.spawn(|| record(&asking(&node, Some(to), &out)));
            while !recording.is_finished() && !node.progress().is_complete {
                node.advance(1).unwrap();
            }
            recording.join().unwrap()
        });
        assert_eq!(result.is_ok(), out.is_dir(), "{result:?}");
        if let Err(error) = result {
            refused = Some(error.to_string());
            break;
        }
    }
    let refused = refused.expect("a re-order within 400 recordings");
    assert!(refused.contains("ordered away"), "{refused}");
}

#[test]
fn a_node_that_goes_on_while_its_end_is_recorded_ordered_nothing_anew() {
    let mut options = serving(Profile::Transfers, 5);
    options.pace = Pace::OnRequest;
    let node = Arc::new(DevnetNode::start(options).unwrap());
    let to = node.advance(3).unwrap().topoheight;
    let goes_on = Arc::clone(&node);
    let url = crooked(&[&node], move |questions, nodes| {
        if questions[0]["method"] == "get_version" {
            goes_on.advance(1).unwrap();
        }
        Ok(nodes.ask(0, questions))
    });
    let directory = tempfile::tempdir().unwrap();
    let mut options = asking(&node, Some(to), &directory.path().join("never"));
    options.client.url = url;
    let error = record(&options).unwrap_err().to_string();
    assert!(error.contains("went on to topoheight"), "{error}");
}

#[test]
fn a_node_that_went_on_and_ordered_anew_ordered_anew() {
    let mut options = serving(Profile::Transfers, 5);
    options.pace = Pace::OnRequest;
    let node = Arc::new(DevnetNode::start(options).unwrap());
    let to = node.advance(3).unwrap().topoheight;
    let goes_on = Arc::clone(&node);
    let url = crooked(&[&node], move |questions, nodes| {
        if questions[0]["method"] == "get_version" {
            goes_on.advance(1).unwrap();
        }
        let mut answers = nodes.ask(0, questions);
        if questions[0]["method"] == "get_dag_order" {
            answers[0]["result"][0] = "0".repeat(64).into();
        }
        Ok(answers)
    });
    let directory = tempfile::tempdir().unwrap();
    let mut options = asking(&node, Some(to), &directory.path().join("never"));
    options.client.url = url;
    let error = record(&options).unwrap_err().to_string();
    assert!(error.contains("topoheight 0 was ordered away"), "{error}");
}

#[test]
fn a_block_of_another_position_is_told_so() {
    let node = DevnetNode::start(serving(Profile::Transfers, 5)).unwrap();
    let url = crooked(&[&node], |questions, nodes| {
        let mut questions = questions.to_vec();
        if questions[0]["params"]["include_txs"] == true {
            questions[0]["params"]["topoheight"] = 1.into();
        }
        Ok(nodes.ask(0, &questions))
    });
    let directory = tempfile::tempdir().unwrap();
    let mut options = asking(&node, None, &directory.path().join("never"));
    options.client.url = url;
    let error = record(&options).unwrap_err().to_string();
    assert!(error.contains("block at topoheight 0, the node answered with 1"), "{error}");
}

#[test]
fn the_command_says_what_it_recorded() {
    let node = DevnetNode::start(serving(Profile::Transfers, 3)).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("three");
    let out = out.to_str().unwrap();
    let finished = shadow(["record", "--node", &node.url(), "--to", "3", "--out", out]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(finished.stdout.starts_with("4 blocks recorded in "), "{}", finished.stdout);
    let finished = shadow(["record", "--node", &node.url(), "--to", "9", "--out", out]);
    assert_eq!(finished.code, 4, "there is something of that name: {finished:?}");
    let other = directory.path().join("nine");
    let other = other.to_str().unwrap();
    let finished = shadow(["record", "--node", &node.url(), "--to", "9", "--out", other]);
    assert_eq!(finished.code, 2, "{finished:?}");
}

fn asking(node: &DevnetNode, to: Option<TopoHeight>, out: &Path) -> RecordOptions {
    let client = ClientOptions {
        requests_per_second: NonZeroU32::new(100_000).unwrap(),
        ..ClientOptions::new(node.url())
    };
    RecordOptions { client, from: TopoHeight::GENESIS, to, directory: out.to_owned() }
}

/// What replaying a recording with every answer compared comes to: everything but how long it took,
/// and how many answers there were to compare.
fn verdicts(directory: &Path) -> (i32, Value) {
    let finished = shadow(["replay", directory.to_str().unwrap(), "--check-node", "--json"]);
    let mut summary: Value = serde_json::from_str(&finished.stdout).unwrap();
    let kept = ["verdict", "blocks", "transactions", "mismatches", "state_digest"];
    let missing: Vec<_> = kept.iter().filter(|key| summary.get(**key).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} of {summary}");
    summary.as_object_mut().unwrap().retain(|key, _| kept.contains(&key.as_str()));
    (finished.code, summary)
}
