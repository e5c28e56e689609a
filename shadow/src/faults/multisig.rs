//! Faults in multisig configurations.

use std::collections::BTreeMap;

use comparator::{Failure, Field};
use storage_snapshot::{Address, MultisigConfig, StateKey, StateValue, TxHash};

use super::{
    Mutant, Wrong,
    site::{Done, Site},
};
use crate::chain::TransactionData;

const MULTISIG: &[Field] = &[Field::Multisig];
/// A deletion of what was not there before the block is a difference of the version.
const MULTISIG_OR_VERSION: &[Field] = &[Field::Multisig, Field::Version];

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant::alters(
        "multisig-not-merged",
        Some("T6"),
        "a configuration that is set does not reach the result",
        MULTISIG,
        multisig_not_merged,
    ),
    Mutant::alters(
        "multisig-delete-lost",
        Some("T8"),
        "the deletion of a configuration does not reach the result",
        MULTISIG_OR_VERSION,
        multisig_delete_lost,
    ),
    Mutant::alters(
        "multisig-none-for-everybody",
        Some("T8"),
        "no configuration is written for every sender that configures nothing",
        MULTISIG_OR_VERSION,
        multisig_none_for_everybody,
    ),
    Mutant::alters(
        "multisig-participants-sorted",
        None,
        "the participants of a configuration are put in order",
        MULTISIG,
        multisig_participants_sorted,
    ),
    Mutant::alters(
        "multisig-threshold-off-by-one",
        None,
        "off by one: a configuration asks for one signature more",
        MULTISIG,
        multisig_threshold_off_by_one,
    ),
    Mutant::alters(
        "multisig-first-wins",
        None,
        "of several configurations of an account in one block the first one stays",
        MULTISIG,
        multisig_first_wins,
    ),
    Mutant::alters(
        "multisig-tombstone-wins",
        None,
        "what is deleted in a block stays deleted, even if it is set again",
        MULTISIG,
        multisig_tombstone_wins,
    ),
    Mutant::alters(
        "multisig-merged-by-hash",
        Some("T21"),
        "of several configurations of an account that of the highest transaction hash stays",
        MULTISIG,
        multisig_merged_by_hash,
    ),
];

fn multisig_not_merged(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(Change { config: Some(_), .. }) = changes.last() {
            replace(wrong, account, &changes, None);
        }
    }
    Ok(())
}

fn multisig_delete_lost(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(Change { config: None, .. }) = changes.last() {
            replace(wrong, account, &changes, None);
        }
    }
    Ok(())
}

fn multisig_none_for_everybody(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for Done { index, body, .. } in site.executed() {
        let key = StateKey::Multisig(body.source);
        if site.right.delta.get(&key).is_none() {
            wrong.write(key, None, index);
        }
    }
    Ok(())
}

fn multisig_participants_sorted(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(Change { config: Some(config), .. }) = changes.last() {
            let mut participants = config.participants.clone();
            participants.sort_unstable();
            let config = MultisigConfig { participants, ..config.clone() };
            replace(wrong, account, &changes, Some(Some(config)));
        }
    }
    Ok(())
}

fn multisig_threshold_off_by_one(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(Change { config: Some(config), .. }) = changes.last() {
            let threshold = config.threshold.wrapping_add(1);
            let config = MultisigConfig { threshold, ..config.clone() };
            replace(wrong, account, &changes, Some(Some(config)));
        }
    }
    Ok(())
}

fn multisig_first_wins(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(first) = changes.first() {
            replace(wrong, account, &changes, Some(first.config.clone()));
        }
    }
    Ok(())
}

fn multisig_tombstone_wins(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if changes.iter().any(|change| change.config.is_none()) {
            replace(wrong, account, &changes, Some(None));
        }
    }
    Ok(())
}

fn multisig_merged_by_hash(site: &Site<'_>, wrong: &mut Wrong) -> Result<(), Failure> {
    for (account, changes) in changes(site) {
        if let Some(highest) = changes.iter().max_by_key(|change| change.hash) {
            replace(wrong, account, &changes, Some(highest.config.clone()));
        }
    }
    Ok(())
}

/// A transaction that configures its source.
struct Change {
    index: usize,
    hash: TxHash,
    config: Option<MultisigConfig>,
}

/// What is configured in the block, in order, by account.
fn changes(site: &Site<'_>) -> BTreeMap<Address, Vec<Change>> {
    let mut changes = BTreeMap::<_, Vec<_>>::new();
    for Done { index, body, .. } in site.executed() {
        if let TransactionData::Multisig(config) = &body.data {
            let config = (config.threshold > 0).then(|| config.clone());
            changes.entry(body.source).or_default().push(Change { index, hash: body.hash, config });
        }
    }
    changes
}

/// Writes something else for an account, or nothing.
fn replace(
    wrong: &mut Wrong,
    account: Address,
    changes: &[Change],
    write: Option<Option<MultisigConfig>>,
) {
    let key = StateKey::Multisig(account);
    for change in changes {
        match &write {
            Some(config) => wrong.write(key, config.clone().map(StateValue::from), change.index),
            None => wrong.drop_write(key, change.index),
        }
    }
}
