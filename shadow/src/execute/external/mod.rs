//! Any program as an executor: it is started, and asked over its standard input and output.
//!
//! A team puts its own executor under test without linking it: the program reads one JSON object a
//! line and answers with one, version 1 of the candidate protocol. It is not trusted in anything.
//! What it says is bounded and checked, what it does not say in time is a hang, and whatever becomes
//! of it is an observation about the program that leaves the verifier and the next block alone.
//!
//! [`ExternalExecutor`] is the asking side; [`serve`] is the answering side, for programs in Rust.

mod answer;
mod block_json;
mod command_line;
mod error;
mod executor;
mod log;
mod process;
mod request;
mod serve;

pub use block_json::{BlockJson, BlockJsonError};
pub use command_line::{CommandLine, ParseCommandError};
pub use error::StartError;
pub use executor::{ExternalExecutor, ExternalOptions};
pub(crate) use process::end_all;
pub use serve::serve;

/// The version of the protocol that is spoken here.
const PROTOCOL: u32 = 1;
