//! What became of a part.
//!
//! Its own report is only believed if all of it fits together: the exit code, the summary, and the case.
//! Whatever is missing is a failure.

use std::{fs, path::Path, time::Duration};

use quick_junit::{Report, TestCase, TestCaseStatus};
use serde_json::Value;

use super::{
    child::{Ended, LOG, OUTPUT},
    part::{Expected, Part, What},
};
use crate::{
    exit_code::ExitCode,
    run_report::{
        figures::{Figures, Word},
        files::{JUNIT, SUMMARY},
        headline::{Headline, counted, one_line, what_and_where},
        junit,
    },
};

/// What became of a part.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) code: ExitCode,
    pub(super) headline: Headline,
    /// What its own summary says, where there is one.
    pub(super) figures: Option<Figures>,
    pub(super) case: TestCase,
    pub(super) seconds: f64,
}

impl Outcome {
    /// Of a part that nothing is known of.
    pub(super) fn none(part: &Part, why: &str) -> Self {
        Self::error(part, ExitCode::NotEnoughEvidence, why.to_owned())
    }

    pub(super) fn error(part: &Part, code: ExitCode, sentence: String) -> Self {
        let headline = Headline { word: Word::Error, sentence: one_line(&sentence) };
        Self::of(part, code, headline, None)
    }

    fn of(part: &Part, code: ExitCode, headline: Headline, figures: Option<Figures>) -> Self {
        let case = TestCase::new(part.case.as_str(), junit::status(&headline));
        Self { code, headline, figures, case, seconds: 0.0 }.named(part)
    }

    fn named(mut self, part: &Part) -> Self {
        self.case.name = part.case.as_str().into();
        self.case.set_classname(format!("shadow {}", part.suite));
        self
    }

    /// So long it took.
    pub(super) fn after(mut self, time: Duration) -> Self {
        self.seconds = time.as_secs_f64();
        self.case.set_time(time);
        self
    }

    /// Of a part that ended like this, and left its files in a directory.
    pub(super) fn read(part: &Part, ended: Ended, directory: &Path, blocks_min: u64) -> Self {
        let log = || last_line(&directory.join(LOG));
        let code = match ended {
            Ended::Code(code) => code,
            Ended::Signal(signal) => {
                let sentence = format!("its process was ended by signal {signal}{}", log());
                return Self::error(part, ExitCode::Infrastructure, sentence);
            }
            Ended::TimedOut => {
                let sentence = format!("it did not come to its end in time and was ended{}", log());
                return Self::error(part, ExitCode::Infrastructure, sentence);
            }
        };
        let Some(code) = code_of(code) else {
            let sentence = format!("it ended with exit code {code}, which means nothing{}", log());
            return Self::error(part, ExitCode::Infrastructure, sentence);
        };
        match &part.what {
            What::Selftest => Self::of_selftest(part, code, directory),
            What::Soak { .. } => Self::of_run(part, code, directory, Expected::Clean, blocks_min),
            What::Replay { expected, .. } => Self::of_run(part, code, directory, *expected, 0),
            // It ends where it was told to, or says that it did not.
            What::Attach { blocks } => {
                Self::of_run(part, code, directory, Expected::Clean, *blocks)
            }
        }
    }

