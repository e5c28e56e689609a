//! Every metric, declared once: its name, type, labels and help. What is served, what is documented and
//! what the dashboards may ask for all follow from this table.
//!
//! Labels are words out of lists that are known beforehand, and names of candidates, of which only the
//! first few have a label of their own. An address, a hash or a transaction is never one.

use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry,
    core::Collector,
};

/// What is known of a metric before it has a value.
#[derive(Clone, Copy, Debug)]
pub struct Declaration {
    /// Its name: `shadow_`, what is measured, and the unit.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// The upper bounds of its buckets, if it has any.
    pub buckets: &'static [f64],
    /// What it means.
    pub help: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts what happened since the process started, in whole numbers.
    Counter,
    /// The same in fractions.
    Sum,
    /// What is so now.
    Gauge,
    /// How values are distributed.
    Histogram,
}

impl Kind {
    /// The word for it in the exposition format.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter | Self::Sum => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

type Counter = IntCounterVec;
type Sum = CounterVec;
type Gauge = GaugeVec;
type Histogram = HistogramVec;

macro_rules! metrics {
    (@buckets) => { &[] };
    (@buckets $buckets:ident) => { $buckets };
    ($(
        $field:ident: $kind:ident = $name:literal
        $(by [$($label:literal),+])? $(within $buckets:ident)?, $help:literal;
    )*) => {
        /// Every metric, in the order in which they are documented.
        pub const DECLARATIONS: &[Declaration] = &[$(Declaration {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($($label),+)?],
            buckets: metrics!(@buckets $($buckets)?),
            help: $help,
        }),*];

        /// A place to put values into, for each.
        #[derive(Debug)]
        pub(super) struct Instruments {
            $(pub(super) $field: $kind,)*
        }

        impl Instruments {
            /// Registers all of them.
            pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
                let mut declarations = DECLARATIONS.iter();
                Ok(Self {
                    // Both lists are made from the same table, so neither ends before the other.
                    $($field: declarations.next().map_or_else(
                        || Err(prometheus::Error::Msg($name.to_owned())),
                        |declaration| <$kind as Instrument>::register(declaration, registry),
                    )?,)*
                })
            }
        }
    };
}

