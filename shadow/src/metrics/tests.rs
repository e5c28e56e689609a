//! The metrics against a model of the ledger, and against their own limits.

use std::{collections::BTreeMap, path::PathBuf};

use comparator::Field;
use proptest::prelude::*;
use serde_json::json;
use storage_snapshot::TopoHeight;

use super::*;
use crate::{
    accept::{Acceptance, Acceptances},
    again::AgainEntry,
    canary::CanaryEntry,
    fingerprint::{Conflict, Fingerprint},
    kinds::TransactionKind,
    rules::Quirk,
    shapes::Shape,
    summary::{RunVerdict, Summary},
};

/// What happens to a ledger.
#[derive(Clone, Debug)]
enum Step {
    /// A block with this verdict takes the next position.
    Commit { verdict: usize, candidate: usize },
    /// So many blocks are ordered away.
    Revert(u64),
    /// The newest block is judged once more.
    Again { candidate: usize },
    /// More is found in the block that is so far below the newest one.
    Amend { below: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_usize, 0..3_usize)
            .prop_map(|(verdict, candidate)| Step::Commit { verdict, candidate }),
        1 => (1..6_u64).prop_map(Step::Revert),
        1 => (0..3_usize).prop_map(|candidate| Step::Again { candidate }),
        1 => (0..9_u64).prop_map(|below| Step::Amend { below }),
    ]
}

/// A ledger as the verifier keeps it.
#[derive(Default)]
struct Model {
    ledger: BTreeMap<TopoHeight, LedgerEntry>,
    /// How many blocks there have been.
    blocks: u64,
}

impl Model {
    fn standing(&self) -> u64 {
        self.ledger.values().filter(|entry| !entry.stale).count() as u64
    }

    /// Commits a block, and returns what the judge hands over.
    fn commit(&mut self, verdict: usize, candidate: usize) -> LedgerEntry {
        let at = TopoHeight::new(self.standing());
        self.blocks += 1;
        let mut entry = entry(at, self.blocks, verdict, candidate);
        if let Some(replaced) = self.ledger.get(&at) {
            entry.replace(replaced);
        }
        self.ledger.insert(at, entry.clone());
        entry
    }

    /// How many blocks stand how, in the order of [`Standing::ALL`]. What was ordered away since the last
    /// block was committed is stale in the ledger before anybody is told.
    fn standings(&self) -> Vec<u64> {
        let stands = |entry: &&LedgerEntry, standing| match standing {
            Standing::Stale => entry.stale,
            Standing::Judged(severity) => !entry.stale && entry.severity() == severity,
        };
        let count = |standing| self.ledger.values().filter(|entry| stands(entry, standing)).count();
        Standing::ALL.map(|standing| count(standing) as u64).to_vec()
    }

    fn revert(&mut self, blocks: u64) {
        let above = TopoHeight::new(self.standing().saturating_sub(blocks).max(1));
        for entry in self.ledger.range_mut(above..).map(|(_, entry)| entry) {
            entry.stale = true;
        }
    }

    fn again(&mut self, candidate: usize) -> Option<LedgerEntry> {
        let at = TopoHeight::new(self.standing().checked_sub(1)?);
        let before = self.ledger.get(&at)?;
        let mut again = entry(at, 0, 1, candidate);
        again.block_hash = before.block_hash;
        again.state_digest.clone_from(&before.state_digest);
        again.earlier_mismatches = before.earlier_mismatches;
        again.earlier_doubts = before.earlier_doubts;
        self.ledger.insert(at, again.clone());
        Some(again)
    }

    fn amend(&mut self, below: u64) -> Option<Change> {
        let at = TopoHeight::new(self.standing().checked_sub(below + 1)?);
        let entry = self.ledger.get_mut(&at)?;
        let before = entry.clone();
        let node = &mut entry.candidates[0];
        node.verdict = comparator::Severity::Mismatch;
        *node.fields.entry(Field::Version).or_default() += 3;
        let amended = Amended { before, entry: entry.clone(), record: None };
        Some(Change::Amended(Box::new(amended)))
    }
}

const CANDIDATES: [&str; 3] = ["v3", "node", "external-engine"];

