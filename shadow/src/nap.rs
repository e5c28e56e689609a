//! Receiving, and sending, without having to be woken.
//!
//! Whoever sends to a thread that waits pays for waking it, on a virtual machine as much as for executing ten
//! transactions; and the thread on the critical path is the one that sends. Where the next value is known to
//! come soon the receiver sleeps by the clock instead and finds some of them at once. It is the same the other
//! way round where a queue is full: who waits for one place after another is woken for each.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, TryRecvError, TrySendError},
    thread,
    time::{Duration, Instant},
};

/// Receives as [`Receiver::recv_timeout`] does, but naps so often before it has itself woken.
pub(crate) fn receive_after_naps<T>(
    receiver: &Receiver<T>,
    naps: u32,
    patience: Duration,
) -> Result<T, RecvTimeoutError> {
    let deadline = Instant::now() + patience;
    for _ in 0..naps {
        match receiver.try_recv() {
            Ok(value) => return Ok(value),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {
                let left = deadline.saturating_duration_since(Instant::now());
                thread::sleep(NAP.min(left));
            }
        }
    }
    receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
}

/// Sends as [`SyncSender::send`] does, but naps so often before it has itself woken.
pub(crate) fn send_after_naps<T>(
    sender: &SyncSender<T>,
    mut value: T,
    naps: u32,
) -> Result<(), SendError<T>> {
    for _ in 0..naps {
        value = match sender.try_send(value) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(value)) => return Err(SendError(value)),
            Err(TrySendError::Full(value)) => value,
        };
        thread::sleep(NAP);
    }
    sender.send(value)
}

/// A few blocks of a hundred transactions.
pub(crate) const NAP: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_there_is_received_at_once_and_in_order() {
        let (sender, receiver) = mpsc::channel();
        for value in 0..3 {
            sender.send(value).unwrap();
        }
        for value in 0..3 {
            assert_eq!(receive_after_naps(&receiver, 0, LONG), Ok(value));
        }
    }

    #[test]
    fn what_comes_later_is_received_during_the_naps_and_after_them() {
        for naps in [0, 1, 100_000] {
            let (sender, receiver) = mpsc::channel();
            let later = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                sender.send(1).unwrap();
            });
            assert_eq!(receive_after_naps(&receiver, naps, LONG), Ok(1), "{naps}");
            later.join().unwrap();
        }
    }

    #[test]
    fn what_is_sent_to_a_full_queue_gets_there_during_the_naps_and_after_them() {
        for naps in [0, 1, 100_000] {
            let (sender, receiver) = mpsc::sync_channel(1);
            let later = thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                receiver.into_iter().collect::<Vec<_>>()
            });
            for value in 0..4 {
                send_after_naps(&sender, value, naps).unwrap();
            }
            drop(sender);
            assert_eq!(later.join().unwrap(), [0, 1, 2, 3], "{naps}");
        }
    }

    #[test]
    fn a_receiver_that_is_gone_ends_the_sending() {
        for naps in [0, 3] {
            let (sender, receiver) = mpsc::sync_channel(1);
            drop(receiver);
            assert_eq!(send_after_naps(&sender, 1, naps), Err(SendError(1)));
        }
    }

    #[test]
    fn a_sender_that_is_gone_ends_the_waiting() {
        for naps in [0, 3] {
            let (sender, receiver) = mpsc::channel::<()>();
            drop(sender);
            let ended = receive_after_naps(&receiver, naps, LONG);
            assert_eq!(ended, Err(RecvTimeoutError::Disconnected));
        }
    }

    #[test]
    fn patience_ends_also_in_the_middle_of_the_naps() {
        for naps in [0, 3, 100_000] {
            let (_sender, receiver) = mpsc::channel::<()>();
            let started = Instant::now();
            let ended = receive_after_naps(&receiver, naps, Duration::from_millis(3));
            assert_eq!(ended, Err(RecvTimeoutError::Timeout));
            assert!(started.elapsed() < LONG);
        }
    }
}