metrics! {
    ledger_blocks: Gauge = "shadow_ledger_blocks" by ["candidate", "verdict"],
        "Blocks of the chain as it is now ordered, by the verdict on each candidate. The sum of the ledger, so it survives a restart, and goes down where blocks are ordered away.";
    ledger_mismatches: Gauge = "shadow_ledger_mismatches" by ["candidate", "field"],
        "Differences in blocks of the chain as it is now ordered, by what differs. The sum of the ledger, so it survives a restart.";
    ledger_stale_mismatches: Gauge = "shadow_ledger_stale_mismatches",
        "Differences in blocks that have since been ordered away, without those that are accepted. They count against the candidate all the same.";
    fingerprints: Gauge = "shadow_fingerprints" by ["candidate", "state"],
        "Problems on record: mismatches of one fingerprint are one problem, whatever accounts and amounts they hit. Open, or accepted.";
    ledger_positions: Gauge = "shadow_ledger_positions" by ["state"],
        "Positions of the chain by what is known of them: exercised (compared at work, those with accepted differences included), agreed without proving anything or crashed (not_exercised), inconclusive, opaque, stale (ordered away and not replaced), missing (no entry).";
    ledger_kind_transactions: Gauge = "shadow_ledger_exercised_transactions" by ["candidate", "kind"],
        "Executed transactions in blocks in which the candidate was exercised, by kind. The sum of the ledger.";
    ledger_shape_transactions: Gauge = "shadow_ledger_exercised_shape_transactions" by ["candidate", "shape"],
        "Transactions that take part in a shape, a way in which transactions meet, in blocks in which the candidate was exercised. The sum of the ledger.";
    ledger_canaries: Gauge = "shadow_ledger_canaries" by ["outcome"],
        "Results that were altered on purpose, by whether that was noticed. One that was missed makes every match worthless. The sum of the ledger.";
    ledger_controls_again: Gauge = "shadow_ledger_controls_again" by ["outcome"],
        "Controls that were executed a second time, by whether they did the same. One that differs from itself makes every verdict worthless. The sum of the ledger, blocks included that were ordered away.";
    evidence_missing: Gauge = "shadow_evidence_missing",
        "How many things are missing for an answer; /api/status says each in a sentence. Above 0 a run that ended now would be without evidence, whatever else is green.";

    head_topoheight: Gauge = "shadow_head_topoheight",
        "The topoheight of the newest block that there is to be verified: the newest that the source is known to have, or, with --follow stable, the newest that the node calls stable.";
    stable_topoheight: Gauge = "shadow_stable_topoheight",
        "The topoheight through which the chain says that its order will stay; 0 where the source does not say.";
    verified_topoheight: Gauge = "shadow_verified_topoheight",
        "The topoheight of the newest block with a durable verdict.";
    lag_blocks: Gauge = "shadow_lag_blocks",
        "How many blocks the verdicts are behind the head.";
    lag_seconds: Gauge = "shadow_lag_seconds",
        "For how long the oldest block without a durable verdict has been known.";
    up_to_date: Gauge = "shadow_up_to_date",
        "1 while the lag is within its limit, 0 otherwise.";
    last_verdict_seconds: Gauge = "shadow_last_verdict_timestamp_seconds",
        "When the last verdict became durable, in seconds since 1970; 0 before the first.";

    judged_blocks: Counter = "shadow_judged_blocks_total" by ["candidate", "verdict"],
        "Verdicts that became durable since the process started, those included whose blocks were ordered away later.";
    not_exercised: Counter = "shadow_not_exercised_blocks_total" by ["candidate", "reason"],
        "Blocks that agreed and prove nothing, by the reason, since the process started.";
    inconclusive: Counter = "shadow_inconclusive_blocks_total" by ["reason"],
        "Blocks whose control cannot be trusted, by the reason, since the process started.";
    opaque: Counter = "shadow_opaque_blocks_total" by ["kind"],
        "Blocks that are not executed here, by what they hold, since the process started.";
    schedule_dependent: Counter = "shadow_schedule_dependent_blocks_total" by ["candidate"],
        "Blocks in which runs of the candidate under different schedules differ from each other, since the process started.";
    transactions: Counter = "shadow_transactions_total" by ["outcome"],
        "Transactions by what became of them in the control (executed, skipped, failed, or opaque where there is none), since the process started.";
    kind_transactions: Counter = "shadow_kind_transactions_total" by ["kind", "outcome"],
        "The same transactions by their kind, and by whether they took effect (executed, not_executed).";
    conservation_unchecked: Counter = "shadow_conservation_unchecked_blocks_total",
        "Blocks with an asset whose conservation could not be checked, because a failed transaction touched it, since the process started.";
    quirks: Counter = "shadow_quirks_total" by ["quirk"],
        "Oddities of the chain's serial path that fired, since the process started.";
    canaries: Counter = "shadow_canaries_total" by ["outcome"],
        "Results that were altered on purpose, by whether that was noticed, since the process started.";
    re_orders: Counter = "shadow_re_orders_total",
        "Re-orders that took judged blocks back, since the process started.";
    re_ordered_blocks: Counter = "shadow_re_ordered_blocks_total",
        "Judged blocks that were taken back by them.";
    re_order_depth: Histogram = "shadow_re_order_depth_blocks" within DEPTHS,
        "How many judged blocks a re-order took back.";

    workers: Gauge = "shadow_exercise_workers" by ["candidate"],
        "Workers that the candidate ran its last block under.";
    in_flight: Gauge = "shadow_exercise_in_flight" by ["candidate"],
        "Workers that executed something of the widest batch of the candidate's last block.";
    in_flight_max: Gauge = "shadow_exercise_in_flight_max" by ["candidate"],
        "The most of them in any block since the process started.";
    batches: Counter = "shadow_exercise_batches_total" by ["candidate"],
        "Batches in which the candidate executed its blocks, since the process started.";
    runs: Counter = "shadow_exercise_runs_total" by ["candidate"],
        "How often the candidate ran a block, repetitions under other schedules included, since the process started.";

    step_seconds: Histogram = "shadow_step_seconds" by ["step"] within SECONDS,
        "How long the steps of a block took: serial (the control), parallel (all runs of all candidates), compare, commit.";
    speedup: Histogram = "shadow_speedup_ratio" by ["candidate"] within RATIOS,
        "Serial seconds by the candidate's own, of each block in which it was exercised. Both run beside other work on the same machine; `shadow bench` measures with more care.";
    speedup_serial: Sum = "shadow_speedup_serial_seconds_total" by ["candidate", "block_transactions", "conflict_rate"],
        "Serial seconds of the blocks in which the candidate was exercised, by their size and by how many of their transactions meet others in the most common way. Divided by shadow_speedup_candidate_seconds_total it is the speed-up.";
    speedup_candidate: Sum = "shadow_speedup_candidate_seconds_total" by ["candidate", "block_transactions", "conflict_rate"],
        "The candidate's own seconds for the same blocks.";

    loads: Counter = "shadow_loads_total" by ["source"],
        "State reads of the candidates by where the answer came from, cache or store, since the process started. The share of cache is what the cache saved.";
    queue_depth: Gauge = "shadow_queue_depth_blocks",
        "Blocks that wait for their verdict.";
    queue_limit: Gauge = "shadow_queue_limit_blocks",
        "How many may wait before the control waits for them; fewer if they are large.";

    node_answers: Counter = "shadow_node_answers_total" by ["use"],
        "The node's answers about state by what became of them: compared, differ, taken (where nothing is executed here), not_asked (questions that nobody put), since the process started.";
    node_requests: Counter = "shadow_node_requests_total" by ["method"],
        "Requests to the node, retries and attempts to subscribe to its events included, since the process started.";
    node_errors: Counter = "shadow_node_errors_total" by ["method", "error"],
        "Requests to the node that failed: connect, timeout, status, protocol (no sense in the answer), refused (an error of the node), since the process started.";
    node_seconds: Histogram = "shadow_node_request_seconds" by ["method"] within NODE_SECONDS,
        "How long the node took to answer.";
    node_bytes: Counter = "shadow_node_received_bytes_total",
        "Bytes that the node answered with, since the process started.";
    node_in_flight: Gauge = "shadow_node_requests_in_flight",
        "Requests to the node without an answer yet.";
    node_reconnects: Counter = "shadow_node_reconnects_total",
        "How often the events of the node had to be subscribed to again, since the process started.";
    node_events: Counter = "shadow_node_events_total",
        "Events that the node sent, since the process started.";

    state_bytes: Gauge = "shadow_state_bytes" by ["part"],
        "Bytes in the state directory: store, and evidence (records of mismatches and what belongs to them).";
    disk_free: Gauge = "shadow_disk_free_bytes",
        "Bytes that are free on the disk of the state directory.";
    disk_size: Gauge = "shadow_disk_size_bytes",
        "Bytes that this disk has.";
    start_time: Gauge = "shadow_start_time_seconds",
        "When the process started, in seconds since 1970.";
    build: Gauge = "shadow_build_info" by ["version", "rules", "control_build"],
        "1, with the build in the labels.";
    config: Gauge = "shadow_config" by ["option"],
        "The options in effect that are numbers, by their names in a configuration file; of those that are switches 1 is on. check_node is whether a node's answers are compared.";
    series: Gauge = "shadow_metrics_series",
        "Series in the last answer.";
    scrapes: Counter = "shadow_metrics_scrapes_total",
        "How often the metrics were asked for.";
    scrape_seconds: Gauge = "shadow_metrics_gather_seconds",
        "How long it took to gather the last answer but one.";
}

