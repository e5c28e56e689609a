//! The ledger: what was found out about each block, in bytes that belong to the caller.
//!
//! It outlives the log: pruning leaves it alone, and so does a rollback, because a verdict on a block
//! that is not on the chain any more is still something that was found out.
//!
//! Entries are kept in **groups**, because to the database a small value costs as much as one of a few
//! kilobytes, and it remembers something of each for as long as it is open. The entries above all others
//! are gathered in memory until they fill a group, or until somebody flushes: a chain that is followed
//! block by block gets groups of one, and no group is written again because the next block came. Entries are
//! much alike, so a group that is compressed takes a third; whatever is written stays in the memory of the
//! database for some time.
//!
//! ```text
//! key    topoheight of the first entry:u64
//! value  bytes of the entries:u32 (little-endian) ‖ the entries as one LZ4 block
//! entry  topoheight:u64 ‖ bytes:u32 ‖ what the caller gave; in the order of topoheights
//! ```
//!
//! Groups do not overlap. An entry between two of them becomes one of its own.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, vec};

use parking_lot::Mutex;

use super::{
    disk::Disk,
    log::{key, parse_key},
    tree::{Tree, Writes},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName};

pub(super) struct Ledger {
    tree: Tree,
    latest: Mutex<Latest>,
}

/// The end of the ledger.
#[derive(Default)]
struct Latest {
    /// What the database does not have yet; above everything that it has.
    group: Group,
    /// There is no entry above, so one that comes there replaces none.
    last: Option<TopoHeight>,
}

impl Ledger {
    pub(super) fn open(disk: &Arc<Disk>) -> Result<Self, StoreError> {
        let this = Self { tree: disk.tree(TreeName::Ledger)?, latest: Mutex::default() };
        // Damage is the business of those who read; without knowing the last entry any may be there.
        let last = this.last().unwrap_or(Some(TopoHeight::MAX));
        this.latest.lock().last = last;
        Ok(this)
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Takes in entries, over those that may be there; some hundreds of kilobytes at a time, each time all or
    /// nothing and after everything that was taken in before.
    pub(super) fn put(&self, entries: &[(TopoHeight, &[u8])]) -> Result<(), StoreError> {
        self.tree.writable()?;
        // Held to the end: a group must not change between being read and being written.
        let mut latest = self.latest.lock();
        let bytes: usize = entries.iter().map(|(_, entry)| Group::bytes_of(entry)).sum();
        if latest.group.bytes + bytes > GROUP_BYTES {
            self.write(&mut latest.group, Changed::new())?;
        }
        let mut changed = Changed::new();
        for (topoheight, entry) in entries {
            let is_new = Some(*topoheight) > latest.last;
            if is_new || latest.group.first().is_some_and(|first| first <= *topoheight) {
                latest.group.put(*topoheight, entry);
                latest.last = latest.last.max(Some(*topoheight));
            } else {
                self.change(&mut changed, *topoheight, entry)?;
            }
            if latest.group.bytes > AT_ONCE_BYTES || changed.len() >= AT_ONCE_GROUPS {
                self.write(&mut latest.group, std::mem::take(&mut changed))?;
            }
        }
        if latest.group.bytes > GROUP_BYTES || !changed.is_empty() {
            self.write(&mut latest.group, changed)?;
        }
        Ok(())
    }

    fn change(
        &self,
        changed: &mut Changed,
        topoheight: TopoHeight,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let below = changed.range_mut(..=topoheight).next_back();
        if let Some((_, group)) = below.filter(|(_, group)| group.spans(topoheight)) {
            group.put(topoheight, entry);
            return Ok(());
        }
        let found = self.group_below(topoheight)?.filter(|group| group.spans(topoheight));
        let mut group = found.unwrap_or_default();
        group.put(topoheight, entry);
        // The entry is at or above the first one of a group that spans it.
        changed.insert(group.first().unwrap_or(topoheight), group);
        Ok(())
    }

    /// Gives to the database what is only in memory.
    pub(super) fn write_out(&self) -> Result<(), StoreError> {
        self.write(&mut self.latest.lock().group, Changed::new())
    }

    /// Writes the latest entries and groups that changed. What could not be written is kept, for those who read.
    fn write(&self, latest: &mut Group, changed: Changed) -> Result<(), StoreError> {
        if latest.entries.is_empty() && changed.is_empty() {
            return Ok(());
        }
        let mut writes = Writes::default();
        for (first, group) in changed {
            self.tree.stage(&mut writes, &key(first), &group.encode())?;
        }
        for group in latest.split() {
            if let Some(first) = group.first() {
                self.tree.stage_new(&mut writes, &key(first), &group.encode());
            }
        }
        self.tree.apply(writes)?;
        let written = std::mem::take(latest);
        match written.first() {
            Some(first) => self.tree.let_go(&key(first)),
            None => Ok(()),
        }
    }

    pub(super) fn read(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        // In this order, so that what is written out meanwhile is found in one of them.
        let latest = self.latest.lock().group.get(topoheight).map(<[u8]>::to_vec);
        if latest.is_some() {
            return Ok(latest);
        }
        let group = self.group_below(topoheight)?;
        Ok(group.and_then(|group| group.get(topoheight).map(<[u8]>::to_vec)))
    }

    pub(super) fn last(&self) -> Result<Option<TopoHeight>, StoreError> {
        if let Some(last) = self.latest.lock().group.last() {
            return Ok(Some(last));
        }
        match self.tree.last_key()? {
            Some(key) => Ok(self.group(&key)?.last()),
            None => Ok(None),
        }
    }

    pub(super) const fn range(&self, range: RangeInclusive<TopoHeight>) -> Range<'_> {
        Range { ledger: self, found: None, next: Some(*range.start()), last: *range.end() }
    }

