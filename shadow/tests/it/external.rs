//! The example candidates, as programs: they agree with the serial engine, block after block.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use comparator::{Execution, Limits, Schedule, Verdict, compare};
use shadow::{
    candidate_spec::{CandidateSpec, StartCandidateError, start, start_all},
    execute::{
        BlockExecutor, ExecutableBlock, PreState, SerialExecutor,
        external::{ExternalExecutor, serve},
        parallel::ParallelExecutor,
    },
    observe::observe,
    source::{GeneratedOptions, Profile},
};

use crate::{
    support::{A, B, C, D, World},
    vectors,
    walk::Walk,
};

/// Enough for any block here on any machine: nothing hangs in these tests.
const BUDGET: Duration = Duration::from_secs(60);

#[test]
fn the_rust_example_agrees_with_the_serial_engine() {
    check_on_generated_chain(&rust_example(), 40);
}

#[test]
fn the_python_example_agrees_with_the_serial_engine() {
    check_on_generated_chain(&python_example(), 40);
}

#[test]
fn the_rust_example_gives_the_response_of_the_protocol() {
    vectors::check(&*started(&rust_example()), 4);
}

#[test]
fn the_python_example_gives_the_response_of_the_protocol() {
    vectors::check(&*started(&python_example()), 4);
}

/// The same batches are cut everywhere, so an example is exercised where the engine is.
#[track_caller]
fn check_on_generated_chain(spec: &CandidateSpec, blocks: u64) {
    let example = started(spec);
    let engine = ParallelExecutor::new(4).unwrap();
    let walk = Walk::new(GeneratedOptions {
        profile: Profile::Everything,
        seed: 3,
        blocks,
        transactions_per_block: 40,
        conflict_rate: 0.2,
    });
    let (mut matches, mut walked) = (0, 0);
    for (step, seed) in walk.zip(0..) {
        // The same block again under another schedule is the same request but for that.
        for schedule in [Schedule { workers: 2, seed }, Schedule { workers: 4, seed: seed + 1 }] {
            let judged = |executor: &dyn BlockExecutor| {
                verdict(executor, &step.executable, &step.pre_state, &step.control, schedule)
            };
            let found = judged(&*example);
            assert_eq!(found, judged(&engine), "block {}, {schedule}", step.block.topoheight);
            match found {
                Verdict::Match => matches += 1,
                Verdict::NotExercised(_) => {}
                other => panic!("block {}: {other:#?}", step.block.topoheight),
            }
            walked += 1;
        }
    }
    assert!(walked > 2 * blocks && matches * 4 > walked * 3, "{matches} of {walked} exercised");
}

#[test]
fn candidates_have_different_names_and_tell_their_build() {
    let specs = [python_example(), CandidateSpec::V3, python_example(), python_example()];
    let executors = start_all(&specs, 2, BUDGET, None).unwrap();
    let names: Vec<_> = executors.iter().map(|executor| executor.name()).collect();
    let python = "external-python-example";
    assert_eq!(names, [python, "v3", &format!("{python}-2"), &format!("{python}-3")]);
    let build = executors[0].build();
    assert!(build.starts_with("\"python-example\" \"1\" (\""), "{build}");
    assert!(build.contains("candidate.py"), "{build}");
}

#[test]
fn what_is_built_in_is_given_once() {
    #[track_caller]
    fn check(spec: &str, name: &str) {
        let specs: [CandidateSpec; 2] = [spec, spec].map(|spec| spec.parse().unwrap());
        let twice = start_all(&specs, 2, BUDGET, None);
        assert!(matches!(twice, Err(StartCandidateError::Twice(again)) if again == name), "{spec}");
    }
    check("v3", "v3");
    check("sharded", "sharded");
    // Counted as one it would hide on which blocks the other has no verdict.
    #[cfg(feature = "faults")]
    check("fault:lost-update", "fault-lost-update");
}

#[test]
fn what_is_asked_of_a_served_executor_out_of_turn_is_answered_with_an_error() {
    #[track_caller]
    fn check(request: &str, expected: &str) {
        let mut output = Vec::new();
        serve(&SerialExecutor, request.as_bytes(), &mut output).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }
    check("", "");
    check(r#"{"jsonrpc":"2.0","id":1,"method":"shutdown","params":{}}"#, "");
    check(
        r#"{"jsonrpc":"2.0","id":"a","method":"explode"}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":-32601,\"message\":\"there is no method \
         \\\"explode\\\"\"}}\n",
    );
    check(
        r#"{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocol":2,"rules":"tos-v3"}}"#,
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"error\":{\"code\":-32602,\"message\":\"only protocol 1 with \
         rules tos-v3 is spoken here\"}}\n",
    );
    check(
        "nonsense\n",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"expected ident at \
         line 1 column 2\"}}\n",
    );
}

#[test]
fn a_failure_of_a_served_executor_is_an_error_of_the_candidate() {
    // The source does not exist, which the serial engine refuses.
    let world = World::new().pay(A, 0, B, 1, 0).pay(C, 0, D, 1, 0);
    for executor in [started(&rust_example()), started(&python_example())] {
        let schedule = Schedule { workers: 2, seed: 0 };
        let failure = executor.execute(&world.block(), &world.pre_state(), schedule).unwrap_err();
        let text = failure.to_string();
        assert!(text.starts_with("answered with an error: "), "{text}");
        assert!(text.contains("has no nonce"), "{text}");
        // The next block is another matter.
        let world = World::new().account(A, 0, 9).account(C, 0, 9);
        let world = world.pay(A, 0, B, 1, 0).pay(C, 0, D, 1, 0);
        assert_eq!(world.verdict(&*executor, 2), Verdict::Match);
        // Starting it is not its execution.
        let performed = executor.execute(&world.block(), &world.pre_state(), schedule).unwrap();
        assert!(performed.elapsed.is_some());
    }
}

pub(crate) fn verdict(
    executor: &dyn BlockExecutor,
    block: &Arc<ExecutableBlock>,
    pre_state: &Arc<PreState>,
    control: &Execution,
    schedule: Schedule,
) -> Verdict {
    let (observation, _) = observe(executor, block, pre_state, schedule);
    compare(control, &observation, &**pre_state, &**block, &Limits::default()).unwrap()
}

#[track_caller]
fn started(spec: &CandidateSpec) -> Arc<dyn BlockExecutor> {
    let executor = start(spec, 2, BUDGET, None).unwrap_or_else(|error| panic!("{error}"));
    assert!(executor.name().starts_with(ExternalExecutor::PREFIX));
    executor
}

/// Built by cargo before it runs all tests; not where it is asked for some of them.
fn rust_example() -> CandidateSpec {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(Path::parent).unwrap();
    let example = built.join("examples/candidate");
    assert!(
        example.is_file(),
        "{} is not there: run `cargo build -p shadow --profile test --example candidate`, or all \
         tests at once",
        example.display()
    );
    external(&[example.to_str().unwrap()])
}

fn python_example() -> CandidateSpec {
    python(&["examples/candidate.py"])
}

/// A program in Python, by its path in this crate, and its arguments.
pub(crate) fn python(arguments: &[&str]) -> CandidateSpec {
    let found = std::process::Command::new("python3").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    assert!(found, "python3 is not there: install Python 3, some candidates are written in it");
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(arguments[0]);
    assert!(path.is_file(), "{} is not there", path.display());
    let words = ["python3", path.to_str().unwrap()];
    external(&[&words[..], &arguments[1..]].concat())
}

fn external(words: &[&str]) -> CandidateSpec {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("external:{}", quoted.join(" ")).parse().unwrap()
}
