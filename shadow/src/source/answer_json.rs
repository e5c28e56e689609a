//! The JSON of a node's answers about state: the same whether it was recorded or just now asked.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, MultisigConfig, Nonce, StateKey, StateValue, TopoHeight,
};

use super::Payout;
use crate::chain::{AddressError, Network, NetworkAddress};

/// What a node answers when it has no result.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct RpcError<'a> {
    pub(crate) code: i64,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
}

impl RpcError<'_> {
    /// What the node says.
    pub(crate) fn message(&self) -> String {
        self.message.map_or_else(String::new, |raw| {
            serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
        })
    }

    /// Whether the node says that there is no such thing, as opposed to any other failure. It has one
    /// code for most failures, so the words have to tell. None of them is spelt otherwise in JSON.
    pub(crate) fn is_not_found(&self) -> bool {
        if self.code != NOT_FOUND && self.code != NEVER_EXECUTED {
            return false;
        }
        let message = self.message.map_or(&[][..], |raw| raw.get().as_bytes());
        let says = |words: &str| {
            let mut windows = message.windows(words.len());
            windows.any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
        };
        ["not found", "no multisig found", "no account found"].into_iter().any(says)
    }
}

const NOT_FOUND: i64 = -32004;
const NEVER_EXECUTED: i64 = 269;

/// The value in an answer about a key; every kind of answer spells it its own way. `None` is a version
/// that says "deleted".
pub(super) fn value_of(
    key: &StateKey,
    result: &RawValue,
    network: Network,
) -> Result<Option<StateValue>, AnswerError> {
    Ok(match key {
        StateKey::Nonce(_) => Some(StateValue::Nonce(parse::<NonceJson>(result)?.nonce)),
        StateKey::Balance(..) => Some(StateValue::Balance(parse::<BalanceJson>(result)?.amount)),
        StateKey::Multisig(_) => {
            let answer: MultisigJson<'_> =
                serde_json::from_str(result.get()).map_err(AnswerError::Json)?;
            match answer.state {
                MultisigStateJson::Deleted => None,
                MultisigStateJson::Active { participants, threshold } => {
                    let participants =
                        participants.iter().map(|address| account_of(address, network));
                    Some(StateValue::from(MultisigConfig {
                        threshold,
                        participants: participants.collect::<Result<_, _>>()?,
                    }))
                }
            }
        }
        StateKey::Registered(_) => Some(StateValue::Registered),
    })
}

/// Where the version before the one in an answer is; `None` if that is the first.
pub(super) fn previous_of(result: &RawValue) -> Result<Option<TopoHeight>, AnswerError> {
    Ok(parse::<PreviousJson>(result)?.previous_topoheight)
}

/// Where the newest version of a key, which the answer is about, is.
pub(super) fn written_at(result: &RawValue) -> Result<TopoHeight, AnswerError> {
    Ok(parse::<WrittenAtJson>(result)?.topoheight)
}

/// What a contract paid, as far as it concerns accounts.
pub(super) fn payouts_of(result: &RawValue, network: Network) -> Result<Vec<Payout>, AnswerError> {
    let outputs: Vec<OutputJson> = parse(result)?;
    let payouts =
        outputs.into_iter().filter_map(|output| match (output.transfer, output.refund_gas) {
            (Some(TransferJson { amount, asset, destination }), _) => {
                Some(account_of(&destination, network).map(|destination| Payout::Transfer {
                    destination,
                    asset,
                    amount,
                }))
            }
            (None, Some(refund)) => Some(Ok(Payout::RefundedGas(refund.amount))),
            (None, None) => None,
        });
    payouts.collect()
}

/// The account that an address stands for.
pub(super) fn account_of(address: &str, expected: Network) -> Result<Address, AnswerError> {
    let NetworkAddress { account, network } = address.parse().map_err(AnswerError::Address)?;
    if network != expected {
        return Err(AnswerError::Network { found: network, expected });
    }
    Ok(account)
}

/// An answer as a value of its own.
pub(super) fn parse<T: DeserializeOwned>(result: &RawValue) -> Result<T, AnswerError> {
    serde_json::from_str(result.get()).map_err(AnswerError::Json)
}

/// The part of `get_info` that says how things stand.
#[derive(Debug, Deserialize)]
pub(super) struct Info {
    pub(super) topoheight: TopoHeight,
    pub(super) top_block_hash: BlockHash,
    pub(super) burned_supply: Amount,
}

#[derive(Deserialize)]
struct PreviousJson {
    #[serde(default)]
    previous_topoheight: Option<TopoHeight>,
}

#[derive(Deserialize)]
struct WrittenAtJson {
    topoheight: TopoHeight,
}

#[derive(Deserialize)]
struct NonceJson {
    nonce: Nonce,
}

#[derive(Deserialize)]
struct BalanceJson {
    /// Called one thing in answers about a topoheight, another in those about the newest.
    #[serde(alias = "final_balance", rename = "balance")]
    amount: Amount,
}

#[derive(Deserialize)]
struct MultisigJson<'a> {
    #[serde(borrow)]
    state: MultisigStateJson<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum MultisigStateJson<'a> {
    Deleted,
    Active {
        #[serde(borrow)]
        participants: Vec<Cow<'a, str>>,
        threshold: u8,
    },
}

/// One output of a contract: an object with the kind as its only field.
#[derive(Deserialize)]
struct OutputJson {
    transfer: Option<TransferJson>,
    refund_gas: Option<RefundJson>,
}

#[derive(Deserialize)]
struct TransferJson {
    amount: Amount,
    asset: AssetId,
    destination: String,
}

#[derive(Deserialize)]
struct RefundJson {
    amount: Amount,
}

/// Why an answer cannot be taken.
#[derive(Debug)]
pub enum AnswerError {
    /// It does not have the form that a node gives it.
    Json(serde_json::Error),
    /// An address in it is none.
    Address(AddressError),
    /// An address in it belongs to another network than the blocks.
    Network {
        /// The network of the address.
        found: Network,
        /// The network of the blocks.
        expected: Network,
    },
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "result: {error}"),
            Self::Address(error) => write!(f, "address: {error}"),
            Self::Network { found, expected } => {
                write!(f, "address: one of {found}, the blocks are of {expected}")
            }
        }
    }
}

impl std::error::Error for AnswerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Address(error) => Some(error),
            Self::Network { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_there_is_no_such_thing_is_told_by_the_code_and_the_words() {
        #[track_caller]
        fn check(error: &str, expected: bool) {
            let error: RpcError<'_> = serde_json::from_str(error).unwrap();
            assert_eq!(error.is_not_found(), expected);
        }
        check(r#"{"code":-32004,"message":"Error: Data not found: balance"}"#, true);
        check(r#"{"code":-32004,"message":"No multisig found"}"#, true);
        check(r#"{"code":-32004,"message":"No account found"}"#, true);
        check(r#"{"code":269,"message":"Transaction Not Found"}"#, true);
        check(r#"{"code":-32004,"message":"database is busy"}"#, false);
        check(r#"{"code":-32004}"#, false);
        check(r#"{"code":-32601,"message":"method not found"}"#, false);
    }
}
