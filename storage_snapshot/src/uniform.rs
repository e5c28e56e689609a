//! A hash for keys that are evenly distributed by themselves, as accounts and hashes are.
//!
//! Such keys need no mixing, only protection against somebody who looks for some that collide: the
//! first sixteen bytes are combined with a secret that every process draws for itself.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::OnceLock,
};

/// Makes hashers for a map whose keys are addresses, or other bytes that are uniform.
#[derive(Clone, Copy, Debug)]
pub struct UniformState {
    secret: [u64; 2],
}

impl Default for UniformState {
    fn default() -> Self {
        static SECRET: OnceLock<[u64; 2]> = OnceLock::new();
        let drawn = || [0_u64, 1].map(|number| RandomState::new().hash_one(number) | 1);
        Self { secret: *SECRET.get_or_init(drawn) }
    }
}

impl BuildHasher for UniformState {
    type Hasher = UniformHasher;

    #[inline]
    fn build_hasher(&self) -> UniformHasher {
        UniformHasher { secret: self.secret, hash: 0 }
    }
}

/// Hashes one uniform key.
#[derive(Clone, Debug)]
pub struct UniformHasher {
    secret: [u64; 2],
    hash: u64,
}

// Less than a call would cost, and called from maps of other crates.
impl UniformHasher {
    #[inline]
    fn add(&mut self, one: u64, other: u64) {
        let [secret, another] = self.secret;
        let product = u128::from(one ^ self.hash ^ secret) * u128::from(other ^ another);
        self.hash = (product >> 64) as u64 ^ product as u64;
    }
}

impl Hasher for UniformHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        match bytes.split_first_chunk::<8>() {
            Some((one, rest)) => {
                let other = rest.first_chunk::<8>().map_or(0, |other| u64::from_le_bytes(*other));
                self.add(u64::from_le_bytes(*one), other);
            }
            None => bytes.iter().for_each(|byte| self.add(u64::from(*byte), 0)),
        }
    }

    #[inline]
    fn write_u32(&mut self, number: u32) {
        self.add(u64::from(number), 0);
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.add(number, 0);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.add(number as u64, 0);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::{Address, AssetId, StateKey};

    fn address(first: u64, second: u64) -> Address {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        bytes[8..16].copy_from_slice(&second.to_be_bytes());
        Address::new(bytes)
    }

    #[test]
    fn keys_that_differ_in_any_of_their_first_bytes_rarely_collide() {
        let state = UniformState::default();
        let mut seen = HashSet::new();
        for shift in 0..64 {
            for bit in 0..64 {
                seen.insert(state.hash_one(address(1 << shift, 1 << bit)));
            }
        }
        assert!(seen.len() > 64 * 64 - 8, "{} of {} are different", seen.len(), 64 * 64);
    }

    #[test]
    fn the_buckets_of_a_map_are_filled_evenly() {
        let state = UniformState::default();
        let mut filled = [0_u32; 128];
        for number in 0..12_800_u64 {
            let account = Address::new(*blake3::hash(&number.to_be_bytes()).as_bytes());
            // The bits that a map takes: the lowest ones, and the highest seven.
            let hash = state.hash_one(account);
            filled[(hash % 64) as usize] += 1;
            filled[64 + (hash >> 58) as usize] += 1;
        }
        for (bucket, count) in filled.iter().enumerate() {
            // 200 on average, whatever the secret is.
            assert!((100..=300).contains(count), "{count} in bucket {bucket}");
        }
    }

    #[test]
    fn keys_of_one_account_are_told_apart() {
        let state = UniformState::default();
        let account = address(1, 2);
        let keys = [
            StateKey::Nonce(account),
            StateKey::Multisig(account),
            StateKey::Registered(account),
            StateKey::Balance(account, AssetId::NATIVE),
            StateKey::Balance(account, AssetId::new([1; 32])),
            StateKey::Balance(account, AssetId::new([2; 32])),
        ];
        let hashes: HashSet<_> = keys.iter().map(|key| state.hash_one(key)).collect();
        assert_eq!(hashes.len(), keys.len());
    }

    #[test]
    fn what_was_put_into_a_map_is_found_again() {
        let mut map: HashMap<Address, u64, UniformState> = HashMap::default();
        for number in 0..1000 {
            map.insert(address(number / 10, number % 10), number);
        }
        for number in 0..1000 {
            assert_eq!(map.get(&address(number / 10, number % 10)), Some(&number));
        }
        assert_eq!(map.get(&address(0, 10)), None);
    }
}
