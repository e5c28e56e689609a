//! A fingerprint: what makes two mismatches the same problem.
//!
//! A candidate that is wrong in one way is wrong in thousands of blocks, with other accounts and other
//! amounts in each. Nobody reads them all, so mismatches are told apart by what stays the same: who
//! differs, in which field, at which kind of transaction, how that transaction meets others, and what is said
//! in the place of a number. All of it is told from the block and the first difference; nothing has to be
//! executed again.

use std::{fmt, str::FromStr};

use comparator::{Difference, Field, MismatchRecord, RecordedDifference, Side, Status};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeStruct};
use storage_snapshot::{Address, AssetId, StateKey, TxHash};

use crate::{
    chain::{Transaction, TransactionData},
    execute::ExecutableBlock,
    kinds::TransactionKind,
    locate::touches,
};

/// What a mismatch has in common with others of the same problem.
///
/// Written as an object of its parts and of the name that they make up; a name that is not that
/// of the parts is refused when it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// Who differs.
    pub candidate: String,
    /// In what the first difference is. It also tells an error from a crash, a hang and nonsense.
    pub field: Field,
    /// The kind of the transaction concerned; `None` if no transaction is.
    pub kind: Option<TransactionKind>,
    /// How the transaction concerned meets others.
    pub conflict: Conflict,
    /// What is said where the difference is none of numbers: by a candidate that has no result, without its
    /// numbers, or by both sides of an outcome. Two errors are two problems.
    pub says: Option<String>,
}

/// How the transaction concerned meets the other transactions of its block, in the account that the
/// first difference is about: the one whose state differs, or the sender for an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// No transaction is concerned.
    None,
    /// The block itself pays the account: it is the miner's or the developers'.
    Rewarded,
    /// No other transaction has to do with the account.
    Alone,
    /// Others send from it too, and none pays it.
    SameSender,
    /// Others pay it too, and none sends from it.
    SameReceiver,
    /// It is paid, and it sends.
    SenderIsPaid,
}

impl Conflict {
    /// The word for it in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rewarded => "rewarded",
            Self::Alone => "alone",
            Self::SameSender => "same_sender",
            Self::SameReceiver => "same_receiver",
            Self::SenderIsPaid => "sender_is_paid",
        }
    }
}

impl Fingerprint {
    /// The fingerprint of a mismatch of a candidate that begins with this difference.
    pub fn of(candidate: &str, first: &Difference, block: &ExecutableBlock) -> Self {
        let (kind, conflict) = concerned(first.key.as_ref(), first.transaction.as_ref(), block);
        let says = says(&first.control, &first.observed);
        Self { candidate: candidate.to_owned(), field: first.field, kind, conflict, says }
    }

    /// The fingerprint of a recorded mismatch in its block; `None` if the record has no difference.
    ///
    /// The transaction that the record was located at is not looked at: it may have been found by
    /// executing again, and may be found better later.
    pub fn of_record(record: &MismatchRecord, block: &ExecutableBlock) -> Option<Self> {
        let first = record.differences.first()?;
        let (kind, conflict) = concerned(first.key.as_ref(), named_transaction(first), block);
        let says = says(&first.control, &first.observed);
        let candidate = record.subject.candidate.clone();
        Some(Self { candidate, field: first.field, kind, conflict, says })
    }

    /// The name: a few hex digits that only these parts have, on every machine and in every build.
    pub fn id(&self) -> FingerprintId {
        let Self { candidate, field, kind, conflict, says } = self;
        let kind = kind.map_or("none", TransactionKind::as_str);
        let conflict = conflict.as_str();
        let mut text =
            format!("shadow fingerprint 1\nmismatch\n{candidate}\n{field}\n{kind}\n{conflict}");
        if let Some(says) = says {
            text += "\n";
            text += says;
        }
        let [a, b, c, d, e, f, ..] = *blake3::hash(text.as_bytes()).as_bytes();
        FingerprintId([a, b, c, d, e, f])
    }

