//! The problems: mismatches by fingerprint, and each with all that is known about it.

use maud::{Markup, html};
use storage_snapshot::TopoHeight;

use super::{
    Page, PageError, Pages, case, ledger,
    shelf::Kept,
    text::{Told, grouped, plural},
};
use crate::{
    accept::{Acceptance, Acceptances},
    evidence::Evidence,
    fingerprint::FingerprintId,
    metrics::Problem,
    triage::Triage,
};

/// All of them, in parts; those that are accepted stand apart.
pub(super) fn list(pages: &Pages, after: u64) -> Result<Page, PageError> {
    let acceptances = pages.acceptances();
    let (open, accepted) = by_acceptance(pages, &acceptances);
    let after = usize::try_from(after).unwrap_or(usize::MAX);
    let shown: Vec<_> = open.iter().skip(after).take(ROWS).collect();
    let more = open.len() > after.saturating_add(ROWS);
    let body = html! {
        h1 { "Problems" }
        p {
            "A problem is every mismatch of one candidate that begins in the same field, with the same kind of \
             transaction, meeting others in the same way."
        }
        section aria-labelledby="open-title" {
            h2 #open-title { "Open (" (grouped(open.len() as u64)) ")" }
            @if open.is_empty() { p { "None." } } @else { (rows(pages, &shown, &acceptances)) }
            nav.pager aria-label="More problems" {
                @if after > 0 { a rel="first" href="/problems" { "← first" } }
                @if more { a rel="next" href={ "/problems?after=" (after + ROWS) } { "more →" } }
            }
        }
        @if !accepted.is_empty() {
            section aria-labelledby="accepted-title" {
                h2 #accepted-title { "Accepted (" (grouped(accepted.len() as u64)) ")" }
                p.note { "Counted apart, and never a match." }
                (rows(pages, &accepted.iter().take(ROWS).collect::<Vec<_>>(), &acceptances))
                @if accepted.len() > ROWS {
                    p.note { (grouped((accepted.len() - ROWS) as u64)) " more are in " code { "shadow mismatches" } "." }
                }
            }
        }
        p.note { "On the command line, when no run is using the directory: " code { "shadow mismatches --state-dir DIR" } }
    };
    Ok(Page::new("Problems", body))
}

/// The first open ones.
pub(super) fn table(pages: &Pages, acceptances: &Acceptances, count: usize) -> Markup {
    let (open, accepted) = by_acceptance(pages, acceptances);
    html! {
        @if open.is_empty() { p { "None is open." } } @else {
            (rows(pages, &open.iter().take(count).collect::<Vec<_>>(), acceptances))
        }
        @if open.len() > count || !accepted.is_empty() {
            p {
                a href="/problems" {
                    (plural(open.len().saturating_sub(count) as u64, "more open problem"))
                    ", " (grouped(accepted.len() as u64)) " accepted"
                }
            }
        }
    }
}

/// Those that are open, and those of which every case is accepted.
fn by_acceptance(pages: &Pages, acceptances: &Acceptances) -> (Vec<Problem>, Vec<Problem>) {
    let is_open = |problem: &Problem| {
        problem.accepted(acceptances).is_none_or(|(_, covered)| covered < problem.blocks)
    };
    pages.metrics.problems().into_iter().partition(is_open)
}

fn rows(pages: &Pages, problems: &[&Problem], acceptances: &Acceptances) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Fingerprint" }
                    th scope="col" { "Candidate" }
                    th scope="col" { "What" }
                    th.number scope="col" { "Blocks" }
                    th scope="col" { "From, to" }
                    th scope="col" { "Triage" }
                    th.number scope="col" { "Evidence" }
                }
            }
            tbody {
                @for problem in problems {
                    @let kept = kept(pages, problem);
                    tr {
                        th scope="row" {
                            a href={ "/problems/" (problem.fingerprint.id()) } { code { (problem.fingerprint.id()) } }
                        }
                        td data-label="Candidate" { (Told(&problem.fingerprint.candidate)) }
                        td data-label="What" {
                            (problem.fingerprint)
                            @if let Some((_, covered)) = problem.accepted(acceptances) {
                                " " span.badge.accepted {
                                    @if covered < problem.blocks { "acceptance expired" } @else { "accepted" }
                                }
                            }
                        }
                        td.number data-label="Blocks" { (grouped(problem.blocks)) }
                        td data-label="From, to" { (places(problem)) }
                        td data-label="Triage" {
                            @match triage(&kept) {
                                Some(triage) => { (triage.verdict.as_str().replace('_', " ")) },
                                None => { span.note { "none yet" } },
                            }
                        }
                        td.number data-label="Evidence" { (kept.len()) }
                    }
                }
            }
        }
    }
}

