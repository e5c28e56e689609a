//! What a program answers, and what is not an answer.

use comparator::{Execution, ExecutionJson, Failure, Object};
use serde::{Deserialize, de::DeserializeOwned};

use super::{PROTOCOL, log::quoted};

/// Reads the answer to a request.
///
/// # Errors
///
/// When the line is no answer to it, or says that there is an error.
fn read<R: DeserializeOwned>(line: &[u8], id: u64) -> Result<R, Failure> {
    let text = std::str::from_utf8(line).map_err(|error| {
        Failure::Protocol(format!("the answer is not UTF-8 from byte {}", error.valid_up_to()))
    })?;
    let answer = serde_json::from_str(text).map_err(|_| no_answer::<R>(text))?;
    let Object(answer): Object<Answer<R>> = answer;
    if answer.jsonrpc != "2.0" {
        let version = quoted(&answer.jsonrpc, EXCERPT);
        return Err(Failure::Protocol(format!("the answer's field jsonrpc is {version}")));
    }
    if answer.id != id {
        let wrong = answer.id;
        return Err(Failure::Protocol(format!("the answer is to request {wrong}, asked was {id}")));
    }
    match (answer.result, answer.error) {
        (Some(Object(result)), None) => Ok(result),
        (None, Some(Object(error))) => {
            let message = quoted(&error.message, MESSAGE);
            Err(Failure::Error(format!("{message} (code {})", error.code)))
        }
        (Some(_), Some(_)) => {
            Err(Failure::Protocol("the answer has both a result and an error".to_owned()))
        }
        (None, None) => {
            Err(Failure::Protocol("the answer has neither a result nor an error".to_owned()))
        }
    }
}

/// Reads once more what is no answer, and slower, to say in which field it goes wrong.
fn no_answer<R: DeserializeOwned>(text: &str) -> Failure {
    let deserializer = &mut serde_json::Deserializer::from_str(text);
    let (path, error) = match serde_path_to_error::deserialize::<_, Object<Answer<R>>>(deserializer)
    {
        Err(error) => (error.path().to_string(), error.into_inner().to_string()),
        // Then it goes wrong behind the object.
        Ok(_) => (".".to_owned(), "there is more on the line than one object".to_owned()),
    };
    // The message may repeat a text of the answer, however long that is.
    let error = clipped(&error, MESSAGE);
    let path = clipped(&path, EXCERPT);
    let begins = quoted(text, EXCERPT);
    Failure::Protocol(match path.as_str() {
        "." => format!("not an answer: {error}; it begins {begins}"),
        _ => format!("not an answer: field {path}: {error}"),
    })
}

/// Who a program says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) version: String,
}

impl Identity {
    /// Reads the answer to `initialize`.
    pub(super) fn read(line: &[u8], id: u64) -> Result<Self, Failure> {
        let IdentityJson { protocol, name, version } = read(line, id)?;
        if protocol != PROTOCOL {
            return Err(Failure::Protocol(format!(
                "it speaks version {protocol} of the protocol, asked was version {PROTOCOL}"
            )));
        }
        Ok(Self { name, version })
    }
}

/// Reads the answer to `execute_block`.
///
/// # Errors
///
/// When the line is no answer to it, or says that there is an error.
pub(super) fn execution(line: &[u8], id: u64) -> Result<Execution, Failure> {
    let json: ExecutionJson = read(line, id)?;
    Execution::try_from(json).map_err(|error| Failure::Protocol(error.to_string()))
}

#[derive(Deserialize)]
struct Answer<R> {
    jsonrpc: String,
    id: u64,
    result: Option<Object<R>>,
    error: Option<Object<ErrorJson>>,
}

