//! What the lanes of one block share: accounts in a concurrent map, totals in atomics.
//!
//! Transactions of one batch never name the same account, so lanes meet only in the map itself. No
//! lane ever holds two accounts at once, so none can wait for another.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use comparator::{FailReason, Outcome, SkipReason, Status};
use dashmap::{DashMap, mapref::one::RefMut};
use storage_snapshot::{
    Address, Amount, AssetId, MultisigConfig, Nonce, ReadError, StateDelta, StateKey, StateRead,
    StateValue, TxHash,
};

use crate::{
    execute::{ExecutableTransaction, Loads},
    rules::{Effect, NonceWindow, for_each_effect},
};

/// The state of a block under parallel execution, on top of a parent that is only read.
#[derive(Debug)]
pub struct ParallelChainState<S> {
    parent: S,
    accounts: DashMap<Address, AccountState, ahash::RandomState>,
    fees: AtomicU64,
    burned: AtomicU64,
    /// A total left the range of its type. The block has no result then.
    total_overflowed: AtomicBool,
    loads_requested: AtomicU64,
    loads_from_store: AtomicU64,
}

/// One account within the block; everything is loaded when it is first needed.
#[derive(Debug, Default)]
struct AccountState {
    nonces: Option<NonceWindow>,
    nonce: Option<Nonce>,
    balances: HashMap<AssetId, BalanceState, ahash::RandomState>,
    multisig: Option<Option<MultisigConfig>>,
}

/// A balance within the block. Spending is taken from it only at the end.
#[derive(Debug)]
struct BalanceState {
    before_and_credits: Amount,
    spent: Amount,
    credited: bool,
    debited: bool,
}

