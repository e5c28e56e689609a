//! A case on its way to being small.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use comparator::Schedule;
use storage_snapshot::{Address, Nonce, StateKey, StateValue};

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
    /// Keys of the state whose value is not known.
    pub(super) unknown: Vec<StateKey>,
    pub(super) schedule: Schedule,
}

impl Draft {
    pub(super) fn of(case: &Case) -> Self {
        let state = case.pre_state.iter().map(|(key, value)| (key, value.clone())).collect();
        let unknown = case.pre_state.unknown().collect();
        Self { block: ExecutableBlock::clone(&case.block), state, unknown, schedule: case.schedule }
    }

    pub(super) fn case(&self) -> Case {
        Case {
            block: Arc::new(self.block.clone()),
            pre_state: Arc::new(self.pre_state()),
            schedule: self.schedule,
        }
    }

    pub(super) fn pre_state(&self) -> PreState {
        let values = self.state.iter().map(|(key, value)| (*key, value.clone()));
        PreState::with_unknown(values, self.unknown.iter().copied())
    }

    pub(super) fn with_transactions(&self, transactions: &[ExecutableTransaction]) -> Self {
        let mut draft = self.clone();
        draft.block.transactions = transactions.to_vec();
        draft
    }

    /// The same with the nonces of each sender closed up, as they would be if those that were left out
    /// had never been sent; `None` if there is nothing to close up. What is equal stays so, and what is
    /// below the nonce that the account has stays where it is.
    pub(super) fn closed_up(&self) -> Option<Self> {
        let mut sent = BTreeMap::<Address, BTreeSet<u64>>::new();
        for transaction in &self.block.transactions {
            let body = &transaction.body;
            sent.entry(body.source).or_default().insert(body.nonce.as_u64());
        }
        let mut draft = self.clone();
        let mut is_closed = true;
        for transaction in &mut draft.block.transactions {
            let (source, nonce) = (transaction.body.source, transaction.body.nonce.as_u64());
            let Some(StateValue::Nonce(had)) = self.state.get(&StateKey::Nonce(source)) else {
                continue;
            };
            let had = had.as_u64();
            if nonce < had {
                continue;
            }
            let below = sent.get(&source).map_or(0, |sent| sent.range(had..nonce).count() as u64);
            is_closed &= nonce == had + below;
            transaction.body.nonce = Nonce::new(had + below);
        }
        (!is_closed).then_some(draft)
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
