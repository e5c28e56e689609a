//! The node as a candidate: what it answered about a block, held against the control.
//!
//! A node that runs its own parallel path is judged here as a black box: it does not matter how it
//! came to a version, only whether the version is the one that serial execution writes. Every answer
//! is compared, asked for by name or not, and what nobody asked is counted.

use std::{collections::HashSet, fmt};

use comparator::{Difference, Execution, Field, Outcome, Side, Status};
use serde::{Deserialize, Serialize};
use storage_snapshot::{
    Amount, ReadError, StateDelta, StateKey, StateRead, TopoHeight, TxHash, Version,
};

use crate::{
    chain::Claimed,
    execute::ExecutableBlock,
    known::KnownState,
    rules::NamedKeys,
    source::{CurrentValue, NodeAnswers, VersionAnswer},
};

/// Whether the node's answers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeCheck {
    /// Every answer is compared with the control, as those of candidate `node`.
    Compare,
    /// Answers are only used where nothing was executed here.
    Ignore,
}

/// How many of the node's answers about a block were put to which use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCounts {
    /// Answers that were compared with the control.
    pub compared: u64,
    /// Those of them that differ.
    pub differ: u64,
    /// Answers taken as the truth, because the block was not executed here.
    pub taken: u64,
    /// Questions that nobody asked the node, or whose answers cannot be compared with anything.
    pub not_asked: u64,
    /// Those of the answers that were given while the block could still be ordered away.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub early: u64,
    /// Answers that were compared again once it could not.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub again: u64,
    /// Those of them that differ and had not differed before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub differ_again: u64,
}

impl NodeCounts {
    /// These and others.
    pub(crate) const fn add(&mut self, other: Self) {
        self.compared += other.compared;
        self.differ += other.differ;
        self.taken += other.taken;
        self.not_asked += other.not_asked;
        self.early += other.early;
        self.again += other.again;
        self.differ_again += other.differ_again;
    }

    /// Whether the node's answers were given too early to be its last word.
    pub(crate) const fn is_to_be_asked_again(&self) -> bool {
        self.early > 0 && self.again == 0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "this is how serde asks")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What comparing a node's answers with the control found.
#[derive(Debug, Default)]
pub struct NodeFindings {
    /// The answers that differ.
    pub differences: Vec<Difference>,
    /// How many there were.
    pub counts: NodeCounts,
    /// What to overwrite so that the next block is judged on its own: the node's value of every key
    /// that differs.
    pub correction: StateDelta,
}

/// The parts of a block that the node's answers are compared with.
#[derive(Clone, Copy)]
pub struct Compared<'a> {
    /// The block as the control executed it.
    pub block: &'a ExecutableBlock,
    /// What the node says in the block itself.
    pub claimed: &'a Claimed,
    /// The keys that the block names.
    pub named_keys: &'a NamedKeys,
    /// What the control did.
    pub control: &'a Execution,
    /// The state before the block.
    pub parent: &'a KnownState,
    /// The burned supply after the block, if it can be told.
    pub burned_supply: Option<Amount>,
    /// The emitted supply after it.
    pub emitted_supply: Amount,
    /// What is held of the blocks before.
    pub history: &'a dyn History,
}

/// What is held of the blocks before one.
pub trait History {
    /// The lowest block whose writes are not values of the base.
    fn first(&self) -> TopoHeight;

    /// Whether the block at a position was executed here, so that everything that it wrote is held.
    fn was_executed_here(&self, at: TopoHeight) -> bool;

    /// Whether the node itself wrote a key at a position, as opposed to what was put there in its
    /// place.
    fn wrote_itself(&self, at: TopoHeight, key: &StateKey) -> bool;
}

impl fmt::Debug for Compared<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compared").field("block", &self.block.block).finish_non_exhaustive()
    }
}

