//! Minimising: what is left shows the same difference, and nothing in it can be left out.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use comparator::{
    Difference, Execution, FailReason, Failure, Field, LocateMethod, Schedule, Status, Verdict,
};
use shadow::{
    chain::TransactionData,
    diagnosis::{Diagnosis, Finding},
    evidence::{Evidence, Replay},
    execute::{
        BlockExecutor, ExecutableBlock, Performed, PreState, SerialExecutor,
        parallel::ParallelExecutor,
    },
    faults::catalogue,
    locate::{Rerun, locate},
    minimize::{
        Case, DirectoryError, MinimizeError, Minimized, Options, Wanted, minimize,
        minimize_directory,
    },
};
use storage_snapshot::{Address, Amount, Nonce, StateKey, StateRead, StateValue};

use crate::{program::shadow, support::*};

const SCHEDULE: Schedule = Schedule { workers: 4, seed: 9 };

static GO_ON: AtomicBool = AtomicBool::new(false);

fn options() -> Options<'static> {
    Options { budget: Duration::from_secs(60), seed: 1, stop: &GO_ON }
}

fn case(world: &World) -> Case {
    Case { block: world.block(), pre_state: world.pre_state(), schedule: SCHEDULE }
}

/// What a candidate is first found guilty of.
fn wanted(case: &Case, candidate: &dyn BlockExecutor) -> Wanted {
    let replay = Replay::new(case.block.clone(), case.pre_state.clone()).unwrap();
    for _ in 0..2_000 {
        let Verdict::Mismatch(mismatch) = replay.run(candidate, SCHEDULE).unwrap().verdict else {
            continue;
        };
        let rerun = Rerun { candidate, pre_state: &case.pre_state, schedule: SCHEDULE };
        return Wanted::new(mismatch.first().unwrap(), &case.block, Some(rerun));
    }
    panic!("the fault was not noticed");
}

fn minimized(world: &World, candidate: &dyn BlockExecutor) -> Minimized {
    let case = case(world);
    minimize(&case, candidate, &wanted(&case, candidate), options()).unwrap()
}

/// Ten accounts that pay each other, five times around, with large numbers.
fn busy() -> World {
    let account = |number: u64| [A, B, C, D][number as usize % 4];
    let mut world = World::new();
    for number in 0..4 {
        world = world.account(account(number), 7, 1_234_567_890_123 + number);
        world = world.holding(account(number), GOLD, 987_654_321);
    }
    world = world.with(StateKey::Multisig(C), StateValue::from(config(2, &[A, B, D])));
    for round in 0..5 {
        for number in 0..4 {
            let outputs = [
                (NATIVE, account(number + 1), 12_345 + round),
                (GOLD, account(number + 2), 678),
                (NATIVE, account(number + 3), 91_011),
            ];
            world = world.transfer(account(number), 7 + round, &outputs, 4_321 + number);
        }
    }
    world.burn(D, 12, GOLD, 5_555, 77).multisig(B, 12, 2, &[A, C, D], 99)
}

type Fault = fn(&ExecutableBlock, &PreState, &mut Execution);

/// The fees of one account are given back.
fn fees_of_c(block: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
    for listed in block.transactions.iter().filter(|listed| listed.body.source == C) {
        raise(execution, StateKey::Balance(C, NATIVE), listed.body.fee);
    }
}

fn raise(execution: &mut Execution, key: StateKey, by: Amount) {
    if let Some(Some(StateValue::Balance(amount))) = execution.delta.get(&key) {
        let raised = StateValue::Balance(amount.wrapping_add(by));
        execution.delta.insert(key, Some(raised));
    }
}

#[test]
fn one_transaction_of_many_is_left_with_numbers_that_can_be_added_up() {
    let found = minimized(&busy(), &Altered(fees_of_c as Fault));
    let block = &found.case.block;
    assert_eq!(block.transactions.len(), 1, "{block:#?}");
    let body = &block.transactions[0].body;
    assert_eq!((body.source, body.fee, body.nonce), (C, Amount::new(1), Nonce::new(0)));
    let TransactionData::Transfers(outputs) = &body.data else { panic!("{body:#?}") };
    let amounts: Vec<u64> = outputs.iter().map(|output| output.amount.as_u64()).collect();
    assert_eq!(amounts, [10]);
    assert!(found.is_complete);
    assert_eq!(found.shown.shown, found.shown.runs);
    // Without a nonce nobody can send, and without a balance nothing could be taken.
    let keys: BTreeSet<StateKey> = found.case.pre_state.iter().map(|(key, _)| key).collect();
    assert!(keys.contains(&StateKey::Nonce(C)) && keys.len() <= 3, "{keys:?}");
}

