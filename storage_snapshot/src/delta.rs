//! The writes of one block.
//!
//! Three things look alike and are not: no write, a write of *none* (a deletion), and a write of the
//! value that was there before. The chain stores a version for the last two, so all three are kept
//! apart here and compared as such.

use std::sync::Arc;

use crate::{Address, Amount, AssetId, MultisigConfig, Nonce, StateKey, StateValue};

/// The sorted writes of one block: for each written key its value afterwards, or `None` where the
/// block deleted it.
///
/// It is made once and then handed around, so a clone shares the writes and costs nothing. Collect
/// it from its writes, or from parts that several threads made: adding writes one by one moves what comes
/// after each of them.
#[derive(Clone, Debug, Default)]
pub struct StateDelta(Arc<Parts>);

/// Writes in the order of their keys, each key once: what a delta is put together from.
#[derive(Clone, Debug, Default)]
pub struct DeltaPart(Vec<Write>);

/// The writes in order, in as many vectors as they were made in. How many these are means nothing.
#[derive(Clone, Debug, Default)]
struct Parts {
    /// None is empty.
    parts: Vec<Vec<Write>>,
    /// How many writes there are in all of them.
    len: usize,
}

/// A written key with its value afterwards.
type Write = (StateKey, Option<StateValue>);

impl StateDelta {
    /// No writes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The writes, in any order, if no key is among them twice.
    ///
    /// # Errors
    ///
    /// A key that occurs twice.
    ///
    /// # Panics
    ///
    /// As [`StateDelta::insert`].
    pub fn from_unique(mut writes: Vec<(StateKey, Option<StateValue>)>) -> Result<Self, StateKey> {
        for (key, value) in &writes {
            assert_kind(key, value.as_ref());
        }
        if !is_strictly_sorted(&writes) {
            writes.sort_unstable_by_key(|(key, _)| *key);
            if let Some(pair) = writes.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(pair[0].0);
            }
        }
        Ok(DeltaPart(writes).into())
    }

    /// Records a write and returns the one that it replaces.
    ///
    /// # Panics
    ///
    /// When the value is not of the key's kind: no input can cause that, only a wrong caller.
    pub fn insert(
        &mut self,
        key: StateKey,
        value: Option<StateValue>,
    ) -> Option<Option<StateValue>> {
        assert_kind(&key, value.as_ref());
        self.alter(|writes| match place(writes, &key) {
            Ok(index) => Some(std::mem::replace(&mut writes[index].1, value)),
            Err(index) => {
                writes.insert(index, (key, value));
                None
            }
        })
    }

    /// Records the nonce of an account.
    pub fn set_nonce(&mut self, account: Address, nonce: Nonce) {
        self.insert(StateKey::Nonce(account), Some(StateValue::Nonce(nonce)));
    }

    /// Records a balance.
    pub fn set_balance(&mut self, account: Address, asset: AssetId, amount: Amount) {
        self.insert(StateKey::Balance(account, asset), Some(StateValue::Balance(amount)));
    }

    /// Records a multisig configuration, or its deletion.
    pub fn set_multisig(&mut self, account: Address, config: Option<MultisigConfig>) {
        self.insert(StateKey::Multisig(account), config.map(StateValue::from));
    }

    /// Records that an account became known to the chain.
    pub fn register(&mut self, account: Address) {
        self.insert(StateKey::Registered(account), Some(StateValue::Registered));
    }

    /// What was written under a key: `None` for no write, `Some(None)` for a deletion.
    pub fn get(&self, key: &StateKey) -> Option<Option<&StateValue>> {
        let parts = &self.0.parts;
        let before = |part: &Vec<Write>| part.last().is_some_and(|(last, _)| last < key);
        let part = parts.get(parts.partition_point(before))?;
        let index = place(part, key).ok()?;
        part.get(index).map(|(_, value)| value.as_ref())
    }

    /// Takes a write back.
    pub fn remove(&mut self, key: &StateKey) -> Option<Option<StateValue>> {
        self.get(key)?;
        self.alter(|writes| Some(writes.remove(place(writes, key).ok()?).1))
    }

    /// Adds the writes of a later delta; where both write a key the later one stays.
    pub fn extend(&mut self, later: StateDelta) {
        if self.is_empty() {
            *self = later;
        } else if !later.is_empty() {
            *self = std::mem::take(self).into_iter().chain(later).collect();
        }
    }

    /// The writes in the order of their keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&StateKey, Option<&StateValue>)> {
        self.writes().map(|(key, value)| (key, value.as_ref()))
    }

    /// The written keys in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &StateKey> {
        self.writes().map(|(key, _)| key)
    }

    /// The written keys, the last one first.
    pub fn keys_rev(&self) -> impl Iterator<Item = &StateKey> {
        self.0.parts.iter().rev().flat_map(|part| part.iter().rev()).map(|(key, _)| key)
    }

    /// How many keys are written.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    fn writes(&self) -> Writes<'_> {
        Writes { parts: self.0.parts.iter(), part: [].iter(), left: self.0.len }
    }

    /// Alters the writes, which are in one part from then on.
    fn alter<R>(&mut self, how: impl FnOnce(&mut Vec<Write>) -> R) -> R {
        let mut writes = std::mem::take(self).into_writes();
        let result = how(&mut writes);
        *self = DeltaPart(writes).into();
        result
    }

    /// All in one vector, which is theirs already if they were made in one and nobody shares them.
    fn into_writes(self) -> Vec<Write> {
        let Parts { mut parts, len } = Arc::unwrap_or_clone(self.0);
        if parts.len() <= 1 {
            return parts.pop().unwrap_or_default();
        }
        let mut writes = Vec::with_capacity(len);
        parts.into_iter().for_each(|part| writes.extend(part));
        writes
    }
}

