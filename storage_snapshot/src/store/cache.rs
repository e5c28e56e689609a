//! The records of accounts in memory: those that were used last, as many as have room.
//!
//! In two generations. What is used is in the young one; when that has half of the room, it becomes the old
//! one, and what is in the old one then was not used for long and is forgotten. So what was just read is there
//! when it is written a moment later, whatever else is read in between.
//!
//! A generation is one piece of memory with one record after the other, and a table that says where each is. So
//! what comes and goes leaves no holes between what stays, and the memory that is taken is the room that was given.
//! It is taken when the cache is made: what a process will need is seen when it starts, and not when so many
//! accounts were there.

use std::{hash::BuildHasher, mem, ops::Range};

use hashbrown::{HashTable, hash_table::Entry};
use parking_lot::RwLock;

use super::record::Record;
use crate::{Address, UniformState};

pub(super) struct RecordCache {
    hasher: UniformState,
    shards: [RwLock<Shard>; SHARDS],
    /// The room of one generation of a shard.
    generation_bytes: usize,
}

struct Shard {
    young: Generation,
    old: Generation,
}

/// Records, each behind its account and its length. One that was replaced by another of another length is still
/// there, and not found.
struct Generation {
    entries: Vec<u8>,
    /// Where in `entries` the one of an account is.
    places: HashTable<u32>,
}

impl RecordCache {
    /// One that takes so much memory at most, but for records that are larger than their part of it.
    pub(super) fn of_bytes(bytes: u64) -> Self {
        let generation_bytes = bytes / (2 * SHARDS as u64);
        let generation_bytes = generation_bytes.min(GENERATION_BYTES_MAX) as usize;
        let shard = || {
            let [young, old] = [(); 2].map(|()| Generation::of_bytes(generation_bytes));
            RwLock::new(Shard { young, old })
        };
        let shards = std::array::from_fn(|_| shard());
        Self { hasher: UniformState::default(), shards, generation_bytes }
    }

