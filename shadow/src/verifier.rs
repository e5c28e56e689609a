//! The verifier: takes a chain block by block, and finds out about each what there is to find out.
//!
//! [`Verifier::verify_block`] is the way of a block. Its first half has to happen in order, because
//! each block starts from the state that the one before left: that is done here. Its second half, the
//! candidates and the comparison, needs only what was resolved in the first, so the
//! [judge](crate::judge) does it meanwhile on another thread.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use comparator::{Before, Inconclusive, OpaqueKind, Severity, check_by};
use storage_snapshot::{
    BlockCommit, BlockFacts, BlockHash, BlockRef, ReadError, StateKey, Store, StoreError,
    TopoHeight, TxHash,
};

pub use crate::verify_error::VerifyError;

use crate::{
    case::{Case, Finding},
    chain::Block,
    execute::{Control, ControlError, Placed, PreState, SerialExecutor, panic_message},
    judge::Judge,
    known::KnownState,
    ledger::{LedgerEntry, LedgerError, entries, entry_at},
    node::{
        Compared, History, NodeCheck, NodeCounts, NodeFindings, compare_answers,
        executed_transactions,
    },
    opaque::{TakenState, take_state},
    other_branch::OtherBranch,
    prepare::{ChainSoFar, PreparedBlock, prepare},
    rules::SIDE_BLOCK_WINDOW,
    shapes::Told,
    source::{
        BeforeStart, BlockSource, ChainEvent, ChainIdentity, CommittedBlock, Held, NodeAnswers,
        first_after_base,
    },
    stopwatch::timed,
};

/// Verifies a chain, block by block.
#[derive(Debug)]
pub struct Verifier {
    store: Store,
    identity: ChainIdentity,
    node: NodeCheck,
    judge: Judge,
    /// The last block of the unbroken run of judged ones that the ledger begins with.
    judged: Option<TopoHeight>,
    /// The last block that may have paid accounts that nobody knows of.
    blind_since: Option<TopoHeight>,
    /// Where the source goes another way than the store went, as long as nobody knows why.
    other: Option<OtherBranch>,
    /// The first block that was ever taken.
    first: Option<TopoHeight>,
    /// Whether there was nothing to do for the last block, because it had its verdict.
    is_known: bool,
}

impl Verifier {
    /// A verifier of the chain that `source` yields, on top of what the store holds of it.
    ///
    /// # Errors
    ///
    /// When the store holds another chain, or cannot be used.
    pub fn new(
        store: Store,
        source: &dyn BlockSource,
        node: NodeCheck,
        judge: Judge,
    ) -> Result<Self, VerifyError> {
        claim(&store, source)?;
        // A roll-back may have been cut short after the blocks went and before their verdicts did.
        let above = store.tip().map_or(TopoHeight::GENESIS, |tip| tip.block.topoheight.next());
        mark_stale(&store, above)?;
        let Judged { first, through, blind_since } = Judged::read(&store)?;
        forget_unjudged(&store, through)?;
        let identity = source.identity().clone();
        Ok(Self {
            store,
            identity,
            node,
            judge,
            judged: through,
            blind_since,
            other: None,
            first,
            is_known: false,
        })
    }

