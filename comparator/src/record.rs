//! The record of a mismatch: one JSON object that says what differed, in which block, under which
//! schedule, and who compared what.
//!
//! Records outlive the build that wrote them, so each says which version of the format it has, and
//! that is looked at before anything else. A record is data; how it is shown to people is decided
//! when it is shown.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, AssetId, BlockHash, BlockRef, StateKey, TopoHeight, TxHash};

use crate::{
    Difference, Field, Mismatch, Schedule, Side,
    difference::{amount, place},
    wire::KeyWord,
};

/// The version of the format that is written. The first version had neither fingerprint nor evidence.
pub const FORMAT_VERSION: u64 = 2;

/// A mismatch, on its own: what is needed to read it without anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MismatchRecord {
    /// What was compared.
    pub subject: Subject,
    /// How many differences of each field there are: all of them, kept or not.
    pub counts: BTreeMap<Field, u64>,
    /// The first differences, in order.
    pub differences: Vec<RecordedDifference>,
    /// How many differences were not kept.
    pub omitted: u64,
    /// The name of the problem that it is a case of, where somebody told problems apart.
    pub fingerprint: Option<String>,
    /// The directory with everything that is needed to run it again, where that was kept.
    pub evidence: Option<String>,
}

/// What was compared: which block, with whom, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The block that was executed.
    pub block: BlockRef,
    /// The name of the candidate.
    pub candidate: String,
    /// What the candidate ran under.
    pub schedule: Schedule,
    /// The build of the control, as it names itself.
    pub control_build: String,
    /// The build of the candidate, as it names itself.
    pub candidate_build: String,
}

/// A difference, and in which transaction it first shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedDifference {
    /// What kind of thing differs.
    pub field: Field,
    /// Under which key, for state.
    pub key: Option<StateKey>,
    /// What the control shows.
    pub control: Side,
    /// What the candidate shows.
    pub observed: Side,
    /// The transaction in which it first shows, where that was found out.
    pub transaction: Option<LocatedTransaction>,
}

/// A transaction of the block, and how it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocatedTransaction {
    /// Its position in the block, from 0.
    pub index: usize,
    /// Its hash.
    pub hash: TxHash,
    /// How it was found.
    pub method: LocateMethod,
}

/// How the transaction of a difference was found, from certain to likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LocateMethod {
    /// The difference names it.
    Outcome,
    /// It is the last one of the shortest beginning of the block that shows the difference.
    Prefix,
    /// It is the first one that touches the key.
    Touch,
}

impl LocateMethod {
    /// The word for it in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outcome => "outcome",
            Self::Prefix => "prefix",
            Self::Touch => "touch",
        }
    }
}

impl MismatchRecord {
    /// The record of a mismatch in a block that has these transactions, in this order.
    ///
    /// Differences that name a transaction of the block are located here. All others need somebody
    /// who can execute, who then fills in [`RecordedDifference::transaction`].
    pub fn new(subject: Subject, mismatch: &Mismatch, transactions: &[TxHash]) -> Self {
        let locate = |difference: &Difference| {
            let hash = difference.transaction?;
            let index = transactions.iter().position(|transaction| *transaction == hash)?;
            Some(LocatedTransaction { index, hash, method: LocateMethod::Outcome })
        };
        Self {
            subject,
            counts: mismatch.counts.clone(),
            differences: mismatch
                .differences
                .iter()
                .map(|difference| RecordedDifference::new(difference, locate(difference)))
                .collect(),
            omitted: mismatch.omitted,
            fingerprint: None,
            evidence: None,
        }
    }

    /// How many differences there are, kept or not.
    pub fn total(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The record as one line of JSON, without a line break.
    ///
    /// # Errors
    ///
    /// When its parts contradict each other: such a record could not be read back.
    pub fn to_json(&self) -> Result<String, RecordError> {
        self.validate()?;
        serde_json::to_string(&RecordJson::from(self)).map_err(RecordError::Json)
    }

    /// Reads a record of this or an older version of the format.
    ///
    /// # Errors
    ///
    /// When the version is not known, when the object is not exactly what its version says, and when
    /// its parts contradict each other.
    pub fn from_json(json: &str) -> Result<Self, RecordError> {
        let VersionJson { format_version } =
            serde_json::from_str(json).map_err(RecordError::Json)?;
        match format_version {
            1 | FORMAT_VERSION => {
                serde_json::from_str::<RecordJson>(json).map_err(RecordError::Json)?.try_into()
            }
            found => Err(RecordError::Version { found }),
        }
    }

    fn validate(&self) -> Result<(), RecordError> {
        let mut kept = BTreeMap::<Field, u64>::new();
        for (index, difference) in self.differences.iter().enumerate() {
            if !difference.field_fits() {
                return Err(RecordError::Difference { index });
            }
            *kept.entry(difference.field).or_default() += 1;
        }
        let counted = kept.iter().all(|(field, kept)| self.counts.get(field) >= Some(kept));
        let listed = (self.differences.len() as u64).checked_add(self.omitted);
        if counted && listed == Some(self.total()) { Ok(()) } else { Err(RecordError::Counts) }
    }
}

impl RecordedDifference {
    /// The record of a difference.
    pub fn new(difference: &Difference, transaction: Option<LocatedTransaction>) -> Self {
        let Difference { field, key, transaction: _, control, observed } = difference.clone();
        Self { field, key, control, observed, transaction }
    }

