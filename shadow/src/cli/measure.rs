//! The command that measures.

use clap::Args;

use super::{
    output::{complain, refuse, say},
    values::default_workers,
};
use crate::{bench, exit_code::ExitCode, run::code_of};

#[derive(Debug, Args)]
pub(super) struct Bench {
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

pub(super) fn measure(arguments: &Bench) -> ExitCode {
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
