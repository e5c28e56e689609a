//! The configuration file and the environment: other places to write the options of the command line.
//!
//! There is one list of options, the one that the command line has, and this module knows none of them
//! by name. An option `--state-dir` is `SHADOW_STATE_DIR` in the environment and `state_dir` in the file,
//! with the same values, the same checks, and the same words when they are wrong. What is typed wins
//! over the environment, the environment over the file, and the file over the default.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, Id, builder::Resettable, parser::ValueSource};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The option that names the file itself; it has no place in one.
const FILE_OPTION: &str = "config";

/// The heading, in the help of a command, of options that neither a file nor the environment sets: of a command about
/// one thing, which must not become about another because of how runs are configured.
pub(crate) const TYPED: &str = "Options that are only typed";

/// Gives every option that has a long name a variable in the environment.
pub(crate) fn with_environment(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let variable = arg.get_long().map(|long| format!("SHADOW_{}", upper(long)));
        match variable {
            // Asking for help is not something to configure.
            Some(variable) if arg.get_env().is_none() && takes_part(&arg) => arg.env(variable),
            _ => arg,
        }
    });
    let names: Vec<String> =
        command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_environment))
}

/// Values from a file, checked to be those of options that exist.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    values: Vec<FileValue>,
}

/// A line of it.
#[derive(Debug)]
struct FileValue {
    name: String,
    /// What the option is set to.
    values: Vec<String>,
    place: Place,
}

impl ConfigFile {
    /// Reads a file and checks that every key in it is an option of some command.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no TOML, or holds something that is no option; with the line.
    pub(crate) fn read(path: &Path, command: &Command) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let place = |offset: usize| Place {
            path: path.to_owned(),
            line: text[..offset.min(text.len())].matches('\n').count() + 1,
        };
        let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
            place: place(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let known = options(command);
        let mut values = Vec::new();
        for (key, value) in table.get_ref().iter() {
            let place = || place(key.span().start);
            let name = key.get_ref().to_string();
            if !known.contains(&name) {
                return Err(ConfigError::Unknown { place: place(), name, known });
            }
            let value = strings(value)
                .ok_or_else(|| ConfigError::Value { place: place(), name: name.clone() })?;
            if value.len() != 1 && !takes_several(command, &name) {
                return Err(ConfigError::List { place: place(), name });
            }
            values.push(FileValue { name, values: value, place: place() });
        }
        Ok(Self { values })
    }

    /// Makes the values of the file the defaults of the options, but for some.
    fn apply(&self, command: Command, but_for: &BTreeSet<String>) -> Command {
        let command = command.mut_args(|arg| {
            let name = option_name(&arg).filter(|name| !but_for.contains(name));
            match name.and_then(|name| self.find(&name)) {
                Some(set) if takes_part(&arg) => {
                    arg.required(false).default_values(set.values.clone())
                }
                _ => arg,
            }
        });
        let names: Vec<String> =
            command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| {
            command.mut_subcommand(name, |command| self.apply(command, but_for))
        })
    }

    fn sets(&self, option: &str) -> bool {
        self.find(option).is_some()
    }

    fn find(&self, option: &str) -> Option<&FileValue> {
        self.values.iter().find(|set| set.name == option)
    }

    /// Where an option is set.
    pub(crate) fn place_of(&self, option: &str) -> Option<&Place> {
        self.find(option).map(|set| &set.place)
    }

    /// Whether a command takes as many values as there are: another command may take several.
    fn check_lists(&self, command: &Command) -> Result<(), ConfigError> {
        for set in self.values.iter().filter(|set| set.values.len() != 1) {
            let is_it = |arg: &&Arg| option_name(arg).as_ref() == Some(&set.name);
            if let Some(arg) = command.get_arguments().find(is_it)
                && takes_part(arg)
                && !matches!(arg.get_action(), ArgAction::Append)
            {
                let (place, name) = (set.place.clone(), set.name.clone());
                return Err(ConfigError::List { place, name });
            }
        }
        Ok(())
    }
}

