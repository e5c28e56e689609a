//! The report on a state directory, and the gate.

use std::path::Path;

use comparator::Severity;
use serde_json::{Value, json};
use shadow::{
    coverage::Coverage,
    kinds::{KindCount, TransactionKind},
    ledger::entries,
    report::Report,
    shapes::Shape,
};
use storage_snapshot::{Store, StoreOptions, TopoHeight};
use tempfile::TempDir;

use crate::{
    coverage::{Entry, matching},
    program::{Ran, nobody_starts, shadow},
    recordings::recording,
};

#[test]
fn a_ledger_leads_to_one_exit_code() {
    let thirty = || (0..30).map(|at| matching(at).transfers(10)).collect::<Vec<_>>();
    let and = |entry: Entry| [thirty(), vec![entry]].concat();
    let at_end = || Entry::new(30).transfers(10);
    let met = Some("exercised=30,kind:transfer=300,shape:shared_receiver=300");

    check("clean", &thirty(), None, 0, "");
    check("clean and enough", &thirty(), met, 0, "");
    check("clean and not enough", &thirty(), Some("exercised=31"), 3, "30 of 31 blocks");
    check("missing shapes", &thirty(), Some("per-shape=1"), 3, "same_sender_chain");
    check("missing kinds", &thirty(), Some("per-kind=1"), 3, "of kind burn");
    check("too few workers", &thirty(), Some("workers=4"), 3, "under at least 4 workers");

    let mismatch = and(at_end().judged("v3", "1", "mismatch", 2));
    check("a mismatch", &mismatch, None, 1, "2 mismatches in 1 blocks");
    check("a mismatch, and enough", &mismatch, met, 1, "since topoheight 0");
    check("a mismatch, and not enough", &mismatch, Some("exercised=99"), 1, "31 of 99");

    let stale = and(at_end().judged("v3", "1", "mismatch", 2).with("stale", true));
    check("a stale mismatch", &stale, None, 1, "ordered away");
    check("a stale mismatch, and enough", &stale, met, 1, "ordered away");
    let replaced = and(at_end().judged("v3", "1", "match", 2).with("earlier_mismatches", 1));
    check("a mismatch that was replaced", &replaced, met, 1, "ordered away");

    let doubtful = and(at_end().judged("v3", "1", "inconclusive", 0));
    check("inconclusive", &doubtful, None, 3, "inconclusive");
    check("inconclusive, and enough", &doubtful, met, 3, "inconclusive");
    let hole = and(matching(40));
    check("a hole", &hole, None, 3, "no entry for topoheights 30-39");
    check("a hole, and enough", &hole, met, 3, "no entry for topoheights 30-39");

    let unasked = and(at_end().judged("v3", "1", "match", 2).judged("node", "any", "match", 0));
    check("a candidate not asked before", &unasked, None, 3, "no verdict on 30 blocks");
    let only_one = "exercised=2,kind:transfer=0";
    check(
        "another candidate without enough",
        &unasked,
        Some(only_one),
        3,
        "candidate node: 1 of 2",
    );
    let gone = and(at_end().judged("node", "any", "match", 0));
    check(
        "a candidate not asked any more",
        &gone,
        Some("exercised=1"),
        3,
        "candidate v3: 1 blocks",
    );

    let verdict = json!({"candidate": "canary", "build": "canary", "verdict": "match"});
    let canary = json!({"planted": "fees", "verdict": verdict});
    let missed = and(at_end().judged("v3", "1", "match", 2).with("canary", canary));
    check("a canary that was missed", &missed, None, 3, "altered on purpose");
    check("a canary that was missed, and enough", &missed, met, 3, "altered on purpose");
    let differs = json!({
        "topoheight": 30, "block_hash": "07".repeat(32), "candidate": "serial", "field": "fees",
        "account": null, "asset": null, "control": 1, "observed": 2, "difference": 1,
        "transaction": null,
    });
    let noisy = at_end().judged("v3", "1", "match", 2).with("again", json!({"differs": differs}));
    check("noise", &and(noisy.clone()), None, 3, "noisy: in 1 of 1 blocks");
    check("noise, and enough", &and(noisy), met, 3, "noisy: in 1 of 1 blocks");
    let silent = and(at_end().judged("v3", "1", "match", 2).with("again", json!({})));
    check("no noise, and enough", &silent, met, 0, "");

    let suspended = and(at_end().left_alone("v3", "1"));
    check("left alone", &suspended, None, 3, "candidate v3: left alone in 1 blocks");
    check("left alone, and enough", &suspended, met, 3, "candidate v3: left alone in 1 blocks");

    let broken = and(at_end().judged("v3", "1", "mismatch", 0));
    check("a crash is not exercised", &broken, Some("exercised=31"), 1, "30 of 31 blocks");

    check("an empty ledger", &[], None, 3, "no candidate was judged");
    check("an empty ledger, and nothing required", &[], Some("exercised=0"), 3, "no candidate");
    let nothing = [Entry::new(0).judged("v3", "1", "not_exercised", 2)];
    check("nothing exercised", &nothing, None, 3, "nothing was exercised");
    check("nothing exercised or required", &nothing, Some("exercised=0"), 3, "0 of 1 blocks");
}

