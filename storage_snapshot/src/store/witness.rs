//! Who sees what the store does to the disk, for tests: what was done, in which order, and one thing
//! that fails.

use std::{cell::RefCell, io, path::PathBuf};

use crate::TreeName;

/// One thing that the store has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Created(PathBuf),
    Wrote {
        path: PathBuf,
        offset: u64,
        bytes: Vec<u8>,
    },
    Cut {
        path: PathBuf,
        length: u64,
    },
    Synced(PathBuf),
    Renamed {
        from: PathBuf,
        to: PathBuf,
    },
    Removed(PathBuf),
    SyncedDirectory(PathBuf),
    /// A write to a tree of the database.
    DatabaseWrote(TreeName),
    /// What was written to the database is with the operating system.
    DatabaseFlushed,
    /// And on the disk.
    DatabaseSynced,
}

/// Does something and returns what this thread did to the disk meanwhile.
pub(super) fn watch<T>(work: impl FnOnce() -> T) -> (T, Vec<Change>) {
    begin(None);
    let done = work();
    (done, end())
}

/// The same, while the change of this number fails, and none else. Tells whether it came to that.
pub(super) fn watch_failing<T>(number: usize, work: impl FnOnce() -> T) -> (T, bool) {
    begin(Some(number));
    let done = work();
    (done, end().len() >= number)
}

/// The same, while something else happens just before the first file is synced.
pub(super) fn watch_meanwhile<T>(
    meanwhile: impl FnOnce() + 'static,
    work: impl FnOnce() -> T,
) -> (T, Vec<Change>) {
    MEANWHILE.set(Some(Box::new(meanwhile)));
    watch(work)
}

/// How much this thread has done since it is watched.
pub(super) fn count() -> usize {
    WITNESS.with_borrow(|witness| witness.as_ref().map_or(0, |witness| witness.changes.len()))
}

/// Notes what is about to be done, or says that it fails.
pub(super) fn tell(change: impl FnOnce() -> Change) -> io::Result<()> {
    let change = change();
    if matches!(change, Change::Synced(_))
        && let Some(meanwhile) = MEANWHILE.take()
    {
        meanwhile();
    }
    WITNESS.with_borrow_mut(|witness| {
        let Some(witness) = witness else { return Ok(()) };
        if witness.fails == Some(witness.changes.len()) {
            witness.fails = None;
            return Err(io::Error::other("planted"));
        }
        witness.changes.push(change);
        Ok(())
    })
}

struct Witness {
    changes: Vec<Change>,
    fails: Option<usize>,
}

thread_local! {
    static WITNESS: RefCell<Option<Witness>> = const { RefCell::new(None) };
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn begin(fails: Option<usize>) {
    // In place of a former one, which ended in a panic.
    WITNESS.set(Some(Witness { changes: Vec::new(), fails }));
}

fn end() -> Vec<Change> {
    WITNESS.take().expect("it was begun").changes
}
