//! Why a node cannot be asked, or what it answered cannot be used.

use std::fmt;

use storage_snapshot::{BlockHash, StoreError, TopoHeight};

use crate::{chain::BlockError, source::answer_json::AnswerError};

/// Why a node does not help.
#[derive(Debug)]
#[non_exhaustive]
pub enum NodeError {
    /// The text that names the node is not the address of one.
    Url {
        /// What was given.
        url: String,
    },
    /// The address is one to speak TLS to.
    Tls {
        /// What was given.
        url: String,
    },
    /// The runtime that speaks to nodes cannot be started.
    Runtime(std::io::Error),
    /// The node was not reached, or did not answer in time.
    Unreachable(reqwest::Error),
    /// The node answered with an HTTP status that is no answer.
    Status {
        /// The status.
        status: u16,
        /// The beginning of what came with it.
        text: String,
    },
    /// The answer is not JSON-RPC, or was cut.
    Garbled(serde_json::Error),
    /// The answer is longer than any that a node gives.
    TooLong,
    /// There is no answer to some of the questions.
    Incomplete {
        /// One of them.
        method: &'static str,
    },
    /// The node could not answer a question that it understood.
    Failed {
        /// The question.
        method: &'static str,
        /// The code of the error.
        code: i64,
        /// What the node says.
        message: String,
    },
    /// The node does not know the question.
    Refused {
        /// The question.
        method: &'static str,
        /// The code of the error.
        code: i64,
        /// What the node says.
        message: String,
    },
    /// The answer does not have the form that a node gives it.
    Answer {
        /// The question.
        method: &'static str,
        /// What is wrong.
        source: AnswerError,
    },
    /// The answer is no block, or not the one that was asked for.
    Block(BlockError),
    /// The answer is a block of another position.
    Position {
        /// The position that was asked for.
        asked: TopoHeight,
        /// The one that the block says.
        found: TopoHeight,
    },
    /// The order is not, or not any more, the one of the blocks.
    Moved {
        /// The lowest position where they differ.
        at: TopoHeight,
    },
    /// A position is called stable that there is no block at.
    StableAboveTop {
        /// The last stable one.
        stable: TopoHeight,
        /// The node's last block.
        top: TopoHeight,
    },
    /// The chain ends below what was verified of it.
    Shorter {
        /// The node's last block.
        top: TopoHeight,
        /// The last one that was verified.
        verified: TopoHeight,
    },
    /// The node's rules are not the ones that are executed here.
    Rules {
        /// In which way, in sentences.
        because: String,
    },
    /// The chain is another one than before.
    OtherChain {
        /// The first block that differs.
        at: TopoHeight,
        /// What the state directory holds there.
        held: BlockHash,
        /// What the node has there.
        found: BlockHash,
    },
    /// Blocks were ordered anew that the node had called stable, or that are not remembered any more.
    DeepReOrder {
        /// The lowest position that is known to have changed.
        at: TopoHeight,
    },
    /// The node begins later than the chain is to be followed from.
    Pruned {
        /// The first position that it still has.
        from: TopoHeight,
    },
    /// What is known already cannot be read.
    Store(StoreError),
    /// Nothing is known of the chain so far up.
    AboveTop {
        /// Where to begin.
        from: TopoHeight,
        /// The last block that the node has.
        top: TopoHeight,
    },
}

