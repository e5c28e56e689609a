//! The store from outside: one binary, a module per technique.

mod concurrent;
mod damage;
mod prop;
mod restart;
mod snapshot;
mod support;
mod vectors;
