//! Benchmarks that anybody can repeat: `shadow bench`.
//!
//! Everything is told as a ratio of medians from alternating runs in one process, because the machine
//! that this runs on has other things to do. Where the parallel engine loses it is said so.

pub mod attach;
mod engines;
mod memory;
mod pipeline;
mod replay;
mod simulate;
mod storage;
mod workload;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;
pub use simulate::Simulated;
pub use storage::{CommitTimes, LargeStore};
pub use workload::{Workload, transfers};

use crate::{
    execute::{parallel::ParallelExecutor, sharded::ShardedExecutor},
    source::SourceError,
    stopwatch::timed,
    verifier::VerifyError,
};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Everything.
    Full,
    /// What takes less than two minutes.
    Quick,
}

/// What was measured. What a quick run left out is `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The speed of verifying blocks of so many transactions, over that of executing them serially
    /// and committing.
    pub overhead: BTreeMap<String, f64>,
    /// The same over a serial run whose store another thread folds, as it does where blocks are verified.
    pub overhead_folded_beside: BTreeMap<String, f64>,
    /// The speed of executing serially and committing while another processor does the same to another
    /// store, over that of doing so alone: what is lost where nothing is verified.
    pub beside_another: BTreeMap<String, f64>,
    /// The processor time of verifying blocks of so many transactions, over that of executing them
    /// serially and committing.
    pub cpu_over_serial: BTreeMap<String, f64>,
    /// Where the time of the pipeline goes, by the size of the blocks.
    pub pipeline: Vec<PipelineRow>,
    /// Transfers per second of the serial engine, in blocks of 10,000 between distinct accounts.
    pub serial_tx_per_second: f64,
    /// The built-in parallel engine that is the faster one.
    pub parallel_engine: String,
    /// The speed of that engine on all cores over that of the serial one, by
    /// `transactions/conflict rate`.
    pub parallel_over_serial: BTreeMap<String, f64>,
    /// How much faster a commit of 1,000 writes is than a batch of 1,000 entries in sled.
    pub commit_over_sled: f64,
    /// The same for writes to keys that nobody read before.
    pub cold_commit_over_sled: f64,
    /// What these ratios are made of.
    pub commit: CommitTimes,
    /// How long opening a snapshot takes, by accounts in the store.
    pub snapshot_open_ns: BTreeMap<String, Option<f64>>,
    /// A store with as many accounts as were asked for.
    pub large_store: Option<LargeStore>,
    /// The share of comparing and of the ledger in the processor time of the pipeline.
    pub compare_share: f64,
    /// The share of comparing alone: the invariants of the control, the comparison, and executing the control
    /// again where that is done.
    pub comparator_share: f64,
    /// The speed of replaying a recording, over that of parsing its text into the same types.
    pub json_to_verdict: Option<f64>,
    /// The same with a recording that is compressed, which parsing is not charged with.
    pub gzip_to_verdict: Option<f64>,
    /// What this ratio is made of.
    pub replay: Option<ReplayRow>,
    /// The resident memory of one soak: in the blocks from the first number on, and in those up to the other.
    pub rss_mib: BTreeMap<String, Option<f64>>,
    /// Every engine at every size and conflict rate.
    pub engines: Vec<EngineRow>,
    /// How the parallel engine `v3` would do on blocks of 10,000 with more cores.
    pub simulated: Vec<Simulated>,
    /// How many workers the parallel engines ran on.
    pub workers: u32,
}

/// The engines on blocks of one size and conflict rate, in microseconds per transaction.
#[derive(Clone, Debug, Serialize)]
pub struct EngineRow {
    /// How many transactions a block has.
    pub transactions: usize,
    /// The share of them that meet in one account.
    pub conflict_rate: f64,
    /// The serial engine.
    pub serial_us: f64,
    /// The parallel engine `v3` on one worker.
    pub parallel_one_us: f64,
    /// The parallel engine `v3` on all cores.
    pub parallel_all_us: f64,
    /// The parallel engine `sharded` on one worker.
    pub sharded_one_us: f64,
    /// The parallel engine `sharded` on all cores.
    pub sharded_all_us: f64,
}

