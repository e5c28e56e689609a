//! The rules once more, each on its own and as it is said: whatever is checked in one go comes to the same.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{
    Before, Execution, Field, Invariants, Outcome, Status, Violation, check, check_by,
};
use proptest::{prelude::*, sample::Index};
use storage_snapshot::{
    Address, Amount, AssetId, MemoryState, Nonce, StateKey, StateRead, StateValue, TxHash,
};

use crate::{
    prop::{Alteration, any_alteration, shuffled},
    support::*,
    world::{Expectations, TransactionExpectation, World, any_world},
};

/// What [`check`] has to find.
fn rules(world: &World) -> Invariants {
    let World { pre_state, control, expectations } = world;
    let leaky_assets = expectations.leaky_assets.clone();
    let mut found = Invariants { leaky_assets, ..Invariants::default() };
    let statuses = statuses(control, expectations, &mut found.violations);
    let with = |wanted: fn(&Status) -> bool| -> Vec<&TransactionExpectation> {
        let pairs = expectations.transactions.iter().zip(&statuses);
        let wanted = pairs.filter(|(_, status)| status.as_ref().is_some_and(wanted));
        wanted.map(|(transaction, _)| transaction).collect()
    };
    let executed = with(|status| *status == Status::Executed);
    let burned: Vec<_> = executed.iter().filter_map(|transaction| transaction.burns).collect();
    for failed in with(|status| matches!(status, Status::Failed(_))) {
        found.leaky_assets.extend(&failed.assets);
    }

    totals(control, expectations, &burned, &mut found.violations);
    nonces(control, pre_state, &executed, &mut found);
    for key in control.delta.keys() {
        let StateKey::Multisig(account) = key else { continue };
        let allowed = with(|status| !matches!(status, Status::Skipped(_)))
            .iter()
            .any(|transaction| transaction.changes_multisig && transaction.source == *account);
        if !allowed {
            found.violations.push(Violation::MultisigNotAllowed(*account));
        }
    }
    conservation(control, pre_state, expectations, &burned, &mut found);
    found
}

fn statuses(
    execution: &Execution,
    expectations: &Expectations,
    violations: &mut Vec<Violation>,
) -> Vec<Option<Status>> {
    let mut left: Vec<&Outcome> = execution.outcomes.iter().collect();
    let mut statuses = Vec::new();
    for TransactionExpectation { hash, .. } in &expectations.transactions {
        let position = left.iter().position(|outcome| outcome.hash == *hash);
        if position.is_none() {
            violations.push(Violation::OutcomeMissing(*hash));
        }
        statuses.push(position.map(|position| left.remove(position).status.clone()));
    }
    let mut unexpected: Vec<TxHash> = left.iter().map(|outcome| outcome.hash).collect();
    unexpected.sort();
    violations.extend(unexpected.into_iter().map(Violation::OutcomeUnexpected));
    statuses
}

fn totals(
    execution: &Execution,
    expectations: &Expectations,
    burned: &[(AssetId, Amount)],
    violations: &mut Vec<Violation>,
) {
    let sum = |amounts: &mut dyn Iterator<Item = Amount>| {
        amounts.fold(Amount::ZERO, |sum, amount| sum.wrapping_add(amount))
    };
    let executed = execution.outcomes.iter().filter(|outcome| outcome.status == Status::Executed);
    let native = burned.iter().filter(|(asset, _)| *asset == AssetId::NATIVE);
    let (totals, expected) = (&execution.totals, expectations);
    for (field, expected, found) in [
        (Field::Fees, sum(&mut executed.map(|outcome| outcome.fee)), totals.fees),
        (Field::Burned, sum(&mut native.map(|(_, amount)| *amount)), totals.burned),
        (Field::MinerReward, expected.miner_reward, totals.miner_reward),
        (Field::DevReward, expected.dev_reward, totals.dev_reward),
    ] {
        if expected != found {
            violations.push(Violation::Total { field, expected, found });
        }
    }
}