/// An entry that has something of everything that is counted.
fn entry(at: TopoHeight, number: u64, verdict: usize, candidate: usize) -> LedgerEntry {
    let verdict = words::SEVERITIES[verdict];
    let field = Field::ALL[number as usize % Field::ALL.len()].as_str();
    let fields = match verdict {
        comparator::Severity::Mismatch => json!({ field: 2 }),
        _ => json!({}),
    };
    serde_json::from_value(json!({
        "format_version": 1,
        "topoheight": at,
        "block_hash": format!("{number:064x}"),
        "rules": RULES,
        "control_build": SerialExecutor.build(),
        "state_digest": format!("{number:064x}"),
        "candidates": [{
            "candidate": CANDIDATES[candidate],
            "build": "1",
            "verdict": verdict,
            "reason": "empty",
            "fields": fields,
            "exercise": { "workers": 4, "seed": 0, "batches": 2, "max_in_flight": 3, "seconds": 0.5 },
        }],
        "canary": (number % 4 == 1).then(|| json!({
            "planted": "fees",
            "verdict": { "candidate": "canary", "build": "1", "verdict": "match" },
        })),
        "again": (number % 3 == 1).then(|| json!({ "differs": (number % 2 == 1).then(|| json!({
            "topoheight": at, "block_hash": format!("{number:064x}"), "candidate": "serial",
            "field": "balance", "control": "absent", "observed": 1,
        })) })),
        "transactions": { "total": 9, "executed": 7, "skipped": 1, "failed": 1, "opaque": 0 },
        "kinds": { "burn": { "total": 3, "executed": 2 } },
        "shapes": { "self_transfer": number % 3 },
        "node": { "compared": 1, "differ": 0, "taken": 0, "not_asked": 0 },
        "quirks": { "nonce_gap": 1 },
        "loads": { "requested": 3, "from_cache": 2, "from_store": 1 },
        "seconds": { "serial": 1.0, "parallel": 0.5, "compare": 0.1, "commit": 0.1 },
    }))
    .unwrap()
}

fn metrics() -> Metrics {
    let metrics = unrestored();
    metrics.restore(std::iter::empty()).unwrap();
    metrics
}

fn unrestored() -> Metrics {
    Metrics::new(Setup {
        chain: "a chain of a test".to_owned(),
        candidates: CANDIDATES.map(|name| (name.to_owned(), "1".to_owned())).into(),
        options: BTreeMap::from([("workers".to_owned(), 2.0)]),
        directory: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/metrics")),
        evidence: PathBuf::from("there is none"),
        lag_limit: LagLimit::default(),
    })
    .unwrap()
}

/// What the ledger adds up to, as it is served.
fn levels(metrics: &Metrics) -> Vec<String> {
    let text = metrics.render().unwrap();
    let is_level = |line: &&str| {
        line.starts_with("shadow_ledger_") || line.starts_with("shadow_verified_topoheight")
    };
    text.lines().filter(is_level).map(str::to_owned).collect()
}

/// The same of the stretches together.
fn standings(metrics: &Metrics) -> Vec<u64> {
    let all: Vec<_> = metrics.stretches().iter(TopoHeight::MAX).collect();
    let sum = |standing| all.iter().map(|stretch| stretch.standings.of(standing)).sum();
    Standing::ALL.map(sum).to_vec()
}

/// The value of one series, by its name and labels.
#[track_caller]
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("there is no {series}")).parse().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_up_block_by_block_is_what_a_restart_finds(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut model = Model::default();
        let live = metrics();
        for step in steps {
            match step {
                Step::Revert(blocks) => model.revert(blocks),
                Step::Again { candidate } => live.judged(Vec::from_iter(model.again(candidate))),
                Step::Amend { below } => live.changed(model.amend(below)),
                // A block that was ordered away counts until another takes its place, so only now is
                // there something to compare.
                Step::Commit { verdict, candidate } => {
                    live.judged(vec![model.commit(verdict, candidate)]);
                    let restarted = metrics();
                    restarted.restore(model.ledger.values().cloned().map(Ok)).unwrap();
                    prop_assert_eq!(standings(&live), model.standings());
                    prop_assert_eq!(standings(&restarted), model.standings());
                    let (live, restarted) = (levels(&live), levels(&restarted));
                    prop_assert_eq!(live.len(), restarted.len());
                    for (live, restarted) in live.iter().zip(restarted) {
                        prop_assert_eq!(live, &restarted);
                    }
                }
            }
        }
    }
}

