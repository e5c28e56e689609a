//! What following a node costs the node, in numbers that can be read from outside at any time.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;

use super::error::NodeError;
use crate::metrics::{Metrics, NodeError as Failure};

/// Counts everything that was asked of a node. Shared between whoever asks and whoever looks.
#[derive(Debug, Default)]
pub struct Traffic {
    counts: Mutex<TrafficCounts>,
    /// Told the same as it happens, once somebody looks.
    metrics: OnceLock<Arc<Metrics>>,
}

/// What was asked of a node so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TrafficCounts {
    /// HTTP requests, repetitions included.
    pub requests: u64,
    /// Those of them that did not bring an answer to everything that was asked.
    pub failed_requests: u64,
    /// How long they were under way, in seconds; several at once count each.
    pub request_seconds: f64,
    /// The most that were under way at once.
    pub in_flight_max: u64,
    /// Bytes of questions.
    pub bytes_sent: u64,
    /// Bytes of answers.
    pub bytes_received: u64,
    /// Events that the node announced by itself.
    pub events: u64,
    /// How often the connection for events was made.
    pub event_connections: u64,
    /// The questions by method; a request holds up to 20 of them.
    pub methods: BTreeMap<&'static str, MethodCounts>,
}

/// The questions of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MethodCounts {
    /// How often it was asked, repetitions included.
    pub calls: u64,
    /// How often the answer was an error, "there is no such thing" not counted.
    pub errors: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// How long the requests took that it was part of, in seconds.
    pub seconds: f64,
    /// The longest of them.
    pub seconds_max: f64,
}

impl Traffic {
    /// What was counted so far.
    pub fn counts(&self) -> TrafficCounts {
        self.counts.lock().clone()
    }

    /// Has everything from now on counted in metrics too.
    pub(crate) fn observe(&self, metrics: Arc<Metrics>) {
        // Somebody who looks already goes on looking.
        let _ = self.metrics.set(metrics);
    }

    /// A request is on its way; a batch of questions is one of the method `batch`.
    pub(super) fn started(&self, method: &str) {
        if let Some(metrics) = self.metrics.get() {
            metrics.node().started(method);
        }
    }

    /// It came to its end after so long.
    pub(super) fn ended(&self, method: &str, elapsed: Duration, error: Option<&NodeError>) {
        {
            let mut counts = self.counts.lock();
            counts.failed_requests += u64::from(error.is_some());
            counts.request_seconds += elapsed.as_secs_f64();
        }
        if let Some(metrics) = self.metrics.get() {
            metrics.node().ended(method, elapsed, error.map(kind));
        }
    }

    pub(super) fn sent(&self, bytes: usize, in_flight: usize) {
        let mut counts = self.counts.lock();
        counts.requests += 1;
        counts.bytes_sent += bytes as u64;
        counts.in_flight_max = counts.in_flight_max.max(in_flight as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.counts.lock().bytes_received += bytes as u64;
        if let Some(metrics) = self.metrics.get() {
            metrics.node().received(bytes as u64);
        }
    }

    pub(super) fn answered(
        &self,
        elapsed: Duration,
        answers: impl IntoIterator<Item = (&'static str, usize, bool)>,
    ) {
        let seconds = elapsed.as_secs_f64();
        let mut counts = self.counts.lock();
        for (method, bytes, is_error) in answers {
            let method = counts.methods.entry(method).or_default();
            method.calls += 1;
            method.errors += u64::from(is_error);
            method.bytes += bytes as u64;
            method.seconds += seconds;
            method.seconds_max = method.seconds_max.max(seconds);
        }
    }

    /// Whether a question of this kind was ever answered.
    pub(super) fn has_answered(&self, method: &str) -> bool {
        self.counts.lock().methods.get(method).is_some_and(|method| method.calls > method.errors)
    }

    /// An attempt to subscribe to the events came to its end, after so long.
    pub(super) fn subscribed(&self, elapsed: Duration, error: Option<Failure>) {
        let connections = {
            let mut counts = self.counts.lock();
            counts.event_connections += u64::from(error.is_none());
            counts.event_connections
        };
        if let Some(metrics) = self.metrics.get() {
            metrics.node().subscribed(elapsed, error);
            if error.is_none() && connections > 1 {
                metrics.node().reconnected();
            }
        }
    }

    pub(super) fn event(&self) {
        self.counts.lock().events += 1;
        if let Some(metrics) = self.metrics.get() {
            metrics.node().event();
        }
    }
}

fn kind(error: &NodeError) -> Failure {
    match error {
        NodeError::Unreachable(error) if error.is_timeout() => Failure::Timeout,
        NodeError::Status { .. } => Failure::Status,
        NodeError::Garbled(_) | NodeError::TooLong | NodeError::Incomplete { .. } => {
            Failure::Protocol
        }
        NodeError::Failed { .. } | NodeError::Refused { .. } => Failure::Refused,
        _ => Failure::Connect,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{LagLimit, Setup};

    #[test]
    fn the_first_subscription_is_no_reconnect_and_a_failed_one_is_an_error() {
        let setup = Setup {
            chain: String::new(),
            candidates: BTreeMap::new(),
            options: BTreeMap::new(),
            directory: "there is none".into(),
            evidence: "there is none".into(),
            lag_limit: LagLimit::default(),
        };
        let metrics = Arc::new(Metrics::new(setup).unwrap());
        let traffic = Traffic::default();
        traffic.observe(Arc::clone(&metrics));
        let check = |error, reconnects: u64, errors: u64| {
            traffic.subscribed(Duration::ZERO, error);
            let text = metrics.render().unwrap();
            for line in [
                format!("\nshadow_node_reconnects_total {reconnects}\n"),
                format!(
                    "\nshadow_node_errors_total{{error=\"connect\",method=\"subscribe\"}} {errors}\n"
                ),
            ] {
                assert!(text.contains(&line), "no {line:?}");
            }
        };
        check(None, 0, 0);
        check(Some(Failure::Connect), 0, 1);
        check(None, 1, 1);
        check(None, 2, 1);
        assert_eq!(traffic.counts().event_connections, 3);
    }
}
