//! The keys that a block names, and so may touch.
//!
//! They make up the closed world that the block is executed in. They are derived from the block,
//! never from what an execution says it touched: a candidate that drops an account from its own
//! list would otherwise hide its own fault.

use std::collections::BTreeSet;

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
    let mut keys = Vec::with_capacity(balances.len() * 2);
    let accounts: BTreeSet<Address> = balances.iter().map(|(account, _)| *account).collect();
    for account in accounts {
        keys.extend([
            StateKey::Nonce(account),
            StateKey::Multisig(account),
            StateKey::Registered(account),
        ]);
    }
    keys.extend(balances.into_iter().map(|(account, asset)| StateKey::Balance(account, asset)));
    keys.sort_unstable();
    keys.dedup();
    keys
}
