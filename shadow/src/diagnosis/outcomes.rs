//! An outcome that differs: one alone, or all of them in another order.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{
    Difference, Execution, FailReason, Failure, Field, Outcome, Side, SkipReason, Status,
};
use storage_snapshot::{Amount, Nonce, TxHash};

use super::{
    balances::transactions,
    cause::{Cause, EXACT, Finding, Hypotheses, STRIKING},
    facts::Facts,
};
use crate::{chain::TransactionData, execute::ExecutableBlock, locate::touches};

pub(super) fn explain(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let Some(hash) = difference.transaction else { return };
    let Some(at) = facts.position(&hash) else {
        let sentence = format!("there is an outcome for {hash:.8}, which is not in the block");
        fitting.add(STRIKING, [index], Cause::new(Finding::OutcomeOfNobody, sentence));
        return;
    };
    explain_by_shift(facts, at, fitting);
    explain_by_order(facts, fitting);
    let one = One { facts, index, at };
    match (&difference.control, &difference.observed) {
        (Side::Outcome(_), Side::Absent) => one.explain_missing(fitting),
        (Side::Outcome(control), Side::Outcome(observed)) => {
            one.explain_change(control, observed, fitting);
        }
        _ => {}
    }
}

/// A second outcome of one transaction.
pub(super) fn explain_twice(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let at = difference.transaction.and_then(|hash| facts.position(&hash));
    let Some(named) = at.and_then(|at| facts.named(at)) else { return };
    let sentence = format!("transaction #{} has more outcomes than one", named.index);
    fitting.add(STRIKING, [index], Cause::new(Finding::OutcomeTwice, sentence).by([named]));
}

/// There is no result.
pub(super) fn explain_failure(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let Err(failure) = facts.question.observed else { return };
    let finding = match failure {
        Failure::Crashed(_) => Finding::Crashes,
        Failure::Error(_) => Finding::Errors,
        Failure::Hang { .. } => Finding::Hangs,
        Failure::Protocol(_) => Finding::Nonsense,
    };
    let count = facts.block().transactions.len();
    let first = facts.question.first.map(|first| first.index).and_then(|index| facts.named(index));
    let when = match (first, count) {
        (Some(first), _) => format!(
            "with transaction #{} ({}), and not with the {} before it",
            first.index,
            facts.body(first.index).map_or("", |body| kind(&body.data)),
            first.index
        ),
        (None, 0) => "in a block without a single transaction".to_owned(),
        (None, 1) => "in a block of one transaction".to_owned(),
        (None, count) => format!("in a block of {count} transactions"),
    };
    let sentence = format!("the candidate {}: {when}", one_line(&difference.observed.to_string()));
    fitting.add(STRIKING, [index], Cause::new(finding, sentence).by(first));
}

/// Outcomes that have moved up by one: each is that of the transaction after it.
fn explain_by_shift(facts: &Facts<'_>, at: usize, fitting: &mut Hypotheses) {
    let Some(observed) = facts.observed() else { return };
    let (control, given) = (&facts.question.control.outcomes, given(observed));
    let count = control.len();
    if at + 1 >= count {
        return;
    }
    let is_shifted = control.iter().enumerate().all(|(index, own)| {
        let expected = if index < at { Some(own) } else { control.get(index + 1) };
        let found = given.get(&own.hash).copied();
        match (expected, found) {
            (Some(expected), Some(found)) => is_alike(expected, found),
            (None, None) => true,
            _ => false,
        }
    });
    if !is_shifted {
        return;
    }
    let sentence = format!(
        "outcomes from #{at} on are shifted by one: each is that of the transaction after it, and the \
         last one, #{}, has none",
        count - 1
    );
    let cause = Cause::new(Finding::OutcomesShifted, sentence)
        .by((at..count).filter_map(|index| facts.named(index)));
    fitting.add(STRIKING, all_outcomes(facts), cause);
}

