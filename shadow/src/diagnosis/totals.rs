//! A total that differs, explained by what was counted and what was not.

use comparator::{Difference, Field, Side};
use storage_snapshot::{Amount, AssetId};

use super::{
    cause::{Cause, EXACT, Finding, Hypotheses, STRIKING},
    facts::{Facts, Part, negated, too},
};

pub(super) fn explain(
    facts: &Facts<'_>,
    index: usize,
    difference: &Difference,
    fitting: &mut Hypotheses,
) {
    let (Side::Number(control), Side::Number(observed)) =
        (&difference.control, &difference.observed)
    else {
        return;
    };
    let total = Total {
        facts,
        index,
        field: difference.field,
        control: Amount::new(*control),
        observed: Amount::new(*observed),
    };
    match difference.field {
        Field::Fees => total.explain_fees(fitting),
        Field::Burned => total.explain_burned(fitting),
        Field::Emitted => {}
        _ => total.explain_reward(fitting),
    }
    total.explain_by_limits(fitting);
}

struct Total<'a> {
    facts: &'a Facts<'a>,
    index: usize,
    field: Field,
    control: Amount,
    observed: Amount,
}

impl Total<'_> {
    fn excess(&self) -> Amount {
        self.observed.wrapping_sub(self.control)
    }

    fn add(
        &self,
        fitting: &mut Hypotheses,
        rank: u8,
        (finding, amount, of): (Finding, Amount, Option<usize>),
        what: &str,
    ) {
        let name = match self.field {
            Field::Fees => "the total of fees",
            Field::Burned => "the counter of burned units",
            Field::Emitted => "the counter of emitted units",
            Field::MinerReward => "the total of the miner's reward",
            _ => "the total of the dev share",
        };
        let sentence = format!("{name} is {}{what}", too(self.excess()));
        let named = of.and_then(|index| self.facts.named(index));
        fitting.add(rank, [self.index], Cause::new(finding, sentence).of(amount).by(named));
    }

    fn explain_fees(&self, fitting: &mut Hypotheses) {
        for (index, listed) in self.facts.block().transactions.iter().enumerate() {
            let fee = listed.body.fee;
            if fee == Amount::ZERO {
                continue;
            }
            let is_executed = self.facts.is_executed(index);
            if self.excess() == fee && !is_executed {
                let of = (Finding::TotalCountsUnexecuted, fee, Some(index));
                let what = format!(
                    " = fee {fee} of transaction #{index}, which was not executed: it was counted all the \
                     same"
                );
                self.add(fitting, EXACT, of, &what);
            }
            if self.excess() == negated(fee) && is_executed {
                let of = (Finding::FeeNotCounted, fee, Some(index));
                let what = format!(" = fee {fee} of transaction #{index}: it was not counted");
                self.add(fitting, EXACT, of, &what);
            }
        }
    }

    fn explain_burned(&self, fitting: &mut Hypotheses) {
        for moved in self.facts.moves.iter().filter(|moved| moved.part == Part::Burn) {
            let (index, amount) = (moved.index, moved.amount);
            let is_native = moved.asset == AssetId::NATIVE;
            if amount == Amount::ZERO {
                continue;
            }
            if is_native && self.excess() == negated(amount) {
                let of = (Finding::BurnNotCounted, amount, Some(index));
                let what =
                    format!(" = burn of {amount} of transaction #{index}: it was not counted");
                self.add(fitting, EXACT, of, &what);
            }
            if !is_native && self.excess() == amount {
                let of = (Finding::OtherBurnCounted, amount, Some(index));
                let what = format!(
                    " = burn of {amount} of transaction #{index} in another asset: it was counted as native \
                     units"
                );
                self.add(fitting, EXACT, of, &what);
            }
        }
    }

    fn explain_reward(&self, fitting: &mut Hypotheses) {
        let (block, observed) = (self.facts.block(), self.observed);
        let (miner, dev) = (block.reward.miner, block.reward.dev);
        let is_sum = observed == miner.wrapping_add(dev);
        let other = if self.field == Field::MinerReward { dev } else { miner };
        if is_sum || observed == other {
            let which = if is_sum { "both shares" } else { "the other share" };
            let what = format!(": it is {observed}, which is {which}");
            let of = (Finding::TotalWrongShare, observed, None);
            self.add(fitting, STRIKING, of, &what);
        }
    }

    /// Counters that were never set, or are too small.
    fn explain_by_limits(&self, fitting: &mut Hypotheses) {
        // The one that the counter could not take any more.
        let last = match self.field {
            Field::Burned => {
                let mut burns = self
                    .facts
                    .moves
                    .iter()
                    .filter(|moved| moved.part == Part::Burn && moved.asset == AssetId::NATIVE);
                burns.next_back().map(|moved| moved.index)
            }
            _ => self.facts.executed().last().map(|(index, _)| index),
        };
        if self.observed == Amount::ZERO {
            let of = (Finding::TotalLeftAtZero, self.control, None);
            self.add(fitting, EXACT - 1, of, ": it was left at 0");
        }
        for bits in [8_u32, 16, 31, 32, 53, 63] {
            let largest = Amount::new((1 << bits) - 1);
            if self.observed == largest && self.control > largest {
                let what = format!(": it stopped at {largest}, the most that {bits} bits hold");
                self.add(fitting, STRIKING, (Finding::CounterClamped, largest, last), &what);
            }
        }
    }
}
