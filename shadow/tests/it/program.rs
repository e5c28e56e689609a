//! The program `shadow`, started as a person or a script would.

use std::{
    ffi::OsStr,
    process::{Command, Output},
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
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_shadow"))
        .args(arguments)
        .env_remove("SHADOW_STATE_DIR")
        .output()
        .unwrap();
    Ran {
        // A signal has no code; none of the expected ones is negative.
        code: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}
