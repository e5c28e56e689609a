//! What kind of a mismatch it is, told by running its evidence again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use comparator::{Execution, Failure, Schedule};
use shadow::{
    evidence::{Archive, ArchiveLimits, Evidence, Kept, Replay},
    execute::{BlockExecutor, ExecutableBlock, Performed, PreState},
    triage::{Triage, TriageLimits, TriageVerdict, Triager},
};
use storage_snapshot::Amount;

use crate::support::*;

const LIMITS: TriageLimits = TriageLimits { runs: 60, time: Duration::from_secs(60) };

const SCHEDULE: Schedule = Schedule { workers: 3, seed: 7 };

/// Wrong in one total whenever it is told to be.
fn wrong_if(is_wrong: impl Fn(&Execution) -> bool + Send + Sync) -> impl BlockExecutor {
    Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        if is_wrong(execution) {
            execution.totals.burned = Amount::new(99);
        }
    })
}

fn evidence() -> Evidence {
    let world = World::new().account(A, 0, 1_000).account(B, 0, 1_000).pay(A, 0, B, 5, 1);
    let world = world.burn(B, 0, NATIVE, 7, 1);
    evidence_of(&world, &wrong_if(|_| true))
}

fn evidence_of(world: &World, candidate: &dyn BlockExecutor) -> Evidence {
    let replay = Replay::new(world.block(), world.pre_state()).unwrap();
    let run = replay.run(candidate, SCHEDULE).unwrap();
    replay.evidence(run, candidate).expect("the fault was not noticed")
}

fn triage(evidence: &Evidence, candidate: &dyn BlockExecutor) -> Triage {
    Triage::of(evidence, Ok(candidate), LIMITS).unwrap()
}

#[test]
fn what_differs_in_every_run_is_deterministic() {
    let triage = triage(&evidence(), &wrong_if(|_| true));
    assert_eq!(triage.verdict, TriageVerdict::Deterministic, "{triage:#?}");
    assert_eq!((triage.own_schedule.runs, triage.own_schedule.differs), (60, 60));
    assert_eq!((triage.other_schedules.runs, triage.other_schedules.differs), (60, 60));
    assert_eq!((triage.control.runs, triage.control.differs), (60, 0));
    assert!((triage.rate() - 1.0).abs() < f64::EPSILON);
}

#[test]
fn what_differs_in_one_of_twenty_runs_depends_on_the_schedule() {
    let runs = AtomicU32::new(0);
    let seldom = wrong_if(move |_| runs.fetch_add(1, Ordering::Relaxed) % 20 == 13);
    let triage = triage(&evidence(), &seldom);
    assert_eq!(triage.verdict, TriageVerdict::ScheduleDependent, "{triage:#?}");
    assert_eq!((triage.own_schedule.differs, triage.other_schedules.differs), (3, 3));
    assert!((triage.rate() - 0.05).abs() < 1e-9, "{}", triage.rate());
    assert!(triage.sentence().contains("3 of 60 runs under its own schedule"));
}

#[test]
fn what_differs_under_some_schedules_names_them() {
    let triage = triage(&evidence(), &wrong_if(|execution| execution.exercise.workers > 1));
    assert_eq!(triage.verdict, TriageVerdict::ScheduleDependent, "{triage:#?}");
    assert_eq!(triage.own_schedule.differs, 60);
    assert!(triage.differs_under.iter().all(|schedule| schedule.workers > 1));
    assert!(!triage.differs_under.is_empty());
    assert!(triage.agrees_under.iter().all(|schedule| schedule.workers == 1));
    assert!(!triage.agrees_under.is_empty());
}

#[test]
fn another_difference_is_not_the_same_problem() {
    let other = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.totals.dev_reward = Amount::ZERO;
    });
    let triage = triage(&evidence(), &other);
    assert_eq!(triage.verdict, TriageVerdict::EvidenceIncomplete, "{triage:#?}");
    assert_eq!(triage.own_schedule.differs_otherwise, 60);
}