    /// What is held of the chain, for a source that can go on from there.
    pub const fn held(&self) -> Held<'_> {
        Held { store: &self.store, first: self.first, judged: self.judged }
    }

    /// Takes a chain to its end, and waits until everything is judged.
    ///
    /// # Errors
    ///
    /// When the source or the verifier itself cannot go on.
    pub fn verify_chain(mut self, source: &mut dyn BlockSource) -> Result<(), VerifyError> {
        while let Some(event) = source.next_event().map_err(VerifyError::Source)? {
            self.take(event)?;
        }
        self.finish()
    }

    /// Takes the next event of the chain.
    ///
    /// # Errors
    ///
    /// When the verifier itself cannot go on. What a candidate does is never an error.
    pub fn take(&mut self, event: ChainEvent) -> Result<(), VerifyError> {
        match event {
            ChainEvent::Committed(block) => self.verify_block(*block),
            ChainEvent::Reverted { to } => self.revert(to),
            ChainEvent::AnsweredAgain(again) => Ok(self.judge.submit_again(*again)?),
            ChainEvent::Idle => Ok(()),
        }
    }

    /// Whether the last block had its verdict before it was taken: then nothing was done about it.
    pub const fn has_passed_over(&self) -> bool {
        self.is_known
    }

    /// The way of a block.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn verify_block(&mut self, committed: CommittedBlock) -> Result<(), VerifyError> {
        let CommittedBlock { block, mut answers } = committed;
        let place = BlockRef { topoheight: block.topoheight, hash: block.hash };
        self.is_known = self.was_judged(place)?;
        if self.is_known {
            return Ok(());
        }
        let stable = answers.stable;
        let before = answers.before.take().map(|before| *before);
        let parent = self.parent_of(place.topoheight, &answers, before.as_ref())?;
        let before = before.unwrap_or_default();
        let prepared = self.prepare(block, &before.facts, &before.executed)?;
        let pre_state = Arc::new(PreState::resolve(&prepared.named_keys, &parent)?);
        let (control, serial) = timed(|| control(&prepared, &pre_state));
        let told = Told::of_block(&prepared.executable);
        let checked = || control.and_then(|control| sound(control, &prepared, &pre_state, &told));
        let clock = &self.judge.progress().compare_clock;
        let (control, check) = timed(|| clock.run(place.topoheight, checked));
        let step = match control {
            Ok(control) => self.after_control(&prepared, control, &parent, &answers)?,
            Err(reason) => {
                ask_if_nobody_did(&prepared, &mut answers);
                self.after_no_control(&prepared, reason, &parent, &answers)?
            }
        };
        drop(parent);
        let block = BlockCommit { base: before.base, ..step.commit };
        // The judge does the other half of it before anything is said about the block.
        let (staged, staging) = timed(|| self.store.stage(block));
        let staged = staged?;
        if step.blind {
            self.blind_since = Some(place.topoheight);
        }
        let case = Case {
            told,
            block: Arc::new(prepared.executable),
            pre_state,
            finding: step.finding,
            node: step.node,
            node_counts: step.node_counts,
            conservation_unchecked: step.conservation_unchecked,
            quirks: prepared.quirks,
            blind: step.blind,
            stable,
            serial,
            check,
            staging,
        };
        Ok(self.judge.submit(case, staged)?)
    }

    /// After the last event: waits until everything is judged, and ends the judge.
    ///
    /// # Errors
    ///
    /// What the judge failed with, if it did; or that the store went another way than the source to
    /// its end.
    pub fn finish(mut self) -> Result<(), VerifyError> {
        let other = self.other.take();
        self.stop()?;
        other.map_or(Ok(()), |other| Err(other.error()))
    }

    /// The same before the last event: whether the source would have come round to what the store
    /// holds is then not known.
    ///
    /// # Errors
    ///
    /// What the judge failed with, if it did.
    pub fn stop(self) -> Result<(), VerifyError> {
        self.judge.finish()?;
        Ok(self.store.flush()?)
    }

    /// The same at once: what waits for its verdict gets none, and is judged by the next verifier.
    ///
    /// # Errors
    ///
    /// What the judge failed with, if it did.
    pub fn abandon(self) -> Result<(), VerifyError> {
        self.judge.abandon();
        self.stop()
    }

    /// The verdicts above `to` become stale: kept, but no longer counted.
    fn revert(&mut self, to: TopoHeight) -> Result<(), VerifyError> {
        if let Some(other) = self.other.take() {
            // The store left that branch before, so there is nothing to roll back.
            self.other = other.after_revert(to);
            return Ok(());
        }
        self.judge.settle()?;
        self.store.rollback(Some(to)).map_err(|error| match error {
            StoreError::BelowView { oldest, .. } => VerifyError::DeepReOrder { to, oldest },
            error => error.into(),
        })?;
        mark_stale(&self.store, to.next())?;
        // Everything that stands has a verdict, and what the ledger says of it is known already.
        self.judged = self.judged.min(Some(to));
        if self.blind_since > Some(to) {
            self.blind_since = Judged::read(&self.store)?.blind_since;
        }
        Ok(())
    }

    /// Whether there is nothing to judge: the ledger has a verdict on exactly this block already, or
    /// the store went another way here or below.
    fn was_judged(&mut self, place: BlockRef) -> Result<bool, VerifyError> {
        if let Some(other) = &mut self.other {
            return other.pass_over_one().map(|()| true);
        }
        match self.held_at(place.topoheight)? {
            Some(held) if held != place.hash => {
                self.other = Some(OtherBranch::new(place, held));
                Ok(true)
            }
            held => Ok(held.is_some() && self.judged >= Some(place.topoheight)),
        }
    }

    /// The block that the store holds in a position, by its verdict or, without one, by itself.
    fn held_at(&self, at: TopoHeight) -> Result<Option<BlockHash>, VerifyError> {
        if self.judged >= Some(at) {
            return Ok(entry_at(&self.store, at)?.map(|entry| entry.block_hash));
        }
        let last = self.store.facts_before(at, 1).pop();
        Ok(last.filter(|(block, _)| block.topoheight == at).map(|(block, _)| block.hash))
    }

    fn parent_of(
        &mut self,
        topoheight: TopoHeight,
        answers: &NodeAnswers,
        before: Option<&BeforeStart>,
    ) -> Result<KnownState, VerifyError> {
        let first = *self.first.get_or_insert(topoheight);
        let snapshot = match topoheight.previous() {
            Some(parent) if first < topoheight => self.store.snapshot_at(parent)?,
            _ => self.store.base_snapshot()?,
        };
        let parent = KnownState::new(snapshot, self.blind_since, Arc::clone(&answers.walked));
        Ok(match before {
            Some(before) => parent.of_followed(before),
            None => parent,
        })
    }

    /// `facts` and `executed` are of the time before the first block that was taken.
    fn prepare(
        &self,
        block: Block,
        facts: &[(BlockRef, BlockFacts)],
        executed: &[TxHash],
    ) -> Result<PreparedBlock, VerifyError> {
        let topoheight = block.topoheight;
        let mut previous = topoheight
            .previous()
            .map(|parent| self.store.facts_before(parent, SIDE_BLOCK_WINDOW))
            .unwrap_or_default();
        let missing = SIDE_BLOCK_WINDOW.saturating_sub(previous.len());
        let older = facts.iter().filter(|(block, _)| {
            Some(block.topoheight) < self.first && block.topoheight < topoheight
        });
        let older: Vec<_> = older.copied().collect();
        previous.splice(0..0, older.into_iter().rev().take(missing).rev());
        // Without its parent a block would be rewarded as if nothing had been emitted yet.
        if previous.is_empty()
            && let Some(parent) = topoheight.previous()
        {
            return Err(VerifyError::NoParent(parent));
        }
        let was_executed = |transaction: &TxHash| {
            // A block that is judged again after a crash is in the store itself.
            self.store.executed_at(transaction).is_some_and(|executed| executed < topoheight)
                || executed.contains(transaction)
        };
        let chain = ChainSoFar { dev: self.identity.dev, previous: &previous, was_executed };
        Ok(prepare(block, &chain))
    }

    /// After a control: the node is held against it, and where it differs the state follows the
    /// node, so that one difference is not found again in every block after it.
    fn after_control(
        &self,
        prepared: &PreparedBlock,
        control: SoundControl,
        parent: &KnownState,
        answers: &NodeAnswers,
    ) -> Result<Step, VerifyError> {
        let mut facts = prepared.facts;
        facts.burned_supply = facts
            .burned_supply
            .and_then(|burned| burned.checked_add(control.control.execution.totals.burned));
        let node = match self.node {
            NodeCheck::Ignore => None,
            NodeCheck::Compare => {
                let compared = Compared {
                    block: &prepared.executable,
                    claimed: &prepared.claimed,
                    named_keys: &prepared.named_keys,
                    control: &control.control.execution,
                    parent,
                    burned_supply: facts.burned_supply,
                    emitted_supply: facts.emitted_supply,
                    history: self,
                };
                let findings = compare_answers(compared, answers)?;
                // As with the state: the next block is judged by what the node goes on from.
                facts.emitted_supply = prepared.claimed.supply;
                facts.burned_supply = answers.burned_supply.or(facts.burned_supply);
                Some(findings)
            }
        };
        let answers = node.is_some().then_some(answers);
        let execution = &control.control.execution;
        let commit = BlockCommit {
            correction: node.as_ref().map(|node| node.correction.clone()).unwrap_or_default(),
            executed: executed_transactions(execution, answers),
            ..BlockCommit::new(prepared.executable.block, facts, execution.delta.clone())
        };
        Ok(Step {
            commit,
            node_counts: node.as_ref().map(|node| node.counts).unwrap_or_default(),
            conservation_unchecked: control.leaky_assets,
            finding: Finding::Control(Box::new(control.control)),
            node,
            blind: false,
        })
    }

    /// Without a control nothing is claimed, and the state is taken from the node.
    fn after_no_control(
        &self,
        prepared: &PreparedBlock,
        reason: NoControl,
        parent: &KnownState,
        answers: &NodeAnswers,
    ) -> Result<Step, VerifyError> {
        let taken = take_state(&prepared.executable, &prepared.named_keys, parent, answers)?;
        let TakenState { writes, unknown, executed, burned, blind, taken, not_asked } = taken;
        let mut facts = prepared.facts;
        facts.emitted_supply = prepared.claimed.supply;
        let burned_supply =
            facts.burned_supply.zip(burned).and_then(|(supply, burned)| supply.checked_add(burned));
        facts.burned_supply = answers.burned_supply.or(burned_supply);
        let commit = BlockCommit {
            unknown,
            executed,
            ..BlockCommit::new(prepared.executable.block, facts, writes)
        };
        let finding = match reason {
            NoControl::Opaque(kind) => Finding::Opaque(kind),
            NoControl::Inconclusive(reason) => Finding::Inconclusive(reason),
        };
        // A node that is on trial has a verdict on this block too, if only that there is none.
        let node = (self.node == NodeCheck::Compare).then(NodeFindings::default);
        let node_counts = NodeCounts { taken, not_asked, ..NodeCounts::default() };
        Ok(Step { commit, finding, node, node_counts, conservation_unchecked: 0, blind })
    }
}

