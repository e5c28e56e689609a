//! The report of a run as files: what is in them, however the run ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use roxmltree::Document;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    program::{Ran, shadow, start},
    recordings::recording,
};

/// The files of a report.
pub(crate) struct Files(pub(crate) PathBuf);

impl Files {
    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.0.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub(crate) fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).unwrap()
    }

    pub(crate) fn first_line(&self) -> String {
        self.text("report.md").lines().next().unwrap().to_owned()
    }

    /// The report without what is to be copied from it, where nothing is markup.
    fn prose(&self) -> String {
        let text = self.text("report.md");
        let mut is_prose = true;
        let lines = text.lines().filter(|line| {
            let is_fence = line.starts_with("```");
            is_prose ^= is_fence;
            is_prose && !is_fence
        });
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// All cases, each as class, name, and what is wrong with it.
    pub(crate) fn cases(&self) -> Vec<(String, String, Option<Wrong>)> {
        let text = self.text("junit.xml");
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
        let attribute = |node: roxmltree::Node<'_, '_>, name: &str| {
            node.attribute(name).unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        let cases: Vec<_> = cases
            .map(|case| {
                let wrong = case
                    .children()
                    .find(|child| child.has_tag_name("failure") || child.has_tag_name("error"));
                let wrong = wrong.map(|wrong| Wrong {
                    element: wrong.tag_name().name().to_owned(),
                    kind: attribute(wrong, "type"),
                    message: attribute(wrong, "message"),
                });
                (attribute(case, "classname"), attribute(case, "name"), wrong)
            })
            .collect();
        // What the file says of itself has to be what is in it.
        let root = document.root_element();
        let count = |name: &str| attribute(root, name).parse::<usize>().unwrap();
        assert_eq!(count("tests"), cases.len(), "{text}");
        let wrong = cases.iter().filter(|(_, _, wrong)| wrong.is_some()).count();
        assert_eq!(count("failures") + count("errors"), wrong, "{text}");
        cases
    }

    /// The only case.
    #[track_caller]
    fn case(&self) -> (String, String, Option<Wrong>) {
        let mut cases = self.cases();
        assert_eq!(cases.len(), 1, "{cases:?}");
        cases.remove(0)
    }

    #[track_caller]
    fn check_chart(&self) {
        let text = self.text("chart.svg");
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(document.root_element().has_tag_name(("http://www.w3.org/2000/svg", "svg")));
        for title in ["verdicts, % of blocks", "lag, seconds", "speed-up, times"] {
            assert!(text.contains(title), "no {title}");
        }
    }
}

/// What is wrong with a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) element: String,
    pub(crate) kind: String,
    pub(crate) message: String,
}

fn directory() -> (TempDir, Files) {
    let directory = tempfile::tempdir().unwrap();
    let files = Files(directory.path().join("new").join("report"));
    (directory, files)
}

fn soak(files: &Files, more: &[&str]) -> Ran {
    let directory = files.0.to_str().unwrap();
    let arguments =
        ["soak", "--json", "--transactions-per-block", "12", "--summary-dir", directory];
    shadow([&arguments[..], more].concat())
}

