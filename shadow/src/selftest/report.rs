//! What a self-test found, as a table and as JSON.

use std::{collections::BTreeMap, fmt};

use comparator::{Difference, Field, LocateMethod, LocatedTransaction, Schedule, Verdict};
use serde::Serialize;
use storage_snapshot::{BlockHash, TopoHeight, TxHash};

use super::Diagnosed;
use crate::{exit_code::ExitCode, faults::Mutant};

/// What a self-test found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What the chain was generated from.
    pub seed: u64,
    /// What it dwells on.
    pub profile: &'static str,
    /// How many blocks it has.
    pub blocks: u64,
    /// The mutants, in the order of the catalogue.
    pub mutants: Vec<MutantRow>,
    /// The executors that prove nothing.
    pub not_exercised: Vec<IdleRow>,
    /// What is right against what is right.
    pub controls: Vec<ControlRow>,
    /// Controls that break the rules.
    pub broken_controls: Vec<BrokenRow>,
    /// How long it took.
    pub seconds: f64,
}

/// What became of a mutant.
#[derive(Clone, Debug, Serialize)]
pub struct MutantRow {
    /// Its name.
    pub name: &'static str,
    /// Its number among the faults that were shipped.
    pub class: Option<&'static str>,
    /// What it does wrong.
    pub does: &'static str,
    /// By which fields it may be caught.
    pub expected: &'static [Field],
    /// Whether a difference was reported.
    pub caught: bool,
    /// The field of the first difference.
    pub field: Option<Field>,
    /// Where the first difference is, in words.
    pub place: Option<String>,
    /// Where the block was.
    pub topoheight: Option<TopoHeight>,
    /// Which block it was.
    pub block_hash: Option<BlockHash>,
    /// The transaction that the first difference was traced to.
    pub transaction: Option<Traced>,
    /// Under which schedule it showed.
    pub schedule: Option<Schedule>,
    /// How many differences the block had.
    pub differences: u64,
    /// How many blocks it was let through, the last one included.
    pub blocks_needed: u64,
    /// Whether the first difference is of an expected field.
    pub field_is_right: bool,
    /// Whether the first difference is the one that the mutant itself would have reported, traced to
    /// a transaction that it altered.
    pub first_is_right: bool,
    /// How many runs were altered and not reported.
    pub overlooked: u64,
    /// How far it was minimised and what was said of it, if that was asked for.
    #[serde(flatten)]
    pub diagnosis: Option<Diagnosed>,
}

/// A transaction that a difference was traced to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Traced {
    /// Its index in the block.
    pub index: usize,
    /// Its hash.
    pub hash: TxHash,
    /// How it was found.
    pub method: LocateMethod,
}

impl From<LocatedTransaction> for Traced {
    fn from(LocatedTransaction { index, hash, method }: LocatedTransaction) -> Self {
        Self { index, hash, method }
    }
}

/// What became of an executor that proves nothing.
#[derive(Clone, Debug, Serialize)]
pub struct IdleRow {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Why it has to come out as not exercised.
    pub reason: &'static str,
    /// How many blocks came out how; a block that was not exercised under the reason.
    pub verdicts: BTreeMap<String, u64>,
}

/// What is right against what is right.
#[derive(Clone, Debug, Serialize)]
pub struct ControlRow {
    /// What against what.
    pub name: &'static str,
    /// How many comparisons were made.
    pub comparisons: u64,
    /// How many of them were of work that was done in parallel.
    pub matches: u64,
    /// How many of them found a difference: each is one too many.
    pub differing: u64,
    /// The first difference, in words.
    pub first: Option<String>,
    /// Whether it says nothing unless some of them were.
    #[serde(skip)]
    has_to_be_at_work: bool,
}

/// Controls that were made to break a rule.
#[derive(Clone, Debug, Serialize)]
pub struct BrokenRow {
    /// What is wrong with them.
    pub name: &'static str,
    /// How many there were.
    pub altered: u64,
    /// How many of them came out as inconclusive, as all have to.
    pub inconclusive: u64,
}

impl Report {
    /// What is not as it has to be, in sentences.
    pub fn failures(&self) -> Vec<String> {
        let controls = self.controls.iter().filter_map(ControlRow::failure);
        let broken = self.broken_controls.iter().filter_map(BrokenRow::failure);
        let mutants = self.mutants.iter().filter_map(MutantRow::failure);
        let idle = self.not_exercised.iter().filter_map(IdleRow::failure);
        controls.chain(broken).chain(mutants).chain(idle).collect()
    }

