//! The embedded database and the entries in it.
//!
//! Every tree stores *entries*: bytes under a key of a fixed length. An entry is cut into parts,
//! because the database keeps up to seventeen neighbouring values in one page and writes a page
//! above 128 KiB into a file of its own, and each part carries what is needed to notice that it was
//! damaged. What is read is what was written, or an error.
//!
//! ```text
//! key of a part    key of the entry ‖ number of the part:u32
//! value of a part  checksum:8 ‖ parts of the entry:u32 ‖ chunk
//! checksum         first 8 bytes of blake3(tree ‖ 00 ‖ key of the entry ‖ whole content)
//! ```
//!
//! The key is part of the checksum, so that an entry that was moved is damaged too.

use std::{
    fs::{self, File},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use sled::{Batch, Transactional, transaction::TransactionError};

use super::flusher::{Flusher, Unflushed};
use crate::{Corruption, StoreError, TreeName};

/// The database of one directory, shared by its trees.
pub(super) struct Disk {
    /// Ends before the database does: fields are dropped in this order.
    flusher: Flusher,
    core: Arc<Core>,
}

/// What the flusher shares.
struct Core {
    database: sled::Db,
    path: PathBuf,
    broken: AtomicBool,
    /// What the flusher failed with, for the next writer.
    failure: Mutex<Option<StoreError>>,
    unflushed: Unflushed,
}

impl Disk {
    /// The caller holds the lock of the directory.
    pub(super) fn open(
        path: PathBuf,
        cache_bytes: u64,
        flush_every_ms: Option<u64>,
    ) -> Result<Arc<Self>, StoreError> {
        make(&path)?;
        wait_for_former_owner(&path.join(DATABASE_FILE))?;
        let config =
            sled::Config::default().cache_capacity(cache_bytes).flush_every_ms(flush_every_ms);
        let database = open_database(&path, config)?;
        let core = Arc::new(Core {
            database,
            path,
            broken: AtomicBool::new(false),
            failure: Mutex::new(None),
            unflushed: Unflushed::default(),
        });
        let behind = Arc::clone(&core);
        let flusher = Flusher::start(move || behind.flush_behind())
            .map_err(|source| StoreError::Io { path: core.path.clone(), source })?;
        Ok(Arc::new(Self { flusher, core }))
    }

    pub(super) fn tree(self: &Arc<Self>, name: TreeName) -> Result<Tree, StoreError> {
        let tree = caught(|| self.core.database.open_tree(name.as_str()))
            .map_err(|error| database_error(&self.core.path, error))?;
        Ok(Tree { disk: Arc::clone(self), name, tree, rewriting: RwLock::new(()) })
    }

    /// The version of the form that everything is in; `None` in a new database.
    ///
    /// It is stored as plain bytes, so that a program that knows another form can still read it.
    pub(super) fn format_version(&self) -> Result<Option<u32>, StoreError> {
        let stored = caught(|| self.core.database.get(FORMAT_VERSION_KEY))
            .map_err(|error| database_error(&self.core.path, error))?;
        let Some(stored) = stored else { return Ok(None) };
        let bytes = stored.as_ref().try_into().map_err(|_| StoreError::Corrupt {
            tree: TreeName::Meta,
            key: FORMAT_VERSION_KEY.to_vec(),
            problem: Corruption::Form,
        })?;
        Ok(Some(u32::from_be_bytes(bytes)))
    }

    pub(super) fn set_format_version(&self, version: u32) -> Result<(), StoreError> {
        self.written(|| self.core.database.insert(FORMAT_VERSION_KEY, &version.to_be_bytes()))?;
        self.flush()
    }

    /// Refuses once a write failed: what is in memory may then be ahead of what is on disk.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        if !self.core.broken.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(self.core.failure.lock().take().unwrap_or(StoreError::Broken))
    }

    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.core.flush()
    }

    /// Writes entries of two trees so that after a crash both are there or neither.
    pub(super) fn apply_both(
        &self,
        (first, first_writes): (&Tree, Writes),
        (second, second_writes): (&Tree, Writes),
    ) -> Result<(), StoreError> {
        self.writable()?;
        let bytes = first_writes.bytes + second_writes.bytes;
        let (first_batch, second_batch) = (first_writes.into_batch(), second_writes.into_batch());
        {
            let _first = first.rewriting.write();
            let _second = second.rewriting.write();
            self.written(|| {
                let written = (&first.tree, &second.tree).transaction(|(first, second)| {
                    first.apply_batch(&first_batch)?;
                    second.apply_batch(&second_batch)?;
                    Ok(())
                });
                written.map_err(|error| match error {
                    TransactionError::Storage(error) => error,
                    // Nothing above aborts.
                    TransactionError::Abort(()) => sled::Error::Unsupported("aborted".to_owned()),
                })
            })?;
        }
        self.press(bytes)
    }

    /// Has what was written flushed after every [`FLUSHED_BEHIND_BYTES`], and waits for the disk before
    /// there are [`IN_FLIGHT_BYTES_MAX`].
    ///
    /// The database writes from a pool of seven threads. When the file shrinks while all of them
    /// wait for the segment that is being truncated, and the truncation waits for one of them, it
    /// stands still for ever. That takes megabytes of writes in flight.
    fn press(&self, bytes: usize) -> Result<(), StoreError> {
        let unflushed = self.core.unflushed.add(bytes);
        if unflushed >= IN_FLIGHT_BYTES_MAX {
            return self.flush();
        }
        if unflushed >= FLUSHED_BEHIND_BYTES {
            self.flusher.wake();
        }
        Ok(())
    }

    fn written<T>(&self, write: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        self.core.written(write)
    }
}

