//! Where the blocks of a stand-in node come from.

use super::{
    DevnetChain, DevnetError, DevnetOptions,
    generated::{Engine, GeneratedFeed},
    recorded::RecordedFeed,
    served_chain::{Changes, ServedChain},
};
use crate::source::GeneratedChain;

/// Yields what happens to a chain, step by step.
#[derive(Debug)]
pub(super) enum Feed {
    Recorded(Box<RecordedFeed>),
    Generated(Box<GeneratedFeed>),
}

impl Feed {
    pub(super) fn open(
        options: &DevnetOptions,
        chain: &mut ServedChain,
    ) -> Result<Self, DevnetError> {
        Ok(match &options.chain {
            DevnetChain::Recording(directory) => {
                Self::Recorded(Box::new(RecordedFeed::open(directory, chain)?))
            }
            DevnetChain::Generated(generated) => {
                let source = GeneratedChain::new(*generated);
                let engine = Engine::open(options)?;
                Self::Generated(Box::new(GeneratedFeed::new(source, engine, chain)))
            }
        })
    }

    /// Makes the next step happen; `None` at the end of the chain.
    pub(super) fn advance(
        &mut self,
        chain: &mut ServedChain,
    ) -> Result<Option<Changes>, DevnetError> {
        match self {
            Self::Recorded(feed) => feed.advance(chain),
            Self::Generated(feed) => feed.advance(chain),
        }
    }
}
