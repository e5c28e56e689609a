//! A block in the making: shapes become transactions.
//!
//! Whatever is drawn stays within what executing a block needs: nobody pays themselves, nobody sends
//! who had no nonce before the block, and nobody spends what they do not have. The only credits that
//! overflow are those to the rich account, which are meant to. It is not what a node would let into a
//! block: signatures are made up, and how many there are does not follow from the configuration of the
//! account. Executing never looks at them.

use std::collections::HashSet;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, MultisigConfig, Nonce, TopoHeight, TxHash,
};

use super::{
    ASSETS, SECOND_ASSET, THIRD_ASSET,
    accounts::{Accounts, HUGE, RICH_ROOM, Sender},
    profile::{Mix, pick},
    shape::Shape,
};
use crate::chain::{FeeType, MultisigSignature, Reference, Transaction, TransactionData, Transfer};

/// A block in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    accounts: &'a mut Accounts,
    miner: Address,
    reference: Reference,
    transactions: Vec<Transaction>,
    /// Users that a transaction of the block names already.
    named: HashSet<usize, ahash::RandomState>,
    /// Made by this block; they may send from the next one on.
    born: Vec<Address>,
    /// The users whose configuration this block sets, and does not delete.
    guarded: Vec<usize>,
    dev_spends: u32,
    large_was_sent: bool,
    huge_was_sent: [bool; 2],
}

/// An output: of which asset, to whom, how much.
type Output = (AssetId, Address, u64);

impl<'a> Draft<'a> {
    pub(super) fn new(
        accounts: &'a mut Accounts,
        miner: Address,
        topoheight: TopoHeight,
        tip: Option<BlockHash>,
    ) -> Self {
        Self {
            accounts,
            miner,
            reference: Reference {
                hash: tip.unwrap_or(BlockHash::new([0; 32])),
                topoheight: topoheight.previous().unwrap_or(topoheight),
            },
            transactions: Vec::new(),
            named: HashSet::default(),
            born: Vec::new(),
            guarded: Vec::new(),
            dev_spends: 0,
            large_was_sent: false,
            huge_was_sent: [false; 2],
        }
    }

    /// Adds transactions until there are `count`; the last shape may add a few more.
    pub(super) fn fill(
        &mut self,
        count: usize,
        mix: &Mix,
        conflicts_per_million: u32,
        random: &mut ChaCha8Rng,
    ) {
        let busy = self.accounts.popular_user(random);
        self.named.insert(busy);
        // Two that nobody else meets, one at each end, so that there is something to do at once.
        let apart = [self.fresh_user(random), self.fresh_user(random)];
        let to = [self.fresh_user(random), self.fresh_user(random)];
        if count > 0 {
            self.transfer(apart[0], to[0], random);
        }
        while self.transactions.len() + 1 < count {
            if random.random_ratio(mix.shaped_percent, 100) {
                let shape = pick(mix.shapes, random);
                self.add(shape, random);
                continue;
            }
            let one = self.fresh_user(random);
            match random.random_ratio(conflicts_per_million, MILLION) {
                true if random.random() => self.transfer(one, busy, random),
                true => self.transfer(busy, one, random),
                false => {
                    let two = self.fresh_user(random);
                    self.transfer(one, two, random);
                }
            }
        }
        if count > 1 {
            self.transfer(apart[1], to[1], random);
        }
    }

    /// The transactions in order, and who was born in the block and may send from now on.
    pub(super) fn finish(self) -> (Vec<Transaction>, Vec<Address>) {
        for user in self.guarded {
            self.accounts.guard(user);
        }
        // Afterwards, for with a new account in its place a user is not the one that is guarded.
        for address in &self.born {
            self.accounts.join(*address);
        }
        (self.transactions, self.born)
    }

    fn transfer(&mut self, from: usize, to: usize, random: &mut ChaCha8Rng) {
        let to = self.accounts.address(Sender::User(to));
        self.pay(Sender::User(from), vec![(AssetId::NATIVE, to, small(random))]);
    }

