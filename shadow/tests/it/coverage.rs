//! What a ledger covers: ranges, evidence per configuration, and what it is worth.

use comparator::Severity;
use serde_json::{Value, json};
use shadow::{
    coverage::{Coverage, Evidence, Ranges, divergence_below, rate_in_percent},
    kinds::TransactionKind,
    ledger::LedgerEntry,
    shapes::Shape,
};

/// An entry of a ledger, made by hand.
#[derive(Clone, Debug)]
pub(crate) struct Entry(Value);

impl Entry {
    /// In the form that builds wrote before kinds, shapes and rules were kept.
    pub(crate) fn old(at: u64) -> Self {
        let hash = "07".repeat(32);
        Self(json!({
            "format_version": 1, "topoheight": at, "block_hash": hash, "state_digest": "",
            "candidates": [], "quirks": {},
            "transactions": {"total": 0, "executed": 0, "skipped": 0, "failed": 0, "opaque": 0},
            "node": {"compared": 0, "differ": 0, "taken": 0, "not_asked": 0},
            "loads": {"requested": 0, "from_cache": 0, "from_store": 0},
            "seconds": {"serial": 0.0, "parallel": 0.0, "compare": 0.0, "commit": 0.0},
        }))
    }

    pub(crate) fn new(at: u64) -> Self {
        Self::old(at).with("rules", "tos-v3").with("control_build", "serial 1")
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// A block with so many executed transfers, all of which share a receiver.
    pub(crate) fn transfers(self, count: u64) -> Self {
        self.with("kinds", json!({"transfer": {"total": count, "executed": count}}))
            .with("shapes", json!({"shared_receiver": count}))
    }

    pub(crate) fn judged(mut self, name: &str, build: &str, verdict: &str, workers: u32) -> Self {
        let mut candidate = json!({"candidate": name, "build": build, "verdict": verdict});
        if workers > 0 {
            candidate["exercise"] =
                json!({"workers": workers, "seed": 0, "batches": 1, "max_in_flight": 2});
        }
        match verdict {
            "mismatch" => candidate["fields"] = json!({"balance": 2}),
            "not_exercised" => candidate["reason"] = json!("empty"),
            _ => {}
        }
        self.0["candidates"].as_array_mut().unwrap().push(candidate);
        self
    }

    /// The candidate was not run, because it had failed before.
    pub(crate) fn left_alone(self, name: &str, build: &str) -> Self {
        let mut entry = self.judged(name, build, "not_exercised", 0);
        let candidate = entry.0["candidates"].as_array_mut().unwrap().last_mut().unwrap();
        candidate["reason"] = json!("suspended");
        entry
    }

    pub(crate) fn entry(&self) -> LedgerEntry {
        LedgerEntry::decode(self.0.to_string().as_bytes()).unwrap()
    }
}

#[test]
fn topoheights_are_told_as_ranges_by_verdict() {
    let coverage = coverage(&[
        matching(0),
        matching(1),
        Entry::new(2).judged("v3", "1", "opaque", 0),
        Entry::new(3).judged("v3", "1", "not_exercised", 2),
        Entry::new(4).judged("v3", "1", "inconclusive", 0),
        matching(5),
        Entry::new(6).judged("v3", "1", "mismatch", 2),
        matching(7).with("stale", true),
        matching(8).with("stale", true),
    ]);
    let ranges = |verdict| {
        let (_, ranges) = coverage.verdicts.iter().find(|(word, _)| *word == verdict).unwrap();
        ranges.to_string()
    };
    assert_eq!(ranges(Severity::Match), "0-1, 5");
    assert_eq!(ranges(Severity::Mismatch), "6");
    assert_eq!(ranges(Severity::Opaque), "2");
    assert_eq!(ranges(Severity::NotExercised), "3");
    assert_eq!(ranges(Severity::Inconclusive), "4");
    assert_eq!(coverage.stale.to_string(), "7-8");
    assert_eq!(json(&coverage.stale), json!([[7, 8]]));
    assert_eq!(coverage.standing().to_string(), "0-6");
    assert_eq!((coverage.standing().len(), coverage.missing.to_string()), (7, "none".to_owned()));
    assert_eq!(evidence(&coverage).reasons["not_exercised:empty"], 1);
}

#[test]
fn a_block_stands_under_the_worst_verdict_and_under_each_candidates_own() {
    let coverage = coverage(&[
        matching(0).judged("node", "any", "mismatch", 0),
        matching(1),
        matching(2).judged("node", "any", "match", 0),
    ]);
    assert_eq!(coverage.verdicts.matching.to_string(), "1-2");
    assert_eq!(coverage.verdicts.mismatch.to_string(), "0");
    let [v3, node] = ["v3", "node"].map(|name| &coverage.candidates[name]);
    assert_eq!(v3.verdicts.matching.to_string(), "0-2");
    assert_eq!(node.verdicts.matching.to_string(), "2");
    assert_eq!(node.verdicts.mismatch.to_string(), "0");
    assert_eq!((node.without_verdict.to_string(), node.evidence.without_verdict), ("1".into(), 1));
    assert!(v3.without_verdict.is_empty());
}

#[test]
fn a_candidate_that_came_later_has_no_verdict_on_what_was_before() {
    let late = matching(2).judged("node", "any", "match", 0);
    let coverage = coverage(&[matching(0), matching(1), late]);
    let node = &coverage.candidates["node"];
    assert_eq!(node.without_verdict.to_string(), "0-1");
    assert_eq!(node.evidence.since.as_u64(), 2);
    assert_eq!(node.evidence.without_verdict, 0, "its evidence begins with it");
}

#[test]
fn a_topoheight_without_an_entry_is_noticed() {
    assert_eq!(coverage(&[matching(3), matching(4), matching(9)]).missing.to_string(), "5-8");
    assert!(coverage(&[matching(3), matching(4)]).missing.is_empty());
}

#[test]
fn many_ranges_are_told_in_part_to_people_and_all_in_json() {
    let coverage = coverage(&(0..40).map(|at| matching(at * 2)).collect::<Vec<_>>());
    let ranges = &coverage.verdicts.matching;
    assert!(ranges.to_string().ends_with("22 and 28 more ranges"), "{ranges}");
    assert_eq!(json(ranges).as_array().unwrap().len(), 40);
}

#[test]
fn what_was_exercised_is_counted_by_kind_shape_and_workers() {
    let coverage = coverage(&[
        matching(0).transfers(10),
        Entry::new(1).transfers(5).judged("v3", "1", "match", 8),
        // It proves nothing, so its transactions are not exercised.
        Entry::new(2).transfers(100).judged("v3", "1", "not_exercised", 2),
        Entry::new(3).judged("v3", "1", "match", 2),
    ]);
    let evidence = evidence(&coverage);
    let counts = |workers| {
        let tally = evidence.exercised_under(workers);
        let transfers = tally.of_kind(TransactionKind::Transfer);
        (tally.blocks, transfers, tally.of_shape(Shape::SharedReceiver))
    };
    assert_eq!(counts(0), (3, 15, 15));
    assert_eq!(counts(3), (1, 5, 5));
    assert_eq!(counts(9), (0, 0, 0));
    let class = evidence.of_shape(Shape::SharedReceiver, 0);
    assert_eq!((class.blocks, class.transactions, class.mismatch_blocks), (2, 15, 0));
    assert_eq!(class.divergence_below, Some(3.0 / 15.0));
    let missing = evidence.of_shape(Shape::SelfTransfer, 0);
    assert_eq!((missing.transactions, missing.divergence_below), (0, None));
}

#[test]
fn counting_starts_again_when_anything_but_the_workers_changes() {
    #[track_caller]
    fn check(then: Entry, since: u64, transfers: u64) {
        let entries = [matching(0).transfers(10), matching(1).transfers(10), then];
        let coverage = coverage(&entries);
        let evidence = evidence(&coverage);
        let counted = evidence.exercised().of_kind(TransactionKind::Transfer);
        assert_eq!((evidence.since.as_u64(), counted), (since, transfers));
        let earlier: u64 =
            coverage.candidates["v3"].earlier.values().map(|earlier| earlier.blocks.total).sum();
        assert_eq!(earlier, since, "what is not counted is shown");
    }
    let next = || Entry::new(2).transfers(1);
    check(next().judged("v3", "1", "match", 2), 0, 21);
    check(next().judged("v3", "1", "match", 64), 0, 21);
    check(next().judged("v3", "2", "match", 2), 2, 1);
    check(next().with("rules", "tos-v4").judged("v3", "1", "match", 2), 2, 1);
    check(next().with("control_build", "serial 2").judged("v3", "1", "match", 2), 2, 1);
}

#[test]
fn a_build_that_comes_back_begins_anew() {
    let of_build = |at, build| Entry::new(at).transfers(1).judged("v3", build, "match", 2);
    let builds = ["1", "1", "2", "1", "1"];
    let entries: Vec<_> = (0..).zip(builds).map(|(at, build)| of_build(at, build)).collect();
    let coverage = coverage(&entries);
    assert_eq!(evidence(&coverage).since.as_u64(), 3);
    assert_eq!(evidence(&coverage).blocks.total, 2);
    let earlier = &coverage.candidates["v3"].earlier;
    let blocks: Vec<_> =
        earlier.iter().map(|(of, found)| (of.build.as_str(), found.blocks.total)).collect();
    assert_eq!(blocks, [("1", 2), ("2", 1)]);
}

#[test]
fn what_spoke_against_a_build_still_does_when_it_comes_back() {
    let of_build =
        |at, build, verdict| Entry::new(at).transfers(10).judged("v3", build, verdict, 2);
    let coverage = coverage(&[
        of_build(0, "1", "mismatch"),
        of_build(1, "2", "match"),
        of_build(2, "1", "match"),
        of_build(3, "2", "match"),
        of_build(4, "1", "match"),
    ]);
    let evidence = evidence(&coverage);
    assert_eq!((evidence.since.as_u64(), evidence.blocks.mismatch), (4, 0));
    let class = evidence.of_kind(TransactionKind::Transfer, 0);
    assert_eq!((class.mismatch_blocks, class.divergence_below), (1, None));
    let earlier = &coverage.candidates["v3"].earlier[&evidence.configuration];
    assert_eq!((earlier.mismatches, earlier.blocks.total), (2, 2));
    assert_eq!((earlier.since.as_u64(), earlier.through.as_u64()), (0, 2));
}

#[test]
fn a_bound_is_three_by_the_number_of_trials_and_only_without_a_divergence() {
    assert_eq!(divergence_below(1000, 0), Some(0.003));
    assert_eq!(divergence_below(4, 0), Some(0.75));
    for (trials, diverged) in [(0, 0), (3, 0), (1000, 1), (u64::MAX, 1)] {
        assert_eq!(divergence_below(trials, diverged), None, "{diverged} of {trials}");
    }
    // The rule is an approximation of 1 - 0.05^(1/n), from above.
    for trials in [10, 100, 10_000] {
        let exact = 1.0 - 0.05_f64.powf(1.0 / trials as f64);
        let rule = divergence_below(trials, 0).unwrap();
        assert!(rule > exact && rule < exact * 1.2, "{trials}: {rule} and {exact}");
    }
}

#[test]
fn a_mismatch_takes_the_bound_from_every_class_of_its_block_and_from_no_other() {
    let burn = json!({"burn": {"total": 1, "executed": 0}});
    let with_burn = Entry::new(1).with("kinds", burn).with("shapes", json!({"burn": 1}));
    let entries = [matching(0).transfers(10), with_burn.judged("v3", "1", "mismatch", 2)];
    let coverage = coverage(&entries);
    let evidence = evidence(&coverage);
    assert!(evidence.of_kind(TransactionKind::Transfer, 0).divergence_below.is_some());
    assert_eq!(evidence.of_kind(TransactionKind::Burn, 0).mismatch_blocks, 1);
    assert_eq!(evidence.of_shape(Shape::Burn, 0).mismatch_blocks, 1);
    assert_eq!(evidence.mismatches(), 2);
    // Of what kind it was in a block that is gone nobody knows.
    assert_eq!(evidence.of_kind(TransactionKind::Transfer, 1).divergence_below, None);
}

#[test]
fn mismatches_of_blocks_that_were_ordered_away_are_kept() {
    let gone = Entry::new(1).judged("v3", "1", "mismatch", 2).with("stale", true);
    let replaced = matching(0).with("earlier_mismatches", 5);
    assert_eq!(coverage(&[replaced, gone]).stale_mismatches, 7);
}

#[test]
fn an_entry_of_an_older_build_is_read_and_its_configuration_is_another() {
    let coverage = coverage(&[Entry::old(0).judged("v3", "1", "match", 2), matching(1)]);
    assert_eq!(evidence(&coverage).since.as_u64(), 1);
    let earlier = &coverage.candidates["v3"].earlier;
    let of: Vec<_> = earlier.keys().map(|of| of.to_string()).collect();
    assert_eq!(of, ["build 1; rules not known; control not known"]);
}

pub(crate) fn matching(at: u64) -> Entry {
    Entry::new(at).judged("v3", "1", "match", 2)
}

pub(crate) fn coverage(entries: &[Entry]) -> Coverage {
    let mut coverage = Coverage::default();
    entries.iter().for_each(|entry| coverage.add(&entry.entry()));
    coverage
}

fn evidence(coverage: &Coverage) -> &Evidence {
    &coverage.candidates["v3"].evidence
}

fn json(ranges: &Ranges) -> Value {
    serde_json::to_value(ranges).unwrap()
}

#[test]
fn a_rate_is_told_with_two_digits_and_never_too_low() {
    #[track_caller]
    fn check(trials: u64, expected: &str) {
        let rate = divergence_below(trials, 0).unwrap();
        assert_eq!(rate_in_percent(rate), expected, "{trials}");
    }
    check(4, "75 %");
    check(7, "43 %");
    check(30, "10 %");
    check(100, "3.0 %");
    check(10_228, "0.030 %");
    check(8_869_169, "0.000034 %");
    check(3_000_000_000_000, "0.00000000010 %");
    check(u64::MAX, "0.000000000000000017 %");
}