#[test]
fn stretches_are_bounded_and_lose_nothing() {
    let (mut model, metrics) = (Model::default(), metrics());
    for number in 0..1000 {
        metrics.judged(vec![model.commit(number % 5, 0)]);
    }
    let stretches: Vec<_> = metrics.stretches().iter(TopoHeight::new(999)).collect();
    assert!((48..=96).contains(&stretches.len()), "{}", stretches.len());
    let mut next = TopoHeight::GENESIS;
    for stretch in &stretches {
        assert_eq!(stretch.first, next);
        next = stretch.last.next();
        assert_eq!(stretch.standings.total(), stretch.last.blocks_since(stretch.first) + 1);
    }
    assert_eq!(next, TopoHeight::new(1000));
    assert_eq!(standings(&metrics), model.standings());
}

#[test]
fn a_re_order_is_counted_once_with_its_depth() {
    let (mut model, metrics) = (Model::default(), metrics());
    for _ in 0..5 {
        metrics.judged(vec![model.commit(0, 0)]);
    }
    model.revert(3);
    for _ in 0..3 {
        metrics.judged(vec![model.commit(0, 0)]);
    }
    assert_eq!(value(&metrics, "shadow_re_orders_total"), 1.0);
    assert_eq!(value(&metrics, "shadow_re_ordered_blocks_total"), 3.0);
    assert_eq!(value(&metrics, "shadow_re_order_depth_blocks_sum"), 3.0);
    let series = "shadow_judged_blocks_total{candidate=\"v3\",verdict=\"match\"}";
    assert_eq!(value(&metrics, series), 8.0);
    assert_eq!(value(&metrics, "shadow_ledger_positions{state=\"exercised\"}"), 5.0);
    assert_eq!(value(&metrics, "shadow_verified_topoheight"), 4.0);
}

#[test]
fn a_control_that_differs_from_itself_is_shown_even_if_its_block_is_ordered_away() {
    let (mut model, metrics) = (Model::default(), metrics());
    let again = |outcome: &str| {
        value(&metrics, &format!("shadow_ledger_controls_again{{outcome=\"{outcome}\"}}"))
    };
    assert_eq!((again("same"), again("differs")), (0.0, 0.0));
    // Of every third block, by turns it differs and does the same.
    for _ in 0..7 {
        metrics.judged(vec![model.commit(0, 0)]);
    }
    assert_eq!((again("same"), again("differs")), (1.0, 2.0));
    model.revert(3);
    metrics.judged(vec![model.commit(0, 0)]);
    assert_eq!((again("same"), again("differs")), (1.0, 2.0));
}

#[test]
fn what_is_found_later_is_shown_and_counts_no_block_twice() {
    #[track_caller]
    fn check(blocks_above: usize) {
        let (mut model, metrics) = (Model::default(), metrics());
        for candidate in [1, 0, 2] {
            metrics.judged(vec![model.commit(0, candidate)]);
        }
        for _ in 0..blocks_above {
            metrics.judged(vec![model.commit(0, 0)]);
        }
        let below = blocks_above as u64 + 2;
        assert_eq!(metrics.status().verdict, RunVerdict::NotEnoughEvidence);
        metrics.changed(model.amend(below));
        assert_eq!(metrics.status().verdict, RunVerdict::Mismatch);
        assert_eq!(standings(&metrics), model.standings());
        assert_eq!(metrics.mismatches_before(TopoHeight::MAX, 9), [TopoHeight::GENESIS]);
        let series = "shadow_ledger_mismatches{candidate=\"node\",field=\"version\"}";
        assert_eq!(value(&metrics, series), 3.0);
        let series = "shadow_judged_blocks_total{candidate=\"node\",verdict=\"match\"}";
        assert_eq!(value(&metrics, series), 1.0);
        let blocks = &metrics.status().candidates["node"].blocks;
        assert_eq!((blocks["match"], blocks["mismatch"]), (0, 1));
    }
    check(0);
    check(600);
    check(1200);
}

