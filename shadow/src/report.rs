//! The report on a state directory: what was compared, under which conditions, what that is worth, and
//! whether it is enough.

mod json;
mod text;

use storage_snapshot::{Store, TopoHeight};

use crate::{
    accept::Acceptances,
    coverage::Coverage,
    exit_code::ExitCode,
    ledger::{LedgerEntry, LedgerError, entries},
    requirements::Requirements,
    summary::{RunVerdict, Summary},
};

/// What a ledger is worth.
#[derive(Clone, Debug)]
pub struct Report {
    summary: Summary,
    coverage: Coverage,
    /// What has to be met, if somebody asked.
    requirements: Option<Requirements>,
    /// Blocks of the chain that nothing is known about, a sentence each.
    holes: Vec<String>,
    /// What differs, a sentence each.
    differs: Vec<String>,
    /// What is missing, a sentence each.
    missing: Vec<String>,
    verdict: RunVerdict,
}

impl Report {
    /// Reads the ledger of a store, in which nothing is accepted.
    ///
    /// # Errors
    ///
    /// As [`read_accepting`](Self::read_accepting).
    pub fn read(store: &Store, requirements: Option<Requirements>) -> Result<Self, LedgerError> {
        Self::read_accepting(store, requirements, &Acceptances::default())
    }

    /// Reads the ledger of a store, and counts apart what is accepted.
    ///
    /// Without requirements the answer is that of all runs on the store together. With them it is about
    /// the configuration of each candidate that is under test, which is the one of its last verdict.
    ///
    /// # Errors
    ///
    /// When an entry cannot be read.
    pub fn read_accepting(
        store: &Store,
        requirements: Option<Requirements>,
        acceptances: &Acceptances,
    ) -> Result<Self, LedgerError> {
        Self::of(entries(store, TopoHeight::GENESIS), store, requirements, acceptances)
    }

    /// The same of these entries, which are those of the store's ledger in its order.
    pub(crate) fn of(
        entries: impl Iterator<Item = Result<LedgerEntry, LedgerError>>,
        store: &Store,
        requirements: Option<Requirements>,
        acceptances: &Acceptances,
    ) -> Result<Self, LedgerError> {
        let mut summary = Summary::new([]).accepting(acceptances.clone());
        let mut coverage = Coverage::default().accepting(acceptances.clone());
        for entry in entries {
            let entry = entry?;
            summary.add(&entry);
            coverage.add(&entry);
        }
        let tip = store.tip();
        let summary = summary.ask_for_all().finish(tip.map(|tip| tip.digest), 0.0, None);
        let holes = holes(&coverage, tip.map(|tip| tip.block.topoheight));
        Ok(Self::concluded(summary, coverage, requirements, holes))
    }

    /// The report on the same entries under other requirements.
    #[must_use]
    pub fn under(&self, requirements: Option<Requirements>) -> Self {
        let Self { summary, coverage, holes, .. } = self.clone();
        Self::concluded(summary, coverage, requirements, holes)
    }

    fn concluded(
        summary: Summary,
        coverage: Coverage,
        requirements: Option<Requirements>,
        holes: Vec<String>,
    ) -> Self {
        let mut missing = holes.clone();
        let differs = match &requirements {
            None => {
                missing.extend(summary.missing());
                summary.differs()
            }
            Some(requirements) => {
                missing.extend(requirements.missing(&coverage));
                missing.extend(summary.doubts());
                differences(&coverage)
            }
        };
        let verdict = if !differs.is_empty() {
            RunVerdict::Mismatch
        } else if missing.is_empty() {
            RunVerdict::Clean
        } else {
            RunVerdict::NotEnoughEvidence
        };
        Self { summary, coverage, requirements, holes, differs, missing, verdict }
    }

    /// What the ledger covers.
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// What differs, a sentence each.
    pub fn differs(&self) -> &[String] {
        &self.differs
    }

    /// What is missing, a sentence each.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The answer.
    pub const fn verdict(&self) -> RunVerdict {
        self.verdict
    }

    /// The exit code that the answer leads to.
    pub const fn exit_code(&self) -> ExitCode {
        self.verdict.exit_code()
    }

    /// The report as one JSON object.
    ///
    /// # Errors
    ///
    /// Never for a report that was made here; the encoder's signature allows it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&json::ReportJson::from(self))
    }

    /// The report for people: the first line is the answer.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::write(self, &mut text);
        text
    }
}

/// Blocks of the chain that nothing is known about.
fn holes(coverage: &Coverage, tip: Option<TopoHeight>) -> Vec<String> {
    let mut holes = Vec::new();
    let last = coverage.standing().iter().next_back().map(|(_, last)| last);
    if !coverage.missing.is_empty() {
        holes.push(format!("the ledger has no entry for topoheights {}", coverage.missing));
    }
    let judged = last.map_or(0, |last| last.as_u64() + 1);
    let unjudged = tip.map_or(0, |tip| (tip.as_u64() + 1).saturating_sub(judged));
    if unjudged > 0 {
        holes.push(format!(
            "{unjudged} blocks from topoheight {judged} on have no verdict yet: the same command on \
             this --state-dir judges them"
        ));
    }
    holes
}

/// What speaks against the configurations under test.
fn differences(coverage: &Coverage) -> Vec<String> {
    let mut sentences = Vec::new();
    for (name, candidate) in &coverage.candidates {
        let evidence = &candidate.evidence;
        let blocks = evidence.blocks.mismatch.saturating_sub(evidence.accepted);
        if blocks > 0 {
            sentences.push(format!(
                "candidate {name}: {} mismatches in {blocks} blocks since topoheight {}{}",
                evidence.mismatches(),
                evidence.since,
                match evidence.accepted {
                    0 => String::new(),
                    accepted => format!(", and {accepted} blocks with accepted ones"),
                }
            ));
        }
        // Agreements after it do not make a difference undone.
        let earlier = candidate.earlier.get(&evidence.configuration);
        if let Some(earlier) = earlier.filter(|earlier| earlier.mismatches > 0) {
            sentences.push(format!(
                "candidate {name}: {} mismatches in {} blocks from topoheight {} through {}, of the same build, \
                 before another one was under test",
                earlier.mismatches,
                earlier.blocks.mismatch.saturating_sub(earlier.accepted),
                earlier.since,
                earlier.through
            ));
        }
    }
    sentences.extend(stale_difference(coverage.stale_mismatches));
    sentences
}

/// Which build a block that was replaced was judged with is not kept, so its mismatches count against
/// all of them.
pub(crate) fn stale_difference(mismatches: u64) -> Option<String> {
    (mismatches > 0).then(|| {
        format!(
            "{mismatches} mismatches in blocks that have since been ordered away; they count against \
             every build, another --state-dir begins anew"
        )
    })
}
