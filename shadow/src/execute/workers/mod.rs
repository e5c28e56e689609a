//! Threads for the built-in engines, and what a schedule does to them.
//!
//! [`WorkerPool`] runs the lanes of one job together, each [`Seat`] lets its lane leave messages for the
//! others while they run, and a disturbance makes them pause where they should not have to.

mod disturbance;
mod exchange;
mod pool;
mod shared;
mod threading;

pub(super) use disturbance::Disturbance;
pub use exchange::{Inbox, Seat};
pub use pool::WorkerPool;
pub(super) use shared::{SharedPool, workers_of};
pub use threading::{StdThreading, Threading};