impl Core {
    fn flush(&self) -> Result<(), StoreError> {
        self.unflushed.flush(|| self.written(|| self.database.flush()).map(drop))
    }

    /// Flushes on the flusher's thread. Nobody waits for it, so a failure is kept.
    fn flush_behind(&self) {
        // Locked before, so that whoever finds the disk broken also finds why.
        let mut failure = self.failure.lock();
        if let Err(error) = self.flush() {
            failure.get_or_insert(error);
        }
    }

    fn written<T>(&self, write: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
        caught(write).map_err(|error| {
            self.broken.store(true, Ordering::Release);
            database_error(&self.path, error)
        })
    }
}

/// Entries to be written at once.
#[derive(Default)]
pub(super) struct Writes {
    /// What is written under each key; `None` for what is removed.
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// How many parts are written or removed.
    pub(super) parts: usize,
    bytes: usize,
}

impl Writes {
    fn into_batch(self) -> Batch {
        let mut batch = Batch::default();
        for (key, value) in self.entries {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}

/// One tree of the database.
pub(super) struct Tree {
    disk: Arc<Disk>,
    name: TreeName,
    tree: sled::Tree,
    /// Reading an entry of several parts takes several look-ups, and must not see half of a rewrite.
    rewriting: RwLock<()>,
}

impl Tree {
    pub(super) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// The content of an entry.
    pub(super) fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(first) = self.part(key, 0)? else { return Ok(None) };
        let (head, chunk) = self.split(key, &first)?;
        if head.parts == 1 {
            self.verify(key, &head, chunk)?;
            return Ok(Some(chunk.to_vec()));
        }
        let _unchanged = self.rewriting.read();
        let Some(first) = self.part(key, 0)? else { return Ok(None) };
        let (head, chunk) = self.split(key, &first)?;
        let mut content = chunk.to_vec();
        for number in 1..head.parts {
            let part =
                self.part(key, number)?.ok_or_else(|| self.corrupt(key, Corruption::Parts))?;
            let (other, chunk) = self.split(key, &part)?;
            if other != head {
                return Err(self.corrupt(key, Corruption::Parts));
            }
            content.extend_from_slice(chunk);
        }
        self.verify(key, &head, &content)?;
        Ok(Some(content))
    }

    /// Stages an entry in place of the one that may be there.
    pub(super) fn stage(
        &self,
        writes: &mut Writes,
        key: &[u8],
        content: &[u8],
    ) -> Result<(), StoreError> {
        let mut parts_before = parts(content.len());
        while self.part(key, parts_before)?.is_some() {
            parts_before += 1;
        }
        self.stage_over(writes, key, content, parts_before);
        Ok(())
    }

    /// Stages an entry in place of one of which at most so many parts are there.
    pub(super) fn stage_over(
        &self,
        writes: &mut Writes,
        key: &[u8],
        content: &[u8],
        parts_before: u32,
    ) {
        let parts = parts(content.len());
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&self.checksum(key, content));
        head[8..].copy_from_slice(&parts.to_be_bytes());
        for number in 0..parts {
            let start = number as usize * PART_BYTES;
            let chunk = &content[start..content.len().min(start + PART_BYTES)];
            writes.entries.push((part_key(key, number), Some([&head, chunk].concat())));
            writes.bytes += key.len() + HEAD_BYTES + chunk.len();
        }
        // A shorter entry leaves parts of a longer one behind.
        for superfluous in parts..parts_before {
            writes.entries.push((part_key(key, superfluous), None));
        }
        writes.parts += parts.max(parts_before) as usize;
    }

