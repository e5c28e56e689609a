//! Which transaction a difference begins with.
//!
//! An outcome names its transaction. For state, block and candidate are executed again on the first
//! k transactions only: a beginning of the block that shows the same difference, and does not without
//! its last transaction, ends with the culprit. Where
//! that leads nowhere (the difference does not come back, or the candidate cannot be run again, or does
//! not come to its end when it is) it is the first transaction that touches the key, which is a hint
//! and says so.

use std::sync::Arc;

use comparator::{
    Difference, Execution, Failure, Field, LocateMethod, LocatedTransaction, Schedule, Side,
};
use storage_snapshot::{Amount, StateKey, TxHash};

use crate::{
    execute::{BlockExecutor, ExecutableBlock, PreState, SerialExecutor},
    fingerprint::without_numbers,
    observe::observe,
    rules::{Effect, for_each_effect},
};

/// The transaction that a difference begins with; `None` if no transaction has to do with it.
pub fn locate(
    difference: &Difference,
    block: &ExecutableBlock,
    rerun: Option<Rerun<'_>>,
) -> Option<LocatedTransaction> {
    if let Some(hash) = difference.transaction {
        return located(block, index_of(block, &hash)?, LocateMethod::Outcome);
    }
    match rerun.map(|rerun| rerun.first_difference(difference, block)) {
        Some(Found::At(index)) => located(block, index, LocateMethod::Prefix),
        // It differs before the first transaction: the reward is at fault.
        Some(Found::WithoutTransactions) => None,
        Some(Found::Nowhere) | None => {
            let index = block.transactions.iter().position(|transaction| {
                !transaction.already_executed
                    && difference.key.is_some_and(|key| touches(&transaction.body, &key))
            });
            located(block, index?, LocateMethod::Touch)
        }
    }
}

/// The means to execute parts of a block again.
#[derive(Clone, Copy, Debug)]
pub struct Rerun<'a> {
    /// The candidate.
    pub candidate: &'a dyn BlockExecutor,
    /// The state before the block.
    pub pre_state: &'a Arc<PreState>,
    /// The schedule under which the difference showed.
    pub schedule: Schedule,
}

enum Found {
    At(usize),
    WithoutTransactions,
    Nowhere,
}

impl Rerun<'_> {
    /// Halves the block until one transaction is left. A difference may vanish again in a longer
    /// prefix, so the end of the search is checked and not believed.
    fn first_difference(&self, difference: &Difference, block: &ExecutableBlock) -> Found {
        self.search(difference, block).unwrap_or(Found::Nowhere)
    }

    /// `None` as soon as the candidate does not come to its end: it costs its budget each time.
    fn search(&self, difference: &Difference, block: &ExecutableBlock) -> Option<Found> {
        let differs = |count| self.differs(difference, block, count);
        let count = block.transactions.len();
        if !differs(count)? {
            return None;
        }
        if differs(0)? {
            return Some(Found::WithoutTransactions);
        }
        let (mut agrees, mut differing) = (0, count);
        while differing - agrees > 1 {
            let middle = agrees + (differing - agrees) / 2;
            if differs(middle)? {
                differing = middle;
            } else {
                agrees = middle;
            }
        }
        (differs(differing)? && !differs(agrees)?).then_some(Found::At(agrees))
    }

    /// Whether control and candidate differ in the same thing on the first `count` transactions;
    /// `None` if the candidate breaks in another way there.
    fn differs(
        &self,
        difference: &Difference,
        block: &ExecutableBlock,
        count: usize,
    ) -> Option<bool> {
        let prefix = Arc::new(block.prefix(count));
        let Ok(control) = SerialExecutor.control(&prefix, self.pre_state) else {
            return Some(false);
        };
        let (observation, _) = observe(self.candidate, &prefix, self.pre_state, self.schedule);
        match (observation.result, &difference.key) {
            (Ok(execution), Some(key)) => {
                Some(control.execution.delta.get(key) != execution.delta.get(key))
            }
            (Ok(execution), None) => {
                let total = |execution| total(difference.field, execution);
                Some(total(&control.execution) != total(&execution))
            }
            (Err(failure), _) if Difference::from(&failure).field == difference.field => {
                Some(message(&Difference::from(&failure)) == message(difference))
            }
            (Err(Failure::Error(_)), _) => Some(false),
            (Err(_), _) => None,
        }
    }
}

/// What is said where there is no result: a crash with another message is another crash. Numbers and
/// hashes in it may belong to the block.
pub(crate) fn message(difference: &Difference) -> Option<String> {
    match &difference.observed {
        Side::Text(text) => Some(without_numbers(text)),
        _ => None,
    }
}

/// The total that a field is about; nothing for fields that are about something else.
fn total(field: Field, execution: &Execution) -> Option<Amount> {
    let totals = &execution.totals;
    match field {
        Field::Fees => Some(totals.fees),
        Field::Burned => Some(totals.burned),
        Field::MinerReward => Some(totals.miner_reward),
        Field::DevReward => Some(totals.dev_reward),
        _ => None,
    }
}

/// Whether a transaction writes a key, by its effects.
pub(crate) fn touches(transaction: &crate::chain::Transaction, key: &StateKey) -> bool {
    if transaction.opaque_kind().is_some() {
        return false;
    }
    let touched = for_each_effect(transaction, |effect| {
        let hit = match (&effect, key) {
            (Effect::Nonce(account, _), StateKey::Nonce(named)) => *account == named,
            (
                Effect::Debit(account, asset, _) | Effect::Credit(account, asset, _),
                StateKey::Balance(named, of),
            ) => *account == named && asset == of,
            // A credit may be what makes an account known.
            (Effect::Credit(account, ..), StateKey::Nonce(named) | StateKey::Registered(named)) => {
                *account == named
            }
            (Effect::Multisig(account, _), StateKey::Multisig(named)) => *account == named,
            _ => false,
        };
        if hit { Err(()) } else { Ok(()) }
    });
    touched.is_err()
}

fn index_of(block: &ExecutableBlock, hash: &TxHash) -> Option<usize> {
    block.transactions.iter().position(|transaction| transaction.body.hash == *hash)
}

fn located(
    block: &ExecutableBlock,
    index: usize,
    method: LocateMethod,
) -> Option<LocatedTransaction> {
    let hash = block.transactions.get(index)?.body.hash;
    Some(LocatedTransaction { index, hash, method })
}
