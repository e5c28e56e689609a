//! The view: the state at one block, one record per account, with a bounded cache in front.
//!
//! It follows the log at a distance and only forwards. A record holds for every key of the account
//! its last version and the block that wrote it.
//!
//! The records are in files that are sorted and never changed. A fold writes what it changed into a new
//! file, together with what is in the newest files as long as these are not much larger, so that there are
//! few files and each of them was written over few times. Which files the view is made of, and which block
//! they stand at, is one entry of the database: a fold is that entry or nothing, however much it changed.
//! A file that it does not name is what is left of a process that died, and is removed.
//!
//! **Why the cache never serves a stale record.** A record is stale once a fold has rewritten it and
//! the fold has dropped the versions it wrote from the window, for only then would a reader look for
//! them here. A fold writes the file, then shows it, counts, and puts the new records into the cache in place
//! of the old ones, all of it in one step, and only after that touches the window. A reader that loads a
//! record notes the count together with the files that it reads, and puts the record into the cache *only if*
//! the count is still the same. So a record that was loaded from the former files is either put into the
//! cache before the new one, and replaced by it, or finds another count and is not put there at all.
//! The reader itself may still use what it loaded: it stands at or above the fold's target, looked
//! into the window before it came here, and the versions it did not find there were not written by
//! a block of this fold, so the old record and the new one agree about them.

use std::{
    collections::HashMap,
    fs, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    block::Tip,
    cache::RecordCache,
    disk::Disk,
    files::{self, failed, sync_directory},
    health::Health,
    record::{OwnRecord, Record},
    run::{Entries, Run, RunName, RunWriter, parse_name},
    segment::UNFINISHED,
    tree::{Tree, Writes},
    window::KEYS_AT_ONCE,
};
use crate::{
    Address, Corruption, StateDelta, StateKey, StoreError, TopoHeight, TreeName, UniformState,
    encoding::{self, Malformed, Slot, ViewState},
    version::{Position, Stamped, Version},
};
use parking_lot::{Mutex, RwLock};

pub(super) struct View {
    /// Has the state of the view, and nothing else.
    tree: Tree,
    disk: Arc<Disk>,
    directory: PathBuf,
    health: Arc<Health>,
    /// Held by whoever writes.
    kept: Mutex<Kept>,
    cache: RecordCache,
    shown: RwLock<Shown>,
}

struct Kept {
    state: ViewState,
    /// Files that are not part of the view any more, but of one that a loss of power may bring back.
    retired: Vec<PathBuf>,
}

/// What a reader sees.
struct Shown {
    /// How often records were rewritten.
    rewrites: u64,
    /// The newest first.
    runs: Arc<[Arc<Run>]>,
    /// The records of accounts of whose base something was learned since the last file was written. The
    /// blocks that brought it are in the log.
    learned: HashMap<Address, OwnRecord, UniformState>,
}

impl View {
    /// Opens what is in the directory, and clears away what does not belong there.
    pub(super) fn open(
        disk: &Arc<Disk>,
        tree: Tree,
        directory: PathBuf,
        cache_bytes: u64,
        health: Arc<Health>,
    ) -> Result<Self, StoreError> {
        let state = match tree.read(STATE_KEY)? {
            Some(bytes) => encoding::read_view_state(&bytes)
                .map_err(|Malformed| tree.corrupt(STATE_KEY, Corruption::Form))?,
            None => ViewState::default(),
        };
        let open = |name: &RunName| Run::open(&directory, *name).map(Arc::new);
        let runs = state.runs.iter().map(open).collect::<Result<_, _>>()?;
        clear(&directory, &state, disk)?;
        let shown = Shown { rewrites: 0, runs, learned: HashMap::default() };
        Ok(Self {
            tree,
            disk: Arc::clone(disk),
            directory,
            health,
            kept: Mutex::new(Kept { state, retired: Vec::new() }),
            cache: RecordCache::of_bytes(cache_bytes),
            shown: RwLock::new(shown),
        })
    }

    /// Makes the directory; it is there whenever the store is.
    pub(super) fn make(directory: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        directory.parent().map_or(Ok(()), sync_directory)
    }

    /// The block that it stands at.
    pub(super) fn tip(&self) -> Option<Tip> {
        self.kept.lock().state.tip
    }

