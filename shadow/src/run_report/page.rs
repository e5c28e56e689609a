//! The report for people, as Markdown: the answer first, then what it is worth, then what to do.

use std::{
    collections::BTreeMap,
    fmt::{Display, Result, Write},
    path::Path,
};

use super::{
    about::About,
    confidence::{Classes, Confidence},
    figures::Figures,
    findings::Findings,
    headline::{Headline, counted, share},
    markdown::{Table, block, code, plain},
    speed_up::SpeedUps,
};
use crate::{
    coverage::{Class, rate_in_percent},
    diagnosis::Diagnosis,
    evidence::Evidence,
    execute::{parallel::ParallelExecutor, sharded::ShardedExecutor},
    judge::NODE,
    metrics::{CONFLICT_RATES, SIZES},
    mismatches::ProblemRow,
    node::NodeCounts,
    repro::as_argument,
};

/// Everything that a page is about.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) about: &'a About,
    pub(crate) headline: &'a Headline,
    pub(crate) figures: &'a Figures,
    pub(crate) findings: &'a Findings,
    /// Why it is not enough, a sentence each.
    pub(crate) missing: &'a [String],
    /// Where the page will be; paths inside of it are shown from there.
    pub(crate) directory: &'a Path,
    pub(crate) has_chart: bool,
}

