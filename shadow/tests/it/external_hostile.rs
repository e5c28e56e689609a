//! Programs that break the candidate protocol, each in its own way: what is observed of them, and
//! that the block after it is judged as if nothing had been.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use comparator::{Failure, Field, NotExercised, Schedule, Verdict};
use rustix::process::{Pid, Signal, kill_process};
use shadow::{
    candidate_spec::{CandidateSpec, StartCandidateError, start},
    execute::{
        BlockExecutor,
        external::{ExternalExecutor, ExternalOptions},
    },
};
use storage_snapshot::Address;

use crate::{
    external::{python, verdict},
    program,
    support::{A, B, C, D, World},
};

#[test]
fn a_program_that_sleeps_hangs_and_is_ended() {
    let hostile = Hostile::impatient("sleep");
    let hang = Failure::Hang { budget: SHORT };
    assert_eq!(hostile.trouble(), hang);
    // It ignores every signal that can be ignored.
    hostile.ends("program");
    hostile.recovers();
    assert_eq!(hostile.trouble(), hang);
    hostile.recovers();
}

/// postmortem: a program that had left its process group outlived the run.
#[test]
fn a_program_that_has_left_its_process_group_is_ended_as_well() {
    let hostile = Hostile::impatient("leaves_group");
    assert_eq!(hostile.trouble(), Failure::Hang { budget: SHORT });
    hostile.ends("program");
    hostile.recovers();
}

#[test]
fn a_program_that_never_stops_talking_hangs_or_talks_nonsense() {
    let hostile = Hostile::impatient("endlessly_loud");
    assert_eq!(hostile.trouble(), Failure::Hang { budget: SHORT });
    hostile.recovers();
    check_nonsense("endless", "a line of more than 64 MiB");
    check_nonsense("endless newlines", "not an answer");
}

#[test]
fn a_program_that_never_reads_hangs() {
    let mut world = World::new();
    for number in 0..5_000_u32 {
        let mut source = [0x77; 32];
        source[..4].copy_from_slice(&number.to_be_bytes());
        let source = Address::new(source);
        world = world.account(source, 0, 9).pay(source, 0, B, 1, 0);
    }
    let (block, pre_state) = (world.block(), world.pre_state());
    let hostile = Hostile::impatient("deaf");
    for _ in 0..2 {
        let performed = hostile.executor.execute(&block, &pre_state, GOOD);
        assert_eq!(performed.unwrap_err(), Failure::Hang { budget: SHORT });
    }
}

#[test]
fn a_program_that_ends_has_crashed() {
    #[track_caller]
    fn check(fault: &str, expected: &str) {
        let hostile = Hostile::new(fault);
        assert_eq!(hostile.trouble(), Failure::Crashed(expected.to_owned()), "{fault}");
        hostile.agrees();
        assert_eq!(hostile.trouble(), Failure::Crashed(expected.to_owned()), "{fault}");
        hostile.agrees();
    }
    check("exits", "ended with exit status: 3; its log ends \"\\u{1b}[31mgone\"");
    check("half", "ended with exit status: 0, 100 bytes into an answer");
    check("closes_output", "closed its standard output and went on running");
}

#[test]
fn a_program_that_is_killed_has_crashed_of_the_signal() {
    let hostile = Hostile::new("killed");
    let Failure::Crashed(text) = hostile.trouble() else { panic!("it has not") };
    assert!(text.starts_with("ended with signal: 9"), "{text}");
    hostile.agrees();
}

#[test]
fn a_child_that_keeps_the_pipes_open_hides_no_end() {
    #[track_caller]
    fn check(fault: &str, status: &str) {
        let hostile = Hostile::new(fault);
        let Failure::Crashed(text) = hostile.trouble() else { panic!("{fault} was hidden") };
        assert!(text.starts_with(status), "{text}");
        hostile.agrees();
        hostile.ends("child");
    }
    check("leaves_child", "ended with exit status: 4");
    // It is in no group that could be ended, and ends when its pipes are closed.
    check("leaves_stray", "ended with exit status: 5");
}

#[test]
fn what_is_no_answer_is_nonsense() {
    check_nonsense("garbage", "begins \"Traceback \\u{1b}[2J\"");
    check_nonsense("not_utf8", "the answer is not UTF-8 from byte 12");
    check_nonsense("long_line", "a line of more than 64 MiB");
    check_nonsense("wrong_id", "asked was");
    check_nonsense("strings", "field result.totals.fees: invalid type: string");
    check_nonsense("too_large", "field result.totals.fees: invalid type: floating point");
    check_nonsense("no_writes", "field result: missing field `writes`");
    check_nonsense("no_fallback", "field result.exercise: missing field `fallback`");
    check_nonsense("field_twice", "duplicate field `id`");
    check_nonsense("key_twice", "is written twice");
}

