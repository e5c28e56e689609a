//! What has to be known of the blocks before the first one that is followed.

use std::sync::Arc;

use storage_snapshot::{BlockFacts, BlockRef, TopoHeight};

use super::{client::NodeClient, error::NodeError, questions::Questions};
use crate::{
    chain::BlockHeader,
    rules::{SIDE_BLOCK_WINDOW, SideBlock},
};

/// The facts of the blocks just below a position: as many as decide whether a block there is a side
/// block. Fewer at the beginning of the chain.
pub(super) async fn facts_before(
    client: &NodeClient,
    first: TopoHeight,
) -> Result<Arc<Vec<(BlockRef, BlockFacts)>>, NodeError> {
    let Some(last) = first.previous() else { return Ok(Arc::default()) };
    // Whether these are side blocks themselves is decided by the ones before them.
    let from = first.as_u64().saturating_sub(2 * SIDE_BLOCK_WINDOW as u64);
    let headers = Questions::headers(client, from..=last.as_u64()).await?;
    Ok(Arc::new(facts_of(&headers)))
}

/// What the last of some blocks leave to the next one. What they burned no block says.
fn facts_of(headers: &[BlockHeader]) -> Vec<(BlockRef, BlockFacts)> {
    let mut facts: Vec<(BlockRef, BlockFacts)> = Vec::with_capacity(headers.len());
    for header in headers {
        let window = facts.len().saturating_sub(SIDE_BLOCK_WINDOW);
        let previous = facts.iter().skip(window).map(|(_, facts)| facts);
        let side_block = SideBlock::decide(header.blue_score, previous).is_side();
        let block = BlockRef { topoheight: header.topoheight, hash: header.hash };
        let leaves = BlockFacts {
            blue_score: header.blue_score,
            side_block,
            emitted_supply: header.claimed.supply,
            burned_supply: None,
        };
        facts.push((block, leaves));
    }
    let kept = facts.len().saturating_sub(SIDE_BLOCK_WINDOW);
    facts.split_off(kept)
}
