//! What a run writes to its log, one JSON object a line.

use serde_json::Value;

use crate::program::shadow;

#[test]
fn a_block_that_differs_is_one_line_and_repetition_is_counted_instead_of_written() {
    let wrong = concat!(
        "external:python3 ",
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/wrong_candidate.py"
    );
    let state = tempfile::tempdir().unwrap();
    let ran = shadow([
        "soak",
        "--state-dir",
        state.path().to_str().unwrap(),
        "--json",
        "--log-format",
        "json",
        "--blocks",
        "60",
        "--transactions-per-block",
        "8",
        "--profile",
        "transfers",
        "--candidate",
        wrong,
    ]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let summary = ran.summary();
    let blocks = summary["blocks"]["mismatch"].as_u64().unwrap();
    assert!(blocks > 5, "{summary:#}");
    let lines = ran.stderr.lines().filter(|line| line.starts_with('{'));
    let lines: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let (mut written, mut omitted) = (0, 0);
    for line in &lines {
        assert_eq!(line["candidate"], "external-wrong", "{line:#}");
        assert_eq!(line["verdict"], "mismatch", "{line:#}");
        omitted += line["omitted"].as_u64().unwrap();
        if line["message"] == "mismatch" {
            written += 1;
            assert!(line["topoheight"].is_u64(), "{line:#}");
            assert_eq!(line["block_hash"].as_str().map(str::len), Some(64), "{line:#}");
            assert_eq!(line["field"], "balance", "{line:#}");
        }
    }
    assert_eq!(written + omitted, blocks, "{lines:#?}");
    assert!(omitted > 0, "{lines:#?}");
}
