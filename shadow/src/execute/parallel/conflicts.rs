//! Which transactions of a block may run at the same time.

use std::{borrow::Cow, collections::HashMap};

use storage_snapshot::{Address, UniformState};

use crate::execute::{ExecutableBlock, ExecutableTransaction, PreState};

/// Groups transactions into batches, so that no two of one batch name the same account and of two
/// that do the earlier is in the earlier batch. Batches hold indexes in the block's order.
///
/// Every transaction comes as early as its conflicts allow, so there are as many batches as the
/// longest chain of conflicts has links: no grouping with fewer exists. What was executed before is
/// left out, for it does nothing.
pub fn conflict_free_batches(transactions: &[ExecutableTransaction]) -> Vec<Vec<usize>> {
    let mut numbers: HashMap<Address, usize, UniformState> = HashMap::default();
    let mut plan = Plan::default();
    for (index, transaction) in transactions.iter().enumerate() {
        plan.add(index, transaction, |account| {
            let next = numbers.len();
            *numbers.entry(*account).or_insert(next)
        });
    }
    plan.batches
}

/// The same where the accounts have numbers already, their places in a world that covers the block; and that
/// world, which is the one that was given if it does.
pub(super) fn world_and_batches<'a>(
    pre_state: &'a PreState,
    block: &ExecutableBlock,
) -> (Cow<'a, PreState>, Vec<Vec<usize>>) {
    if let Some(batches) = batches_over(pre_state, block) {
        return (Cow::Borrowed(pre_state), batches);
    }
    let made = pre_state.made_for(block);
    // It was made to cover the block.
    let batches = batches_over(&made, block).unwrap_or_default();
    (Cow::Owned(made), batches)
}

/// `None` if the world does not name an account that the block needs.
fn batches_over(pre_state: &PreState, block: &ExecutableBlock) -> Option<Vec<Vec<usize>>> {
    let mut places = pre_state.walk();
    places.place(&block.miner)?;
    places.place(&block.dev)?;
    let nobody = pre_state.accounts().len();
    // Memory that comes zeroed comes from the system page by page, which takes longer than writing to it.
    let next_batch = std::iter::repeat_n(0, nobody + 1).collect();
    let mut plan = Plan { next_batch, ..Plan::default() };
    let mut covers = true;
    for (index, transaction) in block.transactions.iter().enumerate() {
        places.go_to(index);
        plan.add(index, transaction, |account| {
            let place = places.place(account);
            covers &= place.is_some();
            place.unwrap_or(nobody)
        });
    }
    covers.then_some(plan.batches)
}

#[derive(Default)]
struct Plan {
    batches: Vec<Vec<usize>>,
    /// By the number of an account, the first batch that it is in no more.
    next_batch: Vec<u32>,
    /// The accounts of one transaction.
    accounts: Vec<usize>,
}

impl Plan {
    fn add(
        &mut self,
        index: usize,
        transaction: &ExecutableTransaction,
        number: impl FnMut(&Address) -> usize,
    ) {
        if transaction.already_executed {
            return;
        }
        let Self { batches, next_batch, accounts } = self;
        accounts.clear();
        let mut batch = 0;
        for account in transaction.body.accounts().map(number) {
            batch = batch.max(next_batch.get(account).copied().unwrap_or(0));
            accounts.push(account);
        }
        for account in accounts {
            if next_batch.len() <= *account {
                next_batch.resize(*account + 1, 0);
            }
            next_batch[*account] = batch + 1;
        }
        match batches.get_mut(batch as usize) {
            Some(indexes) => indexes.push(index),
            None => batches.push(vec![index]),
        }
    }
}
