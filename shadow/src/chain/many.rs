//! blake3 of many short messages at once: the processor hashes several in the time of one.
//!
//! The crate does so only behind an interface that it does not document, so tests hold what is here
//! against the one that it does.

use blake3::{
    IncrementCounter,
    platform::{Platform, le_bytes_from_words_32, words_from_le_bytes_32},
};
use smallvec::SmallVec;

/// The hash of each block of 64 bytes.
pub(super) fn hash_blocks(blocks: &[[u8; BLOCK]]) -> Vec<[u8; 32]> {
    let mut hashes = vec![[0; 32]; blocks.len()];
    for (blocks, hashes) in blocks.chunks(AT_ONCE).zip(hashes.chunks_mut(AT_ONCE)) {
        let inputs: Inputs<'_, BLOCK> = blocks.iter().collect();
        compress(&inputs, CHUNK_END | ROOT, hashes);
    }
    hashes
}

/// The hash of each message, of which there are at most [`AT_ONCE`].
///
/// It is the faster the more of them are of the size of a transaction that does one thing: of four
/// blocks, of which the last may be shorter.
pub(super) fn hash_messages<'a>(
    messages: impl Iterator<Item = &'a [u8]>,
    hashes: &mut [[u8; 32]; AT_ONCE],
) {
    let (mut heads, mut ends) = (Inputs::<HEAD>::new(), SmallVec::<[_; AT_ONCE]>::new());
    for (message, hash) in messages.zip(hashes) {
        match message.split_first_chunk::<HEAD>() {
            Some((head, end)) if !end.is_empty() && end.len() <= BLOCK => {
                heads.push(head);
                ends.push((end, hash));
            }
            _ => *hash = *blake3::hash(message).as_bytes(),
        }
    }
    let mut states = [[0; 32]; AT_ONCE];
    compress(&heads, 0, &mut states);
    let platform = Platform::detect();
    for (state, (end, hash)) in states.iter().zip(ends) {
        let (mut state, mut block) = (words_from_le_bytes_32(state), [0; BLOCK]);
        block[..end.len()].copy_from_slice(end);
        // It was asked above whether it fits.
        let length_bytes = end.len() as u8;
        platform.compress_in_place(&mut state, &block, length_bytes, 0, CHUNK_END | ROOT);
        *hash = le_bytes_from_words_32(&state);
    }
}

/// As many as any processor hashes at once.
pub(super) const AT_ONCE: usize = 16;

const BLOCK: usize = blake3::BLOCK_LEN;
/// All blocks of a transaction but the last, where it burns or pays one account.
const HEAD: usize = 3 * BLOCK;

type Inputs<'a, const N: usize> = SmallVec<[&'a [u8; N]; AT_ONCE]>;

/// The state after each input, at whose end the flags hold.
fn compress<const N: usize>(inputs: &[&[u8; N]], flags_end: u8, states: &mut [[u8; 32]]) {
    Platform::detect().hash_many(
        inputs,
        &INITIAL,
        0,
        IncrementCounter::No,
        0,
        CHUNK_START,
        flags_end,
        states.as_flattened_mut(),
    );
}

const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 2;
const ROOT: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(message: &[u8]) -> [u8; 32] {
        *blake3::hash(message).as_bytes()
    }

    #[test]
    fn blocks_have_the_hashes_that_each_has_alone() {
        for count in 0..=40 {
            let blocks: Vec<[u8; BLOCK]> = (0..count).map(|number| [number; BLOCK]).collect();
            let alone: Vec<_> = blocks.iter().map(|block| hash(block)).collect();
            assert_eq!(hash_blocks(&blocks), alone);
        }
    }

    #[test]
    fn messages_have_the_hashes_that_each_has_alone() {
        let text: Vec<u8> = (0..3_000_u32).map(|place| (place * 7 % 251) as u8).collect();
        let check = |messages: &[&[u8]]| {
            let mut hashes = [[0; 32]; AT_ONCE];
            hash_messages(messages.iter().copied(), &mut hashes);
            for (message, found) in messages.iter().zip(hashes) {
                assert_eq!(found, hash(message), "{} bytes of {}", message.len(), messages.len());
            }
        };
        for length_bytes in (0..600).chain([1_023, 1_024, 1_025, 2_900]) {
            for count in [1, 3, 8, 15, 16] {
                let same: Vec<_> = (0..count).map(|start| &text[start..][..length_bytes]).collect();
                check(&same);
            }
        }
        let mixed: Vec<_> =
            (0..AT_ONCE).map(|place| &text[place..][..170 + place * place]).collect();
        check(&mixed);
    }
}
