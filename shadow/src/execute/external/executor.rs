//! The asking side: a program, started, asked block by block, and started again when it broke.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use comparator::{Execution, Failure, Schedule};

use super::{
    CommandLine, StartError,
    answer::{self, Identity},
    log::{Log, quoted},
    process::{NoLine, Process},
    request::{self, EncodedBlock, Parts},
};
use crate::execute::{BlockExecutor, ExecutableBlock, Loads, Performed, PreState};

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalOptions {
    /// The time for one block: from the first byte of the request to the last of the answer.
    pub budget: Duration,
    /// The time for a start, until the program has said who it is.
    pub start_limit: Duration,
    /// How many bytes of address space it may have; no limit if none. Set for the program itself
    /// and whatever it starts, each on its own. On Linux only; elsewhere asking for it is an error.
    pub memory_bytes: Option<u64>,
}

impl ExternalOptions {
    /// So much time for a block, ten seconds for a start, and any amount of memory.
    pub const fn new(budget: Duration) -> Self {
        Self { budget, start_limit: Duration::from_secs(10), memory_bytes: None }
    }
}

/// An outside program as an executor.
///
/// One program runs at a time and is asked one thing at a time: a second caller waits for its turn,
/// and its budget begins with it. After a failure the program is ended with all of its process
/// group, and started again for the next block. Dropping the executor ends it too.
pub struct ExternalExecutor {
    name: String,
    command: CommandLine,
    options: ExternalOptions,
    /// Who the program said it was when it was started first, if it did.
    identity: Option<Identity>,
    /// Who it said it was when it first said so.
    told: OnceLock<Identity>,
    log: Arc<Mutex<Log>>,
    connection: Mutex<Connection>,
}

/// The program as it stands now.
struct Connection {
    /// None after a failure.
    process: Option<Process>,
    /// Never used twice, also not after a new start: an answer that comes late belongs to nobody.
    next_id: u64,
    /// The block that was asked last.
    encoded: Option<EncodedBlock>,
    /// What the program did instead of saying who it is, until it is told of the first block.
    refused: Option<Failure>,
}

impl ExternalExecutor {
    /// What the names of outside programs begin with, so that none can pass itself off as another
    /// kind of candidate.
    pub const PREFIX: &str = "external-";

    /// Starts a program and asks it who it is.
    ///
    /// One that does not say so is under test all the same, under the name of its command: what it
    /// did instead is what it did with its first block, for which it is not asked again.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(command: CommandLine, options: ExternalOptions) -> Result<Self, StartError> {
        let log = Arc::new(Mutex::new(Log::default()));
        let process = Process::start(&command, options.memory_bytes, Arc::clone(&log))
            .map_err(|error| StartError::Spawn { command: command.clone(), error })?;
        let mut connection =
            Connection { process: Some(process), next_id: 1, encoded: None, refused: None };
        let identity = match connection.initialize(&options) {
            Ok(identity) => Some(identity),
            Err(failure) => {
                tracing::warn!(%command, "asked to initialize, the candidate {failure}");
                connection.process = None;
                connection.refused = Some(failure);
                None
            }
        };
        let name = identity.as_ref().map_or(command.program_name(), |identity| &identity.name);
        let name = safe_name(name);
        let told = identity.clone().map_or_else(OnceLock::new, OnceLock::from);
        let connection = Mutex::new(connection);
        Ok(Self { name, command, options, identity, told, log, connection })
    }

    /// The same executor under a name that tells it from another one of its own name.
    #[must_use]
    pub fn numbered(mut self, number: usize) -> Self {
        self.name = format!("{}-{number}", self.name);
        self
    }

    fn ask(
        &self,
        connection: &mut Connection,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<(Execution, Duration), Failure> {
        if let Some(failure) = connection.refused.take() {
            return Err(failure);
        }
        if connection.process.is_none()
            && let Err(failure) = self.start_again(connection)
        {
            // Whatever it said instead, it is not ready to be asked.
            connection.process = None;
            return Err(failure);
        }
        if !connection.encoded.as_ref().is_some_and(|encoded| encoded.is(block, pre_state)) {
            connection.encoded = None;
            connection.encoded = Some(EncodedBlock::new(block, pre_state)?);
        }
        let Connection { process, encoded, next_id, .. } = connection;
        let (Some(process), Some(encoded)) = (process, encoded) else {
            return Err(Failure::Error("there is nobody to ask".to_owned()));
        };
        let id = take_id(next_id);
        let begin = request::execute_block(id, schedule);
        let parts = [begin.as_bytes(), encoded.fields(), request::END];
        let asked = Instant::now();
        let line = ask(process, parts, self.options.budget)?;
        // Starting the program, and reading what it wrote, is not its execution.
        let elapsed = asked.elapsed();
        let execution = answer::execution(&line, id)?;
        process.refuse_more().map_err(|no_line| failure(no_line, self.options.budget))?;
        Ok((execution, elapsed))
    }

    /// Starts the program once more. Another name or version than before is another program, of
    /// which nothing may be said under the name of this one.
    fn start_again(&self, connection: &mut Connection) -> Result<(), Failure> {
        let started =
            Process::start(&self.command, self.options.memory_bytes, Arc::clone(&self.log));
        let process = started
            .map_err(|error| Failure::Crashed(format!("cannot be started again: {error}")))?;
        connection.process = Some(process);
        let mut options = self.options;
        if self.told.get().is_none() {
            // It was waited for once, and in vain.
            options.start_limit = options.start_limit.min(options.budget);
        }
        let identity = connection.initialize(&options)?;
        let before = self.told.get_or_init(|| identity.clone());
        if *before == identity {
            return Ok(());
        }
        Err(Failure::Protocol(format!(
            "started again it calls itself {}, before it was {}",
            described(&identity),
            described(before)
        )))
    }
}

