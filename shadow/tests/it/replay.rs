//! Recorded chains, verified from the command line: intact ones, altered ones, and no chains at all.

use std::{collections::BTreeSet, fs, path::Path};

use comparator::MismatchRecord;
use serde_json::{Value, json};

use crate::{
    program::{Ran, shadow},
    recordings::{Copy, recording},
};

#[test]
fn a_serial_node_agrees_with_the_control_in_every_answer() {
    let ran = replay(&recording("serial-main"), &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["verdict"], "clean");
    assert_eq!(summary["blocks"]["total"], 435);
    assert_eq!(summary["blocks"]["mismatch"], 0);
    assert_eq!(summary["blocks"]["inconclusive"], 0);
    assert_eq!(summary["blocks"]["opaque"], 6);
    assert_eq!(summary["transactions"]["total"], 1064);
    assert_eq!(summary["node_check"]["differ"], 0);
    assert_eq!(summary["node_check"]["not_asked"], 0);
    assert!(summary["node_check"]["compared"].as_u64() > Some(7000), "{summary:#}");
    assert_eq!(sum_of_verdicts(&summary["blocks"]), 435);
    assert_eq!(summary["candidates"]["node"]["match"], 429);
}

#[test]
fn a_node_that_ran_in_parallel_differs_where_it_was_wrong_and_nowhere_else() {
    let state = tempfile::tempdir().unwrap();
    let ran = replay(&recording("parallel-a"), &["--state-dir", state.path().to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["verdict"], "mismatch");
    assert_eq!(summary["mismatches"]["total"], 16);
    assert_eq!(summary["mismatches"]["by_field"], json!({"balance": 12, "nonce": 4}));
    let first = &summary["mismatches"]["first"];
    assert_eq!((&first["topoheight"], &first["candidate"]), (&json!(33), &json!("node")));

    let records = fs::read_to_string(state.path().join("mismatches.jsonl")).unwrap();
    let records: Vec<_> =
        records.lines().map(|line| MismatchRecord::from_json(line).unwrap()).collect();
    let places: Vec<_> =
        records.iter().map(|record| record.subject.block.topoheight.as_u64()).collect();
    assert_eq!(places, [33, 34]);
    assert_eq!((records[0].total(), records[1].total()), (2, 14));
    let accounts: BTreeSet<_> = records[1]
        .differences
        .iter()
        .map(|difference| *difference.key.unwrap().account())
        .collect();
    // Dev key, miner, four senders, four receivers.
    assert_eq!(accounts.len(), 10);
}

#[test]
fn without_the_node_only_the_engine_is_judged() {
    let ran = shadow(["replay".as_ref(), recording("parallel-a").as_os_str(), "--json".as_ref()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["node_check"]["compared"], 0);
}

#[test]
fn the_first_line_for_people_says_what_was_exercised() {
    let ran = shadow(["replay".as_ref(), recording("parallel-a").as_os_str()]);
    let first = ran.stdout.lines().next().unwrap();
    assert!(first.starts_with("1 of 35 blocks exercised, 0 mismatches"), "{first}");
    assert!(first.contains("Shadow's own engine"), "{first}");
}

#[test]
fn an_altered_block_is_bad_input_and_named() {
    #[track_caller]
    fn check(old: &str, new: &str) {
        let copy = Copy::of("parallel-a").replace("blocks.jsonl.gz", 31, old, new);
        refused(copy.path(), &["blocks.jsonl.gz, line 32", "topoheight 31"]);
    }
    check("\"amount\": 100000000", "\"amount\": 100000001");
    check("\"fee\": ", "\"fee\": 1");
    check("\"nonce\": 0, \"reference\"", "\"nonce\": 1, \"reference\"");
    check("\"timestamp\": 17953302515", "\"timestamp\": 17953302516");
    check("\"signature\": \"", "\"signature\": \"0");
    check("\"blue_score\": 31", "\"blue_score\": 30");
    check("\"version\": 3", "\"version\": 2");
    check("\"miner\": \"tst12", "\"miner\": \"tst13");
    check("\"reward\": ", "\"reward\": 1");
    check("\"topoheight\": 31, \"total_fees\"", "\"topoheight\": 30, \"total_fees\"");
}

#[test]
fn a_supply_that_does_not_follow_from_the_block_before_is_bad_input() {
    let copy =
        Copy::of("parallel-a").replace("blocks.jsonl.gz", 9, "\"supply\": 9", "\"supply\": 8");
    refused(copy.path(), &["topoheight 9", "supply"]);
}

#[test]
fn an_altered_answer_is_a_mismatch_of_the_node() {
    #[track_caller]
    fn check(file: &str, from: usize, old: &str, new: &str, field: &str) {
        let copy = Copy::of("serial-main").replace(file, from, old, new);
        let ran = replay(copy.path(), &[]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        let summary = ran.summary();
        assert_eq!(summary["mismatches"]["by_field"], json!({field: 1}), "{summary:#}");
        assert_eq!(summary["mismatches"]["first"]["candidate"], "node");
    }
    check("versions.jsonl.gz", 1000, "\"final_balance\": 1", "\"final_balance\": 2", "balance");
    check("versions.jsonl.gz", 3000, "\"nonce\": 1", "\"nonce\": 2", "nonce");
    check("versions.jsonl.gz", 0, "\"threshold\": 2", "\"threshold\": 3", "multisig");
    check("versions.jsonl.gz", 0, "\"state\": \"deleted\"", ACTIVE, "multisig");
    check("history.jsonl.gz", 100, "\"nonce\": 6", "\"nonce\": 7", "nonce");
    check("final_state.jsonl.gz", 300, "\"balance\": ", "\"balance\": 1", "balance");
    check("txs.jsonl.gz", 500, "\"result\": true", "\"result\": false", "outcome");
    check("blocks.jsonl.gz", 60, "\"total_fees\": 1", "\"total_fees\": 2", "fees");
    check("final_state.jsonl.gz", 300, "\"topoheight\": 43", "\"topoheight\": 42", "version");
    check("node.jsonl.gz", 0, "\"burned_supply\": 4", "\"burned_supply\": 5", "burned");
}

#[test]
fn fees_that_the_node_does_not_tell_are_not_compared_and_counted() {
    let copy = Copy::of("serial-main").edit("blocks.jsonl.gz", |lines| {
        let mut block: Value = serde_json::from_str(&lines[60]).unwrap();
        assert!(block["result"]["total_fees"].is_u64());
        block["result"]["total_fees"] = Value::Null;
        lines[60] = block.to_string();
    });
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["node_check"]["not_asked"], 1);
    assert_eq!(summary["candidates"]["node"]["match"], 428);
    assert_eq!(summary["candidates"]["node"]["not_exercised"], 1);
}

#[test]
fn deleted_and_never_there_are_two_things_at_the_end() {
    #[track_caller]
    fn check(old: &str, new: &str) {
        let copy = Copy::of("serial-main").edit("final_state.jsonl.gz", |lines| {
            let is_multisig = |line: &&mut String| line.contains("\"get_multisig\"");
            let mut lines = lines.iter_mut().filter(is_multisig);
            let line = lines.find(|line| line.contains(old)).unwrap();
            let question = line.split(", \"result\"").next().unwrap();
            let question = question.split(", \"error\"").next().unwrap();
            *line = format!("{question}, {new}}}");
        });
        let ran = replay(copy.path(), &[]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert_eq!(ran.summary()["mismatches"]["by_field"], json!({"version": 1}));
    }
    check("-320", "\"result\": {\"state\": \"deleted\", \"topoheight\": 400}");
    check("deleted", "\"error\": {\"code\": -32004, \"message\": \"no multisig found\"}");
}

#[test]
fn a_lost_version_is_not_lost_once_more_at_the_end() {
    // The nonce that this account wrote last, at 134, and the one before it, at 110.
    let (at, before) = (json!(134), json!(110));
    let mut account = Value::Null;
    let copy = Copy::of("serial-main").edit("final_state.jsonl.gz", |lines| {
        let (line, mut exchange) = lines
            .iter_mut()
            .filter(|line| line.contains("\"get_nonce\""))
            .map(|line| {
                let exchange: Value = serde_json::from_str(line).unwrap();
                (line, exchange)
            })
            .find(|(_, exchange)| {
                let result = &exchange["result"];
                result["topoheight"] == at && result["previous_topoheight"] == before
            })
            .unwrap();
        account = exchange["params"]["address"].take();
        exchange["params"]["address"] = account.clone();
        exchange["result"]["topoheight"] = before.clone();
        exchange["result"]["nonce"] = json!(exchange["result"]["nonce"].as_u64().unwrap() - 1);
        *line = exchange.to_string();
    });
    let copy = copy
        .edit("history.jsonl.gz", |lines| lines.retain(|line| !is_it(line, &at, &account)))
        .edit("versions.jsonl.gz", |lines| {
            let line = lines.iter_mut().find(|line| is_it(line, &at, &account)).unwrap();
            let question = line.split(", \"result\"").next().unwrap();
            *line = format!(
                "{question}, \"error\": {{\"code\": -32004, \"message\": \"not found\"}}}}"
            );
        });
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["mismatches"]["total"], 1, "{summary:#}");
    assert_eq!(summary["mismatches"]["first"]["topoheight"], at);
}

/// Whether a line is about the nonce that an account has from a position on.
fn is_it(line: &str, topoheight: &Value, address: &Value) -> bool {
    let line: Value = serde_json::from_str(line).unwrap();
    let params = line.get("params").unwrap_or(&line);
    params["address"] == *address
        && params["topoheight"] == *topoheight
        && (line["k"] == "nonce" || line["method"] == "get_nonce_at_topoheight")
}

#[test]
fn a_history_without_the_newest_version_says_nothing_about_it() {
    let mut newest = None;
    let copy = Copy::of("serial-main").edit("final_state.jsonl.gz", |lines| {
        let nonces = lines.iter().filter(|line| line.contains("\"get_nonce\""));
        let mut nonces = nonces.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let exchange = nonces.find(|exchange| {
            let result = &exchange["result"];
            result["topoheight"] == 134 && result["previous_topoheight"] == 110
        });
        newest = Some(exchange.unwrap()["params"]["address"].clone());
    });
    let (at, account) = (json!(134), newest.unwrap());
    let copy = copy
        .edit("history.jsonl.gz", |lines| lines.retain(|line| !is_it(line, &at, &account)))
        .edit("versions.jsonl.gz", |lines| lines.retain(|line| !is_it(line, &at, &account)));
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.summary()["mismatches"]["total"], 0, "{ran:#?}");
    assert_eq!(ran.summary()["node_check"]["not_asked"], 1, "{ran:#?}");
}

#[test]
fn a_node_that_was_too_busy_to_answer_did_not_say_that_there_is_nothing() {
    let copy = Copy::of("serial-main").edit("versions.jsonl.gz", |lines| {
        let line = lines.iter_mut().find(|line| line.contains("final_balance")).unwrap();
        let question = line.split(", \"result\"").next().unwrap();
        let error = json!({"code": -32004, "message": "Error while retrieving: database is busy"});
        *line = format!("{question}, \"error\": {error}}}");
    });
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn questions_of_any_kind_may_be_recorded_beside_those_about_versions() {
    let other = r#"{"method": "get_foo", "params": {"x": 1}, "result": 1}"#;
    let copy = Copy::of("parallel-a");
    let expected = replay(copy.path(), &[]).summary()["mismatches"]["total"].clone();
    let copy = copy.edit("versions.jsonl.gz", |lines| lines.insert(0, other.to_owned()));
    assert_eq!(replay(copy.path(), &[]).summary()["mismatches"]["total"], expected);
}

#[test]
fn two_answers_that_contradict_each_other_are_bad_input() {
    let copy = Copy::of("parallel-a").edit("versions.jsonl.gz", |lines| {
        let line = lines.iter().find(|line| line.contains("\"final_balance\": ")).unwrap();
        let other = line.replacen("\"final_balance\": ", "\"final_balance\": 1", 1);
        lines.extend([line.clone(), other]);
    });
    refused(copy.path(), &["versions.jsonl.gz", "answered in two ways"]);
}

const ACTIVE: &str = "\"state\": {\"active\": {\"participants\": [], \"threshold\": 1}}";

#[test]
fn a_version_that_the_node_lost_or_made_up_is_a_mismatch() {
    let lost = Copy::of("parallel-a").edit("versions.jsonl.gz", |lines| {
        let line = lines.iter_mut().find(|line| line.contains("final_balance")).unwrap();
        let question = line.split(", \"result\"").next().unwrap();
        *line =
            format!("{question}, \"error\": {{\"code\": -32004, \"message\": \"not found\"}}}}");
    });
    let ran = replay(lost.path(), &[]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert_eq!(ran.summary()["mismatches"]["first"]["observed"], "absent");

    let made_up = Copy::of("parallel-a").edit("versions.jsonl.gz", |lines| {
        let line = lines.iter_mut().find(|line| line.contains("get_multisig")).unwrap();
        let question = line.split(", \"error\"").next().unwrap();
        *line = format!("{question}, \"result\": {{\"state\": \"deleted\"}}}}");
    });
    let ran = replay(made_up.path(), &[]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let first = &ran.summary()["mismatches"]["first"];
    assert_eq!(first["control"], "absent");
    assert_eq!(first["observed"], Value::Null);
    assert_eq!(first["field"], "version");
}

#[test]
fn a_chain_that_ends_before_its_answers_do_is_bad_input() {
    let cut = || Copy::of("serial-main").edit("blocks.jsonl.gz", |lines| lines.truncate(300));
    refused(cut().path(), &["end at topoheight 299", "asked for up to 434"]);
    refused(cut().without("versions.jsonl.gz").path(), &["end at topoheight 299", "434 on top"]);
    let ran = replay(beginning_of_serial_main(300).path(), &[]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 300);
}

#[test]
fn answers_that_contradict_each_other_are_bad_input() {
    let copy = Copy::of("parallel-a").edit("txs.jsonl.gz", |lines| {
        let executed = lines.iter().find(|line| line.contains("is_tx_executed_in_block")).unwrap();
        let otherwise = executed.replace("\"result\": true", "\"result\": false");
        lines.push(otherwise);
    });
    refused(copy.path(), &["txs.jsonl.gz, line 25", "answers otherwise"]);
}

#[test]
fn a_known_transaction_cannot_be_passed_off_as_an_unknown_one() {
    #[track_caller]
    fn check(old: &str, new: &str, field: &str) {
        let copy = Copy::of("parallel-a").replace("blocks.jsonl.gz", 34, old, new);
        refused(copy.path(), &["line 35", "topoheight 34", "transactions[0]", field]);
    }
    check("\"version\": 0", "\"version\": 1", "version: ");
    check("\"transfers\"", "\"transferz\"", "data: ");
}

#[test]
fn a_repeated_transaction_that_no_hash_binds_is_bad_input() {
    let copy = Copy::of("serial-main").edit("blocks.jsonl.gz", |lines| {
        // The Merkle tree pairs the last of an odd number of transactions with itself.
        let mut block: Value = serde_json::from_str(&lines[102]).unwrap();
        for list in ["txs_hashes", "transactions"] {
            let list = block["result"][list].as_array_mut().unwrap();
            assert_eq!(list.len() % 2, 1);
            list.push(list.last().unwrap().clone());
        }
        lines[102] = block.to_string();
    });
    refused(copy.path(), &["line 103", "topoheight 102", "listed twice"]);
}

#[test]
fn an_address_of_another_network_is_bad_input() {
    let copy = Copy::of("parallel-a").edit("versions.jsonl.gz", |lines| {
        let mut question: Value = serde_json::from_str(&lines[0]).unwrap();
        let known = question["params"]["address"].as_str().unwrap();
        let known: shadow::chain::NetworkAddress = known.parse().unwrap();
        let other =
            shadow::chain::NetworkAddress { network: shadow::chain::Network::Mainnet, ..known };
        question["params"]["address"] = other.to_string().into();
        lines[0] = question.to_string();
    });
    refused(copy.path(), &["versions.jsonl.gz, line 1", "mainnet"]);
}

#[test]
fn a_damaged_file_is_bad_input_and_named() {
    refused(
        Copy::of("parallel-a").truncated("blocks.jsonl.gz").path(),
        &["blocks.jsonl.gz", "truncated"],
    );
    refused(Copy::of("parallel-a").truncated("versions.jsonl.gz").path(), &["versions.jsonl.gz"]);
    refused(Copy::of("parallel-a").with_flipped_byte("txs.jsonl.gz").path(), &["txs.jsonl.gz"]);
    // A file that the replay does not read has to be intact all the same.
    refused(Copy::of("serial-main").truncated("all_txs.jsonl.gz").path(), &["all_txs.jsonl.gz"]);
}

#[test]
fn what_a_damaged_file_says_is_not_what_is_wrong_with_it() {
    for file in ["blocks.jsonl.gz", "versions.jsonl.gz", "txs.jsonl.gz", "node.jsonl.gz"] {
        let copy = Copy::of("parallel-a").edit(file, |lines| lines[0] = "nonsense".to_owned());
        refused(copy.with_wrong_checksum(file).path(), &[file, "not intact gzip data"]);
    }
}

#[test]
fn a_plain_recording_is_replayed_as_a_compressed_one_is() {
    for (name, code) in [("serial-main", 0), ("parallel-a", 1)] {
        let plain = Copy::of(name).plain();
        let (plain, compressed) = (replay(plain.path(), &[]), replay(&recording(name), &[]));
        assert_eq!((plain.code, compressed.code), (code, code), "{plain:#?}");
        assert_eq!(counts(&plain.summary()), counts(&compressed.summary()));
    }
}

#[test]
fn a_plain_file_that_was_cut_is_bad_input_and_named() {
    let cut = |file| Copy::of("parallel-a").plain().truncated(file);
    refused(cut("blocks.jsonl").path(), &["blocks.jsonl:", "truncated"]);
    refused(cut("versions.jsonl").path(), &["versions.jsonl:", "truncated"]);
}

#[test]
fn a_wrong_line_of_a_plain_file_is_bad_input_and_named() {
    let copy = Copy::of("parallel-a").plain();
    let path = copy.path().join("blocks.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let missing: Vec<_> =
        text.split_inclusive('\n').enumerate().filter(|(line, _)| *line != 7).collect();
    fs::write(&path, missing.into_iter().map(|(_, line)| line).collect::<String>()).unwrap();
    refused(copy.path(), &["blocks.jsonl, line 8", "topoheight 7 is missing"]);
}

#[test]
fn a_file_that_is_there_twice_is_bad_input_and_named() {
    let copy = Copy::of("parallel-a");
    fs::write(copy.path().join("txs.jsonl"), "").unwrap();
    refused(copy.path(), &["txs.jsonl.gz and ", "txs.jsonl:", "only one of them"]);
}

#[test]
fn a_line_that_is_not_json_is_bad_input_and_named() {
    for file in ["blocks.jsonl.gz", "versions.jsonl.gz", "txs.jsonl.gz", "node.jsonl.gz"] {
        let copy = Copy::of("parallel-a").edit(file, |lines| lines[4] = "{\"method\": ".to_owned());
        refused(copy.path(), &[file, "line 5"]);
    }
}

#[test]
fn a_missing_topoheight_is_bad_input_and_named() {
    let copy = Copy::of("parallel-a").edit("blocks.jsonl.gz", |lines| drop(lines.remove(7)));
    refused(copy.path(), &["line 8", "topoheight 7 is missing"]);
    let copy = Copy::of("parallel-a").edit("blocks.jsonl.gz", |lines| drop(lines.remove(0)));
    refused(copy.path(), &["line 1", "topoheight 0 is missing"]);
}

#[test]
fn what_is_no_recording_is_bad_input() {
    let empty = tempfile::tempdir().unwrap();
    refused(empty.path(), &["blocks.jsonl.gz"]);
    refused(&empty.path().join("nowhere"), &["nowhere"]);
    refused(Copy::of("parallel-a").without("blocks.jsonl.gz").path(), &["blocks.jsonl.gz"]);
}

#[test]
fn a_recording_without_a_single_block_proves_nothing() {
    let copy = Copy::of("parallel-a").edit("blocks.jsonl.gz", Vec::clear);
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("not a single block"), "{}", ran.stderr);
    assert_eq!(ran.summary()["verdict"], "not_enough_evidence");
}

#[test]
fn a_recording_of_the_first_block_alone_is_no_evidence() {
    let ran = replay(beginning_of_serial_main(1).path(), &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["verdict"], "not_enough_evidence");
    assert_eq!(summary["blocks"]["total"], 1);
    assert_eq!(summary["candidates"]["v3"]["match"], 0);
}

#[test]
fn questions_that_were_never_asked_are_counted_and_prove_nothing() {
    let copy = Copy::of("parallel-a").without("versions.jsonl.gz").without("txs.jsonl.gz");
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["verdict"], "not_enough_evidence");
    assert!(summary["node_check"]["not_asked"].as_u64() > Some(200), "{summary:#}");
    assert_eq!(summary["candidates"]["node"]["match"], 0);
}

#[test]
fn a_value_that_nobody_told_makes_the_block_that_needs_it_inconclusive() {
    // Block 49 pays out of a contract to an account that it does not name, and 52 spends that.
    let copy = Copy::of("serial-main").without("history.jsonl.gz");
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 0, "the contract's outputs tell it: {ran:#?}");

    let copy = Copy::of("serial-main").without("history.jsonl.gz").edit("txs.jsonl.gz", |lines| {
        lines.retain(|line| !line.contains("get_contract_outputs"));
    });
    let ran = replay(copy.path(), &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["mismatches"]["total"], 0, "{summary:#}");
    assert!(summary["reasons"]["inconclusive:unknown_state"].as_u64() > Some(0), "{summary:#}");
    // What was unknown is known again once the node has told it.
    assert!(summary["blocks"]["match"].as_u64() > Some(50), "{summary:#}");
}

#[test]
fn a_state_directory_survives_bad_input_and_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    let altered = Copy::of("parallel-a").replace(
        "blocks.jsonl.gz",
        31,
        "\"amount\": 100000000",
        "\"amount\": 100000001",
    );
    let ran = replay(altered.path(), &state_dir);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 31);

    let resumed = replay(&recording("parallel-a"), &state_dir);
    assert_eq!(resumed.code, 1, "{resumed:#?}");
    let fresh = replay(&recording("parallel-a"), &[]);
    assert_eq!(counts(&resumed.summary()), counts(&fresh.summary()));
    let again = replay(&recording("parallel-a"), &state_dir);
    assert_eq!(counts(&again.summary()), counts(&fresh.summary()));
}

