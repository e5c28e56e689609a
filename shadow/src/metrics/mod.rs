//! What a run shows of itself in numbers, for Prometheus and for whoever asks.
//!
//! Fed from one place: the judge hands over every entry of the ledger once it is durable, so nothing is
//! shown that a crash could take back. What the ledger sums up (`shadow_ledger_…`) is a gauge that starts
//! from the ledger of the state directory and goes down where blocks are ordered away; everything else
//! counts from the start of the process, so that a rate over a restart is right.

mod activity;
mod declared;
mod describe;
mod evidence;
mod found;
mod head;
mod levels;
mod machine;
mod node;
mod problems;
mod status;
#[cfg(test)]
mod tests;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use prometheus::{Encoder, Registry, TextEncoder, process_collector::ProcessCollector};
use storage_snapshot::TopoHeight;

pub(crate) use self::found::{Problem, Standing, Stretch, Stretches};
use self::{
    declared::Instruments,
    found::Found,
    levels::{Levels, NONE},
    machine::Machine,
    problems::Problems,
    words::CandidateNames,
};
pub use self::{
    declared::{DECLARATIONS, Declaration, Kind},
    describe::describe,
    head::Lag,
    node::{NodeError, NodeMetrics},
    status::{CandidateStatus, Check, Status},
};
pub(crate) use self::{
    head::Head,
    words::{CONFLICT_RATES, SIZES, conflict_rate_of, size_of},
};
use crate::{
    execute::{BlockExecutor, SerialExecutor},
    fingerprint::FingerprintId,
    last_word::Amended,
    ledger::{LedgerEntry, LedgerError},
    rules::RULES,
};

/// A change of the ledger.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly every change is an entry")]
pub(crate) enum Change {
    /// A block has a verdict.
    Judged(LedgerEntry),
    /// More was found in a block that has one.
    Amended(Box<Amended>),
}

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    instruments: Instruments,
    started: Instant,
    setup: Setup,
    state: Mutex<State>,
    machine: Mutex<Machine>,
}

/// What does not change while a run goes on.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which chain it is about.
    pub chain: String,
    /// Who is put under test, and which build of it.
    pub candidates: BTreeMap<String, String>,
    /// The configuration, where it is a number.
    pub options: BTreeMap<String, f64>,
    /// Where state and verdicts are.
    pub directory: PathBuf,
    /// Where evidence is kept.
    pub evidence: PathBuf,
    /// When the run counts as behind.
    pub lag_limit: LagLimit,
}

/// How far the verdicts may be behind until a run is not ready any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagLimit {
    /// For how long the oldest block may wait for its verdict.
    pub age: Duration,
    /// How many blocks may wait; `None` for any number.
    pub blocks: Option<u64>,
}

impl Default for LagLimit {
    /// A minute. How many blocks that is depends on the chain.
    fn default() -> Self {
        Self { age: Duration::from_secs(60), blocks: None }
    }
}

impl LagLimit {
    fn allows(self, lag: Lag) -> bool {
        lag.seconds <= self.age.as_secs_f64() && self.blocks.is_none_or(|most| lag.blocks <= most)
    }
}

/// What is more than what is allowed.
impl fmt::Display for LagLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} s", self.age.as_secs_f64())?;
        self.blocks.map_or(Ok(()), |most| write!(f, " or {most} blocks"))
    }
}

#[derive(Debug, Default)]
struct State {
    names: CandidateNames,
    levels: Levels,
    head: Head,
    /// The newest topoheights at which something differs, or did before its block was ordered away.
    mismatches: BTreeSet<TopoHeight>,
    has_forgotten_mismatches: bool,
    problems: Problems,
    found: Found,
    /// When the last verdict became durable.
    last_verdict: Option<Instant>,
    waiting: u64,
    /// When the node answered last, or was asked first; nothing where there is none.
    node_heard: Option<Instant>,
    /// Questions that it did not answer yet.
    node_in_flight: u64,
    /// Whether it did not answer the last one.
    node_failed: bool,
    restored: bool,
    ended: Option<String>,
}

