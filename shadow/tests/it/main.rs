//! The crate from outside, one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed, in its helper functions too"
)]

mod attach;
mod attach_live;
mod bench;
mod chain_address;
mod chain_altered;
mod chain_codec;
mod chain_fixture;
mod chain_json;
mod chain_recordings;
mod compared;
mod config;
mod coverage;
mod crooked;
mod dashboards;
mod devnet;
mod devnet_client;
mod devnet_command;
mod devnet_faults;
mod devnet_socket;
mod diagnosis;
mod digests;
mod doctor;
mod engines;
mod evidence;
mod external;
mod external_hostile;
mod faults;
mod generated;
mod http;
mod kill;
mod logs;
#[cfg(feature = "faults")]
mod minimize;
#[cfg(feature = "faults")]
mod mismatches;
mod model;
mod nightly;
mod on_mismatch;
mod opaque;
mod packaging;
mod pages;
mod program;
mod record_chain;
mod recordings;
mod reorders;
mod replay;
mod report;
mod requirements;
mod resume;
mod rules;
mod run_report;
#[cfg(feature = "faults")]
mod selftest;
mod shapes;
mod sharded;
mod soak;
mod support;
mod tidy;
mod triage;
mod vectors;
mod verifier;
mod walk;
