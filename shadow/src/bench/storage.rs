//! The store alone: committing, opening snapshots, and what a large state costs.
//!
//! A commit is held against a database of the usual kind, with an entry for every key, under the same
//! load: both hold the same accounts, and every round both overwrite the same random ones. What the
//! verifier does before it commits is done before it here too, and is not timed: it reads every key
//! that a block names from the state before the block.

use std::{
    collections::BTreeSet,
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, Nonce, Snapshot,
    StateDelta, StateKey, StateRead, StateValue, Store, StoreOptions, TopoHeight,
};

use super::{Length, Report, medians, timed};
use crate::{source::SourceError, verifier::VerifyError};

pub(super) fn measure(
    length: Length,
    accounts: Option<u64>,
    report: &mut Report,
) -> Result<(), VerifyError> {
    report.commit = commit_times()?;
    report.commit_over_sled = report.commit.sled_ms / report.commit.commit_ms;
    report.cold_commit_over_sled = report.commit.sled_ms / report.commit.cold_commit_ms;
    for accounts in [1000_u64, 100_000, 10_000_000] {
        report.snapshot_open_ns.insert(accounts.to_string(), None);
    }
    let sizes: &[u64] = if length == Length::Full { &[1000, 100_000] } else { &[1000] };
    for accounts in sizes.iter().copied() {
        let scratch = tempfile::tempdir().map_err(SourceError::Io)?;
        let chain = Chain::seeded(&scratch.path().join("store"), accounts)?;
        let opened = snapshot_open_ns(&chain)?;
        report.snapshot_open_ns.insert(accounts.to_string(), Some(opened));
    }
    if let Some(accounts) = accounts {
        let (large, opened) = large(accounts)?;
        report.snapshot_open_ns.insert(accounts.to_string(), Some(opened));
        report.large_store = Some(large);
    }
    Ok(())
}

/// 1,000 writes, in milliseconds.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct CommitTimes {
    /// A batch of as many entries in sled.
    pub sled_ms: f64,
    /// A commit of keys that were read before.
    pub commit_ms: f64,
    /// A commit of keys that nobody read before.
    pub cold_commit_ms: f64,
    /// Folding the block later on, on another thread.
    pub fold_ms: f64,
}

/// The means of alternating rounds, because what is written is flushed only every few rounds, and a
/// median would hide that.
fn commit_times() -> Result<CommitTimes, VerifyError> {
    let scratch = tempfile::tempdir().map_err(SourceError::Io)?;
    let database = sled::open(scratch.path().join("sled")).map_err(from_sled)?;
    let mut batch = sled::Batch::default();
    for number in 0..ACCOUNTS {
        batch.insert(entry_key(&key(number)), &number.to_be_bytes());
        if (number + 1) % 500 == 0 {
            database.apply_batch(std::mem::take(&mut batch)).map_err(from_sled)?;
        }
    }
    database.flush().map_err(from_sled)?;

    let mut chain = Chain::seeded(&scratch.path().join("store"), ACCOUNTS)?;
    // A store that has been running for long: every account was written since the base, and all of
    // that was folded.
    for first in (0..ACCOUNTS).step_by(WRITES) {
        let delta = (first..ACCOUNTS.min(first + WRITES as u64)).map(|number| write(number, 1));
        chain.commit(delta.collect())?;
    }
    chain.fold()?;
    chain.store.flush()?;

    let mut random = ChaCha8Rng::seed_from_u64(1);
    let [mut batches, mut commits, mut cold_commits] = [Duration::ZERO; 3];
    for round in 0..ROUNDS {
        let numbers = some(&mut random, ACCOUNTS);
        let mut batch = sled::Batch::default();
        for number in &numbers {
            batch.insert(entry_key(&key(*number)), &u64::from(round).to_be_bytes());
        }
        let (applied, time) = timed(|| database.apply_batch(batch));
        applied.map_err(from_sled)?;
        batches += time;

        let delta = |numbers: &BTreeSet<u64>| -> StateDelta {
            numbers.iter().map(|number| write(*number, round.into())).collect()
        };
        commits += chain.commit_read(delta(&numbers))?;
        cold_commits += chain.commit(delta(&some(&mut random, ACCOUNTS)))?;
    }
    let (folded, folds) = timed(|| chain.fold());
    folded?;
    let ms = |total: Duration, rounds: u32| total.as_secs_f64() * 1e3 / f64::from(rounds);
    Ok(CommitTimes {
        sled_ms: ms(batches, ROUNDS),
        commit_ms: ms(commits, ROUNDS),
        cold_commit_ms: ms(cold_commits, ROUNDS),
        fold_ms: ms(folds, 2 * ROUNDS),
    })
}

