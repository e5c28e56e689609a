//! The JSON form of an execution: what a candidate answers, and what the files of an evidence
//! directory hold.
//!
//! Reading is strict where laxness could turn a wrong answer into an agreement: a missing field, a
//! wrong type, a value of another kind than its key, and a key that is written twice are errors.
//! Fields that are not known here are ignored; a reason that is not known here is kept as a text.
//!
//! Whose work a result is has no field of its own. A delegated execution is written with the
//! fallback `delegated` and read back as delegated, so that a file never claims more than was done.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
};
use storage_snapshot::{
    Address, Amount, AssetId, MemoryState, MultisigConfig, Nonce, StateDelta, StateKey, StateValue,
    TxHash,
};

use crate::{
    Execution, Exercise, FailReason, Outcome, Provenance, SkipReason, Status, Totals,
    strict::{Object, object, objects, word},
};

/// The JSON object of an [`Execution`]: `outcomes`, `writes`, `totals` and `exercise`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecutionJson {
    #[serde(deserialize_with = "objects")]
    outcomes: Vec<OutcomeJson>,
    #[serde(deserialize_with = "objects")]
    writes: Vec<StateEntryJson>,
    #[serde(deserialize_with = "object")]
    totals: Totals,
    #[serde(deserialize_with = "object")]
    exercise: ExerciseJson,
}

impl From<&Execution> for ExecutionJson {
    fn from(execution: &Execution) -> Self {
        Self {
            outcomes: execution.outcomes.iter().map(OutcomeJson::from).collect(),
            writes: execution
                .delta
                .iter()
                .map(|(key, value)| StateEntryJson::new(key, value))
                .collect(),
            totals: execution.totals,
            exercise: ExerciseJson::from(&execution.exercise),
        }
    }
}

impl TryFrom<ExecutionJson> for Execution {
    type Error = WireError;

    fn try_from(json: ExecutionJson) -> Result<Self, WireError> {
        Ok(Self {
            delta: delta_of(json.writes)?,
            outcomes: json.outcomes.into_iter().map(Outcome::try_from).collect::<Result<_, _>>()?,
            totals: json.totals,
            exercise: json.exercise.into(),
        })
    }
}

/// Reads the JSON object of an execution.
///
/// # Errors
///
/// When the text is not exactly one such object.
pub fn decode_execution(json: &str) -> Result<Execution, WireError> {
    let Object(json) = serde_json::from_str(json).map_err(WireError::Json)?;
    ExecutionJson::try_into(json)
}

/// The entries of a closed world, in the order of their keys.
///
/// # Errors
///
/// When a key is not known: what is not listed does not exist, so leaving it out would be a claim.
pub fn pre_state_to_json(state: &MemoryState) -> Result<Vec<StateEntryJson>, WireError> {
    match state.unknown().next() {
        Some(key) => Err(WireError::Unknown(*key)),
        None => {
            Ok(state.iter().map(|(key, value)| StateEntryJson::new(key, Some(value))).collect())
        }
    }
}

/// The closed world that the entries list, in any order; `null` is the same as no entry.
///
/// # Errors
///
/// When an entry makes no sense, or a key is listed twice.
pub fn pre_state_from_json(entries: Vec<StateEntryJson>) -> Result<MemoryState, WireError> {
    let mut state = MemoryState::new();
    state.apply(&delta_of(entries)?);
    Ok(state)
}

fn delta_of(entries: Vec<StateEntryJson>) -> Result<StateDelta, WireError> {
    let writes = entries.into_iter().map(TryInto::try_into).collect::<Result<_, WireError>>()?;
    StateDelta::from_unique(writes).map_err(WireError::KeyTwice)
}

/// The JSON object of one key of state and its value.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StateEntryJson {
    #[serde(deserialize_with = "word")]
    key: KeyWord,
    account: Address,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<AssetId>,
    value: ValueJson,
}

impl StateEntryJson {
    /// The entry of a key and its value, or *none*.
    pub fn new(key: &StateKey, value: Option<&StateValue>) -> Self {
        Self {
            key: KeyWord::of(key),
            account: *key.account(),
            asset: key.asset().copied(),
            value: value.into(),
        }
    }
}

impl TryFrom<StateEntryJson> for (StateKey, Option<StateValue>) {
    type Error = WireError;