    /// What never had a chance to show, in sentences. Nothing is known of the verifier there.
    pub fn gaps(&self) -> Vec<String> {
        let controls = self.controls.iter().filter_map(ControlRow::gap);
        let broken = self.broken_controls.iter().filter_map(BrokenRow::gap);
        let mutants = self.mutants.iter().filter_map(MutantRow::gap);
        let idle = self.not_exercised.iter().filter_map(IdleRow::gap);
        controls.chain(broken).chain(mutants).chain(idle).collect()
    }

    /// How the program ends.
    pub fn exit_code(&self) -> ExitCode {
        if !self.failures().is_empty() {
            ExitCode::Mismatch
        } else if !self.gaps().is_empty() {
            ExitCode::NotEnoughEvidence
        } else {
            ExitCode::Clean
        }
    }
}

impl MutantRow {
    pub(super) fn new(mutant: &Mutant) -> Self {
        Self {
            name: mutant.name,
            class: mutant.class,
            does: mutant.does,
            expected: mutant.fields,
            caught: false,
            field: None,
            place: None,
            topoheight: None,
            block_hash: None,
            transaction: None,
            schedule: None,
            differences: 0,
            blocks_needed: 0,
            field_is_right: false,
            first_is_right: false,
            overlooked: 0,
            diagnosis: None,
        }
    }

    /// It was never seen to alter anything, so there was nothing to be caught.
    fn gap(&self) -> Option<String> {
        let (name, blocks, does) = (self.name, self.blocks_needed, self.does);
        (!self.caught && self.overlooked == 0)
            .then(|| format!("{name} had nothing to alter in {blocks} blocks: {does}"))
    }

    fn failure(&self) -> Option<String> {
        let (name, does) = (self.name, self.does);
        if self.overlooked > 0 {
            return Some(format!(
                "{name} altered {} results that were not reported: {does}",
                self.overlooked
            ));
        }
        let field = self.field.filter(|_| self.caught)?;
        if !self.field_is_right {
            return Some(format!(
                "{name} was caught by the field {field}, which is another: {does}"
            ));
        }
        let place = self.place.as_deref().unwrap_or("nowhere");
        if !self.first_is_right {
            return Some(format!("{name} was caught, but {place} is not where it began: {does}"));
        }
        let failure = self.diagnosis.as_ref().and_then(Diagnosed::failure);
        failure.map(|failure| format!("{name} {failure}: {does}"))
    }
}

impl IdleRow {
    /// Blocks with fewer than two executed transactions prove nothing for another reason.
    fn failure(&self) -> Option<String> {
        let others = self.verdicts.keys().filter(|word| **word != self.reason);
        let wrong = others.filter(|word| !["empty", "one_transaction"].contains(&word.as_str()));
        let (name, reason) = (self.name, self.reason);
        let word = wrong.into_iter().next()?;
        Some(format!("{name} came out as {word} instead of not exercised ({reason})"))
    }

    fn gap(&self) -> Option<String> {
        let (name, reason) = (self.name, self.reason);
        (!self.verdicts.contains_key(reason))
            .then(|| format!("{name} never came out as not exercised ({reason})"))
    }
}

impl ControlRow {
    pub(super) const fn new(name: &'static str) -> Self {
        let first = None;
        Self { name, comparisons: 0, matches: 0, differing: 0, first, has_to_be_at_work: false }
    }

    /// One that says nothing unless something was done in parallel.
    pub(super) fn of_work(name: &'static str) -> Self {
        Self { has_to_be_at_work: true, ..Self::new(name) }
    }

    pub(super) fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Mismatch(mismatch) => self.count(mismatch.first()),
            Verdict::Match => {
                self.matches += 1;
                self.count(None);
            }
            _ => self.count(None),
        }
    }

    pub(super) fn count(&mut self, difference: Option<&Difference>) {
        self.comparisons += 1;
        if let Some(difference) = difference {
            self.differing += 1;
            self.first.get_or_insert_with(|| difference.place());
        }
    }

    fn gap(&self) -> Option<String> {
        let Self { name, comparisons, .. } = self;
        (self.has_to_be_at_work && self.matches == 0)
            .then(|| format!("nothing was done in parallel in {comparisons} comparisons of {name}"))
    }

    fn failure(&self) -> Option<String> {
        (self.differing > 0).then(|| {
            format!(
                "the verifier is noisy: {} differs in {} of {} comparisons, first in {}",
                self.name,
                self.differing,
                self.comparisons,
                self.first.as_deref().unwrap_or("an unknown place")
            )
        })
    }
}

