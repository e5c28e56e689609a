//! Re-orders: the chain goes back, and other blocks take the place of those that were there.
//!
//! A re-order is decided at the *fork*, the block that it will go back to, before anything of it
//! happens: so one copy of what blocks are drawn from, made there, is all that going back takes. The
//! chain then goes on as ever until as many blocks are there as will be *abandoned*, goes back, and
//! the late branch begins: new blocks, and among them the first ones of the abandoned, as they were
//! but in other positions. Meanwhile the new ones have executed some of their transactions, used
//! nonces of others, and made side blocks of them.

use std::collections::{HashMap, HashSet, VecDeque};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Address, Nonce, TopoHeight};

use super::{
    Head,
    accounts::{Accounts, Sender},
    profile::{Mix, pick},
};
use crate::chain::{Block, Transaction, TransactionData};

/// Which way the chain goes.
#[derive(Debug, Default)]
pub(super) enum Way {
    /// What comes next stays.
    #[default]
    Straight,
    /// What comes next will be abandoned.
    Early(Box<Early>),
    /// What comes next takes the place of what was abandoned.
    Late(Box<Late>),
}

/// What a re-order is going to be.
#[derive(Debug)]
pub(super) struct Plan {
    fork: TopoHeight,
    /// How many blocks will be abandoned.
    depth: usize,
    /// What takes their place, at least as many.
    slots: VecDeque<Slot>,
}

/// One position of the late branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    New,
    /// The first of the abandoned that is not back yet.
    Returning,
}

impl Plan {
    /// Whether there is a re-order that goes back to `fork`, and which.
    pub(super) fn draw(seed: u64, fork: TopoHeight, mix: &Mix) -> Option<Self> {
        if mix.forks_per_thousand == 0 {
            return None;
        }
        let mut hasher = blake3::Hasher::new_derive_key("shadow generated chain, re-order");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&fork.as_u64().to_le_bytes());
        let mut random = ChaCha8Rng::from_seed(*hasher.finalize().as_bytes());
        if !random.random_ratio(mix.forks_per_thousand, 1000) {
            return None;
        }
        let (least, most) = pick(DEPTHS, &mut random);
        let depth = random.random_range(least..=most);
        let mut returning = random.random_range(0..=depth);
        // The first one is always new: a block that came back first would never have been away.
        let mut new = (depth - returning + random.random_range(0..=LONGER_MAX)).saturating_sub(1);
        let mut slots = VecDeque::from([Slot::New]);
        while new + returning > 0 {
            if random.random_ratio(returning, new + returning) {
                slots.push_back(Slot::Returning);
                returning -= 1;
            } else {
                slots.push_back(Slot::New);
                new -= 1;
            }
        }
        Some(Self { fork, depth: depth as usize, slots })
    }
}

/// A block that is not going to stay where it is.
#[derive(Debug)]
pub(super) struct Abandoned {
    pub(super) block: Block,
    /// The accounts that it made and that send from the next block on.
    pub(super) born: Vec<Address>,
}

/// The branch that will be abandoned.
#[derive(Debug)]
pub(super) struct Early {
    plan: Plan,
    at_fork: Head,
    abandoned: Vec<Abandoned>,
}

impl Early {
    pub(super) const fn new(plan: Plan, at_fork: Head) -> Self {
        Self { plan, at_fork, abandoned: Vec::new() }
    }

    pub(super) fn push(&mut self, block: Abandoned) {
        self.abandoned.push(block);
    }

    pub(super) const fn is_complete(&self) -> bool {
        self.abandoned.len() == self.plan.depth
    }

    /// Sets everything back to the fork.
    pub(super) fn go_back(self, head: &mut Head) -> (Late, TopoHeight) {
        let Self { plan, mut at_fork, abandoned } = self;
        at_fork.accounts.name_on(&head.accounts);
        *head = at_fork;
        let blocks = abandoned.iter().map(|abandoned| &abandoned.block);
        let sources = blocks.flat_map(|block| &block.transactions).map(|sent| sent.source);
        let senders = head.accounts.senders(&sources.collect());
        let Plan { fork, slots, .. } = plan;
        (Late { fork, slots, abandoned: abandoned.into(), senders }, fork)
    }
}

/// The branch that takes the place of the abandoned one.
#[derive(Debug)]
pub(super) struct Late {
    fork: TopoHeight,
    slots: VecDeque<Slot>,
    /// Those that are not back yet, in their order. They come back in it, so that whatever a block
    /// builds upon is there before it.
    abandoned: VecDeque<Abandoned>,
    /// Who sent the transactions of the abandoned blocks, as far as there are such accounts. In the
    /// place of some of them others send by now.
    senders: HashMap<Address, Sender, ahash::RandomState>,
}

impl Late {
    pub(super) const fn fork(&self) -> TopoHeight {
        self.fork
    }

    pub(super) fn is_complete(&self) -> bool {
        self.slots.is_empty()
    }

