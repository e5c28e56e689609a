//! The file that the groups of the ledger are in. It is only ever appended to.
//!
//! ```text
//! file      header, records
//! header    "shadowgr" ‖ format version:u32 ‖ synced:u64 ‖ check:8
//! record    bytes of the group:u32, its highest bit set if the next record was written with it ‖
//!           topoheight of its first entry:u64 ‖ checksum:8 ‖ group
//! check     first 8 bytes of blake3(all of the header before it)
//! checksum  xxh3_64 of the group, with a seed of xxh3_64(offset of the record:u64 ‖ the 12 bytes before)
//! ```
//!
//! The header fits into a sector and is written over as a whole. Up to `synced` the file is known to be on the
//! disk, so what does not verify there is damage; behind it a loss of power may have torn anything, and a crash
//! the end, so the first thing that does not verify ends the file, whatever follows.
//!
//! The offset is part of the checksum, so that what was left by a disk that wrote in another order is no record.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{
    files::{self, failed, sync_directory},
    log::key,
    segment::{Checksum, UNFINISHED, short},
};
use crate::{Corruption, Store, StoreError, TopoHeight, TreeName};

pub(super) struct LedgerFile {
    path: PathBuf,
    file: File,
}

/// Where the group of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the record.
    pub(super) offset: u64,
    /// Of the group.
    pub(super) bytes: u32,
}

/// How far a file got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Where the next record comes.
    pub(super) written: u64,
    /// What is below is on the disk.
    pub(super) synced: u64,
}

/// A group, under the topoheight of its first entry.
pub(super) type Written = (TopoHeight, Place);

impl LedgerFile {
    /// Makes the directory with an empty file; it is there whenever the store is.
    pub(super) fn make(directory: &Path) -> Result<(), StoreError> {
        fs::create_dir_all(directory).map_err(failed(directory))?;
        let path = directory.join(FILE);
        let unfinished = path.with_extension(UNFINISHED);
        let file = files::create(&unfinished)?;
        files::write(&file, &unfinished, &header(HEADER_BYTES), 0)?;
        files::sync(&file, &unfinished)?;
        files::rename(&unfinished, &path)?;
        sync_directory(directory)?;
        directory.parent().map_or(Ok(()), sync_directory)
    }

    /// Whether there is no group in the directory, if there is one.
    pub(super) fn is_absent(directory: &Path) -> Result<bool, StoreError> {
        let path = directory.join(FILE);
        match fs::metadata(&path) {
            Ok(found) => Ok(found.len() <= HEADER_BYTES),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => Err(failed(&path)(error)),
        }
    }

    /// Opens the file, cuts off what was being written, and returns the records that begin at an offset or behind
    /// it, in the order in which they were written. What is below is on the disk.
    pub(super) fn open(
        directory: &Path,
        from: u64,
    ) -> Result<(Self, Ends, Vec<Written>), StoreError> {
        let path = directory.join(FILE);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(failed(&path))?;
        let this = Self { path, file };
        let length = this.file.metadata().map_err(failed(&this.path))?.len();
        let mut header = vec![0; length.min(HEADER_BYTES) as usize];
        this.file.read_exact_at(&mut header, 0).map_err(failed(&this.path))?;
        let synced = parse_header(&header).ok_or_else(|| corrupt(MAGIC, Corruption::Checksum))?;
        let synced = synced.max(from);
        if length < synced {
            return Err(corrupt(&length.to_be_bytes(), Corruption::Parts));
        }
        let mut bytes = vec![0; usize::try_from(length - from).unwrap_or(usize::MAX)];
        this.file.read_exact_at(&mut bytes, from).map_err(failed(&this.path))?;
        let (written, end) = scan(&bytes, from);
        if end < synced {
            return Err(corrupt(&end.to_be_bytes(), Corruption::Checksum));
        }
        if end < length {
            files::cut(&this.file, &this.path, end)?;
            // What is cut off could pass for what will be written there.
            files::sync(&this.file, &this.path)?;
        }
        Ok((this, Ends { written: end, synced }, written))
    }

    /// Appends groups, all or nothing of them, and returns where they are. What fails may have written a part,
    /// which is cut off when the file is opened.
    pub(super) fn append(
        &self,
        ends: &mut Ends,
        groups: &[(TopoHeight, Vec<u8>)],
    ) -> Result<Vec<Written>, StoreError> {
        let bytes = groups.iter().map(|(_, group)| RECORD_HEAD_BYTES + group.len()).sum();
        let mut records = Vec::with_capacity(bytes);
        let mut written = Vec::with_capacity(groups.len());
        for (number, (first, group)) in groups.iter().enumerate() {
            let offset = ends.written + records.len() as u64;
            // A group is far below two gigabytes.
            let place = Place { offset, bytes: group.len() as u32 };
            let is_last = number + 1 == groups.len();
            records.extend_from_slice(&head(*first, place, is_last, group));
            records.extend_from_slice(group);
            written.push((*first, place));
        }
        files::write(&self.file, &self.path, &records, ends.written)?;
        ends.written += records.len() as u64;
        Ok(written)
    }

