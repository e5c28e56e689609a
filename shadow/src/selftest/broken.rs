//! Controls that break the rules: are they noticed before anything is compared with them?
//!
//! A fault that the control shares with a candidate differs nowhere. What is left against it are the
//! invariants, so results of the control are altered here, and each has to be found to break one.

use comparator::{Execution, check};
use storage_snapshot::{Amount, Nonce, StateKey, StateRead, StateValue};

use super::{
    SelftestError,
    chain::{Case, broken_rule},
    report::BrokenRow,
};

/// A rule that is broken, and how; `None` if a block has nothing to break it in.
type Break = fn(&Case) -> Option<Execution>;

const BREAKS: [(&str, Break); 5] = [
    ("a balance has a unit too many", one_unit_too_many),
    ("a nonce goes back", nonce_goes_back),
    ("the miner's reward is another", another_reward),
    ("the fees are not those paid", other_fees),
    ("a multisig is deleted by nobody", multisig_deleted_by_nobody),
];

/// Breaks every rule in every block that allows it.
pub(super) fn break_controls(cases: &[Case]) -> Result<Vec<BrokenRow>, SelftestError> {
    let row = |(name, alter): (&'static str, Break)| {
        let mut row = BrokenRow { name, altered: 0, inconclusive: 0 };
        for case in cases {
            let Some(control) = alter(case) else { continue };
            row.altered += 1;
            let broken = broken_rule(&control, &case.pre_state, &case.block)?;
            row.inconclusive += u64::from(broken.is_some());
        }
        Ok(row)
    };
    BREAKS.into_iter().map(row).collect()
}

/// Of an asset that a block may lose some of, nothing is said about sums.
fn one_unit_too_many(case: &Case) -> Option<Execution> {
    let mut control = case.control.clone();
    let leaky = check(&control, &*case.pre_state, &*case.block).ok()?.leaky_assets;
    let (key, more) = control.delta.iter().find_map(|(key, value)| match (key, value) {
        (StateKey::Balance(_, asset), Some(StateValue::Balance(balance)))
            if !leaky.contains(asset) =>
        {
            Some((*key, balance.wrapping_add(Amount::new(1))))
        }
        _ => None,
    })?;
    control.delta.insert(key, Some(StateValue::Balance(more)));
    Some(control)
}

fn nonce_goes_back(case: &Case) -> Option<Execution> {
    let mut control = case.control.clone();
    let before = |key: &StateKey| match case.pre_state.read(key) {
        Ok(Some(StateValue::Nonce(nonce))) => nonce.as_u64().checked_sub(1),
        _ => None,
    };
    let (key, lower) = control.delta.keys().find_map(|key| Some((*key, before(key)?)))?;
    control.delta.insert(key, Some(StateValue::Nonce(Nonce::new(lower))));
    Some(control)
}

fn another_reward(case: &Case) -> Option<Execution> {
    let mut control = case.control.clone();
    control.totals.miner_reward = control.totals.miner_reward.wrapping_add(Amount::new(1));
    Some(control)
}

fn other_fees(case: &Case) -> Option<Execution> {
    let mut control = case.control.clone();
    control.totals.fees = control.totals.fees.wrapping_add(Amount::new(1));
    Some(control)
}

/// Of an account that sends nothing in the block.
fn multisig_deleted_by_nobody(case: &Case) -> Option<Execution> {
    let miner = case.block.miner;
    if case.block.transactions.iter().any(|transaction| transaction.body.source == miner) {
        return None;
    }
    let mut control = case.control.clone();
    control.delta.insert(StateKey::Multisig(miner), None);
    Some(control)
}
