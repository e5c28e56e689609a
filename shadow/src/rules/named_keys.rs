//! The keys that a block names, and so may touch.
//!
//! They make up the closed world that the block is executed in. They are derived from the block,
//! never from what an execution says it touched: a candidate that drops an account from its own
//! list would otherwise hide its own fault.

use std::{collections::HashMap, iter};

use storage_snapshot::{Address, AssetId, StateKey, UniformState};

use crate::chain::{Transaction, TransactionData};

/// Nonce, multisig and registration of some accounts, and their balances in the native asset and in
/// others: sorted, each once.
///
/// Kept by account, because that is how they are asked for: a key is found with one look-up of its
/// account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedKeys {
    /// In order.
    accounts: Vec<Address>,
    /// The place of each account among the accounts.
    places: HashMap<Address, u32, UniformState>,
    /// The assets that come with each account, in the order of the accounts; sorted for each.
    assets: Vec<AssetId>,
    /// Where the assets of each account begin, and where the last ones end.
    starts: Vec<u32>,
    /// The places of the accounts that the transactions name, in the order in which they do: of each
    /// its source and then its destinations. Only of keys that were made of a block.
    mentions: Vec<u32>,
    /// Where the mentions of each transaction begin, and where the last ones end.
    mentions_from: Vec<u32>,
}

