//! What is known of an account, as it is kept in memory: in the bytes that a file of the view has of it.
//!
//! Spread out, a version takes 72 bytes and most of them say nothing: the asset is the native one, the value a
//! small number. These bytes take a third of that, so more accounts have room, and a fold copies them from file
//! to file. Looking for a key goes through them one after the other, which is faster than searching as
//! long as they are few; of an account that has many there is also where each of them begins.
//!
//! ```text
//! few   bytes of the record
//! many  bytes of the record ‖ where each version begins, in their order:u32 (little-endian)
//! ```

use std::{cmp::Ordering, sync::Arc};

use crate::{
    Address, StateKey,
    encoding::{self, Malformed, Slot},
    version::Stamped,
};

/// The versions of an account, sorted; none for an account that has no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a>(&'a [u8]);

/// The same by itself. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnRecord(Arc<[u8]>);

impl OwnRecord {
    /// Versions, in their order.
    pub(super) fn of(slots: &[(Slot, Stamped)]) -> Self {
        let mut places = Vec::new();
        let bytes = encoding::record(slots, |place| places.push(place));
        Self::with_places(&bytes, &places)
    }

    /// The bytes that a file has.
    pub(super) fn read(account: &Address, bytes: &[u8]) -> Result<Self, Malformed> {
        let mut places = Vec::new();
        encoding::each_slot(account, bytes, |place, _, _| places.push(place))?;
        Ok(Self::with_places(bytes, &places))
    }

    fn with_places(bytes: &[u8], places: &[usize]) -> Self {
        if places.len() <= FEW {
            return Self(bytes.into());
        }
        let mut with_places = Vec::with_capacity(bytes.len() + PLACE_BYTES * places.len());
        with_places.extend_from_slice(bytes);
        for place in places {
            // A record of four gigabytes would be one of a hundred million assets.
            with_places.extend_from_slice(&(*place as u32).to_le_bytes());
        }
        Self(with_places.into())
    }

    pub(super) fn get(&self) -> Record<'_> {
        Record(&self.0)
    }
}

impl<'a> Record<'a> {
    /// The bytes of one that was kept somewhere.
    pub(super) const fn kept(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What is to be kept of it.
    pub(super) const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The version of a key of the account.
    pub(super) fn find(self, key: &StateKey) -> Result<Option<Stamped>, Malformed> {
        match self.places()? {
            [] => encoding::find_slot(self.0, key),
            places => {
                let wanted = Slot::of(key);
                let compare = |place: &[u8; PLACE_BYTES]| {
                    // What is no slot is below every key.
                    self.slot_at(*place).map_or(Ordering::Less, |slot| slot.cmp(&wanted))
                };
                let Ok(found) = places.binary_search_by(compare) else { return Ok(None) };
                encoding::read_slot(self.at(places[found])?, key)
            }
        }
    }

    fn slot_at(self, place: [u8; PLACE_BYTES]) -> Result<Slot, Malformed> {
        encoding::slot(self.at(place)?)
    }

    fn at(self, place: [u8; PLACE_BYTES]) -> Result<&'a [u8], Malformed> {
        self.0.get(u32::from_le_bytes(place) as usize..).ok_or(Malformed)
    }

    /// All versions.
    pub(super) fn slots(self, account: &Address) -> Result<Vec<(Slot, Stamped)>, Malformed> {
        let mut slots = Vec::new();
        let told = |_, slot, stamped| slots.push((slot, stamped));
        encoding::each_slot(account, self.encoded()?, told)?;
        Ok(slots)
    }

    /// What a file has of it.
    pub(super) fn encoded(self) -> Result<&'a [u8], Malformed> {
        let places = self.places()?.len() * PLACE_BYTES;
        Ok(&self.0[..self.0.len() - places])
    }

    /// Where the versions begin, if they are many.
    fn places(self) -> Result<&'a [[u8; PLACE_BYTES]], Malformed> {
        let count = encoding::count_slots(self.0)?;
        if count <= FEW {
            return Ok(&[]);
        }
        let bytes = count.checked_mul(PLACE_BYTES);
        let begin = bytes.and_then(|bytes| self.0.len().checked_sub(bytes)).ok_or(Malformed)?;
        Ok(self.0[begin..].as_chunks().0)
    }
}

/// So many are gone through faster than they are searched.
const FEW: usize = 8;

const PLACE_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::*;
    use crate::{Amount, AssetId, MultisigConfig, Nonce, StateValue, TopoHeight, version::Version};

    const ACCOUNT: Address = Address::new([7; 32]);

    fn slot(number: u16) -> (Slot, StateKey) {
        let asset = |number: u16| {
            let mut bytes = [3; 32];
            bytes[..2].copy_from_slice(&number.to_be_bytes());
            AssetId::new(bytes)
        };
        let key = match number {
            0 => StateKey::Nonce(ACCOUNT),
            1 => StateKey::Balance(ACCOUNT, AssetId::NATIVE),
            2 => StateKey::Multisig(ACCOUNT),
            3 => StateKey::Registered(ACCOUNT),
            asset_number => StateKey::Balance(ACCOUNT, asset(asset_number)),
        };
        (Slot::of(&key), key)
    }

    fn stamped(number: u16, mark: u64) -> Stamped {
        let value = match number {
            0 => StateValue::Nonce(Nonce::new(mark)),
            2 => StateValue::from(MultisigConfig {
                threshold: 1,
                participants: vec![ACCOUNT; mark as usize % 4],
            }),
            3 => StateValue::Registered,
            _ => StateValue::Balance(Amount::new(mark)),
        };
        let version = match mark % 5 {
            0 => Version::Unknown,
            1 => Version::Known(None),
            _ => Version::Known(Some(value)),
        };
        let written_at = (!mark.is_multiple_of(7)).then(|| TopoHeight::new(mark));
        Stamped { written_at, version }
    }

    proptest! {
        #[test]
        fn every_version_is_found_and_no_other(
            versions in prop_oneof![btree_map(0..9_u16, any::<u64>(), 0..12), btree_map(0..60_u16, any::<u64>(), 0..60)],
        ) {
            let mut slots: Vec<_> = versions
                .iter()
                .map(|(number, mark)| (slot(*number).0, stamped(*number, *mark)))
                .collect();
            slots.sort_by_key(|(slot, _)| *slot);
            let own = OwnRecord::of(&slots);
            let record = own.get();
            prop_assert_eq!(OwnRecord::read(&ACCOUNT, record.encoded().unwrap()), Ok(own.clone()));
            prop_assert_eq!(record.slots(&ACCOUNT), Ok(slots));
            for number in 0..62 {
                let expected = versions.get(&number).map(|mark| stamped(number, *mark));
                prop_assert_eq!(record.find(&slot(number).1), Ok(expected), "{}", number);
            }
        }
    }

    #[test]
    fn a_usual_account_takes_a_third_of_its_versions() {
        let slots = [0, 1, 3].map(|number| (slot(number).0, stamped(number, 3)));
        assert!(3 * OwnRecord::of(&slots).get().bytes().len() < size_of_val(&slots) + 8);
    }
}
