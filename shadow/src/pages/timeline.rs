//! The timeline: the verdicts over the whole range, as a picture of a bounded number of stretches, each of
//! which leads to its entries in the ledger, and as a table of the same.

use maud::{Markup, PreEscaped, html};
use storage_snapshot::TopoHeight;

use super::{
    text::{grouped, plural},
    verdicts::{badge, sign, words},
};
use crate::metrics::{Standing, Stretches};

pub(super) fn section(stretches: &Stretches, last: Option<TopoHeight>) -> Markup {
    let all: Vec<_> = last.map(|last| stretches.iter(last).collect()).unwrap_or_default();
    let width = all.len().max(BARS_MIN) * BAR;
    let sum = |standing| all.iter().map(|stretch| stretch.standings.of(standing)).sum::<u64>();
    let present: Vec<_> = Standing::ALL.into_iter().filter(|standing| sum(*standing) > 0).collect();
    html! {
        section #timeline aria-labelledby="timeline-title" {
            h2 #timeline-title { "Verdicts over time" }
            @if let (Some(first), Some(end)) = (all.first(), all.last()) {
                ul.legend {
                    @for standing in &present {
                        li { (badge(*standing)) " " (grouped(sum(*standing))) }
                    }
                }
                svg.timeline viewBox={ "0 0 " (width) " " (HEIGHT + MARKS) } preserveAspectRatio="none"
                    role="img" aria-label="Verdicts by topoheight; the table below says the same" {
                    (patterns())
                    @for (index, stretch) in all.iter().enumerate() {
                        a href=(address(stretch.first, stretch.last)) tabindex="-1" {
                            title { (described(stretch)) }
                            rect.ground x=(index * BAR) y="0" width=(BAR) height=(HEIGHT + MARKS) {}
                            @for bar in bars(stretch) {
                                rect class={ "bar " (bar.standing.word()) }
                                    x=(index * BAR + 1) y=(MARKS + bar.top) width=(BAR - 1) height=(bar.height) {}
                                @if let Some(pattern) = pattern_of(bar.standing) {
                                    rect fill={ "url(#" (pattern) ")" }
                                        x=(index * BAR + 1) y=(MARKS + bar.top) width=(BAR - 1) height=(bar.height) {}
                                }
                            }
                            @if differs(stretch) {
                                path.mark d={
                                    "M" (index * BAR + 1) " 0 h" (BAR - 1) " l-" ((BAR - 1) as f64 / 2.0) " " (MARKS - 2) " z"
                                } {}
                            }
                        }
                    }
                }
                @if all.len() < BARS_MIN {
                    p.axis { "topoheights " (first.first) " to " (end.last) }
                } @else {
                    p.axis { span { (first.first) } span { "topoheight" } span { (end.last) } }
                }
                details {
                    summary { "The same as a table" }
                    (table(&all))
                }
            } @else {
                p { "No block has a verdict yet." }
            }
        }
    }
}

fn table(all: &[crate::metrics::Stretch]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Verdicts by stretch" {
            table {
                thead {
                    tr {
                        th scope="col" { "Topoheights" }
                        @for standing in Standing::ALL { th.number scope="col" { (words(standing)) } }
                    }
                }
                tbody {
                    @for stretch in all {
                        tr {
                            th scope="row" {
                                a href=(address(stretch.first, stretch.last)) { (stretch.first) "–" (stretch.last) }
                            }
                            @for standing in Standing::ALL {
                                td.number { (grouped(stretch.standings.of(standing))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A part of a bar.
struct Bar {
    standing: Standing,
    top: u64,
    height: u64,
}

/// A stretch from the top down, the worst first. What matters is seen, however small its share is.
fn bars(stretch: &crate::metrics::Stretch) -> Vec<Bar> {
    let total = stretch.last.blocks_since(stretch.first) + 1;
    let heights = Standing::ALL.map(|standing| {
        let count = stretch.standings.of(standing);
        let height = (u128::from(count) * u128::from(HEIGHT) / u128::from(total.max(count))) as u64;
        if count > 0 { height.max(SEEN) } else { 0 }
    });
    let mut bars = Vec::new();
    // What is enlarged takes from the last, which is the best.
    let mut bottom = HEIGHT;
    for (standing, height) in
        Standing::ALL.into_iter().zip(heights).filter(|(_, height)| *height > 0)
    {
        let height = height.min(bottom);
        bars.push(Bar { standing, top: HEIGHT - bottom, height });
        bottom -= height;
    }
    bars
}

fn differs(stretch: &crate::metrics::Stretch) -> bool {
    stretch.standings.of(Standing::ALL[0]) > 0
}

fn described(stretch: &crate::metrics::Stretch) -> String {
    let (first, last) = (stretch.first, stretch.last);
    let mut text = format!("topoheights {first} to {last}");
    for standing in Standing::ALL {
        let count = stretch.standings.of(standing);
        if count > 0 {
            text.push_str(&format!("\n{} {}: {}", sign(standing), words(standing), grouped(count)));
        }
    }
    let missing = (last.blocks_since(first) + 1).saturating_sub(stretch.standings.total());
    if missing > 0 {
        text.push_str(&format!("\nno entry: {}", plural(missing, "block")));
    }
    text
}

fn address(first: TopoHeight, last: TopoHeight) -> String {
    format!("/ledger?from={first}&to={last}")
}

/// What tells the verdicts apart where colours do not.
fn patterns() -> Markup {
    PreEscaped(
        concat!(
            r#"<defs><pattern id="hatched" width="4" height="4" patternUnits="userSpaceOnUse" "#,
            r#"patternTransform="rotate(45)"><rect class="ink" width="1.5" height="4"/></pattern>"#,
            r#"<pattern id="dotted" width="4" height="4" patternUnits="userSpaceOnUse">"#,
            r#"<rect class="ink" width="1.5" height="1.5"/></pattern></defs>"#,
        )
        .to_owned(),
    )
}

const fn pattern_of(standing: Standing) -> Option<&'static str> {
    match standing {
        Standing::Judged(comparator::Severity::Mismatch) => Some("hatched"),
        Standing::Judged(comparator::Severity::Inconclusive) | Standing::Stale => Some("dotted"),
        Standing::Judged(_) => None,
    }
}

/// How wide a stretch is, in units of the picture.
const BAR: usize = 10;
const BARS_MIN: usize = 24;
const HEIGHT: u64 = 80;
/// How much room there is for the marks above.
const MARKS: u64 = 10;
/// What is there is at least so high.
const SEEN: u64 = 6;