/// Why a transaction, or the whole block, cannot go on.
#[derive(Debug)]
pub(super) enum Stop {
    CreditOverflow,
    SourceWithoutNonce(TxHash),
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl<S: StateRead> ParallelChainState<S> {
    /// An empty cache on top of the parent's state.
    pub fn new(parent: S) -> Self {
        Self {
            parent,
            accounts: DashMap::default(),
            fees: AtomicU64::new(0),
            burned: AtomicU64::new(0),
            total_overflowed: AtomicBool::new(false),
            loads_requested: AtomicU64::new(0),
            loads_from_store: AtomicU64::new(0),
        }
    }

    /// Executes one transaction. Callable from several lanes at once for transactions that name
    /// different accounts.
    pub(super) fn execute(&self, transaction: &ExecutableTransaction) -> Result<Outcome, Stop> {
        let body = &transaction.body;
        let outcome = |status, fee| Outcome { hash: body.hash, status, fee };
        if transaction.already_executed {
            return Ok(outcome(Status::Skipped(SkipReason::AlreadyExecuted), Amount::ZERO));
        }
        if !self.use_nonce(&body.source, body.nonce, body.hash)? {
            return Ok(outcome(Status::Skipped(SkipReason::Nonce), Amount::ZERO));
        }
        match for_each_effect(body, |effect| self.apply(effect)) {
            Ok(()) => {
                self.settle_nonce(&body.source);
                self.add_total(&self.fees, body.fee);
                Ok(outcome(Status::Executed, body.fee))
            }
            Err(Stop::CreditOverflow) => {
                if let Some(window) = &mut self.account(&body.source).nonces {
                    window.undo(body.nonce);
                }
                Ok(outcome(Status::Failed(FailReason::CreditOverflow), Amount::ZERO))
            }
            Err(stop) => Err(stop),
        }
    }

    /// Credits a reward or the fees.
    pub(super) fn credit(&self, account: &Address, amount: Amount) -> Result<(), Stop> {
        self.apply(Effect::Credit(account, AssetId::NATIVE, amount))
    }

    /// The fees of what was executed so far; `None` if they overflowed.
    pub(super) fn fees(&self) -> Option<Amount> {
        self.total(&self.fees)
    }

    /// The native units burned so far; `None` if they overflowed.
    pub(super) fn burned(&self) -> Option<Amount> {
        self.total(&self.burned)
    }

    /// How often state was asked for so far.
    pub fn loads(&self) -> Loads {
        let requested = self.loads_requested.load(Ordering::Relaxed);
        let from_store = self.loads_from_store.load(Ordering::Relaxed);
        Loads { requested, from_cache: requested.saturating_sub(from_store), from_store }
    }

    /// The writes of the block, once all its transactions have run.
    pub(super) fn into_delta(self) -> Result<StateDelta, ReadError> {
        let mut delta = StateDelta::new();
        for (account, state) in self.accounts {
            let mut credited = false;
            for (asset, balance) in &state.balances {
                credited |= balance.credited;
                if balance.credited || balance.debited {
                    let after = balance.before_and_credits.wrapping_sub(balance.spent);
                    delta.set_balance(account, *asset, after);
                }
            }
            match state.nonce {
                Some(nonce) => delta.set_nonce(account, nonce),
                None if credited && self.parent.read(&StateKey::Nonce(account))?.is_none() => {
                    delta.set_nonce(account, Nonce::new(0));
                }
                None => {}
            }
            if credited && self.parent.read(&StateKey::Registered(account))?.is_none() {
                delta.register(account);
            }
            if let Some(config) = state.multisig {
                delta.set_multisig(account, config);
            }
        }
        Ok(delta)
    }

    fn apply(&self, effect: Effect<'_>) -> Result<(), Stop> {
        match effect {
            Effect::Nonce(account, nonce) => self.account(account).nonce = Some(nonce),
            Effect::Debit(account, asset, amount) => {
                self.with_balance(account, asset, |balance| {
                    balance.spent = balance.spent.saturating_add(amount);
                    balance.debited = true;
                })?;
            }
            Effect::Credit(account, asset, amount) => {
                let credited = self.with_balance(account, asset, |balance| {
                    let after = balance.before_and_credits.checked_add(amount)?;
                    balance.before_and_credits = after;
                    balance.credited = true;
                    Some(())
                })?;
                credited.ok_or(Stop::CreditOverflow)?;
            }
            Effect::Burn(amount) => self.add_total(&self.burned, amount),
            Effect::Multisig(account, config) => self.account(account).multisig = Some(config),
        }
        Ok(())
    }

    fn use_nonce(
        &self,
        account: &Address,
        nonce: Nonce,
        transaction: TxHash,
    ) -> Result<bool, Stop> {
        let mut state = self.account(account);
        self.loads_requested.fetch_add(1, Ordering::Relaxed);
        if state.nonces.is_none() {
            let Some(StateValue::Nonce(initial)) = self.load(&StateKey::Nonce(*account))? else {
                return Err(Stop::SourceWithoutNonce(transaction));
            };
            state.nonces = Some(NonceWindow::new(initial));
        }
        Ok(state.nonces.as_mut().is_some_and(|window| window.use_nonce(nonce).is_some()))
    }

    fn settle_nonce(&self, account: &Address) {
        let mut state = self.account(account);
        if let Some(window) = &state.nonces {
            state.nonce = Some(window.expected());
        }
    }

    /// Cache first: the snapshot is asked only for what no transaction of the block needed before.
    fn with_balance<R>(
        &self,
        account: &Address,
        asset: AssetId,
        change: impl FnOnce(&mut BalanceState) -> R,
    ) -> Result<R, ReadError> {
        self.loads_requested.fetch_add(1, Ordering::Relaxed);
        let mut state = self.account(account);
        if let Some(balance) = state.balances.get_mut(&asset) {
            return Ok(change(balance));
        }
        let before = match self.load(&StateKey::Balance(*account, asset))? {
            Some(StateValue::Balance(amount)) => amount,
            _ => Amount::ZERO,
        };
        let balance = state.balances.entry(asset).or_insert(BalanceState {
            before_and_credits: before,
            spent: Amount::ZERO,
            credited: false,
            debited: false,
        });
        Ok(change(balance))
    }

    fn load(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        self.loads_from_store.fetch_add(1, Ordering::Relaxed);
        self.parent.read(key)
    }

    fn account(&self, account: &Address) -> RefMut<'_, Address, AccountState> {
        self.accounts.entry(*account).or_default()
    }

    fn add_total(&self, total: &AtomicU64, amount: Amount) {
        let before = total.fetch_add(amount.as_u64(), Ordering::Relaxed);
        if before.checked_add(amount.as_u64()).is_none() {
            self.total_overflowed.store(true, Ordering::Relaxed);
        }
    }

    fn total(&self, total: &AtomicU64) -> Option<Amount> {
        let overflowed = self.total_overflowed.load(Ordering::Relaxed);
        (!overflowed).then(|| Amount::new(total.load(Ordering::Relaxed)))
    }
}
