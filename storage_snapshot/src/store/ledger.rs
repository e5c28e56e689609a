//! The ledger: what was found out about each block, in bytes that belong to the caller.
//!
//! It outlives the log: pruning leaves it alone, and so does a rollback, because a verdict on a block
//! that is not on the chain any more is still something that was found out.

use std::{ops::RangeInclusive, sync::Arc};

use super::{
    disk::Disk,
    log::{key, parse_key},
    tree::{BATCH_ENTRIES, Tree, Writes},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName};

pub(super) struct Ledger(Tree);

impl Ledger {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreError> {
        Ok(Self(disk.tree(TreeName::Ledger)?))
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.0
    }

    pub(super) fn staged(
        &self,
        topoheight: TopoHeight,
        entry: &[u8],
    ) -> Result<Writes, StoreError> {
        let mut writes = Writes::default();
        self.0.stage(&mut writes, &key(topoheight), entry)?;
        Ok(writes)
    }

    pub(super) fn put(&self, entries: &[(TopoHeight, Vec<u8>)]) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        for (topoheight, entry) in entries {
            self.0.stage(&mut writes, &key(*topoheight), entry)?;
            if writes.parts >= BATCH_ENTRIES {
                self.0.apply(std::mem::take(&mut writes))?;
            }
        }
        self.0.apply(writes)
    }

    pub(super) fn read(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.read(&key(topoheight))
    }

    pub(super) fn last(&self) -> Result<Option<TopoHeight>, StoreError> {
        match self.0.last_key()? {
            Some(key) => self.topoheight(&key).map(Some),
            None => Ok(None),
        }
    }

    pub(super) const fn range(&self, range: RangeInclusive<TopoHeight>) -> Range<'_> {
        Range { ledger: self, next: Some(*range.start()), last: *range.end() }
    }

    fn topoheight(&self, key: &[u8]) -> Result<TopoHeight, StoreError> {
        parse_key(key).ok_or_else(|| self.0.corrupt(key, Corruption::Form))
    }
}

/// The entries of a range in order. Ends after the first error.
pub(super) struct Range<'a> {
    ledger: &'a Ledger,
    next: Option<TopoHeight>,
    last: TopoHeight,
}

impl Range<'_> {
    fn step(&mut self) -> Result<Option<(TopoHeight, Vec<u8>)>, StoreError> {
        while let Some(from) = self.next.take() {
            let Some(found) = self.ledger.0.next_key(&key(from))? else { break };
            let topoheight = self.ledger.topoheight(&found)?;
            if topoheight > self.last {
                break;
            }
            self.next = (topoheight < self.last).then(|| topoheight.next());
            if let Some(entry) = self.ledger.read(topoheight)? {
                return Ok(Some((topoheight, entry)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(TopoHeight, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.next = None;
        }
        step.transpose()
    }
}
