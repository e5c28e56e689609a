//! A mismatch: what differs, as a bounded list and exact numbers.
//!
//! A candidate that is wrong everywhere may differ in millions of places. Nobody reads them all, and
//! nobody may be told that there were fewer, so the first ones are kept and every one is counted.

use std::collections::BTreeMap;

use crate::{Difference, FailReason, Field, Outcome, Side, SkipReason, Status, text::clip};

/// How much of a mismatch is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many differences are kept in full. All of them are counted.
    pub differences: usize,
    /// How many bytes are kept of a text that a candidate wrote.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { differences: 256, text_bytes: 4096 }
    }
}

/// What differs, in order and in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mismatch {
    /// The first differences, in the order of [`for_each_difference`](crate::for_each_difference).
    pub differences: Vec<Difference>,
    /// How many differences of each field there are: all of them, kept or not.
    pub counts: BTreeMap<Field, u64>,
    /// How many differences were not kept.
    pub omitted: u64,
}

impl Mismatch {
    /// Keeps and counts the differences of any source; `None` if there are none.
    ///
    /// At least one is kept whatever the limits say: a mismatch without an example is of no use.
    pub fn collect(
        differences: impl IntoIterator<Item = Difference>,
        limits: &Limits,
    ) -> Option<Self> {
        let mut mismatch = Self::default();
        for difference in differences {
            mismatch.push(difference, limits);
        }
        mismatch.non_empty()
    }

    /// The first difference: where to start reading.
    pub fn first(&self) -> Option<&Difference> {
        self.differences.first()
    }

    /// How many differences there are, kept or not.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Adds a difference, of which no more than the limits allow is kept.
    pub fn push(&mut self, mut difference: Difference, limits: &Limits) {
        *self.counts.entry(difference.field).or_default() += 1;
        if self.differences.len() < limits.differences.max(1) {
            clip_side(&mut difference.control, limits);
            clip_side(&mut difference.observed, limits);
            self.differences.push(difference);
        } else {
            self.omitted += 1;
        }
    }

    pub(crate) fn non_empty(self) -> Option<Self> {
        (!self.differences.is_empty()).then_some(self)
    }
}

fn clip_side(side: &mut Side, limits: &Limits) {
    if let Side::Text(text)
    | Side::Outcome(Outcome { status: Status::Skipped(SkipReason::Other(text)), .. })
    | Side::Outcome(Outcome { status: Status::Failed(FailReason::Other(text)), .. }) = side
    {
        clip(text, limits.text_bytes);
    }
}
