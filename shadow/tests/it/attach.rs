//! Attaching to a stand-in node, as a person or a script would.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use comparator::Severity;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use shadow::{
    devnet::{DevnetChain, DevnetNode, DevnetOptions, Pace},
    ledger::{entries, entry_at},
    source::{GeneratedOptions, Profile},
};
use storage_snapshot::{BlockHash, Store, StoreOptions, TopoHeight};

use crate::{
    program::{Ran, nobody_starts, shadow, start},
    recordings::recording,
};

#[test]
fn every_block_of_a_recorded_chain_is_verified_from_its_beginning_and_from_its_middle() {
    let node = serve(DevnetChain::Recording(recording("serial-main")), Pace::AllAtOnce);
    let check = |from: &str, blocks: u64, opaque: u64| {
        let ran = attach(&node, &["--from", from, "--until", "434", "--candidate", "node"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let summary = ran.summary();
        assert_eq!(summary["mismatches"]["total"], 0, "{summary:#}");
        assert_eq!(summary["blocks"]["total"], blocks, "{summary:#}");
        assert_eq!(summary["blocks"]["opaque"], opaque, "{summary:#}");
        assert_eq!(summary["blocks"]["inconclusive"], 0, "{summary:#}");
        assert_eq!(summary["node_check"]["not_asked"], 0, "{summary:#}");
        assert!(summary["traffic"]["in_flight_max"].as_u64() <= Some(4), "{summary:#}");
    };
    check("genesis", 435, 6);
    check("217", 218, 1);
    check("47", 388, 6);
    check("tip", 61, 0);
    let asked = node.requests();
    assert!(asked.in_flight_max <= 4 && asked.batch_max <= 20, "{asked:?}");
}

#[test]
fn the_state_is_the_same_whoever_is_asked_about_it() {
    let recorded = recording("serial-main");
    let replayed = shadow(["replay".as_ref(), recorded.as_os_str(), "--json".as_ref()]);
    let expected = replayed.summary()["state_digest"].clone();
    let node = serve(DevnetChain::Recording(recorded), Pace::AllAtOnce);
    for candidates in [&[][..], &["node"]] {
        let candidates = candidates.iter().flat_map(|name| ["--candidate", name]);
        let arguments: Vec<_> = ["--until", "434"].into_iter().chain(candidates).collect();
        let ran = attach(&node, &arguments);
        assert_eq!(ran.code, 0, "{ran:#?}");
        assert_eq!(ran.summary()["state_digest"], expected, "{arguments:?}");
    }
}

#[test]
fn where_the_node_alone_is_under_test_it_is_what_was_exercised() {
    let node = serve(generated(3, 60), Pace::AllAtOnce);
    let url = node.url();
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let attach = ["attach", "--node", &url, "--until", "50", "--candidate", "node"];
    let ran = shadow([&attach[..], &["--state-dir", directory, "--json"]].concat());
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["exercised"], 51, "{ran:#?}");
    let again = shadow([&attach[..], &["--state-dir", directory]].concat());
    assert!(again.stdout.starts_with("51 of 51 blocks exercised"), "{again:#?}");
}

#[test]
fn what_a_node_executed_wrongly_on_its_parallel_path_is_found_and_nothing_else() {
    let node = serve(DevnetChain::Recording(recording("parallel-a")), Pace::AllAtOnce);
    for from in ["genesis", "20"] {
        let ran = attach(&node, &["--until", "34", "--candidate", "node", "--from", from]);
        assert_eq!(ran.code, 1, "{ran:#?}");
        let summary = ran.summary();
        let found = json!({"balance": 12, "nonce": 4});
        assert_eq!(summary["mismatches"]["by_field"], found, "{summary:#}");
        assert_eq!(summary["candidates"]["node"]["mismatch"], 2, "{summary:#}");
        assert_eq!(summary["candidates"]["v3"]["mismatch"], 0, "{summary:#}");
    }
}

#[test]
fn a_generated_chain_is_verified_from_anywhere() {
    let node = serve(generated(3, 160), Pace::AllAtOnce);
    for from in ["genesis", "1", "80", "tip"] {
        let ran = attach(&node, &["--until", "160", "--candidate", "node", "--from", from]);
        assert_eq!(ran.code, 0, "{from}: {ran:#?}");
        let summary = ran.summary();
        assert_eq!(summary["blocks"]["inconclusive"], 0, "{from}: {summary:#}");
        assert_eq!(summary["node_check"]["differ"], 0, "{from}: {summary:#}");
    }
}

#[test]
fn a_node_that_orders_anew_what_it_called_stable_ends_the_run() {
    let chain = |profile| {
        DevnetChain::Generated(GeneratedOptions {
            profile,
            seed: 3,
            blocks: 200,
            transactions_per_block: 12,
            conflict_rate: 0.2,
        })
    };
    let state = tempfile::tempdir().unwrap();
    let node = serve(chain(Profile::SideBlocks), Pace::AllAtOnce);
    let ran = attach(&node, &with_state(&state, &["--until", "100"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    drop(node);
    // Another chain that begins with the same block.
    let node = serve(chain(Profile::Transfers), Pace::AllAtOnce);
    let ran = attach(&node, &with_state(&state, &["--until", "150"]));
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("which it had called stable"), "{ran:#?}");
}

#[test]
fn blocks_that_are_ordered_anew_are_verified_anew() {
    let expected = undisturbed(7, 150);
    let node = serve(generated(7, 150), Pace::OnRequest);
    let state = tempfile::tempdir().unwrap();
    let mut ran = None;
    loop {
        let progress = node.advance(9).unwrap();
        let until = progress.topoheight.as_u64().to_string();
        let last = attach(&node, &with_state(&state, &["--until", &until, "--candidate", "node"]));
        assert_eq!(last.code, 0, "{last:#?}");
        ran = Some(last).or(ran);
        if progress.is_complete {
            break;
        }
    }
    let summary = ran.unwrap().summary();
    assert!(summary["re_orders"]["count"].as_u64() > Some(2), "{summary:#}");
    // Every block was young when it was seen first, and was looked at again when it was stable.
    assert!(summary["node_check"]["again"].as_u64() > Some(1000), "{summary:#}");
    assert_eq!(summary["node_check"]["differ_again"], Value::Null, "{summary:#}");
    assert_eq!(verdicts(state.path()), expected);
}

#[test]
fn whoever_goes_on_asks_again_about_everything_that_was_asked_about() {
    let node = serve(generated(11, 150), Pace::OnRequest);
    let state = tempfile::tempdir().unwrap();
    loop {
        let progress = node.advance(40).unwrap();
        let until = progress.topoheight.as_u64().to_string();
        let ran = attach(&node, &with_state(&state, &["--until", &until, "--candidate", "node"]));
        assert_eq!(ran.code, 0, "{ran:#?}");
        if progress.is_complete {
            break;
        }
    }
    let store = Store::open(state.path(), StoreOptions::default()).unwrap();
    let (mut again, mut is_last) = (0, false);
    for entry in entries(&store, TopoHeight::GENESIS) {
        let node = entry.unwrap().node;
        // Contracts, and what is not stable yet.
        is_last |= node.early > 0 && node.again == 0;
        assert!(is_last || node.again == node.early, "{node:?}");
        again += node.again;
    }
    assert!(again > 1000, "{again}");
}

#[test]
fn the_burned_supply_is_compared_where_the_node_tells_it() {
    let node = serve(generated(12, 60), Pace::OnRequest);
    let compared = |at: u64| {
        let state = tempfile::tempdir().unwrap();
        let ran = attach(&node, &with_state(&state, &["--until", "30", "--candidate", "node"]));
        assert_eq!(ran.code, 0, "{ran:#?}");
        let store = Store::open(state.path(), StoreOptions::default()).unwrap();
        entry_at(&store, TopoHeight::new(at)).unwrap().unwrap().node.compared
    };
    while node.progress().topoheight < TopoHeight::new(30) {
        node.advance(1).unwrap();
    }
    let (below, top) = (compared(29), compared(30));
    while !node.progress().is_complete {
        node.advance(20).unwrap();
    }
    assert_eq!((compared(29), compared(30)), (below, top - 1));
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_like_one_that_never_was() {
    let seed = std::env::var("SHADOW_SEED").map_or(5, |seed| seed.parse().unwrap());
    let expected = undisturbed(seed, 150);
    let node = serve(generated(seed, 150), Pace::Every(Duration::from_millis(5)));
    let state = tempfile::tempdir().unwrap();
    let arguments = with_state(&state, &["--until", "150", "--candidate", "node"]);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..8 {
        let mut child = spawn(&node, &arguments);
        // Nothing waits for this to have been enough: any moment is a good one to die.
        std::thread::sleep(Duration::from_millis(random.random_range(30..400)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    wait_until("the chain is complete", || node.progress().is_complete);
    let ran = attach(&node, &arguments);
    assert_eq!(ran.code, 0, "SHADOW_SEED={seed}: {ran:#?}");
    assert_eq!(verdicts(state.path()), expected, "SHADOW_SEED={seed}");
}

/// By default in a small form. `SHADOW_BLOCKS=1000 SHADOW_BLOCKS_PER_SECOND=8` is one of minutes, with a
/// kill every few seconds.
#[test]
fn a_node_that_fails_in_every_way_is_verified_like_one_that_never_does() {
    let number = |name: &str, usual: u64| {
        std::env::var(name).map_or(usual, |number| number.parse().unwrap())
    };
    let seed = number("SHADOW_SEED", 6);
    let blocks = number("SHADOW_BLOCKS", 120);
    let per_second = number("SHADOW_BLOCKS_PER_SECOND", 125);
    let expected = undisturbed(seed, blocks);
    let options = DevnetOptions {
        pace: Pace::Every(Duration::from_secs(1) / per_second.try_into().unwrap()),
        faults: "all=0.01,restart=0.001,reorder=0.1".parse().unwrap(),
        seed,
        ..DevnetOptions::new(generated(seed, blocks))
    };
    let node = DevnetNode::start(options).unwrap();
    let state = tempfile::tempdir().unwrap();
    let until = blocks.to_string();
    let arguments = with_state(&state, &["--until", &until, "--candidate", "node"]);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut kills = 0;
    // A life is long enough to do something at this pace, and not too long.
    let (least, most) = (25_000 / per_second, 100_000 / per_second);
    while kills < 4 || !node.progress().is_complete {
        let mut child = spawn(&node, &arguments);
        std::thread::sleep(Duration::from_millis(random.random_range(least..most).min(4000)));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    let ran = attach(&node, &arguments);
    assert_eq!(ran.code, 0, "SHADOW_SEED={seed}: {ran:#?}");
    let found = verdicts(state.path());
    assert_eq!(found.len(), usize::try_from(blocks).unwrap() + 1);
    assert_eq!(found, expected, "SHADOW_SEED={seed}");
    println!("{kills} kills, faults {:?}\n{}", node.requests().faults, ran.stdout);
}

/// Of a hundred requests about one block nearly all have an answer missing, and they always will.
#[test]
fn a_large_block_is_read_from_a_node_that_fails_now_and_then() {
    let options = GeneratedOptions {
        profile: Profile::Transfers,
        seed: 3,
        blocks: 6,
        transactions_per_block: 400,
        conflict_rate: 0.2,
    };
    let node = DevnetNode::start(DevnetOptions {
        faults: "error=0.1".parse().unwrap(),
        ..DevnetOptions::new(DevnetChain::Generated(options))
    })
    .unwrap();
    let ran = attach(&node, &["--until", "6", "--candidate", "node", "--give-up-seconds", "20"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["candidates"]["node"]["match"], 7, "{ran:#?}");
}

#[test]
fn whoever_asks_a_run_to_stop_gets_its_summary() {
    let node = serve(generated(2, 200), Pace::Every(Duration::from_millis(20)));
    let child = spawn(&node, &["--json".to_owned()]);
    wait_until("the node was asked for blocks", || node.requests().messages > 30);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["interrupted"], true, "{summary:#}");
    assert_eq!(summary["interrupted_because"], "somebody asked it to stop", "{summary:#}");
}

#[test]
fn a_node_that_says_nothing_any_more_ends_the_run_with_a_sentence() {
    let node = serve(DevnetChain::Recording(recording("serial-main")), Pace::OnRequest);
    node.advance(120).unwrap();
    let state = tempfile::tempdir().unwrap();
    let arguments = ["--until", "300", "--give-up-seconds", "1", "--candidate", "node"];
    let ran = attach(&node, &with_state(&state, &arguments));
    assert_eq!(ran.code, 3, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["blocks"]["total"], 121, "{summary:#}");
    let because = summary["interrupted_because"].as_str().unwrap();
    assert!(because.contains("nothing has come from the node for 1 seconds"), "{because}");
    assert!(
        because.contains("topoheight 120 is the last that came of those up to 300"),
        "{because}"
    );
    // It goes on where it gave up.
    node.advance(10).unwrap();
    let ran = attach(&node, &with_state(&state, &["--until", "130", "--candidate", "node"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.summary()["blocks"]["total"], 131);
}

#[test]
fn a_state_directory_of_another_chain_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let one = serve(generated(1, 20), Pace::AllAtOnce);
    assert_eq!(attach(&one, &with_state(&state, &["--until", "20"])).code, 0);
    let other = serve(generated(2, 20), Pace::AllAtOnce);
    let ran = attach(&other, &with_state(&state, &["--until", "20"]));
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("--state-dir"), "{ran:#?}");
}

#[test]
fn what_cannot_be_attached_to_is_named() {
    let node = serve(generated(1, 20), Pace::AllAtOnce);
    let ran = attach(&node, &["--from", "21"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    assert!(ran.stderr.contains("there is no topoheight 21 yet"), "{ran:#?}");
    let url = node.url();
    node.shutdown();
    for arguments in [vec!["attach"], vec!["doctor"]] {
        let ran = shadow(arguments.into_iter().chain(["--node", &url]));
        assert_eq!(ran.code, 4, "{ran:#?}");
        assert!(ran.stderr.contains("the node cannot be reached"), "{ran:#?}");
    }
    let ran = shadow(["attach", "--node", "https://example.org"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
    let ran = shadow(["soak", "--blocks", "1", "--candidate", "node"]);
    assert_eq!(ran.code, 2, "{ran:#?}");
}

#[cfg(feature = "faults")]
#[test]
fn a_node_with_a_planted_fault_is_found_out_and_the_engine_beside_it_is_not() {
    let options = DevnetOptions {
        faulty_parallel: Some("fee-not-debited".to_owned()),
        ..DevnetOptions::new(generated(4, 40))
    };
    let node = DevnetNode::start(options).unwrap();
    let ran = attach(&node, &["--until", "40", "--candidate", "node"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let summary = ran.summary();
    assert_eq!(summary["candidates"]["v3"]["mismatch"], 0, "{summary:#}");
    assert!(summary["candidates"]["node"]["mismatch"].as_u64() > Some(0), "{summary:#}");
}

/// What a ledger says of a block, but for how long it took.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) at: TopoHeight,
    block: BlockHash,
    digest: String,
    candidates: Vec<(String, Severity)>,
}

/// What a run on the whole chain comes to that nothing ever happened to.
pub(crate) fn undisturbed(seed: u64, blocks: u64) -> Vec<Verdict> {
    let node = serve(generated(seed, blocks), Pace::AllAtOnce);
    let state = tempfile::tempdir().unwrap();
    let until = blocks.to_string();
    let ran = attach(&node, &with_state(&state, &["--until", &until, "--candidate", "node"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    verdicts(state.path())
}

/// The current verdicts: one for each position, or the ledger is wrong.
pub(crate) fn verdicts(state: &Path) -> Vec<Verdict> {
    let _nobody = nobody_starts();
    let store = Store::open(state, StoreOptions::default()).unwrap();
    let all: Vec<_> = entries(&store, TopoHeight::GENESIS).map(|entry| entry.unwrap()).collect();
    let positions: BTreeSet<_> = all.iter().map(|entry| entry.topoheight).collect();
    assert_eq!(positions.len(), all.len());
    all.into_iter()
        .filter(|entry| !entry.stale)
        .map(|entry| Verdict {
            at: entry.topoheight,
            block: entry.block_hash,
            digest: entry.state_digest,
            candidates: entry
                .candidates
                .into_iter()
                .map(|candidate| (candidate.candidate, candidate.verdict))
                .collect(),
        })
        .collect()
}

pub(crate) fn generated(seed: u64, blocks: u64) -> DevnetChain {
    DevnetChain::Generated(GeneratedOptions {
        profile: Profile::SideBlocks,
        seed,
        blocks,
        transactions_per_block: 12,
        conflict_rate: 0.2,
    })
}

pub(crate) fn serve(chain: DevnetChain, pace: Pace) -> DevnetNode {
    DevnetNode::start(DevnetOptions { pace, ..DevnetOptions::new(chain) }).unwrap()
}

pub(crate) fn attach<A: AsRef<str>>(node: &DevnetNode, arguments: &[A]) -> Ran {
    attach_to(&node.url(), arguments)
}

pub(crate) fn attach_to<A: AsRef<str>>(url: &str, arguments: &[A]) -> Ran {
    shadow(command(url, arguments))
}

pub(crate) fn spawn(node: &DevnetNode, arguments: &[String]) -> Child {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program
        .args(command(&node.url(), arguments))
        .env_remove("SHADOW_STATE_DIR")
        .stdin(Stdio::null());
    start(program.stdout(Stdio::piped()).stderr(Stdio::null()))
}

/// The built-in engine is always there; and there is no hurry to spare the stand-in.
fn command<A: AsRef<str>>(url: &str, arguments: &[A]) -> Vec<String> {
    let fixed = ["attach", "--node", url, "--candidate", "v3", "--workers", "2"];
    let fixed = fixed.into_iter().chain(["--node-requests-per-second", "100000"]);
    let mut all: Vec<String> = fixed.map(str::to_owned).collect();
    all.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
    if !all.iter().any(|argument| argument == "--json") {
        all.push("--json".to_owned());
    }
    all
}

pub(crate) fn with_state(state: &tempfile::TempDir, arguments: &[&str]) -> Vec<String> {
    let state = ["--state-dir", state.path().to_str().unwrap()];
    arguments.iter().copied().chain(state).map(str::to_owned).collect()
}

#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}
