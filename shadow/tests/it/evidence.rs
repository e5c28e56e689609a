//! Evidence directories: what is written is read, and nothing else is.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use comparator::{
    Execution, Exercise, FailReason, Failure, Field, MemorySink, Provenance, Schedule, Status,
};
use shadow::{
    Verifier,
    canary::CanaryRate,
    evidence::{Archive, ArchiveLimits, DoesNotHold, Evidence, EvidenceError, Observed, Problem},
    execute::{
        BlockExecutor, ExecutableBlock, Performed, PreState, SerialExecutor, WithinBudget,
        parallel::ParallelExecutor,
    },
    fingerprint::{Conflict, Fingerprint},
    judge::{Candidate, Judge, Keeping, Progress},
    kinds::TransactionKind,
    node::NodeCheck,
    schedules::Schedules,
    source::{GeneratedChain, GeneratedOptions, Profile},
};
use storage_snapshot::{Amount, StateKey, StateRead, StateValue, Store, StoreOptions, TopoHeight};
use tempfile::TempDir;

use crate::support::*;

fn world() -> World {
    World::new()
        .account(A, 3, 1_000_000)
        .account(B, 0, 5_000)
        .holding(A, GOLD, u64::MAX)
        .with(StateKey::Multisig(B), StateValue::from(config(1, &[A, C])))
        .pay(A, 3, B, 500, 10)
        .transfer(A, 4, &[(GOLD, C, 7), (NATIVE, C, 0)], 11)
        .burn(B, 0, NATIVE, 100, 12)
        .multisig(A, 5, 2, &[B, C], 13)
        .pay(B, 0, A, 1, 1)
}

/// Doubles what B ends up with.
fn doubles_b() -> impl BlockExecutor {
    Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        let key = StateKey::Balance(B, NATIVE);
        if let Some(Some(StateValue::Balance(amount))) =
            execution.delta.get(&key).map(|v| v.cloned())
        {
            execution.delta.insert(key, Some(StateValue::Balance(amount.wrapping_add(amount))));
        }
    })
}

const SCHEDULE: Schedule = Schedule { workers: 3, seed: u64::MAX };

fn evidence_of(world: &World, candidate: &dyn BlockExecutor) -> Evidence {
    let replay = shadow::evidence::Replay::new(world.block(), world.pre_state()).unwrap();
    let run = replay.run(candidate, SCHEDULE).unwrap();
    replay.evidence(run, candidate).expect("the fault was not noticed")
}

/// A directory with evidence in it, and the evidence.
fn written() -> (TempDir, PathBuf, Evidence) {
    let parent = tempfile::tempdir().unwrap();
    let evidence = evidence_of(&world(), &doubles_b());
    let path = evidence.write(parent.path()).unwrap();
    (parent, path, evidence)
}

#[track_caller]
fn assert_same(read: &Evidence, written: &Evidence) {
    assert_eq!(read.control, written.control);
    assert_eq!(read.observed, written.observed);
    assert_eq!(read.record, written.record);
    assert_eq!(read.fingerprint, written.fingerprint);
    assert_eq!(read.candidate_spec, written.candidate_spec);
    assert_eq!(read.log, written.log);
    let values = |state: &PreState| -> Vec<_> {
        state.iter().map(|(key, value)| (key, value.clone())).collect()
    };
    assert_eq!(values(&read.pre_state), values(&written.pre_state));
    assert!(read.pre_state.unknown().eq(written.pre_state.unknown()));
    let control = |evidence: &Evidence| {
        SerialExecutor.control(&evidence.block, &evidence.pre_state).unwrap().execution
    };
    assert_eq!(control(read), control(written));
}

#[test]
fn what_is_written_is_read() {
    let (_parent, path, evidence) = written();
    assert_same(&Evidence::read(&path).unwrap(), &evidence);
}

#[test]
fn a_directory_is_named_by_its_place_its_block_and_its_candidate() {
    let (parent, path, evidence) = written();
    assert_eq!(path, parent.path().join("12_ffffffff_altered"));
    let second = evidence.write(parent.path()).unwrap();
    assert_eq!(second, parent.path().join("12_ffffffff_altered-2"), "the first is not touched");
    assert_same(&Evidence::read(&second).unwrap(), &evidence);
    let entries = fs::read_dir(parent.path()).unwrap().count();
    assert_eq!(entries, 2, "something unfinished was left");
}