/// A type of metric that can be registered.
trait Instrument: Sized {
    fn register(declaration: &Declaration, registry: &Registry) -> prometheus::Result<Self>;
}

impl Instrument for Counter {
    fn register(declaration: &Declaration, registry: &Registry) -> prometheus::Result<Self> {
        registered(Self::new(opts(declaration), declaration.labels)?, registry)
    }
}

impl Instrument for Sum {
    fn register(declaration: &Declaration, registry: &Registry) -> prometheus::Result<Self> {
        registered(Self::new(opts(declaration), declaration.labels)?, registry)
    }
}

impl Instrument for Gauge {
    fn register(declaration: &Declaration, registry: &Registry) -> prometheus::Result<Self> {
        registered(Self::new(opts(declaration), declaration.labels)?, registry)
    }
}

impl Instrument for Histogram {
    fn register(declaration: &Declaration, registry: &Registry) -> prometheus::Result<Self> {
        let buckets = declaration.buckets.to_vec();
        let options = HistogramOpts::from(opts(declaration)).buckets(buckets);
        registered(Self::new(options, declaration.labels)?, registry)
    }
}

fn opts(declaration: &Declaration) -> Opts {
    Opts::new(declaration.name, declaration.help)
}

fn registered<C: Collector + Clone + 'static>(
    instrument: C,
    registry: &Registry,
) -> prometheus::Result<C> {
    registry.register(Box::new(instrument.clone()))?;
    Ok(instrument)
}

/// From a block of a few transfers to one of ten thousand on a slow program.
const SECONDS: &[f64] = &[1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
const NODE_SECONDS: &[f64] = &[1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
const RATIOS: &[f64] = &[0.1, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0];
const DEPTHS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0];
