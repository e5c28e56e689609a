//! The text for people says everything that the record says, and nothing that it does not.

use std::time::Instant;

use comparator::{
    Difference, ExplainLimits, Field, Limits, Mismatch, MismatchRecord, Side, explain,
};
use storage_snapshot::StateKey;

use crate::{
    record::{sample, subject},
    support::*,
};

fn record(differences: impl IntoIterator<Item = Difference>) -> MismatchRecord {
    let mismatch = Mismatch::collect(differences, &Limits::default()).unwrap();
    MismatchRecord::new(subject(), &mismatch, &[tx(1), tx(2)])
}

#[track_caller]
fn check(record: &MismatchRecord, expected: &str) {
    let text = explain(record, &ExplainLimits::default());
    assert!(text.contains(expected), "{text}\ndoes not say\n{expected}");
}

#[test]
fn a_record_is_explained_in_words_and_then_account_by_account() {
    let expected = include_str!("../fixtures/record.v1.txt");
    assert_eq!(explain(&sample(), &ExplainLimits::default()), expected);
}

#[test]
fn a_balance_is_shown_with_its_difference() {
    let record = record([Difference::of_key(native(A), Side::Number(985), Side::Number(990))]);
    check(
        &record,
        &format!(
            "account {A}\n--- control\n+++ candidate\n@@ -1 +1 @@\n-native balance: 985\n\
             +native balance: 990 (+5)\n"
        ),
    );
    check(&record, &format!("first      the native balance of {A}: 990 instead of 985 (+5)\n"));
}

#[test]
fn absent_none_and_zero_read_differently() {
    let key = StateKey::Balance(A, GOLD);
    check(
        &record([
            Difference::of_key(key, Side::Number(0), Side::Absent),
            Difference::of_key(StateKey::Nonce(A), Side::None, Side::Number(0)),
        ]),
        &format!(
            "-balance in {GOLD}: 0\n-nonce: none (written)\n\
             +balance in {GOLD}: not written\n+nonce: 0\n"
        ),
    );
}

#[test]
fn only_the_signers_that_differ_are_marked() {
    check(
        &record([Difference::of_key(
            StateKey::Multisig(A),
            Side::Multisig(config(2, &[A, B])),
            Side::Multisig(config(2, &[A, C])),
        )]),
        &format!(" multisig: 2 of 2 signers\n   signer {A}\n-  signer {B}\n+  signer {C}\n"),
    );
}

#[test]
fn what_a_candidate_wrote_cannot_forge_a_line_or_reach_the_terminal() {
    let hostile = "fine\n+native balance: 985\r\n\u{1b}[2J\u{202e}";
    let mut record = record([Difference {
        field: Field::Error,
        key: None,
        transaction: None,
        control: Side::Absent,
        observed: Side::Text(hostile.into()),
    }]);
    record.subject.candidate = hostile.into();
    record.subject.candidate_build = hostile.into();
    let text = explain(&record, &ExplainLimits::default());
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    assert!(!text.contains('\u{202e}'));
    assert!(!text.lines().any(|line| line == "+native balance: 985"), "{text}");
    assert!(text.contains("\\n+native balance: 985\\r\\n\\u{1b}[2J\\u{202e}"), "{text}");
}

#[test]
fn an_explanation_is_bounded_and_says_so() {
    let many = record(
        (0..200).map(|i| Difference::of_key(native(A), Side::Number(i), Side::Number(i + 1))),
    );
    let limits = ExplainLimits { lines: 20, line_bytes: 40, deadline: None };
    let text = explain(&many, &limits);
    assert_eq!(text.lines().count(), 21);
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("… ") && last.ends_with(" more lines: see the record"), "{last}");
    assert!(text.lines().all(|line| line.len() < 80), "{text}");
}

#[test]
fn a_deadline_that_has_passed_still_gives_a_right_diff() {
    let limits = ExplainLimits { deadline: Some(Instant::now()), ..ExplainLimits::default() };
    let text = explain(&sample(), &limits);
    let complete = explain(&sample(), &ExplainLimits::default());
    let marked = |text: &str| {
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| line.contains("native balance"))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    assert_eq!(marked(&text), marked(&complete));
}

#[test]
fn what_was_not_kept_is_mentioned() {
    check(&sample(), "3 more differences were counted and not kept\n");
}
