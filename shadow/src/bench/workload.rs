//! Blocks of transfers with a given share of conflicts, and the state that they need.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, BlockRef, MemoryState, Nonce, StateKey, StateValue,
    TopoHeight, TxHash,
};

use crate::{
    chain::{FeeType, Reference, Transaction, TransactionData, Transfer},
    execute::{ExecutableBlock, ExecutableTransaction, PreState},
    rules::{NamedKeys, Reward},
    source::{GeneratedOptions, Profile},
};

/// A block and the state before it.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The block.
    pub block: Arc<ExecutableBlock>,
    /// The state that it is executed on.
    pub pre_state: Arc<PreState>,
}

/// A chain of plain transfers, of which one in ten meets others in one account.
pub(super) fn chain_options(transactions_per_block: usize, blocks: u64) -> GeneratedOptions {
    GeneratedOptions {
        profile: Profile::Transfers,
        seed: 1,
        blocks,
        transactions_per_block,
        conflict_rate: 0.1,
    }
}

/// Funded transfers, each between two accounts that no other transaction names, but for the share
/// of `conflict_rate` that pay into one account; at 1 every transaction waits for the one before.
pub fn transfers(transactions: usize, conflict_rate: f64, seed: u64) -> Workload {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut address = || Address::new(random.random());
    let (miner, dev, busy) = (address(), address(), address());
    let pairs: Vec<_> = (0..transactions).map(|_| (address(), address())).collect();
    let mut before = MemoryState::new();
    for account in [miner, dev, busy].into_iter().chain(pairs.iter().flat_map(|(a, b)| [*a, *b])) {
        for (key, value) in [
            (StateKey::Nonce(account), StateValue::Nonce(Nonce::new(0))),
            (StateKey::Registered(account), StateValue::Registered),
            (
                StateKey::Balance(account, AssetId::NATIVE),
                StateValue::Balance(Amount::new(1_000_000_000)),
            ),
        ] {
            before.set(key, Some(value));
        }
    }
    let transactions = pairs
        .into_iter()
        .map(|(source, stranger)| ExecutableTransaction {
            body: Transaction {
                hash: TxHash::new(random.random()),
                version: 0,
                source,
                data: TransactionData::Transfers(vec![Transfer {
                    asset: AssetId::NATIVE,
                    destination: if random.random_bool(conflict_rate) { busy } else { stranger },
                    amount: Amount::new(10),
                    extra_data: None,
                }]),
                fee: Amount::new(15_000),
                fee_type: FeeType::Tos,
                nonce: Nonce::new(0),
                reference: Reference {
                    hash: BlockHash::new([0; 32]),
                    topoheight: TopoHeight::GENESIS,
                },
                multisig: None,
                signature: [0; 64],
            },
            already_executed: false,
        })
        .collect();
    let block = ExecutableBlock {
        block: BlockRef { topoheight: TopoHeight::new(1), hash: BlockHash::new([1; 32]) },
        side_block: false,
        miner,
        dev,
        reward: Reward { miner: Amount::new(90), dev: Amount::new(10) },
        transactions,
    };
    let bodies = block.transactions.iter().map(|transaction| &transaction.body);
    let named = Arc::new(NamedKeys::of_block(&miner, &dev, bodies));
    // Reading from memory cannot fail.
    let pre_state = PreState::resolve(&named, &before).unwrap_or_default();
    Workload { block: Arc::new(block), pre_state: Arc::new(pre_state) }
}
