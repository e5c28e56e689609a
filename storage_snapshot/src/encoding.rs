//! The byte form of everything that is stored: keys, versions, log entries, view records.
//!
//! It is frozen: the digest is made of these bytes, and a directory that was written yesterday must
//! be read tomorrow. A change needs another `format_version`. Numbers are big-endian so that keys
//! sort as their numbers do, lists are preceded by their length as a `u64`, and every list that is
//! sorted in memory is required to be sorted in bytes, so that one content has one form.
//!
//! ```text
//! key      01 address | 05 address | 02 address asset | 03 address | 04 address
//!          nonce, balance of the native asset, of another asset, multisig, registered
//! version  00 none | 01 unknown | 02 nonce:u64 | 03 balance:u64 | 04 threshold:u8 list(address) | 05 registered
//! position 00 base | 01 topoheight:u64
//! facts    blue_score:u64 side_block:u8 emitted:u64 (0 | 1 burned:u64)
//! tip      topoheight:u64 hash facts digest
//! log      tip, previous (00 | 01 hash), delta list(key version), correction list(key version),
//!          unknown list(key), executed list(hash), base list(key version)
//! record   list(slot position version), slot = a key without its address
//! view     tip (00 | 01 tip), next:u64, list(number:u64 bytes:u64 check)
//! ```

use crate::{
    Address, Amount, AssetId, BlockFacts, BlockHash, BlockRef, BlueScore, MultisigConfig, Nonce,
    StateDelta, StateDigest, StateKey, StateValue, TopoHeight, TxHash,
    store::{BlockCommit, CommittedBlock, RunName, Tip},
    version::{Position, Stamped, Version},
};

/// Bytes that are not the form of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A key within the record of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    Nonce,
    Balance(AssetId),
    Multisig,
    Registered,
}

impl Slot {
    pub(crate) const fn of(key: &StateKey) -> Self {
        match key {
            StateKey::Nonce(_) => Self::Nonce,
            StateKey::Balance(_, asset) => Self::Balance(*asset),
            StateKey::Multisig(_) => Self::Multisig,
            StateKey::Registered(_) => Self::Registered,
        }
    }

    /// Whether a key has its place here, in the record of its account.
    #[inline]
    pub(crate) fn is_of(&self, key: &StateKey) -> bool {
        match (self, key) {
            (Self::Balance(one), StateKey::Balance(_, other)) => one == other,
            (Self::Nonce, StateKey::Nonce(_))
            | (Self::Multisig, StateKey::Multisig(_))
            | (Self::Registered, StateKey::Registered(_)) => true,
            _ => false,
        }
    }

    const fn key(self, account: Address) -> StateKey {
        match self {
            Self::Nonce => StateKey::Nonce(account),
            Self::Balance(asset) => StateKey::Balance(account, asset),
            Self::Multisig => StateKey::Multisig(account),
            Self::Registered => StateKey::Registered(account),
        }
    }
}

/// How far the view was brought, and which files it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ViewState {
    pub(crate) tip: Option<Tip>,
    /// The number of the next file.
    pub(crate) next: u64,
    /// The newest first: of an account the first one that has it is right.
    pub(crate) runs: Vec<RunName>,
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: &StateKey) {
    out.push(key_tag(Slot::of(key)));
    out.extend_from_slice(key.account().as_bytes());
    put_asset(out, key.asset());
}

pub(crate) fn put_version(out: &mut Vec<u8>, version: &Version) {
    match version {
        Version::Known(None) => out.push(0),
        Version::Unknown => out.push(1),
        Version::Known(Some(StateValue::Nonce(nonce))) => {
            out.push(2);
            put_u64(out, nonce.as_u64());
        }
        Version::Known(Some(StateValue::Balance(amount))) => {
            out.push(3);
            put_u64(out, amount.as_u64());
        }
        Version::Known(Some(StateValue::Multisig(config))) => {
            out.push(4);
            out.push(config.threshold);
            put_list(out, &config.participants, |out, account| {
                out.extend_from_slice(account.as_bytes());
            });
        }
        Version::Known(Some(StateValue::Registered)) => out.push(5),
    }
}

