//! The ledger: what was found out about each block, in bytes that belong to the caller.
//!
//! It outlives the log: pruning leaves it alone, and so does a rollback, because a verdict on a block
//! that is not on the chain any more is still something that was found out.
//!
//! Entries are kept in **groups**, which are appended to a file; the database has the **index**, which says where
//! each group is. The entries above all others are gathered in memory until they fill a group, or until somebody
//! flushes: a chain that is followed block by block gets groups of one, and no group is written again because
//! the next block came. Entries are much alike, so a group that is compressed takes a third. A group that
//! changes is appended again, and the former one stays where nobody finds it.
//!
//! ```text
//! group  bytes of the entries:u32 (little-endian) ‖ the entries as one LZ4 block
//! entry  topoheight:u64 ‖ bytes:u32 ‖ what the caller gave; in the order of topoheights
//! index  topoheight of the first entry:u64 -> offset in the file:u48 ‖ bytes of the group:u32
//! mark   "ledger_indexed" -> offset in the file below which the index has every group:u64
//! ```
//!
//! Groups do not overlap. An entry between two of them becomes one of its own.
//!
//! The groups are not in the database, because of what it is given it keeps a good part in memory for as long as
//! it is open. It learns of them many at a time, and only once they are on the disk, so it never names what a
//! loss of power took. Those that it was not told of, or has lost with the end of its own file, are behind the
//! mark, and found in the file of the groups when that is opened.

use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    disk::Disk,
    group::Group,
    health::Health,
    ledger_file::{Ends, HEADER_BYTES, LedgerFile, Place, Written},
    log::{key, parse_key},
    tree::{Tree, Writes},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName};

pub(super) struct Ledger {
    index: Tree,
    /// Where the mark is.
    meta: Tree,
    file: LedgerFile,
    health: Arc<Health>,
    /// Held by whoever brings it to the disk, but not by who adds entries: they do not wait for that.
    syncing: Mutex<()>,
    latest: Mutex<Latest>,
}

/// The end of the ledger.
struct Latest {
    /// What is not in the file yet; above everything that is.
    group: Group,
    /// What is in the file and not in the index; it stands for what the index has under the same topoheight.
    unindexed: BTreeMap<TopoHeight, Place>,
    ends: Ends,
    /// There is no entry above, so one that comes there replaces none.
    last: Option<TopoHeight>,
}

impl Ledger {
    pub(super) fn open(
        directory: &Path,
        disk: &Arc<Disk>,
        health: Arc<Health>,
    ) -> Result<Self, StoreError> {
        let (index, meta) = (disk.tree(TreeName::Ledger)?, disk.tree(TreeName::Meta)?);
        let mark = match meta.read(MARK_KEY)? {
            Some(mark) => mark.try_into().map(u64::from_be_bytes).ok(),
            None => Some(HEADER_BYTES),
        };
        let mark = mark.ok_or_else(|| meta.corrupt(MARK_KEY, Corruption::Form))?;
        let (file, ends, unindexed) = LedgerFile::open(directory, mark)?;
        let unindexed = unindexed.into_iter().collect();
        let latest = Latest { group: Group::default(), unindexed, ends, last: None };
        let (syncing, latest) = (Mutex::default(), Mutex::new(latest));
        let this = Self { index, meta, file, health, syncing, latest };
        // Damage is the business of those who read; without knowing the last entry any may be there.
        let last = this.last().unwrap_or(Some(TopoHeight::MAX));
        this.latest.lock().last = last;
        Ok(this)
    }

    /// Takes in entries, over those that may be there; some hundreds of kilobytes at a time, each time all or
    /// nothing and after everything that was taken in before.
    pub(super) fn put(&self, entries: &[(TopoHeight, &[u8])]) -> Result<(), StoreError> {
        self.health.writable()?;
        // Held to the end: a group must not change between being read and being written.
        let mut latest = self.latest.lock();
        let bytes: usize = entries.iter().map(|(_, entry)| Group::bytes_of(entry)).sum();
        if latest.group.bytes() + bytes > GROUP_BYTES {
            self.write(&mut latest, Changed::new())?;
        }
        let mut changed = Changed::new();
        for (topoheight, entry) in entries {
            let is_new = Some(*topoheight) > latest.last;
            if is_new || latest.group.first().is_some_and(|first| first <= *topoheight) {
                latest.group.put(*topoheight, entry);
                latest.last = latest.last.max(Some(*topoheight));
            } else {
                self.change(&latest, &mut changed, *topoheight, entry)?;
            }
            if latest.group.bytes() > AT_ONCE_BYTES || changed.len() >= AT_ONCE_GROUPS {
                self.write(&mut latest, std::mem::take(&mut changed))?;
            }
        }
        if latest.group.bytes() > GROUP_BYTES || !changed.is_empty() {
            self.write(&mut latest, changed)?;
        }
        Ok(())
    }

