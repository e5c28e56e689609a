//! What a block says about itself: who moves what, and what came of it on both sides.

use std::{
    cell::{Cell, OnceCell},
    collections::HashMap,
};

use comparator::{Difference, Execution, Field, Outcome, Side, Status};
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateKey, StateRead, StateValue, TxHash};

use super::{Conflict, Named, Question, as_reported::as_reported};
use crate::{
    chain::{Transaction, TransactionData},
    execute::{ExecutableBlock, SerialExecutor},
};

/// The block, taken apart.
pub(super) struct Facts<'a> {
    pub(super) question: &'a Question<'a>,
    pub(super) moves: Vec<Move>,
    positions: OnceCell<HashMap<TxHash, usize, ahash::RandomState>>,
    /// How many transactions may still be executed to see what would come of them.
    to_execute: Cell<usize>,
    as_reported: OnceCell<Option<Execution>>,
}

/// An amount that a transaction takes from a balance, or gives to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) index: usize,
    pub(super) account: Address,
    pub(super) asset: AssetId,
    pub(super) amount: Amount,
    pub(super) part: Part,
    pub(super) way: Way,
}

/// Which part of a transaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Fee,
    Output(usize),
    Burn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Debit,
    Credit,
    /// A credit that overflows.
    Overflow,
    /// A credit after one that overflows.
    Unreached,
}

/// A balance that differs, both sides as numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta {
    pub(super) account: Address,
    pub(super) asset: AssetId,
    pub(super) control: Amount,
    pub(super) observed: Amount,
}

impl Delta {
    /// What the candidate has too much, modulo 2^64.
    pub(super) const fn excess(&self) -> Amount {
        self.observed.wrapping_sub(self.control)
    }

    pub(super) const fn key(&self) -> StateKey {
        StateKey::Balance(self.account, self.asset)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn new(question: &'a Question<'a>) -> Self {
        let mut facts = Self {
            question,
            moves: Vec::new(),
            positions: OnceCell::new(),
            to_execute: Cell::new(TO_EXECUTE_MAX),
            as_reported: OnceCell::new(),
        };
        facts.moves = facts.list_moves();
        facts
    }

    pub(super) const fn block(&self) -> &'a ExecutableBlock {
        self.question.block
    }

