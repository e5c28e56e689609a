//! Whether a node's chain is one that can be verified here.
//!
//! A chain of other rules would not be found to differ: block after block would merely not be
//! executed. So it is refused, in a sentence, before anything is verified.

use std::fmt::{self, Write};

use serde::Serialize;

use crate::{
    attach::refusal,
    exit_code::ExitCode,
    rules::{BLOCK_TIME_MILLISECONDS, BLOCK_VERSION_MAX, RULES, dev_percentage},
    source::node::{ClientOptions, DevFee, HardFork, NoAnswer, NodeFacts, NodeSource},
};

/// What was found out about a node, held against the rules.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    format_version: u64,
    rules: &'static str,
    ok: bool,
    version: Option<String>,
    network: Option<String>,
    topoheight: u64,
    stable_topoheight: u64,
    pruned_topoheight: Option<u64>,
    checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub state: CheckState,
    /// What was found, in words.
    pub found: String,
    /// What is wrong with it, in a sentence, if anything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckState {
    /// As the rules have it.
    Ok,
    /// Nothing to worry about now.
    Note,
    /// The rules are other ones.
    Refused,
}

/// Examines a node and shows what was found.
pub(crate) fn doctor(client: &ClientOptions, json: bool) -> (ExitCode, Result<String, String>) {
    let facts = match NodeSource::examine(client) {
        Ok(facts) => facts,
        Err(error) => {
            let (code, message) = refusal(&error);
            return (code, Err(message));
        }
    };
    let examination = Examination::of(&facts);
    let code = if examination.ok { ExitCode::Clean } else { ExitCode::BadInput };
    let text = if json {
        match serde_json::to_string(&examination) {
            Ok(text) => format!("{text}\n"),
            Err(error) => {
                let message = format!("the result has no JSON form: {error}");
                return (ExitCode::Infrastructure, Err(message));
            }
        }
    } else {
        examination.to_string()
    };
    (code, Ok(text))
}

impl Examination {
    /// Holds what a node says of itself against the rules.
    pub fn of(facts: &NodeFacts) -> Self {
        let checks = vec![
            first_block(facts),
            last_blocks(facts),
            stable_part(facts),
            hard_forks(facts),
            dev_fees(facts),
            block_time(facts.block_time_target),
        ];
        Self {
            format_version: 1,
            rules: RULES,
            ok: checks.iter().all(|check| check.state != CheckState::Refused),
            version: facts.version.clone(),
            network: facts.network.clone(),
            topoheight: facts.top.as_u64(),
            stable_topoheight: facts.stable.as_u64(),
            pruned_topoheight: facts.pruned.map(storage_snapshot::TopoHeight::as_u64),
            checks,
        }
    }

    /// Why the node's chain is not verified, in a sentence; `None` if it is.
    pub fn refusal(&self) -> Option<String> {
        let problems: Vec<_> = self.problems(CheckState::Refused).collect();
        if problems.is_empty() {
            return None;
        }
        let version = self.version.as_deref().unwrap_or("of an unknown version");
        Some(format!(
            "the node ({version}) does not follow the rules of {RULES}, so nothing on it would be \
             verified: {}",
            problems.join("; ")
        ))
    }

    /// What is worth knowing although it refuses nothing.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        self.problems(CheckState::Note)
    }

    /// What was looked at.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    fn problems(&self, state: CheckState) -> impl Iterator<Item = &str> {
        let checks = self.checks.iter().filter(move |check| check.state == state);
        checks.filter_map(|check| check.problem.as_deref())
    }
}

impl fmt::Display for Examination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let answer = if self.ok { "can be verified" } else { "CANNOT be verified" };
        writeln!(f, "the node's chain {answer} by the rules of {RULES}\n")?;
        writeln!(f, "version       {}", known(&self.version))?;
        writeln!(f, "network       {}", known(&self.network))?;
        write!(f, "topoheight    {}, stable up to {}", self.topoheight, self.stable_topoheight)?;
        if let Some(pruned) = self.pruned_topoheight {
            write!(f, ", pruned below {pruned}")?;
        }
        f.write_char('\n')?;
        for check in &self.checks {
            writeln!(f, "{:<14}{}", check.name, check.found)?;
            if let Some(problem) = &check.problem {
                let word = if check.state == CheckState::Note { "note" } else { "refused" };
                writeln!(f, "{:<14}{word}: {problem}", "")?;
            }
        }
        Ok(())
    }
}

impl Check {
    const fn ok(name: &'static str, found: String) -> Self {
        Self { name, state: CheckState::Ok, found, problem: None }
    }

    const fn with(name: &'static str, found: String, state: CheckState, problem: String) -> Self {
        Self { name, state, found, problem: Some(problem) }
    }

    fn unknown(name: &'static str, none: &NoAnswer) -> Self {
        Self::with(name, "unknown".to_owned(), CheckState::Refused, none.to_string())
    }
}