    fn change(
        &self,
        latest: &Latest,
        changed: &mut Changed,
        topoheight: TopoHeight,
        entry: &[u8],
    ) -> Result<(), StoreError> {
        let below = changed.range_mut(..=topoheight).next_back();
        if let Some((_, group)) = below.filter(|(_, group)| group.spans(topoheight)) {
            group.put(topoheight, entry);
            return Ok(());
        }
        let below = self.below(latest.below(topoheight), topoheight)?;
        let found = below.filter(|group| group.spans(topoheight));
        let mut group = found.unwrap_or_default();
        group.put(topoheight, entry);
        // The entry is at or above the first one of a group that spans it.
        changed.insert(group.first().unwrap_or(topoheight), group);
        Ok(())
    }

    /// Gives to the operating system what is only in memory.
    pub(super) fn write_out(&self) -> Result<(), StoreError> {
        self.write(&mut self.latest.lock(), Changed::new())
    }

    /// Writes the latest entries and groups that changed. What could not be written is kept, for those who read.
    fn write(&self, latest: &mut Latest, changed: Changed) -> Result<(), StoreError> {
        if latest.group.is_empty() && changed.is_empty() {
            return Ok(());
        }
        self.health.writable()?;
        let changed = changed.into_iter().map(|(first, group)| (first, group.encode()));
        let groups: Vec<_> = changed.chain(latest.group.encode_in_pieces(GROUP_BYTES)).collect();
        let written = self.file.append(&mut latest.ends, &groups);
        latest.unindexed.extend(written.map_err(|error| self.health.failed(error))?);
        latest.group.clear();
        Ok(())
    }

