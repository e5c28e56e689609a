//! What the stand-in tells whoever subscribed, in the order in which a node tells it: the events of
//! one burst by type, the types in any order.

use std::str::FromStr;

use rand::{Rng, seq::SliceRandom};
use serde_json::json;
use storage_snapshot::TopoHeight;

use super::{
    served_block::Shown,
    served_chain::{Changes, ServedChain},
};
use crate::chain::BlockType;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum EventKind {
    NewBlock,
    BlockOrdered,
    BlockOrphaned,
    StableHeightChanged,
    StableTopoHeightChanged,
    TransactionExecuted,
    TransactionOrphaned,
    DeployContract,
    /// Something that never happens here, but may be subscribed to.
    Never,
}

/// One event, without the id of whoever is told.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) kind: EventKind,
    /// The JSON of the result.
    pub(super) text: String,
}

impl FromStr for EventKind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Ok(match name {
            "new_block" => Self::NewBlock,
            "block_ordered" => Self::BlockOrdered,
            "block_orphaned" => Self::BlockOrphaned,
            "stable_height_changed" => Self::StableHeightChanged,
            "stable_topo_height_changed" => Self::StableTopoHeightChanged,
            "transaction_executed" => Self::TransactionExecuted,
            "transaction_orphaned" => Self::TransactionOrphaned,
            "deploy_contract" => Self::DeployContract,
            "transaction_added_in_mempool"
            | "new_asset"
            | "invoke_contract"
            | "contract_transfer"
            | "contract_event"
            | "new_block_template"
            | "peer_connected"
            | "peer_disconnected"
            | "peer_peer_list_updated"
            | "peer_state_updated"
            | "peer_peer_disconnected" => Self::Never,
            _ => return Err(()),
        })
    }
}

/// The events of what a burst changed.
pub(super) fn events_of(
    chain: &ServedChain,
    changes: &Changes,
    random: &mut impl Rng,
) -> Vec<Event> {
    let mut groups = [
        new_block(chain, changes),
        ordered(chain, changes),
        orphaned(chain, changes),
        stable_height(chain, changes),
        stable_topoheight(chain, changes),
        executed(chain, changes),
        orphaned_transactions(chain, changes),
        deployed(chain, changes),
    ];
    groups.shuffle(random);
    groups.into_iter().flatten().collect()
}

/// Only the last block of a burst is new; its siblings below were not ordered when they came.
fn new_block(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let last = changes.ordered.last().and_then(|place| chain.at(place.topoheight));
    let event = last.map(|block| {
        let mut text = String::new();
        block.write(chain.block_type(block), Shown::AsNew, &mut text);
        Event { kind: EventKind::NewBlock, text }
    });
    event.into_iter().collect()
}

/// Everything that was ordered; as long as nothing is stable, everything that there is.
fn ordered(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let from = announced_from(changes);
    let blocks = chain.blocks().iter().filter(|block| block.topoheight() >= from);
    let event = |block: &super::served_block::ServedBlock| Event {
        kind: EventKind::BlockOrdered,
        text: json!({
            "block_hash": block.place.hash,
            "block_type": type_name(chain.block_type(block)),
            "event": "block_ordered",
            "topoheight": block.topoheight(),
        })
        .to_string(),
    };
    blocks.map(event).collect()
}

fn executed(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let from = announced_from(changes);
    let blocks = chain.blocks().iter().filter(|block| block.topoheight() >= from);
    let mut events = Vec::new();
    for block in blocks {
        for transaction in &block.transactions {
            if chain.executed_in(&transaction.hash) == Some(block.place) {
                let text = json!({
                    "block_hash": block.place.hash,
                    "event": "transaction_executed",
                    "topoheight": block.topoheight(),
                    "tx_hash": transaction.hash,
                });
                let text = text.to_string();
                events.push(Event { kind: EventKind::TransactionExecuted, text });
            }
        }
    }
    events
}

/// The first position of which a burst tells.
fn announced_from(changes: &Changes) -> TopoHeight {
    let is_young = changes.stable_before.is_none_or(|stable| stable.topoheight == 0);
    match changes.ordered.first() {
        Some(first) if !is_young => first.topoheight,
        Some(_) => TopoHeight::GENESIS,
        None => TopoHeight::MAX,
    }
}

fn orphaned(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let event = |(hash, at)| Event {
        kind: EventKind::BlockOrphaned,
        text: json!({"block_hash": hash, "event": "block_orphaned", "old_topoheight": at})
            .to_string(),
    };
    chain.orphaned(changes).map(event).collect()
}

fn orphaned_transactions(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let event = |hash| {
        let (transaction, _) = chain.transaction(hash)?;
        let text = format!(
            "{},\"blocks\":null,\"event\":\"transaction_orphaned\",\"executed_in_block\":null,\
             \"first_seen\":null,\"in_mempool\":false}}",
            transaction.open()
        );
        Some(Event { kind: EventKind::TransactionOrphaned, text })
    };
    chain.orphaned_transactions(changes).filter_map(event).collect()
}

fn deployed(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let deploys = changes.executed.iter().filter(|(hash, _)| {
        chain
            .transaction(hash)
            .is_some_and(|(transaction, _)| transaction.open().contains("\"deploy_contract\":"))
    });
    let event = |(hash, block): &(_, storage_snapshot::BlockRef)| Event {
        kind: EventKind::DeployContract,
        text: json!({
            "block_hash": block.hash,
            "contract": hash,
            "event": "deploy_contract",
            "topoheight": block.topoheight,
        })
        .to_string(),
    };
    deploys.map(event).collect()
}

fn stable_height(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let before = changes.stable_before.unwrap_or_default().blue_score;
    let now = chain.stable().blue_score;
    let event = (now != before).then(|| Event {
        kind: EventKind::StableHeightChanged,
        text: json!({
            "event": "stable_height_changed",
            "new_stable_height": now,
            "previous_stable_height": before,
        })
        .to_string(),
    });
    event.into_iter().collect()
}

fn stable_topoheight(chain: &ServedChain, changes: &Changes) -> Vec<Event> {
    let before = changes.stable_before.unwrap_or_default().topoheight;
    let now = chain.stable().topoheight;
    let event = (now != before).then(|| Event {
        kind: EventKind::StableTopoHeightChanged,
        text: json!({
            "event": "stable_topo_height_changed",
            "new_stable_topoheight": now,
            "previous_stable_topoheight": before,
        })
        .to_string(),
    });
    event.into_iter().collect()
}

const fn type_name(block_type: BlockType) -> &'static str {
    match block_type {
        BlockType::Sync => "Sync",
        BlockType::Side => "Side",
        BlockType::Orphaned => "Orphaned",
        BlockType::Normal => "Normal",
    }
}
