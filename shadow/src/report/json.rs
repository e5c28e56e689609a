//! The report as a JSON object.

use std::collections::BTreeMap;

use comparator::Field;
use serde::Serialize;
use storage_snapshot::TopoHeight;

use super::Report;
use crate::{
    compared::{Compared, NotCompared, compared},
    coverage::{
        BlockCounts, CandidateCoverage, Class, Configuration, EarlierEvidence, Evidence, Ranges,
        Tally, VerdictRanges,
    },
    kinds::TransactionKind,
    shapes::Shape,
    summary::{RunVerdict, Summary},
};

/// The version of the report object.
const FORMAT_VERSION: u64 = 1;

#[derive(Serialize)]
pub(super) struct ReportJson<'a> {
    format_version: u64,
    verdict: RunVerdict,
    /// Whether the verdict is about requirements, and so about the configurations under test alone.
    required: bool,
    differs: &'a [String],
    missing: &'a [String],
    topoheights: &'a VerdictRanges,
    stale: &'a Ranges,
    without_entry: &'a Ranges,
    stale_mismatches: u64,
    candidates: BTreeMap<&'a str, CandidateJson<'a>>,
    compared: Vec<Compared>,
    not_compared: Vec<NotComparedJson>,
    /// Of all runs together.
    ledger: &'a Summary,
}

#[derive(Serialize)]
struct CandidateJson<'a> {
    #[serde(flatten)]
    configuration: &'a Configuration,
    since: TopoHeight,
    through: TopoHeight,
    blocks: BlockCounts,
    blocks_accepted: u64,
    reasons: &'a BTreeMap<String, u64>,
    mismatches: &'a BTreeMap<Field, u64>,
    workers: Vec<WorkersJson>,
    kinds: Vec<KindJson>,
    shapes: Vec<ShapeJson>,
    /// Whatever the configuration was.
    topoheights: &'a VerdictRanges,
    without_verdict: &'a Ranges,
    earlier: Vec<EarlierJson<'a>>,
}

/// What was exercised under so many workers.
#[derive(Serialize)]
struct WorkersJson {
    /// `null` where it is not known.
    workers: Option<u32>,
    blocks: u64,
    kinds: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct KindJson {
    kind: TransactionKind,
    #[serde(flatten)]
    class: Class,
}

#[derive(Serialize)]
struct ShapeJson {
    shape: Shape,
    means: &'static str,
    #[serde(flatten)]
    class: Class,
}

#[derive(Serialize)]
struct EarlierJson<'a> {
    #[serde(flatten)]
    configuration: &'a Configuration,
    #[serde(flatten)]
    evidence: &'a EarlierEvidence,
}

#[derive(Serialize)]
struct NotComparedJson {
    what: NotCompared,
    means: &'static str,
}

impl<'a> From<&'a Report> for ReportJson<'a> {
    fn from(report: &'a Report) -> Self {
        let coverage = &report.coverage;
        let stale_mismatches = coverage.stale_mismatches;
        let candidates = coverage.candidates.iter().map(|(name, candidate)| {
            (name.as_str(), CandidateJson::new(candidate, stale_mismatches))
        });
        Self {
            format_version: FORMAT_VERSION,
            verdict: report.verdict,
            required: report.requirements.is_some(),
            differs: &report.differs,
            missing: &report.missing,
            topoheights: &coverage.verdicts,
            stale: &coverage.stale,
            without_entry: &coverage.missing,
            stale_mismatches,
            candidates: candidates.collect(),
            compared: compared(),
            not_compared: NotCompared::ALL
                .iter()
                .map(|what| NotComparedJson { what: *what, means: what.means() })
                .collect(),
            ledger: &report.summary,
        }
    }
}

impl<'a> CandidateJson<'a> {
    fn new(candidate: &'a CandidateCoverage, stale_mismatches: u64) -> Self {
        let evidence = &candidate.evidence;
        Self {
            configuration: &evidence.configuration,
            since: evidence.since,
            through: evidence.through,
            blocks: evidence.blocks,
            blocks_accepted: evidence.accepted,
            reasons: &evidence.reasons,
            mismatches: &evidence.fields,
            workers: by_workers(evidence),
            kinds: TransactionKind::EXECUTED
                .into_iter()
                .map(|kind| KindJson { kind, class: evidence.of_kind(kind, stale_mismatches) })
                .collect(),
            shapes: Shape::ALL
                .iter()
                .map(|shape| ShapeJson {
                    shape: *shape,
                    means: shape.means(),
                    class: evidence.of_shape(*shape, stale_mismatches),
                })
                .collect(),
            topoheights: &candidate.verdicts,
            without_verdict: &candidate.without_verdict,
            earlier: candidate
                .earlier
                .iter()
                .map(|(configuration, evidence)| EarlierJson { configuration, evidence })
                .collect(),
        }
    }
}

fn by_workers(evidence: &Evidence) -> Vec<WorkersJson> {
    let of = |(workers, tally): (&u32, &Tally)| WorkersJson {
        workers: (*workers > 0).then_some(*workers),
        blocks: tally.blocks,
        kinds: TransactionKind::EXECUTED
            .into_iter()
            .map(|kind| (kind.as_str(), tally.of_kind(kind)))
            .collect(),
    };
    evidence.by_workers.iter().map(of).collect()
}
