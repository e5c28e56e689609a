//! A process of its own that writes to a store until it is killed, and says what it is about to do.
//!
//! The process is this test binary again, started for one test that becomes the writer where its
//! environment says so. Everything that it writes is a function of the seed, the topoheight and the branch, so
//! that whoever reads the directory afterwards knows what has to be there.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, BlockCommit, BlockHash, Store, StoreError, StoreOptions, TopoHeight, TxHash,
};

use crate::{
    model::{universe, value},
    support::{at, balance, block, native},
};

/// What the process was about to do, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// About to commit a block.
    Commit { topoheight: u64, branch: u32 },
    /// About to write the verdicts of `from` up to, but without, `below`.
    Verdicts { from: u64, below: u64, branch: u32 },
    /// About to drop every block from `from` on.
    Rollback { from: u64 },
    /// The last step was refused and nothing happened.
    Refused,
    /// Everything up to here was flushed.
    Flushed,
}

impl Step {
    fn to_line(self) -> String {
        match self {
            Self::Commit { topoheight, branch } => format!("> commit {topoheight} {branch}\n"),
            Self::Verdicts { from, below, branch } => {
                format!("> verdicts {from} {below} {branch}\n")
            }
            Self::Rollback { from } => format!("> rollback {from}\n"),
            Self::Refused => "> refused\n".to_owned(),
            Self::Flushed => "> flushed\n".to_owned(),
        }
    }

    /// `None` for a line of the test harness.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let line = line.strip_prefix("> ")?;
        let words: Vec<_> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<u64>().unwrap();
        Some(match words[0] {
            "commit" => Self::Commit { topoheight: number(1), branch: number(2) as u32 },
            "verdicts" => {
                Self::Verdicts { from: number(1), below: number(2), branch: number(3) as u32 }
            }
            "rollback" => Self::Rollback { from: number(1) },
            "refused" => Self::Refused,
            "flushed" => Self::Flushed,
            _ => panic!("the writer said {line:?}"),
        })
    }
}

/// What the process does once the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Writes until it is killed or fails, and goes back again and again so that the chain stays
    /// short.
    Write,
    /// Writes until it fails for want of room.
    Fill,
    /// Waits to be killed.
    Hold,
}

/// How the process ends when the store refuses.
pub(crate) const FAILED: i32 = 17;

