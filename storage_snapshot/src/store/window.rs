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

use std::{collections::VecDeque, hash::BuildHasher, num::NonZeroU32, sync::Arc};

use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::RwLock;

use crate::{
    StateKey, TopoHeight, UniformState,
    version::{Position, Stamped, Version},
};

#[derive(Default)]
pub(super) struct Window {
    hasher: UniformState,
    blocks: RwLock<Blocks>,
}

/// What a block wrote to a key.
#[derive(Debug)]
pub(super) struct Write {
    key: StateKey,
    hash: ShortHash,
    version: Version,
    replaced: Option<Place>,
}

/// With its place in the table and its term a write takes about 170 bytes for as long as a snapshot below it
/// is pinned.
const _: () = assert!(size_of::<Write>() <= 104);

impl Write {
    pub(super) const fn key(&self) -> &StateKey {
        &self.key
    }

    pub(super) const fn version(&self) -> &Version {
        &self.version
    }

    /// The write of the same key before this one, if the window had one when this one came.
    pub(super) const fn replaced(&self) -> Option<Place> {
        self.replaced
    }
}

#[derive(Default)]
struct Blocks {
    /// Without gaps.
    blocks: VecDeque<Block>,
    last: LastWrites,
}

/// The last write of every key, in a table for each kind of key. Every account is asked for all kinds and writes
/// most of them seldom: that nothing is in a table that is nearly empty is found out in the processor's cache.
#[derive(Default)]
struct LastWrites {
    nonces: HashTable<Last>,
    balances: HashTable<Last>,
    multisigs: HashTable<Last>,
    registrations: HashTable<Last>,
}

impl LastWrites {
    const fn of(&self, key: &StateKey) -> &HashTable<Last> {
        match key {
            StateKey::Nonce(_) => &self.nonces,
            StateKey::Balance(..) => &self.balances,
            StateKey::Multisig(_) => &self.multisigs,
            StateKey::Registered(_) => &self.registrations,
        }
    }

    const fn of_mut(&mut self, key: &StateKey) -> &mut HashTable<Last> {
        match key {
            StateKey::Nonce(_) => &mut self.nonces,
            StateKey::Balance(..) => &mut self.balances,
            StateKey::Multisig(_) => &mut self.multisigs,
            StateKey::Registered(_) => &mut self.registrations,
        }
    }

    /// Gives back the memory of tables that were made for far more than is in them.
    fn shrink(&mut self) {
        let Self { nonces, balances, multisigs, registrations } = self;
        for table in [nonces, balances, multisigs, registrations] {
            if is_mostly_empty(table.len(), table.capacity()) {
                table.shrink_to_fit(Last::hash);
            }
        }
    }
}

struct Block {
    at: TopoHeight,
    writes: Arc<[Write]>,
}

/// Where a write is: in the block at a topoheight, and there the how-manieth in the order of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: TopoHeight,
    /// From 1 on, so that no place at all takes no more memory than one.
    number: NonZeroU32,
}

impl Place {
    fn new(at: TopoHeight, index: usize) -> Self {
        // As many writes as would not fit are no block that any memory holds.
        Self { at, number: NonZeroU32::MIN.saturating_add(index as u32) }
    }

    pub(super) const fn at(self) -> TopoHeight {
        self.at
    }

    pub(super) const fn index(self) -> usize {
        self.number.get() as usize - 1
    }
}

/// As much of the hash of a key as tells keys apart nearly always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ShortHash(u32);

impl ShortHash {
    fn of(key: &StateKey, hasher: &UniformState) -> Self {
        let hash = hasher.hash_one(key);
        Self((hash ^ hash >> 32) as u32)
    }

    /// What a table takes of it: the lowest bits, and the highest seven.
    const fn wide(self) -> u64 {
        let hash = self.0 as u64;
        hash << 32 | hash
    }
}

/// The place of the last write of a key, in pieces so that it takes no more memory than needed.
struct Last {
    at: TopoHeight,
    number: NonZeroU32,
    hash: ShortHash,
}

/// Every key that was written has one.
const _: () = assert!(size_of::<Last>() <= 16);

impl Last {
    const fn of(place: Place, hash: ShortHash) -> Self {
        let Place { at, number } = place;
        Self { at, number, hash }
    }

    const fn place(&self) -> Place {
        let Self { at, number, .. } = *self;
        Place { at, number }
    }

    const fn hash(&self) -> u64 {
        self.hash.wide()
    }
}

