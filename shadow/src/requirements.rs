//! Requirements: how much has to have been exercised before an agreement is taken for an answer.
//!
//! Everything that is missing is told in a sentence of its own, so that whoever is refused knows what
//! to run next.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{
    coverage::{CandidateCoverage, Coverage, Evidence},
    gaps,
    kinds::TransactionKind,
    shapes::Shape,
    summary::words,
};

/// How much has to have been exercised, for each candidate.
///
/// As text: `exercised=1000,per-shape=200,per-kind=1000,workers=4,shape:multisig_signed=50`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Blocks.
    pub exercised: u64,
    /// Transactions that take part in a shape, for every shape that is not named itself and that the
    /// chain accepts.
    pub per_shape: u64,
    /// Executed transactions of a kind, for every kind that is executed here and not named itself.
    pub per_kind: u64,
    /// Only what was exercised under at least so many workers counts.
    pub workers: u32,
    /// For single shapes.
    pub shapes: BTreeMap<Shape, u64>,
    /// For single kinds.
    pub kinds: BTreeMap<TransactionKind, u64>,
}

impl Requirements {
    /// What is missing, a sentence each; empty if everything is met. A ledger in which a candidate has
    /// nothing exercised, or that has no candidate, meets nothing, whatever is required.
    pub fn missing(&self, coverage: &Coverage) -> Vec<String> {
        let mut missing = Vec::new();
        if coverage.candidates.is_empty() {
            missing.push(gaps::nobody());
        }
        for (name, candidate) in &coverage.candidates {
            let sentences = self.missing_of(candidate);
            missing.extend(sentences.into_iter().map(|what| format!("candidate {name}: {what}")));
        }
        missing
    }

    fn missing_of(&self, candidate: &CandidateCoverage) -> Vec<String> {
        let evidence = &candidate.evidence;
        let mut missing = doubts(evidence);
        let exercised = evidence.exercised_under(self.workers);
        let under = match self.workers {
            0 => String::new(),
            workers => format!(" under at least {workers} workers"),
        };
        let mut require = |found: u64, required: u64, what: &dyn fmt::Display| {
            if found < required {
                missing.push(format!("{found} of {required} {what} exercised{under}"));
            }
        };
        require(exercised.blocks, self.exercised.max(1), &"blocks");
        for kind in TransactionKind::EXECUTED {
            let required = self.kinds.get(&kind).copied().unwrap_or(self.per_kind);
            let what = format!("executed transactions of kind {kind}");
            require(exercised.of_kind(kind), required, &what);
        }
        for shape in Shape::ALL {
            let of_each = if shape.is_accepted() { self.per_shape } else { 0 };
            let required = self.shapes.get(shape).copied().unwrap_or(of_each);
            let what = format!("transactions of shape {shape} ({})", shape.means());
            require(exercised.of_shape(*shape), required, &what);
        }
        missing
    }
}

/// Blocks since the first that counts that might have differed, for all that is known.
fn doubts(evidence: &Evidence) -> Vec<String> {
    let since = evidence.since;
    let mut doubts = Vec::new();
    if evidence.blocks.inconclusive > 0 {
        let blocks = evidence.blocks.inconclusive;
        doubts.push(format!("{blocks} blocks since topoheight {since} are inconclusive"));
    }
    if evidence.without_verdict > 0 {
        let blocks = evidence.without_verdict;
        doubts.push(format!("{blocks} blocks since topoheight {since} have no verdict"));
    }
    if evidence.suspended > 0 {
        doubts.push(gaps::left_alone(evidence.suspended));
    }
    doubts
}

impl FromStr for Requirements {
    type Err = RequirementError;

    fn from_str(text: &str) -> Result<Self, RequirementError> {
        let mut requirements = Self::default();
        let mut seen = Vec::new();
        for part in text.split(',').map(str::trim) {
            let error = |problem| RequirementError { part: part.to_owned(), problem };
            let (name, number) = part.split_once('=').ok_or_else(|| error(Problem::Form))?;
            if seen.contains(&name) {
                return Err(error(Problem::Twice));
            }
            seen.push(name);
            let number: u64 = number.parse().map_err(|_| error(Problem::Number))?;
            match name.split_once(':') {
                None => match name {
                    "exercised" => requirements.exercised = number,
                    "per-shape" => requirements.per_shape = number,
                    "per-kind" => requirements.per_kind = number,
                    "workers" => {
                        let workers = u32::try_from(number);
                        requirements.workers = workers.map_err(|_| error(Problem::Number))?;
                    }
                    _ => return Err(error(Problem::Name)),
                },
                Some(("shape", word)) => {
                    let shape = Shape::ALL.iter().find(|shape| shape.as_str() == word);
                    let shape = shape.ok_or_else(|| error(Problem::Shape))?;
                    requirements.shapes.insert(*shape, number);
                }
                Some(("kind", word)) => {
                    let mut kinds = TransactionKind::EXECUTED.into_iter();
                    let kind = kinds.find(|kind| kind.as_str() == word);
                    requirements.kinds.insert(kind.ok_or_else(|| error(Problem::Kind))?, number);
                }
                Some(_) => return Err(error(Problem::Name)),
            }
        }
        Ok(requirements)
    }
}

/// A requirement that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementError {
    /// The part of the list that is wrong.
    pub part: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It is no name with a number.
    Form,
    /// Nothing has that name.
    Name,
    /// There is no such shape.
    Shape,
    /// There is no such kind, or none that is executed here.
    Kind,
    /// The number is none, or too large.
    Number,
    /// Its name stands in the list before.
    Twice,
}

impl fmt::Display for RequirementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: ", self.part)?;
        match self.problem {
            Problem::Form => f.write_str("expected name=number, separated by commas"),
            Problem::Name => f.write_str(
                "unknown name; known are exercised, per-shape, per-kind, workers, shape:<shape> and \
                 kind:<kind>",
            ),
            Problem::Shape => {
                write!(f, "unknown shape; known are {}", words(Shape::ALL.iter().map(|s| s.as_str())))
            }
            Problem::Kind => {
                let kinds = TransactionKind::EXECUTED.iter().map(|kind| kind.as_str());
                write!(f, "unknown kind, or one that is not executed here; known are {}", words(kinds))
            }
            Problem::Number => f.write_str("expected a whole number after the equals sign"),
            Problem::Twice => f.write_str("required twice"),
        }
    }
}

impl std::error::Error for RequirementError {}
