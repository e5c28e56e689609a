//! A right pair never mismatches, and no alteration of a right answer goes unseen.

use comparator::{
    Execution, FailReason, Field, Limits, Mismatch, NotExercised, Observation, Outcome, SkipReason,
    Status, Verdict, check, compare,
};
use proptest::{prelude::*, sample::Index};
use storage_snapshot::{Amount, MemoryState, StateKey, StateRead, StateValue, TxHash};

use crate::{
    support::*,
    world::{World, any_world},
};

#[track_caller]
fn verdict(world: &World, candidate: Observation) -> Verdict {
    compare(&world.control, &candidate, &world.pre_state, &world.expectations, &Limits::default())
        .unwrap()
}

/// One thing that a candidate gets wrong.
#[derive(Clone, Debug)]
pub(crate) enum Alteration {
    DropWrite(Index),
    ChangeValue(Index),
    NoneForValue(Index),
    AddWrite { account: u8, kind: u8, value: Option<u64> },
    DropOutcome(Index),
    RepeatOutcome(Index),
    AddOutcome,
    ChangeStatus(Index),
    ChangeFee(Index),
    SwapStatuses(Index, Index),
    ChangeTotal(u8),
}

pub(crate) fn any_alteration() -> impl Strategy<Value = Alteration> {
    use Alteration::*;
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(DropWrite),
        index().prop_map(ChangeValue),
        index().prop_map(NoneForValue),
        (0..8_u8, 0..4_u8, prop::option::of(0..1_000_u64))
            .prop_map(|(account, kind, value)| AddWrite { account, kind, value }),
        index().prop_map(DropOutcome),
        index().prop_map(RepeatOutcome),
        Just(AddOutcome),
        index().prop_map(ChangeStatus),
        index().prop_map(ChangeFee),
        (index(), index()).prop_map(|(one, two)| SwapStatuses(one, two)),
        (0..4_u8).prop_map(ChangeTotal),
    ]
}

