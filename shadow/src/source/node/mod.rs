//! A running node as the source of its chain, over its JSON-RPC and its events.
//!
//! Everything that waits for the network happens on threads of its own; the chain is handed over
//! through a queue of bounded length, so a verifier that falls behind slows the questions and nothing
//! else. The node is only ever read from.

mod about;
mod base;
mod before_start;
mod client;
mod error;
mod events;
mod examine;
mod follow;
mod methods;
mod order;
mod questions;
mod status;
mod traffic;
mod transit;
mod unsettled;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use about::AskLater;
pub(crate) use client::{Answer, Call, check_address};
pub use client::{ClientOptions, NodeClient};
use comparator::Severity;
pub use error::NodeError;
pub use examine::{DevFee, GenesisFacts, HardFork, NoAnswer, NodeFacts, RecentFacts};
pub(crate) use methods::{METHODS, SUBSCRIBE};
pub use status::FollowStatus;
use storage_snapshot::{BlockRef, StateDelta, StateKey, TopoHeight};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{Receiver, channel},
    time::timeout,
};
pub use traffic::{MethodCounts, Traffic, TrafficCounts};

use self::{
    events::{Hints, listen},
    follow::{BLOCKS_AT_ONCE_MAX, Follower, Message},
    order::{KEPT_MAX, KnownOrder},
    questions::{Questions, Tops},
    transit::Transit,
    unsettled::{Unsettled, Waiting},
};
use super::{BlockSource, ChainEvent, ChainIdentity, Held, SourceError};
use crate::{
    chain::Network,
    ledger::{LedgerError, entries, entry_at},
    node::NodeCheck,
};

/// Where to begin with a chain that was not followed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At its first block.
    #[default]
    Genesis,
    /// Where nothing is ordered anew any more.
    Tip,
    /// Here.
    At(TopoHeight),
}

/// When a block is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FollowMode {
    /// As soon as it is there, and what takes its place if it is ordered away.
    #[default]
    Tip,
    /// Once it cannot be ordered away.
    Stable,
}

/// How a chain is followed.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// Where to begin, if nothing is held yet.
    pub from: StartAt,
    /// The last block that is taken; `None` to go on for ever.
    pub until: Option<TopoHeight>,
    /// When a block is taken.
    pub follow: FollowMode,
    /// Whether the node is asked what it made of each block.
    pub node: NodeCheck,
    /// After how long without anything new to give up; `None` for never.
    pub give_up: Option<Duration>,
}

/// What can be seen of following a node while it goes on, from any thread.
#[derive(Clone, Debug)]
pub struct NodeWatch {
    /// How far the node is, and how far it was followed.
    pub status: Arc<FollowStatus>,
    /// What was asked of it.
    pub traffic: Arc<Traffic>,
    /// Whether blocks are taken only once they are stable.
    pub follows_stable: bool,
}

impl NodeWatch {
    /// The last block that there is to be taken.
    pub fn head(&self) -> TopoHeight {
        if self.follows_stable { self.status.stable() } else { self.status.top() }
    }
}

/// The chain of a running node.
#[derive(Debug)]
pub struct NodeSource {
    client: NodeClient,
    options: FollowOptions,
    facts: NodeFacts,
    identity: ChainIdentity,
    network: Network,
    status: Arc<FollowStatus>,
    messages: Option<Receiver<Message>>,
    /// How many blocks were handed out, and how many of them are done with.
    handed_out: u64,
    done: Arc<AtomicU64>,
    ended_early: Option<String>,
    /// Ends, with everything that runs on it, when the source is dropped.
    runtime: Option<Runtime>,
}

impl NodeSource {
    /// Connects to a node and asks what it is; nothing is followed yet.
    ///
    /// # Errors
    ///
    /// When the node cannot be asked, or its first block cannot be read.
    pub fn connect(client: &ClientOptions, options: FollowOptions) -> Result<Self, NodeError> {
        let client = NodeClient::new(client)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("shadow-node")
            .enable_all()
            .build()
            .map_err(NodeError::Runtime)?;
        let facts = runtime.block_on(examine::examine(&client))?;
        let genesis = match &facts.genesis {
            Ok(genesis) => *genesis,
            Err(error) => {
                let because = format!("the node's first block is not one of these rules: {error}");
                return Err(NodeError::Rules { because });
            }
        };
        Ok(Self {
            client,
            options,
            identity: ChainIdentity::of(genesis.network, genesis.hash, genesis.dev),
            network: genesis.network,
            facts,
            status: Arc::new(FollowStatus::new()),
            messages: None,
            handed_out: 0,
            done: Arc::default(),
            ended_early: None,
            runtime: Some(runtime),
        })
    }

