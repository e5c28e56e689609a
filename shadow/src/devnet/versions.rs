//! Every version of every key that the stand-in has, each under the topoheight that wrote it.

use std::collections::HashMap;

use storage_snapshot::{Amount, ReadError, StateKey, StateRead, StateValue, TopoHeight};

/// What a node keeps of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The value; `None` where the key was deleted.
    pub(super) value: Option<StateValue>,
    /// The version before, as the node links them. A node of the parallel path links some to
    /// themselves.
    pub(super) previous: Option<TopoHeight>,
    /// How a balance came to be.
    pub(super) movement: Movement,
    /// What a sender may rely on of a balance that was spent from.
    pub(super) output_balance: Option<Amount>,
}

/// Which way the units of a balance went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    Input,
    Output,
    Both,
}

impl Movement {
    /// The node's word.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Both => "both",
        }
    }
}

impl Version {
    /// A version that no balance was spent for.
    pub(super) const fn new(value: Option<StateValue>, previous: Option<TopoHeight>) -> Self {
        Self { value, previous, movement: Movement::Input, output_balance: None }
    }
}

/// The versions, the newest last.
#[derive(Debug, Default)]
pub(super) struct Versions {
    keys: HashMap<StateKey, Vec<(TopoHeight, Version)>, ahash::RandomState>,
    /// What was written where, in the order of the positions: what a re-order takes back.
    written: Vec<(TopoHeight, StateKey)>,
}

impl Versions {
    /// Adds a version. Positions never go down, but for the node's own faults, which write below.
    pub(super) fn push(&mut self, at: TopoHeight, key: StateKey, version: Version) {
        let versions = self.keys.entry(key).or_default();
        match versions.last_mut() {
            Some((last, held)) if *last == at => *held = version,
            _ => {
                versions.push((at, version));
                self.written.push((at, key));
            }
        }
    }

    /// Takes back every version above a position.
    pub(super) fn revert(&mut self, to: TopoHeight) {
        while let Some((at, key)) = self.written.last().copied() {
            if at <= to {
                return;
            }
            self.written.pop();
            if let Some(versions) = self.keys.get_mut(&key) {
                versions.pop();
                if versions.is_empty() {
                    self.keys.remove(&key);
                }
            }
        }
    }

    /// The version written exactly at a position.
    pub(super) fn exact(&self, key: &StateKey, at: TopoHeight) -> Option<&Version> {
        let versions = self.keys.get(key)?;
        let place = versions.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        versions.get(place).map(|(_, version)| version)
    }

    /// The newest version and where it was written.
    pub(super) fn newest(&self, key: &StateKey) -> Option<(TopoHeight, &Version)> {
        self.keys.get(key)?.last().map(|(at, version)| (*at, version))
    }

    /// Where the first version was written.
    pub(super) fn first_at(&self, key: &StateKey) -> Option<TopoHeight> {
        self.keys.get(key)?.first().map(|(at, _)| *at)
    }
}

impl StateRead for Versions {
    fn read(&self, key: &StateKey) -> Result<Option<StateValue>, ReadError> {
        Ok(self.newest(key).and_then(|(_, version)| version.value.clone()))
    }
}