#[test]
fn what_is_left_is_executed_by_the_rules() {
    for fault in [fees_of_c as Fault, loses_the_burn, loses_the_signers] {
        let found = minimized(&busy(), &Altered(fault));
        let control = SerialExecutor.control(&found.case.block, &found.case.pre_state).unwrap();
        assert_eq!(control.execution, found.control);
        // Nothing of it is odd: the whole block was not.
        assert_eq!(control.quirks.iter().count(), 0, "{:?}", control.quirks);
    }
}

fn loses_the_burn(block: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
    for listed in &block.transactions {
        if let TransactionData::Burn { asset, amount } = listed.body.data {
            raise(execution, StateKey::Balance(listed.body.source, asset), amount);
        }
    }
}

fn loses_the_signers(block: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
    for listed in &block.transactions {
        if let TransactionData::Multisig(config) = &listed.body.data
            && config.participants.contains(&C)
        {
            execution.delta.remove(&StateKey::Multisig(listed.body.source));
        }
    }
}

#[test]
fn participants_that_do_not_matter_go() {
    let found = minimized(&busy(), &Altered(loses_the_signers as Fault));
    let [listed] = &found.case.block.transactions[..] else { panic!("{found:#?}") };
    assert_eq!(listed.body.data, TransactionData::Multisig(config(1, &[C])));
}

#[test]
fn a_sender_is_left_without_those_of_its_transactions_that_do_not_matter() {
    // Needs the last of six, whose nonce leaves a gap once the others are gone.
    fn fault(block: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
        let has_multisig = block
            .transactions
            .iter()
            .any(|listed| matches!(listed.body.data, TransactionData::Multisig(_)));
        if has_multisig && block.transactions.iter().any(|listed| listed.body.source == A) {
            execution.totals.fees = Amount::ZERO;
        }
    }
    let found = minimized(&busy(), &Altered(fault as Fault));
    let senders: Vec<_> = found.case.block.transactions.iter().map(|t| t.body.source).collect();
    assert_eq!(senders, [A, B]);
    let nonces: Vec<_> =
        found.case.block.transactions.iter().map(|t| t.body.nonce.as_u64()).collect();
    assert_eq!(nonces, [0, 0]);
}

#[test]
fn one_fault_does_not_turn_into_another() {
    // In a block of few transactions it is wrong in another way as well.
    fn fault(block: &ExecutableBlock, pre_state: &PreState, execution: &mut Execution) {
        loses_the_burn(block, pre_state, execution);
        if block.transactions.len() < 3 {
            for listed in &block.transactions {
                execution.delta.remove(&StateKey::Nonce(listed.body.source));
            }
        }
    }
    let found = minimized(&busy(), &Altered(fault as Fault));
    assert_eq!(found.mismatch.first().unwrap().field, Field::Balance);
    assert_eq!(found.case.block.transactions.len(), 3);
    let burns = found.case.block.transactions.iter();
    assert_eq!(
        burns.filter(|listed| matches!(listed.body.data, TransactionData::Burn { .. })).count(),
        1
    );
}

/// Shows its fault in one run of so many, in no order that anybody could foresee.
#[derive(Debug)]
struct Rarely {
    one_in: u64,
    run: AtomicU64,
}

impl BlockExecutor for Rarely {
    fn name(&self) -> &str {
        "rarely"
    }

    fn build(&self) -> String {
        "test".to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let mut performed = SerialExecutor.execute(block, pre_state, schedule)?;
        let run = self.run.fetch_add(1, Ordering::Relaxed);
        let hash = blake3::hash(&run.to_le_bytes());
        let dice = hash.as_bytes().first_chunk().map(|first| u64::from_le_bytes(*first)).unwrap();
        if dice.is_multiple_of(self.one_in) {
            fees_of_c(block, pre_state, &mut performed.execution);
        } else if dice.is_multiple_of(7) {
            // Now and then it is wrong in another way.
            performed.execution.totals.burned = Amount::new(1);
        }
        Ok(performed)
    }
}

