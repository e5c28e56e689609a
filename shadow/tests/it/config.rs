//! Options from a file: as if they had been typed, unless something else was.

use std::{fs, path::PathBuf};

use crate::program::{Ran, shadow};

/// Runs the program with a configuration file of this content.
fn configured(text: &str, arguments: &[&str]) -> (tempfile::TempDir, Ran) {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("shadow.toml");
    fs::write(&path, text).unwrap();
    let mut all = arguments.to_vec();
    all.extend(["--config", path.to_str().unwrap()]);
    let ran = shadow(all);
    (directory, ran)
}

#[track_caller]
fn check_refused(text: &str, arguments: &[&str], expected: &str) {
    let (_directory, ran) = configured(text, arguments);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains(expected), "{ran:#?}");
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_run_takes_its_options_from_a_file_and_what_is_typed_wins() {
    let text = "blocks = 4\nseed = 3\njson = true\nworkers = 2\n";
    let (_directory, ran) = configured(text, &["soak"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 5);
    let (_directory, ran) = configured(text, &["soak", "--blocks", "2"]);
    assert_eq!(ran.summary()["blocks"]["total"], 3);
}

#[test]
fn small_blocks_are_not_exercised_where_the_chain_would_execute_them_serially() {
    let text = "blocks = 20\ntransactions_per_block = 5\nprofile = 'transfers'\njson = true\n";
    let (_directory, ran) = configured(text, &["soak"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let (_directory, ran) = configured(&format!("{text}min_txs_for_parallel = 100\n"), &["soak"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["blocks"]["match"], 0);
    assert_eq!(summary["reasons"]["not_exercised:below_minimum"], 21);
}

#[test]
fn a_file_that_leaves_nothing_to_verify_is_refused() {
    check_refused("parallel_execution_enabled = false\n", &["soak"], "nothing would be put");
    check_refused("parallel_execution_test_mode = false\n", &["soak"], "start nothing");
}

#[test]
fn a_file_is_checked_without_a_run() {
    let text = "node = 'http://127.0.0.1:1'\ncandidate = ['v3', 'node']\nuntil = 7\n";
    let (_directory, ran) = configured(text, &["config"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    for line in [
        "candidate = v3, node  (file)",
        "node = http://127.0.0.1:1  (file)",
        "until = 7  (file)",
        "min_txs_for_parallel = 0  (default)",
    ] {
        assert!(ran.stdout.lines().any(|found| found == line), "{line}: {ran:#?}");
    }
    let (_directory, ran) = configured(text, &["config", "--check"]);
    assert_eq!((ran.code, &*ran.stdout), (0, ""));

    check_refused(
        "node = 7\nunitl = 3\n",
        &["config", "--check"],
        "line 2: there is no option unitl",
    );
    check_refused("until = 3\n", &["config", "--check"], "--node");
    check_refused(
        "node = 'http://x'\nuntil = 'soon'\n",
        &["config", "--check"],
        "'soon' for '--until",
    );
}

#[test]
fn what_a_run_would_refuse_is_refused_without_one() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let text = format!("node = 'http://127.0.0.1:1'\n{text}\n");
        check_refused(&text, &["config", "--check"], expected);
    }
    check_refused("node = 'ftp://here'\n", &["config", "--check"], "ftp://here");
    check("candidate = []", "no candidate is given");
    check("candidate = ['v3', 'v3']", "v3 is given twice");
    check("parallel_execution_enabled = false", "nothing would be put under test");
    check("parallel_execution_test_mode = false", "start nothing");
    check_refused("candidate = []\n", &["config", "soak"], "no candidate is given");
}

#[test]
fn a_wrong_value_that_nobody_typed_is_told_with_its_place() {
    check_refused("blocks = 3\n\nworkers = 'x'\n", &["soak"], "shadow.toml, line 3");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shadow"));
    let output = command.args(["soak"]).env("SHADOW_LISTEN", "").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("it is from the environment, SHADOW_LISTEN"), "{errors}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shadow"));
    let typed = command.args(["soak", "--workers", "x"]).env("SHADOW_WORKERS", "2").output();
    let errors = String::from_utf8(typed.unwrap().stderr).unwrap();
    assert!(errors.contains("'x' for '--workers") && !errors.contains("nobody typed"), "{errors}");
}

#[test]
fn a_list_for_an_option_that_a_command_takes_once_is_refused() {
    let text = "blocks = 3\nprofile = ['transfers', 'contention']\n";
    check_refused(text, &["soak"], "line 2: profile is given once");
    check_refused(text, &["config", "soak"], "line 2: profile is given once");
}

/// postmortem: with the configuration of the run in its environment, evidence was run again on another candidate
/// than the one that differed, which did not.
#[test]
fn evidence_is_not_run_again_on_what_a_run_is_configured_with() {
    let state = tempfile::tempdir().unwrap();
    let at = state.path().to_str().unwrap();
    let soak = ["soak", "--blocks", "3", "--triage", "0", "--state-dir", at];
    assert_eq!(shadow([&soak[..], &["--candidate", "fault:fee-not-debited"]].concat()).code, 1);
    let entries = fs::read_dir(state.path().join("evidence")).unwrap();
    let mut cases = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let case = cases.next().unwrap();
    let again = ["repro", case.to_str().unwrap(), "--times", "1"];
    let (_directory, ran) = configured("candidate = ['v3', 'node']\nseed = 3\n", &again);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let minimize = ["minimize", case.to_str().unwrap(), "--seconds", "1"];
    for again in [&again[..], &minimize] {
        // What is not taken is not read either.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_shadow"));
        for option in ["CANDIDATE", "WORKERS", "SEED", "BUDGET_SECONDS"] {
            command.env(format!("SHADOW_{option}"), "nonsense");
        }
        let output = command.args(again).output().unwrap();
        let expected = i32::from(again[0] == "repro");
        assert_eq!(output.status.code(), Some(expected), "{output:#?}");
    }
}