/// The command with the values of the file as defaults, and without the values of options that exclude another one
/// which was given in a place that wins: typed, then the environment, then the file.
///
/// # Errors
///
/// When two options that exclude each other are given in the same place, unless they are typed; or when the file has
/// a list where the command that was chosen takes one value.
pub(crate) fn without_overruled(
    mut command: Command,
    arguments: &[std::ffi::OsString],
    file: Option<&ConfigFile>,
) -> Result<Command, ConfigError> {
    let mut built = command.clone().ignore_errors(true);
    built.build();
    let mut but_for = BTreeSet::new();
    // Whatever is wrong with the arguments is told later.
    let matches = built.clone().try_get_matches_from(arguments).ok();
    if let Some((chosen, matches)) = matches.as_ref().and_then(ArgMatches::subcommand)
        && let Some(built) = built.find_subcommand(chosen)
    {
        if let Some(file) = file {
            file.check_lists(built)?;
        }
        for (id, name) in overruled(built, matches, file)? {
            command = command.mut_subcommand(chosen, |command| {
                command.mut_arg(id, |arg| arg.env(Resettable::Reset))
            });
            but_for.insert(name);
        }
    }
    Ok(match file {
        Some(file) => file.apply(command, &but_for),
        None => command,
    })
}

/// The options of a command that another one excludes which was given in a place that wins.
fn overruled(
    command: &Command,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Result<Vec<(Id, String)>, ConfigError> {
    let given = |arg: &Arg, name: &str| match matches.value_source(arg.get_id().as_str()) {
        Some(ValueSource::CommandLine) => Some(Origin::CommandLine),
        Some(ValueSource::EnvVariable) => Some(Origin::Environment),
        _ => file.filter(|file| file.sets(name)).map(|_| Origin::File),
    };
    let mut overruled = Vec::new();
    for arg in command.get_arguments() {
        for other in command.get_arg_conflicts_with(arg) {
            let (Some(name), Some(other_name)) = (option_name(arg), option_name(other)) else {
                continue;
            };
            match (given(arg, &name), given(other, &other_name)) {
                (Some(Origin::CommandLine), Some(Origin::CommandLine)) => {}
                (Some(one), Some(another)) if one == another => {
                    return Err(ConfigError::Both { place: one, names: [name, other_name] });
                }
                (Some(wins), Some(loses)) if wins < loses => {
                    overruled.push((other.get_id().clone(), other_name));
                }
                // The pair is looked at from the other side too, if both sides say so.
                (Some(_), Some(_)) => overruled.push((arg.get_id().clone(), name)),
                (None, _) | (_, None) => {}
            }
        }
    }
    Ok(overruled)
}

/// The file that the arguments or the environment name, if they do. Whatever else is wrong with the
/// arguments is told later.
pub(crate) fn file_of(command: &Command, arguments: &[std::ffi::OsString]) -> Option<PathBuf> {
    let matches = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let mut innermost = &matches;
    loop {
        if let Ok(Some(path)) = innermost.try_get_one::<PathBuf>(FILE_OPTION) {
            return Some(path.clone());
        }
        innermost = innermost.subcommand()?.1;
    }
}

/// One option as it is in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// As in a configuration file.
    pub(crate) name: String,
    /// Empty if it is not set.
    pub(crate) value: String,
    /// The same, one by one, for an option that is given several times.
    pub(crate) values: Vec<String>,
    /// Whether it is typed without a value.
    pub(crate) is_flag: bool,
    /// Where the value is from.
    pub(crate) from: Origin,
}

impl Setting {
    /// Its value, if that is a number; 1 for a switch that is on, and 0 for one that is off.
    pub(crate) fn number(&self) -> Option<f64> {
        match &*self.value {
            "true" => Some(1.0),
            "false" => Some(0.0),
            value => value.parse().ok().filter(|number: &f64| number.is_finite()),
        }
    }

