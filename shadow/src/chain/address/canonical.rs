//! Addresses in the one spelling that a node writes, read without a detour.
//!
//! A recording names some three accounts per transaction, and reading them in general, character by
//! character, took more time than hashing the transaction. All addresses have the same length, and
//! the checksum is linear: each character adds to it what a table says for its place, whatever the
//! others are. What is not read here is no address, and why not is for the general reader to tell.

use bech32::{Bech32, Checksum};
use storage_snapshot::Address;

use super::{KEY_BYTES, Network, NetworkAddress, TYPE_NORMAL};

/// Reads an address; `None` for whatever is none.
pub(super) fn read(text: &str) -> Option<NetworkAddress> {
    let text: &[u8; PREFIX_CHARACTERS + CHARACTERS] = text.as_bytes().try_into().ok()?;
    let (prefix, characters) = text.split_first_chunk::<PREFIX_CHARACTERS>()?;
    let (network, expected) = match prefix {
        b"tos1" => (Network::Mainnet, MAINNET),
        b"tst1" => (Network::Test, TEST),
        _ => return None,
    };
    // Filled up, nothing but whole groups of eight is left.
    let mut padded = [NO_CHARACTER; CHARACTERS_PADDED];
    padded[..CHARACTERS].copy_from_slice(characters);
    let mut payload = [0; CHARACTERS_PADDED / 8 * 5];
    let (mut all, mut checksum) = (0, 0);
    let eights = padded.as_chunks::<8>().0.iter().zip(ADDED.as_chunks::<8>().0);
    for ((eight, added), five) in eights.zip(payload.as_chunks_mut::<5>().0) {
        let mut bits = 0;
        for (character, added) in eight.iter().zip(added) {
            let value = VALUES[usize::from(*character)];
            all |= value;
            checksum ^= added[usize::from(value) % VALUE_COUNT];
            bits = bits << 5 | u64::from(value);
        }
        five.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    if all == NO_VALUE || checksum != expected {
        return None;
    }
    let (key, rest) = payload.split_first_chunk::<KEY_BYTES>()?;
    // The type, and the bit that fills up its last character. After that is the checksum.
    (rest[0] == TYPE_NORMAL && rest[1] >> 7 == 0)
        .then_some(NetworkAddress { account: Address::new(*key), network })
}

/// A network's prefix and the character that ends it.
const PREFIX_CHARACTERS: usize = 4;
/// A key and a type byte, five bits in each character.
const DATA_CHARACTERS: usize = 53;
/// With the checksum.
const CHARACTERS: usize = DATA_CHARACTERS + <Bech32 as Checksum>::CHECKSUM_LENGTH;
/// The same, filled up so that whole bytes come out of groups of eight.
const CHARACTERS_PADDED: usize = CHARACTERS.next_multiple_of(8);

const VALUE_COUNT: usize = 32;
/// Has the value 0, and after the end it adds nothing to the checksum.
const NO_CHARACTER: u8 = b'q';
/// Has bits that no value has, so it stays visible among values.
const NO_VALUE: u8 = u8::MAX;

/// The value of every character.
const VALUES: [u8; 256] = {
    let characters = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let mut values = [NO_VALUE; 256];
    let mut value = 0;
    while value < VALUE_COUNT {
        values[characters[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// What a value adds to the checksum, by its place.
static ADDED: [[u32; VALUE_COUNT]; CHARACTERS_PADDED] = {
    let mut added = [[0; VALUE_COUNT]; CHARACTERS_PADDED];
    let mut value = 0;
    while value < VALUE_COUNT {
        let mut place = CHARACTERS;
        let mut adds = value as u32;
        while place > 0 {
            place -= 1;
            added[place][value] = adds;
            adds = followed_by(adds, 0);
        }
        value += 1;
    }
    added
};

/// What the characters after a prefix have to add up to.
const MAINNET: u32 = expected_after(b"tos");
const TEST: u32 = expected_after(b"tst");

const fn expected_after(prefix: &[u8; 3]) -> u32 {
    let mut state = 1;
    let mut place = 0;
    while place < prefix.len() {
        state = followed_by(state, prefix[place] as u32 >> 5);
        place += 1;
    }
    state = followed_by(state, 0);
    place = 0;
    while place < prefix.len() {
        state = followed_by(state, prefix[place] as u32 & 31);
        place += 1;
    }
    place = 0;
    while place < CHARACTERS {
        state = followed_by(state, 0);
        place += 1;
    }
    state ^ <Bech32 as Checksum>::TARGET_RESIDUE
}

/// The state of the checksum after one more value.
const fn followed_by(state: u32, value: u32) -> u32 {
    let top = state >> 25;
    let mut next = (state & 0x1ff_ffff) << 5 ^ value;
    let mut bit = 0;
    while bit < 5 {
        if top >> bit & 1 == 1 {
            next ^= <Bech32 as Checksum>::GENERATOR_SH[bit];
        }
        bit += 1;
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads exactly what the general reader reads.
    #[track_caller]
    fn check(text: &str) {
        assert_eq!(read(text), super::super::read_any(text).ok(), "{text:?}");
    }

    fn any_address() -> impl Strategy<Value = NetworkAddress> {
        let network = prop_oneof![Just(Network::Mainnet), Just(Network::Test)];
        (any::<[u8; 32]>(), network)
            .prop_map(|(key, network)| NetworkAddress { account: Address::new(key), network })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address in any_address()) {
            prop_assert_eq!(read(&address.to_string()), Some(address));
        }

        #[test]
        fn what_was_altered_is_read_as_in_general(
            address in any_address(),
            place in 0..63_usize,
            character in "[ -~]",
        ) {
            let mut text = address.to_string();
            text.replace_range(place..=place, &character);
            check(&text);
        }

        /// The checksum of these holds, so the payload decides.
        #[test]
        fn any_payload_is_read_as_in_general(
            prefix in "tos|tst|tss|bc",
            mut payload in prop::collection::vec(any::<u8>(), 31..36),
            kind in 0..3_u8,
        ) {
            if let Some(last) = payload.last_mut() {
                *last = kind;
            }
            let prefix = bech32::Hrp::parse(&prefix).unwrap();
            check(&bech32::encode::<Bech32>(prefix, &payload).unwrap());
            check(&bech32::encode::<bech32::Bech32m>(prefix, &payload).unwrap());
        }

        #[test]
        fn a_bit_that_fills_up_the_last_character_has_to_be_zero(key in any::<[u8; 33]>()) {
            use bech32::{Fe32, Fe32IterExt, ByteIterExt};
            let prefix = bech32::Hrp::parse("tst").unwrap();
            let mut values: Vec<Fe32> = key.iter().copied().bytes_to_fes().collect();
            let last = values.last_mut().unwrap();
            *last = Fe32::try_from(last.to_u8() | 1).unwrap();
            let text: String =
                values.into_iter().with_checksum::<Bech32>(&prefix).chars().collect();
            check(&text);
            prop_assert_eq!(read(&text), None);
        }
    }
}
