//! One number for a whole state, so that two stores can be compared without comparing their keys.
//!
//! The digest is the sum, modulo 2^256, of `blake3(key ‖ version)` over every key written since the
//! base, with each 32-byte hash read as a little-endian number and the bytes of keys and versions in
//! their stored form, filled with zeros to 64 where they are fewer. (No stored form is the beginning
//! of another, so that confuses nothing, and messages of one length can be hashed beside each other.)
//! A sum needs no order and can be undone, so a commit costs at most two hashes per written key. Values of the base are not in it: it does not depend on which of
//! them were ever read. Neither are the topoheights of the writes: it is about state, not about how
//! the state came to be.
//!
//! A sum of hashes finds accidents; it does not withstand somebody who chooses values to collide.

use std::fmt;

use blake3::{IncrementCounter, platform::Platform};
use smallvec::SmallVec;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Term([u64; 4]);

impl Term {
    fn new(hash: &[u8; 32]) -> Self {
        let mut digits = [0; 4];
        for (digit, bytes) in digits.iter_mut().zip(hash.as_chunks().0) {
            *digit = u64::from_le_bytes(*bytes);
        }
        Self(digits)
    }
}

/// Makes terms, many at once: nearly every version is a message of one block, and the processor hashes
/// several of them in the time of one. What it needs of memory it keeps.
#[derive(Default)]
pub(crate) struct Terms {
    buffer: Vec<u8>,
    /// The messages of one block, and which term each belongs to.
    blocks: Vec<[u8; 64]>,
    places: Vec<usize>,
    terms: Vec<Term>,
}

impl Terms {
    /// Forgets all terms.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.places.clear();
        self.terms.clear();
    }

    /// Gives back what was needed for more than so many terms.
    pub(crate) fn shrink_to(&mut self, terms: usize) {
        self.blocks.shrink_to(terms);
        self.places.shrink_to(terms);
        self.terms.shrink_to(terms);
    }

    /// Adds the term of a version.
    pub(crate) fn push(&mut self, key: &StateKey, version: &Version) {
        if let Some(block) = encoding::short(key, version) {
            self.blocks.push(block);
            self.places.push(self.terms.len());
            self.terms.push(Term::default());
            return;
        }
        self.buffer.clear();
        encoding::put_key(&mut self.buffer, key);
        encoding::put_version(&mut self.buffer, version);
        let length = self.buffer.len().max(64);
        self.buffer.resize(length, 0);
        self.terms.push(Term::new(blake3::hash(&self.buffer).as_bytes()));
    }

    /// The terms in the order in which they were added.
    pub(crate) fn finish(&mut self) -> &[Term] {
        let mut places = self.places.iter();
        for blocks in self.blocks.chunks(BLOCKS_AT_ONCE) {
            let mut hashes = [0; 32 * BLOCKS_AT_ONCE];
            hash_blocks(blocks, &mut hashes);
            for (hash, place) in hashes.as_chunks().0.iter().zip(places.by_ref().take(blocks.len()))
            {
                self.terms[*place] = Term::new(hash);
            }
        }
        self.blocks.clear();
        self.places.clear();
        &self.terms
    }
}

/// As many as any processor hashes at once.
const BLOCKS_AT_ONCE: usize = 16;

/// `blake3::hash` of each block. The crate hashes several messages at once only behind this interface,
/// which it does not document, so a test holds it against the documented one.
fn hash_blocks(blocks: &[[u8; 64]], hashes: &mut [u8; 32 * BLOCKS_AT_ONCE]) {
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    const CHUNK_START: u8 = 1;
    const CHUNK_END: u8 = 2;
    const ROOT: u8 = 8;
    let mut inputs: SmallVec<[&[u8; 64]; BLOCKS_AT_ONCE]> = SmallVec::new();
    inputs.extend(blocks);
    Platform::detect().hash_many(
        &inputs,
        &INITIAL,
        0,
        IncrementCounter::No,
        0,
        CHUNK_START,
        CHUNK_END | ROOT,
        hashes,
    );
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
    use crate::{Address, Amount, AssetId, MultisigConfig, Nonce, StateValue};

    const KEYS: [StateKey; 3] = [
        StateKey::Nonce(Address::new([1; 32])),
        StateKey::Nonce(Address::new([2; 32])),
        StateKey::Nonce(Address::new([3; 32])),
    ];

    fn nonce(number: u64) -> Version {
        Version::Known(Some(StateValue::Nonce(Nonce::new(number))))
    }

    fn term(key: &StateKey, version: &Version) -> Term {
        let mut terms = Terms::default();
        terms.push(key, version);
        terms.finish()[0]
    }

    #[test]
    fn terms_made_at_once_are_those_made_one_by_one() {
        let participants = vec![Address::new([9; 32]); 2];
        let long = StateValue::from(MultisigConfig { threshold: 2, participants });
        let key_of_long = StateKey::Multisig(Address::new([1; 32]));
        for count in 0..40 {
            let mut terms = Terms::default();
            let mut expected = Vec::new();
            for number in 0..count {
                let (key, version) = match number % 5 {
                    3 => (key_of_long, Version::Known(Some(long.clone()))),
                    _ => (KEYS[number % 3], nonce(number as u64)),
                };
                terms.push(&key, &version);
                let mut bytes = Vec::new();
                encoding::put_key(&mut bytes, &key);
                encoding::put_version(&mut bytes, &version);
                bytes.resize(bytes.len().max(64), 0);
                expected.push(Term::new(blake3::hash(&bytes).as_bytes()));
            }
            assert_eq!(terms.finish(), expected, "{count} terms");
            // Asked again it says the same, and once cleared nothing is left.
            assert_eq!(terms.finish(), expected, "{count} terms");
            terms.clear();
            assert!(terms.finish().is_empty());
        }
    }

    #[test]
    fn what_is_short_has_the_same_bytes_as_what_is_not() {
        let account = Address::new([7; 32]);
        let keys = [
            StateKey::Nonce(account),
            StateKey::Balance(account, AssetId::NATIVE),
            StateKey::Balance(account, AssetId::new([1; 32])),
            StateKey::Multisig(account),
            StateKey::Registered(account),
        ];
        let participants = Vec::new();
        let versions = [
            Version::Known(None),
            Version::Unknown,
            nonce(u64::MAX),
            Version::Known(Some(StateValue::Balance(Amount::new(258)))),
            Version::Known(Some(StateValue::from(MultisigConfig { threshold: 0, participants }))),
            Version::Known(Some(StateValue::Registered)),
        ];
        for (key, version) in keys.iter().flat_map(|key| versions.iter().map(move |v| (key, v))) {
            let mut bytes = Vec::new();
            encoding::put_key(&mut bytes, key);
            encoding::put_version(&mut bytes, version);
            bytes.resize(bytes.len().max(64), 0);
            let expected = Term::new(blake3::hash(&bytes).as_bytes());
            assert_eq!(term(key, version), expected, "{key}, {version:?}");
        }
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
