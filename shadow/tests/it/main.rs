//! The crate from outside, one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed, in its helper functions too"
)]

mod attach;
mod bench;
mod chain_address;
mod chain_altered;
mod chain_codec;
mod chain_fixture;
mod chain_json;
mod chain_recordings;
mod compared;
mod coverage;
mod devnet;
mod devnet_client;
mod devnet_command;
mod devnet_faults;
mod devnet_socket;
mod digests;
mod doctor;
mod engines;
mod external;
mod external_hostile;
mod faults;
mod generated;
mod kill;
mod model;
mod opaque;
mod program;
mod record_chain;
mod recordings;
mod reorders;
mod replay;
mod report;
mod requirements;
mod resume;
mod rules;
#[cfg(feature = "faults")]
mod selftest;
mod shapes;
mod soak;
mod support;
mod tidy;
mod vectors;
mod verifier;
mod walk;
