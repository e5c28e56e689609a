//! The window: the versions of every key that a block above the view's tip wrote, in memory.
//!
//! A read at T takes the last version at or below T. Commits only add versions above every T that
//! anybody can have, so a read needs no lock that lasts longer than itself.

use dashmap::DashMap;
use smallvec::SmallVec;

use crate::{
    StateKey, TopoHeight,
    version::{Position, Stamped, Version},
};

#[derive(Default)]
pub(super) struct Window {
    versions: DashMap<StateKey, Versions, ahash::RandomState>,
}

/// In the order of the blocks. Most keys are written by one block of the window.
type Versions = SmallVec<[(TopoHeight, Version); 1]>;

impl Window {
    pub(super) fn read(&self, key: &StateKey, at: Position) -> Option<Stamped> {
        let at = at?;
        let versions = self.versions.get(key)?;
        let (written_at, version) = versions.iter().rev().find(|(written, _)| *written <= at)?;
        Some(Stamped { written_at: Some(*written_at), version: version.clone() })
    }

    /// Adds what a block wrote; it is above every block that wrote the key before.
    pub(super) fn push(&self, key: StateKey, topoheight: TopoHeight, version: Version) {
        self.versions.entry(key).or_default().push((topoheight, version));
    }

    /// Forgets what blocks above `to` wrote to a key.
    pub(super) fn drop_above(&self, key: &StateKey, to: Position) {
        self.retain(key, |written| Some(written) <= to);
    }

    /// Forgets what blocks up to `to` wrote to a key: the view has it.
    pub(super) fn drop_up_to(&self, key: &StateKey, to: TopoHeight) {
        self.retain(key, |written| written > to);
    }

    fn retain(&self, key: &StateKey, keep: impl Fn(TopoHeight) -> bool) {
        self.versions.remove_if_mut(key, |_, versions| {
            versions.retain(|(written, _)| keep(*written));
            versions.is_empty()
        });
    }
}
