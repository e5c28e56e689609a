//! Transactions that are read but not executed.
//!
//! Their effects depend on things that are not followed here: contracts, energy, mining tasks, or
//! rules that did not exist when this was written. What they say about the state they may have
//! touched is kept, and so is their body, as it was written, so that nothing is lost in passing on.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use storage_snapshot::{Amount, AssetId, TxHash};

use super::{
    bytes::{DecodeError, Reader},
    wire::WireData,
};

/// Why a transaction is not executed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpaqueKind {
    /// It calls a contract.
    InvokeContract,
    /// It publishes a contract.
    DeployContract,
    /// It freezes coins for energy, or unfreezes them.
    Energy,
    /// It takes part in the mining of artificial intelligence tasks.
    AiMining,
    /// It is of an executed kind but pays with energy.
    EnergyFee,
    /// It does something that is not known here, or something known in an unknown shape.
    UnknownKind,
    /// Its layout is not known here.
    UnknownVersion,
}

impl OpaqueKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::InvokeContract,
        Self::DeployContract,
        Self::Energy,
        Self::AiMining,
        Self::EnergyFee,
        Self::UnknownKind,
        Self::UnknownVersion,
    ];

    /// The word for records and metrics; it never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvokeContract => "invoke_contract",
            Self::DeployContract => "deploy_contract",
            Self::Energy => "energy",
            Self::AiMining => "ai_mining",
            Self::EnergyFee => "energy_fee",
            Self::UnknownKind => "unknown_kind",
            Self::UnknownVersion => "unknown_version",
        }
    }
}

impl fmt::Display for OpaqueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The body of a transaction that is not executed here, and what it says of the state it touches.
///
/// It knows the form that it was read from; the other one only where it can be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueData {
    kind: OpaqueKind,
    energy: Option<EnergyOperation>,
    contract: Option<TxHash>,
    deposits: BTreeMap<AssetId, Amount>,
    max_gas: Option<Amount>,
    json: Option<String>,
    binary: Option<(u8, Vec<u8>)>,
}

/// What happens to frozen coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnergyOperation {
    /// Coins are locked and give energy.
    Freeze {
        /// How much of the native asset.
        amount: Amount,
        /// For how long, in days.
        days: u32,
    },
    /// Locked coins are asked back.
    Unfreeze {
        /// How much of the native asset.
        amount: Amount,
    },
}

impl OpaqueData {
    /// Reads the `data` of a node's transaction, `{"energy":{…}}`.
    ///
    /// # Errors
    ///
    /// When the text is not JSON. A shape that is not known is no error, but another
    /// [`OpaqueKind`].
    pub fn from_json(version: u8, data: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(data)?;
        if version != VERSION_KNOWN {
            return Ok(Self::new(OpaqueKind::UnknownVersion, Some(raw.get()), None));
        }
        Ok(match serde_json::from_str(raw.get()) {
            Ok(WireData::Other { tag, body }) => Self::of_tag(&tag, body),
            _ => Self::new(OpaqueKind::UnknownKind, Some(raw.get()), None),
        })
    }

    /// Reads what stands under a tag that belongs to no executed kind.
    pub(super) fn of_tag(tag: &str, body: &RawValue) -> Self {
        // A string is always valid JSON.
        let name = serde_json::to_string(tag).unwrap_or_default();
        let json = format!("{{{name}:{body}}}");
        Self::of_known_tag(tag, body.get(), &json)
            .unwrap_or_else(|| Self::new(OpaqueKind::UnknownKind, Some(&json), None))
    }

    fn of_known_tag(tag: &str, body: &str, json: &str) -> Option<Self> {
        match tag {
            "energy" => {
                let operation =
                    EnergyOperation::from(serde_json::from_str::<WireEnergy>(body).ok()?);
                let binary = (TAG_ENERGY, operation.to_bytes());
                let data = Self::new(OpaqueKind::Energy, Some(json), Some(binary));
                Some(Self { energy: Some(operation), ..data })
            }
            "invoke_contract" => {
                let call: WireInvoke = serde_json::from_str(body).ok()?;
                let binary = call.to_bytes().map(|bytes| (TAG_INVOKE_CONTRACT, bytes));
                Some(Self {
                    contract: Some(call.contract),
                    deposits: call.deposits,
                    max_gas: Some(call.max_gas),
                    ..Self::new(OpaqueKind::InvokeContract, Some(json), binary)
                })
            }
            "deploy_contract" => {
                let call = serde_json::from_str::<WireDeploy>(body).ok()?.invoke;
                let data = Self::new(OpaqueKind::DeployContract, Some(json), None);
                Some(match call {
                    Some(call) => {
                        Self { deposits: call.deposits, max_gas: Some(call.max_gas), ..data }
                    }
                    None => data,
                })
            }
            "a_i_mining" | "ai_mining" => Some(Self::new(OpaqueKind::AiMining, Some(json), None)),
            _ => None,
        }
    }

