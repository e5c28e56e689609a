//! Whether a smaller case still shows the difference.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use comparator::{
    Execution, Failure, Limits, Mismatch, Schedule, Verdict, check, compare_with_sound,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Case, MinimizeError, Options, Rate, Wanted, draft::Draft};
use crate::{
    execute::{BlockExecutor, SerialExecutor},
    locate::{Rerun, locate},
    observe::observe,
    rules::Quirk,
};

/// Runs control and candidate on one case after another.
pub(super) struct Oracle<'a> {
    candidate: &'a dyn BlockExecutor,
    wanted: &'a Wanted,
    options: Options<'a>,
    started: Instant,
    /// The oddities of the chain that the whole block showed.
    quirks: BTreeSet<Quirk>,
    /// How often a case is run before it is taken not to show the difference.
    attempts: u32,
    /// How many workers the candidate was given when it differed.
    workers: u32,
    runs: u64,
    /// What was kept, from the largest to the smallest.
    history: Vec<Draft>,
}

/// A case that shows the difference, and the run in which it did.
pub(super) struct Shown {
    pub(super) draft: Draft,
    pub(super) control: Execution,
    pub(super) observed: Result<Execution, Failure>,
    pub(super) mismatch: Mismatch,
}

/// A control that keeps the rules.
struct Sound {
    case: Case,
    control: Execution,
    quirks: BTreeSet<Quirk>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(
        candidate: &'a dyn BlockExecutor,
        wanted: &'a Wanted,
        options: Options<'a>,
        started: Instant,
    ) -> Self {
        Self {
            candidate,
            wanted,
            options,
            started,
            quirks: BTreeSet::new(),
            attempts: 1,
            workers: 1,
            runs: 0,
            history: Vec::new(),
        }
    }

    /// Finds out which oddities the whole case has, and how often the difference shows in it.
    pub(super) fn get_to_know(&mut self, whole: &Draft) -> Result<(), MinimizeError> {
        let sound = sound(whole.case()).map_err(MinimizeError::Control)?;
        self.quirks.clone_from(&sound.quirks);
        self.workers = whole.schedule.workers;
        let shows =
            |oracle: &mut Self, turn| oracle.run(&sound, oracle.schedule(whole, turn)).is_some();
        // What shows three times in a row under one schedule follows from the schedule. What hangs is
        // not waited for again.
        let first = if self.wanted.is_hang() { 1 } else { 3 };
        if (0..first).all(|_| shows(self, 0)) {
            return Ok(());
        }
        let (mut shown, mut runs) = (0, 0);
        while shown < ENOUGH_SHOWN && runs < KNOWING_RUNS_MAX && !self.is_over() {
            shown += u32::from(shows(self, runs));
            runs += 1;
        }
        if shown == 0 {
            return Err(MinimizeError::NotShown { runs: self.runs });
        }
        self.attempts = attempts(Rate { shown, runs });
        Ok(())
    }

    /// Whether the case shows the difference, at the latest after as many runs as make nearly sure of
    /// it. If so the draft gets the schedule under which it did.
    pub(super) fn shows(&mut self, draft: &mut Draft) -> bool {
        if self.is_over() {
            return false;
        }
        let Ok(sound) = sound(draft.case()) else { return false };
        if !sound.quirks.is_subset(&self.quirks) {
            return false;
        }
        for turn in 0..self.attempts {
            let schedule = self.schedule(draft, turn);
            if self
                .run(&sound, schedule)
                .is_some_and(|shown| self.begins_alike(&sound, &shown, schedule))
            {
                draft.schedule = schedule;
                return true;
            }
            if self.is_over() {
                break;
            }
        }
        false
    }

    /// Runs a case once more, as often as it takes, whatever time it is.
    pub(super) fn confirm(&mut self, draft: &Draft) -> Option<(Shown, Rate)> {
        let sound = sound(draft.case()).ok()?;
        let most = if self.wanted.is_hang() { 1 } else { self.attempts.max(CONFIRMING_RUNS) };
        let started = Instant::now();
        let (mut shown, mut runs, mut first) = (0, 0, None);
        for turn in 0..most {
            // What takes long and was seen need not be seen again.
            if first.is_some() && started.elapsed() > self.options.budget / 10 {
                break;
            }
            runs += 1;
            let schedule = self.schedule(draft, turn);
            let Some((observed, mismatch)) = self.run(&sound, schedule) else { continue };
            shown += 1;
            first.get_or_insert_with(|| Shown {
                draft: Draft { schedule, ..draft.clone() },
                control: sound.control.clone(),
                observed,
                mismatch,
            });
        }
        Some((first?, Rate { shown, runs }))
    }

    /// Notes a draft that a smaller one takes the place of.
    pub(super) fn remember(&mut self, larger: Draft) {
        self.history.push(larger);
    }

    /// Goes back, in growing steps, to a draft that shows the difference once more: one that did not come
    /// back in time on a busy machine looks like one that hangs, and may have been kept for it.
    pub(super) fn confirm_earlier(&mut self) -> Option<(Shown, Rate)> {
        let history = std::mem::take(&mut self.history);
        let steps = std::iter::successors(Some(1_usize), |steps| steps.checked_mul(2));
        let mut earlier = steps.map_while(|steps| history.get(history.len().checked_sub(steps)?));
        earlier.find_map(|draft| self.confirm(draft))
    }

