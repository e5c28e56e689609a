//! A record as a text for people.
//!
//! First in words what was compared, then account by account what the control has and what the
//! candidate has, in the form of a diff because everybody can read one. The text is for reading
//! only: it is bounded, and whatever a candidate wrote is escaped, so that it can neither forge a
//! line nor reach the terminal. Programs read the record itself.

use std::{collections::BTreeMap, time::Instant};

use similar::TextDiff;
use storage_snapshot::{Address, AssetId, StateKey};

use crate::{
    Field, LocateMethod, LocatedTransaction, MismatchRecord, RecordedDifference, Side,
    text::{clip, escaped},
};

/// How much of a record is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExplainLimits {
    /// How many lines are shown.
    pub lines: usize,
    /// How many bytes are shown of each line.
    pub line_bytes: usize,
    /// Until when a shorter diff is looked for. It is right, if not the shortest, in any case.
    pub deadline: Option<Instant>,
}

impl Default for ExplainLimits {
    fn default() -> Self {
        Self { lines: 400, line_bytes: 400, deadline: None }
    }
}

/// The record as a text. Every line ends with a line break.
pub fn explain(record: &MismatchRecord, limits: &ExplainLimits) -> String {
    let mut page = Page { text: String::new(), lines: 0, limits };
    explain_subject(record, &mut page);

    let mut groups = BTreeMap::<Group, Vec<&RecordedDifference>>::new();
    for difference in &record.differences {
        groups.entry(Group::of(difference)).or_default().push(difference);
    }
    for (group, differences) in &groups {
        page.line("");
        page.line(&group.title());
        explain_group(differences, &mut page);
    }
    if record.omitted > 0 {
        page.line("");
        page.line(&format!("{} more differences were counted and not kept", record.omitted));
    }
    page.finish()
}

fn explain_subject(record: &MismatchRecord, page: &mut Page<'_>) {
    let subject = &record.subject;
    page.line(&format!(
        "candidate {} differs from the control in block {}: {}",
        subject.candidate,
        subject.block.topoheight,
        plural(record.total(), "difference")
    ));
    page.line(&format!("  block      {}", subject.block.hash));
    page.line(&format!("  schedule   {}", subject.schedule));
    page.line(&format!("  control    {}", subject.control_build));
    page.line(&format!("  candidate  {}", subject.candidate_build));
    let counts: Vec<_> =
        record.counts.iter().map(|(field, count)| format!("{field} {count}")).collect();
    page.line(&format!("  fields     {}", counts.join(", ")));
    if let Some(fingerprint) = &record.fingerprint {
        page.line(&format!("  problem    {fingerprint}"));
    }
    if let Some(evidence) = &record.evidence {
        page.line(&format!("  evidence   {evidence}"));
    }
    if let Some(first) = record.differences.first() {
        page.line(&format!(
            "  first      {}: {} instead of {}{}",
            first.place(),
            first.observed,
            first.control,
            signed(first)
        ));
    }
}

fn explain_group(differences: &[&RecordedDifference], page: &mut Page<'_>) {
    let mut control = String::new();
    let mut observed = String::new();
    for difference in differences {
        let write = |side: &Side, note: &str, lines: &mut String| {
            for line in state_lines(difference, side, note) {
                lines.push_str(&page.visible(&line));
                lines.push('\n');
            }
        };
        write(&difference.control, "", &mut control);
        write(&difference.observed, &signed(difference), &mut observed);
    }

    let mut config = TextDiff::configure();
    if let Some(deadline) = page.limits.deadline {
        config.deadline(deadline);
    }
    let diff = config.diff_lines(&control, &observed);
    for line in diff.unified_diff().header("control", "candidate").to_string().lines() {
        page.visible_line(line);
    }

    for difference in differences {
        if let Some(transaction) = &difference.transaction {
            let LocatedTransaction { index, hash, method } = transaction;
            page.line(&match method {
                LocateMethod::Outcome => format!("  {hash} is transaction {index} of the block"),
                LocateMethod::Prefix | LocateMethod::Touch => format!(
                    "  {} first differs in transaction {index} of the block, {hash} (found by {})",
                    label(difference),
                    method.as_str()
                ),
            });
        }
    }
}

/// What one side has, as lines: the signers of a configuration have a line each, so that the diff
/// shows which one differs.
fn state_lines(difference: &RecordedDifference, side: &Side, note: &str) -> Vec<String> {
    let label = label(difference);
    // A version is written with the value that was there before, so the value alone says nothing.
    let note = match (difference.field, side) {
        (Field::Version, Side::Absent) => "",
        (Field::Version, _) => " (written, equal to the value before)",
        (_, Side::None) => " (written)",
        _ => note,
    };
    match side {
        Side::Absent if difference.key.is_some() => vec![format!("{label}: not written")],
        Side::Multisig(config) => {
            let signers = config.participants.len();
            let head = format!("{label}: {} of {signers} signers{note}", config.threshold);
            let signers = config.participants.iter().map(|signer| format!("  signer {signer}"));
            std::iter::once(head).chain(signers).collect()
        }
        side => vec![format!("{label}: {side}{note}")],
    }
}

/// What a line is about, below the title of its group.
fn label(difference: &RecordedDifference) -> String {
    match (&difference.key, &difference.control, &difference.observed) {
        (Some(StateKey::Balance(_, asset)), ..) if *asset == AssetId::NATIVE => {
            "native balance".to_owned()
        }
        (Some(StateKey::Balance(_, asset)), ..) => format!("balance in {asset}"),
        (Some(key), ..) => Field::of(key).to_string(),
        (None, Side::Outcome(outcome), _) | (None, _, Side::Outcome(outcome)) => {
            outcome.hash.to_string()
        }
        (None, ..) => difference.field.to_string(),
    }
}

fn signed(difference: &RecordedDifference) -> String {
    match difference.amount() {
        Some(amount) => format!(" ({amount:+})"),
        None => String::new(),
    }
}

fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What is shown together, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Run,
    Transactions,
    Account(Address),
    Totals,
}

impl Group {
    fn of(difference: &RecordedDifference) -> Self {
        match (&difference.key, difference.field) {
            (Some(key), _) => Self::Account(*key.account()),
            (None, Field::Outcome) => Self::Transactions,
            (
                None,
                Field::Fees
                | Field::Burned
                | Field::Emitted
                | Field::MinerReward
                | Field::DevReward,
            ) => Self::Totals,
            (None, _) => Self::Run,
        }
    }

    fn title(self) -> String {
        match self {
            Self::Run => "run".to_owned(),
            Self::Transactions => "transactions".to_owned(),
            Self::Account(account) => format!("account {account}"),
            Self::Totals => "totals".to_owned(),
        }
    }
}

/// The text so far. Lines beyond the limit are counted and not kept.
struct Page<'a> {
    text: String,
    lines: usize,
    limits: &'a ExplainLimits,
}

impl Page<'_> {
    /// Adds a line that may hold text of hostile origin.
    fn line(&mut self, line: &str) {
        let line = self.visible(line);
        self.visible_line(&line);
    }

    /// Adds a line in which nothing is left to escape.
    fn visible_line(&mut self, line: &str) {
        self.lines += 1;
        if self.lines <= self.limits.lines {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn visible(&self, line: &str) -> String {
        let mut line = escaped(line);
        clip(&mut line, self.limits.line_bytes);
        line
    }

    fn finish(mut self) -> String {
        let cut = self.lines.saturating_sub(self.limits.lines);
        if cut > 0 {
            self.text.push_str(&format!("… {} more lines: see the record\n", cut));
        }
        self.text
    }
}
