//! Blocks that are not executed here: what they may have touched is taken from the node.
//!
//! Nothing is claimed about such a block. Its named keys, and whatever else the node says was
//! written, get the node's values, so that the next block can be judged again. A key that the node
//! was not asked about is *unknown* from then on, and a later block that needs it is inconclusive,
//! because a guess that happens to be right is still a guess.

use std::collections::{BTreeMap, BTreeSet};

use storage_snapshot::{
    Address, Amount, AssetId, Nonce, ReadError, StateDelta, StateKey, StateRead, StateValue, TxHash,
};

use crate::{
    chain::{OpaqueData, OpaqueKind, Transaction, TransactionData},
    execute::{ExecutableBlock, ExecutableTransaction},
    rules::NamedKeys,
    source::{NodeAnswers, Payout, VersionAnswer},
};

/// The state after a block that was not executed.
#[derive(Debug, Default)]
pub struct TakenState {
    /// What the node says was written.
    pub writes: StateDelta,
    /// The keys that the block may have written without anybody knowing what.
    pub unknown: Vec<StateKey>,
    /// The transactions that took effect.
    pub executed: Vec<TxHash>,
    /// What the block burned of the native asset; `None` if that cannot be told.
    pub burned: Option<Amount>,
    /// Whether the block may have paid accounts that nobody knows of.
    pub blind: bool,
    /// How many answers were taken.
    pub taken: u64,
    /// How many questions nobody asked, or got an answer to that is compared with nothing.
    pub not_asked: u64,
}

/// Takes the state after a block from the node's answers: the versions at that topoheight first,
/// from whichever question they came, then what its contracts paid out.
///
/// # Errors
///
/// When the state before the block cannot be read.
pub fn take_state(
    block: &ExecutableBlock,
    named_keys: &NamedKeys,
    parent: &impl StateRead,
    answers: &NodeAnswers,
) -> Result<TakenState, ReadError> {
    let mut executed = block.transactions.iter().filter(|listed| was_executed(listed, answers));
    let blind = executed.any(|listed| may_have_paid_anybody(listed, answers));
    let mut taken = TakenState { blind, ..TakenState::default() };
    let payouts = payouts(block, answers);
    let mut keys: BTreeSet<StateKey> = named_keys.iter().collect();
    keys.extend(answers.versions.iter().map(|(key, _)| *key));
    keys.extend(payouts.keys().map(|(account, asset)| StateKey::Balance(*account, *asset)));

    let versions = answers.first_versions();
    for key in keys {
        match versions.get(&key).copied().or_else(|| answers.unlisted(&key)) {
            Some(VersionAnswer::Written(value)) => {
                taken.taken += 1;
                taken.writes.insert(key, value.clone());
            }
            Some(VersionAnswer::NotWritten) => taken.taken += 1,
            None => taken.without_answer(&key, &payouts, named_keys, parent)?,
        }
    }
    taken.register_accounts(parent)?;
    taken.take_outcomes(block, answers);
    // What the node has after its last block is compared with what a control left there.
    taken.not_asked += answers.current.len() as u64;
    taken.taken += u64::from(answers.burned_supply.is_some());
    Ok(taken)
}

/// What the contracts of a block paid, by account and asset. Sums saturate: a contract cannot pay
/// more than exists.
fn payouts(block: &ExecutableBlock, answers: &NodeAnswers) -> BTreeMap<(Address, AssetId), Amount> {
    let mut sums = BTreeMap::new();
    for transaction in block.transactions.iter().filter(|listed| was_executed(listed, answers)) {
        for payout in answers.payouts.get(&transaction.body.hash).into_iter().flatten() {
            if let Payout::Transfer { destination, asset, amount } = payout {
                let sum = sums.entry((*destination, *asset)).or_insert(Amount::ZERO);
                *sum = sum.saturating_add(*amount);
            }
        }
    }
    sums
}

impl TakenState {
    /// A key that a contract paid into, and that nothing else of the block names, has the value from
    /// before and the payment. Any other key that nobody asked about is unknown.
    fn without_answer(
        &mut self,
        key: &StateKey,
        payouts: &BTreeMap<(Address, AssetId), Amount>,
        named_keys: &NamedKeys,
        parent: &impl StateRead,
    ) -> Result<(), ReadError> {
        if matches!(key, StateKey::Registered(_)) {
            // Follows from what else was written of the account.
            return Ok(());
        }
        self.not_asked += 1;
        let paid = match key {
            StateKey::Balance(account, asset) => payouts.get(&(*account, *asset)),
            _ => None,
        };
        // In a block that is blind this may be a part of what was paid.
        if !self.blind
            && let (Some(paid), StateKey::Balance(account, asset)) = (paid, key)
            && !named_keys.contains(key)
        {
            let before = match parent.read(key) {
                Ok(Some(StateValue::Balance(amount))) => Some(amount),
                Ok(_) => Some(Amount::ZERO),
                Err(ReadError::Unknown(_)) => None,
                Err(error) => return Err(error),
            };
            if let Some(after) = before.and_then(|before| before.checked_add(*paid)) {
                self.writes.set_balance(*account, *asset, after);
                if let Ok(None) = parent.read(&StateKey::Nonce(*account)) {
                    self.writes.set_nonce(*account, Nonce::new(0));
                }
                return Ok(());
            }
        }
        self.unknown.push(*key);
        Ok(())
    }

