//! One side of a difference: what was seen there.
//!
//! "Nothing was written", "it was deleted" and "zero" look alike on paper and are three things on a
//! chain, so they are three values here, in memory and in JSON.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, value::MapAccessDeserializer},
    ser::SerializeStruct,
};
use storage_snapshot::{Address, Amount, MultisigConfig, StateValue, TxHash};

use crate::{
    Outcome,
    wire::{MultisigJson, OutcomeJson, StatusWord},
};

/// What one side of a comparison shows.
///
/// In JSON a number is a number, a configuration and an outcome are the objects that an answer
/// spells them with, [`None`](Self::None) is `null`, [`Absent`](Self::Absent) is `"absent"`,
/// [`Registered`](Self::Registered) is `true`, and a text is `{"text": …}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// There is nothing: no write, no outcome, no failure.
    Absent,
    /// A write of *none*: the block deleted the value.
    None,
    /// A nonce, a balance or a total.
    Number(u64),
    /// A multisig configuration.
    Multisig(MultisigConfig),
    /// The account is known to the chain.
    Registered,
    /// What became of a transaction.
    Outcome(Outcome),
    /// A message, of hostile origin where a candidate wrote it.
    Text(String),
}

impl Side {
    /// What was written: a value, or *none*.
    pub fn of_write(value: Option<&StateValue>) -> Self {
        match value {
            None => Self::None,
            Some(StateValue::Nonce(nonce)) => Self::Number(nonce.as_u64()),
            Some(StateValue::Balance(amount)) => Self::Number(amount.as_u64()),
            Some(StateValue::Multisig(config)) => Self::Multisig(MultisigConfig::clone(config)),
            Some(StateValue::Registered) => Self::Registered,
        }
    }
}

/// In words. A text of hostile origin is not escaped.
impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::None => f.write_str("none"),
            Self::Number(number) => number.fmt(f),
            Self::Multisig(config) => {
                write!(f, "{} of {} signers", config.threshold, config.participants.len())?;
                for (i, participant) in config.participants.iter().enumerate() {
                    write!(f, "{} {participant}", if i == 0 { ":" } else { "," })?;
                }
                Ok(())
            }
            Self::Registered => f.write_str("registered"),
            Self::Outcome(outcome) => outcome.fmt(f),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Side {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_str(ABSENT),
            Self::None => serializer.serialize_unit(),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Multisig(config) => MultisigJson::from(config).serialize(serializer),
            Self::Registered => serializer.serialize_bool(true),
            Self::Outcome(outcome) => OutcomeJson::from(outcome).serialize(serializer),
            Self::Text(text) => {
                let mut object = serializer.serialize_struct("Text", 1)?;
                object.serialize_field("text", text)?;
                object.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Side {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Side;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, an object, null, true or \"absent\"")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Side, E> {
                Ok(Side::None)
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Side, E> {
                Ok(Side::Number(number))
            }

            fn visit_bool<E: de::Error>(self, registered: bool) -> Result<Side, E> {
                match registered {
                    true => Ok(Side::Registered),
                    false => Err(E::invalid_value(de::Unexpected::Bool(false), &self)),
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Side, E> {
                match text {
                    ABSENT => Ok(Side::Absent),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Side, A::Error> {
                ObjectJson::deserialize(MapAccessDeserializer::new(map))?.into_side().ok_or_else(
                    || de::Error::custom("the fields are not those of one kind of object"),
                )
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The fields of all objects that a side can be, read in one go: trying one shape after the other
/// would need the object buffered, and would answer a misspelled field with "no shape fits".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectJson {
    threshold: Option<u8>,
    participants: Option<Vec<Address>>,
    hash: Option<TxHash>,
    status: Option<StatusWord>,
    reason: Option<String>,
    fee: Option<Amount>,
    text: Option<String>,
}

impl ObjectJson {
    /// The side, if the fields are exactly those of one object.
    fn into_side(self) -> Option<Side> {
        let Self { threshold, participants, hash, status, reason, fee, text } = self;
        match (threshold, participants, hash, status, reason, fee, text) {
            (Some(threshold), Some(participants), None, None, None, None, None) => {
                Some(Side::Multisig(MultisigConfig { threshold, participants }))
            }
            (None, None, Some(hash), Some(status), reason, Some(fee), None) => {
                OutcomeJson { hash, status, reason, fee }.try_into().ok().map(Side::Outcome)
            }
            (None, None, None, None, None, None, Some(text)) => Some(Side::Text(text)),
            _ => None,
        }
    }
}

const ABSENT: &str = "absent";