impl NamedKeys {
    /// What a block names: miner, dev key, sources and destinations, the native asset with each of
    /// them, and the assets that a transaction moves with those between whom it moves them.
    pub fn of_block<'a>(
        miner: &Address,
        dev: &Address,
        transactions: impl ExactSizeIterator<Item = &'a Transaction>,
    ) -> Self {
        let mut named = Naming::with_capacity(transactions.len() * 2);
        named.account(miner);
        named.account(dev);
        let mut mentions_from = Vec::with_capacity(transactions.len() + 1);
        for transaction in transactions {
            mentions_from.push(named.mentions.len() as u32);
            let source = named.mention(&transaction.source);
            match &transaction.data {
                TransactionData::Transfers(transfers) => {
                    for transfer in transfers {
                        let destination = named.mention(&transfer.destination);
                        named.asset(source, transfer.asset);
                        named.asset(destination, transfer.asset);
                    }
                }
                TransactionData::Burn { asset, .. } => named.asset(source, *asset),
                TransactionData::Multisig(_) => {}
                TransactionData::Opaque(opaque) => {
                    opaque.deposits().for_each(|(asset, _)| named.asset(source, asset));
                }
            }
        }
        mentions_from.push(named.mentions.len() as u32);
        NamedKeys { mentions_from, ..named.sorted() }
    }

    /// Whether every account that a block names is among the accounts.
    pub fn names<'a>(
        &self,
        miner: &Address,
        dev: &Address,
        transactions: impl Iterator<Item = &'a Transaction>,
    ) -> bool {
        let mut walk = self.walk();
        let mut transactions = transactions.enumerate();
        self.place(miner).is_some()
            && self.place(dev).is_some()
            && transactions.all(|(number, transaction)| {
                walk.go_to(number);
                transaction.accounts().all(|account| walk.place(account).is_some())
            })
    }

    /// The accounts in order.
    pub fn accounts(&self) -> &[Address] {
        &self.accounts
    }

    /// Finds the places of accounts among the [`accounts`](Self::accounts), without a search if they are
    /// those of the transactions.
    pub const fn walk(&self) -> Walk<'_> {
        Walk { keys: self, source: usize::MAX, next: usize::MAX }
    }

    /// For every transaction the places of the accounts that it names, its source first. Only of keys that
    /// were made of a block.
    pub fn mentions(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        let bounds = self.mentions_from.windows(2);
        bounds.map(|bounds| &self.mentions[bounds[0] as usize..bounds[1] as usize])
    }

    /// The place of the source of the transaction with a number. Only of keys that were made of a block.
    pub fn source(&self, transaction: usize) -> Option<usize> {
        let first = *self.mentions_from.get(transaction)?;
        self.mentions.get(first as usize).map(|place| *place as usize)
    }

    /// The keys in order.
    pub fn iter(&self) -> impl Iterator<Item = StateKey> {
        let accounts = || self.accounts.iter().copied();
        let balances = (0..self.accounts.len()).flat_map(|place| {
            let account = self.accounts[place];
            self.assets_at(place).iter().map(move |asset| StateKey::Balance(account, *asset))
        });
        accounts()
            .map(StateKey::Nonce)
            .chain(balances)
            .chain(accounts().map(StateKey::Multisig))
            .chain(accounts().map(StateKey::Registered))
    }

    /// Tells the keys of the account at a place, each with its [`position`](Self::position).
    #[inline]
    pub fn for_each_at(&self, place: usize, mut each: impl FnMut(usize, StateKey)) {
        let account = self.accounts[place];
        each(self.nonce_position(place), StateKey::Nonce(account));
        let first = self.accounts.len() + self.starts[place] as usize;
        for (position, asset) in (first..).zip(self.assets_at(place)) {
            each(position, StateKey::Balance(account, *asset));
        }
        each(self.multisigs_from() + place, StateKey::Multisig(account));
        each(self.registered_position(place), StateKey::Registered(account));
    }

    /// Where a key comes in the order of the keys; `None` if it is not among them.
    pub fn position(&self, key: &StateKey) -> Option<usize> {
        self.position_at(self.place(key.account())?, key)
    }

    /// Finds positions one after another, without a search if asked in the order of the keys.
    pub fn finder(&self) -> Finder<'_> {
        Finder { keys: self, next: 0 }
    }

    /// Whether a key is among them.
    pub fn contains(&self, key: &StateKey) -> bool {
        self.position(key).is_some()
    }

    /// How many of them are of balances.
    pub fn balances(&self) -> usize {
        self.assets.len()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.accounts.len() * 3 + self.assets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Where an account comes among the accounts.
    pub fn place(&self, account: &Address) -> Option<usize> {
        self.places.get(account).map(|place| *place as usize)
    }

    /// The [`position`](Self::position) of a key of the account at a place.
    // Where the kind of the key is known nearly nothing is left of it.
    #[inline(always)]
    pub(crate) fn position_at(&self, place: usize, key: &StateKey) -> Option<usize> {
        match key {
            StateKey::Nonce(_) => Some(self.nonce_position(place)),
            StateKey::Balance(_, asset) => self.balance_position(place, asset),
            StateKey::Multisig(_) => Some(self.multisigs_from() + place),
            StateKey::Registered(_) => Some(self.registered_position(place)),
        }
    }

    /// The position of the nonce of the account at a place.
    pub(crate) const fn nonce_position(&self, place: usize) -> usize {
        place
    }

    /// The position of a balance of the account at a place.
    #[inline(always)]
    pub(crate) fn balance_position(&self, place: usize, asset: &AssetId) -> Option<usize> {
        // The native asset comes with every account, and first.
        let nth = match *asset == AssetId::NATIVE {
            true => 0,
            false => self.assets_at(place).iter().position(|named| named == asset)?,
        };
        Some(self.accounts.len() + self.starts[place] as usize + nth)
    }

    /// The position of the registration of the account at a place.
    pub(crate) fn registered_position(&self, place: usize) -> usize {
        self.registrations_from() + place
    }

    fn assets_at(&self, place: usize) -> &[AssetId] {
        &self.assets[self.starts[place] as usize..self.starts[place + 1] as usize]
    }

    fn multisigs_from(&self) -> usize {
        self.accounts.len() + self.assets.len()
    }

    fn registrations_from(&self) -> usize {
        self.multisigs_from() + self.accounts.len()
    }
}

impl<'a> FromIterator<&'a StateKey> for NamedKeys {
    /// The accounts of these keys, with all that comes with an account.
    fn from_iter<I: IntoIterator<Item = &'a StateKey>>(keys: I) -> Self {
        let mut named = Naming::default();
        for key in keys {
            let account = named.account(key.account());
            if let Some(asset) = key.asset() {
                named.asset(account, *asset);
            }
        }
        named.sorted()
    }
}

