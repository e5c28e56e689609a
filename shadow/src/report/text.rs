//! The report for people.

use std::fmt::{Result, Write};

use super::Report;
use crate::{
    compared::{NotCompared, Scope, compared},
    coverage::{CandidateCoverage, Class, Evidence, VerdictRanges, rate_in_percent},
    kinds::TransactionKind,
    shapes::Shape,
    summary::words,
};

pub(super) fn write(report: &Report, text: &mut String) -> Result {
    write_answer(report, text)?;
    let coverage = &report.coverage;
    writeln!(text, "topoheights by the worst verdict of all candidates")?;
    write_verdicts(&coverage.verdicts, text)?;
    if !coverage.stale.is_empty() {
        writeln!(text, "  {:<14} {}", "stale", coverage.stale)?;
    }
    for (name, candidate) in &coverage.candidates {
        write_candidate(name, candidate, coverage.stale_mismatches, text)?;
    }
    writeln!(
        text,
        "\na divergence bound is 3/n for n transactions without a mismatch: the rate stays below it with a\n\
         confidence of 95 %, if the transactions are representative and independent of each other"
    )?;
    write_frame(text)?;
    let quirks: Vec<_> =
        report.summary.quirks().iter().map(|(quirk, count)| format!("{count} {quirk}")).collect();
    if !quirks.is_empty() {
        writeln!(text, "quirks        {}", quirks.join(", "))?;
    }
    Ok(())
}

/// The answer, and every reason for it.
fn write_answer(report: &Report, text: &mut String) -> Result {
    let about = match report.requirements {
        Some(_) => "the requirements, by what is under test now",
        None => "all runs on this directory together",
    };
    writeln!(text, "{} ({about})", report.verdict.words())?;
    for sentence in &report.differs {
        writeln!(text, "  differs: {sentence}")?;
    }
    for sentence in report.summary.accepted() {
        writeln!(text, "  accepted: {sentence}")?;
    }
    for sentence in &report.missing {
        writeln!(text, "  missing: {sentence}")?;
    }
    writeln!(text)
}

fn write_verdicts(verdicts: &VerdictRanges, text: &mut String) -> Result {
    for (verdict, ranges) in verdicts.iter() {
        let count = ranges.len();
        let name = verdict.word().replace('_', " ");
        match count {
            0 => writeln!(text, "  {name:<14} none")?,
            _ => writeln!(text, "  {name:<14} {count} blocks: {ranges}")?,
        }
    }
    Ok(())
}

fn write_candidate(
    name: &str,
    candidate: &CandidateCoverage,
    stale_mismatches: u64,
    text: &mut String,
) -> Result {
    let CandidateCoverage { verdicts, without_verdict, evidence, earlier } = candidate;
    writeln!(text, "\ncandidate {name}: {}", evidence.configuration)?;
    write_verdicts(verdicts, text)?;
    if !without_verdict.is_empty() {
        let blocks = without_verdict.len();
        writeln!(text, "  {:<14} {blocks} blocks: {without_verdict}", "no verdict")?;
    }
    for (configuration, found) in earlier {
        let (counted, differ) = match *configuration == evidence.configuration {
            true => {
                ("only mismatches counted", "of them mismatches, the same configuration".to_owned())
            }
            false => ("not counted", format!("of them mismatches, {configuration}")),
        };
        writeln!(
            text,
            "  {counted}: topoheights {}-{}, {} blocks, {} {differ}",
            found.since, found.through, found.blocks.total, found.blocks.mismatch
        )?;
    }
    let blocks = &evidence.blocks;
    writeln!(
        text,
        "  counted since topoheight {}, through {}: {} of {} blocks exercised, {} mismatches{}",
        evidence.since,
        evidence.through,
        blocks.exercised,
        blocks.total,
        evidence.mismatches(),
        match evidence.accepted_mismatches {
            0 => String::new(),
            accepted => format!(", {accepted} accepted"),
        }
    )?;
    let counts = |text: &mut String, title: &str, counts: Vec<String>| match counts.is_empty() {
        true => Ok(()),
        false => writeln!(text, "  {title}: {}", counts.join(", ")),
    };
    let fields = evidence.fields.iter().map(|(field, count)| format!("{count} {field}"));
    counts(text, "mismatches by field", fields.collect())?;
    let reasons = evidence.reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
    counts(text, "because", reasons.collect())?;
    write_kinds(evidence, stale_mismatches, text)?;
    write_shapes(evidence, stale_mismatches, text)
}

/// What was executed, by kind and by the number of workers.
fn write_kinds(evidence: &Evidence, stale_mismatches: u64, text: &mut String) -> Result {
    let kinds = TransactionKind::EXECUTED;
    write!(text, "\n  {:<28} {:>8}", "executed under", "blocks")?;
    for kind in kinds {
        write!(text, " {kind:>12}")?;
    }
    for (workers, tally) in &evidence.by_workers {
        let under = match workers {
            0 => "workers not known".to_owned(),
            1 => "1 worker".to_owned(),
            _ => format!("{workers} workers"),
        };
        write!(text, "\n  {under:<28} {:>8}", tally.blocks)?;
        for kind in kinds {
            write!(text, " {:>12}", tally.of_kind(kind))?;
        }
    }
    write!(text, "\n  {:<28} {:>8}", "divergence below", "")?;
    for kind in kinds {
        write!(text, " {:>12}", bound(&evidence.of_kind(kind, stale_mismatches)))?;
    }
    writeln!(text)
}

fn write_shapes(evidence: &Evidence, stale_mismatches: u64, text: &mut String) -> Result {
    let (blocks, transactions) = ("blocks", "transactions");
    writeln!(text, "\n  {:<28} {blocks:>8} {transactions:>12} divergence below", "shape")?;
    for shape in Shape::ALL {
        let class = evidence.of_shape(*shape, stale_mismatches);
        let Class { blocks, transactions, .. } = class;
        writeln!(text, "  {shape:<28} {blocks:>8} {transactions:>12} {:>16}", bound(&class))?;
    }
    Ok(())
}

/// What can be said of the rate of divergence.
fn bound(class: &Class) -> String {
    match class.divergence_below {
        Some(rate) => rate_in_percent(rate),
        None if class.mismatch_blocks > 0 => "mismatch".to_owned(),
        None if class.transactions == 0 => "missing".to_owned(),
        None => "-".to_owned(),
    }
}

/// What all of this is about, and what it is not about.
fn write_frame(text: &mut String) -> Result {
    for (title, of) in [
        ("of the state", Scope::State),
        ("of transactions", Scope::Transaction),
        ("of the block", Scope::Block),
    ] {
        let compared = compared();
        let fields = compared.iter().filter(|compared| compared.of == of);
        writeln!(text, "compared {title}: {}", words(fields.map(|one| one.field.as_str())))?;
    }
    writeln!(text, "not compared:")?;
    for what in NotCompared::ALL {
        writeln!(text, "  {:<24} {}", what.as_str(), what.means())?;
    }
    Ok(())
}
