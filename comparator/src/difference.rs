//! A difference: one thing that two executions of one block do not agree on.
//!
//! Outcomes are matched by transaction, writes by key, totals by name. Nothing is matched by
//! position or count, because one dropped entry would then shift everything behind it, and two
//! wrongs could add up to an agreement.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storage_snapshot::{Amount, ReadError, StateDelta, StateKey, StateRead, StateValue, TxHash};

use crate::{Execution, Failure, Outcome, Side, Totals};

/// One thing that two executions do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What kind of thing.
    pub field: Field,
    /// Under which key, for state.
    pub key: Option<StateKey>,
    /// The transaction that the difference itself names, for outcomes.
    pub transaction: Option<TxHash>,
    /// What the control shows.
    pub control: Side,
    /// What the candidate shows.
    pub observed: Side,
}

impl Difference {
    /// A difference under a key of state, of the key's own field.
    pub const fn of_key(key: StateKey, control: Side, observed: Side) -> Self {
        Self { field: Field::of(&key), key: Some(key), transaction: None, control, observed }
    }

    /// How much more the candidate has than the control, when both are numbers. Within
    /// ±(2^64-1).
    pub fn amount(&self) -> Option<i128> {
        amount(&self.control, &self.observed)
    }

    /// Where it is, in words: a key, a transaction, or the name of the field.
    pub fn place(&self) -> String {
        place(self.field, self.key.as_ref(), self.transaction.as_ref())
    }
}

impl From<&Failure> for Difference {
    /// A failure to come to an end is one difference, whatever the control did.
    fn from(failure: &Failure) -> Self {
        let field = match failure {
            Failure::Error(_) => Field::Error,
            Failure::Crashed(_) => Field::Crashed,
            Failure::Hang { .. } => Field::Hang,
            Failure::Protocol(_) => Field::Protocol,
        };
        Self {
            field,
            key: None,
            transaction: None,
            control: Side::Absent,
            observed: Side::Text(failure.to_string()),
        }
    }
}

pub(crate) fn amount(control: &Side, observed: &Side) -> Option<i128> {
    match (control, observed) {
        (Side::Number(control), Side::Number(observed)) => {
            Some(i128::from(*observed) - i128::from(*control))
        }
        _ => None,
    }
}

pub(crate) fn place(field: Field, key: Option<&StateKey>, transaction: Option<&TxHash>) -> String {
    match (key, transaction) {
        (Some(key), _) => key.to_string(),
        (None, Some(hash)) => format!("the {field} of transaction {hash}"),
        (None, None) => format!("the {field} of the block"),
    }
}

/// Hands every difference between two executions to `report`: outcomes in block order, then state
/// in the order of its keys, then totals. A wrong outcome explains wrong state and wrong state
/// explains wrong totals, so the first one is where to start reading.
///
/// The compared keys are those that either side wrote. A key that neither wrote still has the value
/// that both started from, so it is equal by definition, whether the block names it or not.
///
/// Where only one side wrote a key, the value before the block decides: a write of that same value
/// is a difference of [`Field::Version`], any other is one of the key's own field. A key whose value
/// before the block is not known counts as changed.
///
/// # Errors
///
/// When `pre_state` cannot be read, for another reason than not knowing the value.
pub fn for_each_difference(
    control: &Execution,
    candidate: &Execution,
    pre_state: &dyn StateRead,
    report: &mut dyn FnMut(Difference),
) -> Result<(), ReadError> {
    compare_outcomes(&control.outcomes, &candidate.outcomes, report);
    compare_writes(&control.delta, &candidate.delta, pre_state, report)?;
    compare_totals(&control.totals, &candidate.totals, report);
    Ok(())
}

/// Compares the outcomes of each transaction as a multiset. What is equal on both sides goes first,
/// so that the order in which a candidate lists a repeated transaction does not matter; what is left
/// is paired in order.
fn compare_outcomes(
    control: &[Outcome],
    candidate: &[Outcome],
    report: &mut dyn FnMut(Difference),
) {
    let mut unmatched = BTreeMap::<&TxHash, VecDeque<&Outcome>>::new();
    for outcome in candidate {
        unmatched.entry(&outcome.hash).or_default().push_back(outcome);
    }

    let mut expected = Vec::new();
    for outcome in control {
        let same = unmatched.get_mut(&outcome.hash).and_then(|given| {
            let position = given.iter().position(|other| *other == outcome)?;
            given.remove(position)
        });
        if same.is_none() {
            expected.push(outcome);
        }
    }

    for outcome in expected {
        let observed = unmatched.get_mut(&outcome.hash).and_then(VecDeque::pop_front);
        report(Difference {
            field: Field::Outcome,
            key: None,
            transaction: Some(outcome.hash),
            control: Side::Outcome(outcome.clone()),
            observed: observed.map_or(Side::Absent, |outcome| Side::Outcome(outcome.clone())),
        });
    }

    let mut named: BTreeSet<&TxHash> = control.iter().map(|outcome| &outcome.hash).collect();
    for outcome in candidate {
        let left = unmatched.get_mut(&outcome.hash).and_then(VecDeque::pop_front);
        let Some(extra) = left else { continue };
        let difference = if named.insert(&extra.hash) {
            Difference {
                field: Field::Outcome,
                key: None,
                transaction: Some(extra.hash),
                control: Side::Absent,
                observed: Side::Outcome(extra.clone()),
            }
        } else {
            Difference {
                field: Field::Protocol,
                key: None,
                transaction: Some(extra.hash),
                control: Side::Absent,
                observed: Side::Text(format!(
                    "one more outcome for transaction {} than it has in the block",
                    extra.hash
                )),
            }
        };
        report(difference);
    }
}