    /// Brings everything to the disk that was put in before.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.health.writable()?;
        let _syncing = self.syncing.lock();
        self.sync_held()?;
        if self.latest.lock().unindexed.len() >= INDEXED_AT_ONCE { self.index() } else { Ok(()) }
    }

    fn sync_held(&self) -> Result<(), StoreError> {
        let written = {
            let mut latest = self.latest.lock();
            self.write(&mut latest, Changed::new())?;
            if latest.ends.written == latest.ends.synced {
                return Ok(());
            }
            latest.ends.written
        };
        let synced = self.file.sync().and_then(|()| {
            let mut latest = self.latest.lock();
            latest.ends.synced = written;
            self.file.write_header(latest.ends)
        });
        synced.map_err(|error| self.health.failed(error))
    }

    /// Tells the database of everything that is on the disk.
    fn index(&self) -> Result<(), StoreError> {
        let (synced, unindexed) = {
            let latest = self.latest.lock();
            let synced = latest.ends.synced;
            let found = latest.unindexed.iter().filter(|(_, place)| place.offset < synced);
            let found: Vec<Written> = found.map(|(first, place)| (*first, *place)).collect();
            (synced, found)
        };
        let (mut places, mut mark) = (Writes::default(), Writes::default());
        for (first, place) in &unindexed {
            self.index.stage_new(&mut places, &key(*first), &encode_place(*place));
        }
        self.meta.stage_new(&mut mark, MARK_KEY, &synced.to_be_bytes());
        self.index.apply(places)?;
        // It keeps the order, so whatever it forgets, the mark is forgotten first.
        self.meta.apply(mark)?;
        // Those that were written meanwhile, for one of these or for others, are behind.
        self.latest.lock().unindexed.retain(|_, place| place.offset >= synced);
        Ok(())
    }

    pub(super) fn read(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        // What is written meanwhile goes from the group to the file, and from there to the index: in this order
        // it is found in one of them.
        let below = {
            let latest = self.latest.lock();
            if let Some(entry) = latest.group.get(topoheight) {
                return Ok(Some(entry.to_vec()));
            }
            latest.below(topoheight)
        };
        let group = self.below(below, topoheight)?;
        Ok(group.and_then(|group| group.get(topoheight).map(<[u8]>::to_vec)))
    }

    pub(super) fn last(&self) -> Result<Option<TopoHeight>, StoreError> {
        let unindexed = {
            let latest = self.latest.lock();
            if let Some(last) = latest.group.last() {
                return Ok(Some(last));
            }
            latest.below(TopoHeight::MAX)
        };
        Ok(self.below(unindexed, TopoHeight::MAX)?.and_then(|group| group.last()))
    }

    pub(super) fn range(&self, range: RangeInclusive<TopoHeight>) -> Range<'_> {
        Range {
            ledger: self,
            found: (Group::default(), 0),
            next: Some(*range.start()),
            last: *range.end(),
        }
    }

    /// The last group that begins at or below a topoheight, if that is this one of those that are not in the
    /// index, or one in the index.
    fn below(
        &self,
        unindexed: Option<Written>,
        topoheight: TopoHeight,
    ) -> Result<Option<Group>, StoreError> {
        let indexed = self.index.last_key_up_to(&key(topoheight))?;
        let indexed = indexed.map(|key| self.first(&key)).transpose()?;
        match (unindexed, indexed) {
            (Some(written), indexed) if indexed <= Some(written.0) => self.group(written).map(Some),
            (_, Some(first)) => self.indexed(first).map(Some),
            (_, None) => Ok(None),
        }
    }

    /// The first entries at or above a topoheight, as many as are in one group; none where there are none.
    fn entries_from(&self, topoheight: TopoHeight) -> Result<Group, StoreError> {
        let (latest, below, above) = {
            let latest = self.latest.lock();
            (latest.group.from(topoheight), latest.below(topoheight), latest.above(topoheight))
        };
        if let Some(group) = self.below(below, topoheight)?
            && group.last() >= Some(topoheight)
        {
            return Ok(group.from(topoheight));
        }
        let indexed = self.index.next_key(&key(topoheight))?;
        let indexed = indexed.map(|key| self.first(&key)).transpose()?;
        match (above, indexed) {
            (Some(written), indexed) if indexed.is_none_or(|first| written.0 <= first) => {
                self.group(written)
            }
            (_, Some(first)) => self.indexed(first),
            (_, None) => Ok(latest),
        }
    }

    /// The topoheight that a key of the index is.
    fn first(&self, key: &[u8]) -> Result<TopoHeight, StoreError> {
        parse_key(key).ok_or_else(|| self.index.corrupt(key, Corruption::Form))
    }

    /// The group under a topoheight that was found in the index.
    fn indexed(&self, first: TopoHeight) -> Result<Group, StoreError> {
        let place = self.index.read(&key(first))?;
        // Nothing is ever removed from the index.
        let place = place.ok_or_else(|| self.index.corrupt(&key(first), Corruption::Parts))?;
        let place = decode_place(&place);
        let place = place.ok_or_else(|| self.index.corrupt(&key(first), Corruption::Form))?;
        self.group((first, place))
    }

    fn group(&self, written: Written) -> Result<Group, StoreError> {
        let group = Group::decode(&self.file.read(written)?);
        let group = group.filter(|group| group.first() == Some(written.0));
        group.ok_or_else(|| self.index.corrupt(&key(written.0), Corruption::Form))
    }
}

impl Latest {
    /// The last group that is not in the index and begins at or below a topoheight.
    fn below(&self, topoheight: TopoHeight) -> Option<Written> {
        let below = self.unindexed.range(..=topoheight).next_back();
        below.map(|(first, place)| (*first, *place))
    }

    /// The first one that begins above it.
    fn above(&self, topoheight: TopoHeight) -> Option<Written> {
        let above = (Bound::Excluded(topoheight), Bound::Unbounded);
        self.unindexed.range(above).next().map(|(first, place)| (*first, *place))
    }
}

fn encode_place(place: Place) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    // No file has 2^48 bytes.
    bytes[..6].copy_from_slice(&place.offset.to_be_bytes()[2..]);
    bytes[6..].copy_from_slice(&place.bytes.to_be_bytes());
    bytes
}