#[test]
fn another_build_has_to_earn_its_own_evidence() {
    let wrong = (0..30).map(|at| Entry::new(at).judged("v3", "1", "mismatch", 2));
    let right = (30..50).map(|at| Entry::new(at).transfers(10).judged("v3", "2", "match", 2));
    let entries: Vec<_> = wrong.chain(right).collect();
    let enough = Some("exercised=20,kind:transfer=200");
    check("of all builds together", &entries, None, 1, "of whatever build");
    check("the new build, and enough", &entries, enough, 0, "");
    check("the new build, and not enough", &entries, Some("exercised=21"), 3, "20 of 21");
    let right = |at, build| Entry::new(at).transfers(10).judged("v3", build, "match", 2);
    let both: Vec<_> = (0..30).map(|at| right(at, if at < 20 { "1" } else { "2" })).collect();
    check("a new build, both right", &both, None, 3, "no verdict on 20 blocks");
    check("a new build, both right, and enough", &both, Some("exercised=10"), 0, "");
    let last = [&both[..20], &[Entry::new(20).judged("v3", "2", "not_exercised", 2)]].concat();
    check("a new build that did nothing", &last, None, 3, "as it is now");
    let again = Entry::new(50).transfers(10).judged("v3", "1", "match", 2);
    let again = [entries.clone(), vec![again]].concat();
    let known = "60 mismatches in 30 blocks from topoheight 0 through 29, of the same build";
    check("the wrong build once more", &again, Some("exercised=1"), 1, known);
    let (_directory, store) = ledger(&entries);
    let report = Report::read(&store, None).unwrap();
    let text = report.to_text();
    let shown = "not counted: topoheights 0-29, 30 blocks, 30 of them mismatches, build 1;";
    assert!(text.contains(shown), "{text}");
    let v3 = object(&report)["candidates"]["v3"].clone();
    assert_eq!((&v3["build"], &v3["since"], &v3["through"]), (&json!("2"), &json!(30), &json!(49)));
    assert_eq!(v3["earlier"][0]["blocks"]["mismatch"], 30);
    assert_eq!(v3["mismatches"], json!({}));
}

