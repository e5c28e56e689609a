//! The program is killed at any moment, or runs out of room, and is started again, and ends as if it
//! had never been stopped.

use std::{
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::program::{Ran, shadow, start};

#[test]
fn a_soak_that_is_killed_ends_like_one_that_was_never_stopped() {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let kills = number("SHADOW_KILLS").unwrap_or(6);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let undisturbed = comparable(&shadow(soak(seed)));
    assert!(undisturbed["re_orders"]["count"].as_u64() > Some(0), "{undisturbed:#}");
    let mut killed = 0;
    while killed < kills {
        let state = tempfile::tempdir().unwrap();
        let mut arguments = soak(seed);
        arguments.extend(["--state-dir".to_owned(), state.path().to_str().unwrap().to_owned()]);
        // A few at a time: the later ones would only meet a run that has ended already.
        for _ in 0..3 {
            killed += u64::from(is_killed(&arguments, random.random_range(20..300)));
        }
        let ran = shadow(&arguments);
        assert_eq!(comparable(&ran), undisturbed, "SHADOW_SEED={seed}, kill {killed}: {ran:#?}");
    }
}

#[test]
fn a_soak_without_room_is_an_infrastructure_error_and_goes_on_with_room() {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let undisturbed = comparable(&shadow(soak(seed)));
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_str().unwrap();
    let mut arguments = soak(seed);
    arguments.extend(["--state-dir".to_owned(), path.to_owned()]);
    for kibibytes in [0, 300, 1_024, 2_048] {
        // Without the trap the signal would end the process before it learns anything.
        let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kibibytes * 2);
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &limited, env!("CARGO_BIN_EXE_shadow")])
            .args(&arguments)
            .env_remove("SHADOW_STATE_DIR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = start(&mut shell).wait_with_output().unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert_eq!(ran.code, 4, "{kibibytes} KiB: {ran:#?}");
        let summary = ran.summary();
        assert_eq!(summary["verdict"], "error", "{summary:#}");
        assert!(summary["error"].as_str().unwrap().contains(path), "{summary:#}");
    }
    assert_eq!(comparable(&shadow(&arguments)), undisturbed);
}

#[test]
fn a_soak_in_a_directory_that_cannot_be_used_is_an_infrastructure_error() {
    #[track_caller]
    fn check(path: &str, advice: &str) {
        let mut arguments = soak(1);
        arguments.extend(["--state-dir".to_owned(), path.to_owned()]);
        let ran = shadow(&arguments);
        assert_eq!(ran.code, 4, "{ran:#?}");
        let error = &ran.summary()["error"];
        let said = error.as_str().is_some_and(|said| said.contains(path) && said.contains(advice));
        assert!(said, "{error}");
    }
    // Nobody makes a directory there, whatever his permissions.
    check("/sys/shadow", "make it writable or choose another directory");
    check(env!("CARGO_BIN_EXE_shadow"), "choose a directory instead of a file");
}

/// Starts the program and kills it; whether it had not ended before.
fn is_killed(arguments: &[String], milliseconds: u64) -> bool {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(arguments).env_remove("SHADOW_STATE_DIR");
    let mut child = start(program.stdout(Stdio::null()).stderr(Stdio::null()));
    // Nothing waits for this to have been enough: any moment is a good one to die.
    std::thread::sleep(Duration::from_millis(milliseconds));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

fn soak(seed: u64) -> Vec<String> {
    let seed = seed.to_string();
    ["soak", "--json", "--blocks", "400", "--workers", "2", "--seed", &seed]
        .map(str::to_owned)
        .into()
}

/// Everything that a run says of the chain, and not how long it took.
fn comparable(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{ran:#?}");
    let mut summary = ran.summary();
    assert!(summary.as_object_mut().unwrap().remove("seconds").is_some());
    summary
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