fn decode_place(bytes: &[u8]) -> Option<Place> {
    let (offset, rest) = bytes.split_first_chunk::<6>()?;
    let mut wide = [0; 8];
    wide[2..].copy_from_slice(offset);
    let bytes = u32::from_be_bytes(rest.try_into().ok()?);
    Some(Place { offset: u64::from_be_bytes(wide), bytes })
}

/// With what else a value has in the database it is as long as can be without memory of its own there.
const PLACE_BYTES: usize = 10;

const MARK_KEY: &[u8] = b"ledger_indexed";

/// Groups of the file with what they are to have, under their first topoheights.
type Changed = BTreeMap<TopoHeight, Group>;

impl Drop for Ledger {
    fn drop(&mut self) {
        // Who wants to be told of a failure flushes before.
        let _closed = self.sync().and_then(|()| {
            let is_indexed = self.latest.lock().unindexed.is_empty();
            if is_indexed { Ok(()) } else { self.index() }
        });
    }
}

/// How many bytes of entries make a group; one that has more is in a group of its own.
const GROUP_BYTES: usize = 8 * 1024;

/// How many bytes may wait in memory while entries are taken in.
const AT_ONCE_BYTES: usize = 128 * 1024;

/// How many groups may wait there to be replaced.
const AT_ONCE_GROUPS: usize = 32;

/// How many groups the database learns of at once. What it was not told is read when the ledger is opened, and
/// what it makes of a write meanwhile stays in memory until the write is done, between pages that stay for long.
const INDEXED_AT_ONCE: usize = if cfg!(test) { 3 } else { 64 };

/// The entries of a range in order. Ends after the first error.
pub(super) struct Range<'a> {
    ledger: &'a Ledger,
    /// What was found, and how much of it was given.
    found: (Group, usize),
    next: Option<TopoHeight>,
    last: TopoHeight,
}

