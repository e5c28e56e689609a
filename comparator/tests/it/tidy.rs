//! What is deliberately absent from the sources.

use std::{fs, path::Path};

/// The lines of the crate's sources that are not its own tests, as (file, line).
fn lines() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut lines = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        lines.extend(text.lines().map(|line| (name.clone(), line.to_owned())));
    }
    assert!(lines.len() > 1_000, "the sources were not found");
    lines
}

#[track_caller]
fn nowhere(words: &[&str], except: &str) {
    for (file, line) in lines() {
        let mut tokens = line.split(|char: char| !char.is_ascii_alphanumeric());
        let found = tokens.find(|token| words.contains(&token.to_ascii_lowercase().as_str()));
        assert!(found.is_none() || file == except, "{file} says {found:?}: {line}");
    }
}

#[test]
fn the_comparator_does_not_know_how_a_block_is_executed() {
    nowhere(&["serial", "parallel", "thread", "threads", "sled"], "");
}

#[test]
fn the_comparator_has_no_clock_and_does_no_input_or_output_outside_of_the_sinks() {
    nowhere(&["now", "systemtime"], "");
    nowhere(&["io", "fs", "println", "eprintln", "stdin", "stdout", "stderr", "env"], "sink.rs");
}
