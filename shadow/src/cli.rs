//! The command line.
//!
//! What a person types becomes plain options here, and nothing below reads the environment. Standard
//! output carries the answer and nothing else; everything about the way there goes to standard error.
//!
//! This file has the list of the commands, and what every one of them has. `shared` are the options of
//! all runs, and `runs` the commands that verify; the other modules are a command or two each.

mod evidence;
mod measure;
mod minimize;
mod output;
mod runs;
#[cfg(feature = "faults")]
mod selftest;
mod settings;
mod shared;
mod state;
mod values;

use std::{ffi::OsString, io::IsTerminal, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

pub(crate) use self::{
    output::{complain, say},
    values::{profile, rate},
};
use crate::{
    config::Setting,
    devnet::{self, command::DevnetArguments},
    exit_code::ExitCode,
    metrics,
    nightly::{self, NightlyArguments},
    record_chain::{self, command::RecordArguments},
};

/// Tells whether a chain may switch from serial to parallel transaction execution: executes every
/// block both ways, compares, and keeps the evidence.
///
/// Exit codes: 0 clean, 1 something differs, 2 bad usage or bad input, 3 not enough evidence,
/// 4 infrastructure (disk, lock, network, machine).
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
    #[arg(long, global = true, value_name = "FILE", env = "SHADOW_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Verify a recorded chain, block by block.
    Replay(runs::Replay),
    /// Verify a chain that is generated from a seed, an in-process devnet.
    Soak(runs::Soak),
    /// Verify the chain of a running node as it grows.
    Attach(runs::Attach),
    /// Tell whether a node's chain can be verified: its version, its network, its rules.
    ///
    /// Exits with 0 if it can, with 2 if not, and with 4 if the node cannot be asked.
    Doctor(runs::Doctor),
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
    Bench(measure::Bench),
    /// Compare two state directories and name the first topoheight at which their states part.
    ///
    /// Exits with 0 if they are the same as far as both go, with 1 if they part, and with 3 if they
    /// have nothing in common.
    Digest(state::Digest),
    /// Show what the runs on a state directory compared, under which conditions, and what it is worth.
    ///
    /// Exits as those runs together would; with --require, with 0 only if everything required is met
    /// for every candidate and nothing differs, with 1 if something differs, and with 3 if something
    /// is missing.
    Report(state::ReportArguments),
    /// Tell about the metrics that a run serves at `/metrics` with --listen.
    Metrics(MetricsArguments),
    /// Show mismatches as differences for a person: the records in a file, or a directory with evidence.
    Explain(evidence::Explain),
    /// Show the options that are in effect, and where each is from: the file that `--config` names, the
    /// environment, or the default.
    ///
    /// Exits with 2 if a run could not be started with them, as far as that can be told without a node and without
    /// starting a program.
    Config(settings::ConfigArguments),
    /// Run evidence again, from its directory and nothing else.
    ///
    /// Exits with 1 if the candidate differs in any run, with 0 if it does in none, with 2 if the
    /// directory is not what was written, and with 3 if there is nobody to run: the candidate is a node,
    /// or a program that was not given; or if it agrees without having been at work.
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
    Selftest(selftest::Selftest),
}

impl Command {
    /// Refuses what the command would refuse before it does anything.
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Replay(replay) => replay.check(),
            Self::Soak(soak) => soak.check(),
            Self::Attach(attach) => attach.check(),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, Args)]
struct MetricsArguments {
    /// Print what every metric means, as Markdown.
    #[arg(long, required = true)]
    describe: bool,
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
    let (cli, settings) = match settings::parse(arguments) {
        Ok(parsed) => parsed,
        Err(refusal) => return refusal.tell(),
    };
    if let Err(message) = start_logging(&cli) {
        return output::refuse(&message);
    }
    for Setting { name, value, from, .. } in &settings {
        tracing::info!(%name, %value, %from, "option");
    }
    match cli.command {
        Command::Replay(arguments) => runs::replay(arguments, &settings),
        Command::Attach(arguments) => runs::attach(arguments, &settings),
        Command::Doctor(arguments) => runs::doctor(&arguments),
        Command::Soak(arguments) => runs::soak(arguments, &settings),
        Command::Nightly(arguments) => nightly::run(arguments),
        Command::Devnet(arguments) => devnet::command::run(arguments),
        Command::Record(arguments) => record_chain::command::run(arguments),
        Command::Bench(arguments) => measure::measure(&arguments),
        Command::Digest(arguments) => state::digest(&arguments),
        Command::Report(arguments) => state::report(arguments),
        Command::Metrics(MetricsArguments { describe: _ }) => {
            say(&metrics::describe());
            ExitCode::Clean
        }
        Command::Explain(arguments) => evidence::explain_path(&arguments),
        Command::Config(arguments) => settings::show_config(&arguments, cli.config),
        Command::Repro(arguments) => evidence::repro(&arguments),
        Command::Minimize(arguments) => minimize::minimize(&arguments),
        Command::Mismatches(arguments) => evidence::mismatches(&arguments),
        Command::Accept(arguments) => evidence::accept(arguments),
        #[cfg(feature = "faults")]
        Command::Selftest(arguments) => selftest::selftest(arguments),
    }
}

/// The variables of this process that set options, or could.
pub(crate) fn option_variables() -> impl Iterator<Item = OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names.filter(|name| name.as_encoded_bytes().starts_with(b"SHADOW_"))
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
