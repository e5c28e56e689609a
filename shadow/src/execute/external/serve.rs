//! The answering side of the protocol, for programs in Rust.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use comparator::{ExecutionJson, Schedule, StateEntryJson, pre_state_from_json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{BlockJson, PROTOCOL};
use crate::{
    execute::{BlockExecutor, ExecutableBlock, PreState},
    rules::RULES,
};

/// Answers requests with what an executor does, until it is asked to end or the input does.
///
/// A whole candidate is this and an executor:
///
/// ```no_run
/// use shadow::execute::{SerialExecutor, external::serve};
///
/// # fn main() -> std::io::Result<()> {
/// serve(&SerialExecutor, std::io::stdin().lock(), std::io::stdout().lock())
/// # }
/// ```
///
/// # Errors
///
/// When the input cannot be read or the output cannot be written.
pub fn serve(
    executor: &dyn BlockExecutor,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let (id, answer) = match serde_json::from_str::<Request<'_>>(&line) {
            Ok(Request { method, .. }) if method == "shutdown" => return Ok(()),
            Ok(request) => (request.id, answer(executor, &request)),
            Err(error) => (None, Err(ErrorJson::new(PARSE_ERROR, &error))),
        };
        let (result, error) = match answer {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        serde_json::to_writer(&mut output, &Answer { jsonrpc: "2.0", id, result, error })?;
        output.write_all(b"\n")?;
        output.flush()?;
    }
}

fn answer(executor: &dyn BlockExecutor, request: &Request<'_>) -> Result<ResultJson, ErrorJson> {
    match request.method.as_str() {
        "initialize" => {
            let InitializeJson { protocol, rules } = params(request)?;
            if protocol != PROTOCOL || rules != RULES {
                let message = format!("only protocol {PROTOCOL} with rules {RULES} is spoken here");
                return Err(ErrorJson { code: INVALID_PARAMS, message });
            }
            let (name, version) = (executor.name().to_owned(), executor.build());
            Ok(ResultJson::Initialized { protocol: PROTOCOL, name, version })
        }
        "execute_block" => {
            let ExecuteJson { schedule, block, pre_state } = params(request)?;
            let values = pre_state_from_json(pre_state)
                .map_err(|error| ErrorJson::new(INVALID_PARAMS, &error))?;
            let values = values.iter().map(|(key, value)| (*key, value.clone()));
            let pre_state: PreState = values.collect();
            let block = Arc::new(ExecutableBlock::from(block));
            let performed = executor
                .execute(&block, &Arc::new(pre_state), schedule)
                .map_err(|failure| ErrorJson::new(FAILED, &failure))?;
            Ok(ResultJson::Executed(ExecutionJson::from(&performed.execution)))
        }
        unknown => {
            let message = format!("there is no method {unknown:?}");
            Err(ErrorJson { code: NO_METHOD, message })
        }
    }
}

fn params<'a, P: Deserialize<'a>>(request: &Request<'a>) -> Result<P, ErrorJson> {
    let params = request.params.map_or("null", RawValue::get);
    serde_json::from_str(params).map_err(|error| ErrorJson::new(INVALID_PARAMS, &error))
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct InitializeJson {
    protocol: u32,
    rules: String,
}

#[derive(Deserialize)]
struct ExecuteJson {
    schedule: Schedule,
    block: BlockJson,
    pre_state: Vec<StateEntryJson>,
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<ResultJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorJson>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum ResultJson {
    Initialized { protocol: u32, name: String, version: String },
    Executed(ExecutionJson),
}

#[derive(Debug, Serialize)]
struct ErrorJson {
    code: i32,
    message: String,
}

impl ErrorJson {
    fn new(code: i32, error: &dyn std::fmt::Display) -> Self {
        Self { code, message: error.to_string() }
    }
}

// The codes of JSON-RPC 2.0; the last is the first of those that are left to a server.
const PARSE_ERROR: i32 = -32700;
const NO_METHOD: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const FAILED: i32 = -32000;