    /// The last group in the database that begins at or below a topoheight.
    fn group_below(&self, topoheight: TopoHeight) -> Result<Option<Group>, StoreError> {
        let found = self.tree.last_key_up_to(&key(topoheight))?;
        found.map(|key| self.group(&key)).transpose()
    }

    /// The first entries at or above a topoheight, as many as are in one group; none where there are none.
    fn entries_from(&self, topoheight: TopoHeight) -> Result<Group, StoreError> {
        // What is written out meanwhile is found in the database as well.
        let latest = self.latest.lock().group.from(topoheight);
        if let Some(group) = self.group_below(topoheight)?
            && group.last() >= Some(topoheight)
        {
            return Ok(group.from(topoheight));
        }
        match self.tree.next_key(&key(topoheight))? {
            Some(key) => self.group(&key),
            None => Ok(latest),
        }
    }

    /// The group under a key that was found.
    fn group(&self, key: &[u8]) -> Result<Group, StoreError> {
        let content = self.tree.read(key)?;
        // No group is ever removed.
        let content = content.ok_or_else(|| self.tree.corrupt(key, Corruption::Parts))?;
        let group = Group::decode(&content).filter(|group| group.first() == parse_key(key));
        group.ok_or_else(|| self.tree.corrupt(key, Corruption::Form))
    }
}

/// Groups of the database with what they are to have, under their first topoheights.
type Changed = BTreeMap<TopoHeight, Group>;

impl Drop for Ledger {
    fn drop(&mut self) {
        // Who wants to be told of a failure flushes before; the database gets here no more than it can say.
        let _ = self.write_out();
    }
}

/// Neighbouring entries, in the order of topoheights.
#[derive(Clone, Default)]
struct Group {
    entries: Vec<(TopoHeight, Vec<u8>)>,
    /// Of the form that is kept.
    bytes: usize,
}

impl Group {
    const fn bytes_of(entry: &[u8]) -> usize {
        HEAD_BYTES + entry.len()
    }

    fn first(&self) -> Option<TopoHeight> {
        self.entries.first().map(|(first, _)| *first)
    }

    fn last(&self) -> Option<TopoHeight> {
        self.entries.last().map(|(last, _)| *last)
    }

    /// Whether an entry belongs in this group if it is in any.
    fn spans(&self, topoheight: TopoHeight) -> bool {
        self.first().is_some_and(|first| first <= topoheight) && self.last() >= Some(topoheight)
    }