#[test]
fn what_does_not_show_again_is_said_not_to() {
    let triage = triage(&evidence(), &wrong_if(|_| false));
    assert_eq!(triage.verdict, TriageVerdict::EvidenceIncomplete);
    assert!(triage.because.unwrap().contains("did not show again in 120 runs"));
}

#[test]
fn without_a_candidate_only_the_control_is_looked_into() {
    let triage = Triage::of(&evidence(), Err("gone".to_owned()), LIMITS).unwrap();
    assert_eq!(triage.verdict, TriageVerdict::EvidenceIncomplete);
    assert_eq!((triage.because.as_deref(), triage.control.runs), (Some("gone"), 60));
}

#[test]
fn a_control_that_comes_to_something_else_is_not_deterministic() {
    let mut evidence = evidence();
    evidence.control.totals.fees = Amount::new(5);
    let triage = triage(&evidence, &wrong_if(|_| true));
    assert_eq!(triage.verdict, TriageVerdict::ControlNotDeterministic);
}

/// Fails, and notes how often.
#[derive(Debug)]
struct Fails(Failure, AtomicU32);

impl BlockExecutor for Fails {
    fn name(&self) -> &str {
        "fails"
    }

    fn build(&self) -> String {
        "test".to_owned()
    }

    fn execute(
        &self,
        _block: &Arc<ExecutableBlock>,
        _pre_state: &Arc<PreState>,
        _schedule: Schedule,
    ) -> Result<Performed, Failure> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Err(self.0.clone())
    }
}

#[test]
fn a_failure_is_triaged_as_what_it_is() {
    #[track_caller]
    fn check(failure: Failure, verdict: TriageVerdict, runs: u32) {
        let world = World::new().account(A, 0, 10).account(B, 0, 0).pay(A, 0, B, 1, 1);
        let fails = Fails(failure, AtomicU32::new(0));
        let evidence = evidence_of(&world, &fails);
        assert_eq!(triage(&evidence, &fails).verdict, verdict);
        assert_eq!(fails.1.load(Ordering::Relaxed), 1 + runs);
    }
    check(Failure::Error("no".to_owned()), TriageVerdict::Error, 120);
    check(Failure::Crashed("ouch".to_owned()), TriageVerdict::Crash, 120);
    check(Failure::Protocol("}{".to_owned()), TriageVerdict::Nonsense, 120);
    // Whoever hangs is not waited for a hundred times.
    check(Failure::Hang { budget: Duration::from_secs(1) }, TriageVerdict::Hang, 4);
}

#[test]
fn a_triage_without_time_runs_everything_once() {
    let limits = TriageLimits { runs: 1_000_000, time: Duration::ZERO };
    let triage = Triage::of(&evidence(), Ok(&wrong_if(|_| true)), limits).unwrap();
    assert_eq!((triage.control.runs, triage.own_schedule.runs), (1, 1));
    assert_eq!(triage.other_schedules.runs, 1);
}

#[test]
fn what_differs_only_under_its_own_schedule_is_not_deterministic_however_little_time_there_is() {
    let schedule = Arc::new(AtomicU32::new(0));
    let candidate = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        // The first run is that of the evidence itself, the second under its own schedule.
        if schedule.fetch_add(1, Ordering::Relaxed) < 2 {
            execution.totals.burned = Amount::new(99);
        }
    });
    let world = World::new().account(A, 0, 1_000).account(B, 0, 1_000).pay(A, 0, B, 5, 1);
    let world = world.burn(B, 0, NATIVE, 7, 1);
    let evidence = evidence_of(&world, &candidate);
    let limits = TriageLimits { runs: 60, time: Duration::ZERO };
    let triage = Triage::of(&evidence, Ok(&candidate), limits).unwrap();
    assert_eq!((triage.own_schedule.runs, triage.other_schedules.runs), (1, 1), "{triage:#?}");
    assert_eq!(triage.verdict, TriageVerdict::ScheduleDependent, "{triage:#?}");
}

