//! A night: all parts are in its report, whatever becomes of them.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    program::{Ran, shadow, start},
    run_report::{Files, send, until},
};

/// A short night by the script.
struct Night {
    directory: TempDir,
    ran: Ran,
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/soak")
}

fn command(directory: &Path, more: &[&str]) -> Command {
    let mut program = Command::new(script());
    program
        .args(["--out", directory.join("night").to_str().unwrap(), "--schedules", "2"])
        .args(["--selftest-blocks", "60", "--attach-blocks", "6"])
        .args(more)
        .env("SHADOW_BIN", env!("CARGO_BIN_EXE_shadow"))
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // One is enough to see that it is run; all of them have a test of their own.
    #[cfg(feature = "faults")]
    program.args(["--selftest-only", "reward-twice"]);
    program
}

fn night(more: &[&str]) -> Night {
    let directory = tempfile::tempdir().unwrap();
    let child = start(&mut command(directory.path(), more));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let ran = Ran {
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    };
    Night { directory, ran }
}

impl Night {
    fn files(&self) -> Files {
        Files(self.directory.path().join("night"))
    }

    fn part(&self, name: &str) -> PathBuf {
        self.directory.path().join("night/parts").join(name)
    }

    /// The names of the cases that did not pass, each with the kind of what is wrong.
    fn failed(&self) -> Vec<(String, String)> {
        let cases = self.files().cases().into_iter();
        cases.filter_map(|(_, name, wrong)| Some((name, wrong?.kind))).collect()
    }
}

/// The selftest, two recordings, and the stand-in node.
const OTHERS: usize = if cfg!(feature = "faults") { 4 } else { 3 };

