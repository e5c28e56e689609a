//! How far a run is, for whoever waits for it.

use std::{
    fmt,
    io::{IsTerminal, Write},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{judge::Progress, run_report::headline::share};

/// Shows progress on standard error: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Reporter {
    progress: Arc<Progress>,
    /// How many positions the chain has, where that is known.
    total: Option<u64>,
    /// How long the run goes on, where somebody said so.
    time: Option<Duration>,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    begun: Instant,
    shown: Instant,
    /// The positions that were verified before.
    before: Option<u64>,
}

impl Reporter {
    pub(crate) fn new(total: Option<u64>, time: Option<Duration>, progress: Arc<Progress>) -> Self {
        let target = std::io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        Self::on(target, total, time, progress)
    }

    fn on(
        target: Option<ProgressDrawTarget>,
        total: Option<u64>,
        time: Option<Duration>,
        progress: Arc<Progress>,
    ) -> Self {
        let bar = target.map(|target| bar(target, time.map_or(total, |time| Some(in_steps(time)))));
        let begun = Instant::now();
        Self { progress, total, time, bar, begun, shown: begun, before: None }
    }

    /// To be called after every block; shows something only when it is due.
    pub(crate) fn tick(&mut self) {
        if let Some(line) = self.tick_at(Instant::now()) {
            note(&line);
        }
    }

    /// The line that is due, if there is no terminal.
    fn tick_at(&mut self, now: Instant) -> Option<String> {
        let interval = if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
        if now.saturating_duration_since(self.shown) < interval {
            return None;
        }
        self.shown = now;
        let state = self.state(now);
        let Some(bar) = &self.bar else { return Some(state.to_string()) };
        bar.set_position(match self.time {
            Some(_) => in_steps(state.elapsed),
            None => state.positions,
        });
        bar.set_message(state.to_string());
        None
    }