#[test]
fn a_fault_that_shows_in_one_run_of_twenty_is_minimised_as_itself() {
    let candidate = Rarely { one_in: 20, run: AtomicU64::new(0) };
    let case = case(&busy());
    let replay = Replay::new(case.block.clone(), case.pre_state.clone()).unwrap();
    let first = (0..2_000).find_map(|_| {
        let Verdict::Mismatch(mismatch) = replay.run(&candidate, SCHEDULE).unwrap().verdict else {
            return None;
        };
        mismatch.first().filter(|first| first.field == Field::Balance).cloned()
    });
    let wanted = Wanted::new(&first.unwrap(), &case.block, None);
    let found = minimize(&case, &candidate, &wanted, options()).unwrap();
    assert_eq!(found.case.block.transactions.len(), 1);
    assert_eq!(found.case.block.transactions[0].body.source, C);
    assert_eq!(found.mismatch.first().unwrap().key, Some(StateKey::Balance(C, NATIVE)));
    let rate = found.shown.as_f64();
    assert!((0.005..0.2).contains(&rate), "{rate}");
}

#[test]
fn the_same_case_and_seed_lead_to_the_same() {
    let found = [(); 2].map(|()| minimized(&busy(), &Altered(fees_of_c as Fault)));
    let [one, other] = found.map(|found| {
        let values: Vec<_> =
            found.case.pre_state.iter().map(|(key, value)| (key, value.clone())).collect();
        let bodies: Vec<_> =
            found.case.block.transactions.iter().map(|listed| listed.body.clone()).collect();
        (bodies, values, found.case.schedule, found.runs)
    });
    assert_eq!(one, other);
}

#[test]
fn who_is_stopped_hands_out_what_there_is() {
    let candidate = Altered(fees_of_c as Fault);
    let case = case(&busy());
    let wanted = wanted(&case, &candidate);
    let stop = AtomicBool::new(true);
    for (stop, budget) in [(&stop, Duration::from_secs(60)), (&GO_ON, Duration::ZERO)] {
        let options = Options { budget, seed: 1, stop };
        let found = minimize(&case, &candidate, &wanted, options).unwrap();
        assert!(!found.is_complete);
        assert_eq!(found.case.block.transactions.len(), case.block.transactions.len());
        assert_eq!(found.mismatch.first().unwrap().field, Field::Balance);
    }
}

#[test]
fn what_does_not_differ_cannot_be_minimised() {
    let case = case(&busy());
    let wanted = wanted(&case, &Altered(fees_of_c as Fault));
    let engine = ParallelExecutor::new(2).unwrap();
    let refused = minimize(&case, &engine, &wanted, options()).unwrap_err();
    assert!(matches!(refused, MinimizeError::NotShown { .. }), "{refused}");
}

/// Is said not to come back from some blocks.
#[derive(Debug)]
struct Hangs {
    run: AtomicU64,
    /// In so many runs anything does not come back in time, as on a busy machine.
    busy: std::ops::Range<u64>,
}

impl BlockExecutor for Hangs {
    fn name(&self) -> &str {
        "hangs"
    }

    fn build(&self) -> String {
        "test".to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let is_busy = self.busy.contains(&self.run.fetch_add(1, Ordering::Relaxed));
        if is_busy || block.transactions.len() > 1 {
            return Err(Failure::Hang { budget: Duration::from_secs(1) });
        }
        SerialExecutor.execute(block, pre_state, schedule)
    }
}

#[test]
fn what_hangs_is_minimised_to_what_it_hangs_on() {
    let failure = Failure::Hang { budget: Duration::from_secs(1) };
    let case = case(&busy());
    let wanted = Wanted::new(&(&failure).into(), &case.block, None);
    let quiet = Hangs { run: AtomicU64::new(0), busy: 0..0 };
    let found = minimize(&case, &quiet, &wanted, options()).unwrap();
    assert_eq!(found.case.block.transactions.len(), 2);
    assert!(found.is_complete);
    assert_eq!(found.observed, Err(failure));
    // What was only slow is given up again, and what really hangs is still there.
    let busy = Hangs { run: AtomicU64::new(0), busy: 6..9 };
    let found = minimize(&case, &busy, &wanted, options()).unwrap();
    assert!((2..case.block.transactions.len()).contains(&found.case.block.transactions.len()));
    assert!(!found.is_complete);
}