    /// Asks a node what it is, without following it.
    ///
    /// # Errors
    ///
    /// When the node cannot be asked.
    pub fn examine(client: &ClientOptions) -> Result<NodeFacts, NodeError> {
        let client = NodeClient::new(client)?;
        let runtime =
            Builder::new_current_thread().enable_all().build().map_err(NodeError::Runtime)?;
        runtime.block_on(examine::examine(&client))
    }

    /// What the node said of itself when it was connected to.
    pub const fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// The first block to follow, if none ever was.
    fn start(&self) -> Result<TopoHeight, NodeError> {
        start(self.options.from, &self.facts)
    }

    fn follow(&mut self, held: &Held<'_>) -> Result<(), SourceError> {
        let first = match held.first {
            Some(first) => first,
            None => self.start().map_err(SourceError::from)?,
        };
        // Blocks without a verdict are fetched again: they may have been ordered away meanwhile, and
        // what they needed to know of the time before the first block may not have been kept.
        held.store.rollback(held.judged).map_err(NodeError::Store)?;
        let (known, unsettled, settled) = self.known(held, first)?;
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let questions = Questions { client: self.client.clone(), network: self.network };
        let (sender, messages) = channel(QUEUE_LENGTH_MAX);
        let hints = Arc::new(Hints::default());
        let events_url = self.client.events_url().to_owned();
        runtime.spawn(listen(events_url, Arc::clone(&hints), self.client.traffic()));
        let follower = Follower {
            ask_later: AskLater { handle: runtime.handle().clone(), questions: questions.clone() },
            questions,
            options: self.options.clone(),
            dev: self.identity.dev,
            first,
            known,
            transit: Transit::new(held.store.clone(), Arc::clone(&self.done)),
            unsettled,
            hints,
            status: Arc::clone(&self.status),
            sender,
            tops: Tops { top: self.facts.top, stable: TopoHeight::GENESIS },
            settled,
            before: None,
            all_named: all_named(held, first)?,
            block_bytes: BLOCK_BYTES_TYPICAL,
            at_once_max: BLOCKS_AT_ONCE_MAX,
            expects_burned_supply: true,
            unconfirmed: 0,
        };
        runtime.spawn(follower.run());
        self.messages = Some(messages);
        Ok(())
    }

    /// The blocks that were judged, as far as the order may still change; those of them that are to be asked
    /// about again; and the last of them that the node has called stable. Blocks above them are there perhaps,
    /// but have no verdict.
    fn known(
        &self,
        held: &Held<'_>,
        first: TopoHeight,
    ) -> Result<(KnownOrder, Unsettled, Option<TopoHeight>), SourceError> {
        let (mut unsettled, mut settled) = (Unsettled::default(), None);
        let Some(judged) = held.judged else {
            return Ok((KnownOrder::beginning_at(first), unsettled, settled));
        };
        let lowest = judged.as_u64().saturating_sub(KEPT_MAX as u64 - 1).max(first.as_u64());
        let mut known = KnownOrder::beginning_at(TopoHeight::new(lowest));
        let input = |error| SourceError::Input(Box::new(error));
        for at in (lowest..=judged.as_u64()).map(TopoHeight::new) {
            let Some(entry) = entry_at(held.store, at).map_err(input)? else { break };
            known.push(entry.block_hash);
            if entry.stable || entry.node.again > 0 {
                settled = Some(at);
            }
            if self.options.node == NodeCheck::Compare && entry.node.is_to_be_asked_again() {
                let block = BlockRef { topoheight: at, hash: entry.block_hash };
                let written =
                    held.store.block(at).map_err(|error| input(LedgerError::Store(error)))?;
                let keys = written.iter().flat_map(|written| written.commit.delta.keys());
                let keys = keys.filter(|key| !matches!(key, StateKey::Registered(_)));
                let keys = keys.copied().collect();
                unsettled.push(Waiting { block, keys, is_whole: false });
            }
        }
        Ok((known, unsettled, settled))
    }
}