#[test]
fn a_candidate_that_an_earlier_run_did_not_ask_for_is_not_taken_as_verified() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    let short = beginning_of_serial_main(200);
    let first = shadow(
        ["replay".as_ref(), short.path().as_os_str()]
            .into_iter()
            .chain(state_dir.iter().map(AsRef::as_ref)),
    );
    assert_eq!(first.code, 0, "{first:#?}");
    let rest = replay(&recording("serial-main"), &state_dir);
    assert_eq!(rest.code, 3, "{rest:#?}");
    assert_eq!(rest.summary()["candidates"]["node"]["total"], 235);
}

#[test]
fn a_record_that_was_torn_does_not_swallow_the_next_one() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("mismatches.jsonl");
    fs::write(&path, "{\"format_version\":1,\"topo").unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    assert_eq!(replay(&recording("parallel-a"), &state_dir).code, 1);
    let explained = shadow(["explain".as_ref(), path.as_os_str()]);
    assert_eq!(explained.code, 2, "{explained:#?}");
    assert!(explained.stderr.contains("line 1"), "{}", explained.stderr);
    assert!(explained.stdout.contains("in block 33"), "{}", explained.stdout);
    assert!(explained.stdout.contains("in block 34"), "{}", explained.stdout);
}

#[test]
fn a_state_directory_of_another_chain_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    assert_eq!(replay(&recording("parallel-a"), &state_dir).code, 1);
    let ran = replay(&recording("serial-main"), &state_dir);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("another chain"), "{}", ran.stderr);
    let soak = shadow(["soak", "--json", "--blocks", "1", state_dir[0], state_dir[1]]);
    assert_eq!(soak.code, 2, "{soak:#?}");
    assert_eq!(soak.summary()["blocks"]["total"], 0, "what is there is about another chain");
}