/// A key and a version, one after the other and filled with zeros, if they are a number or nothing in the native
/// asset, as nearly all are: then their places are known beforehand.
pub(crate) fn short(key: &StateKey, version: &Version) -> Option<[u8; 64]> {
    let mut bytes = [0; 64];
    let tag = key_tag(Slot::of(key));
    if tag == key_tag(Slot::Balance(AssetId::NATIVE)) || key.asset().is_none() {
        bytes[0] = tag;
        bytes[1..33].copy_from_slice(key.account().as_bytes());
    } else {
        return None;
    }
    let (tag, number) = match version {
        Version::Known(None) => (0, 0),
        Version::Unknown => (1, 0),
        Version::Known(Some(StateValue::Nonce(nonce))) => (2, nonce.as_u64()),
        Version::Known(Some(StateValue::Balance(amount))) => (3, amount.as_u64()),
        Version::Known(Some(StateValue::Multisig(_))) => return None,
        Version::Known(Some(StateValue::Registered)) => (5, 0),
    };
    bytes[33] = tag;
    bytes[34..42].copy_from_slice(&number.to_be_bytes());
    Some(bytes)
}

pub(crate) fn put_log_entry(out: &mut Vec<u8>, entry: &CommittedBlock) {
    let commit = &entry.commit;
    let deltas = commit.delta.len() + commit.correction.len() + commit.base.len();
    let writes = deltas + commit.unknown.len();
    out.reserve(256 + 80 * writes + 32 * commit.executed.len());
    put_tip(out, &entry.tip());
    match entry.previous {
        None => out.push(0),
        Some(hash) => {
            out.push(1);
            out.extend_from_slice(hash.as_bytes());
        }
    }
    put_delta(out, &commit.delta);
    put_delta(out, &commit.correction);
    put_list(out, &commit.unknown, put_key);
    put_list(out, &commit.executed, |out, tx| out.extend_from_slice(tx.as_bytes()));
    put_delta(out, &commit.base);
}

pub(crate) fn read_log_entry(bytes: &[u8]) -> Result<CommittedBlock, Malformed> {
    let mut bytes = Bytes(bytes);
    let tip = bytes.tip()?;
    let previous = match bytes.u8()? {
        0 => None,
        1 => Some(BlockHash::new(bytes.array()?)),
        _ => return Err(Malformed),
    };
    let commit = BlockCommit {
        block: tip.block,
        facts: tip.facts,
        delta: bytes.delta()?,
        correction: bytes.delta()?,
        unknown: bytes.list(Bytes::key)?,
        executed: bytes.list(|bytes| bytes.array().map(TxHash::new))?,
        base: bytes.delta()?,
    };
    bytes.end()?;
    Ok(CommittedBlock { commit, digest: tip.digest, previous })
}

/// The bytes of an account's record; the slots are sorted.
/// A record, in the order of its slots. Told is where each of them begins.
pub(crate) fn record(slots: &[(Slot, Stamped)], mut told: impl FnMut(usize)) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + 32 * slots.len());
    put_u64(&mut out, slots.len() as u64);
    for (slot, stamped) in slots {
        told(out.len());
        out.push(key_tag(*slot));
        if let Slot::Balance(asset) = slot {
            put_asset(&mut out, Some(asset));
        }
        put_position(&mut out, stamped.written_at);
        put_version(&mut out, &stamped.version);
    }
    out
}

/// Goes through a whole record. Told is where a slot begins, which it is, and what was written there last.
pub(crate) fn each_slot(
    account: &Address,
    bytes: &[u8],
    mut told: impl FnMut(usize, Slot, Stamped),
) -> Result<(), Malformed> {
    let mut rest = Bytes(bytes);
    let mut before = None;
    for _ in 0..rest.u64()? {
        let place = bytes.len() - rest.0.len();
        let slot = rest.slot()?;
        if before >= Some(slot) {
            return Err(Malformed);
        }
        told(place, slot, rest.stamped(&slot.key(*account))?);
        before = Some(slot);
    }
    rest.end()
}

