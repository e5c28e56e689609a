//! A key that one side wrote and the other did not, and configurations that differ.

use std::collections::BTreeSet;

use comparator::{Difference, Field, Side};
use storage_snapshot::{Amount, MultisigConfig, StateKey, StateValue};

use super::{
    balances::transactions,
    cause::{Cause, EXACT, Finding, Hypotheses, NUMBERLESS, STRIKING},
    facts::{Facts, Way},
    outcomes::explain_by_order,
};
use crate::{chain::TransactionData, locate::touches};

pub(super) fn explain(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let Some(key) = difference.key else { return };
    let place = Place { facts, index, key, words: facts.key(&key), field: difference.field };
    match (&difference.control, &difference.observed) {
        (Side::Absent, observed) => place.explain_extra(observed, fitting),
        (control, Side::Absent) => place.explain_lost(control, fitting),
        (Side::Number(0), Side::None) if matches!(key, StateKey::Balance(..)) => {
            let of = facts.touching(&key);
            let sentence = format!("{} is 0, and was deleted instead of written", place.words);
            place.add(fitting, STRIKING, Finding::ZeroDeleted, &of, sentence);
        }
        (control, observed) if matches!(key, StateKey::Multisig(_)) => {
            place.explain_configuration(control, observed, fitting);
            explain_by_order(facts, fitting);
        }
        _ => {}
    }
}

struct Place<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    key: StateKey,
    words: String,
    field: Field,
}

