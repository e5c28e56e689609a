//! Questions about transactions.

use serde::{Deserialize, Serialize};
use storage_snapshot::{BlockHash, TopoHeight, TxHash};

use super::{
    super::{
        rpc::{Answer, NOT_FOUND, NOT_ON_DISK, RpcError},
        served_chain::ServedChain,
    },
    json, list,
};

#[derive(Deserialize)]
pub(super) struct OfHash {
    hash: TxHash,
}

pub(super) fn get_transaction(chain: &ServedChain, params: OfHash) -> Answer {
    transaction_json(chain, &params.hash)
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
pub(super) struct Transactions {
    tx_hashes: Vec<TxHash>,
}

pub(super) fn get_transactions(chain: &ServedChain, params: Transactions) -> Answer {
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

pub(super) fn get_transaction_executor(chain: &ServedChain, params: OfHash) -> Answer {
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
pub(super) struct ExecutedInBlock {
    tx_hash: TxHash,
    block_hash: BlockHash,
}

pub(super) fn is_tx_executed_in_block(chain: &ServedChain, params: ExecutedInBlock) -> Answer {
    let executed_in = chain.executed_in(&params.tx_hash);
    json(&executed_in.is_some_and(|block| block.hash == params.block_hash))
}

#[derive(Deserialize)]
pub(super) struct ContractOutputs {
    transaction: TxHash,
}

pub(super) fn get_contract_outputs(chain: &ServedChain, params: ContractOutputs) -> Answer {
    let outputs = chain.outputs(&params.transaction);
    Ok(outputs
        .ok_or_else(|| RpcError::not_found("Error while retrieving contract outputs"))?
        .to_string())
}

const TRANSACTIONS_MAX: usize = 20;

/// What the node says of a transaction that no block executed.
const NEVER_EXECUTED: i64 = 269;