#[test]
fn it_is_read_wherever_it_was_moved_to() {
    let (parent, path, evidence) = written();
    let elsewhere = parent.path().join("a/b");
    fs::create_dir_all(parent.path().join("a")).unwrap();
    fs::rename(path, &elsewhere).unwrap();
    assert_same(&Evidence::read(&elsewhere).unwrap(), &evidence);
}

#[test]
fn a_value_that_was_not_known_is_not_known_when_it_is_read() {
    let parent = tempfile::tempdir().unwrap();
    let mut evidence = evidence_of(&world(), &doubles_b());
    let values: Vec<_> =
        evidence.pre_state.iter().map(|(key, value)| (key, value.clone())).collect();
    let unknown = StateKey::Multisig(D);
    evidence.pre_state = Arc::new(PreState::with_unknown(values, [unknown]));
    let read = Evidence::read(&evidence.write(parent.path()).unwrap()).unwrap();
    assert_same(&read, &evidence);
    assert!(read.pre_state.read(&unknown).is_err());
    assert_eq!(read.pre_state.read(&StateKey::Multisig(C)), Ok(None));
}

/// Does not come to an end.
#[derive(Debug)]
struct Fails(Failure);

impl BlockExecutor for Fails {
    fn name(&self) -> &str {
        "fails"
    }

    fn build(&self) -> String {
        "fails `1`\n".to_owned()
    }

    fn execute(
        &self,
        _block: &Arc<ExecutableBlock>,
        _pre_state: &Arc<PreState>,
        _schedule: Schedule,
    ) -> Result<Performed, Failure> {
        Err(self.0.clone())
    }

    fn log(&self) -> String {
        "é".repeat(100_000)
    }
}

#[test]
fn a_failure_is_evidence_too() {
    #[track_caller]
    fn check(failure: Failure, field: Field) {
        let parent = tempfile::tempdir().unwrap();
        let evidence = evidence_of(&world(), &Fails(failure.clone()));
        let read = Evidence::read(&evidence.write(parent.path()).unwrap()).unwrap();
        assert_same(&read, &evidence);
        assert_eq!(read.observed, Observed::Failure(failure));
        assert_eq!(read.fingerprint.field, field);
        assert_eq!(read.fingerprint.conflict, Conflict::None);
        assert!(read.log.len() <= 64 << 10, "the log is not bounded");
    }
    check(Failure::Error("no\n\u{1b}[2J".to_owned()), Field::Error);
    check(Failure::Crashed("x".repeat(100_000)), Field::Crashed);
    check(Failure::Hang { budget: Duration::from_nanos(1_500_001) }, Field::Hang);
    check(Failure::Protocol(String::new()), Field::Protocol);
}

#[test]
fn it_explains_itself() {
    let (_parent, path, evidence) = written();
    let page = fs::read_to_string(path.join("README.md")).unwrap();
    for part in [
        "candidate `altered`",
        "at topoheight 12",
        &evidence.fingerprint.id().to_string(),
        "shadow repro . --candidate …",
        "3 workers, seed 18446744073709551615",
        "evidence.holds(&executor)?",
    ] {
        assert!(page.contains(part), "{part} is not on\n{page}");
    }
}

#[test]
fn a_directory_is_a_regression_test() {
    let (_parent, path, _) = written();
    let evidence = Evidence::read(&path).unwrap();
    evidence.holds(&ParallelExecutor::new(3).unwrap()).unwrap();
    let wrong = evidence.holds(&doubles_b());
    let Err(DoesNotHold::Differs(record)) = &wrong else { panic!("{wrong:?}") };
    assert_eq!(record.subject.schedule, SCHEDULE);
    assert!(wrong.unwrap_err().to_string().contains("+native balance"));
}

#[test]
fn a_fault_that_only_other_schedules_show_does_not_hold_either() {
    let (_parent, path, _) = written();
    let evidence = Evidence::read(&path).unwrap();
    let needs_two = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if execution.exercise.workers == 1 {
            execution.totals.burned = Amount::ZERO;
        }
    });
    assert!(matches!(evidence.holds(&needs_two), Err(DoesNotHold::Differs(_))));
}

/// The file and the field that a directory is refused for after something was done to it.
fn refused(change: impl FnOnce(&Path)) -> (&'static str, String, String) {
    let (_parent, path, _) = written();
    change(&path);
    match Evidence::read(&path) {
        Err(EvidenceError::Broken { directory, file, field, problem }) => {
            assert_eq!(directory, path);
            (file, field, problem.to_string())
        }
        other => panic!("{other:?}"),
    }
}

