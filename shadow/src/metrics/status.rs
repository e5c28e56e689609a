//! The state of a run at this moment, for whoever asks, and whether it may be relied on.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;
use storage_snapshot::TopoHeight;

use super::{
    Lag, Metrics, State,
    levels::{NONE, caught},
    words::{SEVERITIES, fields},
};
use crate::{gaps, rules::RULES, summary::RunVerdict};

/// The state of a run at this moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The version of this form.
    pub format_version: u64,
    /// Which build of Shadow.
    pub version: &'static str,
    /// By which rules.
    pub rules: &'static str,
    /// About which chain.
    pub chain: String,
    /// What the ledger says as a whole. What is accepted counts as no difference, and as no evidence.
    pub verdict: RunVerdict,
    /// What is missing for an answer, a sentence each.
    pub missing: Vec<String>,
    /// Why nothing is verified any more, if so.
    pub ended: Option<String>,
    /// How long the process has been running.
    pub uptime_seconds: f64,
    /// The newest block of the source.
    pub head_topoheight: Option<TopoHeight>,
    /// Through where the chain says that its order will stay.
    pub stable_topoheight: Option<TopoHeight>,
    /// The newest block with a durable verdict.
    pub verified_topoheight: Option<TopoHeight>,
    /// How many blocks the verdicts are behind.
    pub lag_blocks: u64,
    /// For how long the oldest of them has been known.
    pub lag_seconds: f64,
    /// Whether that is within its limit.
    pub up_to_date: bool,
    /// How many blocks wait for their verdict.
    pub queue_depth_blocks: u64,
    /// Positions of the chain by what is known of them.
    pub positions: BTreeMap<&'static str, u64>,
    /// Each candidate's verdicts and differences.
    pub candidates: BTreeMap<String, CandidateStatus>,
    /// Differences in blocks that have since been ordered away.
    pub stale_mismatches: u64,
    /// Problems on record that nobody accepted.
    pub open_problems: u64,
    /// Those that somebody did.
    pub accepted_problems: u64,
    /// Results altered on purpose that were noticed.
    pub canaries_caught: u64,
    /// Those that were not.
    pub canaries_missed: u64,
}

/// What the ledger says of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateStatus {
    /// Blocks by verdict.
    pub blocks: BTreeMap<&'static str, u64>,
    /// Differences by field, those that there are.
    pub mismatches: BTreeMap<&'static str, u64>,
}

/// One condition of being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What is wrong, if anything is.
    pub problem: Option<String>,
}

