use proptest::prelude::*;
use serde::Deserialize;
use shadow::chain::{
    DecodeProblem, EncodeError, OpaqueData, OpaqueKind, Transaction, TransactionData, Transfer,
};
use storage_snapshot::{Address, Amount, AssetId, MultisigConfig, TxHash};

use crate::chain_fixture::{executed_data, lines, rebuildable_data, recorded_blocks, transaction};

#[derive(Deserialize)]
struct Submitted {
    tx: TxHash,
    hex: String,
}

#[test]
fn every_submitted_transaction_is_read_and_written_back() {
    let mut count = 0;
    for Submitted { tx, hex } in lines("serial-main", "all_txs") {
        let bytes = hex::decode(hex).unwrap();
        let transaction = Transaction::from_bytes(&bytes).unwrap_or_else(|e| panic!("{tx}: {e}"));
        assert_eq!(transaction.hash, tx);
        assert_eq!(transaction.to_bytes().as_ref(), Ok(&bytes), "{tx}");
        count += 1;
    }
    assert_eq!(count, 1_090);
}

#[test]
fn the_submitted_bytes_and_the_block_tell_the_same() {
    let submitted: std::collections::HashMap<TxHash, Transaction> = lines("serial-main", "all_txs")
        .map(|Submitted { tx, hex }| {
            (tx, Transaction::from_bytes(&hex::decode(hex).unwrap()).unwrap())
        })
        .collect();
    let mut compared = 0;
    for json in recorded_blocks("serial-main") {
        let block = shadow::chain::decode_block(json.get()).unwrap();
        for shown in &block.transactions {
            let Some(sent) = submitted.get(&shown.hash) else { continue };
            compared += 1;
            if let (TransactionData::Opaque(shown), TransactionData::Opaque(sent)) =
                (&shown.data, &sent.data)
            {
                assert_eq!(shown.kind(), sent.kind());
                assert_eq!(shown.energy(), sent.energy());
                assert_eq!(shown.contract(), sent.contract());
                assert!(shown.binary().is_none_or(|binary| Some(binary) == sent.binary()));
                continue;
            }
            assert_eq!(shown, sent);
        }
    }
    assert_eq!(compared, 1_064);
}

#[track_caller]
fn check_unencodable(data: TransactionData, expected: EncodeError) {
    let mut transaction = sample();
    transaction.data = data;
    assert_eq!(transaction.to_bytes(), Err(expected));
}

fn sample() -> Transaction {
    let Submitted { hex, .. } = lines("serial-main", "all_txs").nth(1).unwrap();
    Transaction::from_bytes(&hex::decode(hex).unwrap()).unwrap()
}

fn transfer(extra_data: Option<Vec<u8>>) -> Transfer {
    Transfer {
        asset: AssetId::NATIVE,
        destination: Address::new([7; 32]),
        amount: Amount::ZERO,
        extra_data,
    }
}

