//! Putting a block on the tip, and taking blocks off it.
//!
//! A commit has two halves. *Staging* a block makes it readable: what it wrote goes into memory, and what is new
//! of the base, and the head is shown last, so that a reader that can ask for a block finds all of it. *Writing*
//! it puts it into the log, and only then is it the tip. Between the two it exists in memory alone: nothing is
//! folded above the tip, so nothing on the disk depends on a block that is not there yet. A rollback hides the
//! head first.

use std::{collections::VecDeque, sync::Arc};

use super::{
    Inner,
    block::{BlockCommit, CommittedBlock, Tip},
    window::{Place, Write},
};
use crate::{
    BlockHash, BlockRef, StateDigest, StoreError, TopoHeight,
    digest::{Term, Terms},
    version::Position,
};

/// A block that can be read and is not written yet.
#[derive(Debug)]
pub struct Staged(Stage);

#[derive(Debug)]
enum Stage {
    /// It was committed before, and nothing is left to do.
    Committed(Tip),
    New {
        commit: Box<BlockCommit>,
        previous: Option<BlockHash>,
        writes: Arc<[Write]>,
    },
}

/// What writing needs, all of it in memory.
#[derive(Default)]
pub(super) struct Writer {
    written: WrittenTerms,
    /// Kept for the next block: memory that is given back and taken again costs more than what is done in it.
    bytes: Vec<u8>,
}

impl Writer {
    /// Goes on after blocks with these terms.
    pub(super) fn after(written: WrittenTerms) -> Self {
        Self { written, bytes: Vec::new() }
    }
}

/// What the writes of the blocks in the window added to the digest, as far as they are written.
///
/// Kept because the next block that writes a key takes it out of the digest again, and making it costs more than
/// all the rest of a write.
#[derive(Default)]
pub(super) struct WrittenTerms {
    /// Without gaps.
    blocks: VecDeque<(TopoHeight, Box<[Term]>)>,
    scratch: Terms,
}

impl WrittenTerms {
    /// Adds those of the next block.
    pub(super) fn add(&mut self, at: TopoHeight, writes: &[Write]) -> &[Term] {
        // A write that failed may have left some.
        self.scratch.clear();
        for write in writes {
            self.scratch.push(write.key(), write.version());
        }
        self.blocks.push_back((at, self.scratch.finish().into()));
        self.scratch.shrink_to(KEPT_WRITES);
        self.blocks.back().map_or(&[], |(_, terms)| terms)
    }

    fn get(&self, place: Place) -> Option<&Term> {
        let first = self.blocks.front()?.0.as_u64();
        let block = usize::try_from(place.at().as_u64().checked_sub(first)?).ok()?;
        self.blocks.get(block)?.1.get(place.index())
    }

    /// Forgets the blocks up to one that the view has.
    fn drop_up_to(&mut self, view: Position) {
        while self.blocks.front().is_some_and(|(at, _)| Some(*at) <= view) {
            self.blocks.pop_front();
        }
    }

    fn drop_above(&mut self, to: Position) {
        while self.blocks.back().is_some_and(|(at, _)| Some(*at) > to) {
            self.blocks.pop_back();
        }
    }
}

/// Most blocks write fewer keys. What the largest block of all took is not kept for the others.
const KEPT_WRITES: usize = 4096;

/// What a write takes in the log.
const KEPT_BYTES: usize = 64;

impl Inner {
    pub(super) fn commit(&self, block: BlockCommit) -> Result<Tip, StoreError> {
        let topoheight = block.block.topoheight;
        let staged = self.stage(block)?;
        let writes = match &staged.0 {
            Stage::Committed(_) => None,
            Stage::New { writes, .. } => Some(Arc::clone(writes)),
        };
        self.write(staged).inspect_err(|_| {
            if let Some(writes) = writes {
                self.unstage(topoheight, &writes);
            }
        })
    }

    pub(super) fn stage(&self, block: BlockCommit) -> Result<Staged, StoreError> {
        let _staging = self.staging.lock();
        self.disk.writable()?;
        let head = self.frontier.head();
        let topoheight = block.block.topoheight;
        if let Some(BlockRef { topoheight: last, .. }) = head {
            if topoheight <= last {
                return self.committed(block.block).map(|tip| Staged(Stage::Committed(tip)));
            }
            if topoheight != last.next() {
                return Err(StoreError::NotNext { expected: last.next(), found: topoheight });
            }
        }
        if !block.base.is_empty() {
            // Nobody else rewrites records while some are added to the base.
            let _folding = self.folding.lock();
            self.view.learn(self.view.news(&block.base)?);
        }
        let writes = self.window.push(topoheight, block.versions());
        self.recent.write().push(&block);
        self.frontier.show(block.block);
        let previous = head.map(|head| head.hash);
        Ok(Staged(Stage::New { commit: Box::new(block), previous, writes }))
    }

