//! What a transaction does, as data.
//!
//! Apart from its nonce check a transaction of the executed kinds does the same whatever the state
//! is, so its effects are a function of the transaction alone, in the chain's order. An executor
//! applies them one by one to its own staging area; the only effect that can fail is a credit that
//! overflows, and everything applied before it stays.

use storage_snapshot::{Address, Amount, AssetId, MultisigConfig, Nonce};

use crate::chain::{FeeType, Transaction, TransactionData};

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The account's nonce becomes this one.
    Nonce(&'a Address, Nonce),
    /// The account spends; what it spends is summed up and taken at the end of the block.
    Debit(&'a Address, AssetId, Amount),
    /// The account receives at once; fails if it would hold more than 2^64-1.
    Credit(&'a Address, AssetId, Amount),
    /// So many native units leave the supply.
    Burn(Amount),
    /// The account's multisig configuration is replaced, or deleted.
    Multisig(&'a Address, Option<MultisigConfig>),
}

/// Applies the effects of a transaction in order, up to the first that fails.
///
/// # Errors
///
/// Whatever `apply` fails with. Effects before it were applied and stay.
///
/// # Panics
///
/// For a transaction of an opaque kind: nobody may execute one, and a silent no-op would look like
/// success.
pub fn for_each_effect<'a, E>(
    transaction: &'a Transaction,
    mut apply: impl FnMut(Effect<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let source = &transaction.source;
    // Saturates only at the last nonce of all, which no nonce window lets through.
    apply(Effect::Nonce(source, transaction.nonce.next().unwrap_or(transaction.nonce)))?;
    if transaction.fee_type == FeeType::Tos {
        apply(Effect::Debit(source, AssetId::NATIVE, transaction.fee))?;
    }
    match &transaction.data {
        TransactionData::Transfers(transfers) => {
            for transfer in transfers {
                apply(Effect::Debit(source, transfer.asset, transfer.amount))?;
            }
            for transfer in transfers {
                apply(Effect::Credit(&transfer.destination, transfer.asset, transfer.amount))?;
            }
        }
        TransactionData::Burn { asset, amount } => {
            apply(Effect::Debit(source, *asset, *amount))?;
            if *asset == AssetId::NATIVE {
                apply(Effect::Burn(*amount))?;
            }
        }
        TransactionData::Multisig(config) => {
            let config = (config.threshold > 0).then(|| config.clone());
            apply(Effect::Multisig(source, config))?;
        }
        TransactionData::Opaque(_) => {
            panic!("transaction {} is of an opaque kind and must not be executed", transaction.hash)
        }
    }
    Ok(())
}
