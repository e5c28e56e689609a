//! How far the verdicts are behind the chain, in blocks and in time.

use std::{collections::VecDeque, time::Instant};

use storage_snapshot::TopoHeight;

/// When which head was first known.
#[derive(Debug, Default)]
pub(crate) struct Head {
    head: Option<TopoHeight>,
    stable: Option<TopoHeight>,
    verified: Option<TopoHeight>,
    /// Heads without a verdict, the oldest first.
    waiting: VecDeque<(TopoHeight, Instant)>,
}

/// How far the verdicts are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lag {
    /// In blocks.
    pub blocks: u64,
    /// For how long the oldest of them has been known, in seconds.
    pub seconds: f64,
}

impl Head {
    /// The source is known to have a block at this topoheight, and none above.
    pub(crate) fn is_at(&mut self, head: TopoHeight, now: Instant) {
        while self.waiting.back().is_some_and(|(waiting, _)| *waiting >= head) {
            self.waiting.pop_back();
        }
        self.head = Some(head);
        if self.verified >= Some(head) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            // The oldest decides, and every second one of the others is enough.
            let mut keep = false;
            self.waiting.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.waiting.push_back((head, now));
    }

    /// Everything through this topoheight has a verdict.
    pub(crate) fn verified(&mut self, through: TopoHeight) {
        self.verified = Some(through);
        self.head = self.head.max(Some(through));
        while self.waiting.front().is_some_and(|(waiting, _)| *waiting <= through) {
            self.waiting.pop_front();
        }
    }

    pub(super) const fn stable(&mut self, stable: TopoHeight) {
        self.stable = Some(stable);
    }

    pub(crate) fn lag(&self, now: Instant) -> Lag {
        let first_missing = self.verified.map_or(0, |verified| verified.as_u64() + 1);
        let heads = self.head.map_or(0, |head| head.as_u64() + 1);
        let seconds = self
            .waiting
            .front()
            .map_or(0.0, |(_, since)| now.saturating_duration_since(*since).as_secs_f64());
        Lag { blocks: heads.saturating_sub(first_missing), seconds }
    }

    pub(super) const fn head(&self) -> Option<TopoHeight> {
        self.head
    }

    pub(super) const fn stable_topoheight(&self) -> Option<TopoHeight> {
        self.stable
    }

    pub(super) const fn verified_topoheight(&self) -> Option<TopoHeight> {
        self.verified
    }
}

const WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Heads are known a second apart; `verified` is after the last.
    #[track_caller]
    fn check(heads: &[u64], verified: &[u64], blocks: u64, seconds: u64) {
        let start = Instant::now();
        let mut head = Head::default();
        for (second, at) in heads.iter().enumerate() {
            head.is_at(TopoHeight::new(*at), start + Duration::from_secs(second as u64));
        }
        for at in verified {
            head.verified(TopoHeight::new(*at));
        }
        let now = start + Duration::from_secs(heads.len() as u64);
        let lag = head.lag(now);
        assert_eq!((lag.blocks, lag.seconds.round() as u64), (blocks, seconds));
    }

    #[test]
    fn the_lag_is_the_age_of_the_oldest_block_without_a_verdict() {
        check(&[], &[], 0, 0);
        check(&[0, 1, 2], &[], 3, 3);
        check(&[0, 1, 2], &[0], 2, 2);
        check(&[0, 1, 2], &[0, 1, 2], 0, 0);
        check(&[10], &[4], 6, 1);
        check(&[], &[7], 0, 0);
    }

    #[test]
    fn a_head_that_goes_back_takes_what_waits_with_it() {
        check(&[5, 6, 7, 4], &[3], 1, 1);
        check(&[5, 6, 3], &[4], 0, 0);
    }

    #[test]
    fn what_is_remembered_of_a_long_wait_is_bounded_and_keeps_the_oldest() {
        let start = Instant::now();
        let mut head = Head::default();
        for second in 0..10_000 {
            head.is_at(TopoHeight::new(second), start + Duration::from_secs(second));
        }
        assert!(head.waiting.len() <= WAITING_MAX);
        let lag = head.lag(start + Duration::from_secs(10_000));
        assert_eq!((lag.blocks, lag.seconds.round() as u64), (10_000, 10_000));
    }
}