    /// This fingerprint as the other one would tell it: in earlier builds none had what is said.
    pub(crate) fn told_by(self, other: &Self) -> Self {
        if other.says.is_some() { self } else { self.without_what_is_said() }
    }

    pub(crate) fn without_what_is_said(&self) -> Self {
        Self { says: None, ..self.clone() }
    }

    /// Whether both are the same candidate wrong in the same field. Which transaction is the first
    /// concerned, and whom it meets, may change when transactions are left out of a block.
    pub fn is_same_difference(&self, other: &Self) -> bool {
        self.candidate == other.candidate && self.field == other.field
    }
}

/// In words, without the candidate.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.field.fmt(f)?;
        if let Some(kind) = self.kind {
            write!(f, ", {kind}")?;
        }
        f.write_str(match self.conflict {
            Conflict::None => "",
            Conflict::Rewarded => ", of an account that the block pays",
            Conflict::Alone => ", of an account that meets no other transaction",
            Conflict::SameSender => ", of an account that sends several",
            Conflict::SameReceiver => ", of an account that several pay",
            Conflict::SenderIsPaid => ", of an account that is paid and sends",
        })?;
        // What a candidate says of itself is shown as a text of its own, by whoever shows such texts.
        match &self.says {
            Some(says) if self.field == Field::Outcome => write!(f, ", {says}"),
            _ => Ok(()),
        }
    }
}

/// What a difference says that is none of numbers. Numbers and hashes may belong to the block.
fn says(control: &Side, observed: &Side) -> Option<String> {
    match (control, observed) {
        (_, Side::Text(text)) => Some(without_numbers(text)),
        (Side::Outcome(control), Side::Outcome(observed)) => {
            let (control, observed) = (status(&control.status), status(&observed.status));
            Some(format!("{control}, said to be {observed}"))
        }
        _ => None,
    }
}

/// What a text says, but for its numbers: the same failure in another block.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut said = String::new();
    for word in text.split_whitespace() {
        let word = if is_number(word) { "#" } else { word };
        if said.len() + word.len() > SAID_BYTES_MAX {
            // Of a text without spaces too something has to be left, or two of them would be one.
            if said.is_empty() {
                said.extend(word.chars().take(SAID_BYTES_MAX));
            }
            break;
        }
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(word);
    }
    said
}

/// Whether a word is one of a block: with a digit, or a piece of a hash that happens to have none.
fn is_number(word: &str) -> bool {
    let bare = word.trim_matches(|char: char| !char.is_ascii_alphanumeric());
    let is_hash = bare.len() >= HASH_PIECE_MIN && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash || word.contains(|char: char| char.is_ascii_digit())
}

fn status(status: &Status) -> String {
    match status {
        Status::Executed => "executed".to_owned(),
        Status::Skipped(reason) => format!("skipped because of {}", reason.word()),
        Status::Failed(reason) => format!("failed because of {}", reason.word()),
    }
}

/// How much of what is said makes a problem another one.
const SAID_BYTES_MAX: usize = 240;

/// How many digits of a hash are shown at least, where it is shortened.
const HASH_PIECE_MIN: usize = 8;

/// The transaction that a difference itself names.
fn named_transaction(difference: &RecordedDifference) -> Option<&TxHash> {
    match (&difference.control, &difference.observed) {
        (Side::Outcome(outcome), _) | (_, Side::Outcome(outcome)) => Some(&outcome.hash),
        _ => None,
    }
}

