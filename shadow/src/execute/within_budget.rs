//! An executor that is given up on when it takes too long.
//!
//! A thread cannot be ended from outside, so one that hangs is left behind with what it holds, and
//! the next block gets a new one. Whoever asked goes on either way.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
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

struct Worker {
    jobs: Sender<Job>,
    answers: Receiver<Result<Performed, Failure>>,
}

impl WithinBudget {
    /// Gives an executor so much time for each block.
    pub fn new(executor: Arc<dyn BlockExecutor>, budget: Duration) -> Self {
        Self { executor, budget, thread: Mutex::new(None) }
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
        // Nothing in here panics, so a poisoned mutex means nothing.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = match thread.take() {
            Some(worker) => worker,
            None => Worker::start(Arc::clone(&self.executor))
                .map_err(|error| Failure::Error(format!("starting a thread: {error}")))?,
        };
        // A worker ends only when its sender is dropped, so it is there to receive.
        let sent = worker.jobs.send((Arc::clone(block), Arc::clone(pre_state), schedule));
        let answer = match sent {
            Ok(()) => worker.answers.recv_timeout(self.budget),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        };
        match answer {
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
}

impl Worker {
    fn start(executor: Arc<dyn BlockExecutor>) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (sender, answers) = mpsc::channel();
        let name = format!("shadow-{}", executor.name());
        thread::Builder::new().name(name).spawn(move || {
            while let Ok((block, pre_state, schedule)) = queue.recv() {
                let execute = || executor.execute(&block, &pre_state, schedule);
                let performed = catch_unwind(AssertUnwindSafe(execute))
                    .unwrap_or_else(|panic| Err(Failure::Crashed(panic_message(&*panic))));
                drop((block, pre_state));
                if sender.send(performed).is_err() {
                    // Nobody waits any more: the budget was used up.
                    break;
                }
            }
        })?;
        Ok(Self { jobs, answers })
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
