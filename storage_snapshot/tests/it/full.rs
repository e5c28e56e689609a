//! A disk that has no room or takes nothing: the writer says so, what was flushed stays, and it goes
//! on once it can.

use std::{
    fs,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Store, StoreError, StoreOptions};

use crate::{
    crash::{Believed, Found, check_content, number},
    support::open,
    writer::{FAILED, Step, Work, commit, start},
};

#[test]
fn a_file_that_may_not_grow_is_an_error_that_names_the_directory() {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut believed, mut blocks) = (Believed::default(), Vec::new());
    let directory = tempfile::tempdir().unwrap();
    for life in 0..number("SHADOW_KILLS").unwrap_or(12) as u32 {
        let growing = ["state/db", "ledger/groups"].map(|file| directory.path().join(file));
        let lengths = growing.iter().filter_map(|file| Some(file.metadata().ok()?.len()));
        let length = lengths.max().unwrap_or(0);
        // Every third life there is no room to begin with.
        let more = if life % 3 == 2 { 0 } else { random.random_range(1..1_500_000) };
        let limit = (length + more) / 512;
        // Without the trap the signal would end the process before it learns anything.
        let before = format!("trap '' XFSZ; ulimit -f {limit}");
        let steps = failing_life(directory.path(), seed, life, &before);
        check_left(directory.path(), seed, &mut believed, &steps, &mut blocks);
    }
    assert!(believed.chain.len() > 20, "{believed:?}");
}

#[test]
fn a_directory_whose_making_had_no_room_can_be_made() {
    for limit in [0, 1, 8, 64, 512, 1_024] {
        let directory = tempfile::tempdir().unwrap();
        let before = format!("trap '' XFSZ; ulimit -f {limit}");
        let steps = failing_life(directory.path(), 1, 0, &before);
        let (mut believed, mut blocks) = (Believed::default(), Vec::new());
        check_left(directory.path(), 1, &mut believed, &steps, &mut blocks);
    }
}

#[test]
fn a_full_disk_is_an_error_that_names_the_directory() {
    let seed = number("SHADOW_SEED").unwrap_or(1);
    let disk = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(disk.path(), "1m") else {
        // Only root can mount. The other limit is the next best thing.
        return a_file_that_may_not_grow_is_an_error_that_names_the_directory();
    };
    let directory = mounted.0.join("store");
    let (mut believed, mut blocks) = (Believed::default(), Vec::new());
    for life in 0..4 {
        if life > 0 {
            mounted.resize(&format!("{}k", mounted.used_kibibytes() + u64::from(life) * 300));
        }
        let steps = failing_life(&directory, seed, life, "");
        mounted.resize("64m");
        check_left(&directory, seed, &mut believed, &steps, &mut blocks);
    }
    assert!(believed.chain.len() > 20, "{believed:?}");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_that_says_so() {
    let disk = tempfile::tempdir().unwrap();
    let directory = disk.path().join("store");
    let mounted = Mounted::new(disk.path(), "8m");
    if let Some(mounted) = &mounted {
        // Permissions mean nothing to root, but a disk that is mounted read-only does.
        open(&directory).commit(commit(1, 0, 0)).unwrap();
        mounted.remount("ro");
        check_read_only(&directory);
        check_read_only(&disk.path().join("another"));
        mounted.remount("rw");
    } else {
        open(&directory).commit(commit(1, 0, 0)).unwrap();
        let modes = |mode| {
            for path in [&directory.join("lock"), &directory] {
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
        };
        modes(0o555);
        check_read_only(&directory);
        check_read_only(&directory.join("another"));
        modes(0o755);
    }
    assert_eq!(open(&directory).tip().unwrap().block, commit(1, 0, 0).block);
}

#[track_caller]
fn check_read_only(directory: &Path) {
    let error = Store::open(directory, StoreOptions::default()).unwrap_err();
    assert!(matches!(&error, StoreError::Io { path, .. } if path.starts_with(directory)));
    let message = error.to_string();
    assert!(message.contains("make it writable or choose another directory"), "{message}");
    assert!(message.contains(directory.to_str().unwrap()), "{message}");
}

#[track_caller]
fn check_left(
    directory: &Path,
    seed: u64,
    believed: &mut Believed,
    steps: &[Step],
    blocks: &mut Vec<storage_snapshot::BlockCommit>,
) {
    let store = open(directory);
    let found = Found::read(&store);
    assert!(
        believed.replay(steps, &found).is_some(),
        "SHADOW_SEED={seed}: {found:?} after {believed:?} and {steps:?}"
    );
    check_content(&store, believed, seed, blocks)
        .unwrap_or_else(|what| panic!("SHADOW_SEED={seed}: {what}"));
}

/// Lets a process write until it fails, and returns what it said before.
fn failing_life(directory: &Path, seed: u64, life: u32, before: &str) -> Vec<Step> {
    let mut child = start(directory, seed, life, Work::Fill, before);
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let said = thread::spawn(move || {
        let mut said = String::new();
        stdout.read_to_string(&mut said).unwrap();
        said
    });
    let complained = thread::spawn(move || {
        let mut complained = String::new();
        stderr.read_to_string(&mut complained).unwrap();
        complained
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut threads = String::new();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if Instant::now() > deadline {
            threads = threads_of(child.id());
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::yield_now();
        thread::sleep(Duration::from_millis(1));
    };
    let (said, complained) = (said.join().unwrap(), complained.join().unwrap());
    let status = status.unwrap_or_else(|| {
        let last: Vec<_> = said.lines().rev().take(5).collect();
        panic!(
            "SHADOW_SEED={seed}: the writer neither went on nor failed: life {life}, {before}; \
             the last that it said, backwards: {last:?}\n{complained}\n{threads}"
        )
    });
    assert_eq!(status.code(), Some(FAILED), "SHADOW_SEED={seed}: {said}\n{complained}");
    let error = said.lines().find_map(|line| line.strip_prefix("! ")).unwrap();
    assert!(error.contains(directory.to_str().unwrap()), "{error}");
    said.lines().filter_map(Step::from_line).collect()
}

/// What each thread of a process waits for, as far as the operating system tells.
fn threads_of(process: u32) -> String {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return String::new() };
    let threads = tasks.flatten().map(|task| {
        let [name, waits, syscall] = ["comm", "wchan", "syscall"].map(|file| {
            fs::read_to_string(task.path().join(file)).unwrap_or_default().trim().to_owned()
        });
        format!("{name}: {waits} {syscall}\n")
    });
    threads.collect()
}

/// A small disk in memory, as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: &Path, size: &str) -> Option<Self> {
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    fn used_kibibytes(&self) -> u64 {
        let output =
            Command::new("df").args(["-k", "--output=used"]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().last().unwrap().trim().parse().unwrap()
    }

    fn resize(&self, size: &str) {
        self.remount(&format!("size={size}"));
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: threads of the database may outlive the store by a moment.
        let _gone = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
