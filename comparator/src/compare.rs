//! The comparison: from two observations of one block to a verdict.

use std::fmt;

use storage_snapshot::{ReadError, StateRead};

use crate::{
    Difference, Execution, Exercise, Expected, Failure, Field, Limits, Mismatch, NotExercised,
    Observation, Outcome, Provenance, Schedule, Side, Status, Verdict, Violation, check,
    for_each_difference, text::clip,
};

/// Judges a candidate by the control.
///
/// First the control has to keep the rules of the block, or nothing is claimed. Then any difference
/// is a mismatch, however the candidate worked. Only then is it asked whether the agreement proves
/// anything.
///
/// # Errors
///
/// When the comparison itself cannot be made. That says nothing about the candidate.
pub fn compare(
    control: &Execution,
    candidate: &Observation,
    pre_state: &dyn StateRead,
    expected: &dyn Expected,
    limits: &Limits,
) -> Result<Verdict, CompareError> {
    let rules = check(control, pre_state, expected).map_err(CompareError::Read)?;
    match rules.broken() {
        Some(reason) => Ok(Verdict::Inconclusive(reason)),
        None => compare_with_sound(control, candidate, pre_state, expected, limits),
    }
}

/// Judges a candidate by a control that is known to keep the rules of the block, as [`check`] told.
///
/// This is for whoever judges several candidates by one control; everybody else takes [`compare`].
///
/// # Errors
///
/// As [`compare`].
pub fn compare_with_sound(
    control: &Execution,
    candidate: &Observation,
    pre_state: &dyn StateRead,
    expected: &dyn Expected,
    limits: &Limits,
) -> Result<Verdict, CompareError> {
    let execution = match &candidate.result {
        Ok(execution) => execution,
        Err(failure) => {
            let mut mismatch = Mismatch::default();
            mismatch.push(failure.into(), limits);
            return Ok(Verdict::Mismatch(mismatch));
        }
    };

    // Blocks that agree are the rule, and two sorted maps are the same long before their keys are
    // paired up.
    if same(control, execution) {
        return Ok(agreement(execution, &candidate.schedule, limits));
    }

    let mut mismatch = Mismatch::default();
    for_each_difference(control, execution, pre_state, &mut |difference| {
        mismatch.push(difference, limits);
    })
    .map_err(CompareError::Read)?;
    if let Some(mismatch) = mismatch.non_empty() {
        return Ok(Verdict::Mismatch(mismatch));
    }

    // Equal to a control that keeps the rules, the candidate keeps them too; if it does not, the
    // comparison above has overlooked something.
    let rules = check(execution, pre_state, expected).map_err(CompareError::Read)?;
    if let Some(violation) = rules.violations.into_iter().next() {
        return Err(CompareError::Overlooked(violation));
    }

    Ok(agreement(execution, &candidate.schedule, limits))
}

/// Whether two executions did the same, in whatever order they list their outcomes. Never wrong when
/// it says so; a repeated transaction may make it overlook that they did.
fn same(control: &Execution, candidate: &Execution) -> bool {
    fn by_hash(execution: &Execution) -> Vec<&Outcome> {
        let mut outcomes: Vec<_> = execution.outcomes.iter().collect();
        outcomes.sort_unstable_by_key(|outcome| outcome.hash);
        outcomes
    }
    control.totals == candidate.totals
        && control.delta == candidate.delta
        && (control.outcomes == candidate.outcomes || by_hash(control) == by_hash(candidate))
}

/// What an agreement is worth.
fn agreement(execution: &Execution, schedule: &Schedule, limits: &Limits) -> Verdict {
    match proves_nothing(execution, schedule, limits) {
        Some(reason) => Verdict::NotExercised(reason),
        None => Verdict::Match,
    }
}

/// Why an agreement with this execution proves nothing, if so.
fn proves_nothing(
    execution: &Execution,
    schedule: &Schedule,
    limits: &Limits,
) -> Option<NotExercised> {
    let Exercise { workers, batches, max_in_flight, fallback, provenance } = &execution.exercise;
    // Two are enough, so the others are not looked at.
    let is_executed = |outcome: &&Outcome| outcome.status == Status::Executed;
    match execution.outcomes.iter().filter(is_executed).take(2).count() {
        0 => return Some(NotExercised::Empty),
        1 => return Some(NotExercised::OneTransaction),
        _ => {}
    }
    if *provenance == Provenance::Delegated {
        return Some(NotExercised::Delegated);
    }
    if let Some(reason) = fallback {
        let mut reason = reason.clone();
        clip(&mut reason, limits.text_bytes);
        return Some(NotExercised::Fallback(reason));
    }
    // A lane is a worker that executed a transaction. Whoever says that there were more is believed nothing.
    if max_in_flight > workers || *max_in_flight as usize > execution.outcomes.len() {
        return Some(NotExercised::ImpossibleClaim);
    }
    // What a candidate says of itself can lower a claim, not raise it: one that was given a single
    // worker is not believed to have used more.
    if (*workers).min(schedule.workers) < 2 {
        return Some(NotExercised::OneWorker);
    }
    if *batches == 0 || *max_in_flight < 2 {
        return Some(NotExercised::NoWideBatch);
    }
    None
}

/// The difference between two runs of one candidate on one block, if they did not do the same.
///
/// The first run is shown as the control. How the work was done is not part of it: schedules are
/// meant to differ there.
///
/// # Errors
///
/// When the comparison itself cannot be made.
pub fn schedule_difference(
    first: &Observation,
    other: &Observation,
    pre_state: &dyn StateRead,
) -> Result<Option<Difference>, CompareError> {
    let (control, observed) = match (&first.result, &other.result) {
        (Ok(one), Ok(two)) => {
            let mut first_difference = None;
            let mut count = 0_u64;
            for_each_difference(one, two, pre_state, &mut |difference| {
                count += 1;
                first_difference.get_or_insert(difference);
            })
            .map_err(CompareError::Read)?;
            let Some(difference) = first_difference else { return Ok(None) };
            let place = difference.place();
            (
                format!("{place} is {}", difference.control),
                format!("{place} is {} (difference 1 of {count})", difference.observed),
            )
        }
        // What a failure says may hold a counter, a place in a text, or whatever the candidate likes.
        (Err(one), Err(two)) if Difference::from(one).field == Difference::from(two).field => {
            return Ok(None);
        }
        (one, two) => (came_to(one), came_to(two)),
    };
    Ok(Some(Difference {
        field: Field::Schedule,
        key: None,
        transaction: None,
        control: Side::Text(format!("with {}: {control}", first.schedule)),
        observed: Side::Text(format!("with {}: {observed}", other.schedule)),
    }))
}

fn came_to(result: &Result<Execution, Failure>) -> String {
    match result {
        Ok(_) => "came to its end".to_owned(),
        Err(failure) => failure.to_string(),
    }
}

/// Why a comparison cannot be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CompareError {
    /// The state before the block cannot be read.
    Read(ReadError),
    /// No difference was found between a control that keeps the rules and a candidate that breaks
    /// one: the comparison is wrong, and so may be every verdict that it gave.
    Overlooked(Violation),
}

impl fmt::Display for CompareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("the state before the block cannot be read"),
            Self::Overlooked(violation) => write!(
                f,
                "the comparison has overlooked a difference, trust no verdict of this build: \
                 {violation}"
            ),
        }
    }
}

impl std::error::Error for CompareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Overlooked(_) => None,
        }
    }
}
