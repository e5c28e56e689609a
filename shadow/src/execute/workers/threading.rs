//! Threads and channels, as the worker pool needs them.
//!
//! The pool is generic over them so that a model checker can put its own in their place and try the
//! orders in which things may happen, instead of waiting for them to happen.

use std::{
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

/// Threads that can be joined, and channels that end when their other side is gone.
pub trait Threading: 'static {
    /// The sending side of a channel.
    type Sender<T: Send + 'static>: Clone + Send + 'static;
    /// The receiving side.
    type Receiver<T: Send + 'static>: Send + 'static;
    /// A thread that was started.
    type Thread: Send;

    /// How often somebody who waits for a moment looks before they park.
    const LOOKS: u32;

    /// A channel without a bound.
    fn channel<T: Send + 'static>() -> (Self::Sender<T>, Self::Receiver<T>);

    /// Sends, and tells whether somebody is there to receive.
    fn send<T: Send + 'static>(sender: &Self::Sender<T>, value: T) -> bool;

    /// Waits for a value; `None` once every sender is gone and everything was received.
    fn receive<T: Send + 'static>(receiver: &Self::Receiver<T>) -> Option<T>;

    /// A value that is there already.
    fn receive_now<T: Send + 'static>(receiver: &Self::Receiver<T>) -> Option<T>;

    /// Waits for a value that comes soon: looks for about as long as waking up would take, and parks only then,
    /// for others may need the processor.
    fn receive_soon<T: Send + 'static>(receiver: &Self::Receiver<T>) -> Option<T> {
        for _ in 0..Self::LOOKS {
            if let Some(value) = Self::receive_now(receiver) {
                return Some(value);
            }
            std::hint::spin_loop();
        }
        Self::receive(receiver)
    }

    /// Starts a thread.
    ///
    /// # Errors
    ///
    /// When the operating system refuses one.
    fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<Self::Thread>;

    /// Waits for a thread to end. What it panicked with is not told.
    fn join(thread: Self::Thread);
}

/// Those of the standard library.
#[derive(Clone, Copy, Debug)]
pub enum StdThreading {}

impl Threading for StdThreading {
    type Sender<T: Send + 'static> = mpsc::Sender<T>;
    type Receiver<T: Send + 'static> = mpsc::Receiver<T>;
    type Thread = JoinHandle<()>;

    /// About as long as it takes to wake somebody who has parked: some fifty microseconds.
    const LOOKS: u32 = 700;

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
        let _told_by_nobody = thread.join();
    }
}
