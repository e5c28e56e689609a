//! How long something took, as a clock tells it and as the processor does.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use cpu_time::ThreadTime;
use storage_snapshot::TopoHeight;

/// Does something and tells how long it took.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// How long the processors worked on a step of all blocks. On a machine that is fully used much of the time that
/// passes belongs to others.
///
/// Estimated from one block in some: asking for the processor's time is a call to the system, and takes as long as
/// a short step.
#[derive(Debug, Default)]
pub struct ProcessorClock(AtomicU64);

impl ProcessorClock {
    /// What it shows.
    pub fn shown(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Does a part of the step for a block.
    pub(crate) fn run<R>(&self, at: TopoHeight, work: impl FnOnce() -> R) -> R {
        match at.as_u64().is_multiple_of(SAMPLED_EVERY) {
            true => self.counted(SAMPLED_EVERY, work),
            false => work(),
        }
    }

    /// Does a part of the step that seldom comes: its time is added as it is.
    pub(crate) fn run_seldom<R>(&self, work: impl FnOnce() -> R) -> R {
        self.counted(1, work)
    }

    fn counted<R>(&self, times: u64, work: impl FnOnce() -> R) -> R {
        // Nobody asked for long, and the first time takes longer than those that follow.
        ThreadTime::now();
        let asked = ThreadTime::now();
        let asking = asked.elapsed();
        let result = work();
        // Asked twice, and the second time is in the elapsed time of the first one.
        let time = asked.elapsed().saturating_sub(2 * asking);
        // A block takes no centuries.
        self.0.fetch_add(time.as_nanos() as u64 * times, Ordering::Relaxed);
        result
    }
}

/// What else is done in some blocks only is done in one of 2, 4, 8 and so on: of those as many are among the
/// sampled ones as among all.
const SAMPLED_EVERY: u64 = 17;