/// How many slots a record has.
pub(crate) fn count_slots(bytes: &[u8]) -> Result<usize, Malformed> {
    usize::try_from(Bytes(bytes).u64()?).map_err(|_| Malformed)
}

/// What was written last under a key of the account, in a record that was gone through before.
pub(crate) fn find_slot(bytes: &[u8], key: &StateKey) -> Result<Option<Stamped>, Malformed> {
    let mut bytes = Bytes(bytes);
    for _ in 0..bytes.u64()? {
        if bytes.slot()?.is_of(key) {
            return bytes.stamped(key).map(Some);
        }
        bytes.skip_position()?;
        bytes.skip_version()?;
    }
    Ok(None)
}

/// The slot that bytes begin with.
pub(crate) fn slot(bytes: &[u8]) -> Result<Slot, Malformed> {
    Bytes(bytes).slot()
}

/// What was written last in the slot that bytes begin with, if it is the one of this key.
pub(crate) fn read_slot(bytes: &[u8], key: &StateKey) -> Result<Option<Stamped>, Malformed> {
    let mut bytes = Bytes(bytes);
    if !bytes.slot()?.is_of(key) {
        return Ok(None);
    }
    bytes.stamped(key).map(Some)
}

pub(crate) fn view_state(state: &ViewState) -> Vec<u8> {
    let mut out = Vec::new();
    match &state.tip {
        None => out.push(0),
        Some(tip) => {
            out.push(1);
            put_tip(&mut out, tip);
        }
    }
    put_u64(&mut out, state.next);
    put_list(&mut out, &state.runs, |out, run| {
        put_u64(out, run.number);
        put_u64(out, run.bytes);
        out.extend_from_slice(&run.check);
    });
    out
}

pub(crate) fn read_view_state(bytes: &[u8]) -> Result<ViewState, Malformed> {
    let mut bytes = Bytes(bytes);
    let tip = match bytes.u8()? {
        0 => None,
        1 => Some(bytes.tip()?),
        _ => return Err(Malformed),
    };
    let next = bytes.u64()?;
    let runs = bytes.list(|bytes| {
        Ok(RunName { number: bytes.u64()?, bytes: bytes.u64()?, check: bytes.array()? })
    })?;
    bytes.end()?;
    if runs.iter().any(|run| run.number >= next) {
        return Err(Malformed);
    }
    Ok(ViewState { tip, next, runs })
}

const fn key_tag(slot: Slot) -> u8 {
    match slot {
        Slot::Nonce => 1,
        Slot::Balance(AssetId::NATIVE) => 5,
        Slot::Balance(_) => 2,
        Slot::Multisig => 3,
        Slot::Registered => 4,
    }
}

