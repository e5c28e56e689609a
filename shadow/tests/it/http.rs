//! A run is asked how it goes while it goes on.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::{shadow, start};

#[test]
fn a_running_soak_answers_what_it_has_found() {
    let running = Running::start(&["soak", "--for", "1h", "--blocks-per-second", "500"]);
    running.until("it has verified", |status| status["verified_topoheight"].as_u64() > Some(120));

    assert_eq!(running.get("/livez").text(), "ok\n");
    let ready = running.get("/readyz?verbose");
    assert_eq!(ready.status, 200, "{ready:?}");
    for check in ["verifying", "restored", "up_to_date", "disk"] {
        assert!(ready.text().contains(&format!("[+] {check}\n")), "{ready:?}");
    }
    assert_eq!(running.get("/readyz").text(), "ready\n");

    let status = running.status();
    assert_eq!(status["verdict"], "clean", "{status:#}");
    assert_eq!(status["candidates"]["v3"]["blocks"]["mismatch"], 0);
    assert!(status["chain"].as_str().unwrap().contains("profile everything"), "{status:#}");

    let page = running.get("/api/ledger?from=10&to=12").json();
    let topoheights: Vec<_> =
        page["entries"].as_array().unwrap().iter().map(|entry| &entry["topoheight"]).collect();
    assert_eq!(topoheights, [10, 11, 12]);
    assert_eq!(page["next"], Value::Null);
    assert_eq!(running.get("/api/ledger").json()["entries"].as_array().unwrap().len(), 100);
    assert_eq!(running.get("/api/mismatches").json()["blocks"], serde_json::json!([]));

    let metrics = running.get("/metrics");
    assert!(metrics.head.contains("text/plain; version=0.0.4"), "{}", metrics.head);
    let text = metrics.text();
    assert!(text.contains("\nshadow_up_to_date 1\n"), "{text}");
    assert!(text.contains("shadow_build_info{"), "{text}");
    for (option, expected) in [
        ("blocks_per_second", 500.0),
        ("canary_every", 50.0),
        ("conflict_rate", 0.2),
        ("min_txs_for_parallel", 0.0),
        ("parallel_execution_enabled", 1.0),
        ("triage", 60.0),
    ] {
        let series = format!("shadow_config{{option=\"{option}\"}}");
        assert_eq!(number(&text, &series), expected, "{option}");
    }
    assert!(!text.contains("option=\"ready_lag_blocks\""), "nobody set it");

    let (code, summary) = running.interrupt();
    assert_eq!(code, 3, "it was interrupted");
    assert_eq!(summary["mismatches"]["total"], 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let running = Running::start(&["soak", "--for", "1h", "--blocks-per-second", "10"]);
    #[track_caller]
    fn check(running: &Running, path: &str, status: u16, named: &str) {
        let answer = running.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(named), "{path}: {error}");
    }
    check(&running, "/nothing", 404, "/api/status");
    check(&running, "/api/ledger?from=x", 400, "from");
    check(&running, "/api/ledger?from=2&to=1", 400, "above");
    check(&running, "/api/ledger?from=-1", 400, "from");
    check(&running, "/api/mismatches?limit=x", 400, "limit");
    assert_eq!(running.get("/api/ledger?from=18446744073709551615").status, 200);
    assert_eq!(running.get("/api/mismatches?limit=0&before=0").status, 200);
    let address = running.address.to_string();
    let taken = shadow(["soak", "--blocks", "1", "--listen", &address]);
    assert_eq!(taken.code, 4, "{taken:#?}");
    assert!(taken.stderr.contains("--listen"), "{taken:#?}");
    for wrong in ["nowhere", "127.0.0.1", "70000", ""] {
        assert_eq!(shadow(["soak", "--listen", wrong]).code, 2, "{wrong}");
    }
}