    fn of_run(
        part: &Part,
        code: ExitCode,
        directory: &Path,
        expected: Expected,
        blocks_min: u64,
    ) -> Self {
        let (figures, case) = match (figures(directory), case(directory)) {
            (Ok(figures), Ok(case)) => (figures, case),
            (Err(what), _) | (_, Err(what)) => {
                let code = match code {
                    ExitCode::BadInput => code,
                    _ => ExitCode::Infrastructure,
                };
                let log = last_line(&directory.join(LOG));
                return Self::error(part, code, format!("{what}{log}"));
            }
        };
        let fits = match figures.verdict {
            Word::Clean => code == ExitCode::Clean,
            Word::Mismatch => code == ExitCode::Mismatch,
            Word::NotEnoughEvidence => code == ExitCode::NotEnoughEvidence,
            Word::Error => ![ExitCode::Clean, ExitCode::Mismatch].contains(&code),
        };
        if !fits || passes(&case) != (code == ExitCode::Clean) {
            let word = figures.verdict.as_str();
            let sentence = format!("its summary says {word}, and its exit code is {}", code as u8);
            return Self::error(part, worst([code, ExitCode::Infrastructure]), sentence);
        }
        let (code, headline) = match (figures.verdict, expected) {
            (Word::Clean, Expected::NodeDiffers { .. }) => {
                let sentence = format!(
                    "nothing differs, but {}",
                    expected.unmet(&figures).unwrap_or_default()
                );
                (ExitCode::Mismatch, Headline { word: Word::Mismatch, sentence })
            }
            (Word::Clean, Expected::Clean) if figures.blocks.total < blocks_min => {
                let sentence = format!(
                    "only {} of at least {blocks_min} blocks were verified in the time that there was",
                    figures.blocks.total
                );
                let word = Word::NotEnoughEvidence;
                (ExitCode::NotEnoughEvidence, Headline { word, sentence })
            }
            (Word::Mismatch, Expected::NodeDiffers { .. }) => match expected.unmet(&figures) {
                Some(unmet) => {
                    let sentence = format!("{}; {unmet}", Headline::of(&figures, &[]).sentence);
                    (ExitCode::Mismatch, Headline { word: Word::Mismatch, sentence })
                }
                None => {
                    let first = figures.mismatches.first.as_ref();
                    let first = first.map(what_and_where).unwrap_or_default();
                    let sentence = format!("differs as expected, and nowhere else: {first}");
                    (ExitCode::Clean, Headline { word: Word::Clean, sentence })
                }
            },
            _ => {
                // What is missing is told by the case alone.
                let told = match &case.status {
                    TestCaseStatus::NonSuccess { message, .. } => message.clone(),
                    _ => None,
                };
                let own = Headline::of(&figures, &[]);
                let sentence = told.map_or(own.sentence, |told| told.as_str().to_owned());
                (code, Headline { word: figures.verdict, sentence })
            }
        };
        let mut outcome =
            Self { case, ..Self::of(part, code, headline, Some(figures)) }.named(part);
        outcome.case.status = junit::status(&outcome.headline);
        outcome
    }

    /// A self-test answers with a list of what was caught, and its log says what is wrong with it.
    fn of_selftest(part: &Part, code: ExitCode, directory: &Path) -> Self {
        let path = directory.join(OUTPUT);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let mutants = answer["mutants"].as_array().map_or(&[][..], Vec::as_slice);
        let caught = mutants.iter().filter(|mutant| is_found(mutant)).count();
        let all = mutants.len();
        let (code, word) = match code {
            ExitCode::Clean if all == 0 || caught < all => (ExitCode::Infrastructure, Word::Error),
            ExitCode::Clean => (code, Word::Clean),
            ExitCode::Mismatch => (code, Word::Mismatch),
            _ => (code, Word::Error),
        };
        let log = if word == Word::Clean { String::new() } else { last_line(&directory.join(LOG)) };
        let faults = counted(all as u64, "planted fault");
        let sentence = format!("{faults}, {caught} of them found where they are{log}");
        Self::of(part, code, Headline { word, sentence }, None)
    }
}

/// Whether a planted fault was found as what it is, where it is, and every time.
fn is_found(mutant: &Value) -> bool {
    ["caught", "field_is_right", "first_is_right"].iter().all(|name| mutant[name] == true)
        && mutant["overlooked"] == 0
}

/// Whether a case is a success.
pub(super) const fn passes(case: &TestCase) -> bool {
    matches!(case.status, TestCaseStatus::Success { .. })
}

/// The worst of some exit codes: 4, then 2, then 1, then 3.
pub(super) fn worst(codes: impl IntoIterator<Item = ExitCode>) -> ExitCode {
    let rank = |code: &ExitCode| match code {
        ExitCode::Clean => 0,
        ExitCode::NotEnoughEvidence => 1,
        ExitCode::Mismatch => 2,
        ExitCode::BadInput => 3,
        ExitCode::Infrastructure => 4,
    };
    codes.into_iter().max_by_key(rank).unwrap_or(ExitCode::Clean)
}

const fn code_of(code: i32) -> Option<ExitCode> {
    match code {
        0 => Some(ExitCode::Clean),
        1 => Some(ExitCode::Mismatch),
        2 => Some(ExitCode::BadInput),
        3 => Some(ExitCode::NotEnoughEvidence),
        4 => Some(ExitCode::Infrastructure),
        _ => None,
    }
}

fn figures(directory: &Path) -> Result<Figures, String> {
    let text = fs::read_to_string(directory.join(SUMMARY))
        .map_err(|error| format!("it left no summary: {error}"))?;
    serde_json::from_str(&text).map_err(|error| format!("its summary cannot be read: {error}"))
}

