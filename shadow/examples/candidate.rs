//! A complete candidate in Rust: a program of its own that Shadow starts and asks over the candidate
//! protocol. Put your own executor where the engine is made.
//!
//! Build it, then put it under test:
//!
//! ```text
//! cargo build --release --example candidate
//! shadow soak --candidate external:target/release/examples/candidate
//! ```

use std::io::{stdin, stdout};

use shadow::execute::{external::serve, parallel::ParallelExecutor};

fn main() -> std::io::Result<()> {
    // Anything that implements `BlockExecutor`. It grows to the workers that a request asks for.
    let executor = ParallelExecutor::new(2)?;
    serve(&executor, stdin().lock(), stdout().lock())
}
