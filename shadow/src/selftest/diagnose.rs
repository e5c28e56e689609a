//! A fault that was caught, minimised and diagnosed.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use comparator::{Difference, Schedule};
use serde::Serialize;

use super::{BUDGET, Case, HANG_BUDGET};
use crate::{
    diagnosis::{Diagnosis, Question, diagnose as explain},
    execute::{BlockExecutor, WithinBudget},
    faults::{Mutant, MutantExecutor},
    locate::{Rerun, locate},
    minimize::{self, MinimizeError, Minimized, Options, Wanted, minimize},
};

/// How far a fault was minimised, and what was said of it.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosed {
    /// How often the block in which it was caught shows it when it is run again, from 0 to 1.
    pub repro_rate: f64,
    /// How many transactions that block has.
    pub transactions: usize,
    /// How many are left; `None` if it could not be shown again.
    pub minimized_transactions: Option<usize>,
    /// How many may be left.
    pub transactions_max: usize,
    /// How long it took.
    pub minimize_seconds: f64,
    /// Whether that was said which was planted, of a transaction that was altered.
    pub diagnosed: bool,
    /// What was said of the minimised block; empty if nothing was.
    pub diagnosis: String,
    /// The words for it.
    pub findings: Vec<&'static str>,
}

/// Minimises the block in which a fault was caught, and explains what is left.
pub(super) fn diagnose(
    mutant: &'static Mutant,
    executor: &Arc<MutantExecutor>,
    case: &Case,
    schedule: Schedule,
    first: &Difference,
) -> Diagnosed {
    let budget = if mutant.hangs() { HANG_BUDGET } else { BUDGET };
    let candidate: Arc<dyn BlockExecutor> = Arc::clone(executor) as _;
    let candidate = WithinBudget::new(candidate, budget);
    let rerun = Rerun { candidate: &candidate, pre_state: &case.pre_state, schedule };
    // What hangs is not started again.
    let wanted = Wanted::new(first, &case.block, (!mutant.hangs()).then_some(rerun));
    let whole = minimize::Case {
        block: Arc::clone(&case.block),
        pre_state: Arc::clone(&case.pre_state),
        schedule,
    };
    let repeats = if mutant.hangs() { HANG_REPEATS } else { REPEATS };
    let repro_rate = minimize::rate(&whole, &candidate, &wanted, repeats);

    let mut diagnosed = Diagnosed {
        repro_rate: repro_rate.map_or(0.0, minimize::Rate::as_f64),
        transactions: case.block.transactions.len(),
        minimized_transactions: None,
        transactions_max: mutant.transactions_max(),
        minimize_seconds: 0.0,
        diagnosed: false,
        diagnosis: String::new(),
        findings: Vec::new(),
    };
    let stop = AtomicBool::new(false);
    let options = Options { budget: BUDGET_MINIMIZE, seed: schedule.seed, stop: &stop };
    match minimize(&whole, &candidate, &wanted, options) {
        Ok(minimized) => {
            diagnosed.minimized_transactions = Some(minimized.case.block.transactions.len());
            diagnosed.minimize_seconds = minimized.elapsed.as_secs_f64();
            let diagnosis = of_minimized(&minimized, &candidate, mutant.hangs());
            diagnosed.diagnosed = is_right(mutant, executor, &minimized, &diagnosis);
            diagnosed.findings =
                diagnosis.causes.iter().map(|cause| cause.finding.as_str()).collect();
            diagnosed.diagnosis = diagnosis.to_string();
        }
        Err(error @ (MinimizeError::Control(_) | MinimizeError::NotShown { .. })) => {
            diagnosed.diagnosis = error.to_string();
        }
    }
    diagnosed
}

fn of_minimized(minimized: &Minimized, candidate: &dyn BlockExecutor, hangs: bool) -> Diagnosis {
    let minimize::Case { block, pre_state, schedule } = &minimized.case;
    let rerun = Rerun { candidate, pre_state, schedule: *schedule };
    let first = minimized.mismatch.first();
    explain(&Question {
        block,
        pre_state,
        control: &minimized.control,
        observed: minimized.observed.as_ref(),
        differences: &minimized.mismatch.differences,
        first: first.and_then(|first| locate(first, block, (!hangs).then_some(rerun))),
        schedule: *schedule,
    })
}

/// Whether a cause of the first difference is what was planted, and it is because of a transaction to
/// which the fault was applied; or of none, where there is none to blame.
fn is_right(
    mutant: &Mutant,
    executor: &MutantExecutor,
    minimized: &Minimized,
    diagnosis: &Diagnosis,
) -> bool {
    let minimize::Case { block, pre_state, schedule } = &minimized.case;
    let Ok(altered) = executor.altered(block, pre_state, *schedule) else { return false };
    let begins = diagnosis.first.map(|first| first.index);
    diagnosis.causes.iter().any(|cause| {
        let named = cause.transactions.iter().map(|named| named.index).chain(begins);
        let is_to_blame = altered.culprits.is_empty()
            || named.into_iter().any(|index| altered.culprits.contains(&index));
        is_to_blame && mutant.causes().contains(&cause.finding)
    })
}

impl Diagnosed {
    /// What is not as it has to be.
    pub(super) fn failure(&self) -> Option<String> {
        let Some(left) = self.minimized_transactions else {
            return Some(format!("could not be minimised ({})", self.diagnosis));
        };
        if left > self.transactions_max {
            return Some(format!(
                "was minimised to {left} transactions, and {} are enough",
                self.transactions_max
            ));
        }
        if self.minimize_seconds > Options::BUDGET.as_secs_f64() {
            return Some(format!("took {:.1} s to be minimised", self.minimize_seconds));
        }
        if self.repro_rate < 1.0 {
            return Some(format!("showed again in {:.2} of all runs only", self.repro_rate));
        }
        (!self.diagnosed).then(|| match self.diagnosis.as_str() {
            "" => "was not diagnosed".to_owned(),
            other => format!("was diagnosed as something else ({other})"),
        })
    }
}

impl fmt::Display for Diagnosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.minimized_transactions.map_or("-".to_owned(), |left| left.to_string());
        let diagnosed = if self.diagnosed { "yes" } else { "NO" };
        let Self { repro_rate, transactions, minimize_seconds, diagnosis, .. } = self;
        write!(
            f,
            "{repro_rate:>6.2} {transactions:>3} {left:>5} {minimize_seconds:>7.2}  {diagnosed:<9} \
             {diagnosis}"
        )
    }
}

/// What is left of the time that minimising may take goes into showing the result again.
const BUDGET_MINIMIZE: Duration = Duration::from_secs(25);

/// How often the whole block is run again.
const REPEATS: u32 = 10;

/// The same, where each run has to be waited for.
const HANG_REPEATS: u32 = 2;
