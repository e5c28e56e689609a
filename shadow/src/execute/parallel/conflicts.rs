//! Which transactions of a block may run at the same time.

use std::collections::HashMap;

use storage_snapshot::Address;

use crate::{
    chain::{Transaction, TransactionData},
    execute::ExecutableTransaction,
};

/// Groups transactions into batches, so that no two of one batch name the same account and of two
/// that do the earlier is in the earlier batch. Batches hold indexes in the block's order.
///
/// Every transaction comes as early as its conflicts allow, so there are as many batches as the
/// longest chain of conflicts has links: no grouping with fewer exists. What was executed before is
/// left out, for it does nothing.
pub fn conflict_free_batches(transactions: &[ExecutableTransaction]) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut next_batch: HashMap<Address, usize, ahash::RandomState> = HashMap::default();
    for (index, transaction) in transactions.iter().enumerate() {
        if transaction.already_executed {
            continue;
        }
        let batch = named_accounts(&transaction.body)
            .filter_map(|account| next_batch.get(account).copied())
            .max()
            .unwrap_or(0);
        for account in named_accounts(&transaction.body) {
            next_batch.insert(*account, batch + 1);
        }
        match batches.get_mut(batch) {
            Some(indexes) => indexes.push(index),
            None => batches.push(vec![index]),
        }
    }
    batches
}

fn named_accounts(transaction: &Transaction) -> impl Iterator<Item = &Address> {
    let transfers = match &transaction.data {
        TransactionData::Transfers(transfers) => transfers.as_slice(),
        _ => &[],
    };
    std::iter::once(&transaction.source)
        .chain(transfers.iter().map(|transfer| &transfer.destination))
}
