//! Records outlive the build that wrote them.

use comparator::{
    Difference, FailReason, Field, Limits, LocateMethod, LocatedTransaction, Mismatch,
    MismatchRecord, RecordError, RecordedDifference, Side, SkipReason, Status, Subject,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use storage_snapshot::{BlockHash, BlockRef, StateKey, TopoHeight};

use crate::support::*;

/// A record as the first version of the format wrote it. Never changes.
const SAMPLE_1: &str = include_str!("../fixtures/record.v1.json");

/// The same as the second version writes it. Never changes.
const SAMPLE: &str = include_str!("../fixtures/record.v2.json");

pub(crate) fn subject() -> Subject {
    Subject {
        block: BlockRef { topoheight: TopoHeight::new(12), hash: BlockHash::new([0xff; 32]) },
        candidate: "my-executor".into(),
        schedule: comparator::Schedule { workers: 4, seed: u64::MAX },
        control_build: "shadow 0.1.0".into(),
        candidate_build: "my-executor 1.2.3".into(),
    }
}

fn difference(key: StateKey, control: Side, observed: Side) -> RecordedDifference {
    RecordedDifference::new(&Difference::of_key(key, control, observed), None)
}

/// What the sample says.
pub(crate) fn sample() -> MismatchRecord {
    let located = |index: u8, method| {
        Some(LocatedTransaction { index: usize::from(index), hash: tx(index + 1), method })
    };
    let of_block = |field, control, observed| RecordedDifference {
        field,
        key: None,
        control,
        observed,
        transaction: None,
    };
    let failed = Status::Failed(FailReason::Other("full moon".into()));
    let skipped = Status::Skipped(SkipReason::Nonce);
    let text = format!("one more outcome for transaction {} than it has in the block", tx(1));
    MismatchRecord {
        subject: subject(),
        counts: [
            (Field::Outcome, 2),
            (Field::Nonce, 1),
            (Field::Balance, 5),
            (Field::Multisig, 1),
            (Field::Registration, 1),
            (Field::Version, 1),
            (Field::Burned, 1),
            (Field::Protocol, 1),
        ]
        .into(),
        differences: vec![
            RecordedDifference {
                transaction: located(0, LocateMethod::Outcome),
                ..of_block(
                    Field::Outcome,
                    Side::Outcome(executed(1)),
                    Side::Outcome(outcome(1, failed, 0)),
                )
            },
            of_block(Field::Outcome, Side::Absent, Side::Outcome(outcome(9, skipped, 0))),
            RecordedDifference {
                transaction: located(0, LocateMethod::Outcome),
                ..of_block(Field::Protocol, Side::Absent, Side::Text(text))
            },
            RecordedDifference {
                transaction: located(1, LocateMethod::Prefix),
                ..difference(StateKey::Nonce(A), Side::Number(4), Side::Number(5))
            },
            difference(native(A), Side::Number(0), Side::Number(u64::MAX)),
            RecordedDifference {
                transaction: located(1, LocateMethod::Touch),
                ..difference(StateKey::Balance(B, GOLD), Side::Number(u64::MAX), Side::Number(0))
            },
            difference(StateKey::Multisig(A), Side::Multisig(config(2, &[B, C])), Side::None),
            RecordedDifference {
                field: Field::Version,
                ..difference(StateKey::Multisig(B), Side::Absent, Side::None)
            },
            difference(StateKey::Registered(B), Side::Registered, Side::Absent),
            of_block(Field::Burned, Side::Number(5), Side::Number(0)),
        ],
        omitted: 3,
        fingerprint: Some("0123456789ab".into()),
        evidence: Some("state/evidence/12_ffffffff_my-executor".into()),
    }
}

#[test]
fn the_sample_of_version_1_is_read_as_ever() {
    let read = MismatchRecord::from_json(SAMPLE_1).unwrap();
    assert_eq!(read, MismatchRecord { fingerprint: None, evidence: None, ..sample() });
}

#[test]
fn the_first_version_had_no_word_for_evidence() {
    let claims = SAMPLE.replace(r#""format_version":2"#, r#""format_version":1"#);
    let found = MismatchRecord::from_json(&claims);
    assert!(matches!(found, Err(RecordError::Newer)), "{found:?}");
}

#[test]
fn the_sample_of_version_2_is_read_as_ever() {
    assert_eq!(MismatchRecord::from_json(SAMPLE).unwrap(), sample());
}

#[test]
fn the_sample_of_version_2_is_still_what_is_written() {
    assert_eq!(sample().to_json().unwrap(), SAMPLE.trim_end());
}

#[test]
fn a_record_is_one_line_whatever_the_candidate_wrote() {
    let mut record = sample();
    record.subject.candidate_build = "two\nlines\r\u{2028}".into();
    let json = record.to_json().unwrap();
    assert!(!json.contains(['\n', '\r']), "{json}");
    assert_eq!(MismatchRecord::from_json(&json).unwrap(), record);
}

#[test]
fn the_version_is_looked_at_before_anything_else() {
    let found = MismatchRecord::from_json(r#"{"format_version": 3, "shape": "unheard of"}"#);
    assert!(matches!(found, Err(RecordError::Version { found: 3 })), "{found:?}");
    assert!(found.unwrap_err().to_string().contains("use a newer build"));
    let found = MismatchRecord::from_json(r#"{"topoheight": 1}"#);
    assert!(matches!(found, Err(RecordError::Json(_))), "{found:?}");
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut Value), expected: impl FnOnce(&RecordError) -> bool) {
    let mut json: Value = serde_json::from_str(SAMPLE).unwrap();
    // A value of the tree cannot hold such a number, so the text would not be the same again.
    json["differences"].as_array_mut().unwrap().remove(5);
    json["omitted"] = json!(4);
    assert!(MismatchRecord::from_json(&json.to_string()).is_ok());
    change(&mut json);
    match MismatchRecord::from_json(&json.to_string()) {
        Ok(_) => panic!("accepted {json}"),
        Err(error) => assert!(expected(&error), "{error:?}"),
    }
}

#[test]
fn a_record_is_exactly_what_its_version_says() {
    let json = |error: &RecordError| matches!(error, RecordError::Json(_));
    let fields = [
        "topoheight",
        "block_hash",
        "candidate",
        "schedule",
        "control_build",
        "candidate_build",
        "counts",
        "differences",
        "omitted",
    ];
    for field in fields {
        refuses(|record| drop(record.as_object_mut().unwrap().remove(field)), json);
    }
    for field in ["field", "control", "observed"] {
        refuses(
            |record| drop(record["differences"][0].as_object_mut().unwrap().remove(field)),
            json,
        );
    }
    refuses(|record| record["note"] = json!(1), json);
    refuses(|record| record["differences"][0]["note"] = json!(1), json);
    refuses(|record| record["counts"]["colour"] = json!(1), json);
    refuses(|record| record["differences"][0]["transaction"]["method"] = json!("guess"), json);
    for side in [
        json!("missing"),
        json!(false),
        json!(-1),
        json!(0.5),
        json!([]),
        json!({}),
        json!({"text": "a", "threshold": 1}),
        json!({"threshold": 1}),
        json!({"hash": tx(1), "status": "skipped", "fee": 0}),
        json!({"hash": tx(1), "status": "executed", "fee": 0, "note": 1}),
    ] {
        refuses(|record| record["differences"][0]["observed"] = side, json);
    }
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let difference = |expected| move |error: &RecordError| matches!(error, RecordError::Difference { index } if *index == expected);
    refuses(|record| record["differences"][3]["difference"] = json!(2), difference(3));
    refuses(
        |record| drop(record["differences"][3].as_object_mut().unwrap().remove("difference")),
        difference(3),
    );
    refuses(|record| record["differences"][0]["difference"] = json!(2), difference(0));
    refuses(|record| record["differences"][3]["field"] = json!("balance"), difference(3));
    refuses(|record| record["differences"][3]["asset"] = json!(GOLD), difference(3));
    refuses(
        |record| drop(record["differences"][4].as_object_mut().unwrap().remove("asset")),
        difference(4),
    );
    refuses(
        |record| drop(record["differences"][3].as_object_mut().unwrap().remove("key")),
        difference(3),
    );
    let counts = |error: &RecordError| matches!(error, RecordError::Counts);
    refuses(|record| record["omitted"] = json!(5), counts);
    refuses(|record| record["counts"]["nonce"] = json!(2), counts);
    refuses(
        |record| {
            record["counts"]["nonce"] = json!(0);
            record["counts"]["balance"] = json!(6);
        },
        counts,
    );
    refuses(|record| record["omitted"] = json!(u64::MAX), counts);
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let mut record = sample();
    record.differences[3].key = None;
    assert!(matches!(record.to_json(), Err(RecordError::Difference { index: 3 })));
    let mut record = sample();
    record.omitted = 0;
    assert!(matches!(record.to_json(), Err(RecordError::Counts)));
}

#[test]
fn a_difference_that_names_a_transaction_of_the_block_is_located() {
    let outcome_of = |number| Difference {
        field: Field::Outcome,
        key: None,
        transaction: Some(tx(number)),
        control: Side::Absent,
        observed: Side::Outcome(executed(number)),
    };
    let differences = [
        outcome_of(2),
        outcome_of(9),
        Difference::of_key(native(A), Side::Number(1), Side::Absent),
    ];
    let mismatch = Mismatch::collect(differences, &Limits::default()).unwrap();
    let record = MismatchRecord::new(subject(), &mismatch, &[tx(1), tx(2)]);
    let located: Vec<_> =
        record.differences.iter().map(|difference| difference.transaction).collect();
    let second = LocatedTransaction { index: 1, hash: tx(2), method: LocateMethod::Outcome };
    assert_eq!(located, [Some(second), None, None]);
    assert_eq!(record.total(), 3);
}

#[test]
fn a_bounded_record_keeps_exact_counts() {
    let differences =
        (0..1_000_u64).map(|i| Difference::of_key(native(A), Side::Number(i), Side::Number(i + 1)));
    let limits = Limits { differences: 10, ..Limits::default() };
    let mismatch = Mismatch::collect(differences, &limits).unwrap();
    let record = MismatchRecord::new(subject(), &mismatch, &[]);
    assert_eq!((record.differences.len(), record.omitted, record.total()), (10, 990, 1_000));
    assert_eq!(MismatchRecord::from_json(&record.to_json().unwrap()).unwrap(), record);
}

fn any_side() -> impl Strategy<Value = Side> {
    prop_oneof![
        Just(Side::Absent),
        Just(Side::None),
        Just(Side::Registered),
        any::<u64>().prop_map(Side::Number),
        (any::<u8>(), 0..3_usize).prop_map(|(threshold, count)| Side::Multisig(config(
            threshold,
            &[A, B][..count.min(2)]
        ))),
        any::<String>().prop_map(Side::Text),
        (any::<u8>(), any::<u64>(), any::<String>()).prop_map(|(number, fee, reason)| {
            let status = match number % 3 {
                0 => Status::Executed,
                1 => Status::Skipped(SkipReason::from_text(&reason)),
                _ => Status::Failed(FailReason::from_text(&reason)),
            };
            Side::Outcome(outcome(number, status, fee))
        }),
    ]
}

proptest! {
    #[test]
    fn any_record_survives_the_way_there_and_back(
        sides in prop::collection::vec((any_side(), any_side(), 0..6_u8), 1..6),
        candidate: String,
    ) {
        let differences = sides.into_iter().map(|(control, observed, kind)| {
            let of_key = |key| Difference::of_key(key, control.clone(), observed.clone());
            match kind {
                0 => of_key(StateKey::Nonce(A)),
                1 => of_key(native(B)),
                2 => of_key(StateKey::Multisig(A)),
                3 => of_key(StateKey::Registered(A)),
                4 => Difference { field: Field::Version, ..of_key(StateKey::Balance(A, GOLD)) },
                _ => Difference { field: Field::Error, key: None, ..of_key(native(A)) },
            }
        });
        let mismatch = Mismatch::collect(differences, &Limits::default()).unwrap();
        let subject = Subject { candidate, ..subject() };
        let record = MismatchRecord::new(subject, &mismatch, &[]);
        let json = record.to_json().unwrap();
        prop_assert_eq!(MismatchRecord::from_json(&json).unwrap(), record);
    }
}