#[track_caller]
fn check_nonsense(fault: &str, expected: &str) {
    let hostile = Hostile::new(fault);
    let Failure::Protocol(text) = hostile.trouble() else { panic!("{fault} was accepted") };
    assert!(text.contains(expected), "{fault}: {text}");
    assert!(text.len() < 1000 && !text.contains('\x1b'), "{fault}: {text}");
    hostile.agrees();
}

#[test]
fn an_answer_that_nobody_asked_for_is_nonsense_now_or_at_the_next_block() {
    #[track_caller]
    fn check(fault: &str) {
        let hostile = Hostile::new(fault);
        let now = hostile.execute(TROUBLE);
        // Whether it is there in time for this block is for the operating system to say. It is
        // never taken for the answer to the next.
        let failure = now.err().unwrap_or_else(|| hostile.execute(GOOD).unwrap_err());
        let Failure::Protocol(text) = failure else { panic!("{fault}: {failure}") };
        assert!(text.starts_with("an answer that nobody asked for"), "{fault}: {text}");
        hostile.agrees();
    }
    check("twice");
    check("early");
}

#[test]
fn an_end_that_nobody_asked_for_shows_at_the_next_block() {
    #[track_caller]
    fn check(fault: &str, expected: &str) {
        let hostile = Hostile::new(fault);
        assert_eq!(hostile.verdict(TROUBLE), Verdict::Match);
        // It may take a while to end, and until then it may be asked.
        let failure = (0..).find_map(|_| hostile.execute(GOOD).err()).unwrap();
        assert_eq!(failure, Failure::Crashed(expected.to_owned()));
        hostile.agrees();
    }
    check("ends_after", "ended with exit status: 6");
    check("closes_input", "closed its standard input and went on running");
}

#[test]
fn a_program_that_answers_with_an_error_is_started_again() {
    let hostile = Hostile::new("error");
    assert_eq!(hostile.trouble(), Failure::Error("\"no\\nway\" (code -1)".to_owned()));
    hostile.ends("program");
    hostile.agrees();
}

#[test]
fn a_wrong_result_is_a_mismatch_and_a_result_that_proves_nothing_is_none() {
    let hostile = Hostile::new("outcome_missing");
    let Verdict::Mismatch(mismatch) = hostile.verdict(TROUBLE) else { panic!("it was overlooked") };
    assert_eq!(mismatch.first().unwrap().field, Field::Outcome);
    hostile.agrees();

    #[track_caller]
    fn check(fault: &str, expected: NotExercised) {
        let hostile = Hostile::new(fault);
        assert_eq!(hostile.verdict(TROUBLE), Verdict::NotExercised(expected));
        hostile.agrees();
    }
    check("one_worker", NotExercised::OneWorker);
    check("boasts", NotExercised::ImpossibleClaim);
    check("contradicts", NotExercised::ImpossibleClaim);
    check("fallback", NotExercised::Fallback("too \u{1b}[2J hard".to_owned()));
}

#[test]
fn a_program_may_have_more_workers_than_it_was_given() {
    let hostile = Hostile::new("own_pool");
    assert_eq!(hostile.verdict(TROUBLE), Verdict::Match);
}

#[test]
fn a_long_log_is_kept_to_its_end_and_harms_nobody() {
    let hostile = Hostile::new("loud");
    assert_eq!(hostile.verdict(TROUBLE), Verdict::Match);
    hostile.agrees();
    let log = hostile.executor.log();
    // Each of the 64 Ki bytes may take some more to be shown.
    assert!((64 << 10..256 << 10).contains(&log.len()), "{}", log.len());
    assert!(log.contains("noise\\u{7}"), "the log is not that of the program");
}

#[test]
fn a_program_that_wants_more_memory_than_it_may_have_crashes_alone() {
    let limited = ExternalOptions { memory_bytes: Some(1 << 30), ..ExternalOptions::new(LONG) };
    let hostile = Hostile::start("allocate", limited);
    let Failure::Crashed(text) = hostile.trouble() else { panic!("it got the memory") };
    assert!(text.contains("MemoryError"), "{text}");
    hostile.agrees();
}

#[test]
fn a_program_that_is_another_one_when_it_is_started_again_is_not_believed() {
    let hostile = Hostile::new("changes");
    assert!(matches!(hostile.trouble(), Failure::Crashed(_)));
    let Err(Failure::Protocol(text)) = hostile.execute(GOOD) else { panic!("it was believed") };
    assert!(text.starts_with("started again it calls itself \"python-example\""), "{text}");
}

