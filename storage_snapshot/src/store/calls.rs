//! Calls of the database, and the thread that wakes those that would never come back.
//!
//! The database writes on threads of its own. When such a write fails, the thread that met the failure takes
//! note of it, but in one of two places wakes nobody; whoever waits for that write waits for ever, unless another
//! writer comes by, finds the note and wakes all. A writer that waits for its own flush has no such neighbour.
//! So when calls are under way and none of them came back for a while, this thread comes by.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

/// How many calls began and came back.
#[derive(Default)]
pub(super) struct Calls {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Calls {
    /// Counts one; it has come back when what is returned is dropped.
    pub(super) fn begin(&self) -> Call<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call(self)
    }

    /// How many came back; `None` while all of them have.
    fn ended_while_some_wait(&self) -> Option<u64> {
        // Read in this order: a call that begins in between is not taken for one that waits.
        let begun = self.begun.load(Ordering::Acquire);
        let ended = self.ended.load(Ordering::Acquire);
        (ended < begun).then_some(ended)
    }
}

/// A call that is under way.
pub(super) struct Call<'a>(&'a Calls);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
    }
}

/// The thread, until it is dropped.
pub(super) struct Waker {
    shared: Arc<Ending>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Ending {
    is_ending: Mutex<bool>,
    told: Condvar,
}

impl Waker {
    /// Calls `wake` after every `patience` in which there were calls under way and none came back.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(super) fn start(
        calls: Arc<Calls>,
        patience: Duration,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Ending::default());
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new().name("shadow-waker".to_owned()).spawn(move || {
            let mut before = None;
            while watched.goes_on_after(patience) {
                let now = calls.ended_while_some_wait();
                if now.is_some() && now == before {
                    wake();
                }
                before = now;
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Ending {
    fn goes_on_after(&self, patience: Duration) -> bool {
        let mut is_ending = self.is_ending.lock();
        if !*is_ending {
            self.told.wait_for(&mut is_ending, patience);
        }
        !*is_ending
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        *self.shared.is_ending.lock() = true;
        self.shared.told.notify_one();
        if let Some(thread) = self.thread.take() {
            // What it may have panicked with was printed.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn calls_wait_from_their_beginning_to_their_end() {
        let calls = Calls::default();
        assert_eq!(calls.ended_while_some_wait(), None);
        let first = calls.begin();
        assert_eq!(calls.ended_while_some_wait(), Some(0));
        let second = calls.begin();
        drop(first);
        assert_eq!(calls.ended_while_some_wait(), Some(1));
        drop(second);
        assert_eq!(calls.ended_while_some_wait(), None);
    }

    #[test]
    fn a_call_that_does_not_come_back_is_woken_again_and_again() {
        let calls = Arc::new(Calls::default());
        let (woken, wakes) = mpsc::channel();
        let wake = move || woken.send(()).unwrap();
        let _waker = Waker::start(Arc::clone(&calls), Duration::from_millis(1), wake).unwrap();
        let _call = calls.begin();
        for _ in 0..3 {
            wakes.recv_timeout(Duration::from_secs(60)).unwrap();
        }
    }

    #[test]
    fn nobody_is_woken_where_nobody_waits() {
        let calls = Arc::new(Calls::default());
        drop(calls.begin());
        let (woken, wakes) = mpsc::channel();
        let wake = move || woken.send(()).unwrap();
        let waker = Waker::start(calls, Duration::from_millis(1), wake).unwrap();
        assert!(wakes.recv_timeout(Duration::from_millis(50)).is_err());
        drop(waker);
    }
}
