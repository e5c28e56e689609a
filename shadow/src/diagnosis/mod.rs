//! The diagnosis: from the numbers of a difference to what went wrong, in words.
//!
//! It is arithmetic and nothing else. A block says which amounts it moves, so a balance that is too
//! high by eleven, in a block of which one transaction takes ten and a fee of one from it, was not
//! debited by that transaction. Each explanation predicts numbers; it is given only if they are exactly
//! those that the candidate shows. Where several fit equally well they are all given, as likely; where
//! none fits nothing is said, because a guess sends whoever reads it to the wrong place.

mod as_reported;
mod balances;
mod cause;
mod facts;
mod nonces;
mod outcomes;
mod pairs;
mod recorded;
mod rewards;
mod state;
mod totals;

use std::{collections::BTreeSet, fmt};

pub use cause::{Cause, Confidence, Finding, Named};
use cause::{Hypotheses, Hypothesis, NUMBERLESS};
use comparator::{
    Difference, Execution, Failure, Field, LocateMethod, LocatedTransaction, Schedule,
};
use facts::Facts;
pub use recorded::difference_of;
use storage_snapshot::StateKey;

use crate::execute::{ExecutableBlock, PreState};

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The block.
    pub block: &'a ExecutableBlock,
    /// The state before it.
    pub pre_state: &'a PreState,
    /// What the control made of it; it keeps the rules.
    pub control: &'a Execution,
    /// What the candidate made of it.
    pub observed: Result<&'a Execution, &'a Failure>,
    /// The differences, in their order.
    pub differences: &'a [Difference],
    /// The transaction with which the first difference begins, if one was found.
    pub first: Option<LocatedTransaction>,
    /// What the candidate ran under.
    pub schedule: Schedule,
}

/// What went wrong, as far as it can be told.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The explanations, those of the first differences first; none if nothing fits.
    pub causes: Vec<Cause>,
    /// How many differences none of them explains.
    pub unexplained: usize,
    /// The transaction with which the first difference begins, unless a certain cause of it says more
    /// than which keys a transaction touches.
    pub first: Option<LocatedTransaction>,
    /// Two transactions that meet in the key of the first difference.
    pub conflict: Option<Conflict>,
    /// What the candidate ran under.
    pub schedule: Schedule,
}

/// Two transactions that touch one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: StateKey,
    /// The earlier of the two.
    pub earlier: Named,
    /// The later.
    pub later: Named,
}

/// Explains the differences of a block.
pub fn diagnose(question: &Question<'_>) -> Diagnosis {
    let facts = Facts::new(question);
    let mut open: BTreeSet<usize> = (0..question.differences.len())
        .filter(|index| facts.field(*index) != Some(Field::Schedule))
        .collect();
    // Of each explanation all readings.
    let mut causes: Vec<Vec<Cause>> = Vec::new();
    let (mut unexplained, mut is_first_open) = (0, false);
    while let Some(index) = open.first().copied() {
        open.remove(&index);
        let fitting = best(hypotheses(&facts, index), &open);
        let known = causes.iter().position(|known| is_alike(known, &fitting));
        let is_full = known.is_none() && causes.iter().map(Vec::len).sum::<usize>() >= CAUSES_MAX;
        if fitting.is_empty() || is_full {
            unexplained += 1;
            is_first_open |= index == 0;
            continue;
        }
        // Of several readings one is true, so what they do not all explain is still to be explained.
        open.retain(|other| !fitting.iter().all(|reading| reading.explains.contains(other)));
        match known.and_then(|known| causes.get_mut(known)?.first_mut()) {
            Some(known) => known.alike += 1,
            None => causes.push(readings(fitting)),
        }
    }
    // Which keys a transaction touches is a hint; the cause knows.
    let by_cause = question
        .first
        .filter(|first| first.method == LocateMethod::Touch && !is_first_open)
        .and_then(|_| blamed(causes.first()?));
    let begins = by_cause.or(question.first.map(|first| first.index));
    Diagnosis {
        causes: causes.into_iter().flatten().collect(),
        unexplained,
        first: question.first.filter(|_| by_cause.is_none()),
        conflict: facts.conflict(begins),
        schedule: question.schedule,
    }
}

/// The transaction at fault, where there is no doubt.
fn blamed(readings: &[Cause]) -> Option<usize> {
    match readings {
        [certain] => certain.transactions.first().map(|named| named.index),
        _ => None,
    }
}