impl PartialEq for StateDelta {
    /// Whether the writes are the same, whatever parts they were made in.
    fn eq(&self, other: &Self) -> bool {
        let mut our_parts = self.0.parts.iter().map(Vec::as_slice);
        let mut their_parts = other.0.parts.iter().map(Vec::as_slice);
        let (mut ours, mut theirs): (&[Write], &[Write]) = (&[], &[]);
        // As many at a time as are in one piece on both sides.
        self.0.len == other.0.len
            && loop {
                if ours.is_empty() {
                    ours = our_parts.next().unwrap_or_default();
                }
                if theirs.is_empty() {
                    theirs = their_parts.next().unwrap_or_default();
                }
                let piece = ours.len().min(theirs.len());
                if piece == 0 {
                    break true;
                }
                if ours[..piece] != theirs[..piece] {
                    break false;
                }
                (ours, theirs) = (&ours[piece..], &theirs[piece..]);
            }
    }
}

impl Eq for StateDelta {}

impl IntoIterator for StateDelta {
    type Item = (StateKey, Option<StateValue>);
    type IntoIter = std::vec::IntoIter<Write>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_writes().into_iter()
    }
}

impl FromIterator<(StateKey, Option<StateValue>)> for StateDelta {
    /// Where a key occurs twice the last write stays. Writes that come in the order of their keys
    /// are not sorted again.
    ///
    /// # Panics
    ///
    /// As [`StateDelta::insert`].
    fn from_iter<I: IntoIterator<Item = (StateKey, Option<StateValue>)>>(writes: I) -> Self {
        writes.into_iter().collect::<DeltaPart>().into()
    }
}

impl FromIterator<DeltaPart> for StateDelta {
    /// Where a key occurs twice the last write stays. Parts that come in the order of their keys, no two of
    /// them with the same one, are neither looked through again nor moved.
    fn from_iter<I: IntoIterator<Item = DeltaPart>>(parts: I) -> Self {
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.0.is_empty()).collect();
        let follow = |one: &DeltaPart, next: &DeltaPart| {
            let first = next.0.first();
            one.0.last().is_none_or(|(last, _)| first.is_none_or(|(first, _)| last < first))
        };
        if parts.is_sorted_by(follow) {
            let parts: Vec<_> = parts.into_iter().map(|DeltaPart(writes)| writes).collect();
            let len = parts.iter().map(Vec::len).sum();
            Self(Arc::new(Parts { parts, len }))
        } else {
            parts.into_iter().flat_map(|DeltaPart(writes)| writes).collect()
        }
    }
}

