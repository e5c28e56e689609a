//! What *happens*: a chain is taken block by block, every block is executed twice, the results are
//! compared, and the answer is kept.
//!
//! [`Verifier`] is the middle of it. A [`source::BlockSource`] hands it blocks; it executes each
//! serially, commits the result, and passes it on to the [`judge`], which runs the candidates,
//! compares, and writes the [`ledger`]. The [`summary`] is the sum of the ledger.

pub mod accept;
pub mod again;
mod attach;
pub mod bench;
mod block_log;
pub mod canary;
pub mod candidate_spec;
pub mod case;
pub mod chain;
pub mod cli;
pub mod compared;
mod config;
pub mod coverage;
pub mod devnet;
pub mod diagnosis;
pub mod digest;
pub mod doctor;
pub mod evidence;
pub mod execute;
pub mod exit_code;
#[cfg(feature = "faults")]
pub mod faults;
pub mod fingerprint;
mod gaps;
pub mod http;
pub mod judge;
pub mod kinds;
pub mod known;
mod last_word;
pub mod ledger;
pub mod locate;
pub mod metrics;
pub mod minimize;
pub mod mismatches;
mod nap;
mod nightly;
pub mod node;
pub mod observe;
mod on_mismatch;
pub mod opaque;
mod other_branch;
mod pace;
mod pages;
mod patience;
pub mod prepare;
mod progress;
mod record;
pub mod record_chain;
pub mod report;
pub mod repro;
pub mod requirements;
pub mod rules;
mod run;
mod run_report;
pub mod schedules;
#[cfg(feature = "faults")]
pub mod selftest;
pub mod shapes;
pub mod source;
mod stopwatch;
pub mod summary;
pub mod triage;
mod trial;
mod verifier;
mod verify_error;

pub use verifier::{Verifier, VerifyError};
