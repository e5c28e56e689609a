//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{Expected, ExpectedTransaction};
use storage_snapshot::{Address, Amount, AssetId};

use super::ExecutableBlock;
use crate::chain::{Transaction, TransactionData};

impl Expected for ExecutableBlock {
    fn miner_reward(&self) -> Amount {
        self.reward.miner
    }

    fn dev_reward(&self) -> Amount {
        self.reward.dev
    }

    fn transactions(&self) -> usize {
        self.transactions.len()
    }

    fn transaction(&self, number: usize) -> ExpectedTransaction<'_> {
        let Transaction { hash, source, data, .. } = &self.transactions[number].body;
        ExpectedTransaction {
            hash,
            source,
            burns: match data {
                TransactionData::Burn { asset, amount } => Some((*asset, *amount)),
                TransactionData::Transfers(_)
                | TransactionData::Multisig(_)
                | TransactionData::Opaque(_) => None,
            },
            changes_multisig: matches!(data, TransactionData::Multisig(_)),
        }
    }

    fn for_each_asset(&self, number: usize, each: &mut dyn FnMut(AssetId)) {
        each(AssetId::NATIVE);
        match &self.transactions[number].body.data {
            TransactionData::Transfers(transfers) => {
                transfers.iter().for_each(|transfer| each(transfer.asset));
            }
            TransactionData::Burn { asset, .. } => each(*asset),
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
    }

    fn leaky_assets(&self) -> BTreeSet<AssetId> {
        leaky_assets(self)
    }
}

/// The chain sums up what an account spends and stops at 2^64-1, so whoever spends more than that
/// in one block makes money.
fn leaky_assets(block: &ExecutableBlock) -> BTreeSet<AssetId> {
    // Nobody spends more than all together, and they nearly never spend that much.
    let (mut all, mut count) = (0_u128, 0_u64);
    for_each_spending(block, |_, _, amount| {
        all += u128::from(amount.as_u64());
        count += 1;
    });
    if all <= u128::from(u64::MAX) {
        return BTreeSet::new();
    }
    // So many amounts come to more than 2^64-1 only if one of them is above an equal share of it.
    let share = u64::MAX / count.max(1);
    let mut spent = BTreeMap::<(&Address, AssetId), u128>::new();
    for_each_spending(block, |source, asset, amount| {
        if amount.as_u64() >= share {
            spent.insert((source, asset), 0);
        }
    });
    let spenders: BTreeSet<&Address> = spent.keys().map(|(source, _)| *source).collect();
    for_each_spending(block, |source, asset, amount| {
        if spenders.contains(source)
            && let Some(sum) = spent.get_mut(&(source, asset))
        {
            *sum += u128::from(amount.as_u64());
        }
    });
    let overspent = spent.into_iter().filter(|(_, sum)| *sum > u128::from(u64::MAX));
    overspent.map(|((_, asset), _)| asset).collect()
}

fn for_each_spending<'a>(
    block: &'a ExecutableBlock,
    mut spend: impl FnMut(&'a Address, AssetId, Amount),
) {
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
