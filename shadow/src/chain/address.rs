//! Addresses as the node writes them: bech32 over the public key and a type byte.
//!
//! The prefix tells which network an account is meant for and is part of no hash, so it is kept
//! beside the key for whoever has to check that a block speaks of one network only.

mod canonical;

use std::{fmt, str::FromStr};

use bech32::{
    Bech32, Hrp,
    primitives::decode::{CheckedHrpstring, CheckedHrpstringError, PaddingError},
};
use serde::{Serialize, Serializer};
use storage_snapshot::Address;

/// An account as the node writes it: `tst1…` or `tos1…`.
///
/// `Display` writes that form without allocating, `FromStr` reads it. There is exactly one
/// spelling: lower case, no data after the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkAddress {
    /// The account.
    pub account: Address,
    /// The network that the prefix stands for.
    pub network: Network,
}

/// What an address prefix can tell of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// The main network, prefix `tos`.
    Mainnet,
    /// Every other network, prefix `tst`: testnet, stagenet and devnets share it.
    Test,
}

impl Network {
    /// The human-readable prefix of its addresses.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Mainnet => "tos",
            Self::Test => "tst",
        }
    }

    const fn hrp(self) -> Hrp {
        // Both prefixes are short lower-case words, which is all that the check would check.
        Hrp::parse_unchecked(self.prefix())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mainnet => "mainnet",
            Self::Test => "a test network",
        })
    }
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..KEY_BYTES].copy_from_slice(self.account.as_bytes());
        payload[KEY_BYTES] = TYPE_NORMAL;
        bech32::encode_lower_to_fmt::<Bech32, _>(f, self.network.hrp(), &payload)
            .map_err(|_| fmt::Error)
    }
}

impl FromStr for NetworkAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        canonical::read(text).map_or_else(|| read_any(text), Ok)
    }
}

impl Serialize for NetworkAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads an address with nothing taken for granted, so that what is wrong with it can be told.
fn read_any(text: &str) -> Result<NetworkAddress, AddressError> {
    let checked = CheckedHrpstring::new::<Bech32>(text).map_err(AddressError::Bech32)?;
    let network = match checked.hrp().as_bytes() {
        b"tos" => Network::Mainnet,
        b"tst" => Network::Test,
        _ => return Err(AddressError::Prefix(checked.hrp().to_string())),
    };
    let mut payload = [0; PAYLOAD_BYTES];
    let mut length_bytes = 0;
    for byte in checked.byte_iter() {
        if let Some(place) = payload.get_mut(length_bytes) {
            *place = byte;
        }
        length_bytes += 1;
    }
    let [key @ .., kind] = payload;
    if length_bytes >= PAYLOAD_BYTES && kind == TYPE_INTEGRATED {
        return Err(AddressError::Integrated);
    }
    if length_bytes != PAYLOAD_BYTES {
        return Err(AddressError::Length { length_bytes });
    }
    if kind != TYPE_NORMAL {
        return Err(AddressError::Type(kind));
    }
    // Leftover bits would make two spellings of one account.
    checked.validate_segwit_padding().map_err(AddressError::Padding)?;
    Ok(NetworkAddress { account: Address::new(key), network })
}

const KEY_BYTES: usize = 32;
const PAYLOAD_BYTES: usize = KEY_BYTES + 1;
const TYPE_NORMAL: u8 = 0;
const TYPE_INTEGRATED: u8 = 1;

/// Why a text is not the address of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// It is not bech32, or its checksum does not hold.
    Bech32(CheckedHrpstringError),
    /// The prefix belongs to no network of this chain.
    Prefix(String),
    /// It does not hold a key and a type byte.
    Length {
        /// How many bytes it holds; 33 are expected.
        length_bytes: usize,
    },
    /// It carries data for its owner after the key, so it is more than an account.
    Integrated,
    /// The type byte is neither of the two known ones.
    Type(u8),
    /// The bits that fill up the last character are not zero.
    Padding(PaddingError),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bech32(_) => f.write_str("not a bech32 text with a valid checksum"),
            Self::Prefix(prefix) => {
                write!(f, "the prefix {prefix:?} is neither \"tos\" nor \"tst\"")
            }
            Self::Length { length_bytes } => {
                write!(f, "{length_bytes} bytes where a key and a type take {PAYLOAD_BYTES}")
            }
            Self::Integrated => f.write_str(
                "an integrated address carries data besides the account; give the plain address",
            ),
            Self::Type(kind) => write!(f, "the address type {kind} is not known"),
            Self::Padding(_) => f.write_str("the bits that fill up the last character are not 0"),
        }
    }
}

impl std::error::Error for AddressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bech32(source) => Some(source),
            Self::Padding(source) => Some(source),
            Self::Prefix(_) | Self::Length { .. } | Self::Integrated | Self::Type(_) => None,
        }
    }
}