    fn state(&mut self, now: Instant) -> State {
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (positions, blocks) = (read(&self.progress.positions), read(&self.progress.blocks));
        if self.before.is_none() && blocks > 0 {
            self.before = Some(positions.saturating_sub(blocks));
        }
        State {
            positions,
            before: self.before.unwrap_or_default(),
            blocks,
            transactions: read(&self.progress.transactions),
            exercised: read(&self.progress.exercised),
            mismatches: read(&self.progress.mismatches),
            total: self.total,
            time: self.time,
            elapsed: now.saturating_duration_since(self.begun),
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How far a run is at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    positions: u64,
    /// How many of them an earlier run had verified.
    before: u64,
    blocks: u64,
    transactions: u64,
    exercised: u64,
    mismatches: u64,
    total: Option<u64>,
    time: Option<Duration>,
    elapsed: Duration,
}

impl State {
    fn blocks_per_second(&self) -> f64 {
        self.blocks as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// How long it still takes, where that can be told.
    fn left(&self) -> Option<Duration> {
        if let Some(time) = self.time {
            return Some(time.saturating_sub(self.elapsed));
        }
        let left = self.total?.saturating_sub(self.positions);
        let done = self.positions.checked_sub(self.before).filter(|done| *done > 0)?;
        let seconds = self.elapsed.as_secs_f64() * left as f64 / done as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.positions)?;
        if let Some(total) = self.total {
            write!(f, " of {total}")?;
        }
        write!(
            f,
            " blocks, {} transactions, {:.0} blocks/s",
            self.transactions,
            self.blocks_per_second()
        )?;
        if let Some(left) = self.left() {
            write!(f, ", {} left", in_words(left))?;
        }
        write!(
            f,
            ", {} mismatches, {} exercised",
            self.mismatches,
            share(self.exercised, self.blocks)
        )
    }
}

/// Such as `48s`, `3m 20s` or `2h 5m`.
fn in_words(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// A time in the steps of a bar.
fn in_steps(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A line on standard error, if anybody reads that.
pub(crate) fn note(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

fn bar(target: ProgressDrawTarget, steps: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(steps, target);
    let template = if steps.is_some() { "{bar:20} {wide_msg}" } else { "{spinner} {wide_msg}" };
    // The template is a constant; should it ever be wrong, the default bar will do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::{io, sync::Mutex};

    use indicatif::TermLike;

    use super::*;

    #[track_caller]
    fn check(state: State, expected: &str) {
        assert_eq!(state.to_string(), expected);
    }

    const HALF: State = State {
        positions: 500,
        before: 0,
        blocks: 510,
        transactions: 30_000,
        exercised: 490,
        mismatches: 0,
        total: Some(1001),
        time: None,
        elapsed: Duration::from_secs(5),
    };

    #[test]
    fn a_line_says_how_far_how_fast_how_long_and_what_was_found() {
        check(
            HALF,
            "500 of 1001 blocks, 30000 transactions, 102 blocks/s, 6s left, 0 mismatches, 96.1 % exercised",
        );
        check(
            State { total: None, mismatches: 3, ..HALF },
            "500 blocks, 30000 transactions, 102 blocks/s, 3 mismatches, 96.1 % exercised",
        );
        check(
            State::default(),
            "0 blocks, 0 transactions, 0 blocks/s, 0 mismatches, 0 % exercised",
        );
    }

    #[test]
    fn the_time_left_is_that_of_the_blocks_left_or_what_somebody_said() {
        #[track_caller]
        fn check(state: State, expected: Option<&str>) {
            assert_eq!(state.left().map(in_words).as_deref(), expected);
        }
        check(HALF, Some("6s"));
        check(State { positions: 1001, ..HALF }, Some("0s"));
        check(State { total: Some(500_500), ..HALF }, Some("1h 23m"));
        // What an earlier run had verified took this one no time.
        check(State { positions: 600, before: 500, total: Some(700), ..HALF }, Some("5s"));
        check(State { positions: 0, ..HALF }, None);
        check(State { total: None, ..HALF }, None);
        let time = Some(Duration::from_secs(125));
        check(State { total: None, time, ..HALF }, Some("2m 0s"));
        check(State { time: Some(Duration::ZERO), ..HALF }, Some("0s"));
    }

    fn progress() -> Arc<Progress> {
        let progress = Progress::default();
        progress.blocks.store(10, Ordering::Relaxed);
        progress.positions.store(10, Ordering::Relaxed);
        progress.exercised.store(9, Ordering::Relaxed);
        Arc::new(progress)
    }

    #[test]
    fn without_a_terminal_there_is_a_line_every_ten_seconds() {
        let mut reporter = Reporter::on(None, Some(20), None, progress());
        let begun = reporter.begun;
        let due: Vec<u64> = (0..=35)
            .filter(|second| reporter.tick_at(begun + Duration::from_secs(*second)).is_some())
            .collect();
        assert_eq!(due, [10, 20, 30]);
        let line = reporter.tick_at(begun + Duration::from_secs(40)).unwrap();
        assert!(line.contains("10 of 20 blocks") && line.contains("40s left"), "{line}");
    }

    /// A terminal that remembers what was written to it.
    #[derive(Clone, Debug, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            160
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[track_caller]
    fn check_bar(total: Option<u64>, time: Option<Duration>, position: Option<u64>) {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut reporter = Reporter::on(Some(target), total, time, progress());
        let now = reporter.begun + Duration::from_secs(2);
        assert_eq!(reporter.tick_at(now), None, "a terminal gets no lines");
        let bar = reporter.bar.as_ref().unwrap();
        assert_eq!(bar.length().map(|_| bar.position()), position);
        bar.force_draw();
        let shown = screen.0.lock().unwrap().clone();
        for part in ["10", "blocks/s", "0 mismatches", "90.0 % exercised"] {
            assert!(shown.contains(part), "no {part} in {shown}");
        }
        reporter.finish();
    }

    #[test]
    fn a_terminal_has_a_bar_of_blocks_or_of_time() {
        check_bar(Some(20), None, Some(10));
        check_bar(None, Some(Duration::from_secs(60)), Some(2_000));
        check_bar(None, None, None);
    }
}
