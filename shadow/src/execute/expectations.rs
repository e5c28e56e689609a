//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{Expected, ExpectedTransaction};
use storage_snapshot::{Address, Amount, AssetId};

use super::{ExecutableBlock, PreState};
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
        let Transaction { hash, source, data, fee, .. } = &self.transactions[number].body;
        let mut this = ExpectedTransaction {
            hash,
            source,
            burns: None,
            spends: *fee,
            changes_multisig: matches!(data, TransactionData::Multisig(_)),
        };
        match data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    this.spends = this.spends.saturating_add(transfer.amount);
                }
            }
            TransactionData::Burn { asset, amount } => {
                this.burns = Some((*asset, *amount));
                this.spends = this.spends.saturating_add(*amount);
            }
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
        this
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

/// A block, with the places that its accounts have in the world that was made for it. It says the same about
/// the block, and is checked faster.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    /// The block.
    pub block: &'a ExecutableBlock,
    /// The world.
    pub pre_state: &'a PreState,
}

impl Expected for Placed<'_> {
    fn miner_reward(&self) -> Amount {
        self.block.miner_reward()
    }

    fn dev_reward(&self) -> Amount {
        self.block.dev_reward()
    }

    fn transactions(&self) -> usize {
        self.block.transactions()
    }

    fn transaction(&self, number: usize) -> ExpectedTransaction<'_> {
        self.block.transaction(number)
    }

    fn for_each_asset(&self, number: usize, each: &mut dyn FnMut(AssetId)) {
        self.block.for_each_asset(number, each);
    }

    fn leaky_assets(&self) -> BTreeSet<AssetId> {
        self.block.leaky_assets()
    }

    fn accounts(&self) -> &[Address] {
        self.pre_state.accounts()
    }

    fn place_of_source(&self, number: usize) -> Option<usize> {
        self.pre_state.source(number)
    }
}

/// The chain sums up what an account spends and stops at 2^64-1, so whoever spends more than that
/// in one block makes money.
fn leaky_assets(block: &ExecutableBlock) -> BTreeSet<AssetId> {
    let mut count = 0_u64;
    for_each_spending(block, |_, _, _| count += 1);
    // So many amounts come to more than 2^64-1 only if one of them is above an equal share of it.
    let share = u64::MAX / count.max(1);
    let mut spent = BTreeMap::<(&Address, AssetId), u128>::new();
    for_each_spending(block, |source, asset, amount| {
        if amount.as_u64() >= share {
            spent.insert((source, *asset), 0);
        }
    });
    let spenders: BTreeSet<&Address> = spent.keys().map(|(source, _)| *source).collect();
    for_each_spending(block, |source, asset, amount| {
        if spenders.contains(source)
            && let Some(sum) = spent.get_mut(&(source, *asset))
        {
            *sum += u128::from(amount.as_u64());
        }
    });
    let overspent = spent.into_iter().filter(|(_, sum)| *sum > u128::from(u64::MAX));
    overspent.map(|((_, asset), _)| asset).collect()
}

fn for_each_spending<'a>(
    block: &'a ExecutableBlock,
    mut spend: impl FnMut(&'a Address, &'a AssetId, Amount),
) {
    for transaction in &block.transactions {
        let body = &transaction.body;
        spend(&body.source, &AssetId::NATIVE, body.fee);
        match &body.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    spend(&body.source, &transfer.asset, transfer.amount);
                }
            }
            TransactionData::Burn { asset, amount } => spend(&body.source, asset, *amount),
            TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
        }
    }
}
