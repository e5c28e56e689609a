//! What the ledger of a run tells beyond its summary.

use std::{path::Path, time::Instant};

use storage_snapshot::{Store, TopoHeight};

use super::{confidence::Confidence, speed_up::SpeedUps, track::Track};
use crate::{
    accept::Acceptances,
    coverage::Coverage,
    ledger::{LedgerError, entries},
    metrics::Head,
    mismatches::Problems,
};

/// How far the verdicts are behind, as far as it is seen while the run goes on.
#[derive(Debug, Default)]
pub(crate) struct Lags {
    head: Head,
    track: Track,
}

impl Lags {
    /// The source has blocks up to `head`, and the first `positions` have a verdict.
    pub(crate) fn note(&mut self, head: Option<TopoHeight>, positions: u64) {
        let now = Instant::now();
        if let Some(head) = head {
            self.head.is_at(head, now);
        }
        let Some(verified) = positions.checked_sub(1).map(TopoHeight::new) else { return };
        // Between two blocks everything may have had its verdict long ago.
        self.head.verified(verified);
        let lag = self.head.lag(now).seconds;
        self.track.note_lag(verified, lag);
    }
}

/// What the ledger of a run tells beyond its summary. Bounded, however long the run is.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) confidence: Confidence,
    /// Of each candidate, which build was under test in the end.
    pub(crate) builds: Vec<(String, String)>,
    pub(crate) speed_ups: SpeedUps,
    pub(crate) track: Track,
    pub(crate) problems: Problems,
    /// The last topoheight that stands.
    pub(crate) last: Option<TopoHeight>,
    /// Why nothing else is known, if the ledger could not be read.
    pub(crate) unreadable: Option<String>,
}

impl Findings {
    /// Reads the ledger, and says so where that cannot be done.
    pub(crate) fn of(store: &Store, state_dir: &Path, lags: Lags) -> Self {
        match Self::read(store, state_dir) {
            Ok(mut findings) => {
                findings.track.absorb(lags.track);
                findings
            }
            Err(error) => Self { unreadable: Some(error.to_string()), ..Self::default() },
        }
    }

    fn read(store: &Store, state_dir: &Path) -> Result<Self, LedgerError> {
        // A file that cannot be read is told by the run itself.
        let acceptances = Acceptances::read(state_dir).unwrap_or_default();
        let mut coverage = Coverage::default().accepting(acceptances.clone());
        let (mut speed_ups, mut track) = (SpeedUps::default(), Track::default());
        for entry in entries(store, TopoHeight::GENESIS) {
            let entry = entry?;
            coverage.add(&entry);
            if !entry.stale {
                speed_ups.add(&entry);
                track.add(&entry);
            }
        }
        let builds = coverage.candidates.iter();
        let builds = builds.map(|(name, candidate)| {
            (name.clone(), candidate.evidence.configuration.build.clone())
        });
        Ok(Self {
            confidence: Confidence::of(&coverage),
            builds: builds.collect(),
            speed_ups,
            track,
            problems: Problems::read(store, state_dir, &acceptances)?,
            last: store.tip().map(|tip| tip.block.topoheight),
            unreadable: None,
        })
    }
}
