//! The window: what the blocks above the view's tip wrote, in memory.
//!
//! Every block keeps its writes in the order of their keys, and every write says where the one that
//! it replaced is. A table leads from a key to its last write, and a read at T goes back from there
//! to the last one at or below T. So taking in a block, forgetting the last one and forgetting the
//! first one cost the same for each write whatever the size of the window, and most of the memory
//! that they touch is in one piece.
//!
//! Commits only add versions above every T that anybody can have, so a read needs no lock that lasts
//! longer than itself.

use std::{collections::VecDeque, hash::BuildHasher};

use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::RwLock;

use crate::{
    StateKey, TopoHeight, UniformState,
    digest::{Term, Terms},
    version::{Position, Stamped, Version},
};

#[derive(Default)]
pub(super) struct Window {
    hasher: UniformState,
    blocks: RwLock<Blocks>,
}

/// What a block wrote to a key.
pub(super) struct Write {
    key: StateKey,
    hash: u64,
    version: Version,
    /// Kept because the next block that writes the key takes it out of the digest again, and making it
    /// costs more than all the rest of a write.
    term: Term,
    replaced: Option<Place>,
}

/// With its place in the table a write takes about 200 bytes for as long as a snapshot below it is pinned.
const _: () = assert!(size_of::<Write>() <= 176);

impl Write {
    pub(super) const fn key(&self) -> &StateKey {
        &self.key
    }

    /// What it adds to the digest.
    pub(super) const fn term(&self) -> &Term {
        &self.term
    }
}

#[derive(Default)]
struct Blocks {
    /// Without gaps.
    blocks: VecDeque<Block>,
    last: HashTable<Last>,
}

struct Block {
    at: TopoHeight,
    writes: Box<[Write]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    at: TopoHeight,
    index: usize,
}

/// The last write of a key.
struct Last {
    hash: u64,
    place: Place,
}

impl Window {
    /// What a block writes. The terms are scratch space.
    pub(super) fn writes(
        &self,
        versions: Vec<(StateKey, Version)>,
        terms: &mut Terms,
    ) -> Box<[Write]> {
        terms.clear();
        for (key, version) in &versions {
            terms.push(key, version);
        }
        let write = |((key, version), term): ((StateKey, Version), &Term)| Write {
            hash: self.hasher.hash_one(key),
            key,
            version,
            term: *term,
            replaced: None,
        };
        versions.into_iter().zip(terms.finish()).map(write).collect()
    }

    pub(super) fn read(&self, key: &StateKey, at: Position) -> Option<Stamped> {
        let at = at?;
        let hash = self.hasher.hash_one(key);
        let blocks = self.blocks.read();
        let mut place = blocks.last(key, hash)?;
        loop {
            let write = blocks.get(place)?;
            if place.at <= at {
                let version = write.version.clone();
                return Some(Stamped { written_at: Some(place.at), version });
            }
            place = write.replaced?;
        }
    }

    /// What the last writes of the same keys added to the digest, where there were any. The writes take note of
    /// where these are.
    pub(super) fn replaced(&self, writes: &mut [Write], terms: &mut Vec<Option<Term>>) {
        let blocks = self.blocks.read();
        // Most of the time is spent waiting for memory, so one step is made for all of them before the next:
        // then the processor waits for many at once.
        for write in &mut *writes {
            let likely = blocks.last.find(write.hash, |last| last.hash == write.hash);
            write.replaced = likely.map(|last| last.place);
        }
        terms.extend(writes.iter_mut().map(|write| {
            let replaced = blocks.get(write.replaced?)?;
            if replaced.key == write.key {
                return Some(replaced.term);
            }
            write.replaced = blocks.last(&write.key, write.hash);
            Some(blocks.get(write.replaced?)?.term)
        }));
    }

    /// Adds what the next block wrote; every key once.
    pub(super) fn push(&self, at: TopoHeight, mut writes: Box<[Write]>) {
        let Blocks { blocks, last } = &mut *self.blocks.write();
        for (index, write) in writes.iter_mut().enumerate() {
            let place = Place { at, index };
            let same = |last: &Last| {
                let is_known = Some(last.place) == write.replaced;
                is_known
                    || last.hash == write.hash
                        && at_place(blocks, last.place).is_some_and(|w| w.key == write.key)
            };
            match last.entry(write.hash, same, |last| last.hash) {
                Entry::Occupied(mut last) => {
                    write.replaced = Some(std::mem::replace(&mut last.get_mut().place, place));
                }
                Entry::Vacant(vacant) => {
                    write.replaced = None;
                    vacant.insert(Last { hash: write.hash, place });
                }
            }
        }
        blocks.push_back(Block { at, writes });
    }