#[test]
fn what_is_accepted_of_blocks_that_were_ordered_away_is_not_shown() {
    let mut model = Model::default();
    let mut judged = model.commit(0, 0);
    let wrong = &mut judged.candidates[0];
    wrong.verdict = comparator::Severity::Mismatch;
    wrong.fields = BTreeMap::from([(Field::Fees, 2)]);
    let fingerprint = Fingerprint {
        candidate: "v3".to_owned(),
        field: Field::Fees,
        kind: None,
        conflict: Conflict::None,
        says: None,
    };
    wrong.fingerprint = Some(fingerprint.clone());
    model.ledger.insert(judged.topoheight, judged.clone());
    let directory = tempfile::tempdir().unwrap();
    let accepted = Acceptance {
        fingerprint: fingerprint.id(),
        reason: "known".to_owned(),
        candidate: "v3".to_owned(),
        build: "1".to_owned(),
        until_build: None,
        fields: [Field::Fees].into(),
    };
    let mut acceptances = Acceptances::default();
    acceptances.accept(directory.path(), accepted).unwrap();

    let metrics = metrics();
    metrics.judged(vec![judged]);
    model.ledger.values_mut().for_each(|entry| entry.stale = true);
    metrics.judged(vec![model.commit(0, 0)]);
    let shown = |acceptances: &Acceptances| {
        metrics.state().levels.show_stale(acceptances, &metrics.instruments);
        metrics.instruments.ledger_stale_mismatches.with_label_values(&levels::NONE).get()
    };
    assert_eq!(shown(&Acceptances::default()), 2.0);
    assert_eq!(shown(&acceptances), 0.0);
}

#[test]
fn everything_is_there_and_zero_before_anything_happens() {
    let text = metrics().render().unwrap();
    for declaration in DECLARATIONS {
        let name = declaration.name;
        let is_served = text.lines().any(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
        });
        assert!(is_served, "{name} is not there");
    }
    for line in text.lines().filter(|line| line.contains("_total")) {
        assert!(
            line.starts_with('#') || line.ends_with(" 0") || line.starts_with("process_"),
            "{line}"
        );
    }
}

#[test]
fn the_series_are_bounded_whatever_happens() {
    let metrics = metrics();
    let reasons = words::NOT_EXERCISED.iter().chain(words::INCONCLUSIVE).chain(words::OPAQUE);
    let reasons: Vec<_> = reasons.copied().chain(["something new", "something else"]).collect();
    let mut at = 0;
    for candidate in 0..40 {
        for (turn, reason) in reasons.iter().cycle().take(120).enumerate() {
            let mut entry = entry(TopoHeight::new(at), at, turn % 5, 0);
            entry.candidates[0].candidate = format!("external-{candidate}");
            entry.candidates[0].reason = Some((*reason).to_owned());
            entry.candidates[0].fields = Field::ALL.iter().map(|field| (*field, 1)).collect();
            entry.transactions.total = [1, 20, 100, 500, 5000][turn % 5];
            entry.quirks = Quirk::ALL.map(|quirk| (quirk.name().to_owned(), 1)).into();
            entry.quirks.insert(format!("quirk {turn}"), 1);
            metrics.judged(vec![entry]);
            at += 1;
        }
        metrics.node().started(&format!("method_{candidate}"));
        for error in NodeError::ALL {
            metrics.node().ended("get_info", Duration::from_millis(1), Some(error));
        }
    }
    let text = metrics.render().unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series < 2000, "{series} series");
    for kind in TransactionKind::EXECUTED {
        assert!(text.contains(&format!("kind=\"{kind}\"")));
    }
    for shape in Shape::ALL {
        assert!(text.contains(&format!("shape=\"{shape}\"")));
    }
}

