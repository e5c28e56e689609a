//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::collections::{BTreeSet, HashMap};

use comparator::{Expectations, TransactionExpectation};
use storage_snapshot::{Address, Amount, AssetId};

use super::ExecutableBlock;
use crate::chain::{Transaction, TransactionData};

/// The expectations of a block, derived from what it says and from nothing that was executed.
pub fn expectations(block: &ExecutableBlock) -> Expectations {
    Expectations {
        miner_reward: block.reward.miner,
        dev_reward: block.reward.dev,
        transactions: block.transactions.iter().map(|transaction| of(&transaction.body)).collect(),
        leaky_assets: leaky_assets(block),
    }
}

/// The chain sums up what an account spends and stops at 2^64-1, so whoever spends more than that
/// in one block makes money.
fn leaky_assets(block: &ExecutableBlock) -> BTreeSet<AssetId> {
    let mut spent: HashMap<(Address, AssetId), Option<Amount>, ahash::RandomState> =
        HashMap::default();
    for transaction in &block.transactions {
        let body = &transaction.body;
        let mut spend = |asset, amount| {
            let sum = spent.entry((body.source, asset)).or_insert(Some(Amount::ZERO));
            *sum = sum.and_then(|sum| sum.checked_add(amount));
        };
        spend(AssetId::NATIVE, body.fee);
        match &body.data {
            TransactionData::Transfers(transfers) => {
                transfers.iter().for_each(|transfer| spend(transfer.asset, transfer.amount));
            }
            TransactionData::Burn { asset, amount } => spend(*asset, *amount),
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
    }
    spent.into_iter().filter(|(_, sum)| sum.is_none()).map(|((_, asset), _)| asset).collect()
}

fn of(transaction: &Transaction) -> TransactionExpectation {
    let mut assets = vec![AssetId::NATIVE];
    let mut burns = None;
    match &transaction.data {
        TransactionData::Transfers(transfers) => {
            assets.extend(transfers.iter().map(|transfer| transfer.asset));
            assets.sort_unstable();
            assets.dedup();
        }
        TransactionData::Burn { asset, amount } => {
            assets.push(*asset);
            burns = Some((*asset, *amount));
        }
        TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
    }
    TransactionExpectation {
        hash: transaction.hash,
        source: transaction.source,
        assets,
        burns,
        changes_multisig: matches!(transaction.data, TransactionData::Multisig(_)),
    }
}
