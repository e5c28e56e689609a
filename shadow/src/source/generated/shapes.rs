//! The shapes that blocks are made of: small groups of transactions with a point.

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, MultisigConfig, Nonce, TopoHeight, TxHash,
};

use super::{
    SECOND_ASSET,
    accounts::{Accounts, Sender},
};
use crate::chain::{FeeType, Reference, Transaction, TransactionData, Transfer};

/// A group of transactions that belong together, and how often it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// One sender, several transactions in a row.
    SenderChain,
    /// Who receives spends at once.
    Relay,
    /// Two accounts pay each other the same.
    ThereAndBack,
    /// Several outputs, some to the same destination, one of nothing.
    ManyOutputs,
    SecondAsset,
    BurnNative,
    BurnSecondAsset,
    SetMultisig,
    /// Set and deleted in one block.
    DeleteMultisig,
    NewAccount,
    /// The block's own miner spends its reward.
    MinerSpends,
    DevSpends,
    /// Somebody pays the block's miner and the dev key.
    MinerAndDevReceive,
    /// A nonce that was just used.
    NonceReplay,
    /// A nonce too high, then the one that was left out.
    NonceGap,
    /// The second output goes to an account that cannot hold more.
    CreditOverflow,
}

/// Out of a thousand transactions that are no plain transfers.
const SHAPES: [(Shape, u32); 16] = [
    (Shape::SenderChain, 140),
    (Shape::Relay, 120),
    (Shape::ThereAndBack, 60),
    (Shape::ManyOutputs, 100),
    (Shape::SecondAsset, 100),
    (Shape::BurnNative, 60),
    (Shape::BurnSecondAsset, 40),
    (Shape::SetMultisig, 50),
    (Shape::DeleteMultisig, 40),
    (Shape::NewAccount, 80),
    (Shape::MinerSpends, 50),
    (Shape::DevSpends, 30),
    (Shape::MinerAndDevReceive, 40),
    (Shape::NonceReplay, 30),
    (Shape::NonceGap, 30),
    (Shape::CreditOverflow, 30),
];

/// How many of a block's transactions are no plain transfers.
const SHAPED_PERCENT: u32 = 20;