#[test]
fn a_program_that_said_late_who_it_is_has_to_stay_that() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("note");
    let hostile = Hostile::new(&format!("late_name {}", note.display()));
    assert!(matches!(hostile.execute(GOOD), Err(Failure::Error(_))));
    hostile.agrees();
    assert!(matches!(hostile.trouble(), Failure::Crashed(_)));
    let Err(Failure::Protocol(text)) = hostile.execute(GOOD) else { panic!("it was believed") };
    assert!(text.ends_with("\"2\", before it was \"python-example\" \"1\""), "{text}");
}

#[test]
fn a_program_that_refuses_to_start_again_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("note");
    let hostile = Hostile::new(&format!("once {}", note.display()));
    hostile.agrees();
    assert!(matches!(hostile.trouble(), Failure::Crashed(_)));
    for _ in 0..2 {
        assert!(matches!(hostile.execute(GOOD), Err(Failure::Error(_))));
    }
    std::fs::remove_file(note).unwrap();
    hostile.agrees();
}

#[test]
fn a_program_is_asked_to_end_and_ended_if_it_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("note");
    drop(Hostile::new(&format!("goodbye {}", note.display())));
    assert_eq!(std::fs::read_to_string(note).unwrap(), "asked to end");

    let hostile = Hostile::new("stays");
    hostile.agrees();
    let pid = pid_in(&hostile.executor.log(), "program");
    drop(hostile);
    assert!(!lives(pid), "it lives on");
}

/// postmortem: a program that hung lived on when somebody lost patience and asked twice for an end.
#[test]
fn no_program_outlives_a_run_that_is_ended_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("pid");
    let script = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); \
                   time.sleep(600)";
    let candidate = format!("external:python3 -c \"{script}\" '{}'", note.display());
    let mut shadow = Command::new(env!("CARGO_BIN_EXE_shadow"));
    shadow.args(["soak", "--blocks", "3", "--candidate", &candidate]).stdin(Stdio::null());
    shadow.env_remove("SHADOW_STATE_DIR").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut shadow = program::start(&mut shadow);
    let pid = loop {
        let noted = std::fs::read_to_string(&note).unwrap_or_default();
        if let Some((pid, _)) = noted.split_once(' ') {
            break pid.parse().unwrap();
        }
        std::thread::yield_now();
    };
    let process = Pid::from_child(&shadow);
    kill_process(process, Signal::INT).unwrap();
    let mut errors = BufReader::new(shadow.stderr.as_mut().unwrap());
    let mut line = String::new();
    while !line.contains("once more ends at once") {
        line.clear();
        assert!(errors.read_line(&mut line).unwrap() > 0, "it ended");
    }
    kill_process(process, Signal::INT).unwrap();
    assert_eq!(shadow.wait().unwrap().code(), Some(4));
    while lives(pid) {
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_cannot_be_put_under_test_is_refused_by_name() {
    #[track_caller]
    fn check(spec: CandidateSpec, expected: &[&str]) {
        let error = start(&spec, 2, LONG, None).unwrap_err();
        assert!(matches!(error, StartCandidateError::External(_)));
        let text = error.to_string();
        for expected in expected {
            assert!(text.contains(expected), "{text}");
        }
    }
    let missing: CandidateSpec = "external:/no/such/engine --fast".parse().unwrap();
    check(missing, &["`/no/such/engine --fast` cannot be started", "No such file"]);
}

/// postmortem: a program that broke before it was asked for a block kept the others from being tried.
#[test]
fn a_program_that_does_not_say_who_it_is_breaks_at_its_first_block() {
    #[track_caller]
    fn check(spec: CandidateSpec, name: &str, field: Field, expected: &str) {
        let CandidateSpec::External(command) = spec else { unreachable!() };
        let start_limit = if field == Field::Hang { SHORT } else { LONG };
        let options = ExternalOptions { start_limit, ..ExternalOptions::new(LONG) };
        let hostile = Hostile::of(ExternalExecutor::start(command, options).unwrap());
        assert_eq!(hostile.executor.name(), name);
        assert!(hostile.executor.build().starts_with("nameless ("), "{}", hostile.executor.build());
        for _ in 0..2 {
            let Verdict::Mismatch(mismatch) = hostile.verdict(GOOD) else { panic!("{expected}") };
            let first = mismatch.first().unwrap();
            assert_eq!(first.field, field);
            assert!(first.observed.to_string().contains(expected), "{}", first.observed);
        }
    }
    let python = "external-python3";
    check(spec("banner"), python, Field::Protocol, "engine 1.0 is ready");
    let version = "it speaks version 2 of the protocol, asked was version 1";
    check(spec("other_protocol"), python, Field::Protocol, version);
    check(spec("never_ready"), python, Field::Hang, "gave no answer within 300ms");
    let ended = "ended with exit status: 1";
    check("external:/bin/false".parse().unwrap(), "external-false", Field::Crashed, ended);
    let neither = "neither a result nor an error";
    check("external:cat".parse().unwrap(), "external-cat", Field::Protocol, neither);
}

#[test]
fn a_program_that_is_gone_when_it_is_started_again_has_crashed() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("python");
    let python = which_python();
    std::os::unix::fs::symlink(python, &link).unwrap();
    let CandidateSpec::External(command) = spec("exits") else { unreachable!() };
    let command = command.to_string().replacen("'python3'", &link.display().to_string(), 1);
    let executor =
        ExternalExecutor::start(command.parse().unwrap(), ExternalOptions::new(LONG)).unwrap();
    let hostile = Hostile::of(executor);
    hostile.agrees();
    std::fs::remove_file(link).unwrap();
    hostile.trouble();
    for _ in 0..2 {
        let Err(Failure::Crashed(text)) = hostile.execute(GOOD) else { panic!("it has not") };
        assert!(text.starts_with("cannot be started again: No such file"), "{text}");
    }
}

