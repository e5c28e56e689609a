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
    check_refused("node = 'x'\nuntil = 'soon'\n", &["config", "--check"], "'soon' for '--until");
}
