//! A transaction of a block that there is evidence about: what it says, what became of it by either side,
//! and the keys that it touches.

use std::collections::BTreeSet;

use maud::{Markup, html};
use storage_snapshot::{StateKey, TopoHeight};

use super::{
    Page, PageError, Pages,
    block::{kind, outcomes},
    case::{Cases, diagnosis, differences},
    key,
    text::{Told, grouped, plural, short, whole},
};
use crate::{
    chain::{Transaction, TransactionData},
    evidence::Evidence,
    locate::touches,
};

pub(super) fn page(pages: &Pages, at: TopoHeight, index: usize) -> Result<Page, PageError> {
    let cases = Cases::at(pages, at)?;
    let found: Vec<_> = cases
        .readable()
        .filter_map(|(kept, evidence)| {
            Some((kept, evidence, evidence.block.transactions.get(index)?))
        })
        .collect();
    let Some((_, first, transaction)) = found.first() else {
        return Err(PageError::Nothing("transaction in the evidence about this block"));
    };
    let body = &transaction.body;
    let count = first.block.transactions.len();
    let page = html! {
        nav.crumbs aria-label="Where this is" { a href={ "/blocks/" (at) } { "Block " (at) } }
        h1 { "Transaction #" (index) }
        nav.pager aria-label="Neighbours" {
            @if let Some(previous) = index.checked_sub(1) {
                a rel="prev" href={ "/blocks/" (at) "/transactions/" (previous) } { "← #" (previous) }
            }
            @if index + 1 < count {
                a rel="next" href={ "/blocks/" (at) "/transactions/" (index + 1) } { "#" (index + 1) " →" }
            }
        }
        (says(at, body, transaction.already_executed))
        @for (kept, evidence, transaction) in &found {
            section {
                h2 { "What became of it: candidate " (Told(evidence.candidate())) }
                @let (control, observed) = outcomes(evidence, &transaction.body);
                div.sides {
                    div { h3 { "Control" } p.value { (Told(&control)) } }
                    div { h3 { "Candidate" } p.value { (Told(&observed)) } }
                }
                (touched(evidence, &transaction.body))
                h3 { "Differences that begin with it" }
                @let begins = |difference: &comparator::RecordedDifference| {
                    difference.transaction.is_some_and(|located| located.index == index)
                };
                @if evidence.record.differences.iter().any(begins) {
                    (differences(&evidence.record, begins))
                    (diagnosis(evidence))
                } @else {
                    p { "None." }
                }
                p { a href={ "/evidence/" (kept.name) } { "The evidence" } }
            }
        }
    };
    Ok(Page::new(format!("Transaction {index} of block {at}"), page))
}

fn says(at: TopoHeight, body: &Transaction, already_executed: bool) -> Markup {
    html! {
        dl {
            dt { "Hash" } dd { (whole(&body.hash)) }
            dt { "Kind" } dd { (kind(body)) }
            dt { "Source" }
            dd { a href={ "/blocks/" (at) "/keys/nonce/" (body.source) } { (whole(&body.source)) } }
            dt { "Nonce" } dd { (body.nonce) }
            dt { "Fee" } dd { (grouped(body.fee.as_u64())) }
            dt { "Refers to" } dd { "topoheight " (body.reference.topoheight) }
            @if already_executed { dt { "Executed before" } dd { "by another block: it has no effect here" } }
            @match &body.data {
                TransactionData::Transfers(transfers) => {
                    dt { "Outputs" }
                    dd {
                        ol start="0" {
                            @for transfer in transfers.iter().take(ROWS) {
                                li {
                                    (grouped(transfer.amount.as_u64())) " of " (short(&transfer.asset)) " to "
                                    a href={ "/blocks/" (at) "/keys/balance/" (transfer.destination) "/" (transfer.asset) } {
                                        (short(&transfer.destination))
                                    }
                                }
                            }
                        }
                        @if transfers.len() > ROWS { p.note { (transfers.len() - ROWS) " more are in block.json." } }
                    }
                },
                TransactionData::Burn { asset, amount } => {
                    dt { "Burns" } dd { (grouped(amount.as_u64())) " of " (short(asset)) }
                },
                TransactionData::Multisig(config) => {
                    dt { "Sets" }
                    dd {
                        (config.threshold) " of " (plural(config.participants.len() as u64, "signer"))
                        ul.plain { @for one in &config.participants { li { (whole(one)) } } }
                    }
                },
                TransactionData::Opaque(_) => { dt { "Content" } dd { "not executed here" } },
            }
        }
    }
}

/// What the keys that it touches are before and after the block.
fn touched(evidence: &Evidence, body: &Transaction) -> Markup {
    let delta = &evidence.control.delta;
    let known: BTreeSet<StateKey> =
        delta.iter().map(|(key, _)| *key).filter(|key| touches(body, key)).collect();
    html! {
        h3 { "Keys that it touches, after the whole block" }
        @if known.is_empty() { p { "None that the control writes." } } @else {
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Key" }
                        th scope="col" { "Before" }
                        th scope="col" { "Control" }
                        th scope="col" { "Candidate" }
                    }
                }
                tbody {
                    @for key in known.iter().take(ROWS) { (key::row(evidence, key)) }
                }
            }
            @if known.len() > ROWS { p.note { (known.len() - ROWS) " more are in control.json." } }
        }
    }
}

const ROWS: usize = 64;
