//! The chain of the self-test: its blocks with their controls, executed once and used by all.

use std::{collections::HashSet, sync::Arc};

use comparator::{Execution, Inconclusive, Status, check};
use storage_snapshot::{
    Amount, AssetId, BlockFacts, BlockRef, MemoryState, StateKey, StateRead, StateValue,
    TopoHeight, TxHash,
};

use super::{Options, SelftestError};
use crate::{
    chain::{Block, TransactionData},
    execute::{ExecutableBlock, PreState, SerialExecutor},
    prepare::{ChainSoFar, prepare},
    rules::SIDE_BLOCK_WINDOW,
    source::{BlockSource, ChainEvent, GeneratedChain, GeneratedOptions, Profile},
};

/// A block, what it starts from, and what comes out of it.
pub(super) struct Case {
    pub(super) block: Arc<ExecutableBlock>,
    pub(super) pre_state: Arc<PreState>,
    pub(super) control: Execution,
}

/// The first blocks of a generated chain, those that are ordered away later included.
pub(super) fn cases(options: &Options) -> Result<Vec<Case>, SelftestError> {
    let mut walk = Walk::new(GeneratedChain::new(GeneratedOptions {
        profile: Profile::Everything,
        seed: options.seed,
        blocks: options.blocks,
        transactions_per_block: options.transactions_per_block,
        conflict_rate: CONFLICT_RATE,
    }));
    let mut cases = Vec::new();
    while (cases.len() as u64) < options.blocks
        && let Some(case) = walk.next_case()?
    {
        let overdrafts =
            if cases.len() % OVERDRAFT_EVERY == 0 { overdrafts(&case)? } else { vec![] };
        cases.push(case);
        cases.extend(overdrafts);
    }
    cases.truncate(usize::try_from(options.blocks).unwrap_or(usize::MAX));
    Ok(cases)
}

/// A chain, executed serially in memory.
struct Walk {
    chain: GeneratedChain,
    state: MemoryState,
    facts: Vec<(BlockRef, BlockFacts)>,
    executed: HashSet<TxHash>,
    /// How to take each block back.
    done: Vec<Undo>,
}

/// What a block replaced and executed.
struct Undo {
    values: Vec<(StateKey, Option<StateValue>)>,
    executed: Vec<TxHash>,
}

impl Walk {
    fn new(chain: GeneratedChain) -> Self {
        let mut state = MemoryState::new();
        state.apply(&chain.base());
        Self { chain, state, facts: Vec::new(), executed: HashSet::new(), done: Vec::new() }
    }

    fn next_case(&mut self) -> Result<Option<Case>, SelftestError> {
        loop {
            match self.chain.next_event().map_err(SelftestError::Source)? {
                Some(ChainEvent::Committed(committed)) => {
                    return self.execute(committed.block).map(Some);
                }
                Some(ChainEvent::Reverted { to }) => self.go_back(to),
                Some(ChainEvent::AnsweredAgain(_) | ChainEvent::Idle) => {}
                None => return Ok(None),
            }
        }
    }

    fn execute(&mut self, block: Block) -> Result<Case, SelftestError> {
        let recent = self.facts.len().saturating_sub(SIDE_BLOCK_WINDOW);
        let chain = ChainSoFar {
            dev: self.chain.identity().dev,
            previous: self.facts.get(recent..).unwrap_or_default(),
            was_executed: |hash: &TxHash| self.executed.contains(hash),
        };
        let prepared = prepare(block, &chain);
        let pre_state = PreState::resolve(&prepared.named_keys, &self.state);
        let case = judge(prepared.executable, Arc::new(pre_state.map_err(SelftestError::Read)?))?;

        let delta = &case.control.delta;
        let before = |key: &StateKey| Ok((*key, self.state.read(key)?));
        let values: Result<_, _> = delta.keys().map(before).collect();
        let outcomes = case.control.outcomes.iter();
        let executed = outcomes.filter(|outcome| outcome.status == Status::Executed);
        let executed: Vec<_> = executed.map(|outcome| outcome.hash).collect();
        self.state.apply(delta);
        self.facts.push((case.block.block, prepared.facts));
        self.executed.extend(&executed);
        self.done.push(Undo { values: values.map_err(SelftestError::Read)?, executed });
        Ok(case)
    }

    fn go_back(&mut self, to: TopoHeight) {
        while self.facts.last().is_some_and(|(block, _)| block.topoheight > to) {
            self.facts.pop();
            let Some(undo) = self.done.pop() else { return };
            for (key, value) in undo.values {
                self.state.set(key, value);
            }
            for hash in undo.executed {
                self.executed.remove(&hash);
            }
        }
    }
}

/// Executes a block serially and sees to it that the result keeps the rules.
fn judge(block: ExecutableBlock, pre_state: Arc<PreState>) -> Result<Case, SelftestError> {
    let control = SerialExecutor
        .control(&block, &pre_state)
        .map_err(|error| SelftestError::Control(Inconclusive::ControlFailed(error.to_string())))?;
    let control = control.execution;
    match broken_rule(&control, &pre_state, &block)? {
        Some(reason) => Err(SelftestError::Control(reason)),
        None => Ok(Case { block: Arc::new(block), pre_state, control }),
    }
}

/// Which rules a result of the control breaks, so that nothing can be compared with it.
pub(super) fn broken_rule(
    control: &Execution,
    pre_state: &PreState,
    block: &ExecutableBlock,
) -> Result<Option<Inconclusive>, SelftestError> {
    let rules = check(control, pre_state, block).map_err(SelftestError::Read)?;
    Ok(rules.broken())
}

/// The block as it would be if somebody spent what they do not have, once by a unit and once by as
/// much as there can be. Nobody does so in a generated chain, so it does not go on from here.
fn overdrafts(case: &Case) -> Result<Vec<Case>, SelftestError> {
    let position = case.block.transactions.iter().rposition(|transaction| {
        let body = &transaction.body;
        let is_paid = [case.block.miner, case.block.dev].contains(&body.source);
        !transaction.already_executed
            && !is_paid
            && matches!(&body.data, TransactionData::Transfers(transfers)
                if matches!(transfers.as_slice(), [only] if only.asset == AssetId::NATIVE))
    });
    let Some(position) = position else { return Ok(Vec::new()) };
    let source = case.block.transactions.get(position).map(|transaction| transaction.body.source);
    let balance = source.map(|source| StateKey::Balance(source, AssetId::NATIVE));
    let held = balance.map(|key| case.pre_state.read(&key)).transpose();
    let Ok(Some(Some(StateValue::Balance(held)))) = held else { return Ok(Vec::new()) };

    let altered = |amounts: &[Amount]| {
        let mut block = ExecutableBlock::clone(&case.block);
        if let Some(transaction) = block.transactions.get_mut(position)
            && let TransactionData::Transfers(transfers) = &mut transaction.body.data
            && let [only] = transfers.as_slice()
        {
            let to = only.clone();
            let outputs = amounts.iter().map(|amount| {
                let mut output = to.clone();
                output.amount = *amount;
                output
            });
            *transfers = outputs.collect();
        }
        judge(block, Arc::clone(&case.pre_state))
    };
    let most = Amount::new(u64::MAX);
    Ok(vec![altered(&[held.saturating_add(Amount::new(1))])?, altered(&[most, most])?])
}

/// The share of plain transfers that meet in one busy account, as in a soak.
const CONFLICT_RATE: f64 = 0.2;

/// So often a block is also executed with overdrafts.
const OVERDRAFT_EVERY: usize = 8;
