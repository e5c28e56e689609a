//! What the stand-in answers to each question, in the node's own forms and words.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, Nonce, StateKey, StateValue, TopoHeight, TxHash,
};

use super::{
    rpc::{Answer, INVALID_PARAMS, METHOD_NOT_FOUND, NOT_FOUND, NOT_ON_DISK, RpcError},
    served_block::{ServedBlock, Shown},
    served_chain::{Recorded, ServedChain},
};
use crate::chain::{BlockType, Network, NetworkAddress};

/// Answers one question from the chain as it is.
pub(super) fn answer(
    chain: &ServedChain,
    version: &str,
    method: &str,
    params: Option<&RawValue>,
) -> Answer {
    let question = Question { chain, params };
    match method {
        "get_version" => question.plain(|_| json(version)),
        "get_info" => question.plain(|chain| get_info(chain, version)),
        "get_topoheight" => question.plain(|chain| json(&top(chain)?.topoheight())),
        "get_blue_score" => question.plain(|chain| json(&top(chain)?.facts.blue_score)),
        "get_stable_topoheight" => question.plain(|chain| json(&chain.stable().topoheight)),
        "get_stable_blue_score" | "get_stableheight" => {
            question.plain(|chain| json(&chain.stable().blue_score))
        }
        "get_pruned_topoheight" => question.plain(|_| json(&())),
        "get_tips" => question.plain(|chain| json(&[top(chain)?.place.hash])),
        "get_difficulty" => question.plain(get_difficulty),
        "get_hard_forks" => question.recorded_or(method, HARD_FORKS),
        "get_dev_fee_thresholds" => question.recorded_or(method, DEV_FEE_THRESHOLDS),
        "get_block_at_topoheight" => question.with(get_block_at_topoheight),
        "get_block_by_hash" => question.with(get_block_by_hash),
        "get_top_block" => question.with(get_top_block),
        "get_blocks_at_blue_score" => question.with(get_blocks_at_blue_score),
        "get_blocks_range_by_topoheight" => question.with(get_blocks_range_by_topoheight),
        "get_dag_order" => question.with(get_dag_order),
        "get_nonce" => question.with(get_nonce),
        "get_nonce_at_topoheight" => question.with(get_nonce_at_topoheight),
        "has_nonce" => question.with(has_nonce),
        "get_balance" => question.with(get_balance),
        "get_balance_at_topoheight" => question.with(get_balance_at_topoheight),
        "has_balance" => question.with(has_balance),
        "get_multisig" => question.with(get_multisig),
        "get_multisig_at_topoheight" => question.with(get_multisig_at_topoheight),
        "has_multisig" => question.with(has_multisig),
        "has_multisig_at_topoheight" => question.with(has_multisig_at_topoheight),
        "get_accounts" => question.with(get_accounts),
        "count_accounts" => question.plain(|chain| json(&chain.accounts().count())),
        "get_account_assets" => question.with(get_account_assets),
        "get_account_registration_topoheight" => question.with(get_account_registration_topoheight),
        "is_account_registered" => question.with(is_account_registered),
        "get_transaction" => {
            question.with(|chain, params: OfHash<TxHash>| transaction_json(chain, &params.hash))
        }
        "get_transactions" => question.with(get_transactions),
        "get_transaction_executor" => question.with(get_transaction_executor),
        "is_tx_executed_in_block" => question.with(is_tx_executed_in_block),
        "get_contract_outputs" => question.with(get_contract_outputs),
        _ => question.recorded(method).unwrap_or_else(|| {
            let message = format!("Method '{method}' in request was not found");
            Err(RpcError::new(METHOD_NOT_FOUND, message))
        }),
    }
}

/// A question that is being answered.
struct Question<'a> {
    chain: &'a ServedChain,
    params: Option<&'a RawValue>,
}