    fn add(&mut self, shape: Shape, random: &mut ChaCha8Rng) {
        let user = self.fresh_user(random);
        let one = Sender::User(user);
        let two = Sender::User(self.fresh_user(random));
        let first = self.accounts.address(one);
        let second = self.accounts.address(two);
        let dev = self.accounts.dev();
        let amount = small(random);
        let native = |to, amount| vec![(AssetId::NATIVE, to, amount)];
        match shape {
            Shape::HotReceiver => {
                let hot = self.accounts.popular_user(random);
                self.transfer(user, hot, random);
            }
            Shape::HotSender => {
                let hot = self.accounts.popular_user(random);
                self.transfer(hot, user, random);
            }
            Shape::SenderChain => {
                for _ in 0..random.random_range(2..6) {
                    let to = self.fresh_user(random);
                    self.transfer(user, to, random);
                }
            }
            Shape::Relay => {
                let third = self.fresh_address(random);
                self.pay(one, native(second, amount));
                self.pay(two, native(third, amount));
            }
            Shape::ThereAndBack => {
                let asset = any_asset(random);
                // In the native asset the way back pays for the fee of the way there.
                let back = if asset == AssetId::NATIVE { amount + FEE } else { amount };
                self.pay(one, vec![(asset, second, amount)]);
                self.pay(two, vec![(asset, first, back)]);
            }
            Shape::Ring => {
                let three = Sender::User(self.fresh_user(random));
                let third = self.accounts.address(three);
                self.pay(one, vec![(SECOND_ASSET, second, amount)]);
                self.pay(two, vec![(SECOND_ASSET, third, amount)]);
                self.pay(three, vec![(SECOND_ASSET, first, amount)]);
            }
            Shape::ManyOutputs => {
                let third = self.fresh_address(random);
                let outputs = vec![
                    (AssetId::NATIVE, second, amount),
                    (SECOND_ASSET, third, amount),
                    (AssetId::NATIVE, second, amount + 1),
                    (AssetId::NATIVE, third, 0),
                ];
                self.pay(one, outputs);
            }
            Shape::ManyToOne => {
                let most = if random.random_ratio(1, 8) { OUTPUTS_MAX } else { 40 };
                let count = random.random_range(3..=most);
                let outputs = (0..count).map(|_| (AssetId::NATIVE, second, small(random)));
                let outputs = outputs.collect();
                self.pay(one, outputs);
            }
            Shape::ZeroAmount => self.pay(one, vec![(any_asset(random), second, 0)]),
            Shape::OtherAsset => {
                let asset = if random.random() { SECOND_ASSET } else { THIRD_ASSET };
                self.pay(one, vec![(asset, second, amount)]);
            }
            Shape::MixedAssets => {
                self.pay(one, ASSETS.map(|asset| (asset, second, small(random))).to_vec());
            }
            Shape::Burn => self.burn(one, any_asset(random), amount),
            Shape::LargeAmount => self.send_large(random),
            Shape::HugeAmount => self.send_huge(random),
            Shape::SetMultisig
            | Shape::ReplaceMultisig
            | Shape::DeleteMultisig
            | Shape::DeleteEarlierMultisig
            | Shape::SetMultisigAgain
            | Shape::SpendWithMultisig => self.add_multisig(shape, user, second, random),
            Shape::NewAccount => {
                let address = self.accounts.new_address();
                let founder = self.accounts.founder(random);
                self.pay(founder, ASSETS.map(|asset| (asset, address, ALLOWANCE)).to_vec());
                self.born.push(address);
            }
            Shape::NewAccountOfTwo => {
                let address = self.accounts.new_address();
                self.pay(one, native(address, amount));
                self.pay(two, vec![(SECOND_ASSET, address, amount)]);
            }
            Shape::NewAccountOfNothing => {
                let address = self.accounts.new_address();
                self.pay(one, vec![(any_asset(random), address, 0)]);
            }
            Shape::MinerSpends => {
                let miner = self.accounts.miner_sender(&self.miner);
                self.spend_reward(miner, second, random);
            }
            Shape::DevSpends => self.spend_reward(Sender::Dev, second, random),
            Shape::MinerPaysDev => {
                let miner = self.accounts.miner_sender(&self.miner);
                self.spend_reward(miner, dev, random);
            }
            Shape::DevPaysMiner => self.spend_reward(Sender::Dev, self.miner, random),
            Shape::MinerAndDevReceive => {
                let miner = (AssetId::NATIVE, self.miner, amount);
                self.pay(one, vec![miner, (AssetId::NATIVE, dev, amount)]);
            }
            Shape::NonceReplay => {
                let nonce = self.accounts.take_nonce(one);
                self.pay_with_nonce(one, nonce, native(second, amount));
                self.pay_with_nonce(one, nonce, native(second, amount + 1));
            }
            Shape::NonceOfEarlierBlock => {
                // Who never sent sends now.
                let nonce = match self.accounts.nonce(one).as_u64().checked_sub(1) {
                    Some(used) => Nonce::new(used),
                    None => self.accounts.take_nonce(one),
                };
                self.pay_with_nonce(one, nonce, native(second, amount));
            }
            Shape::NonceGap => {
                let left_out = self.accounts.take_nonce(one);
                self.pay(one, native(second, amount));
                self.pay_with_nonce(one, left_out, native(second, amount));
            }
            Shape::NonceLeftOut => {
                self.accounts.take_nonce(one);
                self.pay(one, native(second, amount));
            }
            Shape::NonceReversed => {
                let nonces: Vec<_> = (0..3).map(|_| self.accounts.take_nonce(one)).collect();
                for nonce in nonces.into_iter().rev() {
                    self.pay_with_nonce(one, nonce, native(second, amount));
                }
            }
            Shape::OverflowFirst | Shape::OverflowLater => {
                let asset = any_asset(random);
                let mut outputs = vec![
                    (asset, self.accounts.rich(), amount + RICH_ROOM),
                    (AssetId::NATIVE, second, amount),
                ];
                if shape == Shape::OverflowLater {
                    outputs.reverse();
                }
                let nonce = self.accounts.take_nonce(one);
                self.pay_with_nonce(one, nonce, outputs);
                if random.random_ratio(2, 3) {
                    // What failed gave its nonce back.
                    self.pay_with_nonce(one, nonce, native(second, amount));
                }
            }
        }
    }