fn nonces(
    execution: &Execution,
    pre_state: &MemoryState,
    executed: &[&TransactionExpectation],
    found: &mut Invariants,
) {
    let nonce = |value: Option<&StateValue>| match value {
        Some(StateValue::Nonce(nonce)) => Some(*nonce),
        _ => None,
    };
    let mut changes = BTreeMap::<Address, Option<(Option<Nonce>, Option<Nonce>)>>::new();
    for (key, after) in execution.delta.iter() {
        let StateKey::Nonce(account) = key else { continue };
        let before = pre_state.read(key);
        if before.is_err() {
            found.unknown_keys.insert(*key);
        }
        changes.insert(*account, before.ok().map(|before| (nonce(before.as_ref()), nonce(after))));
    }
    for (account, change) in &changes {
        if let Some((before, after)) = *change
            && after < before
        {
            found.violations.push(Violation::NonceWentBack { account: *account, before, after });
        }
    }
    let sources: BTreeSet<Address> =
        executed.iter().map(|transaction| transaction.source).collect();
    for account in sources {
        let did_not_rise = match changes.get(&account) {
            None => true,
            Some(None) => false,
            Some(Some((before, after))) => before == after,
        };
        let first = executed.iter().find(|transaction| transaction.source == account).unwrap();
        if did_not_rise {
            let transaction = first.hash;
            found.violations.push(Violation::NonceNotRaised { account, transaction });
        }
    }
}

fn conservation(
    execution: &Execution,
    pre_state: &MemoryState,
    expectations: &Expectations,
    burned: &[(AssetId, Amount)],
    found: &mut Invariants,
) {
    let balance = |value: Option<&StateValue>| match value {
        Some(StateValue::Balance(amount)) => *amount,
        _ => Amount::ZERO,
    };
    let mut expected = BTreeMap::<AssetId, Amount>::new();
    let minted = expectations.miner_reward.wrapping_add(expectations.dev_reward);
    expected.insert(AssetId::NATIVE, minted);
    for (asset, amount) in burned {
        let sum = expected.entry(*asset).or_default();
        *sum = sum.wrapping_sub(*amount);
    }
    let mut change = BTreeMap::<AssetId, Amount>::new();
    let mut unknown = BTreeSet::new();
    for (key, after) in execution.delta.iter() {
        let StateKey::Balance(_, asset) = key else { continue };
        match pre_state.read(key) {
            Ok(before) => {
                let sum = change.entry(*asset).or_default();
                *sum = sum.wrapping_add(balance(after)).wrapping_sub(balance(before.as_ref()));
            }
            Err(_) => {
                found.unknown_keys.insert(*key);
                unknown.insert(*asset);
            }
        }
    }
    let assets: BTreeSet<AssetId> = expected.keys().chain(change.keys()).copied().collect();
    for asset in assets {
        let expected = expected.get(&asset).copied().unwrap_or_default();
        let change = change.get(&asset).copied().unwrap_or_default();
        let checked = !found.leaky_assets.contains(&asset) && !unknown.contains(&asset);
        if checked && expected != change {
            found.violations.push(Violation::Conservation { asset, expected, found: change });
        }
    }
}

/// Alters a right execution, or what is known and said about it.
#[derive(Clone, Debug)]
enum Change {
    Execution(Alteration),
    Forget(Index),
    SourceIs(Index, Address),
    Burns(Index, u8, u64),
    ChangesMultisig(Index),
    Repeat(Index),
    Leaks(AssetId),
    BalanceIn(u8, u64),
}

fn any_change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let account = || prop::sample::select(vec![A, B, C, MINER, DEV, Address::new([0xee; 32])]);
    prop_oneof![
        4 => any_alteration().prop_map(Change::Execution),
        2 => index().prop_map(Change::Forget),
        1 => (index(), account()).prop_map(|(number, source)| Change::SourceIs(number, source)),
        1 => (index(), 0..20_u8, any::<u64>())
            .prop_map(|(number, asset, amount)| Change::Burns(number, asset, amount)),
        1 => index().prop_map(Change::ChangesMultisig),
        1 => index().prop_map(Change::Repeat),
        1 => prop::sample::select(vec![AssetId::NATIVE, GOLD]).prop_map(Change::Leaks),
        3 => (0..20_u8, any::<u64>()).prop_map(|(asset, amount)| Change::BalanceIn(asset, amount)),
    ]
}

