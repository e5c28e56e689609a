//! What was compared of each candidate.

use maud::{Markup, html};

use super::{
    text::{Told, grouped, share},
    verdicts::{badge, words},
};
use crate::metrics::{Standing, Status};

pub(super) fn section(status: &Status) -> Markup {
    html! {
        section #coverage aria-labelledby="coverage-title" {
            h2 #coverage-title { "Coverage by candidate" }
            table.cards {
                thead {
                    tr {
                        th scope="col" { "Candidate" }
                        th scope="col" { "Match" }
                        @for standing in VERDICTS { th.number scope="col" { (words(standing)) } }
                        th scope="col" { "Differs in" }
                    }
                }
                tbody {
                    @for (name, candidate) in &status.candidates {
                        @let of = |standing: Standing| {
                            candidate.blocks.get(standing.word()).copied().unwrap_or_default()
                        };
                        @let total: u64 = candidate.blocks.values().sum();
                        @let matching = candidate.blocks.get("match").copied().unwrap_or_default();
                        tr {
                            th scope="row" { (Told(name)) }
                            td data-label="Match" {
                                span { (grouped(matching)) " of " (grouped(total)) " (" (share(matching, total)) ")" }
                                meter min="0" max=(total.max(1)) value=(matching) aria-hidden="true" {}
                            }
                            @for standing in VERDICTS {
                                td.number data-label=(words(standing)) {
                                    @if of(standing) > 0 && standing != VERDICTS[2] { (badge(standing)) " " }
                                    (grouped(of(standing)))
                                }
                            }
                            td data-label="Differs in" {
                                @if candidate.mismatches.is_empty() { "nothing" }
                                @for (index, (field, count)) in candidate.mismatches.iter().enumerate() {
                                    @if index > 0 { ", " }
                                    (field) " " span.note { (grouped(*count)) }
                                }
                            }
                        }
                    }
                }
            }
            p.note {
                "A block is a match only if the candidate did its own work on at least two workers, and \
                 everything agrees. Not exercised: it agrees, and that proves nothing."
            }
        }
    }
}

const VERDICTS: [Standing; 4] = [
    Standing::Judged(comparator::Severity::Mismatch),
    Standing::Judged(comparator::Severity::Inconclusive),
    Standing::Judged(comparator::Severity::NotExercised),
    Standing::Judged(comparator::Severity::Opaque),
];
