//! The keys that a block names, and so may touch.
//!
//! They make up the closed world that the block is executed in. They are derived from the block,
//! never from what an execution says it touched: a candidate that drops an account from its own
//! list would otherwise hide its own fault.

use storage_snapshot::{Address, AssetId, StateKey};

use crate::chain::{Transaction, TransactionData};

/// Nonce, multisig and registration of miner, dev key, sources and destinations, and their
/// balances in the native asset and in each asset that is named with them. Sorted, each once.
pub fn named_keys<'a>(
    miner: &Address,
    dev: &Address,
    transactions: impl IntoIterator<Item = &'a Transaction>,
) -> Vec<StateKey> {
    let mut balances: Vec<(Address, AssetId)> =
        vec![(*miner, AssetId::NATIVE), (*dev, AssetId::NATIVE)];
    for transaction in transactions {
        let source = transaction.source;
        balances.push((source, AssetId::NATIVE));
        match &transaction.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    balances.push((source, transfer.asset));
                    balances.push((transfer.destination, AssetId::NATIVE));
                    balances.push((transfer.destination, transfer.asset));
                }
            }
            TransactionData::Burn { asset, .. } => balances.push((source, *asset)),
            TransactionData::Multisig(_) => {}
            TransactionData::Opaque(opaque) => {
                balances.extend(opaque.deposits().map(|(asset, _)| (source, asset)));
            }
        }
    }
    balances.sort_unstable();
    balances.dedup();
    let mut accounts: Vec<Address> = balances.iter().map(|(account, _)| *account).collect();
    accounts.dedup();
    // Each kind of key is sorted by account, and the kinds come in the order of the keys.
    let mut keys = Vec::with_capacity(accounts.len() * 3 + balances.len());
    keys.extend(accounts.iter().map(|account| StateKey::Nonce(*account)));
    keys.extend(balances.into_iter().map(|(account, asset)| StateKey::Balance(account, asset)));
    keys.extend(accounts.iter().map(|account| StateKey::Multisig(*account)));
    keys.extend(accounts.into_iter().map(StateKey::Registered));
    debug_assert!(keys.is_sorted(), "the keys are looked up by bisection");
    keys
}
