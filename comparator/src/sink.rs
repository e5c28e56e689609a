//! Where records go.
//!
//! A sink is told of every mismatch, once. What it does when it cannot keep one is not its own
//! decision, so it says so.

use std::{
    fmt,
    io::{self, Write},
};

use crate::{MismatchRecord, RecordError};

/// Where records go.
pub trait MismatchSink {
    /// Keeps a record.
    ///
    /// # Errors
    ///
    /// When the record was not kept, or not completely.
    fn publish(&mut self, record: &MismatchRecord) -> Result<(), SinkError>;
}

/// Writes one record per line.
#[derive(Debug)]
pub struct JsonLines<W> {
    writer: W,
    /// Whether the last line may have been written in part.
    torn: bool,
}

impl<W: Write> JsonLines<W> {
    /// Writes to the end of `writer`. Every record is flushed.
    pub const fn new(writer: W) -> Self {
        Self { writer, torn: false }
    }

    /// The writer, with everything in it that was published.
    pub fn into_inner(self) -> W {
        self.writer
    }
}

impl<W: Write> MismatchSink for JsonLines<W> {
    fn publish(&mut self, record: &MismatchRecord) -> Result<(), SinkError> {
        let mut line = record.to_json().map_err(SinkError::Record)?;
        line.push('\n');
        if self.torn {
            // Ends the torn line, so that it does not take this record with it.
            line.insert(0, '\n');
        }
        self.torn = true;
        self.writer.write_all(line.as_bytes()).map_err(SinkError::Write)?;
        self.writer.flush().map_err(SinkError::Write)?;
        self.torn = false;
        Ok(())
    }
}

/// Keeps records in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemorySink {
    records: Vec<MismatchRecord>,
}

impl MemorySink {
    /// A sink that holds nothing yet.
    pub const fn new() -> Self {
        Self { records: Vec::new() }
    }

    /// What was published, in order.
    pub fn records(&self) -> &[MismatchRecord] {
        &self.records
    }
}

impl MismatchSink for MemorySink {
    fn publish(&mut self, record: &MismatchRecord) -> Result<(), SinkError> {
        self.records.push(record.clone());
        Ok(())
    }
}

/// Why a record was not kept.
#[derive(Debug)]
#[non_exhaustive]
pub enum SinkError {
    /// The record has no JSON form.
    Record(RecordError),
    /// Writing failed.
    Write(io::Error),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(_) => f.write_str("the record of a mismatch cannot be written as JSON"),
            Self::Write(_) => f.write_str(
                "writing the record of a mismatch failed: free the disk or choose another place",
            ),
        }
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Record(error) => Some(error),
            Self::Write(error) => Some(error),
        }
    }
}
