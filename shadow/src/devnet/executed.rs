//! Blocks that nobody recorded: each is executed on the state that is served so far, by the control
//! or by an executor that is wrong on purpose, and that leaves its versions.

use std::{collections::HashSet, sync::Arc};

use comparator::{Execution, Status};
use serde_json::{Map, Value};
use storage_snapshot::{Address, AssetId, StateKey, StateValue, TxHash};

use super::{
    DevnetError, DevnetOptions,
    served_block::ServedBlock,
    served_chain::{NextBlock, ServedChain},
    versions::{Movement, Version},
};
#[cfg(feature = "faults")]
use crate::execute::parallel::ParallelExecutor;
use crate::{
    chain::{Block, TransactionData, block_to_json},
    execute::{ExecutableBlock, PreState, SerialExecutor},
    prepare::{ChainSoFar, prepare},
    source::SourceError,
};

/// Who executes.
#[derive(Debug)]
pub(super) enum Engine {
    /// The control.
    Serial,
    /// A planted fault.
    #[cfg(feature = "faults")]
    Mutant(Box<crate::faults::MutantExecutor>),
}

/// Executes a block on the state that is served, on top of the last block.
pub(super) fn execute(
    engine: &Engine,
    dev: Address,
    block: Block,
    chain: &ServedChain,
) -> Result<NextBlock, DevnetError> {
    let recent = chain.recent_facts();
    let so_far = ChainSoFar {
        dev,
        previous: &recent,
        was_executed: |hash: &TxHash| chain.executed_in(hash).is_some(),
    };
    let mut shown = block.clone();
    let prepared = prepare(block, &so_far);
    let pre_state = PreState::resolve(&prepared.named_keys, &chain.versions)
        .map_err(|error| DevnetError::Source(SourceError::Input(Box::new(error))))?;
    let (executable, pre_state) = (Arc::new(prepared.executable), Arc::new(pre_state));
    let execution = engine.execute(&executable, &pre_state)?;

    let mut facts = prepared.facts;
    let mut next_versions = Vec::new();
    let mut executed = Vec::new();
    // A node that came to no result has written nothing.
    if let Some(execution) = &execution {
        shown.claimed.total_fees = Some(execution.totals.fees);
        facts.burned_supply =
            facts.burned_supply.and_then(|burned| burned.checked_add(execution.totals.burned));
        let outcomes = execution.outcomes.iter();
        let is_executed = |status: &Status| *status == Status::Executed;
        executed = outcomes
            .filter(|outcome| is_executed(&outcome.status))
            .map(|outcome| outcome.hash)
            .collect();
        next_versions = versions(&executable, execution, chain);
    }
    let json = whole_json(&shown)?;
    Ok(NextBlock {
        block: ServedBlock::new(&shown, facts, json)?,
        versions: next_versions,
        executed,
        outputs: Vec::new(),
    })
}

impl Engine {
    /// Whoever the options name; the control if they name nobody.
    pub(super) fn open(options: &DevnetOptions) -> Result<Self, DevnetError> {
        #[cfg(feature = "faults")]
        if let Some(name) = &options.faulty_parallel {
            return Self::mutant(name);
        }
        let _unused = options;
        Ok(Self::Serial)
    }

    #[cfg(feature = "faults")]
    fn mutant(name: &str) -> Result<Self, DevnetError> {
        let found = crate::faults::catalogue().find(|mutant| mutant.name == name);
        let refused = |reason| Err(DevnetError::Fault(format!("--faulty-parallel: {reason}")));
        match found {
            None => {
                refused(format!("there is no fault {name}; `shadow selftest` names all of them"))
            }
            Some(mutant) if mutant.hangs() => {
                refused(format!("{name} never comes to a result that could be served"))
            }
            Some(mutant) => {
                let engine = ParallelExecutor::new(MUTANT_WORKERS as usize);
                let engine = Arc::new(engine.map_err(DevnetError::Thread)?);
                Ok(Self::Mutant(Box::new(mutant.executor(engine))))
            }
        }
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
    ) -> Result<Option<Execution>, DevnetError> {
        Ok(match self {
            Self::Serial => {
                let control = SerialExecutor.control(block, pre_state);
                let control = control.map_err(|error| SourceError::Input(Box::new(error)))?;
                Some(control.execution)
            }
            #[cfg(feature = "faults")]
            Self::Mutant(mutant) => {
                let schedule = comparator::Schedule { workers: MUTANT_WORKERS, seed: 0 };
                let (observation, _) =
                    crate::observe::observe(&**mutant, block, pre_state, schedule);
                observation.result.ok()
            }
        })
    }
}