    fn add_multisig(&mut self, shape: Shape, user: usize, other: Address, random: &mut ChaCha8Rng) {
        let one = Sender::User(user);
        if shape == Shape::DeleteEarlierMultisig {
            if let Some(guarded) = self.accounts.unguard(random) {
                self.guarded.retain(|user| *user != guarded);
                self.delete_multisig(Sender::User(guarded));
                return;
            }
        } else {
            self.set_multisig(one, random);
        }
        match shape {
            Shape::ReplaceMultisig => self.set_multisig(one, random),
            Shape::DeleteMultisig => {
                self.delete_multisig(one);
                self.guarded.retain(|guarded| *guarded != user);
                self.accounts.forget_guarded(user);
                return;
            }
            Shape::SetMultisigAgain => {
                self.delete_multisig(one);
                self.set_multisig(one, random);
            }
            Shape::SpendWithMultisig => {
                let nonce = self.accounts.take_nonce(one);
                let signatures = (0..2).map(|id| {
                    let (mut half, mut signature) = ([0; 32], [0; 64]);
                    random.fill(&mut half);
                    signature[..32].copy_from_slice(&half);
                    signature[32..].copy_from_slice(&half);
                    MultisigSignature { id, signature }
                });
                let signatures = Some(signatures.collect());
                let data = transfers(vec![(AssetId::NATIVE, other, small(random))]);
                self.push(one, nonce, data, signatures);
            }
            Shape::DeleteEarlierMultisig => {
                // Nobody has one yet, so somebody gets one.
                self.set_multisig(one, random);
            }
            _ => {}
        }
        self.guarded.push(user);
    }

    /// One of the two with large amounts pays the other about 2^53 units.
    fn send_large(&mut self, random: &mut ChaCha8Rng) {
        // Once a block, so that no balance leaves its range within one.
        if std::mem::replace(&mut self.large_was_sent, true) {
            return self.transfer_of_two(random);
        }
        let from = random.random_range(0..2);
        let to = self.accounts.address(Sender::Large(1 - from));
        let from_address = self.accounts.address(Sender::Large(from));
        let asset = any_asset(random);
        let amount = LARGE - 1 + random.random_range(0..3);
        self.pay(Sender::Large(from), vec![(asset, to, amount)]);
        // And about as much back, or one of the two would be poor one day.
        let back = LARGE - 1 + random.random_range(0..3);
        self.pay(Sender::Large(1 - from), vec![(asset, from_address, back)]);
    }

    /// A pair hands its huge amount over.
    fn send_huge(&mut self, random: &mut ChaCha8Rng) {
        let pair = random.random_range(0..2);
        // What is spent is taken at the end of a block only, so the way back within it overflows.
        if std::mem::replace(&mut self.huge_was_sent[pair], true) {
            return self.transfer_of_two(random);
        }
        let (from, to, asset) = self.accounts.hand_over(pair);
        let to = self.accounts.address(to);
        self.pay(from, vec![(asset, to, HUGE)]);
    }

    /// The miner or the dev key pays somebody. The dev key starts with nothing, so it spends less
    /// in a block than the least reward is.
    fn spend_reward(&mut self, from: Sender, to: Address, random: &mut ChaCha8Rng) {
        if from == Sender::Dev {
            if self.dev_spends == DEV_SPENDS_MAX {
                return self.transfer_of_two(random);
            }
            self.dev_spends += 1;
        }
        self.pay(from, vec![(AssetId::NATIVE, to, small(random))]);
    }

