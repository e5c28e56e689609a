//! How long a run goes on, and how fast.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How long a run goes on, and how fast; by default to the end, and as fast as it can.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// The run ends after this, wherever it is.
    pub(crate) duration: Option<Duration>,
    /// At most so many blocks are taken in a second.
    pub(crate) blocks_per_second: Option<f64>,
}

/// A pace that somebody keeps.
#[derive(Debug)]
pub(crate) struct Walk {
    end: Option<Instant>,
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// Starts walking.
    pub(crate) fn start(self) -> Walk {
        let now = Instant::now();
        Walk {
            // A time that no clock reaches is no end.
            end: self.duration.and_then(|duration| now.checked_add(duration)),
            interval: self
                .blocks_per_second
                .and_then(|rate| Duration::try_from_secs_f64(rate.recip()).ok()),
            next: now,
        }
    }
}

impl Walk {
    /// Whether it has gone on for long enough.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }

    /// Waits until the next block may be taken, or somebody wants it to stop. Time that was lost before
    /// is not made up for.
    pub(crate) fn wait(&mut self, stop: &AtomicBool) {
        let Some(interval) = self.interval else { return };
        let mut now = Instant::now();
        while now < self.next && !self.is_over() && !stop.load(Ordering::Relaxed) {
            thread::sleep(self.next.duration_since(now).min(STOP_INTERVAL));
            now = Instant::now();
        }
        self.next = now.max(self.next).checked_add(interval).unwrap_or(now);
    }
}

/// A length of time as a person types it: a number and `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Duration);

impl FromStr for Length {
    type Err = ParseLengthError;

    fn from_str(text: &str) -> Result<Self, ParseLengthError> {
        let units = [("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (number, seconds) = units
            .iter()
            .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))
            .ok_or(ParseLengthError)?;
        let number: f64 = number.parse().map_err(|_| ParseLengthError)?;
        let length = Duration::try_from_secs_f64(number * seconds).map_err(|_| ParseLengthError)?;
        if length.is_zero() { Err(ParseLengthError) } else { Ok(Self(length)) }
    }
}

/// A text that is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ParseLengthError;

impl fmt::Display for ParseLengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number above 0 and a unit, such as 90s, 10m or 1.5h")
    }
}

impl std::error::Error for ParseLengthError {}

/// How long somebody who wants it to stop may have to wait.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_a_number_and_a_unit() {
        #[track_caller]
        fn check(text: &str, milliseconds: Option<u64>) {
            let length = text.parse::<Length>().ok().map(|length| length.0);
            assert_eq!(length, milliseconds.map(Duration::from_millis), "{text:?}");
        }
        check("90s", Some(90_000));
        check("10m", Some(600_000));
        check("1.5h", Some(5_400_000));
        check("0.25s", Some(250));
        for text in ["", "s", "10", "10d", "-1s", "0m", "1e300h", "NaNs", "infs", "1 m"] {
            check(text, None);
        }
    }

    #[test]
    fn a_walk_without_a_pace_never_waits_and_never_ends() {
        let mut walk = Pace::default().start();
        walk.wait(&AtomicBool::new(false));
        assert!(!walk.is_over());
    }

    #[test]
    fn somebody_who_wants_it_to_stop_does_not_wait_for_the_next_block() {
        let pace = Pace { blocks_per_second: Some(1e-6), ..Pace::default() };
        let mut walk = pace.start();
        let stop = AtomicBool::new(true);
        walk.wait(&stop);
        walk.wait(&stop);
    }

    #[test]
    fn a_walk_of_no_time_is_over() {
        let pace = Pace { duration: Some(Duration::ZERO), ..Pace::default() };
        assert!(pace.start().is_over());
    }
}
