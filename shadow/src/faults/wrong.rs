//! A result on its way to being wrong, and whom to blame for what.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{Execution, Field, Outcome};
use storage_snapshot::{Address, Amount, AssetId, StateKey, StateValue};

use super::{Place, Site};
use crate::chain::{Transaction, TransactionData};

/// A result that starts out right.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) execution: Execution,
    /// The indexes of the transactions that a fault was applied to, by what it altered there.
    blame: BTreeMap<Place, BTreeSet<usize>>,
}

impl Wrong {
    pub(super) fn new(site: &Site<'_>) -> Self {
        Self { execution: site.right.clone(), blame: BTreeMap::new() }
    }

    pub(super) fn blamed(&self, place: &Place) -> Option<&BTreeSet<usize>> {
        self.blame.get(place)
    }

    /// The fault was applied to a transaction, and this is where it may show.
    pub(super) fn blame(&mut self, place: Place, index: usize) {
        self.blame.entry(place).or_default().insert(index);
    }

    pub(super) fn blame_key(&mut self, key: StateKey, index: usize) {
        self.blame(Place::Key(key), index);
    }

    pub(super) fn blame_balance(&mut self, account: Address, asset: AssetId, index: usize) {
        self.blame_key(StateKey::Balance(account, asset), index);
    }

    /// The fault may show in everything that the transaction has to do with.
    pub(super) fn blame_all(&mut self, site: &Site<'_>, index: usize, body: &Transaction) {
        let source = body.source;
        self.blame(Place::Outcome(body.hash), index);
        self.blame(Place::Total(Field::Fees), index);
        self.blame(Place::Total(Field::Burned), index);
        self.blame_balance(site.block.miner, AssetId::NATIVE, index);
        self.blame_balance(source, AssetId::NATIVE, index);
        self.blame_key(StateKey::Nonce(source), index);
        match &body.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    self.blame_balance(source, transfer.asset, index);
                    self.blame_balance(transfer.destination, transfer.asset, index);
                    self.blame_key(StateKey::Nonce(transfer.destination), index);
                    self.blame_key(StateKey::Registered(transfer.destination), index);
                }
            }
            TransactionData::Burn { asset, .. } => self.blame_balance(source, *asset, index),
            TransactionData::Multisig(_) => self.blame_key(StateKey::Multisig(source), index),
            TransactionData::Opaque(_) => {}
        }
    }

    pub(super) fn write(&mut self, key: StateKey, value: Option<StateValue>, index: usize) {
        self.execution.delta.insert(key, value);
        self.blame_key(key, index);
    }

    pub(super) fn drop_write(&mut self, key: StateKey, index: usize) {
        self.execution.delta.remove(&key);
        self.blame_key(key, index);
    }

    /// What the block leaves an account with, as far as the result says.
    pub(super) fn balance(&self, site: &Site<'_>, account: Address, asset: AssetId) -> Amount {
        match self.execution.delta.get(&StateKey::Balance(account, asset)) {
            Some(Some(StateValue::Balance(amount))) => *amount,
            Some(_) => Amount::ZERO,
            None => site.before(account, asset),
        }
    }

    /// Alters a balance because of a transaction.
    pub(super) fn change(
        &mut self,
        site: &Site<'_>,
        (account, asset): (Address, AssetId),
        index: usize,
        to: impl FnOnce(Amount) -> Amount,
    ) {
        let amount = to(self.balance(site, account, asset));
        self.execution.delta.set_balance(account, asset, amount);
        self.blame_balance(account, asset, index);
    }

    /// Alters a native balance because of no transaction.
    pub(super) fn change_paid(
        &mut self,
        site: &Site<'_>,
        account: Address,
        to: impl FnOnce(Amount) -> Amount,
    ) {
        let amount = to(self.balance(site, account, AssetId::NATIVE));
        self.execution.delta.set_balance(account, AssetId::NATIVE, amount);
    }

    /// Alters the outcome of a transaction because of itself.
    pub(super) fn change_outcome(&mut self, index: usize, to: impl FnOnce(&mut Outcome)) {
        if let Some(outcome) = self.execution.outcomes.get_mut(index) {
            let place = Place::Outcome(outcome.hash);
            to(outcome);
            self.blame(place, index);
        }
    }
}
