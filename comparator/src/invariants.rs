//! What any right execution of a block satisfies, whatever its values are.
//!
//! Two executions that are wrong in the same way agree with each other. These rules are derived from
//! the block alone, so they see what a comparison cannot: money that appears or vanishes, nonces
//! that go back, multisig configurations that nobody asked to change, sums that do not add up.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt,
};

use storage_snapshot::{
    Address, Amount, AssetId, Nonce, ReadError, Reader, StateKey, StateRead, StateValue, TxHash,
    UniformState,
};

use crate::{Execution, Field, Inconclusive, Status};

/// What a block says about any right execution of it, asked of the block itself.
pub trait Expected {
    /// What the miner is given, fees not included.
    fn miner_reward(&self) -> Amount;

    /// What the developers are given.
    fn dev_reward(&self) -> Amount;

    /// How many transactions there are.
    fn transactions(&self) -> usize;

    /// The transaction with a number below that, in the block's order.
    fn transaction(&self, number: usize) -> ExpectedTransaction<'_>;

    /// Every asset that this transaction debits or credits, the one of its fee included, be it several
    /// times. If the transaction fails its debits stay and its credits are lost, so these assets then
    /// leak.
    fn for_each_asset(&self, number: usize, each: &mut dyn FnMut(AssetId));

    /// Assets that the block itself may create or destroy in a way that cannot be told beforehand.
    /// Their conservation is not checked.
    fn leaky_assets(&self) -> BTreeSet<AssetId>;
}

/// What one transaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedTransaction<'a> {
    /// The transaction.
    pub hash: &'a TxHash,
    /// The account that sends it: its nonce rises when the transaction is executed.
    pub source: &'a Address,
    /// What it destroys when it is executed.
    pub burns: Option<(AssetId, Amount)>,
    /// Whether it sets or deletes the multisig configuration of its source.
    pub changes_multisig: bool,
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invariants {
    /// Rules that do not hold: outcomes first, then totals, nonces, multisig and conservation.
    pub violations: Vec<Violation>,
    /// Assets whose conservation was not checked, because a failed transaction touched them or the
    /// block may leak them.
    pub leaky_assets: BTreeSet<AssetId>,
    /// Keys that were written and whose value before the block is not known. The rules about them,
    /// and the conservation of their assets, were not checked.
    pub unknown_keys: BTreeSet<StateKey>,
}

impl Invariants {
    /// What a control that broke a rule makes of its block: the first violation as a sentence, and
    /// how many more there are.
    pub fn broken(&self) -> Option<Inconclusive> {
        let (first, others) = self.violations.split_first()?;
        Some(Inconclusive::ControlInvariant(match others.len() {
            0 => first.to_string(),
            more => format!("{first} (and {more} more)"),
        }))
    }
}

/// Checks an execution against what the block says about it.
///
/// The sums of an asset are taken modulo 2^64, because that is how balances of this chain are kept:
/// one that is overdrawn on purpose wraps around, and the sum over all of them does not notice.
///
/// # Errors
///
/// When `pre_state` cannot be read, for another reason than not knowing the value.
pub fn check(
    execution: &Execution,
    pre_state: &dyn StateRead,
    expected: &dyn Expected,
) -> Result<Invariants, ReadError> {
    let leaky_assets = expected.leaky_assets();
    let mut found = Invariants { leaky_assets, ..Invariants::default() };
    let transactions = Matched::of(execution, expected, &mut found.violations);
    let mut before = pre_state.reader();
    check_totals(execution, &transactions, &mut found.violations);
    check_nonces(execution, &mut *before, &transactions, &mut found)?;
    check_multisig(execution, &transactions, &mut found.violations);
    check_conservation(execution, &mut *before, &transactions, &mut found)?;
    Ok(found)
}

/// The transactions of the block, each with what became of it.
struct Matched<'a> {
    expected: &'a dyn Expected,
    /// By the number of the transaction; `None` where it has no outcome.
    statuses: Vec<Option<&'a Status>>,
}

impl<'a> Matched<'a> {
    /// Finds the outcome of every transaction. A repeated hash takes its outcomes in order.
    fn of(
        execution: &'a Execution,
        expected: &'a dyn Expected,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let hash = |number| expected.transaction(number).hash;
        let count = expected.transactions();
        // Whoever lists the outcomes in block order is spared the search.
        if execution.outcomes.iter().map(|outcome| &outcome.hash).eq((0..count).map(hash)) {
            let statuses = execution.outcomes.iter().map(|outcome| Some(&outcome.status)).collect();
            return Self { expected, statuses };
        }
        let mut outcomes = BTreeMap::<&TxHash, VecDeque<&Status>>::new();
        for outcome in &execution.outcomes {
            outcomes.entry(&outcome.hash).or_default().push_back(&outcome.status);
        }
        let mut statuses = Vec::with_capacity(count);
        for hash in (0..count).map(hash) {
            let status = outcomes.get_mut(hash).and_then(VecDeque::pop_front);
            if status.is_none() {
                violations.push(Violation::OutcomeMissing(*hash));
            }
            statuses.push(status);
        }
        for (hash, left) in outcomes {
            violations.extend(left.iter().map(|_| Violation::OutcomeUnexpected(*hash)));
        }
        Self { expected, statuses }
    }