    /// Keeps the bytes that follow a tag of the binary form.
    pub(super) fn of_bytes(tag: u8, body: &[u8]) -> Self {
        let binary = Some((tag, body.to_vec()));
        let reader = &mut Reader::new(body);
        match tag {
            TAG_ENERGY => match EnergyOperation::read(reader) {
                Ok(operation) if reader.rest().is_empty() => {
                    Self { energy: Some(operation), ..Self::new(OpaqueKind::Energy, None, binary) }
                }
                _ => Self::new(OpaqueKind::UnknownKind, None, binary),
            },
            TAG_INVOKE_CONTRACT => match InvokeHead::read(reader) {
                Ok(head) => Self {
                    contract: Some(head.contract),
                    deposits: head.deposits,
                    max_gas: Some(head.max_gas),
                    ..Self::new(OpaqueKind::InvokeContract, None, binary)
                },
                Err(_) => Self::new(OpaqueKind::UnknownKind, None, binary),
            },
            TAG_DEPLOY_CONTRACT => Self::new(OpaqueKind::DeployContract, None, binary),
            TAG_AI_MINING => Self::new(OpaqueKind::AiMining, None, binary),
            _ => Self::new(OpaqueKind::UnknownKind, None, binary),
        }
    }

    fn new(kind: OpaqueKind, json: Option<&str>, binary: Option<(u8, Vec<u8>)>) -> Self {
        Self {
            kind,
            energy: None,
            contract: None,
            deposits: BTreeMap::new(),
            max_gas: None,
            json: json.map(str::to_owned),
            binary,
        }
    }

    /// Why it is not executed.
    pub const fn kind(&self) -> OpaqueKind {
        self.kind
    }

    /// The coins that are frozen or unfrozen.
    pub const fn energy(&self) -> Option<EnergyOperation> {
        self.energy
    }

    /// The contract that is called, named by the transaction that published it.
    pub const fn contract(&self) -> Option<TxHash> {
        self.contract
    }

    /// What is deposited with a call or a constructor, as far as the form tells.
    pub fn deposits(&self) -> impl ExactSizeIterator<Item = (AssetId, Amount)> {
        self.deposits.iter().map(|(asset, amount)| (*asset, *amount))
    }

    /// The most that a call or a constructor may use, paid in advance, as far as the form tells.
    pub const fn max_gas(&self) -> Option<Amount> {
        self.max_gas
    }

    /// The `data` of the node's JSON, if it was read from there.
    pub fn json(&self) -> Option<&str> {
        self.json.as_deref()
    }

    /// The tag and the body of the binary form, where they are known.
    pub fn binary(&self) -> Option<(u8, &[u8])> {
        self.binary.as_ref().map(|(tag, body)| (*tag, body.as_slice()))
    }
}

impl EnergyOperation {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let operation = reader.u8("data.energy")?;
        let amount = Amount::new(reader.u64("data.energy.amount")?);
        match operation {
            0 => Ok(Self::Freeze { amount, days: reader.u32("data.energy.days")? }),
            1 => Ok(Self::Unfreeze { amount }),
            other => Err(reader.bad_tag("data.energy", other)),
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Freeze { amount, days } => {
                [&[0], &amount.as_u64().to_be_bytes()[..], &days.to_be_bytes()].concat()
            }
            Self::Unfreeze { amount } => [&[1], &amount.as_u64().to_be_bytes()[..]].concat(),
        }
    }
}

/// How long the body under a tag is, where its beginning tells.
pub(super) fn length_of_body(tag: u8, bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    match tag {
        TAG_ENERGY => {
            EnergyOperation::read(&mut reader).ok()?;
        }
        TAG_INVOKE_CONTRACT if InvokeHead::read(&mut reader).ok()?.parameters_count == 0 => {}
        _ => return None,
    }
    Some(reader.offset())
}

pub(super) const VERSION_KNOWN: u8 = 0;
pub(super) const TAG_BURN: u8 = 0;
pub(super) const TAG_TRANSFERS: u8 = 1;
pub(super) const TAG_MULTISIG: u8 = 2;
const TAG_INVOKE_CONTRACT: u8 = 3;
const TAG_DEPLOY_CONTRACT: u8 = 4;
const TAG_ENERGY: u8 = 5;
const TAG_AI_MINING: u8 = 6;

/// A call as far as its parameters, whose encoding is not known here.
struct InvokeHead {
    contract: TxHash,
    deposits: BTreeMap<AssetId, Amount>,
    max_gas: Amount,
    parameters_count: u8,
}

