//! Questions about accounts: nonces, balances, multisig configurations, registration.

use serde::{Deserialize, Serialize};
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateKey, StateValue, TopoHeight};

use super::{
    super::{
        rpc::{Answer, NOT_FOUND, NOT_ON_DISK, RpcError},
        served_chain::ServedChain,
    },
    json,
};
use crate::chain::NetworkAddress;

#[derive(Deserialize)]
pub(super) struct OfAccount {
    address: Account,
}

#[derive(Deserialize)]
pub(super) struct OfAccountAt {
    address: Account,
    topoheight: TopoHeight,
}

#[derive(Deserialize)]
pub(super) struct OfAccountPerhapsAt {
    address: Account,
    #[serde(default)]
    topoheight: Option<TopoHeight>,
}

#[derive(Serialize)]
struct NonceVersion {
    nonce: Nonce,
    previous_topoheight: Option<TopoHeight>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topoheight: Option<TopoHeight>,
}

pub(super) fn get_nonce(chain: &ServedChain, params: OfAccount) -> Answer {
    let newest = chain.versions.newest(&StateKey::Nonce(params.address.0));
    let (at, version) =
        newest.ok_or_else(|| RpcError::not_found("Error while retrieving nonce for account"))?;
    json(&NonceVersion {
        nonce: nonce_of(version.value.as_ref()),
        previous_topoheight: version.previous,
        topoheight: Some(at),
    })
}

pub(super) fn get_nonce_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
    let exact = chain.versions.exact(&StateKey::Nonce(params.address.0), params.topoheight);
    let version = exact
        .ok_or_else(|| RpcError::not_found("Error while retrieving nonce at exact topo height"))?;
    json(&NonceVersion {
        nonce: nonce_of(version.value.as_ref()),
        previous_topoheight: version.previous,
        topoheight: None,
    })
}

pub(super) fn has_nonce(chain: &ServedChain, params: OfAccountPerhapsAt) -> Answer {
    exists(chain, &StateKey::Nonce(params.address.0), params.topoheight)
}

#[derive(Deserialize)]
pub(super) struct OfBalance {
    address: Account,
    asset: AssetId,
    #[serde(default)]
    topoheight: Option<TopoHeight>,
}

impl OfBalance {
    const fn key(&self) -> StateKey {
        StateKey::Balance(self.address.0, self.asset)
    }
}

pub(super) fn get_balance(chain: &ServedChain, params: OfBalance) -> Answer {
    #[derive(Serialize)]
    struct Newest {
        balance: Amount,
        topoheight: TopoHeight,
    }
    let Some((topoheight, version)) = chain.versions.newest(&params.key()) else {
        let account = params.address.0;
        let reason = match chain.registered_at(&account) {
            Some(_) => NOT_ON_DISK.to_owned(),
            None => format!("No account found for {}", address(chain, account)),
        };
        let message = format!("Error while retrieving last balance: {reason}");
        return Err(RpcError::new(NOT_FOUND, message));
    };
    json(&Newest { balance: balance_of(version.value.as_ref()), topoheight })
}

pub(super) fn get_balance_at_topoheight(chain: &ServedChain, params: OfBalance) -> Answer {
    #[derive(Serialize)]
    struct Exact {
        balance_type: &'static str,
        final_balance: Amount,
        output_balance: Option<Amount>,
        previous_topoheight: Option<TopoHeight>,
    }
    let Some(topoheight) = params.topoheight else {
        return Err(RpcError::invalid_params("missing field `topoheight`"));
    };
    let version = chain.versions.exact(&params.key(), topoheight).ok_or_else(|| {
        RpcError::not_found("Error while retrieving balance at exact topo height")
    })?;
    json(&Exact {
        balance_type: version.movement.as_str(),
        final_balance: balance_of(version.value.as_ref()),
        output_balance: version.output_balance,
        previous_topoheight: version.previous,
    })
}

pub(super) fn has_balance(chain: &ServedChain, params: OfBalance) -> Answer {
    exists(chain, &params.key(), params.topoheight)
}

