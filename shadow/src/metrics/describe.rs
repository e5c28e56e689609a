//! The documentation of all metrics, made from their declarations.

use std::fmt::Write;

use super::{DECLARATIONS, Declaration};

/// All metrics as a Markdown document.
pub fn describe() -> String {
    let mut text = String::from(HEAD);
    for declaration in DECLARATIONS {
        // Writing to a string cannot fail.
        let _ = write(declaration, &mut text);
    }
    text.push_str(TAIL);
    text
}

fn write(declaration: &Declaration, text: &mut String) -> std::fmt::Result {
    let Declaration { name, kind, labels, help, .. } = declaration;
    let labels = match labels {
        [] => "-".to_owned(),
        labels => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
    };
    writeln!(text, "| `{name}` | {} | {labels} | {help} |", kind.word())
}

const HEAD: &str = "\
# Metrics

Served at `/metrics` of a run with `--listen`. This file is what `shadow metrics --describe` prints.

What begins with `shadow_ledger_` is a gauge: the sum of the ledger as it stands. It survives a restart,
and goes down where blocks are ordered away. Everything that ends in `_total`, and every histogram, counts
from the start of the process. Of candidates the first seven have a label of their own, the others share
the label `other`; no address, hash or transaction is ever a label.

| metric | type | labels | means |
|---|---|---|---|
";

const TAIL: &str = "
The process itself has the usual metrics: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_open_fds`, `process_max_fds`, `process_threads` and
`process_start_time_seconds`.
";
