//! The lines in the log about blocks that matter: one per block and candidate, never one per key, and
//! not the same again and again.
//!
//! A candidate that is wrong everywhere would otherwise write a line per block for weeks. The first few
//! of a kind are written as they come; after that a line now and then says how many were left out.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use comparator::{Field, MismatchRecord};
use storage_snapshot::BlockRef;

use crate::record::log_mismatch;

/// What was written about blocks, and what was left out.
#[derive(Debug, Default)]
pub(crate) struct BlockLog {
    kinds: BTreeMap<Kind, Repetition>,
}

/// Lines of one kind say the same about different blocks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    candidate: String,
    verdict: &'static str,
    /// What differs first, or why there is no control.
    what: &'static str,
}

#[derive(Debug)]
struct Repetition {
    written: u32,
    omitted: u64,
    last: Instant,
}

impl BlockLog {
    /// A candidate differs.
    pub(crate) fn mismatch(&mut self, record: &MismatchRecord) {
        let field = record.differences.first().map_or(Field::Protocol, |first| first.field);
        let candidate = record.subject.candidate.clone();
        let kind = Kind { candidate, verdict: "mismatch", what: field.as_str() };
        if let Some(omitted) = self.admit(kind, Instant::now()) {
            log_mismatch(record, omitted);
        }
    }

    /// A block has no control that can be trusted.
    pub(crate) fn inconclusive(&mut self, block: BlockRef, reason: &comparator::Inconclusive) {
        let word = reason.word();
        let kind = Kind { candidate: String::new(), verdict: "inconclusive", what: word };
        if let Some(omitted) = self.admit(kind, Instant::now()) {
            tracing::warn!(
                topoheight = block.topoheight.as_u64(),
                block_hash = %block.hash,
                verdict = "inconclusive",
                reason = word,
                detail = %reason,
                omitted,
                "inconclusive"
            );
        }
    }

    /// Tells of what was left out and did not come again.
    pub(crate) fn catch_up(&mut self) {
        self.tell_omitted(|repetition| repetition.last.elapsed() >= INTERVAL);
    }

    /// Tells of everything that was left out.
    pub(crate) fn finish(&mut self) {
        self.tell_omitted(|_| true);
    }

    fn tell_omitted(&mut self, is_due: impl Fn(&Repetition) -> bool) {
        for (kind, repetition) in &mut self.kinds {
            if repetition.omitted > 0 && is_due(repetition) {
                let Kind { candidate, verdict, what } = kind;
                let omitted = repetition.omitted;
                tracing::warn!(candidate, verdict, what, omitted, "more blocks of the same kind");
                repetition.omitted = 0;
                repetition.last = Instant::now();
            }
        }
    }

    /// Whether the line is to be written, and then how many like it were left out before.
    fn admit(&mut self, kind: Kind, now: Instant) -> Option<u64> {
        let repetition =
            self.kinds.entry(kind).or_insert(Repetition { written: 0, omitted: 0, last: now });
        let is_new = repetition.written < WRITTEN_AT_ONCE;
        if !is_new && now.saturating_duration_since(repetition.last) < INTERVAL {
            repetition.omitted += 1;
            return None;
        }
        repetition.written = repetition.written.saturating_add(1);
        repetition.last = now;
        Some(std::mem::take(&mut repetition.omitted))
    }
}

/// How many lines of a kind are written as they come.
const WRITTEN_AT_ONCE: u32 = 5;

/// After that there is one in this time.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of one kind in each of these seconds: how many were left out before each that is written.
    #[track_caller]
    fn check(seconds: &[u64], expected: &[Option<u64>]) {
        let mut log = BlockLog::default();
        let start = Instant::now();
        let kind = Kind { candidate: "v3".to_owned(), verdict: "mismatch", what: "nonce" };
        let admitted: Vec<_> = seconds
            .iter()
            .map(|second| log.admit(kind.clone(), start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(admitted, expected);
    }

    #[test]
    fn the_first_lines_of_a_kind_are_written_as_they_come() {
        check(&[0, 0, 0, 0, 0], &[Some(0); 5]);
    }

    #[test]
    fn after_that_there_is_one_now_and_then_with_the_number_of_those_left_out() {
        check(
            &[0, 0, 0, 0, 0, 1, 2, 3, 10, 11, 30],
            &[
                Some(0),
                Some(0),
                Some(0),
                Some(0),
                Some(0),
                None,
                None,
                None,
                Some(3),
                None,
                Some(1),
            ],
        );
    }

    #[test]
    fn kinds_are_told_apart() {
        let mut log = BlockLog::default();
        let now = Instant::now();
        for what in ["nonce", "balance", "outcome"] {
            for candidate in ["v3", "node"] {
                for _ in 0..WRITTEN_AT_ONCE {
                    let kind = Kind { candidate: candidate.to_owned(), verdict: "mismatch", what };
                    assert_eq!(log.admit(kind, now), Some(0));
                }
            }
        }
    }
}
