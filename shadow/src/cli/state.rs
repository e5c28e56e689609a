//! The commands about state directories: what their runs compared, and where two of them part.

use std::path::{Path, PathBuf};

use clap::Args;
use storage_snapshot::{Store, StoreOptions};

use super::output::{complain, refuse, say};
use crate::{
    accept::Acceptances,
    digest::{Comparison, compare_ledgers},
    exit_code::ExitCode,
    ledger::LedgerError,
    report::Report,
    requirements::Requirements,
    run::{code_of, code_of_store},
};

#[derive(Debug, Args)]
pub(super) struct Digest {
    /// The one.
    #[arg(long)]
    state_dir: PathBuf,

    /// The other.
    #[arg(long)]
    against: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
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

pub(super) fn digest(arguments: &Digest) -> ExitCode {
    let same = |path: &Path| path.canonicalize().ok();
    let Digest { state_dir, against } = arguments;
    if same(state_dir).is_some() && same(state_dir) == same(against) {
        return refuse(&format!(
            "{} is the same state directory: give another one",
            against.display()
        ));
    }
    let compared = open(state_dir).and_then(|one| {
        let other = open(against)?;
        compare_ledgers(&one, &other).map_err(unreadable)
    });
    match compared {
        Ok(comparison) => {
            say(&format!("{comparison}\n"));
            match comparison {
                Comparison::Same { .. } => ExitCode::Clean,
                Comparison::Part { .. } => ExitCode::Mismatch,
                Comparison::NothingInCommon | Comparison::OtherBeginning { .. } => {
                    ExitCode::NotEnoughEvidence
                }
            }
        }
        Err((code, message)) => {
            complain(&message);
            code
        }
    }
}

pub(super) fn report(arguments: ReportArguments) -> ExitCode {
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
pub(super) fn open(directory: &Path) -> Result<Store, (ExitCode, String)> {
    // Opening makes a directory that is not there, which a mistyped name does not deserve.
    if !directory.join("lock").is_file() {
        return Err((ExitCode::BadInput, format!("{}: no state directory", directory.display())));
    }
    Store::open(directory, StoreOptions::default())
        .map_err(|error| (code_of_store(&error), error.to_string()))
}

pub(super) fn unreadable(error: LedgerError) -> (ExitCode, String) {
    let message = error.to_string();
    (code_of(&error.into()), message)
}