    /// Whether nothing more is to be tried.
    pub(super) fn is_over(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed) || self.started.elapsed() >= self.options.budget
    }

    /// Whether a search that may take long is to leave the rest of the time to others.
    pub(super) fn is_half_over(&self) -> bool {
        self.is_over() || self.started.elapsed() >= self.options.budget / 2
    }

    /// The transaction with which the difference begins in a case that shows it.
    pub(super) fn culprit(&mut self, draft: &Draft) -> Option<usize> {
        let sound = sound(draft.case()).ok()?;
        let (_, mismatch) = self.run(&sound, draft.schedule)?;
        let Case { block, pre_state, schedule } = &sound.case;
        let rerun = Rerun { candidate: self.candidate, pre_state, schedule: *schedule };
        Some(locate(mismatch.first()?, block, Some(rerun))?.index)
    }

    /// Whether one run of a case that shows the difference is as good as another.
    pub(super) const fn is_certain(&self) -> bool {
        self.attempts == 1
    }

    pub(super) const fn is_hang(&self) -> bool {
        self.wanted.is_hang()
    }

    pub(super) const fn runs(&self) -> u64 {
        self.runs
    }

    /// One run of the candidate; what it did if it shows a difference that looks like the wanted one.
    fn run(
        &mut self,
        sound: &Sound,
        schedule: Schedule,
    ) -> Option<(Result<Execution, Failure>, Mismatch)> {
        self.runs += 1;
        let Case { block, pre_state, .. } = &sound.case;
        let (observation, _) = observe(self.candidate, block, pre_state, schedule);
        let limits = Limits::default();
        let verdict =
            compare_with_sound(&sound.control, &observation, &**pre_state, &**block, &limits);
        match verdict {
            Ok(Verdict::Mismatch(mismatch))
                if mismatch.first().is_some_and(|first| self.wanted.looks_like(first)) =>
            {
                Some((observation.result, mismatch))
            }
            // A comparison that cannot be made shows nothing.
            _ => None,
        }
    }

    /// Parts of a block are run again only where one run is enough to know.
    fn begins_alike(
        &self,
        sound: &Sound,
        (_, mismatch): &(Result<Execution, Failure>, Mismatch),
        schedule: Schedule,
    ) -> bool {
        if !self.is_certain() || self.is_hang() {
            return true;
        }
        let Case { block, pre_state, .. } = &sound.case;
        let rerun = Rerun { candidate: self.candidate, pre_state, schedule };
        mismatch.first().is_some_and(|first| self.wanted.begins_alike(first, block, Some(rerun)))
    }

    /// First the schedule of the case. Where that is not enough, every other run is under another one:
    /// what depends on the machine shows under the same one again, what depends on the seed does not.
    fn schedule(&self, draft: &Draft, turn: u32) -> Schedule {
        if turn.is_multiple_of(2) {
            return draft.schedule;
        }
        let seed = self.options.seed.wrapping_add(u64::from(turn));
        let seed = ChaCha8Rng::seed_from_u64(seed).next_u64().max(1);
        let workers = [self.workers, 2, self.workers.saturating_mul(2)];
        Schedule { workers: workers[(turn as usize / 2) % workers.len()], seed }
    }
}

pub(super) fn rate(
    case: &Case,
    candidate: &dyn BlockExecutor,
    wanted: &Wanted,
    runs: u32,
) -> Result<Rate, MinimizeError> {
    let stop = AtomicBool::new(false);
    let options = Options { budget: Options::BUDGET, seed: 0, stop: &stop };
    let mut oracle = Oracle::new(candidate, wanted, options, Instant::now());
    let sound = sound(case.clone()).map_err(MinimizeError::Control)?;
    let shown = (0..runs).filter(|_| oracle.run(&sound, case.schedule).is_some()).count();
    Ok(Rate { shown: u32::try_from(shown).unwrap_or(u32::MAX), runs })
}

/// So many runs that all of them together are silent in one case of a hundred.
fn attempts(rate: Rate) -> u32 {
    let silent = 1.0 - rate.as_f64();
    let attempts = if silent > 0.0 { (SILENT_AT_MOST.ln() / silent.ln()).ceil() } else { 2.0 };
    // A saturating conversion of a positive number.
    (attempts as u32).clamp(2, ATTEMPTS_MAX)
}

fn sound(case: Case) -> Result<Sound, String> {
    let control =
        SerialExecutor.control(&case.block, &case.pre_state).map_err(|error| error.to_string())?;
    let quirks = control.quirks.iter().map(|(quirk, _)| quirk).collect();
    let control = control.execution;
    let rules =
        check(&control, &*case.pre_state, &*case.block).map_err(|error| error.to_string())?;
    match rules.broken() {
        Some(reason) => Err(reason.to_string()),
        None => Ok(Sound { case, control, quirks }),
    }
}

/// After so many runs that show the difference it is known how often it shows.
const ENOUGH_SHOWN: u32 = 8;

/// So many runs are made at most to find out how often the difference shows.
const KNOWING_RUNS_MAX: u32 = 400;

/// How likely it may be that a case that shows the difference is taken not to.
const SILENT_AT_MOST: f64 = 0.01;

const ATTEMPTS_MAX: u32 = 500;

/// How often the result is run at least.
const CONFIRMING_RUNS: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rarer_it_shows_the_more_often_it_is_tried() {
        let of = |shown, runs| attempts(Rate { shown, runs });
        assert_eq!(of(1, 1), 2);
        assert_eq!(of(1, 2), 7);
        assert_eq!(of(1, 20), 90);
        assert_eq!(of(1, 100_000), ATTEMPTS_MAX);
    }
}
