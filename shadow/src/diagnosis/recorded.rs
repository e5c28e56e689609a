//! The diagnosis of what was recorded: evidence holds everything that one needs.

use comparator::{Difference, LocateMethod, RecordedDifference, Side};

use super::{Diagnosis, Question, diagnose};
use crate::evidence::{Evidence, Observed};

impl Diagnosis {
    /// Explains evidence; `None` for answers of a node, which say too little of what it did.
    pub fn of_evidence(evidence: &Evidence) -> Option<Self> {
        let observed = match &evidence.observed {
            Observed::Execution(execution) => Ok(execution),
            Observed::Failure(failure) => Err(failure),
            Observed::Answers(_) => return None,
        };
        let recorded = &evidence.record.differences;
        let differences: Vec<Difference> = recorded.iter().map(difference_of).collect();
        Some(diagnose(&Question {
            block: &evidence.block,
            pre_state: &evidence.pre_state,
            control: &evidence.control,
            observed,
            differences: &differences,
            first: recorded.first().and_then(|first| first.transaction),
            schedule: evidence.schedule(),
        }))
    }
}

/// The difference that was recorded.
pub fn difference_of(recorded: &RecordedDifference) -> Difference {
    let named = match (&recorded.control, &recorded.observed) {
        (Side::Outcome(outcome), _) | (_, Side::Outcome(outcome)) => Some(outcome.hash),
        // Where neither side shows an outcome, the difference may still name the transaction.
        _ => recorded
            .transaction
            .filter(|located| located.method == LocateMethod::Outcome)
            .map(|located| located.hash),
    };
    Difference {
        field: recorded.field,
        key: recorded.key,
        transaction: named,
        control: recorded.control.clone(),
        observed: recorded.observed.clone(),
    }
}
