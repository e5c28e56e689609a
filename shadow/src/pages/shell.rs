//! What every page has: where one can go, what the answer is, and what it rests on.

use maud::{DOCTYPE, Markup, html};

use super::{
    Page, Pages,
    error::PageError,
    text::{Told, grouped},
};
use crate::{metrics::Status, summary::RunVerdict};

/// A page, complete.
pub(super) fn whole(pages: &Pages, page: Page) -> Markup {
    let status = pages.metrics.status();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Shadow" }
                link rel="stylesheet" href="/assets/style.css";
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                @if page.is_live {
                    noscript { meta http-equiv="refresh" content="10"; }
                    script src="/assets/live.js" defer {}
                }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href="/" { span.mark aria-hidden="true" {} "Shadow" }
                    nav aria-label="Pages" {
                        ul {
                            @for (path, name) in PAGES {
                                li { a href=(path) aria-current=[(*name == page.title).then_some("page")] { (name) } }
                            }
                        }
                    }
                }
                (strip(&status, pages.metrics.is_restored()))
                main #main tabindex="-1" { (page.body) }
                footer {
                    p { (Told(&status.chain)) }
                    p {
                        "shadow " (status.version) " · rules " (status.rules) " · "
                        a href="/metrics" { "metrics" } " · " a href="/api/status" { "status as JSON" }
                        " · " a href="/readyz?verbose" { "readiness" }
                    }
                }
            }
        }
    }
}

/// The answer in a line, with what was compared beside it.
pub(super) fn strip(status: &Status, is_restored: bool) -> Markup {
    let (class, sign, words) = match status.verdict {
        RunVerdict::Clean => ("good", "✓", "clean"),
        RunVerdict::Mismatch => ("bad", "✗", "mismatch"),
        RunVerdict::NotEnoughEvidence => ("open", "?", "not enough evidence"),
        RunVerdict::Error => ("open", "?", "ended early"),
    };
    let (compared, total) = compared(status);
    html! {
        p #strip class={ "strip " (class) } {
            strong { span aria-hidden="true" { (sign) " " } (words) }
            span { (grouped(compared)) " of " (grouped(total)) " blocks compared" }
            span { (grouped(status.lag_blocks)) " behind" }
            @if !is_restored {
                strong { "The ledger is still being read: what is shown is not complete." }
            }
            @if let Some(ended) = &status.ended { strong { "It has ended: " (Told(ended)) } }
        }
    }
}

/// How many blocks were compared, and how many there are.
pub(super) fn compared(status: &Status) -> (u64, u64) {
    let compared = status.positions.get("exercised").copied().unwrap_or_default();
    // Where a block was ordered away there is none to compare.
    let there = status.positions.iter().filter(|(state, _)| **state != "stale");
    (compared, there.map(|(_, count)| count).sum())
}

/// The page that says why there is none.
pub(super) fn error(error: &PageError) -> Page {
    let title = match error {
        PageError::Nothing(_) => "Not here",
        _ => "No page",
    };
    let body = html! {
        h1 { (title) }
        p { (Told(&error.to_string())) "." }
        p { a href="/" { "To the overview" } }
    };
    Page { status: error.status(), ..Page::new(title, body) }
}

const PAGES: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/problems", "Problems"),
    ("/mismatches", "Mismatches"),
    ("/ledger", "Ledger"),
    ("/gate", "Gate"),
    ("/evidence", "Evidence"),
];
