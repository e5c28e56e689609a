//! Where two runs part: the first topoheight at which the states that they came to differ.
//!
//! Every entry of a ledger has the digest of the state after its block, so two runs, two machines or
//! two weeks are compared by looking at a few entries, however long the chain is.

use std::fmt;

use storage_snapshot::{BlockHash, Store, TopoHeight};

use crate::ledger::{LedgerError, entries, entry_at};

/// What comparing two ledgers found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// One of them is empty, or they have no topoheight in common.
    NothingInCommon,
    /// They begin at different topoheights. A digest is the sum of what was written since, so theirs say nothing
    /// of each other.
    OtherBeginning {
        /// The first topoheight of the one.
        one: TopoHeight,
        /// The first topoheight of the other.
        other: TopoHeight,
    },
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
/// They are taken to agree below a topoheight at which they agree. Two states that differ come to the
/// same digest again only if every difference was written over, so what is found is a topoheight at
/// which they part, and the first one unless they had come together again.
///
/// # Errors
///
/// When an entry cannot be read.
pub fn compare_ledgers(one: &Store, other: &Store) -> Result<Comparison, LedgerError> {
    let ((Some(first), Some(one_last)), (Some(other_first), Some(other_last))) =
        (range(one)?, range(other)?)
    else {
        return Ok(Comparison::NothingInCommon);
    };
    if first != other_first {
        return Ok(Comparison::OtherBeginning { one: first, other: other_first });
    }
    let last = one_last.min(other_last);
    if last < first {
        return Ok(Comparison::NothingInCommon);
    }
    let points =
        |at| -> Result<(Point, Point), LedgerError> { Ok((point(one, at)?, point(other, at)?)) };
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
            Self::OtherBeginning { one, other } => write!(
                f,
                "the one begins at topoheight {one} and the other at {other}: a digest is the sum of what was \
                 written since, so theirs cannot be compared; begin both at the same topoheight"
            ),
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

/// The first and the last topoheight, as far as it has not been ordered away.
fn range(store: &Store) -> Result<(Option<TopoHeight>, Option<TopoHeight>), LedgerError> {
    let first = entries(store, TopoHeight::GENESIS).next().transpose()?;
    let mut last = store.last_ledger().map_err(LedgerError::Store)?;
    // What was ordered away stands at the end.
    while let Some(at) = last
        && entry_at(store, at)?.is_some_and(|entry| entry.stale)
    {
        last = at.previous();
    }
    Ok((first.map(|entry| entry.topoheight), last))
}

fn point(store: &Store, at: TopoHeight) -> Result<Point, LedgerError> {
    let entry = entry_at(store, at)?.ok_or(LedgerError::Missing(at))?;
    Ok(Point { block_hash: entry.block_hash, digest: entry.state_digest })
}
