//! A part runs in a process of its own, so that one that crashes, hangs or takes all the memory is a
//! result, and not the end of the night.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cli::option_variables;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Not in time, so that it was ended.
    TimedOut,
}

/// Runs this program with these arguments until its end, at most for so long. What it writes goes into
/// files of the directory: what it answers, and the way there.
pub(super) fn run(
    arguments: &[String],
    directory: &Path,
    limit: Duration,
    stop: &AtomicBool,
) -> io::Result<Ended> {
    let mut command = program()?;
    command.args(arguments);
    command.stdout(File::create(directory.join(OUTPUT))?);
    command.stderr(File::create(directory.join(LOG))?);
    let mut child = command.spawn()?;
    let mut until = Instant::now() + limit;
    let mut was_asked = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(ended(status));
        }
        let now = Instant::now();
        if !was_asked && (stop.load(Ordering::Relaxed) || now >= until) {
            was_asked = true;
            send(&child, Signal::INT);
            until = now + STOPPING_MAX;
        } else if was_asked && now >= until {
            end(&mut child);
            return Ok(Ended::TimedOut);
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// Another process of this program that serves until it is not needed any more.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// What it wrote first: its address.
    pub(super) address: String,
}

impl Server {
    pub(super) fn start(arguments: &[String], directory: &Path) -> io::Result<Self> {
        let mut command = program()?;
        // Its input ends with this process, however that does.
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(directory.join("node.log"))?);
        let mut child = command.spawn()?;
        let (told, address) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            // What it says later nobody reads, and it says little.
            thread::spawn(move || {
                let mut address = String::new();
                let _read = BufReader::new(output).read_line(&mut address);
                let _gone = told.send(address);
            });
        }
        let address = address.recv_timeout(START_MAX).unwrap_or_default();
        // If it is not what it should be, the child is ended with it.
        let server = Self { child, address: address.trim().to_owned() };
        match server.address.is_empty() {
            false => Ok(server),
            true => Err(io::Error::other("the stand-in node told no address; node.log says why")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has nothing to lose.
        end(&mut self.child);
    }
}

/// This program, in a process group of its own: a signal from the terminal is for this process, which
/// tells its children.
fn program() -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.stdin(Stdio::null()).process_group(0);
    for variable in option_variables().filter(|name| !FOR_PARTS.iter().any(|kept| name == kept)) {
        command.env_remove(variable);
    }
    Ok(command)
}

fn ended(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, signal) => Ended::Signal(signal.unwrap_or_default()),
    }
}

fn send(child: &Child, signal: Signal) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // One that has ended needs no signal.
    let _ = group.map(|group| kill_process_group(group, signal));
}

fn end(child: &mut Child) {
    send(child, Signal::KILL);
    let _ = child.wait();
}

/// What a part answers.
pub(super) const OUTPUT: &str = "output.txt";

/// What it says on the way there.
pub(super) const LOG: &str = "log.txt";

/// The options that a part takes from the environment. What it runs, and how thoroughly, the night says alone.
const FOR_PARTS: [&str; 2] = ["SHADOW_LOG", "SHADOW_LOG_FORMAT"];

/// How long a server may take to tell its address.
const START_MAX: Duration = Duration::from_secs(60);

/// How often a process is looked after.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a process that was asked to stop may take.
const STOPPING_MAX: Duration = Duration::from_secs(10);
