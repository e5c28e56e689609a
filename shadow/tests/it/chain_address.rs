use proptest::prelude::*;
use shadow::chain::{AddressError, Network, NetworkAddress};
use storage_snapshot::Address;

use crate::chain_fixture::any_id;

const DEV: &str = "tst1qsl6sj2u0gp37tr6drrq964rd4d8gnaxnezgytmt0cfltnp2wsgqqxxrx64";

#[track_caller]
fn refused(text: &str, expected: impl FnOnce(&AddressError) -> bool) {
    let error = text.parse::<NetworkAddress>().expect_err(text);
    assert!(expected(&error), "{text:?}: {error:?}");
}

/// An address-like text over any payload, with a checksum that holds.
fn bech32_text(prefix: &str, payload: &[u8]) -> String {
    bech32::encode::<bech32::Bech32>(bech32::Hrp::parse(prefix).unwrap(), payload).unwrap()
}

#[test]
fn an_address_of_the_node_is_read_and_written_back() {
    let address: NetworkAddress = DEV.parse().unwrap();
    assert_eq!(address.network, Network::Test);
    assert_eq!(address.to_string(), DEV);
}

#[test]
fn the_prefix_is_the_only_difference_between_networks() {
    let account = DEV.parse::<NetworkAddress>().unwrap().account;
    let on_mainnet = NetworkAddress { account, network: Network::Mainnet }.to_string();
    assert!(on_mainnet.starts_with("tos1"), "{on_mainnet}");
    let read: NetworkAddress = on_mainnet.parse().unwrap();
    assert_eq!((read.account, read.network), (account, Network::Mainnet));
}

#[test]
fn a_text_with_a_wrong_checksum_is_no_address() {
    let bech32 = |error: &AddressError| matches!(error, AddressError::Bech32(_));
    refused("", bech32);
    refused("tst1", bech32);
    refused(&DEV.replace("qsl6", "qsl7"), bech32);
    refused(&DEV[..DEV.len() - 1], bech32);
    refused(&format!("{DEV}q"), bech32);
    refused(&format!(" {DEV}"), bech32);
    refused(&DEV.replace("tst1", "tos1"), bech32);
    // The other constant of the same checksum.
    let payload = [0; 33];
    let prefix = bech32::Hrp::parse("tst").unwrap();
    refused(&bech32::encode::<bech32::Bech32m>(prefix, &payload).unwrap(), bech32);
}

#[test]
fn a_text_of_another_chain_is_no_address() {
    let prefix = |error: &AddressError| matches!(error, AddressError::Prefix(_));
    refused(&bech32_text("bc", &[0; 33]), prefix);
    refused(&bech32_text("tstx", &[0; 33]), prefix);
    refused(&DEV.to_uppercase(), prefix);
}

#[test]
fn a_payload_that_is_not_a_key_and_a_type_is_no_address() {
    let length = |error: &AddressError| matches!(error, AddressError::Length { .. });
    refused(&bech32_text("tst", &[]), length);
    refused(&bech32_text("tst", &[0; 32]), length);
    refused(&bech32_text("tst", &[0; 34]), length);
    let mut payload = [0; 33];
    payload[32] = 2;
    refused(&bech32_text("tst", &payload), |error| *error == AddressError::Type(2));
}

#[test]
fn an_integrated_address_is_refused_as_such() {
    let mut payload = [0; 40];
    payload[32] = 1;
    refused(&bech32_text("tst", &payload), |error| *error == AddressError::Integrated);
    let error = bech32_text("tst", &payload).parse::<NetworkAddress>().unwrap_err();
    assert!(error.to_string().contains("give the plain address"), "{error}");
}

#[test]
fn an_account_has_one_spelling() {
    use bech32::{ByteIterExt, Fe32, Fe32IterExt};
    // 33 bytes leave one bit of the last character unused.
    let prefix = bech32::Hrp::parse("tst").unwrap();
    let mut characters: Vec<Fe32> = [0_u8; 33].into_iter().bytes_to_fes().collect();
    *characters.last_mut().unwrap() = Fe32::P;
    let text: String =
        characters.into_iter().with_checksum::<bech32::Bech32>(&prefix).chars().collect();
    refused(&text, |error| matches!(error, AddressError::Padding(_)));
}

proptest! {
    #[test]
    fn every_account_is_read_back(key in any_id(), mainnet: bool) {
        let network = if mainnet { Network::Mainnet } else { Network::Test };
        let address = NetworkAddress { account: Address::new(key), network };
        prop_assert_eq!(address.to_string().parse(), Ok(address));
    }

    #[test]
    fn one_wrong_character_is_always_noticed(
        key in any_id(),
        place in 4_usize..63,
        character in "[a-z0-9]",
    ) {
        let address = NetworkAddress { account: Address::new(key), network: Network::Test };
        let mut text = address.to_string();
        text.replace_range(place..=place, &character);
        prop_assume!(text != address.to_string());
        prop_assert!(text.parse::<NetworkAddress>().is_err(), "{}", text);
    }
}
