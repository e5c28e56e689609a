//! Text of hostile origin: how long it may be, and what of it may reach a terminal.

/// Cuts a text that is longer than `longest` bytes, and says so at its end.
pub(crate) fn clip(text: &mut String, longest: usize) {
    if text.len() <= longest {
        return;
    }
    let mut end = longest;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = text.len() - end;
    text.truncate(end);
    text.push_str(&format!("… ({cut} more bytes)"));
}

/// The text with everything escaped that is not a visible character or a plain space: line breaks
/// cannot forge a line, and neither terminal sequences nor marks of direction reach the terminal.
pub(crate) fn escaped(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            // Quotes are visible; the text is not shown as a literal.
            '"' | '\'' => visible.push(char),
            _ => visible.extend(char.escape_debug()),
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_falls_between_characters_and_is_announced() {
        #[track_caller]
        fn check(text: &str, longest: usize, expected: &str) {
            let mut text = text.to_owned();
            clip(&mut text, longest);
            assert_eq!(text, expected);
        }
        check("short", 5, "short");
        check("longer", 4, "long… (2 more bytes)");
        check("aéb", 2, "a… (3 more bytes)");
        check("é", 0, "… (2 more bytes)");
    }

    #[test]
    fn nothing_invisible_survives() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(escaped(text), expected);
        }
        check("it's \"fine\" é", "it's \"fine\" é");
        check("a\nb\r\t", "a\\nb\\r\\t");
        check("\u{1b}[31mred", "\\u{1b}[31mred");
        check("a\u{202e}b\u{200b}\u{2028}", "a\\u{202e}b\\u{200b}\\u{2028}");
        check("back\\slash", "back\\\\slash");
    }
}