/// Finds the positions of keys, and looks first where the next ones in order would be.
#[derive(Clone, Debug)]
pub struct Finder<'a> {
    keys: &'a NamedKeys,
    /// The place after the account that was found last.
    next: usize,
}

impl Finder<'_> {
    /// As [`NamedKeys::position`].
    #[inline]
    pub fn position(&mut self, key: &StateKey) -> Option<usize> {
        let place = self.place(key.account())?;
        self.keys.position_at(place, key)
    }

    /// As [`NamedKeys::place`].
    #[inline]
    pub fn place(&mut self, account: &Address) -> Option<usize> {
        // Who asks in order leaves out some accounts, and asks more than once for others.
        let (from, wanted) = (self.next.saturating_sub(1), account.prefix());
        let near = self.keys.accounts.get(from..).unwrap_or_default().iter().take(NEAR);
        let place = from + near.take_while(|named| named.prefix() < wanted).count();
        let place = match self.keys.accounts.get(place) {
            Some(named) if named == account => place,
            _ => self.keys.place(account)?,
        };
        self.next = place + 1;
        Some(place)
    }
}

/// Within how many places an account is looked for before its hash is.
const NEAR: usize = 16;

/// Finds the places of accounts, and looks first where a transaction names them.
///
/// Where it looks is only ever a guess: an account is at a place if it is the one that stands there.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    keys: &'a NamedKeys,
    /// The place of the transaction's source.
    source: usize,
    /// The mention that is likely the next one.
    next: usize,
}

impl Walk<'_> {
    /// Goes to a transaction, by its number in the block.
    pub fn go_to(&mut self, transaction: usize) {
        self.next = match self.keys.mentions_from.get(transaction) {
            Some(first) => *first as usize,
            None => usize::MAX,
        };
        self.source = self.mentioned();
        self.next = self.next.saturating_add(1);
    }

    /// As [`NamedKeys::place`].
    pub fn place(&mut self, account: &Address) -> Option<usize> {
        if self.keys.accounts.get(self.source) == Some(account) {
            return Some(self.source);
        }
        let likely = self.mentioned();
        if self.keys.accounts.get(likely) == Some(account) {
            self.next += 1;
            return Some(likely);
        }
        self.keys.place(account)
    }

    fn mentioned(&self) -> usize {
        self.keys.mentions.get(self.next).map_or(usize::MAX, |place| *place as usize)
    }
}

/// Accounts and assets in the order in which they are named.
#[derive(Default)]
struct Naming {
    accounts: Vec<Address>,
    places: HashMap<Address, u32, UniformState>,
    /// Apart from the native one, which comes with every account.
    assets: Vec<(u32, AssetId)>,
    mentions: Vec<u32>,
}

impl Naming {
    fn with_capacity(accounts: usize) -> Self {
        Self {
            accounts: Vec::with_capacity(accounts),
            places: HashMap::with_capacity_and_hasher(accounts, Default::default()),
            assets: Vec::new(),
            mentions: Vec::with_capacity(accounts),
        }
    }

    /// Names an account that a transaction names.
    fn mention(&mut self, account: &Address) -> u32 {
        let named = self.account(account);
        self.mentions.push(named);
        named
    }

    fn account(&mut self, account: &Address) -> u32 {
        *self.places.entry(*account).or_insert_with(|| {
            self.accounts.push(*account);
            // A block of 2^32 accounts fits into no memory.
            (self.accounts.len() - 1) as u32
        })
    }

    fn asset(&mut self, account: u32, asset: AssetId) {
        if asset != AssetId::NATIVE {
            self.assets.push((account, asset));
        }
    }

