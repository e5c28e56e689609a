//! The versioned store: what every key was just after each of the last blocks, on disk and in memory.
//!
//! # Terminology
//!
//! * The **base** is the state before the first block: what a sidecar that did not follow the chain
//!   from its beginning learned from elsewhere.
//! * The **log** holds the committed blocks: reference, facts, writes, executed transactions, digest.
//!   Its last entry is the **tip**. It is the truth; all but the base and the ledger is derived.
//! * The **window** holds, in memory, the versions that the blocks above the view wrote.
//! * The **view** holds one record per account, at a block below the tip, in sorted files that never
//!   change; *folding* brings it forward.
//! * A **snapshot** reads the state just after one block between the view and the tip, and **pins**
//!   it until it is dropped or **revoked**.
//! * The **ledger** holds what was found out about each block, in bytes that belong to the caller.
//! * A version is a value, *none*, or **unknown**: the value cannot be told, and reading it is an
//!   error rather than an answer.
//!
//! # Lifecycle
//!
//! A directory is created by [`Store::open`], filled with [`Store::seed`], given its meaning with
//! [`Store::set_identity`] (do it last: a store with an identity has a complete base), and then grows
//! by [`Store::commit`], one block after the other, or by its halves, [`Store::stage`] in memory and
//! [`Store::write`] behind it. A caller that did not know the whole base beforehand
//! adds to it with the block that needs more of it. [`Store::advance_view`] folds blocks that will
//! not be rolled back, which bounds the memory of the window, and [`Store::prune_log`] then drops
//! what the log need not keep. [`Store::rollback`] drops blocks above the view, and never goes below.
//!
//! Opening replays the log from the view's tip on. Of a fold that did not end nothing is there but a file
//! that nobody names, which is removed.
//!
//! # Durability
//!
//! The log, the ledger and the records of the view are in files of their own; the index of the ledger and the
//! list of the view's files are in a database. A commit is one write to a file of the log: when it returns, the
//! operating system has the block. One that is only staged is in memory, and after a crash it was never there.
//! The last entries of the ledger, up to 8 KiB, are gathered before they are written: when there are more, with a
//! flush, a fold, a rollback or an entry that replaces another, and when the store is closed. Then the operating
//! system has them as well. What the database is given goes into a buffer in this process, and is written to
//! its file in order when the buffer is full, when somebody flushes, every `flush_every_ms`, and after every
//! 128 KiB on another thread.
//!
//! * **When the process crashes**, however it ends, every block whose commit returned is there, and
//!   of the one that was being written nothing. A rollback that was going on has dropped all, some or
//!   none of its blocks, the last ones first. Of the ledger some first part of what was written is there, in
//!   order and with no gap: everything up to the last [`Store::flush`] that returned, and without one all but
//!   the entries that are still gathered. So the ledger may end below the tip, and never has a verdict whose
//!   block was not committed. What the database had in its buffer is lost: the blocks that were folded are
//!   folded again, and the groups that came into the index are found in their file.
//! * **When the power fails**, every block and every verdict that was there when the last flush began that
//!   returned is found again, if the disk is honest: a flush waits for `fdatasync` of the log and then of the
//!   ledger, opening waits for that of the log as well, and the files say how far they are known to be on the
//!   disk. Below that everything has to
//!   be right; above it the first thing that is not right, be it torn, zeros or noise, ends the file,
//!   whatever follows, because a disk writes in any order. A rollback that no flush followed may be
//!   undone, and the ledger may be ahead of the log by what was written since the last flush, or beside it. For
//!   the database the promise is weaker: on Linux its own flush is a `write`
//!   and a `sync_file_range`, which neither empties the disk's cache nor writes the new length of a
//!   file that grew. An `fsync` happens in the background every `flush_every_ms`, when files are
//!   removed, and when the store is closed. What the disk wrote in another order is refused as damaged, or ends
//!   the database's own log and so is found as an older moment: an older view, from which the log is folded
//!   again, and an older index, which is completed from the file of the ledger.
//! * The log and the ledger are brought to the disk before a fold writes what is in the log to the view, and the
//!   view before files of the log are removed, so none depends on the other's luck. A group of the ledger is on
//!   the disk before the index names it, and a file of the view before the database does; one that is not named
//!   any more is removed when the disk knows of that: whichever list of files a loss of power leaves, they are
//!   there and whole.
//! * A new database is made aside and then renamed, because one whose making was killed half way
//!   cannot be opened.
//! * Everything that is read is verified by a checksum. A byte that changed is
//!   [`StoreError::Corrupt`] or [`StoreError::Database`], never state. Of log and ledger that holds up to the
//!   last flush, the end of it included. Where the file of the database was cut, or damaged in what was
//!   written last, it opens as it was earlier, because it cannot tell damage at the end of its file from a write
//!   that was never finished. Of the ledger nothing is lost by that; *a view that is older than the log that is
//!   left is refused*, and an identity that was set later is gone.
//! * After a failed write every further write is refused until the store is opened again, because
//!   what is on disk is only known then. A disk without room is such a failure: it is met by the
//!   write or the flush that follows, as [`StoreError::Io`] or [`StoreError::Database`], and what was
//!   flushed before is there when there is room again.
//! * The database panics in places where it finds what it does not expect. Such a panic in a call of
//!   the store is caught and becomes [`StoreError::Database`], though the panic hook still prints
//!   it. Its own threads cannot be guarded: a panic there is printed and ends that thread. The
//!   background flush also ends, with no more than a line in the log, at the first write that fails;
//!   the next write of the store meets the same failure. Whoever waits for such a write may not be told by the
//!   database; after a second one more write is made, which makes it tell. What aborts the process cannot be
//!   caught.
//!
//! # Ownership
//!
//! The directory belongs to one [`Store`] at a time: a lock file, locked by the operating system, says
//! whose. The store closes when the last clone *and the last snapshot* are dropped. Writers (commit,
//! rollback, seed) take turns; folding and pruning run beside commits. Readers never wait for a writer,
//! apart from the moment in which the window or the database takes in what it is given.