    /// Looks at the record of an account, if it is there. Nobody else who wants to change something of its part
    /// of the cache can do so meanwhile.
    pub(super) fn look<T>(
        &self,
        account: &Address,
        look: &mut impl FnMut(Record<'_>) -> T,
    ) -> Option<T> {
        let hash = self.hasher.hash_one(account);
        let shard = &self.shards[shard(hash)];
        if let Some(record) = shard.read().young.get(hash, account) {
            return Some(look(record));
        }
        let mut shard = shard.write();
        // Somebody else may have brought it over meanwhile.
        if shard.young.get(hash, account).is_none() {
            // Making room for it may take the old ones away.
            let record = shard.old.get(hash, account)?.bytes().to_vec();
            self.put(&mut shard, hash, account, Record::kept(&record));
        }
        shard.young.get(hash, account).map(look)
    }

    /// Looks at the records of many accounts, each told by its number and in any order. One that is not told may
    /// be there all the same: those that were not used for some time are left to [`look`](Self::look).
    ///
    /// A lock makes the processor wait for all that came before it. So every shard is locked once, and all of its
    /// accounts are found before the first record is looked at: then the processor waits for many of them at once.
    pub(super) fn look_at_each(
        &self,
        accounts: &[&Address],
        mut told: impl FnMut(usize, Record<'_>),
    ) {
        let hashes: Vec<u64> =
            accounts.iter().map(|account| self.hasher.hash_one(account)).collect();
        for (number, this) in self.shards.iter().enumerate() {
            if !hashes.iter().any(|hash| shard(*hash) == number) {
                continue;
            }
            let this = this.read();
            let mut found = Vec::with_capacity(accounts.len());
            for (index, (account, hash)) in accounts.iter().zip(&hashes).enumerate() {
                if shard(*hash) == number
                    && let Some(record) = this.young.get(*hash, account)
                {
                    found.push((index, record));
                }
            }
            found.into_iter().for_each(|(index, record)| told(index, record));
        }
    }

    /// Puts a record in, in place of the one that may be there.
    pub(super) fn insert(&self, account: &Address, record: Record<'_>) {
        let hash = self.hasher.hash_one(account);
        // An older one that may be among the old is not found while this one is among the young, and is forgotten
        // before this one is old.
        self.put(&mut self.shards[shard(hash)].write(), hash, account, record);
    }

    fn put(&self, shard: &mut Shard, hash: u64, account: &Address, record: Record<'_>) {
        if shard.young.replace(hash, account, record) {
            return;
        }
        let bytes = HEAD_BYTES + record.bytes().len();
        if shard.young.bytes() + bytes > self.generation_bytes && !shard.young.entries.is_empty() {
            mem::swap(&mut shard.young, &mut shard.old);
            shard.young.entries.clear();
            shard.young.places.clear();
        }
        shard.young.push(hash, account, record, &self.hasher);
    }
}

/// The table takes other bits.
const fn shard(hash: u64) -> usize {
    (hash >> 32) as usize % SHARDS
}

impl Generation {
    fn of_bytes(bytes: usize) -> Self {
        // Filled, or the system would give the memory only when it is used.
        let mut entries = Vec::with_capacity(bytes);
        entries.resize(bytes, u8::MAX);
        entries.clear();
        Self { entries, places: HashTable::new() }
    }

    fn get(&self, hash: u64, account: &Address) -> Option<Record<'_>> {
        let place = self.places.find(hash, |place| self.account(*place) == account.as_bytes())?;
        let record = self.range(*place);
        Some(Record::kept(&self.entries[record]))
    }

    /// Puts a record in the place of one of the same length, if there is one. Tells whether there was.
    fn replace(&mut self, hash: u64, account: &Address, record: Record<'_>) -> bool {
        let place = self.places.find(hash, |place| self.account(*place) == account.as_bytes());
        let Some(range) = place.map(|place| self.range(*place)) else { return false };
        let is_as_long = range.len() == record.bytes().len();
        if is_as_long {
            self.entries[range].copy_from_slice(record.bytes());
        }
        is_as_long
    }

    fn push(&mut self, hash: u64, account: &Address, record: Record<'_>, hasher: &UniformState) {
        let place = self.entries.len() as u32;
        self.entries.extend_from_slice(account.as_bytes());
        self.entries.extend_from_slice(&(record.bytes().len() as u32).to_ne_bytes());
        self.entries.extend_from_slice(record.bytes());
        let entries = &self.entries;
        let is_it = |other: &u32| account_at(entries, *other) == account.as_bytes();
        let hash_of = |other: &u32| hasher.hash_one(Address::new(*account_at(entries, *other)));
        match self.places.entry(hash, is_it, hash_of) {
            Entry::Occupied(mut before) => *before.get_mut() = place,
            Entry::Vacant(new) => {
                new.insert(place);
            }
        }
    }

    fn account(&self, place: u32) -> &[u8; 32] {
        account_at(&self.entries, place)
    }

    /// Where the record of a place is.
    fn range(&self, place: u32) -> Range<usize> {
        let begin = place as usize + HEAD_BYTES;
        let length = self.entries[begin - 4..].first_chunk().copied().unwrap_or_default();
        begin..begin + u32::from_ne_bytes(length) as usize
    }

    /// What it takes, with the table two thirds full.
    fn bytes(&self) -> usize {
        self.entries.len() + PLACE_BYTES * self.places.len()
    }
}

/// The account of an entry. Every place is one where an entry was put.
fn account_at(entries: &[u8], place: u32) -> &[u8; 32] {
    entries[place as usize..].first_chunk().unwrap_or(&[0; 32])
}

/// An account, and the length of its record.
const HEAD_BYTES: usize = 36;

/// A place in the table, which is full by two thirds, with what the table has of it besides.
const PLACE_BYTES: usize = 8;

/// A place is told in four bytes.
const GENERATION_BYTES_MAX: u64 = 1 << 30;

/// Readers of different accounts seldom wait for each other, and little is forgotten at once.
const SHARDS: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        TopoHeight,
        encoding::Slot,
        store::record::OwnRecord,
        version::{Stamped, Version},
    };

    fn account(number: u64) -> Address {
        Address::new(*blake3::hash(&number.to_be_bytes()).as_bytes())
    }

    fn record(slots: usize, mark: u64) -> OwnRecord {
        let written_at = Some(TopoHeight::new(mark));
        let slot = (Slot::Nonce, Stamped { written_at, version: Version::Unknown });
        OwnRecord::of(&vec![slot; slots])
    }

    fn get(cache: &RecordCache, number: u64) -> Option<Vec<u8>> {
        cache.look(&account(number), &mut |record| record.bytes().to_vec())
    }

    fn insert(cache: &RecordCache, number: u64, record: &OwnRecord) {
        cache.insert(&account(number), record.get());
    }

    #[test]
    fn what_was_just_put_in_is_there() {
        let cache = RecordCache::of_bytes(0);
        let others = RecordCache::of_bytes(1 << 20);
        for number in 0..200 {
            insert(&others, number, &record(1, 0));
            insert(&cache, number, &record(1, 0));
            assert!(get(&cache, number).is_some());
        }
        assert!((0..200).all(|number| get(&others, number).is_some()));
    }

    #[test]
    fn what_is_used_stays_while_others_come_and_go_in_the_same_memory() {
        const ROOM: usize = 100_000;
        let cache = RecordCache::of_bytes(ROOM as u64);
        let mut held_most = 0;
        insert(&cache, 0, &record(1, 7));
        for round in 1..9_000_u64 {
            insert(&cache, round % 3_000, &record(1 + round as usize % 4, 1));
            if round % 3_000 == 0 {
                insert(&cache, 0, &record(1, 7));
            }
            assert_eq!(get(&cache, 0).unwrap(), record(1, 7).get().bytes());
            let of = |generation: &Generation| {
                let table = generation.places.capacity() * size_of::<u32>();
                (generation.entries.capacity() + table, generation.bytes())
            };
            let shards = cache.shards.iter().map(|shard| {
                let shard = shard.read();
                let (young, old) = (of(&shard.young), of(&shard.old));
                (young.0 + old.0, young.1 + old.1)
            });
            let (taken, held) = shards.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            held_most = held_most.max(held);
            assert!(held <= ROOM && taken <= ROOM + ROOM / 8, "{taken} and {held} of {ROOM} bytes");
        }
        assert!(held_most > ROOM * 3 / 4, "{held_most} of {ROOM} bytes");
    }

    #[test]
    fn a_record_that_is_larger_than_the_room_is_there_until_others_come() {
        let cache = RecordCache::of_bytes(10_000);
        insert(&cache, 0, &record(900, 7));
        assert_eq!(get(&cache, 0).unwrap(), record(900, 7).get().bytes());
        (1..600).for_each(|number| insert(&cache, number, &record(1, 1)));
        assert_eq!(get(&cache, 0), None);
    }

    proptest! {
        #[test]
        fn what_is_there_is_what_was_put_in_last(
            steps in vec((0..256_u64, 0..4_usize, any::<bool>()), 1..300),
            room in 0..20_000_u64,
        ) {
            let cache = RecordCache::of_bytes(room);
            let mut model = BTreeMap::new();
            for (mark, (number, slots, is_insert)) in (0..).zip(steps) {
                if is_insert {
                    let record = record(slots, mark);
                    insert(&cache, number, &record);
                    model.insert(number, record.get().bytes().to_vec());
                }
                let mut told = None;
                cache.look_at_each(&[&account(number)], |_, record| told = Some(record.bytes().to_vec()));
                prop_assert!(told.is_none() || told.as_ref() == model.get(&number));
                let found = get(&cache, number);
                prop_assert!(found.is_none() || found.as_ref() == model.get(&number));
                prop_assert!(found.is_some() || !is_insert);
            }
        }
    }
}
