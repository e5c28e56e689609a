//! Whether the store may still write.
//!
//! After a write that failed, what is in memory may be ahead of what is on disk, and which part of it
//! is only known after opening it again. So the first failure ends all writing.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::StoreError;

/// Shared by everything that writes into one directory.
#[derive(Default)]
pub(super) struct Health {
    broken: AtomicBool,
    /// What a thread failed with that nobody waited for; for the next writer.
    behind: Mutex<Option<StoreError>>,
}

impl Health {
    /// Refuses once a write failed.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        if !self.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.behind.lock().take().unwrap_or(StoreError::Broken))
    }

    /// Takes note of a write that failed.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        self.broken.store(true, Ordering::Release);
        error
    }

    /// Does what nobody waits for; a failure is kept.
    pub(super) fn behind(&self, work: impl FnOnce() -> Result<(), StoreError>) {
        // Locked before, so that whoever finds the store broken also finds why.
        let mut behind = self.behind.lock();
        if let Err(error) = work() {
            behind.get_or_insert(error);
        }
    }
}
