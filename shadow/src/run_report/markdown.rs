//! Markdown in which a text is shown as it is, whatever it holds.

use std::fmt::{self, Write};

use super::headline::one_line;

/// A text in which nothing is markup: neither Markdown nor HTML, nor the end of a table's cell.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for char in one_line(text).chars() {
        match char {
            '&' => plain.push_str("&amp;"),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => {
                plain.push('\\');
                plain.push(char);
            }
            _ => plain.push(char),
        }
    }
    plain
}

/// A name or a path, shown letter by letter.
pub(crate) fn code(text: &str) -> String {
    let text = one_line(text);
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    if longest > 0 { format!("{fence} {text} {fence}") } else { format!("{fence}{text}{fence}") }
}

/// A text to be copied, in a line of its own, where nothing is markup.
pub(crate) fn block(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{text}\n{fence}\n")
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    text: String,
}

impl Table {
    /// The first column is to the left, all others to the right.
    pub(crate) fn new<H: AsRef<str>>(head: impl IntoIterator<Item = H>) -> Self {
        let mut table = Self { text: String::new() };
        let rules = table.line(head);
        table.text.push_str("|:---|");
        (1..rules).for_each(|_| table.text.push_str("---:|"));
        table.text.push('\n');
        table
    }

    /// Adds a row, of texts.
    pub(crate) fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.line(cells);
    }

    fn line<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) -> usize {
        let mut count = 0;
        self.text.push('|');
        for cell in cells {
            // Writing to a string cannot fail.
            let _ = write!(self.text, " {} |", plain(cell.as_ref()));
            count += 1;
        }
        self.text.push('\n');
        count
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(plain(text), expected);
        }
        check("balance 12", "balance 12");
        check("<script>a&b</script>", "&lt;script&gt;a&amp;b&lt;/script&gt;");
        check("![x](http://y)", "!\\[x\\](http://y)");
        check("a|b\n# c", "a\\|b\\n# c".replace("\\n", "\\\\n").as_str());
        check("`x` *y* _z_", "\\`x\\` \\*y\\* \\_z\\_");
    }

    #[test]
    fn a_block_cannot_be_left_from_inside() {
        assert_eq!(code("a/b_c"), "`a/b_c`");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(block("a"), "```text\na\n```\n");
        assert!(block("```` out").starts_with("`````text\n"));
    }

    #[test]
    fn a_table_has_as_many_cells_as_its_head() {
        let mut table = Table::new(["a", "b"]);
        table.row(["x", "1"]);
        assert_eq!(table.to_string(), "| a | b |\n|:---|---:|\n| x | 1 |\n");
    }
}