    fn place(&self, topoheight: TopoHeight) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&topoheight, |(topoheight, _)| *topoheight)
    }

    fn get(&self, topoheight: TopoHeight) -> Option<&[u8]> {
        let place = self.place(topoheight).ok()?;
        self.entries.get(place).map(|(_, entry)| &entry[..])
    }

    fn put(&mut self, topoheight: TopoHeight, entry: &[u8]) {
        self.bytes += Self::bytes_of(entry);
        match self.place(topoheight) {
            Ok(place) => {
                let replaced = std::mem::replace(&mut self.entries[place].1, entry.to_vec());
                self.bytes -= Self::bytes_of(&replaced);
            }
            Err(place) => self.entries.insert(place, (topoheight, entry.to_vec())),
        }
    }

    /// The entries at or above a topoheight.
    fn from(&self, topoheight: TopoHeight) -> Self {
        let place = self.place(topoheight).unwrap_or_else(|place| place);
        let entries = self.entries[place..].to_vec();
        let bytes = entries.iter().map(|(_, entry)| Self::bytes_of(entry)).sum();
        Self { entries, bytes }
    }

    /// The same in groups of some kilobytes, as far as the entries allow that.
    fn split(&self) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for (topoheight, entry) in &self.entries {
            match groups.last_mut() {
                Some(last) if last.bytes + Self::bytes_of(entry) <= GROUP_BYTES => {
                    last.put(*topoheight, entry);
                }
                _ => {
                    let mut next = Self::default();
                    next.put(*topoheight, entry);
                    groups.push(next);
                }
            }
        }
        groups
    }

    fn encode(&self) -> Vec<u8> {
        lz4_flex::compress_prepend_size(&self.to_bytes())
    }

    fn decode(content: &[u8]) -> Option<Self> {
        Self::from_bytes(&lz4_flex::decompress_size_prepended(content).ok()?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        for (topoheight, entry) in &self.entries {
            bytes.extend_from_slice(&key(*topoheight));
            // An entry is far below four gigabytes.
            bytes.extend_from_slice(&(entry.len() as u32).to_be_bytes());
            bytes.extend_from_slice(entry);
        }
        bytes
    }

    fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut group = Self::default();
        while let Some((topoheight, rest)) = bytes.split_first_chunk() {
            let topoheight = TopoHeight::new(u64::from_be_bytes(*topoheight));
            let (length, rest) = rest.split_first_chunk()?;
            let (entry, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            if group.last() >= Some(topoheight) {
                return None;
            }
            group.put(topoheight, entry);
            bytes = rest;
        }
        bytes.is_empty().then_some(group)
    }
}

/// What an entry takes besides its bytes.
const HEAD_BYTES: usize = 12;

/// How many bytes of entries make a group; one that has more is in a group of its own.
const GROUP_BYTES: usize = 8 * 1024;

/// How many bytes may wait in memory while entries are taken in.
const AT_ONCE_BYTES: usize = 128 * 1024;

/// How many groups may wait there to be replaced.
const AT_ONCE_GROUPS: usize = 32;

/// The entries of a range in order. Ends after the first error.
pub(super) struct Range<'a> {
    ledger: &'a Ledger,
    /// What was found and not given yet.
    found: Option<vec::IntoIter<(TopoHeight, Vec<u8>)>>,
    next: Option<TopoHeight>,
    last: TopoHeight,
}

