//! The command line.
//!
//! What a person types becomes plain options here, and nothing below reads the environment. Standard
//! output carries the answer and nothing else; everything about the way there goes to standard error.

mod evidence;
mod minimize;

use std::{
    ffi::OsString,
    fs::File,
    io::{BufRead, BufReader, IsTerminal, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{
    ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use comparator::{ExplainLimits, MismatchRecord, explain};
use storage_snapshot::{Store, StoreOptions};
use tracing_subscriber::EnvFilter;

use crate::{
    accept::Acceptances,
    attach::{FollowArguments, NodeArguments, connect},
    bench,
    canary::CanaryRate,
    candidate_spec::CandidateSpec,
    config::{ConfigError, ConfigFile, Setting, effective, file_of, with_environment},
    devnet::{self, command::DevnetArguments},
    digest::{Comparison, compare_ledgers},
    doctor::doctor,
    exit_code::ExitCode,
    http::ListenAddress,
    ledger::LedgerError,
    metrics,
    nightly::{self, NightlyArguments},
    node::NodeCheck,
    pace::{Length, Pace},
    record_chain::{self, command::RecordArguments},
    report::Report,
    requirements::Requirements,
    run::{RunOptions, StateDirectory, code_of, code_of_store, run},
    run_report::{Findings, RunReport, about::About},
    source::{BlockSource, GeneratedChain, GeneratedOptions, Profile, Recording, RecordingError},
};

/// Tells whether a chain may switch from serial to parallel transaction execution: executes every
/// block both ways, compares, and keeps the evidence.
///
/// Exit codes: 0 clean, 1 something differs, 2 bad usage or bad input, 3 not enough evidence,
/// 4 infrastructure (disk, lock, network).
#[derive(Debug, Parser)]
#[command(name = "shadow", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// How log lines on standard error are written.
    #[arg(long, value_enum, default_value_t = LogFormat::Human, global = true, env = "SHADOW_LOG_FORMAT")]
    log_format: LogFormat,

    /// Which log lines are written, such as `info` or `shadow=debug`.
    #[arg(long, default_value = "warn", global = true, env = "SHADOW_LOG")]
    log: String,

    /// A TOML file of options, such as `state_dir = "/var/lib/shadow"`: each by its long name, with `_`
    /// for `-`. What is typed, or in the environment as `SHADOW_STATE_DIR`, wins over it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a recorded chain, block by block.
    Replay(Replay),
    /// Verify a chain that is generated from a seed, an in-process devnet.
    Soak(Soak),
    /// Verify the chain of a running node as it grows.
    Attach(Attach),
    /// Tell whether a node's chain can be verified: its version, its network, its rules.
    ///
    /// Exits with 0 if it can, with 2 if not, and with 4 if the node cannot be asked.
    Doctor(Doctor),
    /// Run everything that is to be run every night, and put it into one report: generated chains of every
    /// profile, the self-test, recordings, and a stand-in node that fails now and then.
    ///
    /// Exits with the worst code of its parts: 4, then 2, then 1, then 3.
    Nightly(NightlyArguments),
    /// Serve a generated or recorded chain as a node would, for tests and demonstrations.
    ///
    /// Prints its address on standard output and serves until it is asked to stop.
    Devnet(DevnetArguments),
    /// Keep what a running node answers about its chain, for `shadow replay`.
    Record(RecordArguments),
    /// Measure execution, verification and the store on this machine.
    Bench(Bench),
    /// Compare two state directories and name the first topoheight at which their states part.
    ///
    /// Exits with 0 if they are the same as far as both go, with 1 if they part, and with 3 if they
    /// have nothing in common.
    Digest(Digest),
    /// Show what the runs on a state directory compared, under which conditions, and what it is worth.
    ///
    /// Exits as those runs together would; with --require, with 0 only if everything required is met
    /// for every candidate and nothing differs, with 1 if something differs, and with 3 if something
    /// is missing.
    Report(ReportArguments),
    /// Tell about the metrics that a run serves at `/metrics` with --listen.
    Metrics(MetricsArguments),
    /// Show mismatches as differences for a person: the records in a file, or a directory with evidence.
    Explain(Explain),
    /// Show the options that are in effect, and where each is from: the file that `--config` names, the
    /// environment, or the default.
    ///
    /// Exits with 2 if a run could not be started with them.
    Config(ConfigArguments),
    /// Run evidence again, from its directory and nothing else.
    ///
    /// Exits with 1 if the candidate differs in any run, with 0 if it does in none, with 2 if the
    /// directory is not what was written, and with 3 if there is nobody to run: the candidate is a node,
    /// or a program that was not given.
    Repro(evidence::ReproArguments),
    /// Make evidence smaller: the smallest block that shows the same difference, in a directory beside it.
    ///
    /// Exits with 0 if there is one, with 2 if the directory is not what was written, and with 3 if the
    /// candidate does not show the difference, or there is nobody to run.
    Minimize(minimize::MinimizeArguments),
    /// List the problems of a state directory: its mismatches by fingerprint.
    ///
    /// Exits with 0 if it could be read.
    Mismatches(evidence::MismatchesArguments),
    /// Accept a problem: its mismatches are counted apart, until the candidate is another build.
    Accept(evidence::AcceptArguments),
    /// Plant faults in the engine and see whether the verifier finds them.
    ///
    /// Exits with 0 if every fault is caught by the right field at the right place, and nothing else
    /// is; with 1 otherwise.
    #[cfg(feature = "faults")]
    Selftest(Selftest),
}

#[derive(Debug, Args)]
struct Replay {
    /// The recording: a directory of gzip-compressed JSON lines with `blocks.jsonl.gz`.
    directory: PathBuf,

    /// Also compare everything that the node answered with the serial result.
    #[arg(long)]
    check_node: bool,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Attach {
    #[command(flatten)]
    node: NodeArguments,

    #[command(flatten)]
    follow: FollowArguments,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Doctor {
    #[command(flatten)]
    node: NodeArguments,

    /// Print what was found as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Soak {
    /// How many blocks to generate after the first one; 1000 unless --for says how long.
    #[arg(long, conflicts_with = "length")]
    blocks: Option<u64>,

    /// Go on for so long, such as 90s, 10m or 1.5h, however many blocks that is.
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Length>,

    /// Take at most so many blocks in a second.
    #[arg(long, value_name = "R", value_parser = blocks_per_second)]
    blocks_per_second: Option<f64>,

    /// What the chain dwells on.
    #[arg(long, default_value_t, value_parser = profile())]
    profile: Profile,

    /// What the chain is generated from. The same seed gives the same chain on every machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many transactions a usual block has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    transactions_per_block: u32,

    /// The share of plain transfers, from 0 to 1, that meet in one busy account of their block.
    #[arg(long, default_value_t = 0.2, value_parser = rate)]
    conflict_rate: f64,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Shared {
    /// Where state and verdicts are kept. A run on the same directory goes on where the last one
    /// stopped. Without it a temporary directory is used, and kept only if something differs.
    #[arg(long, env = "SHADOW_STATE_DIR")]
    state_dir: Option<PathBuf>,

    /// How many workers the parallel engine runs on; by default one per core, but at least 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,

    /// Who is put under test: `v3`, the engine that is built in; `external:COMMAND`, a program that
    /// speaks the candidate protocol; attached to one, `node`; or `fault:NAME`, the engine with a fault,
    /// to see what happens then. May be given several times.
    #[arg(long = "candidate", value_name = "CANDIDATE", default_value = "v3")]
    candidates: Vec<CandidateSpec>,

    /// How much memory an outside program may have, in mebibytes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    candidate_memory_mib: Option<u64>,

    /// How often each candidate runs each block: once as in earnest, and then under other numbers of
    /// workers, in another order within a batch, and with pauses.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    schedules: u32,

    /// Put a block to the candidates only if it has at least so many transactions, as a chain does that
    /// executes smaller ones serially (20 on the main network, 10 on the test network, 4 on a devnet).
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_txs_for_parallel: usize,

    /// Whether the built-in engine may be put under test; `false` leaves the other candidates.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    parallel_execution_enabled: bool,

    /// Whether blocks are executed in parallel only to be compared. Nothing else is done here, so it
    /// can only be `true`.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    parallel_execution_test_mode: bool,

    /// How long a candidate may take for one run of a block before it counts as hanging.
    #[arg(long, default_value_t = 10.0, value_parser = budget)]
    budget_seconds: f64,

    /// Alter one result in so many blocks on purpose, to see whether that is noticed; 0 for never.
    #[arg(long, default_value_t = 1000)]
    canary_every: u64,

    /// Answer over HTTP while it goes on: `/metrics`, `/livez`, `/readyz`, `/api/status`,
    /// `/api/mismatches` and `/api/ledger`. A port alone is one of the loopback interface; 0 is any that
    /// is free. Standard error tells the address.
    #[arg(long, value_name = "ADDRESS", env = "SHADOW_LISTEN")]
    listen: Option<ListenAddress>,
    /// Where the evidence of mismatches is kept; by default `evidence` in the state directory.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,

    /// Where to write a report: `report.md` for people, `junit.xml`, `summary.json`, the object of
    /// --json, and `chart.svg`. They say that the run has not ended until it has.
    #[arg(long, value_name = "DIR")]
    summary_dir: Option<PathBuf>,

    /// How often the first case of a problem is run again in the background, by the control, under its
    /// own schedule and under others, to see what kind of a problem it is; 0 for not at all.
    #[arg(long, value_name = "RUNS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(..=100_000))]
    triage: u32,

    /// Also minimise the first case of a problem in the background, into a directory beside it.
    #[arg(long)]
    minimize: bool,

    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MetricsArguments {
    /// Print what every metric means, as Markdown.
    #[arg(long, required = true)]
    describe: bool,
}

#[derive(Debug, Args)]
struct Bench {
    /// Leave out what takes long, for a result within two minutes.
    #[arg(long)]
    quick: bool,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,

    /// How many workers the parallel engine runs on; by default one per core, but at least 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,

    /// Also measure a store with so many accounts, such as 10000000. It is made in the temporary
    /// directory; ten million take some minutes and gigabytes there.
    #[arg(long, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    accounts: Option<u64>,
}

#[derive(Debug, Args)]
struct Digest {
    /// The one.
    #[arg(long)]
    state_dir: PathBuf,

    /// The other.
    #[arg(long)]
    against: PathBuf,
}

#[derive(Debug, Args)]
struct ReportArguments {
    /// Where the runs kept their state and verdicts. No run may be using it.
    #[arg(long, env = "SHADOW_STATE_DIR")]
    state_dir: PathBuf,

    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,

    /// What has to be met for each candidate as it is now, such as
    /// `exercised=1000,per-shape=200,per-kind=1000,workers=4`: blocks, transactions that take part in
    /// each shape, executed transactions of each kind, and under at least how many workers.
    /// `shape:multisig_signed=50` and `kind:burn=100` are for single ones.
    #[arg(long, value_name = "NAME=NUMBER,...")]
    require: Option<Requirements>,
}

#[derive(Debug, Args)]
struct Explain {
    /// A directory with evidence; or a file of mismatch records, one JSON object a line, such as
    /// `mismatches.jsonl` of a state directory.
    path: PathBuf,
}

#[derive(Debug, Args)]
struct ConfigArguments {
    /// Only check them.
    #[arg(long)]
    check: bool,

    /// The command that they are for.
    #[arg(value_name = "COMMAND", default_value = "attach")]
    of: String,
}

#[cfg(feature = "faults")]
#[derive(Debug, Args)]
struct Selftest {
    /// What the chain is generated from that the faults are planted in.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many blocks a fault may take to show.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    blocks: u64,

    /// Plant only the fault of this name. May be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,

    /// Also minimise the block in which each fault is caught, and diagnose what is left.
    #[arg(long)]
    diagnose: bool,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().collect();
    let (cli, settings) = match parse(arguments) {
        Ok(parsed) => parsed,
        Err(refusal) => return refusal.tell(),
    };
    if let Err(message) = start_logging(&cli) {
        return refuse(&message);
    }
    for Setting { name, value, from, .. } in &settings {
        tracing::info!(%name, %value, %from, "option");
    }
    match cli.command {
        Command::Replay(replay) => {
            let node = if replay.check_node { NodeCheck::Compare } else { NodeCheck::Ignore };
            let operand = replay.directory.display().to_string();
            let about = About::new("replay", operand.clone(), Some(operand), &settings);
            verify(replay.shared, about, node, Pace::default(), || {
                match Recording::open(&replay.directory) {
                    Ok(recording) => Ok(Box::new(recording)),
                    // Nothing is wrong with it; it only proves nothing.
                    Err(error @ RecordingError::Empty { .. }) => {
                        Err((ExitCode::NotEnoughEvidence, error.to_string()))
                    }
                    Err(error) => Err((ExitCode::BadInput, error.to_string())),
                }
            })
        }
        Command::Attach(Attach { node, follow, shared }) => {
            let check = match shared.candidates.contains(&CandidateSpec::Node) {
                true => NodeCheck::Compare,
                false => NodeCheck::Ignore,
            };
            let about = About::new("attach", node.node.clone(), None, &settings);
            verify(shared, about, check, Pace::default(), || {
                connect(&node.options(), follow.options(check))
            })
        }
        Command::Doctor(Doctor { node, json }) => match doctor(&node.options(), json) {
            (code, Ok(text)) => {
                say(&text);
                code
            }
            (code, Err(message)) => {
                complain(&message);
                code
            }
        },
        Command::Soak(soak) => {
            let options = GeneratedOptions {
                profile: soak.profile,
                seed: soak.seed,
                blocks: match soak.length {
                    Some(_) => ENDLESS_BLOCKS,
                    None => soak.blocks.unwrap_or(1000),
                },
                transactions_per_block: soak.transactions_per_block as usize,
                conflict_rate: soak.conflict_rate,
            };
            let pace = Pace {
                duration: soak.length.map(|length| length.0),
                blocks_per_second: soak.blocks_per_second,
            };
            let case = format!("profile {}, seed {}", soak.profile, soak.seed);
            let about = About::new("soak", case, None, &settings);
            verify(soak.shared, about, NodeCheck::Ignore, pace, || {
                Ok(Box::new(GeneratedChain::new(options)))
            })
        }
        Command::Nightly(arguments) => nightly::run(arguments),
        Command::Devnet(arguments) => devnet::command::run(arguments),
        Command::Record(arguments) => record_chain::command::run(arguments),
        Command::Bench(arguments) => measure(&arguments),
        Command::Digest(arguments) => digest(&arguments),
        Command::Report(arguments) => report(arguments),
        Command::Metrics(MetricsArguments { describe: _ }) => {
            say(&metrics::describe());
            ExitCode::Clean
        }
        Command::Explain(arguments) if arguments.path.is_dir() => {
            evidence::explain_directory(&arguments.path)
        }
        Command::Explain(arguments) => match explain_file(&arguments.path) {
            Ok(()) => ExitCode::Clean,
            Err(message) => refuse(&message),
        },
        Command::Config(arguments) => show_config(&arguments, cli.config),
        Command::Repro(arguments) => evidence::repro(&arguments),
        Command::Minimize(arguments) => minimize::minimize(&arguments),
        Command::Mismatches(arguments) => evidence::mismatches(&arguments),
        Command::Accept(arguments) => evidence::accept(arguments),
        #[cfg(feature = "faults")]
        Command::Selftest(arguments) => selftest(arguments),
    }
}

/// Why the arguments are not usable.
enum Refusal {
    Arguments(clap::Error),
    File(ConfigError),
}

impl Refusal {
    fn tell(self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                // Help and version are answers, not errors. A closed terminal is nobody's concern.
                let _ = error.print();
                if error.use_stderr() { ExitCode::BadInput } else { ExitCode::Clean }
            }
            Self::File(error) => refuse(&error.to_string()),
        }
    }
}

/// What was typed, over the environment, over the configuration file, over the defaults; and all options
/// of the command as they then are.
fn parse(arguments: Vec<OsString>) -> Result<(Cli, Vec<Setting>), Refusal> {
    let mut command = with_environment(Cli::command());
    let file = match file_of(&command, &arguments) {
        Some(path) => Some(ConfigFile::read(&path, &command).map_err(Refusal::File)?),
        None => None,
    };
    if let Some(file) = &file {
        command = file.apply(command);
    }
    let matches = command.clone().try_get_matches_from(arguments).map_err(Refusal::Arguments)?;
    let settings = effective(&command, &matches, file.as_ref());
    let cli = Cli::from_arg_matches(&matches).map_err(Refusal::Arguments)?;
    Ok((cli, settings))
}

fn show_config(arguments: &ConfigArguments, file: Option<PathBuf>) -> ExitCode {
    let mut typed: Vec<OsString> = vec!["shadow".into(), (&arguments.of).into()];
    if let Some(file) = file {
        typed.extend(["--config".into(), file.into()]);
    }
    let settings = match parse(typed) {
        Ok((_, settings)) => settings,
        Err(refusal) => return refusal.tell(),
    };
    if !arguments.check {
        let line =
            |Setting { name, value, from, .. }: &Setting| format!("{name} = {value}  ({from})\n");
        say(&settings.iter().map(line).collect::<String>());
    }
    ExitCode::Clean
}

/// Opens the source, verifies all of it, and prints what was found.
fn verify(
    shared: Shared,
    about: About,
    node: NodeCheck,
    pace: Pace,
    open: impl FnOnce() -> Result<Box<dyn BlockSource>, (ExitCode, String)>,
) -> ExitCode {
    if node == NodeCheck::Ignore && shared.candidates.contains(&CandidateSpec::Node) {
        return refuse(
            "candidate `node` has to be attached to; what a node answered for a recording is compared \
             with --check-node",
        );
    }
    if !shared.parallel_execution_test_mode {
        return refuse(
            "parallel_execution_test_mode is false, and verifying is all that is done here: start \
             nothing, or leave it out",
        );
    }
    let mut candidates = shared.candidates;
    if !shared.parallel_execution_enabled {
        candidates.retain(|candidate| *candidate != CandidateSpec::V3);
    }
    if candidates.is_empty() {
        return refuse(
            "parallel_execution_enabled is false, and no other candidate was given: nothing would be \
             put under test",
        );
    }
    let workers = shared.workers.unwrap_or_else(default_workers);
    let options = RunOptions {
        candidates,
        memory_bytes: shared.candidate_memory_mib.map(|mebibytes| mebibytes << 20),
        workers,
        schedules: shared.schedules,
        transactions_min: shared.min_txs_for_parallel,
        budget: Duration::from_secs_f64(shared.budget_seconds),
        canaries: CanaryRate::every(shared.canary_every),
        node,
        listen: shared.listen,
        pace,
        report: shared.report,
        triage_runs: shared.triage,
        minimize: shared.minimize,
    };
    let directory = match shared.state_dir {
        Some(path) => StateDirectory::Given(path),
        None => StateDirectory::Temporary,
    };
    let about = About { workers, ..about };
    // A report that cannot be written is not worth a run.
    let report = shared.summary_dir.map(|path| RunReport::begin(&path, about)).transpose();
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            complain(&format!("--summary-dir: {error}"));
            return ExitCode::Infrastructure;
        }
    };
    let mut findings = Findings::default();
    let wanted = report.is_some().then_some(&mut findings);
    let (summary, mut code) = run(&options, directory, wanted, open);
    if let Some(report) = report
        && let Err(error) = report.end(&summary, &findings)
    {
        complain(&format!("--summary-dir: {error}"));
        code = ExitCode::Infrastructure;
    }
    if shared.json {
        match summary.to_json() {
            Ok(json) => say(&format!("{json}\n")),
            Err(error) => return refuse(&format!("the summary has no JSON form: {error}")),
        }
    } else {
        say(&summary.to_text());
    }
    code
}

fn measure(arguments: &Bench) -> ExitCode {
    let length = if arguments.quick { bench::Length::Quick } else { bench::Length::Full };
    let workers = arguments.workers.unwrap_or_else(default_workers);
    let report = match bench::run(length, workers, arguments.accounts) {
        Ok(report) => report,
        Err(error) => {
            complain(&error.to_string());
            return code_of(&error);
        }
    };
    if !arguments.json {
        say(&report.to_string());
        return ExitCode::Clean;
    }
    match serde_json::to_string(&report) {
        Ok(json) => {
            say(&format!("{json}\n"));
            ExitCode::Clean
        }
        Err(error) => refuse(&format!("the result has no JSON form: {error}")),
    }
}

fn digest(arguments: &Digest) -> ExitCode {
    let compared = open(&arguments.state_dir).and_then(|one| {
        let other = open(&arguments.against)?;
        compare_ledgers(&one, &other).map_err(unreadable)
    });
    match compared {
        Ok(comparison) => {
            say(&format!("{comparison}\n"));
            match comparison {
                Comparison::Same { .. } => ExitCode::Clean,
                Comparison::Part { .. } => ExitCode::Mismatch,
                Comparison::NothingInCommon => ExitCode::NotEnoughEvidence,
            }
        }
        Err((code, message)) => {
            complain(&message);
            code
        }
    }
}

fn report(arguments: ReportArguments) -> ExitCode {
    let report = open(&arguments.state_dir).and_then(|store| {
        let acceptances = Acceptances::read(&arguments.state_dir)
            .map_err(|error| (ExitCode::BadInput, error.to_string()))?;
        Report::read_accepting(&store, arguments.require, &acceptances).map_err(unreadable)
    });
    let report = match report {
        Ok(report) => report,
        Err((code, message)) => {
            complain(&message);
            return code;
        }
    };
    if arguments.json {
        match report.to_json() {
            Ok(json) => say(&format!("{json}\n")),
            Err(error) => return refuse(&format!("the report has no JSON form: {error}")),
        }
    } else {
        say(&report.to_text());
    }
    report.exit_code()
}

/// The store of a state directory that is there.
fn open(directory: &Path) -> Result<Store, (ExitCode, String)> {
    // Opening makes a directory that is not there, which a mistyped name does not deserve.
    if !directory.join("lock").is_file() {
        return Err((ExitCode::BadInput, format!("{}: no state directory", directory.display())));
    }
    Store::open(directory, StoreOptions::default())
        .map_err(|error| (code_of_store(&error), error.to_string()))
}

fn unreadable(error: LedgerError) -> (ExitCode, String) {
    let message = error.to_string();
    (code_of(&error.into()), message)
}

#[cfg(feature = "faults")]
fn selftest(arguments: Selftest) -> ExitCode {
    let Selftest { seed, blocks, only, diagnose, json } = arguments;
    let options = crate::selftest::Options { seed, blocks, only, diagnose, ..Default::default() };
    let report = match crate::selftest::run(&options) {
        Ok(report) => report,
        Err(error) => {
            complain(&error.to_string());
            return error.exit_code();
        }
    };
    if !json {
        say(&report.to_string());
        return report.exit_code();
    }
    match serde_json::to_string(&report) {
        Ok(json) => {
            say(&format!("{json}\n"));
            for failure in report.failures() {
                complain(&failure);
            }
            report.exit_code()
        }
        Err(error) => refuse(&format!("the result has no JSON form: {error}")),
    }
}

/// Writes an error to standard error, if anybody reads that.
pub(crate) fn complain(message: &str) {
    let _closed = writeln!(std::io::stderr(), "error: {message}");
}

/// Writes to standard output. Whoever closed it does not want to know, and the exit code still says
/// what was found.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _closed = output.write_all(text.as_bytes()).and_then(|()| output.flush());
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

fn start_logging(cli: &Cli) -> Result<(), String> {
    let filter = EnvFilter::try_new(&cli.log).map_err(|error| format!("--log: {error}"))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Human => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

fn refuse(message: &str) -> ExitCode {
    complain(message);
    ExitCode::BadInput
}

/// With one worker nothing would be exercised, so a machine with one core runs two all the same.
fn default_workers() -> u32 {
    u32::try_from(num_cpus::get()).unwrap_or(u32::MAX).clamp(2, 1024)
}

/// Reads a profile by the name that it has in the chain's own.
pub(crate) fn profile() -> impl TypedValueParser<Value = Profile> {
    PossibleValuesParser::new(Profile::ALL.map(Profile::name)).try_map(|name| {
        let found = Profile::ALL.into_iter().find(|profile| profile.name() == name);
        found.ok_or_else(|| format!("there is no profile {name}"))
    })
}

fn budget(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, from 0.001 to 86400".to_owned()),
    }
}

fn blocks_per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0.001 to 1000000".to_owned()),
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1".to_owned()),
    }
}

/// No run gets there.
const ENDLESS_BLOCKS: u64 = u64::MAX >> 1;
