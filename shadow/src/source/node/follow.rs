//! Following a node's chain: by position, block after block, and back where the order changed.
//!
//! No block is trusted to have been announced, and nothing that was read is handed over before the
//! node was asked once more whether the order was still the same: blocks move while they are being
//! fetched. What is handed over is therefore one consistent piece of the chain, with answers about
//! exactly that piece.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use storage_snapshot::{BlockFacts, BlockHash, BlockRef, StateKey, TopoHeight, TxHash};
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, sleep, sleep_until},
};

use super::{
    FollowMode, FollowOptions,
    about::{AskLater, Subject, answers_about, versions_in},
    base::{Learned, values_before},
    before_start::facts_before,
    error::NodeError,
    events::Hints,
    order::KnownOrder,
    questions::{Questions, Tops},
    status::FollowStatus,
    transit::Transit,
    unsettled::{Unsettled, Waiting},
};
use crate::{
    chain::Block,
    node::NodeCheck,
    opaque::may_pay_anybody,
    rules::{BLOCK_VERSION_MAX, NamedKeys, SIDE_BLOCK_WINDOW},
    source::{
        AnswersAgain, BeforeStart, ChainEvent, CommittedBlock, NodeAnswers, first_after_base,
    },
};

/// What the follower has to say to whoever takes its blocks.
#[derive(Debug)]
pub(super) enum Message {
    /// What happened to the chain next.
    Event(ChainEvent),
    /// The end: as it was asked for, or because nothing went on, in a sentence.
    Ended(Option<String>),
    /// The end, because it cannot go on.
    Failed(NodeError),
}

/// Follows a chain and hands over what happens to it.
pub(super) struct Follower {
    pub(super) questions: Questions,
    pub(super) options: FollowOptions,
    pub(super) dev: storage_snapshot::Address,
    /// The first block that is followed, now or ever before.
    pub(super) first: TopoHeight,
    pub(super) known: KnownOrder,
    pub(super) transit: Transit,
    pub(super) unsettled: Unsettled,
    pub(super) ask_later: AskLater,
    pub(super) hints: Arc<Hints>,
    pub(super) status: Arc<FollowStatus>,
    pub(super) sender: Sender<Message>,
    pub(super) tops: Tops,
    /// The last of the blocks that were followed which the node has called stable.
    pub(super) settled: Option<TopoHeight>,
    pub(super) before: Option<Arc<Vec<(BlockRef, BlockFacts)>>>,
    /// Whether every block from the first one of the chain on was followed, and none of them may have
    /// written what it does not name.
    pub(super) all_named: bool,
    /// How long the last blocks were, as JSON.
    pub(super) block_bytes: usize,
    /// How many blocks may be fetched together: fewer after a piece that could not be used.
    pub(super) at_once_max: u64,
    /// Whether the node always said what was burned.
    pub(super) expects_burned_supply: bool,
    /// How often in a row the node did not say whether its order was still the same.
    pub(super) unconfirmed: u32,
}

/// What one look at the node came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There may be more to see at once.
    WentOn,
    /// There is nothing more for now.
    UpToDate,
    /// The node did not say that its order was still the one of what it answered, nor that it was not.
    Unconfirmed,
    /// Everything that was asked for was handed over.
    Through,
    /// Nobody takes anything any more.
    Nobody,
}

impl Follower {
    /// Follows until the end, or for as long as somebody takes what happens.
    pub(super) async fn run(mut self) {
        let status = Arc::clone(&self.status);
        let sender = self.sender.clone();
        let give_up = self.options.give_up;
        let until = self.options.until;
        let end = tokio::select! {
            end = self.follow() => end,
            () = silence(&status, give_up) => Some(Message::Ended(Some(gave_up(&status, give_up, until)))),
        };
        if let Some(end) = end {
            let _nobody = sender.send(end).await;
        }
    }