fn first_block(facts: &NodeFacts) -> Check {
    const NAME: &str = "first block";
    match &facts.genesis {
        Ok(genesis) => Check::ok(NAME, format!("{}, dev key {}", genesis.hash, genesis.dev)),
        Err(error) => Check::with(
            NAME,
            "not readable".to_owned(),
            CheckState::Refused,
            format!("its first block is of another form: {error}"),
        ),
    }
}

fn last_blocks(facts: &NodeFacts) -> Check {
    const NAME: &str = "last blocks";
    let recent = match &facts.recent {
        Ok(recent) => recent,
        Err(error) => {
            return Check::with(
                NAME,
                "not readable".to_owned(),
                CheckState::Refused,
                format!("its last blocks are of another form: {error}"),
            );
        }
    };
    let found = format!(
        "of version {}, {} of {} transactions looked at are of an unknown version",
        recent.block_version, recent.of_unknown_version, recent.transactions
    );
    let problem = if recent.block_version > BLOCK_VERSION_MAX {
        format!(
            "its blocks are of version {}, and the last that is known is {BLOCK_VERSION_MAX}",
            recent.block_version
        )
    } else if recent.of_unknown_version > 0 {
        "its transactions are not of version 0, the only one that is known".to_owned()
    } else {
        return Check::ok(NAME, found);
    };
    Check::with(NAME, found, CheckState::Refused, problem)
}

fn stable_part(facts: &NodeFacts) -> Check {
    const NAME: &str = "stable part";
    let found = format!("up to topoheight {}", facts.stable);
    if facts.stable <= facts.top {
        return Check::ok(NAME, found);
    }
    let problem =
        format!("it calls blocks stable that it does not have: its last is at {}", facts.top);
    Check::with(NAME, found, CheckState::Refused, problem)
}

fn hard_forks(facts: &NodeFacts) -> Check {
    const NAME: &str = "hard forks";
    let forks = match &facts.hard_forks {
        Ok(forks) => forks,
        Err(none) => return Check::unknown(NAME, none),
    };
    let listed =
        forks.iter().map(|HardFork { height, version }| format!("{version} from {height}"));
    let found = format!("block version {}", listed.collect::<Vec<_>>().join(", "));
    let score = facts.recent.as_ref().map_or(0, |recent| recent.blue_score);
    let unknown = forks.iter().find(|fork| fork.version > BLOCK_VERSION_MAX);
    match unknown {
        None => Check::ok(NAME, found),
        Some(fork) if fork.height <= score => {
            let problem =
                format!("block version {} is in force, whose rules are not known", fork.version);
            Check::with(NAME, found, CheckState::Refused, problem)
        }
        Some(fork) => {
            let problem = format!(
                "from blue score {} on blocks are of version {} and will not be executed, because its \
                 rules are not known",
                fork.height, fork.version
            );
            Check::with(NAME, found, CheckState::Note, problem)
        }
    }
}

fn dev_fees(facts: &NodeFacts) -> Check {
    const NAME: &str = "dev fees";
    let fees = match &facts.dev_fees {
        Ok(fees) => fees,
        Err(none) => return Check::unknown(NAME, none),
    };
    let listed = fees
        .iter()
        .map(|DevFee { height, fee_percentage }| format!("{fee_percentage} % from {height}"));
    let found = listed.collect::<Vec<_>>().join(", ");
    let theirs = |score: u64| {
        let begun = fees.iter().filter(|fee| fee.height <= score);
        begun.max_by_key(|fee| fee.height).map_or(0, |fee| fee.fee_percentage)
    };
    // Whoever changes the share somewhere else differs there, or just below.
    let scores = fees.iter().flat_map(|fee| [fee.height, fee.height.saturating_sub(1)]);
    let ours_change = (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX]);
    let other = scores.chain(ours_change).find(|score| theirs(*score) != dev_percentage(*score));
    match other {
        None => Check::ok(NAME, found),
        Some(score) => {
            let problem = format!(
                "the dev key gets {} % of a reward at blue score {score}, by the rules it is {} %",
                theirs(score),
                dev_percentage(score)
            );
            Check::with(NAME, found, CheckState::Refused, problem)
        }
    }
}

fn block_time(target: Option<u64>) -> Check {
    const NAME: &str = "block time";
    match target {
        Some(BLOCK_TIME_MILLISECONDS) => Check::ok(NAME, format!("{BLOCK_TIME_MILLISECONDS} ms")),
        Some(other) => Check::with(
            NAME,
            format!("{other} ms"),
            CheckState::Refused,
            format!(
                "rewards are made for a block every {other} ms, not every {BLOCK_TIME_MILLISECONDS}"
            ),
        ),
        None => Check::with(
            NAME,
            "unknown".to_owned(),
            CheckState::Note,
            "it does not say how far apart its blocks are meant to be".to_owned(),
        ),
    }
}
