//! The log: every committed block, and the only thing that a commit writes.
//!
//! Everything else (window, facts, executed transactions, and with them the tip) is derived from it
//! when the store is opened. A block is there once the first part of its entry is, which is written
//! last, so the log ends with a whole block after any crash; each entry names the hash before it, so a
//! block that is missing is noticed.

use super::{
    block::CommittedBlock,
    disk::{Disk, Tree, Writes},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName, encoding};
use std::sync::Arc;

pub(super) struct Log(Tree);

impl Log {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreError> {
        Ok(Self(disk.tree(TreeName::Log)?))
    }

    /// Forgets a block that was being written when the process died.
    pub(super) fn drop_unfinished(&self) -> Result<(), StoreError> {
        self.0.drop_unfinished()
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.0
    }

    /// The buffer is scratch space.
    pub(super) fn staged(
        &self,
        entry: &CommittedBlock,
        buffer: &mut Vec<u8>,
    ) -> Result<Writes, StoreError> {
        let mut writes = Writes::default();
        let key = key(entry.commit.block.topoheight);
        buffer.clear();
        encoding::put_log_entry(buffer, entry);
        self.0.stage(&mut writes, &key, buffer)?;
        Ok(writes)
    }

    pub(super) fn read(
        &self,
        topoheight: TopoHeight,
    ) -> Result<Option<CommittedBlock>, StoreError> {
        let key = key(topoheight);
        let Some(bytes) = self.0.read(&key)? else { return Ok(None) };
        let entry = encoding::read_log_entry(&bytes)
            .map_err(|encoding::Malformed| self.0.corrupt(&key, Corruption::Form))?;
        if entry.commit.block.topoheight != topoheight {
            return Err(self.0.corrupt(&key, Corruption::Sequence));
        }
        Ok(Some(entry))
    }

    /// Reads the blocks from `from` on in order, and requires each to follow the one before it.
    ///
    /// With `from` of `None` the first entry must be the first block ever committed.
    pub(super) fn replay(
        &self,
        from: Option<TopoHeight>,
        mut absorb: impl FnMut(CommittedBlock) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut before = None;
        let mut cursor = from.unwrap_or(TopoHeight::GENESIS);
        while let Some(found) = self.0.next_key(&key(cursor))? {
            let out_of_sequence = || self.0.corrupt(&found, Corruption::Sequence);
            let topoheight = parse_key(&found).ok_or_else(out_of_sequence)?;
            let entry = self.read(topoheight)?.ok_or_else(out_of_sequence)?;
            let follows = match before {
                Some(_) => topoheight == cursor && entry.previous == before,
                None => from.is_some() || entry.previous.is_none(),
            };
            if !follows {
                return Err(out_of_sequence());
            }
            before = Some(entry.commit.block.hash);
            absorb(entry)?;
            if topoheight.next() == topoheight {
                break;
            }
            cursor = topoheight.next();
        }
        Ok(())
    }

    /// Drops every block above `to`, the last one first.
    pub(super) fn drop_above(&self, to: Option<TopoHeight>) -> Result<(), StoreError> {
        match to {
            None => self.0.remove_last(&[]),
            Some(to) if to.next() == to => Ok(()),
            Some(to) => self.0.remove_last(&key(to.next())),
        }
    }

    /// Drops every block below `bound`, the first one first.
    pub(super) fn drop_below(&self, bound: TopoHeight) -> Result<u64, StoreError> {
        self.0.remove_first(&[], &key(bound))
    }
}

pub(super) const fn key(topoheight: TopoHeight) -> [u8; 8] {
    topoheight.as_u64().to_be_bytes()
}

pub(super) fn parse_key(key: &[u8]) -> Option<TopoHeight> {
    Some(TopoHeight::new(u64::from_be_bytes(key.try_into().ok()?)))
}
