//! One number for a whole state, so that two stores can be compared without comparing their keys.
//!
//! The digest is the sum, modulo 2^256, of `blake3(key ‖ version)` over every key written since the
//! base, with each 32-byte hash read as a little-endian number and the bytes of keys and versions in
//! their stored form. A sum needs no order and can be undone, so a commit costs two hashes per
//! written key and nothing else. Values of the base are not in it: it does not depend on which of
//! them were ever read. Neither are the topoheights of the writes: it is about state, not about how
//! the state came to be.
//!
//! A sum of hashes finds accidents; it does not withstand somebody who chooses values to collide.

use std::fmt;

use crate::{StateKey, encoding, version::Version};

/// The digest of everything written since the base. Displayed as 64 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateDigest([u8; 32]);

impl StateDigest {
    /// The digest of a state in which nothing was written yet.
    pub const EMPTY: Self = Self([0; 32]);

    /// The digest with these bytes, lowest first.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest, lowest first.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn add(&mut self, term: &Term) {
        let mut carry = false;
        for (bytes, addend) in self.0.as_chunks_mut::<8>().0.iter_mut().zip(term.0) {
            let (sum, first) = u64::from_le_bytes(*bytes).overflowing_add(addend);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *bytes = sum.to_le_bytes();
            carry = first || second;
        }
    }

    pub(crate) fn subtract(&mut self, term: &Term) {
        let mut borrow = false;
        for (bytes, subtrahend) in self.0.as_chunks_mut::<8>().0.iter_mut().zip(term.0) {
            let (difference, first) = u64::from_le_bytes(*bytes).overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            *bytes = difference.to_le_bytes();
            borrow = first || second;
        }
    }
}

/// What one version of one key adds to the digest, lowest digits first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term([u64; 4]);

impl Term {
    /// The buffer is scratch space: whoever makes many terms allocates once.
    pub(crate) fn new(key: &StateKey, version: &Version, buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        encoding::put_key(buffer, key);
        encoding::put_version(buffer, version);
        let hash = *blake3::hash(buffer).as_bytes();
        let mut digits = [0; 4];
        for (digit, bytes) in digits.iter_mut().zip(hash.as_chunks().0) {
            *digit = u64::from_le_bytes(*bytes);
        }
        Self(digits)
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDigest({self:.8}…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, Nonce, StateValue};

    const KEYS: [StateKey; 3] = [
        StateKey::Nonce(Address::new([1; 32])),
        StateKey::Nonce(Address::new([2; 32])),
        StateKey::Nonce(Address::new([3; 32])),
    ];

    fn nonce(number: u64) -> Version {
        Version::Known(Some(StateValue::Nonce(Nonce::new(number))))
    }

    fn term(key: &StateKey, version: &Version) -> Term {
        Term::new(key, version, &mut Vec::new())
    }

    #[test]
    fn carries_and_borrows_go_through_all_digits() {
        let one = Term([1, 0, 0, 0]);
        let mut digest = StateDigest([0xff; 32]);
        digest.add(&one);
        assert_eq!(digest, StateDigest::EMPTY);
        digest.subtract(&one);
        assert_eq!(digest, StateDigest([0xff; 32]));
        // A digit that is full and is carried into.
        let mut digest = StateDigest([0xff; 32]);
        digest.add(&Term([u64::MAX; 4]));
        digest.subtract(&Term([u64::MAX; 4]));
        assert_eq!(digest, StateDigest([0xff; 32]));
    }

    #[test]
    fn what_is_added_can_be_taken_back_in_any_order() {
        let mut digest = StateDigest::EMPTY;
        for number in 0..200 {
            for key in &KEYS {
                digest.add(&term(key, &nonce(number)));
            }
        }
        for key in KEYS.iter().rev() {
            for number in 0..200 {
                digest.subtract(&term(key, &nonce(number)));
            }
        }
        assert_eq!(digest, StateDigest::EMPTY);
    }

    #[test]
    fn value_none_and_unknown_are_three_different_states() {
        let digests = [nonce(0), Version::Known(None), Version::Unknown].map(|version| {
            let mut digest = StateDigest::EMPTY;
            digest.add(&term(&KEYS[0], &version));
            digest
        });
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2]);
        assert_ne!(digests[0], digests[2]);
    }
}
