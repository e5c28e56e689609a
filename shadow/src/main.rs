//! The program `shadow`: see [`shadow::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    shadow::cli::main().into()
}
