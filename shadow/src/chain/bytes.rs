//! Reading big-endian bytes, with errors that say where and what.

use std::fmt;

/// A place in a byte string, moving forward.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        // The offset only moves over bytes that are there.
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    pub(super) fn take(
        &mut self,
        field: &'static str,
        length_bytes: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        match rest.get(..length_bytes) {
            Some(taken) => {
                self.offset += length_bytes;
                Ok(taken)
            }
            None => {
                let missing_bytes = length_bytes.saturating_sub(rest.len());
                Err(self.error(field, DecodeProblem::Truncated { missing_bytes }))
            }
        }
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    pub(super) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    /// One byte that says whether a value follows.
    pub(super) fn is_some(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            // Any other byte would be a second spelling of the same value.
            other => Err(self.bad_tag(field, other)),
        }
    }

    /// The error for the byte that was just read.
    pub(super) fn bad_tag(&self, field: &'static str, tag: u8) -> DecodeError {
        DecodeError {
            offset: self.offset.saturating_sub(1),
            field,
            problem: DecodeProblem::Tag(tag),
        }
    }

    pub(super) const fn error(&self, field: &'static str, problem: DecodeProblem) -> DecodeError {
        DecodeError { offset: self.offset, field, problem }
    }
}

/// Why bytes are not a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// In which field, by its path in the node's JSON.
    pub field: &'static str,
    /// What is wrong there.
    pub problem: DecodeProblem,
}

/// What is wrong with some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeProblem {
    /// They end too early.
    Truncated {
        /// How many more the field needs.
        missing_bytes: usize,
    },
    /// They go on after the end.
    Trailing {
        /// How many are left.
        extra_bytes: usize,
    },
    /// A byte that selects a variant has a value that none has.
    Tag(u8),
    /// The layout of this version is not known.
    Version(u8),
    /// The end of an opaque body cannot be told: no end, or more than one, makes sense.
    Body,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: ", self.field, self.offset)?;
        match self.problem {
            DecodeProblem::Truncated { missing_bytes } => {
                write!(f, "{missing_bytes} bytes are missing")
            }
            DecodeProblem::Trailing { extra_bytes } => {
                write!(f, "{extra_bytes} bytes are left over")
            }
            DecodeProblem::Tag(tag) => write!(f, "{tag} selects nothing"),
            DecodeProblem::Version(version) => {
                write!(f, "the layout of version {version} is not known")
            }
            DecodeProblem::Body => f.write_str("where the opaque body ends cannot be told"),
        }
    }
}

impl std::error::Error for DecodeError {}
