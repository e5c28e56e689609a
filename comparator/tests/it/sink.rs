//! Every record that was published is kept, or said to be lost.

use std::io::{self, Write};

use comparator::{JsonLines, MemorySink, MismatchRecord, MismatchSink, SinkError};

use crate::record::sample;

#[test]
fn one_record_is_one_line() {
    let mut sink = JsonLines::new(Vec::new());
    let mut second = sample();
    second.subject.candidate = "another".into();
    for record in [&sample(), &second] {
        sink.publish(record).unwrap();
    }
    let text = String::from_utf8(sink.into_inner()).unwrap();
    let records: Vec<_> =
        text.lines().map(|line| MismatchRecord::from_json(line).unwrap()).collect();
    assert_eq!(records, [sample(), second]);
    assert!(text.ends_with("}\n"));
}

/// Takes so many bytes, then fails once.
struct Disk {
    text: Vec<u8>,
    room: Option<usize>,
    flushed: usize,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match self.room {
            Some(0) => {
                self.room = None;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Some(room) => {
                let count = bytes.len().min(room);
                self.room = Some(room - count);
                count
            }
            None => bytes.len(),
        };
        self.text.extend(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed = self.text.len();
        Ok(())
    }
}

#[test]
fn a_torn_line_does_not_take_the_next_record_with_it() {
    let mut sink = JsonLines::new(Disk { text: Vec::new(), room: Some(100), flushed: 0 });
    let failed = sink.publish(&sample());
    assert!(matches!(failed, Err(SinkError::Write(_))), "{failed:?}");
    sink.publish(&sample()).unwrap();
    sink.publish(&sample()).unwrap();

    let disk = sink.into_inner();
    assert_eq!(disk.flushed, disk.text.len());
    let text = String::from_utf8(disk.text).unwrap();
    let read: Vec<_> = text.lines().map(|line| MismatchRecord::from_json(line).ok()).collect();
    assert_eq!(read, [None, Some(sample()), Some(sample())]);
}

#[test]
fn a_record_that_contradicts_itself_is_not_written() {
    let mut sink = JsonLines::new(Vec::new());
    let mut record = sample();
    record.omitted += 1;
    assert!(matches!(sink.publish(&record), Err(SinkError::Record(_))));
    assert_eq!(sink.into_inner(), b"");
}

#[test]
fn memory_keeps_the_records_in_order() {
    let mut sink = MemorySink::new();
    sink.publish(&sample()).unwrap();
    assert_eq!(sink.records(), [sample()]);
}
