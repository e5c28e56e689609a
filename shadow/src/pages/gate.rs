//! The gate: what `shadow report` would say now.
//!
//! That takes reading the whole ledger, so it is done in the background, once for everybody, and no more
//! often than a twentieth of the time is spent on it. A page says up to where it was read.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use storage_snapshot::{Store, TopoHeight};

use crate::{accept::Acceptances, ledger::entries, metrics::Metrics, report::Report};

/// What the ledger is worth, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Gate {
    last: Mutex<Last>,
    is_reading: AtomicBool,
}

#[derive(Debug, Default)]
struct Last {
    report: Option<Arc<Report>>,
    /// Why there is no newer one.
    problem: Option<String>,
    /// When it is worth looking again.
    due: Option<Instant>,
}

impl Gate {
    /// The last report; what went wrong since, if anything did.
    pub(super) fn last(&self) -> (Option<Arc<Report>>, Option<String>) {
        let last = self.lock();
        (last.report.clone(), last.problem.clone())
    }

    /// Reads the ledger again, if it is time and nobody else does. To be called by whoever can wait.
    pub(super) fn look(&self, metrics: &Metrics, store: &Store, stopping: &AtomicBool) {
        let is_due = self.lock().due.is_none_or(|due| Instant::now() >= due);
        if !is_due || self.is_reading.swap(true, Ordering::AcqRel) {
            return;
        }
        let started = Instant::now();
        let report = read(metrics, store, stopping);
        let pause = (started.elapsed() * PAUSE_RATIO).max(PAUSE_MIN);
        {
            let mut last = self.lock();
            last.due = Some(Instant::now() + pause);
            match report {
                Ok(report) => (last.report, last.problem) = (Some(Arc::new(report)), None),
                Err(problem) => last.problem = Some(problem),
            }
        }
        self.is_reading.store(false, Ordering::Release);
    }

    /// A thread that panicked while it held it left what was there before.
    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(metrics: &Metrics, store: &Store, stopping: &AtomicBool) -> Result<Report, String> {
    let acceptances = Acceptances::read(&metrics.setup().directory);
    let acceptances = acceptances.map_err(|error| error.to_string())?;
    // Nobody waits for the end of a long ledger when the run is over.
    let entries =
        entries(store, TopoHeight::GENESIS).take_while(|_| !stopping.load(Ordering::Relaxed));
    let report = Report::of(entries, store, None, &acceptances);
    let report = report.map_err(|error| error.to_string())?;
    match stopping.load(Ordering::Relaxed) {
        true => Err("the run is over".to_owned()),
        false => Ok(report),
    }
}

const PAUSE_RATIO: u32 = 19;
const PAUSE_MIN: Duration = Duration::from_secs(2);