mod block;
mod cache;
mod calls;
mod commit;
mod disk;
mod files;
mod filter;
mod flusher;
mod fold;
mod group;
mod health;
mod ledger;
mod ledger_file;
mod lock;
mod log;
#[cfg(test)]
mod order;
mod pins;
#[cfg(test)]
mod power;
mod recent;
mod record;
mod recover;
mod run;
mod segment;
mod snapshot;
mod tree;
mod view;
mod window;
#[cfg(test)]
mod witness;

use std::{fmt, fs, ops::RangeInclusive, path::Path, sync::Arc};

use parking_lot::{Mutex, RwLock};

pub use block::{BlockCommit, CommittedBlock, Tip};
pub use commit::Staged;
pub use lock::{LockHolder, lock_holder};
pub(crate) use run::RunName;
pub use snapshot::Snapshot;

use self::{
    commit::Writer,
    disk::Disk,
    health::Health,
    ledger::Ledger,
    ledger_file::LedgerFile,
    lock::DirectoryLock,
    log::Log,
    pins::Frontier,
    recent::{Recent, oldest_kept},
    tree::{Tree, Writes},
    view::View,
    window::Window,
};
use crate::{
    BlockFacts, BlockRef, Corruption, StateDelta, StateKey, StoreError, TopoHeight, TreeName,
    TxHash,
    version::{Position, Stamped, Version},
};

/// A versioned store in a directory. Cheap to clone; every clone is the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How often the database, which holds the index of the ledger and the list of the view's files, writes out
    /// and fsyncs by itself, in milliseconds; `None` for never.
    pub flush_every_ms: Option<u64>,
    /// How much memory records of accounts may take. It is taken when the store is opened.
    pub cache_bytes: u64,
    /// How much memory the database may take for its own pages.
    pub page_cache_bytes: u64,
    /// How long a file of the log gets before another one is begun, in bytes. [`Store::prune_log`]
    /// removes whole files.
    pub log_file_bytes: u64,
    /// Where this process answers questions; whoever finds the directory locked is told.
    pub listen_address: Option<String>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            flush_every_ms: Some(100),
            cache_bytes: 3 << 20,
            // For each part of what it keeps the database has room for one page then, and takes what it takes for
            // that. Nothing that is read often is there.
            page_cache_bytes: 256 << 10,
            log_file_bytes: 4 << 20,
            listen_address: None,
        }
    }
}

impl Store {
    /// The form that a directory is in. It changes with every change of what is on disk.
    pub const FORMAT_VERSION: u32 = 8;

