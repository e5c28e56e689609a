//! What a difference *is*: from two observations of one block to a verdict, the invariants that any
//! right execution satisfies, the record of a mismatch and the text that a person reads.
//!
//! Everything here is a pure function of its arguments, so a verdict can be reproduced from a file:
//! there is no clock, and no input or output outside of the sinks. Nothing here knows how a block
//! was executed, only what the execution did.
//!
//! [`compare`] is the way in. A mismatch is a value that it returns; an error means that the
//! comparison itself could not be made.

mod compare;
mod difference;
mod explain;
mod invariants;
mod mismatch;
mod observation;
mod record;
mod side;
mod sink;
mod strict;
mod text;
mod verdict;
mod violation;
mod wire;

pub use compare::{CompareError, compare, compare_with_sound, schedule_difference};
pub use difference::{Difference, Field, ParseFieldError, for_each_difference};
pub use explain::{ExplainLimits, explain};
pub use invariants::{Before, Expected, ExpectedTransaction, Invariants, check, check_by};
pub use mismatch::{Limits, Mismatch};
pub use observation::{
    Execution, Exercise, FailReason, Failure, Observation, Outcome, Provenance, Schedule,
    SkipReason, Status, Totals,
};
pub use record::{
    FORMAT_VERSION, LocateMethod, LocatedTransaction, MismatchRecord, RecordError,
    RecordedDifference, Subject,
};
pub use side::Side;
pub use sink::{JsonLines, MemorySink, MismatchSink, SinkError};
pub use strict::Object;
pub use verdict::{Inconclusive, NotExercised, OpaqueKind, Severity, Verdict};
pub use violation::Violation;
pub use wire::{
    ExecutionJson, StateEntryJson, WireError, decode_execution, pre_state_from_json,
    pre_state_to_json,
};
