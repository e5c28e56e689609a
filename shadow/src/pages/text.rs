//! What is shown of a text that somebody else wrote: all of it, and nothing that acts.
//!
//! Names, reasons and logs come from programs under test. Whatever has a meaning in HTML is escaped where
//! it is written into a page; what has none on paper (terminal sequences, line breaks, marks of direction)
//! is spelled out here, and what reads from right to left stays within its own place.

use std::fmt::Display;

use maud::{Markup, Render, html};

/// A text on one line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a>(pub(super) &'a str);

impl Render for Told<'_> {
    fn render(&self) -> Markup {
        let (text, cut) = clipped(self.0, LINE_BYTES_MAX);
        html! {
            bdi { (visible(text)) }
            @if cut > 0 { span.note { " … (" (grouped(cut as u64)) " more bytes)" } }
        }
    }
}

/// A text of many lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToldLines<'a>(pub(super) &'a str);

impl Render for ToldLines<'_> {
    fn render(&self) -> Markup {
        let (text, cut) = clipped(self.0, TEXT_BYTES_MAX);
        let lines: Vec<String> = text.lines().map(visible).collect();
        html! {
            pre tabindex="0" dir="ltr" { (lines.join("\n")) }
            @if cut > 0 { p.note { (grouped(cut as u64)) " more bytes are in the file." } }
        }
    }
}

/// A text in which everything is visible.
pub(super) fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => visible.push(char),
            _ => visible.extend(char.escape_debug()),
        }
    }
    visible
}

/// A hash or an account, of which the beginning is enough to tell it from its neighbours; the whole is
/// there for whoever points at it.
pub(super) fn short(id: &impl Display) -> Markup {
    let whole = id.to_string();
    let beginning: String = whole.chars().take(8).collect();
    html! { code title=(whole) { (beginning) "…" } }
}

/// A hash or an account, as a whole.
pub(super) fn whole(id: &impl Display) -> Markup {
    html! { code.whole { (id.to_string()) } }
}

/// A number, with its digits in groups.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of something.
pub(super) fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(count), if count == 1 { "" } else { "s" })
}

/// A part of a whole, that is not rounded to all or to nothing.
pub(super) fn share(part: u64, whole: u64) -> String {
    let percent = 100.0 * part as f64 / whole.max(1) as f64;
    match part {
        0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        _ => format!("{:.1} %", percent.clamp(0.1, 99.9)),
    }
}

/// The beginning of a text, and how many bytes are left out.
fn clipped(text: &str, longest: usize) -> (&str, usize) {
    let mut end = longest.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], text.len() - end)
}

const LINE_BYTES_MAX: usize = 2000;
const TEXT_BYTES_MAX: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Told(text).render().into_string(), format!("<bdi>{expected}</bdi>"));
    }

    #[test]
    fn nothing_acts_and_everything_is_there() {
        check("plain", "plain");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\" onload='x'", "&quot; onload='x'");
        check("\u{1b}[31m red", "\\u{1b}[31m red");
        check("a\u{202e}b\u{2066}c\u{200b}", "a\\u{202e}b\\u{2066}c\\u{200b}");
        check("a\nb\r", "a\\nb\\r");
        check("&amp;", "&amp;amp;");
    }

    #[test]
    fn lines_stay_lines() {
        let text = ToldLines("a\r\n<b>\n\u{1b}c").render().into_string();
        assert_eq!(text, "<pre tabindex=\"0\" dir=\"ltr\">a\n&lt;b&gt;\n\\u{1b}c</pre>");
    }

    #[test]
    fn what_is_left_out_is_announced() {
        let text = Told(&"é".repeat(2000)).render().into_string();
        assert!(text.contains("(2,000 more bytes)"), "{text}");
    }

    #[test]
    fn a_share_is_all_only_if_nothing_is_missing() {
        assert_eq!(share(0, 10), "0 %");
        assert_eq!(share(1, 1_000_000), "0.1 %");
        assert_eq!(share(999_999, 1_000_000), "99.9 %");
        assert_eq!(share(7, 7), "100 %");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
