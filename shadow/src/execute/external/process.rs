//! A running program and its three pipes.
//!
//! All of it happens on the thread of whoever asks: the pipes do not block, and one loop writes,
//! reads and watches the clock. So there is no thread that could wait for ever on a pipe that some
//! descendant of the program keeps open, and the time to *write* a request counts like any other.

use std::{
    collections::BTreeSet,
    fmt,
    io::{self, ErrorKind, Read, Write},
    os::unix::process::CommandExt,
    process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid, waitpid,
    },
};

use super::{CommandLine, log::Log, request::Parts};

/// A program that was started and not yet waited for. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Closed when there is nothing more to ask.
    input: Option<ChildStdin>,
    output: Output,
    /// Closed when the program closed it.
    errors: Option<ChildStderr>,
    log: Arc<Mutex<Log>>,
    /// How it ended, once it was waited for.
    ended: Option<Option<ExitStatus>>,
}

/// Why there is no line that could be an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The time is over.
    Late,
    /// The program ended, or closed a pipe; in words.
    Ended(String),
    /// It wrote something that is no line that was asked for; in words.
    Nonsense(String),
}

impl Process {
    /// Starts a program in a process group of its own, so that all of its descendants can be ended
    /// with it, and with no more than so many bytes of address space.
    ///
    /// The limit is set just after the start: what the program reserves before it is asked for
    /// anything may be above it, and then the next reservation fails.
    pub(super) fn start(
        line: &CommandLine,
        memory_bytes: Option<u64>,
        log: Arc<Mutex<Log>>,
    ) -> io::Result<Self> {
        let mut command = line.command();
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        log.lock().unwrap_or_else(PoisonError::into_inner).start();
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(io::Error::other("the pipes that were asked for are not there"));
        };
        running().insert(child.id());
        // From here on dropping it ends the child.
        let process = Self {
            child,
            input: Some(input),
            output: Output::new(output),
            errors: Some(errors),
            log,
            ended: None,
        };
        process.prepare(memory_bytes)?;
        Ok(process)
    }

    fn prepare(&self, memory_bytes: Option<u64>) -> io::Result<()> {
        if let Some(input) = &self.input {
            rustix::io::ioctl_fionbio(input, true)?;
        }
        rustix::io::ioctl_fionbio(&self.output.pipe, true)?;
        if let Some(errors) = &self.errors {
            rustix::io::ioctl_fionbio(errors, true)?;
        }
        memory_bytes.map_or(Ok(()), |bytes| limit_memory(self.pid(), bytes))
    }

    /// Writes a request and waits for the line that answers it.
    pub(super) fn ask(&mut self, request: Parts<'_>, deadline: Instant) -> Result<Vec<u8>, NoLine> {
        self.read_log();
        self.output.fill();
        self.refuse_unasked("it was asked")?;
        let mut unsent = Unsent(request);
        loop {
            // Looked up before reading: whatever it wrote before it ended is in the pipe then.
            let exited = self.has_exited();
            self.read_log();
            self.output.fill();
            if self.output.is_too_long() {
                let text = format!("a line of more than {} MiB", LINE_BYTES_MAX >> 20);
                return Err(NoLine::Nonsense(text));
            }
            if let Some(line) = self.output.take_line() {
                if !unsent.is_empty() {
                    let text = "it answered before it was asked in full".to_owned();
                    return Err(NoLine::Nonsense(text));
                }
                return Ok(line);
            }
            if exited || self.output.ended {
                return Err(NoLine::Ended(self.last_words("closed its standard output")));
            }
            if self.write(&mut unsent).is_err() {
                return Err(NoLine::Ended(self.last_words("closed its standard input")));
            }
            if Instant::now() >= deadline {
                return Err(NoLine::Late);
            }
            self.wait(!unsent.is_empty(), deadline);
        }
    }

    /// Fails if the program has said more than it was asked.
    pub(super) fn refuse_more(&mut self) -> Result<(), NoLine> {
        self.output.fill();
        self.refuse_unasked("its answer was awaited")
    }

    fn refuse_unasked(&self, when: &str) -> Result<(), NoLine> {
        if self.output.unread.is_empty() {
            return Ok(());
        }
        let excerpt = &self.output.unread[..self.output.unread.len().min(EXCERPT_BYTES)];
        let excerpt = String::from_utf8_lossy(excerpt);
        Err(NoLine::Nonsense(format!(
            "an answer that nobody asked for was there when {when}, it begins {excerpt:?}: standard \
             output is for one answer a request, everything else belongs on standard error"
        )))
    }

    /// Asks the program to end, gives it a moment to do so, and ends it.
    pub(super) fn shut_down(mut self, request: &[u8]) {
        if self.has_exited() {
            // Its answers stand, but whoever wrote it wants to know.
            let how = self.last_words("closed a pipe");
            tracing::warn!("before it was asked to end a candidate {how}");
            return;
        }
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        let mut unsent = Unsent([request, &[], &[]]);
        while !self.has_exited() && Instant::now() < deadline {
            if self.input.is_some() && (self.write(&mut unsent).is_err() || unsent.is_empty()) {
                self.input = None;
            }
            self.read_log();
            self.output.discard();
            self.wait(self.input.is_some(), deadline);
        }
        // And dropped.
    }

    /// Reads what there is of the log.
    pub(super) fn read_log(&mut self) {
        let Some(errors) = &mut self.errors else { return };
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_AT_ONCE {
            match errors.read(&mut chunk) {
                Ok(0) => {
                    self.errors = None;
                    return;
                }
                Ok(count) => {
                    let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.append(&chunk[..count]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.errors = None;
                    return;
                }
            }
        }
    }

    /// Writes as much of a request as the pipe takes.
    fn write(&mut self, unsent: &mut Unsent<'_>) -> io::Result<()> {
        let Some(input) = &mut self.input else {
            return Err(ErrorKind::BrokenPipe.into());
        };
        while let Some(next) = unsent.next() {
            match input.write(next) {
                Ok(count) => unsent.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until a pipe is ready, the time is over, or it is time to see if the program lives: an
    /// end shows on no pipe that a descendant keeps open.
    fn wait(&self, writing: bool, deadline: Instant) {
        let check = if self.output.ended { EXIT_CHECK } else { LIFE_CHECK };
        let left = deadline.saturating_duration_since(Instant::now()).min(check);
        // At least a little: an end within a microsecond is no reason to spin.
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(0),
            tv_nsec: left.subsec_nanos().max(100_000).into(),
        };
        let mut pipes = Vec::with_capacity(3);
        if !self.output.ended {
            pipes.push(PollFd::new(&self.output.pipe, PollFlags::IN));
        }
        if let Some(errors) = &self.errors {
            pipes.push(PollFd::new(errors, PollFlags::IN));
        }
        if let Some(input) = self.input.as_ref().filter(|_| writing) {
            pipes.push(PollFd::new(input, PollFlags::OUT));
        }
        // If it fails the loop goes round once more, up to the deadline.
        let _ = poll(&mut pipes, Some(&left));
    }

    /// Whether the program has ended. It stays a zombie, so that the number of its process group
    /// cannot be given to another one before the group is ended.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.pid()), options) {
            Ok(status) => status.is_some(),
            Err(error) => error != rustix::io::Errno::INTR,
        }
    }

    /// How the program came to its end, for a person. One that only closed a pipe is given a moment
    /// to end by itself, because its exit status says more.
    fn last_words(&mut self, closed: &str) -> String {
        let deadline = Instant::now() + EXIT_LIMIT;
        let mut exited = self.has_exited();
        while !exited && Instant::now() < deadline {
            thread::sleep(EXIT_CHECK);
            exited = self.has_exited();
        }
        let status = self.end();
        let mut text = match status {
            Some(status) if exited => format!("ended with {status}"),
            _ => format!("{closed} and went on running"),
        };
        if !self.output.unread.is_empty() {
            text += &format!(", {} bytes into an answer", self.output.unread.len());
        }
        self.read_log();
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = log.last_words() {
            text += &format!("; its log ends {words}");
        }
        text
    }

    /// Ends the program with its whole process group, and waits for it.
    fn end(&mut self) -> Option<ExitStatus> {
        if let Some(ended) = self.ended {
            return ended;
        }
        kill_with_group(self.pid());
        // Before it is waited for: from then on the number may be that of another one.
        running().remove(&self.child.id());
        let deadline = Instant::now() + KILL_LIMIT;
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(EXIT_CHECK),
                Ok(None) => {
                    self.wait_elsewhere();
                    break None;
                }
                Err(_) => break None,
            }
        };
        self.ended = Some(status);
        status
    }

    /// A process that is stuck in the operating system dies when it comes out of it, which nobody
    /// here can wait for.
    fn wait_elsewhere(&self) {
        let pid = self.pid();
        tracing::warn!(%pid, "a candidate was killed and does not end");
        let waiting = thread::Builder::new().name("shadow-reaper".to_owned()).spawn(move || {
            // If it fails there is nothing left to wait for.
            let _ = waitpid(Some(pid), rustix::process::WaitOptions::empty());
        });
        if let Err(error) = waiting {
            tracing::warn!(%error, "nobody waits for it");
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

/// Ends every program that runs, with its process group, because this process ends at once and drops
/// nothing.
pub(crate) fn end_all() {
    for pid in std::mem::take(&mut *running()) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            kill_with_group(pid);
        }
    }
}