#[test]
fn what_differs_in_another_way_each_time_is_said_to() {
    let another = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        execution.totals.fees = Amount::new(99);
    });
    let triage = triage(&evidence(), &another);
    assert_eq!(triage.verdict, TriageVerdict::EvidenceIncomplete);
    let sentence = triage.sentence();
    assert!(sentence.contains("in 120 of 120 runs something else differs"), "{sentence}");
}

#[test]
fn a_triage_is_written_beside_evidence_that_it_does_not_touch() {
    let parent = tempfile::tempdir().unwrap();
    let directory = evidence().write(parent.path()).unwrap();
    let start = |spec: &str| Err(format!("{spec} is not started here"));
    let mut triager = Triager::start(LIMITS, false, Box::new(start)).unwrap();
    assert_eq!(Triage::read(&directory).unwrap(), None);
    triager.submit(&directory);
    // What is no evidence is left alone.
    triager.submit(Path::new("nowhere"));
    triager.finish();
    let triage = Triage::read(&directory).unwrap().unwrap();
    assert_eq!(triage.because.as_deref(), Some("the candidate cannot be started once more"));
    assert_eq!(triage.control.runs, 60);
    Evidence::read(&directory).unwrap();
}

/// Keeps the case of a block at a topoheight.
fn keep(archive: &mut Archive, evidence: &Evidence, at: u64) -> Kept {
    let mut evidence = evidence.clone();
    let mut block = ExecutableBlock::clone(&evidence.block);
    block.block.topoheight = storage_snapshot::TopoHeight::new(at);
    evidence.record.subject.block = block.block;
    evidence.block = Arc::new(block);
    let fingerprint = evidence.fingerprint.clone();
    let name = evidence.directory_name();
    let place = evidence.block.block.topoheight;
    archive.keep(&fingerprint, place, &name, || Some(evidence)).unwrap()
}

#[test]
fn of_each_problem_some_cases_are_kept_and_all_are_counted() {
    let parent = tempfile::tempdir().unwrap();
    let open = || {
        let limits = ArchiveLimits { cases: 3, ..ArchiveLimits::default() };
        Archive::open(parent.path().join("archive"), limits).unwrap()
    };
    let evidence = evidence();
    let mut archive = open();
    assert!(matches!(keep(&mut archive, &evidence, 1), Kept::First(_)));
    assert!(matches!(keep(&mut archive, &evidence, 2), Kept::Another(_)));
    // A process that ended here has written no index since.
    drop(archive);
    let mut archive = open();
    assert!(matches!(keep(&mut archive, &evidence, 2), Kept::Before(_)), "it is judged again");
    assert!(matches!(keep(&mut archive, &evidence, 5), Kept::Another(_)));
    for at in [9, 7, 8] {
        assert_eq!(keep(&mut archive, &evidence, at), Kept::Not);
    }
    archive.flush().unwrap();
    let mut archive = open();
    assert_eq!(keep(&mut archive, &evidence, 11), Kept::Not);
    let not_kept: Vec<_> = archive.not_kept().collect();
    let [(id, not_kept)] = not_kept[..] else { panic!("{not_kept:?}") };
    assert_eq!(id, evidence.fingerprint.id());
    let (first, last) = (not_kept.first.unwrap(), not_kept.last.unwrap());
    assert_eq!((not_kept.count, first.as_u64(), last.as_u64()), (4, 7, 11));
}

#[test]
fn one_case_is_kept_however_large_it_is_and_no_more_than_fit() {
    let parent = tempfile::tempdir().unwrap();
    let limits = ArchiveLimits { cases: 9, bytes: 1, bytes_in_all: u64::MAX };
    let mut archive = Archive::open(parent.path().to_owned(), limits).unwrap();
    let evidence = evidence();
    assert!(matches!(keep(&mut archive, &evidence, 1), Kept::First(_)));
    assert_eq!(keep(&mut archive, &evidence, 2), Kept::Not);
    let mut other = evidence;
    other.fingerprint.candidate = "another".to_owned();
    assert!(matches!(keep(&mut archive, &other, 3), Kept::First(_)));
}
