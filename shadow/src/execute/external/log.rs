//! The log of an outside program: the end of what it wrote to its standard error.

use std::collections::VecDeque;

/// The last bytes of a log. However much is written, no more than [`LOG_BYTES`] are kept.
#[derive(Debug, Default)]
pub(super) struct Log {
    bytes: VecDeque<u8>,
    /// How many of them, or more, the program wrote since it was started last.
    since_start: usize,
}

impl Log {
    /// The program is started once more: what it wrote before was not about its next end.
    pub(super) const fn start(&mut self) {
        self.since_start = 0;
    }

    pub(super) fn append(&mut self, written: &[u8]) {
        let written = &written[written.len().saturating_sub(LOG_BYTES)..];
        let excess = (self.bytes.len() + written.len()).saturating_sub(LOG_BYTES);
        self.bytes.drain(..excess);
        self.bytes.extend(written);
        self.since_start = self.since_start.saturating_add(written.len());
    }

    /// All that is kept. Line breaks and tabs stay; whatever else could move a cursor or forge a
    /// text is escaped.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(self.bytes.len());
        for char in self.last(LOG_BYTES).chars() {
            match char {
                '\n' | '\t' | '"' | '\'' | '\\' => text.push(char),
                _ => text.extend(char.escape_debug()),
            }
        }
        text
    }

    /// The last lines since the last start as one quoted literal; none if nothing was written.
    pub(super) fn last_words(&self) -> Option<String> {
        let text = self.last(self.since_start);
        let text = text.trim_end();
        let mut start = text.len().saturating_sub(LAST_WORDS_BYTES);
        while !text.is_char_boundary(start) {
            start += 1;
        }
        let text = &text[start..];
        let lines = text.rmatch_indices('\n').nth(LAST_WORDS_LINES - 1);
        let text = lines.map_or(text, |(end, _)| &text[end + 1..]);
        (!text.is_empty()).then(|| format!("{text:?}"))
    }

    /// The last bytes as a text, at most so many.
    fn last(&self, count: usize) -> String {
        let before = self.bytes.len().saturating_sub(count);
        let bytes: Vec<u8> = self.bytes.iter().skip(before).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A text of hostile origin as a quoted literal of a bounded length: neither line breaks nor
/// terminal sequences come through.
pub(super) fn quoted(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// How much of a log is kept.
const LOG_BYTES: usize = 64 << 10;

/// How much of a log goes into the text of a failure.
const LAST_WORDS_BYTES: usize = 1 << 10;

/// How many lines of a log go into the text of a failure.
const LAST_WORDS_LINES: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn log(written: &[&[u8]]) -> Log {
        let mut log = Log::default();
        for written in written {
            log.append(written);
        }
        log
    }

    #[test]
    fn only_the_end_of_a_long_log_is_kept() {
        let many = vec![b'a'; LOG_BYTES - 1];
        assert_eq!(log(&[&many, b"bc"]).text().len(), LOG_BYTES);
        assert!(log(&[&many, b"bc"]).text().ends_with("abc"));
        let more = vec![b'd'; LOG_BYTES * 3];
        assert_eq!(log(&[b"abc", &more]).text(), "d".repeat(LOG_BYTES));
    }

    #[test]
    fn what_could_reach_a_terminal_is_escaped() {
        let log = log(&[b"one\ttwo\n\x1b[2Jthree \xff \"four\"\r\n"]);
        assert_eq!(log.text(), "one\ttwo\n\\u{1b}[2Jthree \u{fffd} \"four\"\\r\n");
    }

    #[test]
    fn the_last_words_are_the_last_lines_on_one() {
        #[track_caller]
        fn check(written: &str, expected: Option<&str>) {
            assert_eq!(log(&[written.as_bytes()]).last_words().as_deref(), expected);
        }
        check("", None);
        check("\n\n", None);
        check("gone\n", Some("\"gone\""));
        check("1\n2\n3\n4\n5\n6\n", Some("\"2\\n3\\n4\\n5\\n6\""));
        check("\x1b[31mred", Some("\"\\u{1b}[31mred\""));
        let long = log(&["é".repeat(LAST_WORDS_BYTES).as_bytes()]);
        assert_eq!(long.last_words().unwrap().len(), LAST_WORDS_BYTES + 2);
    }

    #[test]
    fn the_last_words_are_not_those_before_the_start() {
        let mut log = log(&[b"gone\n"]);
        log.start();
        assert_eq!(log.last_words(), None);
        log.append(b"here\n");
        assert_eq!(log.last_words().as_deref(), Some("\"here\""));
        assert_eq!(log.text(), "gone\nhere\n");
    }

    #[test]
    fn a_quoted_text_is_bounded() {
        assert_eq!(quoted("a\nb", 9), "\"a\\nb\"");
        assert_eq!(quoted("ééé", 2), "\"éé\"…");
    }
}