    /// The numbers of those that have an outcome, with it.
    fn iter(&self) -> impl Iterator<Item = (usize, &'a Status)> {
        let numbered = self.statuses.iter().enumerate();
        numbered.filter_map(|(number, status)| status.map(|status| (number, status)))
    }

    fn executed(&self) -> impl Iterator<Item = ExpectedTransaction<'a>> {
        let executed = self.iter().filter(|(_, status)| matches!(status, Status::Executed));
        executed.map(|(number, _)| self.expected.transaction(number))
    }

    fn burns(&self) -> impl Iterator<Item = (AssetId, Amount)> {
        self.executed().filter_map(|transaction| transaction.burns)
    }
}

fn check_totals(
    execution: &Execution,
    transactions: &Matched<'_>,
    violations: &mut Vec<Violation>,
) {
    let fees = execution
        .outcomes
        .iter()
        .filter(|outcome| matches!(outcome.status, Status::Executed))
        .fold(Amount::ZERO, |sum, outcome| sum.wrapping_add(outcome.fee));
    let burned = transactions
        .burns()
        .filter(|(asset, _)| *asset == AssetId::NATIVE)
        .fold(Amount::ZERO, |sum, (_, amount)| sum.wrapping_add(amount));

    let totals = &execution.totals;
    for (field, expected, found) in [
        (Field::Fees, fees, totals.fees),
        (Field::Burned, burned, totals.burned),
        (Field::MinerReward, transactions.expected.miner_reward(), totals.miner_reward),
        (Field::DevReward, transactions.expected.dev_reward(), totals.dev_reward),
    ] {
        if expected != found {
            violations.push(Violation::Total { field, expected, found });
        }
    }
}

fn check_nonces(
    execution: &Execution,
    before: &mut Reader<'_>,
    transactions: &Matched<'_>,
    found: &mut Invariants,
) -> Result<(), ReadError> {
    let mut must_rise: HashMap<&Address, &TxHash, UniformState> = HashMap::default();
    must_rise.reserve(transactions.statuses.len());
    for transaction in transactions.executed() {
        must_rise.entry(transaction.source).or_insert(transaction.hash);
    }
    let mut not_raised = BTreeMap::new();
    let mut went_back = Vec::new();
    for (key, written) in execution.delta.iter() {
        // The nonces come first.
        let StateKey::Nonce(account) = key else { break };
        let must_rise = must_rise.remove(account);
        let Some(before) = known(before, key, found)? else { continue };
        let before = before.as_ref().and_then(as_nonce);
        let after = written.and_then(as_nonce);
        // An account without a nonce is below one with nonce 0, which is how `Option` is ordered.
        if after < before {
            went_back.push(Violation::NonceWentBack { account: *account, before, after });
        } else if let Some(transaction) = must_rise.filter(|_| after == before) {
            not_raised.insert(account, transaction);
        }
    }
    // Those whose nonce was not written at all.
    not_raised.extend(must_rise);
    found.violations.extend(went_back);
    found.violations.extend(not_raised.into_iter().map(|(account, transaction)| {
        Violation::NonceNotRaised { account: *account, transaction: *transaction }
    }));
    Ok(())
}

fn check_multisig(
    execution: &Execution,
    transactions: &Matched<'_>,
    violations: &mut Vec<Violation>,
) {
    let written: Vec<_> =
        execution.delta.keys().filter(|key| matches!(key, StateKey::Multisig(_))).collect();
    if written.is_empty() {
        return;
    }
    // A transaction that was skipped had no effect, so it does not allow one either.
    let allowed: BTreeSet<&Address> = transactions
        .iter()
        .filter(|(_, status)| !matches!(status, Status::Skipped(_)))
        .map(|(number, _)| transactions.expected.transaction(number))
        .filter(|transaction| transaction.changes_multisig)
        .map(|transaction| transaction.source)
        .collect();
    let not_allowed = written.into_iter().map(StateKey::account).filter(|a| !allowed.contains(a));
    violations.extend(not_allowed.copied().map(Violation::MultisigNotAllowed));
}

