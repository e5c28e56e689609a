//! The log when the power fails, or when one of its writes does.
//!
//! Everything that the log does to the disk is witnessed. What a disk may be found to hold when the
//! power fails after some of it is all that was synced, and of the rest anything: each write whole,
//! in part or not at all, in any order, and the same for the names of the files. The header of a file
//! fits into a sector, so it alone is whole or not there.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use proptest::{collection::vec, prelude::*};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    block::CommittedBlock,
    health::Health,
    log::Log,
    segment::HEADER_BYTES,
    witness::{Change, count, watch, watch_failing, watch_meanwhile},
};
use crate::{
    BlockCommit, BlockFacts, BlockHash, BlockRef, StateDelta, StateDigest, StoreError, TopoHeight,
    TxHash,
};

/// The blocks of a log by their topoheights, each by a number that no other block ever had.
type Chain = BTreeMap<u64, u64>;

#[derive(Clone, Debug)]
enum Op {
    /// A block that executed so many transactions, which makes it long or short.
    Append(usize),
    Sync,
    /// Takes back so many blocks.
    DropAbove(u64),
    /// Forgets all but so many blocks.
    DropBelow(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..12_usize).prop_map(Op::Append),
        2 => Just(Op::Sync),
        2 => (0..7_u64).prop_map(Op::DropAbove),
        1 => (1..9_u64).prop_map(Op::DropBelow),
    ];
    vec(op, 1..25)
}

/// A log and what is in it.
struct Subject {
    log: Log,
    chain: Chain,
    /// How many blocks were ever made.
    made: u64,
    /// Nothing below that has to be there.
    bound: u64,
}

impl Subject {
    fn open(directory: &Path, made: u64) -> Result<Self, StoreError> {
        let log = Log::open(directory.to_owned(), FILE_BYTES, Arc::new(Health::default()))?;
        let mut chain = Chain::new();
        let mut from = TopoHeight::new(FIRST);
        while from.as_u64() < FIRST + made && log.read(from)?.is_none() {
            from = from.next();
        }
        log.replay(Some(from), |entry| {
            chain.insert(entry.commit.block.topoheight.as_u64(), number(&entry));
            Ok(())
        })?;
        let bound = chain.keys().next().filter(|first| **first > FIRST).copied().unwrap_or(0);
        Ok(Self { log, chain, made, bound })
    }

    /// The first block that is shown, and the one after the last.
    fn ends(&self) -> (u64, u64) {
        let first = self.chain.keys().next().map_or(self.bound, |first| *first.max(&self.bound));
        (first, self.chain.keys().last().map_or(FIRST, |last| last + 1))
    }

    fn apply(&mut self, op: &Op) -> Result<(), StoreError> {
        let (first, end) = self.ends();
        match op {
            Op::Append(executed) => {
                let previous = self.chain.values().last().copied();
                self.made += 1;
                let entry = entry(end, self.made, previous, *executed);
                self.log.append(&entry, &mut Vec::new())?;
                self.chain.insert(end, self.made);
            }
            Op::Sync => self.log.sync()?,
            Op::DropAbove(blocks) => {
                // Not below what was forgotten: the view is there.
                let below = end.saturating_sub(*blocks).max(first + u64::from(self.bound > 0));
                let to = (below > FIRST).then(|| TopoHeight::new(below - 1));
                self.log.drop_above(to)?;
                self.chain.retain(|topoheight, _| *topoheight < below);
            }
            Op::DropBelow(kept) => {
                let bound = end.saturating_sub(*kept);
                if bound > first {
                    self.bound = bound;
                    // As it was before the view got there.
                    self.log.sync()?;
                    self.log.drop_below(TopoHeight::new(bound), || Ok(()))?;
                }
            }
        }
        Ok(())
    }
}

/// Short files, so that many are begun, left and removed.
const FILE_BYTES: u64 = 700;

/// The topoheight of the first block.
const FIRST: u64 = 40;