/// Whether both find the same, and are as sure of it.
fn is_alike(known: &[Cause], fitting: &[Hypothesis]) -> bool {
    let found: BTreeSet<Finding> = known.iter().map(|cause| cause.finding).collect();
    let fits: BTreeSet<Finding> = fitting.iter().map(|reading| reading.cause.finding).collect();
    found == fits && (known.len() == 1) == (fitting.len() == 1)
}

/// One reading is certain, several are likely.
fn readings(fitting: Vec<Hypothesis>) -> Vec<Cause> {
    let confidence = if fitting.len() == 1 { Confidence::Certain } else { Confidence::Likely };
    let causes = fitting.into_iter().map(|hypothesis| hypothesis.cause);
    causes.map(|cause| Cause { confidence, ..cause }).collect()
}

/// Everything that fits a difference.
fn hypotheses(facts: &Facts<'_>, index: usize) -> Hypotheses {
    let mut fitting = Hypotheses::default();
    let Some(difference) = facts.question.differences.get(index) else { return fitting };
    match difference.field {
        Field::Outcome => outcomes::explain(facts, index, difference, &mut fitting),
        Field::Protocol if difference.transaction.is_some() => {
            outcomes::explain_twice(facts, index, difference, &mut fitting);
        }
        Field::Protocol | Field::Error | Field::Crashed | Field::Hang => {
            outcomes::explain_failure(facts, index, difference, &mut fitting);
        }
        Field::Fees | Field::Burned | Field::Emitted | Field::MinerReward | Field::DevReward => {
            rewards::explain(facts, index, &mut fitting);
            totals::explain(facts, index, difference, &mut fitting);
        }
        Field::Nonce => nonces::explain(facts, index, difference, &mut fitting),
        Field::Balance => {
            rewards::explain(facts, index, &mut fitting);
            pairs::explain(facts, index, &mut fitting);
            balances::explain(facts, index, difference, &mut fitting);
        }
        Field::Multisig | Field::Registration => {}
        Field::Version | Field::Schedule => {}
    }
    state::explain(facts, index, difference, &mut fitting);
    fitting
}

/// Those that explain the most, the most telling ones first.
fn best(fitting: Hypotheses, open: &BTreeSet<usize>) -> Vec<Hypothesis> {
    let explained = |hypothesis: &Hypothesis| hypothesis.explains.intersection(open).count();
    let most = fitting.0.iter().map(explained).max();
    let mut best: Vec<Hypothesis> = Vec::new();
    let mut fitting = fitting.0;
    fitting.sort_by_key(|hypothesis| std::cmp::Reverse(hypothesis.rank));
    for hypothesis in fitting {
        let is_known = best.iter().any(|known| known.cause.says_the_same(&hypothesis.cause));
        if Some(explained(&hypothesis)) == most && !is_known {
            best.push(hypothesis);
        }
    }
    if best.first().is_some_and(|most_telling| most_telling.rank > NUMBERLESS) {
        best.retain(|hypothesis| hypothesis.rank > NUMBERLESS);
    }
    best.truncate(READINGS_MAX);
    best
}

impl Diagnosis {
    /// The sentences, without line breaks; none if there is nothing to say.
    pub fn sentences(&self) -> Vec<String> {
        let mut sentences: Vec<String> = self.causes.iter().map(ToString::to_string).collect();
        if sentences.is_empty() {
            return sentences;
        }
        if self.unexplained > 0 {
            let plural = if self.unexplained == 1 { "" } else { "s" };
            sentences.push(format!("{} difference{plural} not explained", self.unexplained));
        }
        if let Some(LocatedTransaction { index, hash, method }) = self.first {
            let how = match method {
                LocateMethod::Outcome | LocateMethod::Prefix => "",
                LocateMethod::Touch => ", as far as can be told from which keys it touches",
            };
            sentences.push(format!("it begins with transaction #{index} ({hash:.8}){how}"));
        }
        if let Some(Conflict { earlier, later, .. }) = self.conflict {
            sentences.push(format!(
                "transactions #{} and #{} meet in that key, run with {}",
                earlier.index, later.index, self.schedule
            ));
        }
        sentences
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentences().join("; "))
    }
}

/// So many different explanations are given at most.
const CAUSES_MAX: usize = 8;

/// So many readings of one number are given at most.
const READINGS_MAX: usize = 3;