impl NodeError {
    /// Whether asking again may help.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::Garbled(_)
            | Self::TooLong
            | Self::Incomplete { .. }
            | Self::Failed { .. }
            | Self::Answer { .. }
            | Self::Block(_)
            | Self::Position { .. }
            | Self::Moved { .. }
            | Self::StableAboveTop { .. }
            | Self::Shorter { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429 || *status == 408,
            Self::Url { .. }
            | Self::Tls { .. }
            | Self::Runtime(_)
            | Self::Store(_)
            | Self::Refused { .. }
            | Self::Rules { .. }
            | Self::OtherChain { .. }
            | Self::DeepReOrder { .. }
            | Self::Pruned { .. }
            | Self::AboveTop { .. } => false,
        }
    }

    /// Whether it is about the network or the machine, and not about what was asked for.
    pub const fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Runtime(_) | Self::Store(_)) || self.is_transient()
    }
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url { url } => {
                write!(
                    f,
                    "{url:?} is not the address of a node: give one like http://127.0.0.1:8080"
                )
            }
            Self::Tls { url } => write!(
                f,
                "{url:?}: TLS is not spoken; give the node's own address, like http://127.0.0.1:8080"
            ),
            Self::Runtime(error) => write!(f, "starting what speaks to the node: {error}"),
            Self::Unreachable(error) => {
                // The library's own text ends where the cause begins.
                let cause = innermost(error);
                if error.is_timeout() {
                    f.write_str("the node did not answer in time; see whether it is alive")
                } else {
                    write!(
                        f,
                        "the node cannot be reached ({cause}); see whether it is running there"
                    )
                }
            }
            Self::Status { status: 413, .. } => f.write_str(
                "the node refuses the question because it is too long (HTTP 413); please report it",
            ),
            Self::Status { status: status @ 300..=399, text } => write!(
                f,
                "the node sends on to {text:?} (HTTP {status}), where nobody follows; if the node is \
                 there, name it with --node"
            ),
            Self::Status { status, text } => {
                write!(f, "the node answers with HTTP {status} ({text:?}); is --node right?")
            }
            Self::Garbled(error) => write!(f, "the node's answer is not JSON-RPC, or cut: {error}"),
            Self::TooLong => f.write_str("the node's answer is longer than any that a node gives"),
            Self::Incomplete { method } => write!(f, "the node did not answer {method} in full"),
            Self::Failed { method, code, message } => {
                write!(f, "the node failed to answer {method}: {message} ({code})")
            }
            Self::Refused { method, code, message } => write!(
                f,
                "the node does not understand {method}: {message} ({code}); it is of another version \
                 than the rules of {} were written for",
                crate::rules::RULES
            ),
            Self::Answer { method, source } => write!(f, "the node's answer to {method}: {source}"),
            Self::Block(error) => error.fmt(f),
            Self::Position { asked, found } => {
                write!(
                    f,
                    "asked for the block at topoheight {asked}, the node answered with {found}"
                )
            }
            Self::Moved { at } => write!(
                f,
                "the node's order of blocks and the blocks that it has do not agree at topoheight {at}; \
                 if this stays so, see whether it is one node that answers"
            ),
            Self::StableAboveTop { stable, top } => write!(
                f,
                "the node calls topoheight {stable} stable, and its last block is at {top}; see whether it \
                 is one node that answers"
            ),
            Self::Shorter { top, verified } => write!(
                f,
                "the node's last block is at topoheight {top}, below the {verified} that was verified; \
                 see whether it is the same node, and wait until it has caught up"
            ),
            Self::Rules { because } => f.write_str(because),
            Self::OtherChain { at, held, found } => write!(
                f,
                "the state directory has block {held} at topoheight {at}, the node has {found}; it is \
                 about another chain, use another --state-dir"
            ),
            Self::DeepReOrder { at } => write!(
                f,
                "the node ordered blocks anew down to topoheight {at} at least, which it had called \
                 stable, or which is further than what is remembered of it: what was found stays in this \
                 state directory, go on with another --state-dir"
            ),
            Self::Pruned { from } => write!(
                f,
                "the node has dropped its blocks below topoheight {from}; begin there or above, or ask \
                 a node that has them"
            ),
            Self::Store(error) => error.fmt(f),
            Self::AboveTop { from, top } => {
                write!(f, "there is no topoheight {from} yet: the node's last block is at {top}")
            }
        }
    }
}

impl std::error::Error for NodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Runtime(error) => Some(error),
            Self::Unreachable(error) => Some(error),
            Self::Garbled(error) => Some(error),
            Self::Answer { source, .. } => Some(source),
            Self::Block(error) => Some(error),
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
