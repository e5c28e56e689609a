//! How long a candidate that gives no results is put up with.
//!
//! A candidate that hangs costs its budget in every block, and an outside program that fails in any way is
//! started again for the next one: no chain waits for that. After a few failures in a row it is left alone for some blocks, and for twice as many each time that it has
//! not become better.

/// What to expect of a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    failures_in_a_row: u32,
    /// How many blocks it is still left alone.
    pause: u64,
}

impl Patience {
    /// Whether the next block is to be run; to be asked once for each.
    pub(crate) fn grants_block(&mut self) -> bool {
        if self.pause == 0 {
            return true;
        }
        self.pause -= 1;
        false
    }

    /// Notes that a block that was granted gave results, or did not.
    pub(crate) fn note(&mut self, gave_results: bool) {
        if gave_results {
            *self = Self::default();
            return;
        }
        self.failures_in_a_row += 1;
        if let Some(pauses) = self.failures_in_a_row.checked_sub(FAILURES_MAX) {
            self.pause = PAUSE_MAX.min(PAUSE_MIN << pauses.min(16));
        }
    }

    /// Whether the last block that was granted gave no result.
    pub(crate) const fn is_tried(&self) -> bool {
        self.failures_in_a_row > 0
    }

    /// Whether the candidate is left alone for now.
    pub(crate) const fn is_suspended(&self) -> bool {
        self.pause > 0
    }
}

/// How many failures in a row are put up with.
const FAILURES_MAX: u32 = 3;

/// For how many blocks a candidate is left alone at first, and at most.
const PAUSE_MIN: u64 = 8;
const PAUSE_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// For how many blocks nothing is granted.
    fn pause(patience: &mut Patience) -> u64 {
        let mut blocks = 0;
        while !patience.grants_block() {
            blocks += 1;
        }
        blocks
    }

    fn fail(patience: &mut Patience) -> u64 {
        assert!(patience.grants_block());
        patience.note(false);
        pause(patience)
    }

    #[test]
    fn three_failures_in_a_row_are_followed_by_a_pause() {
        let mut patience = Patience::default();
        assert_eq!([fail(&mut patience), fail(&mut patience), fail(&mut patience)], [0, 0, 8]);
    }

    #[test]
    fn every_further_failure_doubles_the_pause_up_to_a_limit() {
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..30).map(|_| fail(&mut patience)).collect();
        assert_eq!(pauses[..6], [0, 0, 8, 16, 32, 64]);
        assert_eq!(pauses[9..], [1024; 21]);
    }

    #[test]
    fn a_block_with_a_result_is_a_new_beginning() {
        let mut patience = Patience::default();
        for _ in 0..5 {
            fail(&mut patience);
        }
        patience.note(true);
        assert_eq!([fail(&mut patience), fail(&mut patience), fail(&mut patience)], [0, 0, 8]);
    }
}
