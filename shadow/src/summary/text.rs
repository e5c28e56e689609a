//! The summary for people.

use std::{collections::BTreeMap, fmt::Write};

use super::{Canaries, Summary};
use crate::{
    execute::parallel::ParallelExecutor,
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
        let node = match counts_of(NODE).exercised() {
            0 => ", no node was compared".to_owned(),
            blocks => format!(", the node was compared in {blocks} blocks"),
        };
        // What is said of all of them holds for each.
        let executors = self.candidates.iter().filter(|(name, _)| *name != NODE);
        let exercised = executors.clone().map(|(name, _)| self.exercised(name)).min();
        let names: Vec<_> = executors
            .map(|(name, _)| match name.as_str() {
                ParallelExecutor::NAME => format!("{name} is Shadow's own engine"),
                _ => format!("candidate {name}"),
            })
            .collect();
        let names = if names.is_empty() { "no candidate".to_owned() } else { names.join(", ") };
        let accepted = match self.accepted.mismatches {
            0 => String::new(),
            count => format!(", {count} accepted"),
        };
        writeln!(
            text,
            "{} of {} blocks exercised, {} {}{accepted} ({}; {names}{node})",
            exercised.unwrap_or_default(),
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
                 never asked",
                node.compared, node.differ, node.taken, node.not_asked
            )?;
        }
        for sentence in self.accepted() {
            writeln!(text, "accepted      {sentence}")?;
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
        if self.schedule_dependent_blocks > 0 {
            writeln!(
                text,
                "schedules     in {} blocks the result depends on the schedule",
                self.schedule_dependent_blocks
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
        }
        for gap in self.missing() {
            writeln!(text, "\n{gap}")?;
        }
        if self.interrupted {
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

impl FirstMismatch {
    /// The mismatch in one sentence.
    pub(crate) fn sentence(&self) -> String {
        let mut text = format!(
            "candidate {}, topoheight {}, block {}: {}",
            self.candidate, self.topoheight, self.block_hash, self.field
        );
        if let Some(account) = &self.account {
            let _ = write!(text, " of {account}");
        }
        if let Some(asset) = &self.asset {
            let _ = write!(text, " in {asset}");
        }
        let _ = write!(text, " is {}, the control says {}", self.observed, self.control);
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