fn compare_writes(
    control: &StateDelta,
    candidate: &StateDelta,
    pre_state: &dyn StateRead,
    report: &mut dyn FnMut(Difference),
) -> Result<(), ReadError> {
    let keys: BTreeSet<&StateKey> = control.keys().chain(candidate.keys()).collect();
    for key in keys {
        let difference = match (control.get(key), candidate.get(key)) {
            (Some(control), Some(observed)) if control == observed => continue,
            (None, None) => continue,
            (Some(control), Some(observed)) => {
                Difference::of_key(*key, Side::of_write(control), Side::of_write(observed))
            }
            (Some(written), None) => Difference {
                field: field_of_lone_write(key, written, pre_state)?,
                ..Difference::of_key(*key, Side::of_write(written), Side::Absent)
            },
            (None, Some(written)) => Difference {
                field: field_of_lone_write(key, written, pre_state)?,
                ..Difference::of_key(*key, Side::Absent, Side::of_write(written))
            },
        };
        report(difference);
    }
    Ok(())
}

/// A write that the other side does not have either changed the value or only left a version.
fn field_of_lone_write(
    key: &StateKey,
    written: Option<&StateValue>,
    pre_state: &dyn StateRead,
) -> Result<Field, ReadError> {
    match pre_state.read(key) {
        Ok(before) if before.as_ref() == written => Ok(Field::Version),
        Ok(_) | Err(ReadError::Unknown(_)) => Ok(Field::of(key)),
        Err(error) => Err(error),
    }
}

fn compare_totals(control: &Totals, candidate: &Totals, report: &mut dyn FnMut(Difference)) {
    let mut compare = |field, control: Amount, observed: Amount| {
        if control != observed {
            report(Difference {
                field,
                key: None,
                transaction: None,
                control: Side::Number(control.as_u64()),
                observed: Side::Number(observed.as_u64()),
            });
        }
    };
    compare(Field::Fees, control.fees, candidate.fees);
    compare(Field::Burned, control.burned, candidate.burned);
    compare(Field::MinerReward, control.miner_reward, candidate.miner_reward);
    compare(Field::DevReward, control.dev_reward, candidate.dev_reward);
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What kind of thing differs. The order is the one in which they are listed to people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field {
            $($(#[$doc])* $name,)*
        }

        impl Field {
            /// Every field, in order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it in files, metrics and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

fields! {
    /// What became of a transaction: status, reason or fee.
    Outcome = "outcome",
    /// The nonce of an account.
    Nonce = "nonce",
    /// A balance.
    Balance = "balance",
    /// A multisig configuration.
    Multisig = "multisig",
    /// Whether an account is known to the chain.
    Registration = "registration",
    /// One side wrote the value that was there before, the other did not write: the values agree,
    /// and yet the chain stores a version for the first.
    Version = "version",
    /// The fees of the block.
    Fees = "fees",
    /// What the block burned.
    Burned = "burned",
    /// What was emitted up to the block; an executor's follows from the rewards, a node tells it.
    Emitted = "emitted",
    /// The miner's reward.
    MinerReward = "miner_reward",
    /// The developers' reward.
    DevReward = "dev_reward",
    /// Two runs of one candidate differ.
    Schedule = "schedule",
    /// The candidate's answer makes no sense.
    Protocol = "protocol",
    /// The candidate answered with an error.
    Error = "error",
    /// The candidate ended without an answer.
    Crashed = "crashed",
    /// The candidate gave no answer in time.
    Hang = "hang",
}

impl Field {
    /// The field of a key of state.
    pub const fn of(key: &StateKey) -> Self {
        match key {
            StateKey::Nonce(_) => Self::Nonce,
            StateKey::Balance(..) => Self::Balance,
            StateKey::Multisig(_) => Self::Multisig,
            StateKey::Registered(_) => Self::Registration,
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Field {
    type Err = ParseFieldError;

    fn from_str(word: &str) -> Result<Self, ParseFieldError> {
        Self::ALL.iter().copied().find(|field| field.as_str() == word).ok_or(ParseFieldError)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Field;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word for a field")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Field, E> {
                word.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// A word that names no [`Field`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseFieldError;

impl fmt::Display for ParseFieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown field; known are")?;
        for (i, field) in Field::ALL.iter().enumerate() {
            write!(f, "{} {field}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl std::error::Error for ParseFieldError {}
