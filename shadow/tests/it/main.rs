//! The crate from outside, one module per subject.

mod chain_address;
mod chain_altered;
mod chain_codec;
mod chain_fixture;
mod chain_json;
mod chain_recordings;