#[test]
fn the_declarations_keep_the_conventions() {
    const UNITS: [&str; 6] = ["_total", "_seconds", "_bytes", "_blocks", "_ratio", "_info"];
    let mut names: Vec<_> = DECLARATIONS.iter().map(|declaration| declaration.name).collect();
    for Declaration { name, kind, labels, help, buckets } in DECLARATIONS {
        assert!(name.starts_with("shadow_"), "{name}");
        let counts = matches!(kind, Kind::Counter | Kind::Sum);
        assert_eq!(counts, name.ends_with("_total"), "{name}");
        assert!(
            *kind != Kind::Histogram || UNITS.iter().any(|unit| name.ends_with(unit)),
            "{name}"
        );
        assert!(help.ends_with('.') && help.len() > 20, "{name}: {help}");
        assert!(buckets.is_sorted(), "{name}");
        for label in *labels {
            let of_state = ["account", "address", "asset", "block", "hash", "transaction"];
            assert!(!of_state.contains(label), "{name} has a label {label}");
        }
        for unit in ["milli", "micro", "_ms", "_kb", "_mb", "percent"] {
            assert!(!name.contains(unit), "{name} is not in base units");
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), DECLARATIONS.len());
}

#[test]
fn what_is_missing_for_being_ready_is_said() {
    let metrics = unrestored();
    let problems = || -> Vec<_> {
        let checks = metrics.checks().into_iter();
        checks.filter(|check| check.problem.is_some()).map(|check| check.name).collect()
    };
    assert_eq!(problems(), ["restored"]);
    assert_eq!(metrics.status().verdict, RunVerdict::NotEnoughEvidence);
    let missing = metrics.status().missing.concat();
    assert!(missing.contains("is still being read"), "{missing}");
    metrics.restore(std::iter::empty()).unwrap();
    assert!(problems().is_empty());
    metrics.ended("somebody pulled the plug");
    assert_eq!(problems(), ["verifying"]);
}

#[test]
fn a_node_that_says_nothing_is_not_taken_to_have_nothing_to_say() {
    #[track_caller]
    fn check(silent_seconds: u64, error: Option<NodeError>, expected: bool) {
        let metrics = metrics();
        metrics.restore(std::iter::empty()).unwrap();
        metrics.node().started("get_info");
        metrics.state().node_heard =
            Instant::now().checked_sub(Duration::from_secs(silent_seconds));
        if let Some(error) = error {
            metrics.node().ended("get_info", Duration::ZERO, Some(error));
        }
        assert_eq!(metrics.status().up_to_date, expected);
        let problem = metrics.checks().into_iter().find_map(|check| check.problem);
        assert_eq!(problem.is_none(), expected, "{problem:?}");
        assert!(problem.is_none_or(|problem| problem.contains("not answered for 61 s")));
    }
    check(59, None, true);
    check(61, None, false);
    check(61, Some(NodeError::Connect), false);
    check(61, Some(NodeError::Refused), true);
    // Whoever is not asked need not answer.
    let metrics = metrics();
    metrics.restore(std::iter::empty()).unwrap();
    metrics.node().started("get_info");
    metrics.node().ended("get_info", Duration::ZERO, None);
    metrics.state().node_heard = Instant::now().checked_sub(Duration::from_secs(61));
    assert!(metrics.status().up_to_date);
}

#[test]
fn a_run_that_falls_behind_is_not_up_to_date() {
    #[track_caller]
    fn check(lag_limit: LagLimit, expected: Option<&str>) {
        let metrics = Metrics::new(Setup { lag_limit, ..metrics().setup }).unwrap();
        metrics.restore(std::iter::empty()).unwrap();
        assert_eq!(value(&metrics, "shadow_up_to_date"), 1.0);
        metrics.head(TopoHeight::new(7));
        let up_to_date = expected.is_none();
        assert_eq!(value(&metrics, "shadow_up_to_date"), f64::from(u8::from(up_to_date)));
        assert_eq!(value(&metrics, "shadow_lag_blocks"), 8.0);
        assert_eq!(metrics.status().up_to_date, up_to_date);
        let problem = metrics.checks().into_iter().find_map(|check| check.problem);
        match (problem, expected) {
            (None, None) => {}
            (Some(problem), Some(expected)) => {
                assert!(problem.starts_with("8 blocks wait"), "{problem}");
                assert!(problem.contains(expected), "{problem}");
            }
            (problem, _) => panic!("{lag_limit:?}: {problem:?}"),
        }
    }
    let long = Duration::from_secs(1_000_000);
    check(LagLimit { age: Duration::ZERO, blocks: None }, Some("which is more than 0 s;"));
    check(LagLimit { age: long, blocks: None }, None);
    check(LagLimit { age: long, blocks: Some(8) }, None);
    check(LagLimit { age: long, blocks: Some(7) }, Some("or 7 blocks;"));
}

