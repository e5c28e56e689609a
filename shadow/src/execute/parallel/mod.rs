//! The built-in engine `v3`: the chain's own design of a parallel executor, by its names.
//!
//! [`ParallelExecutor`] groups a block's transactions into conflict-free batches and runs each batch
//! on all lanes of a worker pool. [`ParallelChainState`] is what the lanes share: a concurrent map of
//! accounts, atomic totals, no lifetimes and no hand-written locks, loaded lazily from a snapshot at
//! the parent's topoheight.
//!
//! It is a re-implementation of that design. A result about it says nothing about anybody else's
//! executor.

mod chain_state;
mod conflicts;
mod costs;
mod executor;

pub use chain_state::ParallelChainState;
pub use conflicts::conflict_free_batches;
pub use costs::Costs;
pub use executor::ParallelExecutor;
pub(crate) use executor::lanes_of;
