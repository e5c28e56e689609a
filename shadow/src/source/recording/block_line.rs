//! A line of `blocks`: the question for the block at one topoheight, and the block.

use serde::Deserialize;
use storage_snapshot::TopoHeight;

use super::{
    RecordingError,
    lines::{Line, Lines},
};
use crate::chain::{Block, Network, ParsedBlock, decode_block};

/// The next block, which has to be the one at `expected`, of the network that the chain is on.
pub(super) fn read_block(
    lines: &mut Lines,
    expected: TopoHeight,
    network: Option<Network>,
) -> Result<Option<Block>, RecordingError> {
    let Some(line) = lines.next()? else { return Ok(None) };
    match block_at_once(&line, expected, network) {
        Some(block) => Ok(Some(block)),
        None => block_part_by_part(&line, expected, network).map(Some),
    }
}

/// A block that is as it should be, from a line that is looked at once.
fn block_at_once(line: &Line<'_>, expected: TopoHeight, network: Option<Network>) -> Option<Block> {
    let exchange = line.exchange_of::<BlockParams, ParsedBlock<'_>>()?;
    if exchange.method != BLOCK_AT || exchange.params?.topoheight != expected {
        return None;
    }
    exchange.result?.checked().filter(|block| {
        block.topoheight == expected && network.is_none_or(|network| network == block.network)
    })
}

/// The same from any line: each part is read on its own, to say what is wrong with it.
fn block_part_by_part(
    line: &Line<'_>,
    expected: TopoHeight,
    network: Option<Network>,
) -> Result<Block, RecordingError> {
    let exchange = line.exchange()?;
    if exchange.method != BLOCK_AT {
        return Err(line.error(format!("expected {BLOCK_AT}, found {}", exchange.method)));
    }
    let params: BlockParams = line.params(&exchange)?;
    if params.topoheight != expected {
        return Err(line.error(format!(
            "topoheight {expected} is missing: the next block is the one at {}",
            params.topoheight
        )));
    }
    let Some(result) = exchange.result else {
        return Err(line.error(format!("the node had no block at topoheight {expected}")));
    };
    let block = decode_block(result.get()).map_err(|source| line.block_error(source))?;
    if block.topoheight != expected {
        return Err(line.error(format!(
            "asked for topoheight {expected}, the block says {}",
            block.topoheight
        )));
    }
    match network {
        Some(network) if network != block.network => Err(line.error(format!(
            "the block at topoheight {expected} is of {}, the ones before it of {network}",
            block.network
        ))),
        _ => Ok(block),
    }
}

#[derive(Deserialize)]
struct BlockParams {
    topoheight: TopoHeight,
}

const BLOCK_AT: &str = "get_block_at_topoheight";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// The lines of a recorded chain.
    fn recorded() -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/recordings/parallel-a/blocks.jsonl.gz");
        let mut lines = Lines::open(&path).unwrap();
        let mut texts = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            texts.push(String::from_utf8(line.text().to_vec()).unwrap());
        }
        texts
    }

    #[test]
    fn every_block_of_a_recording_is_read_at_once() {
        for (number, text) in recorded().iter().enumerate() {
            let line = Line::of(text.as_bytes());
            let expected = TopoHeight::new(number as u64);
            let block = block_at_once(&line, expected, Some(Network::Test)).unwrap();
            assert_eq!(block, block_part_by_part(&line, expected, None).unwrap());
            assert_eq!(block_at_once(&line, expected.next(), None), None);
            assert_eq!(block_at_once(&line, expected, Some(Network::Mainnet)), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_read_part_by_part(
            number in 0..35_usize,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        ) {
            let texts = recorded();
            let mut text = texts[number].clone().into_bytes();
            for (place, byte) in edits {
                let place = place.index(text.len());
                text[place] = byte;
            }
            let line = Line::of(&text);
            let expected = TopoHeight::new(number as u64);
            let at_once = block_at_once(&line, expected, None);
            let part_by_part = block_part_by_part(&line, expected, None);
            prop_assert_eq!(at_once, part_by_part.ok());
        }
    }
}
