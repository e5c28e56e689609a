//! What a person types.

use std::path::PathBuf;

use clap::Args;

use crate::{candidate_spec::CandidateSpec, cli::profile, pace::Length, source::Profile};

/// What a person types.
#[derive(Clone, Debug, Args)]
pub(crate) struct NightlyArguments {
    /// Where everything goes: `report.md`, `junit.xml` and `summary.json` over all parts, and in `parts`
    /// what each of them left.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,

    /// What everything is generated from: the date of the night, such as 20261122.
    #[arg(long)]
    pub(super) seed: u64,

    /// With how many seeds every profile is verified; the others are made of the first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) seeds: u32,

    /// Take so long for everything, such as 30m: what the other parts leave is divided over the generated
    /// chains. Without it each has as many blocks as --blocks says.
    #[arg(long = "for", value_name = "TIME")]
    pub(super) length: Option<Length>,

    /// How many blocks a generated chain has to have at least; a part with fewer is not enough evidence.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) blocks: u64,

    /// How often each candidate runs each block of a generated chain.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(super) schedules: u32,

    /// Who is put under test on the generated chains. May be given several times.
    #[arg(long = "candidate", value_name = "CANDIDATE", default_value = "v3")]
    pub(super) candidates: Vec<CandidateSpec>,

    /// Only generate chains of this profile. May be given several times.
    #[arg(long = "profile", value_parser = profile())]
    pub(super) profiles: Vec<Profile>,

    /// Where the recordings `serial-main` and `parallel-a` are.
    #[arg(long, value_name = "DIR", default_value = RECORDINGS)]
    pub(super) recordings: PathBuf,

    /// How many blocks the stand-in node serves, one after another.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) attach_blocks: u64,

    /// How many blocks a planted fault may take to show in the self-test.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(super) selftest_blocks: u64,

    /// Only plant the fault of this name in the self-test. May be given several times.
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "NAME")]
    pub(super) selftest_only: Vec<String>,
}

/// Where they are, seen from the checkout.
const RECORDINGS: &str = "shadow/tests/fixtures/recordings";

impl NightlyArguments {
    /// The command that does all of it again.
    pub(super) fn repeat(&self) -> String {
        let Self { seed, seeds, blocks, schedules, .. } = self;
        let mut text = format!("scripts/soak --seed {seed} --seeds {seeds} --blocks {blocks}");
        if let Some(Length(time)) = self.length {
            text.push_str(&format!(" --for {}s", time.as_secs_f64()));
        }
        text.push_str(&format!(" --schedules {schedules}"));
        for candidate in &self.candidates {
            let candidate = crate::repro::as_argument(&candidate.to_string());
            text.push_str(&format!(" --candidate {candidate}"));
        }
        for profile in &self.profiles {
            text.push_str(&format!(" --profile {profile}"));
        }
        let recordings = self.recordings.display().to_string();
        if recordings != RECORDINGS {
            let recordings = crate::repro::as_argument(&recordings);
            text.push_str(&format!(" --recordings {recordings}"));
        }
        let Self { attach_blocks, selftest_blocks, .. } = self;
        text.push_str(&format!(
            " --attach-blocks {attach_blocks} --selftest-blocks {selftest_blocks}"
        ));
        #[cfg(feature = "faults")]
        for name in &self.selftest_only {
            text.push_str(&format!(" --selftest-only {}", crate::repro::as_argument(name)));
        }
        text
    }
}