impl Question<'_> {
    /// A question without parameters, which may not have any, be it none in braces.
    fn plain(&self, answer: impl FnOnce(&ServedChain) -> Answer) -> Answer {
        match self.params {
            Some(params) if params.get() != "null" => {
                Err(RpcError::new(INVALID_PARAMS, "Unexpected parameters for this method"))
            }
            _ => answer(self.chain),
        }
    }

    fn with<P: DeserializeOwned>(&self, answer: impl FnOnce(&ServedChain, P) -> Answer) -> Answer {
        let Some(params) = self.params.filter(|params| params.get() != "null") else {
            return Err(RpcError::invalid_params("parameters are expected by this method"));
        };
        let params = serde_json::from_str(params.get()).map_err(|error| {
            // The node does not say where.
            let message = error.to_string();
            RpcError::invalid_params(message.split(" at line ").next().unwrap_or(&message))
        })?;
        answer(self.chain, params)
    }

    /// What was answered when the chain was complete, if it is now.
    fn recorded(&self, method: &str) -> Option<Answer> {
        if !self.chain.is_complete() {
            return None;
        }
        let params = canonical(self.params.map_or("null", RawValue::get));
        let recorded = self.chain.at_the_end.answers.get(&(method.to_owned(), params))?;
        Some(match recorded.clone() {
            Recorded::Result(text) => Ok(text),
            Recorded::Error { code, message } => Err(RpcError::new(code, message)),
        })
    }

    fn recorded_or(&self, method: &str, otherwise: &str) -> Answer {
        self.plain(|_| self.recorded(method).unwrap_or_else(|| Ok(otherwise.to_owned())))
    }
}

/// Parameters in the one spelling that they are looked up by.
pub(super) fn canonical(params: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(params).unwrap_or_default();
    value.to_string()
}

fn get_info(chain: &ServedChain, version: &str) -> Answer {
    let top = top(chain)?;
    let emitted = top.facts.emitted_supply;
    let burned = top.facts.burned_supply.unwrap_or_default();
    let recent = chain.blocks().iter().rev().take(AVERAGE_OVER);
    let first = recent.clone().next_back().unwrap_or(top);
    let span = top.timestamp_ms.saturating_sub(first.timestamp_ms);
    let average = span / (recent.len() as u64 - 1).max(1);
    json(&Info {
        actual_bps: 1000.0 / (average.max(1) as f64),
        average_block_time: average,
        block_reward: top.reward,
        block_time_target: 1000,
        block_version: top.version,
        blue_score: top.facts.blue_score.as_u64(),
        bps: 1.0,
        burned_supply: burned,
        circulating_supply: emitted.wrapping_sub(burned),
        dev_reward: top.dev_reward,
        difficulty: &top.difficulty,
        emitted_supply: emitted,
        maximum_supply: MAXIMUM_SUPPLY,
        mempool_size: 0,
        miner_reward: top.miner_reward,
        network: match chain.network {
            Network::Mainnet => "Mainnet",
            Network::Test => "Dev",
        },
        pruned_topoheight: None,
        stable_blue_score: chain.stable().blue_score,
        top_block_hash: top.place.hash,
        topoheight: top.topoheight(),
        version,
    })
}

#[derive(Serialize)]
struct Info<'a> {
    actual_bps: f64,
    average_block_time: u64,
    block_reward: u64,
    block_time_target: u64,
    block_version: u8,
    blue_score: u64,
    bps: f64,
    burned_supply: Amount,
    circulating_supply: Amount,
    dev_reward: u64,
    difficulty: &'a str,
    emitted_supply: Amount,
    maximum_supply: u64,
    mempool_size: u64,
    miner_reward: u64,
    network: &'a str,
    pruned_topoheight: Option<TopoHeight>,
    stable_blue_score: u64,
    top_block_hash: BlockHash,
    topoheight: TopoHeight,
    version: &'a str,
}

fn get_difficulty(chain: &ServedChain) -> Answer {
    #[derive(Serialize)]
    struct Difficulty<'a> {
        difficulty: &'a str,
        hashrate: &'a str,
        hashrate_formatted: String,
    }
    let difficulty = top(chain)?.difficulty.as_str();
    let hashes: f64 = difficulty.parse().unwrap_or_default();
    let hashrate_formatted = match hashes {
        hashes if hashes < 1e3 => format!("{hashes:.2} H/s"),
        hashes => format!("{:.2} KH/s", hashes / 1e3),
    };
    json(&Difficulty { difficulty, hashrate: difficulty, hashrate_formatted })
}