fn snapshot_open_ns(chain: &Chain) -> Result<f64, VerifyError> {
    const OPENED: u32 = 1000;
    let [opened] = medians(
        11,
        [&mut || {
            let (result, time) = timed(|| {
                for _ in 0..OPENED {
                    black_box(chain.parent()?);
                }
                Ok::<(), VerifyError>(())
            });
            result?;
            Ok(time)
        }],
    )?;
    let per_snapshot: Duration = opened / OPENED;
    Ok(per_snapshot.as_secs_f64() * 1e9)
}

/// A store with as many accounts as were asked for.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct LargeStore {
    /// How many accounts.
    pub accounts: u64,
    /// How long writing them took.
    pub seed_seconds: f64,
    /// Of the directory once they were written.
    pub disk_mib: f64,
    /// Of this process at the end; `None` where that cannot be told.
    pub resident_mib: Option<f64>,
    /// A commit of 1,000 writes to 10,000 of the accounts, in milliseconds.
    pub commit_ms: f64,
    /// Over the same in a store that has these 10,000 accounts only.
    pub commit_over_small: f64,
    /// What is paid again and again: reading the keys of a block, committing and folding it, over the
    /// same in the small store.
    pub block_over_small: f64,
}

fn large(accounts: u64) -> Result<(LargeStore, f64), VerifyError> {
    let scratch = tempfile::tempdir().map_err(SourceError::Io)?;
    let directory = scratch.path().join("large");
    let started = Instant::now();
    let mut chains = [
        Chain::seeded(&directory, accounts)?,
        Chain::seeded(&scratch.path().join("small"), WORKING_SET)?,
    ];
    let seed_seconds = started.elapsed().as_secs_f64();
    let disk_mib = disk_bytes(&directory)? as f64 / MIB;

    let [mut commits, mut blocks] = [[Duration::ZERO; 2]; 2];
    let mut random = ChaCha8Rng::seed_from_u64(2);
    // The working set is spread over the whole state.
    let stride = (accounts / WORKING_SET).max(1);
    for round in 0..2 * ROUNDS {
        let numbers = some(&mut random, WORKING_SET);
        for (index, (chain, stride)) in chains.iter_mut().zip([stride, 1]).enumerate() {
            let delta: StateDelta =
                numbers.iter().map(|number| write(number * stride, round.into())).collect();
            let started = Instant::now();
            let time = chain.commit_read(delta)?;
            if round % 16 == 15 {
                chain.fold()?;
            }
            // The first half brings the working set into memory, on both sides.
            if round >= ROUNDS {
                commits[index] += time;
                blocks[index] += started.elapsed();
            }
        }
    }
    let opened = snapshot_open_ns(&chains[0])?;
    let ratio = |[large, small]: [Duration; 2]| large.as_secs_f64() / small.as_secs_f64();
    let measured = LargeStore {
        accounts,
        seed_seconds,
        disk_mib,
        resident_mib: resident_mib(),
        commit_ms: commits[0].as_secs_f64() * 1e3 / f64::from(ROUNDS),
        commit_over_small: ratio(commits),
        block_over_small: ratio(blocks),
    };
    Ok((measured, opened))
}

/// A store that blocks are committed to.
struct Chain {
    store: Store,
    next: TopoHeight,
}

impl Chain {
    /// A new store with so many accounts.
    fn seeded(directory: &Path, accounts: u64) -> Result<Self, VerifyError> {
        let store = Store::open(directory, StoreOptions::default())?;
        for first in (0..accounts).step_by(SEEDED_AT_ONCE) {
            let numbers = first..accounts.min(first + SEEDED_AT_ONCE as u64);
            store.seed(&numbers.map(|number| write(number, 0)).collect())?;
        }
        Ok(Self { store, next: TopoHeight::GENESIS })
    }

