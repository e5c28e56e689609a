//! The ledger, page by page: every block of a range, or those in which something differs.

use maud::{Markup, html};
use storage_snapshot::TopoHeight;

use super::{
    Page, PageError, Pages,
    text::{Told, plural, short},
    verdicts::{badge, first, standing, verdict},
};
use crate::{
    accept::Acceptances,
    ledger::{LedgerEntry, LedgerError, entries, entry_at},
};

/// Blocks in which something differs, or did before they were ordered away; the newest first.
pub(super) fn mismatches(pages: &Pages, before: TopoHeight) -> Result<Page, PageError> {
    let found = differing(pages, before, ROWS)?;
    let body = html! {
        h1 { "Mismatches" }
        @if found.blocks.is_empty() && found.next.is_none() {
            p {
                "Nothing differs"
                @if before < TopoHeight::MAX { " below topoheight " (before) }
                "."
            }
        } @else {
            (mismatch_table(pages, &found.blocks, &pages.acceptances()))
        }
        (newer_and_older("/mismatches", before, found.next))
    };
    Ok(Page::new("Mismatches", body))
}

/// Where something differs.
pub(crate) struct Differing {
    pub(crate) blocks: Vec<TopoHeight>,
    /// Below which one the next page begins, if there may be one.
    pub(crate) next: Option<TopoHeight>,
}

/// The newest are remembered; for older ones a bounded part of the ledger is read.
pub(super) fn differing(
    pages: &Pages,
    before: TopoHeight,
    rows: usize,
) -> Result<Differing, LedgerError> {
    let mut blocks = pages.metrics.mismatches_before(before, rows + 1);
    if blocks.len() > rows {
        blocks.truncate(rows);
        return Ok(Differing { next: blocks.last().copied(), blocks });
    }
    if !pages.metrics.has_forgotten_mismatches() {
        return Ok(Differing { blocks, next: None });
    }
    let mut end = blocks.last().copied().unwrap_or(before);
    for _ in 0..LOOKS_MAX {
        let Some(last) = end.previous() else { return Ok(Differing { blocks, next: None }) };
        let first = last.checked_sub(LOOK - 1).unwrap_or(TopoHeight::GENESIS);
        let mut here = Vec::new();
        for entry in entries(&pages.store, first).take(LOOK as usize) {
            let entry = entry?;
            if entry.topoheight <= last && entry.mismatches() > 0 {
                here.push(entry.topoheight);
            }
        }
        here.reverse();
        blocks.extend(here);
        if blocks.len() >= rows {
            blocks.truncate(rows);
            return Ok(Differing { next: blocks.last().copied(), blocks });
        }
        end = first;
    }
    Ok(Differing { blocks, next: Some(end) })
}

/// What differs in these blocks, a line each.
pub(super) fn mismatch_table(
    pages: &Pages,
    blocks: &[TopoHeight],
    acceptances: &Acceptances,
) -> Markup {
    // A block that is being ordered away right now may have no entry.
    let entries = blocks.iter().filter_map(|at| entry_at(&pages.store, *at).ok().flatten());
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Topoheight" }
                    th scope="col" { "Candidate" }
                    th scope="col" { "First difference" }
                    th scope="col" { "Problem" }
                }
            }
            tbody {
                @for entry in entries { (mismatch_rows(&entry, acceptances)) }
            }
        }
    }
}

fn mismatch_rows(entry: &LedgerEntry, acceptances: &Acceptances) -> Markup {
    let at = entry.topoheight;
    let differing: Vec<_> = entry.candidates.iter().filter(|one| !one.fields.is_empty()).collect();
    html! {
        @for judged in &differing {
            tr {
                th scope="row" {
                    a href={ "/blocks/" (at) } { (at) }
                    @if entry.stale { " " (badge(standing(entry))) }
                }
                td data-label="Candidate" {
                    (Told(&judged.candidate))
                    @if acceptances.covering(judged).is_some() { " " span.badge.accepted { "accepted" } }
                }
                td data-label="First difference" {
                    @if let Some(difference) = &judged.first { (first(difference)) }
                    @let total: u64 = judged.fields.values().sum();
                    @if total > 1 { " " span.note { "and " (total - 1) " more" } }
                }
                td data-label="Problem" { (problem(judged)) }
            }
        }
        @if differing.is_empty() {
            tr {
                th scope="row" { a href={ "/blocks/" (at) } { (at) } }
                td data-label="Candidate" {
                    @for (index, found) in entry.earlier_problems.iter().enumerate() {
                        @if index > 0 { ", " } (Told(&found.candidate))
                    }
                }
                td data-label="First difference" {
                    @if let Some(difference) = entry.earlier_problems.iter().find_map(|found| found.first.as_ref()) {
                        (first(difference)) ": "
                    }
                    (plural(entry.earlier_mismatches, "difference")) " in blocks that were here and have since been ordered away"
                }
                td data-label="Problem" {
                    @for found in &entry.earlier_problems {
                        a href={ "/problems/" (found.fingerprint) } { code { (found.fingerprint) } } " "
                    }
                }
            }
        }
    }
}