/// The writes of a block with what a node keeps beside each.
fn versions(
    block: &ExecutableBlock,
    execution: &Execution,
    chain: &ServedChain,
) -> Vec<(StateKey, Version)> {
    let spent = spent_from(block, execution);
    let writes = execution.delta.iter().map(|(key, value)| {
        let before = chain.versions.newest(key);
        let mut version = Version::new(value.cloned(), before.map(|(at, _)| at));
        if spent.contains(key) {
            version.movement = Movement::Both;
            version.output_balance = match before.and_then(|(_, version)| version.value.as_ref()) {
                Some(StateValue::Balance(amount)) => Some(*amount),
                _ => None,
            };
        }
        (*key, version)
    });
    writes.collect()
}

/// The balances that a block spent from.
fn spent_from(block: &ExecutableBlock, execution: &Execution) -> HashSet<StateKey> {
    let skipped: HashSet<_> = execution
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome.status, Status::Skipped(_)))
        .map(|outcome| outcome.hash)
        .collect();
    let mut spent = HashSet::new();
    for transaction in &block.transactions {
        let body = &transaction.body;
        if skipped.contains(&body.hash) {
            continue;
        }
        spent.insert(StateKey::Balance(body.source, AssetId::NATIVE));
        match &body.data {
            TransactionData::Transfers(transfers) => {
                let assets = transfers.iter().map(|transfer| transfer.asset);
                spent.extend(assets.map(|asset| StateKey::Balance(body.source, asset)));
            }
            TransactionData::Burn { asset, .. } => {
                spent.insert(StateKey::Balance(body.source, *asset));
            }
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
    }
    spent
}

/// A block with the fields that only a node knows: nothing depends on them, but they are there.
fn whole_json(block: &Block) -> Result<Map<String, Value>, DevnetError> {
    let hash = block.hash;
    let text = block_to_json(block).map_err(|source| DevnetError::Block { block: hash, source })?;
    let mut fields: Map<String, Value> =
        serde_json::from_str(&text).map_err(|source| DevnetError::Json { block: hash, source })?;
    let mut size_bytes = EMPTY_BLOCK_BYTES;
    if let Some(Value::Array(shown)) = fields.get_mut("transactions") {
        for (shown, transaction) in shown.iter_mut().zip(&block.transactions) {
            let bytes = transaction.to_bytes().map_or(0, |bytes| bytes.len());
            size_bytes += bytes;
            if let Some(shown) = shown.as_object_mut() {
                shown.insert("size".to_owned(), bytes.into());
            }
        }
    }
    let blue_work = block.blue_score.as_u64().saturating_add(1).saturating_mul(DIFFICULTY);
    fields.insert("difficulty".to_owned(), DIFFICULTY.to_string().into());
    fields.insert("blue_work".to_owned(), format!("{blue_work:#x}").into());
    fields.insert("total_size_in_bytes".to_owned(), size_bytes.into());
    Ok(fields)
}

/// Of every block.
const DIFFICULTY: u64 = 1000;

/// What a recorded block without transactions takes.
const EMPTY_BLOCK_BYTES: usize = 295;

/// Two are enough for every fault to show.
#[cfg(feature = "faults")]
const MUTANT_WORKERS: u32 = 2;
