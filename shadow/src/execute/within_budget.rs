//! An executor that is given up on when it takes too long.
//!
//! A thread cannot be ended from outside, so one that hangs is left behind with what it holds, and
//! the next block gets a new one. Whoever asked goes on either way.

use std::{
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use comparator::{Failure, Schedule};

use super::{BlockExecutor, ExecutableBlock, Performed, PreState, panic_message};

/// Another executor, on a thread of its own and with a budget of time for each block.
pub struct WithinBudget {
    executor: Arc<dyn BlockExecutor>,
    budget: Duration,
    /// Started when it is needed, and again after one that did not come back.
    thread: Mutex<Option<Worker>>,
}

/// A block to execute.
#[derive(Clone)]
struct Job {
    block: Arc<ExecutableBlock>,
    pre_state: Arc<PreState>,
    schedule: Schedule,
}

/// What the executor did with a block.
type Answer = Result<Performed, Failure>;

struct Worker {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    /// What the thread was given, in order; those that have their answer come first.
    given: VecDeque<(Job, Option<Answer>)>,
}

impl WithinBudget {
    /// Gives an executor so much time for each block.
    pub fn new(executor: Arc<dyn BlockExecutor>, budget: Duration) -> Self {
        Self { executor, budget, thread: Mutex::new(None) }
    }
}

impl WithinBudget {
    fn lock(&self) -> MutexGuard<'_, Option<Worker>> {
        // Nothing in here panics, so a poisoned mutex means nothing.
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlockExecutor for WithinBudget {
    fn name(&self) -> &str {
        self.executor.name()
    }

    fn build(&self) -> String {
        self.executor.build()
    }

    fn spec(&self) -> Option<String> {
        self.executor.spec()
    }

    fn log(&self) -> String {
        self.executor.log()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let job = Job { block: Arc::clone(block), pre_state: Arc::clone(pre_state), schedule };
        let mut thread = self.lock();
        let worker = match thread.take() {
            Some(worker) => Ok(worker),
            None => Worker::start(Arc::clone(&self.executor)),
        };
        let mut worker = worker.map_err(no_thread)?;
        let place = worker.place_of(job);
        // Until there is the answer that is waited for.
        while let Err(error) = worker.receive_up_to(place, self.budget) {
            let failure = match error {
                RecvTimeoutError::Timeout => Failure::Hang { budget: self.budget },
                RecvTimeoutError::Disconnected => Failure::Crashed("its thread is gone".to_owned()),
            };
            worker = worker.left_behind(failure, Arc::clone(&self.executor)).map_err(no_thread)?;
        }
        let answer = worker.take(place);
        *thread = Some(worker);
        answer.unwrap_or_else(|| Err(Failure::Crashed("it has no answer".to_owned())))
    }

    fn announce(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) {
        if let Some(worker) = &mut *self.lock() {
            let (block, pre_state) = (Arc::clone(block), Arc::clone(pre_state));
            worker.give(Job { block, pre_state, schedule });
        }
    }
}

impl Worker {
    fn start(executor: Arc<dyn BlockExecutor>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, answers) = mpsc::channel();
        let name = format!("shadow-{}", executor.name());
        thread::Builder::new().name(name).spawn(move || {
            while let Ok(Job { block, pre_state, schedule }) = queue.recv() {
                let started = Instant::now();
                let execute = || executor.execute(&block, &pre_state, schedule);
                let mut performed = catch_unwind(AssertUnwindSafe(execute))
                    .unwrap_or_else(|panic| Err(Failure::Crashed(panic_message(&*panic))));
                if let Ok(performed) = &mut performed {
                    performed.elapsed.get_or_insert(started.elapsed());
                }
                drop((block, pre_state));
                if sender.send(performed).is_err() {
                    // Nobody waits any more: the budget was used up.
                    break;
                }
            }
        })?;
        Ok(Self { jobs, answers, given: VecDeque::new() })
    }

    fn give(&mut self, job: Job) {
        // If it is gone whoever waits for the answer will notice.
        let _ = self.jobs.send(job.clone());
        self.given.push_back((job, None));
    }

    /// Where a job stands among those that were given, which it is if it was not.
    fn place_of(&mut self, job: Job) -> usize {
        let is_it = |(given, _): &(Job, _)| {
            Arc::ptr_eq(&given.block, &job.block) && given.schedule == job.schedule
        };
        match self.given.iter().position(is_it) {
            Some(place) => place,
            None => {
                self.give(job);
                self.given.len() - 1
            }
        }
    }

    /// Takes out an answer that is there.
    fn take(&mut self, place: usize) -> Option<Answer> {
        let (job, answer) = self.given.remove(place)?;
        // Blocks come in order, so nobody asks for one before this that was given before this. What was given
        // after this may not have its answer yet, and has to be counted on.
        let topoheight = job.block.block.topoheight;
        let mut left = place;
        self.given.retain(|(given, _)| {
            let was_before = left > 0;
            left = left.saturating_sub(1);
            !was_before || given.block.block.topoheight >= topoheight
        });
        answer
    }

    /// Waits until all have their answers up to the one at a place. Each is given the budget from when all before
    /// it were done.
    fn receive_up_to(&mut self, place: usize, budget: Duration) -> Result<(), RecvTimeoutError> {
        for (_, answer) in self.given.range_mut(..=place) {
            if answer.is_none() {
                *answer = Some(self.answers.recv_timeout(budget)?);
            }
        }
        Ok(())
    }

    /// Another thread in place of one that did not come back. The job that it is at, the first without an answer,
    /// has failed, whoever asks for it; those after it are not to blame, and are given to the other.
    fn left_behind(
        self,
        failure: Failure,
        executor: Arc<dyn BlockExecutor>,
    ) -> std::io::Result<Self> {
        let mut other = Self::start(executor)?;
        let mut failure = Some(Err(failure));
        for (job, answer) in self.given {
            match answer.or_else(|| failure.take()) {
                Some(answer) => other.given.push_back((job, Some(answer))),
                None => other.give(job),
            }
        }
        Ok(other)
    }
}

fn no_thread(error: std::io::Error) -> Failure {
    Failure::Error(format!("starting a thread: {error}"))
}

impl fmt::Debug for WithinBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithinBudget")
            .field("executor", &self.executor)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use storage_snapshot::{BlockHash, BlockRef, TopoHeight};

    use super::*;
    use crate::bench::transfers;

    /// An executor that never comes back from some blocks.
    #[derive(Debug)]
    struct Hangs(BTreeSet<u64>);

    impl BlockExecutor for Hangs {
        fn name(&self) -> &str {
            "hangs"
        }

        fn build(&self) -> String {
            "test".to_owned()
        }

        fn execute(
            &self,
            block: &Arc<ExecutableBlock>,
            pre_state: &Arc<PreState>,
            schedule: Schedule,
        ) -> Result<Performed, Failure> {
            while self.0.contains(&block.block.topoheight.as_u64()) {
                thread::park();
            }
            super::super::SerialExecutor.execute(block, pre_state, schedule)
        }
    }

    const SCHEDULE: Schedule = Schedule { workers: 1, seed: 0 };

    /// Some blocks are announced, then the blocks are asked for; those that hang are the ones to blame.
    #[track_caller]
    fn check(hanging: &[u64], steps: &[Step]) {
        let workload = transfers(4, 0.0, 1);
        let mut blocks = std::collections::BTreeMap::new();
        let hangs: BTreeSet<_> = hanging.iter().copied().collect();
        let budgeted = WithinBudget::new(Arc::new(Hangs(hangs.clone())), Duration::from_secs(1));
        for step in steps {
            let (Step::Announce(at) | Step::Ask(at) | Step::AskAnotherSchedule(at)) = *step;
            let block = blocks.entry(at).or_insert_with(|| {
                let block = BlockRef {
                    topoheight: TopoHeight::new(at),
                    hash: BlockHash::new([at as u8; 32]),
                };
                Arc::new(ExecutableBlock { block, ..ExecutableBlock::clone(&workload.block) })
            });
            let another = Schedule { seed: 7, ..SCHEDULE };
            let answer = match step {
                Step::Announce(_) => {
                    budgeted.announce(block, &workload.pre_state, SCHEDULE);
                    continue;
                }
                Step::Ask(_) => budgeted.execute(block, &workload.pre_state, SCHEDULE),
                Step::AskAnotherSchedule(_) => {
                    budgeted.execute(block, &workload.pre_state, another)
                }
            };
            match answer {
                Ok(_) => assert!(!hangs.contains(&at), "{at} came back"),
                Err(Failure::Hang { .. }) => assert!(hangs.contains(&at), "{at} is blamed"),
                Err(other) => panic!("{at}: {other}"),
            }
        }
        let left = budgeted.lock().as_ref().map_or(0, |worker| worker.given.len());
        assert_eq!(left, 0, "what was given is kept");
    }

    #[derive(Clone, Copy)]
    enum Step {
        Announce(u64),
        Ask(u64),
        AskAnotherSchedule(u64),
    }

    use Step::{Announce, Ask, AskAnotherSchedule};

    #[test]
    fn the_block_that_hangs_is_blamed_and_the_next_ones_are_executed() {
        check(
            &[1],
            &[Ask(0), Announce(1), Announce(2), Announce(3), Ask(1), Ask(2), Ask(3), Ask(4)],
        );
        check(&[0, 1], &[Ask(0), Ask(1), Ask(2)]);
    }

    #[test]
    fn a_block_that_was_announced_after_others_is_not_blamed_for_one_of_them() {
        check(&[3], &[Ask(0), Announce(3), Announce(4), Ask(1), Ask(2), Ask(3), Ask(4)]);
        check(&[1], &[Ask(0), Announce(1), Announce(2), AskAnotherSchedule(0), Ask(1), Ask(2)]);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_once_a_later_block_is() {
        check(&[2], &[Ask(0), Announce(1), Announce(2), Announce(3), Ask(3)]);
    }
}
