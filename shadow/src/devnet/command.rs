//! `shadow devnet`, the stand-in node as a process of its own.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{DevnetChain, DevnetError, DevnetNode, DevnetOptions, FaultRates, Pace};
use crate::{
    cli::{complain, profile, rate, say},
    exit_code::ExitCode,
    http::ListenAddress,
    run::Signals,
    source::{GeneratedOptions, Profile},
};

/// What a person types.
#[derive(Debug, Args)]
pub(crate) struct DevnetArguments {
    /// Where to listen. With port 0 any free one is taken; the first line on standard output says
    /// which.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: ListenAddress,

    /// Serve this recording instead of a generated chain.
    #[arg(long, conflicts_with_all = ["chain_seed", "profile", "blocks"])]
    recording: Option<PathBuf>,

    /// What the chain is generated from.
    #[arg(id = "chain_seed", long = "seed", value_name = "SEED", default_value_t = 1)]
    seed: u64,

    /// What the chain dwells on.
    #[arg(long, default_value_t, value_parser = profile())]
    profile: Profile,

    /// How many blocks to generate after the first one.
    #[arg(long, default_value_t = 1000)]
    blocks: u64,

    /// How many transactions a usual block has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    transactions_per_block: u32,

    /// The share of plain transfers, from 0 to 1, that meet in one busy account of their block.
    #[arg(long, default_value_t = 0.2, value_parser = rate)]
    conflict_rate: f64,

    /// Serve the state of a parallel path that has this fault, one of those that `shadow selftest`
    /// names; of a generated chain only.
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "MUTANT", conflicts_with = "recording")]
    faulty_parallel: Option<String>,

    /// What goes wrong and how often, such as `slow=0.1,drop=0.02`, or `all=0.01` for everything:
    /// slow, drop, half, http-500, error, wrong-hash, lose-event, repeat-event, delay-event,
    /// shuffle-events, reorder, restart.
    #[arg(long, value_name = "SPEC", default_value = "")]
    faults: FaultRates,

    /// What the faults and the order of events are drawn from.
    #[arg(long, default_value_t = 1)]
    fault_seed: u64,

    /// How fast blocks appear after the first one; 0 has the whole chain there at once.
    #[arg(long, default_value_t = 1.0, value_parser = blocks_per_second)]
    blocks_per_second: f64,

    /// End when standard input does, which is when whoever started it is no more.
    #[arg(long)]
    until_input_ends: bool,
}

/// Serves until somebody asks the process to stop.
pub(crate) fn run(arguments: DevnetArguments) -> ExitCode {
    let until_input_ends = arguments.until_input_ends;
    let node = match DevnetNode::start(options(arguments)) {
        Ok(node) => node,
        Err(error) => {
            complain(&error.to_string());
            return code_of(&error);
        }
    };
    // Whoever reads the address may ask it to stop at once.
    if let Err(error) = serve_until_stopped(until_input_ends, || say(&format!("{}\n", node.url())))
    {
        complain(&format!("waiting for a signal: {error}"));
        return ExitCode::Infrastructure;
    }
    let requests = node.requests();
    node.shutdown();
    say(&format!(
        "{} questions in {} messages, at most {} at a time and {} in one; {} bytes answered\n",
        requests.questions(),
        requests.messages,
        requests.in_flight_max,
        requests.batch_max,
        requests.answered_bytes,
    ));
    ExitCode::Clean
}

fn options(arguments: DevnetArguments) -> DevnetOptions {
    let chain = match arguments.recording {
        Some(directory) => DevnetChain::Recording(directory),
        None => DevnetChain::Generated(GeneratedOptions {
            profile: arguments.profile,
            seed: arguments.seed,
            blocks: arguments.blocks,
            transactions_per_block: arguments.transactions_per_block as usize,
            conflict_rate: arguments.conflict_rate,
        }),
    };
    let pace = match arguments.blocks_per_second {
        0.0 => Pace::AllAtOnce,
        rate => Pace::Every(Duration::from_secs_f64(1.0 / rate)),
    };
    DevnetOptions {
        listen: arguments.listen.0,
        #[cfg(feature = "faults")]
        faulty_parallel: arguments.faulty_parallel,
        pace,
        faults: arguments.faults,
        seed: arguments.fault_seed,
        ..DevnetOptions::new(chain)
    }
}

/// An input that cannot be read is the caller's; everything else is the machine's.
const fn code_of(error: &DevnetError) -> ExitCode {
    match error {
        DevnetError::Source(_)
        | DevnetError::Json { .. }
        | DevnetError::Block { .. }
        | DevnetError::Fault(_) => ExitCode::BadInput,
        DevnetError::Listen { .. } | DevnetError::Thread(_) | DevnetError::Stopped => {
            ExitCode::Infrastructure
        }
    }
}

/// Calls `ready` once signals are waited for, and returns when one came, or when the input ended.
fn serve_until_stopped(until_input_ends: bool, ready: impl FnOnce()) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let (at_end, input_ended) = tokio::sync::oneshot::channel();
        if until_input_ends {
            // Whoever reads cannot be told to stop, so it is a thread that nobody waits for.
            let read = move || {
                let _nothing = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
                let _gone = at_end.send(());
            };
            std::thread::Builder::new().name("shadow-input".to_owned()).spawn(read)?;
        }
        ready();
        tokio::select! {
            () = signals.next() => {}
            Ok(()) = input_ended, if until_input_ends => {}
        }
        Ok(())
    })
}

fn blocks_per_second(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate == 0.0 || (0.001..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("expected 0, or a number from 0.001 to 10000".to_owned()),
    }
}
