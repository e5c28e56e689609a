//! What is counted of the requests to a node.

use std::time::{Duration, Instant};

use super::{Metrics, levels::NONE, words::among};
use crate::source::node::{METHODS, SUBSCRIBE};

/// Counts requests to a node. Borrowed from [`Metrics::node`].
#[derive(Clone, Copy, Debug)]
pub struct NodeMetrics<'a>(pub(super) &'a Metrics);

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeError {
    /// There is no connection.
    Connect,
    /// There was no answer in time.
    Timeout,
    /// The answer has another status than 200.
    Status,
    /// The answer makes no sense.
    Protocol,
    /// The node answered with an error.
    Refused,
}

impl NodeError {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::Connect, Self::Timeout, Self::Status, Self::Protocol, Self::Refused];

    /// The word for it in labels.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
        }
    }
}

impl NodeMetrics<'_> {
    /// A request is on its way. A batch is one request of the method `batch`.
    pub fn started(self, method: &str) {
        let to = &self.0.instruments;
        to.node_requests.with_label_values(&[label(method)]).inc();
        to.node_in_flight.with_label_values(&NONE).inc();
        let mut state = self.0.state();
        state.node_heard.get_or_insert_with(Instant::now);
        state.node_in_flight += 1;
    }

    /// So many bytes came.
    pub fn received(self, bytes: u64) {
        self.0.instruments.node_bytes.with_label_values(&NONE).inc_by(bytes);
    }

    /// A request came to its end, after so long.
    pub fn ended(self, method: &str, elapsed: Duration, error: Option<NodeError>) {
        let to = &self.0.instruments;
        let method = label(method);
        to.node_in_flight.with_label_values(&NONE).dec();
        to.node_seconds.with_label_values(&[method]).observe(elapsed.as_secs_f64());
        {
            let mut state = self.0.state();
            state.node_in_flight = state.node_in_flight.saturating_sub(1);
            // A refusal is an answer.
            state.node_failed = !matches!(error, None | Some(NodeError::Refused));
            if !state.node_failed {
                state.node_heard = Some(Instant::now());
            }
        }
        if let Some(error) = error {
            to.node_errors.with_label_values(&[method, error.word()]).inc();
        }
    }

    /// An event came.
    pub fn event(self) {
        self.0.instruments.node_events.with_label_values(&NONE).inc();
    }

    /// An attempt to subscribe to the events came to its end, after so long. It is no question, so whether the
    /// node answers is not told by it.
    pub fn subscribed(self, elapsed: Duration, error: Option<NodeError>) {
        let (to, method) = (&self.0.instruments, label(SUBSCRIBE));
        to.node_requests.with_label_values(&[method]).inc();
        to.node_seconds.with_label_values(&[method]).observe(elapsed.as_secs_f64());
        if let Some(error) = error {
            to.node_errors.with_label_values(&[method, error.word()]).inc();
        }
    }

    /// The events are subscribed to again.
    pub fn reconnected(self) {
        self.0.instruments.node_reconnects.with_label_values(&NONE).inc();
    }

    pub(super) fn zero(self) {
        let to = &self.0.instruments;
        for method in METHODS.iter().chain([&super::words::OTHER]) {
            to.node_requests.with_label_values(&[method]);
            to.node_seconds.with_label_values(&[method]);
            for error in NodeError::ALL {
                to.node_errors.with_label_values(&[method, error.word()]);
            }
        }
        to.node_bytes.with_label_values(&NONE);
        to.node_in_flight.with_label_values(&NONE);
        to.node_reconnects.with_label_values(&NONE);
        to.node_events.with_label_values(&NONE);
    }
}

fn label(method: &str) -> &str {
    among(method, METHODS)
}
