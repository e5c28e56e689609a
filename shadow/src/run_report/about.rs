//! What was run, and how it is run again.

use crate::{
    config::{Origin, Setting},
    repro::as_argument,
};

/// What was run.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// The command.
    pub(crate) command: &'static str,
    /// What it was about, in words: for a generated chain its profile and seed.
    pub(crate) case: String,
    /// What follows the command without a name.
    pub(crate) operand: Option<String>,
    /// The options that somebody chose, in whatever place.
    pub(crate) options: Vec<String>,
    /// How many workers there were, which depends on the machine if nobody chose.
    pub(crate) workers: u32,
    /// Whether it went on for a time, and may be repeated with the number of blocks that it came to.
    pub(crate) is_timed: bool,
}

impl About {
    pub(crate) fn new(
        command: &'static str,
        case: String,
        operand: Option<String>,
        settings: &[Setting],
    ) -> Self {
        let chosen = settings.iter().filter(|setting| setting.from != Origin::Default);
        let is_timed = chosen.clone().any(|setting| setting.name == TIME);
        let told = chosen.filter(|setting| !LEFT_OUT.contains(&&*setting.name));
        let words = told.flat_map(Setting::as_typed);
        let options = words.map(|word| without_password(&word)).collect();
        let case = without_password(&case);
        Self { command, case, operand, options, workers: 0, is_timed }
    }

    /// The command that does the same again, in a directory of its own: with as many blocks, where it
    /// went on for a time.
    pub(crate) fn repeat(&self, last: Option<u64>) -> String {
        let mut words = vec!["shadow".to_owned(), self.command.to_owned()];
        words.extend(self.operand.iter().map(|operand| as_argument(operand)));
        if let Some(last) = last.filter(|_| self.is_timed) {
            words.push(format!("--blocks {last}"));
        }
        words.extend(self.options.iter().map(|option| as_argument(option)));
        if self.workers > 0 && !self.options.iter().any(|option| option == "--workers") {
            words.push(format!("--workers {}", self.workers));
        }
        words.join(" ")
    }
}

/// An address without the name and the password in it: reports are shown around.
fn without_password(word: &str) -> String {
    let hidden = word.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', ' ']).unwrap_or(rest.len());
        let (_, host) = rest.get(..end)?.rsplit_once('@')?;
        Some(format!("{scheme}://…@{host}{}", rest.get(end..)?))
    });
    hidden.unwrap_or_else(|| word.to_owned())
}

/// The option for a run that goes on for a time.
const TIME: &str = "for";

/// What does not change what is found, or would make the run go on where it ended.
const LEFT_OUT: [&str; 8] =
    [TIME, "state_dir", "summary_dir", "report", "listen", "json", "log", "log_format"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(settings: &[(&str, &[&str], bool)], last: Option<u64>, expected: &str) {
        let setting = |(name, values, is_flag): &(&str, &[&str], bool)| Setting {
            name: (*name).to_owned(),
            value: values.join(", "),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            is_flag: *is_flag,
            from: Origin::CommandLine,
        };
        let settings: Vec<_> = settings.iter().map(setting).collect();
        let about = About::new("soak", String::new(), None, &settings);
        assert_eq!(About { workers: 4, ..about }.repeat(last), expected);
    }

    #[test]
    fn a_run_is_repeated_by_what_was_chosen() {
        check(&[], Some(9), "shadow soak --workers 4");
        check(&[("workers", &["3"], false)], None, "shadow soak --workers 3");
        check(
            &[("state_dir", &["/x"], false), ("json", &["true"], true)],
            None,
            "shadow soak --workers 4",
        );
        check(
            &[
                ("candidate", &["v3", "external:python3 'a b'"], false),
                ("minimize", &["true"], true),
            ],
            None,
            "shadow soak --candidate v3 --candidate \"external:python3 'a b'\" --minimize --workers 4",
        );
    }

    #[test]
    fn a_password_is_not_shown_around() {
        assert_eq!(without_password("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
        assert_eq!(without_password("http://me:secret@host:1/x@y"), "http://…@host:1/x@y");
        assert_eq!(without_password("--candidate"), "--candidate");
        let node: &[(&str, &[&str], bool)] = &[("node", &["http://me:secret@host"], false)];
        check(node, None, "shadow soak --node 'http://…@host' --workers 4");
    }

    #[test]
    fn a_run_for_a_time_is_repeated_with_as_many_blocks() {
        let timed: &[(&str, &[&str], bool)] = &[("for", &["2m"], false), ("seed", &["7"], false)];
        check(timed, Some(511), "shadow soak --blocks 511 --seed 7 --workers 4");
        check(timed, None, "shadow soak --seed 7 --workers 4");
    }
}
