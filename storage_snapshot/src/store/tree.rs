//! A tree of the embedded database, and the entries in it.
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

use std::sync::Arc;

use parking_lot::RwLock;
use sled::Batch;

use super::disk::{Disk, Guarded};
#[cfg(test)]
use super::witness::{Change, tell};
use crate::{Corruption, StoreError, TreeName};

/// Entries to be written at once.
#[derive(Default)]
pub(super) struct Writes {
    /// What is written under each key; `None` for what is removed.
    entries: Vec<(Vec<u8>, Option<Vec<u8>>)>,
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
    tree: Guarded<sled::Tree>,
    /// Reading an entry of several parts takes several look-ups, and must not see half of a rewrite.
    rewriting: RwLock<()>,
}

impl Tree {
    pub(super) fn new(disk: Arc<Disk>, name: TreeName, tree: Guarded<sled::Tree>) -> Self {
        Self { disk, name, tree, rewriting: RwLock::new(()) }
    }

    pub(super) fn is_empty(&self) -> Result<bool, StoreError> {
        let first = self.tree.call(sled::Tree::first).map_err(|error| self.read_error(error))?;
        Ok(first.is_none())
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
        // A shorter entry leaves parts of a longer one behind.
        let mut parts_before = self.stage_new(writes, key, content);
        while self.part(key, parts_before)?.is_some() {
            writes.entries.push((part_key(key, parts_before), None));
            parts_before += 1;
        }
        Ok(())
    }

    /// Stages an entry where there is none, or one of as many parts, and tells how many parts it has.
    pub(super) fn stage_new(&self, writes: &mut Writes, key: &[u8], content: &[u8]) -> u32 {
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
        parts
    }

    /// Refuses once a write failed.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.disk.writable()
    }

    /// Applies what was staged, all or nothing.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        self.writable()?;
        let bytes = {
            let _rewriting = self.rewriting.write();
            let bytes = writes.bytes;
            self.disk.written(&self.tree, |tree| {
                #[cfg(test)]
                tell(|| Change::DatabaseWrote(self.name))?;
                match <[_; 1]>::try_from(writes.entries) {
                    // One entry is all or nothing by itself. A batch costs two writes to the disk
                    // more.
                    Ok([(key, Some(value))]) => tree.insert(key, value).map(drop),
                    Ok([(key, None)]) => tree.remove(key).map(drop),
                    Err(entries) => tree.apply_batch(Writes { entries, ..writes }.into_batch()),
                }
            })?;
            bytes
        };
        self.disk.press(bytes)
    }

    /// The key of the first entry at or after a key.
    pub(super) fn next_key(&self, from: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.tree.call(|tree| tree.range(from..).next().transpose());
        let Some((key, _)) = found.map_err(|error| self.read_error(error))? else {
            return Ok(None);
        };
        match split_part_key(&key) {
            Some((entry, 0)) => Ok(Some(entry.to_vec())),
            _ => Err(self.corrupt(&key, Corruption::Parts)),
        }
    }

    /// The key of the last entry at or before a key.
    pub(super) fn last_key_up_to(&self, to: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let to = part_key(to, u32::MAX);
        self.entry_key_of(self.tree.call(|tree| tree.range(..=to).next_back().transpose()))
    }

    /// Which entry a part belongs to.
    fn entry_key_of(
        &self,
        part: sled::Result<Option<(sled::IVec, sled::IVec)>>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((key, _)) = part.map_err(|error| self.read_error(error))? else {
            return Ok(None);
        };
        match split_part_key(&key) {
            Some((entry, _)) => Ok(Some(entry.to_vec())),
            None => Err(self.corrupt(&key, Corruption::Parts)),
        }
    }

    pub(super) fn corrupt(&self, key: &[u8], problem: Corruption) -> StoreError {
        StoreError::Corrupt { tree: self.name, key: key.to_vec(), problem }
    }

    fn part(&self, key: &[u8], number: u32) -> Result<Option<sled::IVec>, StoreError> {
        let part = self.tree.call(|tree| tree.get(part_key(key, number)));
        part.map_err(|error| self.read_error(error))
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
        self.disk.error(error)
    }
}

/// The most bytes of an entry in one part. Seventeen parts, the most in one page, stay below 128 KiB.
const PART_BYTES: usize = 7 * 1024;

const HEAD_BYTES: usize = 12;

/// How many parts an entry of so many bytes has.
fn parts(bytes: usize) -> u32 {
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