impl State {
    fn differs_at(&mut self, topoheight: TopoHeight) {
        self.mismatches.insert(topoheight);
        if self.mismatches.len() > MISMATCHES_MAX {
            self.mismatches.pop_first();
            self.has_forgotten_mismatches = true;
        }
    }
}

impl Metrics {
    /// Everything is there, and zero.
    ///
    /// # Errors
    ///
    /// When two metrics have one name, which the declarations do not.
    pub fn new(setup: Setup) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let instruments = Instruments::register(&registry).map_err(MetricsError::Register)?;
        registry
            .register(Box::new(ProcessCollector::for_self()))
            .map_err(MetricsError::Register)?;
        let metrics = Self {
            registry,
            instruments,
            started: Instant::now(),
            machine: Mutex::new(Machine::see(&setup.directory)),
            setup,
            state: Mutex::default(),
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Takes over what the ledger of the state directory says already.
    ///
    /// # Errors
    ///
    /// When an entry cannot be read.
    pub fn restore(
        &self,
        entries: impl Iterator<Item = Result<LedgerEntry, LedgerError>>,
    ) -> Result<(), LedgerError> {
        let mut entries = entries.fuse().peekable();
        // Whoever asks meanwhile is told that it is being read, and does not wait for the end of it.
        while entries.peek().is_some() {
            let mut state = self.state();
            for entry in entries.by_ref().take(RESTORED_AT_ONCE) {
                let entry = entry?;
                self.know_candidates_of(&entry, &mut state);
                self.add(&mut state, entry);
            }
        }
        self.state().restored = true;
        Ok(())
    }

    /// These entries became durable, in this order.
    pub fn judged(&self, entries: Vec<LedgerEntry>) {
        self.changed(entries.into_iter().map(Change::Judged));
    }

    /// These changes of the ledger became durable, in this order.
    pub(crate) fn changed(&self, changes: impl IntoIterator<Item = Change>) {
        let mut state = self.state();
        for change in changes {
            match change {
                Change::Judged(entry) => self.count(&mut state, entry),
                Change::Amended(amended) => self.amend(&mut state, *amended),
            }
        }
    }

    fn count(&self, state: &mut State, entry: LedgerEntry) {
        self.know_candidates_of(&entry, state);
        activity::count(&entry, &mut state.names, &self.instruments);
        let taken_back = self.add(state, entry);
        if taken_back > 0 {
            activity::count_re_order(taken_back, &self.instruments);
        }
        state.last_verdict = Some(Instant::now());
        self.instruments.last_verdict_seconds.with_label_values(&NONE).set(seconds_since_1970());
    }

    /// The block was counted when it was judged, so what happened since the start is not more by it.
    fn amend(&self, state: &mut State, amended: Amended) {
        let Amended { before, entry, .. } = amended;
        state.problems.add(&entry);
        state.found.amend(&before, &entry);
        state.differs_at(entry.topoheight);
        let State { levels, names, .. } = state;
        levels.amend(&before, entry, names, &self.instruments);
    }

    fn know_candidates_of(&self, entry: &LedgerEntry, state: &mut State) {
        for judged in &entry.candidates {
            self.know_candidate(&judged.candidate, state);
        }
    }

    /// Every series of a candidate is there before anything of it is counted.
    fn know_candidate(&self, candidate: &str, state: &mut State) {
        let (name, new) = state.names.label(candidate);
        if new {
            levels::zero(&name, &self.instruments);
            activity::zero_candidate(&name, &self.instruments);
        }
    }

    fn add(&self, state: &mut State, entry: LedgerEntry) -> u64 {
        state.problems.add(&entry);
        state.found.add(&entry);
        if entry.mismatches() > 0 {
            state.differs_at(entry.topoheight);
        }
        let taken_back = state.levels.add(entry, &mut state.names, &self.instruments);
        if let Some(last) = state.levels.last() {
            state.head.verified(last);
        }
        taken_back
    }

    /// The source has a block at this topoheight, and none above that is known.
    pub fn head(&self, topoheight: TopoHeight) {
        self.state().head.is_at(topoheight, Instant::now());
    }

    /// The chain says that its order through this topoheight will stay.
    pub fn stable(&self, topoheight: TopoHeight) {
        self.state().head.stable(topoheight);
    }

    /// A block waits for its verdict.
    pub fn queued(&self) {
        self.state().waiting += 1;
    }

    /// It waits no more.
    pub fn taken(&self) {
        let mut state = self.state();
        state.waiting = state.waiting.saturating_sub(1);
    }

    /// What is counted of the requests to a node.
    pub const fn node(&self) -> NodeMetrics<'_> {
        NodeMetrics(self)
    }

