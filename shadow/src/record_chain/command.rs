//! `shadow record`.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Args;
use storage_snapshot::TopoHeight;

use super::{RecordError, RecordOptions, record};
use crate::{
    cli::{complain, say},
    exit_code::ExitCode,
    source::node::ClientOptions,
};

/// What a person types.
#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// The node: `http://127.0.0.1:8080`.
    #[arg(long, env = "SHADOW_NODE")]
    node: String,

    /// The first block. `shadow replay` needs the blocks from 0.
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// The last block; by default the last one that is stable.
    #[arg(long)]
    to: Option<u64>,

    /// Where the recording goes: a directory that is not there yet.
    #[arg(long)]
    out: PathBuf,

    /// How many requests may be under way at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    in_flight: u16,

    /// How many requests a second may be begun, of up to 20 questions each.
    #[arg(long, default_value = "200")]
    requests_per_second: NonZeroU32,
}

/// Records, and says how much.
pub(crate) fn run(arguments: RecordArguments) -> ExitCode {
    let client = ClientOptions {
        in_flight: usize::from(arguments.in_flight),
        requests_per_second: arguments.requests_per_second,
        ..ClientOptions::new(arguments.node)
    };
    let options = RecordOptions {
        client,
        from: TopoHeight::new(arguments.from),
        to: arguments.to.map(TopoHeight::new),
        directory: arguments.out,
    };
    match record(&options) {
        Ok(recorded) => {
            say(&format!(
                "{} blocks recorded in {}, with {} questions{}\n",
                recorded.blocks,
                options.directory.display(),
                recorded.questions,
                if recorded.with_end { "" } else { "; nothing about the end of the chain" },
            ));
            if options.from > TopoHeight::GENESIS {
                complain("`shadow replay` needs the blocks from 0, so it will not take this");
            }
            ExitCode::Clean
        }
        Err(error) => {
            complain(&error.to_string());
            code_of(&error)
        }
    }
}

fn code_of(error: &RecordError) -> ExitCode {
    match error {
        RecordError::Node(error) if error.is_infrastructure() => ExitCode::Infrastructure,
        RecordError::Write { .. } | RecordError::Runtime(_) | RecordError::Reordered { .. } => {
            ExitCode::Infrastructure
        }
        RecordError::Node(_)
        | RecordError::Block(_)
        | RecordError::Answer { .. }
        | RecordError::Above { .. }
        | RecordError::Empty { .. } => ExitCode::BadInput,
    }
}