    /// The group in a place, which was written under a topoheight.
    pub(super) fn read(&self, (first, place): Written) -> Result<Vec<u8>, StoreError> {
        let damaged = |problem| corrupt(&key(first), problem);
        let mut record = vec![0; RECORD_HEAD_BYTES + place.bytes as usize];
        self.file.read_exact_at(&mut record, place.offset).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => damaged(Corruption::Parts),
            _ => failed(&self.path)(error),
        })?;
        let group = record.split_off(RECORD_HEAD_BYTES);
        let is_it = [true, false].map(|is_last| head(first, place, is_last, &group)[..] == record);
        if is_it.contains(&true) { Ok(group) } else { Err(damaged(Corruption::Checksum)) }
    }

    /// Brings everything that was written to the disk.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        files::sync(&self.file, &self.path)
    }

    /// Says how far the file is on the disk.
    pub(super) fn write_header(&self, ends: Ends) -> Result<(), StoreError> {
        files::write(&self.file, &self.path, &header(ends.synced), 0)
    }
}

/// The records of bytes that begin at an offset, as far as they are whole, and where those end.
fn scan(bytes: &[u8], begin: u64) -> (Vec<Written>, u64) {
    let (mut written, mut whole, mut end) = (Vec::new(), 0, begin);
    let mut offset = begin;
    let mut rest = bytes;
    while let Some((found, is_last, behind)) = split_record(rest, offset) {
        offset += (rest.len() - behind.len()) as u64;
        rest = behind;
        written.push(found);
        if is_last {
            (whole, end) = (written.len(), offset);
        }
    }
    written.truncate(whole);
    (written, end)
}

fn split_record(bytes: &[u8], offset: u64) -> Option<(Written, bool, &[u8])> {
    let (found, rest) = bytes.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let marked = u32::from_be_bytes(*found.first_chunk()?);
    let first = TopoHeight::new(u64::from_be_bytes(*found[4..].first_chunk()?));
    let place = Place { offset, bytes: marked & !MORE_FOLLOW };
    let (group, behind) = rest.split_at_checked(place.bytes as usize)?;
    let is_last = marked & MORE_FOLLOW == 0;
    (*found == head(first, place, is_last, group)).then_some(((first, place), is_last, behind))
}

fn head(first: TopoHeight, place: Place, is_last: bool, group: &[u8]) -> [u8; RECORD_HEAD_BYTES] {
    let mut head = [0; RECORD_HEAD_BYTES];
    let marked = if is_last { place.bytes } else { place.bytes | MORE_FOLLOW };
    head[..4].copy_from_slice(&marked.to_be_bytes());
    head[4..12].copy_from_slice(&key(first));
    let mut position = [0; 20];
    position[..8].copy_from_slice(&place.offset.to_be_bytes());
    position[8..].copy_from_slice(&head[..12]);
    let checksum: Checksum = xxh3_64_with_seed(group, xxh3_64(&position)).to_be_bytes();
    head[12..].copy_from_slice(&checksum);
    head
}

fn header(synced: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&Store::FORMAT_VERSION.to_be_bytes());
    bytes.extend_from_slice(&synced.to_be_bytes());
    let check = short(blake3::Hasher::new().update(&bytes));
    bytes.extend_from_slice(&check);
    bytes
}

/// How far a header says that the file is on the disk.
fn parse_header(bytes: &[u8]) -> Option<u64> {
    let synced = u64::from_be_bytes(*bytes.get(12..)?.first_chunk()?);
    // Magic, version, form and check are right if these bytes are the only ones it can be.
    (header(synced) == bytes && HEADER_BYTES <= synced).then_some(synced)
}

fn corrupt(key: &[u8], problem: Corruption) -> StoreError {
    StoreError::Corrupt { tree: TreeName::Ledger, key: key.to_vec(), problem }
}

const FILE: &str = "groups";

const MAGIC: &[u8; 8] = b"shadowgr";

pub(super) const HEADER_BYTES: u64 = 28;

const RECORD_HEAD_BYTES: usize = 20;

