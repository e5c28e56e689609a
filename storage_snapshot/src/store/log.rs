//! The log: every committed block, and the only thing that a commit writes.
//!
//! Everything else (window, facts, executed transactions, and with them the tip) is derived from it
//! when the store is opened. It is kept in files of its own, each with a run of blocks, because it is
//! only ever appended to, cut off at the end, and forgotten from the beginning: an append is one
//! write, and forgetting is removing files. Each entry names the hash before it, so a block that is
//! missing is noticed.
//!
//! **What is found after a crash.** Of a process: every block whose commit returned, because the
//! operating system has it; of the one that was being written a piece, which is cut off. Of the
//! machine: everything up to the last sync, to which the headers of the files bear witness, and what
//! does not verify below that is damage, never cut off. Above it the disk may have written in any
//! order, so there may be holes, zeros and remains; the first thing there that does not verify ends
//! the log, whatever follows. A cut that the disk had not heard of leaves blocks of the branch that
//! was taken back, never a mixture of both.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use super::{
    block::CommittedBlock,
    files::{self, failed, sync_directory},
    health::Health,
    segment::{self, RECORD_HEAD_BYTES, Scanned, Segment, UNFINISHED, finish_record},
};
use crate::{Corruption, StoreError, TopoHeight, TreeName, encoding};

pub(super) struct Log {
    directory: PathBuf,
    file_bytes: u64,
    health: Arc<Health>,
    /// Held by whoever syncs, and by whoever removes files or cuts one off. Not by who adds blocks at
    /// the end: a commit waits for no disk.
    syncing: Mutex<()>,
    /// Without gaps. Written with `syncing` held, but for what is added at the end.
    segments: RwLock<VecDeque<Segment>>,
}

impl Log {
    /// Makes the directory; it is there whenever the store is.
    pub(super) fn make(directory: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        directory.parent().map_or(Ok(()), sync_directory)
    }

    /// Whether there is no file of a log in the directory, if there is one.
    pub(super) fn is_absent(directory: &Path) -> Result<bool, StoreError> {
        match directory.try_exists() {
            Ok(true) => Ok(files(directory)?.is_empty()),
            Ok(false) => Ok(true),
            Err(source) => Err(failed(directory)(source)),
        }
    }

    /// Reads and verifies everything that is there, and cuts off what was being written.
    pub(super) fn open(
        directory: PathBuf,
        file_bytes: u64,
        health: Arc<Health>,
    ) -> Result<Self, StoreError> {
        clear_unfinished(&directory)?;
        let scanned: Vec<_> = files(&directory)?
            .into_iter()
            .map(|(first, path)| segment::scan(path, first))
            .collect::<Result<_, _>>()?;
        let mut segments = intact(&directory, scanned)?;
        if let Some(last) = segments.back_mut() {
            last.keep_open()?;
        }
        let log = Self {
            directory,
            file_bytes,
            health,
            syncing: Mutex::new(()),
            segments: RwLock::new(segments),
        };
        log.sync()?;
        Ok(log)
    }

    /// Writes the next block. The buffer is scratch space.
    pub(super) fn append(
        &self,
        entry: &CommittedBlock,
        buffer: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        self.health.writable()?;
        let topoheight = entry.commit.block.topoheight;
        buffer.clear();
        buffer.resize(RECORD_HEAD_BYTES, 0);
        encoding::put_log_entry(buffer, entry);
        if !self.has_room(topoheight) {
            self.begin_file(topoheight).map_err(|error| self.health.failed(error))?;
        }
        let (file, offset, before, path) = {
            let segments = self.segments.read();
            // There is one: it had room or was just begun.
            let Some(last) = segments.back() else { return Err(StoreError::Broken) };
            (last.file()?, last.length, last.last_checksum(), last.path.clone())
        };
        let checksum = finish_record(buffer, before, topoheight);
        // A part that was written is cut off when the store is opened.
        files::write(&file, &path, buffer, offset).map_err(|error| self.health.failed(error))?;
        if let Some(last) = self.segments.write().back_mut() {
            last.push(checksum, buffer.len() as u64);
        }
        Ok(())
    }

    fn has_room(&self, topoheight: TopoHeight) -> bool {
        self.segments
            .read()
            .back()
            .is_some_and(|last| last.length < self.file_bytes && last.end() == topoheight.as_u64())
    }

    fn begin_file(&self, topoheight: TopoHeight) -> Result<(), StoreError> {
        let mut segments = self.segments.write();
        // What was begun for another first block, which was never written.
        if let Some(empty) = segments.back().filter(|last| last.is_empty()) {
            remove(&self.directory, &empty.path)?;
            segments.pop_back();
        }
        // The files after the first are vouched for by the one before, once they are on the disk.
        let segment = Segment::create(&self.directory, topoheight, segments.is_empty())?;
        if let Some(last) = segments.back_mut() {
            last.close();
        }
        segments.push_back(segment);
        Ok(())
    }

