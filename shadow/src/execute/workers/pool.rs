//! A fixed set of worker threads that run the lanes of one job together.
//!
//! A batch is cut into lanes before it starts, so which transactions share a lane does not depend on
//! timing. A general work-stealing pool would be free to run two lanes on one thread, and then
//! "ran on two workers" would be a hope instead of a fact.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use super::threading::{StdThreading, Threading};

/// Worker threads that wait for lanes to run. The caller of [`WorkerPool::run`] works too, as lane 0.
pub struct WorkerPool<T: Threading = StdThreading> {
    helpers: Vec<T::Sender<Order>>,
    threads: Vec<T::Thread>,
}

/// How whoever runs lanes waits for the others.
type Wait<T, R> = fn(&<T as Threading>::Receiver<R>) -> Option<R>;

/// The number of a lane, and how it ended.
type Report<R> = (usize, std::thread::Result<R>);

/// What a worker is told.
enum Order {
    /// There will be a lane to run in a moment.
    Wake,
    /// A lane.
    Run(Box<dyn FnOnce() + Send>),
}

impl<T: Threading> WorkerPool<T> {
    /// A pool of so many workers, the caller included; at least one.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub fn new(workers: usize) -> io::Result<Self> {
        let mut pool = Self { helpers: Vec::new(), threads: Vec::new() };
        for lane in 1..workers {
            let (helper, orders) = T::channel();
            let thread = T::spawn(format!("shadow-lane-{lane}"), move || obey::<T>(&orders))?;
            pool.helpers.push(helper);
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

    /// Wakes the workers of so many lanes, as far as there are that many. Waking up takes as long as dozens of
    /// transactions: whoever still has to divide the work does it meanwhile.
    pub fn wake(&mut self, lanes: usize) {
        for helper in self.helpers.iter().take(lanes.saturating_sub(1)) {
            T::send(helper, Order::Wake);
        }
    }

    /// Runs the lanes at the same time, each on a worker of its own, the first one on the caller's, and
    /// returns what they returned, in their order, when all have ended. By then every lane has let go of what
    /// it held.
    ///
    /// # Panics
    ///
    /// With what a lane panicked with, after all lanes have ended. And when there are more lanes than
    /// workers.
    pub fn run<R, L>(&mut self, lanes: Vec<L>) -> Vec<R>
    where
        R: Send + 'static,
        L: FnOnce() -> R + Send + 'static,
    {
        self.run_and_wait(lanes, T::receive_soon)
    }

    /// The same for lanes that take less time than waking a worker. Where all processors are busy the others
    /// may not have begun when the caller's is done, and it leaves its processor to them at once.
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    pub fn run_short<R, L>(&mut self, lanes: Vec<L>) -> Vec<R>
    where
        R: Send + 'static,
        L: FnOnce() -> R + Send + 'static,
    {
        self.run_and_wait(lanes, T::receive)
    }

    fn run_and_wait<R, L>(&mut self, lanes: Vec<L>, wait: Wait<T, Report<R>>) -> Vec<R>
    where
        R: Send + 'static,
        L: FnOnce() -> R + Send + 'static,
    {
        let count = lanes.len();
        assert!(count <= self.workers(), "{count} lanes, {} workers", self.workers());
        let (report, reports) = T::channel();
        let mut lanes = lanes.into_iter();
        let first = lanes.next();
        for ((number, lane), helper) in (1..).zip(lanes).zip(&self.helpers) {
            let report = report.clone();
            let run = move || {
                // The lane is gone when it is reported as ended: whoever waits may then take back what it
                // shared.
                let ended = catch_unwind(AssertUnwindSafe(lane));
                T::send(&report, (number, ended));
            };
            // A helper ends only when its sender is dropped, so it is there to receive.
            T::send(helper, Order::Run(Box::new(run)));
        }
        drop(report);
        let mut ended: Vec<_> = (0..count).map(|_| None).collect();
        if let Some(first) = first {
            ended[0] = Some(catch_unwind(AssertUnwindSafe(first)));
        }
        for _ in 1..count {
            // Nobody is left to report only if a worker thread is gone.
            let Some((number, how)) = wait(&reports) else { break };
            ended[number] = Some(how);
        }
        let returned = |ended: Option<std::thread::Result<R>>| match ended {
            Some(Ok(returned)) => returned,
            Some(Err(panic)) => resume_unwind(panic),
            None => panic!("a worker thread is gone"),
        };
        ended.into_iter().map(returned).collect()
    }
}

/// A worker's life.
fn obey<T: Threading>(orders: &T::Receiver<Order>) {
    let mut order = T::receive(orders);
    while let Some(given) = order {
        order = match given {
            Order::Wake => T::receive_soon(orders),
            Order::Run(lane) => {
                lane();
                T::receive(orders)
            }
        };
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
        sync::{Arc, Barrier},
        thread,
    };

    use super::*;

    #[test]
    fn every_lane_runs_once_on_a_thread_of_its_own() {
        #[track_caller]
        fn check(workers: usize, lanes: usize) {
            let mut pool = WorkerPool::<StdThreading>::new(workers).unwrap();
            for woken in [0, lanes, lanes + 1] {
                pool.wake(woken);
                // The barrier lets nobody through before all lanes run at the same time.
                let together = Arc::new(Barrier::new(lanes));
                let lane = |number| {
                    let together = Arc::clone(&together);
                    move || {
                        together.wait();
                        (number, thread::current().id())
                    }
                };
                let ran = pool.run((0..lanes).map(lane).collect());
                let threads: HashSet<_> = ran.iter().map(|(_, thread)| *thread).collect();
                assert!(ran.iter().map(|(number, _)| *number).eq(0..lanes));
                assert_eq!(threads.len(), lanes);
            }
        }
        check(1, 0);
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
            let lanes = (0..3).map(|lane| move || assert_ne!(lane, culprit, "planted"));
            let call = AssertUnwindSafe(|| pool.run(lanes.collect()));
            assert!(catch_unwind(call).is_err(), "the panic of lane {culprit} was lost");
        }
        assert_eq!(pool.run((0..3).map(|lane| move || lane).collect()), [0, 1, 2]);
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