const MORE_FOLLOW: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::store::{
        power::Platter,
        witness::{count, watch, watch_failing},
    };

    /// A group by a number that no other one has; some are longer than others.
    fn group(number: u64) -> (TopoHeight, Vec<u8>) {
        let content = number.to_be_bytes().repeat(1 + number as usize % 9);
        (TopoHeight::new(number / 2), content)
    }

    fn made() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        LedgerFile::make(directory.path()).unwrap();
        directory
    }

    /// The numbers of the groups that begin at an offset or behind it, each read from its place.
    fn numbers(directory: &Path, from: u64) -> Result<Vec<u64>, StoreError> {
        let (file, _, written) = LedgerFile::open(directory, from)?;
        let number = |written: Written| {
            let content = file.read(written)?;
            let number = u64::from_be_bytes(*content.first_chunk().unwrap());
            assert_eq!(group(number), (written.0, content));
            Ok(number)
        };
        written.into_iter().map(number).collect()
    }

    /// How much had been done to the disk when something was done, and how many groups there were then.
    type Moment = (usize, u64);

    struct Life {
        moments: Vec<Moment>,
        synced: Vec<Moment>,
    }

    /// Opens a file and appends so many groups at once, again and again; none is a sync.
    fn live(directory: &Path, ops: &[u64]) -> Result<Life, StoreError> {
        let (file, mut ends, found) = LedgerFile::open(directory, HEADER_BYTES)?;
        let mut next = found.len() as u64;
        let mut life = Life { moments: vec![(count(), next)], synced: Vec::new() };
        for op in ops {
            if *op == 0 {
                file.sync()?;
                life.synced.push((count(), next));
                ends.synced = ends.written;
                file.write_header(ends)?;
            } else {
                let groups: Vec<_> = (next..next + op).map(group).collect();
                file.append(&mut ends, &groups)?;
                next += op;
            }
            life.moments.push((count(), next));
        }
        Ok(life)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn after_a_loss_of_power_there_is_what_was_synced_and_nothing_that_never_was(
            lives in vec((vec(0..4_u64, 1..20), any::<u64>()), 1..4),
        ) {
            let mut directory = made();
            let mut safe = 0;
            for (ops, seed) in lives {
                let mut platter = Platter::of(directory.path());
                let (life, changes) = watch(|| live(directory.path(), &ops).unwrap());
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                let lost_at = random.random_range(0..=changes.len());
                changes[..lost_at].iter().for_each(|change| platter.take(change));
                let left = tempfile::tempdir().unwrap();
                let kept = [0.0, 0.2, 0.5, 0.9, 1.0][random.random_range(0..5)];
                platter.lose_power(left.path(), kept, &mut random);
                let found = numbers(left.path(), HEADER_BYTES)
                    .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                prop_assert!(found.iter().copied().eq(0..found.len() as u64), "{found:?}");
                let ended = |(changes, _): &&Moment| *changes <= lost_at;
                let synced = life.synced.iter().take_while(ended).last();
                safe = synced.map_or(safe, |(_, groups)| *groups);
                let found = found.len() as u64;
                prop_assert!(found >= safe, "{found} of {safe} that were synced");
                // Those that were appended together are all there or none of them.
                let is_a_moment = life.moments.iter().any(|(_, groups)| *groups == found);
                prop_assert!(is_a_moment, "{found} were never there");
                directory = left;
                safe = found;
            }
        }
    }

    #[test]
    fn groups_that_were_appended_together_are_there_together() {
        let directory = made();
        live(directory.path(), &[1, 3]).unwrap();
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let one = HEADER_BYTES as usize + RECORD_HEAD_BYTES + group(0).1.len();
        for length in one..=whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let expected: &[u64] = if length == whole.len() { &[0, 1, 2, 3] } else { &[0] };
            assert_eq!(numbers(directory.path(), HEADER_BYTES).unwrap(), expected, "{length}");
            let left = fs::metadata(&path).unwrap().len();
            assert_eq!(left, if length == whole.len() { length } else { one } as u64);
        }
    }

    #[test]
    fn what_was_synced_is_not_cut_off() {
        let directory = made();
        live(directory.path(), &[1, 0, 1]).unwrap();
        let path = directory.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let one = HEADER_BYTES as usize + RECORD_HEAD_BYTES + group(0).1.len();
        for byte in HEADER_BYTES as usize..whole.len() {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let found = numbers(directory.path(), HEADER_BYTES);
            if byte < one {
                assert!(matches!(found, Err(StoreError::Corrupt { .. })), "{byte}: {found:?}");
                assert_eq!(fs::read(&path).unwrap(), bytes, "{byte}: it was changed");
            } else {
                assert_eq!(found.unwrap(), [0], "{byte}");
            }
        }
    }

    #[test]
    fn what_the_index_has_is_not_read_again_and_is_on_the_disk() {
        let directory = made();
        live(directory.path(), &[1, 1]).unwrap();
        let one = HEADER_BYTES + (RECORD_HEAD_BYTES + group(0).1.len()) as u64;
        assert_eq!(numbers(directory.path(), one).unwrap(), [1]);
        // Whoever told the index had synced the file, whatever the header says.
        let (_, ends, _) = LedgerFile::open(directory.path(), one).unwrap();
        assert_eq!(ends.synced, one);
        let length = fs::metadata(directory.path().join(FILE)).unwrap().len();
        let refused = LedgerFile::open(directory.path(), length + 1).map(|_| ());
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }

    #[test]
    fn after_any_change_that_failed_what_was_there_is_found_again() {
        let ops = [1, 2, 0, 3, 0, 1];
        for number in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let (life, _) = watch_failing(number, || {
                LedgerFile::make(directory.path())?;
                live(directory.path(), &ops)
            });
            if LedgerFile::is_absent(directory.path()).unwrap() {
                LedgerFile::make(directory.path()).unwrap();
            }
            let found = numbers(directory.path(), HEADER_BYTES).unwrap();
            assert!(found.iter().copied().eq(0..found.len() as u64), "{number}: {found:?}");
            if life.is_ok() {
                return assert_eq!((found.len(), number > 10), (7, true));
            }
        }
    }
}