#[test]
fn a_clean_run_is_clean_in_every_file() {
    let (_directory, files) = directory();
    let ran = soak(&files, &["--blocks", "40", "--seed", "3", "--schedules", "2"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(files.summary(), ran.summary());

    let report = files.text("report.md");
    let exercised = ran.summary()["blocks"]["exercised"].as_u64().unwrap();
    let first = format!("# CLEAN: nothing differs in 41 blocks, {exercised} of them exercised (");
    assert!(report.starts_with(&first), "{report}");
    for part in [
        "profile everything, seed 3",
        "| v3 | 41 |",
        "says nothing about anybody else's executor",
        "| of kind transfer |",
        "| it burns |",
        "| it pays its own account | 0 | 0 | never seen |",
        "x in all; transactions | 0-25% conflict |",
        "| 10-49 | ",
        "](chart.svg)",
        "shadow soak --blocks 40 --schedules 2 --seed 3 --transactions-per-block 12 --workers ",
        "Not compared are",
    ] {
        assert!(report.contains(part), "no {part:?} in {report}");
    }
    assert!(!report.contains("## What differs") && !report.contains("speaks against"), "{report}");

    let (class, name, wrong) = files.case();
    assert_eq!((&*class, &*name), ("shadow soak", "profile everything, seed 3"));
    assert_eq!(wrong, None);
    files.check_chart();
}

/// Whatever is planted, the first line says what differs, where, and for whom.
#[cfg(feature = "faults")]
#[test]
fn the_first_line_about_a_planted_fault_says_what_and_where() {
    #[track_caller]
    fn check(fault: &str, field: &str) {
        let (directory, files) = directory();
        let state = directory.path().join("state");
        let candidate = format!("fault:{fault}");
        let more = ["--blocks", "30", "--candidate", &candidate, "--triage", "2"];
        let state_dir = ["--state-dir", state.to_str().unwrap()];
        let ran = soak(&files, &[&more[..], &state_dir].concat());
        assert_eq!(ran.code, 1, "{fault}: {ran:#?}");

        let first = &files.summary()["mismatches"]["first"];
        assert_eq!(first["field"], field, "{fault}: {first:#}");
        let line = files.first_line();
        let said = format!(
            "# MISMATCH: candidate fault-{fault} differs in {} at topoheight {}: ",
            field.replace('_', "\\_"),
            first["topoheight"]
        );
        assert!(line.starts_with(&said), "{fault}: {line}");

        let (_, _, wrong) = files.case();
        let wrong = wrong.unwrap_or_else(|| panic!("{fault} passed"));
        assert_eq!((&*wrong.element, &*wrong.kind), ("failure", "mismatch"));
        let message = format!("differs in {field} at topoheight {}", first["topoheight"]);
        assert!(wrong.message.contains(&message), "{wrong:?}");

        // What to look into is there, and what to run is right.
        let report = files.text("report.md");
        let command = report.lines().find(|line| line.starts_with("shadow repro ")).unwrap();
        let repro = shadow(command.split(' ').skip(1));
        assert_eq!(repro.code, 1, "{fault}: {repro:#?}");
        assert!(report.contains("* run again: "), "{report}");
        assert!(report.contains("| differs |"), "{report}");
        files.check_chart();
    }
    check("reward-twice", "balance");
    check("nonce-not-advanced", "nonce");
    check("sender-not-debited", "balance");
    check("outcome-missing", "outcome");
    check("panics-on-transaction", "crashed");
}

#[test]
fn what_was_not_exercised_is_a_failure_and_not_a_pass() {
    let (_directory, files) = directory();
    let ran = soak(&files, &["--blocks", "10", "--workers", "1"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    let line = files.first_line();
    let said = "# NOT ENOUGH EVIDENCE: nothing was exercised for candidate v3";
    assert!(line.starts_with(said), "{line}");
    assert!(files.text("report.md").contains("## What speaks against a green result"));
    let (_, _, wrong) = files.case();
    let wrong = wrong.unwrap();
    assert_eq!((&*wrong.element, &*wrong.kind), ("failure", "not_enough_evidence"));
    assert!(wrong.message.starts_with("nothing was exercised"), "{wrong:?}");
}

#[test]
fn what_could_not_be_run_is_an_error_and_its_name_is_only_a_name() {
    let (directory, files) = directory();
    let hostile = directory.path().join("<b>\"&'`|]]>\u{1b}[2J\n# CLEAN");
    let report = files.0.to_str().unwrap();
    let ran = shadow(["replay", hostile.to_str().unwrap(), "--summary-dir", report]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(files.first_line().starts_with("# ERROR: "), "{}", files.first_line());
    let text = files.text("report.md");
    assert!(!files.prose().contains("<b>") && !text.contains("\n# CLEAN"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let (_, name, wrong) = files.case();
    assert!(name.contains("<b>\"&'`|]]>"), "{name}");
    assert_eq!(wrong.unwrap().element, "error");
    assert_eq!(files.summary()["verdict"], "error");
    assert!(!files.0.join("chart.svg").exists(), "nothing was run");
}

#[test]
fn what_a_candidate_says_is_text_in_every_file() {
    let (_directory, files) = directory();
    let says = "</testcase>]]><script>|`x`*y*\u{1b}[31m";
    let candidate = format!("external:printf '{says}\\n%s' x");
    let ran = soak(&files, &["--blocks", "3", "--candidate", &candidate, "--triage", "0"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let line = files.first_line();
    assert!(line.starts_with("# MISMATCH: candidate external-"), "{line}");
    let text = files.text("report.md");
    assert!(!files.prose().contains("<script>") && !text.contains('\u{1b}'), "{text:?}");
    let (_, _, wrong) = files.case();
    assert_eq!(wrong.unwrap().kind, "mismatch");
}

#[test]
fn a_recording_in_which_the_node_differs_says_so_first() {
    let (_directory, files) = directory();
    let path = recording("parallel-a");
    let report = files.0.to_str().unwrap();
    let arguments = ["replay", path.to_str().unwrap(), "--check-node", "--summary-dir", report];
    assert_eq!(shadow(arguments).code, 1);
    let line = files.first_line();
    let said = "# MISMATCH: candidate node differs in balance at topoheight 33: ";
    assert!(line.starts_with(said), "{line}");
    // A node is asked by nobody to execute again.
    let text = files.text("report.md");
    assert!(text.contains("\nshadow explain ") && !text.contains("shadow repro"), "{text}");
}

/// Starts a run that does not end by itself, and waits until it holds its state directory.
fn endless(state: &Path, files: &Files) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program
        .args(["soak", "--for", "1h", "--transactions-per-block", "5", "--json"])
        .args(["--state-dir", state.to_str().unwrap()])
        .args(["--summary-dir", files.0.to_str().unwrap()])
        .env_remove("SHADOW_STATE_DIR")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = start(&mut program);
    until("the run holds its state directory", || state.join("mismatches.jsonl").is_file());
    child
}

#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited for: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    let id = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(id, signal).unwrap();
}

#[test]
fn a_run_that_is_interrupted_is_not_enough_evidence() {
    let (directory, files) = directory();
    let mut child = endless(&directory.path().join("state"), &files);
    send(&child, Signal::INT);
    assert_eq!(child.wait().unwrap().code(), Some(3));
    let line = files.first_line();
    let said = "# NOT ENOUGH EVIDENCE: the run did not come to its end, somebody asked it to stop";
    assert!(line.starts_with(said), "{line}");
    let (_, _, wrong) = files.case();
    assert_eq!(wrong.unwrap().kind, "not_enough_evidence");
    assert_eq!(files.summary()["interrupted"], true);
}

#[test]
fn a_run_that_is_killed_leaves_a_failure_and_not_the_answer_of_an_earlier_one() {
    let (directory, files) = directory();
    assert_eq!(soak(&files, &["--blocks", "10"]).code, 0);
    assert!(files.first_line().starts_with("# CLEAN"));
    let mut child = endless(&directory.path().join("state"), &files);
    send(&child, Signal::KILL);
    assert_eq!(child.wait().unwrap().code(), None);
    assert!(files.first_line().starts_with("# UNFINISHED: "), "{}", files.first_line());
    let (_, _, wrong) = files.case();
    let wrong = wrong.unwrap();
    assert_eq!((&*wrong.element, &*wrong.kind), ("error", "unfinished"));
    for name in ["summary.json", "chart.svg"] {
        assert!(!files.0.join(name).exists(), "{name} is of the run before");
    }
}

#[test]
fn a_run_that_goes_on_reports_all_of_its_state_directory() {
    let (directory, files) = directory();
    let state = directory.path().join("state");
    let state_dir = ["--state-dir", state.to_str().unwrap()];
    for blocks in ["10", "10", "30"] {
        let ran = soak(&files, &[&state_dir[..], &["--blocks", blocks]].concat());
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert_eq!(files.summary(), ran.summary());
    }
    let line = files.first_line();
    assert!(line.starts_with("# CLEAN: nothing differs in 31 blocks, "), "{line}");
}

#[test]
fn a_run_for_a_time_is_repeated_by_the_command_in_its_report() {
    let (_directory, files) = directory();
    let ran = soak(&files, &["--for", "0.5s", "--profile", "transfers", "--seed", "9"]);
    let report = files.text("report.md");
    let command = report.lines().find(|line| line.starts_with("shadow soak ")).unwrap();
    let again = shadow(command.split(' ').skip(1).chain(["--json"]));
    let (first, second) = (ran.summary(), again.summary());
    assert_eq!(first["state_digest"], second["state_digest"], "{command}");
    assert_eq!(first["blocks"]["total"], second["blocks"]["total"]);
}

#[test]
fn a_report_that_cannot_be_written_costs_no_run() {
    let (directory, _) = directory();
    let file = directory.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let state = directory.path().join("state");
    let state_dir = ["--state-dir", state.to_str().unwrap()];
    let ran = soak(&Files(file.join("report")), &[&state_dir[..], &["--blocks", "5"]].concat());
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains("--summary-dir: ") && ran.stderr.contains("give a directory"));
    assert_eq!(ran.stdout, "");
    assert!(!state.exists(), "nothing was begun");
}
