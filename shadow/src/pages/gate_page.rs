//! The gate: whether what was exercised is enough, in the words of `shadow report`.

use axum::http::StatusCode;
use maud::{Markup, html};

use super::{
    Page, PageError, Pages,
    problems::argument,
    text::{Told, grouped},
};
use crate::{
    coverage::{Class, Coverage, rate_in_percent},
    kinds::TransactionKind,
    report::Report,
    requirements::Requirements,
    shapes::Shape,
    summary::RunVerdict,
};

/// At a glance: what the report says, and what it would say if it were to be a gate.
pub(super) fn section(pages: &Pages) -> Markup {
    let (report, problem) = pages.gate.last();
    html! {
        section #gate aria-labelledby="gate-title" {
            h2 #gate-title { a href="/gate" { "The gate" } }
            @if let Some(problem) = &problem { p.bad { (Told(problem)) } }
            @match report {
                None => p { "The ledger is being read." },
                Some(report) => {
                    (answer(&report, "shadow report", SENTENCES))
                    @if let Ok(requirements) = USUAL.parse::<Requirements>() {
                        (answer(&report.under(Some(requirements)), &command(USUAL), SENTENCES))
                    }
                    (read_through(report.coverage()))
                }
            }
        }
    }
}

/// The whole of it, for requirements that somebody may choose.
pub(super) fn page(pages: &Pages, require: Option<String>) -> Result<Page, PageError> {
    let require = require.unwrap_or_else(|| USUAL.to_owned());
    let requirements: Result<Requirements, _> = require.parse();
    let (report, problem) = pages.gate.last();
    let body = html! {
        h1 { "The gate" }
        p { "What " code { "shadow report --require" } " would say of the ledger as it is." }
        form method="get" action="/gate" {
            label for="require" { "Require" }
            input #require name="require" value=(require) maxlength="500" autocomplete="off" spellcheck="false";
            button { "Ask" }
        }
        @if let Err(error) = &requirements { p.bad role="alert" { (Told(&error.to_string())) } }
        @if let Some(problem) = &problem { p.bad { (Told(problem)) } }
        @match &report {
            None => p { "The ledger is being read; reload the page in a moment." },
            Some(report) => {
                @if let Ok(requirements) = &requirements {
                    (answer(&report.under(Some(requirements.clone())), &command(&require), usize::MAX))
                }
                (answer(report, "shadow report", usize::MAX))
                (classes(report.coverage()))
                (read_through(report.coverage()))
            }
        }
    };
    let status = if requirements.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(Page { status, ..Page::new("Gate", body) })
}

fn command(require: &str) -> String {
    let is_one_word = |letter: char| letter.is_ascii_alphanumeric() || "=,:_-".contains(letter);
    match require.chars().all(is_one_word) {
        true => format!("shadow report --require {require}"),
        false => format!("shadow report --require {}", argument(require)),
    }
}

/// The answer, and at most so many reasons against it.
fn answer(report: &Report, command: &str, sentences: usize) -> Markup {
    let (class, sign) = match report.verdict() {
        RunVerdict::Clean => ("good", "✓"),
        RunVerdict::Mismatch => ("bad", "✗"),
        RunVerdict::NotEnoughEvidence | RunVerdict::Error => ("open", "?"),
    };
    let differs = report.differs().iter().map(|sentence| ("differs", sentence));
    let reasons: Vec<_> =
        differs.chain(report.missing().iter().map(|sentence| ("missing", sentence))).collect();
    html! {
        div class={ "gate " (class) } {
            p {
                strong { span aria-hidden="true" { (sign) " " } (report.verdict().words()) }
                span.note { " · exit code " (report.exit_code() as u8) }
            }
            p { code.whole { (Told(command)) } }
            @if !reasons.is_empty() {
                ul {
                    @for (kind, sentence) in reasons.iter().take(sentences) {
                        li { span.note { (kind) ": " } (Told(sentence)) }
                    }
                    @if reasons.len() > sentences {
                        li { a href="/gate" { (grouped((reasons.len() - sentences) as u64)) " more" } }
                    }
                }
            }
        }
    }
}

/// What was exercised, by kind and by shape.
fn classes(coverage: &Coverage) -> Markup {
    let stale = coverage.stale_mismatches;
    html! {
        @for (name, candidate) in &coverage.candidates {
            @let evidence = &candidate.evidence;
            section {
                h2 { "Candidate " (Told(name)) }
                p.note { (Told(&evidence.configuration.to_string())) }
                p {
                    "Counted since topoheight " (evidence.since) ", through " (evidence.through) ": "
                    (grouped(evidence.blocks.exercised)) " of " (grouped(evidence.blocks.total))
                    " blocks exercised, " (grouped(evidence.mismatches())) " mismatches."
                }
                div.scroll tabindex="0" role="region" aria-label="What was exercised" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Kind or shape" }
                                th.number scope="col" { "Blocks" }
                                th.number scope="col" { "Transactions" }
                                th.number scope="col" { "Divergence below" }
                            }
                        }
                        tbody {
                            @for kind in TransactionKind::EXECUTED {
                                (class(kind.as_str(), "", &evidence.of_kind(kind, stale)))
                            }
                            @for shape in Shape::ALL {
                                (class(shape.as_str(), shape.means(), &evidence.of_shape(*shape, stale)))
                            }
                        }
                    }
                }
            }
        }
        p.note {
            "Divergence is below 3/n for n transactions without a mismatch, with a confidence of 95 %, if the \
             transactions are representative and independent of each other."
        }
    }
}

fn class(name: &str, means: &str, class: &Class) -> Markup {
    html! {
        tr {
            th scope="row" title=(means) { (name) }
            td.number { (grouped(class.blocks)) }
            td.number { (grouped(class.transactions)) }
            td.number {
                @match class.divergence_below {
                    Some(rate) => { (rate_in_percent(rate)) },
                    None if class.mismatch_blocks > 0 => { "✗ mismatch" },
                    None if class.transactions == 0 => { "missing" },
                    None => { "–" },
                }
            }
        }
    }
}

fn read_through(coverage: &Coverage) -> Markup {
    html! {
        @if let Some(last) = coverage.last() {
            p.note { "The ledger was read through topoheight " (last) "." }
        }
    }
}

/// What is asked for where nobody asks for anything else.
const USUAL: &str = "exercised=1000,per-kind=100,per-shape=50";

const SENTENCES: usize = 4;
