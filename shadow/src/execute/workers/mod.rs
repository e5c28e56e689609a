//! Threads for the built-in engines, and what a schedule does to them.
//!
//! [`WorkerPool`] runs the lanes of one job together, [`Exchange`] lets these lanes leave messages for each
//! other while they run, and a disturbance makes them pause where they should not have to.

mod disturbance;
mod exchange;
mod pool;
mod threading;

pub(super) use disturbance::Disturbance;
pub use exchange::{Exchange, Seat};
pub use pool::WorkerPool;
pub use threading::{StdThreading, Threading};
