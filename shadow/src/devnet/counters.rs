//! What the stand-in saw of its clients, for tests that hold them to their limits.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// What came so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Questions by method, those in batches one by one. A method that does not exist counts under
    /// its name, too.
    pub by_method: BTreeMap<String, u64>,
    /// HTTP requests and WebSocket messages; a batch is one.
    pub messages: u64,
    /// The most messages that were being answered at one time.
    pub in_flight_max: u64,
    /// The most questions in one message.
    pub batch_max: u64,
    /// WebSocket connections that were opened.
    pub sockets: u64,
    /// Bytes of answers, without what surrounds them on the wire.
    pub answered_bytes: u64,
    /// How often each fault was played, by its name.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Requests {
    /// How many questions there were.
    pub fn questions(&self) -> u64 {
        self.by_method.values().sum()
    }
}

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: Requests,
    in_flight: u64,
}

/// A message that is being answered, for as long as this lives.
#[derive(Debug)]
pub(super) struct InFlight<'a>(&'a Counters);

impl Counters {
    pub(super) fn message(&self) -> InFlight<'_> {
        self.change(|counted| {
            counted.requests.messages += 1;
            counted.in_flight += 1;
            let most = counted.requests.in_flight_max.max(counted.in_flight);
            counted.requests.in_flight_max = most;
        });
        InFlight(self)
    }

    pub(super) fn question(&self, method: &str) {
        self.change(|counted| {
            let by_method = &mut counted.requests.by_method;
            if let Some(count) = by_method.get_mut(method) {
                *count += 1;
                return;
            }
            // Whoever asks for more methods than a node has will not fill the memory with it.
            let name = if by_method.len() < METHODS_MAX { method } else { "others" };
            *by_method.entry(name.to_owned()).or_default() += 1;
        });
    }

    pub(super) fn batch(&self, questions: usize) {
        self.change(|counted| {
            let batch_max = &mut counted.requests.batch_max;
            *batch_max = (*batch_max).max(questions as u64);
        });
    }

    pub(super) fn answered(&self, bytes: usize) {
        self.change(|counted| counted.requests.answered_bytes += bytes as u64);
    }

    pub(super) fn fault(&self, name: &'static str) {
        self.change(|counted| *counted.requests.faults.entry(name).or_default() += 1);
    }

    pub(super) fn socket(&self) {
        self.change(|counted| counted.requests.sockets += 1);
    }

    pub(super) fn read(&self) -> Requests {
        self.change(|counted| counted.requests.clone())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Counted) -> R) -> R {
        // Nothing panics while it is locked.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.change(|counted| counted.in_flight -= 1);
    }
}

const METHODS_MAX: usize = 200;
