//! How fast a sidecar catches up with a node, and what keeps it from being faster: `shadow bench attach`.
//!
//! The node is the stand-in, and both are processes of their own, so that it can be told whose
//! processor time it was. They share this machine: what one does not use the other has.

use std::{
    fmt, fs, io,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Instant,
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachOptions {
    /// How many blocks there are to catch up with.
    pub blocks: u64,
    /// How many of them where the node is asked about each.
    pub blocks_with_node: u64,
    /// How many transactions a usual block has.
    pub transactions: u32,
    /// How many workers the parallel engine runs on.
    pub workers: u32,
}

impl AttachOptions {
    /// What takes about a minute.
    pub const USUAL: Self =
        Self { blocks: 2000, blocks_with_node: 200, transactions: 100, workers: 2 };
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct AttachReport {
    /// How many transactions a usual block has.
    pub transactions_per_block: u32,
    /// How many processors this machine has.
    pub cores: usize,
    /// Every way of catching up.
    pub rows: Vec<AttachRow>,
}

/// One way of catching up.
#[derive(Clone, Debug, Serialize)]
pub struct AttachRow {
    /// Who was under test.
    pub candidates: Vec<String>,
    /// How many requests a second were allowed.
    pub requests_per_second_max: u64,
    /// How many blocks were verified, from the first on.
    pub blocks: u64,
    /// How long it took, the start of the process included.
    pub seconds: f64,
    /// Both together.
    pub blocks_per_second: f64,
    /// How many requests a block took; a request holds up to 20 questions.
    pub requests_per_block: f64,
    /// How many questions.
    pub questions_per_block: f64,
    /// How many bytes, both ways.
    pub bytes_per_block: f64,
    /// How many requests were begun in a second.
    pub requests_per_second: f64,
    /// How many were under way at once, at most.
    pub in_flight_max: u64,
    /// How many were on average.
    pub in_flight_mean: f64,
    /// Processor time of the sidecar, where the system tells it.
    pub sidecar_cpu_seconds: Option<f64>,
    /// Processor time of the node meanwhile.
    pub node_cpu_seconds: Option<f64>,
    /// What it was bound by.
    pub bound_by: Bound,
}

/// What keeps a sidecar from catching up faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// As many requests a second as it may begin.
    RequestLimit,
    /// The processors of the machine, which it shares with the node.
    Processors,
    /// One step of its own that waits for the one before, on one processor.
    OwnOrder,
    /// The time that answers take.
    Latency,
    /// None of these: processes that are not measured have the processors.
    OtherProcesses,
}

/// Measures, with `program` as both sides.
///
/// # Errors
///
/// When a process cannot be started, or does not come to the end that it should.
pub fn run(options: &AttachOptions) -> Result<AttachReport, AttachBenchError> {
    let program = std::env::current_exe().map_err(AttachBenchError::Start)?;
    let program = || {
        let mut command = Command::new(&program);
        // What is set for another run is not meant for this one.
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    };
    let cores = num_cpus::get();
    let node = Node::start(program(), options)?;
    let ways = [
        (&["v3"][..], options.blocks, DEFAULT_RATE),
        (&["v3"], options.blocks, UNLIMITED_RATE),
        (&["v3", "node"], options.blocks_with_node, DEFAULT_RATE),
        (&["v3", "node"], options.blocks_with_node, UNLIMITED_RATE),
    ];
    let mut rows = Vec::new();
    for (candidates, blocks, rate) in ways {
        let until = blocks.min(options.blocks).saturating_sub(1);
        let mut command = program();
        command.args(["attach", "--json", "--node", &node.url, "--until", &until.to_string()]);
        command.args(["--workers", &options.workers.to_string()]);
        command.args(["--node-requests-per-second", &rate.to_string()]);
        for candidate in candidates {
            command.args(["--candidate", candidate]);
        }
        let node_before = cpu_seconds(node.child.id());
        let (started, ran) = (Instant::now(), Ran::of(command)?);
        let seconds = started.elapsed().as_secs_f64();
        let node_after = cpu_seconds(node.child.id());
        let node_cpu = node_before.zip(node_after).map(|(before, after)| after - before);
        rows.push(ran.row(candidates, rate, seconds, node_cpu, cores));
    }
    Ok(AttachReport { transactions_per_block: options.transactions, cores, rows })
}

/// The stand-in node, as long as it is needed.
struct Node {
    child: Child,
    url: String,
}

impl Node {
    fn start(mut command: Command, options: &AttachOptions) -> Result<Self, AttachBenchError> {
        command.args(["devnet", "--listen", "127.0.0.1:0", "--blocks-per-second", "0"]);
        command.args(["--profile", "transfers", "--blocks", &options.blocks.to_string()]);
        command.args(["--transactions-per-block", &options.transactions.to_string()]);
        let mut child = command.spawn().map_err(AttachBenchError::Start)?;
        let stdout = child.stdout.take();
        let mut node = Self { child, url: String::new() };
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut node.url).map_err(AttachBenchError::Start)?;
        }
        node.url.truncate(node.url.trim_end().len());
        if node.url.is_empty() {
            return Err(AttachBenchError::Ended { what: "the stand-in node", code: None });
        }
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sidecar that came to its end.
struct Ran {
    summary: SummaryJson,
    cpu_seconds: Option<f64>,
}

/// What is needed of a summary.
#[derive(Deserialize)]
struct SummaryJson {
    traffic: TrafficJson,
}

#[derive(Deserialize)]
struct TrafficJson {
    blocks: u64,
    requests: u64,
    requests_per_block: f64,
    bytes_per_block: f64,
    in_flight_max: u64,
    request_seconds: f64,
    methods: std::collections::BTreeMap<String, MethodJson>,
}

#[derive(Deserialize)]
struct MethodJson {
    calls: u64,
}

impl Ran {
    fn of(mut command: Command) -> Result<Self, AttachBenchError> {
        let mut child = command.spawn().map_err(AttachBenchError::Start)?;
        let mut text = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut text).map_err(AttachBenchError::Start)?;
        }
        // Its times can be read until it is waited for.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = waitid(WaitId::Pid(Pid::from_child(&child)), options);
        let cpu_seconds = cpu_seconds(child.id());
        let status = child.wait().map_err(AttachBenchError::Start)?;
        if !status.success() {
            let code = status.code();
            return Err(AttachBenchError::Ended { what: "the sidecar", code });
        }
        let summary = serde_json::from_str(&text).map_err(AttachBenchError::Summary)?;
        Ok(Self { summary, cpu_seconds })
    }

    fn row(
        self,
        candidates: &[&str],
        rate: u64,
        seconds: f64,
        node_cpu_seconds: Option<f64>,
        cores: usize,
    ) -> AttachRow {
        let traffic = self.summary.traffic;
        let blocks = traffic.blocks;
        let questions: u64 = traffic.methods.values().map(|method| method.calls).sum();
        let mut row = AttachRow {
            candidates: candidates.iter().map(|&name| name.to_owned()).collect(),
            requests_per_second_max: rate,
            blocks,
            seconds,
            blocks_per_second: blocks as f64 / seconds,
            requests_per_block: traffic.requests_per_block,
            questions_per_block: questions as f64 / blocks.max(1) as f64,
            bytes_per_block: traffic.bytes_per_block,
            requests_per_second: traffic.requests as f64 / seconds,
            in_flight_max: traffic.in_flight_max,
            in_flight_mean: traffic.request_seconds / seconds,
            sidecar_cpu_seconds: self.cpu_seconds,
            node_cpu_seconds,
            bound_by: Bound::OtherProcesses,
        };
        row.bound_by = row.bound(cores);
        row
    }
}