/// The problem that a verdict is a case of.
pub(super) fn problem(judged: &crate::ledger::CandidateEntry) -> Markup {
    html! {
        @match &judged.fingerprint {
            Some(fingerprint) => a href={ "/problems/" (fingerprint.id()) } { code { (fingerprint.id()) } },
            None => { "–" },
        }
    }
}

/// Entries in order.
pub(super) fn entries_between(
    pages: &Pages,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<Page, PageError> {
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(PageError::Address("`from` is above `to`".to_owned()));
    }
    let last = pages.store.last_ledger().map_err(LedgerError::Store)?;
    let last = last.map_or(0, TopoHeight::as_u64);
    let to = to.unwrap_or(last);
    let from = from.unwrap_or_else(|| to.min(last).saturating_sub(ROWS as u64 - 1));
    let mut shown = Vec::new();
    let mut next = None;
    for entry in entries(&pages.store, TopoHeight::new(from)) {
        let entry = entry?;
        if entry.topoheight.as_u64() > to {
            break;
        }
        if shown.len() == ROWS {
            next = Some(entry.topoheight);
            break;
        }
        shown.push(entry);
    }
    let acceptances = pages.acceptances();
    let body = html! {
        h1 { "Ledger" }
        @if let (Some(first), Some(end)) = (shown.first(), shown.last()) {
            p { "Topoheights " (first.topoheight) " to " (end.topoheight) ", of a ledger that ends at " (last) "." }
        } @else {
            p { "There is no entry from topoheight " (from) " to " (to) "." }
        }
        form.inline method="get" action="/ledger" {
            label for="from" { "From" }
            input #from name="from" inputmode="numeric" pattern="[0-9]+" value=(from) autocomplete="off";
            button { "Show" }
        }
        table.cards {
            thead {
                tr {
                    th scope="col" { "Topoheight" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "By candidate" }
                    th.number scope="col" { "Transactions" }
                    th scope="col" { "Block" }
                }
            }
            tbody {
                @for entry in &shown { (ledger_row(entry, &acceptances)) }
            }
        }
        nav.pager aria-label="More of the ledger" {
            @if from > 0 {
                @let before = from.saturating_sub(ROWS as u64);
                a rel="prev" href={ "/ledger?from=" (before) "&to=" (from - 1) } { "← earlier" }
            }
            @if let Some(next) = next {
                a rel="next" href={ "/ledger?from=" (next) "&to=" (to) } { "later →" }
            } @else if to < last {
                a rel="next" href={ "/ledger?from=" (to + 1) "&to=" (to.saturating_add(ROWS as u64)) } { "later →" }
            }
        }
    };
    Ok(Page::new("Ledger", body))
}

fn ledger_row(entry: &LedgerEntry, acceptances: &Acceptances) -> Markup {
    let at = entry.topoheight;
    html! {
        tr {
            th scope="row" { a href={ "/blocks/" (at) } { (at) } }
            td data-label="Verdict" { (badge(standing(entry))) }
            td data-label="By candidate" {
                @for (index, judged) in entry.candidates.iter().enumerate() {
                    @if index > 0 { br; }
                    (Told(&judged.candidate)) " " (verdict(judged, acceptances))
                    @if let Some(reason) = &judged.reason { " " span.note { (Told(reason)) } }
                }
            }
            td.number data-label="Transactions" { (entry.transactions.total) }
            td data-label="Block" { (short(&entry.block_hash)) }
        }
    }
}

/// The way to what is newer and to what is older.
pub(super) fn newer_and_older(path: &str, before: TopoHeight, next: Option<TopoHeight>) -> Markup {
    html! {
        nav.pager aria-label="More" {
            @if before < TopoHeight::MAX { a rel="first" href=(path) { "← newest" } }
            @if let Some(next) = next { a rel="next" href={ (path) "?before=" (next) } { "older →" } }
        }
    }
}

/// How many lines a page has.
const ROWS: usize = 50;

/// How many entries are read at a time, and how often for one page.
const LOOK: u64 = 250;
const LOOKS_MAX: u64 = 8;