    /// Whoever has a nonce or a balance is registered; whoever may have got one, perhaps.
    fn register_accounts(&mut self, parent: &impl StateRead) -> Result<(), ReadError> {
        let written: BTreeSet<Address> = self.writes.keys().map(|key| *key.account()).collect();
        let perhaps: BTreeSet<Address> = self.unknown.iter().map(|key| *key.account()).collect();
        for account in written.union(&perhaps) {
            let key = StateKey::Registered(*account);
            if self.writes.get(&key).is_some() || !matches!(parent.read(&key), Ok(None)) {
                continue;
            }
            if written.contains(account) {
                self.writes.register(*account);
            } else {
                self.unknown.push(key);
            }
        }
        Ok(())
    }

    fn take_outcomes(&mut self, block: &ExecutableBlock, answers: &NodeAnswers) {
        let mut burned = Some(Amount::ZERO);
        for transaction in &block.transactions {
            let body = &transaction.body;
            match answers.executed.get(&body.hash) {
                Some(_) => self.taken += 1,
                None => self.not_asked += 1,
            }
            if !was_executed(transaction, answers) {
                continue;
            }
            self.executed.push(body.hash);
            self.not_asked += u64::from(may_have_paid_anybody(transaction, answers));
            let more = match &body.data {
                TransactionData::Burn { asset, amount } if *asset == AssetId::NATIVE => {
                    Some(*amount)
                }
                TransactionData::Opaque(opaque) => {
                    burned_by_opaque(opaque, answers.payouts.get(&body.hash))
                }
                _ => Some(Amount::ZERO),
            };
            burned = burned.zip(more).map(|(sum, more)| sum.saturating_add(more));
        }
        self.burned = burned;
    }
}

/// Whether the block executed a transaction that it lists. A contract call that another branch
/// executed is listed again, with the same outputs, and pays nothing again.
fn was_executed(transaction: &ExecutableTransaction, answers: &NodeAnswers) -> bool {
    let answer = answers.executed.get(&transaction.body.hash);
    answer.copied().unwrap_or(!transaction.already_executed)
}

/// Whether an executed transaction may have paid somebody of whom nobody knows.
fn may_have_paid_anybody(transaction: &ExecutableTransaction, answers: &NodeAnswers) -> bool {
    let body = &transaction.body;
    may_pay_anybody(body) && !answers.payouts.contains_key(&body.hash)
}

/// Whether a transaction can pay accounts that it does not name. Energy moves no coins to others.
pub(crate) fn may_pay_anybody(transaction: &Transaction) -> bool {
    match transaction.opaque_kind() {
        Some(
            OpaqueKind::InvokeContract
            | OpaqueKind::DeployContract
            | OpaqueKind::AiMining
            | OpaqueKind::UnknownKind
            | OpaqueKind::UnknownVersion,
        ) => true,
        Some(OpaqueKind::Energy | OpaqueKind::EnergyFee) | None => false,
    }
}

/// What a transaction that is not executed here burned of the native asset; `None` if that cannot be told.
pub(crate) fn burned_by_opaque(
    opaque: &OpaqueData,
    payouts: Option<&Vec<Payout>>,
) -> Option<Amount> {
    match (opaque.kind(), opaque.max_gas()) {
        (OpaqueKind::InvokeContract | OpaqueKind::DeployContract, Some(max_gas)) => {
            burned_gas(max_gas, payouts)
        }
        // Nothing runs where there is no constructor, as far as the form tells.
        (OpaqueKind::DeployContract, None) => opaque.json().map(|_| Amount::ZERO),
        (OpaqueKind::Energy | OpaqueKind::EnergyFee | OpaqueKind::AiMining, _) => {
            Some(Amount::ZERO)
        }
        (OpaqueKind::InvokeContract | OpaqueKind::UnknownKind | OpaqueKind::UnknownVersion, _) => {
            None
        }
    }
}

/// 30 % of the gas that a contract used is burned; how much it used is known from what came back.
pub(crate) fn burned_gas(max_gas: Amount, payouts: Option<&Vec<Payout>>) -> Option<Amount> {
    let refunded = payouts?.iter().fold(Amount::ZERO, |sum, payout| match payout {
        Payout::RefundedGas(amount) => sum.saturating_add(*amount),
        Payout::Transfer { .. } => sum,
    });
    let used = u128::from(max_gas.checked_sub(refunded)?.as_u64());
    u64::try_from(used * 30 / 100).ok().map(Amount::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_unknown_transaction_burned_nobody_can_tell() {
        #[track_caller]
        fn check(json: &str, expected: Option<u64>) {
            let data = OpaqueData::from_json(0, json).unwrap();
            let payouts = vec![Payout::RefundedGas(Amount::new(900))];
            let burned = burned_by_opaque(&data, Some(&payouts));
            assert_eq!(burned, expected.map(Amount::new), "{json}");
            let untold = expected.filter(|burned| *burned == 0).map(Amount::new);
            assert_eq!(burned_by_opaque(&data, None), untold, "{json}");
        }
        check(r#"{"something_new":{}}"#, None);
        check(r#"{"invoke_contract":{"something":"new"}}"#, None);
        check(r#"{"a_i_mining":{"reveal":1}}"#, Some(0));
        check(r#"{"energy":{"UnfreezeTos":{"amount":3}}}"#, Some(0));
        check(r#"{"deploy_contract":{"module":"00","invoke":null}}"#, Some(0));
        let invoked = r#"{"module":"00","invoke":{"max_gas":1000,"deposits":{}}}"#;
        check(&format!(r#"{{"deploy_contract":{invoked}}}"#), Some(30));
    }
}
