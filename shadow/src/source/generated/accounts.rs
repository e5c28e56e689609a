//! The people of a generated chain, and what they would know of themselves.

use std::collections::{HashMap, HashSet};

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateDelta, StateKey, StateValue};

use super::{ASSETS, THIRD_ASSET};

/// Every account that may send, with its next nonce.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    seed: u64,
    users: Vec<User>,
    /// How many of the users were there from the start. They stay.
    founders: usize,
    /// How many have joined since.
    joined: usize,
    miners: Vec<User>,
    dev: User,
    /// Two that pay each other large amounts of any asset, and nobody else.
    large: [User; 2],
    /// Pairs that hand one huge amount to and fro, each in its asset.
    huge: [HugePair; 2],
    /// Has almost all the units that a balance can hold, so that most credits overflow.
    rich: Address,
    /// Users with a multisig configuration that a block before set.
    guarded: Vec<usize>,
    /// How many accounts were ever named, for names of new ones.
    named: u64,
}

/// An account that sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) address: Address,
    pub(super) nonce: Nonce,
}

/// Two accounts of which one has [`HUGE`] units more than the other.
#[derive(Clone, Copy, Debug)]
struct HugePair {
    asset: AssetId,
    users: [User; 2],
    holder: usize,
}

/// Which account sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    User(usize),
    Miner(usize),
    Dev,
    /// One of the two with large amounts.
    Large(usize),
    /// Of a pair with a huge amount, the one or the other.
    Huge(usize, usize),
}

impl Accounts {
    /// As many users as blocks of this size need when nobody meets anybody, and some more.
    pub(super) fn new(seed: u64, transactions_per_block: usize) -> Self {
        let mut named = 0;
        let mut new_user = || {
            let user = User { address: address_of(seed, named), nonce: Nonce::new(0) };
            named += 1;
            user
        };
        let dev = new_user();
        let rich = new_user().address;
        let miners = (0..MINERS).map(|_| new_user()).collect();
        let large = [new_user(), new_user()];
        let huge = [AssetId::NATIVE, THIRD_ASSET].map(|asset| HugePair {
            asset,
            users: [new_user(), new_user()],
            holder: 0,
        });
        let founders = USERS_MIN.max(transactions_per_block * 4);
        let users = (0..founders).map(|_| new_user()).collect();
        let guarded = Vec::new();
        Self { seed, users, founders, joined: 0, miners, dev, large, huge, rich, guarded, named }
    }

    /// What everybody has before the first block. The dev key has nothing: the first block makes it.
    pub(super) fn base_state(&self) -> StateDelta {
        let mut base = Vec::new();
        let mut found = |address: Address, balance: &dyn Fn(AssetId) -> u64| {
            base.push((StateKey::Registered(address), Some(StateValue::Registered)));
            base.push((StateKey::Nonce(address), Some(StateValue::Nonce(Nonce::new(0)))));
            base.extend(ASSETS.map(|asset| {
                let balance = StateValue::Balance(Amount::new(balance(asset)));
                (StateKey::Balance(address, asset), Some(balance))
            }));
        };
        for user in self.users.iter().chain(&self.miners) {
            found(user.address, &|_| WEALTH);
        }
        for user in &self.large {
            found(user.address, &|_| LARGE_WEALTH);
        }
        for pair in &self.huge {
            for (index, user) in pair.users.iter().enumerate() {
                let holds = index == pair.holder;
                let huge = |asset| if holds && asset == pair.asset { HUGE } else { 0 };
                found(user.address, &|asset| HUGE_CHANGE + huge(asset));
            }
        }
        found(self.rich, &|_| u64::MAX - RICH_ROOM);
        base.into_iter().collect()
    }

    pub(super) fn dev(&self) -> Address {
        self.dev.address
    }

    pub(super) fn rich(&self) -> Address {
        self.rich
    }

    pub(super) fn miner(&self, random: &mut ChaCha8Rng) -> Address {
        // The list is never empty.
        self.miners.choose(random).map_or(self.dev.address, |miner| miner.address)
    }

    pub(super) fn address(&self, sender: Sender) -> Address {
        self.user(sender).address
    }

