//! `shadow record`.

use std::path::PathBuf;

use clap::Args;
use storage_snapshot::TopoHeight;

use super::{RecordError, RecordOptions, record};
use crate::{
    attach::NodeArguments,
    cli::{complain, say},
    exit_code::ExitCode,
};

/// What a person types.
#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    #[command(flatten)]
    node: NodeArguments,

    /// The first block. `shadow replay` needs the blocks from 0.
    #[arg(long, default_value_t = 0)]
    from: u64,

    /// The last block; by default the last one that is stable.
    #[arg(long)]
    to: Option<u64>,

    /// Where the recording goes: a directory that is not there yet.
    #[arg(long)]
    out: PathBuf,
}

/// Records, and says how much.
pub(crate) fn run(arguments: RecordArguments) -> ExitCode {
    let options = RecordOptions {
        client: arguments.node.options(),
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
            if recorded.is_funded {
                complain(
                    "accounts had something before the first block, as on a generated chain: a recording does \
                     not tell that, and `shadow replay` takes it for nothing; `shadow attach` asks for it",
                );
            }
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
        RecordError::Write { .. }
        | RecordError::Runtime(_)
        | RecordError::Reordered { .. }
        | RecordError::WentOn { .. } => ExitCode::Infrastructure,
        RecordError::Node(_)
        | RecordError::Block(_)
        | RecordError::Answer { .. }
        | RecordError::Above { .. }
        | RecordError::Empty { .. } => ExitCode::BadInput,
    }
}
