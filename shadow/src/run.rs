//! One run from the first block of a source to its end, or to where it was stopped.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use comparator::{JsonLines, MismatchRecord, MismatchSink, SinkError};
use storage_snapshot::{Store, StoreError, StoreOptions, TopoHeight};

use crate::{
    canary::CanaryRate,
    candidate_spec::{CandidateSpec, StartCandidateError, start_all},
    cli::complain,
    execute::BlockExecutor,
    exit_code::ExitCode,
    judge::{Candidate, Judge, NODE, Progress},
    ledger::{LedgerError, entries},
    node::NodeCheck,
    progress::{Reporter, note},
    schedules::Schedules,
    source::{BlockSource, ChainEvent, SourceError},
    summary::{RunVerdict, Summary, TrafficOfRun},
    verifier::{Verifier, VerifyError, claim},
};

/// How to verify.
#[derive(Clone, Debug)]
pub(crate) struct RunOptions {
    /// Who is put under test.
    pub(crate) candidates: Vec<CandidateSpec>,
    /// How much memory an outside program may have.
    pub(crate) memory_bytes: Option<u64>,
    /// How many workers the parallel engine runs on.
    pub(crate) workers: u32,
    /// How often a candidate runs each block.
    pub(crate) schedules: u32,
    /// How long a candidate may take for one run of a block.
    pub(crate) budget: Duration,
    /// How often a result is altered to see whether it is noticed.
    pub(crate) canaries: CanaryRate,
    /// Whether the node's answers are compared.
    pub(crate) node: NodeCheck,
}

/// Where state and verdicts go.
#[derive(Debug)]
pub(crate) enum StateDirectory {
    /// Here, and they stay.
    Given(PathBuf),
    /// Somewhere, and they go away with the run unless something differs.
    Temporary,
}

/// Verifies everything that a source yields and sums up the ledger.
pub(crate) fn run(
    options: &RunOptions,
    directory: StateDirectory,
    open: impl FnOnce() -> Result<Box<dyn BlockSource>, (ExitCode, String)>,
) -> (Summary, ExitCode) {
    let started = Instant::now();
    let mut summary = Summary::new([]);
    let seconds = || started.elapsed().as_secs_f64();

    // The input is looked at first: a bad one must leave no trace.
    let mut source = match open() {
        Ok(source) => source,
        Err((code, message)) => return failed(summary, seconds(), message, code),
    };
    let executors =
        start_all(&options.candidates, options.workers, options.budget, options.memory_bytes);
    let executors = match executors {
        Ok(executors) => executors,
        Err(error) => {
            let code = match error {
                StartCandidateError::Threads(_) => ExitCode::Infrastructure,
                _ => ExitCode::BadInput,
            };
            return failed(summary, seconds(), error.to_string(), code);
        }
    };
    let node = (options.node == NodeCheck::Compare).then_some(NODE);
    summary.ask_for(executors.iter().map(|executor| executor.name()).chain(node));
    let (path, temporary) = match directory_of(directory) {
        Ok(directory) => directory,
        Err(error) => {
            let message = format!("making a temporary directory: {error}");
            return failed(summary, seconds(), message, ExitCode::Infrastructure);
        }
    };
    let store = match Store::open(&path, StoreOptions::default()) {
        Ok(store) => store,
        Err(error) => {
            let (code, message) = (code_of_store(&error), error.to_string());
            return failed(summary, seconds(), message, code);
        }
    };

    // A directory of another chain has nothing to say about this one.
    if let Err(error) = claim(&store, &*source) {
        return failed(summary, seconds(), error.to_string(), code_of(&error));
    }
    let mut traffic = None;
    let outcome = verify(options, executors, &path, &store, &mut *source, &mut traffic);
    summary.add_traffic(traffic);
    let added = add_ledger(&mut summary, &store);
    let digest = store.tip().map(|tip| tip.digest);
    let (summary, code) = match outcome.and_then(|end| added.map(|()| end)) {
        Ok(End::Complete) => {
            let summary = summary.finish(digest, seconds(), None);
            let code = summary.exit_code();
            (summary, code)
        }
        Ok(End::Interrupted(why)) => {
            let reason = match why {
                Interruption::Signal => "somebody asked it to stop".to_owned(),
                Interruption::Source(reason) => {
                    complain(&reason);
                    reason
                }
            };
            let summary = summary.interrupt(reason).finish(digest, seconds(), None);
            let code = summary.exit_code();
            (summary, code)
        }
        Err(error) => {
            complain(&error.to_string());
            (summary.finish(digest, seconds(), Some(error.to_string())), code_of(&error))
        }
    };
    drop(store);
    if let Some(temporary) = temporary
        && summary.has_findings()
    {
        let kept = temporary.keep();
        note(&format!("the evidence is kept in {}", kept.display()));
    }
    debug_assert!(summary.verdict() != RunVerdict::Error || code != ExitCode::Clean);
    (summary, code)
}

