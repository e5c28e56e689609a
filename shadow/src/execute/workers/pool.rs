//! A fixed set of worker threads that run the lanes of one job together.
//!
//! A batch is cut into lanes before it starts, so which transactions share a lane does not depend on
//! timing. A general work-stealing pool would be free to run two lanes on one thread, and then
//! "ran on two workers" would be a hope instead of a fact.

use std::{
    any::Any,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use super::threading::{StdThreading, Threading};

/// What a lane runs; it is told its number, from 0.
type Job = Arc<dyn Fn(usize) + Send + Sync>;

/// How a lane ended: what it panicked with, if it did.
type Ended = Result<(), Box<dyn Any + Send>>;

/// Worker threads that wait for lanes to run. The caller of [`WorkerPool::run`] works too, as lane 0.
pub struct WorkerPool<T: Threading = StdThreading> {
    helpers: Vec<T::Sender<Job>>,
    finished: T::Receiver<Ended>,
    threads: Vec<T::Thread>,
}

impl<T: Threading> WorkerPool<T> {
    /// A pool of so many workers, the caller included; at least one.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub fn new(workers: usize) -> io::Result<Self> {
        let (report, finished) = T::channel();
        let mut pool = Self { helpers: Vec::new(), finished, threads: Vec::new() };
        for lane in 1..workers {
            let (sender, jobs) = T::channel::<Job>();
            let report = report.clone();
            let thread = T::spawn(format!("shadow-lane-{lane}"), move || {
                while let Some(job) = T::receive(&jobs) {
                    let ended = catch_unwind(AssertUnwindSafe(|| job(lane)));
                    // The job is let go before it is reported as finished: whoever waits may then
                    // take back what the job shared.
                    drop(job);
                    if !T::send(&report, ended) {
                        break;
                    }
                }
            })?;
            pool.helpers.push(sender);
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Makes it a pool of at least so many workers.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread. It is the pool that it was then.
    pub fn grow(&mut self, workers: usize) -> io::Result<()> {
        if self.workers() < workers {
            *self = Self::new(workers)?;
        }
        Ok(())
    }

    /// How many lanes can run at the same time.
    pub fn workers(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Runs lanes `0..lanes` at the same time, each on a worker of its own, and returns when all
    /// have ended.
    ///
    /// # Panics
    ///
    /// With what a lane panicked with, after all lanes have ended. And when more lanes are asked
    /// for than there are workers.
    pub fn run(&mut self, lanes: usize, job: Job) {
        assert!((1..=self.workers()).contains(&lanes), "{lanes} lanes, {} workers", self.workers());
        let mut running = 0;
        for helper in &self.helpers[..lanes - 1] {
            // A helper ends only when its sender is dropped, so it is there to receive.
            running += usize::from(T::send(helper, Arc::clone(&job)));
        }
        let mut result = catch_unwind(AssertUnwindSafe(|| job(0)));
        drop(job);
        for _ in 0..running {
            if let Some(Err(panic)) = T::receive(&self.finished) {
                result = Err(panic);
            }
        }
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        assert_eq!(running, lanes - 1, "a worker thread is gone");
    }
}

impl<T: Threading> Drop for WorkerPool<T> {
    fn drop(&mut self) {
        self.helpers.clear();
        self.threads.drain(..).for_each(T::join);
    }
}

impl<T: Threading> fmt::Debug for WorkerPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("workers", &self.workers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{Barrier, Mutex},
        thread,
    };

    use super::*;

    #[test]
    fn every_lane_runs_once_on_a_thread_of_its_own() {
        #[track_caller]
        fn check(workers: usize, lanes: usize) {
            let mut pool = WorkerPool::<StdThreading>::new(workers).unwrap();
            let seen = Arc::new(Mutex::new(Vec::new()));
            // The barrier lets nobody through before all lanes run at the same time.
            let together = Arc::new(Barrier::new(lanes));
            let job = {
                let (seen, together) = (Arc::clone(&seen), Arc::clone(&together));
                Arc::new(move |lane| {
                    together.wait();
                    seen.lock().unwrap().push((lane, thread::current().id()));
                })
            };
            for _ in 0..3 {
                seen.lock().unwrap().clear();
                pool.run(lanes, job.clone());
                let seen = seen.lock().unwrap();
                let numbers: HashSet<_> = seen.iter().map(|(lane, _)| *lane).collect();
                let threads: HashSet<_> = seen.iter().map(|(_, thread)| *thread).collect();
                assert_eq!(numbers, (0..lanes).collect());
                assert_eq!((seen.len(), threads.len()), (lanes, lanes));
            }
        }
        check(1, 1);
        check(2, 1);
        check(2, 2);
        check(8, 5);
        check(8, 8);
    }

    #[test]
    fn a_panicking_lane_ends_the_call_and_not_the_pool() {
        let mut pool = WorkerPool::<StdThreading>::new(3).unwrap();
        for culprit in 0..3 {
            let call = AssertUnwindSafe(|| {
                pool.run(3, Arc::new(move |lane| assert_ne!(lane, culprit, "planted")));
            });
            assert!(catch_unwind(call).is_err(), "the panic of lane {culprit} was lost");
        }
        pool.run(3, Arc::new(|_| {}));
    }

    #[test]
    fn a_pool_grows_and_never_shrinks() {
        let mut pool = WorkerPool::<StdThreading>::new(2).unwrap();
        for (asked, workers) in [(1, 2), (4, 4), (3, 4)] {
            pool.grow(asked).unwrap();
            assert_eq!(pool.workers(), workers);
        }
    }
}
