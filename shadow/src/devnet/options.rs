//! What a stand-in node serves, and how.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::FaultRates;
use crate::source::GeneratedOptions;

/// What a stand-in node serves, and how.
#[derive(Clone, Debug)]
pub struct DevnetOptions {
    /// Where it listens; port 0 takes any that is free.
    pub listen: SocketAddr,
    /// What it serves.
    pub chain: DevnetChain,
    /// The name of a planted fault that executes the blocks of a generated chain in place of the
    /// control, each on the state that the ones before left.
    #[cfg(feature = "faults")]
    pub faulty_parallel: Option<String>,
    /// How its blocks appear.
    pub pace: Pace,
    /// What goes wrong, and how often.
    pub faults: FaultRates,
    /// Seeds whatever is left to chance: the order of events, and the faults.
    pub seed: u64,
    /// What it says it is.
    pub version: String,
}

impl DevnetOptions {
    /// A node on a free port of this machine that has the whole chain at once, and no faults.
    pub fn new(chain: DevnetChain) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            chain,
            #[cfg(feature = "faults")]
            faulty_parallel: None,
            pace: Pace::AllAtOnce,
            faults: FaultRates::default(),
            seed: 1,
            version: VERSION.to_owned(),
        }
    }
}

/// Which chain a stand-in node serves.
#[derive(Clone, Debug)]
pub enum DevnetChain {
    /// A recorded one, with the versions that were recorded.
    Recording(PathBuf),
    /// One that is generated, with the versions of its serial execution.
    Generated(GeneratedOptions),
}

/// How the blocks of a chain appear. A re-order is one step, whatever its depth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// The whole chain is there before the first question.
    AllAtOnce,
    /// The first block is there, and the next one comes whenever so long has passed.
    Every(Duration),
    /// The first block is there, and the next ones come when
    /// [`advance`](super::DevnetNode::advance) asks for them.
    OnRequest,
}

/// What a node of these rules answers to `get_version`.
const VERSION: &str = "0.1.1-cde9aae6";