impl Alteration {
    /// Alters an execution. Returns the fields that must be reported for it; none if there was
    /// nothing to alter.
    pub(crate) fn apply(&self, execution: &mut Execution, pre_state: &MemoryState) -> Vec<Field> {
        let pick = |index: &Index| -> Option<(StateKey, Option<StateValue>)> {
            let writes: Vec<_> = execution.delta.iter().collect();
            (!writes.is_empty()).then(|| {
                let (key, value) = writes[index.index(writes.len())];
                (*key, value.cloned())
            })
        };
        let lone = |key: &StateKey, value: &Option<StateValue>| {
            if pre_state.read(key).unwrap() == *value { Field::Version } else { Field::of(key) }
        };
        let count = execution.outcomes.len();
        match self {
            Self::DropWrite(index) => {
                let Some((key, value)) = pick(index) else { return vec![] };
                execution.delta.remove(&key);
                vec![lone(&key, &value)]
            }
            Self::ChangeValue(index) => {
                let Some((key, value)) = pick(index) else { return vec![] };
                execution.delta.insert(key, Some(other_value(&key, value.as_ref())));
                vec![Field::of(&key)]
            }
            Self::NoneForValue(index) => {
                let Some((key, Some(_))) = pick(index) else { return vec![] };
                execution.delta.insert(key, None);
                vec![Field::of(&key)]
            }
            Self::AddWrite { account, kind, value } => {
                let account = [A, B, C, MINER, DEV]
                    .get(usize::from(*account))
                    .copied()
                    .unwrap_or(storage_snapshot::Address::new([0xee; 32]));
                let (key, value) = match kind {
                    0 => (StateKey::Nonce(account), value.and_then(nonce)),
                    1 => (StateKey::Balance(account, GOLD), value.and_then(balance)),
                    2 => (StateKey::Multisig(account), value.and_then(|_| multisig(2, &[A, B]))),
                    _ => (StateKey::Registered(account), value.map(|_| StateValue::Registered)),
                };
                if execution.delta.get(&key).is_some() {
                    return vec![];
                }
                let field = lone(&key, &value);
                execution.delta.insert(key, value);
                vec![field]
            }
            Self::DropOutcome(index) if count > 0 => {
                execution.outcomes.remove(index.index(count));
                vec![Field::Outcome]
            }
            Self::RepeatOutcome(index) if count > 0 => {
                let repeated = execution.outcomes[index.index(count)].clone();
                execution.outcomes.push(repeated);
                vec![Field::Protocol]
            }
            Self::AddOutcome => {
                execution.outcomes.insert(0, outcome(0xee, Status::Executed, 0));
                vec![Field::Outcome]
            }
            Self::ChangeStatus(index) if count > 0 => {
                let status = &mut execution.outcomes[index.index(count)].status;
                *status = match status {
                    Status::Executed => Status::Skipped(SkipReason::Nonce),
                    Status::Skipped(SkipReason::Nonce) => {
                        Status::Skipped(SkipReason::AlreadyExecuted)
                    }
                    Status::Skipped(_) => Status::Executed,
                    Status::Failed(FailReason::CreditOverflow) => {
                        Status::Failed(FailReason::Other("nonce".into()))
                    }
                    Status::Failed(_) => Status::Executed,
                };
                vec![Field::Outcome]
            }
            Self::ChangeFee(index) if count > 0 => {
                let fee = &mut execution.outcomes[index.index(count)].fee;
                *fee = fee.wrapping_add(Amount::new(1));
                vec![Field::Outcome]
            }
            Self::SwapStatuses(one, two) if count > 0 => {
                let (one, two) = (one.index(count), two.index(count));
                if execution.outcomes[one].status == execution.outcomes[two].status {
                    return vec![];
                }
                let status = execution.outcomes[one].status.clone();
                execution.outcomes[one].status = execution.outcomes[two].status.clone();
                execution.outcomes[two].status = status;
                vec![Field::Outcome, Field::Outcome]
            }
            Self::ChangeTotal(which) => {
                let totals = &mut execution.totals;
                let (total, field) = match which {
                    0 => (&mut totals.fees, Field::Fees),
                    1 => (&mut totals.burned, Field::Burned),
                    2 => (&mut totals.miner_reward, Field::MinerReward),
                    _ => (&mut totals.dev_reward, Field::DevReward),
                };
                *total = total.wrapping_add(Amount::new(1));
                vec![field]
            }
            Self::DropOutcome(_)
            | Self::RepeatOutcome(_)
            | Self::ChangeStatus(_)
            | Self::ChangeFee(_)
            | Self::SwapStatuses(..) => vec![],
        }
    }
}

/// Another value under the same key than this one.
fn other_value(key: &StateKey, value: Option<&StateValue>) -> StateValue {
    match (key, value) {
        (_, Some(StateValue::Nonce(number))) => nonce(number.as_u64().wrapping_add(1)).unwrap(),
        (_, Some(StateValue::Balance(amount))) => balance(amount.as_u64().wrapping_sub(1)).unwrap(),
        (_, Some(StateValue::Multisig(config))) => {
            let mut config = config.clone();
            config.participants.reverse();
            StateValue::Multisig(config)
        }
        (_, Some(StateValue::Registered)) => unreachable!("registered has no other value"),
        (StateKey::Nonce(_), None) => nonce(0).unwrap(),
        (StateKey::Balance(..), None) => balance(0).unwrap(),
        (StateKey::Multisig(_), None) => multisig(0, &[]).unwrap(),
        (StateKey::Registered(_), None) => StateValue::Registered,
    }
}

