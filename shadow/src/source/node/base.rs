//! What keys were before the first block that names them, where the chain was not followed from its
//! beginning.
//!
//! A node answers for exact positions only. The version that a block wrote names the one before it,
//! and one more exact question gives its value: two questions for a key, however long the chain is.
//! Where the block named a key without writing it, the newest version is where to begin, and the way
//! back goes from version to version. A node that is wrong may have written versions that lead in a
//! circle, so every step has to go down.

use storage_snapshot::{StateKey, StateValue, TopoHeight};

use super::{
    error::NodeError,
    questions::{NodeVersion, Questions},
};

/// What was found out about keys at one position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    /// What keys were before the chain was followed.
    pub(super) base: Vec<(StateKey, Option<StateValue>)>,
    /// What keys were just before the position.
    pub(super) in_force: Vec<(StateKey, Option<StateValue>)>,
}

/// A key on the way back to what it was before a position.
struct Walk {
    key: StateKey,
    before: TopoHeight,
    at: Step,
    steps: u64,
}

/// What is known on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The chain was followed from its first block, and nothing wrote the key since: what it was then is
    /// to be asked.
    Genesis,
    /// Whether the block itself wrote the key is to be asked.
    Block,
    /// Where the newest version is, is to be asked.
    Newest,
    /// The version here is not before the position; which was before it is to be asked.
    Down(TopoHeight),
    /// The version here is the last before the position; its value is to be asked.
    Read(TopoHeight),
    /// Known, and where it was written; never written, if that is `None`.
    Found(Option<StateValue>, Option<TopoHeight>),
    /// The node's versions do not lead there.
    Lost,
}

/// Finds out what each of some keys was just before a position, for a chain that is followed from
/// `first` on. Answers about versions at the very positions may be there already.
///
/// With `all_named` every block so far was followed, and wrote nothing but what it names. A key that none
/// of them named is then what it was at the beginning: one question instead of a walk from its newest
/// version down, of which a busy account has thousands.
pub(super) async fn values_before(
    questions: &Questions,
    first: TopoHeight,
    all_named: bool,
    keys: impl IntoIterator<Item = (StateKey, TopoHeight, Option<Option<NodeVersion>>)>,
) -> Result<Vec<(TopoHeight, Learned)>, NodeError> {
    let walks = keys.into_iter().map(|(key, before, version)| {
        let at = beginning(before, all_named, version);
        Walk { key, before, at, steps: 0 }
    });
    let mut walks: Vec<Walk> = walks.collect();
    loop {
        let (mut exact, mut newest) = (Vec::new(), Vec::new());
        for walk in &walks {
            match walk.at {
                Step::Genesis => exact.push((walk.key, TopoHeight::GENESIS)),
                Step::Block => exact.push((walk.key, walk.before)),
                Step::Down(at) | Step::Read(at) => exact.push((walk.key, at)),
                Step::Newest => newest.push(walk.key),
                Step::Found(..) | Step::Lost => {}
            }
        }
        if exact.is_empty() && newest.is_empty() {
            break;
        }
        let (exact, newest) =
            tokio::try_join!(questions.versions(&exact), questions.newest(&newest))?;
        let (mut exact, mut newest) = (exact.into_iter(), newest.into_iter());
        for walk in &mut walks {
            walk.step(&mut exact, &mut newest);
        }
    }
    Ok(sorted_by_position(walks, first))
}