/// Kills a program that nobody has waited for yet, and its process group. It may have left the group, so the
/// group alone is not enough.
fn kill_with_group(pid: Pid) {
    // Either may be gone already.
    let _ = kill_process_group(pid, Signal::KILL);
    let _ = kill_process(pid, Signal::KILL);
}

/// The programs that were started and not yet ended.
fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        // What it had to say last may be what somebody asks for next.
        self.read_log();
    }
}

/// What a program wrote to its standard output and nobody has taken yet.
struct Output {
    pipe: ChildStdout,
    unread: Vec<u8>,
    /// How much of it was searched for the end of a line.
    searched: usize,
    ended: bool,
}

impl Output {
    const fn new(pipe: ChildStdout) -> Self {
        Self { pipe, unread: Vec::new(), searched: 0, ended: false }
    }

    /// Reads until there is a line, there is nothing more for now, or it is enough.
    fn fill(&mut self) {
        let mut chunk = [0; CHUNK_BYTES];
        while !self.ended && !self.has_line() && !self.is_too_long() {
            match self.pipe.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.ended = true,
            }
        }
    }

    fn has_line(&mut self) -> bool {
        let found = self.unread[self.searched..].iter().position(|byte| *byte == b'\n');
        // Stays before the end of the line, so that it is found again.
        self.searched += found.unwrap_or(self.unread.len() - self.searched);
        found.is_some()
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        if !self.has_line() {
            return None;
        }
        let rest = self.unread.split_off(self.searched + 1);
        let mut line = std::mem::replace(&mut self.unread, rest);
        line.pop();
        self.searched = 0;
        Some(line)
    }

    const fn is_too_long(&self) -> bool {
        self.searched > LINE_BYTES_MAX
    }

    /// Reads a bounded amount and forgets it.
    fn discard(&mut self) {
        let mut chunk = [0; CHUNK_BYTES];
        for _ in 0..CHUNKS_AT_ONCE {
            match self.pipe.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.ended = true,
            }
            return;
        }
    }
}

