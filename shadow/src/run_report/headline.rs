//! The answer in one sentence: whether anything differs, and if so what and where.

use comparator::Side;

use super::figures::{Figures, Word};
use crate::ledger::FirstMismatch;

/// The first line of a report, as plain text on one line: what a candidate wrote may hold anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headline {
    pub(crate) word: Word,
    pub(crate) sentence: String,
}

impl Headline {
    /// `missing` are the sentences that say why the evidence is not enough.
    pub(crate) fn of(figures: &Figures, missing: &[String]) -> Self {
        let sentence = match figures.verdict {
            Word::Clean => clean(figures),
            Word::Mismatch => mismatch(figures),
            Word::NotEnoughEvidence => not_enough(figures, missing),
            Word::Error => figures.error.clone().unwrap_or_else(|| "it ended early".to_owned()),
        };
        Self { word: figures.verdict, sentence: one_line(&sentence) }
    }
}

fn clean(figures: &Figures) -> String {
    let blocks = &figures.blocks;
    let accepted = match figures.accepted.mismatches {
        0 => String::new(),
        count => format!(" but {count} accepted mismatches"),
    };
    format!(
        "nothing differs{accepted} in {} blocks, {} of them exercised ({})",
        blocks.total,
        blocks.exercised,
        share(blocks.exercised, blocks.total)
    )
}

fn mismatch(figures: &Figures) -> String {
    let of_all = format!(
        "{} in {} of {} blocks",
        counted(figures.mismatches.total, "difference"),
        figures.blocks.mismatch.saturating_sub(figures.accepted.blocks),
        figures.blocks.total
    );
    let gone = match figures.stale_mismatches {
        0 => String::new(),
        count => {
            format!("{} in blocks that have since been ordered away", counted(count, "difference"))
        }
    };
    match &figures.mismatches.first {
        Some(first) if gone.is_empty() => format!("{}; {of_all}", what_and_where(first)),
        Some(first) => format!("{}; {of_all}, and {gone}", what_and_where(first)),
        None if gone.is_empty() => of_all,
        None => match &figures.stale_first {
            Some(first) => format!("{}; {gone}", what_and_where(first)),
            None => gone,
        },
    }
}

fn not_enough(figures: &Figures, missing: &[String]) -> String {
    let interrupted = figures.interrupted.then(|| {
        let because = figures.interrupted_because.as_deref().unwrap_or("it was interrupted");
        format!(
            "the run did not come to its end, {because}; {} blocks until then",
            figures.blocks.total
        )
    });
    let sentences: Vec<_> = interrupted.into_iter().chain(missing.iter().cloned()).collect();
    match sentences.as_slice() {
        [] => "nothing differs, and that proves too little".to_owned(),
        [only] => only.clone(),
        [first, others @ ..] => {
            format!("{first} (and {} more)", counted(others.len() as u64, "reason"))
        }
    }
}

/// What differs, where, and for whom.
pub(crate) fn what_and_where(first: &FirstMismatch) -> String {
    let FirstMismatch { candidate, topoheight, field, .. } = first;
    let at = format!("candidate {candidate} differs in {field} at topoheight {topoheight}");
    let observed = shortened(&first.observed.to_string());
    if matches!((&first.observed, &first.control), (Side::Text(_), Side::Absent)) {
        return format!("{at}: {observed}");
    }
    let of = first.account.map(|account| format!(" of account {}", start_of(&account.to_string())));
    let difference = first.difference.map(|by| format!(" ({by:+})")).unwrap_or_default();
    let transaction = first.transaction.as_ref().map(|transaction| {
        format!(", from transaction #{} on (by {})", transaction.index, transaction.method.as_str())
    });
    format!(
        "{at}: that{} is {observed}, the control says {}{difference}{}",
        of.unwrap_or_default(),
        shortened(&first.control.to_string()),
        transaction.unwrap_or_default()
    )
}

/// `1 block`, `2 blocks`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A share in percent that is 100 only if it is all, and 0 only if it is nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0 %".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        _ if part == 0 => "0 %".to_owned(),
        _ if part >= whole => "100 %".to_owned(),
        _ => format!("{:.1} %", percent.clamp(0.1, 99.9)),
    }
}

fn start_of(text: &str) -> String {
    text.chars().take(8).collect()
}

/// As much of a text as a sentence can bear.
pub(crate) fn shortened(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(SHORT_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A text without line breaks, terminal sequences, or anything else that is not seen.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => line.push(char),
            _ => line.extend(char.escape_debug()),
        }
    }
    line
}

const SHORT_CHARACTERS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_all_or_nothing_only_if_it_is() {
        #[track_caller]
        fn check(part: u64, whole: u64, expected: &str) {
            assert_eq!(share(part, whole), expected);
        }
        check(0, 0, "0 %");
        check(0, 10, "0 %");
        check(1, 1_000_000, "0.1 %");
        check(1, 2, "50.0 %");
        check(999_999, 1_000_000, "99.9 %");
        check(5, 5, "100 %");
    }

    #[test]
    fn a_text_is_one_short_line_whatever_it_holds() {
        assert_eq!(shortened("a\u{1b}[2J\n\u{202e}b"), "a\\u{1b}[2J\\n\\u{202e}b");
        let long = shortened(&"ä".repeat(1000));
        assert_eq!(long.chars().count(), SHORT_CHARACTERS_MAX + 1);
        assert!(long.ends_with('…'));
    }
}