    /// Brings everything that was written to the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.health.writable()?;
        let _syncing = self.syncing.lock();
        self.sync_held().map_err(|error| self.health.failed(error))
    }

    fn sync_held(&self) -> Result<(), StoreError> {
        let mut written = Vec::new();
        let mut is_new = false;
        for segment in &*self.segments.read() {
            if segment.length > segment.header.synced || segment.is_cut {
                is_new |= segment.header.synced == 0;
                let path = segment.path.clone();
                written.push((segment.first(), segment.length, segment.file()?, path));
            }
        }
        for (_, _, file, path) in &written {
            files::sync(file, path)?;
        }
        if is_new {
            sync_directory(&self.directory)?;
        }
        let mut is_followed = false;
        for segment in self.segments.write().iter_mut().rev() {
            let found = written.iter().find(|(first, ..)| *first == segment.first());
            let before = (segment.header.synced, segment.header.followed);
            if let Some((_, length, ..)) = found {
                segment.header.synced = *length;
                segment.is_cut = false;
            }
            segment.header.followed = is_followed;
            if (segment.header.synced, segment.header.followed) != before {
                segment.write_header()?;
            }
            // One that was begun meanwhile is not on the disk.
            is_followed = segment.header.synced > 0;
        }
        Ok(())
    }

    /// A block, if it is there and was not dropped.
    pub(super) fn read(
        &self,
        topoheight: TopoHeight,
    ) -> Result<Option<CommittedBlock>, StoreError> {
        let segments = self.segments.read();
        match segments.front() {
            Some(first) if topoheight >= first.header.begins => find(&segments, topoheight),
            _ => Ok(None),
        }
    }

    /// Reads the blocks from `from` on in order, and requires each to follow the one before it.
    ///
    /// With `from` of `None` the first entry must be the first block ever committed. What was dropped
    /// and is still there is read as well: the view may be older than the drop.
    pub(super) fn replay(
        &self,
        from: Option<TopoHeight>,
        mut absorb: impl FnMut(CommittedBlock) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let segments = self.segments.read();
        let first = segments.front().map_or(TopoHeight::GENESIS, Segment::first);
        let mut cursor = from.map_or(first, |from| from.max(first));
        let mut before = None;
        while let Some(entry) = find(&segments, cursor)? {
            let follows = match before {
                Some(_) => entry.previous == before,
                // Only a block that was committed first may be above what was asked for.
                None => from >= Some(cursor) || entry.previous.is_none(),
            };
            if !follows {
                return Err(corrupt(cursor, Corruption::Sequence));
            }
            before = Some(entry.commit.block.hash);
            absorb(entry)?;
            if cursor.next() == cursor {
                break;
            }
            cursor = cursor.next();
        }
        Ok(())
    }

    /// Drops every block above `to`, the last files first.
    pub(super) fn drop_above(&self, to: Option<TopoHeight>) -> Result<(), StoreError> {
        self.health.writable()?;
        let _syncing = self.syncing.lock();
        self.cut_above(to).map_err(|error| self.health.failed(error))
    }

    fn cut_above(&self, to: Option<TopoHeight>) -> Result<(), StoreError> {
        loop {
            // A reader finds the record and reads it under the same lock.
            let mut segments = self.segments.write();
            if segments.back().is_none_or(|last| Some(last.first()) <= to) {
                break;
            }
            let Some(last) = segments.pop_back() else { break };
            if let Some(before) = segments.back_mut() {
                before.keep_open()?;
                if before.header.followed {
                    before.header.followed = false;
                    before.write_header()?;
                    before.sync()?;
                }
            }
            remove(&self.directory, &last.path)?;
        }
        let mut segments = self.segments.write();
        if let (Some(last), Some(to)) = (segments.back_mut(), to)
            && last.end() > to.next().as_u64()
        {
            last.forget_above(to);
            last.cut()?;
        }
        Ok(())
    }

    /// Drops every block below `bound`, which is not above the last one, and returns how many that were. Whole files are removed, so
    /// some of it stays on the disk, but is not shown any more.
    ///
    /// What these blocks were folded into has to be on the disk before they are gone: `settle` sees
    /// to it, and is called only if files are removed.
    pub(super) fn drop_below(
        &self,
        bound: TopoHeight,
        settle: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        self.health.writable()?;
        let _syncing = self.syncing.lock();
        let (begins, superfluous) = {
            let segments = self.segments.read();
            let Some(first) = segments.front() else { return Ok(0) };
            let later = segments.iter().skip(1);
            let superfluous = later.take_while(|segment| segment.first() <= bound).count();
            (first.header.begins, superfluous)
        };
        if bound <= begins {
            return Ok(0);
        }
        if superfluous > 0 {
            // Afterwards nothing vouches for the file that is the first one then. The fold has synced
            // it already, but that is no business of the log.
            self.sync_held().map_err(|error| self.health.failed(error))?;
            settle()?;
        }
        self.forget_below(bound, superfluous).map_err(|error| self.health.failed(error))?;
        Ok(bound.as_u64() - begins.as_u64())
    }

    /// Makes everybody wait who syncs, removes files or cuts one off.
    #[cfg(test)]
    pub(super) fn hold(&self) -> impl Drop {
        self.syncing.lock()
    }

    fn forget_below(&self, bound: TopoHeight, superfluous: usize) -> Result<(), StoreError> {
        for _ in 0..superfluous {
            let Some(segment) = self.segments.write().pop_front() else { break };
            remove(&self.directory, &segment.path)?;
        }
        if let Some(first) = self.segments.write().front_mut() {
            first.header.begins = bound;
            first.write_header()?;
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Whoever needs to know whether this works flushes before.
        let _synced = self.sync();
    }
}