impl Walk {
    fn step(
        &mut self,
        exact: &mut impl Iterator<Item = Option<NodeVersion>>,
        newest: &mut impl Iterator<Item = Option<(StateValue, TopoHeight)>>,
    ) {
        self.steps += 1;
        self.at = match std::mem::replace(&mut self.at, Step::Lost) {
            Step::Genesis => match exact.next().flatten() {
                Some(version) => Step::Found(version.value, Some(TopoHeight::GENESIS)),
                None => Step::Found(None, None),
            },
            Step::Block => after_block(exact.next().flatten(), self.before),
            Step::Newest => match newest.next().flatten() {
                Some((value, at)) if at < self.before => Step::Found(Some(value), Some(at)),
                Some((_, at)) => Step::Down(at),
                None => Step::Found(None, None),
            },
            Step::Down(at) => match exact.next().flatten() {
                Some(version) => after_version(version.previous, at, self.before),
                None => Step::Lost,
            },
            Step::Read(at) => match exact.next().flatten() {
                Some(version) => Step::Found(version.value, Some(at)),
                None => Step::Lost,
            },
            end @ (Step::Found(..) | Step::Lost) => end,
        };
        if self.steps > STEPS_MAX && !matches!(self.at, Step::Found(..)) {
            self.at = Step::Lost;
        }
    }
}

/// What there is to begin with, and perhaps whether the block itself wrote the key.
fn beginning(before: TopoHeight, all_named: bool, version: Option<Option<NodeVersion>>) -> Step {
    match version {
        // What the first block wrote was not there before it.
        _ if before == TopoHeight::GENESIS => Step::Found(None, None),
        // A version that is there already costs nothing, and a node on trial may have written
        // another one before it.
        None | Some(None) if all_named => Step::Genesis,
        Some(version) => after_block(version, before),
        None => Step::Block,
    }
}

fn after_block(version: Option<NodeVersion>, before: TopoHeight) -> Step {
    match version {
        Some(version) => after_version(version.previous, before, before),
        None => Step::Newest,
    }
}

/// Every step goes down, or the versions lead in a circle.
fn after_version(previous: Option<TopoHeight>, at: TopoHeight, before: TopoHeight) -> Step {
    match previous {
        None => Step::Found(None, None),
        Some(previous) if previous >= at => Step::Lost,
        Some(previous) if previous < before => Step::Read(previous),
        Some(previous) => Step::Down(previous),
    }
}

fn sorted_by_position(mut walks: Vec<Walk>, first: TopoHeight) -> Vec<(TopoHeight, Learned)> {
    walks.sort_by_key(|walk| walk.before);
    let mut found: Vec<(TopoHeight, Learned)> = Vec::new();
    for walk in walks {
        let Step::Found(value, written_at) = walk.at else {
            tracing::warn!(key = %walk.key, before = %walk.before, "the node's versions of a key \
                lead nowhere; what it was is not known");
            continue;
        };
        if found.last().is_none_or(|(at, _)| *at != walk.before) {
            found.push((walk.before, Learned::default()));
        }
        let Some((_, learned)) = found.last_mut() else { continue };
        // An account is registered with its first nonce.
        let registered = match walk.key {
            StateKey::Nonce(account) => Some((
                StateKey::Registered(account),
                value.as_ref().map(|_| StateValue::Registered),
            )),
            _ => None,
        };
        let values = [Some((walk.key, value)), registered];
        let values = values.into_iter().flatten();
        // What a block wrote that was followed is not what was before all of them.
        if written_at < Some(first) {
            learned.base.extend(values.clone());
        }
        learned.in_force.extend(values);
    }
    found
}

/// A key that is written in every block takes a step for each block above the one that names it. There
/// are few of those, and they are in this case only if that block does not write them.
const STEPS_MAX: u64 = 20_000;

#[cfg(test)]
mod tests {
    use storage_snapshot::{Address, Nonce};

    use super::*;

    const KEY: StateKey = StateKey::Nonce(Address::new([7; 32]));

    /// The versions of a key: where they are, and which one each of them names.
    struct Node(Vec<(u64, Option<u64>)>);

    impl Node {
        fn version(&self, at: TopoHeight) -> Option<NodeVersion> {
            let found = self.0.iter().find(|(found, _)| *found == at.as_u64());
            found.map(|(found, previous)| NodeVersion {
                value: Some(value(*found)),
                previous: previous.map(TopoHeight::new),
            })
        }

        fn newest(&self) -> Option<(StateValue, TopoHeight)> {
            let (at, _) = self.0.last()?;
            Some((value(*at), TopoHeight::new(*at)))
        }
    }

