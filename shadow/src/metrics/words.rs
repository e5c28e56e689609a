//! The words that labels are made of: lists that are known beforehand, and a bounded number of names.

use comparator::{Field, Severity};

use crate::{
    ledger::LedgerEntry,
    rules::Quirk,
    shapes::{Shape, ShapeCounts},
};

/// The names of candidates that have a label of their own. The others share one, because anybody may
/// start programs of new names on a state directory for as long as it exists.
#[derive(Debug, Default)]
pub(super) struct CandidateNames(Vec<String>);

impl CandidateNames {
    /// The label of a candidate, and whether it is the first time that it is asked for.
    pub(super) fn label(&mut self, name: &str) -> (String, bool) {
        if self.0.iter().any(|known| known == name) {
            return (name.to_owned(), false);
        }
        let own = self.0.len() < CANDIDATES_MAX;
        let label = if own { name } else { OTHER };
        let new = !self.0.iter().any(|known| known == label);
        if new {
            self.0.push(label.to_owned());
        }
        (label.to_owned(), new)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// How many candidates have a label of their own.
pub(super) const CANDIDATES_MAX: usize = 7;

/// What stands for everything that is in no list.
pub(super) const OTHER: &str = "other";

pub(super) const SEVERITIES: [Severity; 5] = [
    Severity::Match,
    Severity::Mismatch,
    Severity::Inconclusive,
    Severity::NotExercised,
    Severity::Opaque,
];

pub(super) const NOT_EXERCISED: &[&str] = &[
    "empty",
    "one_transaction",
    "one_worker",
    "no_wide_batch",
    "fallback",
    "delegated",
    "impossible_claim",
    "below_minimum",
    "suspended",
    "not_asked",
];

pub(super) const INCONCLUSIVE: &[&str] = &["unknown_state", "control_failed", "control_invariant"];

pub(super) const OPAQUE: &[&str] = &[
    "invoke_contract",
    "deploy_contract",
    "energy",
    "ai_mining",
    "energy_fee",
    "unknown_kind",
    "unknown_version",
    Quirk::DuplicateTransaction.name(),
];

/// The word itself if it is in the list.
pub(super) fn among<'a>(word: &'a str, list: &[&str]) -> &'a str {
    if list.contains(&word) { word } else { OTHER }
}

pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    Field::ALL.iter().map(|field| field.as_str())
}

/// The size of a block, as a range that a person reads.
pub(crate) const fn size_of(transactions: u64) -> &'static str {
    match transactions {
        0..10 => "0-9",
        10..50 => "10-49",
        50..200 => "50-199",
        200..1000 => "200-999",
        _ => "1000+",
    }
}

pub(crate) const SIZES: &[&str] = &["0-9", "10-49", "50-199", "200-999", "1000+"];

/// How many of a block's transactions meet others in the way that is most common in it: a lower bound
/// of how many meet others at all.
pub(crate) fn conflict_rate_of(entry: &LedgerEntry) -> &'static str {
    let most = most_common_meeting(&entry.shapes);
    // In four parts; a block without transactions has no conflicts.
    match (most * 4).checked_div(entry.transactions.total).unwrap_or_default() {
        0 => "0-25%",
        1 => "25-50%",
        2 => "50-75%",
        _ => "75-100%",
    }
}

pub(crate) const CONFLICT_RATES: &[&str] = &["0-25%", "25-50%", "50-75%", "75-100%"];

fn most_common_meeting(shapes: &ShapeCounts) -> u64 {
    [Shape::SameSenderChain, Shape::SharedReceiver, Shape::ReceiverSpends, Shape::SpenderReceives]
        .into_iter()
        .map(|shape| shapes.of(shape))
        .max()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_candidates_have_a_label_of_their_own() {
        let mut names = CandidateNames::default();
        for number in 0..CANDIDATES_MAX {
            let name = format!("external-{number}");
            assert_eq!(names.label(&name), (name.clone(), true));
            assert_eq!(names.label(&name), (name, false));
        }
        assert_eq!(names.label("one more"), (OTHER.to_owned(), true));
        assert_eq!(names.label("and another"), (OTHER.to_owned(), false));
        assert_eq!(names.iter().count(), CANDIDATES_MAX + 1);
    }

    #[test]
    fn every_size_is_in_the_list_of_sizes() {
        for transactions in [0, 9, 10, 49, 50, 199, 200, 999, 1000, u64::MAX] {
            assert!(SIZES.contains(&size_of(transactions)), "{transactions}");
        }
    }
}
