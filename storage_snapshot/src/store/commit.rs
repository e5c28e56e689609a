//! Putting a block on the tip, and taking blocks off it.
//!
//! A commit writes the log first, what is new of the base next and memory afterwards, and shows the tip
//! last: a reader that can ask for a block finds all of it. A rollback hides the tip first.

use super::{
    Inner,
    block::{BlockCommit, CommittedBlock, Tip},
};
use crate::{
    BlockRef, StateDigest, StoreError,
    digest::{Term, Terms},
    version::Position,
};

/// What a commit needs for a while, kept for the next one: memory that is given back and taken again
/// costs more than what is done in it.
#[derive(Default)]
pub(super) struct Scratch {
    replaced: Vec<Option<Term>>,
    terms: Terms,
    bytes: Vec<u8>,
}

impl Scratch {
    /// What the largest block of all took is not kept for the others.
    fn shrink(&mut self) {
        self.replaced.shrink_to(KEPT_WRITES);
        self.terms.shrink_to(KEPT_WRITES);
        self.bytes.shrink_to(KEPT_WRITES * KEPT_BYTES);
    }
}

/// Most blocks write fewer keys.
const KEPT_WRITES: usize = 4096;

/// What a write takes in the log.
const KEPT_BYTES: usize = 64;

impl Inner {
    pub(super) fn commit(&self, block: BlockCommit) -> Result<Tip, StoreError> {
        let mut writer = self.writer.lock();
        let Scratch { replaced, terms, bytes } = &mut *writer;
        let tip = self.frontier.tip();
        let topoheight = block.block.topoheight;
        if let Some(tip) = tip {
            let last = tip.block.topoheight;
            if topoheight <= last {
                return self.committed(block.block);
            }
            if topoheight != last.next() {
                return Err(StoreError::NotNext { expected: last.next(), found: topoheight });
            }
        }

        let at = tip.map(|tip| tip.block.topoheight);
        let mut digest = tip.map_or(StateDigest::EMPTY, |tip| tip.digest);
        let mut writes = self.window.writes(block.versions(), terms);
        replaced.clear();
        self.window.replaced(&mut writes, replaced);
        for (write, replaced) in writes.iter().zip(&*replaced) {
            digest.add(write.term());
            if let Some(term) = replaced {
                digest.subtract(term);
            }
        }
        // What the window has forgotten is in the view. Values of the base added nothing.
        let forgotten = writes.iter().zip(&*replaced).filter(|(_, replaced)| replaced.is_none());
        terms.clear();
        self.view.read_each(forgotten.map(|(write, _)| write.key()), at, |key, stamped| {
            if stamped.written_at.is_some() {
                terms.push(key, &stamped.version);
            }
        })?;
        for term in terms.finish() {
            digest.subtract(term);
        }

        // Nobody else rewrites records while some are added to the base.
        let _folding = (!block.base.is_empty()).then(|| self.folding.lock());
        let news = self.view.news(&block.base)?;

        let previous = tip.map(|tip| tip.block.hash);
        let entry = CommittedBlock { commit: block, digest, previous };
        self.log.append(&entry, bytes)?;
        self.view.learn(news);
        self.window.push(topoheight, writes);
        self.recent.write().push(&entry);
        let tip = entry.tip();
        self.frontier.publish(tip);
        writer.shrink();
        Ok(tip)
    }

    /// What the tip was after a block at or below it, which has to be the one that is there.
    fn committed(&self, offered: BlockRef) -> Result<Tip, StoreError> {
        let topoheight = offered.topoheight;
        let recent = self.recent.read().tip_at(topoheight);
        let committed = match recent {
            Some(tip) => Some(tip),
            None => self.log.read(topoheight)?.map(|entry| entry.tip()),
        };
        match committed {
            Some(tip) if tip.block == offered => Ok(tip),
            Some(tip) => {
                Err(StoreError::OtherBlock { committed: tip.block, offered: offered.hash })
            }
            None => match self.frontier.lock().first {
                Some(first) => Err(StoreError::BeforeFirst { topoheight, first }),
                None => Err(StoreError::Pruned(topoheight)),
            },
        }
    }

    pub(super) fn rollback(&self, to: Position) -> Result<(), StoreError> {
        let _writer = self.writer.lock();
        self.disk.writable()?;
        let to = {
            // The tip goes down under the same lock as the check, so that no fold that begins in
            // between can aim above it.
            let mut frontier = self.frontier.lock();
            if to >= frontier.tip.map(|tip| tip.block.topoheight) {
                return Ok(());
            }
            if let Some(oldest) = frontier.floor
                && to < frontier.floor
            {
                return Err(StoreError::BelowView { topoheight: to, oldest });
            }
            // Below the first block there is only the base.
            let tip = to.and_then(|to| self.recent.read().tip_at(to));
            if let (Some(topoheight), None, Some(_)) = (to, tip, frontier.floor) {
                // It cannot be, all blocks above the view are recent; but it would drop all of them.
                return Err(StoreError::Pruned(topoheight));
            }
            frontier.retreat(tip);
            tip.map(|tip| tip.block.topoheight)
        };
        // The values of the base that these blocks brought are nowhere else then.
        {
            let _folding = self.folding.lock();
            self.view.settle()?;
        }
        self.disk.flush()?;
        self.log.drop_above(to)?;
        self.recent.write().drop_above(to);
        self.window.drop_above(to);
        Ok(())
    }
}