    fn sorted(mut self) -> NamedKeys {
        // The first bytes nearly always decide, and fit into a register.
        let mut order: Vec<(u64, u32)> =
            (0..).zip(&self.accounts).map(|(named, account)| (account.prefix(), named)).collect();
        let account = |named: u32| &self.accounts[named as usize];
        order.sort_unstable_by(|(one_prefix, one), (other_prefix, other)| {
            one_prefix.cmp(other_prefix).then_with(|| account(*one).cmp(account(*other)))
        });
        let mut place_of = vec![0; order.len()];
        for (place, (_, named)) in (0_u32..).zip(&order) {
            place_of[*named as usize] = place;
        }

        for (place, _) in &mut self.assets {
            *place = place_of[*place as usize];
        }
        self.assets.sort_unstable();
        self.assets.dedup();
        let mut others = self.assets.into_iter().peekable();
        let mut assets = Vec::with_capacity(order.len() + others.len());
        let mut starts = Vec::with_capacity(order.len() + 1);
        for place in (0_u32..).take(order.len()) {
            starts.push(assets.len() as u32);
            // Its number is the lowest, so it comes first.
            assets.push(AssetId::NATIVE);
            assets.extend(iter::from_fn(|| others.next_if(|(at, _)| *at == place)).map(|(_, a)| a));
        }
        starts.push(assets.len() as u32);

        let accounts = order.iter().map(|(_, named)| *account(*named)).collect();
        let mut places = self.places;
        for place in places.values_mut() {
            *place = place_of[*place as usize];
        }
        let mut mentions = self.mentions;
        for mention in &mut mentions {
            *mention = place_of[*mention as usize];
        }
        NamedKeys { accounts, places, assets, starts, mentions, mentions_from: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = Vec<StateKey>> {
        let account = (0..4_u8, 0..4_u8).prop_map(|(first, last)| {
            let mut bytes = [first; 32];
            bytes[31] = last;
            Address::new(bytes)
        });
        let asset = (0..4_u8).prop_map(|byte| AssetId::new([byte; 32]));
        let key = (account, asset, 0..4_u8).prop_map(|(account, asset, kind)| match kind {
            0 => StateKey::Nonce(account),
            1 => StateKey::Balance(account, asset),
            2 => StateKey::Multisig(account),
            _ => StateKey::Registered(account),
        });
        prop::collection::vec(key, 0..40)
    }

    proptest! {
        #[test]
        fn the_keys_of_the_accounts_are_in_order_and_found_at_their_position(listed in keys()) {
            let mut model = BTreeSet::new();
            for key in &listed {
                let account = *key.account();
                model.extend([
                    *key,
                    StateKey::Nonce(account),
                    StateKey::Balance(account, AssetId::NATIVE),
                    StateKey::Multisig(account),
                    StateKey::Registered(account),
                ]);
            }
            let named: NamedKeys = listed.iter().collect();
            prop_assert!(named.iter().eq(model.iter().copied()));
            prop_assert_eq!(named.len(), model.len());
            prop_assert_eq!(named.is_empty(), model.is_empty());
            for (position, key) in model.iter().enumerate() {
                prop_assert_eq!(named.position(key), Some(position));
            }
            let mut by_account = Vec::new();
            for place in 0..named.accounts().len() {
                let first = by_account.len();
                named.for_each_at(place, |position, key| by_account.push((position, key)));
                let account = named.accounts()[place];
                prop_assert!(by_account[first..].iter().all(|(_, key)| *key.account() == account));
            }
            prop_assert!(by_account.is_sorted_by_key(|(_, key)| *key.account()));
            by_account.sort_unstable();
            prop_assert!(by_account.into_iter().eq(model.iter().copied().enumerate()));
        }

        #[test]
        fn a_key_that_is_not_named_has_no_position(listed in keys(), asked in keys()) {
            let named: NamedKeys = listed.iter().collect();
            for key in asked {
                prop_assert_eq!(named.contains(&key), named.iter().any(|other| other == key));
            }
        }

        #[test]
        fn a_finder_finds_the_same_in_order_and_out_of_it(listed in keys(), asked in keys()) {
            let named: NamedKeys = listed.iter().collect();
            let mut finder = named.finder();
            for key in named.iter().chain(asked) {
                prop_assert_eq!(finder.position(&key), named.position(&key));
            }
        }
    }
}