/// The same outcomes for other transactions; or the same transactions, executed in another order.
pub(super) fn explain_by_order(facts: &Facts<'_>, fitting: &mut Hypotheses) {
    let Some(observed) = facts.observed() else { return };
    let control = facts.question.control;
    let count = control.outcomes.len();
    if count < 2 || observed.outcomes.len() != count {
        return;
    }
    if observed.delta == control.delta {
        explain_by_permutation(facts, observed, fitting);
        return;
    }
    let orders = orders(facts.block());
    let fits = orders.into_iter().find(|order| {
        let executed = facts.what_if(|block| {
            let listed = &block.transactions;
            block.transactions =
                order.iter().filter_map(|index| listed.get(*index)).cloned().collect();
        });
        executed.is_some_and(|executed| is_same(&executed, observed))
    });
    let Some(order) = fits else { return };
    let listed: Vec<String> =
        order.iter().take(LISTED_MAX).map(|index| format!("#{index}")).collect();
    let is_reversed = order.iter().rev().copied().eq(0..count);
    let how = if is_reversed { "from the end to the beginning" } else { "in another order" };
    let sentence = format!(
        "the block was executed {how} ({}{}): that leads to exactly this result",
        listed.join(", "),
        if order.len() > LISTED_MAX { ", …" } else { "" }
    );
    // Those that are not where they belong.
    let moved = order.iter().enumerate().filter(|(place, index)| place != *index);
    let moved: BTreeSet<usize> = moved.map(|(_, index)| *index).collect();
    let cause = Cause::new(Finding::OtherOrder, sentence)
        .by(moved.into_iter().filter_map(|index| facts.named(index)));
    fitting.add(STRIKING, facts.differences().map(|(index, _)| index), cause);
}

fn explain_by_permutation(facts: &Facts<'_>, observed: &Execution, fitting: &mut Hypotheses) {
    let control = &facts.question.control.outcomes;
    let given = given(observed);
    let mut left: Vec<&Outcome> = control.iter().collect();
    let mut moved = Vec::new();
    for (index, own) in control.iter().enumerate() {
        let Some(found) = given.get(&own.hash) else { return };
        let Some(at) = left.iter().position(|other| is_alike(other, found)) else { return };
        left.swap_remove(at);
        if !is_alike(own, found) {
            moved.push(index);
        }
    }
    let mut by_hash: Vec<&Outcome> = control.iter().collect();
    by_hash.sort_by_key(|outcome| outcome.hash);
    let is_by_hash = control
        .iter()
        .zip(by_hash)
        .all(|(own, other)| given.get(&own.hash).is_some_and(|found| is_alike(other, found)));
    let sentence = format!(
        "{} have each other's outcomes{}",
        transactions(&moved),
        if is_by_hash {
            ": they were listed in the order of their hashes, and paired by position"
        } else {
            ""
        }
    );
    let cause = Cause::new(Finding::OutcomesPermuted, sentence)
        .by(moved.into_iter().filter_map(|index| facts.named(index)));
    fitting.add(STRIKING, all_outcomes(facts), cause);
}

/// All orders of a few transactions; of many the reverse one.
fn orders(block: &ExecutableBlock) -> Vec<Vec<usize>> {
    fn permute(order: &mut Vec<usize>, from: usize, orders: &mut Vec<Vec<usize>>) {
        if from + 1 >= order.len() {
            orders.push(order.clone());
            return;
        }
        for at in from..order.len() {
            order.swap(from, at);
            permute(order, from + 1, orders);
            order.swap(from, at);
        }
    }
    let count = block.transactions.len();
    let reversed: Vec<usize> = (0..count).rev().collect();
    let mut orders = vec![reversed];
    if count <= ORDERED_MAX {
        permute(&mut (0..count).collect(), 0, &mut orders);
    }
    orders
}

/// What became of the keys of a transaction whose outcome is wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effects {
    /// What the control made of them.
    Right,
    /// What follows from the outcome.
    AsReported,
    /// Something else.
    Unexpected,
}

/// One transaction and its outcome.
struct One<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    at: usize,
}