    /// Applies what was staged, all or nothing.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        self.disk.writable()?;
        let bytes = {
            let _rewriting = self.rewriting.write();
            let bytes = writes.bytes;
            self.disk.written(|| match <[_; 1]>::try_from(writes.entries) {
                // One entry is all or nothing by itself. A batch costs two writes to the disk more.
                Ok([(key, Some(value))]) => self.tree.insert(key, value).map(drop),
                Ok([(key, None)]) => self.tree.remove(key).map(drop),
                Err(entries) => self.tree.apply_batch(Writes { entries, ..writes }.into_batch()),
            })?;
            bytes
        };
        self.disk.press(bytes)
    }

    /// Writes an entry that is not there yet, so that after a crash it is there as a whole or, once
    /// [`Tree::drop_unfinished`] has looked, not at all.
    ///
    /// The first part is written last: without it there is no entry. That costs no batch, for which
    /// the database writes to the disk twice at once, however small it is.
    pub(super) fn append(&self, writes: Writes) -> Result<(), StoreError> {
        self.disk.writable()?;
        let bytes = writes.bytes;
        {
            let _rewriting = self.rewriting.write();
            for (key, value) in writes.entries.into_iter().rev() {
                // Nothing is removed for an entry that is not there.
                let value = value.unwrap_or_default();
                self.disk.written(|| self.tree.insert(key, value))?;
            }
        }
        self.disk.press(bytes)
    }

    /// Removes what is left of an entry at the end whose first part was never written.
    pub(super) fn drop_unfinished(&self) -> Result<(), StoreError> {
        let Some(last) = self.last_key()? else { return Ok(()) };
        if self.part(&last, 0)?.is_none() {
            self.remove_last(&last)?;
        }
        Ok(())
    }

    /// The key of the first entry at or after a key.
    pub(super) fn next_key(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = caught(|| self.tree.range(from..).next().transpose());
        let Some((key, _)) = found.map_err(|error| self.read_error(error))? else {
            return Ok(None);
        };
        match split_part_key(&key) {
            Some((entry, 0)) => Ok(Some(entry.to_vec())),
            _ => Err(self.corrupt(&key, Corruption::Parts)),
        }
    }

    /// The key of the last entry.
    pub(super) fn last_key(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let last = caught(|| self.tree.last()).map_err(|error| self.read_error(error))?;
        let Some((key, _)) = last else { return Ok(None) };
        match split_part_key(&key) {
            Some((entry, _)) => Ok(Some(entry.to_vec())),
            None => Err(self.corrupt(&key, Corruption::Parts)),
        }
    }

    /// Removes the entries from `from` up to, but without, `below`, the first ones first; after a
    /// crash whole entries are there or gone. Returns how many there were.
    pub(super) fn remove_first(&self, from: &[u8], below: &[u8]) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let keys = self.tree.range(from..below).keys();
            match self.remove_some(keys)? {
                0 => return Ok(removed),
                entries => removed += entries,
            }
        }
    }

    /// Removes the entries from `from` on, the last ones first; after a crash whole entries are there
    /// or gone.
    pub(super) fn remove_last(&self, from: &[u8]) -> Result<(), StoreError> {
        while self.remove_some(self.tree.range(from..).rev().map(|entry| entry.map(|e| e.0)))? > 0 {
        }
        Ok(())
    }

    /// Removes as many entries as fit into a batch, but at least one.
    fn remove_some(
        &self,
        mut keys: impl Iterator<Item = sled::Result<sled::IVec>>,
    ) -> Result<u64, StoreError> {
        let mut writes = Writes::default();
        let mut entries = 0;
        let mut current: Option<Vec<u8>> = None;
        while let Some(key) =
            caught(|| keys.next().transpose()).map_err(|error| self.read_error(error))?
        {
            let (entry, _) =
                split_part_key(&key).ok_or_else(|| self.corrupt(&key, Corruption::Parts))?;
            if current.as_deref() != Some(entry) {
                if writes.parts >= BATCH_ENTRIES {
                    break;
                }
                entries += 1;
                current = Some(entry.to_vec());
            }
            writes.bytes += key.len();
            writes.parts += 1;
            writes.entries.push((key.to_vec(), None));
        }
        if entries > 0 {
            self.apply(writes)?;
        }
        Ok(entries)
    }

    pub(super) fn corrupt(&self, key: &[u8], problem: Corruption) -> StoreError {
        StoreError::Corrupt { tree: self.name, key: key.to_vec(), problem }
    }

    fn part(&self, key: &[u8], number: u32) -> Result<Option<sled::IVec>, StoreError> {
        caught(|| self.tree.get(part_key(key, number))).map_err(|error| self.read_error(error))
    }

    fn split<'a>(&self, key: &[u8], part: &'a [u8]) -> Result<(Head, &'a [u8]), StoreError> {
        let head = part.split_first_chunk().and_then(|(checksum, rest)| {
            let (parts, chunk) = rest.split_first_chunk()?;
            Some((Head { checksum: *checksum, parts: u32::from_be_bytes(*parts) }, chunk))
        });
        match head {
            Some((head, chunk)) if head.parts > 0 => Ok((head, chunk)),
            _ => Err(self.corrupt(key, Corruption::Parts)),
        }
    }

    fn verify(&self, key: &[u8], head: &Head, content: &[u8]) -> Result<(), StoreError> {
        if self.checksum(key, content) == head.checksum {
            Ok(())
        } else {
            Err(self.corrupt(key, Corruption::Checksum))
        }
    }

    fn checksum(&self, key: &[u8], content: &[u8]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.name.as_str().as_bytes()).update(&[0]).update(key).update(content);
        let mut checksum = [0; 8];
        hasher.finalize_xof().fill(&mut checksum);
        checksum
    }

    fn read_error(&self, error: sled::Error) -> StoreError {
        database_error(&self.disk.core.path, error)
    }
}

