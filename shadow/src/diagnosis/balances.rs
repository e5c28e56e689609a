//! A balance that differs, explained by what moves on it.

use std::collections::BTreeSet;

use comparator::{Difference, Field, Side};
use storage_snapshot::{Amount, AssetId, StateKey};

use super::{
    cause::{Cause, EXACT, Finding, Hypotheses, STRIKING, SUMMED},
    facts::{Delta, Facts, Move, Part, Way, negated, sum, too},
    state::explain_by_rolled_back,
};

pub(super) fn explain(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let Some(delta) = facts.delta(index) else { return };
    let balance = Balance { facts, index, delta };
    match (&difference.control, &difference.observed) {
        (Side::Number(_), Side::Number(_)) => {}
        // Nothing in the block leads there, so somebody went on where there is nothing to do.
        (Side::Absent, Side::Number(_)) => {
            balance.explain_by_burns(fitting);
            balance.explain_by_failures(fitting);
            return;
        }
        // Whether a key was written at all is asked elsewhere.
        _ => return,
    }
    balance.explain_by_one_transaction(fitting);
    balance.explain_by_the_block(fitting);
    balance.explain_by_what_was_before(fitting);
    balance.explain_by_failures(fitting);
    balance.explain_by_all(fitting);
    balance.explain_by_limits(fitting);
    explain_by_rolled_back(facts, index, &facts.touching(&delta.key()), fitting);
}

/// A balance of which both sides wrote something else.
struct Balance<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    delta: Delta,
}