#[test]
fn a_night_in_which_all_is_well_has_every_part_in_its_report() {
    let night = night(&["--seed", "20261122", "--blocks", "6"]);
    assert_eq!(night.ran.code, 0, "{:#?}", night.ran);
    let files = night.files();
    let cases = files.cases();
    assert_eq!(cases.len(), 8 + OTHERS, "{cases:?}");
    assert_eq!(night.failed(), []);
    for profile in ["transfers", "contention", "multisig", "miner-active"] {
        let name = format!("profile {profile}, seed 20261122");
        assert!(cases.iter().any(|case| case.0 == "shadow soak" && case.1 == name), "{cases:?}");
    }
    for name in ["new-accounts", "failures", "side-blocks", "everything"] {
        let part = Files(night.part(&format!("soak-{name}-20261122")));
        assert!(part.first_line().starts_with("# CLEAN"), "{name}: {}", part.first_line());
        assert!(part.0.join("chart.svg").is_file() && !part.0.join("state").exists());
    }

    let line = files.first_line();
    let said = format!("# CLEAN: all {} parts came out as they have to: ", 8 + OTHERS);
    assert!(line.starts_with(&said), "{line}");
    let report = files.text("report.md");
    for part in [
        "differs as expected, and nowhere else: candidate node differs in balance at topoheight 33",
        "| soak: profile contention, seed 20261122 | clean | 7 |",
        "| of kind transfer |",
        "scripts/soak --seed 20261122 --seeds 1 --blocks 6 --schedules 2 ",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    let summary = files.summary();
    assert_eq!(summary["verdict"], "clean");
    assert_eq!(summary["parts"].as_array().unwrap().len(), 8 + OTHERS);
    assert!(
        night.ran.stderr.contains("seed 20261122; the same again: scripts/soak --seed 20261122")
    );
}

#[cfg(feature = "faults")]
#[test]
fn a_fault_that_is_planted_fails_the_night_and_leaves_its_evidence() {
    let more = ["--seed", "5", "--blocks", "6", "--profile", "transfers", "--profile", "failures"];
    let night = night(&[&more[..], &["--candidate", "fault:reward-twice"]].concat());
    assert_eq!(night.ran.code, 1, "{:#?}", night.ran);
    let mismatch = |profile: &str| (format!("profile {profile}, seed 5"), "mismatch".to_owned());
    assert_eq!(night.failed(), [mismatch("transfers"), mismatch("failures")]);
    let line = night.files().first_line();
    for part in [
        "# MISMATCH: 2 of 6 parts not as expected; first soak (profile transfers, seed 5): ",
        "candidate fault-reward-twice differs in balance at topoheight 0: ",
    ] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert!(night.ran.stdout.starts_with("MISMATCH: "), "{}", night.ran.stdout);
    assert!(night.part("soak-transfers-5/state/evidence/index.json").is_file());
    let report = Files(night.part("soak-transfers-5")).text("report.md");
    assert!(report.contains("* evidence: `state/evidence/0_"), "{report}");
}

#[test]
fn a_part_that_does_not_run_is_a_failure_and_never_absent() {
    let more = ["--seed", "5", "--blocks", "6", "--profile", "transfers"];
    let night = night(&[&more[..], &["--recordings", "/nowhere"]].concat());
    assert_eq!(night.ran.code, 2, "{:#?}", night.ran);
    assert_eq!(night.files().cases().len(), 1 + OTHERS);
    let error = |name: &str| (format!("recording {name}"), "error".to_owned());
    assert_eq!(night.failed(), [error("serial-main"), error("parallel-a")]);
    assert!(night.files().first_line().starts_with("# ERROR: 2 of "));
}

#[test]
fn the_environment_makes_no_part_less_thorough() {
    let directory = tempfile::tempdir().unwrap();
    let more = ["--seed", "5", "--blocks", "45", "--profile", "transfers"];
    let mut command = command(directory.path(), &more);
    command.envs([("SHADOW_CANARY_EVERY", "0"), ("SHADOW_MIN_TXS_FOR_PARALLEL", "1000000")]);
    let ran = start(&mut command).wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{ran:#?}");
    let part = Files(directory.path().join("night/parts/soak-transfers-5"));
    assert_ne!(part.summary()["canaries"]["caught"], 0);
}

#[test]
fn too_few_blocks_in_the_time_that_there_was_are_not_enough() {
    let more = ["--seed", "5", "--profile", "transfers", "--blocks", "100000000"];
    let night = night(&[&more[..], &["--for", "0.1s"]].concat());
    let failed = night.failed();
    let soak = ("profile transfers, seed 5".to_owned(), "not_enough_evidence".to_owned());
    assert_eq!(failed.first(), Some(&soak), "{failed:?}");
    let line = night.files().first_line();
    assert!(line.starts_with("# NOT ENOUGH EVIDENCE: 1 of "), "{line}");
    assert_eq!(night.ran.code, 3, "{:#?}", night.ran);
}

#[test]
fn a_night_that_is_interrupted_says_what_has_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let more =
        ["--seed", "5", "--blocks", "100000000", "--profile", "transfers", "--profile", "failures"];
    let mut child =
        start(command(directory.path(), &more).stdout(Stdio::null()).stderr(Stdio::null()));
    let state = directory.path().join("night/parts/soak-transfers-5/state");
    until("the first chain is verified", || state.join("mismatches.jsonl").is_file());
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let files = Files(directory.path().join("night"));
    let cases = files.cases();
    assert_eq!(cases.len(), 2 + OTHERS);
    let wrong = |place: usize| cases[place].2.clone().unwrap();
    assert!(wrong(0).message.contains("somebody asked it to stop"), "{cases:?}");
    assert_eq!(wrong(1).message, "it has not run");
    assert!(!files.first_line().contains("CLEAN"));
}

#[test]
fn a_night_without_a_place_for_its_report_does_not_begin() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let out = file.path().join("night");
    let ran = shadow(["nightly", "--seed", "5", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains("--out: ") && ran.stderr.contains("give a directory"), "{ran:#?}");
}

#[test]
fn a_night_takes_no_directory_of_another_one() {
    let out = tempfile::tempdir().unwrap();
    let summary = out.path().join("summary.json");
    std::fs::write(&summary, r#"{"seed":1,"parts":[]}"#).unwrap();
    let ran = shadow(["nightly", "--seed", "2", "--out", out.path().to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("holds the night of seed 1; give another directory"), "{ran:#?}");
    assert!(summary.is_file());
}

#[test]
fn the_script_finds_its_checkout_and_says_so_if_there_is_no_program() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("soak");
    std::os::unix::fs::symlink(script().canonicalize().unwrap(), &link).unwrap();
    let run = |program: &str| {
        Command::new(&link).args(["--seed", "5"]).env("SHADOW_BIN", program).output().unwrap()
    };
    let checkout = script().canonicalize().unwrap();
    let checkout = checkout.parent().and_then(Path::parent).unwrap().display();
    let said = String::from_utf8(run("echo").stdout).unwrap();
    assert_eq!(said, format!("nightly --checkout {checkout} --seed 5\n"));
    assert_eq!(run("/nowhere").status.code(), Some(4));
}