fn entry(topoheight: u64, made: u64, previous: Option<u64>, executed: usize) -> CommittedBlock {
    let hash = |made: u64| BlockHash::new([made.to_be_bytes(); 4].concat().try_into().unwrap());
    let block = BlockRef { topoheight: TopoHeight::new(topoheight), hash: hash(made) };
    let mut commit = BlockCommit::new(block, BlockFacts::default(), StateDelta::new());
    commit.executed = vec![TxHash::new([made as u8; 32]); executed];
    CommittedBlock { commit, digest: StateDigest::EMPTY, previous: previous.map(hash) }
}

fn number(entry: &CommittedBlock) -> u64 {
    u64::from_be_bytes(*entry.commit.block.hash.as_bytes().first_chunk().unwrap())
}

/// What had been done to the disk when an operation returned, and what the log held then.
struct Moment {
    changes: usize,
    chain: Chain,
    bound: u64,
    is_synced: bool,
}

impl Moment {
    fn of(subject: &Subject, is_synced: bool) -> Self {
        let (chain, bound) = (subject.chain.clone(), subject.bound);
        Self { changes: count(), chain, bound, is_synced }
    }
}

/// Opens a log, works on it and closes it; every operation is a moment.
fn life(directory: &Path, made: u64, ops: &[Op]) -> (Vec<Moment>, u64) {
    let mut subject = Subject::open(directory, made).unwrap();
    let mut moments = vec![Moment::of(&subject, true)];
    for op in ops {
        subject.apply(op).unwrap();
        moments.push(Moment::of(&subject, matches!(op, Op::Sync)));
    }
    let Subject { log, chain, made, bound } = subject;
    drop(log);
    moments.push(Moment { changes: count(), chain, bound, is_synced: true });
    (moments, made)
}

/// Whether a chain may be what is found when the power fails after so many changes.
fn check(found: &Chain, moments: &[Moment], before: &Chain, changes: usize) -> Result<(), String> {
    let ended = moments.iter().take_while(|moment| moment.changes <= changes).count();
    let synced = moments[..ended].iter().rposition(|moment| moment.is_synced);
    // One that has not ended may have done everything, something or nothing.
    let possible = &moments[synced.unwrap_or(0)..moments.len().min(ended + 1)];
    let promised = synced.map_or(before, |synced| &moments[synced].chain);
    let bound = possible.iter().map(|moment| moment.bound).max().unwrap_or(0);
    let shown = |chain: &Chain| -> Chain { chain.clone().split_off(&bound) };
    let (found, promised) = (shown(found), shown(promised));

    let is_prefix = |chain: &Chain| shown(chain).into_iter().take(found.len()).eq(found.clone());
    if !possible.iter().map(|moment| &moment.chain).chain([before]).any(is_prefix) {
        return Err(format!("{found:?} was never there"));
    }
    let kept = |moment: &Moment| {
        let chain = shown(&moment.chain);
        promised.iter().zip(&chain).take_while(|(promised, kept)| promised == kept).count()
    };
    let least = possible.iter().map(kept).min().unwrap_or(0);
    if found.len() < least {
        return Err(format!(
            "{found:?} lacks some of {promised:?}, of which {least} were promised"
        ));
    }
    Ok(())
}

/// A directory on a disk: what it holds for sure, and what it was told since.
#[derive(Default)]
pub(super) struct Platter {
    /// Every file that there ever was.
    files: Vec<Contents>,
    names: BTreeMap<PathBuf, usize>,
    safe_names: BTreeMap<PathBuf, usize>,
    /// What was done to the names since they were synced: `None` for a removal.
    renamings: Vec<Vec<(PathBuf, Option<usize>)>>,
}

#[derive(Default)]
struct Contents {
    bytes: Vec<u8>,
    safe: Vec<u8>,
    writes: Vec<Change>,
}

impl Platter {
    pub(super) fn of(directory: &Path) -> Self {
        let mut platter = Self::default();
        for file in fs::read_dir(directory).unwrap() {
            let path = file.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            platter.safe_names.insert(path, platter.files.len());
            platter.files.push(Contents { safe: bytes.clone(), bytes, writes: Vec::new() });
        }
        platter.names.clone_from(&platter.safe_names);
        platter
    }

