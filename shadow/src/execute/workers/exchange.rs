//! One message from every lane of a job to every other.
//!
//! Waking a worker costs as much as dozens of transactions, so a job of two phases is one job: between
//! them each lane leaves what it has for the others, does what it can do without them, and then waits only for
//! what is not there yet.

use super::threading::{StdThreading, Threading};

/// Where one lane leaves messages. It is the lane's own: one that ends without having left any, for whatever
/// reason, takes its seat with it, and nobody waits for it.
pub struct Seat<M: Send + 'static, T: Threading = StdThreading> {
    /// The other lanes.
    others: Vec<(usize, T::Sender<Message<M>>)>,
    lane: usize,
    inbox: Inbox<M, T>,
}

/// Where a lane that has left its messages finds those for it.
pub struct Inbox<M: Send + 'static, T: Threading = StdThreading> {
    expected: usize,
    received: T::Receiver<Message<M>>,
}

/// What a lane left for another one, and which lane it was.
type Message<M> = (usize, M);

impl<M: Send + 'static, T: Threading> Seat<M, T> {
    /// The seats of so many lanes, in their order.
    pub fn all(lanes: usize) -> Vec<Self> {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..lanes).map(|_| T::channel::<Message<M>>()).unzip();
        let seat = |(lane, received)| {
            let others = senders.iter().cloned().enumerate();
            let others: Vec<_> = others.filter(|(other, _)| *other != lane).collect();
            let inbox = Inbox { expected: others.len(), received };
            Self { others, lane, inbox }
        };
        receivers.into_iter().enumerate().map(seat).collect()
    }

    /// Leaves a message for every other lane.
    pub fn leave(self, mut message_for: impl FnMut(usize) -> M) -> Inbox<M, T> {
        let Self { others, lane, inbox } = self;
        for (other, sender) in others {
            // One that is gone has no use for it.
            T::send(&sender, (lane, message_for(other)));
        }
        inbox
    }
}

impl<M: Send + 'static, T: Threading> Inbox<M, T> {
    /// Waits until every other lane has left its message, and returns them together with the numbers of these
    /// lanes, in the order in which they came.
    ///
    /// `None` if a lane ended without leaving a message: nobody waits for one that will not come.
    pub fn take(self) -> Option<Vec<(usize, M)>> {
        (0..self.expected).map(|_| T::receive_soon(&self.received)).collect()
    }
}

impl<M: Send + 'static, T: Threading> std::fmt::Debug for Seat<M, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("lane", &self.lane).finish_non_exhaustive()
    }
}

impl<M: Send + 'static, T: Threading> std::fmt::Debug for Inbox<M, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("expected", &self.expected).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::execute::workers::WorkerPool;

    #[test]
    fn what_is_left_is_found_by_those_for_whom_it_was_left() {
        let inboxes: Vec<_> = Seat::<_>::all(3)
            .into_iter()
            .enumerate()
            .map(|(lane, seat)| seat.leave(|other| (lane, other)))
            .collect();
        for (lane, inbox) in inboxes.into_iter().enumerate() {
            let others = (0..3).filter(|other| *other != lane);
            let expected: Vec<_> = others.map(|other| (other, (other, lane))).collect();
            assert_eq!(inbox.take(), Some(expected));
        }
    }

    #[test]
    fn a_lane_alone_waits_for_nobody() {
        let alone = Seat::<u32>::all(1).pop().unwrap();
        assert_eq!(alone.leave(|_| unreachable!("there is nobody else")).take(), Some(Vec::new()));
    }

    #[test]
    fn a_lane_that_ends_without_a_message_is_not_waited_for() {
        let mut seats = Seat::<u32>::all(3).into_iter();
        let (first, _ends) = (seats.next().unwrap(), drop(seats.next()));
        drop(seats);
        assert_eq!(first.leave(|_| 7).take(), None);
    }

    #[test]
    fn a_lane_that_panics_before_it_has_touched_its_seat_is_not_waited_for() {
        let mut pool = WorkerPool::<StdThreading>::new(3).unwrap();
        for culprit in 0..3 {
            let found = Arc::new(Mutex::new(Vec::new()));
            let lane = |(lane, seat): (usize, Seat<usize>)| {
                let found = Arc::clone(&found);
                move || {
                    if lane == culprit {
                        // Without the message of the panic hook.
                        resume_unwind(Box::new("planted"));
                    }
                    let left = seat.leave(|_| lane).take();
                    found.lock().unwrap().push(left);
                }
            };
            let lanes = Seat::all(3).into_iter().enumerate().map(lane).collect();
            assert!(catch_unwind(AssertUnwindSafe(|| pool.run(lanes))).is_err());
            assert_eq!(*found.lock().unwrap(), [None, None]);
        }
    }
}