    /// As it would be typed.
    pub(crate) fn as_typed(&self) -> Vec<String> {
        let name = format!("--{}", self.name.replace('_', "-"));
        if self.is_flag {
            return self
                .values
                .iter()
                .filter(|value| *value == "true")
                .map(|_| name.clone())
                .collect();
        }
        let words = self.values.iter().flat_map(|value| match value.starts_with('-') {
            true => vec![format!("{name}={value}")],
            false => vec![name.clone(), value.clone()],
        });
        words.collect()
    }
}

/// Where a value is from; what comes first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    CommandLine,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CommandLine => "command line",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// Every option of the command that was chosen, in the order of their names.
pub(crate) fn effective(
    command: &Command,
    matches: &ArgMatches,
    file: Option<&ConfigFile>,
) -> Vec<Setting> {
    let Some((name, matches)) = matches.subcommand() else { return Vec::new() };
    let of_all = command.get_arguments().filter(|arg| arg.is_global_set());
    let Some(command) = command.find_subcommand(name) else { return Vec::new() };
    let setting = |arg: &Arg| {
        let name = option_name(arg).filter(|_| takes_part(arg))?;
        let id = arg.get_id().as_str();
        let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let from = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => Origin::CommandLine,
            Some(ValueSource::EnvVariable) => Origin::Environment,
            _ if file.is_some_and(|file| file.sets(&name)) => Origin::File,
            _ => Origin::Default,
        };
        let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
        Some(Setting { name, value: values.join(", "), values, is_flag, from })
    };
    let own = command.get_arguments();
    let mut settings: Vec<_> = own.chain(of_all).filter_map(setting).collect();
    settings.sort_by(|one, other| one.name.cmp(&other.name));
    settings
}

/// The names that a file may use.
fn options(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter(|arg| takes_part(arg)).filter_map(option_name);
    own.chain(command.get_subcommands().flat_map(options)).collect()
}

/// Whether an option of this name may be given several times.
fn takes_several(command: &Command, name: &str) -> bool {
    let is_it = |arg: &&Arg| option_name(arg).as_deref() == Some(name);
    let mut own = command.get_arguments().filter(is_it);
    own.any(|arg| matches!(arg.get_action(), ArgAction::Append))
        || command.get_subcommands().any(|command| takes_several(command, name))
}

fn option_name(arg: &Arg) -> Option<String> {
    arg.get_long().map(|long| long.replace('-', "_"))
}

fn takes_part(arg: &Arg) -> bool {
    let is_value = match arg.get_action() {
        ArgAction::Set | ArgAction::Append | ArgAction::SetTrue => true,
        // Questions, such as the one for help.
        _ => false,
    };
    is_value && arg.get_long() != Some(FILE_OPTION) && arg.get_help_heading() != Some(TYPED)
}

fn upper(long: &str) -> String {
    long.replace('-', "_").to_uppercase()
}

/// What a value is on the command line: a list for an option that is given several times.
fn strings(value: &Spanned<DeValue<'_>>) -> Option<Vec<String>> {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().map(string).collect(),
        _ => string(value).map(|value| vec![value]),
    }
}

fn string(value: &Spanned<DeValue<'_>>) -> Option<String> {
    Some(match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().replace('_', ""),
        DeValue::Float(number) => number.as_str().replace('_', ""),
        DeValue::Boolean(flag) => flag.to_string(),
        _ => return None,
    })
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    path: PathBuf,
    line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