impl AttachRow {
    fn bound(&self, cores: usize) -> Bound {
        let sidecar = self.sidecar_cpu_seconds.unwrap_or_default();
        let both = sidecar + self.node_cpu_seconds.unwrap_or_default();
        if self.requests_per_second >= NEARLY * self.requests_per_second_max as f64 {
            Bound::RequestLimit
        } else if both >= NEARLY * self.seconds * cores as f64 {
            Bound::Processors
        } else if sidecar >= NEARLY * self.seconds {
            Bound::OwnOrder
        } else if self.in_flight_mean >= NEARLY {
            Bound::Latency
        } else {
            Bound::OtherProcesses
        }
    }
}

impl fmt::Display for AttachReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "catching up with a stand-in node on this machine ({} cores), {} transactions per block",
            self.cores, self.transactions_per_block
        )?;
        for row in &self.rows {
            let limit = match row.requests_per_second_max {
                UNLIMITED_RATE => "no limit".to_owned(),
                rate => format!("{rate} requests/s"),
            };
            let cpu = |seconds: Option<f64>| seconds.map_or("?".to_owned(), |s| format!("{s:.1}"));
            writeln!(f)?;
            writeln!(f, "candidates {}, {limit}", row.candidates.join(" and "))?;
            writeln!(
                f,
                "  {:.1} blocks/s ({} in {:.1} s), bound by {}",
                row.blocks_per_second, row.blocks, row.seconds, row.bound_by
            )?;
            writeln!(
                f,
                "  per block {:.2} requests, {:.1} questions, {:.0} bytes",
                row.requests_per_block, row.questions_per_block, row.bytes_per_block
            )?;
            writeln!(
                f,
                "  {:.0} requests/s, in flight {:.1} on average and {} at most; processor: sidecar {} s, \
                 node {} s",
                row.requests_per_second,
                row.in_flight_mean,
                row.in_flight_max,
                cpu(row.sidecar_cpu_seconds),
                cpu(row.node_cpu_seconds)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestLimit => "the limit of requests per second",
            Self::Processors => "the processors, which both share",
            Self::OwnOrder => "what the sidecar does in order on one processor",
            Self::Latency => "the time that answers take",
            Self::OtherProcesses => "other processes, which have the processors",
        })
    }
}

/// The processor time of a process, in this program and in the system; `None` where that is not told.
fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, and is in parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map(|field| field.parse::<f64>().ok());
    let (user, system) = (ticks.next()??, ticks.next()??);
    Some((user + system) / TICKS_PER_SECOND)
}

/// Why nothing was measured.
#[derive(Debug)]
#[non_exhaustive]
pub enum AttachBenchError {
    /// A process cannot be started, or its output not be read.
    Start(io::Error),
    /// A process ended otherwise than it should.
    Ended {
        /// Which.
        what: &'static str,
        /// Its exit code, if it had one.
        code: Option<i32>,
    },
    /// The sidecar printed something that is no summary.
    Summary(serde_json::Error),
}

impl fmt::Display for AttachBenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "starting this program once more: {error}"),
            Self::Ended { what, code: Some(code) } => {
                write!(f, "{what} ended with exit code {code}; start it by hand to see why")
            }
            Self::Ended { what, code: None } => {
                write!(f, "{what} ended early; start it by hand to see why")
            }
            Self::Summary(error) => write!(f, "reading the summary of the sidecar: {error}"),
        }
    }
}

impl std::error::Error for AttachBenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            Self::Summary(error) => Some(error),
            Self::Ended { .. } => None,
        }
    }
}

/// What the kernel counts in where it shows times, on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What `attach` allows itself unless it is told otherwise.
const DEFAULT_RATE: u64 = 500;

const UNLIMITED_RATE: u64 = 1_000_000;

/// From which share on something is taken to be used up.
const NEARLY: f64 = 0.85;
