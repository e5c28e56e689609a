//! The questions that are put to a node, in the chain's words, and what its answers mean.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use storage_snapshot::{Address, Amount, BlockHash, StateKey, StateValue, TopoHeight, TxHash};

use super::{
    client::{Answer, Call, NodeClient},
    error::NodeError,
    methods,
};
use crate::{
    chain::{Block, BlockHeader, Network, NetworkAddress, decode_block, decode_header},
    source::{
        Payout,
        answer_json::{self, AnswerError},
    },
};

/// Asks a node about its chain, which is on one network.
#[derive(Clone, Debug)]
pub(super) struct Questions {
    pub(super) client: NodeClient,
    pub(super) network: Network,
}

/// A version of a key at one position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeVersion {
    /// `None` for a version that says "deleted".
    pub(super) value: Option<StateValue>,
    /// The version before it; nodes do not say it of multisig configurations.
    pub(super) previous: Option<TopoHeight>,
}

/// How far the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tops {
    pub(super) top: TopoHeight,
    /// Up to here nothing is ordered anew.
    pub(super) stable: TopoHeight,
}

/// What a node says of supplies at its top.
#[derive(Deserialize)]
struct SupplyInfo {
    topoheight: TopoHeight,
    top_block_hash: BlockHash,
    emitted_supply: Amount,
    burned_supply: Amount,
}

impl Questions {
    /// How far the node is, and with the same request the order of some blocks. What is called stable was so
    /// before the order was told: of an order that was changed meanwhile it says nothing.
    pub(super) async fn tops(
        &self,
        order: Option<RangeInclusive<u64>>,
    ) -> Result<(Tops, Vec<BlockHash>), NodeError> {
        // What is stable is asked for first, so that it is not above the top meanwhile.
        let mut calls = vec![Call::plain(methods::STABLE), Call::plain(methods::TOP)];
        calls.extend(order.clone().into_iter().flat_map(order_calls));
        let mut answers = self.client.ask_since_the_first(&calls).await?.into_iter();
        let mut number = |method| match answers.next() {
            Some(answer) => parsed(method, &answer.found(method)?),
            None => Err(NodeError::Incomplete { method }),
        };
        let (stable, top) = (number(methods::STABLE)?, number(methods::TOP)?);
        if stable > top {
            return Err(NodeError::StableAboveTop { stable, top });
        }
        let tops = Tops { top, stable };
        let hashes = order.map(|order| hashes_of(order, answers)).transpose()?;
        Ok((tops, hashes.unwrap_or_default()))
    }

    /// What was ever burned up to a block, if the node has it at its top now. What it says of the block's own
    /// supply has to be what the block says: then both were read of one state.
    pub(super) async fn burned_supply(&self, block: &Block) -> Result<Option<Amount>, NodeError> {
        let text = self.client.ask(Call::plain(methods::INFO)).await?.found(methods::INFO)?;
        let info: SupplyInfo = parsed(methods::INFO, &text)?;
        let is_of_block = info.topoheight == block.topoheight
            && info.top_block_hash == block.hash
            && info.emitted_supply == block.claimed.supply;
        Ok(is_of_block.then_some(info.burned_supply))
    }

