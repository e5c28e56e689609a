//! One run from the first block of a source to its end, or to where it was stopped.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use comparator::{JsonLines, MismatchRecord, MismatchSink, SinkError};
use storage_snapshot::{Store, StoreError, StoreOptions, TopoHeight};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    accept::Acceptances,
    canary::CanaryRate,
    candidate_spec::{CandidateSpec, ParseCandidateError, StartCandidateError, start, start_all},
    cli::complain,
    evidence::{Archive, ArchiveLimits, EVIDENCE, Evidence},
    execute::{BlockExecutor, external::end_all},
    exit_code::ExitCode,
    http::{ListenAddress, Server, bind},
    judge::{Candidate, Judge, JudgeError, Keeping, NODE, NODE_BUILD, Progress},
    ledger::{LedgerError, check_whole, entries},
    metrics::{LagLimit, Metrics, Setup},
    node::NodeCheck,
    on_mismatch::{self, Announcer, CommandCounts, MismatchCommand, OnMismatch},
    pace::Pace,
    progress::{Reporter, note},
    run_report::{Findings, Lags},
    schedules::Schedules,
    source::{BlockSource, ChainEvent, SourceError, node::NodeWatch},
    summary::{RunVerdict, Summary, TrafficOfRun},
    triage::{Triage, TriageLimits, Triager},
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
    /// From how many transactions on a block is put to the candidates.
    pub(crate) transactions_min: usize,
    /// How long a candidate may take for one run of a block.
    pub(crate) budget: Duration,
    /// How often a result is altered to see whether it is noticed.
    pub(crate) canaries: CanaryRate,
    /// Whether the node's answers are compared.
    pub(crate) node: NodeCheck,
    /// Where to answer whoever wants to know how it goes.
    pub(crate) listen: Option<ListenAddress>,
    /// How long it goes on, and how fast.
    pub(crate) pace: Pace,
    /// Where evidence is kept; in the state directory if it is not told.
    pub(crate) report: Option<PathBuf>,
    /// How often the first case of a problem is run again; 0 for not at all.
    pub(crate) triage_runs: u32,
    /// Whether the first case of a problem is also minimised.
    pub(crate) minimize: bool,
    /// What is run when a problem is found, and how long it may take.
    pub(crate) on_mismatch: Option<(MismatchCommand, Duration)>,
    /// How many blocks below the last judged one can be rolled back.
    pub(crate) keep_blocks: u64,
    /// When a run counts as behind.
    pub(crate) lag_limit: LagLimit,
    /// The options of the command line that are numbers, by their names in a configuration file.
    pub(crate) numbers: BTreeMap<String, f64>,
}

impl RunOptions {
    /// Those that are numbers: the ones of the command line, and what they come to where that depends on the
    /// machine or on the command.
    fn numbers(&self) -> BTreeMap<String, f64> {
        let mut numbers = self.numbers.clone();
        numbers.insert("workers".to_owned(), f64::from(self.workers));
        let check_node = self.node == NodeCheck::Compare;
        numbers.insert("check_node".to_owned(), f64::from(u8::from(check_node)));
        numbers
    }
}

/// Where state and verdicts go.
#[derive(Debug)]
pub(crate) enum StateDirectory {
    /// Here, and they stay.
    Given(PathBuf),
    /// Somewhere, and they go away with the run unless something differs.
    Temporary,
}

