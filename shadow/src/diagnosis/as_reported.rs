//! What a block leads to if the outcomes that a candidate reports are taken at their word.

use std::collections::BTreeMap;

use comparator::{Execution, Outcome, Status};
use storage_snapshot::{Amount, AssetId, Nonce, StateKey, StateValue, TxHash};

use super::{
    facts::{Facts, Part, Way},
    outcomes::given,
};
use crate::{
    chain::TransactionData,
    execute::{ExecutableBlock, ExecutableTransaction},
};

/// Executes those transactions that are said to be executed, whatever the chain thinks of them, and
/// leaves out those that are said not to be. `None` if that is too much work.
pub(super) fn as_reported(facts: &Facts<'_>) -> Option<Execution> {
    let observed = facts.observed()?;
    let given = given(observed);
    let mut admitted = Vec::new();
    let mut clamped = Vec::new();
    let mut execution = facts.what_if(|block| {
        let unused = unused_nonce(facts, block);
        let mut index = 0;
        block.transactions.retain_mut(|listed| {
            index += 1;
            let at = index - 1;
            let observed = given.get(&listed.body.hash).map(|outcome| &outcome.status);
            match reported(facts, at, observed) {
                Reported::AsItIs => {}
                Reported::Tried => {
                    admit(listed, unused, at);
                    admitted.push(at);
                }
                Reported::Executed => {
                    drop_overflow(facts, listed, at);
                    clamped.push(at);
                }
                Reported::NotExecuted => return false,
            }
            true
        });
    })?;
    for at in admitted {
        set_nonce(facts, observed, &mut execution, at);
    }
    let overflows = facts.moves.iter().filter(|moved| moved.way == Way::Overflow);
    for moved in overflows.filter(|moved| clamped.contains(&moved.index)) {
        execution.delta.set_balance(moved.account, moved.asset, Amount::new(u64::MAX));
    }
    collect_fees(facts, &given, &mut execution);
    Some(execution)
}

enum Reported {
    /// It became of it what the chain makes of it, apart from the fee and from the reason.
    AsItIs,
    /// The chain skips it, and it was tried.
    Tried,
    /// The chain lets it fail, and it was executed.
    Executed,
    NotExecuted,
}

fn reported(facts: &Facts<'_>, at: usize, observed: Option<&Status>) -> Reported {
    match (facts.outcome(at).map(|control| &control.status), observed) {
        (Some(Status::Executed), Some(Status::Executed))
        | (Some(Status::Failed(_)), Some(Status::Failed(_)))
        | (Some(Status::Skipped(_)), Some(Status::Skipped(_))) => Reported::AsItIs,
        (Some(Status::Skipped(_)), Some(_)) => Reported::Tried,
        (Some(Status::Failed(_)), Some(Status::Executed)) => Reported::Executed,
        _ => Reported::NotExecuted,
    }
}

/// A nonce above all that the block and the state before it use.
fn unused_nonce(facts: &Facts<'_>, block: &ExecutableBlock) -> Nonce {
    let used = block
        .transactions
        .iter()
        .flat_map(|listed| [Some(listed.body.nonce), facts.nonce_before(listed.body.source)]);
    used.flatten().filter_map(Nonce::next).max().unwrap_or_default()
}

/// Lets a transaction in that the chain skips.
fn admit(listed: &mut ExecutableTransaction, unused: Nonce, at: usize) {
    listed.already_executed = false;
    listed.body.nonce = Nonce::new(unused.as_u64().saturating_add(at as u64));
}

/// Whoever lets a nonce in sets that of the account after it, leaves the higher one, or goes on by one.
fn set_nonce(facts: &Facts<'_>, observed: &Execution, execution: &mut Execution, at: usize) {
    let Some(body) = facts.body(at) else { return };
    let key = StateKey::Nonce(body.source);
    let right = match facts.question.control.delta.get(&key) {
        Some(Some(StateValue::Nonce(nonce))) => Some(*nonce),
        _ => facts.nonce_before(body.source),
    };
    let possible = [body.nonce.next(), right, right.and_then(Nonce::next)];
    match observed.delta.get(&key) {
        Some(Some(StateValue::Nonce(nonce))) if possible.contains(&Some(*nonce)) => {
            execution.delta.set_nonce(body.source, *nonce);
        }
        _ => {
            execution.delta.remove(&key);
        }
    }
}

/// Takes the credit away that makes a transaction fail.
fn drop_overflow(facts: &Facts<'_>, listed: &mut ExecutableTransaction, at: usize) {
    let TransactionData::Transfers(outputs) = &mut listed.body.data else { return };
    let overflows =
        facts.moves.iter().filter(|moved| moved.index == at && moved.way == Way::Overflow);
    for moved in overflows {
        if let Part::Output(nth) = moved.part
            && let Some(output) = outputs.get_mut(nth)
        {
            output.amount = Amount::ZERO;
        }
    }
}

/// The fees that the outcomes show are those that were collected.
fn collect_fees(facts: &Facts<'_>, given: &BTreeMap<TxHash, &Outcome>, execution: &mut Execution) {
    let sum =
        |fees: &mut dyn Iterator<Item = Amount>| fees.fold(Amount::ZERO, Amount::wrapping_add);
    let shown = sum(&mut given.values().map(|outcome| outcome.fee));
    let due = sum(&mut execution.outcomes.iter().map(|outcome| outcome.fee));
    let more = shown.wrapping_sub(due);
    execution.totals.fees = execution.totals.fees.wrapping_add(more);
    let miner = facts.block().miner;
    let key = StateKey::Balance(miner, AssetId::NATIVE);
    if let Some(Some(StateValue::Balance(balance))) = execution.delta.get(&key) {
        let balance = balance.wrapping_add(more);
        execution.delta.set_balance(miner, AssetId::NATIVE, balance);
    }
}