    /// Commits a block and returns how long that took.
    fn commit(&mut self, delta: StateDelta) -> Result<Duration, VerifyError> {
        let block = block(self.next, delta);
        let (committed, time) = timed(|| self.store.commit(block));
        self.next = committed?.block.topoheight.next();
        Ok(time)
    }

    /// The same for a block whose keys were read before it was executed.
    fn commit_read(&mut self, delta: StateDelta) -> Result<Duration, VerifyError> {
        let parent = self.parent()?;
        for key in delta.keys() {
            black_box(parent.read(key).map_err(VerifyError::Read)?);
        }
        drop(parent);
        self.commit(delta)
    }

    /// The state before the next block.
    fn parent(&self) -> Result<Snapshot, VerifyError> {
        Ok(match self.next.previous() {
            Some(parent) => self.store.snapshot_at(parent)?,
            None => self.store.base_snapshot()?,
        })
    }

    fn fold(&self) -> Result<(), VerifyError> {
        if let Some(tip) = self.store.tip() {
            self.store.advance_view(tip.block.topoheight)?;
        }
        Ok(())
    }
}

const ACCOUNTS: u64 = 100_000;

const WRITES: usize = 1000;

const ROUNDS: u32 = 48;

/// Accounts that a block of the large store writes to.
const WORKING_SET: u64 = 10_000;

/// A delta is in memory as a whole; ten million keys are not to be.
const SEEDED_AT_ONCE: usize = 50_000;

const MIB: f64 = 1024.0 * 1024.0;

/// The numbers of [`WRITES`] different accounts.
fn some(random: &mut ChaCha8Rng, accounts: u64) -> BTreeSet<u64> {
    let mut numbers = BTreeSet::new();
    while numbers.len() < WRITES {
        numbers.insert(random.random_range(0..accounts));
    }
    numbers
}

/// Every account has one key: a balance if its number is even and else a nonce.
fn key(number: u64) -> StateKey {
    if number.is_multiple_of(2) {
        StateKey::Balance(account(number), AssetId::NATIVE)
    } else {
        StateKey::Nonce(account(number))
    }
}

fn write(number: u64, value: u64) -> (StateKey, Option<StateValue>) {
    let key = key(number);
    let value = match key {
        StateKey::Balance(..) => StateValue::Balance(Amount::new(value)),
        _ => StateValue::Nonce(Nonce::new(value)),
    };
    (key, Some(value))
}

/// The key of an entry of its own: with the topoheight, 41 or 73 bytes.
fn entry_key(key: &StateKey) -> Vec<u8> {
    let asset = key.asset().map_or(&[][..], |asset| asset.as_bytes());
    let tag = [u8::from(asset.is_empty())];
    [&tag, &key.account().as_bytes()[..], asset, &[0; 8]].concat()
}

/// In the order of the numbers, so that ten million can be written in that order, and else without any.
fn account(number: u64) -> Address {
    let mut bytes = *blake3::hash(&number.to_be_bytes()).as_bytes();
    bytes[..8].copy_from_slice(&(number << 40).to_be_bytes());
    Address::new(bytes)
}

fn block(topoheight: TopoHeight, delta: StateDelta) -> BlockCommit {
    let hash = BlockHash::new(*blake3::hash(&topoheight.as_u64().to_be_bytes()).as_bytes());
    BlockCommit::new(BlockRef { topoheight, hash }, BlockFacts::default(), delta)
}

/// Of the files in a directory and below.
fn disk_bytes(directory: &Path) -> Result<u64, VerifyError> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(SourceError::Io)? {
        let entry = entry.map_err(SourceError::Io)?;
        let metadata = entry.metadata().map_err(SourceError::Io)?;
        bytes += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// What the operating system says of this process.
fn resident_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn from_sled(error: sled::Error) -> VerifyError {
    SourceError::Io(std::io::Error::other(error)).into()
}
