//! The JSON of the files of an evidence directory.

use std::{io, time::Duration};

use comparator::{
    Execution, ExecutionJson, Failure, StateEntryJson, WireError, pre_state_from_json,
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::ser::Formatter;
use storage_snapshot::StateKey;

use super::Observed;
use crate::{execute::PreState, node::NodeCounts};

/// What `candidate.json` holds: the fields of an execution, or one field with what there is instead.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum CandidateJson {
    Failure(FailureFile),
    Answers(AnswersFile),
    Execution(ExecutionJson),
}

/// Instead of an execution: how the candidate failed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailureFile {
    failure: FailureJson,
}

/// Instead of an execution: how many answers there were.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswersFile {
    answers: NodeCounts,
}

/// Which of them a file is. It is looked at before the rest, so that an error in the rest can be named
/// by its field.
#[derive(Deserialize)]
pub(super) struct CandidateKind {
    pub(super) failure: Option<IgnoredAny>,
    pub(super) answers: Option<IgnoredAny>,
}

/// How a candidate failed.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum FailureJson {
    Error { message: String },
    Crashed { message: String },
    Hang { budget_nanoseconds: u64 },
    Protocol { message: String },
}

impl From<&Observed> for CandidateJson {
    fn from(observed: &Observed) -> Self {
        match observed {
            Observed::Execution(execution) => Self::Execution(execution.into()),
            Observed::Failure(failure) => Self::Failure(FailureFile { failure: failure.into() }),
            Observed::Answers(answers) => Self::Answers(AnswersFile { answers: *answers }),
        }
    }
}

impl TryFrom<CandidateJson> for Observed {
    type Error = WireError;

    fn try_from(json: CandidateJson) -> Result<Self, WireError> {
        Ok(match json {
            CandidateJson::Failure(file) => Self::Failure(file.failure.into()),
            CandidateJson::Answers(file) => Self::Answers(file.answers),
            CandidateJson::Execution(json) => Self::Execution(Execution::try_from(json)?),
        })
    }
}

impl From<&Failure> for FailureJson {
    fn from(failure: &Failure) -> Self {
        match failure.clone() {
            Failure::Error(message) => Self::Error { message },
            Failure::Crashed(message) => Self::Crashed { message },
            Failure::Hang { budget } => Self::Hang {
                budget_nanoseconds: u64::try_from(budget.as_nanos()).unwrap_or(u64::MAX),
            },
            Failure::Protocol(message) => Self::Protocol { message },
        }
    }
}

impl From<FailureJson> for Failure {
    fn from(json: FailureJson) -> Self {
        match json {
            FailureJson::Error { message } => Self::Error(message),
            FailureJson::Crashed { message } => Self::Crashed(message),
            FailureJson::Hang { budget_nanoseconds } => {
                Self::Hang { budget: Duration::from_nanos(budget_nanoseconds) }
            }
            FailureJson::Protocol { message } => Self::Protocol(message),
        }
    }
}

/// The entries of `pre_state.json`.
pub(super) fn entries(state: &PreState) -> Vec<StateEntryJson> {
    state.iter().map(|(key, value)| StateEntryJson::new(&key, Some(value))).collect()
}

/// The keys whose value was not known, in the form of entries without a value.
pub(super) fn unknown_entries(state: &PreState) -> Vec<StateEntryJson> {
    state.unknown().map(|key| StateEntryJson::new(&key, None)).collect()
}

/// The closed world of these entries.
pub(super) fn pre_state(
    entries: Vec<StateEntryJson>,
    unknown: Vec<StateKey>,
) -> Result<PreState, WireError> {
    let state = pre_state_from_json(entries)?;
    let values = state.iter().map(|(key, value)| (*key, value.clone()));
    Ok(PreState::with_unknown(values, unknown))
}

/// JSON for machines that people can read too: a line for each field, and for each entry of a list.
pub(super) fn to_lines(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Lines { depth: 0 });
    value.serialize(&mut serializer)?;
    text.push(b'\n');
    Ok(text)
}

/// Breaks the line before what is at most so deep.
struct Lines {
    depth: usize,
}

impl Lines {
    fn next<W: ?Sized + io::Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= 2 { writer.write_all(b"\n") } else { Ok(()) }
    }
}

impl Formatter for Lines {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(writer, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        match self.depth {
            1 => self.next(writer, first),
            _ if first => Ok(()),
            _ => writer.write_all(b","),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_has_a_line_and_so_has_an_entry() {
        let value = json!({"a": 1, "b": [{"x": [1, 2], "y": 3}, {}], "c": {"z": 4, "zz": 5}});
        let lines = String::from_utf8(to_lines(&value).unwrap()).unwrap();
        let expected =
            "{\n\"a\":1,\n\"b\":[\n{\"x\":[1,2],\"y\":3},\n{}],\n\"c\":{\"z\":4,\"zz\":5}}\n";
        assert_eq!(lines, expected);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&lines).unwrap(), value);
    }
}
