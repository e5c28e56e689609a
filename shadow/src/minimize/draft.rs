//! A case on its way to being small.

use std::{collections::BTreeMap, sync::Arc};

use comparator::Schedule;
use storage_snapshot::{StateKey, StateValue};

use super::Case;
use crate::{
    chain::{TransactionData, Transfer},
    execute::{ExecutableBlock, ExecutableTransaction, PreState},
};

/// A block and a state that can be altered.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) block: ExecutableBlock,
    pub(super) state: BTreeMap<StateKey, StateValue>,
    pub(super) schedule: Schedule,
}

impl Draft {
    pub(super) fn of(case: &Case) -> Self {
        let state = case.pre_state.iter().map(|(key, value)| (key, value.clone())).collect();
        Self { block: ExecutableBlock::clone(&case.block), state, schedule: case.schedule }
    }

    pub(super) fn case(&self) -> Case {
        Case {
            block: Arc::new(self.block.clone()),
            pre_state: Arc::new(self.pre_state()),
            schedule: self.schedule,
        }
    }

    pub(super) fn pre_state(&self) -> PreState {
        self.state.iter().map(|(key, value)| (*key, value.clone())).collect()
    }

    pub(super) fn with_transactions(&self, transactions: &[ExecutableTransaction]) -> Self {
        let mut draft = self.clone();
        draft.block.transactions = transactions.to_vec();
        draft
    }

    pub(super) fn with_state(&self, entries: &[(StateKey, StateValue)]) -> Self {
        Self { state: entries.iter().cloned().collect(), ..self.clone() }
    }

    /// The outputs of the transaction at an index, if it has several.
    pub(super) fn several_outputs(&self, index: usize) -> Option<&[Transfer]> {
        match &self.block.transactions.get(index)?.body.data {
            TransactionData::Transfers(outputs) if outputs.len() > 1 => Some(outputs),
            _ => None,
        }
    }

    pub(super) fn data_mut(&mut self, index: usize) -> Option<&mut TransactionData> {
        Some(&mut self.block.transactions.get_mut(index)?.body.data)
    }
}