impl Place<'_> {
    fn add(
        &self,
        fitting: &mut Hypotheses,
        rank: u8,
        finding: Finding,
        of: &[usize],
        sentence: String,
    ) {
        let named = of.iter().filter_map(|index| self.facts.named(*index));
        let cause = Cause::new(finding, sentence).at(self.key).by(named);
        fitting.add(rank, [self.index], cause);
    }

    /// The candidate wrote what nothing in the block touches.
    fn explain_extra(&self, observed: &Side, fitting: &mut Hypotheses) {
        let (key, words) = (self.key, &self.words);
        let naming = self.naming();
        let block = self.facts.block();
        let is_paid = [block.miner, block.dev].contains(key.account());
        if naming.is_empty() && !is_paid {
            let sentence =
                format!("{words} was written, and nothing in the block names that account");
            self.add(fitting, STRIKING, Finding::StrangerWritten, &[], sentence);
        } else if matches!((key, observed), (StateKey::Multisig(_), Side::None)) {
            let sentence = format!(
                "{words} was written as deleted, and {} of that account does not configure anything",
                transactions(&naming)
            );
            self.add(fitting, STRIKING, Finding::MultisigNoneWritten, &naming, sentence);
        } else if self.field == Field::Version {
            let sentence = format!(
                "{words} was written with the value that it had, and {} does not touch it",
                transactions(&naming)
            );
            self.add(fitting, EXACT, Finding::WrittenUnchanged, &naming, sentence);
        } else {
            let sentence =
                format!("{words} was written, and {} does not touch it", transactions(&naming));
            self.add(fitting, NUMBERLESS, Finding::UntouchedWritten, &naming, sentence);
        }
    }

    /// The transactions that name the account and take effect.
    fn naming(&self) -> Vec<usize> {
        let account = *self.key.account();
        let listed = self.facts.block().transactions.iter().enumerate();
        let naming = listed.filter(|(index, listed)| {
            let is_destination = matches!(&listed.body.data, TransactionData::Transfers(outputs)
                if outputs.iter().any(|output| output.destination == account));
            !self.facts.is_skipped(*index) && (listed.body.source == account || is_destination)
        });
        naming.map(|(index, _)| index).collect()
    }

    /// The candidate did not write what the block touches.
    fn explain_lost(&self, control: &Side, fitting: &mut Hypotheses) {
        let (facts, key, words) = (self.facts, self.key, &self.words);
        let of = facts.touching(&key);
        self.explain_by_nothing_received(fitting);
        explain_by_rolled_back(facts, self.index, &of, fitting);
        match (key, control) {
            (StateKey::Multisig(_), Side::None) => {
                let sentence =
                    format!("{words} was deleted by {}: the deletion is lost", transactions(&of));
                self.add(fitting, EXACT, Finding::MultisigDeleteLost, &of, sentence);
            }
            (StateKey::Multisig(_), _) => {
                let sentence = format!(
                    "{words} was set by {}: the configuration is not in the result",
                    transactions(&of)
                );
                self.add(fitting, EXACT, Finding::MultisigWriteLost, &of, sentence);
            }
            (StateKey::Registered(_), _) => {
                let sentence = format!(
                    "{words} is missing, though it received for the first time from {}",
                    transactions(&of)
                );
                self.add(fitting, EXACT, Finding::RegistrationMissing, &of, sentence);
            }
            (StateKey::Nonce(account), Side::Number(0))
                if facts.nonce_before(account).is_none() =>
            {
                let sentence = format!(
                    "{words} is missing: it received for the first time from {}, and gets nonce 0",
                    transactions(&of)
                );
                self.add(fitting, EXACT, Finding::FirstNonceMissing, &of, sentence);
            }
            _ if self.field == Field::Version => {
                let sentence = format!(
                    "{words} is after the block what it was before it, {} touched it all the same: the \
                     version is missing",
                    transactions(&of)
                );
                self.add(fitting, EXACT, Finding::NetZeroDropped, &of, sentence);
            }
            (_, control) => {
                let sentence = format!(
                    "{words} becomes {control} through {}: it was not written at all",
                    transactions(&of)
                );
                self.add(fitting, EXACT, Finding::WriteLost, &of, sentence);
            }
        }
    }

    /// All that the account does in the block is to receive nothing.
    fn explain_by_nothing_received(&self, fitting: &mut Hypotheses) {
        let (facts, account) = (self.facts, *self.key.account());
        let own: Vec<_> = facts.moves.iter().filter(|moved| moved.account == account).collect();
        let is_nothing = !own.is_empty()
            && own.iter().all(|moved| moved.way == Way::Credit && moved.amount == Amount::ZERO);
        if !is_nothing {
            return;
        }
        let of: BTreeSet<usize> = own.iter().map(|moved| moved.index).collect();
        let of: Vec<usize> = of.into_iter().collect();
        let lost = facts.differences().filter(|(_, other)| {
            other.key.is_some_and(|key| *key.account() == account) && other.observed == Side::Absent
        });
        let sentence = format!(
            "{} receives an amount of 0 from {}, and was left alone: {} is not written",
            facts.account(&account),
            transactions(&of),
            self.words
        );
        let cause = Cause::new(Finding::NothingReceivedIgnored, sentence)
            .at(self.key)
            .by(of.iter().filter_map(|index| facts.named(*index)));
        fitting.add(EXACT, lost.map(|(index, _)| index), cause);
    }

    fn explain_configuration(&self, control: &Side, observed: &Side, fitting: &mut Hypotheses) {
        let (facts, words) = (self.facts, &self.words);
        let of = facts.touching(&self.key);
        let last: Vec<usize> = of.last().copied().into_iter().collect();
        if let (Side::Multisig(right), Side::Multisig(wrong)) = (control, observed) {
            if right.participants == wrong.participants && right.threshold != wrong.threshold {
                let sentence = format!(
                    "{words} asks for {} signatures instead of the {} that {} sets",
                    wrong.threshold,
                    right.threshold,
                    transactions(&last)
                );
                self.add(fitting, STRIKING, Finding::MultisigThresholdOff, &last, sentence);
            } else if is_reordered(right, wrong) {
                let is_sorted = wrong.participants.is_sorted();
                let sentence = format!(
                    "{words} has the participants that {} names in another order{}",
                    transactions(&last),
                    if is_sorted { ", sorted" } else { "" }
                );
                self.add(fitting, STRIKING, Finding::MultisigReordered, &last, sentence);
            }
        }
        // Of those that came before the last one, the latest.
        let earlier =
            of.iter().rev().skip(1).find(|index| self.sets(**index) == as_config(observed));
        if let (Some(earlier), Some(later)) = (earlier, of.last()) {
            let is_highest = facts.named(*earlier).map(|named| named.hash)
                == of.iter().filter_map(|index| facts.named(*index)).map(|named| named.hash).max();
            let sentence = format!(
                "{words} is what transaction #{earlier} {}, and transaction #{later} comes after it: the \
                 earlier one stayed{}",
                if as_config(observed) == Some(None) { "makes it, deleted" } else { "sets" },
                if is_highest { "; its hash is the higher one" } else { "" }
            );
            let finding = Finding::MultisigEarlierWins;
            self.add(fitting, STRIKING, finding, &[*earlier, *later], sentence);
        }
        let before = facts.value_before(&self.key);
        let is_stale = match (&before, observed) {
            (Some(StateValue::Multisig(before)), Side::Multisig(observed)) => **before == *observed,
            _ => false,
        };
        if is_stale {
            let sentence = format!(
                "{words} is what it was before the block: a stale value was written over what {} sets",
                transactions(&last)
            );
            self.add(fitting, EXACT, Finding::Stale, &last, sentence);
        }
    }

    /// What a transaction makes of the configuration of its source.
    fn sets(&self, index: usize) -> Option<Option<&MultisigConfig>> {
        match &self.facts.body(index)?.data {
            TransactionData::Multisig(config) => Some((config.threshold > 0).then_some(config)),
            _ => None,
        }
    }
}