impl Balance<'_> {
    fn applied(&self) -> Vec<&Move> {
        self.facts.applied(self.delta.account, self.delta.asset).collect()
    }

    /// "the balance of A is too high by 11"
    fn is_off(&self) -> String {
        format!("{} is {}", self.facts.key(&self.delta.key()), too(self.delta.excess()))
    }

    fn is_miners(&self) -> bool {
        self.delta.account == self.facts.block().miner && self.delta.asset == AssetId::NATIVE
    }

    fn add(
        &self,
        fitting: &mut Hypotheses,
        rank: u8,
        finding: Finding,
        (amount, transactions): (Amount, &[usize]),
        sentence: String,
    ) {
        // One that moves several amounts is named once.
        let mut transactions = transactions.to_vec();
        transactions.dedup();
        let named = transactions.iter().filter_map(|index| self.facts.named(*index));
        let cause = Cause::new(finding, sentence).at(self.delta.key()).of(amount).by(named);
        fitting.add(rank, [self.index], cause);
    }

    /// A part of one transaction is missing, or is there twice.
    fn explain_by_one_transaction(&self, fitting: &mut Hypotheses) {
        let applied = self.applied();
        let transactions: BTreeSet<usize> = applied.iter().map(|moved| moved.index).collect();
        for index in transactions {
            let own: Vec<&Move> =
                applied.iter().filter(|moved| moved.index == index).copied().collect();
            for group in groups(&own) {
                let (effect, excess) = (sum(group.iter().copied()), self.delta.excess());
                if effect == Amount::ZERO {
                    continue;
                }
                for (is_missing, expected) in [(true, negated(effect)), (false, effect)] {
                    if excess == expected {
                        self.add_group(fitting, index, &group, is_missing);
                    }
                }
            }
        }
    }

    fn add_group(&self, fitting: &mut Hypotheses, index: usize, group: &[&Move], missing: bool) {
        let way = group.first().map(|moved| moved.way);
        let is_mixed = group.iter().any(|moved| Some(moved.way) != way);
        let is_burn = group.iter().all(|moved| moved.part == Part::Burn);
        let is_failed = self.facts.is_failed(index) && way == Some(Way::Debit) && !is_mixed;
        let (finding, what) = match (is_mixed, way, missing) {
            (false, Some(Way::Debit), true) if is_failed => {
                (Finding::FailedDebitsReturned, "its debit was given back, though it failed")
            }
            (false, Some(Way::Debit), true) if is_burn => {
                (Finding::BurnWithoutEffect, "its burn took nothing")
            }
            (false, Some(Way::Debit), true) => (Finding::DebitMissing, "its debit is missing"),
            (false, Some(Way::Debit), false) => (Finding::DebitTwice, "its debit was taken twice"),
            (false, _, true) => (Finding::CreditMissing, "its credit is missing"),
            (false, _, false) => (Finding::CreditTwice, "its credit was given twice"),
            (true, _, true) => (Finding::EffectMissing, "its debits and credits are missing"),
            (true, _, false) => (Finding::EffectTwice, "its debits and credits are there twice"),
        };
        let parts: Vec<String> = group.iter().map(|moved| part(moved)).collect();
        let sentence =
            format!("{} = {} of transaction #{index}: {what}", self.is_off(), parts.join(" + "));
        let amount = magnitude(sum(group.iter().copied()));
        let named = self.facts.named(index);
        let cause = Cause::new(finding, sentence).at(self.delta.key()).of(amount).by(named);
        // A burn that takes nothing is not counted either.
        let counter = (finding == Finding::BurnWithoutEffect)
            .then(|| self.facts.index_of_total(Field::Burned))
            .flatten();
        fitting.add(EXACT, [self.index].into_iter().chain(counter), cause);
    }

    /// What the block itself pays is missing, or is there twice.
    fn explain_by_the_block(&self, fitting: &mut Hypotheses) {
        let (block, excess) = (self.facts.block(), self.delta.excess());
        if self.delta.asset != AssetId::NATIVE {
            self.explain_by_burns(fitting);
            return;
        }
        let shares = [
            (block.miner, block.reward.miner, "the miner's reward"),
            (block.dev, block.reward.dev, "the share of the dev key"),
        ];
        for (account, share, words) in shares {
            if account != self.delta.account || share == Amount::ZERO {
                continue;
            }
            if excess == negated(share) {
                let sentence = format!("{} = {words}: it is missing", self.is_off());
                self.add(fitting, EXACT, Finding::RewardMissing, (share, &[]), sentence);
            }
            if excess == share {
                let sentence = format!("{} = {words}: it was counted twice", self.is_off());
                self.add(fitting, EXACT, Finding::RewardTwice, (share, &[]), sentence);
            }
        }
        if self.is_miners() {
            self.explain_by_fees(fitting);
        }
        self.explain_by_burns(fitting);
    }

    fn explain_by_fees(&self, fitting: &mut Hypotheses) {
        let excess = self.delta.excess();
        let counter = self.facts.index_of_total(Field::Fees);
        let executed: Vec<(usize, Amount)> =
            self.facts.executed().map(|(index, body)| (index, body.fee)).collect();
        let mut lost = |fees: &[(usize, Amount)], rank| {
            let amount = fees.iter().fold(Amount::ZERO, |sum, (_, fee)| sum.wrapping_add(*fee));
            if amount == Amount::ZERO || excess != negated(amount) {
                return;
            }
            let sentence =
                format!("{} = {}: not credited to the miner", self.is_off(), fees_of(fees));
            let named = fees.iter().filter_map(|(index, _)| self.facts.named(*index));
            let cause = Cause::new(Finding::FeeNotCredited, sentence)
                .at(self.delta.key())
                .of(amount)
                .by(named);
            fitting.add(rank, [self.index].into_iter().chain(counter), cause);
        };
        for fee in &executed {
            lost(&[*fee], EXACT);
        }
        if executed.len() > 1 {
            lost(&executed, SUMMED);
        }
        if (3..=EACH_LEFT_OUT_MAX).contains(&executed.len()) {
            for kept in &executed {
                let others: Vec<_> = executed.iter().filter(|fee| *fee != kept).copied().collect();
                lost(&others, SUMMED);
            }
        }
        for (index, fee) in &executed {
            if *fee != Amount::ZERO && excess == *fee {
                let sentence = format!(
                    "{} = fee {fee} of transaction #{index}: credited twice",
                    self.is_off()
                );
                let finding = Finding::FeeCreditedTwice;
                self.add(fitting, EXACT, finding, (*fee, &[*index]), sentence);
            }
        }
        for (index, listed) in self.facts.block().transactions.iter().enumerate() {
            let fee = listed.body.fee;
            if fee != Amount::ZERO && excess == fee && !self.facts.is_executed(index) {
                let sentence = format!(
                    "{} = fee {fee} of transaction #{index}, which was not executed: the miner got it \
                     all the same",
                    self.is_off()
                );
                let finding = Finding::FeeOfUnexecutedCredited;
                self.add(fitting, EXACT, finding, (fee, &[index]), sentence);
            }
        }
    }

    /// What others burn.
    fn explain_by_burns(&self, fitting: &mut Hypotheses) {
        let burns = self.facts.moves.iter().filter(|moved| {
            moved.part == Part::Burn
                && moved.asset == self.delta.asset
                && moved.account != self.delta.account
        });
        for burn in burns {
            if burn.amount != Amount::ZERO && self.delta.excess() == burn.amount {
                let sentence = format!(
                    "{} = {} of transaction #{}: what it burns was credited instead",
                    self.is_off(),
                    part(burn),
                    burn.index
                );
                let (finding, of) = (Finding::BurnPaid, (burn.amount, &[burn.index][..]));
                self.add(fitting, EXACT, finding, of, sentence);
            }
        }
    }

    /// What was there before the block is gone; or nothing but that is there.
    fn explain_by_what_was_before(&self, fitting: &mut Hypotheses) {
        let Delta { account, asset, observed, .. } = self.delta;
        let before = self.facts.before(account, asset);
        let applied = self.applied();
        let of: Vec<usize> = applied.iter().map(|moved| moved.index).collect();
        let is_credited =
            applied.iter().any(|moved| moved.way == Way::Credit) || self.is_paid_by_the_block();
        let is_debited = applied.iter().any(|moved| moved.way == Way::Debit);
        let key = self.facts.key(&self.delta.key());
        if before != Amount::ZERO && self.delta.excess() == negated(before) {
            if is_credited {
                let by = applied.iter().find(|moved| moved.way == Way::Credit);
                let who = match by {
                    Some(moved) => format!("the credit of transaction #{}", moved.index),
                    None => "what the block itself pays".to_owned(),
                };
                let sentence = format!(
                    "{key} is {observed}, exactly what the block adds up to without the {before} from \
                     before: they were overwritten by {who}"
                );
                let by: Vec<usize> = by.map(|moved| moved.index).into_iter().collect();
                self.add(fitting, EXACT, Finding::Overwritten, (before, &by), sentence);
            }
            if is_debited {
                let by = applied.iter().find(|moved| moved.way == Way::Debit);
                let by: Vec<usize> = by.map(|moved| moved.index).into_iter().collect();
                let sentence = format!(
                    "{key} is {}, its {before} from before the block: it was not loaded, and taken to be 0",
                    too(self.delta.excess())
                );
                self.add(fitting, EXACT, Finding::NotLoaded, (before, &by), sentence);
            }
        }
        if observed == before {
            let sentence = format!(
                "{key} is {before}, as it was before the block: a stale value was written over what \
                 {} did",
                transactions(&of)
            );
            self.add(fitting, SUMMED, Finding::Stale, (before, &of), sentence);
        }
        self.explain_by_one_writer(fitting, before, &of);
    }

    /// Of several transactions one did all there is, or the last ones did nothing.
    fn explain_by_one_writer(&self, fitting: &mut Hypotheses, before: Amount, of: &[usize]) {
        let applied = self.applied();
        let mut distinct = of.to_vec();
        distinct.dedup();
        if distinct.len() < 2 {
            return;
        }
        let key = self.facts.key(&self.delta.key());
        // The block's own payments are not among the moves.
        let own =
            self.delta.control.wrapping_sub(before).wrapping_sub(sum(applied.iter().copied()));
        let mut running = before.wrapping_add(own);
        for (at, index) in distinct.iter().enumerate() {
            let effect = sum(applied.iter().filter(|moved| moved.index == *index).copied());
            let alone = before.wrapping_add(own).wrapping_add(effect);
            let others: Vec<usize> =
                distinct.iter().filter(|other| *other != index).copied().collect();
            if alone == self.delta.observed && distinct.len() > 2 {
                let sentence = format!(
                    "{key} is what it is after transaction #{index} alone: the writes of {} are lost",
                    transactions(&others)
                );
                let of: Vec<usize> = others.iter().chain([index]).copied().collect();
                self.add(fitting, SUMMED, Finding::UpdateLost, (effect, &of), sentence);
            }
            running = running.wrapping_add(effect);
            let rest = distinct.get(at + 1..).unwrap_or_default();
            if running == self.delta.observed && at > 0 && rest.len() > 1 {
                let sentence = format!(
                    "{key} is what it was after transaction #{index}: {} worked on a stale value",
                    transactions(rest)
                );
                self.add(fitting, SUMMED, Finding::Stale, (running, rest), sentence);
            }
        }
    }

    fn is_paid_by_the_block(&self) -> bool {
        let block = self.facts.block();
        self.delta.asset == AssetId::NATIVE
            && [block.miner, block.dev].contains(&self.delta.account)
    }

    /// Credits that a failed transaction did not get to.
    fn explain_by_failures(&self, fitting: &mut Hypotheses) {
        let Delta { account, asset, observed, .. } = self.delta;
        let own = self.facts.moves.iter().filter(|moved| {
            moved.account == account && moved.asset == asset && !moved.is_applied()
        });
        for moved in own {
            let of = (moved.amount, &[moved.index][..]);
            let key = self.facts.key(&self.delta.key());
            if moved.way == Way::Overflow && observed == Amount::new(u64::MAX) {
                let sentence = format!(
                    "{key} is 2^64-1: the credit of {} by transaction #{} overflows, which fails, and \
                     was published all the same",
                    moved.amount, moved.index
                );
                self.add(fitting, STRIKING, Finding::OverflowPublished, of, sentence);
            }
            if moved.way == Way::Unreached
                && moved.amount != Amount::ZERO
                && self.delta.excess() == moved.amount
            {
                let sentence = format!(
                    "{} = {} of transaction #{}, which comes after the output that fails: it was \
                     credited all the same",
                    self.is_off(),
                    part(moved),
                    moved.index
                );
                self.add(fitting, EXACT, Finding::FailedWentOn, of, sentence);
            }
        }
    }

    /// All parts of one kind, of all transactions, are missing or there twice.
    fn explain_by_all(&self, fitting: &mut Hypotheses) {
        let applied = self.applied();
        type IsOf = fn(&Move) -> bool;
        let kinds: [(&str, IsOf); 4] = [
            ("fees", |moved| moved.part == Part::Fee),
            ("payments", |moved| moved.part != Part::Fee && moved.way == Way::Debit),
            ("debits", |moved| moved.way == Way::Debit),
            ("credits", |moved| moved.way == Way::Credit),
        ];
        for (words, is_of) in kinds {
            let group: Vec<&Move> = applied.iter().filter(|moved| is_of(moved)).copied().collect();
            let of: BTreeSet<usize> = group.iter().map(|moved| moved.index).collect();
            let effect = sum(group.iter().copied());
            if of.len() < 2 || effect == Amount::ZERO {
                continue;
            }
            let of: Vec<usize> = of.into_iter().collect();
            let is_debit = words != "credits";
            let (missing, twice) = match is_debit {
                true => (Finding::DebitMissing, Finding::DebitTwice),
                false => (Finding::CreditMissing, Finding::CreditTwice),
            };
            for (finding, expected, what) in
                [(missing, negated(effect), "missing"), (twice, effect, "there twice")]
            {
                if self.delta.excess() == expected {
                    let sentence = format!(
                        "{} = all {words} of {}: they are {what}",
                        self.is_off(),
                        transactions(&of)
                    );
                    self.add(fitting, SUMMED, finding, (magnitude(effect), &of), sentence);
                }
            }
        }
    }

    /// Numbers at the edge of what a type can hold.
    fn explain_by_limits(&self, fitting: &mut Hypotheses) {
        let Delta { account, asset, control, observed } = self.delta;
        let key = self.facts.key(&StateKey::Balance(account, asset));
        let applied = self.applied();
        let of: Vec<usize> = applied.iter().map(|moved| moved.index).collect();
        if control.as_u64() > 1 << 53 && observed == as_double(control) {
            let sentence = format!(
                "{key} is {observed}, which is {control} as a floating-point number of 53 bits holds it"
            );
            self.add(fitting, STRIKING, Finding::Rounded, (control, &of), sentence);
        }
        let total = |way| {
            let moves = applied.iter().filter(|moved| moved.way == way);
            moves.map(|moved| u128::from(moved.amount.as_u64())).sum::<u128>()
        };
        let spent = total(Way::Debit);
        let before = self.facts.before(account, asset);
        let own = control.wrapping_sub(before).wrapping_sub(sum(applied.iter().copied()));
        let own = if spent > u128::from(u64::MAX) { Amount::ZERO } else { own };
        let had = u128::from(before.as_u64()) + u128::from(own.as_u64()) + total(Way::Credit);
        if spent > had && observed == Amount::ZERO {
            let sentence = format!(
                "{key} is 0: {spent} are spent of {had}, which wraps around 2^64, and was stopped at 0"
            );
            self.add(fitting, STRIKING, Finding::StopsAtZero, (observed, &of), sentence);
        }
        let wrapped = Amount::new((had.wrapping_sub(spent) & u128::from(u64::MAX)) as u64);
        if spent > u128::from(u64::MAX) && observed == wrapped {
            let sentence = format!(
                "{key} is {observed}: the {spent} that are spent were summed up modulo 2^64 instead of \
                 stopping at 2^64-1"
            );
            self.add(fitting, STRIKING, Finding::SpendingWraps, (observed, &of), sentence);
        }
    }
}

