//! The verifier: takes a chain block by block, and finds out about each what there is to find out.
//!
//! [`Verifier::verify_block`] is the way of a block. Its first half has to happen in order, because
//! each block starts from the state that the one before left: that is done here. Its second half, the
//! candidates and the comparison, needs only what was resolved in the first, so the
//! [judge](crate::judge) does it meanwhile on another thread.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use comparator::{Inconclusive, OpaqueKind};
use storage_snapshot::{
    BlockCommit, BlockHash, BlockRef, ReadError, Snapshot, StateDelta, Store, StoreError,
    TopoHeight, TxHash,
};

use crate::{
    execute::{Control, ControlError, PreState, SerialExecutor},
    judge::{Case, Finding, Judge, JudgeError},
    known::KnownState,
    ledger::LedgerEntry,
    node::{Compared, NodeCheck, NodeFindings, compare_answers, executed_transactions},
    opaque::{TakenState, take_state},
    prepare::{ChainSoFar, PreparedBlock, prepare},
    rules::SIDE_BLOCK_WINDOW,
    source::{BlockSource, ChainEvent, ChainIdentity, CommittedBlock, NodeAnswers, SourceError},
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
        let identity = source.identity().clone();
        match store.identity()? {
            None => {
                store.seed(&source.base())?;
                let bytes = serde_json::to_vec(&identity).map_err(VerifyError::Encode)?;
                store.set_identity(&bytes)?;
            }
            Some(bytes) => {
                let held: ChainIdentity =
                    serde_json::from_slice(&bytes).map_err(VerifyError::Encode)?;
                if held != identity {
                    let (held, offered) = (held.name, identity.name);
                    return Err(VerifyError::OtherChain { held, offered });
                }
            }
        }
        let Ledger { judged, blind_since } = Ledger::read(&store)?;
        Ok(Self { store, identity, node, judge, judged, blind_since })
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
        }
    }

    /// The way of a block.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn verify_block(&mut self, committed: CommittedBlock) -> Result<(), VerifyError> {
        let CommittedBlock { block, answers } = committed;
        let place = BlockRef { topoheight: block.topoheight, hash: block.hash };
        if self.was_judged(place)? {
            return Ok(());
        }
        let parent = self.parent_of(place.topoheight)?;
        let parent = KnownState::new(parent, self.blind_since, Arc::clone(&answers.walked));
        let prepared = self.prepare(block);
        parent.prefetch(&prepared.named_keys);
        let pre_state = Arc::new(PreState::resolve(&prepared.named_keys, &parent)?);
        let (control, serial) = timed(|| control(&prepared, &pre_state));
        let step = match control {
            Ok(control) => self.after_control(&prepared, control, &parent, &answers)?,
            Err(reason) => after_no_control(&prepared, reason, &parent, &answers)?,
        };
        drop(parent);
        let (tip, commit) = timed(|| self.store.commit(step.commit));
        let digest = tip?.digest;
        if step.blind {
            self.blind_since = Some(place.topoheight);
        }
        self.judge.submit(Case {
            block: Arc::new(prepared.executable),
            pre_state,
            finding: step.finding,
            node: step.node,
            quirks: prepared.quirks,
            blind: step.blind,
            digest,
            serial,
            commit,
        })?;
        Ok(())
    }

    /// Waits until everything is judged, and ends the judge.
    ///
    /// # Errors
    ///
    /// What the judge failed with, if it did.
    pub fn finish(self) -> Result<(), VerifyError> {
        self.judge.finish()?;
        Ok(self.store.flush()?)
    }

    /// The verdicts above `to` become stale: kept, but no longer counted.
    fn revert(&mut self, to: TopoHeight) -> Result<(), VerifyError> {
        self.judge.settle()?;
        self.store.rollback(Some(to))?;
        let mut stale = Vec::new();
        for entry in self.store.ledger_range(to.next()..=TopoHeight::MAX) {
            let (topoheight, bytes) = entry?;
            let mut entry: LedgerEntry =
                serde_json::from_slice(&bytes).map_err(VerifyError::Encode)?;
            entry.stale = true;
            stale.push((topoheight, serde_json::to_vec(&entry).map_err(VerifyError::Encode)?));
        }
        for (topoheight, bytes) in stale {
            self.store.put_ledger(topoheight, &bytes)?;
        }
        Ledger { judged: self.judged, blind_since: self.blind_since } = Ledger::read(&self.store)?;
        Ok(())
    }

    /// Whether the ledger has a verdict on exactly this block already.
    fn was_judged(&self, place: BlockRef) -> Result<bool, VerifyError> {
        if self.judged.is_none_or(|judged| place.topoheight > judged) {
            return Ok(false);
        }
        let Some(bytes) = self.store.ledger(place.topoheight)? else { return Ok(false) };
        let entry: LedgerEntry = serde_json::from_slice(&bytes).map_err(VerifyError::Encode)?;
        if entry.block_hash != place.hash {
            return Err(VerifyError::OtherBlock { place, held: entry.block_hash });
        }
        Ok(!entry.stale)
    }

    fn parent_of(&self, topoheight: TopoHeight) -> Result<Snapshot, VerifyError> {
        Ok(match topoheight.previous() {
            Some(parent) => self.store.snapshot_at(parent)?,
            None => self.store.base_snapshot()?,
        })
    }

    fn prepare(&self, block: crate::chain::Block) -> PreparedBlock {
        let topoheight = block.topoheight;
        let previous = topoheight
            .previous()
            .map(|parent| self.store.facts_before(parent, SIDE_BLOCK_WINDOW))
            .unwrap_or_default();
        let was_executed = |transaction: &TxHash| {
            // A block that is judged again after a crash is in the store itself.
            self.store.executed_at(transaction).is_some_and(|executed| executed < topoheight)
        };
        prepare(block, &ChainSoFar { dev: self.identity.dev, previous: &previous, was_executed })
    }

    /// After a control: the node is held against it, and where it differs the state follows the
    /// node, so that one difference is not found again in every block after it.
    fn after_control(
        &self,
        prepared: &PreparedBlock,
        control: Control,
        parent: &KnownState,
        answers: &NodeAnswers,
    ) -> Result<Step, VerifyError> {
        let mut facts = prepared.facts;
        facts.burned_supply = facts
            .burned_supply
            .and_then(|burned| burned.checked_add(control.execution.totals.burned));
        let node = match self.node {
            NodeCheck::Ignore => None,
            NodeCheck::Compare => {
                let compared = Compared {
                    block: &prepared.executable,
                    claimed: &prepared.claimed,
                    named_keys: &prepared.named_keys,
                    control: &control.execution,
                    parent,
                    burned_supply: facts.burned_supply,
                };
                facts.emitted_supply = prepared.claimed.supply;
                Some(compare_answers(compared, answers)?)
            }
        };
        let answers = node.is_some().then_some(answers);
        let commit = BlockCommit {
            block: prepared.executable.block,
            facts,
            delta: control.execution.delta.clone(),
            correction: node.as_ref().map(|node| node.correction.clone()).unwrap_or_default(),
            unknown: Vec::new(),
            executed: executed_transactions(&control.execution, answers),
        };
        Ok(Step { commit, finding: Finding::Control(Box::new(control)), node, blind: false })
    }
}