    pub(super) fn take(&mut self, change: &Change) {
        match change {
            Change::Created(path) => {
                self.rename(vec![(path.clone(), Some(self.files.len()))]);
                self.files.push(Contents::default());
            }
            Change::Wrote { path, .. } | Change::Cut { path, .. } => {
                let file = &mut self.files[self.names[path]];
                apply(&mut file.bytes, change);
                file.writes.push(change.clone());
            }
            Change::Synced(path) => {
                let file = &mut self.files[self.names[path]];
                file.safe.clone_from(&file.bytes);
                file.writes.clear();
            }
            Change::Renamed { from, to } => {
                let file = self.names[from];
                self.rename(vec![(from.clone(), None), (to.clone(), Some(file))]);
            }
            Change::Removed(path) => self.rename(vec![(path.clone(), None)]),
            Change::SyncedDirectory(_) => {
                self.safe_names.clone_from(&self.names);
                self.renamings.clear();
            }
            other => panic!("{other:?} is done to no file"),
        }
    }

    fn rename(&mut self, renaming: Vec<(PathBuf, Option<usize>)>) {
        rename(&mut self.names, &renaming);
        self.renamings.push(renaming);
    }

    /// Writes into another directory what is found after the power failed, when of what was not synced
    /// such a part was done.
    pub(super) fn lose_power(&self, directory: &Path, kept: f64, random: &mut ChaCha8Rng) {
        let mut names = self.safe_names.clone();
        for renaming in &self.renamings {
            if random.random_bool(kept) {
                rename(&mut names, renaming);
            }
        }
        for (path, file) in names {
            let file = &self.files[file];
            let mut bytes = file.safe.clone();
            for write in &file.writes {
                if random.random_bool(kept) {
                    apply(&mut bytes, &torn(write, random));
                }
            }
            fs::write(directory.join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, renaming: &[(PathBuf, Option<usize>)]) {
    for (path, file) in renaming {
        match file {
            Some(file) => names.insert(path.clone(), *file),
            None => names.remove(path),
        };
    }
}

fn apply(content: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Wrote { offset, bytes, .. } => {
            let offset = *offset as usize;
            content.resize(content.len().max(offset + bytes.len()), 0);
            content[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        Change::Cut { length, .. } => content.resize(*length as usize, 0),
        other => panic!("{other:?} is not about what is in a file"),
    }
}

/// A write, or a part of it.
fn torn(write: &Change, random: &mut ChaCha8Rng) -> Change {
    match write {
        Change::Wrote { path, offset, bytes } if *offset >= HEADER_BYTES && random.random() => {
            let start = random.random_range(0..bytes.len());
            let end = random.random_range(start..bytes.len());
            let bytes = bytes[start..end].to_vec();
            Change::Wrote { path: path.clone(), offset: offset + start as u64, bytes }
        }
        whole => whole.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_a_loss_of_power_there_is_what_was_synced_and_nothing_that_never_was(
        lives in vec((ops(), any::<u64>()), 1..4),
    ) {
        let mut directory = tempfile::tempdir().unwrap();
        let (mut before, mut made) = (Chain::new(), 0);
        for (ops, seed) in lives {
            let mut platter = Platter::of(directory.path());
            let ((moments, made_now), changes) = watch(|| life(directory.path(), made, &ops));
            made = made_now;
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut moments_of_loss: Vec<_> =
                (0..8).map(|_| random.random_range(0..=changes.len())).collect();
            moments_of_loss.sort_unstable();
            let (mut left, mut found, mut taken) = (directory, before.clone(), 0);
            for lost_at in moments_of_loss {
                changes[taken..lost_at].iter().for_each(|change| platter.take(change));
                taken = lost_at;
                left = tempfile::tempdir().unwrap();
                let kept = [0.0, 0.2, 0.5, 0.9, 1.0][random.random_range(0..5)];
                platter.lose_power(left.path(), kept, &mut random);
                found = Subject::open(left.path(), made)
                    .map(|subject| subject.chain)
                    .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                check(&found, &moments, &before, lost_at).map_err(TestCaseError::fail)?;
            }
            (directory, before) = (left, found);
        }
    }
}

// postmortem: the file was cut off at what had been synced before, so nothing was left to be synced.
#[test]
fn a_loss_of_power_does_not_bring_back_what_was_cut_off_before_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let mut platter = Platter::of(directory.path());
    let ops = [Op::Append(0), Op::Append(0), Op::Sync, Op::DropAbove(1), Op::Sync];
    let ((moments, made), changes) = watch(|| life(directory.path(), 0, &ops));
    changes[..moments[ops.len()].changes].iter().for_each(|change| platter.take(change));
    let left = tempfile::tempdir().unwrap();
    platter.lose_power(left.path(), 0.0, &mut ChaCha8Rng::seed_from_u64(0));
    assert_eq!(Subject::open(left.path(), made).unwrap().chain, Chain::from([(FIRST, 1)]));
}

#[test]
fn what_a_killed_process_left_is_on_the_disk_once_the_log_is_open() {
    let [directory, left] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let mut killed = Subject::open(directory.path(), 0).unwrap();
    [9, 9].map(Op::Append).iter().for_each(|op| killed.apply(op).unwrap());
    for file in fs::read_dir(directory.path()).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, left.path().join(path.file_name().unwrap())).unwrap();
    }
    let (opened, changes) = watch(|| Subject::open(left.path(), 2).unwrap());
    assert_eq!(opened.chain, killed.chain);
    assert!(changes.iter().any(|change| matches!(change, Change::Synced(_))), "{changes:?}");
}

#[test]
fn a_file_that_is_begun_during_a_sync_is_not_vouched_for() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Subject::open(directory.path(), 0).unwrap().log);
    let append = |log: &Log, topoheight: u64, previous| {
        let entry = entry(topoheight, topoheight, previous, 20);
        log.append(&entry, &mut Vec::new()).unwrap();
    };
    let mut platter = Platter::of(directory.path());
    let ((), changes) = watch(|| append(&log, FIRST, None));
    changes.iter().for_each(|change| platter.take(change));
    let later = Arc::clone(&log);
    let meanwhile = move || append(&later, FIRST + 1, Some(FIRST));
    let (synced, changes) = watch_meanwhile(meanwhile, || log.sync());
    synced.unwrap();
    changes.iter().for_each(|change| platter.take(change));
    // Of what is not vouched for, the headers were written and the new file was not.
    let left = tempfile::tempdir().unwrap();
    platter.lose_power(left.path(), 1.0, &mut ChaCha8Rng::seed_from_u64(0));
    let begun = format!("{:020}.log", FIRST + 1);
    fs::remove_file(left.path().join(begun)).unwrap();
    assert_eq!(Subject::open(left.path(), 1).unwrap().chain, Chain::from([(FIRST, FIRST)]));
}