#[derive(Deserialize)]
struct BlockAt {
    topoheight: TopoHeight,
    #[serde(default)]
    include_txs: bool,
}

fn get_block_at_topoheight(chain: &ServedChain, params: BlockAt) -> Answer {
    let block = chain
        .at(params.topoheight)
        .ok_or_else(|| RpcError::not_found("Error while retrieving hash at topo height"))?;
    Ok(block_json(block, chain.block_type(block), params.include_txs))
}

#[derive(Deserialize)]
struct BlockByHash {
    hash: BlockHash,
    #[serde(default)]
    include_txs: bool,
}

fn get_block_by_hash(chain: &ServedChain, params: BlockByHash) -> Answer {
    let (block, block_type) = chain
        .by_hash(&params.hash)
        .ok_or_else(|| RpcError::not_found("Error while retrieving block by hash"))?;
    Ok(block_json(block, block_type, params.include_txs))
}

#[derive(Deserialize)]
struct TopBlock {
    #[serde(default)]
    include_txs: bool,
}

fn get_top_block(chain: &ServedChain, params: TopBlock) -> Answer {
    let block = top(chain)?;
    Ok(block_json(block, chain.block_type(block), params.include_txs))
}

#[derive(Deserialize)]
struct BlocksAtBlueScore {
    height: u64,
    #[serde(default)]
    include_txs: bool,
}

fn get_blocks_at_blue_score(chain: &ServedChain, params: BlocksAtBlueScore) -> Answer {
    let blocks = chain.at_blue_score(params.height);
    let blocks =
        blocks.into_iter().map(|(block, kind)| block_json(block, kind, params.include_txs));
    Ok(list(blocks))
}

/// From one position to another, both included.
#[derive(Default, Deserialize)]
struct Range {
    start_topoheight: Option<TopoHeight>,
    end_topoheight: Option<TopoHeight>,
}

impl Range {
    /// The blocks in it, at most one more than `maximum`; without a beginning those before the end.
    fn of<'a>(&self, chain: &'a ServedChain, maximum: u64) -> Result<&'a [ServedBlock], RpcError> {
        let end = self.end_topoheight.unwrap_or(top(chain)?.topoheight());
        let start = self.start_topoheight.unwrap_or(end.checked_sub(maximum).unwrap_or_default());
        let count = end.blocks_since(start);
        let invalid = |message: String| RpcError::new(NOT_FOUND, message);
        if count > maximum {
            return Err(invalid(format!(
                "Invalid range count requested, received {count} but maximum is {maximum}: \
                 Invalid JSON request"
            )));
        }
        let place = |at: TopoHeight| usize::try_from(at.as_u64()).unwrap_or(usize::MAX);
        let blocks = (start <= end).then(|| chain.blocks().get(place(start)..=place(end)));
        blocks.flatten().ok_or_else(|| {
            invalid(format!(
                "Invalid range requested, start: {start}, end: {end}: Invalid JSON request"
            ))
        })
    }
}

fn get_blocks_range_by_topoheight(chain: &ServedChain, range: Range) -> Answer {
    let blocks = range.of(chain, BLOCKS_MAX)?.iter();
    Ok(list(blocks.map(|block| block_json(block, chain.block_type(block), false))))
}

fn get_dag_order(chain: &ServedChain, range: Range) -> Answer {
    let blocks = range.of(chain, ORDER_MAX)?.iter();
    json(&blocks.map(|block| block.place.hash).collect::<Vec<_>>())
}

#[derive(Deserialize)]
struct OfAccount {
    address: Account,
}

#[derive(Deserialize)]
struct OfAccountAt {
    address: Account,
    topoheight: TopoHeight,
}

