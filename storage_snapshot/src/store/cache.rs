//! The records of accounts in memory: those that were used last, as many as have room.
//!
//! In two generations. What is used is in the young one; when that has half of the room, it becomes the old
//! one, and what is in the old one then was not used for long and is forgotten. So what was just read is there
//! when it is written a moment later, whatever else is read in between.

use std::{collections::HashMap, hash::BuildHasher, mem};

use parking_lot::RwLock;

use super::record::Record;
use crate::{Address, UniformState};

pub(super) struct RecordCache {
    hasher: UniformState,
    shards: [RwLock<Shard>; SHARDS],
    /// The room of one generation of a shard.
    generation_bytes: usize,
}

#[derive(Default)]
struct Shard {
    young: Generation,
    young_bytes: usize,
    old: Generation,
}

type Generation = HashMap<Address, Record, UniformState>;

impl RecordCache {
    /// One that takes so much memory at most, but for the last records.
    pub(super) fn of_bytes(bytes: u64) -> Self {
        let generation_bytes = bytes / (2 * SHARDS as u64);
        Self {
            hasher: UniformState::default(),
            shards: Default::default(),
            generation_bytes: usize::try_from(generation_bytes).unwrap_or(usize::MAX),
        }
    }

    pub(super) fn get(&self, account: &Address) -> Option<Record> {
        let shard = &self.shards[self.shard(account)];
        if let Some(record) = shard.read().young.get(account) {
            return Some(record.clone());
        }
        let mut shard = shard.write();
        // Somebody else may have brought it over meanwhile.
        if let Some(record) = shard.young.get(account) {
            return Some(record.clone());
        }
        let record = shard.old.remove(account)?;
        shard.put(*account, record.clone(), self.generation_bytes);
        Some(record)
    }

    /// The records of many accounts, each told by its number and in any order. One that is not told may be there
    /// all the same: those that were not used for some time are left to [`get`](Self::get).
    ///
    /// A lock, or a count of those who hold a record, makes the processor wait for all that came before it. So
    /// every shard is locked once, all of its accounts are found before the first record is looked at, and nobody
    /// holds any: then the processor waits for many of them at once.
    pub(super) fn read_each(&self, accounts: &[&Address], mut told: impl FnMut(usize, &Record)) {
        let shards: Vec<usize> = accounts.iter().map(|account| self.shard(account)).collect();
        for (shard, this) in self.shards.iter().enumerate() {
            if !shards.contains(&shard) {
                continue;
            }
            let this = this.read();
            let mut found = Vec::with_capacity(accounts.len());
            for (number, (account, of)) in accounts.iter().zip(&shards).enumerate() {
                if *of == shard
                    && let Some(record) = this.young.get(*account)
                {
                    found.push((number, record));
                }
            }
            found.into_iter().for_each(|(number, record)| told(number, record));
        }
    }

    /// Puts a record in, in place of the one that may be there.
    pub(super) fn insert(&self, account: Address, record: Record) {
        let mut shard = self.shards[self.shard(&account)].write();
        shard.old.remove(&account);
        shard.put(account, record, self.generation_bytes);
    }

    fn shard(&self, account: &Address) -> usize {
        // The map takes other bits.
        (self.hasher.hash_one(account) >> 32) as usize % SHARDS
    }
}

impl Shard {
    fn put(&mut self, account: Address, record: Record, generation_bytes: usize) {
        self.young_bytes += bytes(&record);
        if let Some(replaced) = self.young.insert(account, record) {
            self.young_bytes -= bytes(&replaced);
        }
        if self.young_bytes > generation_bytes {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_bytes = 0;
        }
    }
}

/// What a record takes, with its place in the map.
fn bytes(record: &Record) -> usize {
    ENTRY_BYTES + record.bytes()
}

/// The place in a map that is two thirds full, and the counts of the record.
const ENTRY_BYTES: usize = 80;

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
        version::{Stamped, Version},
    };

    fn account(number: u8) -> Address {
        Address::new(*blake3::hash(&[number]).as_bytes())
    }

    fn record(slots: usize, mark: u64) -> Record {
        let written_at = Some(TopoHeight::new(mark));
        let slot = (Slot::Nonce, Stamped { written_at, version: Version::Unknown });
        Record::of(&vec![slot; slots])
    }

    #[test]
    fn what_was_just_put_in_is_there() {
        let cache = RecordCache::of_bytes(0);
        let others = RecordCache::of_bytes(1 << 20);
        for number in 0..200 {
            others.insert(account(number), record(1, 0));
            cache.insert(account(number), record(1, 0));
            assert!(cache.get(&account(number)).is_some());
        }
        assert!((0..200).all(|number| others.get(&account(number)).is_some()));
    }

    #[test]
    fn what_is_used_stays_while_others_come_and_go() {
        let room = 40 * SHARDS * bytes(&record(1, 0));
        let cache = RecordCache::of_bytes(room as u64);
        cache.insert(account(0), record(1, 7));
        for round in 0..2000_u64 {
            let other = Address::new(*blake3::hash(&round.to_be_bytes()).as_bytes());
            cache.insert(other, record(1, 1));
            assert_eq!(cache.get(&account(0)).unwrap(), record(1, 7));
        }
        let taken: usize = cache
            .shards
            .iter()
            .flat_map(|shard| {
                let shard = shard.read();
                let records = shard.young.values().chain(shard.old.values());
                records.map(bytes).collect::<Vec<_>>()
            })
            .sum();
        assert!(taken <= room + SHARDS * 2 * bytes(&record(1, 0)), "{taken} of {room} bytes");
        assert!(taken > room / 3, "{taken} of {room} bytes");
    }

    proptest! {
        #[test]
        fn what_is_there_is_what_was_put_in_last(
            steps in vec((any::<u8>(), 0..4_usize, any::<bool>()), 1..300),
            room in 0..20_000_u64,
        ) {
            let cache = RecordCache::of_bytes(room);
            let mut model = BTreeMap::new();
            for (mark, (number, slots, is_insert)) in (0..).zip(steps) {
                if is_insert {
                    cache.insert(account(number), record(slots, mark));
                    model.insert(number, record(slots, mark));
                }
                let mut told = None;
                cache.read_each(&[&account(number)], |_, record| told = Some(record.clone()));
                prop_assert!(told.is_none() || told.as_ref() == model.get(&number));
                let found = cache.get(&account(number));
                prop_assert!(found.is_none() || found.as_ref() == model.get(&number));
                prop_assert!(found.is_some() || !is_insert);
            }
        }
    }
}
