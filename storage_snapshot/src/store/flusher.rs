//! Flushing behind the back of whoever writes.
//!
//! A flush waits for the disk, and who commits block after block need not: what is promised about a
//! commit begins with the flush that somebody asks for. So when enough has been written this thread is
//! woken, and only a writer that is too far ahead of it waits itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

/// A thread that flushes when it is told to, until it is dropped.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Asked,
    Ending,
}

/// How much was written and not yet flushed.
#[derive(Default)]
pub(super) struct Unflushed(AtomicUsize);

impl Unflushed {
    /// Adds so many bytes and tells how many there are then.
    pub(super) fn add(&self, bytes: usize) -> usize {
        self.0.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// Flushes, and forgets what was written before that began.
    pub(super) fn flush<E>(&self, flush: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let before = self.bytes();
        flush()?;
        // Another flush may have forgotten the same bytes.
        let forget = |bytes: usize| Some(bytes.saturating_sub(before));
        let _always = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, forget);
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Flusher {
    /// A thread that calls `flush` every time that it is woken.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(super) fn start(flush: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::new(State::Idle), woken: Condvar::new() });
        let waiting = Arc::clone(&shared);
        let thread = thread::Builder::new().name("shadow-flusher".to_owned()).spawn(move || {
            while waiting.wait() {
                flush()
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Has it flush soon; asked again before it began, it flushes once.
    pub(super) fn wake(&self) {
        *self.shared.state.lock() = State::Asked;
        self.shared.woken.notify_one();
    }
}

impl Shared {
    /// Waits until there is something to do; false when there never will be.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        loop {
            match *state {
                State::Idle => self.woken.wait(&mut state),
                State::Asked => {
                    *state = State::Idle;
                    return true;
                }
                State::Ending => return false,
            }
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        *self.shared.state.lock() = State::Ending;
        self.shared.woken.notify_one();
        if let Some(thread) = self.thread.take() {
            // What it may have panicked with was printed; the writers meet the same failure.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_during_a_flush_is_not_taken_for_flushed() {
        let unflushed = Unflushed::default();
        unflushed.add(5);
        let flushed: Result<(), ()> = unflushed.flush(|| {
            unflushed.add(3);
            Ok(())
        });
        assert_eq!((flushed, unflushed.bytes()), (Ok(()), 3));
        assert_eq!(unflushed.flush(|| Err(())), Err(()));
        assert_eq!(unflushed.bytes(), 3);
    }

    #[test]
    fn a_flusher_that_is_dropped_has_let_go_of_the_database() {
        for _ in 0..20 {
            let database = Arc::new(());
            let held = Arc::clone(&database);
            let flusher = Flusher::start(move || drop(Arc::clone(&held))).unwrap();
            flusher.wake();
            drop(flusher);
            assert_eq!(Arc::strong_count(&database), 1);
        }
    }
}