    async fn follow(&mut self) -> Option<Message> {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(PAUSE_MAX)
            .without_max_times()
            .with_jitter();
        let mut pause = pauses.build();
        let mut has_looked = false;
        loop {
            let soonest = Instant::now() + LOOKS_APART;
            let looked = self.look().await;
            has_looked |= looked.is_ok();
            match looked {
                Ok(Look::WentOn) => pause = pauses.build(),
                Ok(Look::UpToDate) => {
                    pause = pauses.build();
                    self.status.is_well();
                    self.hints.wait().await;
                    sleep_until(soonest).await;
                }
                Ok(Look::Unconfirmed) => sleep(UNCONFIRMED_PAUSE).await,
                Ok(Look::Through) => return Some(Message::Ended(None)),
                Ok(Look::Nobody) => return None,
                Err(error) if error.is_transient() || has_looked && self.may_pass(&error) => {
                    let pause = pause.next().unwrap_or(PAUSE_MAX);
                    if self.status.failed(error.to_string()) {
                        tracing::warn!(%error, ?pause, "following the node is interrupted");
                    }
                    sleep(pause).await;
                }
                Err(error) => return Some(Message::Failed(error)),
            }
        }
    }

    /// Whether what a node refuses it will do again: something before it may refuse for a while, and it
    /// understands what it has understood before.
    fn may_pass(&self, error: &NodeError) -> bool {
        match error {
            NodeError::Status { status, .. } => *status != TOO_LONG,
            NodeError::Refused { method, .. } => {
                self.questions.client.traffic().has_answered(method)
            }
            _ => false,
        }
    }

    /// Looks where the node is, follows a change of the order, and fetches some blocks.
    async fn look(&mut self) -> Result<Look, NodeError> {
        let window = self.window(self.tops.top);
        let (tops, order) = match self.questions.tops(window.clone()).await {
            Ok(seen) => seen,
            // The chain may be shorter than it was, and then there is no order up to there.
            Err(error @ NodeError::Failed { .. }) => {
                self.tops = self.questions.tops(None).await?.0;
                let is_shorter =
                    window.is_some_and(|window| *window.end() > self.tops.top.as_u64());
                // The next look has a window that it can answer.
                return Err(self.falls_short().filter(|_| is_shorter).unwrap_or(error));
            }
            Err(error) => return Err(error),
        };
        self.tops = tops;
        self.status.saw(tops.top, tops.stable, self.hints.are_connected());
        let mut stable = None;
        if let Some(window) = window {
            if let Some(at) = self.lowest_difference(&window, &order) {
                return self.follow_re_order(at).await;
            }
            // What it calls stable it says of its own chain, and as far as that was seen to be this one.
            stable = Some(tops.stable.min(TopoHeight::new(*window.end())));
        }
        self.settled = self.settled.max(stable);
        let next = self.known.next();
        let limit = match self.options.follow {
            FollowMode::Tip => tops.top,
            FollowMode::Stable => tops.stable,
        };
        let limit = self.options.until.map_or(limit, |until| limit.min(until));
        let went_on = next <= limit && {
            let last = next.as_u64().saturating_add(self.blocks_at_once() - 1);
            match self.fetch(next.as_u64()..=last.min(limit.as_u64())).await {
                Ok(look @ (Look::Nobody | Look::Unconfirmed)) => return Ok(look),
                Ok(look) => {
                    self.at_once_max = self.at_once_max.saturating_mul(2).min(BLOCKS_AT_ONCE_MAX);
                    look == Look::WentOn
                }
                Err(error) => {
                    // One answer that cannot be used costs the whole piece.
                    self.at_once_max = (self.at_once_max / 4).max(1);
                    return Err(error);
                }
            }
        };
        match self.settle(stable).await {
            Ok(Look::WentOn) => {}
            Ok(look) => return Ok(look),
            // It may be further down than is looked.
            Err(NodeError::Moved { at }) => return self.follow_re_order(at).await,
            Err(error) => return Err(error),
        }
        let is_settled = self.unsettled.stable(stable).next().is_none();
        match self.options.until {
            Some(until) if self.known.next() > until && is_settled => Ok(Look::Through),
            _ if went_on || !is_settled => Ok(Look::WentOn),
            _ => self.falls_short().map_or(Ok(Look::UpToDate), Err),
        }
    }

    /// What is wrong with a node whose chain ends below what was verified of it.
    fn falls_short(&self) -> Option<NodeError> {
        let (verified, top) = (self.known.last()?.topoheight, self.tops.top);
        (top < verified).then_some(NodeError::Shorter { top, verified })
    }

