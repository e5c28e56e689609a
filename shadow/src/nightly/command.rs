//! What a person types.

use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Args;

use crate::{candidate_spec::CandidateSpec, cli::profile, pace::Length, source::Profile};

/// What a person types.
#[derive(Clone, Debug, Args)]
pub(crate) struct NightlyArguments {
    /// Where everything goes: `report.md`, `junit.xml` and `summary.json` over all parts, and in `parts`
    /// what each of them left. By default `target/soak-SEED` of the checkout.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// What everything is generated from; by default the date of the night in UTC.
    #[arg(long, default_value_t = today())]
    pub(super) seed: u64,

    /// Where the checkout of the project is.
    #[arg(long, value_name = "DIR", default_value = ".")]
    checkout: PathBuf,

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

    /// Where the recordings `serial-main` and `parallel-a` are; by default those of the checkout.
    #[arg(long, value_name = "DIR")]
    recordings: Option<PathBuf>,

    /// How many blocks the stand-in node serves, one after another.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(super) attach_blocks: u64,

    /// How many blocks a planted fault may take to show in the self-test.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..=5_000))]
    pub(super) selftest_blocks: u64,

    /// Only plant the fault of this name in the self-test. May be given several times.
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "NAME")]
    pub(super) selftest_only: Vec<String>,
}

/// Where they are, seen from the checkout.
const RECORDINGS: &str = "shadow/tests/fixtures/recordings";

impl NightlyArguments {
    /// Where everything goes.
    pub(super) fn out(&self) -> PathBuf {
        let usual = || self.checkout.join(format!("target/soak-{}", self.seed));
        self.out.clone().unwrap_or_else(usual)
    }

    /// Where the recordings are.
    pub(super) fn recordings(&self) -> PathBuf {
        self.recordings.clone().unwrap_or_else(|| self.checkout.join(RECORDINGS))
    }

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
        if let Some(recordings) = &self.recordings {
            let recordings = crate::repro::as_argument(&recordings.display().to_string());
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

/// Today's date in UTC, as a number.
fn today() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    date(since_1970.as_secs() / (24 * 60 * 60))
}

/// The date so many days after the first one of 1970, as a number such as 20261122.
fn date(mut days: u64) -> u64 {
    let leap_days = |year: u64| {
        let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100);
        u64::from(is_leap || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + leap_days(year) {
        days -= 365 + leap_days(year);
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + leap_days(year), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    year * 10_000 + month * 100 + days + 1
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    #[test]
    fn a_number_of_days_is_a_date() {
        #[track_caller]
        fn check(days: u64, expected: u64) {
            assert_eq!(date(days), expected);
        }
        check(0, 19_700_101);
        check(364, 19_701_231);
        check(365, 19_710_101);
        check(11_016, 20_000_229);
        check(11_017, 20_000_301);
        check(20_779, 20_261_122);
        check(47_540, 21_000_228);
        check(47_541, 21_000_301);
    }

    #[test]
    fn a_night_goes_into_a_directory_of_its_own_seed() {
        #[track_caller]
        fn check(typed: &[&str], expected: &str) {
            let command = NightlyArguments::augment_args(Command::new("nightly"));
            let words = [&["nightly"], typed].concat();
            let matches = command.try_get_matches_from(words).unwrap();
            let arguments = NightlyArguments::from_arg_matches(&matches).unwrap();
            assert_eq!(arguments.out(), PathBuf::from(expected));
        }
        check(&["--seed", "7"], "./target/soak-7");
        check(&["--seed", "7", "--checkout", "/a"], "/a/target/soak-7");
        check(&["--seed", "7", "--checkout", "/a", "--out", "b"], "b");
    }
}