    pub(super) fn observed(&self) -> Option<&'a Execution> {
        self.question.observed.ok()
    }

    pub(super) fn field(&self, index: usize) -> Option<Field> {
        self.question.differences.get(index).map(|difference| difference.field)
    }

    pub(super) fn differences(&self) -> impl Iterator<Item = (usize, &'a Difference)> {
        self.question.differences.iter().enumerate()
    }

    pub(super) fn body(&self, index: usize) -> Option<&'a Transaction> {
        self.block().transactions.get(index).map(|listed| &listed.body)
    }

    /// The control's outcomes are in the order of the block.
    pub(super) fn outcome(&self, index: usize) -> Option<&'a Outcome> {
        self.question.control.outcomes.get(index)
    }

    pub(super) fn is_executed(&self, index: usize) -> bool {
        self.outcome(index).is_some_and(|outcome| outcome.status == Status::Executed)
    }

    pub(super) fn is_skipped(&self, index: usize) -> bool {
        self.outcome(index).is_some_and(|outcome| matches!(outcome.status, Status::Skipped(_)))
    }

    pub(super) fn is_failed(&self, index: usize) -> bool {
        self.outcome(index).is_some_and(|outcome| matches!(outcome.status, Status::Failed(_)))
    }

    pub(super) fn executed(&self) -> impl Iterator<Item = (usize, &'a Transaction)> {
        let bodies = self.block().transactions.iter().map(|listed| &listed.body);
        bodies.enumerate().filter(|(index, _)| self.is_executed(*index))
    }

    pub(super) fn position(&self, hash: &TxHash) -> Option<usize> {
        let positions = self.positions.get_or_init(|| {
            let listed = self.block().transactions.iter().enumerate();
            listed.map(|(index, listed)| (listed.body.hash, index)).collect()
        });
        positions.get(hash).copied()
    }

    pub(super) fn named(&self, index: usize) -> Option<Named> {
        Some(Named { index, hash: self.body(index)?.hash })
    }

    pub(super) fn value_before(&self, key: &StateKey) -> Option<StateValue> {
        // One that is not known explains nothing.
        self.question.pre_state.read(key).ok().flatten()
    }

    pub(super) fn before(&self, account: Address, asset: AssetId) -> Amount {
        match self.value_before(&StateKey::Balance(account, asset)) {
            Some(StateValue::Balance(amount)) => amount,
            _ => Amount::ZERO,
        }
    }

    pub(super) fn nonce_before(&self, account: Address) -> Option<Nonce> {
        match self.value_before(&StateKey::Nonce(account)) {
            Some(StateValue::Nonce(nonce)) => Some(nonce),
            _ => None,
        }
    }

    /// A difference of a balance as numbers: who wrote nothing has what was there before.
    pub(super) fn delta(&self, index: usize) -> Option<Delta> {
        let difference = self.question.differences.get(index)?;
        let StateKey::Balance(account, asset) = difference.key? else { return None };
        let number = |side: &Side| match side {
            Side::Number(number) => Some(Amount::new(*number)),
            Side::Absent => Some(self.before(account, asset)),
            Side::None => Some(Amount::ZERO),
            _ => None,
        };
        let (control, observed) = (number(&difference.control)?, number(&difference.observed)?);
        Some(Delta { account, asset, control, observed })
    }

    /// What moves on a balance, those that take effect.
    pub(super) fn applied(&self, account: Address, asset: AssetId) -> impl Iterator<Item = &Move> {
        self.moves.iter().filter(move |moved| {
            moved.account == account && moved.asset == asset && moved.is_applied()
        })
    }

    /// The index of the difference of a key, or of a total.
    pub(super) fn index_of_key(&self, key: StateKey) -> Option<usize> {
        self.differences().find(|(_, other)| other.key == Some(key)).map(|(index, _)| index)
    }

    pub(super) fn index_of_total(&self, field: Field) -> Option<usize> {
        self.differences().find(|(_, other)| other.field == field).map(|(index, _)| index)
    }

    /// What the control makes of the block once it is altered; nothing if that was asked too often of
    /// too large a block.
    pub(super) fn what_if(&self, alter: impl FnOnce(&mut ExecutableBlock)) -> Option<Execution> {
        let left = self.to_execute.get().checked_sub(self.block().transactions.len())?;
        self.to_execute.set(left);
        let mut block = self.block().clone();
        alter(&mut block);
        let control = SerialExecutor.control(&block, self.question.pre_state).ok()?;
        Some(control.execution)
    }

    /// Whether the candidate shows exactly what follows from the outcomes that it reports. Another
    /// outcome is a report of its own.
    pub(super) fn follows_from_outcomes(&self, difference: &Difference) -> bool {
        let expected = self.as_reported.get_or_init(|| as_reported(self));
        let (Some(expected), Some(observed)) = (expected, self.observed()) else { return false };
        match (difference.field, difference.key) {
            (Field::Fees, _) => observed.totals.fees == expected.totals.fees,
            (Field::Burned, _) => observed.totals.burned == expected.totals.burned,
            (_, Some(key)) => observed.delta.get(&key) == expected.delta.get(&key),
            (_, None) => false,
        }
    }

    /// The transactions that write a key, in order.
    pub(super) fn touching(&self, key: &StateKey) -> Vec<usize> {
        let mut touching: Vec<usize> = match key {
            StateKey::Balance(account, asset) => {
                self.applied(*account, *asset).map(|moved| moved.index).collect()
            }
            StateKey::Nonce(account) => {
                let bodies = self.block().transactions.iter().enumerate();
                let sent = bodies.filter(|(index, listed)| {
                    listed.body.source == *account && !self.is_skipped(*index)
                });
                let sent = sent.map(|(index, _)| index);
                // Whoever receives for the first time gets a nonce.
                let is_new = self.nonce_before(*account).is_none();
                let received = self.credits_of(*account).filter(|_| is_new);
                sent.chain(received).collect()
            }
            StateKey::Multisig(account) => {
                let executed = self.executed().filter(|(_, body)| {
                    body.source == *account && matches!(body.data, TransactionData::Multisig(_))
                });
                executed.map(|(index, _)| index).collect()
            }
            StateKey::Registered(account) => self.credits_of(*account).collect(),
        };
        touching.sort_unstable();
        touching.dedup();
        touching
    }

    fn credits_of(&self, account: Address) -> impl Iterator<Item = usize> {
        let credits = self
            .moves
            .iter()
            .filter(move |moved| moved.account == account && moved.way == Way::Credit);
        credits.map(|moved| moved.index)
    }

    /// Two transactions that meet in the key of the first difference. The later one is where it
    /// begins, if that was found and it touches the key.
    pub(super) fn conflict(&self, begins: Option<usize>) -> Option<Conflict> {
        let key = self.question.differences.first()?.key?;
        let touching = self.touching(&key);
        let later = touching.iter().position(|index| Some(*index) == begins).filter(|at| *at > 0);
        let later = later.unwrap_or(1);
        let (earlier, later) = (touching.get(later.checked_sub(1)?)?, touching.get(later)?);
        Some(Conflict { key, earlier: self.named(*earlier)?, later: self.named(*later)? })
    }

    /// The moves of all transactions that are not skipped, in order. Of a failed one those before the
    /// failure take effect.
    fn list_moves(&self) -> Vec<Move> {
        let block = self.block();
        let mut held: HashMap<(Address, AssetId), Amount, ahash::RandomState> = HashMap::default();
        for (account, paid) in [(block.dev, block.reward.dev), (block.miner, block.reward.miner)] {
            let native = (account, AssetId::NATIVE);
            let before = self.before(account, AssetId::NATIVE);
            let sum = held.entry(native).or_insert(before);
            *sum = sum.wrapping_add(paid);
        }
        let mut moves = Vec::new();
        for (index, listed) in block.transactions.iter().enumerate() {
            let body = &listed.body;
            if self.is_skipped(index) || body.opaque_kind().is_some() {
                continue;
            }
            let debit = |asset, amount, part| Move {
                index,
                account: body.source,
                asset,
                amount,
                part,
                way: Way::Debit,
            };
            moves.push(debit(AssetId::NATIVE, body.fee, Part::Fee));
            match &body.data {
                TransactionData::Burn { asset, amount } => {
                    moves.push(debit(*asset, *amount, Part::Burn));
                }
                TransactionData::Transfers(outputs) => {
                    for (nth, output) in outputs.iter().enumerate() {
                        moves.push(debit(output.asset, output.amount, Part::Output(nth)));
                    }
                    let mut has_failed = false;
                    for (nth, output) in outputs.iter().enumerate() {
                        let key = (output.destination, output.asset);
                        let sum = held.entry(key).or_insert_with(|| self.before(key.0, key.1));
                        let way = match sum.checked_add(output.amount) {
                            _ if has_failed => Way::Unreached,
                            Some(after) => {
                                *sum = after;
                                Way::Credit
                            }
                            None => {
                                has_failed = true;
                                Way::Overflow
                            }
                        };
                        moves.push(Move {
                            index,
                            account: output.destination,
                            asset: output.asset,
                            amount: output.amount,
                            part: Part::Output(nth),
                            way,
                        });
                    }
                }
                TransactionData::Multisig(_) | TransactionData::Opaque(_) => {}
            }
        }
        moves
    }

    /// An account, short enough to be read; the two that the block pays by their office.
    pub(super) fn account(&self, account: &Address) -> String {
        let office = if *account == self.block().miner {
            "the miner "
        } else if *account == self.block().dev {
            "the dev key "
        } else {
            ""
        };
        format!("{office}{account:.8}")
    }

    pub(super) fn key(&self, key: &StateKey) -> String {
        let account = self.account(key.account());
        match key {
            StateKey::Nonce(_) => format!("the nonce of {account}"),
            StateKey::Balance(_, asset) if *asset == AssetId::NATIVE => {
                format!("the balance of {account}")
            }
            StateKey::Balance(_, asset) => format!("the balance of {account} in {asset:.8}"),
            StateKey::Multisig(_) => format!("the multisig of {account}"),
            StateKey::Registered(_) => format!("the registration of {account}"),
        }
    }
}

