//! How following a node goes, for whoever looks from outside.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use storage_snapshot::TopoHeight;

/// How far the node is and how far it was followed. Shared between whoever follows and whoever looks.
#[derive(Debug)]
pub struct FollowStatus {
    top: AtomicU64,
    stable: AtomicU64,
    /// One more than the last position that was handed over; 0 for none.
    handed_over: AtomicU64,
    events_connected: AtomicBool,
    /// Whether the node is not to blame for nothing going on.
    waits_for_us: AtomicBool,
    went_on: Mutex<Instant>,
    last_error: Mutex<Option<String>>,
}

impl FollowStatus {
    pub(super) fn new() -> Self {
        Self {
            top: AtomicU64::new(0),
            stable: AtomicU64::new(0),
            handed_over: AtomicU64::new(0),
            events_connected: AtomicBool::new(false),
            waits_for_us: AtomicBool::new(false),
            went_on: Mutex::new(Instant::now()),
            last_error: Mutex::new(None),
        }
    }

    /// The node's last block, as far as is known.
    pub fn top(&self) -> TopoHeight {
        TopoHeight::new(self.top.load(Ordering::Relaxed))
    }

    /// The position up to which the node orders nothing anew.
    pub fn stable(&self) -> TopoHeight {
        TopoHeight::new(self.stable.load(Ordering::Relaxed))
    }

    /// The last block that was handed over to be verified.
    pub fn handed_over(&self) -> Option<TopoHeight> {
        self.handed_over.load(Ordering::Relaxed).checked_sub(1).map(TopoHeight::new)
    }

    /// Whether the node's events are listened to.
    pub fn events_connected(&self) -> bool {
        self.events_connected.load(Ordering::Relaxed)
    }

    /// How long nothing has been handed over although it could have been taken.
    pub fn silence(&self) -> Duration {
        if self.waits_for_us.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.went_on.lock().elapsed()
    }

    /// What went wrong last, as long as nothing came since and there was something to come.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().clone()
    }

    pub(super) fn saw(&self, top: TopoHeight, stable: TopoHeight, events_connected: bool) {
        self.top.store(top.as_u64(), Ordering::Relaxed);
        self.stable.store(stable.as_u64(), Ordering::Relaxed);
        self.events_connected.store(events_connected, Ordering::Relaxed);
    }

    pub(super) fn hands_over(&self) {
        self.waits_for_us.store(true, Ordering::Relaxed);
    }

    pub(super) fn handed(&self, last: Option<TopoHeight>) {
        self.handed_over.store(last.map_or(0, |last| last.as_u64() + 1), Ordering::Relaxed);
        *self.went_on.lock() = Instant::now();
        self.waits_for_us.store(false, Ordering::Relaxed);
        self.is_well();
    }

    /// Something is in the way; whether it is something else than before.
    pub(super) fn failed(&self, error: String) -> bool {
        let error = Some(error);
        let last = std::mem::replace(&mut *self.last_error.lock(), error.clone());
        last != error
    }

    /// Nothing is in the way.
    pub(super) fn is_well(&self) {
        *self.last_error.lock() = None;
    }
}
