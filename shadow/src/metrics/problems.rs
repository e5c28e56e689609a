//! The problems on record: mismatches by fingerprint, those included whose blocks were ordered away.

use std::collections::BTreeMap;

use super::{declared::Instruments, words::CandidateNames};
use crate::{
    accept::Acceptances,
    fingerprint::FingerprintId,
    ledger::{FoundProblem, LedgerEntry},
};

/// What was found so far. A problem is not taken back: it was real.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<Problem, Option<FoundProblem>>);

/// A problem of one build of a candidate. An entry that an earlier build of Shadow wrote has no
/// fingerprint, and nobody can have accepted it.
type Problem = (String, String, Option<FingerprintId>);

impl Problems {
    /// Adds what was found in a block.
    pub(super) fn add(&mut self, entry: &LedgerEntry) {
        for found in entry.problems() {
            let FoundProblem { candidate, build, fingerprint, fields, .. } = &found;
            let problem = (candidate.clone(), build.clone(), Some(*fingerprint));
            if let Some(Some(known)) = self.0.get_mut(&problem) {
                for (field, count) in fields {
                    *known.fields.entry(*field).or_default() += count;
                }
            } else {
                self.insert(problem, Some(found));
            }
        }
        for judged in &entry.candidates {
            if !judged.fields.is_empty() && judged.fingerprint.is_none() {
                self.insert((judged.candidate.clone(), judged.build.clone(), None), None);
            }
        }
    }

    fn insert(&mut self, problem: Problem, found: Option<FoundProblem>) {
        if self.0.len() < PROBLEMS_MAX {
            self.0.insert(problem, found);
        }
    }

    /// How many are open and how many are accepted.
    pub(super) fn counts(&self, acceptances: &Acceptances) -> BTreeMap<&str, (u64, u64)> {
        let mut counts = BTreeMap::<&str, (u64, u64)>::new();
        for ((candidate, ..), found) in &self.0 {
            let is_accepted = found.as_ref().is_some_and(|found| acceptances.cover(found));
            let (open, accepted) = counts.entry(candidate).or_default();
            *(if is_accepted { accepted } else { open }) += 1;
        }
        counts
    }

    pub(super) fn show(
        &self,
        acceptances: &Acceptances,
        names: &mut CandidateNames,
        to: &Instruments,
    ) {
        let mut shown = BTreeMap::<String, (u64, u64)>::new();
        for (candidate, (open, accepted)) in self.counts(acceptances) {
            let (name, _) = names.label(candidate);
            let sum = shown.entry(name).or_default();
            sum.0 += open;
            sum.1 += accepted;
        }
        for (name, (open, accepted)) in shown {
            to.fingerprints.with_label_values(&[&*name, "open"]).set(open as f64);
            to.fingerprints.with_label_values(&[&*name, "accepted"]).set(accepted as f64);
        }
    }
}

/// How many problems are told apart.
const PROBLEMS_MAX: usize = 1000;
