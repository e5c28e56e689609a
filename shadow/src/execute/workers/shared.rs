//! A pool that several callers share, one at a time.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use comparator::{Failure, Schedule};

use super::WorkerPool;

/// A pool that is grown to the largest worker count asked for. An engine runs one block at a time; the mutex is
/// how a second caller waits for its turn, no lane ever takes it.
#[derive(Debug)]
pub(in crate::execute) struct SharedPool(Mutex<WorkerPool>);

impl SharedPool {
    /// A pool with so many workers ready.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(in crate::execute) fn new(workers: usize) -> io::Result<Self> {
        Ok(Self(Mutex::new(WorkerPool::new(workers)?)))
    }

    /// The pool, with at least so many workers, for as long as it is held.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread: the engine has no result then.
    pub(in crate::execute) fn with(
        &self,
        workers: usize,
    ) -> Result<MutexGuard<'_, WorkerPool>, Failure> {
        // A panic in a lane leaves the pool as it was, so a poisoned mutex means nothing here.
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pool.grow(workers)
            .map_err(|error| Failure::Error(format!("starting {workers} workers: {error}")))?;
        Ok(pool)
    }
}

/// How many workers a schedule asks for; at least one.
pub(in crate::execute) fn workers_of(schedule: Schedule) -> usize {
    (schedule.workers as usize).max(1)
}
