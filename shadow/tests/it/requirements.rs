//! Requirements: how they are written, and what is missing for them.

use shadow::{
    kinds::TransactionKind,
    requirements::{Problem, Requirements},
    shapes::Shape,
};

use crate::coverage::{Entry, coverage, matching};

#[test]
fn requirements_are_read_by_their_names() {
    let text =
        "exercised=1000, per-shape=200,per-kind=30,workers=4,shape:self_transfer=0,kind:burn=7";
    let read: Requirements = text.parse().unwrap();
    let expected = Requirements {
        exercised: 1000,
        per_shape: 200,
        per_kind: 30,
        workers: 4,
        shapes: [(Shape::SelfTransfer, 0)].into(),
        kinds: [(TransactionKind::Burn, 7)].into(),
    };
    assert_eq!(read, expected);
}

#[test]
fn a_malformed_requirement_is_named() {
    #[track_caller]
    fn check(text: &str, part: &str, problem: Problem) {
        let error = text.parse::<Requirements>().unwrap_err();
        assert_eq!((error.part.as_str(), error.problem), (part, problem));
        assert!(error.to_string().contains(part), "{error}");
    }
    check("", "", Problem::Form);
    check("exercised", "exercised", Problem::Form);
    check("exercised=1,,per-kind=1", "", Problem::Form);
    check("exercised=1,per-block=2", "per-block=2", Problem::Name);
    check("exercised=many", "exercised=many", Problem::Number);
    check("exercised=-1", "exercised=-1", Problem::Number);
    check("exercised=18446744073709551616", "exercised=18446744073709551616", Problem::Number);
    check("workers=4294967296", "workers=4294967296", Problem::Number);
    check("per-kind=1,per-kind=2", "per-kind=2", Problem::Twice);
    check("shape:triangle=1", "shape:triangle=1", Problem::Shape);
    check("kind:opaque=1", "kind:opaque=1", Problem::Kind);
    check("colour:red=1", "colour:red=1", Problem::Name);
}

#[test]
fn what_is_met_is_not_missing() {
    check("exercised=2,kind:transfer=20,shape:shared_receiver=20", &full(), &[]);
    check("exercised=0", &full(), &[]);
}

#[test]
fn everything_that_is_missing_has_a_sentence() {
    check("exercised=3", &full(), &["candidate v3: 2 of 3 blocks exercised"]);
    check(
        "kind:burn=1,kind:transfer=21",
        &full(),
        &[
            "candidate v3: 20 of 21 executed transactions of kind transfer exercised",
            "candidate v3: 0 of 1 executed transactions of kind burn exercised",
        ],
    );
    check(
        "shape:self_transfer=5",
        &full(),
        &[
            "candidate v3: 0 of 5 transactions of shape self_transfer (it pays its own account) exercised",
        ],
    );
}

#[test]
fn a_number_per_shape_or_kind_is_for_each_that_is_not_named_itself() {
    let missing = |text: &str| text.parse::<Requirements>().unwrap().missing(&coverage(&full()));
    let accepted = Shape::ALL.iter().filter(|shape| shape.is_accepted()).count();
    assert_eq!(missing("per-shape=1").len(), accepted - 1, "one was exercised");
    assert_eq!(missing("per-shape=1,shape:burn=0").len(), accepted - 2);
    assert_eq!(missing("per-shape=1,shape:self_transfer=1").len(), accepted);
    assert_eq!(missing("per-kind=1").len(), 2, "opaque transactions are executed nowhere");
    assert_eq!(missing("per-kind=1,kind:burn=0,kind:multisig=0").len(), 0);
}

#[test]
fn only_what_ran_under_enough_workers_counts() {
    check("workers=4", &full(), &[]);
    check(
        "workers=4,exercised=2",
        &full(),
        &["candidate v3: 1 of 2 blocks exercised under at least 4 workers"],
    );
    check(
        "workers=9",
        &full(),
        &["candidate v3: 0 of 1 blocks exercised under at least 9 workers"],
    );
}

#[test]
fn every_candidate_has_to_meet_them() {
    let two = full().map(|entry| entry.judged("node", "any", "not_exercised", 0));
    check("exercised=2", &two, &["candidate node: 0 of 2 blocks exercised"]);
}

#[test]
fn nothing_is_met_by_nothing() {
    check("exercised=0", &[], &["no candidate was judged on any block: that proves nothing"]);
    let nothing = [Entry::new(0).judged("v3", "1", "not_exercised", 2)];
    check("exercised=0", &nothing, &["candidate v3: 0 of 1 blocks exercised"]);
}

#[test]
fn what_could_not_be_judged_is_in_the_way() {
    let [first, second] = full();
    let doubtful = Entry::new(2).judged("v3", "1", "inconclusive", 0);
    let entries = [first.clone(), second.clone(), doubtful];
    check("exercised=1", &entries, &["candidate v3: 1 blocks since topoheight 0 are inconclusive"]);
    let unasked = Entry::new(2).judged("node", "any", "match", 0);
    let missing = "candidate v3: 1 blocks since topoheight 0 have no verdict";
    check("exercised=1", &[first, second, unasked], &[missing]);
}

/// Two blocks under two and eight workers, ten transfers each.
fn full() -> [Entry; 2] {
    [matching(0).transfers(10), Entry::new(1).transfers(10).judged("v3", "1", "match", 8)]
}

#[track_caller]
fn check(requirements: &str, entries: &[Entry], missing: &[&str]) {
    let requirements: Requirements = requirements.parse().unwrap();
    assert_eq!(requirements.missing(&coverage(entries)), missing);
}
