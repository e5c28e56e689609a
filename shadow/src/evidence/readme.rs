//! The page that an evidence directory explains itself with.

use std::fmt::Write;

use comparator::{ExplainLimits, explain};

use super::{Evidence, Observed};
use crate::diagnosis::Diagnosis;
use crate::repro::as_argument;

impl Evidence {
    /// What happened, in words, and how to run it again.
    pub(super) fn readme(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_readme(&mut text);
        text
    }

    fn write_readme(&self, text: &mut String) -> std::fmt::Result {
        let subject = &self.record.subject;
        writeln!(text, "# A mismatch\n")?;
        writeln!(
            text,
            "Block {} at topoheight {} was executed twice from the same state: serially, which is the\n\
             control, and by candidate `{}`, which came to something else. This directory was written\n\
             right then, from that very run.\n",
            subject.block.hash,
            subject.block.topoheight,
            code(&subject.candidate),
        )?;
        // A text that a candidate wrote is escaped there, and an indented block cannot be left.
        for line in explain(&self.record, &LIMITS).lines() {
            writeln!(text, "    {line}")?;
        }
        let transactions = self.block.transactions.len();
        writeln!(
            text,
            "\nThe block has {transactions} transactions. The problem is known as `{}`: {}.\n",
            self.fingerprint.id(),
            self.fingerprint
        )?;
        self.write_cause(text)?;
        self.write_command(text)?;
        writeln!(
            text,
            "\n## Files\n\n\
             * `block.json`, `pre_state.json`: the block, and every value that it was executed on; what\n  \
               is not listed did not exist.\n\
             * `control.json`, `candidate.json`: what both did, in full, or how the candidate failed.\n\
             * `record.json`: how they differ.\n\
             * `log.txt`: the end of what the candidate wrote to its own log.\n\
             * `evidence.json`: what all of this is about, and what every file was when it was written.\n  \
               An altered directory is refused.\n\n\
             Added later, if at all: `triage.json`, what running it again showed.\n"
        )?;
        if self.can_be_run() {
            writeln!(
                text,
                "## As a test\n\n\
                 Copied into the tests of an executor, the directory is one:\n\n    \
                 let evidence = shadow::evidence::Evidence::read(directory.as_ref())?;\n    \
                 evidence.holds(&executor)?;"
            )?;
        }
        Ok(())
    }

    /// What the numbers of the block tell about the cause, if anything.
    fn write_cause(&self, text: &mut String) -> std::fmt::Result {
        let sentences = Diagnosis::of_evidence(self).map(|diagnosis| diagnosis.sentences());
        let Some(sentences) = sentences.filter(|sentences| !sentences.is_empty()) else {
            return Ok(());
        };
        writeln!(text, "## Cause\n\nBy the numbers of the block alone:\n")?;
        for sentence in sentences {
            writeln!(text, "    {sentence}")?;
        }
        writeln!(text)
    }

    fn write_command(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "## Run it again\n")?;
        if !self.can_be_run() {
            return writeln!(
                text,
                "A node executed this block once, when it took it in, and cannot be asked to do it again.\n\
                 What is kept are the control and the answers that differ, in `record.json`. The control\n\
                 can be executed again, and any other candidate put in the node's place:\n\n    \
                 shadow repro . --candidate v3"
            );
        }
        let command = self.repro_command();
        writeln!(text, "In this directory, on any machine:\n\n    {command}\n")?;
        writeln!(
            text,
            "It runs the candidate on the block under the schedule of that run ({}), and says in how\n\
             many runs it differs. `--times`, `--workers` and `--seed` change that.",
            self.schedule()
        )?;
        match &self.candidate_spec {
            Some(spec) if spec.starts_with("external:") => writeln!(
                text,
                "\nThe candidate is a program of somebody's own, so its command has to be given."
            ),
            Some(_) => Ok(()),
            None => writeln!(
                text,
                "\nThe candidate was part of the program that wrote this, and has no name on the command\n\
                 line. There it can be run as a test, see below."
            ),
        }
    }

    /// The command that runs it again, in its own directory.
    pub fn repro_command(&self) -> String {
        match &self.candidate_spec {
            Some(spec) if spec.starts_with("external:") => {
                format!("shadow repro . --candidate {}", as_argument(spec))
            }
            Some(_) => "shadow repro .".to_owned(),
            None => "shadow repro . --candidate …".to_owned(),
        }
    }

    /// The command that runs it again in its directory, unless the candidate is a node.
    pub(crate) fn command_again(&self) -> Option<String> {
        self.can_be_run().then(|| self.repro_command())
    }

    const fn can_be_run(&self) -> bool {
        !matches!(self.observed, Observed::Answers(_))
    }
}

/// A name between backticks.
fn code(name: &str) -> String {
    name.chars().map(|char| if char.is_control() || char == '`' { '-' } else { char }).collect()
}

const LIMITS: ExplainLimits = ExplainLimits { lines: 60, line_bytes: 300, deadline: None };
