//! The binary form of a transaction: what is hashed, and what a node is given to submit.
//!
//! Integers are big-endian, an optional value is led by one byte, a list by its count. Bodies that
//! are not executed here are passed through untouched; where they end is told from the end, because
//! everything after them has a known length.

use std::fmt;

use storage_snapshot::{Address, Amount, AssetId, BlockHash, MultisigConfig, Nonce, TopoHeight};

use super::{
    FeeType, MultisigSignature, OpaqueData, OpaqueKind, Reference, Transaction, TransactionData,
    Transfer,
    bytes::{DecodeError, DecodeProblem, Reader},
    opaque::{TAG_BURN, TAG_MULTISIG, TAG_TRANSFERS, VERSION_KNOWN, length_of_body},
    transaction::hash_of,
};

impl Transaction {
    /// The binary form.
    ///
    /// # Errors
    ///
    /// When the content has none: a list is too long for its count, or an opaque body is only
    /// known as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EncodeError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the binary form. The hash is computed, so it always fits the content.
    ///
    /// # Errors
    ///
    /// When the bytes are not exactly one transaction of the known version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8("version")?;
        if version != VERSION_KNOWN {
            return Err(DecodeError {
                offset: 0,
                field: "version",
                problem: DecodeProblem::Version(version),
            });
        }
        let source = Address::new(reader.array("source")?);
        let data = read_data(&mut reader)?;
        let tail = Tail::read(&mut reader)?;
        if !reader.rest().is_empty() {
            let extra_bytes = reader.rest().len();
            return Err(reader.error("signature", DecodeProblem::Trailing { extra_bytes }));
        }
        Ok(Self {
            hash: hash_of(bytes),
            version,
            source,
            data,
            fee: tail.fee,
            fee_type: tail.fee_type,
            nonce: tail.nonce,
            reference: tail.reference,
            multisig: tail.multisig,
            signature: tail.signature,
        })
    }

    /// Appends the binary form and returns where its fee type stands.
    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        if self.version != VERSION_KNOWN {
            return Err(EncodeError::Version(self.version));
        }
        out.push(self.version);
        out.extend(self.source.as_bytes());
        write_data(&self.data, out)?;
        out.extend(self.fee.as_u64().to_be_bytes());
        let fee_type_offset = out.len();
        out.push(fee_type_byte(self.fee_type));
        out.extend(self.nonce.as_u64().to_be_bytes());
        out.extend(self.reference.hash.as_bytes());
        out.extend(self.reference.topoheight.as_u64().to_be_bytes());
        match &self.multisig {
            None => out.push(0),
            Some(signatures) => {
                out.push(1);
                out.push(count_byte("multisig.signatures", signatures.len())?);
                for signature in signatures {
                    out.push(signature.id);
                    out.extend(signature.signature);
                }
            }
        }
        out.extend(self.signature);
        Ok(fee_type_offset)
    }
}

pub(super) const fn fee_type_byte(fee_type: FeeType) -> u8 {
    match fee_type {
        FeeType::Tos => 0,
        FeeType::Energy => 1,
    }
}

fn write_data(data: &TransactionData, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match data {
        TransactionData::Burn { asset, amount } => {
            out.push(TAG_BURN);
            out.extend(asset.as_bytes());
            out.extend(amount.as_u64().to_be_bytes());
        }
        TransactionData::Transfers(transfers) => {
            out.push(TAG_TRANSFERS);
            out.push(count_byte("data.transfers", transfers.len())?);
            for transfer in transfers {
                out.extend(transfer.asset.as_bytes());
                out.extend(transfer.destination.as_bytes());
                out.extend(transfer.amount.as_u64().to_be_bytes());
                match &transfer.extra_data {
                    None => out.push(0),
                    Some(bytes) => {
                        let length =
                            u16::try_from(bytes.len()).map_err(|_| EncodeError::TooLong {
                                field: "data.transfers.extra_data",
                                count: bytes.len(),
                                count_max: usize::from(u16::MAX),
                            })?;
                        out.push(1);
                        out.extend(length.to_be_bytes());
                        out.extend(bytes);
                    }
                }
            }
        }
        TransactionData::Multisig(config) => {
            out.push(TAG_MULTISIG);
            out.push(config.threshold);
            if config.threshold != 0 {
                out.push(count_byte("data.multi_sig.participants", config.participants.len())?);
                for participant in &config.participants {
                    out.extend(participant.as_bytes());
                }
            } else if !config.participants.is_empty() {
                return Err(EncodeError::IdleParticipants);
            }
        }
        TransactionData::Opaque(data) => {
            let (tag, body) = data.binary().ok_or(EncodeError::BodyUnknown(data.kind()))?;
            out.push(tag);
            out.extend(body);
        }
    }
    Ok(())
}

fn count_byte(field: &'static str, count: usize) -> Result<u8, EncodeError> {
    u8::try_from(count).map_err(|_| EncodeError::TooLong {
        field,
        count,
        count_max: usize::from(u8::MAX),
    })
}