    /// The error for a view that does not fit the log.
    pub(super) fn out_of_sequence(&self) -> StoreError {
        self.tree.corrupt(STATE_KEY, Corruption::Sequence)
    }

    /// The last version of a key for a reader that stands at or above the view.
    pub(super) fn read(&self, key: &StateKey, at: Position) -> Result<Option<Stamped>, StoreError> {
        self.look(key.account(), |record| find(record, key, at))?
    }

    /// The same for many keys, each told by its number; those that have none are left out. Where the keys of an
    /// account come one after another its record is looked up once.
    pub(super) fn read_each(
        &self,
        keys: &[(usize, &StateKey)],
        at: Position,
        mut found: impl FnMut(usize, Stamped),
    ) -> Result<(), StoreError> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let by_account = keys.chunk_by(|(_, one), (_, next)| one.account() == next.account());
            let mut accounts = Vec::with_capacity(keys.len());
            let mut groups = Vec::with_capacity(keys.len());
            for keys in by_account {
                accounts.push(keys[0].1.account());
                groups.push(keys);
            }

            let mut of_record = |record: Record<'_>, keys: &[(usize, &StateKey)]| {
                for (number, key) in keys {
                    if let Some(stamped) = find(record, key, at)? {
                        found(*number, stamped);
                    }
                }
                Ok(())
            };
            let mut looked = Ok(());
            self.cache.look_at_each(&accounts, |group, record| {
                // It is done with.
                let keys = mem::take(&mut groups[group]);
                if looked.is_ok() {
                    looked = of_record(record, keys);
                }
            });
            looked?;
            for (account, keys) in accounts.into_iter().zip(groups) {
                if !keys.is_empty() {
                    self.look(account, |record| of_record(record, keys))??;
                }
            }
        }
        Ok(())
    }

    /// Brings the record of an account into the cache.
    pub(super) fn prefetch(&self, account: &Address) -> Result<(), StoreError> {
        self.look(account, |_| ())
    }

    /// Brings the view to a block by the versions that were written since; those of an account are together,
    /// and the accounts ascend.
    pub(super) fn fold(
        &self,
        versions: impl IntoIterator<Item = (StateKey, Stamped)>,
        tip: Tip,
    ) -> Result<(), StoreError> {
        let records = Changes::of(versions).map(|changes| self.changed(changes));
        let records = records.collect::<Result<_, _>>()?;
        self.write(records, Some(tip))
    }

    /// Writes values of the base over those that were written before; in the same order.
    pub(super) fn seed(
        &self,
        versions: impl IntoIterator<Item = (StateKey, Stamped)>,
    ) -> Result<(), StoreError> {
        let mut records = Changes::of(versions).map(|changes| self.changed(changes));
        loop {
            let some = records.by_ref().take(SEEDED_AT_ONCE).collect::<Result<Vec<_>, _>>()?;
            if some.is_empty() {
                return Ok(());
            }
            self.write(some, None)?;
        }
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
        values.sort_by_key(|(key, _)| *key.account());
        let records = Changes::of(values).map(|changes| self.changed(changes));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        Ok((!records.is_empty()).then_some(News { records }))
    }

    /// Adds to the base. What is new is in the log, and will be in the next file.
    pub(super) fn learn(&self, news: Option<News>) {
        let Some(News { records }) = news else { return };
        let mut shown = self.shown.write();
        shown.rewrites += 1;
        for (account, record) in records {
            self.cache.insert(&account, record.get());
            shown.learned.insert(account, record);
        }
    }

    /// Writes what was learned, for a block that brought it is about to be forgotten.
    pub(super) fn settle(&self) -> Result<(), StoreError> {
        if self.shown.read().learned.is_empty() {
            return Ok(());
        }
        let tip = self.tip();
        self.write(Vec::new(), tip)
    }

    /// Puts records, and those that were learned, in front of all others.
    fn write(
        &self,
        mut records: Vec<(Address, OwnRecord)>,
        tip: Option<Tip>,
    ) -> Result<(), StoreError> {
        self.health.writable()?;
        let mut kept = self.kept.lock();
        let before = {
            let shown = self.shown.read();
            let is_left = |account: &Address| {
                records.binary_search_by_key(account, |(account, _)| *account).is_err()
            };
            let learned = shown.learned.iter().filter(|(account, _)| is_left(account));
            let left: Vec<_> =
                learned.map(|(account, record)| (*account, record.clone())).collect();
            if !left.is_empty() {
                records.extend(left);
                records.sort_unstable_by_key(|(account, _)| *account);
            }
            Arc::clone(&shown.runs)
        };
        let mut runs = Vec::with_capacity(before.len() + 1);
        let mut number = kept.state.next;
        let mut merged = 0;
        if !records.is_empty() {
            merged = merged_count(records.len() as u64, &before);
            let run = self.merge(number, &records, &before[..merged]);
            runs.push(Arc::new(run.map_err(|error| match error {
                // Nothing was written that anybody would read.
                StoreError::Corrupt { .. } => error,
                error => self.health.failed(error),
            })?));
            number += 1;
        }
        runs.extend_from_slice(&before[merged..]);
        let names = runs.iter().map(|run| run.name()).collect();
        let state = ViewState { tip, next: number, runs: names };
        let mut writes = Writes::default();
        self.tree.stage(&mut writes, STATE_KEY, &encoding::view_state(&state))?;
        self.tree.apply(writes)?;
        kept.state = state;
        kept.retired.extend(before[..merged].iter().map(|run| run.path().to_owned()));

        let mut shown = self.shown.write();
        shown.rewrites += 1;
        shown.runs = runs.into();
        // Nothing is learned during a write: all of it is among the records.
        shown.learned.clear();
        for (account, record) in &records {
            self.cache.insert(account, record.get());
        }
        drop(shown);
        if kept.retired.len() < RETIRED_MAX {
            return Ok(());
        }
        // Until the disk has heard of the new files it may come back to the former ones.
        self.disk.sync()?;
        kept.retired
            .drain(..)
            .try_for_each(|path| files::remove(&path))
            .map_err(|error| self.health.failed(error))
    }

    /// Writes a file with some records, and for all other accounts those of the files that it replaces.
    fn merge(
        &self,
        number: u64,
        records: &[(Address, OwnRecord)],
        replaced: &[Arc<Run>],
    ) -> Result<Run, StoreError> {
        let accounts = replaced.iter().map(|run| run.accounts());
        let accounts_max = accounts.fold(records.len() as u64, u64::saturating_add);
        let mut writer = RunWriter::create(&self.directory, number, accounts_max)?;
        let mut records = records.iter().peekable();
        let mut entries =
            replaced.iter().map(|run| Entries::of(run)).collect::<Result<Vec<_>, _>>()?;
        loop {
            let next = records.peek().map(|(account, _)| account);
            let account = entries.iter().filter_map(Entries::account).chain(next).min().copied();
            let Some(account) = account else { return writer.finish() };
            let mut is_written = false;
            if let Some((_, record)) = records.next_if(|(next, _)| *next == account) {
                let encoded = record.get().encoded();
                writer.push(&account, encoded.map_err(|Malformed| malformed(&account))?)?;
                is_written = true;
            }
            // The newest one first.
            for entries in &mut entries {
                if entries.account() == Some(&account) {
                    if !is_written {
                        writer.push(&account, entries.record())?;
                        is_written = true;
                    }
                    entries.advance()?;
                }
            }
        }
    }

    /// The record of an account with what was changed in it.
    fn changed(
        &self,
        (account, changes): (Address, Vec<(Slot, Stamped)>),
    ) -> Result<(Address, OwnRecord), StoreError> {
        let record = self.look(&account, |record| record.slots(&account))?;
        let mut record = record.map_err(|Malformed| malformed(&account))?;
        for (slot, stamped) in changes {
            match record.binary_search_by_key(&slot, |(slot, _)| *slot) {
                Ok(index) => record[index].1 = stamped,
                Err(index) => record.insert(index, (slot, stamped)),
            }
        }
        Ok((account, OwnRecord::of(&record)))
    }

    /// Looks at the record of an account. Afterwards it is in the cache.
    fn look<T>(
        &self,
        account: &Address,
        mut look: impl FnMut(Record<'_>) -> T,
    ) -> Result<T, StoreError> {
        if let Some(seen) = self.cache.look(account, &mut look) {
            return Ok(seen);
        }
        let (rewrites, runs) = {
            let shown = self.shown.read();
            if let Some(record) = shown.learned.get(account) {
                return Ok(look(record.get()));
            }
            (shown.rewrites, Arc::clone(&shown.runs))
        };
        let record = load(&runs, account)?;
        self.admit(account, record.get(), rewrites);
        Ok(look(record.get()))
    }

    /// Puts a record into the cache, unless something was rewritten since before it was loaded.
    fn admit(&self, account: &Address, record: Record<'_>, rewrites: u64) {
        let shown = self.shown.read();
        if shown.rewrites == rewrites {
            self.cache.insert(account, record);
        }
    }
}