/// Evidence of a planted fault in the busy block.
fn evidence_of(fault: &str) -> (Evidence, Arc<dyn BlockExecutor>, Arc<ParallelExecutor>) {
    let mutant = catalogue().find(|mutant| mutant.name == fault).unwrap();
    let engine = Arc::new(ParallelExecutor::new(2).unwrap());
    let candidate: Arc<dyn BlockExecutor> = Arc::new(mutant.executor(Arc::clone(&engine)));
    let case = case(&busy());
    let replay = Replay::new(case.block, case.pre_state).unwrap();
    let run = replay.run(&*candidate, SCHEDULE).unwrap();
    (replay.evidence(run, &*candidate).expect("the fault was not noticed"), candidate, engine)
}

#[test]
fn evidence_becomes_a_smaller_directory_beside_it_with_a_test() {
    let parent = tempfile::tempdir().unwrap();
    let (evidence, candidate, engine) = evidence_of("fee-not-debited");
    let original = evidence.write(parent.path()).unwrap();
    let before = contents(&original);

    let written = minimize_directory(&original, &*candidate, options()).unwrap();
    let name = original.file_name().unwrap().to_str().unwrap().to_owned() + "_minimal";
    assert_eq!(written.path.file_name().unwrap().to_str().unwrap(), name);
    assert_eq!(contents(&original), before, "the original was touched");
    assert_eq!(written.transactions, 22);

    // It is evidence like any other.
    let smaller = Evidence::read(&written.path).unwrap();
    assert_eq!(smaller.block.transactions.len(), 1);
    assert_eq!(smaller.block.block, evidence.block.block);
    assert!(smaller.fingerprint.is_same_difference(&evidence.fingerprint));

    // What the test asks for does not hold for the fault and holds without it.
    assert!(smaller.holds(&*candidate).is_err());
    smaller.holds(&*engine).unwrap();
    let test = fs::read_to_string(written.path.join("regression.rs")).unwrap();
    for part in [
        "#[test]",
        "\"fault:fee-not-debited\".parse()",
        "evidence.holds(&*executor())",
        &format!("const NAME: &str = \"{name}\";"),
        "its debit is missing",
    ] {
        assert!(test.contains(part), "{part} is not in\n{test}");
    }
    let page = fs::read_to_string(written.path.join("MINIMAL.md")).unwrap();
    // Whoever looks for the problem finds it by the fingerprint that it was reported under.
    let problem = format!("a case of problem {}", evidence.fingerprint.id());
    assert!(page.contains(&problem) && test.contains(&problem), "{page}{test}");
    assert!(page.contains("No single part of it can be left out."), "{page}");
    assert!(page.contains("of its 22 transactions 1 are"), "{page}");
    assert!(page.contains("its debit is missing"), "{page}");

    // What is there is not written over.
    let again = minimize_directory(&original, &*candidate, options()).unwrap();
    assert_eq!(again.path.file_name().unwrap().to_str().unwrap(), name + "-2");
    let left = fs::read_dir(parent.path()).unwrap().count();
    assert_eq!(left, 3, "something unfinished was left behind");
}

#[test]
fn the_test_that_is_written_compiles_and_holds() {
    // It was written for a build of the engine that is right today.
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/12_ffffffff_v3_minimal");
    let evidence = Evidence::read(&directory).unwrap();
    let diagnosis = Diagnosis::of_evidence(&evidence).unwrap();
    assert_eq!(diagnosis.causes[0].finding, Finding::DebitMissing, "{diagnosis}");
    let written = fs::read_to_string(directory.join("regression.rs")).unwrap();
    let made_of = "12_ffffffff_v3, a case of problem 0123456789ab";
    let name = "12_ffffffff_v3_minimal";
    let text = shadow::minimize::test_of(&evidence, name, made_of, Some(&diagnosis));
    assert_eq!(text, written);
    // On the executor that it was written for it fails.
    let mutant = catalogue().find(|mutant| mutant.name == "fee-not-debited").unwrap();
    let faulty = mutant.executor(Arc::new(ParallelExecutor::new(2).unwrap()));
    assert!(evidence.holds(&faulty).is_err());
}