    /// The hashes of blocks in their order.
    pub(super) async fn order(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<BlockHash>, NodeError> {
        hashes_of(range.clone(), self.client.ask_all(order_calls(range).collect()).await?)
    }

    /// The same, said at once or not at all: a node that has to be asked again may not have had these blocks
    /// when it was asked about them.
    pub(super) async fn order_at_once(
        &self,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<BlockHash>, NodeError> {
        let calls = order_calls(range.clone()).collect();
        hashes_of(range, self.client.ask_all_once(calls).await?)
    }

    /// Blocks with their transactions, so many in one request.
    pub(super) async fn blocks(
        &self,
        range: RangeInclusive<u64>,
        in_one_request: usize,
    ) -> Result<Vec<(Block, usize)>, NodeError> {
        let calls = range.clone().map(block_call).collect();
        let answers = self.client.ask_in_batches(calls, in_one_request).await?;
        let blocks = range.zip(answers).map(|(at, answer)| {
            let text = answer.found(methods::BLOCK)?;
            let block = decode_block(text.get()).map_err(NodeError::Block)?;
            check_position(TopoHeight::new(at), &block)?;
            Ok((block, text.get().len()))
        });
        blocks.collect()
    }

    /// One block with its transactions, of whatever network, if the node has it.
    pub(super) async fn block(
        client: &NodeClient,
        at: TopoHeight,
    ) -> Result<Option<Block>, NodeError> {
        match client.ask(block_call(at.as_u64())).await? {
            Answer::Found(text) => {
                let block = decode_block(text.get()).map_err(NodeError::Block)?;
                check_position(at, &block)?;
                Ok(Some(block))
            }
            Answer::NotFound { .. } => Ok(None),
        }
    }

    /// Blocks without their transactions.
    pub(super) async fn headers(
        client: &NodeClient,
        range: RangeInclusive<u64>,
    ) -> Result<Vec<BlockHeader>, NodeError> {
        let calls = pieces(range.clone(), RANGE_MAX).map(|piece| {
            let params = json!({"start_topoheight": piece.start(), "end_topoheight": piece.end()});
            Call::with(methods::HEADERS, params)
        });
        let mut headers = Vec::new();
        for answer in client.ask_all(calls.collect()).await? {
            let text = answer.found(methods::HEADERS)?;
            let listed: Vec<&RawValue> = serde_json::from_str(text.get())
                .map_err(|error| wrong(methods::HEADERS, AnswerError::Json(error)))?;
            for text in listed {
                headers.push(decode_header(text.get()).map_err(NodeError::Block)?);
            }
        }
        let mut found = headers.iter().map(|header| header.topoheight.as_u64());
        if !range.clone().all(|at| found.next() == Some(at)) {
            return Err(NodeError::Incomplete { method: methods::HEADERS });
        }
        Ok(headers)
    }

    /// Whether keys have a version exactly at a position each, and which.
    pub(super) async fn versions(
        &self,
        asked: &[(StateKey, TopoHeight)],
    ) -> Result<Vec<Option<NodeVersion>>, NodeError> {
        let calls = asked.iter().filter_map(|(key, at)| self.version_call(key, *at)).collect();
        let answers = self.client.ask_all(calls).await?;
        let mut answers = answers.into_iter();
        let versions = asked.iter().map(|(key, _)| {
            let Some(method) = version_method(key) else { return Ok(None) };
            let Some(answer) = answers.next() else { return Err(NodeError::Incomplete { method }) };
            self.version_in(method, key, answer)
        });
        versions.collect()
    }

    /// The newest value of keys and where it was written; `None` for keys that never had one.
    pub(super) async fn newest(
        &self,
        keys: &[StateKey],
    ) -> Result<Vec<Option<(StateValue, TopoHeight)>>, NodeError> {
        let calls = keys.iter().filter_map(|key| self.newest_call(key)).collect();
        let mut answers = self.client.ask_all(calls).await?.into_iter();
        let newest = keys.iter().map(|key| {
            let Some(method) = newest_method(key) else { return Ok(None) };
            let Some(answer) = answers.next() else { return Err(NodeError::Incomplete { method }) };
            let Answer::Found(result) = answer else { return Ok(None) };
            let value = self.value_in(method, key, &result)?;
            let at = answer_json::written_at(&result).map_err(|error| wrong(method, error))?;
            Ok(value.map(|value| (value, at)))
        });
        newest.collect()
    }

    /// Whether a block executed each of these transactions.
    pub(super) async fn executed(
        &self,
        asked: &[(TxHash, BlockHash)],
    ) -> Result<Vec<bool>, NodeError> {
        let calls = asked.iter().map(|(transaction, block)| {
            Call::with(methods::EXECUTED, json!({"tx_hash": transaction, "block_hash": block}))
        });
        let answers = self.client.ask_all(calls.collect()).await?.into_iter();
        answers.map(|answer| parsed(methods::EXECUTED, &answer.found(methods::EXECUTED)?)).collect()
    }

    /// Where each of these transactions was executed, if it was.
    pub(super) async fn executors(
        &self,
        asked: &[TxHash],
    ) -> Result<Vec<Option<TopoHeight>>, NodeError> {
        #[derive(Deserialize)]
        struct Executor {
            block_topoheight: TopoHeight,
        }
        let calls = asked
            .iter()
            .map(|transaction| Call::with(methods::EXECUTOR, json!({"hash": transaction})));
        let answers = self.client.ask_all(calls.collect()).await?.into_iter();
        let executors = answers.map(|answer| match answer {
            Answer::Found(result) => parsed::<Executor>(methods::EXECUTOR, &result)
                .map(|executor| Some(executor.block_topoheight)),
            Answer::NotFound { .. } => Ok(None),
        });
        executors.collect()
    }

    /// What the contracts that these transactions called paid; `None` where the node does not say.
    pub(super) async fn payouts(
        &self,
        asked: &[TxHash],
    ) -> Result<Vec<Option<Vec<Payout>>>, NodeError> {
        let calls = asked.iter().map(|transaction| {
            Call::with(methods::CONTRACT_OUTPUTS, json!({"transaction": transaction}))
        });
        let answers = self.client.ask_all(calls.collect()).await?.into_iter();
        let payouts = answers.map(|answer| match answer {
            Answer::Found(result) => answer_json::payouts_of(&result, self.network)
                .map(Some)
                .map_err(|error| wrong(methods::CONTRACT_OUTPUTS, error)),
            Answer::NotFound { .. } => Ok(None),
        });
        payouts.collect()
    }

    fn version_call(&self, key: &StateKey, at: TopoHeight) -> Option<Call> {
        let address = self.address(key.account());
        let params = match key.asset() {
            Some(asset) => json!({"address": address, "asset": asset, "topoheight": at}),
            None => json!({"address": address, "topoheight": at}),
        };
        Some(Call::with(version_method(key)?, params))
    }

    fn newest_call(&self, key: &StateKey) -> Option<Call> {
        let address = self.address(key.account());
        let params = match key.asset() {
            Some(asset) => json!({"address": address, "asset": asset}),
            None => json!({"address": address}),
        };
        Some(Call::with(newest_method(key)?, params))
    }

    fn version_in(
        &self,
        method: &'static str,
        key: &StateKey,
        answer: Answer,
    ) -> Result<Option<NodeVersion>, NodeError> {
        let Answer::Found(result) = answer else { return Ok(None) };
        let value = self.value_in(method, key, &result)?;
        let previous = answer_json::previous_of(&result).map_err(|error| wrong(method, error))?;
        Ok(Some(NodeVersion { value, previous }))
    }

    fn value_in(
        &self,
        method: &'static str,
        key: &StateKey,
        result: &RawValue,
    ) -> Result<Option<StateValue>, NodeError> {
        answer_json::value_of(key, result, self.network).map_err(|error| wrong(method, error))
    }

    fn address(&self, account: &Address) -> String {
        NetworkAddress { account: *account, network: self.network }.to_string()
    }
}

fn check_position(asked: TopoHeight, block: &Block) -> Result<(), NodeError> {
    let found = block.topoheight;
    if asked == found { Ok(()) } else { Err(NodeError::Position { asked, found }) }
}

/// An answer as a value of its own.
fn parsed<T: serde::de::DeserializeOwned>(
    method: &'static str,
    result: &RawValue,
) -> Result<T, NodeError> {
    answer_json::parse(result).map_err(|error| wrong(method, error))
}

fn wrong(method: &'static str, source: AnswerError) -> NodeError {
    NodeError::Answer { method, source }
}

/// Nodes have no question about registration at one position.
const fn version_method(key: &StateKey) -> Option<&'static str> {
    match key {
        StateKey::Nonce(_) => Some(methods::NONCE_AT),
        StateKey::Balance(..) => Some(methods::BALANCE_AT),
        StateKey::Multisig(_) => Some(methods::MULTISIG_AT),
        StateKey::Registered(_) => None,
    }
}

const fn newest_method(key: &StateKey) -> Option<&'static str> {
    match key {
        StateKey::Nonce(_) => Some(methods::NONCE),
        StateKey::Balance(..) => Some(methods::BALANCE),
        StateKey::Multisig(_) => Some(methods::MULTISIG),
        StateKey::Registered(_) => None,
    }
}

