//! Names of things on the chain: accounts, assets, transactions and blocks, 32 bytes each.
//!
//! They are distinct types because they are all "32 bytes in hex" and a swapped pair would compile.
//! The text form is 64 lower-case hex digits everywhere but in the node's own answers, where an
//! account is a bech32 address; that translation belongs to whoever speaks to the node.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use faster_hex::hex_decode;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id made of these bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first bytes as a number, which is ordered as the ids are: where two are not the
            /// same, it tells which comes first.
            #[inline]
            pub fn prefix(&self) -> u64 {
                self.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                order(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Hash for $name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                // All are of one length, so it need not be told.
                state.write(&self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut digits = [0; 64];
                write_hex(&self.0, &mut digits);
                // Hex digits are ASCII, so the conversion cannot fail.
                f.pad(std::str::from_utf8(&digits).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({}…)", stringify!($name), &self.to_string()[..8])
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self).ok_or_else(|| ParseIdError { text: clip(text) })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("64 lower-case hex digits")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

id! {
    /// An account: the 32 bytes of its public key.
    Address
}
id! {
    /// An asset. The native one is all zeros.
    AssetId
}
id! {
    /// A transaction: blake3 of its complete binary form.
    TxHash
}
id! {
    /// A block: blake3 of its 112-byte header form.
    BlockHash
}

impl AssetId {
    /// The native asset of the chain, in which fees and rewards are paid.
    pub const NATIVE: Self = Self([0; 32]);
}

/// The order of the bytes. Most of what is sorted differs in the first eight, which are compared in
/// one step.
fn order(one: &[u8; 32], other: &[u8; 32]) -> Ordering {
    let first = |bytes: &[u8; 32]| bytes.first_chunk().map(|first| u64::from_be_bytes(*first));
    first(one).cmp(&first(other)).then_with(|| one.cmp(other))
}

/// A text that is not 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdError {
    text: String,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected 64 lower-case hex digits, found {:?}", self.text)
    }
}

impl std::error::Error for ParseIdError {}

fn write_hex(bytes: &[u8; 32], digits: &mut [u8; 64]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Only the canonical form is read: two spellings of one id would compare as different texts.
fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    // It takes a longer text for its first half.
    if text.len() != 2 * bytes.len() {
        return None;
    }
    // All of them are looked at, many at once, instead of one by one up to the first.
    let has_upper_case =
        text.bytes().fold(false, |found, digit| found | digit.is_ascii_uppercase());
    if has_upper_case {
        return None;
    }
    hex_decode(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

/// Hostile input may be megabytes long; an error message may not.
fn clip(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_is_read_back() {
        let id = TxHash::new(std::array::from_fn(|i| i as u8 * 7));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn only_sixty_four_lower_case_hex_digits_are_an_id() {
        #[track_caller]
        fn check(text: &str) {
            assert!(text.parse::<Address>().is_err(), "{text:?} was accepted");
        }
        check("");
        check(&"0".repeat(63));
        check(&"0".repeat(65));
        check(&"A".repeat(64));
        check(&"g".repeat(64));
        check(&"é".repeat(32));
    }

    #[test]
    fn the_order_is_that_of_the_bytes() {
        let base = [0x80; 32];
        for place in 0..32 {
            for (byte, later) in [(0x7f, 0xff), (0x81, 0x00)] {
                let mut other = base;
                other[place] = byte;
                // What comes after the first difference decides nothing.
                other[place + 1..].fill(later);
                let ordering = Address::new(base).cmp(&Address::new(other));
                assert_eq!(ordering, base.cmp(&other), "byte {place} is {byte:#x}");
            }
        }
        assert_eq!(Address::new(base).cmp(&Address::new(base)), Ordering::Equal);
    }

    #[test]
    fn an_error_message_does_not_repeat_a_long_input() {
        let error = "x".repeat(1 << 20).parse::<Address>().unwrap_err();
        assert!(error.to_string().len() < 200);
    }
}
