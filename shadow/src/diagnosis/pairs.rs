//! Two balances that differ, explained together: what one has too much the other has too little.

use comparator::Side;
use storage_snapshot::{Amount, AssetId};

use super::{
    balances::part,
    cause::{Cause, EXACT, Finding, Hypotheses, STRIKING},
    facts::{Delta, Facts, Way, negated},
};
use crate::chain::TransactionData;

pub(super) fn explain(facts: &Facts<'_>, index: usize, fitting: &mut Hypotheses) {
    let Some(delta) = facts.delta(index) else { return };
    for (other_index, _) in facts.differences().filter(|(other, _)| *other != index) {
        let Some(other) = facts.delta(other_index) else { continue };
        if other.excess() == negated(delta.excess()) {
            let (loser, (winner_index, winner)) = match is_loss(delta) {
                true => (delta, (other_index, other)),
                false => (other, (index, delta)),
            };
            let pair = Pair { facts, indexes: [index, other_index], loser, winner };
            // Who was not written was not credited with what belongs to the other.
            if is_written(facts, winner_index) {
                pair.explain_by_credits(fitting);
                pair.explain_by_one_transfer(fitting);
                pair.explain_by_fees(fitting);
            }
            pair.explain_by_outputs(fitting);
        }
        explain_by_values(facts, [(index, delta), (other_index, other)], fitting);
    }
}

/// What one has too little the other has too much.
struct Pair<'a> {
    facts: &'a Facts<'a>,
    indexes: [usize; 2],
    loser: Delta,
    winner: Delta,
}