    fn transfer_of_two(&mut self, random: &mut ChaCha8Rng) {
        let (one, two) = (self.fresh_user(random), self.fresh_user(random));
        self.transfer(one, two, random);
    }

    fn set_multisig(&mut self, from: Sender, random: &mut ChaCha8Rng) {
        let count = random.random_range(2..=4);
        let threshold = random.random_range(1..=2);
        let source = self.accounts.address(from);
        let participants = self.accounts.others(count, source, random);
        self.configure(from, MultisigConfig { threshold, participants });
    }

    fn delete_multisig(&mut self, from: Sender) {
        self.configure(from, MultisigConfig { threshold: 0, participants: Vec::new() });
    }

    fn configure(&mut self, from: Sender, config: MultisigConfig) {
        let nonce = self.accounts.take_nonce(from);
        self.push(from, nonce, TransactionData::Multisig(config), None);
    }

    fn burn(&mut self, from: Sender, asset: AssetId, amount: u64) {
        let nonce = self.accounts.take_nonce(from);
        self.push(from, nonce, TransactionData::Burn { asset, amount: Amount::new(amount) }, None);
    }

    fn pay(&mut self, from: Sender, outputs: Vec<Output>) {
        let nonce = self.accounts.take_nonce(from);
        self.pay_with_nonce(from, nonce, outputs);
    }

    fn pay_with_nonce(&mut self, from: Sender, nonce: Nonce, mut outputs: Vec<Output>) {
        // Where a block names everybody, or the dev key is the miner, two may be one. Nobody pays
        // themselves, so somebody else is paid.
        let source = self.accounts.address(from);
        let instead = [0, 1].map(|founder| self.accounts.address(Sender::User(founder)));
        for (_, destination, _) in &mut outputs {
            if *destination == source {
                *destination = if instead[0] == source { instead[1] } else { instead[0] };
            }
        }
        self.push(from, nonce, transfers(outputs), None);
    }

    fn push(
        &mut self,
        from: Sender,
        nonce: Nonce,
        data: TransactionData,
        multisig: Option<Vec<MultisigSignature>>,
    ) {
        let transaction = Transaction {
            hash: TxHash::new([0; 32]),
            version: 0,
            source: self.accounts.address(from),
            data,
            fee: Amount::new(FEE),
            fee_type: FeeType::Tos,
            nonce,
            reference: self.reference,
            multisig,
            signature: [0; 64],
        };
        match transaction.seal() {
            Ok(sealed) => self.transactions.push(sealed),
            // Every shape stays within what the binary form can say.
            Err(error) => unreachable!("a generated transaction has no binary form: {error}"),
        }
    }

    fn fresh_address(&mut self, random: &mut ChaCha8Rng) -> Address {
        let user = self.fresh_user(random);
        self.accounts.address(Sender::User(user))
    }

    /// A user that the block does not name yet; when nearly all are named, a popular one.
    fn fresh_user(&mut self, random: &mut ChaCha8Rng) -> usize {
        for _ in 0..DRAWS_MAX {
            let user = self.accounts.any_user(random);
            if self.named.insert(user) {
                return user;
            }
        }
        self.accounts.popular_user(random)
    }
}

fn transfers(outputs: Vec<Output>) -> TransactionData {
    let transfers = outputs.into_iter().map(|(asset, destination, amount)| Transfer {
        asset,
        destination,
        amount: Amount::new(amount),
        extra_data: None,
    });
    TransactionData::Transfers(transfers.collect())
}

/// An amount that everybody can afford.
fn small(random: &mut ChaCha8Rng) -> u64 {
    random.random_range(1..1000)
}

fn any_asset(random: &mut ChaCha8Rng) -> AssetId {
    ASSETS[random.random_range(0..ASSETS.len())]
}

/// What everybody pays for a transaction.
const FEE: u64 = 15_000;

/// What a new account is given of each asset, so that it can send for a long while.
const ALLOWANCE: u64 = 10_000_000_000;

/// About this much is a large amount.
const LARGE: u64 = 1 << 53;

/// How many outputs a transaction may have.
const OUTPUTS_MAX: usize = 255;

/// How often the dev key spends in one block at most. Its share of the least reward pays for it.
const DEV_SPENDS_MAX: u32 = 8;

/// How often somebody who is not named is looked for.
const DRAWS_MAX: usize = 16;

const MILLION: u32 = 1_000_000;