/// The way of blocks of one size, in microseconds per transaction.
#[derive(Clone, Debug, Serialize)]
pub struct PipelineRow {
    /// How many transactions a block has.
    pub transactions: usize,
    /// Serial execution and commit alone, as it elapses.
    pub alone_us: f64,
    /// With verification, as it elapses.
    pub verified_us: f64,
    /// Serial execution and commit alone, in processor time.
    pub alone_cpu_us: f64,
    /// With verification, in processor time.
    pub verified_cpu_us: f64,
    /// The serial execution within the verified run, as it elapses.
    pub serial_us: f64,
    /// The commit within it.
    pub commit_us: f64,
    /// The parallel execution within it.
    pub parallel_us: f64,
    /// Checking the invariants and comparing within it, in processor time.
    pub compare_us: f64,
    /// Making and writing the entries of the ledger within it, in processor time.
    pub ledger_us: f64,
}

/// A recording, and what it takes to parse its text and to replay it, as it elapses.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ReplayRow {
    /// How long its text is.
    pub text_bytes: usize,
    /// How many transactions it holds.
    pub transactions: usize,
    /// Parsing, in microseconds per transaction.
    pub parsed_us: f64,
    /// Replaying, in microseconds per transaction.
    pub replayed_us: f64,
    /// The same from compressed text.
    pub decompressed_us: f64,
}

/// Measures. With a number of `accounts` also a store that has as many.
///
/// # Errors
///
/// When a store or an engine fails.
pub fn run(length: Length, workers: u32, accounts: Option<u64>) -> Result<Report, VerifyError> {
    let mut report = Report { workers, ..Report::default() };
    engines::measure(length, workers, &mut report)?;
    report.simulated = simulate::measure(10_000)
        .map_err(|failure| SourceError::Io(std::io::Error::other(failure.to_string())))?;
    pipeline::measure(length, workers, &mut report)?;
    storage::measure(length, accounts, &mut report)?;
    replay::measure(length, workers, &mut report)?;
    report.rss_mib = match length {
        Length::Full => memory::resident_mib().map_err(SourceError::Io)?,
        Length::Quick => memory::POINTS.map(|blocks| (blocks.to_string(), None)).into(),
    };
    Ok(report)
}

