//! The JSON form of an execution is exactly the one that candidates are told.

use comparator::{
    Execution, ExecutionJson, FailReason, Provenance, SkipReason, StateEntryJson, Status,
    WireError, decode_execution, pre_state_from_json, pre_state_to_json,
};
use serde_json::{Value, json};
use storage_snapshot::{Amount, StateKey, StateRead, StateValue};

use crate::support::*;

const EXAMPLE: &str = include_str!("../fixtures/candidate-protocol.example.json");

fn example() -> Value {
    serde_json::from_str(EXAMPLE).unwrap()
}

fn result() -> Value {
    example()["response"]["result"].take()
}

/// The same value with its lists of entries in one order.
fn sorted(mut value: Value) -> Value {
    for list in ["outcomes", "writes"] {
        value[list].as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    value
}

fn encode(execution: &Execution) -> Value {
    serde_json::to_value(ExecutionJson::from(execution)).unwrap()
}

#[test]
fn the_answer_of_the_protocols_example_survives_the_way_there_and_back() {
    let execution = decode_execution(&result().to_string()).unwrap();
    assert_eq!(sorted(encode(&execution)), sorted(result()));
}

#[test]
fn the_answer_of_the_protocols_example_is_what_it_says() {
    let execution = decode_execution(&result().to_string()).unwrap();
    assert_eq!(execution.outcomes.len(), 4);
    assert_eq!(execution.executed(), 3);
    assert_eq!(execution.outcomes[3].status, Status::Skipped(SkipReason::Nonce));
    assert_eq!(execution.delta.len(), 10);
    assert_eq!(execution.totals.fees, Amount::new(35_000));
    assert_eq!(execution.exercise.workers, 4);
    assert_eq!(execution.exercise.provenance, Provenance::Independent);
}

#[test]
fn the_pre_state_of_the_protocols_example_survives_the_way_there_and_back() {
    let listed = example()["request"]["params"]["pre_state"].take();
    let entries: Vec<StateEntryJson> = serde_json::from_value(listed.clone()).unwrap();
    let state = pre_state_from_json(entries).unwrap();
    let mut written = serde_json::to_value(pre_state_to_json(&state).unwrap()).unwrap();
    let mut listed = listed;
    for list in [&mut written, &mut listed] {
        list.as_array_mut().unwrap().sort_by_key(Value::to_string);
    }
    assert_eq!(written, listed);
}

/// Changes the example's answer and expects the error to say this.
#[track_caller]
fn refuses(change: impl FnOnce(&mut Value), expected: &str) {
    let mut answer = result();
    change(&mut answer);
    match decode_execution(&answer.to_string()) {
        Ok(_) => panic!("accepted {answer}"),
        Err(error) => {
            let message = error.to_string();
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        }
    }
}

#[track_caller]
fn accepts(change: impl FnOnce(&mut Value)) -> Execution {
    let mut answer = result();
    change(&mut answer);
    decode_execution(&answer.to_string()).unwrap()
}

#[test]
fn every_missing_field_is_refused() {
    fn paths(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    found.push(format!("{path}/{name}"));
                    paths(field, &format!("{path}/{name}"), found);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    paths(item, &format!("{path}/{index}"), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    paths(&result(), "", &mut found);
    assert!(found.len() > 50, "{found:?}");
    for path in found {
        let (parent, name) = path.rsplit_once('/').unwrap();
        refuses(
            |answer| {
                answer.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            },
            "field",
        );
    }
}

#[test]
fn every_wrong_type_is_refused() {
    for (pointer, value) in [
        ("/outcomes", json!({})),
        ("/outcomes/0", json!(1)),
        ("/outcomes/0/hash", json!("5151")),
        ("/outcomes/0/hash", json!("AB".repeat(32))),
        ("/outcomes/0/status", json!("done")),
        ("/outcomes/0/status", json!(null)),
        ("/outcomes/3/reason", json!(7)),
        ("/outcomes/3/reason", json!(null)),
        ("/outcomes/0/fee", json!("15000")),
        ("/outcomes/0/fee", json!(-1)),
        ("/outcomes/0/fee", json!(1.0)),
        ("/writes", json!(null)),
        ("/writes/0/key", json!("contract")),
        ("/writes/0/account", json!(null)),
        ("/writes/0/asset", json!(null)),
        ("/writes/0/value", json!("19497340")),
        ("/writes/0/value", json!(-1)),
        ("/writes/0/value", json!(0.5)),
        ("/writes/0/value", json!(false)),
        ("/writes/0/value", json!([1])),
        ("/writes/6/value", json!(false)),
        ("/writes/9/value/threshold", json!(256)),
        ("/writes/9/value/participants", json!({})),
        ("/writes/9/value/participants/0", json!(vec![0; 32])),
        ("/totals/fees", json!(null)),
        ("/totals", json!([35000, 0, 87738037, 9748670])),
        ("/exercise", json!([4, 2, 3, null])),
        ("/outcomes/0", json!(["00".repeat(32), "executed", null, 15000])),
        ("/outcomes/0/status", json!({"executed": null})),
        ("/writes/0/key", json!({"balance": null})),
        ("/exercise/workers", json!(-1)),
        ("/exercise/fallback", json!(false)),
    ] {
        refuses(|answer| *answer.pointer_mut(pointer).unwrap() = value, "");
    }
    assert!(matches!(decode_execution("[]"), Err(WireError::Json(_))));
    assert!(matches!(decode_execution(&format!("{} 1", result())), Err(WireError::Json(_))));
}

#[test]
fn a_value_of_another_kind_than_its_key_is_refused() {
    let config = json!({"threshold": 1, "participants": []});
    for (index, values) in [
        (0, [json!(true), config.clone()]),
        (2, [json!(true), config]),
        (6, [json!(1), json!({"threshold": 1, "participants": []})]),
        (9, [json!(1), json!(true)]),
    ] {
        for value in values {
            refuses(|answer| answer["writes"][index]["value"] = value, "cannot hold a value");
        }
    }
}

#[test]
fn a_key_that_is_written_twice_is_refused_even_with_one_value() {
    refuses(
        |answer| {
            let writes = answer["writes"].as_array_mut().unwrap();
            writes.push(writes[2].clone());
        },
        "is written twice",
    );
    let entry: StateEntryJson = serde_json::from_value(json!(
        {"key": "nonce", "account": A, "value": null}
    ))
    .unwrap();
    let twice = pre_state_from_json(vec![entry.clone(), entry]);
    assert!(matches!(twice, Err(WireError::KeyTwice(StateKey::Nonce(account))) if account == A));
}

#[test]
fn a_field_that_is_written_twice_is_refused() {
    let text = result().to_string().replace("\"fees\":35000", "\"fees\":1,\"fees\":35000");
    assert!(text.contains("\"fees\":1,"));
    assert!(matches!(decode_execution(&text), Err(WireError::Json(_))));
}

#[test]
fn unknown_fields_are_ignored() {
    let changed = accepts(|answer| {
        answer["note"] = json!("hello");
        answer["outcomes"][0]["gas"] = json!(1);
        answer["outcomes"][0]["reason"] = json!("no reason needed");
        answer["writes"][0]["previous"] = json!({"deep": [1]});
        answer["writes"][2]["asset"] = json!(GOLD);
        answer["writes"][9]["value"]["note"] = json!(null);
        answer["totals"]["gas"] = json!(-1);
        answer["exercise"]["lanes"] = json!([]);
    });
    assert_eq!(changed, decode_execution(&result().to_string()).unwrap());
}

#[test]
fn a_reason_without_a_word_keeps_its_text() {
    let changed = accepts(|answer| {
        answer["outcomes"][0] = json!(
            {"hash": tx(0x51), "status": "skipped", "reason": "full moon", "fee": 0}
        );
        answer["outcomes"][1] = json!(
            {"hash": tx(0x52), "status": "failed", "reason": "", "fee": 0}
        );
    });
    let Status::Skipped(reason) = &changed.outcomes[0].status else { panic!() };
    assert_eq!((reason.text(), reason.word()), ("full moon", "other"));
    assert_eq!(changed.outcomes[1].status, Status::Failed(FailReason::Other(String::new())));
    assert_eq!(encode(&changed)["outcomes"][0]["reason"], "full moon");
}

#[test]
fn the_words_for_reasons_are_frozen() {
    for (reason, word) in
        [(SkipReason::AlreadyExecuted, "already_executed"), (SkipReason::Nonce, "nonce")]
    {
        assert_eq!((reason.text(), reason.word()), (word, word));
        assert_eq!(SkipReason::from_text(word), reason);
    }
    assert_eq!(FailReason::CreditOverflow.text(), "credit_overflow");
    assert_eq!(FailReason::CreditOverflow.word(), "credit_overflow");
    assert_eq!(FailReason::from_text("credit_overflow"), FailReason::CreditOverflow);
    // A skip reason is no fail reason.
    assert_eq!(FailReason::from_text("nonce"), FailReason::Other("nonce".into()));
}

#[test]
fn numbers_reach_up_to_the_last_one() {
    let changed = accepts(|answer| answer["writes"][0]["value"] = json!(u64::MAX));
    assert_eq!(encode(&changed)["writes"].as_array().unwrap().len(), 10);
    assert!(
        changed.delta.iter().any(|(_, value)| value == balance(u64::MAX).as_ref()),
        "{changed:?}"
    );
    let text = result().to_string().replace("19497340", "18446744073709551616");
    assert!(matches!(decode_execution(&text), Err(WireError::Json(_))));
}

#[test]
fn null_is_a_write_of_none() {
    let changed = accepts(|answer| {
        answer["writes"] = json!([{"key": "multisig", "account": A, "value": null}]);
    });
    assert_eq!(changed.delta.get(&StateKey::Multisig(A)), Some(None));
    assert_eq!(encode(&changed)["writes"][0]["value"], Value::Null);
}

#[test]
fn more_signers_than_the_chain_can_hold_are_refused() {
    let with = |count: usize| {
        move |answer: &mut Value| {
            answer["writes"][9]["value"]["participants"] = json!(vec![A; count])
        }
    };
    accepts(with(255));
    refuses(with(256), "256 participants");
}

#[test]
fn a_delegated_execution_is_never_read_back_as_somebodys_own() {
    let mut execution = execution(&[], &[]);
    execution.exercise.provenance = Provenance::Delegated;
    let json = encode(&execution);
    assert_eq!(json["exercise"]["fallback"], "delegated");
    assert_eq!(decode_execution(&json.to_string()).unwrap(), execution);

    execution.exercise.fallback = Some("small".into());
    let read = decode_execution(&encode(&execution).to_string()).unwrap();
    assert_eq!(read.exercise.fallback, Some("small".into()));
}

#[test]
fn null_in_a_closed_world_is_the_same_as_no_entry() {
    let entries = serde_json::from_value(json!([
        {"key": "balance", "account": A, "asset": GOLD, "value": null},
        {"key": "registered", "account": A, "value": true},
    ]))
    .unwrap();
    let state = pre_state_from_json(entries).unwrap();
    assert_eq!(state.read(&StateKey::Balance(A, GOLD)), Ok(None));
    assert_eq!(state.read(&StateKey::Registered(A)), Ok(Some(StateValue::Registered)));
    assert_eq!(state.iter().len(), 1);
}

#[test]
fn a_world_with_an_unknown_value_cannot_be_written_as_closed() {
    let mut state = state(&[(native(A), balance(1))]);
    state.forget(native(B));
    assert!(matches!(pre_state_to_json(&state), Err(WireError::Unknown(key)) if key == native(B)));
}
