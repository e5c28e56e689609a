//! The program `shadow`: see [`shadow::cli`].

use std::process::ExitCode;

/// Blocks are allocated on one thread and freed on another, all day: with the system's allocator that
/// leaves memory in pieces, and what the process occupies grows by a third within minutes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    shadow::cli::main().into()
}