/// Runs the contenders in turn, so many rounds, and gives the median time of each.
fn medians<const N: usize>(
    rounds: usize,
    mut contenders: [&mut dyn FnMut() -> Result<Duration, VerifyError>; N],
) -> Result<[Duration; N], VerifyError> {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            times.push(contender()?);
        }
    }
    Ok(times.map(median))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn micros_each(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// How much faster `fast` is than `slow`.
fn speed_up(slow: Duration, fast: Duration) -> f64 {
    slow.as_secs_f64() / fast.as_secs_f64().max(f64::MIN_POSITIVE)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "microseconds per transaction; {} workers", self.workers)?;
        writeln!(
            f,
            "{:>12} {:>9} {:>8} {:>10} {:>10} {:>8}   all workers against serial",
            "transactions", "conflicts", "serial", "engine", "1 worker", "all"
        )?;
        for row in &self.engines {
            let v3 = (ParallelExecutor::NAME, row.parallel_one_us, row.parallel_all_us);
            let sharded = (ShardedExecutor::NAME, row.sharded_one_us, row.sharded_all_us);
            for (engine, one_us, all_us) in [v3, sharded] {
                let ratio = row.serial_us / all_us;
                writeln!(
                    f,
                    "{:>12} {:>9} {:>8.3} {engine:>10} {one_us:>10.3} {all_us:>8.3}   {ratio:.2}{}",
                    row.transactions,
                    row.conflict_rate,
                    row.serial_us,
                    if ratio < 1.0 { ", the parallel engine loses" } else { "" },
                )?;
            }
        }
        writeln!(f, "the faster parallel engine is {}", self.parallel_engine)?;
        writeln!(f)?;
        writeln!(
            f,
            "blocks of 10000 on more cores, v3 simulated, against serial; and what no engine exceeds"
        )?;
        writeln!(f, "{:>9} {:>6} {:>8} {:>8}", "conflicts", "cores", "engine", "limit")?;
        for Simulated { conflict_rate, cores, engine, limit } in &self.simulated {
            writeln!(f, "{conflict_rate:>9} {cores:>6} {engine:>8.2} {limit:>8.2}")?;
        }
        writeln!(f)?;
        for (transactions, ratio) in &self.overhead {
            writeln!(
                f,
                "verifying blocks of {transactions}: {ratio:.2} of the speed of serial execution and \
                 commit alone, {:.2} if another thread folds; alone beside another such run: {:.2}",
                self.overhead_folded_beside.get(transactions).copied().unwrap_or(f64::NAN),
                self.beside_another.get(transactions).copied().unwrap_or(f64::NAN),
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "microseconds per transaction of the pipeline; those in brackets of processor time"
        )?;
        for row in &self.pipeline {
            writeln!(
                f,
                "blocks of {}: {:.2} ({:.2}) alone, {:.2} ({:.2}) verified: serial {:.2}, commit {:.2}, \
                 parallel {:.2}, compare ({:.2}), ledger ({:.2})",
                row.transactions,
                row.alone_us,
                row.alone_cpu_us,
                row.verified_us,
                row.verified_cpu_us,
                row.serial_us,
                row.commit_us,
                row.parallel_us,
                row.compare_us,
                row.ledger_us,
            )?;
        }
        writeln!(
            f,
            "comparing and the ledger: {:.1} % of the pipeline's processor time; comparing alone {:.1} %",
            self.compare_share * 100.0,
            self.comparator_share * 100.0,
        )?;
        writeln!(
            f,
            "committing 1,000 writes: {:.1} times as fast as a batch of 1,000 entries in sled",
            self.commit_over_sled
        )?;
        let CommitTimes { sled_ms, commit_ms, cold_commit_ms, fold_ms } = self.commit;
        writeln!(
            f,
            "  and to keys that nobody read before {:.1} times ({commit_ms:.2} ms and \
             {cold_commit_ms:.2} ms against {sled_ms:.2} ms; folding them later {fold_ms:.2} ms)",
            self.cold_commit_over_sled
        )?;
        if let Some(ratio) = self.json_to_verdict {
            writeln!(f, "replaying a recording: {ratio:.2} of the speed of parsing it")?;
        }
        if let Some(ratio) = self.gzip_to_verdict {
            writeln!(f, "  and if it has to be decompressed: {ratio:.2}")?;
        }
        if let Some(row) = self.replay {
            writeln!(
                f,
                "  {:.2} us per transaction of {} bytes to parse, {:.2} us to replay, {:.2} us with \
                 decompressing",
                row.parsed_us,
                row.text_bytes / row.transactions.max(1),
                row.replayed_us,
                row.decompressed_us
            )?;
        }
        for (blocks, resident) in &self.rss_mib {
            if let Some(resident) = resident {
                writeln!(f, "a soak after {blocks} blocks: {resident:.1} MiB resident")?;
            }
        }
        for (accounts, nanoseconds) in &self.snapshot_open_ns {
            if let Some(nanoseconds) = nanoseconds {
                writeln!(f, "opening a snapshot of {accounts} accounts: {nanoseconds:.0} ns")?;
            }
        }
        if let Some(large) = &self.large_store {
            writeln!(
                f,
                "a store of {} accounts: written in {:.0} s to {:.0} MiB, {:.0} MiB resident; a \
                 commit takes {:.2} ms, {:.2} of what it takes with 10,000 accounts, and with reading \
                 and folding {:.2} of it",
                large.accounts,
                large.seed_seconds,
                large.disk_mib,
                large.resident_mib.unwrap_or(f64::NAN),
                large.commit_ms,
                large.commit_over_small,
                large.block_over_small,
            )?;
        }
        Ok(())
    }
}