#[test]
fn what_does_not_fit_is_not_cut_off() {
    check_unencodable(
        TransactionData::Transfers(vec![transfer(None); 256]),
        EncodeError::TooLong { field: "data.transfers", count: 256, count_max: 255 },
    );
    check_unencodable(
        TransactionData::Transfers(vec![transfer(Some(vec![0; 65_536]))]),
        EncodeError::TooLong {
            field: "data.transfers.extra_data",
            count: 65_536,
            count_max: 65_535,
        },
    );
    check_unencodable(
        TransactionData::Multisig(MultisigConfig {
            threshold: 0,
            participants: vec![Address::new([7; 32])],
        }),
        EncodeError::IdleParticipants,
    );
    check_unencodable(
        TransactionData::Opaque(Box::new(OpaqueData::from_json(0, r#"{"shield":{}}"#).unwrap())),
        EncodeError::BodyUnknown(OpaqueKind::UnknownKind),
    );
    let mut transaction = sample();
    transaction.version = 1;
    assert_eq!(transaction.seal(), Err(EncodeError::Version(1)));
}

#[track_caller]
fn check_undecodable(bytes: &[u8], offset: usize, field: &str, problem: DecodeProblem) {
    let error = Transaction::from_bytes(bytes).expect_err("the bytes are wrong");
    assert_eq!((error.offset, error.field, error.problem), (offset, field, problem));
}

#[test]
fn an_error_in_the_bytes_says_where_it_is() {
    let good = sample().to_bytes().unwrap();
    let with = |offset: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[offset] = byte;
        bytes
    };
    check_undecodable(&[], 0, "version", DecodeProblem::Truncated { missing_bytes: 1 });
    check_undecodable(&with(0, 1), 0, "version", DecodeProblem::Version(1));
    let missing = DecodeProblem::Truncated { missing_bytes: 12 };
    check_undecodable(&good[..21], 1, "source", missing);
    check_undecodable(&with(107, 2), 107, "data.transfers.extra_data", DecodeProblem::Tag(2));
    check_undecodable(&with(116, 2), 116, "fee_type", DecodeProblem::Tag(2));
    check_undecodable(&with(165, 9), 165, "multisig", DecodeProblem::Tag(9));
    let trailing = [&good[..], &[0, 0]].concat();
    check_undecodable(&trailing, 230, "signature", DecodeProblem::Trailing { extra_bytes: 2 });
    check_undecodable(&with(33, 200)[..150], 34, "data", DecodeProblem::Body);
}

proptest! {
    #[test]
    fn every_transaction_is_read_back(
        transaction in transaction(prop_oneof![3 => executed_data(), 1 => rebuildable_data()], 0..4)
    ) {
        let bytes = transaction.to_bytes().unwrap();
        let read = Transaction::from_bytes(&bytes);
        prop_assert!(read.is_ok(), "{:?}", read);
        let read = read.unwrap();
        prop_assert_eq!(read.to_bytes(), Ok(bytes));
        if let TransactionData::Opaque(data) = &read.data {
            let TransactionData::Opaque(written) = &transaction.data else { unreachable!() };
            prop_assert_eq!(data.kind(), written.kind());
            prop_assert_eq!(data.binary(), written.binary());
            prop_assert_eq!(data.energy(), written.energy());
            prop_assert_eq!(data.contract(), written.contract());
            prop_assert_eq!(data.max_gas(), written.max_gas());
            let stripped = Transaction { data: transaction.data.clone(), ..read };
            prop_assert_eq!(stripped, transaction);
        } else {
            prop_assert_eq!(read, transaction);
        }
    }

    #[test]
    fn an_opaque_body_is_passed_through(
        transaction in transaction(executed_data(), 1..4),
        tag in 3_u8..,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        // As much as a chain has in its first thousand years, see where bodies end.
        let mut transaction = transaction;
        transaction.data = TransactionData::Burn { asset: AssetId::NATIVE, amount: Amount::ZERO };
        transaction.nonce = storage_snapshot::Nonce::new(transaction.nonce.as_u64() >> 24);
        let topoheight = transaction.reference.topoheight.as_u64() >> 24;
        transaction.reference.topoheight = storage_snapshot::TopoHeight::new(topoheight);
        let burn = transaction.to_bytes().unwrap();
        let bytes = [&burn[..33], &[tag], &body, &burn[33 + 41..]].concat();
        // A random body may begin like energy and end elsewhere.
        prop_assume!(tag != 5 || body.len() < 9);

        let read = Transaction::from_bytes(&bytes);
        prop_assert!(read.is_ok(), "{:?}", read);
        let read = read.unwrap();
        prop_assert_eq!(read.to_bytes(), Ok(bytes));
        let TransactionData::Opaque(data) = &read.data else { unreachable!() };
        prop_assert_eq!(data.binary(), Some((tag, &body[..])));
        prop_assert_eq!(read.fee, transaction.fee);
        prop_assert_eq!(read.nonce, transaction.nonce);
        prop_assert_eq!(read.multisig, transaction.multisig);
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), version_known: bool) {
        let mut bytes = bytes;
        if let (Some(version), true) = (bytes.first_mut(), version_known) {
            *version = 0;
        }
        if let Ok(read) = Transaction::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), Ok(bytes));
        }
    }

    #[test]
    fn a_transaction_cut_short_is_an_error(
        transaction in transaction(executed_data(), 0..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = transaction.to_bytes().unwrap();
        let cut = cut.index(bytes.len());
        let error = Transaction::from_bytes(&bytes[..cut]).unwrap_err();
        prop_assert!(error.offset <= cut, "{}", error);
    }
}
