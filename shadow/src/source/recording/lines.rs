//! The lines of one file, compressed or plain, each with its place.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::RecordingError;
use crate::{
    chain::BlockError,
    source::answer_json::{AnswerError, RpcError},
};

/// Reads a file line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    path: PathBuf,
    reader: BufReader<Text>,
    number: u64,
    buffer: Vec<u8>,
}

/// The text of a file.
#[derive(Debug)]
enum Text {
    Plain(File),
    Compressed(Box<MultiGzDecoder<BufReader<File>>>),
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    path: &'a Path,
    number: u64,
    text: &'a [u8],
}

/// A question to a node and its answer. Both stay text, so that an error can say which it is in, unless
/// their types are given.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "P: Deserialize<'de>, R: Deserialize<'de>"))]
pub(crate) struct Exchange<'a, P = &'a RawValue, R = &'a RawValue> {
    #[serde(borrow)]
    pub(crate) method: Cow<'a, str>,
    #[serde(default = "Option::default")]
    pub(super) params: Option<P>,
    #[serde(default = "Option::default")]
    pub(crate) result: Option<R>,
    #[serde(borrow, default)]
    pub(crate) error: Option<RpcError<'a>>,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, RecordingError> {
        let file = File::open(path)
            .map_err(|source| RecordingError::File { path: path.to_owned(), source })?;
        let text = match path.extension() {
            Some(extension) if extension == COMPRESSED => {
                let file = BufReader::with_capacity(COMPRESSED_BYTES_AT_ONCE, file);
                Text::Compressed(Box::new(MultiGzDecoder::new(file)))
            }
            _ => Text::Plain(file),
        };
        Ok(Self {
            path: path.to_owned(),
            reader: BufReader::with_capacity(TEXT_BYTES_AT_ONCE, text),
            number: 0,
            buffer: Vec::new(),
        })
    }

    /// The next line that is not empty.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, RecordingError> {
        loop {
            self.read_line().map_err(|source| RecordingError::File {
                path: self.path.clone(),
                source: explain(source),
            })?;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if self.buffer.len() >= LINE_BYTES_MAX {
                return Err(RecordingError::Line {
                    path: self.path.clone(),
                    line: self.number,
                    reason: format!("longer than {LINE_BYTES_MAX} bytes"),
                });
            }
            if !self.buffer.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(Line { path: &self.path, number: self.number, text: self.buffer.trim_ascii() }))
    }

    /// Reads what is left, which verifies the checksum of a compressed file, and returns how many lines that was.
    pub(super) fn verify(mut self) -> Result<u64, RecordingError> {
        let mut count = 0;
        while self.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    /// Reads a line with its end, or as much of it as is looked at; nothing at the end of the file.
    fn read_line(&mut self) -> io::Result<()> {
        self.buffer.clear();
        while self.buffer.len() < LINE_BYTES_MAX {
            let text = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                text => text?,
            };
            if text.is_empty() {
                return match self.reader.get_ref() {
                    // No checksum tells that more is missing.
                    Text::Plain(_) if !self.buffer.is_empty() => {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    }
                    _ => Ok(()),
                };
            }
            let end = memchr(b'\n', text).map(|place| place + 1);
            let length_bytes = end.unwrap_or(text.len());
            self.buffer.extend_from_slice(&text[..length_bytes]);
            self.reader.consume(length_bytes);
            if end.is_some() {
                break;
            }
        }
        Ok(())
    }
}

impl<'a> Line<'a> {
    #[cfg(test)]
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { path: Path::new("blocks.jsonl.gz"), number: 1, text }
    }

    #[cfg(test)]
    pub(super) const fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The line as a question and its answer.
    pub(crate) fn exchange(&self) -> Result<Exchange<'a>, RecordingError> {
        self.json()
    }

    /// The line as JSON.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Result<T, RecordingError> {
        serde_json::from_slice(self.text)
            .map_err(|error| self.error(format!("not as expected: {error}")))
    }

    /// The question's parameters.
    pub(crate) fn params<T: Deserialize<'a>>(
        &self,
        exchange: &Exchange<'a>,
    ) -> Result<T, RecordingError> {
        let Some(params) = exchange.params else {
            return Err(self.error(format!("{} has no params", exchange.method)));
        };
        self.part(params, "params")
    }

    /// One part of the line, which goes by this name.
    pub(crate) fn part<'p, T: Deserialize<'p>>(
        &self,
        part: &'p RawValue,
        name: &str,
    ) -> Result<T, RecordingError> {
        serde_json::from_str(part.get()).map_err(|error| self.error(format!("{name}: {error}")))
    }

    /// The line as a question and its answer of these types; `None` if it is anything else.
    pub(super) fn exchange_of<P, R>(&self) -> Option<Exchange<'a, P, R>>
    where
        P: Deserialize<'a>,
        R: Deserialize<'a>,
    {
        // Looking once at all of it costs less than looking at each text in it.
        serde_json::from_str(std::str::from_utf8(self.text).ok()?).ok()
    }

    pub(crate) fn error(&self, reason: String) -> RecordingError {
        RecordingError::Line { path: self.path.to_owned(), line: self.number, reason }
    }

    pub(super) fn answer_error(&self, error: &AnswerError) -> RecordingError {
        self.error(error.to_string())
    }

    pub(crate) fn block_error(&self, source: BlockError) -> RecordingError {
        RecordingError::Block { path: self.path.to_owned(), line: self.number, source }
    }
}

/// The decoder's own words for a damaged file are terse.
fn explain(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::new(error.kind(), "the file is truncated"),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            io::Error::new(error.kind(), format!("not intact gzip data ({error})"))
        }
        _ => error,
    }
}

/// The longest answer of a node is a block with its transactions, a few mebibytes.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The end of the name of a compressed file.
const COMPRESSED: &str = "gz";
const COMPRESSED_BYTES_AT_ONCE: usize = 1 << 16;
/// What is decompressed in one go is copied once more at its end, so it is much at once; and not so much that it would
/// not stay near the processor.
const TEXT_BYTES_AT_ONCE: usize = 1 << 17;