/// Compares everything that the node answered about a block with the control.
///
/// # Errors
///
/// When the state before the block cannot be read. A value that is merely not known is no error:
/// then there is nothing to compare with.
pub fn compare_answers(
    compared: Compared<'_>,
    answers: &NodeAnswers,
) -> Result<NodeFindings, ReadError> {
    let mut findings = NodeFindings::default();
    findings.compare_outcomes(&compared, answers);
    let outcomes = findings.differences.len();
    findings.compare_versions(&compared, answers)?;
    findings.compare_current(&compared, answers)?;
    // The order in which somebody asked says nothing.
    findings.differences[outcomes..].sort_by_key(|difference| difference.key);
    findings.compare_totals(&compared, answers);
    findings.counts.differ = findings.differences.len() as u64;
    if answers.early {
        findings.counts.early = answers.versions.len() as u64;
    }
    Ok(findings)
}

impl NodeFindings {
    fn compare_outcomes(&mut self, compared: &Compared<'_>, answers: &NodeAnswers) {
        for outcome in &compared.control.outcomes {
            let Some(node_executed) = answers.executed.get(&outcome.hash) else {
                self.counts.not_asked += 1;
                continue;
            };
            self.counts.compared += 1;
            if *node_executed != (outcome.status == Status::Executed) {
                self.differences.push(Difference {
                    field: Field::Outcome,
                    key: None,
                    transaction: Some(outcome.hash),
                    control: Side::Outcome(outcome.clone()),
                    observed: node_outcome(compared.block, outcome, *node_executed),
                });
            }
        }
    }

    fn compare_versions(
        &mut self,
        compared: &Compared<'_>,
        answers: &NodeAnswers,
    ) -> Result<(), ReadError> {
        let (mut answered, mut confirmed) = (HashSet::new(), Vec::new());
        for (key, answer) in &answers.versions {
            answered.insert(*key);
            if self.compare_version(compared, key, answer, answers)? {
                confirmed.push(key);
            }
        }
        // Asked twice, the node said two things, and one of them is what the control says.
        for key in confirmed {
            self.correction.remove(key);
        }
        let written = compared.control.delta.keys().copied();
        let expected: HashSet<_> = written.chain(compared.named_keys.iter()).collect();
        let mut unanswered: Vec<_> = expected.difference(&answered).collect();
        unanswered.sort_unstable();
        for key in unanswered {
            if answers.walked.contains(key) {
                self.compare_version(compared, key, &VersionAnswer::NotWritten, answers)?;
            } else if !matches!(key, StateKey::Registered(_)) {
                // A node has no question about registration at one topoheight that could have been
                // left out.
                self.counts.not_asked += 1;
            }
        }
        Ok(())
    }

    /// Compares one answer and tells whether it agrees.
    fn compare_version(
        &mut self,
        compared: &Compared<'_>,
        key: &StateKey,
        answer: &VersionAnswer,
        answers: &NodeAnswers,
    ) -> Result<bool, ReadError> {
        self.counts.compared += 1;
        let control = compared.control.delta.get(key);
        let (observed, node_value) = match answer {
            VersionAnswer::Written(value) => {
                if control == Some(value.as_ref()) {
                    self.compare_previous(compared, key, answers)?;
                    return Ok(true);
                }
                (Side::of_write(value.as_ref()), Some(value.clone()))
            }
            VersionAnswer::NotWritten if control.is_none() => return Ok(true),
            VersionAnswer::NotWritten => (Side::Absent, None),
        };
        // Where the node wrote nothing, it still has the value from before.
        let before = match compared.parent.read(key) {
            Ok(before) => Some(before),
            Err(ReadError::Unknown(_)) => None,
            Err(error) => return Err(error),
        };
        let lone_write = match (control, answer) {
            (Some(written), VersionAnswer::NotWritten) => Some(written),
            (None, VersionAnswer::Written(value)) => Some(value.as_ref()),
            _ => None,
        };
        let values_agree = lone_write.is_some_and(|written| {
            before.as_ref().is_some_and(|before| before.as_ref() == written)
        });
        let mut difference =
            Difference::of_key(*key, control.map_or(Side::Absent, Side::of_write), observed);
        if values_agree {
            difference.field = Field::Version;
        }
        self.differences.push(difference);
        let moved = || answers.moved.get(key).cloned();
        if let Some(value) = node_value.or_else(moved).or(before) {
            self.correction.insert(*key, value);
        }
        Ok(false)
    }