#[derive(Deserialize)]
struct OfAccountPerhapsAt {
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

fn get_nonce(chain: &ServedChain, params: OfAccount) -> Answer {
    let newest = chain.versions.newest(&StateKey::Nonce(params.address.0));
    let (at, version) =
        newest.ok_or_else(|| RpcError::not_found("Error while retrieving nonce for account"))?;
    json(&NonceVersion {
        nonce: nonce_of(version.value.as_ref()),
        previous_topoheight: version.previous,
        topoheight: Some(at),
    })
}

fn get_nonce_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
    let exact = chain.versions.exact(&StateKey::Nonce(params.address.0), params.topoheight);
    let version = exact
        .ok_or_else(|| RpcError::not_found("Error while retrieving nonce at exact topo height"))?;
    json(&NonceVersion {
        nonce: nonce_of(version.value.as_ref()),
        previous_topoheight: version.previous,
        topoheight: None,
    })
}

fn has_nonce(chain: &ServedChain, params: OfAccountPerhapsAt) -> Answer {
    exists(chain, &StateKey::Nonce(params.address.0), params.topoheight)
}

#[derive(Deserialize)]
struct OfBalance {
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

fn get_balance(chain: &ServedChain, params: OfBalance) -> Answer {
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

fn get_balance_at_topoheight(chain: &ServedChain, params: OfBalance) -> Answer {
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

fn has_balance(chain: &ServedChain, params: OfBalance) -> Answer {
    exists(chain, &params.key(), params.topoheight)
}

fn get_multisig(chain: &ServedChain, params: OfAccount) -> Answer {
    let newest = chain.versions.newest(&StateKey::Multisig(params.address.0));
    let (at, version) = newest.ok_or_else(|| {
        RpcError::new(NOT_FOUND, "Error while retrieving multisig: no multisig found")
    })?;
    json(&MultisigVersion {
        state: multisig_state(chain, version.value.as_ref()),
        topoheight: Some(at),
    })
}

fn get_multisig_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
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

fn has_multisig(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.versions.newest(&StateKey::Multisig(params.address.0)).is_some())
}

fn has_multisig_at_topoheight(chain: &ServedChain, params: OfAccountAt) -> Answer {
    let key = StateKey::Multisig(params.address.0);
    json(&chain.versions.exact(&key, params.topoheight).is_some())
}

#[derive(Deserialize)]
struct Accounts {
    #[serde(default)]
    skip: usize,
    maximum: Option<usize>,
    minimum_topoheight: Option<TopoHeight>,
    maximum_topoheight: Option<TopoHeight>,
}

fn get_accounts(chain: &ServedChain, params: Accounts) -> Answer {
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

fn get_account_assets(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.assets_of(&params.address.0).collect::<Vec<_>>())
}

fn get_account_registration_topoheight(chain: &ServedChain, params: OfAccount) -> Answer {
    let at = chain.registered_at(&params.address.0);
    json(&at.ok_or_else(|| {
        RpcError::not_found("Error while retrieving account registration topoheight")
    })?)
}

fn is_account_registered(chain: &ServedChain, params: OfAccount) -> Answer {
    json(&chain.registered_at(&params.address.0).is_some())
}

#[derive(Deserialize)]
struct OfHash<H> {
    hash: H,
}

fn transaction_json(chain: &ServedChain, hash: &TxHash) -> Answer {
    let (transaction, blocks) =
        chain.transaction(hash).ok_or_else(|| RpcError::new(NEVER_EXECUTED, NOT_ON_DISK))?;
    let executed_in = chain.executed_in(hash).map(|block| block.hash);
    let blocks = json(&blocks.collect::<Vec<_>>())?;
    let executed_in = json(&executed_in)?;
    Ok(format!(
        "{},\"blocks\":{blocks},\"executed_in_block\":{executed_in},\"first_seen\":null,\
         \"in_mempool\":false}}",
        transaction.open()
    ))
}

#[derive(Deserialize)]
struct Transactions {
    tx_hashes: Vec<TxHash>,
}

fn get_transactions(chain: &ServedChain, params: Transactions) -> Answer {
    if params.tx_hashes.len() > TRANSACTIONS_MAX {
        return Err(RpcError::new(
            NOT_FOUND,
            format!(
                "Too many requested txs: {}, maximum is {TRANSACTIONS_MAX}",
                params.tx_hashes.len()
            ),
        ));
    }
    // One that is not there is null among the others.
    let found = params.tx_hashes.iter();
    Ok(list(found.map(|hash| transaction_json(chain, hash).unwrap_or_else(|_| "null".to_owned()))))
}

fn get_transaction_executor(chain: &ServedChain, params: OfHash<TxHash>) -> Answer {
    #[derive(Serialize)]
    struct Executor {
        block_hash: BlockHash,
        block_timestamp: u64,
        block_topoheight: TopoHeight,
    }
    let place = chain
        .executed_in(&params.hash)
        .ok_or_else(|| RpcError::new(NEVER_EXECUTED, NOT_ON_DISK))?;
    json(&Executor {
        block_hash: place.hash,
        block_timestamp: chain.at(place.topoheight).map_or(0, |block| block.timestamp_ms),
        block_topoheight: place.topoheight,
    })
}

#[derive(Deserialize)]
struct ExecutedInBlock {
    tx_hash: TxHash,
    block_hash: BlockHash,
}

fn is_tx_executed_in_block(chain: &ServedChain, params: ExecutedInBlock) -> Answer {
    let executed_in = chain.executed_in(&params.tx_hash);
    json(&executed_in.is_some_and(|block| block.hash == params.block_hash))
}

#[derive(Deserialize)]
struct ContractOutputs {
    transaction: TxHash,
}

fn get_contract_outputs(chain: &ServedChain, params: ContractOutputs) -> Answer {
    let outputs = chain.outputs(&params.transaction);
    Ok(outputs
        .ok_or_else(|| RpcError::not_found("Error while retrieving contract outputs"))?
        .to_string())
}

fn top(chain: &ServedChain) -> Result<&ServedBlock, RpcError> {
    chain.top().ok_or_else(|| RpcError::not_found("Error while retrieving top block"))
}

fn block_json(block: &ServedBlock, block_type: BlockType, include_txs: bool) -> String {
    let mut text = String::new();
    let shown = if include_txs { Shown::WithTransactions } else { Shown::WithoutTransactions };
    block.write(block_type, shown, &mut text);
    text
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

fn json<T: Serialize + ?Sized>(value: &T) -> Answer {
    serde_json::to_string(value)
        .map_err(|error| RpcError::new(super::rpc::INTERNAL_ERROR, error.to_string()))
}

fn list(texts: impl Iterator<Item = String>) -> String {
    let mut all = String::from("[");
    for (index, text) in texts.enumerate() {
        if index > 0 {
            all.push(',');
        }
        all.push_str(&text);
    }
    all.push(']');
    all
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

/// Everything that can ever be emitted, in units.
const MAXIMUM_SUPPLY: u64 = 18_400_000_000_000_000;
const BLOCKS_MAX: u64 = 20;
const ORDER_MAX: u64 = 64;
const ACCOUNTS_MAX: usize = 100;
const TRANSACTIONS_MAX: usize = 20;

/// Over how many blocks the node averages the time between two.
const AVERAGE_OVER: usize = 50;

/// What the node says of a transaction that no block executed.
const NEVER_EXECUTED: i64 = 269;

/// What a node of these rules has scheduled.
const HARD_FORKS: &str = r#"[{"changelog":"tos-hash v2, 1-second blocks","height":0,"version":1,"version_requirement":null},{"changelog":"MultiSig, P2P","height":10,"version":2,"version_requirement":">=1.16.0"},{"changelog":"Smart Contracts","height":15,"version":3,"version_requirement":">=1.16.0"}]"#;
const DEV_FEE_THRESHOLDS: &str =
    r#"[{"fee_percentage":10,"height":0},{"fee_percentage":5,"height":15768000}]"#;
