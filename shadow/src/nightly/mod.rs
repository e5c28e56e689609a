//! The nightly soak: every profile, the self-test, the recordings, and a stand-in node that fails now and
//! then; each in a process of its own, all in one report.
//!
//! The list of parts is made before the first of them runs, and everything on it is a failure until it has
//! passed. So a part that crashes, hangs or never runs is in the report, and a night that is killed leaves
//! a report in which the rest has failed.

mod child;
mod command;
mod outcome;
mod page;
mod part;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use quick_junit::TestSuite;
use serde_json::{Value, json};
use storage_snapshot::{Store, StoreOptions};

pub(crate) use self::command::NightlyArguments;
use self::{
    child::{Ended, Server},
    outcome::{Outcome, passes},
    page::{Page, exit_code, headline},
    part::{Part, STATE, What, parts},
};
use crate::{
    cli::{complain, say},
    exit_code::ExitCode,
    progress::note,
    run::Signals,
    run_report::{
        Findings, Lags,
        confidence::Confidence,
        files::{JUNIT, REPORT, ReportError, ReportFiles, SUMMARY},
        junit,
        speed_up::SpeedUps,
    },
};

/// Runs a night, and prints the first line of its report.
pub(crate) fn run(arguments: NightlyArguments) -> ExitCode {
    let out = arguments.out();
    if let Some(other) = seed_in(&out).filter(|seed| *seed != arguments.seed) {
        complain(&format!(
            "--out: {} holds the night of seed {other}; give another directory, or remove it",
            out.display()
        ));
        return ExitCode::BadInput;
    }
    match Night::begin(arguments).and_then(|mut night| night.run().map(|()| night)) {
        Ok(night) => {
            let headline = headline(&night.parts);
            say(&format!("{}: {}\n", headline.word.as_str(), headline.sentence));
            note(&format!("the report is {}", night.files.directory().join(REPORT).display()));
            exit_code(&night.parts)
        }
        Err(error) => {
            complain(&format!("--out: {error}"));
            ExitCode::Infrastructure
        }
    }
}

/// The seed of the night that left its report in a directory, if one did.
fn seed_in(directory: &Path) -> Option<u64> {
    let text = fs::read_to_string(directory.join(SUMMARY)).ok()?;
    let summary: Value = serde_json::from_str(&text).ok()?;
    summary["parts"].as_array().and(summary["seed"].as_u64())
}

/// A night, as far as it is.
#[derive(Debug)]
struct Night {
    arguments: NightlyArguments,
    files: ReportFiles,
    parts: Vec<(Part, Outcome)>,
    /// Over all generated chains.
    confidence: Confidence,
    speed_ups: SpeedUps,
    begun: Instant,
    stop: Arc<AtomicBool>,
}