    /// Makes every reader wait.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop {
        self.blocks.write()
    }

    /// What the blocks above `from` and up to `to` wrote, each key once, the keys of an account
    /// together.
    pub(super) fn written(&self, from: Position, to: TopoHeight) -> Vec<StateKey> {
        let blocks = self.blocks.read();
        let keys: Vec<_> = blocks
            .blocks
            .iter()
            .filter(|block| Some(block.at) > from && block.at <= to)
            .flat_map(|block| block.writes.iter().map(|write| write.key))
            .collect();
        drop(blocks);
        // The first bytes of an account nearly always decide, and fit into a register.
        let mut keys: Vec<_> = keys.into_iter().map(|key| (key.account().prefix(), key)).collect();
        keys.sort_unstable_by(|(one, a), (other, b)| {
            one.cmp(other).then_with(|| (a.account(), a).cmp(&(b.account(), b)))
        });
        keys.dedup();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// Forgets the blocks above `to`.
    pub(super) fn drop_above(&self, to: Position) {
        let Blocks { blocks, last } = &mut *self.blocks.write();
        while blocks.back().is_some_and(|block| Some(block.at) > to) {
            let Some(block) = blocks.pop_back() else { break };
            let first = blocks.front().map(|block| block.at);
            for (index, write) in block.writes.iter().enumerate() {
                let place = Place { at: block.at, index };
                let Ok(mut entry) = last.find_entry(write.hash, |last| last.place == place) else {
                    continue;
                };
                // What was replaced may be in the view by now.
                match write.replaced.filter(|replaced| first.is_some_and(|at| replaced.at >= at)) {
                    Some(replaced) => entry.get_mut().place = replaced,
                    None => drop(entry.remove()),
                }
            }
        }
    }

    /// Forgets the blocks up to `to`: the view has what they wrote. Readers wait for one block at most.
    pub(super) fn drop_up_to(&self, to: TopoHeight) {
        loop {
            let Blocks { blocks, last } = &mut *self.blocks.write();
            if blocks.front().is_none_or(|block| block.at > to) {
                if is_mostly_empty(last.len(), last.capacity()) {
                    last.shrink_to_fit(|last| last.hash);
                }
                return;
            }
            let Some(block) = blocks.pop_front() else { return };
            for (index, write) in block.writes.iter().enumerate() {
                let place = Place { at: block.at, index };
                // Where a later block wrote the key that is what it leads to.
                if let Ok(entry) = last.find_entry(write.hash, |last| last.place == place) {
                    entry.remove();
                }
            }
        }
    }
}

impl Blocks {
    fn last(&self, key: &StateKey, hash: u64) -> Option<Place> {
        let same = |last: &Last| {
            last.hash == hash && self.get(last.place).is_some_and(|write| write.key == *key)
        };
        self.last.find(hash, same).map(|last| last.place)
    }

    fn get(&self, place: Place) -> Option<&Write> {
        at_place(&self.blocks, place)
    }
}

/// Whether a table was made for far more than is in it, as it is some time after a large block.
pub(super) const fn is_mostly_empty(len: usize, capacity: usize) -> bool {
    capacity > 4 * len
}

/// `None` for a block that was forgotten.
fn at_place(blocks: &VecDeque<Block>, place: Place) -> Option<&Write> {
    let first = blocks.front()?.at.as_u64();
    let block = usize::try_from(place.at.as_u64().checked_sub(first)?).ok()?;
    blocks.get(block)?.writes.get(place.index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Nonce, StateValue};

    const KEY: StateKey = StateKey::Nonce(Address::new([1; 32]));
    const OTHER: StateKey = StateKey::Nonce(Address::new([2; 32]));

    fn nonce(number: u64) -> Version {
        Version::Known(Some(StateValue::Nonce(Nonce::new(number))))
    }

    /// Every block writes one key, and every third one another.
    fn window(blocks: u64) -> Window {
        let window = Window::default();
        for at in 0..blocks {
            let mut versions = vec![(KEY, nonce(at))];
            if at % 3 == 0 {
                versions.push((OTHER, nonce(at)));
            }
            window.push(TopoHeight::new(at), window.writes(versions, &mut Terms::default()));
        }
        window
    }

    #[track_caller]
    fn check(window: &Window, key: &StateKey, at: u64, expected: Option<u64>) {
        let expected = expected.map(|number| Stamped {
            written_at: Some(TopoHeight::new(number)),
            version: nonce(number),
        });
        assert_eq!(window.read(key, Some(TopoHeight::new(at))), expected);
    }

    #[test]
    fn a_read_finds_the_last_write_at_or_below() {
        let window = window(10);
        for at in 0..10 {
            check(&window, &KEY, at, Some(at));
            check(&window, &OTHER, at, Some(at - at % 3));
        }
        assert_eq!(window.read(&KEY, None), None);
    }

    #[test]
    fn what_is_folded_or_rolled_back_is_forgotten_and_takes_no_memory() {
        let window = window(10);
        window.drop_up_to(TopoHeight::new(3));
        window.drop_above(Some(TopoHeight::new(5)));
        check(&window, &KEY, 3, None);
        check(&window, &KEY, 4, Some(4));
        check(&window, &KEY, 9, Some(5));
        // It was written at 3 and at 6, and both are gone.
        check(&window, &OTHER, 9, None);
        window.drop_up_to(TopoHeight::new(5));
        let blocks = window.blocks.read();
        assert!(blocks.blocks.is_empty() && blocks.last.is_empty());
    }

    #[test]
    fn a_block_that_is_written_again_replaces_what_was_there_before() {
        let window = window(10);
        window.drop_above(Some(TopoHeight::new(7)));
        let mut terms = Terms::default();
        let mut writes = window.writes(vec![(KEY, Version::Unknown)], &mut terms);
        let mut replaced = Vec::new();
        window.replaced(&mut writes, &mut replaced);
        terms.clear();
        terms.push(&KEY, &nonce(7));
        assert_eq!(replaced, [Some(terms.finish()[0])]);
        window.push(TopoHeight::new(8), writes);
        let read = window.read(&KEY, Some(TopoHeight::new(9))).unwrap();
        assert_eq!(read.version, Version::Unknown);
        check(&window, &KEY, 7, Some(7));
        check(&window, &OTHER, 9, Some(6));
    }
}
