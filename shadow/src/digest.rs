//! Where two runs part: the first topoheight at which the states that they came to differ.
//!
//! Every entry of a ledger has the digest of the state after its block, so two runs, two machines or
//! two weeks are compared by looking at a few entries, however long the chain is.

use std::fmt;

use storage_snapshot::{BlockHash, Store, TopoHeight};

use crate::{ledger::LedgerEntry, verifier::VerifyError};

/// What comparing two ledgers found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// One of them is empty, or they have no topoheight in common.
    NothingInCommon,
    /// They agree up to the last topoheight that both have.
    Same {
        /// That topoheight.
        through: TopoHeight,
        /// The state there.
        digest: String,
    },
    /// They part.
    Part {
        /// The first topoheight at which they differ.
        at: TopoHeight,
        /// What the one says there.
        one: Point,
        /// What the other says there.
        other: Point,
    },
}

/// One ledger at one topoheight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The block.
    pub block_hash: BlockHash,
    /// The state after it.
    pub digest: String,
}

/// Finds the first topoheight at which two ledgers part.
///
/// They are taken to agree below a topoheight at which they agree: two states that differ do not
/// come to the same digest again unless every difference is written over.
///
/// # Errors
///
/// When an entry cannot be read.
pub fn compare_ledgers(one: &Store, other: &Store) -> Result<Comparison, VerifyError> {
    let (Some(first), Some(last)) = common_range(one, other)? else {
        return Ok(Comparison::NothingInCommon);
    };
    let points =
        |at| -> Result<(Point, Point), VerifyError> { Ok((point(one, at)?, point(other, at)?)) };
    let (here, there) = points(last)?;
    if here == there {
        return Ok(Comparison::Same { through: last, digest: here.digest });
    }
    // Everything before `agree` agrees, and `part` differs.
    let (mut agree, mut part) = (first.as_u64(), last.as_u64());
    while agree < part {
        let middle = agree + (part - agree) / 2;
        let (here, there) = points(TopoHeight::new(middle))?;
        if here == there {
            agree = middle + 1;
        } else {
            part = middle;
        }
    }
    let at = TopoHeight::new(part);
    let (one, other) = points(at)?;
    Ok(Comparison::Part { at, one, other })
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingInCommon => f.write_str("the two have no topoheight in common"),
            Self::Same { through, digest } => {
                write!(f, "the same state through topoheight {through}: {digest}")
            }
            Self::Part { at, one, other } if one.block_hash != other.block_hash => write!(
                f,
                "they part at topoheight {at}: block {} here, block {} there",
                one.block_hash, other.block_hash
            ),
            Self::Part { at, one, other } => write!(
                f,
                "they part at topoheight {at}, block {}: state {} here, {} there",
                one.block_hash, one.digest, other.digest
            ),
        }
    }
}

fn common_range(
    one: &Store,
    other: &Store,
) -> Result<(Option<TopoHeight>, Option<TopoHeight>), VerifyError> {
    let first = first_of(one)?.max(first_of(other)?);
    let last = one.last_ledger()?.min(other.last_ledger()?);
    Ok(if first.is_some() && first <= last { (first, last) } else { (None, None) })
}

fn first_of(store: &Store) -> Result<Option<TopoHeight>, VerifyError> {
    let first = store.ledger_range(TopoHeight::GENESIS..=TopoHeight::MAX).next().transpose()?;
    Ok(first.map(|(topoheight, _)| topoheight))
}

fn point(store: &Store, at: TopoHeight) -> Result<Point, VerifyError> {
    let bytes = store.ledger(at)?.ok_or(VerifyError::NoEntry(at))?;
    let entry: LedgerEntry = serde_json::from_slice(&bytes).map_err(VerifyError::Encode)?;
    Ok(Point { block_hash: entry.block_hash, digest: entry.state_digest })
}