    /// How much more the candidate has than the control, when both are numbers.
    pub fn amount(&self) -> Option<i128> {
        amount(&self.control, &self.observed)
    }

    fn field_fits(&self) -> bool {
        match self.field {
            Field::Nonce | Field::Balance | Field::Multisig | Field::Registration => {
                self.key.as_ref().map(Field::of) == Some(self.field)
            }
            Field::Version => self.key.is_some(),
            Field::Outcome
            | Field::Fees
            | Field::Burned
            | Field::Emitted
            | Field::MinerReward
            | Field::DevReward
            | Field::Schedule
            | Field::Protocol
            | Field::Error
            | Field::Crashed
            | Field::Hang => true,
        }
    }

    /// Where it is, in words.
    pub(crate) fn place(&self) -> String {
        let named = match (&self.control, &self.observed) {
            (Side::Outcome(outcome), _) | (_, Side::Outcome(outcome)) => Some(&outcome.hash),
            _ => None,
        };
        place(self.field, self.key.as_ref(), named)
    }
}

/// Only what every version of the format has in common.
#[derive(Deserialize)]
struct VersionJson {
    format_version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordJson {
    format_version: u64,
    topoheight: TopoHeight,
    block_hash: BlockHash,
    candidate: String,
    schedule: Schedule,
    control_build: String,
    candidate_build: String,
    counts: BTreeMap<Field, u64>,
    differences: Vec<DifferenceJson>,
    omitted: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DifferenceJson {
    field: Field,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asset: Option<AssetId>,
    control: Side,
    observed: Side,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<i128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<LocatedTransaction>,
}

impl From<&MismatchRecord> for RecordJson {
    fn from(record: &MismatchRecord) -> Self {
        let Subject { block, candidate, schedule, control_build, candidate_build } =
            record.subject.clone();
        Self {
            format_version: FORMAT_VERSION,
            topoheight: block.topoheight,
            block_hash: block.hash,
            candidate,
            schedule,
            control_build,
            candidate_build,
            counts: record.counts.clone(),
            differences: record.differences.iter().map(DifferenceJson::from).collect(),
            omitted: record.omitted,
            fingerprint: record.fingerprint.clone(),
            evidence: record.evidence.clone(),
        }
    }
}

impl TryFrom<RecordJson> for MismatchRecord {
    type Error = RecordError;

    fn try_from(json: RecordJson) -> Result<Self, RecordError> {
        if json.format_version == 1 && (json.fingerprint.is_some() || json.evidence.is_some()) {
            return Err(RecordError::Newer);
        }
        let record = Self {
            subject: Subject {
                block: BlockRef { topoheight: json.topoheight, hash: json.block_hash },
                candidate: json.candidate,
                schedule: json.schedule,
                control_build: json.control_build,
                candidate_build: json.candidate_build,
            },
            counts: json.counts,
            differences: json
                .differences
                .into_iter()
                .enumerate()
                .map(|(index, difference)| {
                    difference.read().ok_or(RecordError::Difference { index })
                })
                .collect::<Result<_, _>>()?,
            omitted: json.omitted,
            fingerprint: json.fingerprint,
            evidence: json.evidence,
        };
        record.validate()?;
        Ok(record)
    }
}

impl From<&RecordedDifference> for DifferenceJson {
    fn from(difference: &RecordedDifference) -> Self {
        Self {
            field: difference.field,
            key: difference.key.as_ref().map(KeyWord::of),
            account: difference.key.map(|key| *key.account()),
            asset: difference.key.and_then(|key| key.asset().copied()),
            control: difference.control.clone(),
            observed: difference.observed.clone(),
            difference: difference.amount(),
            transaction: difference.transaction,
        }
    }
}

impl DifferenceJson {
    /// The difference, if its parts agree with each other.
    fn read(self) -> Option<RecordedDifference> {
        let key = match (self.key, self.account) {
            (Some(word), Some(account)) => Some(word.with(account, self.asset)?),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return None,
        };
        let fits = key.and_then(|key| key.asset().copied()) == self.asset
            && amount(&self.control, &self.observed) == self.difference;
        fits.then_some(RecordedDifference {
            field: self.field,
            key,
            control: self.control,
            observed: self.observed,
            transaction: self.transaction,
        })
    }
}

/// A text that is not a record.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// It is no JSON object, or a field is missing, unknown, or of the wrong type.
    Json(serde_json::Error),
    /// It has a version that this build does not know.
    Version {
        /// The version.
        found: u64,
    },
    /// The field, the key and the amount of a difference do not fit each other.
    Difference {
        /// Its position in the list, from 0.
        index: usize,
    },
    /// The counts are not those of the differences.
    Counts,
    /// It says more than the version that it names had words for.
    Newer,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(_) => f.write_str("not the record of a mismatch"),
            Self::Version { found } => write!(
                f,
                "record has format version {found}, this build reads up to {FORMAT_VERSION}: use a \
                 newer build"
            ),
            Self::Difference { index } => write!(
                f,
                "difference {index} of the record contradicts itself: take the record from where it \
                 was written"
            ),
            Self::Counts => f.write_str(
                "the counts of the record contradict its differences: take the record from where \
                 it was written",
            ),
            Self::Newer => f.write_str(
                "the record names format version 1, which has neither fingerprint nor evidence: take \
                 the record from where it was written",
            ),
        }
    }
}

impl std::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Json(error) => Some(error),
            Self::Version { .. } | Self::Difference { .. } | Self::Counts | Self::Newer => None,
        }
    }
}
