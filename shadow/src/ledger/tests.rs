//! What is left of a block when another verdict takes its place.

use serde_json::json;

use super::*;
use crate::fingerprint::Conflict;

/// Name, build and fields of a candidate that differs.
type Differing<'a> = (&'a str, &'a str, &'a [(Field, u64)]);

/// An entry of one block, in which candidates differ: by name, build, and fields, the first of which is the
/// problem.
fn entry(hash: u8, differing: &[Differing<'_>]) -> LedgerEntry {
    let candidates = differing.iter().map(|(candidate, build, fields)| {
        let verdict = json!({"candidate": candidate, "build": build, "verdict": "mismatch"});
        let mut judged: CandidateEntry = serde_json::from_value(verdict).unwrap();
        judged.fields = fields.iter().copied().collect();
        judged.fingerprint = Some(Fingerprint {
            candidate: (*candidate).to_owned(),
            field: fields[0].0,
            kind: None,
            conflict: Conflict::None,
            says: None,
        });
        judged
    });
    let candidates: Vec<_> = candidates.collect();
    let entry = json!({
        "format_version": 1, "topoheight": 5, "block_hash": format!("{hash:02x}").repeat(32),
        "state_digest": "", "candidates": [], "quirks": {},
        "transactions": {"total": 0, "executed": 0, "skipped": 0, "failed": 0, "opaque": 0},
        "node": {"compared": 0, "differ": 0, "taken": 0, "not_asked": 0},
        "loads": {"requested": 0, "from_cache": 0, "from_store": 0},
        "seconds": {"serial": 0.0, "parallel": 0.0, "compare": 0.0, "commit": 0.0},
    });
    LedgerEntry { candidates, ..serde_json::from_value(entry).unwrap() }
}

const FEES: &[(Field, u64)] = &[(Field::Fees, 1)];
const BALANCE: &[(Field, u64)] = &[(Field::Balance, 1)];
const TWO: &[(Field, u64)] = &[(Field::Balance, 3), (Field::Nonce, 2)];
const FEWER: &[(Field, u64)] = &[(Field::Balance, 1), (Field::Nonce, 2)];

#[test]
fn what_is_not_found_again_in_a_block_stays_found() {
    #[track_caller]
    fn check(before: &[Differing<'_>], now: &[Differing<'_>], earlier: &[&[(Field, u64)]]) {
        let (before, mut now) = (entry(1, before), entry(1, now));
        now.replace(&before);
        let left: Vec<Vec<_>> = now
            .earlier_problems
            .iter()
            .map(|found| found.fields.iter().map(|(field, count)| (*field, *count)).collect())
            .collect();
        assert_eq!(left, earlier);
        let sum: u64 = left.iter().flatten().map(|(_, count)| count).sum();
        assert_eq!(now.earlier_mismatches, sum);
        // As one finding, and as much of it as was found at most.
        assert!(now.mismatches() >= before.mismatches());
    }
    check(&[("v3", "1", FEES)], &[("v3", "1", FEES)], &[]);
    // One difference each, and not the same one.
    check(&[("v3", "1", FEES)], &[("v3", "1", BALANCE)], &[FEES]);
    check(&[("v3", "1", FEES)], &[("v3", "2", FEES)], &[FEES]);
    check(&[("v3", "1", FEES)], &[("node", "1", FEES)], &[FEES]);
    check(&[("v3", "1", FEES)], &[], &[FEES]);
    check(&[("v3", "1", TWO)], &[("v3", "1", FEWER)], &[]);
    check(&[("v3", "1", FEWER)], &[("v3", "1", TWO)], &[]);
    check(&[("v3", "1", FEES), ("node", "1", TWO)], &[("node", "1", TWO)], &[FEES]);
}

#[test]
fn what_was_found_in_another_block_is_found_beside_what_is_here() {
    let mut now = entry(2, &[("v3", "1", FEES)]);
    now.replace(&entry(1, &[("v3", "1", FEES)]));
    assert_eq!((now.earlier_mismatches, now.mismatches()), (1, 2));
    assert_eq!(now.earlier_problems.len(), 1);
}

#[test]
fn a_doubt_outlives_the_block_in_which_it_arose() {
    let doubtful = |hash, is_missed: bool| {
        let mut entry = entry(hash, &[]);
        let verdict = json!({"candidate": "canary", "build": "canary", "verdict": "match"});
        let verdict = serde_json::from_value(verdict).unwrap();
        entry.canary = is_missed.then_some(CanaryEntry { planted: Field::Fees, verdict });
        entry
    };
    let missed = |canaries_missed| Doubts { canaries_missed, again_differ: 0 };
    let mut other = doubtful(2, true);
    other.replace(&doubtful(1, true));
    assert_eq!((other.earlier_doubts, other.doubts()), (missed(1), missed(2)));
    let mut third = doubtful(3, false);
    third.replace(&other);
    assert_eq!(third.doubts(), missed(2));
    let mut again = doubtful(1, true);
    again.replace(&doubtful(1, true));
    assert_eq!(again.doubts(), missed(1));
    let mut again = doubtful(1, false);
    again.replace(&doubtful(1, true));
    assert_eq!(again.doubts(), missed(1));
}
