//! The view: the state at one block, one record per account, with a bounded cache in front.
//!
//! It follows the log at a distance and only forwards. A record holds for every key of the account
//! its last version and the block that wrote it.
//!
//! **Why the cache never serves a stale record.** A record is stale once a fold has rewritten it and
//! the fold has dropped the versions it wrote from the window, for only then would a reader look for
//! them here. A fold writes the record, then takes the gate for writing, counts, and puts the new
//! record into the cache in place of the old one, and only after that touches the window. A reader
//! that loads a record notes the count *before* it reads the disk and puts the record into the cache
//! under the gate *only if* the count is still the same. So a record that was loaded before the rewrite
//! is either put into the cache before the new one, and replaced by it, or finds another count and is
//! not put there at all.
//! The reader itself may still use what it loaded: it stands at or above the fold's target, looked
//! into the window before it came here, and the versions it did not find there were not written by
//! a block of this fold, so the old record and the new one agree about them.

use std::sync::Arc;

use parking_lot::RwLock;
use quick_cache::{Weighter, sync::Cache};

use super::{
    disk::Disk,
    tree::{BATCH_ENTRIES, Tree, Writes, parts},
};
use crate::{
    Address, Corruption, StateDelta, StateKey, StoreError, TopoHeight, TreeName,
    encoding::{self, Malformed, Slot, ViewState},
    version::{Position, Stamped, Version},
};

pub(super) struct View {
    tree: Tree,
    cache: Cache<Address, Arc<Record>, RecordWeight>,
    /// How often records were rewritten.
    gate: RwLock<u64>,
}

/// What is known of an account; sorted. Empty for an account that has no record.
type Record = [(Slot, Stamped)];

impl View {
    pub(super) fn open(disk: &Arc<Disk>, cache_bytes: u64) -> Result<Self, StoreError> {
        let expected = usize::try_from(cache_bytes / TYPICAL_RECORD_BYTES).unwrap_or(usize::MAX);
        Ok(Self {
            tree: disk.tree(TreeName::View)?,
            cache: Cache::with_weighter(expected, cache_bytes, RecordWeight),
            gate: RwLock::new(0),
        })
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    pub(super) fn state(&self) -> Result<ViewState, StoreError> {
        match self.tree.read(STATE_KEY)? {
            Some(bytes) => encoding::read_view_state(&bytes)
                .map_err(|Malformed| self.tree.corrupt(STATE_KEY, Corruption::Form)),
            None => Ok(ViewState::default()),
        }
    }

    /// The last version of a key for a reader that stands at or above the view.
    pub(super) fn read(&self, key: &StateKey, at: Position) -> Result<Option<Stamped>, StoreError> {
        let record = self.record(key.account())?;
        Ok(self.find(&record, key, at)?.cloned())
    }

    /// The same for many keys; those that have none are left out.
    ///
    /// All records are looked up before the first one is read: most of the time is spent waiting for
    /// memory, and so the processor waits for several of them at once.
    pub(super) fn read_each<'a>(
        &self,
        keys: impl Iterator<Item = &'a StateKey>,
        at: Position,
        mut found: impl FnMut(&StateKey, &Stamped),
    ) -> Result<(), StoreError> {
        let record = |key: &'a StateKey| Ok((key, self.record(key.account())?));
        let records: Vec<_> = keys.map(record).collect::<Result<_, StoreError>>()?;
        for (key, record) in &records {
            if let Some(stamped) = self.find(record, key, at)? {
                found(key, stamped);
            }
        }
        Ok(())
    }

