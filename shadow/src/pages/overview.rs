//! The first page: is it safe, is it covered, is it alive; and then what that rests on.
//!
//! It is made of sections that are shown again on their own when they change.

use maud::{Markup, html};
use storage_snapshot::TopoHeight;

use super::{
    Page, Pages, coverage, gate_page, ledger, problems,
    shell::{self, compared},
    text::{Told, grouped, plural, share},
    timeline,
};
use crate::{
    metrics::{Check, Status},
    summary::RunVerdict,
};

pub(super) fn page(pages: &Pages) -> Page {
    let sections = sections(pages);
    let body = html! {
        h1.hidden { "Overview" }
        @for (id, section) in &sections {
            @if *id != STRIP { (section) }
        }
        p #live.note role="status" { "Reload the page to see what is new." }
    };
    Page { is_live: true, ..Page::new("Overview", body) }
}

/// Every part that changes, by its id.
pub(super) fn sections(pages: &Pages) -> Vec<(&'static str, Markup)> {
    let status = pages.metrics.status();
    let acceptances = pages.acceptances();
    let stretches = pages.metrics.stretches();
    vec![
        (STRIP, shell::strip(&status, pages.metrics.is_restored())),
        ("answers", answers(&status, &pages.metrics.checks())),
        ("timeline", timeline::section(&stretches, status.verified_topoheight)),
        ("found", found(pages, &status, &acceptances)),
        ("coverage", coverage::section(&status)),
        ("gate", gate_page::section(pages)),
    ]
}

/// One of the three questions.
struct Answer {
    question: &'static str,
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    because: Vec<Markup>,
}

fn answers(status: &Status, checks: &[Check]) -> Markup {
    let answers = [safe(status), covered(status), alive(status, checks)];
    html! {
        section #answers.answers aria-label="Answers" {
            @for answer in &answers {
                article class={ "answer " (answer.class) } {
                    h2 { (answer.question) }
                    p.word { span aria-hidden="true" { (answer.sign) " " } (answer.word) }
                    @for because in &answer.because { p { (because) } }
                }
            }
        }
    }
}

fn safe(status: &Status) -> Answer {
    let differing: u64 =
        status.candidates.values().filter_map(|one| one.blocks.get("mismatch")).sum();
    let accepted = status.accepted_problems;
    let nothing = if accepted > 0 { "Nothing that is not accepted" } else { "Nothing" };
    let mut because = Vec::new();
    let (class, sign, word) = match status.verdict {
        RunVerdict::Mismatch => {
            because.push(html! {
                a href="/problems" { (plural(status.open_problems, "open problem")) }
                ", " a href="/mismatches" { (plural(differing, "verdict")) " mismatch" }
            });
            ("bad", "✗", "No")
        }
        _ if status.canaries_missed > 0 => {
            because.push(html! {
                "The verifier is blind: " (grouped(status.canaries_missed)) " of the differences that \
                 were planted on purpose were not noticed."
            });
            ("bad", "?", "Cannot be told")
        }
        RunVerdict::Clean => {
            because.push(html! { (nothing) " differs in what was compared." });
            (
                "good",
                "✓",
                if accepted > 0 { "Nothing but what is accepted" } else { "Nothing differs" },
            )
        }
        RunVerdict::NotEnoughEvidence | RunVerdict::Error => {
            because.push(html! { (nothing) " differs so far, and that proves too little." });
            because.extend(status.missing.iter().map(|sentence| html! { (Told(sentence)) "." }));
            ("open", "?", "Not known yet")
        }
    };
    if accepted > 0 {
        because.push(html! { a href="/problems" { (plural(accepted, "accepted problem")) } "." });
    }
    if status.stale_mismatches > 0 {
        because.push(html! {
            (plural(status.stale_mismatches, "difference")) " in blocks that have since been ordered away."
        });
    }
    if status.canaries_missed == 0 && status.canaries_caught > 0 {
        because.push(html! {
            "It sees: all " (plural(status.canaries_caught, "planted difference")) " noticed."
        });
    }
    Answer { question: "Is it safe?", class, sign, word, because }
}

fn covered(status: &Status) -> Answer {
    let (compared, total) = compared(status);
    let position = |word: &str| status.positions.get(word).copied().unwrap_or_default();
    let mut because = vec![html! {
        (grouped(compared)) " of " (grouped(total)) " blocks compared (" (share(compared, total)) ")."
    }];
    let lacks = |name: &&String| {
        let of = status.candidates.get(*name).and_then(|one| one.blocks.get("match"));
        of.is_none_or(|count| *count == 0)
    };
    let lacking: Vec<_> = status.candidates.keys().filter(lacks).collect();
    for name in &lacking {
        because
            .push(html! { (Told(name)) " matched in no block: nothing is known in its favour." });
    }
    for (word, means) in
        [("inconclusive", "have no control to be trusted"), ("missing", "have no verdict")]
    {
        if position(word) > 0 {
            because.push(html! { (plural(position(word), "block")) " " (means) "." });
        }
    }
    let (class, sign, word) = if compared == 0 {
        ("open", "?", "Not yet")
    } else if lacking.is_empty() && because.len() == 1 {
        ("good", "✓", "Yes")
    } else {
        ("open", "?", "In part")
    };
    because.push(html! { a href="/gate" { "Is it enough? The gate" } });
    Answer { question: "Is it covered?", class, sign, word, because }
}

fn alive(status: &Status, checks: &[Check]) -> Answer {
    let problems: Vec<_> = checks.iter().filter_map(|check| check.problem.as_deref()).collect();
    let (class, sign, word) =
        if problems.is_empty() { ("good", "✓", "Yes") } else { ("bad", "✗", "No") };
    let mut because: Vec<_> =
        problems.iter().map(|problem| html! { (Told(problem)) "." }).collect();
    because.push(match status.lag_blocks {
        0 => html! { "Up to date." },
        blocks => html! {
            (plural(blocks, "block")) " behind, the oldest for "
            (format!("{:.1}", status.lag_seconds)) " s."
        },
    });
    let place = |name: &str, at: Option<TopoHeight>| {
        at.map(|at| html! { (name) " " a href={ "/blocks/" (at) } { (at) } })
    };
    let places = [
        place("verified through", status.verified_topoheight),
        place("stable through", status.stable_topoheight),
        status.head_topoheight.map(|at| html! { "head " (at) }),
    ];
    because.push(html! {
        @for (index, place) in places.into_iter().flatten().enumerate() {
            @if index > 0 { ", " } (place)
        }
        "."
    });
    Answer { question: "Is it alive?", class, sign, word, because }
}

/// The problems that count most, and the newest of their cases.
fn found(pages: &Pages, status: &Status, acceptances: &crate::accept::Acceptances) -> Markup {
    // Where several candidates differ in one block, each has a line.
    let blocks = NEWEST.div_ceil(pages.metrics.setup().candidates.len().max(1));
    let newest = pages.metrics.mismatches_before(TopoHeight::MAX, blocks);
    let nothing = newest.is_empty();
    html! {
        section #found aria-labelledby="found-title" {
            h2 #found-title { "What was found" }
            @if nothing {
                p { "Nothing, in " (plural(compared(status).0, "compared block")) "." }
            } @else {
                h3 { a href="/problems" { "Problems" } }
                (problems::table(pages, acceptances, NEWEST))
                h3 { a href="/mismatches" { "Newest mismatches" } }
                (ledger::mismatch_table(pages, &newest, acceptances))
            }
        }
    }
}

const STRIP: &str = "strip";
/// So many problems and so many mismatches are shown.
const NEWEST: usize = 6;
