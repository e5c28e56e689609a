//! From what was typed, the environment and the configuration file to the options of a command.

use std::{ffi::OsString, path::PathBuf};

use clap::{
    Args, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::{
    Cli, option_variables,
    output::{complain, refuse, say},
};
use crate::{
    config::{
        ConfigError, ConfigFile, Setting, effective, file_of, with_environment, without_overruled,
    },
    exit_code::ExitCode,
};

#[derive(Debug, Args)]
pub(super) struct ConfigArguments {
    /// Only check them.
    #[arg(long)]
    check: bool,

    /// The command that they are for.
    #[arg(value_name = "COMMAND", default_value = "attach")]
    of: String,
}

/// Why the arguments are not usable.
pub(super) enum Refusal {
    /// What is wrong, and where the value is from if nobody typed it.
    Arguments(clap::Error, Option<String>),
    File(ConfigError),
}

impl Refusal {
    pub(super) fn tell(self) -> ExitCode {
        match self {
            Self::Arguments(error, from) => {
                // Help and version are answers, not errors. A closed terminal is nobody's concern.
                let _ = error.print();
                if let Some(from) = from {
                    complain(&format!("nobody typed that value: it is from {from}"));
                }
                if error.use_stderr() { ExitCode::BadInput } else { ExitCode::Clean }
            }
            Self::File(error) => refuse(&error.to_string()),
        }
    }
}

/// What was typed, over the environment, over the configuration file, over the defaults; and all options
/// of the command as they then are.
pub(super) fn parse(arguments: Vec<OsString>) -> Result<(Cli, Vec<Setting>), Refusal> {
    let mut command = with_environment(Cli::command());
    let file = match file_of(&command, &arguments) {
        Some(path) => Some(ConfigFile::read(&path, &command).map_err(Refusal::File)?),
        None => None,
    };
    command = without_overruled(command, &arguments, file.as_ref()).map_err(Refusal::File)?;
    let matches = command.clone().try_get_matches_from(&arguments).map_err(|error| {
        let from = origin_of(&error, &arguments, file.as_ref());
        Refusal::Arguments(error, from)
    })?;
    let settings = effective(&command, &matches, file.as_ref());
    let cli = Cli::from_arg_matches(&matches).map_err(|error| Refusal::Arguments(error, None))?;
    Ok((cli, settings))
}

/// Where the value is from that is refused; `None` if it was typed, or no value is.
fn origin_of(
    error: &clap::Error,
    arguments: &[OsString],
    file: Option<&ConfigFile>,
) -> Option<String> {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
        return None;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let option = argument.split([' ', '=']).next()?;
    let is_it = |typed: &OsString| {
        let typed = typed.to_string_lossy();
        typed.split('=').next() == Some(option)
    };
    if arguments.iter().any(is_it) {
        return None;
    }
    let name = option.strip_prefix("--")?.replace('-', "_");
    let variable = format!("SHADOW_{}", name.to_uppercase());
    if option_variables().any(|set| set == *variable) {
        return Some(format!("the environment, {variable}"));
    }
    file?.place_of(&name).map(ToString::to_string)
}

pub(super) fn show_config(arguments: &ConfigArguments, file: Option<PathBuf>) -> ExitCode {
    let mut typed: Vec<OsString> = vec!["shadow".into(), (&arguments.of).into()];
    if let Some(file) = file {
        typed.extend(["--config".into(), file.into()]);
    }
    let (cli, settings) = match parse(typed) {
        Ok(parsed) => parsed,
        Err(refusal) => return refusal.tell(),
    };
    if let Err(message) = cli.command.check() {
        return refuse(&message);
    }
    if !arguments.check {
        let line =
            |Setting { name, value, from, .. }: &Setting| format!("{name} = {value}  ({from})\n");
        say(&settings.iter().map(line).collect::<String>());
    }
    ExitCode::Clean
}
