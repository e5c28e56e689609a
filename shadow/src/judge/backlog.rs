//! How much waits for its verdict.
//!
//! A queue of so many blocks would take gigabytes where blocks are large, and what a block takes in memory is
//! about its transactions; so those are what is counted.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Shared by who hands blocks over and who is done with them.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    transactions: AtomicUsize,
}

impl Backlog {
    /// Whether a block of so many transactions may wait as well. One block always may.
    pub(super) fn has_room(&self, transactions: usize) -> bool {
        let waiting = self.transactions.load(Ordering::Relaxed);
        waiting == 0 || waiting.saturating_add(transactions) <= TRANSACTIONS_MAX
    }

    /// One more block waits.
    pub(super) fn add(&self, transactions: usize) {
        self.transactions.fetch_add(transactions, Ordering::Relaxed);
    }

    /// One that was added has its verdict.
    pub(super) fn remove(&self, transactions: usize) {
        self.transactions.fetch_sub(transactions, Ordering::Relaxed);
    }
}

/// How many transactions may wait. Whoever waits for a place does so for milliseconds, in which some ten blocks of
/// a hundred are judged.
const TRANSACTIONS_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_waits_with_others_up_to_so_many_transactions_and_alone_whatever_it_has() {
        #[track_caller]
        fn check(waiting: usize, transactions: usize, expected: bool) {
            let backlog = Backlog::default();
            backlog.add(waiting);
            assert_eq!(backlog.has_room(transactions), expected);
            backlog.remove(waiting);
            assert!(backlog.has_room(usize::MAX));
        }
        check(0, TRANSACTIONS_MAX + 1, true);
        check(1, TRANSACTIONS_MAX - 1, true);
        check(1, TRANSACTIONS_MAX, false);
        check(TRANSACTIONS_MAX, 0, true);
        check(TRANSACTIONS_MAX + 1, 0, false);
        check(1, usize::MAX, false);
    }
}
