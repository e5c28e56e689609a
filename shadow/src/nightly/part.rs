//! The parts of a night: what is run, what is expected of it, and under what name it is reported.

use std::path::{Path, PathBuf};

use storage_snapshot::TopoHeight;

use super::command::NightlyArguments;
use crate::{judge::NODE, run_report::figures::Figures, source::Profile};

/// One part.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The suite that it is a case of.
    pub(super) suite: &'static str,
    /// Its case, in words.
    pub(super) case: String,
    /// The name of its directory.
    pub(super) directory: String,
    pub(super) what: What,
}

/// What a part runs.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A generated chain.
    Soak { profile: Profile, seed: u64 },
    /// The planted faults.
    Selftest,
    /// A recorded chain, with the answers of its node.
    Replay { recording: PathBuf, expected: Expected },
    /// A stand-in node that fails now and then.
    Attach { blocks: u64 },
}

/// What has to come of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// Nothing differs.
    Clean,
    /// The node that was recorded differs in so many values of so many blocks, of which this is the first,
    /// and nobody else does. A run that does not see that is blind.
    NodeDiffers { topoheight: TopoHeight, blocks: u64, mismatches: u64 },
}

impl Expected {
    /// Why what was found is not what has to be found, in a sentence; `None` if it is. Only of a run that
    /// found a difference.
    pub(super) fn unmet(self, figures: &Figures) -> Option<String> {
        let Self::NodeDiffers { topoheight, blocks, mismatches } = self else {
            return Some("nothing was expected to differ".to_owned());
        };
        let others = figures.candidates.iter().filter(|(name, _)| *name != NODE);
        let others: u64 = others.map(|(_, blocks)| blocks.mismatch).sum();
        let first = figures.mismatches.first.as_ref();
        let at = first.filter(|first| first.candidate == NODE).map(|first| first.topoheight);
        let is_there = at == Some(topoheight)
            && figures.blocks.mismatch == blocks
            && figures.mismatches.total == mismatches
            && figures.stale_mismatches == 0
            && others == 0;
        (!is_there).then(|| {
            format!(
                "expected were {mismatches} differences of candidate {NODE} in {blocks} blocks from topoheight \
                 {topoheight} on, and no others"
            )
        })
    }
}

/// The recordings that have to be there, and what is known of them.
const RECORDINGS: [(&str, Expected); 2] = [
    ("serial-main", Expected::Clean),
    // A node executed its last block on its own parallel path, and wrote to the one below it.
    (
        "parallel-a",
        Expected::NodeDiffers { topoheight: TopoHeight::new(33), blocks: 2, mismatches: 16 },
    ),
];

/// All parts of a night, in the order in which they are reported.
pub(super) fn parts(arguments: &NightlyArguments) -> Vec<Part> {
    // One that is named twice is one chain, and no more evidence than that.
    let is_asked =
        |profile: &&Profile| arguments.profiles.is_empty() || arguments.profiles.contains(profile);
    let profiles: Vec<_> = Profile::ALL.iter().filter(is_asked).copied().collect();
    let profiles = &profiles;
    let soaks = seeds(arguments.seed, arguments.seeds).flat_map(|seed| {
        profiles.iter().map(move |profile| Part {
            suite: "soak",
            case: format!("profile {profile}, seed {seed}"),
            directory: format!("soak-{profile}-{seed}"),
            what: What::Soak { profile: *profile, seed },
        })
    });
    let mut parts: Vec<_> = soaks.collect();
    #[cfg(feature = "faults")]
    parts.push(Part {
        suite: "selftest",
        case: format!("planted faults, seed {}", arguments.seed),
        directory: "selftest".to_owned(),
        what: What::Selftest,
    });
    parts.extend(RECORDINGS.into_iter().map(|(name, expected)| Part {
        suite: "replay",
        case: format!("recording {name}"),
        directory: format!("replay-{name}"),
        what: What::Replay { recording: arguments.recordings().join(name), expected },
    }));
    parts.push(Part {
        suite: "attach",
        case: format!("stand-in node with faults, seed {}", arguments.seed),
        directory: "attach".to_owned(),
        what: What::Attach { blocks: arguments.attach_blocks },
    });
    parts
}

/// The seeds of a night. The seed of the first is its date, so the others have to be far from those of
/// other dates.
fn seeds(first: u64, count: u32) -> impl Iterator<Item = u64> {
    (0..u64::from(count)).map(move |number| first.wrapping_add(number.wrapping_mul(SEED_STEP)))
}

/// More than any date as a number.
const SEED_STEP: u64 = 100_000_000;

impl Part {
    /// The arguments of the program that runs it; those of a soak without its length.
    pub(super) fn arguments(&self, arguments: &NightlyArguments, directory: &Path) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |new: &[&str]| words.extend(new.iter().map(|word| (*word).to_owned()));
        let seed = arguments.seed.to_string();
        match &self.what {
            What::Soak { profile, seed } => {
                let schedules = arguments.schedules.to_string();
                add(&["soak", "--profile", profile.name(), "--seed", &seed.to_string()]);
                add(&["--schedules", &schedules]);
                arguments.candidates.iter().for_each(|candidate| {
                    add(&["--candidate", &candidate.to_string()]);
                });
            }
            What::Selftest => {
                add(&["selftest", "--seed", &seed, "--json"]);
                add(&["--blocks", &arguments.selftest_blocks.to_string()]);
                #[cfg(feature = "faults")]
                arguments.selftest_only.iter().for_each(|name| add(&["--only", name]));
                // Its own options end here.
                return words;
            }
            What::Replay { recording, .. } => {
                add(&["replay", &recording.display().to_string(), "--check-node"]);
            }
            What::Attach { blocks } => {
                add(&["attach", "--until", &blocks.to_string()]);
                add(&["--candidate", "v3", "--candidate", NODE]);
            }
        }
        add(&["--canary-every", CANARY_EVERY_BLOCKS]);
        let state = directory.join(STATE).display().to_string();
        add(&["--state-dir", &state, "--summary-dir", &directory.display().to_string()]);
        words
    }

    /// The arguments of the stand-in node that it needs, if it needs one.
    pub(super) fn stand_in_node(&self, arguments: &NightlyArguments) -> Option<Vec<String>> {
        let What::Attach { blocks } = self.what else { return None };
        let (seed, blocks) = (arguments.seed.to_string(), blocks.to_string());
        let words = [
            "devnet",
            "--until-input-ends",
            "--listen",
            "127.0.0.1:0",
            "--seed",
            &seed,
            "--fault-seed",
            &seed,
            "--blocks",
            &blocks,
            "--blocks-per-second",
            "40",
            "--faults",
            "all=0.01",
        ];
        Some(words.map(str::to_owned).to_vec())
    }
}

/// A part has few blocks, and has to show that it sees all the same.
const CANARY_EVERY_BLOCKS: &str = "20";

/// Where a part has its state, seen from its directory.
pub(super) const STATE: &str = "state";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_seeds_of_a_night_are_far_from_those_of_another_date() {
        let nights = [20_261_122, 20_261_123].map(|date| seeds(date, 3).collect::<BTreeSet<_>>());
        assert_eq!(nights[0].len(), 3);
        assert!(nights[0].is_disjoint(&nights[1]));
    }
}