impl From<DeltaPart> for StateDelta {
    fn from(part: DeltaPart) -> Self {
        Self::from_iter([part])
    }
}

impl FromIterator<(StateKey, Option<StateValue>)> for DeltaPart {
    /// Where a key occurs twice the last write stays. Writes that come in the order of their keys
    /// are not sorted again.
    ///
    /// # Panics
    ///
    /// As [`StateDelta::insert`].
    fn from_iter<I: IntoIterator<Item = (StateKey, Option<StateValue>)>>(writes: I) -> Self {
        let mut writes: Vec<Write> = writes.into_iter().collect();
        for (key, value) in &writes {
            assert_kind(key, value.as_ref());
        }
        if !is_strictly_sorted(&writes) {
            writes.sort_by_key(|(key, _)| *key);
            // Of those with one key the first stays, and it gets what the last one has.
            writes.dedup_by(|later, first| {
                let same = later.0 == first.0;
                if same {
                    first.1 = later.1.take();
                }
                same
            });
        }
        Self(writes)
    }
}

/// The writes of one part after another.
struct Writes<'a> {
    parts: std::slice::Iter<'a, Vec<Write>>,
    part: std::slice::Iter<'a, Write>,
    left: usize,
}

impl<'a> Iterator for Writes<'a> {
    type Item = &'a Write;

