//! Somebody is told of each problem, by a command of theirs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    program::{Ran, shadow},
    support::fixture,
};

/// Verifies a chain with a candidate that is wrong, and with more arguments.
fn soak(state: &Path, arguments: &[&str]) -> Ran {
    soak_blocks(state, "12", arguments)
}

fn soak_blocks(state: &Path, blocks: &str, arguments: &[&str]) -> Ran {
    let fixed = ["soak", "--blocks", blocks, "--transactions-per-block", "8", "--json"];
    let wrong = ["--profile", "transfers", "--candidate", WRONG, "--triage", "0"];
    let state = ["--state-dir", state.to_str().unwrap()];
    shadow(fixed.iter().chain(&wrong).chain(&state).chain(arguments))
}

/// A script that writes down what it is told.
fn script(directory: &Path, body: &str) -> (String, PathBuf) {
    let (path, out) = (directory.join("tell.sh"), directory.join("told"));
    fs::write(&path, body).unwrap();
    (format!("sh '{}' '{}'", path.display(), out.display()), out)
}

fn told(out: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(out).unwrap_or_default();
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}

/// The fingerprints of the problems in a state directory.
fn problems(state: &Path) -> BTreeSet<String> {
    let ran = shadow(["mismatches", "--json", "--state-dir", state.to_str().unwrap()]);
    let list: Value = serde_json::from_str(&ran.stdout).unwrap();
    let problems = list["problems"].as_array().unwrap_or_else(|| panic!("{list:#}"));
    problems
        .iter()
        .map(|problem| problem["fingerprint"]["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_problem_is_told_once_with_its_evidence_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), WRITE_DOWN);
    let ran = soak(&state, &["--on-mismatch", &command]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let lines = told(&out);
    let expected = problems(&state);
    assert!(!expected.is_empty());
    let fingerprints: BTreeSet<_> = lines.iter().map(|line| line[1].clone()).collect();
    assert_eq!(fingerprints, expected, "{lines:?}");
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for line in &lines {
        assert_eq!(line[0], "complete", "{line:?}");
        assert_eq!(line[3], "external-wrong", "{line:?}");
        assert_eq!(line[4], "balance", "{line:?}");
        let evidence = Path::new(&line[5]);
        assert!(evidence.starts_with(&state) && evidence.is_dir(), "{line:?}");
        let name = evidence.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{}_", line[2])), "{line:?}");
    }
    let counts = &ran.summary()["on_mismatch"];
    assert_eq!(counts["succeeded"], lines.len(), "{counts}");
    assert_eq!((&counts["failed"], &counts["waiting"]), (&0.into(), &0.into()), "{counts}");

    // The same problems again are nothing new, in this process or the next.
    let ran = soak_blocks(&state, "20", &["--on-mismatch", &command]);
    assert_eq!(ran.summary()["blocks"]["total"], 21, "{ran:#?}");
    let lines = told(&out);
    let fingerprints: BTreeSet<_> = lines.iter().map(|line| line[1].clone()).collect();
    assert_eq!(fingerprints, problems(&state));
    assert_eq!(lines.len(), fingerprints.len(), "{lines:?}");
}

#[test]
fn what_nobody_was_told_of_is_told_by_the_next_run() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), WRITE_DOWN);
    // As if the process had died between keeping the evidence and telling somebody.
    assert_eq!(soak(&state, &[]).code, 1);
    assert_eq!(told(&out).len(), 0);
    let ran = soak(&state, &["--on-mismatch", &command]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let fingerprints: BTreeSet<_> = told(&out).iter().map(|line| line[1].clone()).collect();
    assert_eq!(fingerprints, problems(&state));
}

/// postmortem: evidence of an earlier build could not be read, and nobody was told of it.
#[test]
fn what_an_earlier_build_left_behind_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), WRITE_DOWN);
    let case = state.join("evidence/0_68f75e0e_external-false");
    fs::create_dir_all(&case).unwrap();
    for file in fs::read_dir(fixture("crash_without_says")).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(file.path(), case.join(file.file_name())).unwrap();
    }
    let ran = soak(&state, &["--on-mismatch", &command]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let told = told(&out);
    assert!(told.iter().any(|line| line[1] == "0f7dc3ce2a9b"), "{told:?}");
}