fn block_call(at: u64) -> Call {
    Call::with(methods::BLOCK, json!({"topoheight": at, "include_txs": true}))
}

fn order_calls(range: RangeInclusive<u64>) -> impl Iterator<Item = Call> {
    pieces(range, ORDER_MAX).map(|piece| {
        Call::with(
            methods::ORDER,
            json!({"start_topoheight": piece.start(), "end_topoheight": piece.end()}),
        )
    })
}

/// The hashes in answers about the pieces of a range. A node has an error for positions that it does not
/// have; an answer of another length would have every later block look like another one.
fn hashes_of(
    range: RangeInclusive<u64>,
    answers: impl IntoIterator<Item = Answer>,
) -> Result<Vec<BlockHash>, NodeError> {
    let mut hashes = Vec::new();
    for (piece, answer) in pieces(range, ORDER_MAX).zip(answers) {
        let listed: Vec<BlockHash> = parsed(methods::ORDER, &answer.found(methods::ORDER)?)?;
        if listed.len() as u64 != piece.end() - piece.start() + 1 {
            return Err(NodeError::Incomplete { method: methods::ORDER });
        }
        hashes.extend(listed);
    }
    Ok(hashes)
}

/// A range in pieces of at most so many positions.
fn pieces(range: RangeInclusive<u64>, length: u64) -> impl Iterator<Item = RangeInclusive<u64>> {
    let (start, end) = range.into_inner();
    let count = if start > end { 0 } else { (end - start) / length + 1 };
    (0..count).map(move |piece| {
        let from = start + piece * length;
        from..=(from + (length - 1)).min(end)
    })
}

