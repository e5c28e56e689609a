//! What a node says of itself, its chain and its rules.

use std::fmt;

use serde::Deserialize;
use storage_snapshot::{Address, BlockHash, TopoHeight};

use super::{
    client::{Answer, Call, NodeClient},
    error::NodeError,
    questions::Questions,
};
use crate::{
    chain::{BlockError, Network, OpaqueKind},
    source::answer_json::{self, AnswerError},
};

/// What a node says of itself. What it does not know how to answer is `None`.
#[derive(Debug)]
pub struct NodeFacts {
    /// Its version.
    pub version: Option<String>,
    /// Its network, in its own word.
    pub network: Option<String>,
    /// The milliseconds that blocks are meant to be apart.
    pub block_time_target: Option<u64>,
    /// Its last block.
    pub top: TopoHeight,
    /// Up to here nothing is ordered anew.
    pub stable: TopoHeight,
    /// Blocks below this one are gone.
    pub pruned: Option<TopoHeight>,
    /// Which rules begin where.
    pub hard_forks: Result<Vec<HardFork>, NoAnswer>,
    /// The shares of the dev key.
    pub dev_fees: Result<Vec<DevFee>, NoAnswer>,
    /// The first block, or why it cannot be read.
    pub genesis: Result<GenesisFacts, BlockError>,
    /// One of the last blocks, or why it cannot be read.
    pub recent: Result<RecentFacts, BlockError>,
}

/// Why there is no answer to a question about the node itself.
#[derive(Debug)]
pub enum NoAnswer {
    /// The node does not know the question.
    Unknown {
        /// Which.
        method: &'static str,
    },
    /// The answer has another form than the rules' own nodes give it.
    OtherForm {
        /// The question.
        method: &'static str,
        /// What is other.
        source: AnswerError,
    },
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { method } => write!(f, "it does not answer {method}"),
            Self::OtherForm { method, source } => {
                write!(f, "it answers {method} in another form: {source}")
            }
        }
    }
}

impl std::error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unknown { .. } => None,
            Self::OtherForm { source, .. } => Some(source),
        }
    }
}

/// The first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenesisFacts {
    /// Its hash.
    pub hash: BlockHash,
    /// Its miner: the dev key.
    pub dev: Address,
    /// The network of its address.
    pub network: Network,
}

/// The last blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentFacts {
    /// The version of the last block.
    pub block_version: u8,
    /// The blue score of the last block.
    pub blue_score: u64,
    /// How many transactions were looked at.
    pub transactions: usize,
    /// How many of them are of a version that is not known.
    pub of_unknown_version: usize,
}

/// Rules that begin somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HardFork {
    /// From this blue score on.
    pub height: u64,
    /// The block version that they come with.
    pub version: u8,
}

/// The share of the dev key from somewhere on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DevFee {
    /// From this blue score on.
    pub height: u64,
    /// The share in percent.
    pub fee_percentage: u64,
}

/// Asks a node everything that tells whether its chain can be verified here.
///
/// # Errors
///
/// When it cannot be asked. Answers that are not as expected are no error here.
pub(super) async fn examine(client: &NodeClient) -> Result<NodeFacts, NodeError> {
    #[derive(Deserialize)]
    struct Info {
        network: Option<String>,
        block_time_target: Option<u64>,
    }
    let info: Option<Info> = asked(client, "get_info").await?.ok();
    let ((top, stable), recent) = last_blocks(client).await?;
    let pruned: Option<TopoHeight> = match asked(client, "get_pruned_topoheight").await? {
        Err(NoAnswer::Unknown { .. }) => None,
        answer => required(answer)?,
    };
    Ok(NodeFacts {
        version: asked(client, "get_version").await?.ok(),
        network: info.as_ref().and_then(|info| info.network.clone()),
        block_time_target: info.and_then(|info| info.block_time_target),
        top,
        stable,
        pruned,
        hard_forks: asked(client, "get_hard_forks").await?,
        dev_fees: asked(client, "get_dev_fee_thresholds").await?,
        genesis: repeated(|| genesis(client)).await?,
        recent,
    })
}

/// How far the node is, and what its last blocks are. Some of them may be gone when they are asked for,
/// where a chain was ordered anew and has not become as long again.
async fn last_blocks(
    client: &NodeClient,
) -> Result<((TopoHeight, TopoHeight), Result<RecentFacts, BlockError>), NodeError> {
    let mut attempts = 1;
    loop {
        let tops = tops(client).await?;
        match repeated(|| recent(client, tops.0)).await {
            Err(NodeError::Failed { .. } | NodeError::Incomplete { .. }) if attempts < TOPS_MAX => {
                attempts += 1;
            }
            recent => return Ok((tops, recent?)),
        }
    }
}

