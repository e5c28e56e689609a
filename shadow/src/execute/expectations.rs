//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::collections::{BTreeSet, HashMap};

use comparator::{Expectations, TransactionExpectation};
use smallvec::smallvec;
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
    // Nobody spends more than all together, and they nearly never spend that much.
    if spent_by_all(block).is_some() {
        return BTreeSet::new();
    }
    let mut spent: HashMap<(Address, AssetId), Option<Amount>, ahash::RandomState> =
        HashMap::default();
    for_each_spending(block, |source, asset, amount| {
        let sum = spent.entry((*source, asset)).or_insert(Some(Amount::ZERO));
        *sum = sum.and_then(|sum| sum.checked_add(amount));
    });
    spent.into_iter().filter(|(_, sum)| sum.is_none()).map(|((_, asset), _)| asset).collect()
}

fn spent_by_all(block: &ExecutableBlock) -> Option<Amount> {
    let mut all = Some(Amount::ZERO);
    for_each_spending(block, |_, _, amount| all = all.and_then(|all| all.checked_add(amount)));
    all
}

fn for_each_spending(block: &ExecutableBlock, mut spend: impl FnMut(&Address, AssetId, Amount)) {
    for transaction in &block.transactions {
        let body = &transaction.body;
        spend(&body.source, AssetId::NATIVE, body.fee);
        match &body.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    spend(&body.source, transfer.asset, transfer.amount);
                }
            }
            TransactionData::Burn { asset, amount } => spend(&body.source, *asset, *amount),
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
    }
}

fn of(transaction: &Transaction) -> TransactionExpectation {
    let mut assets = smallvec![AssetId::NATIVE];
    let mut burns = None;
    match &transaction.data {
        TransactionData::Transfers(transfers) => {
            for transfer in transfers {
                if !assets.contains(&transfer.asset) {
                    assets.push(transfer.asset);
                }
            }
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