impl Page<'_> {
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> Result {
        let Headline { word, sentence } = self.headline;
        writeln!(text, "# {}: {}\n", word.as_str(), plain(sentence))?;
        let about = self.about;
        let command = about.command;
        writeln!(text, "`shadow {command}`, {}. {INTRODUCTION}\n", plain(&about.case))?;
        self.write_reasons(text)?;
        self.write_mismatches(text)?;
        self.write_coverage(text)?;
        write_confidence(&self.findings.confidence, text)?;
        write_speed_ups(&self.findings.speed_ups, text)?;
        if self.has_chart {
            writeln!(
                text,
                "## Over the run\n\n![verdicts, lag and speed-up by topoheight](chart.svg)\n\n\
                 `chart.svg`, beside this file: verdicts, how long blocks waited for theirs, and the \
                 speed-up, by topoheight.\n"
            )?;
        }
        writeln!(text, "## Run it again\n")?;
        write!(text, "{}", block(&about.repeat(self.findings.last.map(|last| last.as_u64()))))?;
        self.write_frame(text)
    }

    /// Why the answer is not that all is well, where nothing differs.
    fn write_reasons(&self, text: &mut String) -> Result {
        let figures = self.figures;
        let interrupted = figures.interrupted.then(|| {
            let because =
                figures.interrupted_because.as_deref().unwrap_or("the run was interrupted");
            format!("{because}; the same command on the same --state-dir goes on from there")
        });
        let unreadable = self.findings.unreadable.as_ref().map(|error| {
            format!("the ledger could not be read, so that what follows is not complete: {error}")
        });
        let error = figures.error.as_ref().map(|error| format!("the run ended early: {error}"));
        let reasons = error.into_iter().chain(interrupted).chain(unreadable);
        let reasons: Vec<_> = reasons.chain(self.missing.iter().cloned()).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        writeln!(text, "## What speaks against a green result\n")?;
        reasons.iter().try_for_each(|reason| writeln!(text, "* {}", plain(reason)))?;
        writeln!(text)
    }

    fn write_mismatches(&self, text: &mut String) -> Result {
        let (figures, problems) = (self.figures, &self.findings.problems);
        if problems.problems.is_empty() && figures.mismatches.total == 0 {
            return Ok(());
        }
        writeln!(text, "## What differs\n")?;
        if let Some(first) = &figures.mismatches.first {
            writeln!(text, "The first difference: {}.\n", plain(&first.sentence()))?;
        }
        let fields = figures.mismatches.by_field.iter();
        let fields: Vec<_> = fields.map(|(field, count)| format!("{count} in {field}")).collect();
        if !fields.is_empty() {
            writeln!(text, "All differences: {}.\n", plain(&fields.join(", ")))?;
        }
        for problem in problems.problems.iter().take(PROBLEMS_MAX) {
            self.write_problem(problem, text)?;
        }
        let others = problems.problems.len().saturating_sub(PROBLEMS_MAX);
        if others > 0 {
            writeln!(
                text,
                "And {}; `shadow mismatches --state-dir …` lists them.\n",
                counted(others as u64, "other problem")
            )?;
        }
        Ok(())
    }

    /// One problem: where it shows, what it may be, and how to look into it.
    fn write_problem(&self, problem: &ProblemRow, text: &mut String) -> Result {
        let ProblemRow { fingerprint, blocks, first, last, .. } = problem;
        writeln!(
            text,
            "### Problem `{}`: candidate {}, {}\n",
            fingerprint.id(),
            plain(&fingerprint.candidate),
            plain(&fingerprint.to_string())
        )?;
        let seen = match first == last {
            true => format!("at topoheight {first}"),
            false => format!("from topoheight {first} to {last}"),
        };
        writeln!(text, "* seen in {}, {seen}", counted(*blocks, "block"))?;
        if let Some(accepted) = &problem.accepted {
            let reason = plain(&accepted.reason);
            writeln!(text, "* accepted in {} of them: {reason}", problem.blocks_accepted)?;
        }
        let directory = problem.evidence.first();
        let evidence = directory.and_then(|directory| Evidence::read(directory).ok());
        let cause = evidence.as_ref().and_then(Diagnosis::of_evidence);
        for sentence in cause.iter().flat_map(Diagnosis::sentences) {
            writeln!(text, "* by the numbers: {}", plain(&sentence))?;
        }
        if let Some(triage) = &problem.triage {
            writeln!(text, "* run again: {}", plain(&triage.sentence()))?;
        }
        match directory {
            Some(directory) => {
                let absolute = std::path::absolute(directory).ok();
                let inside =
                    absolute.as_ref().and_then(|path| path.strip_prefix(self.directory).ok());
                let shown = inside.unwrap_or(directory);
                let shown = shown.display().to_string();
                writeln!(text, "* evidence: {}", code(&shown))?;
                let command = evidence.as_ref().and_then(Evidence::command_again);
                let command = command.unwrap_or_else(|| "shadow explain .".to_owned());
                let command = command.replacen(" .", &format!(" {}", as_argument(&shown)), 1);
                writeln!(text, "\n{}", block(&command))
            }
            None => writeln!(text, "* no evidence of it is there\n"),
        }
    }

    fn write_coverage(&self, text: &mut String) -> Result {
        let figures = self.figures;
        writeln!(text, "## What was compared\n")?;
        let mut table = Table::new([
            "candidate",
            "blocks",
            "match",
            "mismatch",
            "not exercised",
            "inconclusive",
            "opaque",
            "exercised",
        ]);
        for (name, blocks) in &figures.candidates {
            table.row([
                name.clone(),
                blocks.total.to_string(),
                blocks.matching.to_string(),
                blocks.mismatch.to_string(),
                blocks.not_exercised.to_string(),
                blocks.inconclusive.to_string(),
                blocks.opaque.to_string(),
                share(blocks.exercised, blocks.total),
            ]);
        }
        writeln!(text, "{table}")?;
        writeln!(text, "{EXERCISED}\n")?;
        let transactions = &figures.transactions;
        writeln!(
            text,
            "* transactions: {} executed, {} skipped, {} failed, {} in blocks that are not executed here",
            transactions.executed, transactions.skipped, transactions.failed, transactions.opaque
        )?;
        let node = &figures.node_check;
        if *node != NodeCounts::default() {
            writeln!(
                text,
                "* answers of the node: {} compared, {} differ, {} taken, {} never asked or without anything to \
                 compare with; {} of {} that were given before their block was stable were asked for again, {} \
                 differ only then",
                node.compared,
                node.differ,
                node.taken,
                node.not_asked,
                node.again,
                node.early,
                node.differ_again
            )?;
        }
        write_counts(text, "not exercised or not judged because", &figures.reasons)?;
        let re_orders = &figures.re_orders;
        if re_orders.blocks > 0 {
            writeln!(
                text,
                "* re-orders: {}, of up to {} blocks; {} differences in blocks that were ordered away",
                re_orders.count, re_orders.deepest, figures.stale_mismatches
            )?;
        }
        writeln!(
            text,
            "* schedules: {} runs of candidates; the result depends on the schedule in {}",
            figures.runs,
            counted(figures.schedule_dependent_blocks, "block")
        )?;
        writeln!(
            text,
            "* is the verifier blind? {} altered on purpose, {} of them noticed",
            counted(figures.canaries.planted, "result"),
            figures.canaries.caught
        )?;
        writeln!(
            text,
            "* is it noisy? the control was executed again in {}, with another result in {}",
            counted(figures.again.blocks, "block"),
            figures.again.differ
        )?;
        for (name, build) in &self.findings.builds {
            let whose = match name.as_str() {
                ParallelExecutor::NAME | ShardedExecutor::NAME => {
                    ": Shadow's own engine, which says nothing about anybody else's executor"
                }
                NODE => ": the node that was followed, by its answers",
                _ => "",
            };
            writeln!(text, "* {} is build {}{whose}", plain(name), plain(build))?;
        }
        let lags = self.findings.track.iter().filter_map(|(_, _, stretch)| stretch.lag_seconds);
        let waited = lags.reduce(f64::max).map(|lag| {
            format!("; when a block came, one before it had waited up to {lag:.1} seconds for its verdict")
        });
        writeln!(
            text,
            "* it took {:.1} seconds{}",
            figures.seconds.elapsed,
            waited.unwrap_or_default()
        )?;
        writeln!(text)
    }

    fn write_frame(&self, text: &mut String) -> Result {
        let figures = self.figures;
        let list = |words: &[String]| plain(&words.join(", ").replace('_', " "));
        writeln!(text, "\n## What this does not say\n")?;
        writeln!(
            text,
            "By the rules {}, compared are {}. Not compared are {}. It is about these builds, these \
             blocks, and nothing else.",
            plain(&figures.rules),
            list(&figures.compared),
            list(&figures.not_compared)
        )?;
        if let Some(digest) = &figures.state_digest {
            writeln!(text, "\nThe state in the end has the digest `{digest}`.")?;
        }
        Ok(())
    }
}