#[test]
fn a_committed_block_without_a_verdict_is_missing() {
    let state = tempfile::tempdir().unwrap();
    let soak = ["soak", "--blocks", "12", "--profile", "transfers", "--state-dir", path(&state)];
    assert_eq!(shadow(soak).code, 0);
    {
        // As after a crash: what the judge had not yet made durable is not there.
        let _alone = nobody_starts();
        let store = Store::open(state.path(), StoreOptions::default()).unwrap();
        let tip = store.tip().unwrap().block.topoheight;
        let stale = store.ledger(tip).unwrap().unwrap();
        let mut entry: Value = serde_json::from_slice(&stale).unwrap();
        entry["stale"] = json!(true);
        store.put_ledger(tip, entry.to_string().as_bytes()).unwrap();
        store.flush().unwrap();
    }
    let ran = report(&state, &["--json", "--require", "exercised=1"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let missing = ran.summary()["missing"].to_string();
    assert!(missing.contains("1 blocks from topoheight 12 on have no verdict"), "{missing}");
}

#[test]
fn a_soak_is_reported_with_its_shapes_and_bounds() {
    let state = tempfile::tempdir().unwrap();
    let soak = ["soak", "--json", "--blocks", "120", "--workers", "3", "--state-dir", path(&state)];
    let soaked = shadow(soak);
    assert_eq!(soaked.code, 0, "{soaked:#?}");

    let ran = report(&state, &["--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let (object, summary) = (ran.summary(), soaked.summary());
    assert_eq!((&object["verdict"], &object["missing"]), (&json!("clean"), &json!([])));
    assert_eq!(object["ledger"]["blocks"], summary["blocks"]);
    assert_eq!(object["ledger"]["state_digest"], summary["state_digest"]);
    let v3 = &object["candidates"]["v3"];
    assert_eq!((&v3["since"], &v3["through"]), (&json!(0), &json!(120)));
    assert_eq!(v3["blocks"]["match"], summary["candidates"]["v3"]["match"]);
    assert_eq!(v3["rules"], "tos-v3");
    assert_eq!(v3["workers"][0]["workers"], 3);
    assert_eq!(v3["workers"][0]["blocks"], v3["blocks"]["match"]);
    let transfers = &v3["kinds"][0];
    assert_eq!(
        (&transfers["kind"], &transfers["mismatch_blocks"]),
        (&json!("transfer"), &json!(0))
    );
    let trials = transfers["transactions"].as_u64().unwrap();
    assert_eq!(transfers["divergence_below"].as_f64().unwrap(), 3.0 / trials as f64);

    // What the chain cannot have is there, with nothing in it; everything else was exercised.
    let shapes = v3["shapes"].as_array().unwrap();
    assert_eq!(shapes.len(), Shape::ALL.len());
    let empty: Vec<_> = shapes.iter().filter(|shape| shape["transactions"] == 0).collect();
    let names: Vec<_> = empty.iter().map(|shape| shape["shape"].as_str().unwrap()).collect();
    assert_eq!(names, ["self_transfer", "debit_wrapped", "debit_saturated"]);
    assert!(empty.iter().all(|shape| shape["divergence_below"] == Value::Null), "{empty:#?}");

    let text = report(&state, &[]);
    assert_eq!(text.code, 0);
    assert!(text.stdout.starts_with("clean (all runs on this directory together)\n"), "{text:#?}");
    for part in ["counted since topoheight 0", "3 workers", "3/n", "missing", "contracts"] {
        assert!(text.stdout.contains(part), "no {part} in {}", text.stdout);
    }
}

#[test]
fn the_ledger_tells_every_transaction_by_its_kind() {
    let state = tempfile::tempdir().unwrap();
    let recorded = recording("serial-main");
    let replay = ["replay", recorded.to_str().unwrap(), "--state-dir", path(&state)];
    assert_eq!(shadow(replay).code, 0);
    let store = Store::open(state.path(), StoreOptions::default()).unwrap();
    let (mut opaque, mut shaped) = (0, 0);
    for entry in entries(&store, TopoHeight::GENESIS) {
        let entry = entry.unwrap();
        let at = entry.topoheight;
        let sum = |of: fn(KindCount) -> u64| -> u64 {
            TransactionKind::ALL.iter().map(|kind| of(entry.kinds.of(*kind))).sum()
        };
        assert_eq!(sum(|count| count.total), entry.transactions.total, "at {at}");
        assert_eq!(sum(|count| count.executed), entry.transactions.executed, "at {at}");
        assert_eq!(entry.kinds.opaque.executed, 0, "at {at}");
        opaque += entry.kinds.opaque.total;
        if entry.candidates[0].verdict == Severity::Opaque {
            assert!(entry.shapes.is_empty(), "nothing is known of how they met, at {at}");
        }
        shaped += u64::from(!entry.shapes.is_empty());
        assert_eq!((entry.rules.as_str(), entry.control_build.is_empty()), ("tos-v3", false));
    }
    assert!(
        opaque >= 6 && shaped > 50,
        "{opaque} opaque transactions, {shaped} blocks with a shape"
    );
    let coverage = Coverage::read(&store).unwrap();
    assert_eq!(coverage.verdicts.opaque.len(), 6);
    assert_eq!(coverage.standing().to_string(), "0-434");
}

#[test]
fn the_gate_is_passed_by_what_is_met_and_by_nothing_else() {
    let state = tempfile::tempdir().unwrap();
    let soak = ["soak", "--blocks", "60", "--state-dir", path(&state), "--workers", "2"];
    assert_eq!(shadow(soak).code, 0);
    let gate = |requirements: &str| report(&state, &["--require", requirements]);
    assert_eq!(gate("exercised=40,per-kind=1,workers=2").code, 0);
    let refused = gate("exercised=40,shape:self_transfer=1");
    assert_eq!(refused.code, 3, "{refused:#?}");
    let sentence = "missing: candidate v3: 0 of 1 transactions of shape self_transfer (it pays its \
                    own account) exercised";
    assert!(refused.stdout.contains(sentence), "{}", refused.stdout);
    assert!(refused.stdout.starts_with("not enough evidence (the requirements"), "{refused:#?}");
    assert_eq!(gate("exercised=1000").code, 3);
    assert_eq!(gate("workers=3").code, 3);
}

#[test]
fn a_node_that_differs_fails_the_gate() {
    let state = tempfile::tempdir().unwrap();
    let recorded = recording("parallel-a");
    let recorded = recorded.to_str().unwrap();
    let replay = ["replay", recorded, "--check-node", "--state-dir", path(&state)];
    assert_eq!(shadow(replay).code, 1);
    let ran = report(&state, &["--json", "--require", "exercised=1"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let object = ran.summary();
    assert_eq!(object["candidates"]["node"]["mismatches"], json!({"balance": 12, "nonce": 4}));
    assert_eq!(object["candidates"]["node"]["workers"][0]["workers"], Value::Null);
    let differs = object["differs"].to_string();
    assert!(differs.contains("candidate node: 16 mismatches in 2 blocks"), "{differs}");
    let transfers = &object["candidates"]["node"]["kinds"][0];
    assert_eq!(transfers["divergence_below"], Value::Null, "no bound beside a mismatch");
    assert_eq!(report(&state, &[]).code, 1);
}

#[test]
fn what_is_no_state_directory_is_bad_input() {
    let empty = tempfile::tempdir().unwrap();
    let nowhere = empty.path().join("nowhere");
    for directory in [empty.path(), &nowhere] {
        let ran = shadow(["report", "--state-dir", directory.to_str().unwrap()]);
        assert_eq!(ran.code, 2, "{ran:#?}");
        assert!(ran.stderr.contains("no state directory"), "{ran:#?}");
    }
    assert!(!nowhere.exists(), "a mistyped name was made a directory");
}

#[test]
fn a_requirement_that_is_none_is_bad_usage_and_named() {
    let state = tempfile::tempdir().unwrap();
    let ran = report(&state, &["--require", "exercised=1,per-block=2"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("per-block=2") && ran.stderr.contains("per-shape"), "{ran:#?}");
}

#[test]
fn an_empty_ledger_is_no_evidence() {
    let state = tempfile::tempdir().unwrap();
    let alone = nobody_starts();
    drop(Store::open(state.path(), StoreOptions::default()).unwrap());
    drop(alone);
    for require in [&[][..], &["--require", "exercised=0"]] {
        let ran = report(&state, require);
        assert_eq!(ran.code, 3, "{ran:#?}");
        assert!(ran.stdout.contains("no candidate was judged on any block"), "{ran:#?}");
    }
}

#[test]
fn a_directory_in_use_is_named_together_with_who_uses_it() {
    let state = tempfile::tempdir().unwrap();
    let _held = Store::open(state.path(), StoreOptions::default()).unwrap();
    let ran = report(&state, &[]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    let holder = format!("process {}", std::process::id());
    assert!(ran.stderr.contains(&holder), "{}", ran.stderr);
    assert!(ran.stdout.is_empty());
}

#[test]
fn a_run_of_genesis_alone_is_no_evidence() {
    let state = tempfile::tempdir().unwrap();
    let ran = shadow(["soak", "--blocks", "0", "--json", "--state-dir", path(&state)]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let ran = report(&state, &["--json"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let missing = ran.summary()["missing"].to_string();
    assert!(missing.contains("nothing was exercised for candidate v3"), "{missing}");
}

#[test]
fn every_summary_says_what_is_compared_and_what_is_not() {
    let ran = shadow(["soak", "--blocks", "5", "--json"]);
    let summary = ran.summary();
    let words = |field: &str| summary[field].as_array().unwrap().clone();
    for word in ["outcome", "nonce", "balance", "multisig", "registration", "version", "fees"] {
        assert!(words("compared").contains(&json!(word)), "{word}");
    }
    assert!(words("not_compared").contains(&json!("contracts")));
    let text = shadow(["soak", "--blocks", "5"]).stdout;
    let line = text.lines().find(|line| line.starts_with("compared ")).unwrap();
    assert!(line.contains("nonce") && line.contains("; not compared: version_metadata"), "{line}");
}

#[track_caller]
fn check(what: &str, entries: &[Entry], require: Option<&str>, code: u8, sentence: &str) {
    let (_directory, store) = ledger(entries);
    let report = Report::read(&store, require.map(|text| text.parse().unwrap())).unwrap();
    assert_eq!(report.exit_code() as u8, code, "{what}: {}", report.to_text());
    assert!(report.to_text().contains(sentence), "{what}: {}", report.to_text());
    if code == 0 {
        assert_eq!(report.missing(), &[] as &[String], "{what}");
    }
    let object = object(&report);
    let words = ["clean", "mismatch", "", "not_enough_evidence"];
    assert_eq!(object["verdict"], words[usize::from(code)], "{what}");
}

fn object(report: &Report) -> Value {
    serde_json::from_str(&report.to_json().unwrap()).unwrap()
}

/// A store whose ledger has these entries.
fn ledger(entries: &[Entry]) -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    for entry in entries {
        let entry = entry.entry();
        store.put_ledger(entry.topoheight, &entry.encode().unwrap()).unwrap();
    }
    (directory, store)
}

fn report(state: &TempDir, more: &[&str]) -> Ran {
    shadow([&["report", "--state-dir", path(state)], more].concat())
}

fn path(directory: &impl AsRef<Path>) -> &str {
    directory.as_ref().to_str().unwrap()
}