    fn try_from(entry: StateEntryJson) -> Result<Self, WireError> {
        let StateEntryJson { key, account, asset, value } = entry;
        let key = key.with(account, asset).ok_or(WireError::NoAsset(account))?;
        let value = match (key, value) {
            (_, ValueJson::None) => None,
            (StateKey::Nonce(_), ValueJson::Number(number)) => {
                Some(StateValue::Nonce(Nonce::new(number)))
            }
            (StateKey::Balance(..), ValueJson::Number(number)) => {
                Some(StateValue::Balance(Amount::new(number)))
            }
            (StateKey::Multisig(_), ValueJson::Multisig(config)) => {
                if config.participants.len() > MAX_PARTICIPANTS {
                    return Err(WireError::Participants { key, count: config.participants.len() });
                }
                Some(StateValue::from(MultisigConfig::from(config)))
            }
            (StateKey::Registered(_), ValueJson::Registered) => Some(StateValue::Registered),
            (
                StateKey::Nonce(_)
                | StateKey::Balance(..)
                | StateKey::Multisig(_)
                | StateKey::Registered(_),
                ValueJson::Number(_) | ValueJson::Multisig(_) | ValueJson::Registered,
            ) => return Err(WireError::Kind(key)),
        };
        Ok((key, value))
    }
}

/// The word that says which kind of key an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyWord {
    Nonce,
    Balance,
    Multisig,
    Registered,
}

impl KeyWord {
    pub(crate) const fn of(key: &StateKey) -> Self {
        match key {
            StateKey::Nonce(_) => Self::Nonce,
            StateKey::Balance(..) => Self::Balance,
            StateKey::Multisig(_) => Self::Multisig,
            StateKey::Registered(_) => Self::Registered,
        }
    }

    /// The key of this kind; none for a balance without an asset.
    pub(crate) fn with(self, account: Address, asset: Option<AssetId>) -> Option<StateKey> {
        Some(match self {
            Self::Nonce => StateKey::Nonce(account),
            Self::Balance => StateKey::Balance(account, asset?),
            Self::Multisig => StateKey::Multisig(account),
            Self::Registered => StateKey::Registered(account),
        })
    }
}

/// A value, before it is known whether its key can hold it.
#[derive(Clone, Debug)]
enum ValueJson {
    None,
    Number(u64),
    Multisig(MultisigJson),
    Registered,
}

impl From<Option<&StateValue>> for ValueJson {
    fn from(value: Option<&StateValue>) -> Self {
        match value {
            None => Self::None,
            Some(StateValue::Nonce(nonce)) => Self::Number(nonce.as_u64()),
            Some(StateValue::Balance(amount)) => Self::Number(amount.as_u64()),
            Some(StateValue::Multisig(config)) => Self::Multisig((&**config).into()),
            Some(StateValue::Registered) => Self::Registered,
        }
    }
}

impl Serialize for ValueJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_unit(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Multisig(config) => config.serialize(serializer),
            Self::Registered => serializer.serialize_bool(true),
        }
    }
}

