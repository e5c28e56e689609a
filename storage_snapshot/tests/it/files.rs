//! Files that were cut or changed behind the store's back: what is served is what was written, up to
//! some committed block, or it is an error.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{StateRead, Store, StoreError, StoreOptions};

use crate::{
    crash::number,
    support::{ALICE, at, balance, native},
    writer::{commit, entry, next},
};

const BLOCKS: u64 = 120;
const SEED: u64 = 5;

/// Commits blocks with verdicts, folds some, and closes the store in several lives.
fn prepared() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for life in 0..3 {
        // Several files of the log, of which the first is dropped by the end.
        let options = StoreOptions { log_file_bytes: 32 << 10, ..StoreOptions::default() };
        let store = Store::open(directory.path(), options).unwrap();
        store.set_identity(b"a chain").unwrap();
        for topoheight in life * BLOCKS / 3..(life + 1) * BLOCKS / 3 {
            let verdict = entry(SEED, topoheight, 0);
            store.commit(block(topoheight)).unwrap();
            store.put_ledger(at(topoheight), &verdict).unwrap();
        }
        store.advance_view(at((life + 1) * BLOCKS / 3 - 10)).unwrap();
        store.prune_log(at(BLOCKS)).unwrap();
    }
    directory
}

fn block(topoheight: u64) -> storage_snapshot::BlockCommit {
    let mut commit = commit(SEED, topoheight, 0);
    commit.delta.insert(native(ALICE), Some(balance(topoheight)));
    commit
}

#[test]
fn a_file_that_was_cut_is_an_error_or_an_older_block() {
    check("cut", |path, random| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        file.set_len(random.random_range(0..length.max(1))).unwrap();
    });
}

#[test]
fn a_file_in_which_bytes_changed_is_an_error_or_an_older_block() {
    check("changed", |path, random| {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let length = file.metadata().unwrap().len();
        for _ in 0..random.random_range(1..20) {
            let (mut byte, offset) = ([0], random.random_range(0..length));
            file.read_exact_at(&mut byte, offset).unwrap();
            file.write_all_at(&[byte[0] ^ random.random_range(1..=255_u8)], offset).unwrap();
        }
    });
}

/// Damages a copy of one directory in some way, many times, and looks at what is served.
fn check(what: &str, damage: impl Fn(&Path, &mut ChaCha8Rng)) {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let prepared = prepared();
    let (mut refused, mut older, mut whole) = (0, 0, 0);
    for case in 0..number("SHADOW_KILLS").unwrap_or(24) {
        let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_mul(1_000_003) + case);
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("state/blobs")).unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        fs::create_dir(directory.path().join("ledger")).unwrap();
        fs::create_dir(directory.path().join("view")).unwrap();
        let [database, log, ledger, view] = ["state", "log", "ledger", "view"].map(|under| {
            let copied = files_of(&prepared.path().join(under)).into_iter().map(|file| {
                let copy = directory.path().join(under).join(file.file_name().unwrap());
                fs::copy(file, &copy).unwrap();
                copy
            });
            copied.collect::<Vec<_>>()
        });
        assert!(log.len() > 2, "{log:?}");
        // The large file of the database has most of the content.
        let picked = match random.random_range(0..8) {
            0 => directory.path().join("state/db"),
            1..3 => ledger[0].clone(),
            3..5 => log[random.random_range(0..log.len())].clone(),
            5..7 => view[random.random_range(0..view.len())].clone(),
            _ => database[random.random_range(0..database.len())].clone(),
        };
        damage(&picked, &mut random);
        let place = format!("SHADOW_SEED={seed}, case {case}: {} {what}", picked.display());
        let served = catch_unwind(AssertUnwindSafe(|| serve(directory.path(), &place)))
            .unwrap_or_else(|_| panic!("{place}: a panic"));
        match served {
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                let named = message.contains(directory.path().to_str().unwrap());
                assert!(named || matches!(error, StoreError::Corrupt { .. }), "{place}: {message}");
            }
            // The store was closed, so all of its log is vouched for, and of its ledger.
            Ok(_) if log.contains(&picked) || ledger.contains(&picked) => {
                panic!("{place}: it was not noticed")
            }
            Ok(BLOCKS) => whole += 1,
            Ok(_) => older += 1,
        }
    }
    assert!(refused + older > 0, "no damage was ever seen, {whole} were whole");
}

/// Reads everything that there is, and returns how many blocks that is.
fn serve(directory: &Path, place: &str) -> Result<u64, StoreError> {
    let store = Store::open(directory, StoreOptions::default())?;
    let blocks = next(&store);
    assert!(blocks <= BLOCKS, "{place}: {blocks} blocks");
    if let Some(identity) = store.identity()? {
        assert_eq!(identity, b"a chain", "{place}");
    }
    for topoheight in 0..blocks {
        if let Some(found) = store.block(at(topoheight))? {
            assert_eq!(found.commit, block(topoheight), "{place}: block {topoheight}");
        }
    }
    for verdict in store.ledger_range(at(0)..=at(u64::MAX)) {
        let (topoheight, verdict) = verdict?;
        assert_eq!(verdict, entry(SEED, topoheight.as_u64(), 0), "{place}: verdict {topoheight}");
    }
    let first = store.view_tip().map_or(0, |view| view.as_u64());
    for topoheight in first..blocks {
        let snapshot = store.snapshot_at(at(topoheight))?;
        match snapshot.read(&native(ALICE)) {
            Ok(value) => assert_eq!(value, Some(balance(topoheight)), "{place}: {topoheight}"),
            Err(error) => assert!(
                matches!(error, storage_snapshot::ReadError::Storage(_)),
                "{place}: {error}"
            ),
        }
    }
    Ok(blocks)
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}