impl History for Verifier {
    fn first(&self) -> TopoHeight {
        first_after_base(self.first.unwrap_or(TopoHeight::GENESIS))
    }

    fn was_executed_here(&self, at: TopoHeight) -> bool {
        // The block may wait for its verdict.
        let entry = match self.judge.settle() {
            Ok(()) => entry_at(&self.store, at).ok().flatten(),
            Err(_) => None,
        };
        entry.is_some_and(|entry| {
            !matches!(entry.severity(), Severity::Opaque | Severity::Inconclusive)
        })
    }

    fn wrote_itself(&self, at: TopoHeight, key: &StateKey) -> bool {
        let is_written = self.store.tip().is_some_and(|tip| at <= tip.block.topoheight);
        if !is_written && self.judge.settle().is_err() {
            return true;
        }
        match self.store.block(at) {
            Ok(Some(block)) => block.commit.correction.get(key).is_none(),
            // It was folded away long ago, and what was wrong there was found there.
            _ => true,
        }
    }
}

/// A block that turned out to have no control has its state taken from the node, which nobody may have
/// asked about it.
fn ask_if_nobody_did(prepared: &PreparedBlock, answers: &mut NodeAnswers) {
    if answers.versions.is_empty()
        && let Some(later) = answers.ask_later.take()
    {
        *answers = later.about(&prepared.executable, &prepared.named_keys);
    }
}