/// The last block, and the last one that is stable.
async fn tops(client: &NodeClient) -> Result<(TopoHeight, TopoHeight), NodeError> {
    let mut attempts = 1;
    loop {
        // The top is asked for last, so that what is stable meanwhile is not above it.
        let stable = required(asked(client, "get_stable_topoheight").await?)?;
        let top = required(asked(client, "get_topoheight").await?)?;
        if stable <= top || attempts == ATTEMPTS_MAX {
            return Ok((top, stable));
        }
        attempts += 1;
    }
}

fn required<T>(answer: Result<T, NoAnswer>) -> Result<T, NodeError> {
    answer.map_err(|none| NodeError::Rules {
        because: format!("the node cannot be followed: {none}, unlike the rules' own nodes"),
    })
}

/// The answer to a question without parameters. One of another form may have been spoilt on its way.
async fn asked<T: serde::de::DeserializeOwned>(
    client: &NodeClient,
    method: &'static str,
) -> Result<Result<T, NoAnswer>, NodeError> {
    let mut attempts = 1;
    loop {
        let result = match client.ask(Call::plain(method)).await {
            Ok(Answer::Found(result)) => result,
            Ok(Answer::NotFound { .. }) | Err(NodeError::Refused { .. }) => {
                return Ok(Err(NoAnswer::Unknown { method }));
            }
            Err(error) => return Err(error),
        };
        match answer_json::parse(&result) {
            Ok(answer) => return Ok(Ok(answer)),
            Err(source) if attempts == ATTEMPTS_MAX => {
                return Ok(Err(NoAnswer::OtherForm { method, source }));
            }
            Err(_) => attempts += 1,
        }
    }
}

/// Asks several times for what may have been spoilt on its way; what is of other rules is so every time.
async fn repeated<T, F>(mut ask: impl FnMut() -> F) -> F::Output
where
    F: Future<Output = Result<Result<T, BlockError>, NodeError>>,
{
    let mut found = ask().await;
    for _ in 1..ATTEMPTS_MAX {
        if !matches!(found, Ok(Err(_)) | Err(NodeError::Position { .. })) {
            break;
        }
        found = ask().await;
    }
    found
}

async fn genesis(client: &NodeClient) -> Result<Result<GenesisFacts, BlockError>, NodeError> {
    match Questions::block(client, TopoHeight::GENESIS).await {
        Ok(Some(block)) => {
            Ok(Ok(GenesisFacts { hash: block.hash, dev: block.miner, network: block.network }))
        }
        Ok(None) => Err(NodeError::Rules {
            because:
                "the node has no block at topoheight 0, which says who the dev key is; attach to \
                      a node that was not pruned"
                    .to_owned(),
        }),
        Err(NodeError::Block(error)) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// The last block, and the last transactions that there are, if there are any in the last blocks.
async fn recent(
    client: &NodeClient,
    top: TopoHeight,
) -> Result<Result<RecentFacts, BlockError>, NodeError> {
    let from = top.as_u64().saturating_sub(LOOKED_AT - 1);
    let headers = match Questions::headers(client, from..=top.as_u64()).await {
        Ok(headers) => headers,
        Err(NodeError::Block(error)) => return Ok(Err(error)),
        Err(error) => return Err(error),
    };
    let (block_version, blue_score) =
        headers.last().map_or((0, 0), |header| (header.version, header.blue_score.as_u64()));
    let (mut transactions, mut of_unknown_version) = (0, 0);
    if let Some(header) = headers.iter().rev().find(|header| header.transaction_count > 0) {
        match Questions::block(client, header.topoheight).await {
            Ok(block) => {
                let kinds = block.iter().flat_map(|block| {
                    block.transactions.iter().map(|transaction| transaction.opaque_kind())
                });
                for kind in kinds {
                    transactions += 1;
                    of_unknown_version += usize::from(kind == Some(OpaqueKind::UnknownVersion));
                }
            }
            Err(NodeError::Block(error)) => return Ok(Err(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(RecentFacts { block_version, blue_score, transactions, of_unknown_version }))
}

/// How often what cannot be read is asked for.
const ATTEMPTS_MAX: usize = 8;

/// How often the last blocks are asked for anew, as the last ones of then.
const TOPS_MAX: usize = 3;

/// How many blocks are looked through for one with transactions.
const LOOKED_AT: u64 = 60;
