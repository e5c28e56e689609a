//! A group: neighbouring entries of the ledger in one piece.
//!
//! In memory it is what comes into the file before it is compressed, and where each entry is in it: putting one in
//! at the end, as nearly always, is adding its bytes.

use crate::TopoHeight;

/// Entries in the order of topoheights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Each entry behind its topoheight and its length.
    bytes: Vec<u8>,
    /// Of each entry, and where it begins in `bytes`.
    places: Vec<(TopoHeight, usize)>,
}

impl Group {
    /// What an entry takes.
    pub(super) const fn bytes_of(entry: &[u8]) -> usize {
        HEAD_BYTES + entry.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many bytes all entries take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn first(&self) -> Option<TopoHeight> {
        self.places.first().map(|(first, _)| *first)
    }

    pub(super) fn last(&self) -> Option<TopoHeight> {
        self.places.last().map(|(last, _)| *last)
    }

    /// Whether an entry belongs in this group if it is in any.
    pub(super) fn spans(&self, topoheight: TopoHeight) -> bool {
        self.first().is_some_and(|first| first <= topoheight) && self.last() >= Some(topoheight)
    }

    /// Which entry is that of a topoheight, or would be.
    fn index(&self, topoheight: TopoHeight) -> Result<usize, usize> {
        self.places.binary_search_by_key(&topoheight, |(topoheight, _)| *topoheight)
    }

    /// Where an entry begins, or where the last one ends.
    fn begin(&self, index: usize) -> usize {
        self.places.get(index).map_or(self.bytes.len(), |(_, begin)| *begin)
    }

    pub(super) fn get(&self, topoheight: TopoHeight) -> Option<&[u8]> {
        let index = self.index(topoheight).ok()?;
        self.bytes.get(self.begin(index) + HEAD_BYTES..self.begin(index + 1))
    }

    /// Puts an entry in, in place of the one that may be there.
    pub(super) fn put(&mut self, topoheight: TopoHeight, entry: &[u8]) {
        let (index, end) = match self.index(topoheight) {
            Ok(index) => (index, index + 1),
            Err(index) => (index, index),
        };
        let (begin, end) = (self.begin(index), self.begin(end));
        let mut head = [0; HEAD_BYTES];
        head[..8].copy_from_slice(&topoheight.as_u64().to_be_bytes());
        // An entry is far below four gigabytes.
        head[8..].copy_from_slice(&(entry.len() as u32).to_be_bytes());
        if begin == self.bytes.len() {
            self.places.push((topoheight, begin));
            self.bytes.extend_from_slice(&head);
            self.bytes.extend_from_slice(entry);
            return;
        }
        let now = begin + Self::bytes_of(entry);
        self.bytes.splice(begin..end, head.into_iter().chain(entry.iter().copied()));
        if begin == end {
            self.places.insert(index, (topoheight, begin));
        }
        for (_, behind) in &mut self.places[index + 1..] {
            *behind = *behind - end + now;
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.places.clear();
    }

    /// The entries at or above a topoheight.
    pub(super) fn from(&self, topoheight: TopoHeight) -> Self {
        let index = self.index(topoheight).unwrap_or_else(|index| index);
        let begin = self.begin(index);
        let places = self.places[index..].iter().map(|(at, place)| (*at, place - begin));
        Self { bytes: self.bytes[begin..].to_vec(), places: places.collect() }
    }

    /// The entry of a number, if there are so many.
    pub(super) fn entry(&self, number: usize) -> Option<(TopoHeight, &[u8])> {
        let (topoheight, begin) = self.places.get(number)?;
        Some((*topoheight, self.bytes.get(begin + HEAD_BYTES..self.begin(number + 1))?))
    }

    /// The same in pieces of so many bytes at most, as far as the entries allow that; each for the file, under
    /// its first topoheight.
    pub(super) fn encode_in_pieces(&self, bytes_max: usize) -> Vec<(TopoHeight, Vec<u8>)> {
        let mut pieces = Vec::new();
        let mut index = 0;
        while let Some((first, begin)) = self.places.get(index) {
            index += 1;
            while index < self.places.len() && self.begin(index + 1) - begin <= bytes_max {
                index += 1;
            }
            pieces.push((*first, compress(&self.bytes[*begin..self.begin(index)])));
        }
        pieces
    }

    /// As it is in the file.
    pub(super) fn encode(&self) -> Vec<u8> {
        compress(&self.bytes)
    }

    pub(super) fn decode(content: &[u8]) -> Option<Self> {
        Self::from_bytes(lz4_flex::decompress_size_prepended(content).ok()?)
    }

    fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let mut places = Vec::new();
        let mut rest = &bytes[..];
        while let Some((topoheight, behind)) = rest.split_first_chunk() {
            let topoheight = TopoHeight::new(u64::from_be_bytes(*topoheight));
            let (length, behind) = behind.split_first_chunk()?;
            let behind = behind.get(u32::from_be_bytes(*length) as usize..)?;
            if places.last().is_some_and(|(before, _)| *before >= topoheight) {
                return None;
            }
            places.push((topoheight, bytes.len() - rest.len()));
            rest = behind;
        }
        rest.is_empty().then_some(Self { bytes, places })
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::compress_prepend_size(bytes)
}

/// What an entry takes besides its bytes.
const HEAD_BYTES: usize = 12;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn at(topoheight: u64) -> TopoHeight {
        TopoHeight::new(topoheight)
    }

    fn group(entries: &[(u64, &[u8])]) -> Group {
        let mut group = Group::default();
        for (topoheight, entry) in entries {
            group.put(at(*topoheight), entry);
        }
        group
    }

    fn entries(group: &Group) -> Vec<(u64, Vec<u8>)> {
        let entries = (0..).map_while(|number| group.entry(number));
        entries.map(|(topoheight, entry)| (topoheight.as_u64(), entry.to_vec())).collect()
    }

    #[test]
    fn a_group_that_is_cut_or_longer_than_it_says_is_none() {
        let whole = group(&[(3, b"three"), (5, b""), (6, b"six")]).bytes;
        let ends = [0, 17, 29, whole.len()];
        for end in 0..=whole.len() {
            let decoded = Group::from_bytes(whole[..end].to_vec());
            assert_eq!(decoded.is_some(), ends.contains(&end), "cut at {end}");
        }
        assert!(Group::from_bytes([&whole[..], &[0]].concat()).is_none());
    }

    #[test]
    fn what_is_not_compressed_is_no_group() {
        let group = group(&[(3, &[1; 100])]);
        assert!(Group::decode(&group.encode()).is_some());
        for content in [&[][..], &group.bytes, &group.encode()[..20], &[1, 0, 0, 0]] {
            assert!(Group::decode(content).is_none(), "{content:?}");
        }
    }

    #[test]
    fn a_group_out_of_order_is_none() {
        for (one, other) in [(5, 4), (5, 5)] {
            let bytes = [group(&[(one, b"a")]).bytes, group(&[(other, b"b")]).bytes];
            assert!(Group::from_bytes(bytes.concat()).is_none(), "{one}, {other}");
        }
    }

    #[test]
    fn an_entry_that_is_too_long_for_a_piece_is_one_by_itself() {
        let group = group(&[(1, &[1; 5]), (2, &[2; 5]), (3, &[3; 90]), (4, &[4; 5])]);
        let pieces = group.encode_in_pieces(40);
        assert_eq!(pieces.iter().map(|(first, _)| first.as_u64()).collect::<Vec<_>>(), [1, 3, 4]);
        assert!(Group::default().encode_in_pieces(40).is_empty());
    }

    proptest! {
        #[test]
        fn a_group_has_what_was_put_in_last(
            puts in vec((0..30_u64, vec(any::<u8>(), 0..9)), 0..40),
            from in 0..31_u64,
            bytes_max in 0..200_usize,
        ) {
            let (mut group, mut model) = (Group::default(), BTreeMap::new());
            for (topoheight, entry) in puts {
                group.put(at(topoheight), &entry);
                model.insert(topoheight, entry);
            }
            let all: Vec<_> = model.clone().into_iter().collect();
            prop_assert_eq!(&entries(&group), &all);
            for topoheight in 0..31 {
                let expected = model.get(&topoheight).map(|entry| &entry[..]);
                prop_assert_eq!(group.get(at(topoheight)), expected);
            }
            prop_assert_eq!(group.bytes(), all.iter().map(|(_, entry)| Group::bytes_of(entry)).sum::<usize>());
            let above: Vec<_> = model.range(from..).map(|(at, entry)| (*at, entry.clone())).collect();
            prop_assert_eq!(entries(&group.from(at(from))), above);
            prop_assert_eq!(Group::decode(&group.encode()), Some(group.clone()));

            let pieces = group.encode_in_pieces(bytes_max);
            let pieces = pieces.iter().map(|(first, piece)| (*first, Group::decode(piece).unwrap()));
            let mut of_pieces = Vec::new();
            for (first, piece) in pieces {
                prop_assert_eq!(piece.first(), Some(first));
                prop_assert!(piece.bytes() <= bytes_max || piece.places.len() == 1);
                of_pieces.extend(entries(&piece));
            }
            prop_assert_eq!(of_pieces, all);
        }
    }
}
