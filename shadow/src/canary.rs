//! Canaries: results that were altered on purpose, to see whether it is noticed.
//!
//! A verifier that has gone blind looks exactly like one with nothing to see. So now and then the
//! result of a candidate is altered after its verdict, and judged again under a name of its own. It
//! has to come out of the ledger as the mismatch that it is, or the run proves nothing. Which blocks
//! have one, and what is altered, follows from their topoheights alone, so that a run that is resumed
//! plants the same; a block without a match has none, because there it would be nobody's work that is
//! altered.

use std::num::NonZeroU64;

use comparator::{Execution, Field, Severity, Status};
use rand::{SeedableRng, seq::IteratorRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, Amount, StateKey, StateRead, StateValue, TopoHeight};

use crate::ledger::CandidateEntry;

/// The name under which an altered result is judged.
pub const CANARY: &str = "canary";

/// When there is a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryRate(Option<NonZeroU64>);

impl CanaryRate {
    /// One in so many blocks; none for 0.
    pub const fn every(blocks: u64) -> Self {
        Self(NonZeroU64::new(blocks))
    }

    /// How many canaries come before the one of this block; `None` if it has none.
    pub(crate) fn number(self, topoheight: TopoHeight) -> Option<u64> {
        let every = self.0?.get();
        let topoheight = topoheight.as_u64();
        (topoheight % every == FIRST_AT.min(every - 1)).then(|| topoheight / every)
    }
}

/// Where the first one is, unless they come more often: the first block of a chain has no transactions, and a chain may
/// be short.
const FIRST_AT: u64 = 3;

/// What became of a canary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CanaryEntry {
    /// What was altered.
    pub planted: Field,
    /// The verdict on the altered result.
    pub verdict: CandidateEntry,
}

impl CanaryEntry {
    /// Whether it was noticed, and as what it is.
    pub fn was_caught(&self) -> bool {
        self.verdict.verdict == Severity::Mismatch
            && self.verdict.fields.len() == 1
            && self.verdict.fields.get(&self.planted) == Some(&1)
    }
}

/// Alters one thing in a result and tells what. The canaries take turns in what it is; where a block has
/// no such thing it is the next in turn. Which of several is altered follows from the number as well.
pub(crate) fn alter(execution: &mut Execution, pre_state: &dyn StateRead, number: u64) -> Field {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let mut result = Altered { execution, pre_state, random: &mut random };
    let count = ALTERATIONS.len() as u64;
    (0..count)
        .map(|turn| ALTERATIONS[((number + turn) % count) as usize])
        .find_map(|alter| alter(&mut result))
        // Fees can always be altered.
        .unwrap_or(Field::Fees)
}

type Alteration = fn(&mut Altered<'_>) -> Option<Field>;

const ALTERATIONS: [Alteration; 10] = [
    alter_balance,
    alter_nonce,
    alter_outcome,
    alter_fees,
    add_registration,
    drop_unchanged,
    drop_changed,
    delete_multisig,
    alter_burned,
    alter_reward,
];

/// A result that is being altered.
struct Altered<'a> {
    execution: &'a mut Execution,
    pre_state: &'a dyn StateRead,
    random: &'a mut ChaCha8Rng,
}

impl Altered<'_> {
    /// One of the writes for which there is something.
    fn choose<T>(
        &mut self,
        wanted: impl Fn(&StateKey, Option<&StateValue>) -> Option<T>,
    ) -> Option<(StateKey, T)> {
        let writes = self.execution.delta.iter();
        let writes = writes.filter_map(|(key, value)| Some((*key, wanted(key, value)?)));
        writes.choose(self.random)
    }

    fn drop_write(&mut self, is_unchanged: bool) -> Option<StateKey> {
        let pre_state = self.pre_state;
        let wanted = |key: &StateKey, value: Option<&StateValue>| {
            // Of a value that is not known nobody can tell whether it changed.
            let before = pre_state.read(key).ok()?;
            ((before.as_ref() == value) == is_unchanged).then_some(())
        };
        let (dropped, ()) = self.choose(wanted)?;
        self.execution.delta.remove(&dropped);
        Some(dropped)
    }
}

fn alter_balance(result: &mut Altered<'_>) -> Option<Field> {
    let (key, more) = result.choose(|_, value| match value {
        Some(StateValue::Balance(amount)) => Some(amount.wrapping_add(Amount::new(1))),
        _ => None,
    })?;
    result.execution.delta.insert(key, Some(StateValue::Balance(more)));
    Some(Field::Balance)
}

