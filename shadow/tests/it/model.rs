//! The workers of the parallel engines, and what they leave for each other, under a model checker, which tries the orders in which its
//! threads may run.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use shadow::execute::workers::{Seat, Threading, WorkerPool};
use shuttle::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

enum Modelled {}

impl Threading for Modelled {
    type Sender<T: Send + 'static> = mpsc::Sender<T>;
    type Receiver<T: Send + 'static> = mpsc::Receiver<T>;
    type Thread = JoinHandle<()>;

    const LOOKS: u32 = 1;

    fn channel<T: Send + 'static>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        mpsc::channel()
    }

    fn send<T: Send + 'static>(sender: &mpsc::Sender<T>, value: T) -> bool {
        sender.send(value).is_ok()
    }

    fn receive<T: Send + 'static>(receiver: &mpsc::Receiver<T>) -> Option<T> {
        receiver.recv().ok()
    }

    fn receive_now<T: Send + 'static>(receiver: &mpsc::Receiver<T>) -> Option<T> {
        receiver.try_recv().ok()
    }

    fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(name).spawn(work)
    }

    fn join(thread: JoinHandle<()>) {
        thread.join().unwrap();
    }
}

/// Something that a job shares. Letting go of it takes a while, in which others may run.
struct Shared<T> {
    _pause: PauseOnDrop,
    value: Arc<T>,
}

impl<T> Shared<T> {
    fn new(value: &Arc<T>) -> Self {
        Self { _pause: PauseOnDrop, value: Arc::clone(value) }
    }
}

struct PauseOnDrop;

impl Drop for PauseOnDrop {
    fn drop(&mut self) {
        thread::yield_now();
    }
}

/// Every lane runs once, all have ended when the call returns, and nobody holds what they shared any more,
/// whoever was woken before.
fn lanes_run_once(workers: usize, woken: usize, lanes: usize) {
    let mut pool = WorkerPool::<Modelled>::new(workers).unwrap();
    for _ in 0..2 {
        pool.wake(woken);
        let ran: Arc<Vec<_>> = Arc::new((0..lanes).map(|_| AtomicUsize::new(0)).collect());
        let lane = |lane: usize| {
            let shared = Shared::new(&ran);
            move || {
                let shared = &shared;
                shared.value[lane].fetch_add(1, Ordering::SeqCst);
                lane
            }
        };
        let returned = pool.run((0..lanes).map(lane).collect());
        assert!(returned.into_iter().eq(0..lanes));
        let ran = Arc::into_inner(ran).expect("a lane still holds what the lanes shared");
        assert!(ran.iter().all(|count| count.load(Ordering::SeqCst) == 1));
    }
}

/// Whoever was woken for nothing lets the pool go.
fn woken_for_nothing(workers: usize) {
    let mut pool = WorkerPool::<Modelled>::new(workers).unwrap();
    pool.wake(workers);
    pool.wake(workers);
}

/// A panic comes out once every lane has ended, and the pool works on.
fn a_panic_comes_out(workers: usize, culprit: usize) {
    let mut pool = WorkerPool::<Modelled>::new(workers).unwrap();
    let shared = Arc::new(());
    let lane = |lane: usize| {
        let held = Shared::new(&shared);
        move || {
            let held = &held;
            assert!(Arc::strong_count(&held.value) > 1);
            if lane == culprit {
                // Without the message of the panic hook.
                std::panic::resume_unwind(Box::new("planted"));
            }
        }
    };
    let lanes = (0..workers).map(lane).collect();
    assert!(catch_unwind(AssertUnwindSafe(|| pool.run(lanes))).is_err());
    assert!(Arc::into_inner(shared).is_some(), "a lane still holds what the lanes shared");
    pool.run(vec![|| {}; workers]);
}

/// Every lane gets what each other one left for it, whoever comes first, and the pool works on.
fn messages_arrive(lanes: usize) {
    let mut pool = WorkerPool::<Modelled>::new(lanes).unwrap();
    for _ in 0..2 {
        let lane = |(lane, seat): (usize, Seat<(usize, usize), Modelled>)| {
            move || {
                let mut left = seat.leave(|other| (lane, other)).take().unwrap();
                left.sort_unstable();
                let others = (0..lanes).filter(|other| *other != lane);
                assert!(left.into_iter().eq(others.map(|other| (other, (other, lane)))));
            }
        };
        let seats = Seat::all(lanes).into_iter().enumerate();
        assert_eq!(pool.run(seats.map(lane).collect()).len(), lanes);
    }
}

/// A lane that ends before it has touched its seat lets nobody wait.
fn nobody_waits_for_a_lane_that_ended(lanes: usize, culprit: usize) {
    let mut pool = WorkerPool::<Modelled>::new(lanes).unwrap();
    let lane = |(lane, seat): (usize, Seat<usize, Modelled>)| {
        move || {
            if lane != culprit {
                assert_eq!(seat.leave(|_| lane).take(), None);
            }
        }
    };
    pool.run(Seat::all(lanes).into_iter().enumerate().map(lane).collect());
}

#[test]
fn in_every_order_of_two_workers_each_lane_runs_once_and_lets_go() {
    shuttle::check_dfs(|| lanes_run_once(2, 2, 2), Some(20_000));
}

#[test]
fn in_random_orders_of_many_workers_each_lane_runs_once_and_lets_go() {
    shuttle::check_random(|| lanes_run_once(4, 0, 4), 1000);
    shuttle::check_random(|| lanes_run_once(4, 3, 2), 1000);
    shuttle::check_pct(|| lanes_run_once(3, 3, 3), 1000, 3);
    shuttle::check_random(|| woken_for_nothing(3), 1000);
}

#[test]
fn in_random_orders_a_panic_of_any_lane_comes_out_and_the_pool_works_on() {
    for culprit in 0..3 {
        shuttle::check_random(move || a_panic_comes_out(3, culprit), 300);
    }
}

#[test]
fn in_every_order_of_two_lanes_the_messages_arrive() {
    shuttle::check_dfs(|| messages_arrive(2), Some(20_000));
}

#[test]
fn in_random_orders_of_many_lanes_the_messages_arrive() {
    shuttle::check_random(|| messages_arrive(4), 1000);
    shuttle::check_pct(|| messages_arrive(3), 1000, 3);
}

#[test]
fn in_random_orders_nobody_waits_for_a_lane_that_ended() {
    for culprit in 0..3 {
        shuttle::check_random(move || nobody_waits_for_a_lane_that_ended(3, culprit), 300);
    }
}