    pub(super) fn write(&self, staged: Staged) -> Result<Tip, StoreError> {
        let (commit, previous, writes) = match staged.0 {
            Stage::Committed(tip) => return Ok(tip),
            Stage::New { commit, previous, writes } => (*commit, previous, writes),
        };
        let mut writer = self.writer.lock();
        let Writer { written, bytes } = &mut *writer;
        let (tip, block) = (self.frontier.tip(), commit.block);
        let at = tip.map(|tip| tip.block.topoheight);
        let is_staged = self.recent.read().block_at(block.topoheight) == Some(block);
        if !is_staged || tip.map(|tip| tip.block.hash) != previous {
            let expected = at.map_or(TopoHeight::GENESIS, TopoHeight::next);
            return Err(StoreError::NotNext { expected, found: block.topoheight });
        }

        let mut digest = tip.map_or(StateDigest::EMPTY, |tip| tip.digest);
        written.drop_up_to(self.frontier.view());
        self.take_out(&mut digest, written, &writes, at)?;
        for term in written.add(block.topoheight, &writes) {
            digest.add(term);
        }
        let entry = CommittedBlock { commit, digest, previous };
        let appended = self.log.append(&entry, bytes);
        bytes.shrink_to(KEPT_WRITES * KEPT_BYTES);
        if let Err(error) = appended {
            written.drop_above(at);
            return Err(error);
        }
        self.recent.write().written(block.topoheight, digest);
        self.frontier.publish(entry.tip());
        Ok(entry.tip())
    }

    /// Takes out of the digest what some writes replaced, for a block that comes after the one at `at`.
    fn take_out(
        &self,
        digest: &mut StateDigest,
        written: &mut WrittenTerms,
        writes: &[Write],
        at: Position,
    ) -> Result<(), StoreError> {
        for term in writes.iter().filter_map(|write| written.get(write.replaced()?)) {
            digest.subtract(term);
        }
        // What is not there any more was folded: the view has it, for nothing above the tip is folded. Values of
        // the base added nothing.
        let is_folded = |(_, write): &(usize, &Write)| {
            write.replaced().is_none_or(|replaced| written.get(replaced).is_none())
        };
        let folded = writes.iter().enumerate().filter(is_folded);
        let folded: Vec<_> = folded.map(|(number, write)| (number, write.key())).collect();
        let terms = &mut written.scratch;
        terms.clear();
        self.view.read_each(&folded, at, |number, stamped| {
            if stamped.written_at.is_some() {
                terms.push(writes[number].key(), &stamped.version);
            }
        })?;
        for term in terms.finish() {
            digest.subtract(term);
        }
        Ok(())
    }