impl One<'_> {
    fn add(&self, fitting: &mut Hypotheses, finding: Finding, sentence: String, others: &[usize]) {
        let named = std::iter::once(self.at).chain(others.iter().copied());
        let named = named.filter_map(|index| self.facts.named(index));
        let cause = Cause::new(finding, sentence).by(named);
        fitting.add(EXACT, self.consequences(), cause);
    }

    /// The difference itself, and every other one whose numbers follow if all outcomes are taken at
    /// their word.
    fn consequences(&self) -> BTreeSet<usize> {
        let facts = self.facts;
        let follows = facts.differences().filter(|(_, other)| facts.follows_from_outcomes(other));
        follows.map(|(index, _)| index).chain([self.index]).collect()
    }

    /// What the candidate made of the keys that the transaction itself touches.
    fn effects(&self) -> Effects {
        let (facts, Some(body)) = (self.facts, self.facts.body(self.at)) else {
            return Effects::Unexpected;
        };
        let mut own = facts
            .differences()
            .filter(|(_, other)| other.key.is_some_and(|key| touches(body, &key)))
            .map(|(_, other)| other)
            .peekable();
        if own.peek().is_none() {
            Effects::Right
        } else if own.any(|other| facts.follows_from_outcomes(other)) {
            Effects::AsReported
        } else {
            Effects::Unexpected
        }
    }

    fn explain_missing(&self, fitting: &mut Hypotheses) {
        let (facts, at) = (self.facts, self.at);
        let Some(observed) = facts.observed() else { return };
        let given = given(observed);
        let missing: BTreeSet<usize> = facts
            .question
            .control
            .outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| !given.contains_key(&outcome.hash))
            .map(|(index, _)| index)
            .collect();
        let missing_list: Vec<usize> = missing.iter().copied().collect();
        let named = || missing_list.iter().filter_map(|index| facts.named(*index));
        if observed.delta == facts.question.control.delta {
            let sentence = format!(
                "{} has no outcome, and its effects are there",
                transactions(&missing_list)
            );
            let cause = Cause::new(Finding::OutcomeMissing, sentence).by(named());
            fitting.add(STRIKING, all_outcomes(facts), cause);
        }
        let without = facts.what_if(|block| {
            let mut index = 0;
            block.transactions.retain(|_| {
                index += 1;
                !missing.contains(&(index - 1))
            });
        });
        if without.is_some_and(|without| is_same(&without, observed)) {
            let sentence = format!(
                "{} was never executed: without it the block leads to exactly this result",
                transactions(&missing_list)
            );
            let cause = Cause::new(Finding::LeftOut, sentence).by(named());
            fitting.add(STRIKING, facts.differences().map(|(index, _)| index), cause);
        } else if missing.contains(&at) {
            self.add(
                fitting,
                Finding::OutcomeMissing,
                format!("transaction #{at} has no outcome"),
                &[],
            );
        }
    }

    fn explain_change(&self, control: &Outcome, observed: &Outcome, fitting: &mut Hypotheses) {
        let at = self.at;
        match (&control.status, &observed.status) {
            (right, wrong) if right == wrong => self.explain_fee(control, observed, fitting),
            (
                Status::Skipped(SkipReason::AlreadyExecuted),
                Status::Skipped(SkipReason::Other(_)),
            )
            | (Status::Skipped(SkipReason::Nonce), Status::Skipped(_)) => {
                let sentence = format!(
                    "transaction #{at} is {}, and is said to be {}",
                    words(control),
                    words(observed)
                );
                self.add(fitting, Finding::SkipReasonWrong, sentence, &[]);
            }
            (Status::Skipped(SkipReason::AlreadyExecuted), _) => {
                let sentence = format!(
                    "transaction #{at} was executed by another block, and was tried again: it is said to \
                     be {}",
                    words(observed)
                );
                self.add(fitting, Finding::ExecutedAgain, sentence, &[]);
            }
            (Status::Skipped(_), _) => self.explain_accepted(observed, fitting),
            (Status::Executed | Status::Failed(_), Status::Skipped(SkipReason::Nonce)) => {
                self.explain_refused(fitting);
            }
            (Status::Failed(FailReason::CreditOverflow), Status::Executed) => {
                self.explain_clamped(fitting);
            }
            (Status::Failed(_), Status::Failed(_)) => {
                let sentence = format!(
                    "transaction #{at} {}, and is said to have {}",
                    words(control),
                    words(observed)
                );
                self.add(fitting, Finding::FailReasonWrong, sentence, &[]);
            }
            (Status::Executed, Status::Failed(_) | Status::Skipped(_)) => {
                let effects = match self.effects() {
                    Effects::Right => ", though its effects are there",
                    Effects::AsReported | Effects::Unexpected => "",
                };
                let sentence = format!(
                    "transaction #{at} is executed, and is said to be {}{effects}",
                    words(observed)
                );
                self.add(fitting, Finding::ReportedFailed, sentence, &[]);
            }
            _ => {}
        }
    }

    fn explain_fee(&self, control: &Outcome, observed: &Outcome, fitting: &mut Hypotheses) {
        let (at, due, shown) = (self.at, control.fee, observed.fee);
        let asked = self.facts.body(at).map_or(Amount::ZERO, |body| body.fee);
        let (finding, sentence) = if control.status != Status::Executed && shown == asked {
            let sentence = format!(
                "transaction #{at} was not executed and pays nothing; its fee of {asked} is said to be \
                 collected"
            );
            (Finding::FeeOfFailedCharged, sentence)
        } else {
            let signed = i128::from(shown.as_u64()) - i128::from(due.as_u64());
            let sentence = format!(
                "the outcome of transaction #{at} shows a fee of {shown} instead of {due} ({signed:+})"
            );
            (Finding::OutcomeFeeOff, sentence)
        };
        self.add(fitting, finding, sentence, &[]);
    }

    /// Its nonce has to be refused, and was not.
    fn explain_accepted(&self, observed: &Outcome, fitting: &mut Hypotheses) {
        let (facts, at) = (self.facts, self.at);
        let Some(body) = facts.body(at) else { return };
        let nonce = body.nonce;
        let effects = self.effects();
        if effects != Effects::AsReported {
            let sentence = format!(
                "transaction #{at} is skipped for its nonce {nonce}, and is said to be {}{}",
                words(observed),
                if effects == Effects::Right { "; nothing else of it is there" } else { "" }
            );
            self.add(fitting, Finding::SkippedReportedExecuted, sentence, &[]);
            return;
        }
        let before = facts.nonce_before(body.source);
        if Some(nonce) < before {
            let sentence = format!(
                "transaction #{at} was accepted with nonce {nonce}, which {} used before the block",
                facts.account(&body.source)
            );
            self.add(fitting, Finding::OldNonceAccepted, sentence, &[]);
        } else if let Some(used) = self.same_sender(|other| other == nonce).last() {
            let sentence = format!(
                "transaction #{at} was accepted with nonce {nonce}, which transaction #{used} used already"
            );
            self.add(fitting, Finding::ReplayAccepted, sentence, &[*used]);
        }
    }

    /// Its nonce has to be accepted, and was not.
    fn explain_refused(&self, fitting: &mut Hypotheses) {
        let (facts, at) = (self.facts, self.at);
        let Some(body) = facts.body(at) else { return };
        let nonce = body.nonce;
        let failed = self.same_sender(|other| other == nonce);
        if let Some(failed) = failed.iter().rev().find(|index| facts.is_failed(**index)) {
            let sentence = format!(
                "transaction #{at} was refused: transaction #{failed} with the same nonce {nonce} failed, \
                 and did not give it back"
            );
            self.add(fitting, Finding::NonceNotGivenBack, sentence, &[*failed]);
            return;
        }
        let earlier = self.same_sender(|_| true);
        let highest = earlier
            .iter()
            .filter(|index| facts.is_executed(**index))
            .filter_map(|index| facts.body(*index)?.nonce.next())
            .max();
        let expected = highest.max(facts.nonce_before(body.source)).unwrap_or_default();
        if nonce > expected {
            let sentence = format!(
                "transaction #{at} was refused: its nonce {nonce} leaves a gap after {expected}, which the \
                 chain allows"
            );
            self.add(fitting, Finding::GapRefused, sentence, &[]);
        } else if nonce < expected {
            let sentence = format!(
                "transaction #{at} was refused: its nonce {nonce} is below {expected} and unused, which \
                 the chain allows"
            );
            self.add(fitting, Finding::OutOfOrderRefused, sentence, &[]);
        }
        if let Some(earlier) = earlier.last() {
            let sentence = format!(
                "transaction #{at} was refused after transaction #{earlier} of the same sender: its nonce \
                 {nonce} was compared with the state before the block"
            );
            self.add(fitting, Finding::SecondOfSenderRefused, sentence, &[*earlier]);
        }
    }

    /// The transactions of the same sender before this one, not skipped, with such a nonce.
    fn same_sender(&self, is_wanted: impl Fn(Nonce) -> bool) -> Vec<usize> {
        let facts = self.facts;
        let Some(body) = facts.body(self.at) else { return Vec::new() };
        let earlier = facts.block().transactions.iter().take(self.at).enumerate();
        let same = earlier.filter(|(index, listed)| {
            listed.body.source == body.source
                && !facts.is_skipped(*index)
                && is_wanted(listed.body.nonce)
        });
        same.map(|(index, _)| index).collect()
    }

    fn explain_clamped(&self, fitting: &mut Hypotheses) {
        let (facts, at) = (self.facts, self.at);
        let overflow = facts
            .moves
            .iter()
            .find(|moved| moved.index == at && moved.way == super::facts::Way::Overflow);
        let Some(overflow) = overflow else { return };
        let sentence = format!(
            "transaction #{at} was executed, though its credit of {} to {} exceeds 2^64-1",
            overflow.amount,
            facts.account(&overflow.account)
        );
        self.add(fitting, Finding::OverflowClamped, sentence, &[]);
    }
}

