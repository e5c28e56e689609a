//! The commands that verify a chain, wherever its blocks are from.

use std::path::PathBuf;

use clap::Args;

use super::{
    output::{complain, say},
    shared::{Shared, verify},
    values::{blocks_per_second, profile, rate},
};
use crate::{
    attach::{FollowArguments, NodeArguments, connect},
    candidate_spec::CandidateSpec,
    config::Setting,
    doctor,
    exit_code::ExitCode,
    node::NodeCheck,
    pace::{Length, Pace},
    run_report::about::About,
    source::{
        GeneratedChain, GeneratedOptions, Profile, Recording, RecordingError, node::check_address,
    },
};

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The recording: a directory of JSON lines with `blocks.jsonl.gz`, or with `blocks.jsonl`.
    directory: PathBuf,

    /// Also compare everything that the node answered with the serial result.
    #[arg(long)]
    check_node: bool,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
pub(super) struct Attach {
    #[command(flatten)]
    node: NodeArguments,

    #[command(flatten)]
    follow: FollowArguments,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    node: NodeArguments,

    /// Print what was found as one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Soak {
    /// How many blocks to generate after the first one; 1000 unless --for says how long.
    #[arg(long, conflicts_with = "length")]
    blocks: Option<u64>,

    /// Go on for so long, such as 90s, 10m or 1.5h, however many blocks that is.
    #[arg(long = "for", value_name = "TIME")]
    length: Option<Length>,

    /// Take at most so many blocks in a second.
    #[arg(long, value_name = "R", value_parser = blocks_per_second)]
    blocks_per_second: Option<f64>,

    /// What the chain dwells on.
    #[arg(long, default_value_t, value_parser = profile())]
    profile: Profile,

    /// What the chain is generated from. The same seed gives the same chain on every machine.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// How many transactions a usual block has.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    transactions_per_block: u32,

    /// The share of plain transfers, from 0 to 1, that meet in one busy account of their block.
    #[arg(long, default_value_t = 0.2, value_parser = rate)]
    conflict_rate: f64,

    #[command(flatten)]
    shared: Shared,
}

impl Replay {
    const fn node_check(&self) -> NodeCheck {
        if self.check_node { NodeCheck::Compare } else { NodeCheck::Ignore }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.shared.under_test(self.node_check()).map(drop)
    }
}

impl Soak {
    pub(super) fn check(&self) -> Result<(), String> {
        self.shared.under_test(NodeCheck::Ignore).map(drop)
    }
}

impl Attach {
    fn node_check(&self) -> NodeCheck {
        match self.shared.candidates.contains(&CandidateSpec::Node) {
            true => NodeCheck::Compare,
            false => NodeCheck::Ignore,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check_address(&self.node.node).map_err(|error| error.to_string())?;
        self.shared.under_test(self.node_check()).map(drop)
    }
}

pub(super) fn replay(replay: Replay, settings: &[Setting]) -> ExitCode {
    let node = replay.node_check();
    let operand = replay.directory.display().to_string();
    let about = About::new("replay", operand.clone(), Some(operand), settings);
    verify(replay.shared, about, settings, node, Pace::default(), || {
        match Recording::open(&replay.directory) {
            Ok(recording) => Ok(Box::new(recording)),
            // Nothing is wrong with it; it only proves nothing.
            Err(error @ RecordingError::Empty { .. }) => {
                Err((ExitCode::NotEnoughEvidence, error.to_string()))
            }
            Err(error) => Err((ExitCode::BadInput, error.to_string())),
        }
    })
}

pub(super) fn attach(attach: Attach, settings: &[Setting]) -> ExitCode {
    let check = attach.node_check();
    let Attach { node, follow, shared } = attach;
    let about = About::new("attach", node.node.clone(), None, settings);
    verify(shared, about, settings, check, Pace::default(), || {
        connect(&node.options(), follow.options(check))
    })
}

pub(super) fn doctor(Doctor { node, json }: &Doctor) -> ExitCode {
    match doctor::doctor(&node.options(), *json) {
        (code, Ok(text)) => {
            say(&text);
            code
        }
        (code, Err(message)) => {
            complain(&message);
            code
        }
    }
}

pub(super) fn soak(soak: Soak, settings: &[Setting]) -> ExitCode {
    let options = GeneratedOptions {
        profile: soak.profile,
        seed: soak.seed,
        blocks: match soak.length {
            Some(_) => ENDLESS_BLOCKS,
            None => soak.blocks.unwrap_or(1000),
        },
        transactions_per_block: soak.transactions_per_block as usize,
        conflict_rate: soak.conflict_rate,
    };
    let pace = Pace {
        duration: soak.length.map(|length| length.0),
        blocks_per_second: soak.blocks_per_second,
    };
    let case = format!("profile {}, seed {}", soak.profile, soak.seed);
    let about = About::new("soak", case, None, settings);
    verify(soak.shared, about, settings, NodeCheck::Ignore, pace, || {
        Ok(Box::new(GeneratedChain::new(options)))
    })
}

/// No run gets there.
const ENDLESS_BLOCKS: u64 = u64::MAX >> 1;
