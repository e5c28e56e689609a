//! A command as a person types it: words, split and unquoted as a shell does it.

use std::{fmt, process::Command, str::FromStr};

/// A command line. Nothing but its words is interpreted: no variables, no pipes, no wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    text: String,
    program: String,
    arguments: Vec<String>,
}

impl CommandLine {
    /// The command, ready to be given its pipes.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }

    /// The name of the program's file.
    pub(super) fn program_name(&self) -> &str {
        self.program.rsplit('/').next().unwrap_or(&self.program)
    }
}

impl FromStr for CommandLine {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Self, ParseCommandError> {
        let words = shlex::split(text).ok_or(ParseCommandError::Quotes)?;
        let mut words = words.into_iter();
        let program = words.next().filter(|program| !program.is_empty());
        let program = program.ok_or(ParseCommandError::Empty)?;
        Ok(Self { text: text.to_owned(), program, arguments: words.collect() })
    }
}

/// As it was typed.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A text that is no command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseCommandError {
    /// A quote is opened and not closed, or the text ends in a backslash.
    Quotes,
    /// There is no word in it.
    Empty,
}

impl fmt::Display for ParseCommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Quotes => "a quote is not closed: close it, or put a backslash before it",
            Self::Empty => "no command: name a program and its arguments",
        })
    }
}

impl std::error::Error for ParseCommandError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let line: CommandLine = text.parse().unwrap();
            let mut words = vec![line.program.as_str()];
            words.extend(line.arguments.iter().map(String::as_str));
            assert_eq!(words, expected);
            assert_eq!(line.to_string(), text);
        }
        check("engine", &["engine"]);
        check("  ./engine   --fast ", &["./engine", "--fast"]);
        check("'my engine' \"--name=a b\" c\\ d ''", &["my engine", "--name=a b", "c d", ""]);
        check("engine $HOME | *", &["engine", "$HOME", "|", "*"]);
    }

    #[test]
    fn what_is_no_command_is_refused() {
        #[track_caller]
        fn check(text: &str, expected: ParseCommandError) {
            assert_eq!(text.parse::<CommandLine>(), Err(expected), "{text:?}");
        }
        check("", ParseCommandError::Empty);
        check("  ", ParseCommandError::Empty);
        check("'' argument", ParseCommandError::Empty);
        check("engine 'half", ParseCommandError::Quotes);
        check("engine \\", ParseCommandError::Quotes);
    }
}
