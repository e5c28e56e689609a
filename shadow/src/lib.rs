//! What *happens*.

pub mod chain;
