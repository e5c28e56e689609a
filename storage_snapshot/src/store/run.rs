//! One file of the view: the records of some accounts, sorted, and never changed.
//!
//! ```text
//! file      blocks, index, filter, foot
//! block     (account:32 ‖ length:u32 ‖ record)…
//! index     for each block: its first account:32 ‖ its offset:u64 ‖ its checksum:8
//! filter    the bits of a [`Filter`]
//! foot      "shadowrn" ‖ format version:u32 ‖ number:u64 ‖ accounts:u64 ‖ blocks:u64 ‖ filter lines:u64 ‖ check:8
//! checksum  xxh3_64(block):u64
//! check     first 8 bytes of blake3(everything behind the blocks and before the check)
//! ```
//!
//! Where to look for an account is in memory: the filter and the index, together about ten bits an account
//! and a hundredth of the file. So an account that is not there costs no look at the disk, with few
//! exceptions, and one that is there costs one.
//!
//! The check is also kept by whoever names the file. By way of the checksums it vouches for all of it, so
//! that another file in its place, or a block of one, is noticed.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    files::{self, failed, sync_directory},
    filter::Filter,
    segment::{Checksum, UNFINISHED, short},
};
use crate::{Address, Corruption, Store, StoreError, TreeName};

/// Which file, and what vouches for its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunName {
    /// Another one for every file that there ever was, later ones higher.
    pub(crate) number: u64,
    /// How long it is.
    pub(crate) bytes: u64,
    /// What is at its end.
    pub(crate) check: Checksum,
}

/// A file of the view.
#[derive(Debug)]
pub(super) struct Run {
    name: RunName,
    path: PathBuf,
    file: File,
    accounts: u64,
    blocks: Box<[Block]>,
    /// Where the last block ends.
    end: u64,
    filter: Filter,
}

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Its first account.
    first: Address,
    offset: u64,
    checksum: Checksum,
}

impl Run {
    /// Opens a file and verifies all but its blocks.
    pub(super) fn open(directory: &Path, name: RunName) -> Result<Self, StoreError> {
        let path = path_of(directory, name.number);
        let file = match OpenOptions::new().read(true).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(name.corrupt(Corruption::Parts));
            }
            opened => opened.map_err(failed(&path))?,
        };
        let length = file.metadata().map_err(failed(&path))?.len();
        if length != name.bytes || length < FOOT_BYTES as u64 {
            return Err(name.corrupt(Corruption::Parts));
        }
        let read = |at: u64, bytes: usize| {
            let mut read = vec![0; bytes];
            file.read_exact_at(&mut read, at).map_err(failed(&path)).map(|()| read)
        };
        let foot = read(length - FOOT_BYTES as u64, FOOT_BYTES)?;
        let foot = Foot::parse(&foot).filter(|foot| foot.number == name.number);
        let Some(foot) = foot else { return Err(name.corrupt(Corruption::Checksum)) };
        // Neither is more than the file is long, or it is no file of ours.
        let tail_bytes = foot.tail_bytes().filter(|bytes| *bytes <= length);
        let Some(tail_bytes) = tail_bytes else { return Err(name.corrupt(Corruption::Form)) };
        let index_at = length - tail_bytes;
        let tail = read(index_at, tail_bytes as usize)?;
        let (checked, check) = tail.split_at(tail.len() - size_of::<Checksum>());
        if check != short(blake3::Hasher::new().update(checked)) || check != name.check {
            return Err(name.corrupt(Corruption::Checksum));
        }
        let (index, rest) = checked.split_at(foot.blocks as usize * INDEX_BYTES);
        let filter = Filter::parse(&rest[..rest.len() - (FOOT_BYTES - size_of::<Checksum>())]);
        let (index, _) = index.as_chunks::<INDEX_BYTES>();
        let blocks: Box<[_]> = index.iter().filter_map(Block::parse).collect();
        let offsets = blocks.iter().map(|block| block.offset).chain([index_at]);
        let are_in_order = blocks.is_sorted_by(|one, next| one.first < next.first)
            && offsets.clone().is_sorted_by(|one, next| one < next)
            && offsets.min() == Some(0);
        match filter.filter(|_| are_in_order) {
            Some(filter) => Ok(Self {
                name,
                path,
                file,
                accounts: foot.accounts,
                blocks,
                end: index_at,
                filter,
            }),
            None => Err(name.corrupt(Corruption::Form)),
        }
    }

    pub(super) const fn name(&self) -> RunName {
        self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many accounts have a record in it.
    pub(super) const fn accounts(&self) -> u64 {
        self.accounts
    }

    /// The record of an account, if it is in this file; `block` is scratch space.
    pub(super) fn find<'a>(
        &self,
        account: &Address,
        block: &'a mut Vec<u8>,
    ) -> Result<Option<&'a [u8]>, StoreError> {
        if !self.filter.may_have(account) {
            return Ok(None);
        }
        let after = self.blocks.partition_point(|block| block.first <= *account);
        let Some(index) = after.checked_sub(1) else { return Ok(None) };
        self.read_block(index, block)?;
        let mut rest = &block[..];
        while let Some((found, record, behind)) = split_entry(rest) {
            if found == *account {
                return Ok(Some(record));
            }
            rest = behind;
        }
        Ok(None)
    }

    /// Reads a block and verifies it.
    fn read_block(&self, index: usize, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let block = &self.blocks[index];
        let end = self.blocks.get(index + 1).map_or(self.end, |next| next.offset);
        bytes.clear();
        bytes.resize((end - block.offset) as usize, 0);
        self.file.read_exact_at(bytes, block.offset).map_err(failed(&self.path))?;
        if checksum(bytes) != block.checksum {
            let key = block.first.as_bytes().to_vec();
            let problem = Corruption::Checksum;
            return Err(StoreError::Corrupt { tree: TreeName::View, key, problem });
        }
        Ok(())
    }
}

