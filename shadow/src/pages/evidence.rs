//! The evidence: which directories there are, and one of them with all that can be said about it.

use comparator::{ExplainLimits, explain};
use maud::{Markup, html};

use super::{
    Page, PageError, Pages,
    case::{diagnosis, differences},
    shelf::Kept,
    text::{Told, ToldLines, grouped, short},
};
use crate::{evidence::Evidence, minimize::is_minimal, triage::Triage};

pub(super) fn list(pages: &Pages, after: u64) -> Result<Page, PageError> {
    let all = pages.shelf.all()?;
    let after = usize::try_from(after).unwrap_or(usize::MAX);
    let shown = all.iter().skip(after).take(ROWS);
    let body = html! {
        h1 { "Evidence" }
        p { "Everything about a mismatch, to run it again without anything else. Of each problem some cases are kept." }
        @if all.is_empty() { p { "There is none." } } @else {
            table.cards {
                thead { tr { th scope="col" { "Directory" } th scope="col" { "Block" } th scope="col" { "Download" } } }
                tbody {
                    @for kept in shown {
                        tr {
                            th scope="row" {
                                a href={ "/evidence/" (kept.name) } { (kept.name) }
                                @if is_minimal(&kept.name) { " " span.badge.stale { "minimised" } }
                            }
                            td data-label="Block" {
                                @if let Some(at) = kept.topoheight() { a href={ "/blocks/" (at) } { (at) } }
                            }
                            td data-label="Download" { (archive(kept)) }
                        }
                    }
                }
            }
        }
        nav.pager aria-label="More evidence" {
            @if after > 0 { a rel="first" href="/evidence" { "← first" } }
            @if all.len() > after.saturating_add(ROWS) {
                a rel="next" href={ "/evidence?after=" (after + ROWS) } { "more →" }
            }
        }
    };
    Ok(Page::new("Evidence", body))
}

pub(super) fn one(kept: &Kept) -> Result<Page, PageError> {
    let evidence = Evidence::read(kept.path());
    let files = kept.files()?;
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href="/evidence" { "Evidence" } }
        h1.name { (kept.name) }
        @match &evidence {
            Err(error) => p.bad role="alert" { (Told(&error.to_string())) },
            Ok(evidence) => (about(kept, evidence)),
        }
        section aria-labelledby="files-title" {
            h2 #files-title { "Files" }
            p { (archive(kept)) }
            ul.files {
                @for file in &files {
                    li {
                        a href={ "/evidence/" (kept.name) "/" (file.name) } download { (file.name) }
                        " " span.note { (grouped(file.bytes)) " bytes" }
                    }
                }
            }
        }
        @if let Ok(evidence) = &evidence {
            section aria-labelledby="words-title" {
                h2 #words-title { "In words" }
                (ToldLines(&explain(&evidence.record, &ExplainLimits::default())))
            }
            section aria-labelledby="log-title" {
                h2 #log-title { "The end of the candidate's own log" }
                @if evidence.log.is_empty() { p { "It wrote nothing." } } @else { (ToldLines(&evidence.log)) }
            }
        }
    };
    Ok(Page::new(kept.name.clone(), body))
}

fn about(kept: &Kept, evidence: &Evidence) -> Markup {
    let subject = &evidence.record.subject;
    let id = evidence.fingerprint.id();
    let triage = Triage::read(kept.path());
    html! {
        dl {
            dt { "Candidate" } dd { (Told(&subject.candidate)) " " span.note { (Told(&subject.candidate_build)) } }
            dt { "Block" }
            dd { a href={ "/blocks/" (subject.block.topoheight) } { (subject.block.topoheight) } " " (short(&subject.block.hash)) }
            dt { "Problem" }
            dd { a href={ "/problems/" (id) } { code { (id) } } " " (evidence.fingerprint) }
            dt { "Schedule" } dd { (subject.schedule) }
            dt { "Control" } dd { (Told(&subject.control_build)) }
            dt { "Triage" }
            dd {
                @match &triage {
                    Ok(Some(triage)) => (Told(&triage.sentence())),
                    Ok(None) => { "none yet" },
                    Err(error) => (Told(&error.to_string())),
                }
            }
            dt { "Run again" } dd { code.whole { (Told(&evidence.repro_command())) } " " span.note { "in the directory" } }
        }
        section {
            h2 { "What differs" }
            (differences(&evidence.record, |_| true))
        }
        (diagnosis(evidence))
    }
}

fn archive(kept: &Kept) -> Markup {
    html! { a href={ "/evidence/" (kept.name) ".tar.gz" } download { "all of it, " code { "tar.gz" } } }
}

const ROWS: usize = 50;
