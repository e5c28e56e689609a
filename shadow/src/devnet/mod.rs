//! A stand-in for a node: it serves a recorded or a generated chain as a node of the V3 era would,
//! for tests, demonstrations and the benchmarks of a client.
//!
//! [`DevnetNode::start`] runs one within the process; the command `shadow devnet` does nothing else.
//! It answers JSON-RPC 2.0 at `POST /json_rpc`, alone or in batches of up to 20, and the same
//! questions and events on the WebSocket `GET /json_rpc`, with the node's own encodings, error codes
//! and surprises: reads "at topoheight" are exact, questions without parameters refuse `{}`, events
//! of one block come grouped by type in any order of the types, `block_orphaned` perhaps after the
//! `block_ordered` that replaces it, and as long as nothing is stable every block announces the whole
//! chain again.
//!
//! # What it serves
//!
//! Of a **recording** the blocks and the versions that were recorded, each from the moment its block
//! is there. Where nobody asked the recorded node, there is no version. What it knows no answer of
//! its own to (energy, assets) is answered as recorded once the whole chain is there.
//!
//! Of a **generated** chain the blocks with the versions that the control leaves, each linked to the
//! one before by `previous_topoheight`.
//!
//! # The base of a generated chain
//!
//! A real chain starts from nothing; the accounts of a generated one exist before its first block
//! and have nonces and balances that no block gave them. They are served as *grants of block 0*: for
//! every key of [`BlockSource::base`](crate::source::BlockSource::base) there is one version at
//! topoheight 0, without a version before it, beside those that block 0 writes by the rules (the dev
//! key, which has nothing before). So:
//!
//! * the first version that any later block writes of such a key names `previous_topoheight` 0, and
//!   the exact read there gives the value before;
//! * a key that was named but never written has its value as its newest version, at topoheight 0;
//! * `get_account_registration_topoheight` of such an account is 0;
//! * block 0 itself neither names nor pays any of them, and no supply counts their units.
//!
//! Whoever follows the chain from its first block and reads the base of a key when the key is first
//! needed, as from anywhere else, needs no exception. Whoever takes everything before block 0 for
//! nothing does.
//!
//! # What it does not do
//!
//! No mempool, no mining, no peers: `submit_*`, `get_block_template` and the like do not exist, and
//! their events never come. A block that is not ordered is not there. Signatures are not real.

pub(crate) mod command;
mod counters;
mod error;
mod events;
mod executed;
mod faults;
mod feed;
mod methods;
mod node;
mod options;
mod recorded;
mod rpc;
mod served_block;
mod served_chain;
mod server;
mod versions;
mod wire;

pub use counters::Requests;
pub use error::DevnetError;
pub use faults::{Fault, FaultRates};
pub use node::{DevnetNode, Progress};
pub use options::{DevnetChain, DevnetOptions, Pace};