    /// Nothing is verified any more, because of this.
    pub fn ended(&self, reason: &str) {
        self.state().ended = Some(reason.to_owned());
    }

    /// The newest topoheights below `before` at which something differs, or did before its block was
    /// ordered away; the newest first.
    pub fn mismatches_before(&self, before: TopoHeight, count: usize) -> Vec<TopoHeight> {
        self.state().mismatches.range(..before).rev().take(count).copied().collect()
    }

    /// Whether what the ledger said before the process began is known.
    pub(crate) fn is_restored(&self) -> bool {
        self.state().restored
    }

    /// Whether there are more of them in the ledger than are remembered.
    pub(crate) fn has_forgotten_mismatches(&self) -> bool {
        self.state().has_forgotten_mismatches
    }

    /// The verdicts over the whole range, as a bounded number of stretches.
    pub(crate) fn stretches(&self) -> Stretches {
        self.state().found.stretches().clone()
    }

    /// The problems that were found, in the order of where that was first.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        self.state().found.problems()
    }

    /// One of them.
    pub(crate) fn problem(&self, id: FingerprintId) -> Option<Problem> {
        self.state().found.problem(id)
    }

    /// The newest cases of a problem below `before`, those included that were ordered away; the newest
    /// first.
    pub(crate) fn cases_before(
        &self,
        id: FingerprintId,
        before: TopoHeight,
        count: usize,
    ) -> Vec<TopoHeight> {
        self.state().found.cases_before(id, before, count)
    }

    /// What does not change while the run goes on.
    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Looks again at what is not told but has to be looked at: the state directory and its disk. To be
    /// called now and then by whoever can wait for it.
    pub fn look(&self) {
        let seen = Machine::see(&self.setup.directory);
        *self.machine() = seen;
    }

    /// Everything, in the text format of Prometheus.
    ///
    /// # Errors
    ///
    /// Never for metrics that are declared here; the encoder's signature allows it.
    pub fn render(&self) -> Result<String, MetricsError> {
        let started = Instant::now();
        self.refresh();
        let families = self.registry.gather();
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text).map_err(MetricsError::Encode)?;
        let text = String::from_utf8(text).map_err(MetricsError::Text)?;
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        let to = &self.instruments;
        to.series.with_label_values(&NONE).set(series as f64);
        to.scrapes.with_label_values(&NONE).inc();
        to.scrape_seconds.with_label_values(&NONE).set(started.elapsed().as_secs_f64());
        Ok(text)
    }

    /// Brings up to date what is not counted but looked at.
    fn refresh(&self) {
        let to = &self.instruments;
        let gauge = |gauge: &prometheus::GaugeVec, value: f64| {
            gauge.with_label_values(&NONE).set(value);
        };
        let now = Instant::now();
        {
            let state = self.state();
            let at = |at: Option<TopoHeight>| at.map_or(0.0, |at| at.as_u64() as f64);
            let lag = state.head.lag(now);
            gauge(&to.head_topoheight, at(state.head.head()));
            gauge(&to.stable_topoheight, at(state.head.stable_topoheight()));
            gauge(&to.verified_topoheight, at(state.head.verified_topoheight()));
            gauge(&to.lag_blocks, lag.blocks as f64);
            gauge(&to.lag_seconds, lag.seconds);
            gauge(&to.up_to_date, f64::from(u8::from(self.is_up_to_date(lag, &state))));
            gauge(&to.queue_depth, state.waiting as f64);
        }
        let machine = self.machine();
        let mut state = self.state();
        let State { problems, names, .. } = &mut *state;
        problems.show(&machine.acceptances, names, to);
        state.levels.show_stale(&machine.acceptances, to);
        gauge(&to.evidence_missing, self.missing(&state).len() as f64);
        drop(state);
        to.state_bytes.with_label_values(&["store"]).set(machine.store_bytes as f64);
        to.state_bytes.with_label_values(&["evidence"]).set(machine.evidence_bytes as f64);
        gauge(&to.disk_free, machine.disk_free_bytes as f64);
        gauge(&to.disk_size, machine.disk_size_bytes as f64);
    }

    /// Sets what stays as it is, and makes every series be there.
    fn begin(&self) {
        let to = &self.instruments;
        activity::zero(to);
        self.node().zero();
        {
            let mut state = self.state();
            for (candidate, build) in &self.setup.candidates {
                self.know_candidate(candidate, &mut state);
                state.levels.ask_for(candidate, build);
            }
            state.levels.show(to);
        }
        for (option, value) in &self.setup.options {
            to.config.with_label_values(&[option]).set(*value);
        }
        let control = SerialExecutor.build();
        let build = [env!("CARGO_PKG_VERSION"), RULES, &control];
        to.build.with_label_values(&build).set(1.0);
        to.start_time.with_label_values(&NONE).set(seconds_since_1970());
        to.queue_limit.with_label_values(&NONE).set(crate::judge::QUEUE_LENGTH_MAX as f64);
        to.last_verdict_seconds.with_label_values(&NONE).set(0.0);
        to.series.with_label_values(&NONE).set(0.0);
        to.scrapes.with_label_values(&NONE);
        to.scrape_seconds.with_label_values(&NONE).set(0.0);
        self.refresh();
    }

    /// Of a node that says nothing nobody knows how far it is.
    fn is_up_to_date(&self, lag: Lag, state: &State) -> bool {
        self.setup.lag_limit.allows(lag) && self.silence(state).is_none()
    }

    /// For how long the node has said nothing although it was asked, if that is too long.
    fn silence(&self, state: &State) -> Option<Duration> {
        let is_asked = state.node_in_flight > 0 || state.node_failed;
        let silence = state.node_heard.filter(|_| is_asked).map(|heard| heard.elapsed());
        silence.filter(|silence| *silence > self.setup.lag_limit.age.max(NODE_SILENCE_USUAL))
    }

    /// A thread that panicked half way through counting left numbers, not broken memory.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Why there are no metrics.
#[derive(Debug)]
#[non_exhaustive]
pub enum MetricsError {
    /// One cannot be registered.
    Register(prometheus::Error),
    /// They have no text form.
    Encode(prometheus::Error),
    /// The text form is no text.
    Text(std::string::FromUtf8Error),
}

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register(_) => "a metric cannot be registered; please report it",
            Self::Encode(_) | Self::Text(_) => "the metrics cannot be written; please report it",
        })
    }
}

impl std::error::Error for MetricsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Register(error) | Self::Encode(error) => Some(error),
            Self::Text(error) => Some(error),
        }
    }
}

/// How many entries are taken over while nobody else may look.
const RESTORED_AT_ONCE: usize = 64;

/// A node that has nothing to say is asked more often than that.
const NODE_SILENCE_USUAL: Duration = Duration::from_secs(15);

/// How many topoheights with a mismatch are remembered for whoever asks.
const MISMATCHES_MAX: usize = 10_000;
