//! What any right execution of a block satisfies, told to whoever checks without knowing the rules.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{Expected, ExpectedTransaction};
use storage_snapshot::{Address, Amount, AssetId};

use super::{ExecutableBlock, PreState};
use crate::{
    chain::{Transaction, TransactionData},
    shapes::Told,
};

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
        let (burns, changes_multisig) = match data {
            TransactionData::Burn { asset, amount } => (Some((*asset, *amount)), false),
            TransactionData::Multisig(_) => (None, true),
            TransactionData::Transfers(_) | TransactionData::Opaque(_) => (None, false),
        };
        ExpectedTransaction { hash, source, burns, changes_multisig }
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

/// A block, with what is known of it besides. It says the same about the block, and is checked faster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed<'a> {
    /// The block.
    pub(crate) block: &'a ExecutableBlock,
    /// The world that was made for it, where its accounts have places.
    pub(crate) pre_state: &'a PreState,
    /// What its transactions tell, in their order.
    pub(crate) told: &'a [Told],
}

impl Placed<'_> {
    /// Whether every account spends less than 2^64-1, whatever the assets: as long as all sums are exact nothing
    /// leaks.
    fn is_exact(&self) -> bool {
        let is_exact = |sum: Amount| sum < Amount::new(u64::MAX);
        if is_exact(self.told.iter().map(Told::spent).fold(Amount::ZERO, Amount::saturating_add)) {
            return true;
        }
        let mut sums = vec![Amount::ZERO; self.pre_state.accounts().len()];
        self.told.iter().enumerate().all(|(number, told)| {
            // A source without a place may be that of another transaction too. A wrong place could only hide
            // that something leaks, and then it breaks the rule of conservation instead.
            let sum = self.pre_state.source(number).and_then(|place| sums.get_mut(place));
            sum.is_some_and(|sum| {
                *sum = sum.saturating_add(told.spent());
                is_exact(*sum)
            })
        })
    }
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
        if self.is_exact() { BTreeSet::new() } else { leaky_assets(self.block) }
    }

    fn accounts(&self) -> &[Address] {
        self.pre_state.accounts()
    }

    fn place_of_source(&self, number: usize) -> Option<usize> {
        self.pre_state.source(number)
    }
}

/// What a transaction spends if it is executed, whatever the assets, added up to 2^64-1 at most.
pub(crate) fn spent(transaction: &Transaction) -> Amount {
    match &transaction.data {
        TransactionData::Transfers(transfers) => {
            let amounts = transfers.iter().map(|transfer| transfer.amount);
            amounts.fold(transaction.fee, Amount::saturating_add)
        }
        TransactionData::Burn { amount, .. } => transaction.fee.saturating_add(*amount),
        TransactionData::Multisig(_) | TransactionData::Opaque(_) => transaction.fee,
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

#[cfg(test)]
mod tests {
    use storage_snapshot::{BlockHash, BlockRef, MultisigConfig, Nonce, TopoHeight, TxHash};

    use super::*;
    use crate::{
        chain::{FeeType, Reference, Transfer},
        execute::ExecutableTransaction,
        rules::Reward,
    };

    const ONE: Address = Address::new([1; 32]);
    const OTHER: Address = Address::new([2; 32]);
    const GOLD: AssetId = AssetId::new([3; 32]);
    const HALF: u64 = 1 << 63;

    fn transaction(source: Address, data: TransactionData, fee: u64) -> Transaction {
        Transaction {
            hash: TxHash::new([1; 32]),
            version: 0,
            source,
            data,
            fee: Amount::new(fee),
            fee_type: FeeType::Tos,
            nonce: Nonce::new(0),
            reference: Reference { hash: BlockHash::new([6; 32]), topoheight: TopoHeight::new(6) },
            multisig: None,
            signature: [0; 64],
        }
    }

    fn transfer(asset: AssetId, amount: u64) -> Transfer {
        let destination = Address::new([9; 32]);
        Transfer { asset, destination, amount: Amount::new(amount), extra_data: None }
    }

    /// Which assets leak in a block in which these pay these amounts, by the block and by what is known of it.
    #[track_caller]
    fn check(paid: &[(Address, AssetId, u64)], is_exact: bool, leaks: &[AssetId]) {
        let pay = |(source, asset, amount): &(Address, AssetId, u64)| {
            let data = TransactionData::Transfers(vec![transfer(*asset, *amount)]);
            ExecutableTransaction { body: transaction(*source, data, 0), already_executed: false }
        };
        let block = ExecutableBlock {
            block: BlockRef { topoheight: TopoHeight::new(7), hash: BlockHash::new([7; 32]) },
            side_block: false,
            miner: Address::new([4; 32]),
            dev: Address::new([5; 32]),
            reward: Reward { miner: Amount::new(90), dev: Amount::new(10) },
            transactions: paid.iter().map(pay).collect(),
        };
        let leaks: BTreeSet<AssetId> = leaks.iter().copied().collect();
        assert_eq!(block.leaky_assets(), leaks);
        let pre_state = PreState::default().made_for(&block);
        let told = Told::of_block(&block);
        let placed = Placed { block: &block, pre_state: &pre_state, told: &told };
        assert_eq!(placed.is_exact(), is_exact);
        assert_eq!(placed.leaky_assets(), leaks);
    }

    #[test]
    fn what_an_account_overspends_leaks() {
        let native = AssetId::NATIVE;
        check(&[], true, &[]);
        check(&[(ONE, native, u64::MAX - 1)], true, &[]);
        // The sum is still exact, but who sees only the sum cannot tell.
        check(&[(ONE, native, u64::MAX)], false, &[]);
        check(&[(ONE, native, HALF), (OTHER, native, HALF)], true, &[]);
        check(&[(ONE, native, HALF), (OTHER, native, 1), (ONE, native, HALF)], false, &[native]);
        check(&[(ONE, native, HALF), (ONE, GOLD, HALF)], false, &[]);
        check(&[(ONE, GOLD, HALF), (ONE, GOLD, HALF), (OTHER, native, 1)], false, &[GOLD]);
    }

    #[test]
    fn every_kind_of_transaction_spends_its_fee() {
        #[track_caller]
        fn check(data: TransactionData, expected: u64) {
            assert_eq!(spent(&transaction(ONE, data, 2)), Amount::new(expected));
        }
        let transfers = |amounts: &[u64]| {
            TransactionData::Transfers(
                amounts.iter().map(|amount| transfer(GOLD, *amount)).collect(),
            )
        };
        check(transfers(&[]), 2);
        check(transfers(&[3, 4]), 9);
        check(transfers(&[HALF, HALF]), u64::MAX);
        check(TransactionData::Burn { asset: GOLD, amount: Amount::new(5) }, 7);
        check(
            TransactionData::Multisig(MultisigConfig { threshold: 0, participants: Vec::new() }),
            2,
        );
    }
}