/// What is altered is altered while all is known.
fn apply(changes: &[Change], world: &mut World) {
    let (forget, others): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| matches!(change, Change::Forget(_)));
    others.into_iter().chain(forget).for_each(|change| change.apply(world));
}

impl Change {
    fn apply(&self, world: &mut World) {
        let World { pre_state, control, expectations } = world;
        let transactions = &mut expectations.transactions;
        let count = transactions.len();
        match self {
            Self::Execution(Alteration::ChangeValue(_)) => {}
            Self::Execution(alteration) => drop(alteration.apply(control, pre_state)),
            Self::Forget(index) if !control.delta.is_empty() => {
                let keys: Vec<StateKey> = control.delta.keys().copied().collect();
                pre_state.forget(keys[index.index(keys.len())]);
            }
            Self::SourceIs(index, source) if count > 0 => {
                transactions[index.index(count)].source = *source;
            }
            Self::Burns(index, asset, amount) if count > 0 => {
                let burns = (AssetId::new([*asset; 32]), Amount::new(*amount));
                transactions[index.index(count)].burns = Some(burns);
            }
            Self::ChangesMultisig(index) if count > 0 => {
                let changes = &mut transactions[index.index(count)].changes_multisig;
                *changes = !*changes;
            }
            Self::Repeat(index) if count > 0 => {
                let repeated = transactions[index.index(count)].clone();
                transactions.push(repeated);
            }
            Self::Leaks(asset) => drop(expectations.leaky_assets.insert(*asset)),
            Self::BalanceIn(asset, amount) => {
                control.delta.set_balance(A, AssetId::new([*asset; 32]), Amount::new(*amount));
            }
            Self::Forget(_)
            | Self::SourceIs(..)
            | Self::Burns(..)
            | Self::ChangesMultisig(_)
            | Self::Repeat(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn everything_at_once_finds_what_each_rule_finds_on_its_own(
        world in any_world(8),
        changes in prop::collection::vec(any_change(), 0..24),
        shuffle in prop::option::of(any::<u64>()),
    ) {
        let mut world = world;
        apply(&changes, &mut world);
        if let Some(seed) = shuffle {
            world.control.outcomes = shuffled(&world.control.outcomes, seed);
        }
        let found = check(&world.control, &world.pre_state, &world.expectations);
        prop_assert_eq!(found, Ok(rules(&world)));
    }

    #[test]
    fn places_are_only_a_short_cut_wherever_they_lead(
        world in any_world(8),
        changes in prop::collection::vec(any_change(), 0..6),
        named in prop::collection::btree_set(prop::sample::select(vec![A, B, C, MINER, DEV]), 0..5),
        guesses in prop::collection::vec(prop::option::of(0..6_usize), 0..8),
        are_right: bool,
    ) {
        let mut world = world;
        apply(&changes, &mut world);
        let expected = check(&world.control, &world.pre_state, &world.expectations);
        let expectations = &mut world.expectations;
        expectations.accounts = named.into_iter().collect();
        expectations.places = if are_right {
            let accounts = &expectations.accounts;
            let place = |transaction: &TransactionExpectation| {
                accounts.iter().position(|account| *account == transaction.source)
            };
            expectations.transactions.iter().map(place).collect()
        } else {
            guesses
        };
        let found = check(&world.control, &world.pre_state, &world.expectations);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn before_is_asked_about_every_written_key_once_and_in_order_and_told_its_account(
        world in any_world(8),
        changes in prop::collection::vec(any_change(), 0..6),
        named in prop::collection::btree_set(prop::sample::select(vec![A, B, C, MINER, DEV]), 0..5),
    ) {
        let mut world = world;
        apply(&changes, &mut world);
        let named: Vec<_> = named.into_iter().collect();
        world.expectations.accounts.clone_from(&named);
        let mut asked = Vec::new();
        let before = |key: &StateKey, place| {
            asked.push((*key, place));
            Ok(Before::Nothing)
        };
        check_by(&world.control, before, &world.expectations).unwrap();
        let place = |key: &StateKey| named.iter().position(|account| account == key.account());
        let expected: Vec<_> = world.control.delta.keys().map(|key| (*key, place(key))).collect();
        prop_assert_eq!(asked, expected);
    }
}