fn all_outcomes(facts: &Facts<'_>) -> impl Iterator<Item = usize> {
    facts.differences().filter(|(_, other)| other.field == Field::Outcome).map(|(index, _)| index)
}

/// The outcomes of an execution by transaction; of several the first.
pub(super) fn given(execution: &Execution) -> BTreeMap<TxHash, &Outcome> {
    let mut given = BTreeMap::new();
    for outcome in &execution.outcomes {
        given.entry(outcome.hash).or_insert(outcome);
    }
    given
}

/// The same but for whose it is.
fn is_alike(one: &Outcome, other: &Outcome) -> bool {
    one.status == other.status && one.fee == other.fee
}

/// The same result, with the outcomes in whatever order.
fn is_same(one: &Execution, other: &Execution) -> bool {
    one.delta == other.delta
        && one.totals == other.totals
        && one.outcomes.len() == other.outcomes.len()
        && given(one) == given(other)
}

/// What became of a transaction, without its fee.
fn words(outcome: &Outcome) -> String {
    match &outcome.status {
        Status::Executed => "executed".to_owned(),
        Status::Skipped(reason) => format!("skipped because of {}", one_line(reason.text())),
        Status::Failed(reason) => format!("failed because of {}", one_line(reason.text())),
    }
}

/// What a candidate wrote may be of any length, and more than a line.
fn one_line(text: &str) -> String {
    let line: String = text.chars().take(TEXT_MAX).flat_map(char::escape_debug).collect();
    line.replace("\\\"", "\"").replace("\\'", "'")
}

const fn kind(data: &TransactionData) -> &'static str {
    match data {
        TransactionData::Transfers(_) => "a transfer",
        TransactionData::Burn { .. } => "a burn",
        TransactionData::Multisig(_) => "a multisig",
        TransactionData::Opaque(_) => "of a kind that is not executed here",
    }
}

/// Of so few transactions every order is tried.
const ORDERED_MAX: usize = 5;

const LISTED_MAX: usize = 8;

const TEXT_MAX: usize = 200;
