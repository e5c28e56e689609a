//! The store alone: committing and opening snapshots.

use std::{hint::black_box, time::Duration};

use storage_snapshot::{
    Address, Amount, AssetId, BlockCommit, BlockFacts, BlockHash, BlockRef, Nonce, StateDelta,
    Store, StoreOptions, TopoHeight,
};

use super::{Length, Report, medians, speed_up, timed};
use crate::{source::SourceError, verifier::VerifyError};

pub(super) fn measure(length: Length, report: &mut Report) -> Result<(), VerifyError> {
    report.commit_over_sled = commit_over_sled()?;
    for accounts in [1000_u64, 100_000, 10_000_000] {
        // Making ten million accounts takes minutes, whatever the length.
        let measured = accounts <= 1000 || (length == Length::Full && accounts <= 100_000);
        let nanoseconds = if measured { Some(snapshot_open_ns(accounts)?) } else { None };
        report.snapshot_open_ns.insert(accounts.to_string(), nanoseconds);
    }
    Ok(())
}

/// A commit of 1,000 writes against a batch of as many entries of the same size.
fn commit_over_sled() -> Result<f64, VerifyError> {
    let directory = tempfile::tempdir().map_err(SourceError::Io)?;
    let store = Store::open(&directory.path().join("store"), StoreOptions::default())?;
    let database = sled::open(directory.path().join("sled")).map_err(from_sled)?;
    let (mut topoheight, mut number) = (TopoHeight::GENESIS, 0_u64);
    let [batch, commit] = medians(
        31,
        [
            &mut || {
                number += 1;
                let mut batch = sled::Batch::default();
                for index in 0..1000 {
                    let key = [account(number * 1000 + index).as_bytes(), &[0; 32][..]].concat();
                    batch.insert(key, &number.to_be_bytes());
                }
                let (applied, time) = timed(|| database.apply_batch(batch));
                applied.map_err(from_sled)?;
                Ok(time)
            },
            &mut || {
                let mut delta = StateDelta::new();
                for index in 0..1000 {
                    let account = account(topoheight.as_u64() * 1000 + index);
                    delta.set_balance(account, AssetId::NATIVE, Amount::new(index));
                }
                let commit = block(topoheight, delta);
                topoheight = topoheight.next();
                let (tip, time) = timed(|| store.commit(commit));
                tip?;
                Ok(time)
            },
        ],
    )?;
    Ok(speed_up(batch, commit))
}

fn snapshot_open_ns(accounts: u64) -> Result<f64, VerifyError> {
    let directory = tempfile::tempdir().map_err(SourceError::Io)?;
    let store = Store::open(directory.path(), StoreOptions::default())?;
    let mut base = StateDelta::new();
    for number in 0..accounts {
        base.set_nonce(account(number), Nonce::new(number));
    }
    store.seed(&base)?;
    let tip = store.commit(block(TopoHeight::GENESIS, StateDelta::new()))?.block.topoheight;
    const OPENED: u32 = 1000;
    let [opened] = medians(
        11,
        [&mut || {
            let (result, time) = timed(|| {
                for _ in 0..OPENED {
                    black_box(store.snapshot_at(tip)?);
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

fn block(topoheight: TopoHeight, delta: StateDelta) -> BlockCommit {
    let hash = BlockHash::new(*blake3::hash(&topoheight.as_u64().to_be_bytes()).as_bytes());
    BlockCommit {
        block: BlockRef { topoheight, hash },
        facts: BlockFacts::default(),
        delta,
        correction: StateDelta::new(),
        unknown: Vec::new(),
        executed: Vec::new(),
    }
}

fn account(number: u64) -> Address {
    Address::new(*blake3::hash(&number.to_be_bytes()).as_bytes())
}

fn from_sled(error: sled::Error) -> VerifyError {
    SourceError::Io(std::io::Error::other(error)).into()
}
