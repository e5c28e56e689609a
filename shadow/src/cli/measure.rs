//! The command that measures.

use std::fmt::Display;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{
    output::{complain, refuse, say},
    values::default_workers,
};
use crate::{
    bench::{self, attach::AttachOptions},
    exit_code::ExitCode,
    run::code_of,
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Bench {
    #[command(subcommand)]
    what: Option<What>,

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

/// What is measured instead.
#[derive(Debug, Subcommand)]
enum What {
    /// Measure how fast a sidecar catches up with a node on this machine, and what it is bound by.
    Attach(Attach),
}

#[derive(Debug, Args)]
struct Attach {
    /// How many blocks there are to catch up with.
    #[arg(long, default_value_t = AttachOptions::USUAL.blocks, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    blocks: u64,

    /// How many of them where the node is under test as well.
    #[arg(long, default_value_t = AttachOptions::USUAL.blocks_with_node, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    blocks_with_node: u64,

    /// How many transactions a usual block has.
    #[arg(long, default_value_t = AttachOptions::USUAL.transactions, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    transactions_per_block: u32,

    /// How many workers the parallel engine runs on; by default one per core, but at least 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,

    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn measure(arguments: &Bench) -> ExitCode {
    if let Some(What::Attach(arguments)) = &arguments.what {
        return measure_attach(arguments);
    }
    let length = if arguments.quick { bench::Length::Quick } else { bench::Length::Full };
    let workers = arguments.workers.unwrap_or_else(default_workers);
    let report = match bench::run(length, workers, arguments.accounts) {
        Ok(report) => report,
        Err(error) => {
            complain(&error.to_string());
            return code_of(&error);
        }
    };
    tell(&report, arguments.json)
}

fn measure_attach(arguments: &Attach) -> ExitCode {
    let options = AttachOptions {
        blocks: arguments.blocks,
        blocks_with_node: arguments.blocks_with_node,
        transactions: arguments.transactions_per_block,
        workers: arguments.workers.unwrap_or_else(default_workers),
    };
    match bench::attach::run(&options) {
        Ok(report) => tell(&report, arguments.json),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::Infrastructure
        }
    }
}

fn tell(report: &(impl Serialize + Display), json: bool) -> ExitCode {
    if !json {
        say(&report.to_string());
        return ExitCode::Clean;
    }
    match serde_json::to_string(report) {
        Ok(json) => {
            say(&format!("{json}\n"));
            ExitCode::Clean
        }
        Err(error) => refuse(&format!("the result has no JSON form: {error}")),
    }
}
