//! What the comparator promises, one file per promise.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test, as the test itself would"
)]

mod difference;
mod explain;
mod invariants;
mod prop;
mod record;
mod rules;
mod sink;
mod support;
mod tidy;
mod verdict;
mod wire;
mod world;
