//! What any right execution of a block satisfies, whatever its values are.
//!
//! Two executions that are wrong in the same way agree with each other. These rules are derived from
//! the block alone, so they see what a comparison cannot: money that appears or vanishes, nonces
//! that go back, multisig configurations that nobody asked to change, sums that do not add up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use storage_snapshot::{
    Address, Amount, AssetId, Nonce, ReadError, StateKey, StateRead, StateValue, TxHash,
};

use crate::{Execution, Field, Inconclusive, Outcome, Status, Violation};

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

    /// The accounts that the block names, in order and each once, by whoever has them at hand like that.
    /// What is noted of one of them is then noted at its place; others are searched for.
    fn accounts(&self) -> &[Address] {
        &[]
    }

    /// Where the source of the transaction with this number is likely to stand among the
    /// [`accounts`](Self::accounts). It is believed only where it does stand there.
    fn place_of_source(&self, _number: usize) -> Option<usize> {
        None
    }
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
    let mut reader = pre_state.reader();
    let before = |key: &StateKey, _place| match key {
        StateKey::Nonce(_) | StateKey::Balance(..) => match reader(key) {
            Ok(value) => Ok(Before::of(value.as_ref())),
            Err(ReadError::Unknown(_)) => Ok(Before::Unknown),
            Err(error) => Err(error),
        },
        StateKey::Multisig(_) | StateKey::Registered(_) => Ok(Before::Nothing),
    };
    check_by(execution, before, expected)
}

/// The nonce or the balance under a key before a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It was this one.
    Number(u64),
    /// There was none, or the key holds something else.
    Nothing,
    /// It is not known.
    Unknown,
}

impl Before {
    #[inline]
    const fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Nothing | Self::Unknown => None,
        }
    }

    /// What it was if this is known to have been the value.
    #[inline]
    pub const fn of(value: Option<&StateValue>) -> Self {
        match value {
            Some(StateValue::Nonce(nonce)) => Self::Number(nonce.as_u64()),
            Some(StateValue::Balance(amount)) => Self::Number(amount.as_u64()),
            Some(StateValue::Multisig(_) | StateValue::Registered) | None => Self::Nothing,
        }
    }
}

/// The same, for whoever can tell the number under a key faster. `before` is asked once about every written
/// key, in the order of the keys. It is told where the key's account stands among those of
/// [`Expected::accounts`], if it does.
///
/// # Errors
///
/// What `before` fails with.
pub fn check_by<E: Expected + ?Sized>(
    execution: &Execution,
    before: impl FnMut(&StateKey, Option<usize>) -> Result<Before, ReadError>,
    expected: &E,
) -> Result<Invariants, ReadError> {
    let mut found = Invariants::default();
    let written = Written::of(execution, before, expected.accounts(), &mut found.unknown_keys)?;
    let done = match Done::in_order(&execution.outcomes, expected, &written) {
        Some(done) => done,
        None => Done::in_any_order(&execution.outcomes, expected, &written, &mut found.violations),
    };

    done.check_totals(execution, expected, &mut found.violations);
    found.violations.extend(written.went_back);
    found.violations.extend(done.not_raised.into_iter().map(|(account, transaction)| {
        Violation::NonceNotRaised { account: *account, transaction: *transaction }
    }));
    let not_allowed =
        written.multisigs.into_iter().filter(|account| !done.may_change_multisig.contains(account));
    found.violations.extend(not_allowed.copied().map(Violation::MultisigNotAllowed));

    found.leaky_assets = done.broke;
    found.leaky_assets.append(&mut expected.leaky_assets());
    let mut changes = written.changes;
    let minted = expected.miner_reward().wrapping_add(expected.dev_reward());
    changes.of(&AssetId::NATIVE).expected = minted;
    for (asset, amount) in done.burns {
        let change = changes.of(&asset);
        change.expected = change.expected.wrapping_sub(amount);
    }
    for Change { asset, expected, found: change } in changes.by_asset() {
        let checked =
            !found.leaky_assets.contains(&asset) && !written.unknown_assets.contains(&asset);
        if checked && expected != change {
            found.violations.push(Violation::Conservation { asset, expected, found: change });
        }
    }
    Ok(found)
}

/// What the writes of an execution come to, seen from the state before it.
struct Written<'a> {
    nonces: Nonces<'a>,
    went_back: Vec<Violation>,
    /// The accounts whose configuration was written.
    multisigs: Vec<&'a Address>,
    changes: Changes,
    /// Assets of which a balance before the block is not known.
    unknown_assets: BTreeSet<AssetId>,
}

