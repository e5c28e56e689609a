//! A pool that several callers share, one at a time.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
};

use comparator::{Failure, Schedule};

use super::WorkerPool;

/// A pool that is grown to the largest worker count asked for. An engine runs one block at a time. If it does not come
/// back from one, whoever asks next gets a pool of its own: the block that hangs is the only one to blame.
#[derive(Debug)]
pub(in crate::execute) struct SharedPool(Mutex<WorkerPool>);

/// A pool, for as long as it is held.
#[derive(Debug)]
pub(in crate::execute) enum HeldPool<'a> {
    /// The one that is shared.
    Shared(MutexGuard<'a, WorkerPool>),
    /// One of its own.
    Own(WorkerPool),
}

impl SharedPool {
    /// A pool with so many workers ready.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(in crate::execute) fn new(workers: usize) -> io::Result<Self> {
        Ok(Self(Mutex::new(WorkerPool::new(workers)?)))
    }

    /// A pool with at least so many workers.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread: the engine has no result then.
    pub(in crate::execute) fn with(&self, workers: usize) -> Result<HeldPool<'_>, Failure> {
        let failed = |error| Failure::Error(format!("starting {workers} workers: {error}"));
        let mut pool = match self.0.try_lock() {
            Ok(pool) => pool,
            // A panic in a lane leaves the pool as it was, so a poisoned mutex means nothing here.
            Err(TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            Err(TryLockError::WouldBlock) => {
                return WorkerPool::new(workers).map(HeldPool::Own).map_err(failed);
            }
        };
        pool.grow(workers).map_err(failed)?;
        Ok(HeldPool::Shared(pool))
    }
}

impl Deref for HeldPool<'_> {
    type Target = WorkerPool;

    fn deref(&self) -> &WorkerPool {
        match self {
            Self::Shared(pool) => pool,
            Self::Own(pool) => pool,
        }
    }
}

impl DerefMut for HeldPool<'_> {
    fn deref_mut(&mut self) -> &mut WorkerPool {
        match self {
            Self::Shared(pool) => pool,
            Self::Own(pool) => pool,
        }
    }
}

/// How many workers a schedule asks for; at least one.
pub(in crate::execute) fn workers_of(schedule: Schedule) -> usize {
    (schedule.workers as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_that_does_not_come_back_holds_nobody_up() {
        let pool = SharedPool::new(2).unwrap();
        let held = pool.with(2).unwrap();
        let own = pool.with(3).unwrap();
        assert!(matches!(own, HeldPool::Own(_)));
        assert_eq!((held.workers(), own.workers()), (2, 3));
        drop(held);
        assert!(matches!(pool.with(2).unwrap(), HeldPool::Shared(_)));
    }
}
