//! Opening: what is in memory is made from the log.

use std::sync::Arc;

use super::{
    commit::WrittenTerms,
    log::Log,
    pins::Frontier,
    recent::{Recent, oldest_kept},
    view::View,
    window::Window,
};
use crate::{StateDelta, StoreError, TopoHeight};

/// What is derived from the log.
pub(super) struct Recovered {
    pub(super) window: Window,
    /// What its writes add to the digest.
    pub(super) terms: WrittenTerms,
    pub(super) recent: Recent,
    pub(super) frontier: Arc<Frontier>,
    /// What the blocks above the view brought to the base.
    pub(super) bases: Vec<StateDelta>,
}

pub(super) fn recover(log: &Log, view: &View) -> Result<Recovered, StoreError> {
    let view_tip = view.tip();
    let window = Window::default();
    let mut recent = Recent::default();
    let view_at = view_tip.map(|tip| tip.block.topoheight);
    let oldest = view_at.map(|view_at| oldest_kept(view_at).unwrap_or(TopoHeight::GENESIS));
    let (mut first, mut tip, mut terms) = (None, None, WrittenTerms::default());
    let mut bases = Vec::new();
    log.replay(oldest, |entry| {
        let topoheight = entry.commit.block.topoheight;
        if Some(topoheight) > view_at {
            terms.add(topoheight, &window.push(topoheight, entry.commit.versions()));
            bases.extend(Some(&entry.commit.base).filter(|base| !base.is_empty()).cloned());
        }
        recent.push(&entry.commit);
        recent.written(topoheight, entry.digest);
        first = first.or(Some(topoheight));
        tip = Some(entry.tip());
        Ok(())
    })?;
    // The view is made of blocks that the log still has.
    let agrees = match view_tip {
        Some(view_tip) => recent.tip_at(view_tip.block.topoheight) == Some(view_tip),
        None => true,
    };
    if !agrees {
        return Err(view.out_of_sequence());
    }
    let first = if view_at.is_none() { first } else { None };
    let frontier = Frontier::new(first, tip, view_at);
    Ok(Recovered { window, terms, recent, frontier, bases })
}