impl Block {
    fn parse(entry: &[u8; INDEX_BYTES]) -> Option<Self> {
        let (first, rest) = entry.split_first_chunk()?;
        let (offset, checksum) = rest.split_first_chunk()?;
        let offset = u64::from_be_bytes(*offset);
        Some(Self { first: Address::new(*first), offset, checksum: *checksum.first_chunk()? })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.first.as_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.checksum);
    }
}

impl RunName {
    fn corrupt(&self, problem: Corruption) -> StoreError {
        let key = self.number.to_be_bytes().to_vec();
        StoreError::Corrupt { tree: TreeName::View, key, problem }
    }
}

/// A way through all records of a file.
pub(super) struct Entries<'a> {
    run: &'a Run,
    /// The block that is read next.
    next: usize,
    block: Vec<u8>,
    /// Where in the block the current entry is.
    at: usize,
    account: Option<Address>,
}

impl<'a> Entries<'a> {
    /// It stands at the first one.
    pub(super) fn of(run: &'a Run) -> Result<Self, StoreError> {
        let mut entries = Self { run, next: 0, block: Vec::new(), at: 0, account: None };
        entries.settle()?;
        Ok(entries)
    }

    /// The account that it stands at; `None` at the end.
    pub(super) const fn account(&self) -> Option<&Address> {
        self.account.as_ref()
    }

    /// The record that it stands at.
    pub(super) fn record(&self) -> &[u8] {
        split_entry(&self.block[self.at..]).map_or(&[], |(_, record, _)| record)
    }

    pub(super) fn advance(&mut self) -> Result<(), StoreError> {
        self.at += ENTRY_HEAD_BYTES + self.record().len();
        self.settle()
    }

    /// Finds out where it stands.
    fn settle(&mut self) -> Result<(), StoreError> {
        if self.at >= self.block.len() {
            self.at = 0;
            self.block.clear();
            if self.next < self.run.blocks.len() {
                self.run.read_block(self.next, &mut self.block)?;
                self.next += 1;
            }
        }
        self.account = split_entry(&self.block[self.at..]).map(|(account, ..)| account);
        match self.account {
            None if self.at < self.block.len() => Err(self.run.name.corrupt(Corruption::Form)),
            _ => Ok(()),
        }
    }
}

/// Makes a file.
pub(super) struct RunWriter<'a> {
    directory: &'a Path,
    number: u64,
    unfinished: PathBuf,
    file: File,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// Where in the file that begins.
    buffer_at: u64,
    /// Where in the buffer the block that is being filled begins.
    block_at: usize,
    /// The first account in it.
    first: Address,
    accounts: u64,
    blocks: Vec<Block>,
    filter: Filter,
}

impl<'a> RunWriter<'a> {
    /// Begins a file for at most so many accounts.
    pub(super) fn create(
        directory: &'a Path,
        number: u64,
        accounts_max: u64,
    ) -> Result<Self, StoreError> {
        let unfinished = path_of(directory, number).with_extension(UNFINISHED);
        Ok(Self {
            directory,
            number,
            file: files::create(&unfinished)?,
            unfinished,
            buffer: Vec::with_capacity(BUFFER_BYTES + 2 * BLOCK_BYTES),
            buffer_at: 0,
            block_at: 0,
            first: Address::new([0; 32]),
            accounts: 0,
            blocks: Vec::new(),
            filter: Filter::for_accounts(accounts_max),
        })
    }

