//! The program `shadow`, started as a person or a script would.

use std::{
    ffi::OsStr,
    process::{Child, Command, Output, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use serde_json::Value;

/// What a run of the program printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The summary object: the one and only thing on standard output.
    #[track_caller]
    pub(crate) fn summary(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// Starts the program with these arguments and waits for its end.
pub(crate) fn shadow<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ran {
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(arguments).env_remove("SHADOW_STATE_DIR").stdin(Stdio::null());
    // Where something differs what was found is kept.
    program.env("TMPDIR", env!("CARGO_TARGET_TMPDIR"));
    let child = start(program.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Ran {
        // A signal has no code; none of the expected ones is negative.
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// Starts a process, as soon as nobody minds.
pub(crate) fn start(program: &mut Command) -> Child {
    let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    program.spawn().unwrap()
}

/// Keeps processes from being started as long as it is held, by whoever opens a store here that somebody
/// opens again at once. A process that is being started has every file of this one until it runs, and
/// with them the lock of a directory that was closed here meanwhile.
pub(crate) fn nobody_starts() -> RwLockReadGuard<'static, ()> {
    STARTING.read().unwrap_or_else(PoisonError::into_inner)
}

static STARTING: RwLock<()> = RwLock::new(());