/// What is committed for a block, and what is judged.
struct Step {
    commit: BlockCommit,
    finding: Finding,
    node: Option<NodeFindings>,
    blind: bool,
}

/// Why a block has no control.
enum NoControl {
    Opaque(OpaqueKind),
    Failed(ControlError),
}

fn control(prepared: &PreparedBlock, pre_state: &PreState) -> Result<Control, NoControl> {
    match &prepared.opaque {
        Some(kind) => Err(NoControl::Opaque(kind.clone())),
        None => SerialExecutor.control(&prepared.executable, pre_state).map_err(NoControl::Failed),
    }
}

/// Without a control nothing is claimed, and the state is taken from the node.
fn after_no_control(
    prepared: &PreparedBlock,
    reason: NoControl,
    parent: &KnownState,
    answers: &NodeAnswers,
) -> Result<Step, VerifyError> {
    let taken = take_state(&prepared.executable, &prepared.named_keys, parent, answers)?;
    let TakenState { writes, unknown, executed, burned, blind, taken, not_asked } = taken;
    let mut facts = prepared.facts;
    facts.emitted_supply = prepared.claimed.supply;
    facts.burned_supply =
        facts.burned_supply.zip(burned).and_then(|(supply, burned)| supply.checked_add(burned));
    let commit = BlockCommit {
        block: prepared.executable.block,
        facts,
        delta: writes,
        correction: StateDelta::new(),
        unknown,
        executed,
    };
    let mut node = NodeFindings::default();
    node.counts.taken = taken;
    node.counts.not_asked = not_asked;
    let finding = match reason {
        NoControl::Opaque(kind) => Finding::Opaque(kind),
        NoControl::Failed(ControlError::Read(ReadError::Unknown(key))) => {
            Finding::Inconclusive(Inconclusive::UnknownState(key))
        }
        NoControl::Failed(error) => {
            Finding::Inconclusive(Inconclusive::ControlFailed(error.to_string()))
        }
    };
    Ok(Step { commit, finding, node: Some(node), blind })
}