    /// The positions at which the order may have changed since it was looked at, as far as the node
    /// had blocks then.
    fn window(&self, top: TopoHeight) -> Option<RangeInclusive<u64>> {
        let first = self.known.first()?.as_u64();
        let last = self.known.last()?.topoheight.min(top).as_u64();
        let unstable = self.tops.stable.as_u64().saturating_add(1);
        let start = unstable.min(last.saturating_sub(WINDOW_MIN - 1)).max(first);
        (start <= last).then_some(start..=last)
    }

    fn lowest_difference(
        &self,
        window: &RangeInclusive<u64>,
        order: &[BlockHash],
    ) -> Option<TopoHeight> {
        self.known.lowest_difference(TopoHeight::new(*window.start()), order)
    }

    /// Goes back to below the lowest block that is another one now.
    async fn follow_re_order(&mut self, seen: TopoHeight) -> Result<Look, NodeError> {
        let Some(first) = self.known.first() else { return Ok(Look::WentOn) };
        let below = self.questions.order(first.as_u64()..=seen.as_u64()).await?;
        let at = self.known.lowest_difference(first, &below).unwrap_or(seen);
        // The block itself has to say so: its hash can be checked, a list of hashes cannot.
        let known = self.known.hash_at(at);
        let found = Questions::block(&self.questions.client, at).await?.map(|block| block.hash);
        let (Some(held), Some(found)) = (known, found.filter(|found| Some(*found) != known)) else {
            return Err(NodeError::Moved { at });
        };
        if at == first {
            return Err(match at {
                TopoHeight::GENESIS => NodeError::OtherChain { at, held, found },
                _ => NodeError::DeepReOrder { at },
            });
        }
        if Some(at) <= self.settled {
            return Err(NodeError::DeepReOrder { at });
        }
        let Some(to) = at.previous() else { return Ok(Look::WentOn) };
        tracing::info!(from = %at, top = %self.tops.top, "the node ordered blocks anew");
        self.known.revert_to(to);
        self.unsettled.revert_to(to);
        Ok(self.hand_over(ChainEvent::Reverted { to }).await)
    }

    /// Fetches blocks, and what has to be known about them, and hands them over if they were in this
    /// order all the time.
    async fn fetch(&mut self, range: RangeInclusive<u64>) -> Result<Look, NodeError> {
        let in_one_request = (REQUEST_BYTES / self.block_bytes.max(1)).max(1);
        let fetched = self.questions.blocks(range.clone(), in_one_request).await?;
        let count = fetched.len().max(1);
        let bytes: usize = fetched.iter().map(|(_, bytes)| bytes).sum();
        self.block_bytes = bytes / count;
        let blocks: Vec<Block> = fetched.into_iter().map(|(block, _)| block).collect();
        let stable = self.tops.stable;
        let mut committed = self.with_answers(blocks).await?;

        let hashes: Vec<_> = committed.iter().map(|committed| committed.block.hash).collect();
        let checked = self.check_order(&range, &hashes).await;
        if !self.is_confirmed(checked)? {
            return Ok(Look::Unconfirmed);
        }
        if self.options.node == NodeCheck::Compare
            && let Some(last) = committed.last_mut()
            && last.block.topoheight >= self.tops.top
        {
            // It is no part of the block: whatever is wrong with the answer, the block is not the worse for it.
            let burned = self.questions.burned_supply(&last.block).await;
            last.answers.burned_supply = burned.unwrap_or_else(|error| {
                // Some nodes never do, and then once is enough.
                if std::mem::take(&mut self.expects_burned_supply) {
                    tracing::warn!(%error, "the node does not say what was burned; where it does not, the \
                        burned supply is not compared");
                }
                None
            });
        }
        for mut committed in committed {
            let block = committed.block.reference();
            committed.answers.stable = block.topoheight <= stable;
            if !committed.answers.stable && self.options.node == NodeCheck::Compare {
                committed.answers.early = true;
                let asked = committed.answers.versions.iter().map(|(key, _)| *key);
                let keys = asked.collect();
                self.unsettled.push(Waiting { block, keys, is_whole: true });
            }
            let learned = committed.answers.before.iter().flat_map(|before| &before.in_force);
            self.transit.send(learned.map(|(key, _)| *key));
            self.known.push(block.hash);
            let event = ChainEvent::Committed(Box::new(committed));
            if self.hand_over(event).await == Look::Nobody {
                return Ok(Look::Nobody);
            }
        }
        Ok(Look::WentOn)
    }

