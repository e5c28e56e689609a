//! Pauses in the wrong places.
//!
//! A race shows only when two lanes come to the same thing at the same time, which on an idle machine
//! they may never do. So before a transaction a lane may wait: mostly not at all, and else for a time
//! that is drawn on a logarithmic scale, because nobody knows how long the wrong moment is.
//!
//! On a machine that has too much to do somebody who lets others ahead may be away for long. All pauses
//! of a block together are bounded, so that this is never taken for an engine that hangs.

use std::{
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The pauses of one run of a block.
#[derive(Clone, Copy, Debug)]
pub(in crate::execute) struct Disturbance {
    /// 0 for none.
    seed: u64,
    begun: Instant,
}

impl Disturbance {
    /// What disturbs a run that begins now.
    pub(in crate::execute) fn new(seed: u64) -> Self {
        Self { seed, begun: Instant::now() }
    }

    /// Waits before a transaction. How long follows from the seed and the transaction alone.
    pub(in crate::execute) fn pause_before(self, index: usize) {
        if self.seed == 0 || self.begun.elapsed() >= LONGEST {
            return;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.seed ^ (index as u64).rotate_left(32));
        if random.random_ratio(1, ONE_IN) {
            let longest = SHORTEST_NANOSECONDS << random.random_range(0..DOUBLINGS);
            wait(Duration::from_nanos(random.random_range(longest / 2..longest)));
        }
    }
}

/// Sleeping takes longer than most pauses are, so the other lanes are only let ahead.
fn wait(pause: Duration) {
    let started = Instant::now();
    while started.elapsed() < pause {
        thread::yield_now();
    }
}

/// One transaction in so many is preceded by a pause.
const ONE_IN: u32 = 8;

/// From an eighth of a microsecond to a tenth of a millisecond.
const SHORTEST_NANOSECONDS: u64 = 128;
const DOUBLINGS: u32 = 11;

/// No pause begins later than this. The pauses of 10,000 transactions take some thirty milliseconds where
/// the processors are free.
const LONGEST: Duration = Duration::from_secs(1);