    /// Opens a directory, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] while somebody else has it open, [`StoreError::FormatVersion`] if
    /// another version of this program wrote it, [`StoreError::Corrupt`] if what is in it is not
    /// what was written, [`StoreError::Io`] and [`StoreError::Database`] if it cannot be read.
    pub fn open(directory: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        fs::create_dir_all(directory)
            .map_err(|source| StoreError::Io { path: directory.to_owned(), source })?;
        let lock = DirectoryLock::acquire(directory, options.listen_address)?;
        let health = Arc::new(Health::default());
        let disk = Disk::open(
            directory.join("state"),
            options.page_cache_bytes,
            options.flush_every_ms,
            Arc::clone(&health),
        )?;
        let meta = disk.tree(TreeName::Meta)?;
        let (index, view) = (disk.tree(TreeName::Ledger)?, disk.tree(TreeName::View)?);
        let [log_directory, ledger_directory, view_directory] =
            ["log", "ledger", "view"].map(|part| directory.join(part));
        let is_new = || -> Result<bool, StoreError> {
            let trees = [&meta, &index, &view];
            let written = trees.into_iter().map(|tree| Ok(!tree.is_empty()?));
            let is_written = written.collect::<Result<Vec<_>, StoreError>>()?.contains(&true);
            Ok(!is_written
                && Log::is_absent(&log_directory)?
                && LedgerFile::is_absent(&ledger_directory)?)
        };
        match disk.format_version()? {
            Some(Self::FORMAT_VERSION) => {}
            Some(found) => {
                return Err(StoreError::FormatVersion {
                    path: directory.to_owned(),
                    found,
                    supported: Self::FORMAT_VERSION,
                });
            }
            None if is_new()? => {
                // Before there is a version, so that a log that is missing later is noticed.
                Log::make(&log_directory)?;
                LedgerFile::make(&ledger_directory)?;
                View::make(&view_directory)?;
                disk.set_format_version(Self::FORMAT_VERSION)?;
            }
            None => return Err(meta.corrupt(b"format_version", Corruption::Parts)),
        }

        let log = Log::open(log_directory, options.log_file_bytes, Arc::clone(&health))?;
        let ledger = Ledger::open(&ledger_directory, &disk, Arc::clone(&health))?;
        let view = View::open(&disk, view, view_directory, options.cache_bytes, health)?;
        let recovered = recover::recover(&log, &view)?;
        // The files of the view have what blocks below it brought.
        for base in &recovered.bases {
            view.learn(view.news(base)?);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                meta,
                log,
                ledger,
                view,
                window: recovered.window,
                recent: RwLock::new(recovered.recent),
                frontier: recovered.frontier,
                writer: Mutex::new(Writer::after(recovered.terms)),
                staging: Mutex::new(()),
                folding: Mutex::new(()),
                _lock: lock,
            }),
        })
    }

    /// What this directory is about, if that was set.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn identity(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.meta.read(IDENTITY_KEY)
    }

    /// Says what this directory is about, in bytes that belong to the caller. Everything that was
    /// seeded before survives if this does.
    ///
    /// Saying the same again changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::IdentityFixed`] if it is about something else, or about nothing and not empty.
    pub fn set_identity(&self, identity: &[u8]) -> Result<(), StoreError> {
        let _writer = self.inner.writer.lock();
        match self.identity()? {
            Some(stored) if stored == identity => return Ok(()),
            None if self.head().is_none() => {}
            _ => return Err(StoreError::IdentityFixed),
        }
        self.inner.disk.flush()?;
        let mut writes = Writes::default();
        self.inner.meta.stage(&mut writes, IDENTITY_KEY, identity)?;
        self.inner.meta.apply(writes)?;
        self.inner.disk.flush()
    }

    /// Writes values of the base, over those that were written before.
    ///
    /// Nothing of it is atomic: after a crash some records are there and some are not, and seeding
    /// again is right. Snapshots wait until it is done.
    ///
    /// # Errors
    ///
    /// [`StoreError::HasBlocks`] and [`StoreError::Pinned`].
    pub fn seed(&self, base: &StateDelta) -> Result<(), StoreError> {
        let _writer = self.inner.writer.lock();
        let frontier = self.inner.frontier.lock();
        if frontier.head.is_some() {
            return Err(StoreError::HasBlocks);
        }
        if frontier.is_pinned() {
            return Err(StoreError::Pinned);
        }
        let mut values: Vec<_> = base.iter().collect();
        values.sort_by_key(|(key, _)| *key.account());
        let versions = values.into_iter().map(|(key, value)| {
            let version = Version::Known(value.cloned());
            (*key, Stamped { written_at: None, version })
        });
        self.inner.view.seed(versions)
    }

    /// The last block that can be read: the tip, or one that was staged above it.
    pub fn head(&self) -> Option<BlockRef> {
        self.inner.frontier.head()
    }

    /// The last block that is written and the state after it.
    pub fn tip(&self) -> Option<Tip> {
        self.inner.frontier.tip()
    }

    /// The block that the view stands at: nothing below can be read or rolled back to. `None` for the
    /// base.
    pub fn view_tip(&self) -> Option<TopoHeight> {
        self.inner.frontier.view()
    }

    /// Commits a block on top of the tip and returns the new tip. In an empty store the block may have
    /// any topoheight.
    ///
    /// A block that is committed already (the same hash at the same topoheight) changes nothing, and
    /// what was the tip after it is returned.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNext`], [`StoreError::OtherBlock`], [`StoreError::Pruned`], and whatever
    /// reading the replaced versions or writing the log may say. Then nothing was committed.
    pub fn commit(&self, block: BlockCommit) -> Result<Tip, StoreError> {
        self.inner.commit(block)
    }

    /// The first half of a commit: from now on the block can be read and others can be staged on top of it,
    /// but it is not written, and the [`tip`](Self::tip) is below it. [`write`](Self::write) does the rest,
    /// on another thread if that suits.
    ///
    /// When the process ends before that, the block was never committed.
    ///
    /// # Errors
    ///
    /// As [`commit`](Self::commit), but for what writing may say. Then nothing was staged.
    pub fn stage(&self, block: BlockCommit) -> Result<Staged, StoreError> {
        self.inner.stage(block)
    }

    /// The second half of a commit; blocks are written in the order in which they were staged. Returns the new
    /// tip.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotNext`] if the block before it is not written, or if it was rolled back itself, and what
    /// reading the replaced versions or writing the log may say. The block is still staged then, and
    /// can be rolled back.
    pub fn write(&self, staged: Staged) -> Result<Tip, StoreError> {
        self.inner.write(staged)
    }

    /// The state just after a block, pinned.
    ///
    /// # Errors
    ///
    /// [`StoreError::AboveTip`], [`StoreError::BelowView`] and [`StoreError::BeforeFirst`].
    pub fn snapshot_at(&self, topoheight: TopoHeight) -> Result<Snapshot, StoreError> {
        let pin = self.inner.frontier.pin(Some(topoheight))?;
        Ok(Snapshot::new(Arc::clone(&self.inner), pin))
    }

    /// The state before the first block, pinned.
    ///
    /// # Errors
    ///
    /// [`StoreError::BelowView`] once a block was folded into it.
    pub fn base_snapshot(&self) -> Result<Snapshot, StoreError> {
        let pin = self.inner.frontier.pin(None)?;
        Ok(Snapshot::new(Arc::clone(&self.inner), pin))
    }

    /// A block of the log; `None` if it is not there, or not there any more.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn block(&self, topoheight: TopoHeight) -> Result<Option<CommittedBlock>, StoreError> {
        self.inner.log.read(topoheight)
    }

    /// The facts of the last `count` blocks at or below a topoheight, in the order of the blocks;
    /// fewer if there are not that many in memory. There are at least the 64 blocks up to the
    /// view's tip, if the store has them, and all above.
    pub fn facts_before(
        &self,
        topoheight: TopoHeight,
        count: usize,
    ) -> Vec<(BlockRef, BlockFacts)> {
        self.inner.recent.read().facts(topoheight, count)
    }

    /// Which block executed a transaction, among those above the view's tip and the 64 up to it.
    ///
    /// Older ones are forgotten to bound the memory: their transactions cannot come back, because the
    /// nonces that they used are taken.
    pub fn executed_at(&self, tx: &TxHash) -> Option<TopoHeight> {
        self.inner.recent.read().executed_at(tx)
    }

    /// Drops every block above `to` (`None`: every block), written or staged, and revokes the snapshots of them.
    /// Rolling back to the head or above changes nothing. The ledger keeps its entries; those above `to` are
    /// stale and the caller's to rewrite.
    ///
    /// # Errors
    ///
    /// [`StoreError::BelowView`] if blocks above `to` are in the view.
    pub fn rollback(&self, to: Option<TopoHeight>) -> Result<(), StoreError> {
        self.inner.rollback(to)
    }

    /// How many writes of the blocks up to `to` are in memory because the view does not have them yet. Each takes
    /// about 170 bytes.
    pub fn writes_to_fold(&self, to: TopoHeight) -> usize {
        self.inner.window.writes_up_to(to)
    }

    /// Folds the blocks up to `to` into the view, but none above the tip or the lowest pin, and
    /// returns the block that the view stands at then.
    ///
    /// # Errors
    ///
    /// When reading or writing fails. The states below the goal are then not kept any more; the next
    /// call, or the next [`Store::open`], ends what was begun.
    pub fn advance_view(&self, to: TopoHeight) -> Result<Option<TopoHeight>, StoreError> {
        self.inner.advance_view(to)
    }

    /// Drops the log below a topoheight, as far as the view has it, and returns how many blocks that
    /// were. The last 64 blocks up to the view's tip are kept for their facts. Only whole files are
    /// removed, so up to one file more stays on the disk.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn prune_log(&self, below: TopoHeight) -> Result<u64, StoreError> {
        // The view only goes forward and no block above it is touched, so who adds blocks need not wait for this,
        // which waits for the disk.
        let Some(kept) = self.inner.frontier.view().and_then(oldest_kept) else { return Ok(0) };
        self.inner.log.drop_below(below.min(kept), || {
            self.inner.ledger.sync()?;
            self.inner.disk.sync()
        })
    }

    /// Writes the entry of a block in the ledger, over the one that may be there. It is read at once, and survives
    /// a crash after the next [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn put_ledger(&self, topoheight: TopoHeight, entry: &[u8]) -> Result<(), StoreError> {
        self.inner.ledger.put(&[(topoheight, entry)])
    }

    /// The same with many entries, some hundreds of kilobytes at a time, each time all or nothing.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn put_ledgers(&self, entries: &[(TopoHeight, Vec<u8>)]) -> Result<(), StoreError> {
        let entries: Vec<_> =
            entries.iter().map(|(topoheight, entry)| (*topoheight, &entry[..])).collect();
        self.inner.ledger.put(&entries)
    }

    /// The entry of a block in the ledger.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn ledger(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.ledger.read(topoheight)
    }

    /// The entries of the ledger in a range, in order. Ends after an error.
    pub fn ledger_range(
        &self,
        range: RangeInclusive<TopoHeight>,
    ) -> impl Iterator<Item = Result<(TopoHeight, Vec<u8>), StoreError>> {
        self.inner.ledger.range(range)
    }

    /// The last block that has an entry in the ledger.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn last_ledger(&self) -> Result<Option<TopoHeight>, StoreError> {
        self.inner.ledger.last()
    }

    /// Makes everything that was written so far survive a crash of the process, and blocks and ledger also a
    /// loss of power.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        // In this order, so that no verdict from before this is there without its block.
        self.inner.log.sync()?;
        self.inner.ledger.sync()?;
        self.inner.disk.flush()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("tip", &self.tip().map(|tip| tip.block))
            .field("view_tip", &self.view_tip())
            .finish_non_exhaustive()
    }
}