impl Range<'_> {
    fn step(&mut self) -> Result<Option<(TopoHeight, Vec<u8>)>, StoreError> {
        loop {
            if let Some(entry) = self.found.as_mut().and_then(Iterator::next) {
                return Ok(Some(entry).filter(|(topoheight, _)| *topoheight <= self.last));
            }
            let next = self.next.take().filter(|next| *next <= self.last);
            let Some(next) = next else { return Ok(None) };
            let group = self.ledger.entries_from(next)?;
            let Some(last) = group.last() else { return Ok(None) };
            self.next = (last < self.last).then(|| last.next());
            self.found = Some(group.entries.into_iter());
        }
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(TopoHeight, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;
    use crate::{Store, StoreOptions};

    fn at(topoheight: u64) -> TopoHeight {
        TopoHeight::new(topoheight)
    }

    fn group(entries: &[(u64, &[u8])]) -> Group {
        let mut group = Group::default();
        for (topoheight, entry) in entries {
            group.put(at(*topoheight), entry);
        }
        group
    }

    #[test]
    fn a_group_that_is_cut_or_longer_than_it_says_is_none() {
        let whole = group(&[(3, b"three"), (5, b""), (6, b"six")]).to_bytes();
        let ends = [0, 17, 29, whole.len()];
        for end in 0..=whole.len() {
            let decoded = Group::from_bytes(&whole[..end]);
            assert_eq!(decoded.is_some(), ends.contains(&end), "cut at {end}");
        }
        assert!(Group::from_bytes(&[&whole[..], &[0]].concat()).is_none());
    }

    #[test]
    fn what_is_not_compressed_is_no_group() {
        let group = group(&[(3, &[1; 100])]);
        assert!(Group::decode(&group.encode()).is_some());
        for content in [&[][..], &group.to_bytes(), &group.encode()[..20], &[1, 0, 0, 0]] {
            assert!(Group::decode(content).is_none(), "{content:?}");
        }
    }

    #[test]
    fn a_group_out_of_order_is_none() {
        for (one, other) in [(5, 4), (5, 5)] {
            let bytes = [group(&[(one, b"a")]).to_bytes(), group(&[(other, b"b")]).to_bytes()];
            assert!(Group::from_bytes(&bytes.concat()).is_none(), "{one}, {other}");
        }
    }

    #[test]
    fn an_entry_between_two_groups_is_one_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in [10, 12, 20, 22] {
            store.put_ledger(at(topoheight), b"first").unwrap();
            if topoheight == 12 {
                store.flush().unwrap();
            }
        }
        // Before all, within the first, between both, within the second, which is in memory.
        for topoheight in [5, 11, 15, 16, 21] {
            store.put_ledger(at(topoheight), b"later").unwrap();
        }
        let check = |store: &Store| {
            let found: Vec<_> = store
                .ledger_range(at(0)..=TopoHeight::MAX)
                .map(|entry| entry.unwrap().0.as_u64())
                .collect();
            assert_eq!(found, [5, 10, 11, 12, 15, 16, 20, 21, 22]);
            for topoheight in 0..30 {
                let entry = store.ledger(at(topoheight)).unwrap();
                assert_eq!(entry.is_some(), found.contains(&topoheight), "{topoheight}");
            }
            let last: Vec<_> =
                store.ledger_range(at(11)..=at(15)).map(|entry| entry.unwrap().0).collect();
            assert_eq!(last, [at(11), at(12), at(15)]);
            assert_eq!(store.last_ledger().unwrap(), Some(at(22)));
        };
        check(&store);
        drop(store);
        check(&Store::open(directory.path(), StoreOptions::default()).unwrap());
    }

    #[test]
    fn what_came_before_an_entry_that_replaces_another_is_written_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        store.put_ledger(at(1), b"first").unwrap();
        store.flush().unwrap();
        store.put_ledger(at(2), b"later").unwrap();
        let is_written = || store.inner.ledger.tree.read(&key(at(2))).unwrap().is_some();
        assert!(!is_written(), "it waits for others");
        store.put_ledger(at(1), b"another").unwrap();
        assert!(is_written());
    }

    proptest! {
        #[test]
        fn a_group_is_read_as_it_was_written(
            entries in btree_map(any::<u64>(), any::<Vec<u8>>(), 0..9),
            replaced in any::<prop::sample::Index>(),
        ) {
            let mut group = Group::default();
            for (topoheight, entry) in entries.iter().rev() {
                group.put(at(*topoheight), entry);
            }
            if !entries.is_empty() {
                let (topoheight, entry) = entries.iter().nth(replaced.index(entries.len())).unwrap();
                group.put(at(*topoheight), b"another");
                group.put(at(*topoheight), entry);
            }
            prop_assert_eq!(group.to_bytes().len(), group.bytes);
            let read = Group::decode(&group.encode()).expect("it is a group");
            let expected: Vec<_> =
                entries.into_iter().map(|(topoheight, entry)| (at(topoheight), entry)).collect();
            prop_assert_eq!(read.entries, expected);
        }
    }
}