/// What is wrong with a configuration file.
#[derive(Debug)]
pub(crate) enum ConfigError {
    Read { path: PathBuf, source: io::Error },
    Syntax { place: Place, message: String },
    Unknown { place: Place, name: String, known: BTreeSet<String> },
    Value { place: Place, name: String },
    List { place: Place, name: String },
    Both { place: Origin, names: [String; 2] },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "reading {}: {source}", path.display()),
            Self::Syntax { place, message } => write!(f, "{place}: {message}"),
            Self::Unknown { place, name, known } => {
                let known: Vec<_> = known.iter().map(String::as_str).collect();
                write!(f, "{place}: there is no option {name}; there are {}", known.join(", "))
            }
            Self::Value { place, name } => write!(
                f,
                "{place}: {name} has to be a string, a number, true, false, or a list of these"
            ),
            Self::List { place, name } => {
                write!(f, "{place}: {name} is given once: give one value, and no list")
            }
            Self::Both { place, names: [name, other] } => {
                write!(f, "{place}: {name} and {other} exclude each other: give one of them")
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let state = Arg::new("state_dir").long("state-dir").required(true);
        let candidates =
            Arg::new("candidate").long("candidate").action(ArgAction::Append).default_value("v3");
        let blocks = Arg::new("blocks").long("blocks").value_parser(clap::value_parser!(u64));
        let json = Arg::new("json").long("json").action(ArgAction::SetTrue);
        let file = Arg::new("config")
            .long("config")
            .global(true)
            .value_parser(clap::value_parser!(PathBuf));
        let length = Arg::new("for").long("for").conflicts_with("blocks");
        let run = Command::new("run").args([state, candidates, blocks, length, json]);
        Command::new("shadow").arg(file).subcommand(run)
    }

    fn read(text: &str) -> Result<ConfigFile, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shadow.toml");
        fs::write(&path, text).unwrap();
        ConfigFile::read(&path, &command())
    }

    /// What a run is told by a file and by arguments, by name.
    #[track_caller]
    fn check(text: &str, arguments: &[&str], expected: &[(&str, &str, Origin)]) {
        let file = read(text).unwrap();
        let command = file.apply(command(), &BTreeSet::new());
        let arguments = ["shadow", "run"].iter().chain(arguments);
        let matches = command.clone().try_get_matches_from(arguments).unwrap();
        let found = effective(&command, &matches, Some(&file));
        for (name, value, from) in expected {
            let setting = found.iter().find(|setting| setting.name == *name).unwrap();
            assert_eq!((&*setting.value, setting.from), (*value, *from), "{name}");
        }
    }

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_file_sets_what_is_not_typed() {
        let text = "state_dir = '/a'\ncandidate = ['v3', 'node']\nblocks = 1_000\njson = true\n";
        check(
            text,
            &[],
            &[
                ("state_dir", "/a", Origin::File),
                ("candidate", "v3, node", Origin::File),
                ("blocks", "1000", Origin::File),
                ("json", "true", Origin::File),
            ],
        );
        check(
            text,
            &["--state-dir", "/b", "--candidate", "x"],
            &[
                ("state_dir", "/b", Origin::CommandLine),
                ("candidate", "x", Origin::CommandLine),
                ("blocks", "1000", Origin::File),
            ],
        );
        check("state_dir = '/a'", &[], &[("candidate", "v3", Origin::Default)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        check_refused("state_dir = '/a'\nblocs = 3\n", "line 2: there is no option blocs");
        check_refused("\n\nconfig = 'b.toml'\n", "line 3: there is no option config");
        check_refused("blocks = { a = 1 }\n", "line 1: blocks has to be");
        check_refused("blocks = \n", "line 1");
        check_refused("blocks = 1\nblocks = 2\n", "line 2");
        check_refused("\nblocks = [1, 2]\n", "line 2: blocks is given once");
    }

    #[test]
    fn a_wrong_value_is_refused_as_if_it_had_been_typed() {
        let file = read("state_dir = '/a'\nblocks = 'many'\n").unwrap();
        let command = file.apply(command(), &BTreeSet::new());
        let error = command.try_get_matches_from(["shadow", "run"]).unwrap_err();
        assert!(error.to_string().contains("invalid value 'many' for '--blocks"), "{error}");
    }

    #[test]
    fn the_file_is_found_wherever_it_is_named() {
        for arguments in [
            &["shadow", "--config", "a.toml", "run"][..],
            &["shadow", "run", "--config", "a.toml"],
            // What is missing may be in the file.
            &["shadow", "run", "--blocks", "1", "--config", "a.toml"],
        ] {
            let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
            assert_eq!(file_of(&command(), &arguments), Some(PathBuf::from("a.toml")));
        }
        let none: Vec<_> = ["shadow", "run"].iter().map(Into::into).collect();
        assert_eq!(file_of(&command(), &none), None);
    }

    #[test]
    fn of_two_options_that_exclude_each_other_the_one_that_wins_is_left() {
        #[track_caller]
        fn check(text: &str, arguments: &[&str], expected: Option<&[(&str, &str)]>) {
            let file = read(text).unwrap();
            let arguments = ["shadow", "run", "--state-dir", "a"].iter().chain(arguments);
            let arguments: Vec<_> = arguments.map(Into::into).collect();
            let command = without_overruled(command(), &arguments, Some(&file));
            let Some(expected) = expected else {
                let error = command.unwrap_err().to_string();
                assert!(error.starts_with("file: ") && error.contains("exclude"), "{error}");
                return;
            };
            let command = command.unwrap();
            let matches = command.clone().try_get_matches_from(arguments).unwrap();
            let found = effective(&command, &matches, Some(&file));
            for (name, value) in expected {
                let setting = found.iter().find(|setting| setting.name == *name).unwrap();
                assert_eq!(setting.value, *value, "{name}");
            }
        }
        check("for = '1s'", &[], Some(&[("for", "1s"), ("blocks", "")]));
        check("for = '1s'", &["--blocks", "5"], Some(&[("for", ""), ("blocks", "5")]));
        check("blocks = 5", &["--for", "1s"], Some(&[("for", "1s"), ("blocks", "")]));
        check("blocks = 5", &["--blocks", "6"], Some(&[("blocks", "6")]));
        check("blocks = 5\nfor = '1s'", &["--blocks", "6"], Some(&[("for", ""), ("blocks", "6")]));
        check("blocks = 5\nfor = '1s'", &[], None);
    }

    #[test]
    fn a_list_is_refused_where_another_command_takes_one_and_this_one_does_not() {
        let one = Command::new("one").arg(Arg::new("candidate").long("candidate"));
        let file = read("\ncandidate = ['v3', 'node']").unwrap();
        let chosen = |name: &str| {
            let arguments = ["shadow", name, "--state-dir", "a"].map(Into::into);
            without_overruled(command().subcommand(one.clone()), &arguments, Some(&file))
        };
        chosen("run").unwrap();
        let error = chosen("one").unwrap_err().to_string();
        assert!(error.ends_with("line 2: candidate is given once: give one value, and no list"));
    }

    #[test]
    fn what_is_only_typed_is_set_by_no_file_and_no_variable() {
        let typed = Arg::new("candidate").long("candidate").help_heading(TYPED);
        let again = Command::new("again").arg(typed);
        let command = with_environment(command().subcommand(again));
        let file = read("candidate = 'v3'").unwrap();
        let command = file.apply(command, &BTreeSet::new());
        let again = command.find_subcommand("again").unwrap();
        let candidate = again.get_arguments().next().unwrap();
        assert_eq!((candidate.get_env(), candidate.get_default_values().len()), (None, 0));
    }

    #[test]
    fn every_option_has_a_variable_of_its_name() {
        let command = with_environment(command());
        let run = command.find_subcommand("run").unwrap();
        let variable = |id: &str| {
            let arg = run.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            arg.get_env().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(variable("state_dir"), "SHADOW_STATE_DIR");
        assert_eq!(variable("json"), "SHADOW_JSON");
    }
}