impl Move {
    pub(super) const fn is_applied(&self) -> bool {
        matches!(self.way, Way::Debit | Way::Credit)
    }

    /// What it adds to the balance, modulo 2^64.
    pub(super) const fn effect(&self) -> Amount {
        match self.way {
            Way::Debit => Amount::ZERO.wrapping_sub(self.amount),
            Way::Credit => self.amount,
            Way::Overflow | Way::Unreached => Amount::ZERO,
        }
    }
}

/// What several moves add to a balance together.
pub(super) fn sum<'a>(moves: impl IntoIterator<Item = &'a Move>) -> Amount {
    moves.into_iter().fold(Amount::ZERO, |sum, moved| sum.wrapping_add(moved.effect()))
}

/// What is to be added to one to come to the other, modulo 2^64.
pub(super) const fn negated(amount: Amount) -> Amount {
    Amount::ZERO.wrapping_sub(amount)
}

/// "too high by 11", the nearer way around 2^64.
pub(super) fn too(excess: Amount) -> String {
    let signed = excess.as_u64() as i64;
    let way = if signed < 0 { "low" } else { "high" };
    format!("too {way} by {}", signed.unsigned_abs())
}

/// A diagnosis is not worth more time than executing some large blocks takes.
const TO_EXECUTE_MAX: usize = 100_000;
