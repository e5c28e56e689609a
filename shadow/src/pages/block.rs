//! A block: how it was judged, what differs, and its transactions.

use maud::{Markup, html};
use storage_snapshot::{Store, TopoHeight};

use super::{
    Page, PageError, Pages,
    case::{Cases, diagnosis, differences},
    ledger::problem,
    text::{Told, grouped, plural, short, whole},
    verdicts::{badge, first, standing, verdict},
};
use crate::{
    accept::Acceptances,
    chain::{Transaction, TransactionData},
    evidence::{Evidence, Observed},
    kinds::TransactionKind,
    ledger::{CandidateEntry, LedgerEntry, LedgerError, entry_at},
};

pub(super) fn page(pages: &Pages, at: TopoHeight, after: u64) -> Result<Page, PageError> {
    let entry = entry_at(&pages.store, at)?.ok_or(PageError::Nothing("block in the ledger"))?;
    let acceptances = pages.acceptances();
    let cases = Cases::at(pages, at)?;
    let last = pages.store.last_ledger().map_err(LedgerError::Store)?;
    let body = html! {
        h1 { "Block " (at) " " (badge(standing(&entry))) }
        nav.pager aria-label="Neighbours" {
            @if let Some(previous) = at.previous() { a rel="prev" href={ "/blocks/" (previous) } { "← " (previous) } }
            @if last > Some(at) { a rel="next" href={ "/blocks/" (at.next()) } { (at.next()) " →" } }
        }
        (about(&entry))
        section aria-labelledby="verdicts-title" {
            h2 #verdicts-title { "Verdict by candidate" }
            (verdicts(&entry, &acceptances))
        }
        @for (kept, evidence) in &cases.0 {
            section {
                @match evidence {
                    Ok(evidence) => {
                        h2 { "What differs: candidate " (Told(evidence.candidate())) }
                        @if evidence.record.subject.block.hash != entry.block_hash {
                            p.note { "In the block " (short(&evidence.record.subject.block.hash)) ", which was here before." }
                        }
                        p {
                            "Under " (evidence.schedule()) ". "
                            a href={ "/evidence/" (kept.name) } { "The evidence, to run again and to download" }
                        }
                        (differences(&evidence.record, |_| true))
                        (diagnosis(evidence))
                    },
                    Err(error) => {
                        h2 { "Evidence that cannot be read" }
                        p.bad { (Told(&error.to_string())) }
                        p { a href={ "/evidence/" (kept.name) } { (kept.name) } }
                    },
                }
            }
        }
        (transactions(pages, &entry, &cases, after)?)
    };
    Ok(Page::new(format!("Block {at}"), body))
}

fn about(entry: &LedgerEntry) -> Markup {
    let counts = entry.transactions;
    html! {
        dl {
            dt { "Hash" } dd { (whole(&entry.block_hash)) }
            dt { "Transactions" }
            dd {
                (grouped(counts.total)) ": " (grouped(counts.executed)) " executed, " (grouped(counts.skipped))
                " skipped, " (grouped(counts.failed)) " failed"
                @if counts.opaque > 0 { ", " (grouped(counts.opaque)) " in an opaque block" }
            }
            dt { "Seconds" }
            dd {
                (format!("{:.4}", entry.seconds.serial)) " serial, "
                (format!("{:.4}", entry.seconds.parallel)) " by candidates"
            }
            dt { "Judged by" } dd { "rules " (Told(&entry.rules)) ", control " (Told(&entry.control_build)) }
            dt { "State after it" } dd { code.whole { (Told(&entry.state_digest)) } }
            @if entry.earlier_mismatches > 0 {
                dt { "Before it" }
                dd {
                    (plural(entry.earlier_mismatches, "difference")) " in blocks that were here and have since been ordered away"
                    @for found in &entry.earlier_problems {
                        ", " a href={ "/problems/" (found.fingerprint) } { code { (found.fingerprint) } }
                    }
                }
            }
            @if !entry.quirks.is_empty() {
                dt { "Oddities" }
                dd {
                    @for (index, (quirk, count)) in entry.quirks.iter().enumerate() {
                        @if index > 0 { ", " } (Told(quirk)) " " span.note { (count) }
                    }
                }
            }
            @if let Some(canary) = &entry.canary {
                dt { "Canary" }
                dd {
                    (canary.planted.as_str()) " altered on purpose: "
                    @if canary.was_caught() { "noticed" } @else { strong.bad { "not noticed" } }
                }
            }
            @if let Some(again) = &entry.again {
                dt { "Control again" }
                dd {
                    @match &again.differs {
                        None => { "the same" },
                        Some(difference) => { strong.bad { "differs from itself: " } (first(difference)) },
                    }
                }
            }
        }
    }
}

fn verdicts(entry: &LedgerEntry, acceptances: &Acceptances) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Candidate" }
                    th scope="col" { "Verdict" }
                    th scope="col" { "Why" }
                    th scope="col" { "How it worked" }
                    th scope="col" { "Problem" }
                }
            }
            tbody {
                @for judged in &entry.candidates {
                    tr {
                        th scope="row" { (Told(&judged.candidate)) br; span.note { (Told(&judged.build)) } }
                        td data-label="Verdict" { (verdict(judged, acceptances)) }
                        td data-label="Why" { (why(judged)) }
                        td data-label="How it worked" {
                            @match judged.exercise {
                                Some(exercise) => {
                                    (plural(u64::from(exercise.workers), "worker")) ", "
                                    (exercise.batches) " batches, " (exercise.max_in_flight) " in flight at most"
                                },
                                None => { "–" },
                            }
                        }
                        td data-label="Problem" { (problem(judged)) }
                    }
                }
            }
        }
    }
}