#[test]
fn a_mismatch_is_told_page_by_page_and_after_a_restart_and_does_not_end_the_run() {
    let state = tempfile::tempdir().unwrap();
    let wrong = concat!(
        "external:python3 ",
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/wrong_candidate.py"
    );
    let arguments = [
        "soak",
        "--candidate",
        wrong,
        "--transactions-per-block",
        "8",
        "--profile",
        "transfers",
        "--state-dir",
        state.path().to_str().unwrap(),
        "--for",
        "1h",
    ];
    let differing = |status: &Value| {
        status["candidates"]["external-wrong"]["blocks"]["mismatch"].as_u64().unwrap()
    };
    let running = Running::start(&arguments);
    running.until("three blocks differ", |status| differing(status) >= 3);
    assert_eq!(running.status()["verdict"], "mismatch");
    assert_eq!(running.get("/readyz").status, 200, "it goes on");

    let first = running.get("/api/mismatches?limit=2").json();
    let blocks = first["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2);
    let sentence = blocks[0]["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("candidate external-wrong, topoheight"), "{sentence}");
    assert!(sentence.contains("(+1)"), "{sentence}");
    assert_eq!(first["next"], blocks[1]["topoheight"]);
    let second = running.get(&format!("/api/mismatches?limit=1&before={}", first["next"])).json();
    let at = second["blocks"][0]["topoheight"].as_u64();
    assert!(at < blocks[1]["topoheight"].as_u64(), "{second:#}");

    let metrics = running.get("/metrics").text();
    let found =
        number(&metrics, r#"shadow_ledger_mismatches{candidate="external-wrong",field="balance"}"#);
    assert!(found >= 3.0, "{metrics}");
    let (code, summary) = running.interrupt();
    assert_eq!(code, 1);
    let total = summary["mismatches"]["total"].as_f64().unwrap();
    assert!(total >= found);

    // What was found is there at once, before the first new block has a verdict.
    let running = Running::start(&[&arguments[..], &["--blocks-per-second", "0.01"]].concat());
    running.until("the ledger is read", |status| differing(status) > 0);
    let metrics = running.get("/metrics").text();
    let after =
        number(&metrics, r#"shadow_ledger_mismatches{candidate="external-wrong",field="balance"}"#);
    assert_eq!(after, total);
    let newest = running.get("/api/mismatches?limit=1").json();
    assert!(newest["blocks"][0]["topoheight"].as_u64() >= blocks[0]["topoheight"].as_u64());
}

#[test]
fn a_soak_that_goes_on_for_a_time_ends_by_itself() {
    let ran = shadow(["soak", "--json", "--for", "1.5s", "--profile", "transfers"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.summary()["blocks"]["match"].as_u64() > Some(0), "{ran:#?}");
    for wrong in [["--for", "10"], ["--for", "0s"], ["--blocks-per-second", "0"]] {
        assert_eq!(shadow(["soak", wrong[0], wrong[1]]).code, 2, "{wrong:?}");
    }
    assert_eq!(shadow(["soak", "--for", "1s", "--blocks", "5"]).code, 2);
}

#[test]
fn a_run_that_goes_on_for_a_time_begins_with_what_has_no_verdict() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let blocks = || {
        let pace = ["--for", "1s", "--blocks-per-second", "40", "--profile", "transfers"];
        let ran = shadow([&["soak", "--json", "--state-dir", directory][..], &pace].concat());
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.summary()["blocks"]["total"].as_u64().unwrap()
    };
    let first = blocks();
    assert!(first <= 45, "{first}");
    let second = blocks();
    assert!(second > first, "{first}, then {second}");
}

#[test]
fn the_documentation_of_the_metrics_is_that_of_the_program() {
    let described = shadow(["metrics", "--describe"]);
    assert_eq!(described.code, 0, "{described:#?}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../dashboards/METRICS.md");
    let written = std::fs::read_to_string(file).unwrap();
    assert_eq!(described.stdout, written, "write it anew: shadow metrics --describe > {file}");
}

/// A program that goes on until it is interrupted, or let go of.
pub(crate) struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
        program.args(arguments).args(["--listen", "0", "--json"]).env_remove("SHADOW_STATE_DIR");
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start(&mut program);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            line.unwrap().strip_prefix("listening on http://").map(|at| at.parse().unwrap())
        });
        // Whatever else is written there has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address: address.expect("it ended before it listened") }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks once.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut stream = self.connect();
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(head.to_lowercase().contains("content-length"), "{head}");
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn status(&self) -> Value {
        self.get("/api/status").json()
    }

    /// Asks again and again until this is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.status()) {
            assert!(Instant::now() < deadline, "{what}: {:#}", self.status());
            std::thread::yield_now();
        }
    }

    /// Asks it to stop, and waits for the exit code and the summary.
    pub(crate) fn interrupt(mut self) -> (i32, Value) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, serde_json::from_str(&stdout).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: String,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        self.body.clone()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The value of one series.
#[track_caller]
fn number(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series}: {metrics}")).trim().parse().unwrap()
}

/// After this long something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
