//! The options that every run has, and running.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args};

use super::{
    output::{complain, refuse, say},
    values::{budget, default_workers},
};
use crate::{
    canary::CanaryRate,
    candidate_spec::{CandidateSpec, check_each_once},
    config::Setting,
    exit_code::ExitCode,
    http::ListenAddress,
    judge::KEEP_BLOCKS,
    metrics::LagLimit,
    node::NodeCheck,
    on_mismatch::MismatchCommand,
    pace::Pace,
    run::{RunOptions, StateDirectory, run},
    run_report::{Findings, RunReport, about::About},
    source::BlockSource,
};

#[derive(Debug, Args)]
pub(super) struct Shared {
    /// Where state and verdicts are kept. A run on the same directory goes on where the last one
    /// stopped. Without it a temporary directory is used, and kept only if something differs.
    #[arg(long, env = "SHADOW_STATE_DIR")]
    state_dir: Option<PathBuf>,

    /// How many workers the parallel engine runs on; by default one per core, but at least 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    workers: Option<u32>,

    /// Who is put under test: `v3` or `sharded`, the engines that are built in; `external:COMMAND`, a
    /// program that speaks the candidate protocol; attached to one, `node`; or `fault:NAME`, the engine with a fault,
    /// to see what happens then. May be given several times.
    #[arg(long = "candidate", value_name = "CANDIDATE", default_value = "v3")]
    pub(super) candidates: Vec<CandidateSpec>,

    /// How much memory an outside program may have, in mebibytes.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    candidate_memory_mib: Option<u64>,

    /// How often each candidate runs each block: once as in earnest, and then under other numbers of
    /// workers, in another order within a batch, and with pauses. The only run of one block in thirty-two is
    /// disturbed like that, with the same number of workers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    schedules: u32,

    /// Put a block to the candidates only if it has at least so many transactions, as a chain does that
    /// executes smaller ones serially (20 on the main network, 10 on the test network, 4 on a devnet).
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_txs_for_parallel: usize,

    /// Whether the built-in engines may be put under test; `false` leaves the other candidates.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    parallel_execution_enabled: bool,

    /// Whether blocks are executed in parallel only to be compared. Nothing else is done here, so it
    /// can only be `true`.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    parallel_execution_test_mode: bool,

    /// How long a candidate may take for one run of a block before it counts as hanging.
    #[arg(long, default_value_t = 10.0, value_parser = budget)]
    budget_seconds: f64,

    /// Alter the result of one in so many blocks on purpose, if it is a match, to see whether that is
    /// noticed; 0 for never.
    #[arg(long, default_value_t = 50)]
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

    /// Run this command for each new problem, once its evidence is on the disk: with the directory of
    /// the evidence as its last argument, and with `SHADOW_RECORD` (the same) and
    /// `SHADOW_MISMATCH_FINGERPRINT`, `_TOPOHEIGHT`, `_CANDIDATE` and `_FIELD` in its environment. One
    /// runs at a time, at most one is begun in a second, and verification does not wait for it.
    #[arg(long, value_name = "COMMAND")]
    on_mismatch: Option<MismatchCommand>,

    /// How long this command may take before it is ended, with what it started.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = budget)]
    on_mismatch_seconds: f64,

    /// How many blocks below the last one with a verdict can be taken back when the chain is ordered
    /// anew. What is older is folded into one state, so that the disk holds no more; verdicts and
    /// evidence stay. More than the chain's own limit costs disk and memory, less ends the run at a
    /// re-order that is deeper.
    #[arg(long, value_name = "N", default_value_t = KEEP_BLOCKS, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    keep_blocks: u64,

    /// `/readyz` says no while a block has waited for its verdict for longer than this.
    #[arg(long, value_name = "SECONDS", default_value_t = LagLimit::default().age.as_secs_f64(), value_parser = budget)]
    ready_lag_seconds: f64,

    /// The same while more than so many blocks wait; without it any number may.
    #[arg(long, value_name = "N")]
    ready_lag_blocks: Option<u64>,

    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Shared {
    /// Who is put under test, if these options allow a run.
    pub(super) fn under_test(&self, node: NodeCheck) -> Result<Vec<CandidateSpec>, String> {
        let refused = |text: &str| Err(text.to_owned());
        if node == NodeCheck::Ignore && self.candidates.contains(&CandidateSpec::Node) {
            return refused(
                "candidate `node` has to be attached to; what a node answered for a recording is \
                 compared with --check-node",
            );
        }
        if !self.parallel_execution_test_mode {
            return refused(
                "parallel_execution_test_mode is false, and verifying is all that is done here: start \
                 nothing, or leave it out",
            );
        }
        if self.candidates.is_empty() {
            return refused("no candidate is given: nothing would be put under test");
        }
        let is_built_in = |candidate: &CandidateSpec| {
            matches!(candidate, CandidateSpec::V3 | CandidateSpec::Sharded)
        };
        let mut candidates = self.candidates.clone();
        candidates.retain(|candidate| self.parallel_execution_enabled || !is_built_in(candidate));
        if candidates.is_empty() {
            return refused(
                "parallel_execution_enabled is false, and no other candidate was given: nothing would \
                 be put under test",
            );
        }
        check_each_once(&candidates).map_err(|error| error.to_string())?;
        Ok(candidates)
    }
}

/// Opens the source, verifies all of it, and prints what was found.
pub(super) fn verify(
    shared: Shared,
    about: About,
    settings: &[Setting],
    node: NodeCheck,
    pace: Pace,
    open: impl FnOnce() -> Result<Box<dyn BlockSource>, (ExitCode, String)>,
) -> ExitCode {
    let candidates = match shared.under_test(node) {
        Ok(candidates) => candidates,
        Err(message) => return refuse(&message),
    };
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
        on_mismatch: shared
            .on_mismatch
            .map(|command| (command, Duration::from_secs_f64(shared.on_mismatch_seconds))),
        keep_blocks: shared.keep_blocks,
        lag_limit: LagLimit {
            age: Duration::from_secs_f64(shared.ready_lag_seconds),
            blocks: shared.ready_lag_blocks,
        },
        numbers: settings
            .iter()
            .filter_map(|setting| Some((setting.name.clone(), setting.number()?)))
            .collect(),
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