    fn find<'a>(
        &self,
        record: &'a Record,
        key: &StateKey,
        at: Position,
    ) -> Result<Option<&'a Stamped>, StoreError> {
        let slot = Slot::of(key);
        let Ok(index) = record.binary_search_by_key(&slot, |(slot, _)| *slot) else {
            return Ok(None);
        };
        let Some((_, stamped)) = record.get(index) else { return Ok(None) };
        if stamped.written_at > at {
            // The floor forbids such a reader, so the record is not what was written.
            return Err(self.tree.corrupt(key.account().as_bytes(), Corruption::Future));
        }
        Ok(Some(stamped))
    }

    /// Brings the record of an account into the cache.
    pub(super) fn prefetch(&self, account: &Address) -> Result<(), StoreError> {
        self.record(account).map(drop)
    }

    /// Writes versions into the records of their accounts, `between` in every batch but the last and
    /// `last` in that one. The keys of an account are together.
    pub(super) fn write(
        &self,
        versions: impl IntoIterator<Item = (StateKey, Stamped)>,
        between: &ViewState,
        last: &ViewState,
    ) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        let mut versions = versions.into_iter().peekable();
        while let Some((key, stamped)) = versions.next() {
            let account = *key.account();
            // What is in the cache is what is on disk: nobody else rewrites records meanwhile.
            let before = match self.cache.get(&account) {
                Some(record) => record,
                None => self.load(&account)?.into(),
            };
            let bytes_before = encoding::record(&before).len();
            let mut record = before.to_vec();
            let is_new = record.is_empty();
            put(&mut record, Slot::of(&key), stamped);
            while let Some((key, stamped)) = versions.next_if(|(key, _)| *key.account() == account)
            {
                put(&mut record, Slot::of(&key), stamped);
            }
            let parts_before = if is_new { 0 } else { parts(bytes_before) };
            let content = encoding::record(&record);
            self.tree.stage_over(&mut batch.writes, account.as_bytes(), &content, parts_before);
            batch.records.push((account, record.into()));
            // One entry is the state itself.
            if batch.writes.parts >= BATCH_ENTRIES - 1 && versions.peek().is_some() {
                self.apply(std::mem::take(&mut batch), between)?;
            }
        }
        self.apply(batch, last)
    }

    /// What of some values of the base is new.
    pub(super) fn news(&self, base: &StateDelta) -> Result<Option<News>, StoreError> {
        let mut values = Vec::with_capacity(base.len());
        for (key, value) in base.iter() {
            if self.read(key, Some(TopoHeight::MAX))?.is_none() {
                let version = Version::Known(value.cloned());
                values.push((*key, Stamped { written_at: None, version }));
            }
        }
        if values.is_empty() {
            return Ok(None);
        }
        values.sort_by_key(|(key, _)| *key.account());
        Ok(Some(News { values, state: self.state()? }))
    }

    /// Adds to the base.
    pub(super) fn learn(&self, news: Option<News>) -> Result<(), StoreError> {
        match news {
            Some(News { values, state }) => self.write(values, &state, &state),
            None => Ok(()),
        }
    }

    fn apply(&self, mut batch: RecordBatch, state: &ViewState) -> Result<(), StoreError> {
        self.tree.stage(&mut batch.writes, STATE_KEY, &encoding::view_state(state))?;
        self.tree.apply(batch.writes)?;
        let mut rewrites = self.gate.write();
        *rewrites += 1;
        for (account, record) in batch.records {
            self.cache.insert(account, record);
        }
        Ok(())
    }

    fn record(&self, account: &Address) -> Result<Arc<Record>, StoreError> {
        if let Some(record) = self.cache.get(account) {
            return Ok(record);
        }
        let rewrites = self.rewrites();
        let record: Arc<Record> = self.load(account)?.into();
        self.admit(*account, &record, rewrites);
        Ok(record)
    }

    fn rewrites(&self) -> u64 {
        *self.gate.read()
    }

    /// Puts a record into the cache, unless something was rewritten since before it was loaded.
    fn admit(&self, account: Address, record: &Arc<Record>, rewrites: u64) {
        let now = self.gate.read();
        if *now == rewrites {
            self.cache.insert(account, Arc::clone(record));
        }
    }

    fn load(&self, account: &Address) -> Result<Vec<(Slot, Stamped)>, StoreError> {
        match self.tree.read(account.as_bytes())? {
            Some(bytes) => encoding::read_record(account, &bytes)
                .map_err(|Malformed| self.tree.corrupt(account.as_bytes(), Corruption::Form)),
            None => Ok(Vec::new()),
        }
    }
}

/// Values of the base that the view does not have, and the state that it keeps.
pub(super) struct News {
    values: Vec<(StateKey, Stamped)>,
    state: ViewState,
}

#[derive(Default)]
struct RecordBatch {
    writes: Writes,
    records: Vec<(Address, Arc<Record>)>,
}

/// Not the length of an address, so it is no account's.
pub(super) const STATE_KEY: &[u8] = b"state";

const TYPICAL_RECORD_BYTES: u64 = 256;

fn put(record: &mut Vec<(Slot, Stamped)>, slot: Slot, stamped: Stamped) {
    match record.binary_search_by_key(&slot, |(slot, _)| *slot) {
        Ok(index) => record[index].1 = stamped,
        Err(index) => record.insert(index, (slot, stamped)),
    }
}

#[derive(Clone)]
struct RecordWeight;

impl Weighter<Address, Arc<Record>> for RecordWeight {
    fn weight(&self, _: &Address, record: &Arc<Record>) -> u64 {
        // The entry of the cache, and what a slot takes in memory but for participants.
        let slots = record.len() * size_of::<(Slot, Stamped)>();
        128 + slots as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateValue;

    #[test]
    fn a_record_that_was_loaded_before_a_rewrite_is_not_cached_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let disk = Disk::open(path, 1 << 20, None, Arc::default()).unwrap();
        let view = View::open(&disk, 1 << 20).unwrap();
        let account = Address::new([1; 32]);
        let key = StateKey::Registered(account);
        let at = Some(TopoHeight::new(3));

        let rewrites = view.rewrites();
        let old: Arc<Record> = view.load(&account).unwrap().into();
        let version = Version::Known(Some(StateValue::Registered));
        let stamped = Stamped { written_at: at, version };
        let state = ViewState::default();
        view.write([(key, stamped.clone())], &state, &state).unwrap();
        view.admit(account, &old, rewrites);

        assert_eq!(view.read(&key, at).unwrap(), Some(stamped));
    }
}
