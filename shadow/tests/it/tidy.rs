//! What the structure of the project promises, checked from its files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const CRATES: [&str; 3] = ["storage_snapshot", "comparator", "shadow"];

#[test]
fn the_arrows_between_the_crates_point_one_way() {
    #[track_caller]
    fn check(name: &str, allowed: &[&str]) {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        let found: BTreeSet<_> = manifest
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| CRATES.contains(dependency))
            .collect();
        assert_eq!(found, allowed.iter().copied().collect(), "in the manifest of {name}");
    }
    check("storage_snapshot", &[]);
    check("comparator", &["storage_snapshot"]);
    check("shadow", &["comparator", "storage_snapshot"]);
}

#[test]
fn the_comparator_does_not_know_how_a_block_was_executed() {
    for (path, text) in sources("comparator") {
        for word in ["serial", "parallel", "thread", "sled", "Instant::now", "SystemTime"] {
            let found = words(&text).any(|found| found == word)
                || (word.contains(':') && text.contains(word));
            assert!(!found, "{} says {word}", path.display());
        }
    }
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for name in CRATES {
        for (path, text) in sources(name) {
            let allowed = path.ends_with("cli.rs");
            assert!(allowed || !text.contains("env::var"), "{} does", path.display());
        }
    }
}

/// What is not in the list has no label of its own. Who examines a node does so before anything is counted.
#[test]
fn what_a_node_is_asked_while_it_is_followed_is_in_one_list() {
    for (path, text) in sources("shadow") {
        let is_asking = path.parent().is_some_and(|parent| parent.ends_with("source/node"));
        let allowed = path.ends_with("methods.rs") || path.ends_with("examine.rs");
        assert!(!is_asking || allowed || !text.contains("\"get_"), "{}", path.display());
    }
}

#[test]
fn every_crate_has_the_lints_of_the_workspace() {
    for name in CRATES {
        let manifest = read(&root().join(name).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{name} has not");
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for name in CRATES {
        for (path, text) in sources(name) {
            assert!(text.starts_with("//! "), "{} does not", path.display());
        }
    }
}

#[test]
fn no_test_is_ignored_and_none_merely_mentions_a_match() {
    for name in CRATES {
        let directory = root().join(name);
        for (path, text) in files(&directory.join("tests")).into_iter().chain(sources(name)) {
            assert!(!text.contains("#[ignore"), "{} ignores a test", path.display());
            let bare = text.lines().find(|line| {
                line.trim_start().starts_with("matches!(") && line.trim_end().ends_with(");")
            });
            assert_eq!(bare, None, "{}", path.display());
        }
    }
}

#[test]
fn the_readme_names_every_module_of_the_crates() {
    let readme = read(&root().join("README.md"));
    for name in CRATES {
        for entry in fs::read_dir(root().join(name).join("src")).unwrap() {
            let path = entry.unwrap().path();
            let module = path.file_stem().unwrap().to_str().unwrap();
            if !["lib", "main"].contains(&module) {
                assert!(
                    words(&readme).any(|word| word == module),
                    "{name}/src/{module} is missing"
                );
            }
        }
    }
}

#[test]
fn embedding_takes_under_sixty_lines() {
    let lines = read(&root().join("shadow/examples/embed.rs")).lines().count();
    assert!(lines < 60, "{lines} lines");
}

fn root() -> PathBuf {
    // The manifest of this crate is one level below the workspace.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let sources = files(&root().join(name).join("src"));
    assert!(!sources.is_empty(), "{name} has no sources");
    sources
}

fn files(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = read(&path);
            // The rules about words are quoted in this file.
            if !path.ends_with("tidy.rs") {
                found.push((path, text));
            }
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_')
}
