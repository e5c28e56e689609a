//! The store from outside: one binary, a module per technique.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod concurrent;
mod crash;
mod damage;
mod files;
mod full;
mod log_files;
mod model;
mod prop;
mod restart;
mod snapshot;
mod staged;
mod support;
mod vectors;
mod writer;