/// The file as it was written.
#[path = "../fixtures/12_ffffffff_v3_minimal/regression.rs"]
mod regression;

#[test]
fn a_candidate_that_is_right_leaves_no_directory() {
    let parent = tempfile::tempdir().unwrap();
    let (evidence, _, engine) = evidence_of("fee-not-debited");
    let original = evidence.write(parent.path()).unwrap();
    let refused = minimize_directory(&original, &*engine, options()).unwrap_err();
    assert!(
        matches!(refused, DirectoryError::Minimize(MinimizeError::NotShown { .. })),
        "{refused}"
    );
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    fs::write(original.join("block.json"), "{}").unwrap();
    let refused = minimize_directory(&original, &*engine, options()).unwrap_err();
    assert!(refused.to_string().contains("block.json"), "{refused}");
}

fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut contents: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    contents.sort();
    contents
}

#[test]
fn a_value_that_is_not_known_stays_unknown_where_that_is_the_difference() {
    // Reads what nobody needs, and cannot go on without.
    #[derive(Debug)]
    struct Curious;
    impl BlockExecutor for Curious {
        fn name(&self) -> &str {
            "curious"
        }
        fn build(&self) -> String {
            "test".to_owned()
        }
        fn execute(
            &self,
            block: &Arc<ExecutableBlock>,
            pre_state: &Arc<PreState>,
            schedule: Schedule,
        ) -> Result<Performed, Failure> {
            let read = pre_state.read(&StateKey::Multisig(A));
            read.map_err(|error| Failure::Error(error.to_string()))?;
            SerialExecutor.execute(block, pre_state, schedule)
        }
    }
    let world = busy();
    let values: Vec<_> =
        world.pre_state().iter().map(|(key, value)| (key, value.clone())).collect();
    let pre_state = Arc::new(PreState::with_unknown(values, [StateKey::Multisig(A)]));
    let case = Case { pre_state, ..case(&world) };
    let found = minimize(&case, &Curious, &wanted(&case, &Curious), options()).unwrap();
    assert_eq!(found.case.block.transactions.len(), 0);
    assert!(found.case.pre_state.unknown().eq([StateKey::Multisig(A)]));
    assert_eq!(found.case.pre_state.iter().count(), 0);
}