/// What the database calls the file that it keeps locked.
const DATABASE_FILE: &str = "db";

const FORMAT_VERSION_KEY: &[u8] = b"format_version";

/// The most entries in one batch: ten thousand at once cost gigabytes of memory.
pub(super) const BATCH_ENTRIES: usize = 500;

/// Seventeen parts, the most in one page, stay below 128 KiB.
const PART_BYTES: usize = 7 * 1024;

const HEAD_BYTES: usize = 12;

const FLUSHED_BEHIND_BYTES: usize = 128 * 1024;

const IN_FLIGHT_BYTES_MAX: usize = 512 * 1024;

/// How many parts an entry of so many bytes has.
pub(super) fn parts(bytes: usize) -> u32 {
    // 2^32 parts are more than any memory holds.
    bytes.div_ceil(PART_BYTES).max(1) as u32
}

#[derive(PartialEq, Eq)]
struct Head {
    checksum: [u8; 8],
    parts: u32,
}

fn part_key(key: &[u8], number: u32) -> Vec<u8> {
    [key, &number.to_be_bytes()].concat()
}

fn split_part_key(key: &[u8]) -> Option<(&[u8], u32)> {
    let (entry, number) = key.split_last_chunk()?;
    Some((entry, u32::from_be_bytes(*number)))
}

/// Makes a new database aside, so that it is either not there or whole: the database does not open
/// what it was killed in the making of.
fn make(path: &Path) -> Result<(), StoreError> {
    let io_error = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    };
    if path.try_exists().map_err(io_error(path))? {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error(&unfinished)(error));
        }
        _ => {}
    }
    let database = open_database(&unfinished, sled::Config::default().flush_every_ms(None))?;
    let flushed = caught(|| database.flush());
    flushed.map_err(|error| database_error(&unfinished, error))?;
    drop(database);
    wait_for_former_owner(&unfinished.join(DATABASE_FILE))?;
    fs::rename(&unfinished, path).map_err(io_error(path))
}

fn open_database(path: &Path, config: sled::Config) -> Result<sled::Db, StoreError> {
    caught(|| config.path(path).open()).map_err(|error| database_error(path, error))
}

/// The database panics where it finds what it does not expect, mostly in damaged files. Its locks do
/// not outlive the panic, and nothing of ours is changed in between.
fn caught<T>(call: impl FnOnce() -> sled::Result<T>) -> sled::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload.downcast::<&str>().map_or("a panic", |text| *text).to_owned(),
        };
        Err(sled::Error::ReportableBug(text))
    })
}

