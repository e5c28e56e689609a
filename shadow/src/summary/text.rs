//! The summary for people.

use std::{collections::BTreeMap, fmt::Write};

use comparator::Side;

use super::{Again, Canaries, Summary};
use crate::{
    execute::{parallel::ParallelExecutor, sharded::ShardedExecutor},
    judge::NODE,
    ledger::{FirstMismatch, ReOrderCounts},
    node::NodeCounts,
};

impl Summary {
    /// The summary for people: the first line is the answer.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let counts_of = |name| self.candidates.get(name).copied().unwrap_or_default();
        let node = match counts_of(NODE).exercised {
            0 => ", no node was compared".to_owned(),
            blocks => format!(", the node was compared in {blocks} blocks"),
        };
        // What is said of all of them holds for each.
        let executors = self.candidates.iter().filter(|(name, _)| *name != NODE);
        let has_executors = executors.clone().next().is_some();
        let exercised = executors.clone().map(|(_, counts)| counts.exercised).min();
        let names: Vec<_> = executors
            .map(|(name, _)| match name.as_str() {
                ParallelExecutor::NAME | ShardedExecutor::NAME => {
                    format!("{name} is Shadow's own engine")
                }
                _ => format!("candidate {name}"),
            })
            .collect();
        let names =
            if has_executors { names.join(", ") } else { "no candidate was executed".to_owned() };
        let accepted = match self.accepted.mismatches {
            0 => String::new(),
            count => format!(", {count} accepted"),
        };
        writeln!(
            text,
            "{} of {} blocks exercised, {} {}{accepted} ({}; {names}{node})",
            exercised.unwrap_or_else(|| counts_of(NODE).exercised),
            self.blocks.total,
            self.mismatches.total,
            if self.mismatches.total == 1 { "mismatch" } else { "mismatches" },
            self.verdict.words(),
        )?;
        writeln!(text)?;
        let blocks = &self.blocks;
        writeln!(
            text,
            "blocks        {} match, {} mismatch, {} inconclusive, {} not exercised, {} opaque",
            blocks.matching,
            blocks.mismatch,
            blocks.inconclusive,
            blocks.not_exercised,
            blocks.opaque
        )?;
        let transactions = &self.transactions;
        writeln!(
            text,
            "transactions  {} executed, {} skipped, {} failed, {} in opaque blocks",
            transactions.executed, transactions.skipped, transactions.failed, transactions.opaque
        )?;
        for (name, counts) in &self.candidates {
            writeln!(
                text,
                "candidate     {name}: {} match, {} mismatch, {} not exercised",
                counts.matching, counts.mismatch, counts.not_exercised
            )?;
        }
        if self.node_check != NodeCounts::default() {
            let node = &self.node_check;
            writeln!(
                text,
                "node answers  {} compared, {} differ, {} taken for blocks not executed here, {} \
                 never asked or without anything to compare with",
                node.compared, node.differ, node.taken, node.not_asked
            )?;
        }
        for sentence in self.accepted() {
            writeln!(text, "accepted      {sentence}")?;
        }
        if self.node_check.early > 0 || self.node_check.again > 0 {
            let node = &self.node_check;
            writeln!(
                text,
                "asked again   {} of {} answers that were given before their block was stable; {} differ only then",
                node.again, node.early, node.differ_again
            )?;
        }
        if let Some(traffic) = &self.traffic {
            writeln!(
                text,
                "node traffic  {:.1} requests and {:.0} bytes per block, {} requests, {} of them failed, \
                 at most {} in flight",
                traffic.requests_per_block,
                traffic.bytes_per_block,
                traffic.counts.requests,
                traffic.counts.failed_requests,
                traffic.counts.in_flight_max
            )?;
        }
        if let Some(told) = &self.on_mismatch {
            writeln!(
                text,
                "on mismatch   {} commands succeeded, {} failed, {} took too long, {} were left out, {} problems \
                 wait for the next run",
                told.succeeded, told.failed, told.timed_out, told.left_out, told.waiting
            )?;
        }
        self.write_counts(text, "because", &self.reasons)?;
        if self.conservation_unchecked_blocks > 0 {
            writeln!(
                text,
                "unchecked     conservation of assets that failed transactions lost, in {} blocks",
                self.conservation_unchecked_blocks
            )?;
        }
        let ReOrderCounts { count, deepest, blocks } = self.re_orders;
        if blocks > 0 {
            writeln!(
                text,
                "re-orders     {count}, of up to {deepest} blocks; {blocks} blocks ordered away, with \
                 {} mismatches",
                self.stale_mismatches
            )?;
        }
        if self.again.blocks > 0 {
            let Again { blocks, differ } = self.again;
            writeln!(
                text,
                "control       executed again in {blocks} blocks, in {differ} with another result"
            )?;
        }
        if self.runs > 0 {
            writeln!(
                text,
                "schedules     {} runs; in {} blocks the result depends on the schedule",
                self.runs, self.schedule_dependent_blocks
            )?;
        }
        if self.canaries.planted > 0 {
            let Canaries { planted, caught } = self.canaries;
            writeln!(text, "canaries      {planted} planted, {caught} caught")?;
        }
        self.write_counts(text, "quirks", &self.quirks)?;
        writeln!(
            text,
            "parallelism   up to {} workers, {} batches, at most {} in flight",
            self.exercise.workers, self.exercise.batches, self.exercise.max_in_flight
        )?;
        writeln!(
            text,
            "state reads   {} by candidates, {} saved by their caches",
            self.loads.requested, self.loads.from_cache
        )?;
        let seconds = &self.seconds;
        writeln!(
            text,
            "seconds       {:.2} elapsed: {:.2} serial, {:.2} parallel, {:.2} compare, {:.2} commit",
            seconds.elapsed,
            seconds.steps.serial,
            seconds.steps.parallel,
            seconds.steps.compare,
            seconds.steps.commit
        )?;
        if let Some(digest) = &self.state_digest {
            writeln!(text, "state digest  {digest}")?;
        }
        writeln!(
            text,
            "compared      {}; not compared: {}",
            words(self.compared.iter().map(|field| field.as_str())),
            words(self.not_compared.iter().map(|what| what.as_str()))
        )?;
        if let Some(first) = &self.mismatches.first {
            writeln!(text, "\nfirst mismatch: {}", first.sentence())?;
        } else if let Some(first) = &self.stale_first {
            writeln!(
                text,
                "\nfirst mismatch, in a block that has since been ordered away: {}",
                first.sentence()
            )?;
        }
        for gap in self.missing() {
            writeln!(text, "\n{gap}")?;
        }
        if self.interrupted {
            if let Some(because) = &self.interrupted_because {
                writeln!(text, "\n{because}")?;
            }
            writeln!(text, "\ninterrupted; the same --state-dir goes on from here")?;
        }
        if let Some(error) = &self.error {
            writeln!(text, "\nended early: {error}")?;
        }
        Ok(())
    }

    fn write_counts(
        &self,
        text: &mut String,
        title: &str,
        counts: &BTreeMap<String, u64>,
    ) -> std::fmt::Result {
        if counts.is_empty() {
            return Ok(());
        }
        let list: Vec<_> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        writeln!(text, "{title:<14}{}", list.join(", "))
    }
}

pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

/// A text in which neither a line break nor a terminal sequence is left. What was escaped before
/// stays as it is.
fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => visible.push(char),
            _ => visible.extend(char.escape_debug()),
        }
    }
    visible
}

impl FirstMismatch {
    /// The mismatch in one sentence, on one line: what a candidate wrote may hold anything.
    pub(crate) fn sentence(&self) -> String {
        let Self { candidate, topoheight, block_hash, field, .. } = self;
        let mut text =
            format!("candidate {candidate}, topoheight {topoheight}, block {block_hash}: ");
        let (observed, control) = (self.observed.to_string(), self.control.to_string());
        let observed = visible(&observed);
        if matches!((&self.observed, &self.control), (Side::Text(_), Side::Absent)) {
            // It did something that the control never does, and says so.
            text += &observed;
        } else {
            let _ = write!(text, "{field}");
            if let Some(account) = &self.account {
                let _ = write!(text, " of {account}");
            }
            if let Some(asset) = &self.asset {
                let _ = write!(text, " in {asset}");
            }
            let _ = write!(text, " is {observed}, the control says {}", visible(&control));
        }
        if let Some(difference) = self.difference {
            let _ = write!(text, " ({difference:+})");
        }
        if let Some(transaction) = &self.transaction {
            let _ = write!(
                text,
                "; transaction #{} {} (by {})",
                transaction.index,
                transaction.hash,
                transaction.method.as_str()
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use comparator::{FailReason, Field, Outcome, Status};
    use storage_snapshot::{Amount, BlockHash, TopoHeight, TxHash};

    use super::*;

    /// postmortem: the reason of a failed transaction reached the terminal as the candidate wrote it.
    #[test]
    fn a_sentence_is_one_visible_line_whatever_the_candidate_wrote() {
        let reason = "no\u{1b}[2J\u{202e}\0\nERROR \"forged\" \\u{7}".to_owned();
        let outcome = Outcome {
            hash: TxHash::new([1; 32]),
            status: Status::Failed(FailReason::Other(reason)),
            fee: Amount::ZERO,
        };
        let mismatch = FirstMismatch {
            topoheight: TopoHeight::GENESIS,
            block_hash: BlockHash::new([2; 32]),
            candidate: "v3".to_owned(),
            field: Field::Outcome,
            account: None,
            asset: None,
            control: Side::Absent,
            observed: Side::Outcome(outcome),
            difference: None,
            transaction: None,
        };
        let sentence = mismatch.sentence();
        let shown = "no\\u{1b}[2J\\u{202e}\\0\\nERROR \"forged\" \\u{7}, fee 0";
        assert!(sentence.contains(shown), "{sentence}");
        assert!(!sentence.contains(char::is_control), "{sentence:?}");

        let hung = Side::Text("gave no answer within 2s".to_owned());
        let sentence = FirstMismatch { observed: hung, ..mismatch }.sentence();
        assert!(sentence.ends_with(": gave no answer within 2s"), "{sentence}");
    }
}