#[test]
fn after_any_change_that_failed_nothing_is_written_and_what_was_there_is_found_again() {
    let ops = [3, 9, 0, 9, 9].map(Op::Append).into_iter();
    let ops = ops.chain([Op::Sync, Op::Append(9), Op::Append(0), Op::DropBelow(4), Op::Append(1)]);
    let ops: Vec<_> = ops.chain([Op::DropAbove(3), Op::Append(2), Op::Sync]).collect();
    for number in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let (expected, has_failed) = watch_failing(number, || {
            let Ok(mut subject) = Subject::open(directory.path(), 0) else { return Vec::new() };
            let mut before = subject.chain.clone();
            for op in &ops {
                before.clone_from(&subject.chain);
                if subject.apply(op).is_err() {
                    let log = &subject.log;
                    let entry = entry(subject.ends().1, 99, None, 1);
                    let refused = [
                        log.append(&entry, &mut Vec::new()),
                        log.sync(),
                        log.drop_above(None),
                        log.drop_below(TopoHeight::MAX, || Ok(())).map(drop),
                    ];
                    for refused in refused {
                        assert!(
                            matches!(refused, Err(StoreError::Broken)),
                            "{number}: {refused:?}"
                        );
                    }
                    break;
                }
            }
            vec![before, subject.chain]
        });
        let Subject { chain: found, bound, .. } = Subject::open(directory.path(), 99).unwrap();
        let mut expected = expected.into_iter().map(|mut chain| chain.split_off(&bound));
        if !has_failed {
            return assert_eq!(expected.next_back(), Some(found));
        }
        let is_there = |chain: Chain| chain.iter().take(found.len()).eq(&found);
        assert!(found.is_empty() || expected.any(is_there), "{number}: {found:?}");
    }
}