    /// Asks whether the order is the one that was fetched, and the one before it the one that is known, as
    /// far down as it may be another one since it was looked at. A node that does not say so may be another
    /// one by now, so nothing else that it said is taken.
    async fn check_order(
        &self,
        range: &RangeInclusive<u64>,
        fetched: &[BlockHash],
    ) -> Result<(), NodeError> {
        // What is stable stays where it is, and the last block says whether this is still the same chain.
        let below = self.tops.stable.next().as_u64().min(range.start().saturating_sub(1));
        let start = self.known.first().map_or(*range.start(), |first| below.max(first.as_u64()));
        let order = self.questions.order_at_once(start..=*range.end()).await?;
        if let Some(at) = self.known.lowest_difference(TopoHeight::new(start), &order) {
            return Err(NodeError::Moved { at });
        }
        let now = order.iter().skip(usize::try_from(range.start() - start).unwrap_or(usize::MAX));
        match range.clone().zip(now.zip(fetched)).find(|(_, (now, fetched))| now != fetched) {
            Some((at, _)) => Err(NodeError::Moved { at: TopoHeight::new(at) }),
            None => Ok(()),
        }
    }

    /// Whether the order is still the same. A node that does not say so now and then is soon asked about
    /// the same once more: how much that was is not to blame.
    fn is_confirmed(&mut self, checked: Result<(), NodeError>) -> Result<bool, NodeError> {
        match checked {
            Ok(()) => {
                self.unconfirmed = 0;
                Ok(true)
            }
            Err(error @ NodeError::Moved { .. }) => Err(error),
            Err(error) if error.is_transient() && self.unconfirmed < UNCONFIRMED_MAX => {
                self.unconfirmed += 1;
                tracing::debug!(%error, "the node does not confirm its order and is asked anew");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Hands over what happened. Waits when too much waits already.
    async fn hand_over(&self, event: ChainEvent) -> Look {
        self.status.hands_over();
        let sent = self.sender.send(Message::Event(event)).await;
        self.status.handed(self.known.last().map(|block| block.topoheight));
        if sent.is_ok() { Look::WentOn } else { Look::Nobody }
    }

    /// Asks again about blocks that have become stable.
    async fn settle(&mut self, stable: Option<TopoHeight>) -> Result<Look, NodeError> {
        let mut settled = Vec::new();
        for waiting in self.unsettled.stable(stable).take(SETTLED_AT_ONCE) {
            settled.push(self.ask_again(waiting).await?);
        }
        let checked = self.check_places(&settled).await;
        if !self.is_confirmed(checked)? {
            return Ok(Look::Unconfirmed);
        }
        for again in settled {
            self.unsettled.pop();
            let event = ChainEvent::AnsweredAgain(Box::new(again));
            if self.hand_over(event).await == Look::Nobody {
                return Ok(Look::Nobody);
            }
        }
        Ok(Look::WentOn)
    }

    async fn ask_again(&self, waiting: &Waiting) -> Result<AnswersAgain, NodeError> {
        let (block, keys) = (waiting.block, self.keys_of(waiting).await?);
        let questions: Vec<_> = keys.iter().map(|key| (*key, block.topoheight)).collect();
        let versions = self.questions.versions(&questions).await?;
        let versions = versions.into_iter().map(|version| version.map(|version| version.value));
        let versions = keys.into_iter().zip(versions.map(Into::into)).collect();
        Ok(AnswersAgain { block, versions })
    }

    /// Asks whether blocks are still where they were when their versions were asked for: another block
    /// there did not write them.
    async fn check_places(&self, settled: &[AnswersAgain]) -> Result<(), NodeError> {
        let (Some(first), Some(last)) = (settled.first(), settled.last()) else { return Ok(()) };
        let start = first.block.topoheight;
        let range = start.as_u64()..=last.block.topoheight.as_u64();
        let order = self.questions.order_at_once(range).await?;
        let place = |at: TopoHeight| usize::try_from(at.blocks_since(start)).unwrap_or(usize::MAX);
        let blocks = settled.iter().map(|again| again.block);
        match blocks
            .into_iter()
            .find(|block| order.get(place(block.topoheight)) != Some(&block.hash))
        {
            Some(BlockRef { topoheight: at, .. }) => Err(NodeError::Moved { at }),
            None => Ok(()),
        }
    }

    /// What is to be asked about a block again.
    async fn keys_of(&self, waiting: &Waiting) -> Result<Vec<StateKey>, NodeError> {
        let mut keys = waiting.keys.clone();
        if waiting.is_whole {
            return Ok(keys);
        }
        let found = Questions::block(&self.questions.client, waiting.block.topoheight).await?;
        // If it is another one, nobody wants to hear of this one any more.
        if let Some(found) = found.filter(|found| found.hash == waiting.block.hash) {
            let named = NamedKeys::of_block(&found.miner, &self.dev, found.transactions.iter());
            keys.extend(named.iter().filter(|key| !matches!(key, StateKey::Registered(_))));
            keys.sort_unstable();
            keys.dedup();
        }
        Ok(keys)
    }

    /// Blocks together with what the node says about them.
    async fn with_answers(&mut self, blocks: Vec<Block>) -> Result<Vec<CommittedBlock>, NodeError> {
        let mut subjects = Vec::new();
        let mut named = Vec::with_capacity(blocks.len());
        let mut asked = Vec::with_capacity(blocks.len());
        for block in &blocks {
            let keys =
                Arc::new(NamedKeys::of_block(&block.miner, &self.dev, block.transactions.iter()));
            let is_asked = self.options.node == NodeCheck::Compare || !is_executed_here(block);
            if is_asked {
                subjects.push(self.subject(block, &keys));
            }
            self.all_named &= is_executed_here(block);
            asked.push(is_asked);
            named.push(keys);
        }
        let mut about = answers_about(&self.questions, &subjects).await?.into_iter();
        let mut answers: Vec<NodeAnswers> = asked
            .into_iter()
            .map(|is_asked| if is_asked { about.next() } else { None }.unwrap_or_default())
            .collect();
        self.add_start(&blocks, &named, &mut answers).await?;
        let committed = blocks.into_iter().zip(answers).map(|(block, mut answers)| {
            answers.ask_later = Some(self.ask_later.clone());
            CommittedBlock { block, answers }
        });
        Ok(committed.collect())
    }

    fn subject(&self, block: &Block, named: &Arc<NamedKeys>) -> Subject {
        let transactions = block.transactions.iter();
        Subject {
            block: block.reference(),
            named: Arc::clone(named),
            dev: self.dev,
            transactions: transactions
                .map(|transaction| (transaction.hash, may_pay_anybody(transaction)))
                .collect(),
        }
    }

    /// What has to be known of the time before the chain was followed.
    async fn add_start(
        &mut self,
        blocks: &[Block],
        named: &[Arc<NamedKeys>],
        answers: &mut [NodeAnswers],
    ) -> Result<(), NodeError> {
        let mut taken = std::collections::HashSet::new();
        let mut questions = Vec::new();
        for ((block, named), answers) in blocks.iter().zip(named).zip(&*answers) {
            let keys = named
                .iter()
                .filter(|key| matches!(key, StateKey::Nonce(_) | StateKey::Balance(..)));
            let unknown = self.transit.unknown(keys).map_err(NodeError::Store)?;
            let versions = versions_in(answers);
            for key in unknown {
                // Later blocks of the same piece start from what this one leaves.
                if taken.insert(key) {
                    let version = versions.get(&key).cloned();
                    questions.push((key, block.topoheight, version));
                }
            }
        }
        let first = first_after_base(self.first);
        let learned = values_before(&self.questions, first, self.all_named, questions).await?;
        let mut learned = learned.into_iter().peekable();
        for (block, answers) in blocks.iter().zip(answers) {
            let here = learned.next_if(|(at, _)| *at == block.topoheight);
            let Learned { base, in_force } = here.map(|(_, learned)| learned).unwrap_or_default();
            let is_near = self.first > TopoHeight::GENESIS
                && block.topoheight.blocks_since(self.first) <= SIDE_BLOCK_WINDOW as u64;
            let (facts, executed) = if is_near {
                (self.facts_before().await?, self.executed_before(block, answers).await?)
            } else {
                Default::default()
            };
            answers.before = Some(Box::new(BeforeStart {
                base: base.into_iter().collect(),
                in_force,
                facts,
                executed,
            }));
        }
        Ok(())
    }

    async fn facts_before(&mut self) -> Result<Arc<Vec<(BlockRef, BlockFacts)>>, NodeError> {
        if let Some(before) = &self.before {
            return Ok(Arc::clone(before));
        }
        let before = facts_before(&self.questions.client, self.first).await?;
        self.before = Some(Arc::clone(&before));
        Ok(before)
    }

    /// The transactions of a block that one was executed by that is not followed.
    async fn executed_before(
        &self,
        block: &Block,
        answers: &NodeAnswers,
    ) -> Result<Vec<TxHash>, NodeError> {
        let hashes: Vec<_> =
            block.transactions.iter().map(|transaction| transaction.hash).collect();
        let executed_here = if answers.executed.is_empty() {
            let asked: Vec<_> = hashes.iter().map(|hash| (*hash, block.hash)).collect();
            self.questions.executed(&asked).await?
        } else {
            let here = |hash| answers.executed.get(hash).copied().unwrap_or(false);
            hashes.iter().map(here).collect()
        };
        let elsewhere = hashes.into_iter().zip(executed_here);
        let elsewhere: Vec<_> = elsewhere.filter(|(_, here)| !here).map(|(hash, _)| hash).collect();
        let executors = self.questions.executors(&elsewhere).await?;
        let before = elsewhere.into_iter().zip(executors);
        Ok(before
            .filter(|(_, at)| at.is_some_and(|at| at < self.first))
            .map(|(hash, _)| hash)
            .collect())
    }

    /// How many blocks are fetched together: many small ones, few large ones, and fewer if there is
    /// much to ask about each.
    fn blocks_at_once(&self) -> u64 {
        let most = match self.options.node {
            NodeCheck::Compare => 8,
            NodeCheck::Ignore => BLOCKS_AT_ONCE_MAX,
        };
        let most = most.min(self.at_once_max);
        ((PIECE_BYTES / self.block_bytes.max(1)) as u64).clamp(1, most)
    }
}

/// Whether the rules say everything about a block that has to be known.
fn is_executed_here(block: &Block) -> bool {
    block.version <= BLOCK_VERSION_MAX
        && block.opaque_transactions().next().is_none()
        && !block.has_duplicate_transactions()
}

/// Waits until nothing has gone on for too long; for ever, if nothing is too long.
async fn silence(status: &FollowStatus, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    while status.silence() < limit {
        sleep(limit.saturating_sub(status.silence()).max(Duration::from_millis(20))).await;
    }
}

fn gave_up(status: &FollowStatus, limit: Option<Duration>, until: Option<TopoHeight>) -> String {
    let seconds = limit.unwrap_or_default().as_secs_f64();
    let last = match status.handed_over() {
        Some(last) => format!("topoheight {last} is the last that came"),
        None => "nothing came at all".to_owned(),
    };
    let until = until.map(|until| format!(" of those up to {until}")).unwrap_or_default();
    let error = status.last_error().map(|error| format!("; {error}")).unwrap_or_default();
    format!("nothing has come from the node for {seconds} seconds: {last}{until}{error}")
}

/// How many positions are looked at again although the node calls them stable.
const WINDOW_MIN: u64 = 64;

/// The HTTP status for a question that will always be too long.
const TOO_LONG: u16 = 413;

/// How soon a node is looked at again, however much it announces.
const LOOKS_APART: Duration = Duration::from_millis(30);

/// How long is waited at most before a node that fails is looked at again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often in a row a node may not confirm its order before that is one that fails, and how soon it is
/// asked anew until then.
const UNCONFIRMED_MAX: u32 = 5;
const UNCONFIRMED_PAUSE: Duration = Duration::from_millis(50);

/// How much one answer, and one piece of the chain, is meant to hold.
const REQUEST_BYTES: usize = 2 << 20;
const PIECE_BYTES: usize = 8 << 20;

/// How many blocks are fetched together at most.
pub(super) const BLOCKS_AT_ONCE_MAX: u64 = 40;

/// How many blocks are asked about again before others are fetched.
const SETTLED_AT_ONCE: usize = 8;
