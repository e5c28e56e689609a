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
type Job = (Arc<ExecutableBlock>, Arc<PreState>, Schedule);

/// What the executor did with a block.
type Answer = Result<Performed, Failure>;

struct Worker {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    /// What the thread was given beforehand, in order, with the answers that were received.
    announced: VecDeque<(Arc<ExecutableBlock>, Schedule, Option<Answer>)>,
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
        let mut thread = self.lock();
        let mut worker = match thread.take() {
            Some(worker) => worker,
            None => Worker::start(Arc::clone(&self.executor))
                .map_err(|error| Failure::Error(format!("starting a thread: {error}")))?,
        };
        match worker.answer_to(block, pre_state, schedule, self.budget) {
            Ok(answer) => {
                *thread = Some(worker);
                answer
            }
            Err(RecvTimeoutError::Timeout) => Err(Failure::Hang { budget: self.budget }),
            Err(RecvTimeoutError::Disconnected) => {
                Err(Failure::Crashed("its thread is gone".to_owned()))
            }
        }
    }

    fn announce(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) {
        if let Some(worker) = &mut *self.lock() {
            worker.announce(block, pre_state, schedule);
        }
    }
}

impl Worker {
    fn start(executor: Arc<dyn BlockExecutor>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, answers) = mpsc::channel();
        let name = format!("shadow-{}", executor.name());
        thread::Builder::new().name(name).spawn(move || {
            while let Ok((block, pre_state, schedule)) = queue.recv() {
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
        Ok(Self { jobs, answers, announced: VecDeque::new() })
    }

    fn announce(
        &mut self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) {
        // If it is gone whoever waits for the answer will notice.
        let _ = self.jobs.send((Arc::clone(block), Arc::clone(pre_state), schedule));
        self.announced.push_back((Arc::clone(block), schedule, None));
    }

    /// Waits for what was announced, and announces it before if it was not.
    fn answer_to(
        &mut self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
        budget: Duration,
    ) -> Result<Answer, RecvTimeoutError> {
        let is_it = |announced: &(Arc<ExecutableBlock>, Schedule, Option<Answer>)| {
            Arc::ptr_eq(&announced.0, block) && announced.1 == schedule
        };
        let place = match self.announced.iter().position(is_it) {
            Some(place) => {
                // Blocks come in order, so nobody asks for these any more.
                self.forget(place, budget)?;
                0
            }
            None => {
                self.announce(block, pre_state, schedule);
                self.announced.len() - 1
            }
        };
        for (_, _, answer) in self.announced.range_mut(..=place) {
            if answer.is_none() {
                *answer = Some(self.answers.recv_timeout(budget)?);
            }
        }
        let answer = self.announced.remove(place).and_then(|(_, _, answer)| answer);
        answer.ok_or(RecvTimeoutError::Disconnected)
    }

    fn forget(&mut self, count: usize, budget: Duration) -> Result<(), RecvTimeoutError> {
        for (_, _, answer) in self.announced.drain(..count) {
            if answer.is_none() {
                drop(self.answers.recv_timeout(budget)?);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for WithinBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithinBudget")
            .field("executor", &self.executor)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
