//! What is written: answers to standard output, everything else to standard error.

use std::io::Write;

use crate::exit_code::ExitCode;

/// Writes an error to standard error, if anybody reads that.
pub(crate) fn complain(message: &str) {
    let _closed = writeln!(std::io::stderr(), "error: {message}");
}

/// Writes to standard output. Whoever closed it does not want to know, and the exit code still says
/// what was found.
pub(crate) fn say(text: &str) {
    let mut output = std::io::stdout().lock();
    let _closed = output.write_all(text.as_bytes()).and_then(|()| output.flush());
}

pub(super) fn refuse(message: &str) -> ExitCode {
    complain(message);
    ExitCode::BadInput
}
