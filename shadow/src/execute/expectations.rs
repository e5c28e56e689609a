//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::{
    collections::{BTreeSet, HashMap},
    iter,
};

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
    let spendings = || block.transactions.iter().flat_map(|listed| spendings(&listed.body));
    // Nobody spends more than all together, and they nearly never spend that much.
    let mut all = spendings().map(|(_, amount)| amount);
    if all.try_fold(Amount::ZERO, Amount::checked_add).is_some() {
        return BTreeSet::new();
    }
    let mut spent: HashMap<(Address, AssetId), Option<Amount>, ahash::RandomState> =
        HashMap::default();
    for (spender, amount) in spendings() {
        let sum = spent.entry(spender).or_insert(Some(Amount::ZERO));
        *sum = sum.and_then(|sum| sum.checked_add(amount));
    }
    spent.into_iter().filter(|(_, sum)| sum.is_none()).map(|((_, asset), _)| asset).collect()
}

/// What a transaction takes from whom.
fn spendings(body: &Transaction) -> impl Iterator<Item = ((Address, AssetId), Amount)> {
    let (transfers, burned) = match &body.data {
        TransactionData::Transfers(transfers) => (transfers.as_slice(), None),
        TransactionData::Burn { asset, amount } => (&[][..], Some((*asset, *amount))),
        TransactionData::Multisig(_) | TransactionData::Opaque(_) => (&[][..], None),
    };
    let moved = transfers.iter().map(|transfer| (transfer.asset, transfer.amount));
    iter::once((AssetId::NATIVE, body.fee))
        .chain(moved)
        .chain(burned)
        .map(|(asset, amount)| ((body.source, asset), amount))
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