#[derive(Deserialize)]
struct ErrorJson {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct IdentityJson {
    protocol: u32,
    name: String,
    version: String,
}

/// A text without control characters of a bounded length, unquoted.
fn clipped(text: &str, longest: usize) -> String {
    let quoted = quoted(text, longest);
    let inner = quoted.strip_prefix('"').unwrap_or(&quoted);
    inner.strip_suffix('"').unwrap_or(inner).replace("\\\"", "\"")
}

/// How many characters of a text are shown where they only help to recognise it.
const EXCERPT: usize = 100;

/// How many characters of a message are shown.
const MESSAGE: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let line =
            br#"{"id":3,"jsonrpc":"2.0","result":{"protocol":1,"name":"a","version":"2","x":0}}"#;
        let identity = Identity { name: "a".to_owned(), version: "2".to_owned() };
        assert_eq!(Identity::read(line, 3), Ok(identity));
    }

    #[test]
    fn what_is_not_an_answer_is_said_with_its_place() {
        #[track_caller]
        fn check(line: &[u8], expected: &str) {
            match Identity::read(line, 3) {
                Err(Failure::Protocol(found)) => assert!(found.contains(expected), "{found}"),
                other => panic!("{other:?}"),
            }
        }
        check(b"{\"\xff\":0}", "the answer is not UTF-8 from byte 2");
        check(
            b"ready\x1b[2J",
            "not an answer: expected value at line 1 column 1; it begins \"ready\\u{1b}[2J\"",
        );
        check(
            br#"{"jsonrpc":"2.0","id":"3","result":null}"#,
            "not an answer: field id: invalid type: string \"3\", expected u64 at line 1",
        );
        check(
            br#"{"jsonrpc":"2.0","id":3,"result":{"protocol":1,"name":2,"version":""}}"#,
            "not an answer: field result.name: invalid type: integer `2`, expected a string at \
             line 1",
        );
        check(
            br#"{"jsonrpc":"2.0","id":3,"id":3}"#,
            "not an answer: duplicate field `id` at line 1",
        );
        check(
            br#"{"jsonrpc":"2.0","id":4,"result":{"protocol":1,"name":"","version":""}}"#,
            "the answer is to request 4, asked was 3",
        );
        check(
            br#"["2.0",3,{"protocol":1,"name":"","version":""},null]"#,
            "not an answer: invalid type: sequence, expected an object at line 1",
        );
        check(
            br#"{"jsonrpc":"2.0","id":3,"result":[1,"",""]}"#,
            "not an answer: field result: invalid type: sequence, expected an object at line 1",
        );
        check(br#"{"jsonrpc":"1.0","id":3}"#, "the answer's field jsonrpc is \"1.0\"");
        check(br#"{"jsonrpc":"2.0","id":3}"#, "the answer has neither a result nor an error");
        check(
            br#"{"jsonrpc":"2.0","id":3,"result":{"protocol":2,"name":"","version":""}}"#,
            "it speaks version 2 of the protocol, asked was version 1",
        );
    }

    #[test]
    fn an_error_answer_is_an_error_and_bounded() {
        let message = format!("no\\n{}", "x".repeat(1 << 20));
        let line =
            format!(r#"{{"jsonrpc":"2.0","id":3,"error":{{"code":-5,"message":"{message}"}}}}"#);
        match Identity::read(line.as_bytes(), 3) {
            Err(Failure::Error(text)) => {
                assert!(text.starts_with("\"no\\nxx"), "{text}");
                assert!(text.ends_with(" (code -5)"), "{text}");
                assert!(text.len() < 600);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_wrong_answer_makes_no_long_failure() {
        let text = "\\u001b".repeat(1 << 20);
        for line in [
            format!(r#"{{"jsonrpc":"2.0","id":3,"result":{{"protocol":"{text}"}}}}"#),
            format!(r#"{{"jsonrpc":"{text}","id":3}}"#),
            format!(r#"{{"{text}":[0,}}"#),
        ] {
            let failure = Identity::read(line.as_bytes(), 3).unwrap_err().to_string();
            assert!(failure.len() < 6000, "{}", failure.len());
            assert!(!failure.contains('\x1b'));
        }
    }
}
