//! Where a fault is planted: a block, what the engine rightly makes of it, and what moved in it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use comparator::{Execution, Failure, Outcome, Schedule, Status};
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateKey, StateRead, StateValue};

use crate::{
    chain::{Transaction, TransactionData, Transfer},
    execute::{BlockExecutor, ExecutableBlock, Loads, PreState, parallel::ParallelExecutor},
    rules::{Effect, for_each_effect},
};

/// A block, executed rightly.
pub(super) struct Site<'a> {
    pub(super) block: &'a Arc<ExecutableBlock>,
    pub(super) pre_state: &'a Arc<PreState>,
    pub(super) schedule: Schedule,
    pub(super) right: Execution,
    pub(super) loads: Loads,
    engine: &'a ParallelExecutor,
}

/// A transaction and what became of it.
#[derive(Clone, Copy)]
pub(super) struct Done<'a> {
    pub(super) index: usize,
    pub(super) body: &'a Transaction,
    pub(super) outcome: &'a Outcome,
}

/// An amount that a transaction took from an account, or gave to one.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) index: usize,
    pub(super) account: Address,
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    pub(super) way: Way,
    /// Whether the transaction was executed; one that failed keeps what it moved before.
    pub(super) executed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Debit,
    Credit,
    /// A credit that overflowed.
    Overflow,
    /// A credit that comes after one that overflowed, and so did not happen.
    Unreached,
}

impl<'a> Site<'a> {
    pub(super) fn new(
        block: &'a Arc<ExecutableBlock>,
        pre_state: &'a Arc<PreState>,
        schedule: Schedule,
        engine: &'a ParallelExecutor,
    ) -> Result<Self, Failure> {
        let performed = engine.execute(block, pre_state, schedule)?;
        let (right, loads) = (performed.execution, performed.loads);
        Ok(Self { block, pre_state, schedule, right, loads, engine })
    }