/// The native asset is told by the tag: nearly every balance is of it, and without its 32 bytes a
/// block takes half of the room, and a key and its version fit into one block of the hash.
fn put_asset(out: &mut Vec<u8>, asset: Option<&AssetId>) {
    if let Some(asset) = asset
        && *asset != AssetId::NATIVE
    {
        out.extend_from_slice(asset.as_bytes());
    }
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_list<T>(out: &mut Vec<u8>, items: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    // A length always fits: no machine has more than 2^64 bytes.
    put_u64(out, items.len() as u64);
    for item in items {
        put(out, item);
    }
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    match position {
        None => out.push(0),
        Some(topoheight) => {
            out.push(1);
            put_u64(out, topoheight.as_u64());
        }
    }
}

fn put_delta(out: &mut Vec<u8>, delta: &StateDelta) {
    put_u64(out, delta.len() as u64);
    for (key, value) in delta.iter() {
        put_key(out, key);
        put_version(out, &Version::Known(value.cloned()));
    }
}

fn put_tip(out: &mut Vec<u8>, tip: &Tip) {
    put_u64(out, tip.block.topoheight.as_u64());
    out.extend_from_slice(tip.block.hash.as_bytes());
    put_u64(out, tip.facts.blue_score.as_u64());
    out.push(u8::from(tip.facts.side_block));
    put_u64(out, tip.facts.emitted_supply.as_u64());
    match tip.facts.burned_supply {
        None => out.push(0),
        Some(burned) => {
            out.push(1);
            put_u64(out, burned.as_u64());
        }
    }
    out.extend_from_slice(tip.digest.as_bytes());
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    /// Nothing is reserved for a length that was only claimed: the loop ends with the bytes.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let length = self.u64()?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn position(&mut self) -> Result<Position, Malformed> {
        match self.u8()? {
            0 => Ok(None),
            1 => Ok(Some(TopoHeight::new(self.u64()?))),
            _ => Err(Malformed),
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.0 = self.0.get(bytes..).ok_or(Malformed)?;
        Ok(())
    }

    fn skip_position(&mut self) -> Result<(), Malformed> {
        match self.u8()? {
            0 => Ok(()),
            1 => self.skip(8),
            _ => Err(Malformed),
        }
    }

    fn skip_version(&mut self) -> Result<(), Malformed> {
        match self.u8()? {
            0 | 1 | 5 => Ok(()),
            2 | 3 => self.skip(8),
            4 => {
                self.u8()?;
                let participants = usize::try_from(self.u64()?).map_err(|_| Malformed)?;
                self.skip(participants.checked_mul(32).ok_or(Malformed)?)
            }
            _ => Err(Malformed),
        }
    }

    fn slot(&mut self) -> Result<Slot, Malformed> {
        match self.u8()? {
            1 => Ok(Slot::Nonce),
            2 => Ok(Slot::Balance(self.asset()?)),
            3 => Ok(Slot::Multisig),
            4 => Ok(Slot::Registered),
            5 => Ok(Slot::Balance(AssetId::NATIVE)),
            _ => Err(Malformed),
        }
    }

    fn key(&mut self) -> Result<StateKey, Malformed> {
        let tag = self.u8()?;
        let account = Address::new(self.array()?);
        match tag {
            1 => Ok(StateKey::Nonce(account)),
            2 => Ok(StateKey::Balance(account, self.asset()?)),
            3 => Ok(StateKey::Multisig(account)),
            4 => Ok(StateKey::Registered(account)),
            5 => Ok(StateKey::Balance(account, AssetId::NATIVE)),
            _ => Err(Malformed),
        }
    }

    /// An asset that is not told by the tag.
    fn asset(&mut self) -> Result<AssetId, Malformed> {
        match AssetId::new(self.array()?) {
            AssetId::NATIVE => Err(Malformed),
            asset => Ok(asset),
        }
    }

    fn version(&mut self, key: &StateKey) -> Result<Version, Malformed> {
        let value = match self.u8()? {
            0 => return Ok(Version::Known(None)),
            1 => return Ok(Version::Unknown),
            2 => StateValue::Nonce(Nonce::new(self.u64()?)),
            3 => StateValue::Balance(Amount::new(self.u64()?)),
            4 => StateValue::from(MultisigConfig {
                threshold: self.u8()?,
                participants: self.list(|bytes| bytes.array().map(Address::new))?,
            }),
            5 => StateValue::Registered,
            _ => return Err(Malformed),
        };
        if key.holds(&value) { Ok(Version::Known(Some(value))) } else { Err(Malformed) }
    }

    fn stamped(&mut self, key: &StateKey) -> Result<Stamped, Malformed> {
        Ok(Stamped { written_at: self.position()?, version: self.version(key)? })
    }

    fn delta(&mut self) -> Result<StateDelta, Malformed> {
        let writes = self.list(|bytes| {
            let key = bytes.key()?;
            match bytes.version(&key)? {
                Version::Known(value) => Ok((key, value)),
                // A delta is what a block wrote; what it made unknown is listed on its own.
                Version::Unknown => Err(Malformed),
            }
        })?;
        if !writes.is_sorted_by(|(earlier, _), (later, _)| earlier < later) {
            return Err(Malformed);
        }
        Ok(writes.into_iter().collect())
    }

    fn tip(&mut self) -> Result<Tip, Malformed> {
        Ok(Tip {
            block: BlockRef {
                topoheight: TopoHeight::new(self.u64()?),
                hash: BlockHash::new(self.array()?),
            },
            facts: BlockFacts {
                blue_score: BlueScore::new(self.u64()?),
                side_block: match self.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Malformed),
                },
                emitted_supply: Amount::new(self.u64()?),
                burned_supply: match self.u8()? {
                    0 => None,
                    1 => Some(Amount::new(self.u64()?)),
                    _ => return Err(Malformed),
                },
            },
            digest: StateDigest::new(self.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: Address = Address::new([0xaa; 32]);

    fn stamped(version: Version) -> Stamped {
        Stamped { written_at: None, version }
    }

    fn two_slots() -> [(Slot, Stamped); 2] {
        let amount = Version::Known(Some(StateValue::Balance(Amount::new(7))));
        [
            (Slot::Nonce, stamped(Version::Unknown)),
            (Slot::Balance(AssetId::NATIVE), stamped(amount)),
        ]
    }

    fn read_record(bytes: &[u8]) -> Result<Vec<(Slot, Stamped)>, Malformed> {
        let mut slots = Vec::new();
        each_slot(&ACCOUNT, bytes, |_, slot, stamped| slots.push((slot, stamped)))?;
        Ok(slots)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let slots = two_slots();
        assert_eq!(read_record(&record(&slots, |_| {})), Ok(slots.to_vec()));
    }

    #[test]
    fn slots_in_another_order_or_twice_are_malformed() {
        let [nonce, native] = two_slots();
        assert_eq!(read_record(&record(&[native.clone(), nonce.clone()], |_| {})), Err(Malformed));
        assert_eq!(read_record(&record(&[nonce.clone(), nonce, native], |_| {})), Err(Malformed));
    }

    #[test]
    fn the_native_asset_has_one_form() {
        let [_, native] = two_slots();
        let bytes = record(&[native], |_| {});
        // The length, the tag, and then what follows the asset.
        let (list, rest) = bytes.split_at(8);
        let spelled_out = [list, &[2], &[0; 32], &rest[1..]].concat();
        assert_eq!(read_record(&spelled_out), Err(Malformed));
        let key = [&[2], &ACCOUNT.as_bytes()[..], &[0; 32]].concat();
        assert_eq!(Bytes(&key).key(), Err(Malformed));
    }

    #[test]
    fn a_delta_out_of_order_is_malformed() {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, 2);
        for account in [[2; 32], [1; 32]] {
            put_key(&mut bytes, &StateKey::Nonce(Address::new(account)));
            put_version(&mut bytes, &Version::Known(None));
        }
        assert_eq!(Bytes(&bytes).delta(), Err(Malformed));
    }

    #[test]
    fn what_has_anything_behind_it_is_malformed() {
        let record = [record(&two_slots(), |_| {}), vec![0]].concat();
        assert_eq!(read_record(&record), Err(Malformed));
        let state = [view_state(&ViewState::default()), vec![0]].concat();
        assert_eq!(read_view_state(&state), Err(Malformed));
    }

    #[test]
    fn a_value_of_another_kind_than_its_key_is_malformed() {
        let mut bytes = Vec::new();
        put_version(&mut bytes, &Version::Known(Some(StateValue::Registered)));
        let read = |key| Bytes(&bytes).version(&key);
        assert!(read(StateKey::Registered(ACCOUNT)).is_ok());
        assert_eq!(read(StateKey::Nonce(ACCOUNT)), Err(Malformed));
    }

    #[test]
    fn an_unknown_value_in_a_delta_is_malformed() {
        let mut bytes = Vec::new();
        put_u64(&mut bytes, 1);
        put_key(&mut bytes, &StateKey::Nonce(ACCOUNT));
        put_version(&mut bytes, &Version::Unknown);
        assert_eq!(Bytes(&bytes).delta(), Err(Malformed));
    }

    #[test]
    fn a_length_that_is_only_claimed_takes_no_memory() {
        assert_eq!(Bytes(&[0xff; 64]).list(Bytes::u64), Err(Malformed));
    }
}