/// A block in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    accounts: &'a mut Accounts,
    miner: Address,
    reference: Reference,
    transactions: Vec<Transaction>,
    /// Users that no transaction of the block names yet, in random order.
    fresh: Vec<usize>,
    /// Made by this block; they may send from the next one on.
    born: Vec<Address>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        accounts: &'a mut Accounts,
        miner: Address,
        topoheight: TopoHeight,
        tip: Option<BlockHash>,
    ) -> Self {
        let reference = Reference {
            hash: tip.unwrap_or(BlockHash::new([0; 32])),
            topoheight: topoheight.previous().unwrap_or(topoheight),
        };
        let transactions = Vec::new();
        Self { accounts, miner, reference, transactions, fresh: Vec::new(), born: Vec::new() }
    }

    /// Adds transactions until there are `count`; the last shape may add a few more.
    pub(super) fn fill(&mut self, count: usize, conflict_rate: f64, random: &mut ChaCha8Rng) {
        self.fresh = (0..self.accounts.users()).collect();
        self.fresh.shuffle(random);
        let busy = self.accounts.popular_user(random);
        self.fresh.retain(|user| *user != busy);
        if count < 2 {
            // A block of one transaction has exactly one.
            (0..count).for_each(|_| self.transfer(busy, false, random));
            return;
        }
        while self.transactions.len() < count {
            if random.random_ratio(SHAPED_PERCENT, 100) {
                let shape = pick(random);
                self.add(shape, random);
            } else {
                self.transfer(busy, random.random_bool(conflict_rate), random);
            }
        }
    }

    /// The transactions in order; what was born in the block may send from now on.
    pub(super) fn finish(self) -> Vec<Transaction> {
        for address in self.born {
            self.accounts.join(address);
        }
        self.transactions
    }

    /// A plain transfer: between two that nobody else meets, or to or from the busy account.
    fn transfer(&mut self, busy: usize, conflicting: bool, random: &mut ChaCha8Rng) {
        let one = self.fresh_user(random);
        let (from, to) = match conflicting {
            true if random.random() => (one, busy),
            true => (busy, one),
            false => (one, self.fresh_user(random)),
        };
        let to = self.accounts.address(Sender::User(to));
        self.pay(Sender::User(from), vec![(AssetId::NATIVE, to, random.random_range(1..1000))]);
    }

    fn add(&mut self, shape: Shape, random: &mut ChaCha8Rng) {
        let one = Sender::User(self.fresh_user(random));
        let two = Sender::User(self.fresh_user(random));
        let three = Sender::User(self.fresh_user(random));
        let (first, second) = (self.accounts.address(one), self.accounts.address(two));
        let third = self.accounts.address(three);
        let amount = random.random_range(1..1000);
        let native = |to, amount| vec![(AssetId::NATIVE, to, amount)];
        match shape {
            Shape::SenderChain => {
                for _ in 0..random.random_range(2..6) {
                    let to = self.fresh_user(random);
                    let to = self.accounts.address(Sender::User(to));
                    self.pay(one, native(to, amount));
                }
            }
            Shape::Relay => {
                self.pay(one, native(second, amount));
                self.pay(two, native(third, amount));
            }
            Shape::ThereAndBack => {
                self.pay(one, native(second, amount));
                self.pay(two, native(first, amount));
            }
            Shape::ManyOutputs => self.pay(
                one,
                vec![
                    (AssetId::NATIVE, second, amount),
                    (SECOND_ASSET, third, amount),
                    (AssetId::NATIVE, second, amount + 1),
                    (AssetId::NATIVE, third, 0),
                ],
            ),
            Shape::SecondAsset => self.pay(one, vec![(SECOND_ASSET, second, amount)]),
            Shape::BurnNative => self.burn(one, AssetId::NATIVE, amount),
            Shape::BurnSecondAsset => self.burn(one, SECOND_ASSET, amount),
            Shape::SetMultisig => self.set_multisig(one, 1, vec![second, third]),
            Shape::DeleteMultisig => {
                self.set_multisig(one, 2, vec![second, third]);
                self.set_multisig(one, 0, Vec::new());
            }
            Shape::NewAccount => {
                let address = self.accounts.new_address();
                let second = (SECOND_ASSET, address, ALLOWANCE);
                let founder = self.accounts.founder(random);
                self.pay(founder, vec![(AssetId::NATIVE, address, ALLOWANCE), second]);
                self.born.push(address);
            }
            Shape::MinerSpends => {
                if let Some(miner) = self.accounts.miner_sender(&self.miner) {
                    self.pay(miner, native(second, amount));
                }
            }
            Shape::DevSpends => self.pay(Sender::Dev, native(second, amount)),
            Shape::MinerAndDevReceive => {
                let dev = self.accounts.dev();
                self.pay(
                    one,
                    vec![(AssetId::NATIVE, self.miner, amount), (AssetId::NATIVE, dev, amount)],
                );
            }
            Shape::NonceReplay => {
                let nonce = self.accounts.take_nonce(one);
                self.pay_with_nonce(one, nonce, native(second, amount));
                self.pay_with_nonce(one, nonce, native(third, amount));
            }
            Shape::NonceGap => {
                let left_out = self.accounts.take_nonce(one);
                let nonce = self.accounts.take_nonce(one);
                self.pay_with_nonce(one, nonce, native(second, amount));
                self.pay_with_nonce(one, left_out, native(third, amount));
            }
            Shape::CreditOverflow => {
                let rich = self.accounts.rich();
                self.pay(
                    one,
                    vec![(AssetId::NATIVE, second, amount), (AssetId::NATIVE, rich, amount + 1000)],
                );
            }
        }
    }

    fn pay(&mut self, from: Sender, outputs: Vec<(AssetId, Address, u64)>) {
        let nonce = self.accounts.take_nonce(from);
        self.pay_with_nonce(from, nonce, outputs);
    }

    fn pay_with_nonce(
        &mut self,
        from: Sender,
        nonce: Nonce,
        outputs: Vec<(AssetId, Address, u64)>,
    ) {
        let transfers = outputs
            .into_iter()
            .map(|(asset, destination, amount)| Transfer {
                asset,
                destination,
                amount: Amount::new(amount),
                extra_data: None,
            })
            .collect();
        self.push(from, nonce, TransactionData::Transfers(transfers));
    }

    fn burn(&mut self, from: Sender, asset: AssetId, amount: u64) {
        let nonce = self.accounts.take_nonce(from);
        self.push(from, nonce, TransactionData::Burn { asset, amount: Amount::new(amount) });
    }

    fn set_multisig(&mut self, from: Sender, threshold: u8, participants: Vec<Address>) {
        let nonce = self.accounts.take_nonce(from);
        let config = MultisigConfig { threshold, participants };
        self.push(from, nonce, TransactionData::Multisig(config));
    }

    fn push(&mut self, from: Sender, nonce: Nonce, data: TransactionData) {
        let transaction = Transaction {
            hash: TxHash::new([0; 32]),
            version: 0,
            source: self.accounts.address(from),
            data,
            fee: Amount::new(FEE),
            fee_type: FeeType::Tos,
            nonce,
            reference: self.reference,
            multisig: None,
            signature: [0; 64],
        };
        match transaction.seal() {
            Ok(sealed) => self.transactions.push(sealed),
            // Every shape stays within what the binary form can say.
            Err(error) => unreachable!("a generated transaction has no binary form: {error}"),
        }
    }

    /// A user that the block does not name yet; when all are named, a popular one.
    fn fresh_user(&mut self, random: &mut ChaCha8Rng) -> usize {
        self.fresh.pop().unwrap_or_else(|| self.accounts.popular_user(random))
    }
}

fn pick(random: &mut ChaCha8Rng) -> Shape {
    let total: u32 = SHAPES.iter().map(|(_, weight)| weight).sum();
    let mut at = random.random_range(0..total);
    for (shape, weight) in SHAPES {
        match at.checked_sub(weight) {
            Some(rest) => at = rest,
            None => return shape,
        }
    }
    // The weights add up to the total, so one of them was found.
    Shape::Relay
}

/// What everybody pays for a transaction.
const FEE: u64 = 15_000;

/// What a new account is given of each asset, so that it can send for a long while.
const ALLOWANCE: u64 = 10_000_000_000;
