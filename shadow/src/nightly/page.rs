//! The report of a night over all its parts.

use std::fmt::{Result, Write};

use super::{
    outcome::{Outcome, passes, worst},
    part::Part,
};
use crate::{
    exit_code::ExitCode,
    run_report::{
        confidence::Confidence,
        figures::Word,
        files::REPORT,
        headline::{Headline, counted, share},
        markdown::{Table, block, code, plain},
        page::{write_confidence, write_speed_ups},
        speed_up::SpeedUps,
    },
};

/// Everything that the page is about.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) parts: &'a [(Part, Outcome)],
    pub(super) seed: u64,
    pub(super) repeat: &'a str,
    pub(super) confidence: &'a Confidence,
    pub(super) speed_ups: &'a SpeedUps,
    pub(super) seconds: f64,
}

/// The answer over all parts. A difference is the news, whatever else went wrong.
pub(super) fn headline(parts: &[(Part, Outcome)]) -> Headline {
    let of = |word: Word| parts.iter().filter(move |(_, outcome)| outcome.headline.word == word);
    let all = counted(parts.len() as u64, "part");
    for (word, what) in [
        (Word::Mismatch, "not as expected"),
        (Word::Error, "without a result"),
        (Word::NotEnoughEvidence, "without enough evidence"),
    ] {
        let Some((part, outcome)) = of(word).next() else { continue };
        let bad = parts.iter().filter(|(_, outcome)| !passes(&outcome.case)).count();
        let count = of(word).count();
        let others = match bad - count {
            0 => String::new(),
            others => format!(", {others} more did not pass"),
        };
        let sentence = format!(
            "{count} of {all} {what}{others}; first {} ({}): {}",
            part.suite, part.case, outcome.headline.sentence
        );
        return Headline { word, sentence };
    }
    let figures = parts.iter().filter_map(|(_, outcome)| outcome.figures.as_ref());
    let (blocks, exercised) = figures.fold((0, 0), |(blocks, exercised), figures| {
        (blocks + figures.blocks.total, exercised + figures.blocks.exercised)
    });
    let sentence = format!(
        "all {all} came out as they have to: {blocks} blocks, {exercised} of them exercised ({})",
        share(exercised, blocks)
    );
    Headline { word: Word::Clean, sentence }
}

/// The exit code over all parts.
pub(super) fn exit_code(parts: &[(Part, Outcome)]) -> ExitCode {
    worst(parts.iter().map(|(_, outcome)| outcome.code))
}

impl Page<'_> {
    pub(super) fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> Result {
        let Headline { word, sentence } = headline(self.parts);
        writeln!(text, "# {}: {}\n", word.as_str(), plain(&sentence))?;
        writeln!(
            text,
            "The night of seed {}, {:.0} seconds, exit code {}. {INTRODUCTION}\n",
            self.seed,
            self.seconds,
            exit_code(self.parts) as u8
        )?;
        self.write_table(text)?;
        self.write_failures(text)?;
        write_confidence(self.confidence, text)?;
        write_speed_ups(self.speed_ups, text)?;
        writeln!(text, "## Run it again\n")?;
        write!(text, "{}", block(self.repeat))
    }

    fn write_table(&self, text: &mut String) -> Result {
        let head =
            ["part", "result", "blocks", "exercised", "differences", "transactions", "seconds"];
        let mut table = Table::new(head);
        for (part, outcome) in self.parts {
            let number = |number: Option<u64>| number.map_or("-".to_owned(), |it| it.to_string());
            let figures = outcome.figures.as_ref();
            let exercised = figures.map(|figures| (figures.blocks.exercised, figures.blocks.total));
            table.row([
                format!("{}: {}", part.suite, part.case),
                outcome.headline.word.as_str().to_lowercase(),
                number(figures.map(|figures| figures.blocks.total)),
                exercised.map_or("-".to_owned(), |(part, whole)| share(part, whole)),
                number(figures.map(|figures| figures.mismatches.total)),
                number(figures.map(|figures| figures.transactions.executed)),
                format!("{:.1}", outcome.seconds),
            ]);
        }
        writeln!(text, "{table}")?;
        for (part, outcome) in self.parts {
            // What is not told by the numbers.
            if passes(&outcome.case) && (outcome.figures.is_none() || has_differences(outcome)) {
                let sentence = plain(&outcome.headline.sentence);
                writeln!(text, "* {}, {}: {sentence}", part.suite, plain(&part.case))?;
            }
        }
        writeln!(text)
    }

    fn write_failures(&self, text: &mut String) -> Result {
        let failed: Vec<_> =
            self.parts.iter().filter(|(_, outcome)| !passes(&outcome.case)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        writeln!(text, "## What is not as it has to be\n")?;
        for (part, outcome) in failed {
            let Headline { word, sentence } = &outcome.headline;
            writeln!(
                text,
                "* **{}, {}**: {}: {}. In {}: its report in {}, and its evidence.",
                part.suite,
                plain(&part.case),
                word.as_str().to_lowercase(),
                plain(sentence),
                code(&format!("parts/{}", part.directory)),
                code(REPORT)
            )?;
        }
        writeln!(text)
    }
}

fn has_differences(outcome: &Outcome) -> bool {
    outcome.figures.as_ref().is_some_and(|figures| figures.mismatches.total > 0)
}

const INTRODUCTION: &str = "Chains of every profile were generated and executed twice, serially, which is \
    the *control*, and in parallel by a *candidate*, which is on trial, and compared; faults were planted \
    to see whether they are found; recordings of a real node were replayed; and a stand-in node that fails \
    now and then was followed. `parts` has a report and a chart of each.";