    /// The block that comes back in the next position; `None` if a new one is due there.
    pub(super) fn next_returning(&mut self, accounts: &mut Accounts) -> Option<Block> {
        let slot = self.slots.pop_front()?;
        // A source that nobody has founded in this branch would make the block one that no node
        // accepts, so neither it nor anything upon it comes back.
        let is_sound = self.abandoned.front().is_some_and(|first| {
            let mut sent = first.block.transactions.iter();
            sent.all(|sent| self.senders.contains_key(&sent.source))
        });
        if slot == Slot::New || !is_sound {
            return None;
        }
        let returning = self.abandoned.pop_front()?;
        self.execute(&returning, accounts);
        Some(returning.block)
    }

    /// Some transactions of abandoned blocks, for a new block to carry. Only those of usual accounts
    /// whose nonces come next, so that each may be executed wherever it is.
    pub(super) fn carry(
        &self,
        topoheight: TopoHeight,
        accounts: &mut Accounts,
        random: &mut ChaCha8Rng,
    ) -> Vec<Transaction> {
        let count = random.random_range(0..=CARRIED_MAX);
        let mut carried = Vec::new();
        for abandoned in self.abandoned.iter().take(CARRIED_FROM) {
            for sent in &abandoned.block.transactions {
                let is_plain = abandoned.founded_by(sent).is_none()
                    && !matches!(sent.data, TransactionData::Multisig(_))
                    && sent.reference.topoheight < topoheight;
                let Some(sender @ Sender::User(_)) = self.sender(&sent.source, accounts) else {
                    continue;
                };
                if carried.len() == count {
                    return carried;
                }
                if is_plain && accounts.nonce(sender) == sent.nonce {
                    accounts.use_nonce(sender, sent.nonce);
                    carried.push(sent.clone());
                }
            }
        }
        carried
    }

    /// What the accounts would know of themselves after a block that came back.
    fn execute(&mut self, returning: &Abandoned, accounts: &mut Accounts) {
        let mut before: HashMap<Address, Nonce, ahash::RandomState> = HashMap::default();
        let mut used = HashSet::new();
        let mut born = Vec::new();
        for sent in &returning.block.transactions {
            let Some(sender) = self.sender(&sent.source, accounts) else { continue };
            let before = *before.entry(sent.source).or_insert_with(|| accounts.nonce(sender));
            if sent.nonce < before || !used.insert((sent.source, sent.nonce)) {
                continue;
            }
            accounts.use_nonce(sender, sent.nonce);
            born.extend(returning.founded_by(sent));
            match (sender, &sent.data) {
                (Sender::Huge(pair, from), _) => accounts.handed_over(pair, from),
                (Sender::User(user), TransactionData::Multisig(config)) => {
                    if config.threshold > 0 {
                        accounts.guard(user);
                    } else {
                        accounts.forget_guarded(user);
                    }
                }
                _ => {}
            }
        }
        for address in born {
            self.senders.insert(address, accounts.join(address));
        }
    }

    /// Who has an address, if they still send.
    fn sender(&self, address: &Address, accounts: &Accounts) -> Option<Sender> {
        let sender = self.senders.get(address).copied();
        sender.filter(|sender| accounts.address(*sender) == *address)
    }
}

impl Abandoned {
    /// The account that a transaction of the block makes.
    fn founded_by(&self, sent: &Transaction) -> Option<Address> {
        let TransactionData::Transfers(transfers) = &sent.data else { return None };
        let to = transfers.first()?.destination;
        self.born.contains(&to).then_some(to)
    }
}

/// How many blocks are abandoned.
const DEPTHS: &[((u32, u32), u32)] = &[
    ((1, 1), 40),
    ((2, 5), 33),
    ((6, 20), 15),
    ((21, DEPTH_MAX - 1), 9),
    ((DEPTH_MAX, DEPTH_MAX), 3),
];

/// The chain orders its last blue scores anew at will, but no more of them than these.
const DEPTH_MAX: u32 = 60;

/// How much longer the late branch is at most, but for the one that it needs to have a new block.
const LONGER_MAX: u32 = 2;

/// How many transactions of abandoned blocks a new block carries at most.
const CARRIED_MAX: usize = 4;

/// How many of the abandoned blocks they are looked for in.
const CARRIED_FROM: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::generated::accounts::NEWCOMERS_MAX;

    #[test]
    fn whose_place_another_has_taken_is_not_known_as_a_sender() {
        let mut accounts = Accounts::new(1, 60);
        let [leaving, staying] = [(); 2].map(|()| accounts.new_address());
        let senders = [leaving, staying].map(|address| (address, accounts.join(address)));
        let late = Late {
            fork: TopoHeight::GENESIS,
            slots: VecDeque::new(),
            abandoned: VecDeque::new(),
            senders: senders.into_iter().collect(),
        };
        assert_eq!(late.sender(&leaving, &accounts), Some(senders[0].1));
        for _ in 0..NEWCOMERS_MAX - 1 {
            let newcomer = accounts.new_address();
            accounts.join(newcomer);
        }
        assert_eq!(late.sender(&leaving, &accounts), None);
        assert_eq!(late.sender(&staying, &accounts), Some(senders[1].1));
    }
}