#[test]
fn a_state_directory_is_used_by_one_process_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let held = storage_snapshot::Store::open(state.path(), Default::default()).unwrap();
    let ran = replay(&recording("parallel-a"), &["--state-dir", state.path().to_str().unwrap()]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains(&std::process::id().to_string()), "{}", ran.stderr);
    drop(held);
}

fn replay(directory: &Path, more: &[&str]) -> Ran {
    let fixed =
        ["replay".as_ref(), directory.as_os_str(), "--check-node".as_ref(), "--json".as_ref()];
    shadow(fixed.into_iter().chain(more.iter().map(AsRef::as_ref)))
}

/// The input is refused with exit code 2, and the message names all of this.
#[track_caller]
fn refused(directory: &Path, named: &[&str]) {
    let ran = replay(directory, &[]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    let message = ran.stderr.lines().find(|line| line.starts_with("error: "));
    let message = message.unwrap_or_else(|| panic!("no message: {ran:#?}"));
    for name in named {
        assert!(message.contains(name), "{message:?} does not name {name:?}");
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert_eq!(ran.summary()["verdict"], "error");
}

/// The first blocks, and only the answers about them.
fn beginning_of_serial_main(blocks: usize) -> Copy {
    Copy::of("serial-main")
        .edit("blocks.jsonl.gz", |lines| lines.truncate(blocks))
        .edit("versions.jsonl.gz", |lines| {
            lines.retain(|line| {
                let exchange: Value = serde_json::from_str(line).unwrap();
                exchange["params"]["topoheight"].as_u64().unwrap() < blocks as u64
            });
        })
        .without("final_state.jsonl.gz")
        .without("node.jsonl.gz")
}

fn sum_of_verdicts(blocks: &Value) -> u64 {
    ["match", "mismatch", "inconclusive", "not_exercised", "opaque"]
        .iter()
        .map(|verdict| blocks[verdict].as_u64().unwrap())
        .sum()
}

/// The part of a summary that does not depend on the clock.
fn counts(summary: &Value) -> Value {
    let mut counts = summary.clone();
    counts.as_object_mut().unwrap().remove("seconds");
    counts
}
