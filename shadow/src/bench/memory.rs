//! How much memory a soak takes once it has run for so long.
//!
//! The soak is a process of its own, so that nothing else that is measured here is in it. What it
//! holds goes up and down with the blocks that it just had, so the median over the last quarter of
//! its life is told.

use std::{
    fs, io,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The resident memory of a default soak of so many blocks, in MiB; `None` where that cannot be told.
///
/// # Errors
///
/// When the soak cannot be started, or fails.
pub(super) fn resident_mib(blocks: u64) -> io::Result<Option<f64>> {
    let mut command = Command::new(std::env::current_exe()?);
    // What is set for another run is not meant for this one.
    command.env_clear().args(["soak", "--blocks", &blocks.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut soak = Soak(command.spawn()?);
    let started = Instant::now();
    let mut samples = Vec::new();
    let status = loop {
        if let Some(status) = soak.0.try_wait()? {
            break status;
        }
        samples.extend(resident_kib(soak.0.id()).map(|kib| (started.elapsed(), kib)));
        thread::sleep(INTERVAL);
    };
    if !status.success() {
        return Err(io::Error::other(format!("a soak of {blocks} blocks ended with {status}")));
    }
    let last_quarter = started.elapsed().mul_f64(0.75);
    let mut late: Vec<u64> =
        samples.into_iter().filter(|(at, _)| *at >= last_quarter).map(|(_, kib)| kib).collect();
    late.sort_unstable();
    Ok(late.get(late.len() / 2).map(|kib| *kib as f64 / 1024.0))
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

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
