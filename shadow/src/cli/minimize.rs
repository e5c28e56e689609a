//! The command that makes evidence smaller.

use std::{path::PathBuf, sync::atomic::AtomicBool, time::Duration};

use clap::Args;
use comparator::Field;
use serde_json::json;

use super::{
    output::{complain, say},
    values::budget,
};
use crate::{
    candidate_spec::CandidateSpec,
    config::TYPED,
    diagnosis::Diagnosis,
    evidence::{Evidence, EvidenceError},
    exit_code::ExitCode,
    minimize::{DirectoryError, MinimizeError, Options, Written, minimize_directory},
    repro::{ReproOptions, executor},
    run::stop_on_signal,
};

#[derive(Debug, Args)]
pub(super) struct MinimizeArguments {
    /// The directory with the evidence.
    directory: PathBuf,

    /// After how long the smallest block so far is the answer. It is also the answer when the program is
    /// told to stop.
    #[arg(long, default_value_t = Options::BUDGET.as_secs_f64(), value_parser = budget)]
    seconds: f64,

    /// Who is run instead of the candidate of the evidence. A program has to be given: what a directory
    /// names is not started.
    #[arg(long, help_heading = TYPED)]
    candidate: Option<CandidateSpec>,

    /// What other schedules are drawn from, for a difference that does not show in every run.
    #[arg(long, help_heading = TYPED, default_value_t = 1)]
    seed: u64,

    /// How long one run may take before it counts as hanging; by default 10 seconds, but for a candidate
    /// that hangs a twentieth of the time that there is.
    #[arg(long, help_heading = TYPED, value_parser = budget)]
    budget_seconds: Option<f64>,

    /// How much memory an outside program may have, in mebibytes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    candidate_memory_mib: Option<u64>,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn minimize(arguments: &MinimizeArguments) -> ExitCode {
    match written(arguments) {
        Ok(written) if arguments.json => {
            say(&format!("{}\n", as_json(&written)));
            ExitCode::Clean
        }
        Ok(written) => {
            say(&as_text(&written));
            ExitCode::Clean
        }
        Err((code, message)) => {
            complain(&message);
            code
        }
    }
}

fn written(arguments: &MinimizeArguments) -> Result<Written, (ExitCode, String)> {
    let failed = |error: DirectoryError| (code_of(&error), error.to_string());
    let evidence = Evidence::read(&arguments.directory)
        .map_err(|error| failed(DirectoryError::Evidence(error)))?;
    let run_seconds =
        arguments.budget_seconds.unwrap_or_else(|| match evidence.fingerprint.field {
            Field::Hang => (arguments.seconds / 20.0).max(0.5),
            _ => 10.0,
        });
    let options = ReproOptions {
        candidate: arguments.candidate.clone(),
        times: 1,
        workers: None,
        seed: None,
        budget: Duration::from_secs_f64(run_seconds),
        memory_bytes: arguments.candidate_memory_mib.map(|mebibytes| mebibytes << 20),
    };
    let candidate =
        executor(&evidence, &options).map_err(|error| (error.exit_code(), error.to_string()))?;
    let stop = stop_on_signal("stopping with the smallest block so far; once more ends at once");
    let stop: &AtomicBool = &stop;
    let budget = Duration::from_secs_f64(arguments.seconds);
    let options = Options { budget, seed: arguments.seed, stop };
    minimize_directory(&arguments.directory, &*candidate, options).map_err(failed)
}

fn as_text(written: &Written) -> String {
    let Written { path, minimized, evidence, problem, diagnosis, transactions } = written;
    let mut text = format!(
        "{} of {transactions} transactions left after {:.1} s: {}\n\n\
         made of      a case of problem {problem}\n\
         fingerprint  {}: {}\n\
         shows        in {}, under {}\n",
        evidence.block.transactions.len(),
        minimized.elapsed.as_secs_f64(),
        path.display(),
        evidence.fingerprint.id(),
        evidence.fingerprint,
        minimized.shown,
        minimized.case.schedule,
    );
    for (label, sentence) in labelled(diagnosis.as_ref()) {
        text.push_str(&format!("{label:<13}{sentence}\n"));
    }
    if !minimized.is_complete {
        text.push_str("\nNot everything was tried; --seconds gives it more time.\n");
    }
    text
}

/// The sentences of a diagnosis, the first of them with a label.
pub(super) fn labelled(
    diagnosis: Option<&Diagnosis>,
) -> impl Iterator<Item = (&'static str, String)> {
    let mut sentences = diagnosis.map(Diagnosis::sentences).unwrap_or_default();
    if sentences.is_empty() {
        sentences.push("the numbers do not tell".to_owned());
    }
    std::iter::once("cause").chain(std::iter::repeat("")).zip(sentences)
}

fn as_json(written: &Written) -> String {
    let Written { path, minimized, evidence, problem, diagnosis, transactions } = written;
    let sentences = diagnosis.as_ref().map(Diagnosis::sentences).unwrap_or_default();
    json!({
        "directory": path.display().to_string(),
        "problem": problem.to_string(),
        "fingerprint": evidence.fingerprint.id().to_string(),
        "transactions": transactions,
        "minimized_transactions": evidence.block.transactions.len(),
        "complete": minimized.is_complete,
        "shown": minimized.shown.shown,
        "confirming_runs": minimized.shown.runs,
        "schedule": minimized.case.schedule,
        "candidate_runs": minimized.runs,
        "seconds": minimized.elapsed.as_secs_f64(),
        "diagnosed": !sentences.is_empty(),
        "diagnosis": sentences,
    })
    .to_string()
}

fn code_of(error: &DirectoryError) -> ExitCode {
    match error {
        DirectoryError::Io { .. } | DirectoryError::Evidence(EvidenceError::Io { .. }) => {
            ExitCode::Infrastructure
        }
        DirectoryError::Minimize(MinimizeError::NotShown { .. }) => ExitCode::NotEnoughEvidence,
        _ => ExitCode::BadInput,
    }
}
