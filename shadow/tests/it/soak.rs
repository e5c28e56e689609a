//! The generated chain, verified from the command line.

use std::collections::BTreeSet;

use comparator::Field;
use serde_json::Value;
use shadow::{
    ledger::LedgerEntry,
    source::{GeneratedChain, GeneratedOptions, Profile},
};

use storage_snapshot::{Store, StoreOptions, TopoHeight};

use crate::{
    program::{Ran, shadow},
    walk::standing,
};

#[test]
fn a_soak_is_clean_and_nearly_every_block_is_exercised() {
    let ran = soak(&["--blocks", "200"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["verdict"], "clean");
    assert_eq!(summary["blocks"]["total"], 201);
    assert!(summary["blocks"]["match"].as_u64() > Some(180), "{summary:#}");
    assert_eq!(summary["mismatches"]["total"], 0);
    assert!(summary["transactions"]["executed"].as_u64() > Some(10_000), "{summary:#}");
    for status in ["skipped", "failed"] {
        assert!(summary["transactions"][status].as_u64() > Some(0), "none {status}");
    }
    let re_orders = &summary["re_orders"];
    assert!(re_orders["count"].as_u64() > Some(0), "{summary:#}");
    assert!(re_orders["blocks"].as_u64() >= re_orders["deepest"].as_u64(), "{summary:#}");
    assert_eq!(summary["stale"], 0, "what was ordered away was not replaced");
    for quirk in ["failed_keeps_effects", "nonce_gap", "nonce_out_of_order"] {
        assert!(summary["quirks"][quirk].as_u64() > Some(0), "no {quirk}");
    }
}

#[test]
fn every_way_in_which_a_result_is_altered_comes_up_in_a_soak_as_it_is_by_default() {
    let state = tempfile::tempdir().unwrap();
    let ran = soak(&["--blocks", "1000", "--state-dir", state.path().to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let store = Store::open(state.path(), StoreOptions::default()).unwrap();
    let entries = store.ledger_range(TopoHeight::GENESIS..=TopoHeight::MAX);
    let planted: BTreeSet<_> = entries
        .filter_map(|entry| LedgerEntry::decode(&entry.unwrap().1).unwrap().canary)
        .map(|canary| canary.planted)
        .collect();
    let fields = [
        Field::Outcome,
        Field::Nonce,
        Field::Balance,
        Field::Multisig,
        Field::Registration,
        Field::Version,
        Field::Fees,
        Field::Burned,
        Field::MinerReward,
    ];
    assert_eq!(planted, BTreeSet::from(fields));
}

#[test]
fn what_shows_under_some_schedules_only_is_found_by_a_soak_of_one_run_per_block() {
    for fault in ["fault:seed-decides", "fault:batch-in-reverse"] {
        let ran = soak(&["--blocks", "400", "--triage", "0", "--candidate", fault]);
        assert_eq!(ran.code, 1, "{ran:#?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_chain_and_another_seed_another() {
    let digest = |arguments: &[&str]| soak(arguments).summary()["state_digest"].clone();
    let first = digest(&["--blocks", "30", "--seed", "7"]);
    assert!(first.is_string());
    assert_eq!(first, digest(&["--blocks", "30", "--seed", "7"]));
    assert_eq!(first, digest(&["--blocks", "30", "--seed", "7", "--workers", "5"]));
    assert_ne!(first, digest(&["--blocks", "30", "--seed", "8"]));
}

#[test]
fn a_soak_that_goes_on_ends_like_one_that_was_never_stopped() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap()];
    for blocks in ["11", "12", "60"] {
        assert_eq!(soak(&[&state_dir[..], &["--blocks", blocks]].concat()).code, 0);
    }
    let resumed = soak(&[&state_dir[..], &["--blocks", "300"]].concat());
    let fresh = soak(&["--blocks", "300"]);
    let comparable = |ran: Ran| {
        let mut summary: Value = ran.summary();
        summary.as_object_mut().unwrap().remove("seconds");
        summary
    };
    assert_eq!(comparable(resumed), comparable(fresh));
}

#[test]
fn what_no_reorder_can_reach_leaves_the_log_and_stays_in_the_ledger() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_str().unwrap();
    let soaked = soak(&["--state-dir", path, "--blocks", "700", "--transactions-per-block", "5"]);
    assert_eq!(soaked.code, 0, "{soaked:#?}");
    let store = Store::open(state.path(), StoreOptions::default()).unwrap();
    let view = store.view_tip().expect("so many blocks are folded");
    let oldest = view.checked_sub(63).expect("the view is far above the first block");
    assert!(store.block(oldest).unwrap().is_some());
    let below = oldest.previous().unwrap();
    for topoheight in [TopoHeight::GENESIS, below] {
        assert!(store.block(topoheight).unwrap().is_none(), "{topoheight} is still in the log");
        assert!(store.ledger(topoheight).unwrap().is_some(), "{topoheight} is not in the ledger");
    }
}

#[test]
fn two_runs_are_compared_by_the_states_they_came_to() {
    let directories: Vec<_> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let path = |index: usize| directories[index].path().to_str().unwrap();
    let run = |index, seed, blocks| {
        soak(&["--state-dir", path(index), "--seed", seed, "--blocks", blocks]);
    };
    run(0, "1", "40");
    run(1, "1", "25");
    run(2, "2", "25");
    let digest = |against| shadow(["digest", "--state-dir", path(0), "--against", against]);
    let same = digest(path(1));
    assert_eq!(same.code, 0, "{same:#?}");
    assert!(same.stdout.contains("through topoheight 25"), "{}", same.stdout);
    let part = digest(path(2));
    assert_eq!(part.code, 1, "{part:#?}");
    assert!(part.stdout.contains("part at topoheight 0"), "{}", part.stdout);
    assert_eq!(digest(path(3)).code, 2);
    assert_eq!(digest("nowhere").code, 2);
    let itself = digest(path(0));
    assert_eq!(itself.code, 2, "{itself:#?}");
    assert!(itself.stderr.contains("is the same state directory"), "{itself:#?}");
}

#[test]
fn the_conflict_rate_decides_how_many_batches_a_block_takes() {
    let batches = |rate: &str| {
        let summary = soak(&["--blocks", "20", "--conflict-rate", rate]).summary();
        summary["exercise"]["batches"].as_u64().unwrap()
    };
    assert!(batches("0") * 3 < batches("1"));
}

#[test]
fn every_profile_is_clean_and_is_a_chain_of_its_own() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = ["--state-dir", state.path().to_str().unwrap(), "--blocks", "15"];
    assert_eq!(soak(&state_dir).code, 0);
    for profile in Profile::ALL {
        let named = ["--profile", profile.name()];
        let ran = soak(&[&named[..], &["--blocks", "15"]].concat());
        assert_eq!(ran.code, 0, "{profile}: {ran:#?}");
        let same = profile == Profile::default();
        let code = soak(&[&state_dir[..], &named].concat()).code;
        assert_eq!(code, if same { 0 } else { 2 }, "{profile} on the default's directory");
    }
}

#[test]
fn one_worker_exercises_nothing() {
    let ran = soak(&["--blocks", "20", "--workers", "1"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert_eq!(ran.summary()["verdict"], "not_enough_evidence");
    assert_eq!(ran.summary()["blocks"]["match"], 0);
}

#[test]
fn no_blocks_are_no_evidence() {
    let ran = shadow(["soak", "--blocks", "0"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stdout.contains("not enough evidence"), "{}", ran.stdout);
    assert!(ran.stdout.contains("nothing was exercised"), "{}", ran.stdout);
}

#[test]
fn a_wrong_command_line_is_bad_usage() {
    #[track_caller]
    fn check(arguments: &[&str], named: &str) {
        let ran = shadow(arguments);
        assert_eq!(ran.code, 2, "{ran:#?}");
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
    }
    check(&[], "Usage");
    check(&["soak", "--blocks", "many"], "--blocks");
    check(&["soak", "--conflict-rate", "1.5"], "--conflict-rate");
    check(&["soak", "--profile", "nothing"], "--profile");
    check(&["soak", "--transactions-per-block", "0"], "--transactions-per-block");
    check(&["soak", "--workers", "0"], "--workers");
    check(&["replay"], "DIRECTORY");
    check(&["soak", "--log", "no=such=filter"], "--log");
    check(&["explain", "nowhere.jsonl"], "nowhere.jsonl");
    assert_eq!(shadow(["--help"]).code, 0);
}

/// postmortem: a build that had not executed a single block was clean by what another one had done.
#[test]
fn what_another_build_of_a_candidate_did_says_nothing_about_this_one() {
    let state = tempfile::tempdir().unwrap();
    let candidate = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/candidate.py");
    let run = |python: &str, blocks: &str| {
        let candidate = format!("external:python3 {python} '{candidate}'");
        let state_dir = state.path().to_str().unwrap();
        let size = "--transactions-per-block=10";
        soak(&["--blocks", blocks, size, "--state-dir", state_dir, "--candidate", &candidate])
    };
    assert_eq!(run("-B", "12").code, 0);
    assert_eq!(run("-B", "12").code, 0, "it is the same build");
    for blocks in ["12", "15"] {
        let other = run("-E", blocks);
        assert_eq!(other.code, 3, "{other:#?}");
        assert_eq!(other.summary()["verdict"], "not_enough_evidence");
    }
}

#[test]
fn a_candidate_that_is_broken_from_the_beginning_is_a_mismatch_and_disturbs_no_other() {
    let alone = soak(&["--blocks", "12"]).summary();
    let ran = soak(&["--blocks", "12", "--candidate=external:/bin/false", "--candidate=v3"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let summary = ran.summary();
    let candidates = &summary["candidates"];
    assert_eq!(candidates["v3"], alone["candidates"]["v3"]);
    let broken = &candidates["external-false"];
    assert_eq!((&broken["mismatch"], &broken["exercised"]), (&4.into(), &0.into()), "{broken:#}");
    let crashed = &summary["mismatches"]["by_field"]["crashed"];
    assert_eq!(crashed, 4, "it is left alone after the third block, and tried again in the last");
    assert_eq!(summary["blocks"]["exercised"], 0, "not all of them were exercised in any block");
}

#[test]
fn generated_blocks_are_sound() {
    let options = GeneratedOptions {
        profile: Profile::Everything,
        seed: 3,
        blocks: 150,
        transactions_per_block: 40,
        conflict_rate: 0.2,
    };
    let mut sides = 0;
    for block in standing(GeneratedChain::new(options)) {
        // What it writes as a node would is read as a node's block would be, hashes and all.
        let json = shadow::chain::block_to_json(&block).unwrap();
        assert_eq!(shadow::chain::decode_block(&json).unwrap(), block);
        assert!(!block.has_duplicate_transactions());
        assert_eq!(block.opaque_transactions().count(), 0);
        sides += u64::from(block.block_type == shadow::chain::BlockType::Side);
    }
    assert!(sides > 0);
}

fn soak(arguments: &[&str]) -> Ran {
    shadow([&["soak", "--json"], arguments].concat())
}