/// Values of the base that the view does not have, in the records of their accounts.
pub(super) struct News {
    records: Vec<(Address, OwnRecord)>,
}

/// Versions by their accounts, as long as those of one account are together.
struct Changes<V: Iterator<Item = (StateKey, Stamped)>>(std::iter::Peekable<V>);

impl<V: Iterator<Item = (StateKey, Stamped)>> Changes<V> {
    fn of(versions: impl IntoIterator<IntoIter = V>) -> Self {
        Self(versions.into_iter().peekable())
    }
}

impl<V: Iterator<Item = (StateKey, Stamped)>> Iterator for Changes<V> {
    type Item = (Address, Vec<(Slot, Stamped)>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, stamped) = self.0.next()?;
        let account = *key.account();
        let mut changes = vec![(Slot::of(&key), stamped)];
        while let Some((key, stamped)) = self.0.next_if(|(key, _)| *key.account() == account) {
            changes.push((Slot::of(&key), stamped));
        }
        Some((account, changes))
    }
}

/// How many of the newest files are written anew with so many records, because they have not many more.
fn merged_count(records: u64, runs: &[Arc<Run>]) -> usize {
    let mut total = records;
    let is_merged = |run: &&Arc<Run>| {
        let is_merged = run.accounts() <= MERGED_FACTOR.saturating_mul(total);
        total = total.saturating_add(run.accounts());
        is_merged
    };
    runs.iter().take_while(is_merged).count()
}

