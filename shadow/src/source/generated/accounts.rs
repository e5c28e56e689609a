//! The people of a generated chain, and what they would know of themselves.

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateDelta};

use super::SECOND_ASSET;

/// Every account that may send, with its next nonce.
#[derive(Debug)]
pub(super) struct Accounts {
    seed: u64,
    users: Vec<User>,
    /// How many of the users were there from the start.
    founders: usize,
    miners: Vec<User>,
    dev: User,
    /// Has almost all the units that a balance can hold, so that most credits overflow.
    rich: Address,
    /// How many accounts were ever named, for names of new ones.
    named: u64,
}

/// An account that sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct User {
    pub(super) address: Address,
    pub(super) nonce: Nonce,
}

/// Which account sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    User(usize),
    Miner(usize),
    Dev,
}

impl Accounts {
    /// As many users as blocks of this size need when nobody meets anybody, and some more.
    pub(super) fn new(seed: u64, transactions_per_block: usize) -> Self {
        let mut accounts = Self {
            seed,
            users: Vec::new(),
            founders: 0,
            miners: Vec::new(),
            dev: User { address: Address::new([0; 32]), nonce: Nonce::new(0) },
            rich: Address::new([0; 32]),
            named: 0,
        };
        accounts.dev.address = accounts.new_address();
        accounts.rich = accounts.new_address();
        for _ in 0..MINERS {
            let miner = accounts.new_user();
            accounts.miners.push(miner);
        }
        for _ in 0..USERS_MIN.max(transactions_per_block * 4) {
            let user = accounts.new_user();
            accounts.users.push(user);
        }
        accounts.founders = accounts.users.len();
        accounts
    }

    /// What everybody has before the first block. The dev key has nothing: the first block makes it.
    pub(super) fn base_state(&self) -> StateDelta {
        let mut base = StateDelta::new();
        let mut found = |address: Address, native: u64, second: u64| {
            base.register(address);
            base.set_nonce(address, Nonce::new(0));
            base.set_balance(address, AssetId::NATIVE, Amount::new(native));
            base.set_balance(address, SECOND_ASSET, Amount::new(second));
        };
        for user in self.users.iter().chain(&self.miners) {
            found(user.address, WEALTH, WEALTH);
        }
        found(self.rich, u64::MAX - 10, u64::MAX - 10);
        base
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

    pub(super) fn users(&self) -> usize {
        self.users.len()
    }

    pub(super) fn address(&self, sender: Sender) -> Address {
        self.user(sender).address
    }

    /// The sender that has this address, if it can send.
    pub(super) fn miner_sender(&self, address: &Address) -> Option<Sender> {
        self.miners.iter().position(|miner| miner.address == *address).map(Sender::Miner)
    }

    /// The sender's next nonce, which is used up.
    pub(super) fn take_nonce(&mut self, sender: Sender) -> Nonce {
        let user = match sender {
            Sender::User(index) => &mut self.users[index],
            Sender::Miner(index) => &mut self.miners[index],
            Sender::Dev => &mut self.dev,
        };
        let nonce = user.nonce;
        user.nonce = Nonce::new(nonce.as_u64() + 1);
        nonce
    }

    /// Somebody nobody has heard of.
    pub(super) fn new_address(&mut self) -> Address {
        let mut hasher = blake3::Hasher::new_derive_key("shadow generated chain, account");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&self.named.to_le_bytes());
        self.named += 1;
        Address::new(*hasher.finalize().as_bytes())
    }

    /// Lets an account that was just made send in later blocks.
    pub(super) fn join(&mut self, address: Address) {
        if self.users.len() < USERS_MAX {
            self.users.push(User { address, nonce: Nonce::new(0) });
        }
    }

    /// One of those who were there from the start and can afford to found another account.
    pub(super) fn founder(&self, random: &mut ChaCha8Rng) -> Sender {
        Sender::User(random.random_range(0..self.founders))
    }

    /// A user, the first ones by far the most often.
    pub(super) fn popular_user(&self, random: &mut ChaCha8Rng) -> usize {
        let uniform: f64 = random.random();
        // The rank grows with the exponential of a uniform number, which is Zipf's law.
        let rank = (self.users.len() as f64).powf(uniform) - 1.0;
        (rank as usize).min(self.users.len() - 1)
    }

    fn user(&self, sender: Sender) -> &User {
        match sender {
            Sender::User(index) => &self.users[index],
            Sender::Miner(index) => &self.miners[index],
            Sender::Dev => &self.dev,
        }
    }

    fn new_user(&mut self) -> User {
        User { address: self.new_address(), nonce: Nonce::new(0) }
    }
}

const MINERS: usize = 3;
const USERS_MIN: usize = 256;
const USERS_MAX: usize = 1 << 20;

/// Enough of each asset to pay for a very long soak.
const WEALTH: u64 = 1_000_000_000_000_000;