impl BrokenRow {
    fn failure(&self) -> Option<String> {
        let Self { name, altered, inconclusive } = self;
        (inconclusive < altered).then(|| {
            format!("of {altered} controls in which {name} only {inconclusive} were noticed")
        })
    }

    fn gap(&self) -> Option<String> {
        let name = self.name;
        (self.altered == 0).then(|| format!("there was no control in which {name}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, profile, blocks, .. } = self;
        writeln!(f, "{blocks} blocks of a generated chain (profile {profile}, seed {seed})\n")?;
        writeln!(f, "{:<32} {:>11} {:>8} {:>9}", "control", "comparisons", "matches", "differing")?;
        for row in &self.controls {
            let ControlRow { name, comparisons, matches, differing, .. } = row;
            writeln!(f, "{name:<32} {comparisons:>11} {matches:>8} {differing:>9}")?;
        }
        writeln!(f, "\n{:<32} {:>11} {:>12}", "broken control", "altered", "inconclusive")?;
        for BrokenRow { name, altered, inconclusive } in &self.broken_controls {
            writeln!(f, "{name:<32} {altered:>11} {inconclusive:>12}")?;
        }
        writeln!(
            f,
            "\n{:<32} {:<5} {:<6} {:<12} {:>6} {:>6}  {:<15} {:<20} first",
            "mutant", "class", "caught", "field", "blocks", "height", "transaction", "schedule"
        )?;
        for row in &self.mutants {
            row.fmt(f)?;
        }
        if self.mutants.iter().any(|row| row.diagnosis.is_some()) {
            writeln!(
                f,
                "\n{:<32} {:>6} {:>3} {:>5} {:>7}  {:<9} diagnosis",
                "mutant", "repro", "of", "left", "seconds", "diagnosed"
            )?;
            for row in &self.mutants {
                if let Some(diagnosed) = &row.diagnosis {
                    writeln!(f, "{:<32} {diagnosed}", row.name)?;
                }
            }
        }
        writeln!(f, "\n{:<32} {:<16} blocks", "not exercised", "reason")?;
        for IdleRow { name, reason, verdicts, .. } in &self.not_exercised {
            let counts = verdicts.iter().map(|(word, count)| format!("{count} {word}"));
            let counts = counts.collect::<Vec<_>>().join(", ");
            writeln!(f, "{name:<32} {reason:<16} {counts}")?;
        }
        let (failures, gaps) = (self.failures(), self.gaps());
        writeln!(f)?;
        for sentence in failures.iter().chain(&gaps) {
            writeln!(f, "{sentence}")?;
        }
        let caught =
            self.mutants.iter().filter(|row| row.caught && row.failure().is_none()).count();
        let verdict = match self.exit_code() {
            ExitCode::Clean => "clean",
            ExitCode::NotEnoughEvidence => "not enough evidence; give it more --blocks",
            _ => "the verifier cannot be trusted",
        };
        writeln!(
            f,
            "{caught} of {} mutants caught as they have to be ({verdict})",
            self.mutants.len()
        )
    }
}

impl fmt::Display for MutantRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caught = if self.caught { "yes" } else { "NO" };
        let field = self.field.map_or("-", Field::as_str);
        let height = self.topoheight.map_or("-".to_owned(), |height| height.to_string());
        let transaction = match &self.transaction {
            Some(traced) => format!("{} {:.8}", traced.index, traced.hash),
            None => "-".to_owned(),
        };
        let schedule = self.schedule.map_or("-".to_owned(), |schedule| schedule.to_string());
        let first = if self.first_is_right && self.field_is_right { "right" } else { "WRONG" };
        let (name, class, blocks) = (self.name, self.class.unwrap_or("-"), self.blocks_needed);
        writeln!(
            f,
            "{name:<32} {class:<5} {caught:<6} {field:<12} {blocks:>6} {height:>6}  \
             {transaction:<15} {schedule:<20} {first}"
        )
    }
}