/// How a run that did not fail came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Complete,
    Interrupted(Interruption),
}

/// Why a run was not complete although nothing failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Interruption {
    /// Somebody asked it to stop.
    Signal,
    /// The source ended before everything that was asked for, for this reason.
    Source(String),
}

fn verify(
    options: &RunOptions,
    executors: Vec<Arc<dyn BlockExecutor>>,
    path: &std::path::Path,
    store: &Store,
    source: &mut dyn BlockSource,
    traffic: &mut Option<TrafficOfRun>,
) -> Result<End, VerifyError> {
    let stop = stop_on_signal();
    let progress = Arc::new(Progress::default());
    let schedules = Schedules::disturbed(options.schedules, options.workers);
    let candidates = executors.into_iter().map(|executor| Candidate { executor, schedules });
    let sink = RecordFile::open(path).map_err(SourceError::Io)?;
    let judge = Judge::start(
        store.clone(),
        candidates.collect(),
        options.canaries,
        Box::new(sink),
        Arc::clone(&progress),
    )
    .map_err(SourceError::Io)?;
    let mut verifier = Verifier::new(store.clone(), source, options.node, judge)?;
    source.go_on(&verifier.held()).map_err(VerifyError::Source)?;
    let mut reporter = Reporter::new(source.block_count(), progress);

    let mut end = End::Complete;
    let mut blocks = 0;
    let taken = loop {
        if stop.load(Ordering::Relaxed) {
            end = End::Interrupted(Interruption::Signal);
            break Ok(());
        }
        match source.next_event() {
            Ok(Some(event)) => {
                blocks += u64::from(matches!(event, ChainEvent::Committed(_)));
                if let Err(error) = verifier.take(event) {
                    break Err(error);
                }
                reporter.tick();
            }
            Ok(None) => {
                if let Some(reason) = source.ended_early() {
                    end = End::Interrupted(Interruption::Source(reason.to_owned()));
                }
                break Ok(());
            }
            Err(error) => break Err(VerifyError::Source(error)),
        }
    };
    *traffic = source.watch().map(|watch| TrafficOfRun::new(blocks, watch.traffic.counts()));
    // What the judge failed with is the cause of what the verifier saw of it.
    let judged = match end {
        End::Complete => verifier.finish(),
        End::Interrupted(Interruption::Signal) => verifier.abandon(),
        End::Interrupted(Interruption::Source(_)) => verifier.stop(),
    };
    reporter.finish();
    match (taken, judged) {
        (Err(VerifyError::Judge(_) | VerifyError::Store(StoreError::Broken)), Err(cause)) => {
            Err(cause)
        }
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        // What was abandoned has no verdict yet, and gets one in the next run.
        (Ok(()), Ok(())) if end == End::Interrupted(Interruption::Signal) => Ok(end),
        (Ok(()), Ok(())) => check_whole(store).map(|()| end),
    }
}

fn add_ledger(summary: &mut Summary, store: &Store) -> Result<(), VerifyError> {
    for entry in entries(store, TopoHeight::GENESIS) {
        summary.add(&entry?);
    }
    Ok(())
}

/// Every block has exactly one verdict: a hole would be a block that was dropped silently.
fn check_whole(store: &Store) -> Result<(), VerifyError> {
    let mut expected = None;
    for entry in entries(store, TopoHeight::GENESIS) {
        let entry = entry?;
        let topoheight = expected.unwrap_or(entry.topoheight);
        if entry.topoheight != topoheight {
            return Err(LedgerError::Missing(topoheight).into());
        }
        if !entry.stale {
            expected = Some(topoheight.next());
        }
    }
    match (store.tip(), expected) {
        (Some(tip), next) if next != Some(tip.block.topoheight.next()) => {
            Err(LedgerError::Missing(next.unwrap_or(tip.block.topoheight)).into())
        }
        _ => Ok(()),
    }
}