fn alter_nonce(result: &mut Altered<'_>) -> Option<Field> {
    let (key, next) = result.choose(|_, value| match value {
        Some(StateValue::Nonce(nonce)) => nonce.next(),
        _ => None,
    })?;
    result.execution.delta.insert(key, Some(StateValue::Nonce(next)));
    Some(Field::Nonce)
}

fn alter_outcome(result: &mut Altered<'_>) -> Option<Field> {
    let outcomes = result.execution.outcomes.iter_mut();
    let executed = outcomes.filter(|outcome| outcome.status == Status::Executed);
    let outcome = executed.choose(result.random)?;
    outcome.fee = outcome.fee.wrapping_add(Amount::new(1));
    Some(Field::Outcome)
}

fn alter_fees(result: &mut Altered<'_>) -> Option<Field> {
    let fees = &mut result.execution.totals.fees;
    *fees = fees.wrapping_add(Amount::new(1));
    Some(Field::Fees)
}

/// An account that no block names comes into being.
fn add_registration(result: &mut Altered<'_>) -> Option<Field> {
    let stranger = Address::new(*b"a canary that nobody else knows!");
    result.execution.delta.insert(StateKey::Registered(stranger), Some(StateValue::Registered));
    Some(Field::Registration)
}

/// A write that changes nothing is lost.
fn drop_unchanged(result: &mut Altered<'_>) -> Option<Field> {
    result.drop_write(true).map(|_| Field::Version)
}

fn drop_changed(result: &mut Altered<'_>) -> Option<Field> {
    result.drop_write(false).map(|key| Field::of(&key))
}

fn delete_multisig(result: &mut Altered<'_>) -> Option<Field> {
    let (key, ()) = result.choose(|key, value| {
        (matches!(key, StateKey::Multisig(_)) && value.is_some()).then_some(())
    })?;
    result.execution.delta.insert(key, None);
    Some(Field::Multisig)
}

fn alter_burned(result: &mut Altered<'_>) -> Option<Field> {
    let burned = &mut result.execution.totals.burned;
    *burned = burned.wrapping_add(Amount::new(1));
    Some(Field::Burned)
}

fn alter_reward(result: &mut Altered<'_>) -> Option<Field> {
    let reward = &mut result.execution.totals.miner_reward;
    *reward = reward.wrapping_add(Amount::new(1));
    Some(Field::MinerReward)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{bench::transfers, execute::SerialExecutor};

    #[test]
    fn canaries_take_turns_and_are_the_same_wherever_they_are_planted() {
        let workload = transfers(8, 0.0, 1);
        let right = SerialExecutor.control(&workload.block, &workload.pre_state).unwrap().execution;
        let plant = |number| {
            let mut altered = right.clone();
            let field = alter(&mut altered, &*workload.pre_state, number);
            assert_ne!(
                (&altered.delta, &altered.outcomes, &altered.totals),
                (&right.delta, &right.outcomes, &right.totals)
            );
            (field, altered.delta)
        };
        let turns: BTreeSet<_> = (0..10).map(|number| plant(number).0).collect();
        // Strangers who pay each other have no multisig, burn nothing, and end up with something else.
        let fields = [
            Field::Balance,
            Field::Nonce,
            Field::Outcome,
            Field::Fees,
            Field::Registration,
            Field::MinerReward,
        ];
        assert!(turns.is_superset(&BTreeSet::from(fields)), "{turns:?}");
        let loses_a_write = |number| plant(number).1.len() < right.delta.len();
        assert!((0..10).any(loses_a_write), "{turns:?}");
        assert_eq!(plant(70), plant(70));
        let deltas: Vec<_> = (0..8).map(|turn| plant(turn * 10).1).collect();
        assert!(deltas.iter().any(|delta| *delta != deltas[0]), "always in the same place");
    }

    #[test]
    fn the_first_canary_comes_soon_and_the_others_as_often_as_asked() {
        #[track_caller]
        fn check(every: u64, expected: &[u64]) {
            let rate = CanaryRate::every(every);
            let planted = (0..=53).filter(|at| rate.number(TopoHeight::new(*at)).is_some());
            assert_eq!(planted.take(3).collect::<Vec<_>>(), expected);
        }
        check(0, &[]);
        check(1, &[0, 1, 2]);
        check(2, &[1, 3, 5]);
        check(4, &[3, 7, 11]);
        check(5, &[3, 8, 13]);
        check(50, &[3, 53]);
    }
}
