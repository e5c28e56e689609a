//! How long something took, as a clock tells it and as the processor does.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// Does something and tells how long it took.
pub(crate) fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Does something that waits for nothing, and tells how long the processor worked on it. On a machine that
/// is fully used much of the time that passes belongs to others.
pub(crate) fn processor_timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let started = ThreadTime::now();
    let result = work();
    (result, started.elapsed())
}
