//! The embedded database: where the groups of the ledger are, which files the view has, and what the directory is about.

use std::{
    fs::{self, File},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(test)]
use super::witness::{Change, tell};
use super::{
    calls::{Calls, Waker},
    files::failed,
    flusher::{Flusher, Unflushed},
    health::Health,
    tree::Tree,
};
use crate::{Corruption, StoreError, TreeName};

/// The database of one directory, shared by its trees.
pub(super) struct Disk {
    /// These end before the database does: fields are dropped in this order.
    flusher: Flusher,
    _waker: Waker,
    core: Arc<Core>,
}

/// What the flusher shares.
struct Core {
    database: Guarded<sled::Db>,
    path: PathBuf,
    health: Arc<Health>,
    unflushed: Unflushed,
    wakes: AtomicU64,
}

impl Disk {
    /// The caller holds the lock of the directory.
    pub(super) fn open(
        path: PathBuf,
        cache_bytes: u64,
        flush_every_ms: Option<u64>,
        health: Arc<Health>,
    ) -> Result<Arc<Self>, StoreError> {
        make(&path)?;
        wait_for_former_owner(&path.join(DATABASE_FILE), PATIENCE)?;
        clear_unfinished(&path)?;
        let config =
            sled::Config::default().cache_capacity(cache_bytes).flush_every_ms(flush_every_ms);
        let database = open_database(&path, config)?;
        let core = Arc::new(Core {
            database,
            path,
            health,
            unflushed: Unflushed::default(),
            wakes: AtomicU64::new(0),
        });
        let refused = |source| StoreError::Io { path: core.path.clone(), source };
        let behind = Arc::clone(&core);
        let flusher = Flusher::start(move || behind.health.behind(|| behind.flush()));
        let watched = Arc::clone(&core);
        let calls = Arc::clone(&core.database.calls);
        let waker = Waker::start(calls, PATIENCE_WITH_A_CALL, move || watched.wake());
        let (flusher, waker) = (flusher.map_err(refused)?, waker.map_err(refused)?);
        Ok(Arc::new(Self { flusher, _waker: waker, core }))
    }

    pub(super) fn tree(self: &Arc<Self>, name: TreeName) -> Result<Tree, StoreError> {
        let tree = self
            .core
            .database
            .call(|database| database.open_tree(name.as_str()))
            .map_err(|error| database_error(&self.core.path, error))?;
        let tree = Guarded { database: tree, calls: Arc::clone(&self.core.database.calls) };
        Ok(Tree::new(Arc::clone(self), name, tree))
    }

    /// The version of the form that everything is in; `None` in a new database.
    ///
    /// It is stored as plain bytes, so that a program that knows another form can still read it.
    pub(super) fn format_version(&self) -> Result<Option<u32>, StoreError> {
        let stored = self
            .core
            .database
            .call(|database| database.get(FORMAT_VERSION_KEY))
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
        self.written(&self.core.database, |database| {
            #[cfg(test)]
            tell(|| Change::DatabaseWrote(TreeName::Meta))?;
            database.insert(FORMAT_VERSION_KEY, &version.to_be_bytes())
        })?;
        self.flush()
    }

    /// Refuses once a write failed: what is in memory may then be ahead of what is on disk.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.core.health.writable()
    }

    /// Takes note of a change that failed half way.
    pub(super) fn failed(&self, error: StoreError) -> StoreError {
        self.core.health.failed(error)
    }

    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.core.flush()
    }

    /// Flushes, and has the operating system bring it to the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.flush()?;
        let path = self.core.path.join(DATABASE_FILE);
        let synced = File::open(&path).and_then(|file| {
            #[cfg(test)]
            tell(|| Change::DatabaseSynced)?;
            file.sync_all()
        });
        synced.map_err(|source| self.core.health.failed(StoreError::Io { path, source }))
    }

    pub(super) fn error(&self, error: sled::Error) -> StoreError {
        database_error(&self.core.path, error)
    }

    /// Has what was written flushed after every [`FLUSHED_BEHIND_BYTES`], and waits for the disk before
    /// there are [`IN_FLIGHT_BYTES_MAX`].
    ///
    /// The database writes from a pool of seven threads. When the file shrinks while all of them
    /// wait for the segment that is being truncated, and the truncation waits for one of them, it
    /// stands still for ever. That takes megabytes of writes in flight.
    pub(super) fn press(&self, bytes: usize) -> Result<(), StoreError> {
        let unflushed = self.core.unflushed.add(bytes);
        if unflushed >= IN_FLIGHT_BYTES_MAX {
            return self.flush();
        }
        if unflushed >= FLUSHED_BEHIND_BYTES {
            self.flusher.wake();
        }
        Ok(())
    }

    /// Writes to something of the database.
    pub(super) fn written<D, T>(
        &self,
        written: &Guarded<D>,
        write: impl FnOnce(&D) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        self.core.written(written, write)
    }
}