/// The parts of a store. Locks are taken in the order `writer`, `staging`, `folding`, `frontier`, `recent`.
pub(crate) struct Inner {
    log: Log,
    disk: Arc<Disk>,
    meta: Tree,
    ledger: Ledger,
    view: View,
    window: Window,
    recent: RwLock<Recent>,
    frontier: Arc<Frontier>,
    /// Writes one block at a time, and takes blocks off again.
    writer: Mutex<Writer>,
    /// One block is put on the others at a time.
    staging: Mutex<()>,
    /// One fold at a time.
    folding: Mutex<()>,
    /// Released last: fields are dropped in this order.
    _lock: DirectoryLock,
}

impl Inner {
    /// The last version of a key at or below a block that is pinned, or is the tip and held there by
    /// the writer's lock.
    fn stamped(&self, key: &StateKey, at: Position) -> Result<Option<Stamped>, StoreError> {
        match self.window.read(key, at) {
            Some(stamped) => Ok(Some(stamped)),
            None => self.view.read(key, at),
        }
    }

    /// The same for some keys, in their order. All are looked for in the window before the view is asked, as
    /// with one: so what a fold moves meanwhile is found in one of them.
    fn stamped_each(
        &self,
        keys: &[StateKey],
        at: Position,
    ) -> Result<Vec<Option<Stamped>>, StoreError> {
        let mut stamped = vec![None; keys.len()];
        self.window.read_each(keys, at, |number, found| stamped[number] = Some(found));
        let mut left = Vec::with_capacity(keys.len());
        for (number, (key, stamped)) in keys.iter().zip(&stamped).enumerate() {
            if stamped.is_none() {
                left.push((number, key));
            }
        }
        self.view.read_each(&left, at, |number, found| stamped[number] = Some(found))?;
        Ok(stamped)
    }
}

const IDENTITY_KEY: &[u8] = b"identity";