    /// Compares where the version before the block's own is with the last write that is held. They
    /// part where the node wrote a key in a block that does not name it.
    fn compare_previous(
        &mut self,
        compared: &Compared<'_>,
        key: &StateKey,
        answers: &NodeAnswers,
    ) -> Result<(), ReadError> {
        let Some(previous) = answers.previous.get(key).copied() else { return Ok(()) };
        let Some(held) = compared.last_write(key)? else { return Ok(()) };
        self.counts.compared += 1;
        if !compared.is_where(held, previous) && !compared.is_explained(key, held, previous) {
            let observed = match previous {
                Some(at) => Side::Text(format!("previously written at {at}")),
                None => Side::Text("never written before".to_owned()),
            };
            self.differences.push(Difference {
                field: Field::Version,
                ..Difference::of_key(*key, Side::Text(held.to_string()), observed)
            });
        }
        Ok(())
    }

    fn compare_totals(&mut self, compared: &Compared<'_>, answers: &NodeAnswers) {
        let totals = &compared.control.totals;
        let claimed = compared.claimed;
        let mut compare = |field, control: Amount, observed: Option<Amount>| {
            let Some(observed) = observed else { return };
            self.counts.compared += 1;
            if control != observed {
                self.differences.push(Difference {
                    field,
                    key: None,
                    transaction: None,
                    control: Side::Number(control.as_u64()),
                    observed: Side::Number(observed.as_u64()),
                });
            }
        };
        compare(Field::Fees, totals.fees, claimed.total_fees);
        if claimed.total_fees.is_none() {
            self.counts.not_asked += 1;
        }
        // What the node *says* of the two shares it divides by another number than what it pays, so
        // the shares are compared as balances and the reward as their sum.
        let reward = totals.miner_reward.wrapping_add(totals.dev_reward);
        compare(Field::MinerReward, reward, Some(claimed.reward));
        // A wrong reward makes the supply wrong too, and is told once.
        if reward == claimed.reward {
            compare(Field::Emitted, compared.emitted_supply, Some(claimed.supply));
        }
        match compared.burned_supply {
            Some(burned_supply) => compare(Field::Burned, burned_supply, answers.burned_supply),
            // There is nothing to compare with, and from here on there is.
            None => self.counts.taken += u64::from(answers.burned_supply.is_some()),
        }
    }

    /// Compares where the newest version is whose value is right. None at all and one that says so are two things.
    fn compare_place(
        &mut self,
        compared: &Compared<'_>,
        current: &CurrentValue,
    ) -> Result<(), ReadError> {
        let CurrentValue { key, written_at: node, .. } = current;
        let here = compared.block.block.topoheight;
        let is_written = compared.control.delta.get(key).is_some();
        // The block's own version was compared by itself.
        let is_known_wrong =
            self.differences.iter().any(|difference| difference.key.as_ref() == Some(key));
        if is_known_wrong {
            return Ok(());
        }
        let held = match is_written {
            true => Some(LastWrite::At(here)),
            false => compared.last_write(key)?,
        };
        let Some(held) = held else { return Ok(()) };
        let is_explained = || !is_written && compared.is_explained(key, held, *node);
        if !compared.is_where(held, *node) && !is_explained() {
            let observed = match node {
                Some(at) => format!("last written at {at}"),
                None => "never written".to_owned(),
            };
            self.differences.push(Difference {
                field: Field::Version,
                ..Difference::of_key(*key, Side::Text(held.to_string()), Side::Text(observed))
            });
        }
        Ok(())
    }

