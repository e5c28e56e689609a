//! One digit of one bound field is changed; the block must be refused, and the error must name it.
//!
//! A failing case is printed and kept by proptest with the seed that repeats it.

use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};
use serde_json::{Number, Value};
use shadow::chain::{Network, decode_block, decode_transaction};

use crate::chain_fixture::recorded_blocks;

/// The recorded blocks with transactions, and some without.
static BLOCKS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    recorded_blocks("serial-main")
        .map(|json| serde_json::from_str::<Value>(json.get()).expect("an answer is JSON"))
        .enumerate()
        .filter(|(index, block)| index % 10 == 0 || block["transactions"].is_array())
        .map(|(_, block)| block)
        .collect()
});

/// The fields of a block that its hash binds, and the shares that must add up.
const BLOCK_FIELDS: [&str; 13] = [
    "hash",
    "version",
    "blue_score",
    "tips",
    "timestamp",
    "nonce",
    "extra_nonce",
    "miner",
    "txs_hashes",
    "reward",
    "miner_reward",
    "dev_reward",
    "transactions",
];

/// The fields of a transaction that its hash binds. A changed version makes it opaque instead.
const TRANSACTION_FIELDS: [&str; 8] =
    ["hash", "source", "data", "fee", "nonce", "reference", "multisig", "signature"];

/// The places of the digits that may be changed: pointers to all texts and numbers of bound fields.
fn bound_places(block: &Value) -> Vec<String> {
    let mut places = Vec::new();
    for field in BLOCK_FIELDS.into_iter().filter(|field| *field != "transactions") {
        leaves(&block[field], format!("/{field}"), &mut places);
    }
    for (index, transaction) in block["transactions"].as_array().into_iter().flatten().enumerate() {
        // The body of a deployment is not in the JSON, so nothing but its hash is bound.
        let bound = match transaction["data"]["deploy_contract"].is_null() {
            true => &TRANSACTION_FIELDS[..],
            false => &["hash"],
        };
        for field in bound {
            let path = format!("/transactions/{index}/{field}");
            leaves(&transaction[field], path, &mut places);
        }
    }
    places
}

fn leaves(value: &Value, path: String, places: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(_) | Value::String(_) => places.push(path),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                leaves(value, format!("{path}/{index}"), places);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, format!("{path}/{name}"), places);
            }
        }
    }
}

/// Puts another digit in one place; the digit is of the alphabet that is used there.
fn alter(value: &mut Value, place: Index, digit: u8) {
    let other = |old: u8| {
        let alphabet: &[u8] = match old {
            b'0'..=b'9' => b"0123456789",
            _ => b"abcdef",
        };
        let new = alphabet[usize::from(digit) % alphabet.len()];
        if new == old { alphabet[(usize::from(digit) + 1) % alphabet.len()] } else { new }
    };
    let altered = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = other(bytes[place]);
        String::from_utf8(bytes).expect("digits are ASCII")
    };
    *value = match &*value {
        Value::String(text) => Value::String(altered(text)),
        Value::Number(number) => {
            // Leading zeros vanish, and what is too large becomes another number below.
            let number = altered(&number.to_string());
            Value::Number(Number::from(number.parse::<u64>().unwrap_or(u64::MAX)))
        }
        other => panic!("{other} has no digits"),
    };
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_altered_digit_goes_unnoticed(
        block in any::<Index>(),
        place in any::<Index>(),
        digit_place in any::<Index>(),
        digit: u8,
    ) {
        let mut block = block.get(&BLOCKS).clone();
        let places = bound_places(&block);
        let place = place.get(&places);
        let old = block.pointer(place).expect("a place in the block").clone();
        let names = (block["topoheight"].to_string(), block["hash"].as_str().unwrap().to_owned());
        alter(block.pointer_mut(place).unwrap(), digit_place, digit);
        prop_assume!(block.pointer(place) != Some(&old));

        let Err(error) = decode_block(&block.to_string()) else {
            return Err(TestCaseError::fail(format!("{place} was {old}: taken as a block")));
        };
        let error = error.to_string();
        prop_assert!(error.contains(&format!("topoheight {}", names.0)), "{}", error);
        if place != "/hash" {
            prop_assert!(error.contains(&names.1), "{}", error);
        }
        if let Some(index) = place.strip_prefix("/transactions/").and_then(|p| p.split('/').next()) {
            let index: usize = index.parse().unwrap();
            // Whichever of the two was altered, the list or the transaction, one name is still right.
            let hash = block["txs_hashes"][index].as_str().unwrap();
            let named = format!("transactions[{index}]");
            prop_assert!(error.contains(hash) || error.contains(&named), "{}", error);
            if !place.ends_with("/hash") || place.contains("/reference/") {
                prop_assert!(error.contains(hash), "{}", error);
            }
        }
    }

    #[test]
    fn no_altered_transaction_is_taken_alone(
        block in any::<Index>(),
        transaction in any::<Index>(),
        place in any::<Index>(),
        digit_place in any::<Index>(),
        digit: u8,
    ) {
        let block = block.get(&BLOCKS);
        let Some(transactions) = block["transactions"].as_array() else { return Ok(()) };
        let mut transaction = transaction.get(transactions).clone();
        prop_assume!(transaction["data"]["deploy_contract"].is_null());
        let mut places = Vec::new();
        for field in TRANSACTION_FIELDS {
            leaves(&transaction[field], format!("/{field}"), &mut places);
        }
        let place = place.get(&places);
        let old = transaction.pointer(place).expect("a place in the transaction").clone();
        alter(transaction.pointer_mut(place).unwrap(), digit_place, digit);
        prop_assume!(transaction.pointer(place) != Some(&old));
        let error = decode_transaction(&transaction.to_string(), Network::Test);
        prop_assert!(error.is_err(), "{place} was {old}: taken as a transaction");
    }
}