fn read_data(reader: &mut Reader<'_>) -> Result<TransactionData, DecodeError> {
    match reader.u8("data")? {
        TAG_BURN => Ok(TransactionData::Burn {
            asset: AssetId::new(reader.array("data.burn.asset")?),
            amount: Amount::new(reader.u64("data.burn.amount")?),
        }),
        TAG_TRANSFERS => {
            let count = reader.u8("data.transfers")?;
            (0..count)
                .map(|_| read_transfer(reader))
                .collect::<Result<_, _>>()
                .map(TransactionData::Transfers)
        }
        TAG_MULTISIG => {
            let threshold = reader.u8("data.multi_sig.threshold")?;
            let count = match threshold {
                0 => 0,
                _ => reader.u8("data.multi_sig.participants")?,
            };
            let participants = (0..count)
                .map(|_| reader.array("data.multi_sig.participants").map(Address::new))
                .collect::<Result<_, _>>()?;
            Ok(TransactionData::Multisig(MultisigConfig { threshold, participants }))
        }
        tag => {
            let length_bytes = opaque_length(tag, reader)?;
            let body = reader.take("data", length_bytes)?;
            Ok(TransactionData::Opaque(Box::new(OpaqueData::of_bytes(tag, body))))
        }
    }
}

fn read_transfer(reader: &mut Reader<'_>) -> Result<Transfer, DecodeError> {
    const EXTRA_DATA: &str = "data.transfers.extra_data";
    Ok(Transfer {
        asset: AssetId::new(reader.array("data.transfers.asset")?),
        destination: Address::new(reader.array("data.transfers.destination")?),
        amount: Amount::new(reader.u64("data.transfers.amount")?),
        extra_data: match reader.is_some(EXTRA_DATA)? {
            false => None,
            true => {
                let length = reader.u16(EXTRA_DATA)?;
                Some(reader.take(EXTRA_DATA, usize::from(length))?.to_vec())
            }
        },
    })
}

/// How long the opaque body is that starts here.
///
/// Where the beginning does not tell, the end does: what follows has one length per number of
/// multisig signatures, so there is one candidate for each, and nearly always only one of them can
/// be read. A signature may end in a zero byte and so look like "no signatures"; then the plausible
/// candidate counts, and two of those are an error. An empty list of signatures is not among the
/// candidates: no account accepts one.
fn opaque_length(tag: u8, reader: &Reader<'_>) -> Result<usize, DecodeError> {
    let rest = reader.rest();
    if let Some(length_bytes) = length_of_body(tag, rest) {
        return Ok(length_bytes);
    }
    let candidates = (0..=usize::from(u8::MAX)).filter_map(|signatures| {
        let multisig_bytes = match signatures {
            0 => 1,
            some => 2 + some * MULTISIG_SIGNATURE_BYTES,
        };
        let length_bytes = rest.len().checked_sub(TAIL_FIXED_BYTES + multisig_bytes)?;
        let mut tail = Reader::new(rest.get(length_bytes..)?);
        let read = Tail::read(&mut tail).ok()?;
        tail.rest().is_empty().then_some((length_bytes, read.is_plausible()))
    });
    let candidates: Vec<_> = candidates.collect();
    let plausible: Vec<_> = candidates.iter().filter(|(_, plausible)| *plausible).collect();
    match (&candidates[..], &plausible[..]) {
        ([(only, _)], _) | (_, [(only, _)]) => Ok(*only),
        _ => Err(reader.error("data", DecodeProblem::Body)),
    }
}

/// Fee, fee type, nonce, reference and signature.
const TAIL_FIXED_BYTES: usize = 8 + 1 + 8 + 40 + 64;
const MULTISIG_SIGNATURE_BYTES: usize = 65;

/// What follows the data.
struct Tail {
    fee: Amount,
    fee_type: FeeType,
    nonce: Nonce,
    reference: Reference,
    multisig: Option<Vec<MultisigSignature>>,
    signature: [u8; 64],
}

impl Tail {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            fee: Amount::new(reader.u64("fee")?),
            fee_type: match reader.u8("fee_type")? {
                0 => FeeType::Tos,
                1 => FeeType::Energy,
                other => return Err(reader.bad_tag("fee_type", other)),
            },
            nonce: Nonce::new(reader.u64("nonce")?),
            reference: Reference {
                hash: BlockHash::new(reader.array("reference.hash")?),
                topoheight: TopoHeight::new(reader.u64("reference.topoheight")?),
            },
            multisig: match reader.is_some("multisig")? {
                false => None,
                true => {
                    let count = reader.u8("multisig.signatures")?;
                    let signatures = (0..count).map(|_| {
                        Ok(MultisigSignature {
                            id: reader.u8("multisig.signatures.id")?,
                            signature: reader.array("multisig.signatures.signature")?,
                        })
                    });
                    Some(signatures.collect::<Result<_, _>>()?)
                }
            },
            signature: reader.array("signature")?,
        })
    }

    /// Whether the numbers are such as a chain has in its first thousand years.
    fn is_plausible(&self) -> bool {
        const FEW: u64 = 1 << 48;
        self.nonce.as_u64() < FEW && self.reference.topoheight.as_u64() < FEW
    }
}

/// Why a transaction has no binary form.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A list is longer than its count can say.
    TooLong {
        /// Which list, by its path in the node's JSON.
        field: &'static str,
        /// How long it is.
        count: usize,
        /// How long it may be.
        count_max: usize,
    },
    /// A multisig with threshold 0 is a deletion and has no place for participants.
    IdleParticipants,
    /// The binary form of this opaque body is not known.
    BodyUnknown(OpaqueKind),
    /// The layout of this version is not known.
    Version(u8),
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { field, count, count_max } => {
                write!(f, "{field} has {count} entries where at most {count_max} fit")
            }
            Self::IdleParticipants => {
                f.write_str("data.multi_sig.participants must be empty when the threshold is 0")
            }
            Self::BodyUnknown(kind) => write!(f, "the binary form of this {kind} is not known"),
            Self::Version(version) => write!(f, "the layout of version {version} is not known"),
        }
    }
}

impl std::error::Error for EncodeError {}