    /// The newest values that the node has, compared with the state after the block.
    fn compare_current(
        &mut self,
        compared: &Compared<'_>,
        answers: &NodeAnswers,
    ) -> Result<(), ReadError> {
        for current in &answers.current {
            let after = match compared.control.delta.get(&current.key) {
                Some(written) => written.cloned(),
                None => match compared.parent.read(&current.key) {
                    Ok(value) => value,
                    // There is nothing to compare with.
                    Err(ReadError::Unknown(_)) => {
                        self.counts.not_asked += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            self.counts.compared += 1;
            if after == current.value {
                self.compare_place(compared, current)?;
            }
            if after != current.value {
                self.differences.push(Difference::of_key(
                    current.key,
                    Side::of_write(after.as_ref()),
                    Side::of_write(current.value.as_ref()),
                ));
                self.correction.insert(current.key, current.value.clone());
            }
        }
        Ok(())
    }
}

impl Compared<'_> {
    /// Where the last version of a key before the block is; `None` if it is not known.
    fn last_write(&self, key: &StateKey) -> Result<Option<LastWrite>, ReadError> {
        Ok(match self.parent.last_write(key)? {
            Some((_, Version::Unknown)) => None,
            Some((None, Version::Known(None))) | None => Some(LastWrite::Never),
            Some((None, Version::Known(Some(_)))) => Some(LastWrite::Before(self.history.first())),
            Some((Some(at), Version::Known(_))) => Some(LastWrite::At(at)),
        })
    }

    /// Whether the node has its version there.
    fn is_where(&self, held: LastWrite, node: Option<TopoHeight>) -> bool {
        match (held, node) {
            (LastWrite::Never, node) => node.is_none(),
            (LastWrite::Before(first), node) => node.is_some_and(|at| at < first),
            (LastWrite::At(held), node) => node == Some(held),
        }
    }

    /// Whether it may well have it somewhere else: what was not executed here may have written anything, and what
    /// the node did not write itself was found to be wrong there.
    fn is_explained(&self, key: &StateKey, held: LastWrite, node: Option<TopoHeight>) -> bool {
        let history = self.history;
        match (held, node) {
            // Versions lead down.
            (_, Some(at)) if at >= self.block.block.topoheight => false,
            // The block there was not executed here, so it may have written anything.
            (LastWrite::Never | LastWrite::Before(_), Some(at)) => {
                at >= history.first() && !history.was_executed_here(at)
            }
            (LastWrite::At(held), Some(at)) if at > held => !history.was_executed_here(at),
            (LastWrite::At(held), _) => !history.wrote_itself(held, key),
            (LastWrite::Never | LastWrite::Before(_), None) => false,
        }
    }
}

/// Where a key was written last, as far as is held here.
#[derive(Clone, Copy)]
enum LastWrite {
    Never,
    /// In a block before the first one that was followed.
    Before(TopoHeight),
    At(TopoHeight),
}

impl fmt::Display for LastWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never written before"),
            Self::Before(first) => write!(f, "previously written below {first}"),
            Self::At(at) => write!(f, "previously written at {at}"),
        }
    }
}

/// The node tells only whether it executed a transaction, so "not executed" is all that can be
/// shown where it did not.
fn node_outcome(block: &ExecutableBlock, control: &Outcome, executed: bool) -> Side {
    if !executed {
        return Side::Absent;
    }
    let fee = block
        .transactions
        .iter()
        .find(|transaction| transaction.body.hash == control.hash)
        .map_or(Amount::ZERO, |transaction| transaction.body.fee);
    Side::Outcome(Outcome { hash: control.hash, status: Status::Executed, fee })
}

/// The transactions that a block executed: the control's answer, where the node has none.
pub fn executed_transactions(control: &Execution, answers: Option<&NodeAnswers>) -> Vec<TxHash> {
    let executed = control.outcomes.iter().filter(|outcome| {
        let node = answers.and_then(|answers| answers.executed.get(&outcome.hash));
        node.copied().unwrap_or(outcome.status == Status::Executed)
    });
    executed.map(|outcome| outcome.hash).collect()
}
