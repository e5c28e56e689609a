//! A key in a block: what it was before, and what either side made of it.

use comparator::{Field, Side};
use maud::{Markup, html};
use storage_snapshot::{Address, AssetId, StateKey, StateRead, TopoHeight};

use super::{
    Page, PageError, Pages,
    case::{Cases, diagnosis, differences, key_address, key_link, side, word},
    text::{Told, short, whole},
};
use crate::{
    evidence::{Evidence, Observed},
    ledger::LedgerError,
    locate::touches,
};

pub(super) fn page(pages: &Pages, at: TopoHeight, key: &str) -> Result<Page, PageError> {
    let key = parse(key).ok_or(PageError::Nothing("key"))?;
    let cases = Cases::at(pages, at)?;
    let committed = pages.store.block(at).map_err(LedgerError::Store)?;
    if committed.is_none() && cases.0.is_empty() {
        return Err(PageError::Nothing("block of which anything is kept"));
    }
    let body = html! {
        nav.crumbs aria-label="Where this is" { a href={ "/blocks/" (at) } { "Block " (at) } }
        h1 { (name(&key)) }
        dl {
            dt { "Account" } dd { (whole(key.account())) }
            @if let Some(asset) = key.asset() {
                dt { "Asset" }
                dd { (whole(asset)) @if *asset == AssetId::NATIVE { " (native)" } }
            }
        }
        (others(at, &key))
        @for (kept, evidence) in cases.readable() {
            section {
                h2 { "Candidate " (Told(evidence.candidate())) }
                (sides(evidence, &key))
                @let is_it = |one: &comparator::RecordedDifference| one.key == Some(key);
                @if evidence.record.differences.iter().any(is_it) {
                    (differences(&evidence.record, is_it))
                    (diagnosis(evidence))
                }
                (touching(at, evidence, &key))
                p { a href={ "/evidence/" (kept.name) } { "The evidence" } }
            }
        }
        @if cases.readable().next().is_none() {
            @match &committed {
                Some(block) => {
                    p.note { "There is no evidence about this block; this is what was committed, by the control or, where the node corrected it, by the node." }
                    dl {
                        dt { "Committed" }
                        dd.value { (side(Field::of(&key), &written(&block.commit.delta, &key))) }
                    }
                },
                None => p { "The evidence cannot be read." },
            }
        }
    };
    Ok(Page::new(format!("{} in block {at}", name(&key)), body))
}

/// The key that the end of an address names.
fn parse(text: &str) -> Option<StateKey> {
    let mut parts = text.split('/');
    let (kind, account) = (parts.next()?, parts.next()?.parse::<Address>().ok()?);
    let asset = parts.next().map(|asset| asset.parse::<AssetId>().ok());
    let key = match (kind, asset) {
        ("nonce", None) => StateKey::Nonce(account),
        ("multisig", None) => StateKey::Multisig(account),
        ("registered", None) => StateKey::Registered(account),
        ("balance", Some(Some(asset))) => StateKey::Balance(account, asset),
        _ => return None,
    };
    parts.next().is_none().then_some(key)
}

const fn name(key: &StateKey) -> &'static str {
    match key {
        StateKey::Nonce(_) => "Nonce",
        StateKey::Balance(..) => "Balance",
        StateKey::Multisig(_) => "Multisig configuration",
        StateKey::Registered(_) => "Registration",
    }
}

/// Other keys of the account.
fn others(at: TopoHeight, key: &StateKey) -> Markup {
    let account = *key.account();
    let others = [
        StateKey::Nonce(account),
        StateKey::Balance(account, AssetId::NATIVE),
        StateKey::Multisig(account),
        StateKey::Registered(account),
    ];
    html! {
        nav.pager aria-label="Other keys of the account" {
            @for other in others.iter().filter(|other| *other != key) {
                a href=(key_address(at, other)) { (name(other)) }
            }
        }
    }
}

/// Before the block, and after it by either side.
fn sides(evidence: &Evidence, key: &StateKey) -> Markup {
    let field = Field::of(key);
    let (control, observed) = values(evidence, key);
    let same = observed.as_ref().is_none_or(|observed| *observed == control);
    html! {
        div.sides {
            div { h3 { "Before the block" } p.value { (Told(&before(evidence, key))) } }
            div { h3 { "Control" } p.value { (side(field, &control)) } }
            div class={ @if !same { "differs" } } {
                h3 { "Candidate" @if !same { span.badge.mismatch { "✗ differs" } } }
                p.value {
                    @match &observed {
                        Some(observed) => (side(field, observed)),
                        None => { "no result" },
                    }
                }
            }
        }
    }
}

/// The same in a line of a table.
pub(super) fn row(evidence: &Evidence, key: &StateKey) -> Markup {
    let at = evidence.block.block.topoheight;
    let field = Field::of(key);
    let (control, observed) = values(evidence, key);
    html! {
        tr {
            th scope="row" { (word(key)) " of " (key_link(at, key)) }
            td data-label="Before" { span.value { (Told(&before(evidence, key))) } }
            td data-label="Control" { (side(field, &control)) }
            td data-label="Candidate" {
                @match &observed {
                    Some(observed) => {
                        @if *observed != control { span aria-hidden="true" { "✗ " } }
                        (side(field, observed))
                    },
                    None => { "no result" },
                }
            }
        }
    }
}

fn before(evidence: &Evidence, key: &StateKey) -> String {
    match evidence.pre_state.read(key) {
        Ok(Some(value)) => Side::of_write(Some(&value)).to_string(),
        Ok(None) => "does not exist".to_owned(),
        Err(_) => "not known".to_owned(),
    }
}

/// What the control wrote and what the candidate did. A node is only asked; what it answered
/// otherwise is in the record, and the rest is as the control has it.
fn values(evidence: &Evidence, key: &StateKey) -> (Side, Option<Side>) {
    let control = written(&evidence.control.delta, key);
    let observed = match &evidence.observed {
        Observed::Execution(execution) => Some(written(&execution.delta, key)),
        Observed::Failure(_) => None,
        Observed::Answers(_) => {
            let mut differences = evidence.record.differences.iter();
            differences.find(|one| one.key == Some(*key)).map(|one| one.observed.clone())
        }
    };
    (control, observed)
}

fn written(delta: &storage_snapshot::StateDelta, key: &StateKey) -> Side {
    delta.get(key).map_or(Side::Absent, Side::of_write)
}

/// The transactions of the block that touch it.
fn touching(at: TopoHeight, evidence: &Evidence, key: &StateKey) -> Markup {
    let all = evidence.block.transactions.iter().enumerate();
    let touching: Vec<_> = all.filter(|(_, one)| touches(&one.body, key)).collect();
    html! {
        h3 { "Transactions that touch it" }
        @if touching.is_empty() { p { "None: the block itself does, if anything." } }
        ol.plain {
            @for (index, one) in touching.iter().take(ROWS) {
                li {
                    a href={ "/blocks/" (at) "/transactions/" (index) } { "#" (index) }
                    " " (short(&one.body.hash)) " " (super::block::kind(&one.body)) " from " (short(&one.body.source))
                }
            }
        }
        @if touching.len() > ROWS { p.note { (touching.len() - ROWS) " more." } }
    }
}

const ROWS: usize = 64;
