//! Topoheights as ranges: millions of blocks have few of them, where verdicts stay the same.

use std::fmt;

use comparator::Severity;
use serde::{Serialize, Serializer, ser::SerializeSeq};
use storage_snapshot::TopoHeight;

/// Topoheights by verdict.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerdictRanges {
    /// Compared at work, and agreed.
    #[serde(rename = "match")]
    pub matching: Ranges,
    /// Differed.
    pub mismatch: Ranges,
    /// Without a control that can be trusted.
    pub inconclusive: Ranges,
    /// Agreed, which proves nothing.
    pub not_exercised: Ranges,
    /// Not executed here.
    pub opaque: Ranges,
}

/// Topoheights as ranges, in order; in JSON a list of pairs, the first and the last of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(TopoHeight, TopoHeight)>);

impl VerdictRanges {
    pub(super) fn push(&mut self, verdict: Severity, at: TopoHeight) {
        match verdict {
            Severity::Match => &mut self.matching,
            Severity::Mismatch => &mut self.mismatch,
            Severity::Inconclusive => &mut self.inconclusive,
            Severity::NotExercised => &mut self.not_exercised,
            Severity::Opaque => &mut self.opaque,
        }
        .push(at);
    }

    /// Each verdict with its topoheights, in the order in which they are shown.
    pub fn iter(&self) -> impl Iterator<Item = (Severity, &Ranges)> {
        [
            (Severity::Match, &self.matching),
            (Severity::Mismatch, &self.mismatch),
            (Severity::Inconclusive, &self.inconclusive),
            (Severity::NotExercised, &self.not_exercised),
            (Severity::Opaque, &self.opaque),
        ]
        .into_iter()
    }
}

impl Ranges {
    pub(super) fn push(&mut self, at: TopoHeight) {
        self.push_all(at, at);
    }

    /// Adds what comes after everything that is there.
    pub(super) fn push_all(&mut self, first: TopoHeight, last: TopoHeight) {
        match self.0.last_mut() {
            Some((_, end)) if end.next() == first => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    /// The ranges, each by its first and its last topoheight.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (TopoHeight, TopoHeight)> {
        self.0.iter().copied()
    }

    /// Whether there is no topoheight.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many topoheights there are.
    pub fn len(&self) -> u64 {
        self.iter().map(|(first, last)| last.blocks_since(first) + 1).sum()
    }
}

/// The first ranges, and how many more there are.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (i, (first, last)) in self.iter().take(RANGES_SHOWN_MAX).enumerate() {
            f.write_str(if i == 0 { "" } else { ", " })?;
            if first == last { first.fmt(f)? } else { write!(f, "{first}-{last}")? }
        }
        match self.0.len().saturating_sub(RANGES_SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more ranges"),
        }
    }
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (first, last) in &self.0 {
            list.serialize_element(&[first.as_u64(), last.as_u64()])?;
        }
        list.end()
    }
}

/// What a person reads at a glance; the JSON form has all of them.
const RANGES_SHOWN_MAX: usize = 12;