/// The same with this verdict on every candidate.
fn of_all(mut entry: LedgerEntry) -> LedgerEntry {
    let judged = entry.candidates.remove(0);
    let name = |candidate: &str| {
        let mut judged = judged.clone();
        judged.candidate = candidate.to_owned();
        judged
    };
    entry.candidates = CANDIDATES.map(name).into();
    entry.canary = None;
    entry.again = None;
    entry
}

#[test]
fn the_answer_at_this_moment_is_never_green_by_accident() {
    let metrics = metrics();
    let verdict = || metrics.status().verdict;
    assert_eq!(verdict(), RunVerdict::NotEnoughEvidence);
    let mut model = Model::default();
    metrics.judged(vec![of_all(model.commit(0, 0))]);
    assert_eq!(verdict(), RunVerdict::Clean);
    metrics.judged(vec![of_all(model.commit(1, 0))]);
    assert_eq!(verdict(), RunVerdict::Mismatch);
    // It was real, even if the block is gone.
    model.revert(1);
    metrics.judged(vec![of_all(model.commit(0, 0))]);
    assert_eq!(verdict(), RunVerdict::Mismatch);
    assert_eq!(metrics.status().stale_mismatches, 2);
    assert_eq!(metrics.mismatches_before(TopoHeight::MAX, 10), [TopoHeight::new(1)]);
}

#[test]
fn what_is_missing_at_this_moment_is_what_would_be_missing_at_the_end() {
    #[track_caller]
    fn check(alter: impl FnOnce(&mut LedgerEntry), expected: &str) {
        let metrics = metrics();
        let mut summary = Summary::new([]);
        for candidate in CANDIDATES {
            summary.ask_for(candidate, "1");
        }
        let mut model = Model::default();
        let mut entries = [0; 3].map(|match_| of_all(model.commit(match_, 0)));
        alter(&mut entries[1]);
        for entry in &entries {
            summary.add(entry);
        }
        metrics.judged(entries.into());
        let mut missing: Vec<_> = summary.missing().collect();
        let mut status = metrics.status();
        missing.sort_unstable();
        status.missing.sort_unstable();
        assert_eq!(status.missing, missing);
        assert_eq!(value(&metrics, "shadow_evidence_missing"), missing.len() as f64);
        assert_eq!(missing.is_empty(), expected.is_empty(), "{missing:#?}");
        assert!(missing.concat().contains(expected), "{missing:#?}");
        let verdict = summary.finish(None, 0.0, None).verdict();
        assert_eq!(status.verdict, verdict);
    }
    check(|_| (), "");
    check(|entry| drop(entry.candidates.pop()), "external-engine has no verdict on 1 blocks");
    check(|entry| entry.candidates[0].build = "2".to_owned(), "v3 has no verdict on 1 blocks");
    check(|entry| entry.rules = "others".to_owned(), "no verdict on 1 blocks");
    let suspend = |entry: &mut LedgerEntry| {
        entry.candidates[0].verdict = comparator::Severity::NotExercised;
        entry.candidates[0].reason = Some("suspended".to_owned());
    };
    check(suspend, "v3: left alone in 1 blocks");
    let noisy = |entry: &mut LedgerEntry| {
        let differs = json!({
            "topoheight": 1, "block_hash": entry.block_hash, "candidate": "serial", "field": "balance",
            "control": "absent", "observed": 1,
        });
        entry.again = Some(AgainEntry { differs: serde_json::from_value(differs).unwrap() });
    };
    check(noisy, "in 1 of 1 blocks the serial execution differs from itself");
    let blind = |entry: &mut LedgerEntry| {
        let verdict = entry.candidates[0].clone();
        entry.canary = Some(CanaryEntry { planted: Field::Fees, verdict });
    };
    check(blind, "altered on purpose was not found to differ");
    let inconclusive = |entry: &mut LedgerEntry| {
        for judged in &mut entry.candidates {
            judged.verdict = comparator::Severity::Inconclusive;
        }
    };
    check(inconclusive, "1 blocks are inconclusive");
}
