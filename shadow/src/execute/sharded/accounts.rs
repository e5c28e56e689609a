//! The accounts of one range within a block, as far as it got to them.
//!
//! They are in a vector by their places, small and apart from what few of them have, because they are
//! come to in no order, and a lane's speed is that of its cache. What an account had before the block is
//! looked at once, at the end, in order: until then only sums are kept.

use std::{num::NonZeroU32, ops::Range};

use storage_snapshot::{Amount, AssetId, DeltaPart, MultisigConfig, Nonce, StateKey, StateValue};

use super::Stop;
use crate::{execute::PreState, rules::NonceWindow};

/// The accounts of a range. Nobody else touches them.
pub(super) struct Accounts<'a> {
    world: &'a PreState,
    /// The first place of the range.
    first: u32,
    slots: Vec<Slot>,
    /// Those that have sent, in the order in which they came.
    sources: Vec<Source>,
    /// Balances in other assets than the native one.
    others: Vec<OtherBalance>,
    /// By place, in the order in which they were written.
    multisigs: Vec<(u32, Option<MultisigConfig>)>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    native: Sums,
    /// Among the sources.
    source: Option<Index>,
    /// The newest of its balances in other assets.
    others: Option<Index>,
}

/// What became of one balance.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    credits: Amount,
    spent: Amount,
    /// Whether the block credited it, be it with zero.
    credited: bool,
    /// Whether the block debited it, be it by zero.
    debited: bool,
}

struct Source {
    window: NonceWindow,
    /// The nonce that was written.
    written: Option<Nonce>,
}

struct OtherBalance {
    asset: AssetId,
    sums: Sums,
    /// The one of the same account before it.
    next: Option<Index>,
}

/// A place in one of the vectors, as small as it can be.
#[derive(Clone, Copy, Debug)]
struct Index(NonZeroU32);

/// The writes of a range.
#[derive(Debug)]
pub(super) struct Writes {
    /// By kind, in the order of the keys: nonces, balances, multisigs, registrations.
    pub(super) kinds: [DeltaPart; KINDS],
    /// How many values from before the block they took.
    pub(super) loads: u64,
}

/// How many kinds of keys there are.
pub(super) const KINDS: usize = 4;

impl<'a> Accounts<'a> {
    /// Those of a range, of which about so many send something.
    pub(super) fn new(world: &'a PreState, range: Range<u32>, sources: usize) -> Self {
        Self {
            world,
            first: range.start,
            slots: vec![Slot::default(); range.len()],
            sources: Vec::with_capacity(sources.min(range.len())),
            others: Vec::new(),
            multisigs: Vec::new(),
        }
    }

    /// Whether the account at a place has sent nothing yet.
    pub(super) fn is_new_source(&self, place: u32) -> bool {
        let slot = place.checked_sub(self.first).and_then(|nth| self.slots.get(nth as usize));
        slot.is_none_or(|slot| slot.source.is_none())
    }

    /// Whether the account at a place may use a nonce, which is then used. `initial` is the nonce that it had
    /// before the block, if that is known; it is needed only if it is a new source.
    pub(super) fn use_nonce(
        &mut self,
        place: u32,
        nonce: Nonce,
        initial: Option<Option<Nonce>>,
    ) -> Result<bool, Stop> {
        let new = Index::new(self.sources.len());
        let slot = self.slot(place)?;
        let index = match slot.source {
            Some(index) => index,
            None => {
                let initial = initial.ok_or(Stop::UNREADABLE)?.ok_or(Stop::WITHOUT_NONCE)?;
                slot.source = Some(new);
                self.sources.push(Source { window: NonceWindow::new(initial), written: None });
                new
            }
        };
        Ok(self.sources[index.get()].window.use_nonce(nonce).is_some())
    }

    /// Writes the nonce of an account that has used one.
    pub(super) fn write_nonce(&mut self, place: u32, nonce: Nonce) -> Result<(), Stop> {
        if let Some(index) = self.slot(place)?.source {
            self.sources[index.get()].written = Some(nonce);
        }
        Ok(())
    }

    /// After an executed transaction the account's nonce is the highest expected one.
    pub(super) fn settle_nonce(&mut self, place: u32) -> Result<(), Stop> {
        if let Some(index) = self.slot(place)?.source {
            let source = &mut self.sources[index.get()];
            source.written = Some(source.window.expected());
        }
        Ok(())
    }

    pub(super) fn debit(&mut self, place: u32, asset: AssetId, amount: Amount) -> Result<(), Stop> {
        let sums = self.sums(place, asset)?;
        sums.spent = sums.spent.saturating_add(amount);
        sums.debited = true;
        Ok(())
    }