/// Dropping the database leaves some of its work to threads that it does not wait for, and they keep
/// its file locked a little longer than the directory is.
fn wait_for_former_owner(file: &Path) -> Result<(), StoreError> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let opened = match File::open(file) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StoreError::Io { path: file.to_owned(), source }),
    };
    let deadline = Instant::now() + PATIENCE;
    while opened.try_lock().is_err() {
        if Instant::now() > deadline {
            return Err(StoreError::Locked { path: file.to_owned(), holder: None });
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Closing alone would leave the lock with a child process that is being started right now.
    opened.unlock().map_err(|source| StoreError::Io { path: file.to_owned(), source })
}

fn database_error(path: &Path, error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::Io { path: path.to_owned(), source },
        source => StoreError::Database { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (tempfile::TempDir, Arc<Disk>, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path().join("state"), 1 << 20, None).unwrap();
        let tree = disk.tree(TreeName::Ledger).unwrap();
        (directory, disk, tree)
    }

    fn staged(tree: &Tree, content: &[u8]) -> Writes {
        let mut writes = Writes::default();
        tree.stage(&mut writes, b"key", content).unwrap();
        writes
    }

    #[test]
    fn a_panic_of_the_database_is_an_error_with_its_words() {
        for panics in [|| panic!("a plain text"), || panic!("{} text", "a formatted")] {
            match caught::<()>(panics) {
                Err(sled::Error::ReportableBug(text)) => assert!(text.ends_with("text"), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn after_a_write_that_failed_or_panicked_every_write_is_refused() {
        let failures: [fn() -> sled::Result<()>; 2] =
            [|| Err(sled::Error::Unsupported("no room".to_owned())), || panic!("no room")];
        for failure in failures {
            let (_directory, disk, tree) = opened();
            tree.apply(staged(&tree, b"before")).unwrap();
            assert!(matches!(disk.written(failure), Err(StoreError::Database { .. })));
            let refused = [
                tree.apply(staged(&tree, b"after")),
                disk.apply_both((&tree, staged(&tree, b"after")), (&tree, Writes::default())),
                tree.remove_last(b"key"),
                disk.flush(),
            ];
            for refused in refused {
                assert!(matches!(refused, Err(StoreError::Broken)), "{refused:?}");
            }
            assert_eq!(tree.read(b"key").unwrap().as_deref(), Some(b"before".as_slice()));
        }
    }

    #[test]
    fn an_entry_of_which_the_first_part_was_never_written_is_dropped() {
        let content = [7; 3 * PART_BYTES];
        for written in 0..=parts(content.len()) as usize {
            let (_directory, _disk, tree) = opened();
            let mut before = Writes::default();
            tree.stage(&mut before, b"before", b"it").unwrap();
            tree.append(before).unwrap();
            // The process dies after so many parts, the last ones first.
            for (key, value) in staged(&tree, &content).entries.into_iter().rev().take(written) {
                tree.tree.insert(key, value.unwrap()).unwrap();
            }
            tree.drop_unfinished().unwrap();
            assert_eq!(tree.read(b"before").unwrap().as_deref(), Some(b"it".as_slice()));
            let is_whole = written == parts(content.len()) as usize;
            assert_eq!(tree.read(b"key").unwrap().is_some(), is_whole, "{written} parts");
            let last = if is_whole { b"key".as_slice() } else { b"before" };
            assert_eq!(tree.last_key().unwrap().as_deref(), Some(last));
        }
    }

    #[test]
    fn what_is_in_flight_is_bounded() {
        let (_directory, disk, tree) = opened();
        let other = disk.tree(TreeName::Log).unwrap();
        for round in 0..20 {
            tree.apply(staged(&tree, &[round; IN_FLIGHT_BYTES_MAX / 3])).unwrap();
            assert!(disk.core.unflushed.bytes() < IN_FLIGHT_BYTES_MAX);
        }
        let content = [1; IN_FLIGHT_BYTES_MAX];
        let both = [(&tree, staged(&tree, &content)), (&other, Writes::default())];
        let [one, another] = both;
        disk.apply_both(one, another).unwrap();
        assert!(disk.core.unflushed.bytes() < IN_FLIGHT_BYTES_MAX);
    }

    #[test]
    fn what_was_written_is_flushed_without_being_asked_for() {
        let (_directory, disk, tree) = opened();
        tree.apply(staged(&tree, &[1; FLUSHED_BEHIND_BYTES])).unwrap();
        while disk.core.unflushed.bytes() > 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_flush_that_failed_behind_the_back_is_told_to_the_next_writer() {
        let (_directory, disk, tree) = opened();
        let failed = disk.core.written::<()>(|| Err(sled::Error::ReportableBug("planted".into())));
        *disk.core.failure.lock() = failed.err();
        let refused = tree.apply(staged(&tree, &[1])).unwrap_err();
        assert!(matches!(refused, StoreError::Database { .. }), "{refused}");
        assert!(matches!(tree.apply(staged(&tree, &[1])), Err(StoreError::Broken)));
    }
}