fn load(runs: &[Arc<Run>], account: &Address) -> Result<OwnRecord, StoreError> {
    let mut block = Vec::new();
    for run in runs {
        if let Some(record) = run.find(account, &mut block)? {
            return OwnRecord::read(account, record).map_err(|Malformed| malformed(account));
        }
    }
    Ok(OwnRecord::of(&[]))
}

fn find(record: Record<'_>, key: &StateKey, at: Position) -> Result<Option<Stamped>, StoreError> {
    let found = record.find(key).map_err(|Malformed| malformed(key.account()))?;
    let Some(stamped) = found else { return Ok(None) };
    if stamped.written_at > at {
        // The floor forbids such a reader, so the record is not what was written.
        return Err(corrupt(key.account(), Corruption::Future));
    }
    Ok(Some(stamped))
}

fn malformed(account: &Address) -> StoreError {
    corrupt(account, Corruption::Form)
}

fn corrupt(account: &Address, problem: Corruption) -> StoreError {
    StoreError::Corrupt { tree: TreeName::View, key: account.as_bytes().to_vec(), problem }
}

/// Removes what is in the directory and not part of the view.
fn clear(directory: &Path, state: &ViewState, disk: &Disk) -> Result<(), StoreError> {
    let mut superfluous = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        let is_unfinished = path.extension().is_some_and(|extension| extension == UNFINISHED);
        let is_named = |number: u64| state.runs.iter().any(|run| run.number == number);
        if is_unfinished || parse_name(&path).is_some_and(|number| !is_named(number)) {
            superfluous.push(path);
        }
    }
    if !superfluous.is_empty() {
        // A loss of power must not bring back an entry that names one of them.
        disk.sync()?;
    }
    superfluous.iter().try_for_each(|path| files::remove(path))
}

/// Not the length of an address, as the keys of former forms were.
pub(super) const STATE_KEY: &[u8] = b"state";

/// A file that has no more than so many times the accounts of those before it is written together with
/// them: so each file is a multiple of all newer ones, and a record is copied about as often as there are
/// files.
const MERGED_FACTOR: u64 = 2;

/// How many files that are not needed may be left on the disk.
const RETIRED_MAX: usize = 4;

/// How many records of the base are written at once: all of them may not fit into the memory.
const SEEDED_AT_ONCE: usize = 1 << 16;

#[cfg(test)]
mod tests;