    /// Adds the record of the next account; they come in ascending order, each once.
    pub(super) fn push(&mut self, account: &Address, record: &[u8]) -> Result<(), StoreError> {
        if self.block_at == self.buffer.len() {
            self.first = *account;
        }
        self.filter.insert(account);
        self.accounts += 1;
        self.buffer.extend_from_slice(account.as_bytes());
        // A record is no longer than what a block of the chain says of one account.
        self.buffer.extend_from_slice(&(record.len() as u32).to_be_bytes());
        self.buffer.extend_from_slice(record);
        if self.buffer.len() - self.block_at >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<(), StoreError> {
        let offset = self.buffer_at + self.block_at as u64;
        let checksum = checksum(&self.buffer[self.block_at..]);
        self.blocks.push(Block { first: self.first, offset, checksum });
        self.block_at = self.buffer.len();
        if self.buffer.len() >= BUFFER_BYTES { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), StoreError> {
        files::write(&self.file, &self.unfinished, &self.buffer, self.buffer_at)?;
        self.buffer_at += self.buffer.len() as u64;
        self.buffer.clear();
        self.block_at = 0;
        Ok(())
    }

    /// Ends the file and brings it to the disk under its name.
    pub(super) fn finish(mut self) -> Result<Run, StoreError> {
        if self.block_at < self.buffer.len() {
            self.end_block()?;
        }
        let end = self.buffer_at + self.buffer.len() as u64;
        let mut tail = Vec::with_capacity(self.blocks.len() * INDEX_BYTES + FOOT_BYTES);
        self.blocks.iter().for_each(|block| block.put(&mut tail));
        tail.extend(self.filter.bytes());
        let blocks = self.blocks.len() as u64;
        let filter_lines = (tail.len() as u64 - blocks * INDEX_BYTES as u64) / FILTER_LINE_BYTES;
        let number = self.number;
        tail.extend(Foot { number, accounts: self.accounts, blocks, filter_lines }.bytes());
        let check = short(blake3::Hasher::new().update(&tail));
        tail.extend_from_slice(&check);
        self.buffer.extend_from_slice(&tail);
        self.write()?;
        files::sync(&self.file, &self.unfinished)?;
        let path = path_of(self.directory, number);
        files::rename(&self.unfinished, &path)?;
        sync_directory(self.directory)?;

        let name = RunName { number, bytes: self.buffer_at, check };
        Ok(Run {
            name,
            path,
            file: self.file,
            accounts: self.accounts,
            blocks: self.blocks.into_boxed_slice(),
            end,
            filter: self.filter,
        })
    }
}

/// What is at the end of a file, but for the check.
#[derive(Clone, Copy)]
struct Foot {
    number: u64,
    accounts: u64,
    blocks: u64,
    filter_lines: u64,
}

impl Foot {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &Store::FORMAT_VERSION.to_be_bytes()].concat();
        for number in [self.number, self.accounts, self.blocks, self.filter_lines] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    fn parse(foot: &[u8]) -> Option<Self> {
        let number =
            |nth: usize| Some(u64::from_be_bytes(*foot.get(12 + 8 * nth..)?.first_chunk()?));
        let parsed = Self {
            number: number(0)?,
            accounts: number(1)?,
            blocks: number(2)?,
            filter_lines: number(3)?,
        };
        // Magic and version are right if these bytes are the only ones it can be.
        foot.starts_with(&parsed.bytes()).then_some(parsed)
    }

    /// How long everything behind the blocks is.
    fn tail_bytes(&self) -> Option<u64> {
        let index = self.blocks.checked_mul(INDEX_BYTES as u64)?;
        let filter = self.filter_lines.checked_mul(FILTER_LINE_BYTES)?;
        index.checked_add(filter)?.checked_add(FOOT_BYTES as u64)
    }
}

/// The first entry of what is left of a block.
fn split_entry(bytes: &[u8]) -> Option<(Address, &[u8], &[u8])> {
    let (account, rest) = bytes.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (record, behind) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((Address::new(*account), record, behind))
}

fn checksum(block: &[u8]) -> Checksum {
    // Nobody means to deceive it, and the other hash takes longer than reading the block does.
    xxhash_rust::xxh3::xxh3_64(block).to_be_bytes()
}

fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:020}.{EXTENSION}"))
}

/// The number that the name of a file says; `None` for another kind of file.
pub(super) fn parse_name(path: &Path) -> Option<u64> {
    let is_ours = path.extension().is_some_and(|extension| extension == EXTENSION);
    path.file_stem()?.to_str().filter(|stem| is_ours && stem.len() == 20)?.parse().ok()
}

const MAGIC: &[u8; 8] = b"shadowrn";

const EXTENSION: &str = "run";

/// What a look-up reads: as much as the operating system reads anyway.
const BLOCK_BYTES: usize = 4096;

/// How much is written at once.
const BUFFER_BYTES: usize = 256 << 10;

const ENTRY_HEAD_BYTES: usize = 36;

const INDEX_BYTES: usize = 48;

const FILTER_LINE_BYTES: u64 = 64;

const FOOT_BYTES: usize = 8 + 4 + 4 * 8 + size_of::<Checksum>();