/// The block without those of its transactions that failed, at a key that only they touch: what they
/// leave behind was taken back.
pub(super) fn explain_by_rolled_back(
    facts: &Facts<'_>,
    index: usize,
    of: &[usize],
    fitting: &mut Hypotheses,
) {
    let failed: BTreeSet<usize> = of.iter().copied().filter(|at| facts.is_failed(*at)).collect();
    if failed.is_empty() {
        return;
    }
    let Some(observed) = facts.observed() else { return };
    let without = facts.what_if(|block| {
        let mut at = 0;
        block.transactions.retain(|_| {
            at += 1;
            !failed.contains(&(at - 1))
        });
    });
    let Some(without) = without else { return };
    // Half of it is something else.
    let is_whole = failed.iter().filter_map(|at| facts.body(*at)).all(|body| {
        let control = &facts.question.control.delta;
        let mut keys = control.iter().map(|(key, _)| key).filter(|key| touches(body, key));
        keys.all(|key| {
            let (right, without) = (control.get(key), without.delta.get(key));
            right == without || observed.delta.get(key) == without
        })
    });
    if !is_whole {
        return;
    }
    let explained: Vec<usize> = facts
        .differences()
        .filter(|(_, other)| {
            other.key.is_some_and(|key| observed.delta.get(&key) == without.delta.get(&key))
        })
        .map(|(index, _)| index)
        .collect();
    if !explained.contains(&index) {
        return;
    }
    let failed: Vec<usize> = failed.into_iter().collect();
    let sentence = format!(
        "what {} leaves behind was taken back: the chain keeps nonce, debits and earlier credits of a \
         transaction that fails",
        transactions(&failed)
    );
    let cause = Cause::new(Finding::FailedRolledBack, sentence)
        .by(failed.into_iter().filter_map(|index| facts.named(index)));
    fitting.add(STRIKING, explained, cause);
}

fn is_reordered(right: &MultisigConfig, wrong: &MultisigConfig) -> bool {
    let sorted = |config: &MultisigConfig| {
        let mut participants = config.participants.clone();
        participants.sort_unstable();
        participants
    };
    right.threshold == wrong.threshold && sorted(right) == sorted(wrong)
}

fn as_config(side: &Side) -> Option<Option<&MultisigConfig>> {
    match side {
        Side::Multisig(config) => Some(Some(config)),
        Side::None => Some(None),
        _ => None,
    }
}
