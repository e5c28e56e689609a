//! Which differences are the same one.
//!
//! Numbers change while a block is minimised, and accounts go, so a difference is recognised by what
//! does not: its field, what either side has there, which of them has more, and the kind of the
//! transaction with which it begins; where there is no result, what is said instead.

use std::cmp::Ordering;

use comparator::{Difference, Field, Side, SkipReason, Status};

use crate::{
    execute::ExecutableBlock,
    kinds::TransactionKind,
    locate::{Rerun, locate, message},
};

/// The difference that has to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    field: Field,
    control: Look,
    observed: Look,
    /// How the candidate's number compares with the control's.
    direction: Option<Ordering>,
    /// What a candidate without a result says of it, but for its numbers.
    message: Option<String>,
    /// Of the transaction with which it begins; `None` if it begins without one.
    kind: Option<TransactionKind>,
}

impl Wanted {
    /// What makes up this difference of a block. With the means to run parts of the block again, the
    /// transaction with which it begins is found out; without them it is the one that the difference
    /// names.
    pub fn new(difference: &Difference, block: &ExecutableBlock, rerun: Option<Rerun<'_>>) -> Self {
        Self { kind: kind(difference, block, rerun), ..Self::at_sight(difference) }
    }

    /// Whether a difference looks like this one; with which transaction it begins is not asked.
    pub(super) fn looks_like(&self, difference: &Difference) -> bool {
        Self { kind: self.kind, ..Self::at_sight(difference) } == *self
    }

    /// Whether a difference that looks like this one also begins with a transaction of the same kind.
    pub(super) fn begins_alike(
        &self,
        difference: &Difference,
        block: &ExecutableBlock,
        rerun: Option<Rerun<'_>>,
    ) -> bool {
        kind(difference, block, rerun) == self.kind
    }

    /// Whether the candidate does not come back, so that parts of a block are better not run again.
    pub const fn is_hang(&self) -> bool {
        matches!(self.field, Field::Hang)
    }

    fn at_sight(difference: &Difference) -> Self {
        Self {
            field: difference.field,
            control: Look::of(&difference.control),
            observed: Look::of(&difference.observed),
            direction: direction(difference),
            message: message(difference),
            kind: None,
        }
    }
}

/// What a side has, but for its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Absent,
    None,
    Number,
    Multisig,
    Registered,
    Executed,
    Skipped(&'static str),
    Failed(&'static str),
    Text,
}

impl Look {
    fn of(side: &Side) -> Self {
        match side {
            Side::Absent => Self::Absent,
            Side::None => Self::None,
            Side::Number(_) => Self::Number,
            Side::Multisig(_) => Self::Multisig,
            Side::Registered => Self::Registered,
            Side::Outcome(outcome) => match &outcome.status {
                Status::Executed => Self::Executed,
                Status::Skipped(reason) => Self::Skipped(reason.word()),
                Status::Failed(reason) => Self::Failed(reason.word()),
            },
            Side::Text(_) => Self::Text,
        }
    }
}

/// Balances wrap around 2^64, so the nearer way counts.
fn direction(difference: &Difference) -> Option<Ordering> {
    let numbers = match (&difference.control, &difference.observed) {
        (Side::Number(control), Side::Number(observed)) => (*control, *observed),
        (Side::Outcome(control), Side::Outcome(observed)) => {
            (control.fee.as_u64(), observed.fee.as_u64())
        }
        _ => return None,
    };
    Some((numbers.1.wrapping_sub(numbers.0) as i64).cmp(&0))
}

/// The kind of the transaction with which a difference begins. A transaction that was executed before
/// is none of the kinds that are at fault.
fn kind(
    difference: &Difference,
    block: &ExecutableBlock,
    rerun: Option<Rerun<'_>>,
) -> Option<TransactionKind> {
    let is_named = difference.transaction.is_some();
    let is_failure = matches!(difference.observed, Side::Text(_));
    if is_failure && !is_named {
        // It is told by what it says, and running parts of a block again costs the most there.
        return None;
    }
    let index = match (is_named, rerun) {
        (false, None) => return None,
        (_, rerun) => locate(difference, block, rerun)?.index,
    };
    let transaction = block.transactions.get(index)?;
    let is_skipped = matches!(
        &difference.control,
        Side::Outcome(outcome)
            if outcome.status == Status::Skipped(SkipReason::AlreadyExecuted)
    );
    (!is_skipped).then(|| TransactionKind::of(&transaction.body))
}