impl InvokeHead {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let contract = TxHash::new(reader.array("data.invoke_contract.contract")?);
        let mut deposits = BTreeMap::new();
        for _ in 0..reader.u8("data.invoke_contract.deposits")? {
            let asset = AssetId::new(reader.array("data.invoke_contract.deposits.asset")?);
            // Deposits were once encrypted or public; only the public ones are left.
            match reader.u8("data.invoke_contract.deposits")? {
                0 => {}
                other => return Err(reader.bad_tag("data.invoke_contract.deposits", other)),
            }
            let amount = Amount::new(reader.u64("data.invoke_contract.deposits.amount")?);
            deposits.insert(asset, amount);
        }
        reader.array::<2>("data.invoke_contract.chunk_id")?;
        let max_gas = Amount::new(reader.u64("data.invoke_contract.max_gas")?);
        let parameters_count = reader.u8("data.invoke_contract.parameters")?;
        Ok(Self { contract, deposits, max_gas, parameters_count })
    }
}

#[derive(Deserialize)]
enum WireEnergy {
    FreezeTos { amount: Amount, duration: WireDuration },
    UnfreezeTos { amount: Amount },
}

#[derive(Deserialize)]
struct WireDuration {
    days: u32,
}

impl From<WireEnergy> for EnergyOperation {
    fn from(wire: WireEnergy) -> Self {
        match wire {
            WireEnergy::FreezeTos { amount, duration } => {
                Self::Freeze { amount, days: duration.days }
            }
            WireEnergy::UnfreezeTos { amount } => Self::Unfreeze { amount },
        }
    }
}

#[derive(Deserialize)]
struct WireInvoke {
    contract: TxHash,
    deposits: BTreeMap<AssetId, Amount>,
    chunk_id: Option<u16>,
    max_gas: Amount,
    parameters: Vec<IgnoredAny>,
}

impl WireInvoke {
    /// The binary form of a call without lists. That of parameters is not known, and the JSON does
    /// not promise the order of deposits.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let chunk = self.chunk_id?;
        if !self.deposits.is_empty() || !self.parameters.is_empty() {
            return None;
        }
        let max_gas = self.max_gas.as_u64().to_be_bytes();
        Some([&self.contract.as_bytes()[..], &[0], &chunk.to_be_bytes(), &max_gas, &[0]].concat())
    }
}

#[derive(Deserialize)]
struct WireDeploy {
    invoke: Option<WireConstructor>,
}

#[derive(Deserialize)]
struct WireConstructor {
    max_gas: Amount,
    deposits: BTreeMap<AssetId, Amount>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &str, kind: OpaqueKind) -> OpaqueData {
        let data = OpaqueData::from_json(0, data).expect("it is JSON");
        assert_eq!(data.kind(), kind);
        data
    }

    #[test]
    fn a_call_says_what_it_may_touch() {
        let call = check(
            &format!(
                r#"{{"invoke_contract":{{"contract":"{}","deposits":{{"{}":18446744073709551615}},
                    "chunk_id":1,"max_gas":7,"parameters":[{{"type":"default"}}]}}}}"#,
                "11".repeat(32),
                "22".repeat(32)
            ),
            OpaqueKind::InvokeContract,
        );
        assert_eq!(call.contract(), Some(TxHash::new([0x11; 32])));
        let deposit = (AssetId::new([0x22; 32]), Amount::new(u64::MAX));
        assert_eq!(call.deposits().collect::<Vec<_>>(), [deposit]);
        assert_eq!(call.max_gas(), Some(Amount::new(7)));
        assert_eq!(call.binary(), None);
    }

    #[test]
    fn a_constructor_says_what_it_may_touch() {
        let data =
            r#"{"deploy_contract":{"module":{"chunks":[]},"invoke":{"max_gas":9,"deposits":{}}}}"#;
        assert_eq!(check(data, OpaqueKind::DeployContract).max_gas(), Some(Amount::new(9)));
        let data = r#"{"deploy_contract":{"module":{},"invoke":null}}"#;
        assert_eq!(check(data, OpaqueKind::DeployContract).max_gas(), None);
    }

    #[test]
    fn what_is_not_known_is_kept_as_it_was_written() {
        let data = r#"{"uno_transfers":[{"proof":"…"}]}"#;
        assert_eq!(check(data, OpaqueKind::UnknownKind).json(), Some(data));
        check("\"ping\"", OpaqueKind::UnknownKind);
        check("[1]", OpaqueKind::UnknownKind);
        check(r#"{"energy":{"Melt":{}}}"#, OpaqueKind::UnknownKind);
        check(r#"{"a_i_mining":{"reveal":1}}"#, OpaqueKind::AiMining);
        let other = OpaqueData::from_json(7, "[1]").expect("it is JSON");
        assert_eq!((other.kind(), other.json()), (OpaqueKind::UnknownVersion, Some("[1]")));
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> = OpaqueKind::ALL.map(OpaqueKind::as_str).into();
        assert_eq!(words.len(), OpaqueKind::ALL.len());
    }
}