impl Night {
    fn begin(arguments: NightlyArguments) -> Result<Self, ReportError> {
        let begun = Instant::now();
        let files = ReportFiles::take(&arguments.out())?;
        let directory = files.directory().join(PARTS);
        // What an earlier run of this night left there has nothing to do with this one.
        let removed = fs::remove_dir_all(&directory);
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(ReportError::Directory { path: directory, error });
        }
        let parts = parts(&arguments);
        let parts = parts.into_iter().map(|part| {
            let outcome = Outcome::none(&part, NOT_RUN);
            (part, outcome)
        });
        let night = Self {
            files,
            parts: parts.collect(),
            confidence: Confidence::default(),
            speed_ups: SpeedUps::default(),
            begun,
            stop: stop_on_signal(),
            arguments,
        };
        note(&format!(
            "seed {}; the same again: {}",
            night.arguments.seed,
            night.arguments.repeat()
        ));
        night.write()?;
        Ok(night)
    }

    /// What takes as long as it takes runs first; what it leaves of the time is for the generated chains.
    fn run(&mut self) -> Result<(), ReportError> {
        let is_soak = |(part, _): &(Part, Outcome)| matches!(part.what, What::Soak { .. });
        let (soaks, others): (Vec<_>, Vec<_>) =
            (0..self.parts.len()).partition(|place| self.parts.get(*place).is_some_and(is_soak));
        let mut left = soaks.len();
        for place in others.into_iter().chain(soaks) {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let Some((part, _)) = self.parts.get(place).cloned() else { continue };
            let share = match part.what {
                What::Soak { .. } => {
                    let share = self.share(left);
                    left = left.saturating_sub(1);
                    share
                }
                _ => None,
            };
            let begun = Instant::now();
            let outcome = self.run_part(&part, share).after(begun.elapsed());
            note(&format!(
                "{}, {}: {}: {} ({:.1} seconds)",
                part.suite,
                part.case,
                outcome.headline.word.as_str().to_lowercase(),
                outcome.headline.sentence,
                outcome.seconds
            ));
            if let Some((_, before)) = self.parts.get_mut(place) {
                *before = outcome;
            }
            self.write()?;
        }
        Ok(())
    }

    /// How long one of the generated chains that are left may go on, if there is a limit.
    fn share(&self, left: usize) -> Option<Duration> {
        let time = self.arguments.length?.0.saturating_sub(self.begun.elapsed());
        let left = u32::try_from(left).unwrap_or(u32::MAX).max(1);
        Some((time / left).max(SHARE_MIN))
    }

    fn run_part(&mut self, part: &Part, share: Option<Duration>) -> Outcome {
        let directory = self.files.directory().join(PARTS).join(&part.directory);
        let ended = match self.start(part, share, &directory) {
            Ok(ended) => ended,
            Err(error) => {
                let sentence = format!("it could not be run: {error}");
                return Outcome::error(part, ExitCode::Infrastructure, sentence);
            }
        };
        let outcome = Outcome::read(part, ended, &directory, self.arguments.blocks);
        let state = directory.join(STATE);
        if matches!(part.what, What::Soak { .. }) {
            self.add(&state);
        }
        let found = outcome.figures.as_ref().is_some_and(|figures| figures.mismatches.total > 0);
        if passes(&outcome.case) && !found && state.is_dir() {
            // Of no use any more, and large. One that stays does no harm.
            let _ = fs::remove_dir_all(&state);
        }
        outcome
    }

    fn start(
        &self,
        part: &Part,
        share: Option<Duration>,
        directory: &Path,
    ) -> std::io::Result<Ended> {
        fs::create_dir_all(directory)?;
        let mut words = part.arguments(&self.arguments, directory);
        let mut limit = PART_MAX;
        match (&part.what, share) {
            (What::Soak { .. }, Some(share)) => {
                words.extend(["--for".to_owned(), format!("{}s", share.as_secs_f64())]);
                limit = share + PART_MAX;
            }
            (What::Soak { .. }, None) => {
                words.extend(["--blocks".to_owned(), self.arguments.blocks.to_string()]);
            }
            _ => {}
        }
        let served = part.stand_in_node(&self.arguments);
        let node = served.map(|words| Server::start(&words, directory)).transpose()?;
        if let Some(node) = &node {
            words.extend(["--node".to_owned(), node.address.clone()]);
        }
        child::run(&words, directory, limit, &self.stop)
    }

    /// Adds what a part exercised. What cannot be read is not added, so that it is claimed by nobody.
    fn add(&mut self, state: &Path) {
        if !state.join("lock").is_file() {
            return;
        }
        let Ok(store) = Store::open(state, StoreOptions::default()) else { return };
        let findings = Findings::of(&store, state, Lags::default());
        self.confidence.add_all(findings.confidence);
        self.speed_ups.add_all(findings.speed_ups);
    }

    /// Writes the report as it is now.
    fn write(&self) -> Result<(), ReportError> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let repeat = self.arguments.repeat();
        let page = Page {
            parts: &self.parts,
            seed: self.arguments.seed,
            repeat: &repeat,
            confidence: &self.confidence,
            speed_ups: &self.speed_ups,
            seconds,
        };
        self.files.write(REPORT, &page.to_markdown())?;
        self.files.write(JUNIT, &junit::file(self.suites()).map_err(ReportError::Junit)?)?;
        let headline = headline(&self.parts);
        let parts = self.parts.iter().map(|(part, outcome)| {
            json!({
                "suite": part.suite,
                "case": part.case,
                "directory": PathBuf::from(PARTS).join(&part.directory),
                "verdict": outcome.headline.word.as_str().to_lowercase().replace(' ', "_"),
                "sentence": outcome.headline.sentence,
                "exit_code": outcome.code as u8,
                "seconds": outcome.seconds,
            })
        });
        let summary = json!({
            "format_version": FORMAT_VERSION,
            "verdict": headline.word.as_str().to_lowercase().replace(' ', "_"),
            "sentence": headline.sentence,
            "exit_code": exit_code(&self.parts) as u8,
            "seed": self.arguments.seed,
            "repeat": repeat,
            "seconds": seconds,
            "parts": parts.collect::<Vec<_>>(),
        });
        self.files.write(SUMMARY, &format!("{summary}\n"))
    }

    /// A suite for each kind of part, in the order of the parts.
    fn suites(&self) -> Vec<TestSuite> {
        let mut suites: Vec<TestSuite> = Vec::new();
        for (part, outcome) in &self.parts {
            let name = format!("shadow {}", part.suite);
            let place = suites.iter().position(|suite| suite.name.as_str() == name);
            let place = place.unwrap_or_else(|| {
                suites.push(TestSuite::new(name));
                suites.len() - 1
            });
            if let Some(suite) = suites.get_mut(place) {
                suite.add_test_case(outcome.case.clone());
            }
        }
        suites
    }
}

/// A flag that is set when somebody asks the night to stop; the part in hand is asked to, and the others do
/// not run. Asked twice, the process ends at once.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let listen = move || -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            signals.next().await;
            note("stopping the part in hand; once more ends at once");
            asked.store(true, Ordering::Relaxed);
            signals.next().await;
            std::process::exit(i32::from(ExitCode::Infrastructure as u8));
        })
    };
    let listening = move || {
        if let Err(error) = listen() {
            tracing::warn!(%error, "signals cannot be waited for; the process will end at once on one");
        }
    };
    if let Err(error) = thread::Builder::new().name("shadow-signals".to_owned()).spawn(listening) {
        tracing::warn!(%error, "signals cannot be waited for; the process will end at once on one");
    }
    stop
}

/// The version of the summary object of a night.
const FORMAT_VERSION: u64 = 1;

/// Where the parts are, seen from the directory of the night.
const PARTS: &str = "parts";

/// What is said of a part that has not run.
const NOT_RUN: &str = "it has not run";

/// The least time for a generated chain: with less there is nothing to see, and then it is told so.
const SHARE_MIN: Duration = Duration::from_secs(1);

/// How long a part may take beyond the time that it was given.
const PART_MAX: Duration = Duration::from_secs(3600);