/// The kind of the transaction concerned, and how it meets others.
fn concerned(
    key: Option<&StateKey>,
    transaction: Option<&TxHash>,
    block: &ExecutableBlock,
) -> (Option<TransactionKind>, Conflict) {
    let transactions = || {
        let effective = block.transactions.iter().filter(|one| !one.already_executed);
        effective.map(|one| &one.body)
    };
    if let Some(hash) = transaction {
        let mut all = block.transactions.iter().map(|one| &one.body);
        let Some(body) = all.find(|body| body.hash == *hash) else { return NOBODY };
        return (Some(TransactionKind::of(body)), meeting(&body.source, transactions()));
    }
    let Some(key) = key else { return NOBODY };
    let is_rewarded = [block.miner, block.dev].contains(key.account());
    // Whatever transactions do to this balance, the block does too, and every fee ends up there.
    if is_rewarded && matches!(key, StateKey::Balance(_, asset) if *asset == AssetId::NATIVE) {
        return (None, Conflict::Rewarded);
    }
    match transactions().find(|body| touches(body, key)) {
        Some(body) => (Some(TransactionKind::of(body)), meeting(key.account(), transactions())),
        // The reward made the account known.
        None if is_rewarded => (None, Conflict::Rewarded),
        None => NOBODY,
    }
}

const NOBODY: (Option<TransactionKind>, Conflict) = (None, Conflict::None);

/// How the transactions of a block meet in an account.
fn meeting<'a>(account: &Address, transactions: impl Iterator<Item = &'a Transaction>) -> Conflict {
    let (mut senders, mut payers, mut both) = (0_usize, 0_usize, 0_usize);
    for body in transactions {
        let sends = body.source == *account;
        let pays = matches!(&body.data, TransactionData::Transfers(transfers)
            if transfers.iter().any(|transfer| transfer.destination == *account));
        senders += usize::from(sends);
        payers += usize::from(pays);
        both += usize::from(sends && pays);
    }
    match (senders, payers) {
        _ if senders + payers - both <= 1 => Conflict::Alone,
        (_, 0) => Conflict::SameSender,
        (0, _) => Conflict::SameReceiver,
        _ => Conflict::SenderIsPaid,
    }
}

/// The name of a problem: twelve hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FingerprintId([u8; 6]);

impl fmt::Display for FingerprintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for FingerprintId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FingerprintId({self})")
    }
}

impl FromStr for FingerprintId {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let mut bytes = [0; 6];
        let is_lower = !text.contains(|char: char| char.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if is_lower => Ok(Self(bytes)),
            _ => Err(ParseFingerprintError),
        }
    }
}

/// A text that is not the name of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseFingerprintError;

impl fmt::Display for ParseFingerprintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a fingerprint has twelve lower-case hex digits: `shadow mismatches` lists them",
        )
    }
}

impl std::error::Error for ParseFingerprintError {}

impl Serialize for FingerprintId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FingerprintId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = 5 + usize::from(self.says.is_some());
        let mut object = serializer.serialize_struct("Fingerprint", fields)?;
        object.serialize_field("id", &self.id())?;
        object.serialize_field("candidate", &self.candidate)?;
        object.serialize_field("field", &self.field)?;
        object.serialize_field("kind", &self.kind)?;
        object.serialize_field("conflict", &self.conflict)?;
        // What was written before is read and named as it was.
        if let Some(says) = &self.says {
            object.serialize_field("says", says)?;
        }
        object.end()
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Parts {
            id: FingerprintId,
            candidate: String,
            field: Field,
            kind: Option<TransactionKind>,
            conflict: Conflict,
            says: Option<String>,
        }
        let Parts { id, candidate, field, kind, conflict, says } =
            Parts::deserialize(deserializer)?;
        let fingerprint = Self { candidate, field, kind, conflict, says };
        if fingerprint.id() == id {
            Ok(fingerprint)
        } else {
            Err(de::Error::custom(format_args!("{id} is not the name of these parts")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_has_no_numbers_and_is_never_nothing() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(without_numbers(text), expected);
        }
        check("key 5 of block 0x1f:  not there", "key # of block # not there");
        check("no account deadbeef, (cafebabe) or fade", "no account # # or fade");
        check("", "");
        let long = "é".repeat(SAID_BYTES_MAX + 9);
        check(&long, &long[..2 * SAID_BYTES_MAX]);
        check(&format!("short {long}"), "short");
    }
}