impl Window {
    pub(super) fn read(&self, key: &StateKey, at: Position) -> Option<Stamped> {
        let at = at?;
        let hash = ShortHash::of(key, &self.hasher);
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

    /// Reads many keys under one lock, in their order; each is told by its number.
    ///
    /// Most of the time is spent waiting for memory, so one step is made for all of them before the next: then
    /// the processor waits for many at once.
    pub(super) fn read_each(
        &self,
        keys: &[StateKey],
        at: Position,
        mut found: impl FnMut(usize, Stamped),
    ) {
        let Some(at) = at else { return };
        let blocks = self.blocks.read();
        let mut likely = [None; KEYS_AT_ONCE];
        let mut numbers = 0..;
        for keys in keys.chunks(KEYS_AT_ONCE) {
            for (key, likely) in keys.iter().zip(&mut likely) {
                *likely = blocks.likely(key, ShortHash::of(key, &self.hasher));
            }
            for ((key, likely), number) in keys.iter().zip(likely).zip(&mut numbers) {
                let Some(mut write) = blocks.last_write(key, likely, &self.hasher) else {
                    continue;
                };
                loop {
                    let (place, Write { version, replaced, .. }) = write;
                    if place.at <= at {
                        let version = version.clone();
                        found(number, Stamped { written_at: Some(place.at), version });
                        break;
                    }
                    let before =
                        replaced.and_then(|replaced| Some((replaced, blocks.get(replaced)?)));
                    let Some(before) = before else { break };
                    write = before;
                }
            }
        }
    }

    /// Adds what the next block wrote, every key once, and returns it.
    pub(super) fn push(&self, at: TopoHeight, versions: Vec<(StateKey, Version)>) -> Arc<[Write]> {
        let write = |(key, version)| Write {
            hash: ShortHash::of(&key, &self.hasher),
            key,
            version,
            replaced: None,
        };
        let mut writes: Arc<[Write]> = versions.into_iter().map(write).collect();
        let mut blocks = self.blocks.write();
        // Nobody else has it yet.
        if let Some(writes) = Arc::get_mut(&mut writes) {
            // Step by step, as when many keys are read.
            for write in &mut *writes {
                write.replaced = blocks.likely(&write.key, write.hash);
            }
            for write in &mut *writes {
                let found = blocks.last_write(&write.key, write.replaced, &self.hasher);
                write.replaced = found.map(|(place, _)| place);
            }
            for (index, write) in writes.iter().enumerate() {
                let (place, hash) = (Place::new(at, index), write.hash);
                let same = |last: &Last| Some(last.place()) == write.replaced;
                match blocks.last.of_mut(&write.key).entry(hash.wide(), same, Last::hash) {
                    Entry::Occupied(mut last) => *last.get_mut() = Last::of(place, hash),
                    Entry::Vacant(vacant) => drop(vacant.insert(Last::of(place, hash))),
                }
            }
        }
        let blocks = &mut blocks.blocks;
        blocks.push_back(Block { at, writes: Arc::clone(&writes) });
        writes
    }

    /// Makes every reader wait.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop {
        self.blocks.write()
    }

    /// What each of the blocks above `from` and up to `to` wrote.
    pub(super) fn written(
        &self,
        from: Position,
        to: TopoHeight,
    ) -> Vec<(TopoHeight, Arc<[Write]>)> {
        let blocks = self.blocks.read();
        let wanted = blocks.blocks.iter().filter(|block| Some(block.at) > from && block.at <= to);
        wanted.map(|block| (block.at, Arc::clone(&block.writes))).collect()
    }

    /// How many writes the blocks up to `to` have.
    pub(super) fn writes_up_to(&self, to: TopoHeight) -> usize {
        let blocks = self.blocks.read();
        let wanted = blocks.blocks.iter().take_while(|block| block.at <= to);
        wanted.map(|block| block.writes.len()).sum()
    }

    /// Whether these very writes are those of the block there.
    pub(super) fn is_at(&self, at: TopoHeight, writes: &Arc<[Write]>) -> bool {
        let blocks = self.blocks.read();
        blocks.blocks.iter().any(|block| block.at == at && Arc::ptr_eq(&block.writes, writes))
    }

    /// Forgets the blocks above `to`.
    pub(super) fn drop_above(&self, to: Position) {
        let Blocks { blocks, last } = &mut *self.blocks.write();
        while blocks.back().is_some_and(|block| Some(block.at) > to) {
            let Some(block) = blocks.pop_back() else { break };
            let first = blocks.front().map(|block| block.at);
            for (index, write) in block.writes.iter().enumerate() {
                let place = Place::new(block.at, index);
                let last = last.of_mut(&write.key);
                let Ok(mut entry) =
                    last.find_entry(write.hash.wide(), |last| last.place() == place)
                else {
                    continue;
                };
                // What was replaced may be in the view by now.
                match write.replaced.filter(|replaced| first.is_some_and(|at| replaced.at >= at)) {
                    Some(replaced) => *entry.get_mut() = Last::of(replaced, write.hash),
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
                last.shrink();
                return;
            }
            let Some(block) = blocks.pop_front() else { return };
            for (index, write) in block.writes.iter().enumerate() {
                let place = Place::new(block.at, index);
                // Where a later block wrote the key that is what it leads to.
                let last = last.of_mut(&write.key);
                if let Ok(entry) = last.find_entry(write.hash.wide(), |last| last.place() == place)
                {
                    entry.remove();
                }
            }
        }
    }
}

impl Blocks {
    fn last(&self, key: &StateKey, hash: ShortHash) -> Option<Place> {
        let same = |last: &Last| {
            last.hash == hash && self.get(last.place()).is_some_and(|write| write.key == *key)
        };
        self.last.of(key).find(hash.wide(), same).map(Last::place)
    }

