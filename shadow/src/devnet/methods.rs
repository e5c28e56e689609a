//! What the stand-in answers to each question, in the node's own forms and words.

mod blocks;
mod state;
mod transactions;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use storage_snapshot::{Amount, BlockHash, TopoHeight};

use super::{
    rpc::{Answer, INTERNAL_ERROR, INVALID_PARAMS, METHOD_NOT_FOUND, RpcError},
    served_block::ServedBlock,
    served_chain::{Recorded, ServedChain},
};
use crate::{
    chain::Network,
    rules::{Reward, SideBlock, dev_percentage},
};

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
        "get_info" => question.plain(|chain| get_info(chain, version, question.difficulty())),
        "get_topoheight" => question.plain(|chain| json(&top(chain)?.topoheight())),
        "get_blue_score" => question.plain(|chain| json(&top(chain)?.facts.blue_score)),
        "get_stable_topoheight" => question.plain(|chain| json(&chain.stable().topoheight)),
        "get_stable_blue_score" | "get_stableheight" => {
            question.plain(|chain| json(&chain.stable().blue_score))
        }
        "get_pruned_topoheight" => question.plain(|_| json(&())),
        "get_tips" => question.plain(|chain| json(&[top(chain)?.place.hash])),
        "get_difficulty" => question.plain(|_| {
            question.recorded(method).unwrap_or_else(|| get_difficulty(&question.difficulty()))
        }),
        "get_hard_forks" => question.recorded_or(method, HARD_FORKS),
        "get_dev_fee_thresholds" => question.recorded_or(method, DEV_FEE_THRESHOLDS),
        "get_block_at_topoheight" => question.with(blocks::get_block_at_topoheight),
        "get_block_by_hash" => question.with(blocks::get_block_by_hash),
        "get_top_block" => question.with(blocks::get_top_block),
        "get_blocks_at_blue_score" => question.with(blocks::get_blocks_at_blue_score),
        "get_blocks_range_by_topoheight" => question.with(blocks::get_blocks_range_by_topoheight),
        "get_dag_order" => question.with(blocks::get_dag_order),
        "get_nonce" => question.with(state::get_nonce),
        "get_nonce_at_topoheight" => question.with(state::get_nonce_at_topoheight),
        "has_nonce" => question.with(state::has_nonce),
        "get_balance" => question.with(state::get_balance),
        "get_balance_at_topoheight" => question.with(state::get_balance_at_topoheight),
        "has_balance" => question.with(state::has_balance),
        "get_multisig" => question.with(state::get_multisig),
        "get_multisig_at_topoheight" => question.with(state::get_multisig_at_topoheight),
        "has_multisig" => question.with(state::has_multisig),
        "has_multisig_at_topoheight" => question.with(state::has_multisig_at_topoheight),
        "get_accounts" => question.with(state::get_accounts),
        "count_accounts" => question.plain(|chain| json(&chain.accounts().count())),
        "get_account_assets" => question.with(state::get_account_assets),
        "get_account_registration_topoheight" => {
            question.with(state::get_account_registration_topoheight)
        }
        "is_account_registered" => question.with(state::is_account_registered),
        "get_transaction" => question.with(transactions::get_transaction),
        "get_transactions" => question.with(transactions::get_transactions),
        "get_transaction_executor" => question.with(transactions::get_transaction_executor),
        "is_tx_executed_in_block" => question.with(transactions::is_tx_executed_in_block),
        "get_contract_outputs" => question.with(transactions::get_contract_outputs),
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

    /// That of the block to come. It is known of a recorded chain at its end; before, and of a
    /// generated one, it is that of the last block.
    fn difficulty(&self) -> String {
        #[derive(Deserialize)]
        struct Difficulty {
            difficulty: String,
        }
        let recorded = self.recorded("get_difficulty").and_then(Result::ok);
        let recorded = recorded.and_then(|text| serde_json::from_str(&text).ok());
        recorded.map_or_else(
            || self.chain.top().map(|top| top.difficulty.clone()).unwrap_or_default(),
            |Difficulty { difficulty }| difficulty,
        )
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

fn get_info(chain: &ServedChain, version: &str, difficulty: String) -> Answer {
    let top = top(chain)?;
    let emitted = top.facts.emitted_supply;
    // What the node says of rewards is about the block to come.
    let total = Reward::total_of(emitted, SideBlock::No);
    let reward = Reward::split(total, dev_percentage(top.facts.blue_score.as_u64()));
    let burned = top.facts.burned_supply.unwrap_or_default();
    let recent = chain.blocks().iter().rev().take(AVERAGE_OVER);
    let first = recent.clone().next_back().unwrap_or(top);
    let span = top.timestamp_ms.saturating_sub(first.timestamp_ms);
    let average = span / (recent.len() as u64 - 1).max(1);
    json(&Info {
        actual_bps: 1000.0 / (average.max(1) as f64),
        average_block_time: average,
        block_reward: total,
        block_time_target: 1000,
        block_version: top.version,
        blue_score: top.facts.blue_score.as_u64(),
        bps: 1.0,
        burned_supply: burned,
        circulating_supply: emitted.wrapping_sub(burned),
        dev_reward: reward.dev,
        difficulty,
        emitted_supply: emitted,
        maximum_supply: MAXIMUM_SUPPLY,
        mempool_size: 0,
        miner_reward: reward.miner,
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
    block_reward: Amount,
    block_time_target: u64,
    block_version: u8,
    blue_score: u64,
    bps: f64,
    burned_supply: Amount,
    circulating_supply: Amount,
    dev_reward: Amount,
    difficulty: String,
    emitted_supply: Amount,
    maximum_supply: u64,
    mempool_size: u64,
    miner_reward: Amount,
    network: &'a str,
    pruned_topoheight: Option<TopoHeight>,
    stable_blue_score: u64,
    top_block_hash: BlockHash,
    topoheight: TopoHeight,
    version: &'a str,
}

fn get_difficulty(difficulty: &str) -> Answer {
    #[derive(Serialize)]
    struct Difficulty<'a> {
        difficulty: &'a str,
        hashrate: &'a str,
        hashrate_formatted: String,
    }
    let hashes: f64 = difficulty.parse().unwrap_or_default();
    let hashrate_formatted = match hashes {
        hashes if hashes < 1e3 => format!("{hashes:.2} H/s"),
        hashes => format!("{:.2} KH/s", hashes / 1e3),
    };
    json(&Difficulty { difficulty, hashrate: difficulty, hashrate_formatted })
}

fn top(chain: &ServedChain) -> Result<&ServedBlock, RpcError> {
    chain.top().ok_or_else(|| RpcError::not_found("Error while retrieving top block"))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Answer {
    serde_json::to_string(value).map_err(|error| RpcError::new(INTERNAL_ERROR, error.to_string()))
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

/// Everything that can ever be emitted, in units.
const MAXIMUM_SUPPLY: u64 = 18_400_000_000_000_000;

/// Over how many blocks the node averages the time between two.
const AVERAGE_OVER: usize = 50;

/// What a node of these rules has scheduled.
const HARD_FORKS: &str = r#"[{"changelog":"tos-hash v2, 1-second blocks","height":0,"version":1,"version_requirement":null},{"changelog":"MultiSig, P2P","height":10,"version":2,"version_requirement":">=1.16.0"},{"changelog":"Smart Contracts","height":15,"version":3,"version_requirement":">=1.16.0"}]"#;
const DEV_FEE_THRESHOLDS: &str =
    r#"[{"fee_percentage":10,"height":0},{"fee_percentage":5,"height":15768000}]"#;
