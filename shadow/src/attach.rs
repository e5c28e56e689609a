//! Attaching to a running node: its chain is followed and verified as it grows.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use storage_snapshot::TopoHeight;

use crate::{
    doctor::Examination,
    exit_code::ExitCode,
    node::NodeCheck,
    source::{
        BlockSource,
        node::{ClientOptions, FollowMode, FollowOptions, NodeError, NodeSource, StartAt},
    },
};

/// How a node is spoken to, as a person says it.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArguments {
    /// The node, such as `http://127.0.0.1:8080`. It is only read from.
    #[arg(long, value_name = "URL")]
    pub(crate) node: String,

    /// How many requests may be under way at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) node_in_flight: u32,

    /// How many requests a second may be begun; a request holds up to 20 questions.
    #[arg(long, default_value = "500")]
    pub(crate) node_requests_per_second: NonZeroU32,

    /// How long the node may take for an answer before it is asked again.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    pub(crate) node_timeout_seconds: f64,
}

impl NodeArguments {
    pub(crate) fn options(&self) -> ClientOptions {
        ClientOptions {
            url: self.node.clone(),
            in_flight: self.node_in_flight as usize,
            requests_per_second: self.node_requests_per_second,
            timeout: Duration::from_secs_f64(self.node_timeout_seconds),
        }
    }
}

/// How a chain is followed, as a person says it.
#[derive(Clone, Debug, Args)]
pub(crate) struct FollowArguments {
    /// Where to begin if nothing of the chain is in the state directory: `genesis`, `tip` (the block
    /// up to which the node orders nothing anew), or a topoheight. One that may still be ordered anew
    /// is begun with a little below, where that cannot happen.
    #[arg(long, default_value = "genesis", value_name = "genesis|tip|N")]
    from: From,

    /// The last topoheight to verify; then the summary is printed. Without it there is no end.
    #[arg(long, value_name = "N")]
    until: Option<u64>,

    /// When a block is verified: at the `tip` as soon as it is there, and again whatever is ordered
    /// anew, or once it is `stable`.
    #[arg(long, value_enum, default_value_t = Follow::Tip)]
    follow: Follow,

    /// End when nothing new has come from the node for so long; 60 with --until, never without.
    #[arg(long, value_parser = seconds)]
    give_up_seconds: Option<f64>,
}

impl FollowArguments {
    pub(crate) fn options(&self, node: NodeCheck) -> FollowOptions {
        let usual = self.until.map(|_| GIVE_UP_SECONDS);
        FollowOptions {
            from: self.from.0,
            until: self.until.map(TopoHeight::new),
            follow: match self.follow {
                Follow::Tip => FollowMode::Tip,
                Follow::Stable => FollowMode::Stable,
            },
            node,
            give_up: self.give_up_seconds.or(usual).map(Duration::from_secs_f64),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Follow {
    /// As soon as it is there.
    Tip,
    /// Once it cannot be ordered away.
    Stable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct From(StartAt);

impl FromStr for From {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "genesis" => StartAt::Genesis,
            "tip" => StartAt::Tip,
            number => match number.parse() {
                Ok(0) => StartAt::Genesis,
                Ok(number) => StartAt::At(TopoHeight::new(number)),
                Err(_) => return Err("give `genesis`, `tip`, or a topoheight"),
            },
        }))
    }
}

/// Connects to a node whose rules are the ones that are executed here.
pub(crate) fn connect(
    client: &ClientOptions,
    follow: FollowOptions,
) -> Result<Box<dyn BlockSource>, (ExitCode, String)> {
    let source = NodeSource::connect(client, follow).map_err(|error| refusal(&error))?;
    let examination = Examination::of(source.facts());
    for note in examination.notes() {
        tracing::warn!("{note}");
    }
    match examination.refusal() {
        Some(sentence) => Err((ExitCode::BadInput, sentence)),
        None => Ok(Box::new(source)),
    }
}

/// How a run ends that cannot ask its node.
pub(crate) fn refusal(error: &NodeError) -> (ExitCode, String) {
    let code =
        if error.is_infrastructure() { ExitCode::Infrastructure } else { ExitCode::BadInput };
    (code, error.to_string())
}

pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.01..=1e7).contains(&seconds) => Ok(seconds),
        _ => Err("give a number of seconds from 0.01 to 10000000".to_owned()),
    }
}

const GIVE_UP_SECONDS: f64 = 60.0;
