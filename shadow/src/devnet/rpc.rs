//! JSON-RPC as the node speaks it: what surrounds a question and its answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// One question.
#[derive(Debug, Deserialize)]
pub(super) struct Call<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) method: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) params: Option<&'a RawValue>,
}

/// Everything that came in one message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    One(&'a RawValue),
    Batch(Vec<&'a RawValue>),
}

/// An answer that is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcError {
    pub(super) code: i64,
    pub(super) message: String,
}

/// The text of a result, or what the node says instead.
pub(super) type Answer = Result<String, RpcError>;

/// Reads a message.
///
/// # Errors
///
/// When it is not JSON, or more than a batch may hold.
pub(super) fn read_message(text: &str) -> Result<Message<'_>, RpcError> {
    let unreadable = |_| RpcError::new(PARSE_ERROR, "Parse error");
    if !text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map(Message::One).map_err(unreadable);
    }
    let calls: Vec<&RawValue> = serde_json::from_str(text).map_err(unreadable)?;
    if calls.is_empty() {
        return Err(RpcError::new(INVALID_REQUEST, "Invalid request: empty batch"));
    }
    if calls.len() > BATCH_MAX {
        let message = format!("Invalid request: more than {BATCH_MAX} requests in a batch");
        return Err(RpcError::new(INVALID_REQUEST, message));
    }
    Ok(Message::Batch(calls))
}

/// Reads one question of a message.
///
/// # Errors
///
/// When it is no question.
pub(super) fn read_call(raw: &RawValue) -> Result<Call<'_>, RpcError> {
    let call: Call<'_> = serde_json::from_str(raw.get())
        .map_err(|error| RpcError::new(INVALID_REQUEST, format!("Invalid request: {error}")))?;
    match call.jsonrpc.as_deref() {
        Some("2.0") => Ok(call),
        _ => Err(RpcError::new(INVALID_REQUEST, "Invalid request: jsonrpc is not 2.0")),
    }
}

/// Appends a whole response.
pub(super) fn write_response(id: Option<&RawValue>, answer: &Answer, text: &mut String) {
    let id = id.map_or("null", RawValue::get);
    match answer {
        Ok(result) => {
            text.push_str("{\"id\":");
            text.push_str(id);
            text.push_str(",\"jsonrpc\":\"2.0\",\"result\":");
            text.push_str(result);
            text.push('}');
        }
        Err(RpcError { code, message }) => {
            // A string is always valid JSON.
            let message = serde_json::to_string(message).unwrap_or_default();
            text.push_str(&format!(
                "{{\"error\":{{\"code\":{code},\"message\":{message}}},\"id\":{id},\
                 \"jsonrpc\":\"2.0\"}}"
            ));
        }
    }
}

impl RpcError {
    pub(super) fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// There is no such thing; `what` was being done when that showed.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(NOT_FOUND, format!("{what}: {NOT_ON_DISK}"))
    }

    pub(super) fn invalid_params(message: impl std::fmt::Display) -> Self {
        Self::new(INVALID_PARAMS, format!("Invalid params: {message}"))
    }
}

/// The words of the node's storage.
pub(super) const NOT_ON_DISK: &str = "Data not found on disk: load data";

/// What the node says of anything that is not there.
pub(super) const NOT_FOUND: i64 = -32004;
pub(super) const PARSE_ERROR: i64 = -32700;
pub(super) const INVALID_REQUEST: i64 = -32600;
pub(super) const METHOD_NOT_FOUND: i64 = -32601;
pub(super) const INVALID_PARAMS: i64 = -32602;
pub(super) const INTERNAL_ERROR: i64 = -32603;

/// How many questions a message may hold.
pub(super) const BATCH_MAX: usize = 20;