fn why(judged: &CandidateEntry) -> Markup {
    html! {
        @if let Some(reason) = &judged.reason { (Told(&reason.replace('_', " "))) }
        @if let Some(detail) = &judged.detail { ": " (Told(detail)) }
        @if let Some(difference) = &judged.first { (first(difference)) }
        @if judged.fields.len() > 1 {
            br;
            span.note {
                @for (index, (field, count)) in judged.fields.iter().enumerate() {
                    @if index > 0 { ", " } (count) " " (field.as_str())
                }
            }
        }
        @if judged.reason.is_none() && judged.first.is_none() { "–" }
    }
}

/// The transactions: all of them where there is evidence, otherwise those that took effect.
fn transactions(
    pages: &Pages,
    entry: &LedgerEntry,
    cases: &Cases,
    after: u64,
) -> Result<Markup, PageError> {
    let here = |evidence: &Evidence| evidence.record.subject.block.hash == entry.block_hash;
    let evidence = cases.readable().map(|(_, evidence)| evidence).find(|evidence| here(evidence));
    let after = usize::try_from(after).unwrap_or(usize::MAX);
    let (list, total) = match evidence {
        Some(evidence) => {
            (bodies(entry.topoheight, evidence, after), evidence.block.transactions.len())
        }
        None => executed(&pages.store, entry, after)?,
    };
    Ok(html! {
        section aria-labelledby="transactions-title" {
            h2 #transactions-title { "Transactions" }
            (list)
            nav.pager aria-label="More transactions" {
                @if after > 0 { a rel="first" href={ "/blocks/" (entry.topoheight) } { "← first" } }
                @if total > after.saturating_add(ROWS) {
                    a rel="next" href={ "/blocks/" (entry.topoheight) "?after=" (after + ROWS) } { "more →" }
                }
            }
        }
    })
}

fn bodies(at: TopoHeight, evidence: &Evidence, after: usize) -> Markup {
    let named = |index: usize| {
        let mut named = evidence.record.differences.iter().filter_map(|one| one.transaction);
        named.any(|located| located.index == index)
    };
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Transaction" }
                    th scope="col" { "Kind" }
                    th scope="col" { "Source" }
                    th.number scope="col" { "Nonce" }
                    th scope="col" { "Control" }
                    th scope="col" { "Candidate" }
                }
            }
            tbody {
                @for (index, one) in evidence.block.transactions.iter().enumerate().skip(after).take(ROWS) {
                    @let (control, observed) = outcomes(evidence, &one.body);
                    tr {
                        th scope="row" {
                            a href={ "/blocks/" (at) "/transactions/" (index) } { "#" (index) }
                            " " (short(&one.body.hash))
                            @if named(index) { " " span.badge.mismatch { "a difference begins here" } }
                        }
                        td data-label="Kind" { (kind(&one.body)) }
                        td data-label="Source" { (short(&one.body.source)) }
                        td.number data-label="Nonce" { (one.body.nonce) }
                        td data-label="Control" { (Told(&control)) }
                        td data-label="Candidate" {
                            @if control != observed { span aria-hidden="true" { "✗ " } } (Told(&observed))
                        }
                    }
                }
            }
        }
    }
}

fn executed(
    store: &Store,
    entry: &LedgerEntry,
    after: usize,
) -> Result<(Markup, usize), PageError> {
    let block = store.block(entry.topoheight).map_err(LedgerError::Store)?;
    let block = block.filter(|block| block.commit.block.hash == entry.block_hash);
    Ok(match block {
        None => (
            html! { p { "There is no evidence about this block, and the log no longer has it." } },
            0,
        ),
        Some(block) => {
            let executed = &block.commit.executed;
            let list = html! {
                p.note {
                    "There is no evidence about this block, so these are the transactions that took effect; their \
                     bodies are not kept."
                }
                ol start=(after.saturating_add(1)) {
                    @for hash in executed.iter().skip(after).take(ROWS) { li { (whole(hash)) } }
                }
            };
            (list, executed.len())
        }
    })
}

/// What became of a transaction, by the control and by the candidate.
pub(super) fn outcomes(evidence: &Evidence, body: &Transaction) -> (String, String) {
    let of = |execution: &comparator::Execution| {
        let mut outcomes = execution.outcomes.iter().filter(|outcome| outcome.hash == body.hash);
        let first = outcomes.next().map_or("no outcome".to_owned(), ToString::to_string);
        match outcomes.count() {
            0 => first,
            more => format!("{first}, and {more} more"),
        }
    };
    let observed = match &evidence.observed {
        Observed::Execution(execution) => of(execution),
        Observed::Failure(_) => "no result".to_owned(),
        Observed::Answers(_) => "not asked".to_owned(),
    };
    (of(&evidence.control), observed)
}

/// What a transaction does, in a word or two.
pub(super) fn kind(body: &Transaction) -> String {
    match (&body.data, TransactionKind::of(body)) {
        (TransactionData::Transfers(transfers), TransactionKind::Transfer) => {
            plural(transfers.len() as u64, "transfer")
        }
        (_, kind) => kind.to_string(),
    }
}

const ROWS: usize = 100;