impl Core {
    fn flush(&self) -> Result<(), StoreError> {
        self.unflushed.flush(|| {
            self.written(&self.database, |database| {
                #[cfg(test)]
                tell(|| Change::DatabaseFlushed)?;
                database.flush().map(drop)
            })
        })?;
        // The database gives back a buffer of half a megabyte when this thread has sixty more things to
        // give back, and a thread that does little else than flush takes very long for that.
        crossbeam_epoch::pin().flush();
        Ok(())
    }

    /// Writes something, so that a write that failed unnoticed is noticed. What comes of it is the business of
    /// those who wait.
    fn wake(&self) {
        let number = self.wakes.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let _told_to_who_waits = caught(|| self.database.database.insert(WAKE_KEY, &number));
    }

    fn written<D, T>(
        &self,
        written: &Guarded<D>,
        write: impl FnOnce(&D) -> sled::Result<T>,
    ) -> Result<T, StoreError> {
        let done = written.call(write);
        done.map_err(|error| self.health.failed(database_error(&self.path, error)))
    }
}

/// The database, or a tree of it. The only way to it is [`Guarded::call`], so that no call is
/// forgotten: it panics where it finds what it does not expect, mostly in damaged files, and now and then
/// does not come back.
pub(super) struct Guarded<D> {
    database: D,
    calls: Arc<Calls>,
}

impl<D> Guarded<D> {
    pub(super) fn call<T>(&self, call: impl FnOnce(&D) -> sled::Result<T>) -> sled::Result<T> {
        let _under_way = self.calls.begin();
        caught(|| call(&self.database))
    }
}

/// What the database calls the file that it keeps locked.
const DATABASE_FILE: &str = "db";

/// How long the last owner of the database may take to let go of it.
const PATIENCE: Duration = Duration::from_secs(10);

const FORMAT_VERSION_KEY: &[u8] = b"format_version";

/// What nobody reads.
const WAKE_KEY: &[u8] = b"wake";

/// After so long without a call that came back, those that are under way are woken.
const PATIENCE_WITH_A_CALL: Duration = Duration::from_secs(1);

const FLUSHED_BEHIND_BYTES: usize = 128 * 1024;

const IN_FLIGHT_BYTES_MAX: usize = 512 * 1024;

/// Makes a new database aside, so that it is either not there or whole: the database does not open
/// what it was killed in the making of.
fn make(path: &Path) -> Result<(), StoreError> {
    if path.try_exists().map_err(failed(path))? {
        return Ok(());
    }
    let unfinished = path.with_extension("new");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(&unfinished)(error));
        }
        _ => {}
    }
    let database = open_database(&unfinished, sled::Config::default().flush_every_ms(None))?;
    // Dropping it flushes as well, but does not say when that fails.
    let flushed = database.call(|database| database.flush());
    flushed.map_err(|error| database_error(&unfinished, error))?;
    drop(database);
    // What its threads still do they do under this name.
    wait_for_former_owner(&unfinished.join(DATABASE_FILE), PATIENCE)?;
    fs::rename(&unfinished, path).map_err(failed(path))
}

fn open_database(path: &Path, config: sled::Config) -> Result<Guarded<sled::Db>, StoreError> {
    let opened = caught(|| config.path(path).open());
    let database = opened.map_err(|error| database_error(path, error))?;
    Ok(Guarded { database, calls: Arc::default() })
}

