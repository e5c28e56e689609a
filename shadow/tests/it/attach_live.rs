//! A sidecar that goes on for weeks: re-orders that go deep, a disk that stays as it is, and mismatches.

use shadow::{
    devnet::{DevnetNode, DevnetOptions, Pace},
    ledger::entries,
};
use storage_snapshot::{Store, StoreOptions, TopoHeight};

use crate::{
    attach::{attach, generated, serve, verdicts, with_state},
    program::{nobody_starts, shadow},
};

#[test]
fn a_re_order_below_where_it_began_is_followed() {
    let options = DevnetOptions {
        pace: Pace::OnRequest,
        faults: "reorder=0.3".parse().unwrap(),
        seed: 4,
        ..DevnetOptions::new(generated(7, 150))
    };
    let node = DevnetNode::start(options).unwrap();
    // The last block may still be ordered away; sixty below it none is.
    let from = node.advance(90).unwrap().topoheight.as_u64().to_string();
    let state = tempfile::tempdir().unwrap();
    let mut depth = 0;
    loop {
        let progress = node.advance(3).unwrap();
        let until = progress.topoheight.as_u64().to_string();
        let arguments = ["--from", &from, "--until", &until, "--candidate", "node"];
        let ran = attach(&node, &with_state(&state, &arguments));
        assert_eq!(ran.code, 0, "{ran:#?}");
        depth = ran.summary()["re_orders"]["deepest"].as_u64().max(Some(depth)).unwrap();
        if progress.is_complete {
            break;
        }
    }
    assert!(depth > 3, "{depth}");
    let found = verdicts(state.path());
    let first = found[0].at.as_u64();
    assert!(first < from.parse().unwrap(), "{first}");

    // As one that began there when nothing was ordered anew any more.
    let calm = serve(generated(7, 150), Pace::AllAtOnce);
    let state = tempfile::tempdir().unwrap();
    let first = first.to_string();
    let arguments = ["--from", &first, "--until", "150", "--candidate", "node"];
    let ran = attach(&calm, &with_state(&state, &arguments));
    assert_eq!(ran.code, 0, "{ran:#?}");
    let expected = verdicts(state.path());
    assert_eq!(expected[0].at.as_u64().to_string(), first);
    assert_eq!(found, expected);
}

#[test]
fn a_re_order_deeper_than_what_is_kept_is_refused_with_a_sentence() {
    let options = DevnetOptions {
        pace: Pace::OnRequest,
        faults: "reorder=0.3".parse().unwrap(),
        seed: 4,
        ..DevnetOptions::new(generated(7, 150))
    };
    let node = DevnetNode::start(options).unwrap();
    let state = tempfile::tempdir().unwrap();
    let refused = loop {
        let progress = node.advance(3).unwrap();
        let until = progress.topoheight.as_u64().to_string();
        let arguments = ["--until", &until, "--keep-blocks", "1"];
        let ran = attach(&node, &with_state(&state, &arguments));
        if ran.code != 0 {
            break ran;
        }
        assert!(!progress.is_complete, "no re-order was deep enough: {ran:#?}");
    };
    assert_eq!(refused.code, 2, "{refused:#?}");
    assert!(refused.stderr.contains("the chain was ordered anew above"), "{refused:#?}");
    assert!(refused.stderr.contains("--keep-blocks"), "{refused:#?}");
    // What was found stays, and can be read.
    let report = shadow(["report", "--json", "--state-dir", state.path().to_str().unwrap()]);
    assert_eq!(report.code, 0, "{report:#?}");
}

#[test]
fn what_is_kept_is_bounded_and_every_verdict_stays() {
    #[track_caller]
    fn check(keep: u64) {
        let state = tempfile::tempdir().unwrap();
        let blocks = 400;
        let ran = shadow([
            "soak",
            "--blocks",
            &blocks.to_string(),
            "--transactions-per-block",
            "4",
            // Without re-orders, of which some would be too deep.
            "--profile",
            "transfers",
            "--state-dir",
            state.path().to_str().unwrap(),
            "--keep-blocks",
            &keep.to_string(),
            "--json",
        ]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        let _nobody = nobody_starts();
        let store = Store::open(state.path(), StoreOptions::default()).unwrap();
        let tip = store.tip().unwrap().block.topoheight.as_u64();
        let oldest = store.view_tip().unwrap().as_u64();
        // Folding waits until it is worth it.
        assert!(tip - oldest >= keep && tip - oldest <= 2 * keep + 1, "{tip} {oldest} {keep}");
        assert_eq!(entries(&store, TopoHeight::GENESIS).count() as u64, tip + 1);
    }
    check(4);
    check(60);
}

#[cfg(feature = "faults")]
#[test]
fn a_mismatch_does_not_end_a_sidecar_which_says_so_after_a_restart_too() {
    use crate::http::Running;

    let options = DevnetOptions {
        faulty_parallel: Some("fee-not-debited".to_owned()),
        pace: Pace::OnRequest,
        ..DevnetOptions::new(generated(4, 120))
    };
    let node = DevnetNode::start(options).unwrap();
    node.advance(20).unwrap();
    let state = tempfile::tempdir().unwrap();
    let url = node.url();
    let directory = state.path().to_str().unwrap();
    let arguments = ["attach", "--node", &url, "--candidate", "node", "--state-dir", directory];
    let differing = |status: &serde_json::Value| {
        status["candidates"]["node"]["blocks"]["mismatch"].as_u64().unwrap()
    };
    let mut found = 0;
    for _ in 0..3 {
        let running = Running::start(&arguments);
        // It says what it found before it finds anything new.
        running.until("what was found is told", |status| differing(status) >= found);
        let top = node.advance(10).unwrap().topoheight.as_u64();
        running.until("it goes on", |status| {
            status["verified_topoheight"].as_u64() >= Some(top) && differing(status) > 0
        });
        let status = running.status();
        assert_eq!(status["verdict"], "mismatch", "{status:#}");
        assert_eq!(running.get("/readyz").status, 200);
        let newest = running.get("/api/mismatches?limit=1").text();
        assert!(newest.contains("candidate node, topoheight"), "{newest}");
        found = differing(&status);
        let (code, summary) = running.interrupt();
        assert_eq!(code, 1, "{summary:#}");
        assert_eq!(summary["candidates"]["node"]["mismatch"], found, "{summary:#}");
    }
}
