//! What the lanes of one block share: accounts in a concurrent map, totals in atomics.
//!
//! Transactions of one batch never name the same account, so lanes meet only in the map itself. No
//! lane ever holds two accounts at once, so none can wait for another.

use std::{
    borrow::Borrow,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use comparator::{FailReason, Outcome, SkipReason, Status};
use dashmap::{DashMap, mapref::one::RefMut};
use smallvec::SmallVec;
use storage_snapshot::{
    Address, Amount, AssetId, DeltaPart, MultisigConfig, Nonce, ReadError, StateDelta, StateKey,
    StateValue, TxHash, UniformState,
};

use crate::{
    execute::{ExecutableTransaction, Loads, PreState},
    rules::{Effect, NonceWindow, Walk, for_each_effect},
};

/// The state of a block under parallel execution, on top of a parent that is only read: `S` is how that
/// is held, shared or borrowed.
#[derive(Debug)]
pub struct ParallelChainState<S> {
    parent: S,
    /// By their places among the accounts that the block names.
    accounts: DashMap<u32, AccountState, UniformState>,
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
    /// Nearly always the native one alone.
    balances: SmallVec<[(AssetId, BalanceState); 1]>,
    /// Most accounts have none.
    multisig: Option<Box<Option<MultisigConfig>>>,
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
    NotNamed(Address),
    Read(ReadError),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl<S: Borrow<PreState>> ParallelChainState<S> {
    /// An empty cache on top of the parent's state, which has to cover the block.
    pub fn new(parent: S) -> Self {
        let accounts = parent.borrow().accounts().len();
        Self {
            parent,
            accounts: DashMap::with_capacity_and_hasher(accounts, UniformState::default()),
            fees: AtomicU64::new(0),
            burned: AtomicU64::new(0),
            total_overflowed: AtomicBool::new(false),
            loads_requested: AtomicU64::new(0),
            loads_from_store: AtomicU64::new(0),
        }
    }

    /// A lane on this state. Several may run at once as long as their transactions name different
    /// accounts.
    pub(super) fn lane(&self) -> Lane<'_, S> {
        let parent = self.parent.borrow();
        Lane { state: self, parent, places: parent.walk(), held: None, requested: 0, from_store: 0 }
    }

    /// Credits a reward or the fees.
    pub(super) fn credit(&self, account: &Address, amount: Amount) -> Result<(), Stop> {
        self.lane().apply(Effect::Credit(account, AssetId::NATIVE, amount))
    }

    /// The fees of what was executed so far; `None` if they overflowed.
    pub(super) fn fees(&self) -> Option<Amount> {
        self.total(&self.fees)
    }

    /// The native units burned so far; `None` if they overflowed.
    pub(super) fn burned(&self) -> Option<Amount> {
        self.total(&self.burned)
    }

    /// How often state was asked for by the lanes that have ended.
    pub fn loads(&self) -> Loads {
        let requested = self.loads_requested.load(Ordering::Relaxed);
        let from_store = self.loads_from_store.load(Ordering::Relaxed);
        Loads { requested, from_cache: requested.saturating_sub(from_store), from_store }
    }

    /// The writes of the block, once all its transactions have run.
    pub(super) fn into_delta(self) -> Result<StateDelta, ReadError> {
        let Self { parent, accounts, .. } = self;
        let parent = parent.borrow();
        // What is in the map is large to move, so it is looked at where it is.
        let accounts = accounts.into_read_only();
        // In the order of the places the writes of each kind come out in the order of their keys.
        let mut at_place = vec![None; parent.accounts().len()];
        for (place, state) in accounts.iter() {
            at_place[*place as usize] = Some(state);
        }

        let mut nonces = Vec::with_capacity(parent.accounts().len());
        let (mut multisigs, mut registered) = (Vec::new(), Vec::new());
        let mut balances = Vec::with_capacity(parent.balances());
        let mut by_asset: Vec<&(AssetId, BalanceState)> = Vec::new();
        for (place, state) in at_place.into_iter().enumerate() {
            let Some(state) = state else { continue };
            let account = parent.accounts()[place];
            let mut credited = false;
            by_asset.clear();
            by_asset.extend(&state.balances);
            by_asset.sort_unstable_by_key(|(asset, _)| *asset);
            for (asset, balance) in &by_asset {
                credited |= balance.credited;
                if balance.credited || balance.debited {
                    let after = balance.before_and_credits.wrapping_sub(balance.spent);
                    let key = StateKey::Balance(account, *asset);
                    balances.push((key, Some(StateValue::Balance(after))));
                }
            }
            let key = StateKey::Nonce(account);
            match state.nonce {
                Some(nonce) => nonces.push((key, Some(StateValue::Nonce(nonce)))),
                None if credited && parent.nonce_at(place)?.is_none() => {
                    nonces.push((key, Some(StateValue::Nonce(Nonce::new(0)))));
                }
                None => {}
            }
            if credited && !parent.is_registered_at(place)? {
                registered.push((StateKey::Registered(account), Some(StateValue::Registered)));
            }
            if let Some(config) = &state.multisig {
                let config = Option::clone(config).map(StateValue::from);
                multisigs.push((StateKey::Multisig(account), config));
            }
        }
        let parts = [nonces, balances, multisigs, registered];
        Ok(parts.map(DeltaPart::from_iter).into_iter().collect())
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

/// One worker's way through its share of a batch.
///
/// It keeps hold of the account that it came to last, because a transaction comes to its source
/// several times in a row, and lets go of it before it takes another one.
pub(super) struct Lane<'a, S> {
    state: &'a ParallelChainState<S>,
    parent: &'a PreState,
    places: Walk<'a>,
    held: Option<RefMut<'a, u32, AccountState>>,
    requested: u64,
    from_store: u64,
}

impl<S: Borrow<PreState>> Lane<'_, S> {
    /// Executes the transaction with a number in the block, and then holds nothing.
    pub(super) fn execute(
        &mut self,
        number: usize,
        transaction: &ExecutableTransaction,
    ) -> Result<Outcome, Stop> {
        self.places.go_to(number);
        let outcome = self.perform(transaction);
        self.held = None;
        outcome
    }

    fn perform(&mut self, transaction: &ExecutableTransaction) -> Result<Outcome, Stop> {
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
                self.settle_nonce(&body.source)?;
                self.state.add_total(&self.state.fees, body.fee);
                Ok(outcome(Status::Executed, body.fee))
            }
            Err(Stop::CreditOverflow) => {
                if let Some(window) = &mut self.account(&body.source)?.nonces {
                    window.undo(body.nonce);
                }
                Ok(outcome(Status::Failed(FailReason::CreditOverflow), Amount::ZERO))
            }
            Err(stop) => Err(stop),
        }
    }

    fn apply(&mut self, effect: Effect<'_>) -> Result<(), Stop> {
        match effect {
            Effect::Nonce(account, nonce) => self.account(account)?.nonce = Some(nonce),
            Effect::Debit(account, asset, amount) => {
                let balance = self.balance(account, asset)?;
                balance.spent = balance.spent.saturating_add(amount);
                balance.debited = true;
            }
            Effect::Credit(account, asset, amount) => {
                let balance = self.balance(account, asset)?;
                let after = balance.before_and_credits.checked_add(amount);
                balance.before_and_credits = after.ok_or(Stop::CreditOverflow)?;
                balance.credited = true;
            }
            Effect::Burn(amount) => self.state.add_total(&self.state.burned, amount),
            Effect::Multisig(account, config) => {
                self.account(account)?.multisig = Some(Box::new(config));
            }
        }
        Ok(())
    }

    fn use_nonce(
        &mut self,
        account: &Address,
        nonce: Nonce,
        transaction: TxHash,
    ) -> Result<bool, Stop> {
        self.requested += 1;
        let parent = self.parent;
        let place = self.place(account)?;
        let held = self.at(place);
        let mut loaded = false;
        let window = match &mut held.nonces {
            Some(window) => window,
            None => {
                loaded = true;
                let initial = parent.nonce_at(place)?;
                let initial = initial.ok_or(Stop::SourceWithoutNonce(transaction))?;
                held.nonces.insert(NonceWindow::new(initial))
            }
        };
        let used = window.use_nonce(nonce).is_some();
        self.from_store += u64::from(loaded);
        Ok(used)
    }

    fn settle_nonce(&mut self, account: &Address) -> Result<(), Stop> {
        let source = self.account(account)?;
        if let Some(window) = &source.nonces {
            source.nonce = Some(window.expected());
        }
        Ok(())
    }

    /// Cache first: the snapshot is asked only for what no transaction of the block needed before.
    fn balance(&mut self, account: &Address, asset: AssetId) -> Result<&mut BalanceState, Stop> {
        self.requested += 1;
        let parent = self.parent;
        let place = self.place(account)?;
        let known = self.at(place).balances.iter().position(|(held, _)| *held == asset);
        self.from_store += u64::from(known.is_none());
        let balances = &mut self.at(place).balances;
        let index = match known {
            Some(index) => index,
            None => {
                let balance = BalanceState {
                    before_and_credits: parent.balance_at(place, asset)?,
                    spent: Amount::ZERO,
                    credited: false,
                    debited: false,
                };
                balances.push((asset, balance));
                balances.len() - 1
            }
        };
        Ok(&mut balances[index].1)
    }

    fn account(&mut self, account: &Address) -> Result<&mut AccountState, Stop> {
        let place = self.place(account)?;
        Ok(self.at(place))
    }

    fn place(&mut self, account: &Address) -> Result<usize, Stop> {
        self.places.place(account).ok_or(Stop::NotNamed(*account))
    }

    fn at(&mut self, place: usize) -> &mut AccountState {
        let place = place as u32;
        // Two accounts in one hand could be the two that another lane holds the other way round.
        self.held.take_if(|held| *held.key() != place);
        let state = self.state;
        self.held.get_or_insert_with(|| state.accounts.entry(place).or_default()).value_mut()
    }
}

impl<S> Drop for Lane<'_, S> {
    fn drop(&mut self) {
        self.state.loads_requested.fetch_add(self.requested, Ordering::Relaxed);
        self.state.loads_from_store.fetch_add(self.from_store, Ordering::Relaxed);
    }
}