impl Range<'_> {
    fn step(&mut self) -> Result<Option<(TopoHeight, Vec<u8>)>, StoreError> {
        loop {
            let (group, given) = &mut self.found;
            if let Some((topoheight, entry)) = group.entry(*given) {
                *given += 1;
                return Ok((topoheight <= self.last).then(|| (topoheight, entry.to_vec())));
            }
            let next = self.next.take().filter(|next| *next <= self.last);
            let Some(next) = next else { return Ok(None) };
            let group = self.ledger.entries_from(next)?;
            let Some(last) = group.last() else { return Ok(None) };
            self.next = (last < self.last).then(|| last.next());
            self.found = (group, 0);
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
    use proptest::prelude::*;

    use super::*;
    use crate::{Store, StoreOptions};

    fn at(topoheight: u64) -> TopoHeight {
        TopoHeight::new(topoheight)
    }

    #[test]
    fn who_reads_finds_every_entry_while_it_comes_into_the_index() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let written = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for topoheight in 0..400 {
                    store.put_ledger(at(topoheight), &topoheight.to_be_bytes()).unwrap();
                    written.store(topoheight + 1, std::sync::atomic::Ordering::Release);
                    if topoheight % 2 == 0 {
                        // One that is in the index already.
                        store.put_ledger(at(topoheight / 4 * 2), b"later").unwrap();
                        store.flush().unwrap();
                    }
                }
            });
            let mut below = 0;
            while below < 400 {
                below = written.load(std::sync::atomic::Ordering::Acquire);
                for topoheight in 0..below {
                    assert!(store.ledger(at(topoheight)).unwrap().is_some(), "{topoheight}");
                }
                let found = store.ledger_range(at(0)..=TopoHeight::MAX).map(Result::unwrap);
                let found: Vec<_> = found.map(|(topoheight, _)| topoheight.as_u64()).collect();
                assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
                assert!(found.len() as u64 >= below);
            }
        });
    }

    #[test]
    fn the_database_learns_of_groups_once_they_are_on_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let ledger = &store.inner.ledger;
        let (_, changes) = crate::store::witness::watch(|| {
            for topoheight in 0..INDEXED_AT_ONCE as u64 {
                assert!(ledger.index.is_empty().unwrap());
                store.put_ledger(at(topoheight), b"fine").unwrap();
                store.flush().unwrap();
            }
        });
        assert!(ledger.latest.lock().unindexed.is_empty());
        assert!(!ledger.index.is_empty().unwrap());
        use crate::store::witness::Change;
        let of_index = |change: &Change| *change == Change::DatabaseWrote(TreeName::Ledger);
        let at_index = changes.iter().position(of_index).unwrap();
        let wrote =
            |change: &Change| matches!(change, Change::Wrote { offset: HEADER_BYTES.., .. });
        let synced = |change: &Change| matches!(change, Change::Synced(_));
        let last = |is: &dyn Fn(&Change) -> bool| changes[..at_index].iter().rposition(is).unwrap();
        assert!(last(&wrote) < last(&synced));
        assert_eq!(changes[at_index + 1], Change::DatabaseWrote(TreeName::Meta));
    }

    #[test]
    fn what_is_written_while_the_ledger_is_synced_waits_for_the_next_sync() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        for topoheight in 1..INDEXED_AT_ONCE as u64 {
            store.put_ledger(at(topoheight), b"fine").unwrap();
            store.flush().unwrap();
        }
        store.put_ledger(at(10), b"fine").unwrap();
        let later = store.clone();
        let meanwhile = move || {
            later.put_ledger(at(20), b"later").unwrap();
            later.inner.ledger.write_out().unwrap();
        };
        let (done, _) = crate::store::witness::watch_meanwhile(meanwhile, || store.flush());
        done.unwrap();
        let ledger = &store.inner.ledger;
        {
            let latest = ledger.latest.lock();
            let place = latest.unindexed.get(&at(20)).expect("it is not in the index");
            assert_eq!(latest.unindexed.len(), 1);
            assert_eq!(latest.ends.synced, place.offset);
        }
        assert!(ledger.index.read(&key(at(10))).unwrap().is_some());
        assert!(ledger.index.read(&key(at(20))).unwrap().is_none());
        assert_eq!(store.ledger(at(20)).unwrap().unwrap(), b"later");
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
        let is_written = || store.inner.ledger.latest.lock().unindexed.contains_key(&at(2));
        assert!(!is_written(), "it waits for others");
        store.put_ledger(at(1), b"another").unwrap();
        assert!(is_written());
    }

    /// What somebody does to a ledger.
    #[derive(Clone, Debug)]
    enum Op {
        /// Puts in so many entries, from a topoheight on, of so many bytes.
        Put(u64, u64, usize),
        Flush,
        Reopen,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            6 => (0..60_u64, 1..12_u64, prop_oneof![0..40_usize, 3_000..9_000_usize])
                .prop_map(|(from, count, bytes)| Op::Put(from, count, bytes)),
            3 => Just(Op::Flush),
            1 => Just(Op::Reopen),
        ];
        proptest::collection::vec(op, 1..40)
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_put_in_last_wherever_it_is(ops in ops()) {
            let directory = tempfile::tempdir().unwrap();
            let open = || Store::open(directory.path(), StoreOptions::default()).unwrap();
            let (mut store, mut model) = (Some(open()), std::collections::BTreeMap::new());
            for (number, op) in ops.iter().enumerate() {
                let open_now = store.get_or_insert_with(open);
                match op {
                    Op::Put(from, count, bytes) => {
                        let entry = number.to_be_bytes().repeat(1 + bytes / 8);
                        let entries: Vec<_> =
                            (*from..from + count).map(|number| (at(number), entry.clone())).collect();
                        open_now.put_ledgers(&entries).unwrap();
                        model.extend(entries);
                    }
                    Op::Flush => open_now.flush().unwrap(),
                    Op::Reopen => store = None,
                }
                let store = store.get_or_insert_with(open);
                let found: Result<Vec<_>, _> = store.ledger_range(at(0)..=TopoHeight::MAX).collect();
                prop_assert!(found.unwrap().into_iter().eq(model.clone()), "after {number}");
                for topoheight in [0, 7, 30, 71].map(at) {
                    prop_assert_eq!(store.ledger(topoheight).unwrap(), model.get(&topoheight).cloned());
                }
                prop_assert_eq!(store.last_ledger().unwrap(), model.keys().last().copied());
            }
        }

    }
}