    /// The sender that mines under this address.
    pub(super) fn miner_sender(&self, address: &Address) -> Sender {
        // Who is none of the miners is the dev key, the only other account that mines.
        self.miners
            .iter()
            .position(|miner| miner.address == *address)
            .map_or(Sender::Dev, Sender::Miner)
    }

    /// Who has the huge amount of a pair, who will have it, and of which asset it is: the amount is
    /// handed over.
    pub(super) fn hand_over(&mut self, pair: usize) -> (Sender, Sender, AssetId) {
        let HugePair { asset, holder, .. } = self.huge[pair];
        let receiver = 1 - holder;
        self.huge[pair].holder = receiver;
        (Sender::Huge(pair, holder), Sender::Huge(pair, receiver), asset)
    }

    /// The sender's next nonce.
    pub(super) fn nonce(&self, sender: Sender) -> Nonce {
        self.user(sender).nonce
    }

    /// The sender's next nonce, which is used up.
    pub(super) fn take_nonce(&mut self, sender: Sender) -> Nonce {
        let nonce = self.nonce(sender);
        self.use_nonce(sender, nonce);
        nonce
    }

    /// The sender uses this nonce, which may leave a gap or fill one.
    pub(super) fn use_nonce(&mut self, sender: Sender, nonce: Nonce) {
        let user = match sender {
            Sender::User(index) => &mut self.users[index],
            Sender::Miner(index) => &mut self.miners[index],
            Sender::Dev => &mut self.dev,
            Sender::Large(index) => &mut self.large[index],
            Sender::Huge(pair, index) => &mut self.huge[pair].users[index],
        };
        user.nonce = user.nonce.max(Nonce::new(nonce.as_u64() + 1));
    }

    /// The one of a pair has handed the huge amount over to the other.
    pub(super) fn handed_over(&mut self, pair: usize, from: usize) {
        self.huge[pair].holder = 1 - from;
    }

    /// Which of some addresses may send, and as whom.
    pub(super) fn senders(
        &self,
        addresses: &HashSet<Address, ahash::RandomState>,
    ) -> HashMap<Address, Sender, ahash::RandomState> {
        let all = (0..self.users.len())
            .map(Sender::User)
            .chain((0..self.miners.len()).map(Sender::Miner))
            .chain([Sender::Dev])
            .chain((0..self.large.len()).map(Sender::Large))
            .chain([(0, 0), (0, 1), (1, 0), (1, 1)].map(|(pair, one)| Sender::Huge(pair, one)));
        all.map(|sender| (self.address(sender), sender))
            .filter(|(address, _)| addresses.contains(address))
            .collect()
    }

    /// Takes no name that was given in another branch, so that no two there are the same.
    pub(super) fn name_on(&mut self, other: &Self) {
        self.named = self.named.max(other.named);
    }

    /// Somebody nobody has heard of.
    pub(super) fn new_address(&mut self) -> Address {
        self.named += 1;
        address_of(self.seed, self.named - 1)
    }

    /// Lets an account that was just made send in later blocks. Once there are enough, the one that
    /// came before all others sends no more, so that a chain of any length is made with as much memory.
    pub(super) fn join(&mut self, address: Address) -> Sender {
        let newcomer = User { address, nonce: Nonce::new(0) };
        let index = self.founders + self.joined % NEWCOMERS_MAX;
        self.joined += 1;
        match self.users.get_mut(index) {
            Some(leaving) => {
                *leaving = newcomer;
                self.forget_guarded(index);
            }
            None => self.users.push(newcomer),
        }
        Sender::User(index)
    }

    /// Remembers that a user has a multisig configuration after the block.
    pub(super) fn guard(&mut self, user: usize) {
        if self.guarded.len() < GUARDED_MAX && !self.guarded.contains(&user) {
            self.guarded.push(user);
        }
    }

    /// A user that has one since an earlier block, who is going to delete it.
    pub(super) fn unguard(&mut self, random: &mut ChaCha8Rng) -> Option<usize> {
        if self.guarded.is_empty() {
            return None;
        }
        let at = random.random_range(0..self.guarded.len());
        Some(self.guarded.swap_remove(at))
    }

    /// The user deleted its configuration on another occasion.
    pub(super) fn forget_guarded(&mut self, user: usize) {
        self.guarded.retain(|guarded| *guarded != user);
    }