fn edit(file: &str, from: &str, to: &str) -> impl FnOnce(&Path) {
    move |directory| {
        let path = directory.join(file);
        let text = fs::read_to_string(&path).unwrap();
        let edited = text.replacen(from, to, 1);
        assert_ne!(text, edited, "{file} does not say {from}");
        fs::write(path, edited).unwrap();
    }
}

#[test]
fn an_edited_directory_is_refused_with_file_and_field() {
    let cases = [
        ("block.json", r#""topoheight":12"#, r#""topoheight":13"#, "topoheight"),
        ("block.json", r#""fee":11"#, r#""fee":12"#, "transactions[1]"),
        ("block.json", r#""fee":12"#, r#""fee":-12"#, "transactions[2].fee"),
        ("block.json", r#""amount":500"#, r#""amont":500"#, "transactions[0].data.transfers[0]"),
        ("pre_state.json", r#""value":1000000"#, r#""value":1000001"#, "[6]"),
        ("pre_state.json", r#""value":1000000"#, r#""value":"much""#, "[6].value"),
        ("control.json", r#""fees":"#, r#""fees":1"#, "totals"),
        ("control.json", r#""status":"executed""#, r#""status":"eaten""#, "outcomes[0].status"),
        ("candidate.json", r#""key":"nonce""#, r#""key":"balance""#, "writes[0]"),
        ("record.json", r#""omitted":0"#, r#""omitted":1"#, "omitted"),
        ("record.json", r#""seed":18446744073709551615"#, r#""seed":1"#, "schedule"),
        ("evidence.json", r#""seed":18446744073709551615"#, r#""seed":1"#, "schedule"),
        ("evidence.json", r#""topoheight":12"#, r#""topoheight":13"#, "topoheight"),
        ("evidence.json", r#""candidate_build":"t"#, r#""candidate_build":"T"#, "candidate_build"),
        ("evidence.json", r#""candidate_spec":null"#, r#""candidate_spec":"v3""#, "blake3"),
        ("evidence.json", r#""rules":"tos-v3""#, r#""rules":"tos-v4""#, "blake3"),
        ("evidence.json", r#""conflict":""#, r#""conflict":"x"#, "fingerprint.conflict"),
        ("evidence.json", r#""kind":"transfer""#, r#""kind":"burn""#, "fingerprint"),
        ("evidence.json", r#""format_version":1"#, r#""format_version":2"#, "format_version"),
        ("evidence.json", "\"format_version\":1,\n", "", ""),
        ("README.md", "mismatch", "match", ""),
    ];
    let mut wrong = Vec::new();
    for (file, from, to, field) in cases {
        let (found, place, problem) = refused(edit(file, from, to));
        if (found, place.as_str()) != (file, field) {
            wrong.push(format!("{file} with {to}: {found}, field {place}: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_directory_that_is_cut_off_is_refused_with_file_and_field() {
    let cases = [
        ("block.json", 0, ""),
        ("block.json", 900, "transactions["),
        ("pre_state.json", 500, "["),
        ("control.json", 100, "outcomes[0]"),
        ("candidate.json", 400, "outcomes["),
        ("record.json", 300, ""),
        ("evidence.json", 300, ""),
        ("README.md", 300, ""),
    ];
    let mut wrong = Vec::new();
    for (file, keep, field) in cases {
        let (found, place, problem) = refused(|directory| {
            let path = directory.join(file);
            let text = fs::read(&path).unwrap();
            fs::write(path, &text[..keep]).unwrap();
        });
        if found != file || !place.starts_with(field) {
            wrong.push(format!("{file} cut at {keep}: {found}, field {place}: {problem}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_directory_without_one_of_its_files_is_refused() {
    for file in [
        "block.json",
        "pre_state.json",
        "control.json",
        "candidate.json",
        "record.json",
        "log.txt",
        "README.md",
    ] {
        let (refused, field, problem) =
            refused(|directory| fs::remove_file(directory.join(file)).unwrap());
        assert_eq!((refused, field.as_str()), (file, ""), "{problem}");
        assert!(problem.contains("missing"), "{problem}");
    }
    let (_parent, path, _) = written();
    fs::remove_file(path.join("evidence.json")).unwrap();
    assert!(matches!(Evidence::read(&path), Err(EvidenceError::NotEvidence(_))));
    let nowhere = Evidence::read(&path.join("nowhere"));
    assert!(matches!(nowhere, Err(EvidenceError::NotEvidence(_))), "{nowhere:?}");
}

#[test]
fn what_was_added_to_a_file_is_refused() {
    let (file, field, problem) = refused(|directory| {
        let path = directory.join("log.txt");
        fs::write(path, "more").unwrap();
    });
    assert_eq!((file, field.as_str()), ("log.txt", ""));
    assert!(problem.starts_with("edited: "), "{problem}");
}

#[test]
fn a_file_beside_it_is_not_its_business() {
    let (_parent, path, evidence) = written();
    fs::write(path.join("triage.json"), "{}").unwrap();
    assert_same(&Evidence::read(&path).unwrap(), &evidence);
}

/// A forger makes every digest right again; what the files say of each other is still wrong.
#[test]
fn files_that_contradict_each_other_are_refused_though_every_digest_is_right() {
    #[track_caller]
    fn check(forge: impl FnOnce(&mut Evidence), file: &str, field: &str) {
        let parent = tempfile::tempdir().unwrap();
        let mut evidence = evidence_of(&world(), &doubles_b());
        forge(&mut evidence);
        let path = evidence.write(parent.path()).unwrap();
        match Evidence::read(&path) {
            Err(EvidenceError::Broken { file: found, field: place, problem, .. }) => {
                assert_eq!((found, place.as_str()), (file, field), "{problem}");
                assert!(matches!(*problem, Problem::Contradicts(_) | Problem::Rules { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
    check(|evidence| evidence.fingerprint.field = Field::Nonce, "evidence.json", "fingerprint");
    check(
        |evidence| evidence.record.fingerprint = Some("0123456789ab".to_owned()),
        "evidence.json",
        "fingerprint.id",
    );
    check(
        |evidence| {
            let other = World::new().account(A, 0, 1).account(B, 0, 0).pay(A, 0, B, 1, 0);
            let mut block = ExecutableBlock::clone(&other.block());
            block.block.topoheight = block.block.topoheight.next();
            evidence.block = Arc::new(block);
        },
        "evidence.json",
        "topoheight",
    );
    check(
        |evidence| evidence.observed = Observed::Execution(evidence.control.clone()),
        "record.json",
        "counts",
    );
    check(
        |evidence| {
            let Observed::Execution(execution) = &mut evidence.observed else { return };
            execution.delta.set_balance(B, NATIVE, Amount::new(1));
        },
        "record.json",
        "differences[0]",
    );
    check(|evidence| evidence.rules = "other".to_owned(), "evidence.json", "rules");
}

#[track_caller]
fn fingerprint(world: &World, key: StateKey, kind: Option<TransactionKind>, conflict: Conflict) {
    let fault = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.delta.remove(&key);
    });
    let (candidate, field) = ("altered".to_owned(), Field::of(&key));
    let expected = Fingerprint { candidate, field, kind, conflict, says: None };
    assert_eq!(evidence_of(world, &fault).fingerprint, expected);
}

#[test]
fn a_fingerprint_says_who_is_concerned_and_whom_it_meets() {
    use TransactionKind::{Burn, Multisig, Transfer};
    let pays = World::new().account(A, 0, 1_000).account(B, 0, 500).account(C, 0, 700);
    let balance = |account| StateKey::Balance(account, NATIVE);
    let alone = pays.clone().pay(A, 0, B, 5, 1);
    fingerprint(&alone, balance(A), Some(Transfer), Conflict::Alone);
    fingerprint(&alone, balance(B), Some(Transfer), Conflict::Alone);
    fingerprint(&alone, balance(M), None, Conflict::Rewarded);
    fingerprint(&alone, balance(DEV), None, Conflict::Rewarded);
    let sends_twice = pays.clone().burn(A, 0, NATIVE, 5, 1).pay(A, 1, B, 5, 1);
    fingerprint(&sends_twice, balance(A), Some(Burn), Conflict::SameSender);
    fingerprint(&sends_twice, StateKey::Nonce(A), Some(Burn), Conflict::SameSender);
    let paid_twice = pays.clone().pay(A, 0, C, 5, 1).pay(B, 0, C, 5, 1);
    fingerprint(&paid_twice, balance(C), Some(Transfer), Conflict::SameReceiver);
    let passes_on = pays.clone().pay(A, 0, B, 5, 1).pay(B, 0, C, 5, 1);
    fingerprint(&passes_on, balance(B), Some(Transfer), Conflict::SenderIsPaid);
    let passed_over = pays.clone().pay(A, 0, B, 5, 1).pay(C, 0, B, 5, 1).executed_before();
    fingerprint(&passed_over, balance(B), Some(Transfer), Conflict::Alone);
    let signs = pays.clone().multisig(A, 0, 1, &[B], 1).pay(B, 0, C, 5, 1);
    fingerprint(&signs, StateKey::Multisig(A), Some(Multisig), Conflict::Alone);
    let founds = pays.pay(A, 0, D, 5, 1);
    fingerprint(&founds, StateKey::Registered(D), Some(Transfer), Conflict::Alone);
}

/// postmortem: an executor that no longer ran in parallel was found to be mended.
#[test]
fn whoever_is_not_at_work_any_more_does_not_hold() {
    #[track_caller]
    fn check(says: fn(&mut Exercise)) {
        let evidence = evidence_of(&world(), &doubles_b());
        let idle = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
            says(&mut execution.exercise);
        });
        assert!(matches!(evidence.holds(&idle), Err(DoesNotHold::Idle)));
    }
    check(|exercise| exercise.fallback = Some("small".to_owned()));
    check(|exercise| exercise.provenance = Provenance::Delegated);
    check(|exercise| exercise.max_in_flight = 64);
    check(|exercise| (exercise.workers, exercise.max_in_flight) = (1, 1));
    evidence_of(&world(), &doubles_b()).holds(&ParallelExecutor::new(3).unwrap()).unwrap();
}

#[test]
fn whoever_was_at_work_once_or_never_was_holds() {
    let falls_back = |execution: &mut Execution| {
        execution.exercise.fallback = Some("small".to_owned());
    };
    let runs = AtomicU32::new(0);
    let once = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if runs.fetch_add(1, Ordering::Relaxed) > 0 {
            falls_back(execution);
        }
    });
    evidence_of(&world(), &doubles_b()).holds(&once).unwrap();

    let never = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.delta.remove(&StateKey::Balance(B, NATIVE));
        falls_back(execution);
    });
    let mended = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        falls_back(execution);
    });
    evidence_of(&world(), &never).holds(&mended).unwrap();
}

/// postmortem: whoever accepted one error had accepted every later one of the same build.
#[test]
fn two_errors_are_two_problems_and_one_with_other_numbers_is_none() {
    let problem = |failure| evidence_of(&world(), &Fails(failure)).fingerprint.id();
    let error = |text: &str| problem(Failure::Error(text.to_owned()));
    let crash = |text: &str| problem(Failure::Crashed(text.to_owned()));
    assert_eq!(error("disk full at block 5"), error("disk full at block 17"));
    assert_ne!(error("disk full at block 5"), error("no such account"));
    assert_ne!(error("disk full"), crash("disk full"));
    assert_ne!(crash("ended with signal: 9 (SIGKILL)"), crash("ended with signal: 11 (SIGSEGV)"));
    // What a candidate says is shown by whoever shows it as such.
    let shown = evidence_of(&world(), &Fails(Failure::Error("disk full".to_owned()))).fingerprint;
    assert!(!shown.to_string().contains("disk"), "{shown}");
}

#[test]
fn outcomes_that_differ_in_other_ways_are_other_problems() {
    let problem = |status: Status, fee| {
        let fault = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
            execution.outcomes[0].status = status.clone();
            execution.outcomes[0].fee = Amount::new(fee);
        });
        evidence_of(&world(), &fault).fingerprint
    };
    let [fee, failed] = [(Status::Executed, 77), (Status::Failed(FailReason::CreditOverflow), 0)]
        .map(|(status, fee)| problem(status, fee));
    assert_ne!(fee.id(), failed.id());
    let says = "outcome, transfer, of an account that is paid and sends, executed, said to be \
                failed because of credit_overflow";
    assert_eq!(failed.to_string(), says);
}

#[test]
fn a_fingerprint_has_the_same_name_for_ever() {
    let fingerprint = Fingerprint {
        candidate: "v3".to_owned(),
        field: Field::Balance,
        kind: Some(TransactionKind::Transfer),
        conflict: Conflict::SameReceiver,
        says: None,
    };
    assert_eq!(fingerprint.id().to_string(), "257f8fdf287d");
    let json = serde_json::to_string(&fingerprint).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    let other = json.replace("same_receiver", "same_sender");
    let error = serde_json::from_str::<Fingerprint>(&other).unwrap_err();
    assert!(error.to_string().contains("is not the name of these parts"), "{error}");

    let (field, says) = (Field::Error, Some("no way".to_owned()));
    let fingerprint =
        Fingerprint { field, kind: None, conflict: Conflict::None, says, ..fingerprint };
    let json = serde_json::to_string(&fingerprint).unwrap();
    assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    let other = json.replace("no way", "no");
    assert!(serde_json::from_str::<Fingerprint>(&other).is_err());
}

/// Rewards the miner with one unit too many, and looks around whenever it runs a block once more.
#[derive(Debug)]
struct Watchful {
    engine: ParallelExecutor,
    archive: PathBuf,
    /// Whether there was evidence of the block, for each run but the first of it.
    found: Mutex<Vec<bool>>,
    seen: Mutex<BTreeSet<TopoHeight>>,
}

impl BlockExecutor for Watchful {
    fn name(&self) -> &str {
        "watchful"
    }

    fn build(&self) -> String {
        "watchful 1".to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let at = block.block.topoheight;
        if !self.seen.lock().unwrap().insert(at) {
            let of_block = |entry: fs::DirEntry| {
                entry.file_name().to_string_lossy().starts_with(&format!("{at}_"))
                    && Evidence::read(&entry.path()).is_ok()
            };
            let mut entries = fs::read_dir(&self.archive).into_iter().flatten();
            self.found.lock().unwrap().push(entries.any(|entry| of_block(entry.unwrap())));
        }
        let mut performed = self.engine.execute(block, pre_state, schedule)?;
        let key = StateKey::Balance(block.miner, NATIVE);
        let delta = &mut performed.execution.delta;
        let after = delta.get(&key).flatten().cloned();
        if let Some(StateValue::Balance(amount)) = after {
            delta.insert(key, Some(StateValue::Balance(amount.wrapping_add(Amount::new(1)))));
        }
        Ok(performed)
    }
}

#[test]
fn evidence_is_on_disk_before_anything_of_its_block_is_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("evidence");
    let watchful = Arc::new(Watchful {
        engine: ParallelExecutor::new(2).unwrap(),
        archive: archive.clone(),
        found: Mutex::default(),
        seen: Mutex::default(),
    });
    let budgeted = WithinBudget::new(Arc::clone(&watchful) as _, Duration::from_secs(60));
    let candidate =
        Candidate { executor: Arc::new(budgeted), schedules: Schedules::disturbed(3, 2) };
    let store = Store::open(&directory.path().join("state"), StoreOptions::default()).unwrap();
    let keeping = Keeping {
        archive: Archive::open(archive, ArchiveLimits::default()).unwrap(),
        state_dir: directory.path().to_owned(),
        triager: None,
        announcer: None,
        keep_blocks: 256,
    };
    let (sink, progress) = (Box::new(MemorySink::default()), Arc::new(Progress::default()));
    let judge = Judge::start_keeping(
        store.clone(),
        vec![candidate],
        CanaryRate::every(1000),
        sink,
        progress,
        Some(keeping),
    );
    let options =
        GeneratedOptions { blocks: 3, profile: Profile::Transfers, ..GeneratedOptions::default() };
    let mut chain = GeneratedChain::new(options);
    let verifier = Verifier::new(store, &chain, NodeCheck::Ignore, judge.unwrap()).unwrap();
    verifier.verify_chain(&mut chain).unwrap();

    let found = watchful.found.lock().unwrap();
    // Two more schedules for each of four blocks, and parts of it to find the transaction.
    assert!(found.len() > 2 * 4, "only {} runs", found.len());
    assert!(found.iter().all(|found| *found), "{found:?}");
}

/// postmortem: a fingerprint began to hold what is said, and directories from before were called edited.
#[test]
fn evidence_from_before_fingerprints_had_what_is_said_is_read() {
    #[track_caller]
    fn check(name: &str, field: Field) {
        let evidence = Evidence::read(&fixture(name)).unwrap();
        assert_eq!((evidence.fingerprint.field, &evidence.fingerprint.says), (field, &None));
        evidence.holds(&SerialExecutor).unwrap();
    }
    check("crash_without_says", Field::Crashed);
    check("outcome_without_says", Field::Outcome);
}

#[test]
fn a_fingerprint_without_what_is_said_has_to_be_that_of_the_record_too() {
    let directory = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture("crash_without_says")).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
    }
    let path = directory.path().join("evidence.json");
    let mut manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let fingerprint: Fingerprint = serde_json::from_value(manifest["fingerprint"].clone()).unwrap();
    let other = Fingerprint { conflict: Conflict::Alone, ..fingerprint };
    manifest["fingerprint"] = serde_json::to_value(other).unwrap();
    fs::write(&path, manifest.to_string()).unwrap();
    let error = Evidence::read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("field fingerprint"), "{error}");
}
