//! The window: the versions of every key that a block above the view's tip wrote, in memory.
//!
//! A read at T takes the last version at or below T. Commits only add versions above every T that
//! anybody can have, so a read needs no lock that lasts longer than itself.

use dashmap::DashMap;
use smallvec::SmallVec;

use crate::{
    StateKey, TopoHeight,
    digest::Term,
    version::{Position, Stamped, Version},
};

#[derive(Default)]
pub(super) struct Window {
    versions: DashMap<StateKey, Versions, ahash::RandomState>,
}

/// In the order of the blocks. Most keys are written by one block of the window.
type Versions = SmallVec<[Written; 1]>;

/// What a block wrote to a key.
struct Written {
    at: TopoHeight,
    version: Version,
    /// The next block that writes the key takes it out of the digest again. Kept, because making it
    /// again costs more than all the rest of a write to the window.
    term: Term,
}

impl Window {
    pub(super) fn read(&self, key: &StateKey, at: Position) -> Option<Stamped> {
        self.last(key, at, |written| Stamped {
            written_at: Some(written.at),
            version: written.version.clone(),
        })
    }

    /// What the last version at or below a block added to the digest.
    pub(super) fn term(&self, key: &StateKey, at: Position) -> Option<Term> {
        self.last(key, at, |written| written.term)
    }

    fn last<T>(&self, key: &StateKey, at: Position, of: impl FnOnce(&Written) -> T) -> Option<T> {
        let at = at?;
        let versions = self.versions.get(key)?;
        versions.iter().rev().find(|written| written.at <= at).map(of)
    }

    /// Adds what a block wrote; it is above every block that wrote the key before.
    pub(super) fn push(&self, key: StateKey, at: TopoHeight, version: Version, term: Term) {
        self.versions.entry(key).or_default().push(Written { at, version, term });
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
            versions.retain(|written| keep(written.at));
            versions.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;

    #[test]
    fn what_is_folded_or_rolled_back_takes_no_memory() {
        let window = Window::default();
        let key = StateKey::Registered(Address::new([1; 32]));
        for topoheight in 0..10 {
            let term = Term::new(&key, &Version::Unknown, &mut Vec::new());
            window.push(key, TopoHeight::new(topoheight), Version::Unknown, term);
        }
        window.drop_up_to(&key, TopoHeight::new(3));
        window.drop_above(&key, Some(TopoHeight::new(5)));
        let written = |at| window.read(&key, Some(TopoHeight::new(at))).and_then(|s| s.written_at);
        assert_eq!(written(3), None);
        assert_eq!(written(4), Some(TopoHeight::new(4)));
        assert_eq!(written(9), Some(TopoHeight::new(5)));
        window.drop_up_to(&key, TopoHeight::new(5));
        assert!(window.versions.is_empty());
    }
}
