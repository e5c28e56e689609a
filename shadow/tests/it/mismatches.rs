//! From a mismatch to its cause, from the command line.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use shadow::fingerprint::Fingerprint;
use tempfile::TempDir;

use crate::{
    program::{Ran, shadow},
    recordings::recording,
    support::fixture,
};

/// A candidate that is wrong in every block, and in the same way.
const WRONG: &str = "fault:reward-twice";

fn soak(state: &Path, candidate: &str, more: &[&str]) -> Ran {
    let state = state.to_str().unwrap();
    let arguments = ["soak", "--json", "--state-dir", state, "--candidate", candidate];
    shadow([&arguments[..], &["--transactions-per-block", "12"], more].concat())
}

fn soaked(candidate: &str, more: &[&str]) -> (TempDir, Ran) {
    let state = tempfile::tempdir().unwrap();
    let ran = soak(state.path(), candidate, more);
    (state, ran)
}

/// The directories with evidence of a state directory, in the order of topoheights.
fn evidence_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    let topoheight = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.split('_').next().unwrap().parse::<u64>().unwrap()
    };
    found.sort_by_key(topoheight);
    found
}

fn mismatches(state: &Path) -> Vec<Value> {
    let ran = shadow(["mismatches", "--json", "--state-dir", state.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.summary()["problems"].as_array().unwrap().clone()
}

fn repro(directory: &Path, more: &[&str]) -> Ran {
    shadow([&["repro", directory.to_str().unwrap()], more].concat())
}

#[test]
fn a_mismatch_leaves_evidence_that_another_process_replays_on_its_own() {
    let (state, ran) = soaked("fault:lost-update", &["--blocks", "20"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("moved");
    fs::rename(&evidence_in(&state.path().join("evidence"))[0], &moved).unwrap();
    drop(state);

    let again = repro(&moved, &["--json", "--times", "4"]);
    assert_eq!(again.code, 1, "{again:#?}");
    let found = again.summary();
    assert_eq!((&found["differs"], &found["same_fingerprint"]), (&4.into(), &4.into()));
    assert_eq!(found["candidate"], "fault-lost-update");
    assert_eq!(found["control_is_the_same"], true);
    let one_worker = repro(&moved, &["--workers", "1"]);
    assert_eq!(one_worker.code, 3, "one worker loses nothing: {one_worker:#?}");
    assert!(one_worker.stdout.starts_with("candidate fault-lost-update differs in 0 of 10 runs"));
    assert_eq!(repro(&moved, &["--candidate", "v3"]).code, 0);

    let shown = shadow(["explain", moved.to_str().unwrap()]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    for part in ["--- control", "fingerprint  ", "shadow repro ."] {
        assert!(shown.stdout.contains(part), "no {part} in {}", shown.stdout);
    }

    let control = moved.join("control.json");
    let text = fs::read(&control).unwrap();
    fs::write(&control, &text[..text.len() / 2]).unwrap();
    for refused in [repro(&moved, &[]), shadow(["explain", moved.to_str().unwrap()])] {
        assert_eq!(refused.code, 2, "{refused:#?}");
        assert!(refused.stderr.contains("control.json, field "), "{}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(repro(elsewhere.path(), &[]).code, 2, "there is no evidence");
}

#[test]
fn a_candidate_that_is_always_wrong_is_one_problem_with_a_few_cases() {
    let (state, ran) = soaked(WRONG, &["--blocks", "150", "--profile", "transfers"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["mismatch"], 151);
    let [problem] = &mismatches(state.path())[..] else { panic!("more than one problem") };
    assert_eq!(problem["blocks"], 151);
    assert_eq!((&problem["first"], &problem["last"]), (&0.into(), &150.into()));
    assert_eq!(problem["not_kept"]["count"], 147);
    assert_eq!(problem["triage"]["verdict"], "deterministic");
    let kept = evidence_in(&state.path().join("evidence"));
    assert_eq!(kept.len(), 4);
    let listed: Vec<_> =
        problem["evidence"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert_eq!(listed, kept.iter().map(|path| path.to_str().unwrap()).collect::<Vec<_>>());

    let records = fs::read_to_string(state.path().join("mismatches.jsonl")).unwrap();
    let first: Value = serde_json::from_str(records.lines().next().unwrap()).unwrap();
    assert_eq!(first["fingerprint"], problem["fingerprint"]["id"]);
    assert_eq!(state.path().join(first["evidence"].as_str().unwrap()), kept[0]);

    let text = shadow(["mismatches", "--state-dir", state.path().to_str().unwrap()]).stdout;
    assert!(text.starts_with("1 problems in 151 verdicts\n"), "{text}");
    assert!(text.contains("not kept  evidence of 147 more cases"), "{text}");
}

#[test]
fn evidence_goes_where_it_is_told_to() {
    let report = tempfile::tempdir().unwrap();
    let directory = report.path().join("there");
    let more = ["--blocks", "6", "--report", directory.to_str().unwrap(), "--triage", "0"];
    let (state, ran) = soaked(WRONG, &more);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(!state.path().join("evidence").exists());
    let kept = evidence_in(&directory);
    assert_eq!(kept.len(), 4);
    assert!(!kept[0].join("triage.json").exists());
    let problem = &mismatches(state.path())[0];
    assert_eq!(problem["evidence"][0], kept[0].to_str().unwrap());
    assert_eq!(problem["not_kept"]["count"], 3);
    assert_eq!(problem["triage"], Value::Null);
}

#[test]
fn a_run_that_goes_on_keeps_to_what_was_kept_before() {
    let state = tempfile::tempdir().unwrap();
    for blocks in ["2", "9"] {
        assert_eq!(soak(state.path(), WRONG, &["--blocks", blocks]).code, 1);
    }
    assert_eq!(evidence_in(&state.path().join("evidence")).len(), 4);
    let problem = &mismatches(state.path())[0];
    assert_eq!((&problem["blocks"], &problem["not_kept"]["count"]), (&10.into(), &6.into()));
}

#[test]
fn of_a_node_the_control_and_its_answers_are_kept() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_str().unwrap();
    let recording = recording("parallel-a");
    let replayed = ["replay", recording.to_str().unwrap(), "--check-node", "--state-dir", path];
    assert_eq!(shadow(replayed).code, 1);
    let kept = evidence_in(&state.path().join("evidence"));
    assert_eq!(kept.len(), 2);
    assert!(kept[1].file_name().unwrap().to_str().unwrap().ends_with("_node"));
    let answers: Value =
        serde_json::from_slice(&fs::read(kept[1].join("candidate.json")).unwrap()).unwrap();
    assert_eq!(answers["answers"]["differ"], 14);
    let ran = repro(&kept[1], &[]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("the candidate is a node"), "{}", ran.stderr);
    let in_its_place = repro(&kept[1], &["--candidate", "v3"]);
    assert_eq!(in_its_place.code, 0, "{in_its_place:#?}");
    let problems = mismatches(state.path());
    assert!(problems.iter().all(|one| one["triage"]["verdict"] == "evidence_incomplete"));
}

#[test]
fn a_program_is_run_again_only_if_it_is_given() {
    // Says who it is, and answers everything else with an error.
    let answers = "{'result':{'protocol':1,'name':'no','version':'1'}} if r['method']=='initialize' \
                   else {'error':{'code':1,'message':'no'}}";
    let program = format!(
        "external:python3 -uc \"import sys,json;[print(json.dumps(dict(jsonrpc='2.0',id=r['id'],\
         **({answers})))) for r in map(json.loads,sys.stdin) if r['method']!='shutdown']\""
    );
    let (state, ran) = soaked(&program, &["--blocks", "3"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let kept = &evidence_in(&state.path().join("evidence"))[0];
    let not_given = repro(kept, &[]);
    assert_eq!(not_given.code, 3, "{not_given:#?}");
    assert!(not_given.stderr.contains("external:python3"), "{}", not_given.stderr);
    let given = repro(kept, &["--candidate", &program, "--times", "2"]);
    assert_eq!(given.code, 1, "{given:#?}");
}

fn accept(state: &Path, fingerprint: &str, more: &[&str]) -> Ran {
    let state = ["--state-dir", state.to_str().unwrap(), "--reason", "it is known"];
    shadow([&["accept", fingerprint], &state[..], more].concat())
}

#[test]
fn what_is_accepted_is_counted_apart_and_proves_nothing() {
    let state = tempfile::tempdir().unwrap();
    let blocks = ["--blocks", "30"];
    assert_eq!(soak(state.path(), WRONG, &blocks).code, 1);
    let fingerprint = mismatches(state.path())[0]["fingerprint"]["id"].clone();
    let fingerprint = fingerprint.as_str().unwrap();
    let unknown = accept(state.path(), "0123456789ab", &[]);
    assert_eq!(unknown.code, 2, "{unknown:#?}");
    assert!(unknown.stderr.contains("was not found"), "{}", unknown.stderr);
    assert_eq!(accept(state.path(), "nonsense", &[]).code, 2);
    let accepted = accept(state.path(), fingerprint, &[]);
    assert_eq!(accepted.code, 0, "{accepted:#?}");
    // Whoever runs the sidecar may be somebody else.
    let mode = fs::metadata(state.path().join("accepted.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "{mode:o}");

    let ran = soak(state.path(), WRONG, &blocks);
    assert_eq!(ran.code, 3, "nothing is left that was exercised: {ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["mismatches"]["total"], 0);
    assert_eq!(summary["accepted"]["blocks"], 31);
    assert_eq!(summary["accepted"]["problems"][fingerprint]["reason"], "it is known");
    assert_eq!(summary["blocks"]["match"], 0);
    let report = |more: &[&str]| {
        shadow([&["report", "--state-dir", state.path().to_str().unwrap()], more].concat())
    };
    let required = report(&["--require", "exercised=1"]);
    assert_eq!(required.code, 3, "{required:#?}");
    assert!(required.stdout.contains(&format!("accepted: {fingerprint} in 31 blocks")));
    assert!(required.stdout.contains("0 of 1 blocks exercised"), "{}", required.stdout);
    assert_eq!(report(&[]).code, 3);
    assert_eq!(mismatches(state.path())[0]["blocks_accepted"], 31);

    // The same file says that another build was meant.
    let file = state.path().join("accepted.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("shadow mutant", "shadow other")).unwrap();
    let expired = soak(state.path(), WRONG, &blocks);
    assert_eq!(expired.code, 1, "{expired:#?}");
    assert_eq!(expired.summary()["accepted"]["expired"], 31);
    let required = report(&["--require", "exercised=1"]);
    assert_eq!(required.code, 1, "{required:#?}");
    assert!(required.stdout.contains("expired in 31 blocks"), "{}", required.stdout);

    fs::write(&file, "{").unwrap();
    assert_eq!(soak(state.path(), WRONG, &blocks).code, 2, "never silently");
    assert_eq!(report(&[]).code, 2);
}

#[test]
fn an_acceptance_may_last_until_a_build() {
    let (state, _) = soaked(WRONG, &["--blocks", "5"]);
    let fingerprint = mismatches(state.path())[0]["fingerprint"]["id"].clone();
    let fingerprint = fingerprint.as_str().unwrap();
    let now = accept(state.path(), fingerprint, &["--until-build", "shadow mutant"]);
    assert_eq!(now.code, 2, "it is that build: {now:#?}");
    assert_eq!(accept(state.path(), fingerprint, &["--until-build", "9.9.9"]).code, 0);
    let file = state.path().join("accepted.json");
    let text = fs::read_to_string(&file).unwrap();
    // Of whichever build it was.
    fs::write(&file, text.replace("shadow mutant", "shadow other")).unwrap();
    assert_eq!(soak(state.path(), WRONG, &["--blocks", "5"]).code, 3);
    fs::write(&file, text.replace("9.9.9", "mutant")).unwrap();
    assert_eq!(soak(state.path(), WRONG, &["--blocks", "5"]).code, 1);
}

#[test]
fn more_than_was_accepted_is_a_mismatch() {
    let (state, _) = soaked(WRONG, &["--blocks", "5"]);
    let fingerprint = mismatches(state.path())[0]["fingerprint"]["id"].clone();
    assert_eq!(accept(state.path(), fingerprint.as_str().unwrap(), &[]).code, 0);
    let file = state.path().join("accepted.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"balance\"", "\"nonce\"")).unwrap();
    let ran = soak(state.path(), WRONG, &["--blocks", "5"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert_eq!(ran.summary()["accepted"]["expired"], 6);
}

#[test]
fn what_nobody_looked_into_is_looked_into_by_the_next_run() {
    let (state, _) = soaked(WRONG, &["--blocks", "12"]);
    let first = evidence_in(&state.path().join("evidence")).remove(0);
    let triage = first.join("triage.json");
    // As after a process that died before.
    fs::remove_file(&triage).unwrap();
    assert_eq!(soak(state.path(), "v3", &["--blocks", "12"]).code, 1);
    assert!(!triage.exists(), "somebody was run who was not asked for");
    assert_eq!(soak(state.path(), WRONG, &["--blocks", "12"]).code, 1);
    assert!(triage.exists());
}

/// postmortem: what was accepted of an outcome without what is said stopped to apply, and nobody was told.
#[test]
fn an_acceptance_of_whatever_is_said_has_expired() {
    const OUTCOME: &str = "fault:wrong-fail-reason";
    let (state, _) = soaked(OUTCOME, &["--blocks", "30"]);
    let problems = mismatches(state.path());
    let problem = problems.iter().find(|problem| !problem["fingerprint"]["says"].is_null());
    let id = problem.unwrap()["fingerprint"]["id"].as_str().unwrap();
    assert_eq!(accept(state.path(), id, &[]).code, 0);
    let parts: Fingerprint =
        serde_json::from_value(problem.unwrap()["fingerprint"].clone()).unwrap();
    let before = Fingerprint { says: None, ..parts }.id().to_string();
    let file = state.path().join("accepted.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace(id, &before)).unwrap();
    let ran = soak(state.path(), OUTCOME, &["--blocks", "30"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert_ne!(ran.summary()["accepted"]["expired"], 0);
    let listed = shadow(["mismatches", "--state-dir", state.path().to_str().unwrap()]);
    assert!(listed.stdout.contains("accepted  in 0 of its blocks"), "{}", listed.stdout);
}

#[test]
fn evidence_from_before_fingerprints_had_what_is_said_shows_the_same_problem_again() {
    let ran = repro(&fixture("outcome_without_says"), &["--times", "3"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stdout.contains("in 3 of them with the same fingerprint"), "{}", ran.stdout);
}
