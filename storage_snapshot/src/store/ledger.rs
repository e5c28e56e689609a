//! The ledger: what was found out about each block, in bytes that belong to the caller.
//!
//! It outlives the log: pruning leaves it alone, and so does a rollback, because a verdict on a block
//! that is not on the chain any more is still something that was found out.

use std::{ops::RangeInclusive, sync::Arc};

use parking_lot::Mutex;

use super::{
    disk::Disk,
    log::{key, parse_key},
    tree::{BATCH_ENTRIES, Tree, Writes},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName};

pub(super) struct Ledger {
    tree: Tree,
    /// There is no entry above, so one that comes there replaces none.
    last: Mutex<Option<TopoHeight>>,
}

impl Ledger {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreError> {
        let this = Self { tree: disk.tree(TreeName::Ledger)?, last: Mutex::default() };
        // Damage is the business of those who read; without knowing the last entry any may be there.
        *this.last.lock() = this.last().unwrap_or(Some(TopoHeight::MAX));
        Ok(this)
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn put(&self, topoheight: TopoHeight, entry: &[u8]) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        self.stage(&mut writes, topoheight, entry)?;
        self.tree.apply(writes)
    }

    pub(super) fn put_all(&self, entries: &[(TopoHeight, Vec<u8>)]) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        for (topoheight, entry) in entries {
            self.stage(&mut writes, *topoheight, entry)?;
            if writes.parts >= BATCH_ENTRIES {
                self.tree.apply(std::mem::take(&mut writes))?;
            }
        }
        self.tree.apply(writes)
    }

    fn stage(
        &self,
        writes: &mut Writes,
        topoheight: TopoHeight,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let is_new = {
            let mut last = self.last.lock();
            let is_new = Some(topoheight) > *last;
            // Whatever becomes of the write, some of it may be there.
            *last = (*last).max(Some(topoheight));
            is_new
        };
        let key = key(topoheight);
        if is_new {
            self.tree.stage_new(writes, &key, entry);
            return Ok(());
        }
        self.tree.stage(writes, &key, entry)
    }

    pub(super) fn read(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree.read(&key(topoheight))
    }

    pub(super) fn last(&self) -> Result<Option<TopoHeight>, StoreError> {
        match self.tree.last_key()? {
            Some(key) => self.topoheight(&key).map(Some),
            None => Ok(None),
        }
    }

    pub(super) const fn range(&self, range: RangeInclusive<TopoHeight>) -> Range<'_> {
        Range { ledger: self, next: Some(*range.start()), last: *range.end() }
    }

    fn topoheight(&self, key: &[u8]) -> Result<TopoHeight, StoreError> {
        parse_key(key).ok_or_else(|| self.tree.corrupt(key, Corruption::Form))
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
            let Some(found) = self.ledger.tree.next_key(&key(from))? else { break };
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