/// What is committed for a block, and what is judged.
struct Step {
    commit: BlockCommit,
    finding: Finding,
    node: Option<NodeFindings>,
    node_counts: NodeCounts,
    conservation_unchecked: u64,
    blind: bool,
}

/// A control that keeps every rule that can be told from the block alone.
struct SoundControl {
    control: Control,
    /// How many assets it touched of which it cannot be told whether they were conserved.
    leaky_assets: u64,
}

/// Why a block has no control.
enum NoControl {
    Opaque(OpaqueKind),
    Inconclusive(Inconclusive),
}

fn control(prepared: &PreparedBlock, pre_state: &PreState) -> Result<Control, NoControl> {
    if let Some(kind) = &prepared.opaque {
        return Err(NoControl::Opaque(kind.clone()));
    }
    let executed =
        catch_unwind(AssertUnwindSafe(|| SerialExecutor.control(&prepared.executable, pre_state)));
    Err(NoControl::Inconclusive(match executed {
        Ok(Ok(control)) => return Ok(control),
        Ok(Err(ControlError::Read(ReadError::Unknown(key)))) => Inconclusive::UnknownState(key),
        Ok(Err(error)) => Inconclusive::ControlFailed(error.to_string()),
        Err(panic) => Inconclusive::ControlFailed(panic_message(&*panic)),
    }))
}