/// Without the text, of which there may be much.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("unread_bytes", &self.unread.len()).finish_non_exhaustive()
    }
}

/// The parts of a request that are not written yet.
struct Unsent<'a>(Parts<'a>);

impl<'a> Unsent<'a> {
    fn next(&self) -> Option<&'a [u8]> {
        self.0.into_iter().find(|part| !part.is_empty())
    }

    fn advance(&mut self, count: usize) {
        if let Some(part) = self.0.iter_mut().find(|part| !part.is_empty()) {
            *part = part.get(count..).unwrap_or_default();
        }
    }

    fn is_empty(&self) -> bool {
        self.next().is_none()
    }
}

#[cfg(target_os = "linux")]
fn limit_memory(pid: Pid, bytes: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, prlimit};
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    match prlimit(Some(pid), Resource::As, limit) {
        // It ended already, which is told where its answer is awaited.
        Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn limit_memory(_pid: Pid, _bytes: u64) -> io::Result<()> {
    let message = "this system cannot limit the memory of another process: leave the limit out";
    Err(io::Error::new(ErrorKind::Unsupported, message))
}

/// How long a line may be, without its end.
const LINE_BYTES_MAX: usize = 64 << 20;

const CHUNK_BYTES: usize = 64 << 10;

/// How much is read of a pipe before others are looked at: a program that never stops writing must
/// not keep the loop from watching the clock.
const CHUNKS_AT_ONCE: usize = 16;

const EXCERPT_BYTES: usize = 100;

/// How often it is looked up whether a program that says nothing lives.
const LIFE_CHECK: Duration = Duration::from_millis(50);

/// The same of a program that closed its standard output, and so is about to end.
const EXIT_CHECK: Duration = Duration::from_millis(1);

/// How long a program may take to end after it was asked to.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(500);

/// How long a program that closed a pipe may take to end.
const EXIT_LIMIT: Duration = Duration::from_millis(100);

/// How long the operating system may take to end a program.
const KILL_LIMIT: Duration = Duration::from_secs(2);
