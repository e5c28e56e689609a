//! Which accounts a file of the view may have, so that most of the files are not read for one that they
//! do not have.
//!
//! A Bloom filter whose bits for one account lie in one line of the processor's cache: it says *no* or
//! *maybe*, and takes ten bits an account. It is stored, so how accounts are spread over it is fixed.

use crate::Address;

/// A set of accounts that answers *no* or *maybe*.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filter {
    lines: Box<[Line]>,
}

/// As much as the processor loads at once.
type Line = [u64; LINE_WORDS];

impl Filter {
    /// An empty one for at most so many accounts.
    pub(super) fn for_accounts(accounts: u64) -> Self {
        let lines = accounts.saturating_mul(BITS_PER_ACCOUNT).div_ceil(LINE_BITS).max(1);
        // More do not fit into the memory.
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        Self { lines: vec![[0; LINE_WORDS]; lines].into_boxed_slice() }
    }

    pub(super) fn insert(&mut self, account: &Address) {
        let (line, bits) = self.place(account);
        for (word, bits) in self.lines[line].iter_mut().zip(mask(bits)) {
            *word |= bits;
        }
    }

    /// False if the account was never inserted.
    pub(super) fn may_have(&self, account: &Address) -> bool {
        let (line, bits) = self.place(account);
        self.lines[line].iter().zip(mask(bits)).all(|(word, bits)| word & bits == bits)
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        self.lines.iter().flatten().flat_map(|word| word.to_le_bytes())
    }

    /// `None` if it is not one, or has no line.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let (lines, []) = words.as_chunks::<LINE_WORDS>() else { return None };
        (!lines.is_empty()).then(|| Self { lines: lines.into() })
    }

    /// The line of an account, and where its bits come from.
    fn place(&self, account: &Address) -> (usize, u64) {
        let hash = spread(account);
        // The upper half of a product is below the other factor, so it is an index.
        let line = (u128::from(hash) * self.lines.len() as u128) >> 64;
        (line as usize, hash.wrapping_mul(ODD))
    }
}

/// In each word the bit that six of the given ones say.
fn mask(bits: u64) -> impl Iterator<Item = u64> {
    (0..LINE_WORDS as u32).map(move |word| 1 << (bits >> (64 - 6 * (word + 1)) & 63))
}

/// Addresses are keys, and so evenly distributed, unless somebody makes them up.
fn spread(account: &Address) -> u64 {
    let (words, _) = account.as_bytes().as_chunks::<8>();
    words.iter().fold(0, |hash: u64, word| {
        let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        mixed ^ (mixed >> 32)
    })
}

const BITS_PER_ACCOUNT: u64 = 10;

const LINE_WORDS: usize = 8;

const LINE_BITS: u64 = 64 * LINE_WORDS as u64;

/// The golden ratio of 2^64, which leaves no pattern.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u64, is_uniform: bool) -> Address {
        if is_uniform {
            return Address::new(*blake3::hash(&number.to_be_bytes()).as_bytes());
        }
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Address::new(bytes)
    }

    #[test]
    fn what_was_inserted_may_be_there_and_little_else() {
        for is_uniform in [true, false] {
            let mut filter = Filter::for_accounts(10_000);
            (0..10_000).for_each(|number| filter.insert(&address(number, is_uniform)));
            let found = |numbers: std::ops::Range<u64>| {
                numbers.filter(|number| filter.may_have(&address(*number, is_uniform))).count()
            };
            assert_eq!(found(0..10_000), 10_000);
            let wrong = found(10_000..20_000);
            assert!(wrong < 600, "{wrong} of 10,000 that were not inserted");
        }
    }

    #[test]
    fn an_empty_one_has_nothing() {
        let filter = Filter::for_accounts(0);
        assert!((0..100).all(|number| !filter.may_have(&address(number, true))));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let mut filter = Filter::for_accounts(100);
        (0..100).for_each(|number| filter.insert(&address(number, true)));
        let bytes: Vec<u8> = filter.bytes().collect();
        assert_eq!(Filter::parse(&bytes), Some(filter));
        assert_eq!(Filter::parse(&bytes[1..]), None);
        assert_eq!(Filter::parse(&bytes[8..]), None);
        assert_eq!(Filter::parse(&[]), None);
    }
}