/// The parts of one transaction on one balance that may be missing together: all debits, all credits,
/// everything, and each alone. No two make up the same sum.
fn groups<'a>(own: &[&'a Move]) -> Vec<Vec<&'a Move>> {
    let select = |is_of: &dyn Fn(&Move) -> bool| -> Vec<&'a Move> {
        own.iter().filter(|moved| is_of(moved)).copied().collect()
    };
    let mut groups = vec![
        select(&|moved| moved.way == Way::Debit),
        select(&|moved| moved.way == Way::Credit),
        select(&|_| true),
        select(&|moved| moved.way == Way::Debit && moved.part != Part::Fee),
    ];
    groups.extend(own.iter().map(|moved| vec![*moved]));
    let mut sums = BTreeSet::new();
    groups.retain(|group| !group.is_empty() && sums.insert(sum(group.iter().copied())));
    groups
}

/// "amount 10", "fee 1", "burn of 7"
pub(super) fn part(moved: &Move) -> String {
    match moved.part {
        Part::Fee => format!("fee {}", moved.amount),
        Part::Output(_) => format!("amount {}", moved.amount),
        Part::Burn => format!("burn of {}", moved.amount),
    }
}

/// "transaction #3", "transactions #3, #4"
pub(super) fn transactions(indexes: &[usize]) -> String {
    let mut indexes = indexes.to_vec();
    indexes.dedup();
    match indexes.as_slice() {
        [] => "the block".to_owned(),
        [only] => format!("transaction #{only}"),
        several => {
            let mut listed: Vec<String> =
                several.iter().take(LISTED_MAX).map(|index| format!("#{index}")).collect();
            if several.len() > LISTED_MAX {
                listed.push(format!("and {} more", several.len() - LISTED_MAX));
            }
            format!("transactions {}", listed.join(", "))
        }
    }
}

fn fees_of(fees: &[(usize, Amount)]) -> String {
    match fees {
        [(index, fee)] => format!("fee {fee} of transaction #{index}"),
        several => {
            let indexes: Vec<usize> = several.iter().map(|(index, _)| *index).collect();
            format!("the fees of {}", transactions(&indexes))
        }
    }
}

/// The nearer way around 2^64.
const fn magnitude(effect: Amount) -> Amount {
    Amount::new((effect.as_u64() as i64).unsigned_abs())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is lost is what is looked for"
)]
const fn as_double(amount: Amount) -> Amount {
    Amount::new(amount.as_u64() as f64 as u64)
}

/// Of so few fees it is tried whether only one was counted.
const EACH_LEFT_OUT_MAX: usize = 100;

const LISTED_MAX: usize = 5;
