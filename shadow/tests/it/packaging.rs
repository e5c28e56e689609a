//! What the project is installed with is what the program takes.

use std::{fs, path::Path, process::Command};

use crate::program::shadow;

#[test]
fn the_configuration_file_that_is_installed_is_one() {
    let ran = shadow(["config", "--check", "--config", &script("shadow.toml")]);
    assert_eq!(ran.code, 0, "{ran:#?}");
}

#[test]
fn the_unit_calls_the_program_as_it_is() {
    let unit = fs::read_to_string(script("shadow.service")).unwrap();
    let commands: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart"))
        .filter_map(|line| line.split_once('='))
        .map(|(_, command)| command.split(' ').collect::<Vec<_>>())
        .collect();
    assert_eq!(commands.len(), 2, "{unit}");
    for command in commands {
        let (program, arguments) = command.split_first().unwrap();
        assert!(program.ends_with("/shadow"), "{command:?}");
        assert!(arguments.contains(&CONFIG), "{command:?}");
        // Help ends it before anything is done, and after everything before it was understood.
        let file = script("shadow.toml");
        let mut all: Vec<&str> =
            arguments.iter().map(|word| if *word == CONFIG { &file } else { *word }).collect();
        all.push("--help");
        let ran = shadow(&all);
        assert_eq!(ran.code, 0, "{all:?}: {ran:#?}");
    }
    // A group of the name that the unit has is there on most systems, and is not one to be in.
    assert!(unit.contains("\nDynamicUser=yes\n"), "{unit}");
    let user = unit.lines().find_map(|line| line.strip_prefix("User="));
    assert!(user.is_some_and(|user| user != "shadow"), "{user:?}");
    // Where the comment says that it is put is where it is looked for.
    assert!(unit.contains(&format!("scripts/shadow.toml {CONFIG}")), "{unit}");
}

#[test]
fn the_container_is_made_of_what_there_is_and_told_what_is_understood() {
    let container = fs::read_to_string(script("Containerfile")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut variables = Vec::new();
    for line in container.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some("COPY") => {
                let source = words.next().unwrap();
                if !source.starts_with("--from") {
                    assert!(root.join(source).exists(), "{line}");
                }
            }
            Some("ENV") => variables.extend(words.filter_map(|word| word.split_once('='))),
            _ => {}
        }
    }
    let user = container.lines().find_map(|line| line.strip_prefix("USER "));
    assert!(user.is_some_and(|user| user != "shadow"), "{user:?}");
    assert!(container.contains("--locked") && root.join("Cargo.lock").is_file());
    assert!(!variables.is_empty(), "{container}");
    let mut program = Command::new(env!("CARGO_BIN_EXE_shadow"));
    program.args(["config", "--check", "--config", &script("shadow.toml")]);
    let output = program.envs(variables.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let help = shadow(["attach", "--help"]).stdout;
    for (name, _) in variables {
        assert!(help.contains(&format!("[env: {name}=")), "{name}: {help}");
    }
}

fn script(name: &str) -> String {
    format!("{}/../scripts/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Where the configuration file is installed.
const CONFIG: &str = "/etc/shadow-sidecar/shadow.toml";
