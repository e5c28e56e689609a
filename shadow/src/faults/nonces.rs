//! Faults in which transactions are let in, and in what becomes of nonces.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use comparator::{Failure, Field, Outcome, SkipReason, Status};
use storage_snapshot::{Address, Amount, Nonce, StateKey, StateValue};

use super::{
    Mutant, Wrong,
    site::{Done, Site},
};

const OUTCOME: &[Field] = &[Field::Outcome];
const NONCE: &[Field] = &[Field::Nonce];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "nonce-not-advanced",
        None,
        "off by one: the nonce of a sender is written as that of its last transaction",
        NONCE,
        nonce_not_advanced,
    ),
    Mutant::alters(
        "nonce-advanced-twice",
        None,
        "the nonce of a sender is advanced once in checking and once more in executing",
        NONCE,
        nonce_advanced_twice,
    ),
    Mutant::alters(
        "highest-nonce-forgotten",
        None,
        "after nonces out of order a sender is left with the one after the last instead of the highest",
        NONCE,
        highest_nonce_forgotten,
    ),
    Mutant::alters(
        "nonce-gap-refused",
        None,
        "a nonce that leaves a gap is refused",
        OUTCOME,
        nonce_gap_refused,
    ),
    Mutant::alters(
        "nonce-out-of-order-refused",
        None,
        "an unused nonce below the expected one is refused",
        OUTCOME,
        nonce_out_of_order_refused,
    ),
    Mutant::alters(
        "nonce-replay-accepted",
        None,
        "a nonce that was used in the block is accepted again",
        OUTCOME,
        nonce_replay_accepted,
    ),
    Mutant::alters(
        "old-nonce-accepted",
        None,
        "a nonce that was used before the block is accepted",
        OUTCOME,
        old_nonce_accepted,
    ),
    Mutant::alters(
        "nonce-not-given-back",
        None,
        "a failed transaction does not give its nonce back, so a second attempt is refused",
        OUTCOME,
        nonce_not_given_back,
    ),
    Mutant::alters(
        "second-of-sender-refused",
        None,
        "the nonce is checked against the state before the block, so only one transaction of a sender \
         is let in",
        OUTCOME,
        second_of_sender_refused,
    ),
    Mutant::alters(
        "executed-mark-ignored",
        None,
        "a transaction that another block executed is tried again",
        OUTCOME,
        executed_mark_ignored,
    ),
];

fn nonce_not_advanced(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    rewrite_nonces(site, wrong, |nonce| nonce.checked_sub(1))
}

fn nonce_advanced_twice(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    rewrite_nonces(site, wrong, |nonce| nonce.checked_add(1))
}

fn rewrite_nonces(
    site: &Site<'_>,
    wrong: &mut Wrong,
    to: fn(u64) -> Option<u64>,
) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let key = StateKey::Nonce(body.source);
        if let Some(Some(StateValue::Nonce(right))) = site.right.delta.get(&key)
            && let Some(nonce) = to(right.as_u64())
        {
            wrong.write(key, Some(StateValue::Nonce(Nonce::new(nonce))), index);
        }
    }
    Ok(())
}

fn highest_nonce_forgotten(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let next = body.nonce.next().map(StateValue::Nonce);
        wrong.write(StateKey::Nonce(body.source), next, index);
    }
    // One that failed last leaves its own nonce anyway.
    for Done { index, body, .. } in site.failed() {
        let key = StateKey::Nonce(body.source);
        wrong.write(key, site.right.delta.get(&key).flatten().cloned(), index);
    }
    Ok(())
}

fn nonce_gap_refused(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut windows = Expected::new(site);
    refuse(site, wrong, |done| {
        let expected = windows.of(done);
        let refused = done.body.nonce > *expected;
        if !refused && done.outcome.status == Status::Executed {
            *expected = (*expected).max(done.body.nonce.next().unwrap_or(done.body.nonce));
        }
        refused
    })
}

