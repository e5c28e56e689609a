//! A process that writes is killed at any moment, again and again in one directory, and what is found
//! afterwards is every block that it had committed, with the verdicts of one moment since its last
//! flush.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Child,
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{BlockCommit, MemoryState, StateKey, StateRead, Store};

use crate::{
    model::{digest, universe},
    support::{at, native, open},
    writer::{Step, Work, commit, crowd, entry, start, write_if_asked},
};

#[test]
fn after_a_kill_there_is_what_was_there_at_one_moment_since_the_last_flush() {
    write_if_asked();
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let kills = number("SHADOW_KILLS").unwrap_or(12);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut believed = Believed::default();
    let mut blocks = Vec::new();
    let mut unflushed = 0;
    for life in 0..kills as u32 {
        let steps = killed_life(directory.path(), seed, life, &mut random);
        if random.random_ratio(1, 3) {
            // Opening is killed as well, and has to leave what it found.
            let holder = start(directory.path(), seed, life, Work::Hold, "");
            die(holder, random.random_range(0..12_000));
        }
        let store = open(directory.path());
        let found = Found::read(&store);
        let moment = believed.replay(&steps, &found).unwrap_or_else(|| {
            panic!("SHADOW_SEED={seed}, life {life}: {found:?} after {believed:?} and {steps:?}")
        });
        unflushed += u64::from(moment > 0);
        check_content(&store, &believed, seed, &mut blocks)
            .unwrap_or_else(|what| panic!("SHADOW_SEED={seed}, life {life}: {what}"));
    }
    assert!(believed.chain.len() > 2 * kills as usize, "the lives were too short: {believed:?}");
    assert!(unflushed > 0, "no kill came between two flushes");
}

#[test]
fn a_directory_whose_making_was_killed_can_be_made() {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    for kill in 0..number("SHADOW_KILLS").unwrap_or(12) {
        let directory = tempfile::tempdir().unwrap();
        let holder = start(directory.path(), seed, 0, Work::Hold, "");
        die(holder, random.random_range(0..12_000));
        let store = Store::open(directory.path(), Default::default())
            .unwrap_or_else(|error| panic!("SHADOW_SEED={seed}, kill {kill}: {error:?}"));
        assert_eq!(store.tip(), None);
        store.commit(commit(seed, 0, 0)).unwrap();
    }
}

/// Lets a process write, kills it, and returns what it said.
fn killed_life(directory: &Path, seed: u64, life: u32, random: &mut ChaCha8Rng) -> Vec<Step> {
    let mut child = start(directory, seed, life, Work::Write, "");
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    // Some die while they open the store.
    let patience = if random.random_ratio(1, 6) { 0 } else { random.random_range(1..250) };
    while lines.len() < patience {
        let mut line = String::new();
        if said.read_line(&mut line).unwrap() == 0 {
            break;
        }
        lines.push(line);
    }
    let stderr = die(child, random.random_range(0..6_000));
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    lines.extend(rest.split_inclusive('\n').map(str::to_owned));
    // Where a line was not finished its step had not begun.
    let whole = lines.iter().filter_map(|line| line.strip_suffix('\n'));
    whole
        .inspect(|line| assert!(!line.starts_with('!'), "SHADOW_SEED={seed}: {line}\n{stderr}"))
        .filter_map(Step::from_line)
        .collect()
}

/// Kills a process after some time of its own, and returns what it complained of.
pub(crate) fn die(mut child: Child, microseconds: u64) -> String {
    // Nothing waits for this to have been enough: any moment is a good one to die.
    std::thread::sleep(Duration::from_micros(microseconds));
    child.kill().unwrap();
    let status = child.wait().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(status.signal(), Some(9), "the writer ended by itself: {status}\n{stderr}");
    stderr
}

/// What the directory holds: the branch of every block, and of every verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Believed {
    pub(crate) chain: Vec<u32>,
    verdicts: BTreeMap<u64, u32>,
}

impl Believed {
    fn apply(&mut self, step: Step) {
        match step {
            Step::Commit { topoheight, branch } => {
                assert_eq!(topoheight, self.chain.len() as u64, "the writer wrote elsewhere");
                self.chain.push(branch);
            }
            Step::Verdicts { from, below, branch } => {
                self.verdicts.extend((from..below).map(|topoheight| (topoheight, branch)));
            }
            Step::Rollback { from } => self.chain.truncate(from as usize),
            Step::Refused | Step::Flushed => {}
        }
    }

