//! Questions about blocks and their order.

use serde::Deserialize;
use storage_snapshot::{BlockHash, TopoHeight};

use super::{
    super::{
        rpc::{Answer, NOT_FOUND, RpcError},
        served_block::{ServedBlock, Shown},
        served_chain::ServedChain,
    },
    json, list, top,
};
use crate::chain::BlockType;

#[derive(Deserialize)]
pub(super) struct BlockAt {
    topoheight: TopoHeight,
    #[serde(default)]
    include_txs: bool,
}

pub(super) fn get_block_at_topoheight(chain: &ServedChain, params: BlockAt) -> Answer {
    let block = chain
        .at(params.topoheight)
        .ok_or_else(|| RpcError::not_found("Error while retrieving hash at topo height"))?;
    Ok(block_json(block, chain.block_type(block), params.include_txs))
}

#[derive(Deserialize)]
pub(super) struct BlockByHash {
    hash: BlockHash,
    #[serde(default)]
    include_txs: bool,
}

pub(super) fn get_block_by_hash(chain: &ServedChain, params: BlockByHash) -> Answer {
    let (block, block_type) = chain
        .by_hash(&params.hash)
        .ok_or_else(|| RpcError::not_found("Error while retrieving block by hash"))?;
    Ok(block_json(block, block_type, params.include_txs))
}

#[derive(Deserialize)]
pub(super) struct TopBlock {
    #[serde(default)]
    include_txs: bool,
}

pub(super) fn get_top_block(chain: &ServedChain, params: TopBlock) -> Answer {
    let block = top(chain)?;
    Ok(block_json(block, chain.block_type(block), params.include_txs))
}

#[derive(Deserialize)]
pub(super) struct BlocksAtBlueScore {
    height: u64,
    #[serde(default)]
    include_txs: bool,
}

pub(super) fn get_blocks_at_blue_score(chain: &ServedChain, params: BlocksAtBlueScore) -> Answer {
    let blocks = chain.at_blue_score(params.height);
    let blocks =
        blocks.into_iter().map(|(block, kind)| block_json(block, kind, params.include_txs));
    Ok(list(blocks))
}

/// From one position to another, both included.
#[derive(Default, Deserialize)]
pub(super) struct Range {
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

pub(super) fn get_blocks_range_by_topoheight(chain: &ServedChain, range: Range) -> Answer {
    let blocks = range.of(chain, BLOCKS_MAX)?.iter();
    Ok(list(blocks.map(|block| block_json(block, chain.block_type(block), false))))
}

pub(super) fn get_dag_order(chain: &ServedChain, range: Range) -> Answer {
    let blocks = range.of(chain, ORDER_MAX)?.iter();
    json(&blocks.map(|block| block.place.hash).collect::<Vec<_>>())
}

fn block_json(block: &ServedBlock, block_type: BlockType, include_txs: bool) -> String {
    let mut text = String::new();
    let shown = if include_txs { Shown::WithTransactions } else { Shown::WithoutTransactions };
    block.write(block_type, shown, &mut text);
    text
}

const BLOCKS_MAX: u64 = 20;
const ORDER_MAX: u64 = 64;
