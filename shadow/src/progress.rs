//! How far a run is, for whoever waits for it.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::judge::Progress;

/// Shows progress on standard error: a bar on a terminal, a line now and then elsewhere.
#[derive(Debug)]
pub(crate) struct Reporter {
    progress: Arc<Progress>,
    total: Option<u64>,
    /// `None` where there is no terminal.
    bar: Option<ProgressBar>,
    shown: Instant,
}

impl Reporter {
    pub(crate) fn new(total: Option<u64>, progress: Arc<Progress>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| bar(total));
        Self { progress, total, bar, shown: Instant::now() }
    }

    /// To be called after every block; shows something only when it is due.
    pub(crate) fn tick(&mut self) {
        let interval = if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
        if self.shown.elapsed() < interval {
            return;
        }
        self.shown = Instant::now();
        let positions = self.progress.positions.load(Ordering::Relaxed);
        let transactions = self.progress.transactions.load(Ordering::Relaxed);
        let exercised = self.progress.exercised.load(Ordering::Relaxed);
        let mismatches = self.progress.mismatches.load(Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                bar.set_position(positions);
                bar.set_message(format!(
                    "{transactions} transactions, {exercised} blocks exercised, {mismatches} mismatches"
                ));
            }
            None => {
                let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
                note(&format!(
                    "{positions}{of} blocks, {transactions} transactions, {exercised} blocks \
                     exercised, {mismatches} mismatches"
                ));
            }
        }
    }

    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error, if anybody reads that.
pub(crate) fn note(line: &str) {
    let _closed = writeln!(std::io::stderr(), "{line}");
}

fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = "{bar:30} {pos}/{len} blocks, {per_sec}, {eta} left; {msg}";
    // The template is a constant; should it ever be wrong, the default bar will do.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

const BAR_INTERVAL: Duration = Duration::from_millis(100);
const LINE_INTERVAL: Duration = Duration::from_secs(10);