impl BlockExecutor for ExternalExecutor {
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> String {
        let identity = self.identity.as_ref().map_or("nameless".to_owned(), described);
        format!("{identity} ({})", quoted(&self.command.to_string(), usize::MAX))
    }

    fn spec(&self) -> Option<String> {
        Some(format!("external:{}", self.command))
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        // A panic would leave a connection that is looked at anew for every block.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        match self.ask(&mut connection, block, pre_state, schedule) {
            Ok((execution, elapsed)) => {
                Ok(Performed { execution, loads: Loads::default(), elapsed: Some(elapsed) })
            }
            Err(failure) => {
                // Nobody knows what it will answer next, and to what; and what broke once must not have a
                // part in the next block.
                connection.process = None;
                Err(failure)
            }
        }
    }

    /// The end of what the program wrote to its standard error, at most 64 KiB. Whatever is no
    /// visible character, line break or tab is escaped.
    ///
    /// While the program is being asked, what it writes meanwhile may be missing.
    fn log(&self) -> String {
        let connection = match self.connection.try_lock() {
            Ok(connection) => Some(connection),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut connection) = connection
            && let Some(process) = &mut connection.process
        {
            process.read_log();
        }
        self.log.lock().unwrap_or_else(PoisonError::into_inner).text()
    }
}

impl fmt::Debug for ExternalExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalExecutor")
            .field("name", &self.name)
            .field("command", &self.command)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Connection {
    fn initialize(&mut self, options: &ExternalOptions) -> Result<Identity, Failure> {
        let Some(process) = &mut self.process else {
            return Err(Failure::Error("there is nobody to ask".to_owned()));
        };
        let id = take_id(&mut self.next_id);
        let request = request::initialize(id);
        let line = ask(process, [request.as_bytes(), &[], &[]], options.start_limit)?;
        Identity::read(&line, id)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            process.shut_down(request::shutdown(take_id(&mut self.next_id)).as_bytes());
        }
    }
}

fn ask(process: &mut Process, request: Parts<'_>, limit: Duration) -> Result<Vec<u8>, Failure> {
    process.ask(request, Instant::now() + limit).map_err(|no_line| failure(no_line, limit))
}

fn failure(no_line: NoLine, budget: Duration) -> Failure {
    match no_line {
        NoLine::Late => Failure::Hang { budget },
        NoLine::Ended(text) => Failure::Crashed(text),
        NoLine::Nonsense(text) => Failure::Protocol(text),
    }
}

const fn take_id(next: &mut u64) -> u64 {
    let id = *next;
    *next = next.wrapping_add(1);
    id
}

/// The name of a program in reports, metrics and file names: lower-case letters, digits, dots,
/// underscores and hyphens.
fn safe_name(name: &str) -> String {
    let safe = |char: char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => char,
        _ => '-',
    };
    let name: String = name.chars().take(NAME_CHARS).map(safe).collect();
    let name = name.trim_matches(['-', '.']);
    let name = if name.is_empty() { "unnamed" } else { name };
    format!("{}{name}", ExternalExecutor::PREFIX)
}

fn described(identity: &Identity) -> String {
    let Identity { name, version } = identity;
    format!("{} {}", recognisable(name), recognisable(version))
}

/// A text of bounded length that is another one for another text: builds are told apart by it.
fn recognisable(text: &str) -> String {
    let quoted = quoted(text, DESCRIBED_CHARS);
    match text.char_indices().nth(DESCRIBED_CHARS) {
        Some(_) => format!("{quoted}{}", &blake3::hash(text.as_bytes()).to_hex()[..16]),
        None => quoted,
    }
}

const NAME_CHARS: usize = 32;

const DESCRIBED_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_begin_alike_are_told_apart() {
        let long = "v".repeat(DESCRIBED_CHARS);
        assert_eq!(recognisable(&long), format!("{long:?}"));
        let [one, other] = ["A", "B"].map(|end| recognisable(&format!("{long}{end}")));
        assert_ne!(one, other);
        assert_eq!(one.chars().count(), other.chars().count());
        assert!(one.starts_with(&format!("{long:?}…")), "{one}");
    }

    #[test]
    fn a_name_is_made_safe_and_never_that_of_another_kind() {
        #[track_caller]
        fn check(name: &str, expected: &str) {
            assert_eq!(safe_name(name), expected);
        }
        check("my-executor", "external-my-executor");
        check("Block_STM 1.2", "external-block_stm-1.2");
        check("v3", "external-v3");
        check("", "external-unnamed");
        check("../../etc", "external-etc");
        check("\x1b[2J\n", "external-2j");
        check("é", "external-unnamed");
        check(&"x".repeat(1 << 20), &format!("external-{}", "x".repeat(NAME_CHARS)));
    }
}