impl<'de> Deserialize<'de> for ValueJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ValueJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 2^64-1, a multisig object, true or null")
            }

            fn visit_unit<E: de::Error>(self) -> Result<ValueJson, E> {
                Ok(ValueJson::None)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<ValueJson, E> {
                Ok(ValueJson::Number(number))
            }

            fn visit_bool<E: de::Error>(self, registered: bool) -> Result<ValueJson, E> {
                match registered {
                    true => Ok(ValueJson::Registered),
                    false => Err(E::invalid_value(de::Unexpected::Bool(false), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ValueJson, A::Error> {
                MultisigJson::deserialize(MapAccessDeserializer::new(map)).map(ValueJson::Multisig)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MultisigJson {
    threshold: u8,
    participants: Vec<Address>,
}

impl From<&MultisigConfig> for MultisigJson {
    fn from(config: &MultisigConfig) -> Self {
        Self { threshold: config.threshold, participants: config.participants.clone() }
    }
}

impl From<MultisigJson> for MultisigConfig {
    fn from(json: MultisigJson) -> Self {
        Self { threshold: json.threshold, participants: json.participants }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct OutcomeJson {
    pub(crate) hash: TxHash,
    #[serde(deserialize_with = "word")]
    pub(crate) status: StatusWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    pub(crate) fee: Amount,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusWord {
    Executed,
    Skipped,
    Failed,
}

impl From<&Outcome> for OutcomeJson {
    fn from(outcome: &Outcome) -> Self {
        let (status, reason) = match &outcome.status {
            Status::Executed => (StatusWord::Executed, None),
            Status::Skipped(reason) => (StatusWord::Skipped, Some(reason.text())),
            Status::Failed(reason) => (StatusWord::Failed, Some(reason.text())),
        };
        Self { hash: outcome.hash, status, reason: reason.map(str::to_owned), fee: outcome.fee }
    }
}

impl TryFrom<OutcomeJson> for Outcome {
    type Error = WireError;

    fn try_from(json: OutcomeJson) -> Result<Self, WireError> {
        let OutcomeJson { hash, status, reason, fee } = json;
        let reason = reason.as_deref().ok_or(WireError::NoReason(hash));
        let status = match status {
            StatusWord::Executed => Status::Executed,
            StatusWord::Skipped => Status::Skipped(SkipReason::from_text(reason?)),
            StatusWord::Failed => Status::Failed(FailReason::from_text(reason?)),
        };
        Ok(Self { hash, status, fee })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct ExerciseJson {
    workers: u32,
    batches: u32,
    max_in_flight: u32,
    #[serde(deserialize_with = "present")]
    fallback: Option<String>,
}

impl From<&Exercise> for ExerciseJson {
    fn from(exercise: &Exercise) -> Self {
        let fallback = match (&exercise.fallback, exercise.provenance) {
            (None, Provenance::Delegated) => Some(DELEGATED.to_owned()),
            (fallback, _) => fallback.clone(),
        };
        Self {
            workers: exercise.workers,
            batches: exercise.batches,
            max_in_flight: exercise.max_in_flight,
            fallback,
        }
    }
}

impl From<ExerciseJson> for Exercise {
    fn from(json: ExerciseJson) -> Self {
        let ExerciseJson { workers, batches, max_in_flight, fallback } = json;
        let (fallback, provenance) = match fallback {
            Some(word) if word == DELEGATED => (None, Provenance::Delegated),
            fallback => (fallback, Provenance::Independent),
        };
        Self { workers, batches, max_in_flight, fallback, provenance }
    }
}

/// Reads a field that may be `null` but not missing: without this, serde takes one for the other.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

const DELEGATED: &str = "delegated";

/// The chain counts the participants of a configuration in one byte.
const MAX_PARTICIPANTS: usize = 255;

/// A text that is not the JSON form of what it should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum WireError {
    /// It is no JSON, or a field is missing, written twice, or of the wrong type.
    Json(serde_json::Error),
    /// Two entries are about one key.
    KeyTwice(StateKey),
    /// A value is of another kind than its key.
    Kind(StateKey),
    /// A balance does not say of which asset.
    NoAsset(Address),
    /// A transaction was skipped or failed, and there is no reason.
    NoReason(TxHash),
    /// A multisig configuration has more participants than the chain can hold.
    Participants {
        /// The multisig of which account.
        key: StateKey,
        /// How many there are.
        count: usize,
    },
    /// The value of a key is not known, so that it cannot be written.
    Unknown(StateKey),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not the expected JSON object: {error}"),
            Self::KeyTwice(key) => write!(f, "{key} is written twice: send one entry per key"),
            Self::Kind(key) => write!(f, "{key} cannot hold a value of this kind"),
            Self::NoAsset(account) => {
                write!(f, "a balance of {account} has no field \"asset\": name the asset")
            }
            Self::NoReason(hash) => write!(
                f,
                "transaction {hash} was not executed and has no field \"reason\": say why"
            ),
            Self::Participants { key, count } => {
                write!(f, "{key} has {count} participants: at most {MAX_PARTICIPANTS} are possible")
            }
            Self::Unknown(key) => write!(
                f,
                "{key} is not known, and what is not listed would not exist: resolve it first"
            ),
        }
    }
}

impl std::error::Error for WireError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            // Its message is part of this one.
            Self::Json(error) => error.source(),
            _ => None,
        }
    }
}
