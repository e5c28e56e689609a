//! The commands about mismatches that were found: run again, listed, shown, accepted.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use comparator::{ExplainLimits, MismatchRecord, explain};

use super::{
    minimize::labelled,
    output::{complain, refuse, say},
    state::{open, unreadable},
    values::budget,
};
use crate::{
    accept::{Acceptance, Acceptances},
    candidate_spec::CandidateSpec,
    config::TYPED,
    diagnosis::Diagnosis,
    evidence::Evidence,
    exit_code::ExitCode,
    fingerprint::FingerprintId,
    mismatches::Problems,
    repro::{Repro, ReproOptions},
    triage::Triage,
};

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// A directory with evidence; or a file of mismatch records, one JSON object a line, such as
    /// `mismatches.jsonl` of a state directory.
    path: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReproArguments {
    /// The directory with the evidence.
    directory: PathBuf,

    /// Who is run instead of the candidate of the evidence. A program has to be given: what a directory
    /// names is not started.
    #[arg(long, help_heading = TYPED)]
    candidate: Option<CandidateSpec>,

    /// How often it is run.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    times: u32,

    /// Under how many workers, instead of those of the evidence.
    #[arg(long, help_heading = TYPED, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,

    /// Under which seed, instead of that of the evidence.
    #[arg(long, help_heading = TYPED)]
    seed: Option<u64>,

    /// How long one run may take before it counts as hanging.
    #[arg(long, help_heading = TYPED, default_value_t = 10.0, value_parser = budget)]
    budget_seconds: f64,

    /// How much memory an outside program may have, in mebibytes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    candidate_memory_mib: Option<u64>,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct MismatchesArguments {
    /// Where the runs kept their state and verdicts. No run may be using it.
    #[arg(long, env = "SHADOW_STATE_DIR")]
    state_dir: PathBuf,

    /// Print the list as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct AcceptArguments {
    /// The fingerprint of the problem, as `shadow mismatches` lists it.
    fingerprint: FingerprintId,

    /// Where it was found. No run may be using it.
    #[arg(long, env = "SHADOW_STATE_DIR")]
    state_dir: PathBuf,

    /// Why it is expected.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,

    /// Accept it of every build until one whose name holds this text, such as `1.3.0`. Without it, only of
    /// the build that differed last.
    #[arg(long, value_name = "BUILD", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    until_build: Option<String>,
}

pub(super) fn repro(arguments: &ReproArguments) -> ExitCode {
    let options = ReproOptions {
        candidate: arguments.candidate.clone(),
        times: arguments.times,
        workers: arguments.workers,
        seed: arguments.seed,
        budget: Duration::from_secs_f64(arguments.budget_seconds),
        memory_bytes: arguments.candidate_memory_mib.map(|mebibytes| mebibytes << 20),
    };
    let repro = match Repro::of(&arguments.directory, &options) {
        Ok(repro) => repro,
        Err(error) => {
            complain(&error.to_string());
            return error.exit_code();
        }
    };
    if arguments.json {
        match serde_json::to_string(&repro) {
            Ok(json) => say(&format!("{json}\n")),
            Err(error) => return refuse(&format!("the result has no JSON form: {error}")),
        }
    } else {
        say(&repro.to_string());
    }
    repro.exit_code()
}

pub(super) fn mismatches(arguments: &MismatchesArguments) -> ExitCode {
    let problems = match problems(&arguments.state_dir) {
        Ok((problems, _)) => problems,
        Err((code, message)) => {
            complain(&message);
            return code;
        }
    };
    if arguments.json {
        match serde_json::to_string(&problems) {
            Ok(json) => say(&format!("{json}\n")),
            Err(error) => return refuse(&format!("the list has no JSON form: {error}")),
        }
    } else {
        say(&problems.to_string());
    }
    ExitCode::Clean
}

pub(super) fn accept(arguments: AcceptArguments) -> ExitCode {
    let AcceptArguments { fingerprint, state_dir, reason, until_build } = arguments;
    let (problems, mut acceptances) = match problems(&state_dir) {
        Ok(found) => found,
        Err((code, message)) => {
            complain(&message);
            return code;
        }
    };
    let Some(problem) = problems.of(fingerprint) else {
        return refuse(&format!(
            "{fingerprint} was not found in {}: `shadow mismatches` lists what was",
            state_dir.display()
        ));
    };
    // A problem that was found has a build that it was found in.
    let build = problem.builds.last().cloned().unwrap_or_default();
    if until_build.as_ref().is_some_and(|until| build.contains(until.as_str())) {
        return refuse(&format!("the build that differs is {build:?} already: accept a later one"));
    }
    let accepted = Acceptance {
        fingerprint,
        candidate: problem.fingerprint.candidate.clone(),
        build,
        fields: problem.fields.clone(),
        reason,
        until_build,
    };
    let scope = match &accepted.until_build {
        Some(until) => format!("until its build is {until:?}"),
        None => format!("of build {:?}", accepted.build),
    };
    let text = format!("accepted {fingerprint} of candidate {}, {scope}\n", accepted.candidate);
    match acceptances.accept(&state_dir, accepted) {
        Ok(()) => {
            say(&text);
            ExitCode::Clean
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::Infrastructure
        }
    }
}

/// Shows evidence: what differs, account by account, and what is known about it.
pub(super) fn explain_path(Explain { path }: &Explain) -> ExitCode {
    if path.is_dir() {
        return explain_directory(path);
    }
    match explain_file(path) {
        Ok(()) => ExitCode::Clean,
        Err(message) => refuse(&message),
    }
}

/// Shows every record of a file; one that cannot be read does not keep the others from being shown.
fn explain_file(path: &Path) -> Result<(), String> {
    let place = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| place(&error))?;
    let mut unreadable = None;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| place(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        match MismatchRecord::from_json(&line) {
            Ok(record) => say(&format!("{}\n", explain(&record, &ExplainLimits::default()))),
            Err(error) => {
                let message = format!("{}, line {number}: {error}", path.display());
                unreadable.get_or_insert(message);
            }
        }
    }
    unreadable.map_or(Ok(()), Err)
}

fn explain_directory(directory: &Path) -> ExitCode {
    let evidence = match Evidence::read(directory) {
        Ok(evidence) => evidence,
        Err(error) => return refuse(&error.to_string()),
    };
    let triage = match Triage::read(directory) {
        Ok(Some(triage)) => triage.sentence(),
        Ok(None) => "none yet".to_owned(),
        Err(error) => format!("cannot be read: {error}"),
    };
    let cause: String = labelled(Diagnosis::of_evidence(&evidence).as_ref())
        .map(|(label, sentence)| format!("{label:<13}{sentence}\n"))
        .collect();
    say(&format!(
        "{}\n{cause}fingerprint  {}: {}\ntriage       {}\nrun again    {}  (in the directory)\n",
        explain(&evidence.record, &ExplainLimits::default()),
        evidence.fingerprint.id(),
        evidence.fingerprint,
        triage.escape_debug(),
        evidence.repro_command(),
    ));
    ExitCode::Clean
}

type Refused = (ExitCode, String);

fn problems(state_dir: &Path) -> Result<(Problems, Acceptances), Refused> {
    let store = open(state_dir)?;
    let acceptances =
        Acceptances::read(state_dir).map_err(|error| (ExitCode::BadInput, error.to_string()))?;
    let problems = Problems::read(&store, state_dir, &acceptances).map_err(unreadable)?;
    Ok((problems, acceptances))
}