pub(crate) fn shuffled(outcomes: &[Outcome], seed: u64) -> Vec<Outcome> {
    let mut outcomes = outcomes.to_vec();
    let mut seed = seed;
    for i in (1..outcomes.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        outcomes.swap(i, (seed >> 33) as usize % (i + 1));
    }
    outcomes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_model_keeps_every_rule(world in any_world(8)) {
        let found = check(&world.control, &world.pre_state, &world.expectations).unwrap();
        prop_assert_eq!(found.violations, vec![]);
        let failed = world
            .control
            .outcomes
            .iter()
            .any(|outcome| matches!(outcome.status, Status::Failed(_)));
        prop_assert_eq!(!found.leaky_assets.is_empty(), failed);
    }

    #[test]
    fn a_right_pair_never_mismatches(world in any_world(8), seed: u64) {
        let mut candidate = world.control.clone();
        candidate.outcomes = shuffled(&candidate.outcomes, seed);
        let expected = match candidate.executed() {
            0 => Verdict::NotExercised(NotExercised::Empty),
            1 => Verdict::NotExercised(NotExercised::OneTransaction),
            _ => Verdict::Match,
        };
        prop_assert_eq!(verdict(&world, observation(candidate)), expected);
    }

    #[test]
    fn no_alteration_goes_unseen(world in any_world(8), alteration in any_alteration(), seed: u64) {
        let mut candidate = world.control.clone();
        let expected = match &alteration {
            // The only value of a registration has no other to be changed to.
            Alteration::ChangeValue(index) if {
                let keys: Vec<_> = candidate.delta.keys().collect();
                matches!(keys[index.index(keys.len())], StateKey::Registered(_))
            } => vec![],
            alteration => alteration.apply(&mut candidate, &world.pre_state),
        };
        prop_assume!(!expected.is_empty());
        candidate.outcomes = shuffled(&candidate.outcomes, seed);
        // Whatever the candidate says about its work, a difference comes first.
        candidate.exercise.fallback = (seed % 2 == 0).then(|| "small".to_owned());

        let found = verdict(&world, observation(candidate));
        let Verdict::Mismatch(mismatch) = &found else {
            return Err(TestCaseError::fail(format!("{alteration:?} was judged {found:?}")));
        };
        let fields: Vec<_> =
            mismatch.differences.iter().map(|difference| difference.field).collect();
        prop_assert_eq!(&fields, &expected);
        prop_assert_eq!(mismatch.total(), expected.len() as u64);
        prop_assert_eq!(mismatch.omitted, 0);
    }

    #[test]
    fn alterations_mismatch_exactly_if_they_do_not_undo_each_other(
        world in any_world(8),
        alterations in prop::collection::vec(any_alteration(), 0..4),
        restore: bool,
    ) {
        let mut candidate = world.control.clone();
        for alteration in &alterations {
            if !matches!(alteration, Alteration::ChangeValue(_)) {
                alteration.apply(&mut candidate, &world.pre_state);
            }
        }
        if restore {
            candidate.delta = world.control.delta.clone();
        }
        let by_hash = |outcomes: &[Outcome]| {
            let mut sorted: Vec<(TxHash, String)> = outcomes
                .iter()
                .map(|outcome| (outcome.hash, format!("{outcome:?}")))
                .collect();
            sorted.sort();
            sorted
        };
        let equal = by_hash(&candidate.outcomes) == by_hash(&world.control.outcomes)
            && candidate.delta == world.control.delta
            && candidate.totals == world.control.totals;
        let found = verdict(&world, observation(candidate));
        prop_assert_eq!(matches!(found, Verdict::Mismatch(_)), !equal);
    }

    #[test]
    fn a_bounded_mismatch_keeps_the_first_and_counts_all(
        world in any_world(8),
        alterations in prop::collection::vec(any_alteration(), 1..6),
        differences in 0..4_usize,
    ) {
        let mut candidate = world.control.clone();
        for alteration in &alterations {
            if !matches!(alteration, Alteration::ChangeValue(_)) {
                alteration.apply(&mut candidate, &world.pre_state);
            }
        }
        let all = crate::support::differences(&world.control, &candidate, &world.pre_state);
        let limits = Limits { differences, ..Limits::default() };
        let bounded = Mismatch::collect(all.clone(), &limits);
        prop_assert_eq!(bounded.is_none(), all.is_empty());
        if let Some(bounded) = bounded {
            let kept = all.len().min(differences.max(1));
            prop_assert_eq!(&bounded.differences[..], &all[..kept]);
            prop_assert_eq!(bounded.omitted, (all.len() - kept) as u64);
            for field in Field::ALL {
                let count = all.iter().filter(|found| found.field == *field).count() as u64;
                prop_assert_eq!(bounded.counts.get(field).copied(), (count > 0).then_some(count));
            }
        }
    }
}