/// Verifies everything that a source yields and sums up the ledger. Whoever wants to tell more about it
/// than the summary does is told what there is, once there is a ledger.
pub(crate) fn run(
    options: &RunOptions,
    directory: StateDirectory,
    findings: Option<&mut Findings>,
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
    // Before anything is started that would be left behind.
    let stop = stop_on_signal("stopping after the block in hand; once more ends at once");
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
    for executor in &executors {
        summary.ask_for(executor.name(), executor.build());
    }
    if options.node == NodeCheck::Compare {
        summary.ask_for(NODE, NODE_BUILD);
    }
    let (path, temporary) = match directory_of(directory) {
        Ok(directory) => directory,
        Err(error) => {
            let message = format!("making a temporary directory: {error}");
            return failed(summary, seconds(), message, ExitCode::Infrastructure);
        }
    };
    let listener = match options.listen.map(bind).transpose() {
        Ok(listener) => listener,
        Err(error) => {
            let address = options.listen.map_or_else(String::new, |address| address.0.to_string());
            let message = format!("listening on {address}: {error}; give --listen another address");
            return failed(summary, seconds(), message, ExitCode::Infrastructure);
        }
    };
    let listen_address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let store_options = StoreOptions {
        listen_address: listen_address.map(|address| address.to_string()),
        ..StoreOptions::default()
    };
    let store = match Store::open(&path, store_options) {
        Ok(store) => store,
        Err(error) => {
            let (code, message) = (code_of_store(&error), error.to_string());
            return failed(summary, seconds(), message, code);
        }
    };

    if let Err(error) = Acceptances::read(&path) {
        return failed(summary, seconds(), error.to_string(), ExitCode::BadInput);
    }
    // A directory of another chain has nothing to say about this one.
    if let Err(error) = claim(&store, &*source) {
        return failed(summary, seconds(), error.to_string(), code_of(&error));
    }
    let watched = listener.map(|listener| {
        let node = (NODE.to_owned(), NODE_BUILD.to_owned());
        let node = (options.node == NodeCheck::Compare).then_some(node);
        let name_and_build =
            |executor: &Arc<dyn BlockExecutor>| (executor.name().to_owned(), executor.build());
        let setup = Setup {
            chain: source.identity().name.clone(),
            candidates: executors.iter().map(name_and_build).chain(node).collect(),
            options: options.numbers(),
            directory: path.clone(),
            evidence: options.report.clone().unwrap_or_else(|| path.join(EVIDENCE)),
            lag_limit: options.lag_limit,
        };
        Watched::start(setup, listener, &store)
    });
    let (metrics, server) = match watched.transpose() {
        Ok(watched) => watched.map(|watched| (watched.metrics, watched.server)).unzip(),
        Err((code, message)) => return failed(summary, seconds(), message, code),
    };
    if let Some((metrics, watch)) = metrics.as_ref().zip(source.watch()) {
        watch.traffic.observe(Arc::clone(metrics));
    }
    let mut lags = Lags::default();
    let outside = Outside { metrics, stop: &stop, lags: &mut lags };
    let mut told = Told::default();
    let outcome = verify(options, executors, &path, &store, outside, &mut *source, &mut told);
    summary.add_traffic(told.traffic);
    summary.add_commands(told.commands);
    if let Some(server) = server {
        server.stop();
    }
    if let Some(findings) = findings {
        *findings = Findings::of(&store, &path, lags);
    }
    // Read at the end: something may have been accepted while the run went on.
    match Acceptances::read(&path) {
        Ok(acceptances) => summary = summary.accepting(acceptances),
        // What was found is told all the same, with nothing accepted.
        Err(error) => complain(&error.to_string()),
    }
    let added = add_ledger(&mut summary, &store);
    let digest = store.tip().map(|tip| tip.digest);
    let (summary, code) = match outcome.and_then(|end| added.map(|()| end)) {
        Ok(End::Complete | End::TimeIsUp) => {
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
    /// It was to go on for so long and no longer.
    TimeIsUp,
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

/// Whoever answers questions, and what from.
struct Watched {
    metrics: Arc<Metrics>,
    server: Server,
}

impl Watched {
    fn start(
        setup: Setup,
        listener: TcpListener,
        store: &Store,
    ) -> Result<Self, (ExitCode, String)> {
        let failed =
            |error: &dyn Error| (ExitCode::Infrastructure, format!("answering over HTTP: {error}"));
        let metrics = Arc::new(Metrics::new(setup).map_err(|error| failed(&error))?);
        let server = Server::start(listener, Arc::clone(&metrics), store.clone())
            .map_err(|error| failed(&error))?;
        metrics.restore(entries(store, TopoHeight::GENESIS)).map_err(|error| {
            let message = error.to_string();
            (code_of(&error.into()), message)
        })?;
        Ok(Self { metrics, server })
    }
}

/// What a run has to say besides what is in its ledger.
#[derive(Default)]
struct Told {
    traffic: Option<TrafficOfRun>,
    commands: Option<CommandCounts>,
}

/// What goes on beside a run.
struct Outside<'a> {
    metrics: Option<Arc<Metrics>>,
    /// Set when somebody asks the run to stop.
    stop: &'a AtomicBool,
    /// How far the verdicts are behind.
    lags: &'a mut Lags,
}

fn verify(
    options: &RunOptions,
    executors: Vec<Arc<dyn BlockExecutor>>,
    path: &Path,
    store: &Store,
    outside: Outside<'_>,
    source: &mut dyn BlockSource,
    told: &mut Told,
) -> Result<End, VerifyError> {
    let Outside { metrics, stop, lags } = outside;
    let progress = Arc::new(Progress { metrics: metrics.clone(), ..Progress::default() });
    let schedules = Schedules::disturbed(options.schedules, options.workers)
        .from_transactions(options.transactions_min);
    let candidates = executors.into_iter().map(|executor| Candidate { executor, schedules });
    let sink = RecordFile::open(path).map_err(SourceError::Io)?;
    let evidence = options.report.clone().unwrap_or_else(|| path.join(EVIDENCE));
    let on_mismatch = options.on_mismatch.clone().map(|(command, limit)| {
        OnMismatch::start(command, limit, path, &evidence).map_err(SourceError::Io)
    });
    let on_mismatch = on_mismatch.transpose()?;
    let announcer = on_mismatch.as_ref().map(OnMismatch::announcer);
    let judge = Judge::start_keeping(
        store.clone(),
        candidates.collect(),
        options.canaries,
        Box::new(sink),
        Arc::clone(&progress),
        Some(keeping(options, path, evidence, announcer)?),
    )
    .map_err(SourceError::Io)?;
    let mut verifier = Verifier::new(store.clone(), source, options.node, judge)?;
    source.go_on(&verifier.held()).map_err(VerifyError::Source)?;
    // A run that goes on for a time is nowhere near the end of its source.
    let total = source.block_count().filter(|_| options.pace.duration.is_none());
    let mut reporter = Reporter::new(total, options.pace.duration, Arc::clone(&progress));

    let mut walk = options.pace.start();
    let mut end = End::Complete;
    let watch = source.watch();
    let (mut blocks, mut last_head) = (0, None);
    let taken = loop {
        if stop.load(Ordering::Relaxed) {
            end = End::Interrupted(Interruption::Signal);
            break Ok(());
        }
        if walk.is_over() {
            end = End::TimeIsUp;
            break Ok(());
        }
        // What an earlier run did takes no time.
        if !verifier.has_passed_over() {
            walk.wait(stop);
        }
        match source.next_event() {
            Ok(Some(event)) => {
                blocks += u64::from(matches!(event, ChainEvent::Committed(_)));
                let head = watch.as_ref().map(NodeWatch::head).or_else(|| event.head());
                if let Some((metrics, head)) = metrics.as_ref().zip(head)
                    && last_head.replace(head) != Some(head)
                {
                    metrics.head(head);
                }
                if let Some((metrics, node)) = metrics.as_ref().zip(watch.as_ref()) {
                    metrics.stable(node.status.stable());
                }
                if let Err(error) = verifier.take(event) {
                    break Err(error);
                }
                lags.note(head, progress.positions.load(Ordering::Relaxed));
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
    if let Some(metrics) = &metrics {
        metrics.ended(match &taken {
            Ok(()) => "the last verdicts are being finished",
            Err(_) => "it failed, as the log says",
        });
    }
    told.traffic = watch.map(|watch| TrafficOfRun::new(blocks, watch.traffic.counts()));
    // What the judge failed with is the cause of what the verifier saw of it.
    let judged = match end {
        End::Complete => verifier.finish(),
        End::Interrupted(Interruption::Signal) => verifier.abandon(),
        End::Interrupted(Interruption::Source(_)) | End::TimeIsUp => verifier.stop(),
    };
    reporter.finish();
    told.commands = on_mismatch.map(|on_mismatch| match end {
        End::Interrupted(Interruption::Signal) => on_mismatch.abandon(),
        _ => on_mismatch.finish(),
    });
    match (taken, judged) {
        (Err(VerifyError::Judge(_) | VerifyError::Store(StoreError::Broken)), Err(cause)) => {
            Err(cause)
        }
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        // What was abandoned has no verdict yet, and gets one in the next run.
        (Ok(()), Ok(())) if end == End::Interrupted(Interruption::Signal) => Ok(end),
        (Ok(()), Ok(())) => Ok(check_whole(store).map(|()| end)?),
    }
}

/// Where evidence goes, and who looks into it.
fn keeping(
    options: &RunOptions,
    state_dir: &Path,
    evidence: PathBuf,
    announcer: Option<Announcer>,
) -> Result<Keeping, VerifyError> {
    let archive =
        Archive::open(evidence, ArchiveLimits::default()).map_err(JudgeError::Evidence)?;
    let (workers, budget, memory) = (options.workers, options.budget, options.memory_bytes);
    let start_again = move |spec: &str| {
        let spec: CandidateSpec =
            spec.parse().map_err(|error: ParseCandidateError| error.to_string())?;
        start(&spec, workers, budget, memory).map_err(|error| error.to_string())
    };
    let limits = TriageLimits { runs: options.triage_runs, ..TriageLimits::default() };
    let triager = match (options.triage_runs, options.minimize) {
        (0, false) => None,
        (_, minimize) => {
            let triager = Triager::start(limits, minimize, Box::new(start_again));
            let mut triager = triager.map_err(SourceError::Io)?;
            // A process that died left the triage of what it had kept to the next one.
            if limits.runs > 0 {
                let left = archive.first_cases().filter(|case| is_left(case, &options.candidates));
                left.for_each(|case| triager.submit(&case));
            }
            Some(triager)
        }
    };
    let (state_dir, keep_blocks) = (state_dir.to_owned(), options.keep_blocks);
    Ok(Keeping { archive, state_dir, triager, announcer, keep_blocks })
}

/// Whether nobody has looked into evidence, and its candidate is one of these: no other command is run because a
/// file says so.
fn is_left(case: &Path, candidates: &[CandidateSpec]) -> bool {
    let is_one_of_these = |evidence: &Evidence| {
        let spec = evidence.candidate_spec.as_deref();
        spec.is_some_and(|spec| candidates.iter().any(|candidate| candidate.to_string() == spec))
    };
    matches!(Triage::read(case), Ok(None))
        && Evidence::read(case).is_ok_and(|evidence| is_one_of_these(&evidence))
}

fn add_ledger(summary: &mut Summary, store: &Store) -> Result<(), VerifyError> {
    for entry in entries(store, TopoHeight::GENESIS) {
        summary.add(&entry?);
    }
    Ok(())
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
        | VerifyError::DeepReOrder { .. }
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

/// A flag that is set when somebody asks the process to stop. Asked twice, it ends at once, and what it
/// started with it.
pub(crate) fn stop_on_signal(what: &'static str) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = listen(Arc::clone(&stop), what) {
        tracing::warn!(%error, "signals cannot be waited for; the process will end at once on one");
    }
    stop
}

/// Listens from when it returns on.
fn listen(stop: Arc<AtomicBool>, what: &'static str) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    let waiting = move || {
        runtime.block_on(async {
            signals.next().await;
            stop.store(true, Ordering::Relaxed);
            note(what);
            let again = tokio::time::timeout(STOPPING_MAX, signals.next()).await;
            end_all();
            on_mismatch::end_running();
            let code = match again {
                Ok(()) => {
                    note(
                        "ended at once, without a summary; the same --state-dir goes on from here",
                    );
                    ExitCode::Infrastructure
                }
                Err(_) => {
                    // Nothing is lost: the block in hand has no verdict, and gets one in the next run.
                    note(
                        "stopping took too long: the block in hand is abandoned, and judged by the \
                         next run on the same --state-dir",
                    );
                    ExitCode::NotEnoughEvidence
                }
            };
            std::process::exit(i32::from(code as u8));
        });
    };
    std::thread::Builder::new().name("shadow-signals".to_owned()).spawn(waiting).map(drop)
}

/// The signals that ask a process to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    end: Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            end: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.end.recv() => {}
        }
    }
}

/// The file of records in a state directory. A candidate that is wrong everywhere must not fill the
/// disk, so only so many are kept; all are counted in the ledger.
#[derive(Debug)]
struct RecordFile {
    file: JsonLines<File>,
    kept: u64,
}

impl RecordFile {
    fn open(directory: &Path) -> std::io::Result<Self> {
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