    /// One of those who were there from the start and can afford to found another account.
    pub(super) fn founder(&self, random: &mut ChaCha8Rng) -> Sender {
        Sender::User(random.random_range(0..self.founders))
    }

    /// Any user, each as often as any other.
    pub(super) fn any_user(&self, random: &mut ChaCha8Rng) -> usize {
        random.random_range(0..self.users.len())
    }

    /// A user, the first ones by far the most often: each rank about half as often as one half as
    /// high, which is Zipf's law.
    pub(super) fn popular_user(&self, random: &mut ChaCha8Rng) -> usize {
        // Every length of a rank in bits is as likely as any other, and within a length every rank.
        let bits = random.random_range(0..=self.users.len().ilog2());
        let first = 1_usize << bits;
        let rank = random.random_range(first..first * 2);
        // Of the last length not every rank is taken; half of one that is not is of the length before.
        let rank = if rank > self.users.len() { rank / 2 } else { rank };
        rank - 1
    }

    /// So many founders in a row, all different and none of them `except`.
    pub(super) fn others(
        &self,
        count: usize,
        except: Address,
        random: &mut ChaCha8Rng,
    ) -> Vec<Address> {
        let from = random.random_range(0..self.founders);
        let in_a_circle = self.users.iter().take(self.founders).cycle().skip(from);
        let addresses = in_a_circle.map(|user| user.address);
        addresses.filter(|address| *address != except).take(count).collect()
    }

    fn user(&self, sender: Sender) -> &User {
        match sender {
            Sender::User(index) => &self.users[index],
            Sender::Miner(index) => &self.miners[index],
            Sender::Dev => &self.dev,
            Sender::Large(index) => &self.large[index],
            Sender::Huge(pair, index) => &self.huge[pair].users[index],
        }
    }
}

fn address_of(seed: u64, number: u64) -> Address {
    let mut hasher = blake3::Hasher::new_derive_key("shadow generated chain, account");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    Address::new(*hasher.finalize().as_bytes())
}

const MINERS: usize = 3;
const USERS_MIN: usize = 256;

/// How many send that were not there from the start. A newcomer does so for thousands of blocks.
pub(super) const NEWCOMERS_MAX: usize = 4096;

const GUARDED_MAX: usize = 256;

/// Enough of each asset to pay for a very long soak.
const WEALTH: u64 = 1_000_000_000_000_000;

/// What the two with large amounts have of each asset: more than they ever send in one direction,
/// and far from what a balance can hold.
const LARGE_WEALTH: u64 = 1 << 60;

/// The amount that a pair hands to and fro. Together with the change of either of them it is less
/// than a balance can hold.
pub(super) const HUGE: u64 = u64::MAX - (1 << 40);

/// What each of a pair has besides, for fees.
const HUGE_CHANGE: u64 = 1 << 39;

/// How much more the rich account can hold of each asset.
pub(super) const RICH_ROOM: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_accounts_are_made_no_more_of_them_send() {
        let mut accounts = Accounts::new(1, 60);
        let founders = accounts.users.clone();
        let made: Vec<_> = (0..NEWCOMERS_MAX * 2 + 7).map(|_| accounts.new_address()).collect();
        for address in &made {
            let sender = accounts.join(*address);
            assert_eq!(
                (accounts.address(sender), accounts.nonce(sender)),
                (*address, Nonce::new(0))
            );
            accounts.take_nonce(sender);
        }
        let sending: HashSet<_> = accounts.users.iter().map(|user| user.address).collect();
        let newest = made[made.len() - NEWCOMERS_MAX..].iter();
        let expected = founders.iter().map(|user| &user.address).chain(newest).copied();
        assert_eq!(sending, expected.collect());
        assert_eq!(accounts.users.len(), founders.len() + NEWCOMERS_MAX);
    }

    #[test]
    fn who_takes_the_place_of_a_guarded_account_is_not_guarded() {
        let mut accounts = Accounts::new(1, 60);
        let founder = 3;
        accounts.guard(founder);
        for _ in 0..=NEWCOMERS_MAX {
            let address = accounts.new_address();
            match accounts.join(address) {
                Sender::User(user) if !accounts.guarded.contains(&user) => accounts.guard(user),
                other => panic!("{other:?}"),
            }
        }
        assert!(accounts.guarded.contains(&founder));
    }
}
