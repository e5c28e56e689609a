//! The command that plants faults.

use clap::Args;

use super::output::{complain, refuse, say};
use crate::{config::TYPED, exit_code::ExitCode};

#[derive(Debug, Args)]
pub(super) struct Selftest {
    /// What the chain is generated from that the faults are planted in.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many blocks a fault may take to show. All of them are kept in memory, about 90 kB each.
    #[arg(long, help_heading = TYPED, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=5_000))]
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

pub(super) fn selftest(arguments: Selftest) -> ExitCode {
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
            for sentence in report.failures().into_iter().chain(report.gaps()) {
                complain(&sentence);
            }
            report.exit_code()
        }
        Err(error) => refuse(&format!("the result has no JSON form: {error}")),
    }
}
