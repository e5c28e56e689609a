//! One file of the log: a run of blocks without gaps.
//!
//! ```text
//! file      header, records
//! header    "shadowlg" ‖ format version:u32 ‖ first:u64 ‖ begins:u64 ‖ synced:u64 ‖ followed:u8 ‖ check:8
//! record    length of the content:u64 ‖ checksum:8 ‖ content
//! check     first 8 bytes of blake3(all of the header before it)
//! checksum  xxh3_64 of the content, with a seed of xxh3_64(checksum of the record before, or 0 ‖ topoheight:u64)
//! ```
//!
//! The header fits into a sector and is written over as a whole. `first` is the topoheight of the
//! first record, below `begins` nothing is shown any more, up to `synced` the file is known to be on
//! the disk, and `followed` says that the next file is as well: what these two vouch for has to be
//! there, what lies behind them may have been torn by a loss of power.
//!
//! The checksum of the record before is part of the checksum, so that what is left of a branch that was
//! taken back never passes for the continuation of another one.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::files::{self, failed};
use crate::{Corruption, Store, StoreError, TopoHeight};

pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    pub(super) length: u64,
    /// Whether it was cut off since it was last synced.
    pub(super) is_cut: bool,
    records: Vec<Record>,
    /// Of the last file only, so that a long log does not take as many files.
    file: Option<Arc<File>>,
}

/// Where a record begins, and what its checksum is.
#[derive(Clone, Copy)]
struct Record {
    offset: u64,
    checksum: Checksum,
}

pub(super) type Checksum = [u8; 8];

#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) first: TopoHeight,
    pub(super) begins: TopoHeight,
    pub(super) synced: u64,
    pub(super) followed: bool,
}

impl Segment {
    /// Makes an empty file. It is made aside, so that a file of the log always has a header, whatever
    /// becomes of the process; with `durable` also whatever becomes of the machine.
    pub(super) fn create(
        directory: &Path,
        first: TopoHeight,
        durable: bool,
    ) -> Result<Self, StoreError> {
        let path = directory.join(format!("{:020}.{EXTENSION}", first.as_u64()));
        let unfinished = path.with_extension(UNFINISHED);
        let synced = if durable { HEADER_BYTES } else { 0 };
        let header = Header { first, begins: first, synced, followed: false };
        let file = files::create(&unfinished)?;
        files::write(&file, &unfinished, &header.bytes(), 0)?;
        if durable {
            files::sync(&file, &unfinished)?;
        }
        files::rename(&unfinished, &path)?;
        if durable {
            files::sync_directory(directory)?;
        }
        let file = Some(Arc::new(file));
        Ok(Self { path, header, length: HEADER_BYTES, is_cut: false, records: Vec::new(), file })
    }

    pub(super) const fn first(&self) -> TopoHeight {
        self.header.first
    }

    /// The topoheight that the next record has. After the last one that there is none can follow.
    pub(super) const fn end(&self) -> u64 {
        self.header.first.as_u64().saturating_add(self.records.len() as u64)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The checksum of the last record.
    pub(super) fn last_checksum(&self) -> Checksum {
        self.records.last().map_or([0; 8], |record| record.checksum)
    }

    pub(super) fn push(&mut self, checksum: Checksum, bytes: u64) {
        self.records.push(Record { offset: self.length, checksum });
        self.length += bytes;
    }

    /// Forgets the records above `to`; the file is left as it is.
    pub(super) fn forget_above(&mut self, to: TopoHeight) {
        let kept = to.as_u64().saturating_sub(self.first().as_u64()).saturating_add(1);
        let kept = usize::try_from(kept).unwrap_or(usize::MAX);
        if let Some(record) = self.records.get(kept) {
            self.length = record.offset;
            self.records.truncate(kept);
        }
    }

    /// The content of a record; `None` if this file does not have it.
    pub(super) fn read(&self, topoheight: TopoHeight) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(index) = topoheight.as_u64().checked_sub(self.first().as_u64()) else {
            return Ok(None);
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(record) = self.records.get(index) else { return Ok(None) };
        let end = self.records.get(index + 1).map_or(self.length, |next| next.offset);
        let before = index.checked_sub(1).and_then(|before| self.records.get(before));
        let before = before.map_or([0; 8], |before| before.checksum);
        // It was in memory, or was there to be scanned, so its length is one of this machine.
        let mut content = vec![0; (end - record.offset) as usize - RECORD_HEAD_BYTES];
        let at = record.offset + RECORD_HEAD_BYTES as u64;
        self.file()?.read_exact_at(&mut content, at).map_err(failed(&self.path))?;
        if checksum(before, topoheight, &content) != record.checksum {
            return Err(super::log::corrupt(topoheight, Corruption::Checksum));
        }
        Ok(Some(content))
    }

    pub(super) fn file(&self) -> Result<Arc<File>, StoreError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        let opened = OpenOptions::new().read(true).write(true).open(&self.path);
        opened.map(Arc::new).map_err(failed(&self.path))
    }

    /// Keeps the file open: it is the last one now.
    pub(super) fn keep_open(&mut self) -> Result<(), StoreError> {
        self.file = Some(self.file()?);
        Ok(())
    }