/// What the ledger says about where to go on.
struct Ledger {
    judged: Option<TopoHeight>,
    blind_since: Option<TopoHeight>,
}

impl Ledger {
    /// Reads the unbroken run of verdicts that the ledger begins with.
    fn read(store: &Store) -> Result<Self, VerifyError> {
        let mut found = Self { judged: None, blind_since: None };
        for entry in store.ledger_range(TopoHeight::GENESIS..=TopoHeight::MAX) {
            let (topoheight, bytes) = entry?;
            let entry: LedgerEntry = serde_json::from_slice(&bytes).map_err(VerifyError::Encode)?;
            let expected = found.judged.map_or(topoheight, TopoHeight::next);
            if topoheight != expected || entry.stale {
                break;
            }
            found.judged = Some(topoheight);
            if entry.blind {
                found.blind_since = Some(topoheight);
            }
        }
        Ok(found)
    }
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Why the verifier cannot go on.
#[derive(Debug)]
#[non_exhaustive]
pub enum VerifyError {
    /// The source of blocks failed.
    Source(SourceError),
    /// The store failed.
    Store(StoreError),
    /// State could not be read.
    Read(ReadError),
    /// The judge failed.
    Judge(JudgeError),
    /// The state directory is about another chain.
    OtherChain {
        /// What it is about.
        held: String,
        /// What it was opened for.
        offered: String,
    },
    /// The state directory has another block at this position.
    OtherBlock {
        /// The block that was offered.
        place: BlockRef,
        /// The hash of the block that is there.
        held: BlockHash,
    },
    /// The ledger has no entry where it should have one.
    NoEntry(TopoHeight),
    /// What the store holds cannot be read, or written, as what it should be.
    Encode(serde_json::Error),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
            Self::Judge(error) => error.fmt(f),
            Self::OtherChain { held, offered } => write!(
                f,
                "the state directory is about {held}, not about {offered}; use another --state-dir"
            ),
            Self::OtherBlock { place, held } => write!(
                f,
                "the state directory has block {held} at topoheight {}, the input has {}; it is \
                 about another chain, use another --state-dir",
                place.topoheight, place.hash
            ),
            Self::NoEntry(topoheight) => {
                write!(f, "the ledger has no entry for topoheight {topoheight}")
            }
            Self::Encode(error) => {
                write!(f, "an entry of the state directory is not what it should be: {error}")
            }
        }
    }
}

impl std::error::Error for VerifyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Source(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Read(error) => Some(error),
            Self::Judge(error) => Some(error),
            Self::Encode(error) => Some(error),
            Self::OtherChain { .. } | Self::OtherBlock { .. } | Self::NoEntry(_) => None,
        }
    }
}

impl From<SourceError> for VerifyError {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::OtherBlock { committed, offered } => Self::OtherBlock {
                place: BlockRef { hash: offered, ..committed },
                held: committed.hash,
            },
            error => Self::Store(error),
        }
    }
}

impl From<ReadError> for VerifyError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<JudgeError> for VerifyError {
    fn from(error: JudgeError) -> Self {
        Self::Judge(error)
    }
}