impl Metrics {
    /// The state at this moment.
    pub fn status(&self) -> Status {
        self.refresh();
        let state = self.state();
        let to = &self.instruments;
        let lag = state.head.lag(Instant::now());
        let candidates: BTreeMap<_, _> =
            state.names.iter().map(|name| (name.to_owned(), self.candidate(name))).collect();
        let canaries = |outcome| to.ledger_canaries.with_label_values(&[outcome]).get() as u64;
        let problems = |word| -> u64 {
            let of = |name| to.fingerprints.with_label_values(&[name, word]).get() as u64;
            state.names.iter().map(of).sum()
        };
        let mut status = Status {
            format_version: 1,
            version: env!("CARGO_PKG_VERSION"),
            rules: RULES,
            chain: self.setup.chain.clone(),
            verdict: RunVerdict::NotEnoughEvidence,
            missing: self.missing(&state),
            ended: state.ended.clone(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            head_topoheight: state.head.head(),
            stable_topoheight: state.head.stable_topoheight(),
            verified_topoheight: state.head.verified_topoheight(),
            lag_blocks: lag.blocks,
            lag_seconds: lag.seconds,
            up_to_date: self.is_up_to_date(lag, &state),
            queue_depth_blocks: state.waiting,
            positions: POSITIONS
                .iter()
                .map(|state| {
                    (*state, to.ledger_positions.with_label_values(&[*state]).get() as u64)
                })
                .collect(),
            candidates,
            stale_mismatches: to.ledger_stale_mismatches.with_label_values(&NONE).get() as u64,
            open_problems: problems("open"),
            accepted_problems: problems("accepted"),
            canaries_caught: canaries("caught"),
            canaries_missed: canaries("missed"),
        };
        status.verdict = verdict(&status);
        status
    }

    /// What is missing for an answer, a sentence each.
    pub(super) fn missing(&self, state: &State) -> Vec<String> {
        let to = &self.instruments;
        let position = |word| to.ledger_positions.with_label_values(&[word]).get() as u64;
        let without_entry = position("missing");
        let mut missing = state.levels.evidence().missing();
        missing.extend(gaps::inconclusive(position("inconclusive")));
        if without_entry > 0 {
            missing.push(format!("the ledger has no entry for {without_entry} blocks"));
        }
        if !state.restored {
            missing.push("the ledger of the state directory is still being read".to_owned());
        }
        let canaries_missed = to.ledger_canaries.with_label_values(&[caught(false)]).get();
        missing.extend(gaps::blind(canaries_missed as u64));
        missing
    }

    fn candidate(&self, name: &str) -> CandidateStatus {
        let to = &self.instruments;
        let blocks = SEVERITIES.iter().map(|severity| {
            let word = severity.word();
            (word, to.ledger_blocks.with_label_values(&[name, word]).get() as u64)
        });
        let mismatches = fields().map(|field| {
            (field, to.ledger_mismatches.with_label_values(&[name, field]).get() as u64)
        });
        CandidateStatus {
            blocks: blocks.collect(),
            mismatches: mismatches.filter(|(_, count)| *count > 0).collect(),
        }
    }

    /// The conditions of being ready. A mismatch is none of them: then more than ever somebody wants to
    /// know what else is found.
    pub fn checks(&self) -> Vec<Check> {
        let free = self.machine().disk_free_bytes;
        let state = self.state();
        let lag = state.head.lag(Instant::now());
        let up_to_date = self.is_up_to_date(lag, &state);
        vec![
            check("verifying", state.ended.is_none(), || {
                format!("it has ended: {}", state.ended.as_deref().unwrap_or_default())
            }),
            check("restored", state.restored, || "the ledger is being read".to_owned()),
            check("up_to_date", up_to_date, || self.behind(lag, &state)),
            check("disk", free >= DISK_FREE_BYTES_MIN, || {
                format!("only {} MiB are free on the disk of the state directory", free >> 20)
            }),
        ]
    }

    fn behind(&self, lag: Lag, state: &State) -> String {
        let verdict = state.last_verdict.map_or_else(
            || "there was no verdict yet".to_owned(),
            |last| format!("the last verdict was {:.0} s ago", last.elapsed().as_secs_f64()),
        );
        if let Some(silence) = self.silence(state) {
            return format!(
                "the node has not answered for {:.0} s; {verdict}",
                silence.as_secs_f64()
            );
        }
        format!(
            "{} blocks wait, the oldest for {:.0} s, which is more than {}; {verdict}",
            lag.blocks, lag.seconds, self.setup.lag_limit
        )
    }
}

/// As the summary of the run would say if it ended now.
fn verdict(status: &Status) -> RunVerdict {
    let found = status.stale_mismatches
        + status.candidates.values().flat_map(|one| one.mismatches.values()).sum::<u64>();
    // Without a fingerprint nobody can have accepted it.
    let differs = status.open_problems > 0 || (found > 0 && status.accepted_problems == 0);
    if differs {
        RunVerdict::Mismatch
    } else if status.missing.is_empty() {
        RunVerdict::Clean
    } else {
        RunVerdict::NotEnoughEvidence
    }
}

fn check(name: &'static str, holds: bool, problem: impl FnOnce() -> String) -> Check {
    Check { name, problem: (!holds).then(problem) }
}

/// What is known of a position of the chain.
pub(super) const POSITIONS: &[&str] =
    &["exercised", "not_exercised", "inconclusive", "opaque", "stale", "missing"];

/// With less room than this a run will not last long.
const DISK_FREE_BYTES_MIN: u64 = 128 << 20;
