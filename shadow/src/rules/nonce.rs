//! Which nonces of an account a block may use.
//!
//! The node keeps one such window per account for a whole re-order, which its answers do not reveal.
//! Here it starts anew with each block from the parent's state; across blocks the executed flag of a
//! transaction decides.

use std::cmp::Ordering;

use smallvec::SmallVec;
use storage_snapshot::Nonce;

/// The nonces that one account has used within a block.
#[derive(Clone, Debug)]
pub struct NonceWindow {
    initial: Nonce,
    expected: Nonce,
    /// In the order of use. Most accounts send one transaction, or a few.
    used: SmallVec<[Nonce; 2]>,
    /// Every used nonce is below this one, so a chain of transactions needs no search.
    unused_from: Nonce,
}

/// How a nonce was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// It was the expected one.
    InOrder,
    /// It left a gap behind it, which the chain allows.
    WithGap,
    /// It was below the expected one, but unused: the account's nonce stays at the highest.
    OutOfOrder,
}

impl NonceWindow {
    /// Nothing used yet by an account whose nonce is `initial`.
    pub fn new(initial: Nonce) -> Self {
        Self { initial, expected: initial, used: SmallVec::new(), unused_from: initial }
    }

    /// Uses a nonce; `None` if it is below the initial one, used already, or the last of all.
    pub fn use_nonce(&mut self, nonce: Nonce) -> Option<Used> {
        let next = nonce.next()?;
        if nonce < self.initial || (nonce < self.unused_from && self.used.contains(&nonce)) {
            return None;
        }
        let used = match nonce.cmp(&self.expected) {
            Ordering::Equal => Used::InOrder,
            Ordering::Greater => Used::WithGap,
            Ordering::Less => Used::OutOfOrder,
        };
        self.used.push(nonce);
        self.unused_from = self.unused_from.max(next);
        self.expected = self.expected.max(next);
        Some(used)
    }

    /// Takes back the nonce of a transaction that failed: it may be used again.
    ///
    /// The expected nonce falls back to the one after the nonce *inserted* last, which need not be
    /// the highest; that is what the node does.
    pub fn undo(&mut self, nonce: Nonce) {
        self.used.retain(|used| *used != nonce);
        self.expected = self.used.last().and_then(|last| last.next()).unwrap_or(self.initial);
    }

    /// The nonce that the account has after the last executed transaction.
    pub const fn expected(&self) -> Nonce {
        self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(initial: u64, uses: &[(u64, Option<Used>)], expected: u64) {
        let mut window = NonceWindow::new(Nonce::new(initial));
        for (nonce, used) in uses {
            assert_eq!(window.use_nonce(Nonce::new(*nonce)), *used, "nonce {nonce}");
        }
        assert_eq!(window.expected(), Nonce::new(expected));
    }

    #[test]
    fn nonces_in_order_are_used_one_after_another() {
        check(3, &[(3, Some(Used::InOrder)), (4, Some(Used::InOrder))], 5);
    }

    #[test]
    fn a_nonce_below_the_first_is_refused() {
        check(3, &[(2, None)], 3);
    }

    #[test]
    fn a_used_nonce_is_refused() {
        check(3, &[(3, Some(Used::InOrder)), (3, None)], 4);
        check(3, &[(7, Some(Used::WithGap)), (7, None)], 8);
    }

    #[test]
    fn a_gap_is_accepted_and_what_it_left_out_may_follow() {
        check(
            3,
            &[(5, Some(Used::WithGap)), (3, Some(Used::OutOfOrder)), (4, Some(Used::OutOfOrder))],
            6,
        );
    }

    #[test]
    fn the_last_nonce_of_all_has_no_successor_and_is_refused() {
        check(u64::MAX, &[(u64::MAX, None)], u64::MAX);
    }

    #[test]
    fn a_failed_nonce_may_be_used_again() {
        let mut window = NonceWindow::new(Nonce::new(3));
        assert_eq!(window.use_nonce(Nonce::new(3)), Some(Used::InOrder));
        window.undo(Nonce::new(3));
        assert_eq!(window.expected(), Nonce::new(3));
        assert_eq!(window.use_nonce(Nonce::new(3)), Some(Used::InOrder));
    }

    #[test]
    fn after_a_failure_the_expected_nonce_follows_the_one_inserted_last() {
        let mut window = NonceWindow::new(Nonce::new(0));
        for nonce in [5, 1, 2] {
            assert!(window.use_nonce(Nonce::new(nonce)).is_some());
        }
        window.undo(Nonce::new(2));
        assert_eq!(window.expected(), Nonce::new(2));
        assert_eq!(window.use_nonce(Nonce::new(5)), None, "5 is still in use");
    }
}