impl<'a> Written<'a> {
    fn of(
        execution: &'a Execution,
        mut before: impl FnMut(&StateKey, Option<usize>) -> Result<Before, ReadError>,
        accounts: &'a [Address],
        unknown_keys: &mut BTreeSet<StateKey>,
    ) -> Result<Self, ReadError> {
        let mut this = Self {
            nonces: Nonces::of(accounts),
            went_back: Vec::new(),
            multisigs: Vec::new(),
            changes: Changes::default(),
            unknown_assets: BTreeSet::new(),
        };
        // The keys are ordered by their kind first, and the accounts begin anew with each.
        let [mut nonces, mut balances, mut multisigs, mut registered] = [Places::of(accounts); 4];
        for (key, written) in execution.delta.iter() {
            let place = match key {
                StateKey::Nonce(account) => nonces.of_next(account),
                StateKey::Balance(account, _) => balances.of_next(account),
                StateKey::Multisig(account) => multisigs.of_next(account),
                StateKey::Registered(account) => registered.of_next(account),
            };
            // Asked in one place, so that what answers can become a part of this.
            let before = before(key, place)?;
            match key {
                StateKey::Nonce(account) => {
                    let after = Before::of(written);
                    if before != after {
                        this.nonces.insert(account, place);
                        // An account without a nonce is below one with nonce 0, which is how `Option` is
                        // ordered. What is not known is not held against anybody.
                        if after.number() < before.number() {
                            this.went_back.push(Violation::NonceWentBack {
                                account: *account,
                                before: before.number().map(Nonce::new),
                                after: after.number().map(Nonce::new),
                            });
                        }
                    }
                }
                StateKey::Balance(_, asset) => {
                    if before == Before::Unknown {
                        this.unknown_assets.insert(*asset);
                    } else {
                        let change = this.changes.of(asset);
                        let (before, after) = (before.number(), Before::of(written).number());
                        let by = after.unwrap_or(0).wrapping_sub(before.unwrap_or(0));
                        change.found = change.found.wrapping_add(Amount::new(by));
                    }
                }
                StateKey::Multisig(account) => this.multisigs.push(account),
                StateKey::Registered(_) => {}
            }
            if before == Before::Unknown {
                unknown_keys.insert(*key);
            }
        }
        Ok(this)
    }
}

/// Finds the places of accounts that come in order.
#[derive(Clone, Copy)]
struct Places<'a> {
    accounts: &'a [Address],
    /// Where to go on among the accounts.
    next: usize,
}

impl<'a> Places<'a> {
    const fn of(accounts: &'a [Address]) -> Self {
        Self { accounts, next: 0 }
    }

    /// The place of an account that does not come before those that were asked for.
    #[inline(always)]
    fn of_next(&mut self, account: &Address) -> Option<usize> {
        // The first bytes nearly always decide, and fit into a register.
        let wanted = account.prefix();
        while let Some(other) = self.accounts.get(self.next) {
            if other.prefix() >= wanted {
                if other == account {
                    return Some(self.next);
                }
                if other > account {
                    break;
                }
            }
            self.next += 1;
        }
        None
    }
}

/// The accounts whose nonces were written, and not as what they were before, as far as that is known.
struct Nonces<'a> {
    accounts: &'a [Address],
    /// Whether each of the accounts is one of them.
    at: Vec<bool>,
    /// Those that are not among the accounts.
    others: BTreeSet<&'a Address>,
}

impl<'a> Nonces<'a> {
    fn of(accounts: &'a [Address]) -> Self {
        Self { accounts, at: vec![false; accounts.len()], others: BTreeSet::new() }
    }

    #[inline]
    fn insert(&mut self, account: &'a Address, place: Option<usize>) {
        match place {
            Some(place) => self.at[place] = true,
            None => drop(self.others.insert(account)),
        }
    }

    /// Where an account stands among the accounts, which is likely there.
    #[inline]
    fn place(&self, account: &Address, likely: Option<usize>) -> Option<usize> {
        let likely = likely.filter(|place| self.accounts.get(*place) == Some(account));
        likely.or_else(|| self.accounts.binary_search(account).ok())
    }

    /// Whether an account that stands there is one of them.
    #[inline]
    fn contains(&self, account: &Address, place: Option<usize>) -> bool {
        match place {
            Some(place) => self.at[place],
            None => self.others.contains(account),
        }
    }
}

/// What the transactions of an execution did, as far as its block tells.
#[derive(Default)]
struct Done<'a> {
    /// What was collected for those that were executed, modulo 2^64.
    fees: Amount,
    /// What they burned.
    burns: Vec<(AssetId, Amount)>,
    /// The assets of those that failed.
    broke: BTreeSet<AssetId>,
    /// The sources whose nonces had to rise and did not, each with its first transaction.
    not_raised: BTreeMap<&'a Address, &'a TxHash>,
    /// The sources whose multisig configuration may have been written, if any was.
    may_change_multisig: BTreeSet<&'a Address>,
}

impl<'a> Done<'a> {
    /// `None` if the outcomes are not listed in the order of the block.
    fn in_order<E: Expected + ?Sized>(
        outcomes: &[Outcome],
        expected: &'a E,
        written: &Written<'_>,
    ) -> Option<Self> {
        if outcomes.len() != expected.transactions() {
            return None;
        }
        let mut this = Self::default();
        for (number, outcome) in outcomes.iter().enumerate() {
            let transaction = expected.transaction(number);
            if outcome.hash != *transaction.hash {
                return None;
            }
            this.add(number, transaction, Some(outcome), expected, written);
        }
        Some(this)
    }

