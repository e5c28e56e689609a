//! From what was typed, the environment and the configuration file to the options of a command.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, CommandFactory, FromArgMatches};

use super::{
    Cli,
    output::{refuse, say},
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
    Arguments(clap::Error),
    File(ConfigError),
}

impl Refusal {
    pub(super) fn tell(self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                // Help and version are answers, not errors. A closed terminal is nobody's concern.
                let _ = error.print();
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
    let matches = command.clone().try_get_matches_from(arguments).map_err(Refusal::Arguments)?;
    let settings = effective(&command, &matches, file.as_ref());
    let cli = Cli::from_arg_matches(&matches).map_err(Refusal::Arguments)?;
    Ok((cli, settings))
}

pub(super) fn show_config(arguments: &ConfigArguments, file: Option<PathBuf>) -> ExitCode {
    let mut typed: Vec<OsString> = vec!["shadow".into(), (&arguments.of).into()];
    if let Some(file) = file {
        typed.extend(["--config".into(), file.into()]);
    }
    let settings = match parse(typed) {
        Ok((_, settings)) => settings,
        Err(refusal) => return refusal.tell(),
    };
    if !arguments.check {
        let line =
            |Setting { name, value, from, .. }: &Setting| format!("{name} = {value}  ({from})\n");
        say(&settings.iter().map(line).collect::<String>());
    }
    ExitCode::Clean
}
