//! What is known of one key: its value, that it has none, or that it cannot be told.
//!
//! "Has none" and "cannot be told" are different answers, and a store that confuses them turns a gap
//! in its knowledge into a zero balance.

use crate::{ReadError, StateKey, StateValue, TopoHeight};

/// The outcome of the last write of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// The key has this value, or was deleted.
    Known(Option<StateValue>),
    /// Something that was not executed here may have changed the key.
    Unknown,
}

impl Version {
    pub(crate) fn read(self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Unknown => Err(ReadError::Unknown(*key)),
        }
    }
}

/// Where a state stands: just after a block, or (`None`) before the first one.
///
/// `None` is below every topoheight, which is what the order of `Option` gives.
pub(crate) type Position = Option<TopoHeight>;

/// A version together with the block that wrote it; `None` for a value of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) written_at: Position,
    pub(crate) version: Version,
}