    /// Finds the outcome of every transaction. A repeated hash takes its outcomes in order.
    fn in_any_order<E: Expected + ?Sized>(
        outcomes: &[Outcome],
        expected: &'a E,
        written: &Written<'_>,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let mut by_hash = BTreeMap::<&TxHash, VecDeque<&Outcome>>::new();
        for outcome in outcomes {
            by_hash.entry(&outcome.hash).or_default().push_back(outcome);
        }
        let mut this = Self::default();
        for number in 0..expected.transactions() {
            let transaction = expected.transaction(number);
            let outcome = by_hash.get_mut(transaction.hash).and_then(VecDeque::pop_front);
            if outcome.is_none() {
                violations.push(Violation::OutcomeMissing(*transaction.hash));
            }
            this.add(number, transaction, outcome, expected, written);
        }
        for outcome in by_hash.into_values().flatten() {
            // Its fee is in the sum all the same: the totals are held against what the outcomes say.
            if outcome.status == Status::Executed {
                this.fees = this.fees.wrapping_add(outcome.fee);
            }
            violations.push(Violation::OutcomeUnexpected(outcome.hash));
        }
        this
    }

    /// Adds a transaction and what became of it.
    // Made for every transaction, and nearly nothing: a call would cost as much again.
    #[inline(always)]
    fn add<E: Expected + ?Sized>(
        &mut self,
        number: usize,
        transaction: ExpectedTransaction<'a>,
        outcome: Option<&Outcome>,
        expected: &E,
        written: &Written<'_>,
    ) {
        let ExpectedTransaction { hash, source, burns, changes_multisig } = transaction;
        let place = written.nonces.place(source, expected.place_of_source(number));
        match outcome.map(|outcome| (&outcome.status, outcome.fee)) {
            Some((Status::Executed, fee)) => {
                self.fees = self.fees.wrapping_add(fee);
                if let Some(burn) = burns {
                    self.burns.push(burn);
                }
                if !written.nonces.contains(source, place) {
                    self.not_raised.entry(source).or_insert(hash);
                }
            }
            Some((Status::Failed(_), _)) => {
                expected.for_each_asset(number, &mut |asset| {
                    self.broke.insert(asset);
                });
            }
            // It had no effect, so it does not allow one either.
            Some((Status::Skipped(_), _)) | None => return,
        }
        if changes_multisig && !written.multisigs.is_empty() {
            self.may_change_multisig.insert(source);
        }
    }

    fn check_totals<E: Expected + ?Sized>(
        &self,
        execution: &Execution,
        expected: &E,
        violations: &mut Vec<Violation>,
    ) {
        let native = self.burns.iter().filter(|(asset, _)| *asset == AssetId::NATIVE);
        let burned = native.fold(Amount::ZERO, |sum, (_, amount)| sum.wrapping_add(*amount));

        let totals = &execution.totals;
        for (field, expected, found) in [
            (Field::Fees, self.fees, totals.fees),
            (Field::Burned, burned, totals.burned),
            (Field::MinerReward, expected.miner_reward(), totals.miner_reward),
            (Field::DevReward, expected.dev_reward(), totals.dev_reward),
        ] {
            if expected != found {
                violations.push(Violation::Total { field, expected, found });
            }
        }
    }
}

/// How the assets changed, in any order. One that is not among the first ones may be there several times.
#[derive(Default)]
struct Changes {
    each: Vec<Change>,
    /// Which of them was asked for last: often it is the next one too.
    last: usize,
}

/// The net change of an asset over all accounts, modulo 2^64.
struct Change {
    asset: AssetId,
    expected: Amount,
    found: Amount,
}

impl Changes {
    /// The change of an asset, or a part of it.
    #[inline]
    fn of(&mut self, asset: &AssetId) -> &mut Change {
        if self.each.get(self.last).is_none_or(|change| change.asset != *asset) {
            self.find(asset);
        }
        &mut self.each[self.last]
    }

    fn find(&mut self, asset: &AssetId) {
        // Nearly all blocks have few assets, and one that has many must not take the longer for each.
        let mut at_hand = self.each.iter().take(ASSETS_AT_HAND);
        self.last = at_hand.position(|change| change.asset == *asset).unwrap_or(self.each.len());
        if self.last == self.each.len() {
            let (expected, found) = (Amount::ZERO, Amount::ZERO);
            self.each.push(Change { asset: *asset, expected, found });
        }
    }

    /// Each asset once, in order.
    fn by_asset(mut self) -> Vec<Change> {
        self.each.sort_unstable_by_key(|change| change.asset);
        self.each.dedup_by(|part, change| {
            let same = part.asset == change.asset;
            if same {
                change.expected = change.expected.wrapping_add(part.expected);
                change.found = change.found.wrapping_add(part.found);
            }
            same
        });
        self.each
    }
}

const ASSETS_AT_HAND: usize = 8;
