//! What a fault altered: the place where a reader has to be sent first, and who is to blame there.
//!
//! It is told from the right and the wrong result by plain equality, one place after another in the
//! order in which differences are reported, and shares nothing with the comparison under test.

use std::collections::{BTreeSet, HashMap};

use comparator::{Difference, Execution, Field, Outcome};
use storage_snapshot::{StateKey, TxHash};

use super::Wrong;
use crate::execute::ExecutableBlock;

/// A place in a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// There is no result at all.
    Answer,
    /// What became of a transaction.
    Outcome(TxHash),
    /// What was written under a key.
    Key(StateKey),
    /// One of the totals.
    Total(Field),
}

/// What a fault altered in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    /// The first altered place; `None` if the fault did not show.
    pub first: Option<Place>,
    /// The indexes of the transactions that the fault was applied to at that place. None where it is
    /// wrong before the first transaction, or nobody in the block is to blame.
    pub culprits: BTreeSet<usize>,
}

impl Altered {
    /// Whether this is the right difference to report first, traced to the right transaction.
    pub fn is_right(&self, first: &Difference, located: Option<usize>) -> bool {
        let reported = match (&first.key, &first.transaction) {
            (Some(key), _) => Place::Key(*key),
            (None, Some(hash)) => Place::Outcome(*hash),
            (None, None) => match first.field {
                Field::Error | Field::Crashed | Field::Hang | Field::Protocol => Place::Answer,
                field => Place::Total(field),
            },
        };
        let blamed = match located {
            Some(index) => self.culprits.contains(&index),
            None => self.culprits.is_empty(),
        };
        self.first == Some(reported) && blamed
    }

    pub(super) fn nothing() -> Self {
        Self { first: None, culprits: BTreeSet::new() }
    }

    pub(super) fn all(culprit: Option<usize>) -> Self {
        Self { first: Some(Place::Answer), culprits: culprit.into_iter().collect() }
    }

    pub(super) fn between(block: &ExecutableBlock, right: &Execution, wrong: &Wrong) -> Self {
        let first = first_outcome(block, &right.outcomes, &wrong.execution.outcomes)
            .or_else(|| first_key(right, &wrong.execution))
            .or_else(|| first_total(right, &wrong.execution));
        let culprits = first.and_then(|place| wrong.blamed(&place)).cloned().unwrap_or_default();
        Self { first, culprits }
    }
}

/// Of the transactions of the block the first whose outcome is not there; if all are, the first
/// outcome too many.
fn first_outcome(block: &ExecutableBlock, right: &[Outcome], wrong: &[Outcome]) -> Option<Place> {
    let mut given: HashMap<TxHash, Vec<&Outcome>, ahash::RandomState> = HashMap::default();
    for outcome in wrong {
        given.entry(outcome.hash).or_default().push(outcome);
    }
    let due: HashMap<TxHash, &Outcome, ahash::RandomState> =
        right.iter().map(|outcome| (outcome.hash, outcome)).collect();
    let hashes = block.transactions.iter().map(|transaction| transaction.body.hash);
    for hash in hashes.clone() {
        let is_given = match (given.get(&hash), due.get(&hash)) {
            (Some(given), Some(due)) => given.contains(due),
            (None, None) => true,
            _ => false,
        };
        if !is_given {
            return Some(Place::Outcome(hash));
        }
    }
    let mut left: HashMap<TxHash, usize, ahash::RandomState> =
        right.iter().map(|outcome| (outcome.hash, 1)).collect();
    for outcome in wrong {
        match left.get_mut(&outcome.hash) {
            Some(count) if *count > 0 => *count -= 1,
            _ => return Some(Place::Outcome(outcome.hash)),
        }
    }
    None
}

fn first_key(right: &Execution, wrong: &Execution) -> Option<Place> {
    let keys: BTreeSet<&StateKey> = right.delta.keys().chain(wrong.delta.keys()).collect();
    let mut keys = keys.into_iter();
    let first = keys.find(|key| right.delta.get(key) != wrong.delta.get(key))?;
    Some(Place::Key(*first))
}

fn first_total(right: &Execution, wrong: &Execution) -> Option<Place> {
    let (right, wrong) = (&right.totals, &wrong.totals);
    let pairs = [
        (Field::Fees, right.fees, wrong.fees),
        (Field::Burned, right.burned, wrong.burned),
        (Field::MinerReward, right.miner_reward, wrong.miner_reward),
        (Field::DevReward, right.dev_reward, wrong.dev_reward),
    ];
    let first = pairs.into_iter().find(|(_, right, wrong)| right != wrong);
    first.map(|(field, ..)| Place::Total(field))
}
