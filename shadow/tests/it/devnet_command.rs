//! `shadow devnet` as a person starts it.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    program::{shadow, start},
    recordings::recording,
};

/// A child that does not outlive a test that failed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn it_says_where_it_is_and_what_it_was_asked() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(["devnet", "--listen", "127.0.0.1:0", "--blocks-per-second", "0", "--recording"]);
    program.arg(recording("parallel-a")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Running(start(&mut program));
    let mut output = BufReader::new(running.0.stdout.take().unwrap());
    let mut url = String::new();
    output.read_line(&mut url).unwrap();
    let url = format!("{}/json_rpc", url.trim());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer: serde_json::Value = runtime.block_on(async {
        let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "get_topoheight"});
        let answer = reqwest::Client::new().post(url).json(&call).send().await.unwrap();
        answer.json().await.unwrap()
    });
    assert_eq!(answer["result"], 34);

    kill_process(Pid::from_child(&running.0), Signal::TERM).unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(
        rest.starts_with("1 questions in 1 messages, at most 1 at a time and 1 in one"),
        "{rest}"
    );
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn it_does_not_outlive_whoever_started_it_if_it_is_told_not_to() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(["devnet", "--listen", "127.0.0.1:0", "--blocks", "3", "--until-input-ends"]);
    program.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = Running(start(&mut program));
    let mut output = BufReader::new(running.0.stdout.take().unwrap());
    let mut url = String::new();
    output.read_line(&mut url).unwrap();
    assert_eq!(running.0.try_wait().unwrap(), None);
    // As the end of a process leaves it.
    drop(running.0.stdin.take());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_served_is_said_in_a_sentence() {
    #[track_caller]
    fn check(arguments: &[&str], code: i32, words: &str) {
        let ran = shadow([&["devnet", "--listen", "127.0.0.1:0"], arguments].concat());
        assert_eq!(ran.code, code, "{ran:#?}");
        assert!(ran.stderr.contains(words), "{ran:#?}");
        assert_eq!(ran.stdout, "");
    }
    check(&["--recording", "/nowhere/at/all"], 2, "not a readable directory");
    check(&["--faults", "slow=7"], 2, "a rate is a number from 0 to 1");
    check(&["--faults", "sleepy=0.1"], 2, "there is no fault sleepy");
    check(&["--faulty-parallel", "nobody"], 2, "there is no fault nobody");
    check(&["--blocks-per-second=-1"], 2, "blocks-per-second");
    check(&["--recording", "a", "--blocks", "3"], 2, "cannot be used with");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = shadow(["devnet", "--blocks", "3", "--listen", &address]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains("take another --listen"), "{ran:#?}");
}
