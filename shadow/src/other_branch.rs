//! Another branch than the one that the store holds, offered by a source that begins anew.
//!
//! A source tells a chain from its first block on, with the branches that it left. A store that was
//! there when such a branch was left holds what took its place, so the blocks that the source offers
//! are others for a while: either until it goes back itself, or for good, because the store is about
//! another chain. Which of the two cannot be told from the first block that differs. Until it can, the
//! blocks are passed over: nothing is judged, written or rolled back.

use storage_snapshot::{BlockHash, BlockRef, TopoHeight};

use crate::verifier::VerifyError;

/// Where the source and the store part.
#[derive(Debug)]
pub(crate) struct OtherBranch {
    /// The first block that differs, as the source has it.
    place: BlockRef,
    /// What the store has in its place.
    held: BlockHash,
    passed_over: u64,
}

impl OtherBranch {
    pub(crate) const fn new(place: BlockRef, held: BlockHash) -> Self {
        Self { place, held, passed_over: 1 }
    }

    /// Passes over one more block of the branch.
    ///
    /// # Errors
    ///
    /// When the branch is longer than any that a re-order leaves.
    pub(crate) fn pass_over_one(&mut self) -> Result<(), VerifyError> {
        self.passed_over += 1;
        if self.passed_over > PASSED_OVER_MAX { Err(self.error()) } else { Ok(()) }
    }

    /// What is left of the branch when the source goes back: nothing, if it is left as a whole.
    pub(crate) fn after_revert(self, to: TopoHeight) -> Option<Self> {
        (to >= self.place.topoheight).then_some(self)
    }

    /// That the store is about another chain.
    pub(crate) const fn error(&self) -> VerifyError {
        VerifyError::OtherBlock { place: self.place, held: self.held }
    }
}

/// How many blocks of another branch are passed over. The chain orders its last 60 blue scores anew at
/// will.
const PASSED_OVER_MAX: u64 = 64;