/// Starts the process, from a shell that runs `before` first.
pub(crate) fn start(directory: &Path, seed: u64, life: u32, work: Work, before: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{before}\nexec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", BECOMES_THE_WRITER, "--nocapture"])
        .env(DIRECTORY, directory)
        .env(LIFE, life.to_string())
        .env(SEED, seed.to_string())
        .env(WORK, format!("{work:?}"))
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const BECOMES_THE_WRITER: &str =
    "crash::after_a_kill_there_is_what_was_there_at_one_moment_since_the_last_flush";
const DIRECTORY: &str = "SHADOW_WRITER_DIRECTORY";
const LIFE: &str = "SHADOW_WRITER_LIFE";
const SEED: &str = "SHADOW_WRITER_SEED";
const WORK: &str = "SHADOW_WRITER_WORK";

/// Where this process was started as the writer, it writes and does not come back.
pub(crate) fn write_if_asked() {
    let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let work = match std::env::var(WORK).unwrap().as_str() {
        "Write" => Work::Write,
        "Fill" => Work::Fill,
        work => {
            assert_eq!(work, "Hold");
            Work::Hold
        }
    };
    // The harness has begun a line.
    say("\n");
    let ended = write(&directory, number(SEED), number(LIFE) as u32, work);
    match ended {
        Ok(()) => std::process::exit(0),
        // The folding thread met the failure first, and says so.
        Err(StoreError::Broken) => loop {
            eprintln!("another thread has to say why");
            std::thread::park();
        },
        Err(error) => fail(&error),
    }
}

fn fail(error: &StoreError) -> ! {
    say(&format!("! {error}\n! {error:?}\n"));
    std::process::exit(FAILED)
}

fn write(directory: &Path, seed: u64, life: u32, work: Work) -> Result<(), StoreError> {
    // Small files, so that they are begun and removed all the time.
    let options = StoreOptions { log_file_bytes: 20_000, ..StoreOptions::default() };
    let store = Store::open(directory, options)?;
    if work == Work::Hold {
        say("opened\n");
        // Nobody writes to it: it ends with the process that started this one.
        let _ended = std::io::stdin().read(&mut [0]);
        return Ok(());
    }
    let (fold, folds) = mpsc::channel::<(TopoHeight, bool)>();
    let folding = store.clone();
    std::thread::spawn(move || {
        for (to, prune) in folds {
            let folded = folding.advance_view(to).and_then(|_| match prune {
                true => folding.prune_log(TopoHeight::MAX),
                false => Ok(0),
            });
            match folded {
                Ok(_) | Err(StoreError::Broken) => {}
                Err(error) => fail(&error),
            }
        }
    });
    let mut random = random(seed, u64::MAX, life);
    let blocks = if work == Work::Fill { u64::MAX / 2 } else { BLOCKS_A_LIFE };
    let mut bound = next(&store) + blocks;
    let mut branch = life * 10_000;
    loop {
        let topoheight = next(&store);
        let choice = if topoheight > bound { 75 } else { random.random_range(0..100) };
        match choice {
            0..70 => {
                tell(Step::Commit { topoheight, branch });
                store.commit(commit(seed, topoheight, branch))?;
                if random.random() {
                    tell(Step::Verdicts { from: topoheight, below: topoheight + 1, branch });
                    store.put_ledger(at(topoheight), &entry(seed, topoheight, branch))?;
                }
            }
            70..78 => {
                let from = topoheight.saturating_sub(random.random_range(1..30));
                tell(Step::Rollback { from });
                match store.rollback(from.checked_sub(1).map(at)) {
                    Err(StoreError::BelowView { .. }) => {
                        tell(Step::Refused);
                        bound += 1;
                    }
                    rolled_back => rolled_back?,
                }
                branch += 1;
            }
            78..86 => {
                let from = topoheight.saturating_sub(random.random_range(1..6));
                tell(Step::Verdicts { from, below: topoheight, branch });
                let entries: Vec<_> = (from..topoheight)
                    .map(|topoheight| (at(topoheight), entry(seed, topoheight, branch)))
                    .collect();
                store.put_ledgers(&entries)?;
            }
            86..92 => {
                store.flush()?;
                tell(Step::Flushed);
            }
            _ => {
                let behind = random.random_range(1..12);
                if let Some(to) = topoheight.checked_sub(behind) {
                    // Nobody listens after a failure, which is met here soon.
                    let _sent = fold.send((at(to), random.random()));
                }
            }
        }
    }
}

/// The topoheight of the next block.
pub(crate) fn next(store: &Store) -> u64 {
    store.tip().map_or(0, |tip| tip.block.topoheight.next().as_u64())
}

/// After so many blocks a life goes back again instead of forward.
const BLOCKS_A_LIFE: u64 = 80;

fn tell(step: Step) {
    say(&step.to_line());
}

/// One write, so that no line is torn.
fn say(line: &str) {
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

fn random(seed: u64, topoheight: u64, branch: u32) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    bytes[8..16].copy_from_slice(&topoheight.to_be_bytes());
    bytes[16..20].copy_from_slice(&branch.to_be_bytes());
    ChaCha8Rng::from_seed(bytes)
}

/// The block at a topoheight of a branch.
pub(crate) fn commit(seed: u64, topoheight: u64, branch: u32) -> BlockCommit {
    let mut random = random(seed, topoheight, branch);
    let mut hash = [0; 32];
    random.fill_bytes(&mut hash);
    hash[..4].copy_from_slice(&branch.to_be_bytes());
    let mut commit = block(topoheight, random.random(), Default::default());
    commit.block.hash = BlockHash::new(hash);
    for key in universe() {
        let written = random.random_ratio(9, 10).then(|| value(&key, random.random_range(0..9)));
        match random.random_range(0..12) {
            0..4 => drop(commit.delta.insert(key, written)),
            4 => drop(commit.correction.insert(key, written)),
            5 => commit.unknown.push(key),
            _ => {}
        }
    }
    // Now and then so many accounts that folding them takes more than one batch.
    if topoheight % 32 == 20 {
        for number in 0..700 {
            commit.delta.insert(native(crowd(number)), Some(balance(random.random())));
        }
    }
    for _ in 0..random.random_range(0..4) {
        commit.executed.push(TxHash::new(random.random()));
    }
    commit
}

/// One of many accounts.
pub(crate) fn crowd(number: u16) -> Address {
    let mut bytes = [7; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Address::new(bytes)
}

/// The verdict that was written about a topoheight while a branch grew.
pub(crate) fn entry(seed: u64, topoheight: u64, branch: u32) -> Vec<u8> {
    let mut random = random(!seed, topoheight, branch);
    let length = if random.random_ratio(1, 20) {
        random.random_range(0..30_000)
    } else {
        random.random_range(0..300)
    };
    let mut bytes = vec![0; length];
    random.fill_bytes(&mut bytes);
    [branch.to_be_bytes().as_slice(), &bytes].concat()
}