fn places(problem: &Problem) -> Markup {
    html! {
        a href={ "/blocks/" (problem.first) } { (problem.first) }
        @if problem.last > problem.first { ", " a href={ "/blocks/" (problem.last) } { (problem.last) } }
    }
}

/// The directories with its evidence that are there.
fn kept(pages: &Pages, problem: &Problem) -> Vec<Kept> {
    let found = problem.evidence.iter().filter_map(|one| pages.shelf.referred(one).ok().flatten());
    found.collect()
}

fn triage(kept: &[Kept]) -> Option<Triage> {
    kept.iter().find_map(|kept| Triage::read(kept.path()).ok().flatten())
}

/// One problem.
pub(super) fn one(pages: &Pages, id: &str, before: TopoHeight) -> Result<Page, PageError> {
    let id: FingerprintId = id.parse().map_err(|_| PageError::Nothing("problem"))?;
    let problem = pages.metrics.problem(id).ok_or(PageError::Nothing("problem"))?;
    let acceptances = pages.acceptances();
    let kept = kept(pages, &problem);
    let triage = triage(&kept);
    let mut cases = pages.metrics.cases_before(id, before, ROWS + 1);
    let next = (cases.len() > ROWS).then(|| cases.get(ROWS - 1).copied()).flatten();
    cases.truncate(ROWS);
    let state_dir = pages.state_dir().display().to_string();
    let body = html! {
        h1 { "Problem " code { (id) } }
        p.lead { "Candidate " (Told(&problem.fingerprint.candidate)) ": " (problem.fingerprint) }
        dl {
            dt { "Seen" }
            dd { "in " (plural(problem.blocks, "block")) ", from and to topoheight " (places(&problem)) }
            dt { "Fields" }
            dd {
                @for (index, field) in problem.fields().into_iter().enumerate() {
                    @if index > 0 { ", " } (field.as_str())
                }
            }
            dt { "Builds" }
            dd { ul.plain { @for build in problem.builds() { li { (Told(build)) } } } }
            dt { "Triage" }
            dd {
                @match &triage {
                    Some(triage) => (Told(&triage.sentence())),
                    None => { "none yet" },
                }
            }
            @if let Some((acceptance, covered)) = problem.accepted(&acceptances) {
                dt { "Accepted" }
                dd { (accepted(acceptance, covered, problem.blocks)) }
            }
        }
        (diagnosis(&kept))
        section aria-labelledby="evidence-title" {
            h2 #evidence-title { "Evidence" }
            @if kept.is_empty() { p { "None is there." } }
            ul {
                @for kept in &kept { li { a href={ "/evidence/" (kept.name) } { (kept.name) } } }
            }
            h3 { "On the command line" }
            pre tabindex="0" {
                @if let Some(kept) = kept.first() {
                    "shadow repro " (argument(&kept.path().display().to_string())) "\n"
                    "shadow minimize " (argument(&kept.path().display().to_string())) "\n"
                }
                "shadow accept " (id) " --state-dir " (argument(&state_dir)) " --reason '…'"
            }
            p.note { "To accept it the run has to be stopped; it goes on where it was." }
        }
        section aria-labelledby="cases-title" {
            h2 #cases-title { "Its blocks, the newest first" }
            (ledger::mismatch_table(pages, &cases, &acceptances))
            (ledger::newer_and_older(&format!("/problems/{id}"), before, next))
        }
    };
    Ok(Page::new(format!("Problem {id}"), body))
}

fn accepted(acceptance: &Acceptance, covered: u64, blocks: u64) -> Markup {
    html! {
        "in " (grouped(covered)) " of its blocks: " (Told(&acceptance.reason))
        @if covered < blocks {
            " " span.badge.accepted { "expired in the others: another build, or more differs than was accepted" }
        }
    }
}

/// What the numbers of its first case tell.
fn diagnosis(kept: &[Kept]) -> Markup {
    let evidence = kept.first().map(|kept| Evidence::read(kept.path()));
    html! {
        @match evidence {
            Some(Ok(evidence)) => (case::diagnosis(&evidence)),
            Some(Err(error)) => p.bad { (Told(&error.to_string())) },
            None => {},
        }
    }
}

/// A text as a shell takes it.
pub(super) fn argument(path: &str) -> String {
    let quoted = shlex::try_quote(path).unwrap_or_default();
    super::text::visible(&quoted)
}

const ROWS: usize = 50;