    fn next(&mut self) -> Option<&'a Write> {
        loop {
            if let Some(write) = self.part.next() {
                self.left -= 1;
                return Some(write);
            }
            self.part = self.parts.next()?.iter();
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Writes<'_> {}

fn place(writes: &[Write], key: &StateKey) -> Result<usize, usize> {
    writes.binary_search_by(|(written, _)| written.cmp(key))
}

fn is_strictly_sorted(writes: &[Write]) -> bool {
    writes.is_sorted_by(|(one, _), (next, _)| one < next)
}

fn assert_kind(key: &StateKey, value: Option<&StateValue>) {
    if let Some(value) = value {
        assert!(key.holds(value), "{key} cannot hold {value:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Address = Address::new([1; 32]);

    #[test]
    fn a_write_of_none_is_not_no_write() {
        let mut delta = StateDelta::new();
        assert_eq!(delta.get(&StateKey::Multisig(A)), None);
        delta.set_multisig(A, None);
        assert_eq!(delta.get(&StateKey::Multisig(A)), Some(None));
    }

    #[test]
    fn a_later_delta_overrides_and_adds() {
        let mut delta = StateDelta::new();
        delta.set_nonce(A, Nonce::new(1));
        let mut later = StateDelta::new();
        later.set_nonce(A, Nonce::new(2));
        later.register(A);
        delta.extend(later);
        assert_eq!(delta.len(), 2);
        assert_eq!(delta.get(&StateKey::Nonce(A)), Some(Some(&StateValue::Nonce(Nonce::new(2)))));
    }

    #[test]
    fn collected_writes_are_sorted_and_the_last_one_of_a_key_stays() {
        let nonce = |account, nonce| {
            (
                StateKey::Nonce(Address::new([account; 32])),
                Some(StateValue::Nonce(Nonce::new(nonce))),
            )
        };
        let writes = [nonce(2, 1), nonce(1, 1), nonce(2, 2), nonce(1, 2), nonce(2, 3)];
        let delta: StateDelta = writes.into_iter().collect();
        assert_eq!(delta.into_iter().collect::<Vec<_>>(), [nonce(1, 2), nonce(2, 3)]);
    }

    #[test]
    fn writes_of_which_no_key_may_occur_twice_come_in_any_order() {
        let registered = |account| {
            (StateKey::Registered(Address::new([account; 32])), Some(StateValue::Registered))
        };
        let check = |accounts: &[u8], expected: Result<&[u8], u8>| {
            let made = StateDelta::from_unique(accounts.iter().copied().map(registered).collect());
            let expected =
                expected.map(|accounts| accounts.iter().copied().map(registered).collect());
            assert_eq!(made, expected.map_err(|account| registered(account).0));
        };
        check(&[], Ok(&[]));
        check(&[1, 2, 3], Ok(&[1, 2, 3]));
        check(&[3, 1, 2], Ok(&[1, 2, 3]));
        check(&[1, 2, 2], Err(2));
        check(&[3, 1, 3], Err(3));
    }

    #[test]
    fn parts_are_the_delta_of_their_writes_in_whatever_order_they_come() {
        type Parts<'a> = &'a [&'a [(u8, u64)]];
        let write = |(account, nonce): &(u8, u64)| {
            let key = StateKey::Nonce(Address::new([*account; 32]));
            (key, Some(StateValue::Nonce(Nonce::new(*nonce))))
        };
        let check = |parts: Parts<'_>| {
            let whole: StateDelta = parts.iter().copied().flatten().map(write).collect();
            let parts = parts.iter().map(|part| part.iter().map(write).collect::<DeltaPart>());
            let mut delta: StateDelta = parts.collect();
            assert_eq!(delta, whole);
            assert_eq!(delta.len(), whole.len());
            assert_eq!(delta.is_empty(), whole.is_empty());
            assert!(delta.iter().eq(whole.iter()) && delta.keys().eq(whole.keys()));
            assert_eq!(delta.iter().len(), whole.len());
            for account in 0..10 {
                let key = StateKey::Nonce(Address::new([account; 32]));
                assert_eq!(delta.get(&key), whole.get(&key), "{account}");
            }
            assert!(delta.clone().into_iter().eq(whole.clone()));
            let key = StateKey::Nonce(Address::new([5; 32]));
            let mut altered = whole.clone();
            assert_eq!(delta.remove(&key), altered.remove(&key));
            assert_eq!(delta, altered);
            assert_eq!(delta.insert(key, None), altered.insert(key, None));
            assert_eq!(delta, altered);
        };
        check(&[]);
        check(&[&[], &[]]);
        check(&[&[(1, 1), (2, 1)], &[], &[(3, 1)], &[(5, 1), (9, 1)]]);
        check(&[&[(5, 1)], &[(3, 1)]]);
        check(&[&[(1, 1), (5, 1)], &[(5, 2), (6, 1)], &[(2, 1)]]);
        let one: StateDelta = [write(&(1, 1))].into_iter().collect();
        assert_ne!(one, [write(&(1, 2))].into_iter().collect());
        assert_ne!(one, StateDelta::new());
    }

    #[test]
    fn deltas_are_equal_whatever_parts_they_were_made_in_and_only_if_every_write_is() {
        const LEN: usize = 5;
        let cut_up = |altered: Option<usize>, len: usize, cuts: u32| -> StateDelta {
            let write = |number: usize| {
                let nonce = Nonce::new(u64::from(altered == Some(number)));
                let key = StateKey::Nonce(Address::new([number as u8; 32]));
                (key, Some(StateValue::Nonce(nonce)))
            };
            let mut parts = vec![Vec::new()];
            for number in 0..len {
                if cuts >> number & 1 == 1 {
                    parts.push(Vec::new());
                }
                parts.last_mut().unwrap().push(write(number));
            }
            parts.into_iter().map(DeltaPart::from_iter).collect()
        };
        for (one, other) in (0..1 << LEN).flat_map(|one| (0..1 << LEN).map(move |n| (one, n))) {
            let whole = cut_up(None, LEN, one);
            assert_eq!(whole, cut_up(None, LEN, other));
            assert_ne!(whole, cut_up(None, LEN - 1, other));
            for altered in 0..LEN {
                assert_ne!(whole, cut_up(Some(altered), LEN, other));
            }
        }
    }

    #[test]
    fn what_is_added_to_a_clone_is_not_in_the_original() {
        let mut delta = StateDelta::new();
        delta.register(A);
        let mut clone = delta.clone();
        clone.set_nonce(A, Nonce::new(1));
        assert_eq!((delta.len(), clone.len()), (1, 2));
        assert_eq!(clone.remove(&StateKey::Nonce(A)), Some(Some(StateValue::Nonce(Nonce::new(1)))));
        assert_eq!(clone, delta);
    }

    #[test]
    #[should_panic(expected = "cannot hold")]
    fn a_value_of_another_kind_is_a_programmer_error() {
        StateDelta::new().insert(StateKey::Nonce(A), Some(StateValue::Registered));
    }
}