/// postmortem: a minimised case was told as a problem that nobody had found, and the problem that has its
/// fingerprint was never told.
#[test]
fn what_was_made_of_a_case_is_no_problem() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), WRITE_DOWN);
    assert_eq!(soak(&state, &[]).code, 1);
    let evidence = state.join("evidence");
    let mut cases = fs::read_dir(&evidence).unwrap().map(|entry| entry.unwrap().path());
    let case = cases.find(|path| path.is_dir()).unwrap();
    let minimize = ["minimize", case.to_str().unwrap(), "--candidate", WRONG];
    assert_eq!(shadow(minimize).code, 0);
    fs::remove_dir_all(&case).unwrap();
    let ran = soak(&state, &["--on-mismatch", &command]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let told = told(&out);
    assert!(!told.is_empty());
    assert!(told.iter().flatten().all(|word| !word.contains("_minimal")), "{told:?}");
}

/// postmortem: a command that ran the evidence again ran it on what the run was configured with.
#[test]
fn a_command_is_told_of_the_problem_and_not_of_how_the_run_is_configured() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), "env | grep ^SHADOW_ | cut -d= -f1 >> \"$1\"\n");
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(["soak", "--blocks", "12", "--profile", "transfers", "--triage", "0"]);
    program.args(["--state-dir", state.to_str().unwrap(), "--on-mismatch", &command]);
    program.envs([("SHADOW_SEED", "3"), ("SHADOW_CANDIDATE", "fault:fee-not-debited")]);
    let ran = program.output().unwrap();
    assert_eq!(ran.status.code(), Some(1), "{ran:#?}");
    let names: BTreeSet<_> = told(&out).into_iter().flatten().collect();
    let of_problem =
        |name: &String| name == "SHADOW_RECORD" || name.starts_with("SHADOW_MISMATCH_");
    assert!(!names.is_empty() && names.iter().all(of_problem), "{names:?}");
}

#[test]
fn a_command_that_does_not_end_is_ended_with_what_it_started() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let (command, out) = script(directory.path(), "sleep 1000 & echo $! >> \"$1\"\nwait\n");
    let ran = soak(&state, &["--on-mismatch", &command, "--on-mismatch-seconds", "0.5"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let counts = &ran.summary()["on_mismatch"];
    assert_eq!(counts["timed_out"], problems(&state).len(), "{counts}");
    assert_eq!(counts["succeeded"], 0, "{counts}");
    assert!(ran.stderr.contains("took too long"), "{ran:#?}");
    for line in told(&out) {
        // What was killed may wait to be looked after, but runs no more.
        let state = fs::read_to_string(format!("/proc/{}/status", line[0])).unwrap_or_default();
        let runs = state.lines().any(|line| line.starts_with("State:") && !line.contains('Z'));
        assert!(!runs, "{state}");
    }
}

#[test]
fn a_command_that_fails_changes_nothing_but_its_count() {
    #[track_caller]
    fn check(command: &str, because: &str) {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let ran = soak(&state, &["--on-mismatch", command]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert_eq!(ran.summary()["blocks"]["total"], 13, "{ran:#?}");
        assert_eq!(ran.summary()["on_mismatch"]["failed"], problems(&state).len(), "{ran:#?}");
        assert!(ran.stderr.contains(because), "{ran:#?}");
        // Nobody was told, so the next run tries again, and is heard.
        let (command, out) = script(directory.path(), WRITE_DOWN);
        let ran = soak(&state, &["--on-mismatch", &command]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        assert_eq!(told(&out).len(), problems(&state).len());
    }
    check("false", "exit status: 1");
    check("/no/such/program", "cannot be started");
}

#[test]
fn what_is_no_command_is_refused_before_anything_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    for command in ["", "tell 'half"] {
        let ran = soak(&state, &["--on-mismatch", command]);
        assert_eq!(ran.code, 2, "{ran:#?}");
    }
    assert!(!state.exists());
}

const WRONG: &str =
    concat!("external:python3 ", env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wrong_candidate.py");

/// Its arguments are the file to write to and the directory of the evidence.
const WRITE_DOWN: &str = r#"
test -f "$2/evidence.json" && test -f "$2/record.json" && test "$2" = "$SHADOW_RECORD" && is=complete
of=$SHADOW_MISMATCH_FINGERPRINT\|$SHADOW_MISMATCH_TOPOHEIGHT\|$SHADOW_MISMATCH_CANDIDATE
echo "$is|$of|$SHADOW_MISMATCH_FIELD|$2" >> "$1"
"#;