    fn value(number: u64) -> StateValue {
        StateValue::Nonce(Nonce::new(number))
    }

    #[track_caller]
    fn check(versions: &[(u64, Option<u64>)], before: u64, expected: Option<Option<u64>>) {
        let node = Node(versions.to_vec());
        let before = TopoHeight::new(before);
        let at = walked(&node, before, Step::Block);
        let expected = match expected {
            Some(at) => Step::Found(at.map(value), at.map(TopoHeight::new)),
            None => Step::Lost,
        };
        assert_eq!(at, expected);
    }

    fn walked(node: &Node, before: TopoHeight, from: Step) -> Step {
        let mut walk = Walk { key: KEY, before, at: from, steps: 0 };
        while !matches!(walk.at, Step::Found(..) | Step::Lost) {
            let exact = match walk.at {
                Step::Genesis => node.version(TopoHeight::GENESIS),
                Step::Down(at) | Step::Read(at) => node.version(at),
                _ => node.version(before),
            };
            walk.step(&mut std::iter::once(exact), &mut std::iter::once(node.newest()));
        }
        walk.at
    }

    #[test]
    fn what_nothing_wrote_since_the_beginning_is_what_it_was_then() {
        let later = (7, Some(0));
        let found = walked(&Node(vec![(0, None), later]), TopoHeight::new(7), Step::Genesis);
        assert_eq!(found, Step::Found(Some(value(0)), Some(TopoHeight::GENESIS)));
        let found = walked(&Node(vec![later]), TopoHeight::new(7), Step::Genesis);
        assert_eq!(found, Step::Found(None, None));
    }

    #[test]
    fn nothing_was_before_the_first_block() {
        let version = NodeVersion { value: Some(value(0)), previous: None };
        for version in [None, Some(None), Some(Some(version))] {
            for all_named in [false, true] {
                let step = beginning(TopoHeight::GENESIS, all_named, version.clone());
                assert_eq!(step, Step::Found(None, None));
            }
        }
        assert_eq!(beginning(TopoHeight::new(1), true, None), Step::Genesis);
    }

    #[test]
    fn the_value_before_is_found_from_the_version_at_the_position() {
        check(&[(3, None), (7, Some(3))], 7, Some(Some(3)));
        check(&[(7, None)], 7, Some(None));
        check(&[(3, None), (7, Some(3)), (9, Some(7))], 7, Some(Some(3)));
    }

    #[test]
    fn without_one_it_is_found_from_the_newest() {
        check(&[], 7, Some(None));
        check(&[(3, None)], 7, Some(Some(3)));
        check(&[(3, None), (8, Some(3)), (9, Some(8))], 7, Some(Some(3)));
        check(&[(8, None), (9, Some(8))], 7, Some(None));
    }

    #[test]
    fn versions_that_lead_in_a_circle_or_nowhere_end_the_search() {
        check(&[(7, Some(7))], 7, None);
        check(&[(7, Some(9))], 7, None);
        check(&[(8, Some(9)), (9, Some(8))], 7, None);
        check(&[(7, Some(3))], 7, None);
        let long: Vec<_> = (8..8 + 2 * STEPS_MAX).map(|at| (at, Some(at - 1))).collect();
        check(&long, 7, None);
    }

    #[test]
    fn a_value_that_a_followed_block_wrote_is_no_value_of_the_base() {
        let walk = |written_at| Walk {
            key: KEY,
            before: TopoHeight::new(9),
            at: Step::Found(Some(value(1)), Some(TopoHeight::new(written_at))),
            steps: 1,
        };
        let learned = sorted_by_position(vec![walk(4)], TopoHeight::new(5));
        assert_eq!(learned[0].1.base.len(), 2);
        assert_eq!(learned[0].1.in_force.len(), 2);
        let learned = sorted_by_position(vec![walk(5)], TopoHeight::new(5));
        assert_eq!(learned[0].1.base, []);
        assert_eq!(learned[0].1.in_force.len(), 2);
    }
}