pub(super) fn get_multisig(chain: &ServedChain, params: OfAccount) -> Answer {
    let newest = chain.versions.newest(&StateKey::Multisig(params.address.0));
    let (at, version) = newest.ok_or_else(|| {
        RpcError::new(NOT_FOUND, "Error while retrieving multisig: no multisig found")
    })?;
    json(&MultisigVersion {
        state: multisig_state(chain, version.value.as_ref()),
        topoheight: Some(at),
    })
}

pub(super) fn get_multisig_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
    let exact = chain.versions.exact(&StateKey::Multisig(params.address.0), params.topoheight);
    let version = exact
        .ok_or_else(|| RpcError::not_found("Error while retrieving multisig at topoheight"))?;
    let state = multisig_state(chain, version.value.as_ref());
    json(&MultisigVersion { state, topoheight: None })
}

#[derive(Serialize)]
struct MultisigVersion {
    state: MultisigState,
    #[serde(skip_serializing_if = "Option::is_none")]
    topoheight: Option<TopoHeight>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum MultisigState {
    Deleted,
    Active { participants: Vec<NetworkAddress>, threshold: u8 },
}

fn multisig_state(chain: &ServedChain, value: Option<&StateValue>) -> MultisigState {
    match value {
        Some(StateValue::Multisig(config)) => MultisigState::Active {
            participants: config
                .participants
                .iter()
                .map(|account| address(chain, *account))
                .collect(),
            threshold: config.threshold,
        },
        _ => MultisigState::Deleted,
    }
}

pub(super) fn has_multisig(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.versions.newest(&StateKey::Multisig(params.address.0)).is_some())
}

pub(super) fn has_multisig_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
    let key = StateKey::Multisig(params.address.0);
    json(&chain.versions.exact(&key, params.topoheight).is_some())
}

#[derive(Deserialize)]
pub(super) struct Accounts {
    #[serde(default)]
    skip: usize,
    maximum: Option<usize>,
    minimum_topoheight: Option<TopoHeight>,
    maximum_topoheight: Option<TopoHeight>,
}

pub(super) fn get_accounts(chain: &ServedChain, params: Accounts) -> Answer {
    let maximum = params.maximum.unwrap_or(ACCOUNTS_MAX);
    if maximum > ACCOUNTS_MAX {
        let message = format!(
            "Maximum accounts requested cannot be greater than {ACCOUNTS_MAX}: Invalid JSON request"
        );
        return Err(RpcError::new(NOT_FOUND, message));
    }
    let from = params.minimum_topoheight.unwrap_or_default();
    let to = params.maximum_topoheight.unwrap_or(TopoHeight::MAX);
    let is_within = |account: &&Address| {
        chain.registered_at(account).is_some_and(|at| (from..=to).contains(&at))
    };
    let accounts = chain.accounts().filter(is_within).skip(params.skip).take(maximum);
    json(&accounts.map(|account| address(chain, *account)).collect::<Vec<_>>())
}

pub(super) fn get_account_assets(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.assets_of(&params.address.0).collect::<Vec<_>>())
}

pub(super) fn get_account_registration_topoheight(
    chain: &ServedChain,
    params: OfAccount,
) -> Answer {
    let at = chain.registered_at(&params.address.0);
    json(&at.ok_or_else(|| {
        RpcError::not_found("Error while retrieving account registration topoheight")
    })?)
}

pub(super) fn is_account_registered(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.registered_at(&params.address.0).is_some())
}

fn exists(chain: &ServedChain, key: &StateKey, at: Option<TopoHeight>) -> Answer {
    #[derive(Serialize)]
    struct Exist {
        exist: bool,
    }
    json(&Exist {
        exist: match at {
            Some(at) => chain.versions.exact(key, at).is_some(),
            None => chain.versions.newest(key).is_some(),
        },
    })
}

fn nonce_of(value: Option<&StateValue>) -> Nonce {
    match value {
        Some(StateValue::Nonce(nonce)) => *nonce,
        _ => Nonce::default(),
    }
}

fn balance_of(value: Option<&StateValue>) -> Amount {
    match value {
        Some(StateValue::Balance(amount)) => *amount,
        _ => Amount::ZERO,
    }
}

fn address(chain: &ServedChain, account: Address) -> NetworkAddress {
    NetworkAddress { account, network: chain.network }
}

/// An account in a question.
struct Account(Address);

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let NetworkAddress { account, .. } = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(account))
    }
}

const ACCOUNTS_MAX: usize = 100;