fn find(
    segments: &VecDeque<Segment>,
    topoheight: TopoHeight,
) -> Result<Option<CommittedBlock>, StoreError> {
    let after = segments.partition_point(|segment| segment.first() <= topoheight);
    match after.checked_sub(1).and_then(|index| segments.get(index)) {
        Some(segment) => entry(segment, topoheight),
        None => Ok(None),
    }
}

fn entry(segment: &Segment, topoheight: TopoHeight) -> Result<Option<CommittedBlock>, StoreError> {
    let Some(content) = segment.read(topoheight)? else { return Ok(None) };
    let entry = encoding::read_log_entry(&content)
        .map_err(|encoding::Malformed| corrupt(topoheight, Corruption::Form))?;
    if entry.commit.block.topoheight != topoheight {
        return Err(corrupt(topoheight, Corruption::Sequence));
    }
    Ok(Some(entry))
}

/// Keeps the files up to the first thing that is wrong and removes the rest, if nothing vouches for
/// it; otherwise it is damage.
fn intact(directory: &Path, scanned: Vec<Scanned>) -> Result<VecDeque<Segment>, StoreError> {
    let mut intact: VecDeque<Segment> = VecDeque::new();
    let mut rest = VecDeque::from(scanned);
    let mut wrong = None;
    while let Some(file) = rest.pop_front() {
        let before = intact.back();
        match file.segment {
            Some(segment) if before.map_or(Ok(true), |before| follows(&segment, before))? => {
                let is_short = segment.length < segment.header.synced;
                let is_promised = is_short || segment.header.followed;
                let end = TopoHeight::new(segment.end());
                intact.push_back(segment);
                if let Some(problem) = file.problem.or(is_short.then_some(Corruption::Parts)) {
                    wrong = Some((end, problem, is_promised));
                    break;
                }
            }
            segment => {
                let is_promised = before.is_none_or(|before| before.header.followed);
                let sequence = segment.as_ref().map(|_| Corruption::Sequence);
                let problem = sequence.or(file.problem).unwrap_or(Corruption::Form);
                wrong = Some((file.first, problem, is_promised));
                rest.push_front(Scanned { segment, ..file });
                break;
            }
        }
    }
    let is_synced =
        |file: &Scanned| file.segment.as_ref().is_some_and(|segment| segment.header.synced > 0);
    match (wrong, intact.back_mut()) {
        (Some((at, problem, is_promised)), _) if is_promised || rest.iter().any(is_synced) => {
            return Err(corrupt(at, problem));
        }
        (Some(_), Some(last)) => {
            for file in rest.iter().rev() {
                remove(directory, &file.path)?;
            }
            last.cut()?;
        }
        (None, Some(last)) if last.header.followed => {
            return Err(corrupt(TopoHeight::new(last.end()), Corruption::Parts));
        }
        _ => {}
    }
    Ok(intact)
}

/// Whether a file goes on where the one before it ends, and on the same branch: of two branches the
/// disk may have the end of one file and the beginning of the next.
fn follows(segment: &Segment, before: &Segment) -> Result<bool, StoreError> {
    if before.end() != segment.first().as_u64() {
        return Ok(false);
    }
    let last = segment.first().checked_sub(1).map_or(Ok(None), |last| entry(before, last))?;
    Ok(match (last, entry(segment, segment.first())?) {
        (Some(last), Some(first)) => first.previous == Some(last.commit.block.hash),
        _ => true,
    })
}

/// The files of a log, in order.
fn files(directory: &Path) -> Result<Vec<(TopoHeight, PathBuf)>, StoreError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        files.extend(segment::parse_name(&path).map(|first| (first, path)));
    }
    files.sort();
    Ok(files)
}

/// Removes what was being made when the process died.
fn clear_unfinished(directory: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            remove(directory, &path)?;
        }
    }
    Ok(())
}

/// Removes a file, for good: the next one may only go after it.
fn remove(directory: &Path, path: &Path) -> Result<(), StoreError> {
    files::remove(path)?;
    sync_directory(directory)
}

pub(super) fn corrupt(topoheight: TopoHeight, problem: Corruption) -> StoreError {
    StoreError::Corrupt { tree: TreeName::Log, key: key(topoheight).to_vec(), problem }
}

pub(super) const fn key(topoheight: TopoHeight) -> [u8; 8] {
    topoheight.as_u64().to_be_bytes()
}

pub(super) fn parse_key(key: &[u8]) -> Option<TopoHeight> {
    Some(TopoHeight::new(u64::from_be_bytes(key.try_into().ok()?)))
}
