//! One case of a mismatch, as its evidence tells it: what differs, with both values side by side, and
//! what that says about the cause.

use comparator::{Field, LocateMethod, MismatchRecord, RecordedDifference, Side};
use maud::{Markup, html};
use storage_snapshot::{AssetId, StateKey, TopoHeight};

use super::{
    Pages,
    shelf::Kept,
    text::{Told, grouped, short},
};
use crate::{
    diagnosis::Diagnosis,
    evidence::{Evidence, EvidenceError},
};

/// The evidence about a block, as much of it as can be read.
pub(super) struct Cases(pub(super) Vec<(Kept, Result<Evidence, EvidenceError>)>);

impl Cases {
    /// Those about a block at a topoheight: what was made of a case is not one.
    pub(super) fn at(pages: &Pages, at: TopoHeight) -> std::io::Result<Self> {
        let kept = pages.shelf.at(at)?.into_iter();
        let cases = kept.filter(|kept| !crate::minimize::is_minimal(&kept.name)).take(CASES_MAX);
        Ok(Self(
            cases
                .map(|kept| {
                    let evidence = Evidence::read(kept.path());
                    (kept, evidence)
                })
                .collect(),
        ))
    }

    /// Those that can be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = (&Kept, &Evidence)> {
        self.0.iter().filter_map(|(kept, evidence)| Some((kept, evidence.as_ref().ok()?)))
    }
}

/// What went wrong, as far as it can be told.
pub(super) fn diagnosis(evidence: &Evidence) -> Markup {
    let sentences = Diagnosis::of_evidence(evidence).map(|diagnosis| diagnosis.sentences());
    let sentences = sentences.unwrap_or_default();
    html! {
        section.diagnosis {
            h2 { "Diagnosis" }
            @if sentences.is_empty() {
                p { "The numbers do not tell." }
            } @else {
                ul { @for sentence in &sentences { li { (Told(sentence)) } } }
            }
        }
    }
}

/// What differs, a line each.
pub(super) fn differences(
    record: &MismatchRecord,
    only: impl Fn(&RecordedDifference) -> bool,
) -> Markup {
    let at = record.subject.block.topoheight;
    let chosen: Vec<_> = record.differences.iter().filter(|one| only(one)).collect();
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "What" }
                    th scope="col" { "Control" }
                    th scope="col" { "Candidate" }
                    th.number scope="col" { "Difference" }
                    th scope="col" { "Begins with" }
                }
            }
            tbody {
                @for difference in chosen.iter().take(ROWS) { (difference_row(at, difference)) }
            }
        }
        @let cut = chosen.len().saturating_sub(ROWS) as u64 + record.omitted;
        @if cut > 0 { p.note { (grouped(cut)) " more; those that were kept are in " code { "record.json" } "." } }
    }
}

fn difference_row(at: TopoHeight, difference: &RecordedDifference) -> Markup {
    html! {
        tr {
            th scope="row" {
                span.field { (difference.field.as_str().replace('_', " ")) }
                @match (&difference.key, &difference.control, &difference.observed) {
                    (Some(key), ..) => { " of " (key_link(at, key)) },
                    (None, Side::Outcome(outcome), _) | (None, _, Side::Outcome(outcome)) => { " of " (short(&outcome.hash)) },
                    _ => {},
                }
            }
            td data-label="Control" { (side(difference.field, &difference.control)) }
            td data-label="Candidate" { (side(difference.field, &difference.observed)) }
            td.number data-label="Difference" {
                @match difference.amount() { Some(amount) => { (format!("{amount:+}")) }, None => { "–" } }
            }
            td data-label="Begins with" {
                @match &difference.transaction {
                    Some(located) => {
                        a href={ "/blocks/" (at) "/transactions/" (located.index) } { "#" (located.index) }
                        " " span.note { (found_by(located.method)) }
                    },
                    None => { "–" },
                }
            }
        }
    }
}

const fn found_by(method: LocateMethod) -> &'static str {
    match method {
        LocateMethod::Outcome => "by its outcome",
        LocateMethod::Prefix => "by executing up to it",
        LocateMethod::Touch => "the first that touches the key",
    }
}

/// What one side shows.
pub(super) fn side(field: Field, side: &Side) -> Markup {
    html! {
        @match side {
            Side::Absent if field == Field::Version => { "not written" },
            Side::Absent => { span.note { "absent" } },
            Side::None => { "none " span.note { "(written)" } },
            Side::Number(number) => { span.value { (number) } },
            other => (Told(&other.to_string())),
        }
    }
}

/// A key, by what it is of, and the way to it.
pub(super) fn key_link(at: TopoHeight, key: &StateKey) -> Markup {
    html! {
        a href=(key_address(at, key)) { (short(key.account())) }
        @if let Some(asset) = key.asset()
            && *asset != AssetId::NATIVE { " in " (short(asset)) }
    }
}

pub(super) fn key_address(at: TopoHeight, key: &StateKey) -> String {
    let account = key.account();
    match key {
        StateKey::Balance(_, asset) => format!("/blocks/{at}/keys/balance/{account}/{asset}"),
        other => format!("/blocks/{at}/keys/{}/{account}", word(other)),
    }
}

/// The word for what a key is.
pub(super) const fn word(key: &StateKey) -> &'static str {
    match key {
        StateKey::Nonce(_) => "nonce",
        StateKey::Balance(..) => "balance",
        StateKey::Multisig(_) => "multisig",
        StateKey::Registered(_) => "registered",
    }
}

/// So many differences have a line of their own.
const ROWS: usize = 200;

/// So many directories about one block are read for a page.
const CASES_MAX: usize = 8;