    /// The transactions in the order of the block, which is the order of the engine's outcomes.
    pub(super) fn all(&self) -> impl Iterator<Item = Done<'_>> {
        let pairs = self.block.transactions.iter().zip(&self.right.outcomes).enumerate();
        pairs.map(|(index, (transaction, outcome))| Done {
            index,
            body: &transaction.body,
            outcome,
        })
    }

    pub(super) fn executed(&self) -> impl Iterator<Item = Done<'_>> {
        self.all().filter(|done| done.outcome.status == Status::Executed)
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = Done<'_>> {
        self.all().filter(|done| matches!(done.outcome.status, Status::Failed(_)))
    }

    /// What every transaction that was not skipped moved, in order; with it what it did not move
    /// because it failed.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut credited: HashMap<(Address, AssetId), Amount, ahash::RandomState> =
            HashMap::default();
        let block = self.block;
        for (account, paid) in [(block.dev, block.reward.dev), (block.miner, block.reward.miner)] {
            let key = (account, AssetId::NATIVE);
            let before = self.before(account, AssetId::NATIVE);
            let sum = credited.entry(key).or_insert(before);
            *sum = sum.wrapping_add(paid);
        }
        let mut moves = Vec::new();
        for Done { index, body, outcome } in self.all() {
            if matches!(outcome.status, Status::Skipped(_)) || body.opaque_kind().is_some() {
                continue;
            }
            let executed = outcome.status == Status::Executed;
            let mut overflowed = false;
            let mut push = |account: &Address, asset, amount, way| {
                moves.push(Move { index, account: *account, asset, amount, way, executed });
            };
            let finished: Result<(), std::convert::Infallible> = for_each_effect(body, |effect| {
                match effect {
                    Effect::Debit(account, asset, amount) => {
                        push(account, asset, amount, Way::Debit);
                    }
                    Effect::Credit(account, asset, amount) if overflowed => {
                        push(account, asset, amount, Way::Unreached);
                    }
                    Effect::Credit(account, asset, amount) => {
                        let sum = credited
                            .entry((*account, asset))
                            .or_insert_with(|| self.before(*account, asset));
                        match sum.checked_add(amount) {
                            Some(after) => {
                                *sum = after;
                                push(account, asset, amount, Way::Credit);
                            }
                            None => {
                                overflowed = true;
                                push(account, asset, amount, Way::Overflow);
                            }
                        }
                    }
                    Effect::Nonce(..) | Effect::Burn(_) | Effect::Multisig(..) => {}
                }
                Ok(())
            });
            let Ok(()) = finished;
        }
        moves
    }

    pub(super) fn before(&self, account: Address, asset: AssetId) -> Amount {
        match self.value(&StateKey::Balance(account, asset)) {
            Some(StateValue::Balance(amount)) => amount,
            _ => Amount::ZERO,
        }
    }

    pub(super) fn nonce_before(&self, account: Address) -> Option<Nonce> {
        match self.value(&StateKey::Nonce(account)) {
            Some(StateValue::Nonce(nonce)) => Some(nonce),
            _ => None,
        }
    }

    /// The value before the block. One that is not known would have kept the engine from answering.
    pub(super) fn value(&self, key: &StateKey) -> Option<StateValue> {
        self.pre_state.read(key).unwrap_or_default()
    }

    /// Whether the block pays the account by itself.
    pub(super) fn is_paid(&self, account: &Address) -> bool {
        *account == self.block.miner || *account == self.block.dev
    }

    /// What the engine makes of the block once it has been altered.
    pub(super) fn execute(
        &self,
        alter: impl FnOnce(&mut ExecutableBlock),
    ) -> Result<Execution, Failure> {
        let mut block = ExecutableBlock::clone(self.block);
        alter(&mut block);
        Ok(self.engine.execute(&Arc::new(block), self.pre_state, self.schedule)?.execution)
    }

    /// What the engine makes of the block without some transactions, of which each is then said to
    /// have had an outcome, or none.
    pub(super) fn execute_without(
        &self,
        left_out: &BTreeMap<usize, Option<Outcome>>,
    ) -> Result<Execution, Failure> {
        let mut execution = self.execute(|block| {
            let mut index = 0;
            block.transactions.retain(|_| {
                index += 1;
                !left_out.contains_key(&(index - 1))
            });
        })?;
        let mut others = std::mem::take(&mut execution.outcomes).into_iter();
        for index in 0..self.block.transactions.len() {
            match left_out.get(&index) {
                Some(outcome) => execution.outcomes.extend(outcome.clone()),
                None => execution.outcomes.extend(others.next()),
            }
        }
        Ok(execution)
    }

    /// The worker that executes a transaction. It follows from the transaction's place alone, so that
    /// it is the same in every beginning of the block.
    pub(super) fn lane(&self, place: usize) -> usize {
        place % self.workers()
    }

    pub(super) fn workers(&self) -> usize {
        (self.schedule.workers as usize).max(1)
    }

    /// Whether a throw of the dice comes out with one chance in so many. Seed and transaction decide
    /// it.
    pub(super) fn dice(&self, body: &Transaction, chances: u64) -> bool {
        let mut hasher = blake3::Hasher::new_derive_key("shadow mutant, dice");
        hasher.update(&self.schedule.seed.to_le_bytes());
        hasher.update(body.hash.as_bytes());
        let hash = hasher.finalize();
        let number = hash.as_bytes().first_chunk().map(|first| u64::from_le_bytes(*first));
        number.is_some_and(|number| number.is_multiple_of(chances))
    }
}

impl Move {
    pub(super) fn key(&self) -> (Address, AssetId) {
        (self.account, self.asset)
    }

    pub(super) fn is_applied(&self) -> bool {
        matches!(self.way, Way::Debit | Way::Credit)
    }

    pub(super) fn is_credit(&self) -> bool {
        self.way == Way::Credit
    }

    /// A balance as it would be without the move.
    pub(super) fn undone(&self, balance: Amount) -> Amount {
        match self.way {
            Way::Debit => balance.wrapping_add(self.amount),
            Way::Credit => balance.wrapping_sub(self.amount),
            Way::Overflow | Way::Unreached => balance,
        }
    }

    /// A balance as it would be if the move was made once more.
    pub(super) fn redone(&self, balance: Amount) -> Amount {
        match self.way {
            Way::Debit => balance.wrapping_sub(self.amount),
            Way::Credit => balance.wrapping_add(self.amount),
            Way::Overflow | Way::Unreached => balance,
        }
    }
}

/// The outputs of a transaction; none if it is no transfer.
pub(super) fn outputs(body: &Transaction) -> &[Transfer] {
    match &body.data {
        TransactionData::Transfers(transfers) => transfers,
        _ => &[],
    }
}