fn write_counts(text: &mut String, title: &str, counts: &BTreeMap<String, u64>) -> Result {
    if counts.is_empty() {
        return Ok(());
    }
    let words = |name: &str| name.replace('_', " ").replace(':', ": ");
    let list = counts.iter().map(|(name, count)| format!("{count} {}", words(name)));
    let list: Vec<_> = list.collect();
    writeln!(text, "* {title}: {}", plain(&list.join(", ")))
}

/// What is known of each kind and shape, candidate by candidate.
pub(crate) fn write_confidence(confidence: &Confidence, text: &mut String) -> Result {
    if confidence.iter().next().is_none() {
        return Ok(());
    }
    writeln!(text, "## How sure that is\n\n{CONFIDENCE}\n")?;
    for (name, Classes { kinds, shapes }) in confidence.iter() {
        let mut table = Table::new([
            &format!("candidate {name}: transactions"),
            "exercised blocks",
            "transactions",
            "divergence below",
        ]);
        let mut row = |what: &dyn Display, class: &Class| {
            table.row([
                what.to_string(),
                class.blocks.to_string(),
                class.transactions.to_string(),
                bound(class),
            ]);
        };
        kinds.iter().for_each(|(kind, class)| row(&format!("of kind {kind}"), class));
        shapes.iter().for_each(|(shape, class)| row(&shape.means(), class));
        writeln!(text, "{table}")?;
    }
    Ok(())
}

/// What can be said of the rate of divergence.
fn bound(class: &Class) -> String {
    match class.divergence_below {
        Some(rate) => rate_in_percent(rate),
        None if class.mismatch_blocks > 0 => "differs".to_owned(),
        None if class.transactions == 0 => "never seen".to_owned(),
        None => "unknown".to_owned(),
    }
}

/// How much faster each candidate is, by size and conflict rate.
pub(crate) fn write_speed_ups(speed_ups: &SpeedUps, text: &mut String) -> Result {
    if speed_ups.candidates().next().is_none() {
        return Ok(());
    }
    writeln!(text, "## How fast that was\n\n{SPEED_UP}\n")?;
    for name in speed_ups.candidates() {
        let all = speed_ups.in_all(name);
        let times =
            |times: Option<f64>| times.map_or("-".to_owned(), |times| format!("{times:.2}x"));
        let head = format!("candidate {name}: {} in all; transactions", times(all.speed_up()));
        let rates = CONFLICT_RATES.iter().map(|rate| format!("{rate} conflict"));
        let mut table = Table::new(std::iter::once(head).chain(rates));
        for size in SIZES {
            let cells = CONFLICT_RATES.iter().map(|rate| match speed_ups.of(name, size, rate) {
                Some(spent) => {
                    let blocks = counted(spent.blocks, "block");
                    format!("{} ({blocks})", times(spent.speed_up()))
                }
                None => "-".to_owned(),
            });
            table.row(std::iter::once((*size).to_owned()).chain(cells));
        }
        writeln!(text, "{table}")?;
    }
    Ok(())
}

const INTRODUCTION: &str = "Every block was executed twice from the same state, serially, which is the \
    *control*, and in parallel by a *candidate*, which is on trial; what both wrote was compared.";

const EXERCISED: &str = "A block is *exercised* if at least two workers each executed a transaction of the \
    same batch. Blocks with fewer transactions agree too, and prove nothing, so they are not called a match.";

const CONFIDENCE: &str = "*Divergence below* is the rule of three: after n transactions without a \
    difference the rate at which such transactions go wrong is below 3/n, with a confidence of 95 %, *if* \
    they are representative of what comes and independent of each other. A class in which anything \
    differs has no such number, and neither has one that was never seen.";

const SPEED_UP: &str = "Time of the control divided by time of the candidate, on this machine, under this \
    load: above 1 the candidate is faster. By the transactions of a block, and by the share of them that meet \
    others in an account.";

/// How many problems are shown.
const PROBLEMS_MAX: usize = 20;
