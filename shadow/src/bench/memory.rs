//! How much memory a soak takes after so many blocks.
//!
//! The soak is a process of its own, so that nothing else that is measured here is in it. What it
//! holds goes up and down with the blocks that it just had, so the median over some thousands of
//! blocks is told. All of it is about one soak: two of them start twice, and what one takes in the time
//! in which it starts says nothing of whether it grows.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::judge;

/// The resident memory of a default soak at each of the [`POINTS`], in MiB; `None` where that cannot be told.
///
/// # Errors
///
/// When the soak cannot be started, or fails.
pub(super) fn resident_mib() -> io::Result<BTreeMap<String, Option<f64>>> {
    let samples = soak()?;
    let [first, last] = POINTS;
    let spans = [(first, first..first + SPAN), (last, last - SPAN..last)];
    Ok(spans.map(|(point, span)| (point.to_string(), median_mib(&samples, &span))).into())
}

/// The median over some blocks of a soak. Most samples are of many blocks, which on average take as long as others.
fn median_mib(samples: &[(Duration, u64)], blocks: &Range<u64>) -> Option<f64> {
    let [(begun, _), .., (ended, _)] = *samples else { return None };
    let reached = |block| begun + (ended - begun).mul_f64(block as f64 / BLOCKS as f64);
    let span = reached(blocks.start)..reached(blocks.end);
    let within = samples.iter().filter(|(at, _)| span.contains(at));
    let mut resident: Vec<u64> = within.map(|(_, kib)| *kib).collect();
    resident.sort_unstable();
    resident.get(resident.len() / 2).map(|kib| *kib as f64 / 1024.0)
}

/// What a soak had at which time, in KiB, from its first block to its last: what comes afterwards is no soak any
/// more.
fn soak() -> io::Result<Vec<(Duration, u64)>> {
    let mut command = Command::new(std::env::current_exe()?);
    // What is set for another run is not meant for this one.
    command.env_clear().args(["soak", "--blocks", &BLOCKS.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut soak = Soak(command.spawn()?);
    let started = Instant::now();
    let mut samples = Vec::new();
    let status = loop {
        if let Some(status) = soak.0.try_wait()? {
            break status;
        }
        let resident = resident_kib(soak.0.id()).filter(|_| judges(soak.0.id()));
        samples.extend(resident.map(|kib| (started.elapsed(), kib)));
        thread::sleep(INTERVAL);
    };
    if !status.success() {
        return Err(io::Error::other(format!("a soak of {BLOCKS} blocks ended with {status}")));
    }
    Ok(samples)
}

/// It does not outlive whoever measures it.
struct Soak(Child);

impl Drop for Soak {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    resident.trim().strip_suffix("kB")?.trim_end().parse().ok()
}

/// Whether there still are blocks that have no verdict.
fn judges(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
    threads.flatten().filter_map(name).any(|name| name.trim_end() == judge::THREAD)
}

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// From which block on it is to stay as it is, and how many blocks it has.
pub(super) const POINTS: [u64; 2] = [10_000, BLOCKS];

const BLOCKS: u64 = 200_000;

/// Over how many blocks the median is taken.
const SPAN: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(blocks: Range<u64>, expected_mib: Option<f64>) {
        // It begins after two seconds, and takes a MiB more for every thousand blocks.
        let sample = |thousand| (Duration::from_millis(2_000 + 10 * thousand), thousand * 1024);
        let samples: Vec<_> = (0..=BLOCKS / 1_000).map(sample).collect();
        assert_eq!(median_mib(&samples, &blocks), expected_mib, "{blocks:?}");
    }

    #[test]
    fn the_blocks_of_a_span_are_those_of_its_share_of_the_time() {
        check(0..BLOCKS, Some(100.0));
        check(10_000..20_000, Some(15.0));
        check(BLOCKS - 10_000..BLOCKS, Some(195.0));
        check(BLOCKS..BLOCKS, None);
    }

    #[test]
    fn nothing_is_told_of_a_soak_that_was_never_looked_at() {
        assert_eq!(median_mib(&[], &(0..BLOCKS)), None);
        assert_eq!(median_mib(&[(Duration::ZERO, 1)], &(0..BLOCKS)), None);
    }
}