#[test]
fn one_that_breaks_does_not_disturb_another() {
    let (hostile, other) = (Hostile::new("exits"), Hostile::new("none"));
    for _ in 0..3 {
        hostile.trouble();
        other.agrees();
        assert_eq!(other.verdict(TROUBLE), Verdict::Match);
    }
}

/// A program with a fault, and a block that shows it under one schedule and not under another.
struct Hostile {
    executor: ExternalExecutor,
    world: World,
}

impl Hostile {
    #[track_caller]
    fn new(fault: &str) -> Self {
        Self::start(fault, ExternalOptions::new(LONG))
    }

    /// With so little time that a hang is found at once.
    #[track_caller]
    fn impatient(fault: &str) -> Self {
        Self::start(fault, ExternalOptions::new(SHORT))
    }

    #[track_caller]
    fn start(fault: &str, options: ExternalOptions) -> Self {
        let CandidateSpec::External(command) = spec(fault) else { unreachable!() };
        let options = ExternalOptions { start_limit: LONG, ..options };
        Self::of(ExternalExecutor::start(command, options).unwrap())
    }

    fn of(executor: ExternalExecutor) -> Self {
        let world = World::new().account(A, 0, 100).account(B, 0, 100);
        Self { executor, world: world.pay(A, 0, C, 1, 1).pay(B, 0, D, 2, 1) }
    }

    fn execute(&self, schedule: Schedule) -> Result<(), Failure> {
        let (block, pre_state) = (self.world.block(), self.world.pre_state());
        self.executor.execute(&block, &pre_state, schedule).map(drop)
    }

    fn trouble(&self) -> Failure {
        self.execute(TROUBLE).expect_err("the fault did not show")
    }

    fn verdict(&self, schedule: Schedule) -> Verdict {
        let (block, pre_state) = (self.world.block(), self.world.pre_state());
        verdict(&self.executor, &block, &pre_state, &self.world.serial(), schedule)
    }

    #[track_caller]
    fn agrees(&self) {
        assert_eq!(self.verdict(GOOD), Verdict::Match);
    }

    /// Where time is short a busy machine may be slow too, but not for ever.
    #[track_caller]
    fn recovers(&self) {
        assert!((0..50).any(|_| self.verdict(GOOD) == Verdict::Match), "it does not come back");
    }

    /// Waits until the process is gone that the program named in its log.
    fn ends(&self, who: &str) {
        let pid = pid_in(&self.executor.log(), who);
        while lives(pid) {
            std::thread::yield_now();
        }
    }
}

fn spec(fault: &str) -> CandidateSpec {
    let words: Vec<_> = fault.split(' ').collect();
    python(&[&["tests/fixtures/candidates/hostile.py"], &words[..]].concat())
}

fn pid_in(log: &str, who: &str) -> u32 {
    let named = log.lines().rev().find_map(|line| line.strip_prefix(who)?.strip_prefix(' '));
    named.unwrap_or_else(|| panic!("no {who} in {log:?}")).parse().unwrap()
}

/// Whether a process is there and not merely waited for.
fn lives(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name before it may hold anything, also brackets.
    !matches!(stat.rsplit(") ").next(), Some(rest) if rest.starts_with(['Z', 'X']))
}

fn which_python() -> std::path::PathBuf {
    let output = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().into()
}

const GOOD: Schedule = Schedule { workers: 2, seed: 1 };

const TROUBLE: Schedule = Schedule { workers: 2, seed: 666 };

/// More than any answer takes.
const LONG: Duration = Duration::from_secs(60);

/// Less than a person notices; what hangs in a test hangs for so long.
const SHORT: Duration = Duration::from_millis(300);
