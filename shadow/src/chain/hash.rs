//! The hashes that bind a block: transactions to the Merkle root, the root and the parents to the
//! work hash, and that with the rest of the header to the block's name.
//!
//! Of the header only what these functions take is bound; difficulty, blue work and the pruning
//! point are not part of any hash.

use storage_snapshot::{Address, BlockHash, BlueScore};

use super::many::hash_blocks;

/// What the hash of a block covers.
pub(super) struct BoundHeader<'a> {
    pub(super) version: u8,
    pub(super) blue_score: BlueScore,
    pub(super) tips: &'a [BlockHash],
    pub(super) merkle_root: [u8; 32],
    pub(super) timestamp_ms: u64,
    pub(super) nonce: u64,
    pub(super) extra_nonce: &'a [u8; 32],
    pub(super) miner: &'a Address,
}

impl BoundHeader<'_> {
    pub(super) fn hash(&self) -> BlockHash {
        let mut parents = blake3::Hasher::new();
        for tip in self.tips {
            parents.update(tip.as_bytes());
        }
        let mut work = blake3::Hasher::new();
        work.update(&[self.version]);
        work.update(&self.blue_score.as_u64().to_be_bytes());
        work.update(parents.finalize().as_bytes());
        work.update(&self.merkle_root);

        let mut block = blake3::Hasher::new();
        block.update(work.finalize().as_bytes());
        block.update(&self.timestamp_ms.to_be_bytes());
        block.update(&self.nonce.to_be_bytes());
        block.update(self.extra_nonce);
        block.update(self.miner.as_bytes());
        BlockHash::new(*block.finalize().as_bytes())
    }
}

/// The root over leaves in order; zeros for no leaf at all.
///
/// A node without a neighbour is paired with itself, and that holds for a single leaf too: its root
/// is not the leaf.
pub(super) fn merkle_root<'a>(leaves: impl Iterator<Item = &'a [u8; 32]>) -> [u8; 32] {
    let mut level: Vec<[u8; 32]> = leaves.copied().collect();
    if level.is_empty() {
        return [0; 32];
    }
    loop {
        if let [.., last] = level[..]
            && level.len() % 2 == 1
        {
            level.push(last);
        }
        level = hash_blocks(level.as_flattened().as_chunks().0);
        if let [root] = level[..] {
            return root;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
        *blake3::hash(&[left, right].concat()).as_bytes()
    }

    #[track_caller]
    fn check(leaves: &[[u8; 32]], root: [u8; 32]) {
        assert_eq!(merkle_root(leaves.iter()), root);
    }

    #[test]
    fn no_transactions_have_the_zero_root() {
        check(&[], [0; 32]);
    }

    #[test]
    fn a_node_without_a_neighbour_is_paired_with_itself() {
        let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
        check(&[a], pair(a, a));
        check(&[a, b], pair(a, b));
        check(&[a, b, c], pair(pair(a, b), pair(c, c)));
        let (ab, ca, bc) = (pair(a, b), pair(c, a), pair(b, c));
        check(&[a, b, c, a, b, c], pair(pair(ab, ca), pair(bc, bc)));
    }
}