impl BlockSource for NodeSource {
    fn identity(&self) -> &ChainIdentity {
        &self.identity
    }

    fn base(&self) -> StateDelta {
        StateDelta::new()
    }

    fn go_on(&mut self, held: &Held<'_>) -> Result<(), SourceError> {
        self.follow(held)
    }

    fn next_event(&mut self) -> Result<Option<ChainEvent>, SourceError> {
        // Whoever asks for the next one is done with the last one.
        self.done.store(self.handed_out, Ordering::Release);
        let (Some(runtime), Some(messages)) = (&self.runtime, &mut self.messages) else {
            return Ok(None);
        };
        let message = runtime.block_on(async { timeout(IDLE_AFTER, messages.recv()).await });
        match message {
            Err(_) => Ok(Some(ChainEvent::Idle)),
            Ok(Some(Message::Event(event))) => {
                self.handed_out += u64::from(matches!(event, ChainEvent::Committed(_)));
                Ok(Some(event))
            }
            Ok(Some(Message::Ended(reason))) => {
                self.ended_early = reason;
                self.messages = None;
                Ok(None)
            }
            Ok(Some(Message::Failed(error))) => Err(error.into()),
            Ok(None) => {
                let ended =
                    std::io::Error::other("what follows the node has ended; please report it");
                Err(SourceError::Io(ended))
            }
        }
    }

    fn block_count(&self) -> Option<u64> {
        self.options.until.map(|until| until.next().as_u64())
    }

    fn watch(&self) -> Option<NodeWatch> {
        Some(NodeWatch {
            status: Arc::clone(&self.status),
            traffic: self.client.traffic(),
            follows_stable: self.options.follow == FollowMode::Stable,
        })
    }

    fn ended_early(&self) -> Option<&str> {
        self.ended_early.as_deref()
    }
}

/// Where to begin with a chain of which nothing is held: never where it may still be ordered anew. What
/// was learned of the time before the first block could not be taken back, so a re-order below it would
/// be the end of the run.
fn start(from: StartAt, facts: &NodeFacts) -> Result<TopoHeight, NodeError> {
    let wanted = match from {
        StartAt::Genesis => TopoHeight::GENESIS,
        StartAt::Tip => facts.stable,
        StartAt::At(at) => at,
    };
    let top = facts.top;
    if wanted > top {
        return Err(NodeError::AboveTop { from: wanted, top });
    }
    let first = wanted.min(facts.stable);
    if first < wanted {
        tracing::info!(from = %first, %wanted, "the chain is followed from a little below, where it is \
            not ordered anew");
    }
    // What keys were before a block is asked of the blocks below it.
    match facts.pruned {
        Some(from) if first <= from => Err(NodeError::Pruned { from: from.next() }),
        _ => Ok(first),
    }
}

/// Whether the chain was followed from its first block on, and no block may have written what it does
/// not name.
fn all_named(held: &Held<'_>, first: TopoHeight) -> Result<bool, SourceError> {
    if first != TopoHeight::GENESIS {
        return Ok(false);
    }
    for entry in entries(held.store, first) {
        let entry = entry.map_err(|error| SourceError::Input(Box::new(error)))?;
        if Some(entry.topoheight) > held.judged {
            break;
        }
        if matches!(entry.severity(), Severity::Opaque | Severity::Inconclusive) {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for NodeSource {
    fn drop(&mut self) {
        // Questions that are under way need no answer any more.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl From<NodeError> for SourceError {
    fn from(error: NodeError) -> Self {
        if error.is_infrastructure() {
            Self::Unreachable(Box::new(error))
        } else {
            Self::Input(Box::new(error))
        }
    }
}

/// How many events may wait to be taken.
const QUEUE_LENGTH_MAX: usize = 64;

/// How long nothing may happen before whoever waits is told so.
const IDLE_AFTER: Duration = Duration::from_millis(100);

const BLOCK_BYTES_TYPICAL: usize = 64 << 10;