    pub(super) fn credit(
        &mut self,
        place: u32,
        asset: AssetId,
        amount: Amount,
    ) -> Result<(), Stop> {
        let sums = self.sums(place, asset)?;
        sums.credits = sums.credits.checked_add(amount).ok_or(Stop::CREDIT_OVERFLOW)?;
        sums.credited = true;
        Ok(())
    }

    pub(super) fn write_multisig(&mut self, place: u32, config: Option<MultisigConfig>) {
        self.multisigs.push((place, config));
    }

    /// The writes: every touched key once, with its value at the end.
    pub(super) fn into_writes(mut self) -> Result<Writes, Stop> {
        let world = self.world;
        let mut nonces = Vec::with_capacity(self.sources.len());
        let mut balances = Vec::with_capacity(self.slots.len() + self.others.len());
        let (mut multisigs, mut registrations) = (Vec::new(), Vec::new());
        let mut loads = self.sources.len() as u64;
        let mut others = Vec::new();
        let accounts = &world.accounts()[self.first as usize..];
        for ((place, account), slot) in (self.first as usize..).zip(accounts).zip(&self.slots) {
            others.clear();
            let mut next = slot.others;
            while let Some(balance) = next.and_then(|index| self.others.get(index.get())) {
                others.push((balance.asset, balance.sums));
                next = balance.next;
            }
            others.sort_unstable_by_key(|(asset, _)| *asset);

            let account = *account;
            let mut credited = false;
            // The native asset has the lowest number of all.
            let native = (AssetId::NATIVE, slot.native);
            for (asset, sums) in std::iter::once(native).chain(others.iter().copied()) {
                if !(sums.credited || sums.debited) {
                    continue;
                }
                credited |= sums.credited;
                let before = world.balance_at(place, asset).map_err(|_| Stop::UNREADABLE)?;
                let held = before.checked_add(sums.credits).ok_or(Stop::CREDIT_OVERFLOW)?;
                let after = StateValue::Balance(held.wrapping_sub(sums.spent));
                balances.push((StateKey::Balance(account, asset), Some(after)));
                loads += 1;
            }
            let written = slot.source.and_then(|index| self.sources.get(index.get())?.written);
            let nonce = match written {
                None if credited => {
                    let before = world.nonce_at(place).map_err(|_| Stop::UNREADABLE)?;
                    before.is_none().then_some(Nonce::new(0))
                }
                written => written,
            };
            if let Some(nonce) = nonce {
                nonces.push((StateKey::Nonce(account), Some(StateValue::Nonce(nonce))));
            }
            if credited && !world.is_registered_at(place).map_err(|_| Stop::UNREADABLE)? {
                let write = (StateKey::Registered(account), Some(StateValue::Registered));
                registrations.push(write);
            }
        }
        // Of one account the last one written stays.
        self.multisigs.sort_by_key(|(place, _)| *place);
        let mut written = self.multisigs.into_iter().peekable();
        while let Some((place, config)) = written.next() {
            if written.peek().is_none_or(|(next, _)| *next != place) {
                let key = StateKey::Multisig(world.accounts()[place as usize]);
                multisigs.push((key, config.map(StateValue::from)));
            }
        }
        let kinds = [nonces, balances, multisigs, registrations];
        let kinds = kinds.map(|writes: Vec<(StateKey, _)>| writes.into_iter().collect());
        Ok(Writes { kinds, loads })
    }

    /// The sums of a balance, which are then kept.
    fn sums(&mut self, place: u32, asset: AssetId) -> Result<&mut Sums, Stop> {
        if asset == AssetId::NATIVE {
            return Ok(&mut self.slot(place)?.native);
        }
        let newest = self.slot(place)?.others;
        let mut next = newest;
        while let Some(index) = next {
            let balance = &self.others[index.get()];
            if balance.asset == asset {
                return Ok(&mut self.others[index.get()].sums);
            }
            next = balance.next;
        }
        let index = Index::new(self.others.len());
        self.slot(place)?.others = Some(index);
        self.others.push(OtherBalance { asset, sums: Sums::default(), next: newest });
        Ok(&mut self.others[index.get()].sums)
    }

    fn slot(&mut self, place: u32) -> Result<&mut Slot, Stop> {
        let slot = place.checked_sub(self.first).and_then(|nth| self.slots.get_mut(nth as usize));
        slot.ok_or(Stop::Elsewhere)
    }
}

impl Index {
    const fn new(index: usize) -> Self {
        // A block of 2^32-1 transactions fits into no memory.
        match NonZeroU32::new((index + 1) as u32) {
            Some(number) => Self(number),
            None => Self(NonZeroU32::MAX),
        }
    }

    const fn get(self) -> usize {
        self.0.get() as usize - 1
    }
}
