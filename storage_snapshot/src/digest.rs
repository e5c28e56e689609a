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

    pub(crate) fn add(&mut self, key: &StateKey, version: &Version) {
        let mut carry = 0;
        for (byte, addend) in self.0.iter_mut().zip(hash(key, version)) {
            let sum = u16::from(*byte) + u16::from(addend) + carry;
            // The low eight bits; the rest is carried.
            *byte = sum as u8;
            carry = sum >> 8;
        }
    }

    pub(crate) fn subtract(&mut self, key: &StateKey, version: &Version) {
        let mut borrow = false;
        for (byte, subtrahend) in self.0.iter_mut().zip(hash(key, version)) {
            let (difference, first) = byte.overflowing_sub(subtrahend);
            let (difference, second) = difference.overflowing_sub(u8::from(borrow));
            *byte = difference;
            borrow = first || second;
        }
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

fn hash(key: &StateKey, version: &Version) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(80);
    encoding::put_key(&mut bytes, key);
    encoding::put_version(&mut bytes, version);
    *blake3::hash(&bytes).as_bytes()
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

    #[test]
    fn what_is_added_can_be_taken_back_in_any_order() {
        let mut digest = StateDigest::EMPTY;
        for number in 0..200 {
            for key in &KEYS {
                digest.add(key, &nonce(number));
            }
        }
        for key in KEYS.iter().rev() {
            for number in 0..200 {
                digest.subtract(key, &nonce(number));
            }
        }
        assert_eq!(digest, StateDigest::EMPTY);
    }

    #[test]
    fn value_none_and_unknown_are_three_different_states() {
        let digests = [nonce(0), Version::Known(None), Version::Unknown].map(|version| {
            let mut digest = StateDigest::EMPTY;
            digest.add(&KEYS[0], &version);
            digest
        });
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2]);
        assert_ne!(digests[0], digests[2]);
    }
}