    /// What the tip was after a block at or below it, which has to be the one that is there.
    fn committed(&self, offered: BlockRef) -> Result<Tip, StoreError> {
        let topoheight = offered.topoheight;
        let (staged, written) = {
            let recent = self.recent.read();
            (recent.block_at(topoheight), recent.tip_at(topoheight))
        };
        let committed = match (staged, written) {
            (Some(staged), None) => {
                return Err(StoreError::NotNext {
                    expected: staged.topoheight.next(),
                    found: topoheight,
                });
            }
            (_, Some(tip)) => Some(tip),
            (None, None) => self.log.read(topoheight)?.map(|entry| entry.tip()),
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

    /// Takes off a block that could not be written, and what was staged on top of it. If somebody else took it
    /// off meanwhile, what stands there now is theirs.
    fn unstage(&self, topoheight: TopoHeight, writes: &Arc<[Write]>) {
        let _writer = self.writer.lock();
        let _staging = self.staging.lock();
        let tip = self.frontier.tip().map(|tip| tip.block.topoheight);
        if Some(topoheight) <= tip || !self.window.is_at(topoheight, writes) {
            return;
        }
        let to = topoheight.previous();
        {
            let mut frontier = self.frontier.lock();
            let (head, tip) = (to.and_then(|to| self.recent.read().block_at(to)), frontier.tip);
            frontier.retreat(head, tip);
        }
        self.recent.write().drop_above(to);
        self.window.drop_above(to);
    }

    pub(super) fn rollback(&self, to: Position) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        let _staging = self.staging.lock();
        self.disk.writable()?;
        let to = {
            // The head goes down under the same lock as the check, so that no fold that begins in
            // between can aim above it.
            let mut frontier = self.frontier.lock();
            if to >= frontier.head.map(|head| head.topoheight) {
                return Ok(());
            }
            if let Some(oldest) = frontier.floor
                && to < frontier.floor
            {
                return Err(StoreError::BelowView { topoheight: to, oldest });
            }
            // Below the first block there is only the base.
            let (head, tip) = {
                let recent = self.recent.read();
                (to.and_then(|to| recent.block_at(to)), to.and_then(|to| recent.tip_at(to)))
            };
            if let (Some(topoheight), None, Some(_)) = (to, head, frontier.floor) {
                // It cannot be, all blocks above the view are recent; but it would drop all of them.
                return Err(StoreError::Pruned(topoheight));
            }
            // One that is only staged is above the tip, which then stays.
            let is_staged = head.is_some() && tip.is_none();
            let tip = if is_staged { frontier.tip } else { tip };
            frontier.retreat(head, tip);
            head.map(|head| head.topoheight)
        };
        // The head is below the blocks by now, so whatever fails leaves a store that nothing may be added to.
        let drop_written = || -> Result<(), StoreError> {
            // The values of the base that these blocks brought are nowhere else then.
            {
                let _folding = self.folding.lock();
                self.ledger.write_out()?;
                self.view.settle()?;
            }
            self.disk.flush()?;
            self.log.drop_above(to)
        };
        drop_written().map_err(|error| self.disk.failed(error))?;
        self.recent.write().drop_above(to);
        self.window.drop_above(to);
        writer.written.drop_above(to);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::{
        Address, BlockFacts, Nonce, StateDelta, StateKey, Store, StoreOptions,
        store::window::Window, version::Version,
    };

    #[test]
    fn only_the_block_that_could_not_be_written_is_taken_off() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let block = |topoheight: u64, branch: u8| {
            let topoheight = TopoHeight::new(topoheight);
            let mut delta = StateDelta::new();
            delta.set_nonce(Address::new([1; 32]), Nonce::new(branch.into()));
            let hash = BlockHash::new([branch; 32]);
            BlockCommit::new(BlockRef { topoheight, hash }, BlockFacts::default(), delta)
        };
        store.commit(block(0, 0)).unwrap();
        let lost = store.stage(block(1, 1)).unwrap();
        let Stage::New { writes, .. } = &lost.0 else { panic!("{lost:?} is not new") };
        let lost_writes = Arc::clone(writes);
        store.rollback(Some(TopoHeight::GENESIS)).unwrap();

        // Another one stands there by the time.
        let kept = store.stage(block(1, 2)).unwrap();
        assert!(store.inner.write(lost).is_err());
        store.inner.unstage(TopoHeight::new(1), &lost_writes);
        let tip = store.inner.write(kept).unwrap();
        assert_eq!(tip.block, block(1, 2).block);

        // And one that is written is not taken off by anybody.
        let Stage::New { writes, .. } = store.stage(block(2, 3)).unwrap().0 else { panic!() };
        store.inner.unstage(TopoHeight::new(2), &writes);
        let next = store.commit(block(2, 4)).unwrap();
        store.inner.unstage(TopoHeight::new(2), &writes);
        assert_eq!(store.tip(), Some(next));
        assert_eq!(store.inner.frontier.head(), Some(next.block));
    }

    #[test]
    fn a_commit_waits_for_nobody_who_removes_files_of_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { log_file_bytes: 1, ..StoreOptions::default() };
        let store = Store::open(directory.path(), options).unwrap();
        let block = |topoheight: u64| {
            let topoheight = TopoHeight::new(topoheight);
            let block = BlockRef { topoheight, hash: BlockHash::new([1; 32]) };
            BlockCommit::new(block, BlockFacts::default(), StateDelta::new())
        };
        for topoheight in 0..200 {
            store.commit(block(topoheight)).unwrap();
        }
        store.advance_view(TopoHeight::new(150)).unwrap();

        let disk = store.inner.log.hold();
        let (pruned, committed) = thread::scope(|scope| {
            let pruning = scope.spawn(|| store.prune_log(TopoHeight::MAX));
            let (done, told) = mpsc::channel();
            let (store, block) = (&store, &block);
            scope.spawn(move || {
                // The other one has got as far as it can by then.
                thread::sleep(Duration::from_millis(50));
                let _told = done.send(store.commit(block(200)));
            });
            let committed = told.recv_timeout(Duration::from_secs(60));
            drop(disk);
            (pruning.join().unwrap().unwrap(), committed)
        });
        assert_eq!(committed.unwrap().unwrap().block.topoheight, TopoHeight::new(200));
        assert_eq!(pruned, 87);
    }

    #[test]
    fn what_a_write_that_failed_left_behind_is_no_term_of_the_next_block() {
        const KEY: StateKey = StateKey::Nonce(Address::new([1; 32]));
        let at = TopoHeight::GENESIS;
        let writes = Window::default().push(at, vec![(KEY, Version::Unknown)]);
        let expected = WrittenTerms::default().add(at, &writes).to_vec();
        let mut terms = WrittenTerms::default();
        terms.scratch.push(&KEY, &Version::Known(None));
        assert_eq!(terms.add(at, &writes), expected);
    }
}