fn failed(summary: Summary, seconds: f64, message: String, code: ExitCode) -> (Summary, ExitCode) {
    complain(&message);
    let error = (code != ExitCode::NotEnoughEvidence).then_some(message);
    (summary.finish(None, seconds, error), code)
}

fn directory_of(
    directory: StateDirectory,
) -> std::io::Result<(PathBuf, Option<tempfile::TempDir>)> {
    Ok(match directory {
        StateDirectory::Given(path) => (path, None),
        StateDirectory::Temporary => {
            let temporary = tempfile::Builder::new().prefix("shadow-").tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    })
}

/// Which exit code an error leads to.
pub(crate) fn code_of(error: &VerifyError) -> ExitCode {
    match error {
        VerifyError::Source(SourceError::Input(_))
        | VerifyError::OtherChain { .. }
        | VerifyError::OtherBlock { .. }
        | VerifyError::Ledger(LedgerError::Version { .. }) => ExitCode::BadInput,
        VerifyError::Store(error) => code_of_store(error),
        VerifyError::Source(SourceError::Io(_) | SourceError::Unreachable(_))
        | VerifyError::Read(_)
        | VerifyError::Judge(_)
        | VerifyError::NoParent(_)
        | VerifyError::Ledger(_)
        | VerifyError::Identity(_) => ExitCode::Infrastructure,
    }
}

/// A format that this build does not read is the caller's choice of directory; everything else is
/// the machine's.
pub(crate) fn code_of_store(error: &StoreError) -> ExitCode {
    match error {
        StoreError::FormatVersion { .. } => ExitCode::BadInput,
        _ => ExitCode::Infrastructure,
    }
}

/// A flag that is set when somebody asks the process to stop. Asked twice, it ends at once.
fn stop_on_signal() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let waiting = std::thread::Builder::new().name("shadow-signals".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            if signal().await.is_ok() {
                flag.store(true, Ordering::Relaxed);
                note("stopping after the block in hand; once more ends at once");
                let again = tokio::time::timeout(STOPPING_MAX, signal()).await;
                if again.is_err() {
                    // Nothing is lost: the block in hand has no verdict, and gets one in the next run.
                    note(
                        "stopping took too long: the block in hand is abandoned, and judged by the \
                          next run on the same --state-dir",
                    );
                    std::process::exit(i32::from(ExitCode::NotEnoughEvidence as u8));
                }
                std::process::exit(i32::from(ExitCode::Infrastructure as u8));
            }
        });
    });
    if let Err(error) = waiting {
        tracing::warn!(%error, "signals cannot be waited for; the process will end at once on one");
    }
    stop
}

async fn signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// The file of records in a state directory. A candidate that is wrong everywhere must not fill the
/// disk, so only so many are kept; all are counted in the ledger.
#[derive(Debug)]
struct RecordFile {
    file: JsonLines<File>,
    kept: u64,
}

impl RecordFile {
    fn open(directory: &std::path::Path) -> std::io::Result<Self> {
        let path = directory.join("mismatches.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        end_torn_line(&mut file)?;
        Ok(Self { file: JsonLines::new(file), kept: 0 })
    }
}

/// A process that died while it wrote left half a line, which must not swallow the next record.
fn end_torn_line(file: &mut File) -> std::io::Result<()> {
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(())
}

impl MismatchSink for RecordFile {
    fn publish(&mut self, record: &MismatchRecord) -> Result<(), SinkError> {
        self.kept += 1;
        if self.kept == RECORDS_MAX {
            tracing::warn!(RECORDS_MAX, "no more records of mismatches are kept by this run");
        }
        if self.kept > RECORDS_MAX { Ok(()) } else { self.file.publish(record) }
    }
}

const RECORDS_MAX: u64 = 1000;

/// How long the block in hand may take once somebody asked the process to stop. Whoever asked waits for
/// five seconds.
const STOPPING_MAX: Duration = Duration::from_millis(4_500);
