//! Verdicts as they are shown: a sign, a word and a colour, of which the colour says nothing that the
//! others do not.

use comparator::{Severity, Side};
use maud::{Markup, html};

use super::text::{Told, short};
use crate::{
    accept::Acceptances,
    ledger::{CandidateEntry, FirstMismatch, LedgerEntry},
    metrics::Standing,
};

/// How a block stands.
pub(super) fn badge(standing: Standing) -> Markup {
    html! {
        span class={ "badge " (standing.word()) } {
            span aria-hidden="true" { (sign(standing)) " " }
            (words(standing))
        }
    }
}

/// The verdict on a candidate.
pub(super) fn verdict(entry: &CandidateEntry, acceptances: &Acceptances) -> Markup {
    html! {
        (badge(Standing::Judged(entry.verdict)))
        @if acceptances.covering(entry).is_some() { " " span.badge.accepted { "accepted" } }
        @if entry.schedule_dependent { " " span.badge.stale { "depends on the schedule" } }
    }
}

/// How the block of an entry stands.
pub(super) fn standing(entry: &LedgerEntry) -> Standing {
    if entry.stale { Standing::Stale } else { Standing::Judged(entry.severity()) }
}

pub(super) const fn sign(standing: Standing) -> &'static str {
    match standing {
        Standing::Judged(Severity::Match) => "✓",
        Standing::Judged(Severity::Mismatch) => "✗",
        Standing::Judged(Severity::Inconclusive) => "?",
        Standing::Judged(Severity::NotExercised) => "○",
        Standing::Judged(Severity::Opaque) => "▪",
        Standing::Stale => "↩",
    }
}

pub(super) const fn words(standing: Standing) -> &'static str {
    match standing {
        Standing::Judged(Severity::NotExercised) => "not exercised",
        Standing::Stale => "ordered away",
        Standing::Judged(severity) => severity.word(),
    }
}

/// The first difference, short enough for a line of a table.
pub(super) fn first(first: &FirstMismatch) -> Markup {
    let (observed, control) = (brief(&first.observed), brief(&first.control));
    html! {
        span.field { (first.field.to_string()) }
        @if let Some(account) = &first.account { " of " (short(account)) }
        @if let Some(asset) = &first.asset
            && *asset != storage_snapshot::AssetId::NATIVE { " in " (short(asset)) }
        ": " (Told(&observed)) span.note { " instead of " } (Told(&control))
        @if let Some(difference) = first.difference { " " span.note { "(" (format!("{difference:+}")) ")" } }
    }
}

/// One side, without those who sign.
fn brief(side: &Side) -> String {
    match side {
        Side::Multisig(config) => {
            format!("{} of {} signers", config.threshold, config.participants.len())
        }
        other => other.to_string(),
    }
}