    pub(super) fn close(&mut self) {
        self.file = None;
    }

    pub(super) fn write_header(&self) -> Result<(), StoreError> {
        files::write(&*self.file()?, &self.path, &self.header.bytes(), 0)
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        files::sync(&*self.file()?, &self.path)
    }

    /// Cuts the file off behind the last record. What was said to be on the disk is taken back first.
    pub(super) fn cut(&mut self) -> Result<(), StoreError> {
        if self.header.synced > self.length {
            self.header.synced = self.length;
            self.write_header()?;
            self.sync()?;
        }
        // What is cut off could be whole, so the next sync must not leave it there.
        self.is_cut = true;
        files::cut(&*self.file()?, &self.path, self.length)
    }
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&Store::FORMAT_VERSION.to_be_bytes());
        bytes.extend_from_slice(&self.first.as_u64().to_be_bytes());
        bytes.extend_from_slice(&self.begins.as_u64().to_be_bytes());
        bytes.extend_from_slice(&self.synced.to_be_bytes());
        bytes.push(u8::from(self.followed));
        let check = short(blake3::Hasher::new().update(&bytes));
        bytes.extend_from_slice(&check);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES as usize)?;
        let number = |at: usize| Some(u64::from_be_bytes(*header.get(at..)?.first_chunk()?));
        let parsed = Self {
            first: TopoHeight::new(number(12)?),
            begins: TopoHeight::new(number(20)?),
            synced: number(28)?,
            followed: header.get(36) == Some(&1),
        };
        // Magic, version, form and check are right if these bytes are the only ones it can be.
        (parsed.bytes() == header).then_some(parsed)
    }
}

/// What a file was found to hold.
pub(super) struct Scanned {
    pub(super) path: PathBuf,
    /// What its name says.
    pub(super) first: TopoHeight,
    /// `None` if the header is not one, or is of another file.
    pub(super) segment: Option<Segment>,
    /// What is wrong behind the last record.
    pub(super) problem: Option<Corruption>,
}

/// Reads and verifies a whole file.
pub(super) fn scan(path: PathBuf, first: TopoHeight) -> Result<Scanned, StoreError> {
    let bytes = fs::read(&path).map_err(failed(&path))?;
    let header = Header::parse(&bytes).filter(|header| header.first == first);
    let Some(header) = header else {
        return Ok(Scanned { path, first, segment: None, problem: Some(Corruption::Checksum) });
    };
    let mut segment = Segment {
        path: path.clone(),
        header,
        length: HEADER_BYTES,
        is_cut: false,
        records: Vec::new(),
        file: None,
    };
    let mut rest = bytes.get(HEADER_BYTES as usize..).unwrap_or_default();
    let problem = loop {
        if rest.is_empty() {
            break None;
        }
        let topoheight = TopoHeight::new(segment.end());
        let Some((content, expected, behind)) = split_record(rest) else {
            break Some(Corruption::Parts);
        };
        if checksum(segment.last_checksum(), topoheight, content) != expected {
            break Some(Corruption::Checksum);
        }
        segment.push(expected, (rest.len() - behind.len()) as u64);
        rest = behind;
    };
    Ok(Scanned { path, first, segment: Some(segment), problem })
}

fn split_record(bytes: &[u8]) -> Option<(&[u8], Checksum, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (checksum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (content, behind) = rest.split_at_checked(length)?;
    Some((content, *checksum, behind))
}

/// Puts the head before the content of a record, for which room was left, and returns its checksum.
pub(super) fn finish_record(
    record: &mut [u8],
    before: Checksum,
    topoheight: TopoHeight,
) -> Checksum {
    let Some((head, content)) = record.split_first_chunk_mut::<RECORD_HEAD_BYTES>() else {
        return before;
    };
    let checksum = checksum(before, topoheight, content);
    head[..8].copy_from_slice(&(content.len() as u64).to_be_bytes());
    head[8..].copy_from_slice(&checksum);
    checksum
}

fn checksum(before: Checksum, topoheight: TopoHeight, content: &[u8]) -> Checksum {
    let mut position = [0; 16];
    position[..8].copy_from_slice(&before);
    position[8..].copy_from_slice(&super::log::key(topoheight));
    xxh3_64_with_seed(content, xxh3_64(&position)).to_be_bytes()
}

/// The first bytes of a hash.
pub(super) fn short(hasher: &blake3::Hasher) -> Checksum {
    let mut short = [0; 8];
    hasher.finalize_xof().fill(&mut short);
    short
}

/// The topoheight that the name of a file says; `None` for another kind of file.
pub(super) fn parse_name(path: &Path) -> Option<TopoHeight> {
    let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
    let stem = path.file_stem()?.to_str().filter(|stem| is_ours && stem.len() == 20)?;
    stem.parse().ok().map(TopoHeight::new)
}

const MAGIC: &[u8; 8] = b"shadowlg";

/// A file that is being made.
pub(super) const UNFINISHED: &str = "new";

const EXTENSION: &str = "log";

pub(super) const HEADER_BYTES: u64 = 45;

pub(super) const RECORD_HEAD_BYTES: usize = 16;