impl Pair<'_> {
    fn amount(&self) -> Amount {
        self.winner.excess()
    }

    /// A credit went to another account, or to another asset of the same one.
    fn explain_by_credits(&self, fitting: &mut Hypotheses) {
        let Self { facts, loser, winner, .. } = self;
        for moved in facts.applied(loser.account, loser.asset) {
            if moved.way != Way::Credit || moved.amount != self.amount() {
                continue;
            }
            let finding = match (loser.account == winner.account, loser.asset == winner.asset) {
                (true, false) => Finding::WrongAsset,
                (false, true) => Finding::WrongAccount,
                _ => continue,
            };
            let sentence = format!(
                "{} has {} too little, and {} has it too much = {} of transaction #{}: credited to the \
                 wrong {}",
                facts.key(&loser.key()),
                self.amount(),
                facts.key(&winner.key()),
                part(moved),
                moved.index,
                if finding == Finding::WrongAsset { "asset" } else { "account" }
            );
            let cause = Cause::new(finding, sentence)
                .at(loser.key())
                .of(self.amount())
                .by(facts.named(moved.index));
            fitting.add(STRIKING, self.indexes, cause);
        }
    }

    /// A transfer that did neither: its sender did not pay, and its receiver was not paid.
    fn explain_by_one_transfer(&self, fitting: &mut Hypotheses) {
        let Self { facts, loser, winner, .. } = self;
        for moved in facts.applied(loser.account, loser.asset) {
            let is_senders =
                facts.body(moved.index).map(|body| body.source) == Some(winner.account);
            if moved.way != Way::Credit
                || moved.amount != self.amount()
                || !is_senders
                || loser.asset != winner.asset
                || loser.account == winner.account
            {
                continue;
            }
            let sentence = format!(
                "{} has {} too little, and {} has it too much = {} of transaction #{}: neither its credit \
                 nor its debit is there",
                facts.key(&loser.key()),
                self.amount(),
                facts.key(&winner.key()),
                part(moved),
                moved.index,
            );
            let cause = Cause::new(Finding::EffectMissing, sentence)
                .at(loser.key())
                .of(self.amount())
                .by(facts.named(moved.index));
            fitting.add(STRIKING, self.indexes, cause);
        }
    }

    /// The fees went to another account.
    fn explain_by_fees(&self, fitting: &mut Hypotheses) {
        let Self { facts, loser, winner, .. } = self;
        let is_miners = loser.account == facts.block().miner && loser.asset == AssetId::NATIVE;
        if !is_miners || winner.asset != loser.asset {
            return;
        }
        let fees: Vec<(usize, Amount)> =
            facts.executed().map(|(index, body)| (index, body.fee)).collect();
        let all = fees.iter().fold(Amount::ZERO, |sum, (_, fee)| sum.wrapping_add(*fee));
        let of: Vec<usize> = if all == self.amount() {
            fees.iter().map(|(index, _)| *index).collect()
        } else {
            let one = fees.iter().find(|(_, fee)| *fee == self.amount());
            one.map(|(index, _)| *index).into_iter().collect()
        };
        if of.is_empty() {
            return;
        }
        let sentence = format!(
            "{} has {} too little, and {} has it too much = the fees of {}: credited to the wrong account",
            facts.key(&loser.key()),
            self.amount(),
            facts.key(&winner.key()),
            super::balances::transactions(&of)
        );
        let cause = Cause::new(Finding::WrongAccount, sentence)
            .at(loser.key())
            .of(self.amount())
            .by(of.into_iter().filter_map(|index| facts.named(index)));
        fitting.add(STRIKING, self.indexes, cause);
    }

    /// Two outputs of one transaction were credited the other way round.
    fn explain_by_outputs(&self, fitting: &mut Hypotheses) {
        let Self { facts, loser, winner, .. } = self;
        for (index, body) in facts.executed() {
            let TransactionData::Transfers(outputs) = &body.data else { continue };
            let paid = |delta: &Delta| {
                let (account, asset) = (delta.account, delta.asset);
                let paid =
                    outputs.iter().filter(move |o| o.destination == account && o.asset == asset);
                paid.map(|output| output.amount).collect::<Vec<_>>()
            };
            let (large, small) = (paid(loser), paid(winner));
            let swapped = large.iter().find_map(|large| {
                let small = small
                    .iter()
                    .find(|small| large > *small && large.wrapping_sub(**small) == self.amount())?;
                Some((*large, *small))
            });
            let Some((large, small)) = swapped else { continue };
            let sentence = format!(
                "{} got {small} and {} got {large} of transaction #{index}: the amounts of two outputs \
                 were swapped",
                facts.key(&loser.key()),
                facts.key(&winner.key()),
            );
            let cause = Cause::new(Finding::OutputsSwapped, sentence)
                .at(loser.key())
                .of(self.amount())
                .by(facts.named(index));
            fitting.add(STRIKING, self.indexes, cause);
        }
    }
}

/// Each has what the other should have.
fn explain_by_values(
    facts: &Facts<'_>,
    [(index, one), (other_index, other)]: [(usize, Delta); 2],
    fitting: &mut Hypotheses,
) {
    if one.observed != other.control || other.observed != one.control {
        return;
    }
    if !is_written(facts, index) || !is_written(facts, other_index) {
        return;
    }
    let sentence = format!(
        "{} is {} and {} is {}: each has the other's value",
        facts.key(&one.key()),
        one.observed,
        facts.key(&other.key()),
        other.observed
    );
    // Whoever moves something between the two is most likely the one who mixed them up.
    let touching = |delta: &Delta| facts.touching(&delta.key());
    let others = touching(&other);
    let both = touching(&one).into_iter().filter(|index| others.contains(index));
    let cause = Cause::new(Finding::ValuesSwapped, sentence)
        .at(one.key())
        .of(one.observed)
        .by(both.filter_map(|index| facts.named(index)));
    fitting.add(EXACT, [index, other_index], cause);
}

fn is_written(facts: &Facts<'_>, index: usize) -> bool {
    let difference = facts.question.differences.get(index);
    difference.is_some_and(|difference| matches!(difference.observed, Side::Number(_)))
}

/// The nearer way around 2^64.
const fn is_loss(delta: Delta) -> bool {
    (delta.excess().as_u64() as i64) < 0
}