fn check_conservation(
    execution: &Execution,
    before: &mut Reader<'_>,
    transactions: &Matched<'_>,
    found: &mut Invariants,
) -> Result<(), ReadError> {
    let expected = transactions.expected;
    for (number, status) in transactions.iter() {
        if matches!(status, Status::Failed(_)) {
            expected.for_each_asset(number, &mut |asset| {
                found.leaky_assets.insert(asset);
            });
        }
    }

    let mut changes = BTreeMap::<AssetId, Change>::new();
    let minted = expected.miner_reward().wrapping_add(expected.dev_reward());
    changes.entry(AssetId::NATIVE).or_default().expected = minted;
    for (asset, amount) in transactions.burns() {
        let change = changes.entry(asset).or_default();
        change.expected = change.expected.wrapping_sub(amount);
    }

    let mut unknown = BTreeSet::new();
    // Nearly all balances are of one asset, so it is looked up when it changes.
    let (mut current, mut sum) = (AssetId::NATIVE, Amount::ZERO);
    for (key, written) in execution.delta.iter() {
        let StateKey::Balance(_, asset) = key else { continue };
        let Some(before) = known(before, key, found)? else {
            unknown.insert(*asset);
            continue;
        };
        let before = before.as_ref().and_then(as_balance).unwrap_or(Amount::ZERO);
        let after = written.and_then(as_balance).unwrap_or(Amount::ZERO);
        if *asset != current {
            changes.entry(current).or_default().add(sum);
            (current, sum) = (*asset, Amount::ZERO);
        }
        sum = sum.wrapping_add(after).wrapping_sub(before);
    }
    changes.entry(current).or_default().add(sum);

    for (asset, Change { expected, found: change }) in changes {
        let checked = !found.leaky_assets.contains(&asset) && !unknown.contains(&asset);
        if checked && expected != change {
            found.violations.push(Violation::Conservation { asset, expected, found: change });
        }
    }
    Ok(())
}

/// The net change of an asset over all accounts, modulo 2^64.
#[derive(Default)]
struct Change {
    expected: Amount,
    found: Amount,
}

impl Change {
    fn add(&mut self, change: Amount) {
        self.found = self.found.wrapping_add(change);
    }
}

/// The value before the block; `None`, and a note of the key, if it is not known.
fn known(
    before: &mut Reader<'_>,
    key: &StateKey,
    found: &mut Invariants,
) -> Result<Option<Option<StateValue>>, ReadError> {
    match before(key) {
        Ok(value) => Ok(Some(value)),
        Err(ReadError::Unknown(_)) => {
            found.unknown_keys.insert(*key);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn as_nonce(value: &StateValue) -> Option<Nonce> {
    match value {
        StateValue::Nonce(nonce) => Some(*nonce),
        StateValue::Balance(_) | StateValue::Multisig(_) | StateValue::Registered => None,
    }
}

fn as_balance(value: &StateValue) -> Option<Amount> {
    match value {
        StateValue::Balance(amount) => Some(*amount),
        StateValue::Nonce(_) | StateValue::Multisig(_) | StateValue::Registered => None,
    }
}

/// A rule that does not hold, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A transaction of the block has no outcome.
    OutcomeMissing(TxHash),
    /// An outcome belongs to no transaction of the block.
    OutcomeUnexpected(TxHash),
    /// A total is not what the transactions and the block add up to.
    Total {
        /// Which total.
        field: Field,
        /// What they add up to.
        expected: Amount,
        /// What the execution says.
        found: Amount,
    },
    /// A nonce ended below its value before the block.
    NonceWentBack {
        /// Whose.
        account: Address,
        /// The value before the block.
        before: Option<Nonce>,
        /// The value after it.
        after: Option<Nonce>,
    },
    /// An account sent an executed transaction, and its nonce did not rise.
    NonceNotRaised {
        /// Whose.
        account: Address,
        /// Its first executed transaction.
        transaction: TxHash,
    },
    /// A multisig configuration was written that no transaction changes.
    MultisigNotAllowed(Address),
    /// The balances of an asset changed by another sum than was minted and burned.
    Conservation {
        /// The asset.
        asset: AssetId,
        /// By how much they had to change, modulo 2^64.
        expected: Amount,
        /// By how much they did, modulo 2^64.
        found: Amount,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutcomeMissing(hash) => write!(f, "transaction {hash} has no outcome"),
            Self::OutcomeUnexpected(hash) => {
                write!(f, "an outcome names {hash}, which the block does not have, or not again")
            }
            Self::Total { field, expected, found } => {
                write!(f, "{field} is {found}, and the block adds up to {expected}")
            }
            Self::NonceWentBack { account, before, after } => write!(
                f,
                "the nonce of {account} went back from {} to {}",
                NonceOrNone(*before),
                NonceOrNone(*after)
            ),
            Self::NonceNotRaised { account, transaction } => write!(
                f,
                "the nonce of {account} did not rise, and its transaction {transaction} was executed"
            ),
            Self::MultisigNotAllowed(account) => {
                write!(f, "the multisig of {account} was written, and no transaction changes it")
            }
            Self::Conservation { asset, expected, found } => write!(
                f,
                "the balances of asset {asset} changed by {} in sum, and had to change by {}",
                signed(*found),
                signed(*expected)
            ),
        }
    }
}

struct NonceOrNone(Option<Nonce>);

impl fmt::Display for NonceOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nonce) => nonce.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// A change modulo 2^64, as the smallest change in either direction that it can be.
const fn signed(change: Amount) -> i64 {
    change.as_u64() as i64
}