/// Removes what the database was writing when its process was killed in the opening. It takes such a file for
/// a snapshot of its pages, and refuses to open because that is damaged; without it, it reads its log.
fn clear_unfinished(path: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let file = entry.map_err(failed(path))?.path();
        if file.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(&file).map_err(failed(&file))?;
        }
    }
    Ok(())
}

/// A panic of the database as an error. Its locks do not outlive the panic, and nothing of ours is
/// changed in between.
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
fn wait_for_former_owner(file: &Path, patience: Duration) -> Result<(), StoreError> {
    let opened = File::open(file).map_err(failed(file))?;
    let deadline = Instant::now() + patience;
    while opened.try_lock().is_err() {
        if Instant::now() > deadline {
            return Err(StoreError::Locked { path: file.to_owned(), holder: None });
        }
        thread::sleep(Duration::from_millis(1));
    }
    // Closing alone would leave the lock with a child process that is being started right now.
    opened.unlock().map_err(failed(file))
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
    use crate::store::{tree::Writes, witness::watch};

    fn opened() -> (tempfile::TempDir, Arc<Disk>, Tree) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let disk = Disk::open(path, 1 << 20, None, Arc::default()).unwrap();
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
            let failed = disk.written(&disk.core.database, |_| failure());
            assert!(matches!(failed, Err(StoreError::Database { .. })));
            let refused = [tree.apply(staged(&tree, b"after")), disk.sync(), disk.flush()];
            for refused in refused {
                assert!(matches!(refused, Err(StoreError::Broken)), "{refused:?}");
            }
            assert_eq!(tree.read(b"key").unwrap().as_deref(), Some(b"before".as_slice()));
        }
    }

    #[test]
    fn what_is_in_flight_is_bounded() {
        let (_directory, disk, tree) = opened();
        for round in 0..20 {
            tree.apply(staged(&tree, &[round; IN_FLIGHT_BYTES_MAX / 3])).unwrap();
            assert!(disk.core.unflushed.bytes() < IN_FLIGHT_BYTES_MAX);
        }
        let too_much = staged(&tree, &[0; IN_FLIGHT_BYTES_MAX]);
        let (written, changes) = watch(|| tree.apply(too_much));
        written.unwrap();
        assert_eq!(changes, [Change::DatabaseWrote(TreeName::Ledger), Change::DatabaseFlushed]);
    }

    #[test]
    fn what_was_written_is_flushed_without_being_asked_for() {
        let (_directory, disk, tree) = opened();
        tree.apply(staged(&tree, &[1; FLUSHED_BEHIND_BYTES])).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while disk.core.unflushed.bytes() > 0 {
            assert!(Instant::now() < deadline, "nobody flushes");
            thread::yield_now();
        }
    }

    #[test]
    fn a_disk_that_is_full_is_told_from_a_database_that_fails() {
        let (_directory, disk, _) = opened();
        let full = |_: &_| Err::<(), _>(io::Error::from(io::ErrorKind::StorageFull).into());
        let error = disk.written(&disk.core.database, full).unwrap_err();
        assert!(error.to_string().contains("free space"), "{error}");
    }

    #[test]
    fn who_waits_for_the_database_for_ever_is_woken_by_a_write() {
        let (_directory, disk, _) = opened();
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_woken = disk.core.database.call(|database| {
            while database.get(WAKE_KEY)?.is_none() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            database.get(WAKE_KEY).map(|written| written.is_some())
        });
        assert!(is_woken.unwrap());
    }

    #[test]
    fn a_database_that_nobody_lets_go_of_is_in_use() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().lock().unwrap();
        let refused = wait_for_former_owner(file.path(), Duration::ZERO);
        assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    }

    #[test]
    fn a_flush_that_failed_behind_the_back_is_told_to_the_next_writer() {
        let (_directory, disk, tree) = opened();
        let planted = |_: &_| Err::<(), _>(sled::Error::ReportableBug("planted".into()));
        let failed = disk.written(&disk.core.database, planted).unwrap_err();
        disk.core.health.behind(|| Err(failed));
        let refused = tree.apply(staged(&tree, &[1])).unwrap_err();
        assert!(matches!(refused, StoreError::Database { .. }), "{refused}");
        assert!(matches!(tree.apply(staged(&tree, &[1])), Err(StoreError::Broken)));
    }
}