/// How many positions a node takes in one question about their order, and about their blocks.
const ORDER_MAX: u64 = 64;
const RANGE_MAX: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_into_pieces_that_cover_it() {
        #[track_caller]
        fn check(range: RangeInclusive<u64>, length: u64, expected: &[(u64, u64)]) {
            let found: Vec<_> = pieces(range, length).map(RangeInclusive::into_inner).collect();
            assert_eq!(found, expected);
        }
        check(0..=0, 20, &[(0, 0)]);
        check(5..=24, 20, &[(5, 24)]);
        check(5..=25, 20, &[(5, 24), (25, 25)]);
        check(3..=9, 3, &[(3, 5), (6, 8), (9, 9)]);
        #[expect(clippy::reversed_empty_ranges, reason = "a range without positions is allowed")]
        check(9..=3, 3, &[]);
    }

    #[test]
    fn an_order_with_a_gap_is_no_order() {
        let answer = |count: u8| {
            let hashes: Vec<_> = (0..count).map(|byte| BlockHash::new([byte; 32])).collect();
            Answer::Found(serde_json::value::to_raw_value(&hashes).unwrap())
        };
        let order = |counts: [u8; 2]| hashes_of(10..=75, counts.map(answer));
        assert_eq!(order([64, 2]).unwrap().len(), 66);
        for counts in [[63, 2], [64, 1], [64, 3]] {
            assert!(matches!(order(counts), Err(NodeError::Incomplete { method: methods::ORDER })));
        }
    }
}