    /// Where the last write of a key of this kind with this hash is; seldom that of another key.
    fn likely(&self, key: &StateKey, hash: ShortHash) -> Option<Place> {
        self.last.of(key).find(hash.wide(), |last| last.hash == hash).map(Last::place)
    }

    /// The last write of a key, which is likely in a place.
    fn last_write(
        &self,
        key: &StateKey,
        likely: Option<Place>,
        hasher: &UniformState,
    ) -> Option<(Place, &Write)> {
        let likely = likely?;
        let write = self.get(likely)?;
        if write.key == *key {
            return Some((likely, write));
        }
        let place = self.last(key, ShortHash::of(key, hasher))?;
        Some((place, self.get(place)?))
    }

    fn get(&self, place: Place) -> Option<&Write> {
        at_place(&self.blocks, place)
    }
}

/// How many keys are looked up before the first of them is read.
pub(super) const KEYS_AT_ONCE: usize = 256;

/// Whether a table was made for far more than is in it, as it is some time after a large block.
pub(super) const fn is_mostly_empty(len: usize, capacity: usize) -> bool {
    capacity > 4 * len
}

/// `None` for a block that was forgotten.
fn at_place(blocks: &VecDeque<Block>, place: Place) -> Option<&Write> {
    let first = blocks.front()?.at.as_u64();
    let block = usize::try_from(place.at.as_u64().checked_sub(first)?).ok()?;
    blocks.get(block)?.writes.get(place.index())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{Address, Nonce, StateValue};

    const KEY: StateKey = StateKey::Nonce(Address::new([1; 32]));
    const OTHER: StateKey = StateKey::Nonce(Address::new([2; 32]));
    const MISSING: StateKey = StateKey::Registered(Address::new([1; 32]));

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
            window.push(TopoHeight::new(at), versions);
        }
        window
    }

    #[track_caller]
    fn check(window: &Window, key: &StateKey, at: u64, expected: Option<u64>) {
        let expected = expected.map(|number| Stamped {
            written_at: Some(TopoHeight::new(number)),
            version: nonce(number),
        });
        let at = Some(TopoHeight::new(at));
        assert_eq!(window.read(key, at), expected);
        // Among others, which are found or not.
        let keys = [OTHER, *key, MISSING, *key].repeat(KEYS_AT_ONCE);
        let mut found = vec![None; keys.len()];
        window.read_each(&keys, at, |number, stamped| found[number] = Some(stamped));
        let expected = [window.read(&OTHER, at), expected.clone(), None, expected];
        assert!(found.chunks(expected.len()).all(|found| found == expected), "{found:?}");
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
        let left = [KEY, OTHER, MISSING].map(|key| blocks.last.of(&key).len());
        assert_eq!((blocks.blocks.len(), left), (0, [0; 3]));
    }

    #[test]
    fn a_block_that_is_written_again_replaces_what_was_there_before() {
        let window = window(10);
        window.drop_above(Some(TopoHeight::new(7)));
        let writes = window.push(TopoHeight::new(8), vec![(KEY, Version::Unknown)]);
        let replaced = writes[0].replaced();
        assert_eq!(replaced, Some(Place::new(TopoHeight::new(7), 0)));
        let read = window.read(&KEY, Some(TopoHeight::new(9))).unwrap();
        assert_eq!(read.version, Version::Unknown);
        check(&window, &KEY, 7, Some(7));
        check(&window, &OTHER, 9, Some(6));
    }

    /// Two keys that the table takes for one.
    fn alike(hasher: &UniformState) -> [StateKey; 2] {
        let mut seen = HashMap::new();
        // Among the first 2^17 there nearly always are two.
        for number in 0_u32.. {
            let mut account = [0; 32];
            account[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_le_bytes());
            account[4..8].copy_from_slice(&number.to_le_bytes());
            let key = StateKey::Nonce(Address::new(account));
            if let Some(other) = seen.insert(ShortHash::of(&key, hasher).0, key) {
                return [other, key];
            }
        }
        unreachable!("there are more keys than short hashes")
    }

    #[test]
    fn keys_that_a_table_takes_for_one_are_told_apart() {
        let window = Window::default();
        let [one, other] = alike(&window.hasher);
        window.push(TopoHeight::new(0), vec![(one, nonce(0))]);
        check(&window, &one, 0, Some(0));
        check(&window, &other, 0, None);
        window.push(TopoHeight::new(1), vec![(one, nonce(1)), (other, nonce(1))]);
        let writes = window.push(TopoHeight::new(2), vec![(other, nonce(2))]);
        assert_eq!(writes[0].replaced(), Some(Place::new(TopoHeight::new(1), 1)));
        check(&window, &one, 2, Some(1));
        check(&window, &other, 2, Some(2));
        window.drop_above(Some(TopoHeight::new(1)));
        check(&window, &one, 2, Some(1));
        check(&window, &other, 2, Some(1));
        window.drop_up_to(TopoHeight::new(0));
        window.drop_above(Some(TopoHeight::new(0)));
        check(&window, &one, 2, None);
        check(&window, &other, 2, None);
    }
}