/// The one case that a run leaves behind.
fn case(directory: &Path) -> Result<TestCase, String> {
    let text = fs::read_to_string(directory.join(JUNIT))
        .map_err(|error| format!("it left no cases: {error}"))?;
    let report = Report::deserialize_from_str(&text)
        .map_err(|error| format!("its cases cannot be read: {error}"))?;
    let mut cases = report.test_suites.into_iter().flat_map(|suite| suite.test_cases);
    match (cases.next(), cases.next()) {
        (Some(case), None) => Ok(case),
        _ => Err("it left another number of cases than one".to_owned()),
    }
}

/// What was written last, as the end of a sentence.
fn last_line(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map_or(String::new(), |line| {
        let line = one_line(line.strip_prefix("error: ").unwrap_or(line));
        let end =
            line.char_indices().nth(LAST_LINE_CHARACTERS_MAX).map_or(line.len(), |(end, _)| end);
        format!("; it said last: {}", &line[..end])
    })
}

/// How much of a line of a log is shown.
const LAST_LINE_CHARACTERS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_code_counts() {
        #[track_caller]
        fn check(codes: &[ExitCode], expected: ExitCode) {
            assert_eq!(worst(codes.iter().copied()), expected);
        }
        use ExitCode::{BadInput, Clean, Infrastructure, Mismatch, NotEnoughEvidence};
        check(&[], Clean);
        check(&[Clean, NotEnoughEvidence, Clean], NotEnoughEvidence);
        check(&[Mismatch, NotEnoughEvidence], Mismatch);
        check(&[Mismatch, BadInput, NotEnoughEvidence], BadInput);
        check(&[Infrastructure, BadInput], Infrastructure);
    }

    fn part() -> Part {
        Part {
            suite: "soak",
            case: "a case".to_owned(),
            directory: "a".to_owned(),
            what: What::Soak { profile: crate::source::Profile::Everything, seed: 1 },
        }
    }

    /// However a process ends, it is not a success without all its files.
    #[track_caller]
    fn check(ended: Ended, files: &[(&str, &str)], code: ExitCode, said: &str) {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let outcome = Outcome::read(&part(), ended, directory.path(), 1);
        assert_eq!(outcome.code, code, "{outcome:?}");
        assert!(!passes(&outcome.case), "{outcome:?}");
        assert!(outcome.headline.sentence.contains(said), "{outcome:?}");
        assert_eq!(outcome.case.name.as_str(), "a case");
    }

    #[test]
    fn a_part_that_leaves_too_little_behind_is_a_failure() {
        let log = [("log.txt", "first\nthread panicked\n\n")];
        check(
            Ended::Signal(9),
            &log,
            ExitCode::Infrastructure,
            "signal 9; it said last: thread panicked",
        );
        check(Ended::TimedOut, &[], ExitCode::Infrastructure, "in time");
        check(Ended::Code(101), &[], ExitCode::Infrastructure, "exit code 101");
        check(Ended::Code(0), &[], ExitCode::Infrastructure, "no summary");
        check(Ended::Code(2), &log, ExitCode::BadInput, "no summary");
        check(
            Ended::Code(0),
            &[("summary.json", "{}")],
            ExitCode::Infrastructure,
            "cannot be read",
        );
    }

    #[test]
    fn a_selftest_that_planted_nothing_or_did_not_find_it_as_what_it_is_is_a_failure() {
        #[track_caller]
        fn check(code: i32, output: &str, expected: ExitCode, is_success: bool) {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(OUTPUT), output).unwrap();
            let part = Part { what: What::Selftest, ..part() };
            let outcome = Outcome::read(&part, Ended::Code(code), directory.path(), 1);
            assert_eq!((outcome.code, passes(&outcome.case)), (expected, is_success));
        }
        let mutant = |altered: &str, to: &str| {
            let found =
                r#"{"caught":true,"field_is_right":true,"first_is_right":true,"overlooked":0}"#;
            let other = found.replace(altered, to);
            format!(r#"{{"mutants":[{found},{other}]}}"#)
        };
        check(0, &mutant("", ""), ExitCode::Clean, true);
        for (altered, to) in [
            ("\"caught\":true", "\"caught\":false"),
            ("\"field_is_right\":true", "\"field_is_right\":false"),
            ("\"first_is_right\":true", "\"first_is_right\":false"),
            ("\"overlooked\":0", "\"overlooked\":1"),
        ] {
            check(0, &mutant(altered, to), ExitCode::Infrastructure, false);
            check(1, &mutant(altered, to), ExitCode::Mismatch, false);
        }
        check(0, r#"{"mutants":[]}"#, ExitCode::Infrastructure, false);
        check(0, "", ExitCode::Infrastructure, false);
    }
}