fn nonce_out_of_order_refused(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut windows = Expected::new(site);
    refuse(site, wrong, |done| {
        let expected = windows.of(done);
        let refused = done.body.nonce < *expected;
        if !refused && done.outcome.status == Status::Executed {
            *expected = (*expected).max(done.body.nonce.next().unwrap_or(done.body.nonce));
        }
        refused
    })
}

fn nonce_replay_accepted(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    accept(site, wrong, |done| Some(done.body.nonce) >= site.nonce_before(done.body.source))
}

fn old_nonce_accepted(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    accept(site, wrong, |done| Some(done.body.nonce) < site.nonce_before(done.body.source))
}

fn nonce_not_given_back(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut kept = BTreeSet::new();
    refuse(site, wrong, |done| {
        let nonce = (done.body.source, done.body.nonce);
        if matches!(done.outcome.status, Status::Failed(_)) {
            return !kept.insert(nonce);
        }
        kept.contains(&nonce)
    })
}

fn second_of_sender_refused(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let mut senders = BTreeSet::new();
    refuse(site, wrong, |done| !senders.insert(done.body.source))
}

fn executed_mark_ignored(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    let marked = site
        .all()
        .filter(|done| done.outcome.status == Status::Skipped(SkipReason::AlreadyExecuted));
    for Done { index, body, .. } in marked {
        wrong.blame_all(site, index, body);
    }
    wrong.execution = site.execute(|block| {
        for transaction in &mut block.transactions {
            transaction.already_executed = false;
        }
    })?;
    Ok(())
}

/// The nonce that each source is expected to send next, as a fault sees it.
struct Expected<'a> {
    site: &'a Site<'a>,
    nonces: HashMap<Address, Nonce, ahash::RandomState>,
}

impl<'a> Expected<'a> {
    fn new(site: &'a Site<'a>) -> Self {
        Self { site, nonces: HashMap::default() }
    }

    fn of(&mut self, done: Done<'_>) -> &mut Nonce {
        let source = done.body.source;
        let initial = || self.site.nonce_before(source).unwrap_or_default();
        self.nonces.entry(source).or_insert_with(initial)
    }
}

/// The block as it is when some of the transactions that have an effect are refused for their nonce.
fn refuse(
    site: &Site<'_>,
    wrong: &mut Wrong,
    mut is_refused: impl FnMut(Done<'_>) -> bool,
) -> Result<(), Failure> {
    let mut refused = BTreeMap::new();
    for done in site.all() {
        if matches!(done.outcome.status, Status::Skipped(_)) || !is_refused(done) {
            continue;
        }
        let status = Status::Skipped(SkipReason::Nonce);
        let outcome = Outcome { hash: done.body.hash, status, fee: Amount::ZERO };
        refused.insert(done.index, Some(outcome));
        wrong.blame_all(site, done.index, done.body);
    }
    if !refused.is_empty() {
        wrong.execution = site.execute_without(&refused)?;
    }
    Ok(())
}

/// The block as it is when some of the transactions that are refused for their nonce are let in.
fn accept(
    site: &Site<'_>,
    wrong: &mut Wrong,
    is_accepted: impl Fn(Done<'_>) -> bool,
) -> Result<(), Failure> {
    let refused = site.all().filter(|done| {
        done.outcome.status == Status::Skipped(SkipReason::Nonce) && is_accepted(*done)
    });
    let mut accepted = Vec::new();
    for done in refused {
        accepted.push(done.index);
        wrong.blame_all(site, done.index, done.body);
    }
    let highest = site.all().map(|done| done.body.nonce.as_u64()).max();
    wrong.execution = site.execute(|block| {
        // The engine lets it in under a nonce that nobody in the block has.
        let mut unused = (highest.unwrap_or_default() + 1..).map(Nonce::new);
        for index in accepted {
            if let Some(transaction) = block.transactions.get_mut(index) {
                transaction.body.nonce = unused.next().unwrap_or_default();
            }
        }
    })?;
    Ok(())
}
