//! How much of what was exercised, and what that says of the rate of divergence.

use std::collections::BTreeMap;

use crate::{
    coverage::{Class, Coverage, divergence_below},
    kinds::TransactionKind,
    shapes::Shape,
};

/// Of each candidate, in the configuration under test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Confidence {
    by_candidate: BTreeMap<String, Classes>,
}

/// What is known of the transactions of each kind and shape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    /// Those that are executed here.
    pub(crate) kinds: BTreeMap<TransactionKind, Class>,
    /// All of them, those that were never there included.
    pub(crate) shapes: BTreeMap<Shape, Class>,
}

impl Confidence {
    pub(crate) fn of(coverage: &Coverage) -> Self {
        let stale = coverage.stale_mismatches;
        let of = |(name, candidate): (&String, &crate::coverage::CandidateCoverage)| {
            let evidence = &candidate.evidence;
            let kinds = TransactionKind::EXECUTED.into_iter();
            let kinds = kinds.map(|kind| (kind, evidence.of_kind(kind, stale))).collect();
            let shapes = Shape::ALL.iter();
            let shapes = shapes.map(|shape| (*shape, evidence.of_shape(*shape, stale))).collect();
            (name.clone(), Classes { kinds, shapes })
        };
        Self { by_candidate: coverage.candidates.iter().map(of).collect() }
    }

    /// Adds what another run found. A class in which either of them differs has no bound.
    pub(crate) fn add_all(&mut self, other: Self) {
        for (name, classes) in other.by_candidate {
            let own = self.by_candidate.entry(name).or_default();
            classes.kinds.into_iter().for_each(|(kind, class)| add(&mut own.kinds, kind, class));
            classes
                .shapes
                .into_iter()
                .for_each(|(shape, class)| add(&mut own.shapes, shape, class));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Classes)> {
        self.by_candidate.iter().map(|(name, classes)| (name.as_str(), classes))
    }
}

fn add<K: Ord>(own: &mut BTreeMap<K, Class>, key: K, class: Class) {
    own.entry(key)
        .and_modify(|own| {
            // One that has transactions enough and no bound was in a mismatch, here or in a block that
            // is gone.
            let diverged = |class: &Class| {
                let expected = divergence_below(class.transactions, 0);
                class.mismatch_blocks
                    + u64::from(class.divergence_below.is_none() && expected.is_some())
            };
            let diverged = diverged(own) + diverged(&class);
            own.blocks += class.blocks;
            own.transactions += class.transactions;
            own.mismatch_blocks += class.mismatch_blocks;
            own.divergence_below = divergence_below(own.transactions, diverged);
        })
        .or_insert(class);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(transactions: u64, mismatch_blocks: u64, gone: u64) -> Class {
        let divergence_below = divergence_below(transactions, mismatch_blocks + gone);
        Class { blocks: 1, transactions, mismatch_blocks, divergence_below }
    }

    #[track_caller]
    fn check(one: Class, other: Class, bound: Option<f64>) {
        let mut sum = BTreeMap::from([(0, one)]);
        add(&mut sum, 0, other);
        assert_eq!(sum[&0].divergence_below, bound);
        assert_eq!(sum[&0].transactions, one.transactions + other.transactions);
    }

    #[test]
    fn a_bound_of_two_runs_is_that_of_all_their_transactions_unless_either_differs() {
        check(class(100, 0, 0), class(200, 0, 0), Some(0.01));
        check(class(2, 0, 0), class(2, 0, 0), Some(0.75));
        check(class(0, 0, 0), class(0, 0, 0), None);
        check(class(100, 1, 0), class(200, 0, 0), None);
        check(class(100, 0, 0), class(200, 0, 1), None);
        check(class(0, 1, 0), class(300, 0, 0), None);
    }
}