    /// Goes on to what was found, and returns how many steps ago the last flush was.
    ///
    /// Every step that changed the chain has to be there, but for the last one, which may not have
    /// begun or not have ended. The verdicts are those of any moment since the last flush.
    pub(crate) fn replay(&mut self, steps: &[Step], found: &Found) -> Option<usize> {
        let mut now = self.clone();
        let mut before_last = self.chain.clone();
        let (mut since, mut has_verdicts) = (0, found.verdicts == now.verdicts);
        for (index, step) in steps.iter().enumerate() {
            if steps.get(index + 1) == Some(&Step::Refused) {
                continue;
            }
            before_last.clone_from(&now.chain);
            now.apply(*step);
            since += 1;
            if *step == Step::Flushed {
                (since, has_verdicts) = (0, false);
            }
            has_verdicts |= found.verdicts == now.verdicts;
        }
        // A rollback that was not ended has dropped the last blocks already.
        let chain = [&now.chain, &before_last].into_iter().find_map(|chain| {
            let found = chain.get(..found.below as usize).filter(|chain| found.is(chain))?;
            (found.len() >= now.chain.len().min(before_last.len())).then(|| found.to_vec())
        })?;
        has_verdicts.then_some(())?;
        *self = Self { chain, verdicts: found.verdicts.clone() };
        Some(since)
    }
}

/// What is found in a directory. The log may begin later than the chain.
#[derive(Debug)]
pub(crate) struct Found {
    below: u64,
    log: Vec<(u64, u32)>,
    verdicts: BTreeMap<u64, u32>,
}

impl Found {
    pub(crate) fn read(store: &Store) -> Self {
        let below = crate::writer::next(store);
        let log = (0..below)
            .filter_map(|topoheight| store.block(at(topoheight)).unwrap())
            .map(|entry| entry.commit.block)
            .map(|block| (block.topoheight.as_u64(), branch(block.hash.as_bytes())))
            .collect();
        let verdicts = store
            .ledger_range(at(0)..=at(u64::MAX))
            .map(Result::unwrap)
            .map(|(topoheight, entry)| (topoheight.as_u64(), branch(&entry)))
            .collect();
        Self { below, log, verdicts }
    }

    fn is(&self, chain: &[u32]) -> bool {
        let is_there =
            |(topoheight, branch): &(u64, u32)| chain.get(*topoheight as usize) == Some(branch);
        self.log.iter().all(is_there)
    }
}

fn branch(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().unwrap())
}

/// Whether everything in the store is what the branches say, byte for byte.
pub(crate) fn check_content(
    store: &Store,
    believed: &Believed,
    seed: u64,
    blocks: &mut Vec<BlockCommit>,
) -> Result<(), String> {
    // What was made for an earlier life is used again as far as the chain is the same.
    let same = blocks
        .iter()
        .zip(&believed.chain)
        .take_while(|(block, believed)| branch(block.block.hash.as_bytes()) == **believed)
        .count();
    blocks.truncate(same);
    for (topoheight, branch) in believed.chain.iter().enumerate().skip(same) {
        blocks.push(commit(seed, topoheight as u64, *branch));
    }

    let view = store.view_tip();
    let (mut gaps, mut previous) = (false, None);
    for block in blocks.iter().rev() {
        let topoheight = block.block.topoheight;
        match store.block(topoheight).map_err(|error| format!("{error:?}"))? {
            Some(_) if gaps => return Err(format!("block {topoheight} is below a missing one")),
            Some(entry) if entry.commit != *block => {
                return Err(format!("block {topoheight} is not what was committed"));
            }
            Some(entry) => {
                if previous.is_some_and(|previous| previous != Some(entry.commit.block.hash)) {
                    return Err(format!("block {topoheight} is not what the next one follows"));
                }
                previous = Some(entry.previous);
            }
            None if Some(topoheight) > view => return Err(format!("block {topoheight} is lost")),
            None => gaps = true,
        }
    }
    for (topoheight, branch) in &believed.verdicts {
        let found = store.ledger(at(*topoheight)).unwrap();
        if found != Some(entry(seed, *topoheight, *branch)) {
            return Err(format!("the verdict on {topoheight} is not what was written"));
        }
    }

    let mut state = MemoryState::new();
    let mut written = BTreeSet::new();
    for block in blocks.iter() {
        state.apply(&block.delta);
        state.apply(&block.correction);
        block.unknown.iter().for_each(|key| state.forget(*key));
        written.extend(block.delta.keys().chain(block.correction.keys()).chain(&block.unknown));
        if Some(block.block.topoheight) >= view {
            check_state(store, block, &state)?;
        }
    }
    match store.tip() {
        Some(tip) if *tip.digest.as_bytes() != digest(written, &state) => {
            Err("the digest is not that of the state".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_state(store: &Store, block: &BlockCommit, state: &MemoryState) -> Result<(), String> {
    let snapshot = store.snapshot_at(block.block.topoheight).map_err(|e| format!("{e:?}"))?;
    let crowd = (0..700).map(|number| native(crowd(number)));
    let keys: Vec<StateKey> = universe().into_iter().chain(crowd.step_by(7)).collect();
    for key in keys {
        let (stored, expected) = (snapshot.read(&key), state.read(&key));
        if stored != expected {
            let at = block.block.topoheight;
            return Err(format!("{key} at {at}: {stored:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}
