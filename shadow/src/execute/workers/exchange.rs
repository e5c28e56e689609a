//! One message from every lane of a job to every other.
//!
//! Waking a worker costs as much as dozens of transactions, so a job of two phases is one job: between
//! them each lane leaves what it has for the others, and waits only for what the others have for it. A
//! lane that finds its messages there already does not wait at all. One that does not looks for as long as
//! waking it would take, and then parks, for others may need the processor.

use std::sync::{Mutex, PoisonError};

use super::threading::{StdThreading, Threading};

/// The seats of the lanes of one job, each to be taken once.
pub struct Exchange<M: Send + 'static, T: Threading = StdThreading> {
    seats: Vec<Mutex<Option<Seat<M, T>>>>,
}

/// Where one lane leaves messages and finds those for it.
pub struct Seat<M: Send + 'static, T: Threading = StdThreading> {
    /// The other lanes.
    others: Vec<(usize, T::Sender<Message<M>>)>,
    lane: usize,
    received: T::Receiver<Message<M>>,
}

/// What a lane left for another one, and which lane it was.
type Message<M> = (usize, M);

impl<M: Send + 'static, T: Threading> Exchange<M, T> {
    /// An exchange between so many lanes.
    pub fn new(lanes: usize) -> Self {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..lanes).map(|_| T::channel::<Message<M>>()).unzip();
        let seat = |(lane, received)| {
            let others = senders.iter().cloned().enumerate();
            let others = others.filter(|(other, _)| *other != lane).collect();
            Mutex::new(Some(Seat { others, lane, received }))
        };
        Self { seats: receivers.into_iter().enumerate().map(seat).collect() }
    }

    /// The seat of a lane, unless it was taken before.
    pub fn seat(&self, lane: usize) -> Option<Seat<M, T>> {
        let seat = self.seats.get(lane)?;
        // Nothing is done under the lock but this.
        seat.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<M: Send + 'static, T: Threading> Seat<M, T> {
    /// Leaves a message for every other lane, waits until all of them have done so, and returns what they
    /// left for this one together with their numbers, in the order in which it came.
    ///
    /// `None` if a lane ended without leaving a message: nobody waits for one that will not come.
    pub fn exchange(self, mut message_for: impl FnMut(usize) -> M) -> Option<Vec<(usize, M)>> {
        let Self { others, lane, received } = self;
        let expected = others.len();
        for (other, sender) in others {
            // One that is gone has no use for it.
            T::send(&sender, (lane, message_for(other)));
        }
        let mut messages = Vec::with_capacity(expected);
        while messages.len() < expected {
            messages.push(receive::<M, T>(&received)?);
        }
        Some(messages)
    }
}

/// Waits for a message; `None` once nobody is there to send one.
fn receive<M: Send + 'static, T: Threading>(
    received: &T::Receiver<Message<M>>,
) -> Option<Message<M>> {
    for _ in 0..T::LOOKS {
        if let Some(message) = T::receive_now(received) {
            return Some(message);
        }
        std::hint::spin_loop();
    }
    T::receive(received)
}

impl<M: Send + 'static, T: Threading> std::fmt::Debug for Exchange<M, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange").field("lanes", &self.seats.len()).finish()
    }
}

impl<M: Send + 'static, T: Threading> std::fmt::Debug for Seat<M, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("lane", &self.lane).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seat_is_taken_once() {
        let exchange = Exchange::<()>::new(2);
        assert!(exchange.seat(1).is_some());
        assert!(exchange.seat(1).is_none());
        assert!(exchange.seat(0).is_some());
        assert!(exchange.seat(2).is_none());
    }

    #[test]
    fn a_lane_alone_waits_for_nobody() {
        let seat = Exchange::<u32>::new(1).seat(0).unwrap();
        assert_eq!(seat.exchange(|_| unreachable!("there is nobody else")), Some(Vec::new()));
    }

    #[test]
    fn a_lane_that_ends_without_a_message_is_not_waited_for() {
        let exchange = Exchange::<u32>::new(3);
        let seats: Vec<_> = (0..3).filter_map(|lane| exchange.seat(lane)).collect();
        let mut seats = seats.into_iter();
        let (first, _ends) = (seats.next().unwrap(), drop(seats.next()));
        drop(seats);
        assert_eq!(first.exchange(|_| 7), None);
    }
}
