//! The frontier: how far the store goes, how far back, and who stands where in between.
//!
//! A snapshot *pins* its block: nothing above the lowest pin is folded into the view, so what the
//! snapshot sees stays. A rollback below a pin *revokes* it instead of waiting for it, because a
//! reader that hangs must not keep the store on a chain that is gone.
//!
//! Tip, floor and pins are behind one lock, so that a snapshot is either registered before a fold or
//! a rollback decides where to go, or refused after.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

use super::block::Tip;
use crate::{BlockRef, StoreError, TopoHeight, version::Position};

pub(super) struct Frontier(Mutex<State>);

pub(super) struct State {
    /// The first block ever committed, as long as the view is at the base and there is a head.
    pub(super) first: Option<TopoHeight>,
    /// The last block that can be read: the tip, or one that is staged above it.
    pub(super) head: Option<BlockRef>,
    /// The last block that is written.
    pub(super) tip: Option<Tip>,
    /// How far the view is brought.
    pub(super) view: Position,
    /// How far the view is being brought: at or above `view`. States below are not kept any more.
    pub(super) floor: Position,
    pins: BTreeMap<Position, Group>,
}

/// The snapshots at one block.
struct Group {
    snapshots: usize,
    revoked: Arc<AtomicBool>,
}

impl Frontier {
    /// Nothing is being folded: who finds a fold that did not end has it ended next.
    pub(super) fn new(first: Option<TopoHeight>, tip: Option<Tip>, view: Position) -> Arc<Self> {
        let head = tip.map(|tip| tip.block);
        let pins = BTreeMap::new();
        Arc::new(Self(Mutex::new(State { first, head, tip, view, floor: view, pins })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub(super) fn tip(&self) -> Option<Tip> {
        self.0.lock().tip
    }

    pub(super) fn head(&self) -> Option<BlockRef> {
        self.0.lock().head
    }

    pub(super) fn view(&self) -> Position {
        self.0.lock().view
    }

    /// Registers a snapshot.
    pub(super) fn pin(self: &Arc<Self>, position: Position) -> Result<Pin, StoreError> {
        let mut state = self.0.lock();
        state.check(position)?;
        let group = state
            .pins
            .entry(position)
            .or_insert_with(|| Group { snapshots: 0, revoked: Arc::new(AtomicBool::new(false)) });
        group.snapshots += 1;
        let revoked = Arc::clone(&group.revoked);
        Ok(Pin { frontier: Arc::clone(self), position, revoked })
    }

    /// The next block can be read.
    pub(super) fn show(&self, head: BlockRef) {
        let mut state = self.0.lock();
        if state.head.is_none() {
            state.first = Some(head.topoheight);
        }
        state.head = Some(head);
    }

    /// The next block is written.
    pub(super) fn publish(&self, tip: Tip) {
        self.0.lock().tip = Some(tip);
    }

    /// Decides how far to fold: to `to`, but not past the tip or a pin, and at least as far as a
    /// fold that did not end. `None` if the view is there already, or if no block is. From here on no snapshot is
    /// opened below the answer and no rollback goes below it.
    pub(super) fn begin_fold(&self, to: TopoHeight) -> Option<TopoHeight> {
        let mut state = self.0.lock();
        let tip = state.tip.map(|tip| tip.block.topoheight);
        let lowest_pin = state.pins.keys().next().copied().unwrap_or(tip).min(tip);
        // A pin is never below the floor, so an unfinished fold is never held back by one.
        let target = Some(to).min(lowest_pin).max(state.floor);
        if target <= state.view || target < state.first {
            return None;
        }
        state.floor = target;
        target
    }

    pub(super) fn end_fold(&self, view: TopoHeight) {
        let mut state = self.0.lock();
        state.view = Some(view);
        state.first = None;
    }
}

impl State {
    pub(super) fn is_pinned(&self) -> bool {
        !self.pins.is_empty()
    }

    /// Moves the head down, and the tip with it, and revokes every pin above the head. Versions above it may
    /// only be dropped afterwards.
    pub(super) fn retreat(&mut self, head: Option<BlockRef>, tip: Option<Tip>) {
        let to = head.map(|head| head.topoheight);
        self.head = head;
        self.tip = tip;
        while let Some(last) = self.pins.last_entry().filter(|last| *last.key() > to) {
            last.remove().revoked.store(true, Ordering::Release);
        }
    }

    fn check(&self, position: Position) -> Result<(), StoreError> {
        if let Some(oldest) = self.floor
            && position < self.floor
        {
            return Err(StoreError::BelowView { topoheight: position, oldest });
        }
        let Some(topoheight) = position else { return Ok(()) };
        let head = self.head.map(|head| head.topoheight);
        if position > head {
            return Err(StoreError::AboveTip { topoheight, tip: head });
        }
        match self.first {
            Some(first) if topoheight < first => Err(StoreError::BeforeFirst { topoheight, first }),
            _ => Ok(()),
        }
    }
}

/// Keeps a state from being folded away until it is dropped or revoked.
pub(super) struct Pin {
    frontier: Arc<Frontier>,
    position: Position,
    revoked: Arc<AtomicBool>,
}

impl Pin {
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.frontier.0.lock();
        // After a revocation others may stand at the same topoheight of another chain.
        if let Some(group) = state.pins.get_mut(&self.position)
            && Arc::ptr_eq(&group.revoked, &self.revoked)
        {
            group.snapshots -= 1;
            if group.snapshots == 0 {
                state.pins.remove(&self.position);
            }
        }
    }
}
