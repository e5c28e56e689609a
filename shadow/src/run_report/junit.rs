//! The answer for programs that read test results: a suite per run, a case per chain.
//!
//! A case passes only if the run is clean. What was not exercised is a failure, and what did not come to
//! its end is an error; a case is there before the run begins.

use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite,
};

use super::{
    about::About,
    figures::{Figures, Word},
    headline::Headline,
};

/// The case of a run that came to its end.
pub(crate) fn case(about: &About, figures: &Figures, headline: &Headline, text: &str) -> TestCase {
    let mut case = TestCase::new(about.case.as_str(), status(headline));
    case.set_classname(class_of(about));
    case.set_time(Duration::try_from_secs_f64(figures.seconds.elapsed).unwrap_or_default());
    let blocks = &figures.blocks;
    for (name, number) in [
        ("blocks", blocks.total),
        ("exercised_blocks", blocks.exercised),
        ("mismatch_blocks", blocks.mismatch),
        ("transactions_executed", figures.transactions.executed),
        ("mismatches", figures.mismatches.total),
    ] {
        case.add_property(Property::new(name, number.to_string()));
    }
    case.set_system_out(text);
    case
}

/// The case of a run of which nothing is known but that it was begun.
pub(crate) fn unfinished(about: &About) -> TestCase {
    let mut case = TestCase::new(about.case.as_str(), error("unfinished", UNFINISHED));
    case.set_classname(class_of(about));
    case
}

/// What is said of a run that has not ended.
pub(crate) const UNFINISHED: &str =
    "the run was begun and has not come to its end: it goes on, or its process was killed";

/// What a headline makes of a case.
pub(crate) fn status(headline: &Headline) -> TestCaseStatus {
    let Headline { word, sentence } = headline;
    match word {
        Word::Clean => TestCaseStatus::success(),
        Word::Mismatch => failure("mismatch", sentence),
        Word::NotEnoughEvidence => failure("not_enough_evidence", sentence),
        Word::Error => error("error", sentence),
    }
}

/// What was looked at does not hold.
pub(crate) fn failure(kind: &str, message: &str) -> TestCaseStatus {
    told(NonSuccessKind::Failure, kind, message)
}

/// It was not looked at.
pub(crate) fn error(kind: &str, message: &str) -> TestCaseStatus {
    told(NonSuccessKind::Error, kind, message)
}

fn told(non_success: NonSuccessKind, kind: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(non_success);
    status.set_type(kind).set_message(message);
    status
}

/// The file.
pub(crate) fn file(suites: impl IntoIterator<Item = TestSuite>) -> Result<String, SerializeError> {
    let mut report = Report::new("shadow");
    report.add_test_suites(suites);
    report.to_string()
}

/// The suite of a run.
pub(crate) fn suite(about: &About, case: TestCase) -> TestSuite {
    let mut suite = TestSuite::new(class_of(about));
    if let Some(time) = case.time {
        suite.set_time(time);
    }
    suite.add_test_case(case);
    suite
}

fn class_of(about: &About) -> String {
    format!("shadow {}", about.command)
}