#[test]
fn the_program_makes_evidence_smaller_and_says_why() {
    let parent = tempfile::tempdir().unwrap();
    let (evidence, ..) = evidence_of("fee-not-debited");
    let original = evidence.write(parent.path()).unwrap();
    let directory = original.to_str().unwrap();

    let ran = shadow(["minimize", directory, "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(
        (&summary["transactions"], &summary["minimized_transactions"]),
        (&22.into(), &1.into())
    );
    let minimal = summary["directory"].as_str().unwrap().to_owned();
    assert!(minimal.ends_with("_minimal"), "{minimal}");
    assert!(
        summary["diagnosis"][0].as_str().unwrap().contains("its debit is missing"),
        "{summary}"
    );

    let ran = shadow(["explain", &minimal]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stdout.contains("\ncause        the balance of"), "{ran:#?}");
    let readme = fs::read_to_string(Path::new(&minimal).join("README.md")).unwrap();
    assert!(readme.contains("its debit is missing"), "{readme}");
    // It is evidence like any other, so it can be run again.
    assert_eq!(shadow(["repro", &minimal, "--times", "2"]).code, 1);

    assert_eq!(shadow(["minimize", directory, "--candidate", "v3"]).code, 3);
    assert_eq!(shadow(["minimize", parent.path().to_str().unwrap()]).code, 2);
}

#[test]
fn two_of_many_are_found_though_none_of_those_that_are_left_can_go_alone() {
    const FIRST: Address = Address::new([3; 32]);
    /// C has a unit too much where it comes after many others, an even number of them, or right after
    /// one of them.
    fn by_place(block: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
        let sources: Vec<Address> =
            block.transactions.iter().map(|listed| listed.body.source).collect();
        let place = sources.iter().position(|source| *source == C);
        let is_there = match place {
            Some(1) => sources[0] == FIRST,
            Some(place) => place >= 30 && place.is_multiple_of(2),
            None => false,
        };
        if is_there {
            raise(execution, StateKey::Balance(C, NATIVE), Amount::new(1));
        }
    }
    let mut world = World::new().account(C, 0, 1000);
    for number in 1..=34 {
        let [from, to] = [number, 100 + number].map(|name| Address::new([name; 32]));
        world = world.account(from, 0, 1000).pay(from, 0, to, 10, 1);
    }
    let world = world.pay(C, 0, D, 10, 1);
    let found = minimized(&world, &Altered(by_place as Fault));
    assert_eq!(found.case.block.transactions.len(), 2);
}

#[test]
fn what_a_candidate_wrote_is_no_markup_on_the_page() {
    fn fault(_: &ExecutableBlock, _: &PreState, execution: &mut Execution) {
        if let Some(outcome) = execution.outcomes.first_mut() {
            let reason = "<script>alert(1)</script>".to_owned();
            outcome.status = Status::Failed(FailReason::Other(reason));
            outcome.fee = Amount::ZERO;
        }
    }
    let parent = tempfile::tempdir().unwrap();
    let candidate = Altered(fault as Fault);
    let case = case(&busy());
    let replay = Replay::new(case.block, case.pre_state).unwrap();
    let run = replay.run(&candidate, SCHEDULE).unwrap();
    let original = replay.evidence(run, &candidate).unwrap().write(parent.path()).unwrap();
    let written = minimize_directory(&original, &candidate, options()).unwrap();
    let page = fs::read_to_string(written.path.join("MINIMAL.md")).unwrap();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script>"), "{page}");
}

#[test]
fn a_directory_in_the_place_of_a_file_is_damage_like_any_other() {
    let parent = tempfile::tempdir().unwrap();
    let (evidence, ..) = evidence_of("fee-not-debited");
    let original = evidence.write(parent.path()).unwrap();
    fs::remove_file(original.join("block.json")).unwrap();
    fs::create_dir(original.join("block.json")).unwrap();
    for command in ["repro", "minimize", "explain"] {
        let ran = shadow([command, original.to_str().unwrap()]);
        assert_eq!(ran.code, 2, "{command}: {ran:#?}");
        assert!(ran.stderr.contains("block.json: a directory is in its place"), "{ran:#?}");
    }
}

#[test]
fn another_failure_on_the_way_is_not_the_one_that_is_looked_for() {
    #[derive(Debug)]
    struct TwoErrors;
    impl BlockExecutor for TwoErrors {
        fn name(&self) -> &str {
            "two-errors"
        }
        fn build(&self) -> String {
            "test".to_owned()
        }
        fn execute(
            &self,
            block: &Arc<ExecutableBlock>,
            pre_state: &Arc<PreState>,
            schedule: Schedule,
        ) -> Result<Performed, Failure> {
            match block.transactions.len() {
                0..=3 => SerialExecutor.execute(block, pre_state, schedule),
                4..=9 => Err(Failure::Error("disk full".to_owned())),
                count => Err(Failure::Error(format!("no account in {count} transactions"))),
            }
        }
    }
    let case = case(&busy());
    let rerun = Rerun { candidate: &TwoErrors, pre_state: &case.pre_state, schedule: SCHEDULE };
    let wanted = Difference::from(&Failure::Error("no account in 22 transactions".to_owned()));
    let found = locate(&wanted, &case.block, Some(rerun)).unwrap();
    assert_eq!((found.index, found.method), (9, LocateMethod::Prefix));
}

#[test]
fn the_first_case_of_a_problem_is_minimised_in_the_background() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let ran = shadow([
        "soak",
        "--blocks",
        "8",
        "--candidate",
        "fault:fee-not-debited",
        "--triage",
        "0",
        "--minimize",
        "--state-dir",
        directory,
    ]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let names: Vec<_> = contents_names(&state.path().join("evidence"));
    let minimal: Vec<_> = names.iter().filter(|name| name.ends_with("_minimal")).collect();
    assert!(!minimal.is_empty(), "{names:?} {ran:#?}");
    for name in minimal {
        let evidence = Evidence::read(&state.path().join("evidence").join(name)).unwrap();
        assert!(evidence.block.transactions.len() <= 2, "{name}");
    }
    // What was made of a case is no case of its own.
    let listed = shadow(["mismatches", "--state-dir", directory]);
    assert_eq!(listed.code, 0, "{listed:#?}");
    assert!(!listed.stdout.contains("_minimal"), "{listed:#?}");
}

fn contents_names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