/// Two executions that are wrong in the same way agree with each other, so the control has to keep
/// what can be told from the block alone before anybody is compared with it.
fn sound(
    control: Control,
    prepared: &PreparedBlock,
    pre_state: &PreState,
    told: &[Told],
) -> Result<SoundControl, NoControl> {
    let mut unnamed = None;
    let before = |key: &StateKey, place: Option<usize>| {
        let before = place.and_then(|place| pre_state.before_at(place, key));
        Ok(before.unwrap_or_else(|| {
            unnamed.get_or_insert(*key);
            Before::Nothing
        }))
    };
    let placed = Placed { block: &prepared.executable, pre_state, told };
    let found = check_by(&control.execution, before, &placed);
    if let Some(key) = unnamed {
        let message = format!("it wrote {key}, which the block does not name");
        return Err(NoControl::Inconclusive(Inconclusive::ControlInvariant(message)));
    }
    match found {
        Ok(found) => match found.broken() {
            Some(reason) => Err(NoControl::Inconclusive(reason)),
            None => {
                let leaky_assets = found.leaky_assets.len() as u64;
                Ok(SoundControl { control, leaky_assets })
            }
        },
        Err(error) => Err(NoControl::Inconclusive(Inconclusive::ControlFailed(error.to_string()))),
    }
}

/// Makes the store be about the chain that `source` yields, or makes sure that it is.
///
/// # Errors
///
/// When it is about another chain, or cannot be used.
pub(crate) fn claim(store: &Store, source: &dyn BlockSource) -> Result<(), VerifyError> {
    let identity = source.identity();
    match store.identity()? {
        // The identity comes last: once it is there the base is complete.
        None => {
            store.seed(&source.base())?;
            let bytes = serde_json::to_vec(identity).map_err(VerifyError::Identity)?;
            Ok(store.set_identity(&bytes)?)
        }
        Some(bytes) => {
            let held: ChainIdentity =
                serde_json::from_slice(&bytes).map_err(VerifyError::Identity)?;
            if held == *identity {
                return Ok(());
            }
            let (held, offered) = (Box::new(held), Box::new(identity.clone()));
            Err(VerifyError::OtherChain { held, offered })
        }
    }
}

/// Takes back the blocks that an earlier run left without a verdict. Whoever comes to them judges them anew, and
/// whoever ends before them leaves nothing that nobody knows of.
fn forget_unjudged(store: &Store, judged: Option<TopoHeight>) -> Result<(), VerifyError> {
    if store.tip().map(|tip| tip.block.topoheight) <= judged {
        return Ok(());
    }
    for entry in entries(store, judged.map_or(TopoHeight::GENESIS, TopoHeight::next)) {
        // A verdict is missing below one that is there: that is for whoever reads the ledger to name.
        if !entry?.stale {
            return Ok(());
        }
    }
    match store.rollback(judged) {
        // They are too old to be taken back, so they stay to be judged.
        Ok(_) | Err(StoreError::BelowView { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Marks the verdicts from a topoheight on as those of blocks that are not there any more.
fn mark_stale(store: &Store, from: TopoHeight) -> Result<(), VerifyError> {
    let mut stale = Vec::new();
    for entry in entries(store, from) {
        let mut entry = entry?;
        if !entry.stale {
            entry.stale = true;
            stale.push(entry);
        }
    }
    let depth = stale.len() as u64;
    let Some(first) = stale.first_mut() else { return Ok(()) };
    first.stale_depth = depth;
    let encoded = |entry: &LedgerEntry| Ok((entry.topoheight, entry.encode()?));
    let stale: Vec<_> = stale.iter().map(encoded).collect::<Result<_, LedgerError>>()?;
    store.put_ledgers(&stale)?;
    Ok(store.flush()?)
}

/// What the ledger says about where to go on.
struct Judged {
    /// The first block that was ever taken.
    first: Option<TopoHeight>,
    /// The last block of the unbroken run of verdicts that the ledger begins with.
    through: Option<TopoHeight>,
    /// The last of them that may have paid accounts that nobody knows of.
    blind_since: Option<TopoHeight>,
}

impl Judged {
    fn read(store: &Store) -> Result<Self, VerifyError> {
        let mut judged = Self { first: None, through: None, blind_since: None };
        for entry in entries(store, TopoHeight::GENESIS) {
            let entry = entry?;
            judged.first = judged.first.or(Some(entry.topoheight));
            let expected = judged.through.map_or(entry.topoheight, TopoHeight::next);
            if entry.topoheight != expected || entry.stale {
                break;
            }
            judged.through = Some(entry.topoheight);
            if entry.blind {
                judged.blind_since = Some(entry.topoheight);
            }
        }
        if judged.first.is_none()
            && let Some(tip) = store.tip()
        {
            // Nothing is forgotten of blocks that have no verdict.
            let all = store.facts_before(tip.block.topoheight, usize::MAX);
            judged.first = all.first().map(|(block, _)| block.topoheight);
        }
        Ok(judged)
    }
}
