//! The shapes of a block: the ways in which its transactions meet, each of which an executor can get
//! wrong on its own.
//!
//! A thousand blocks of strangers who pay strangers agree whatever the executor does about conflicts.
//! So the transactions that take part in each shape are counted, and not those that happened to stand
//! in the same block.

use std::fmt;

use comparator::{SkipReason, Status};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use storage_snapshot::{Address, Amount, AssetId, StateKey, StateRead};

use crate::{
    chain::{Transaction, TransactionData},
    execute::{Control, ExecutableBlock, PreState},
    rules::{Quirk, Walk},
};

macro_rules! shapes {
    ($($name:ident = $word:literal, $means:literal;)*) => {
        /// A way in which the transactions of a block meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Shape {
            $(#[doc = $means] $name,)*
        }

        impl Shape {
            /// Every shape, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it in files and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Which transactions take part in it, in words.
            pub const fn means(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)*
                }
            }
        }
    };
}

impl Shape {
    /// Whether the chain's own checks let such a transaction into a block. One that they refuse cannot
    /// be waited for.
    pub const fn is_accepted(self) -> bool {
        !matches!(self, Self::SelfTransfer)
    }
}

shapes! {
    SameSenderChain = "same_sender_chain", "its account sends another transaction in the block";
    SharedReceiver = "shared_receiver", "it pays an account that another transaction pays too";
    ReceiverSpends = "receiver_spends", "it pays an account that spends later, or spends after its account was paid";
    SpenderReceives = "spender_receives", "it pays an account that spent before, or spends before its account is paid";
    NetZero = "net_zero", "it spends from or pays an account that does both, and in the end has the native units that it had";
    RepeatedDestination = "repeated_destination", "it pays one account twice";
    SelfTransfer = "self_transfer", "it pays its own account";
    ZeroAmount = "zero_amount", "it pays nothing to somebody";
    SeveralAssets = "several_assets", "it moves another asset than the one its fee is paid in";
    Burn = "burn", "it burns";
    MinerInTransaction = "miner_in_transaction", "it spends from or pays the account of the block's miner";
    MinerSpends = "miner_spends", "it spends from the account of the block's miner";
    DevInTransaction = "dev_in_transaction", "it spends from or pays the dev account";
    NewAccount = "new_account", "it spends from or pays an account that did not exist before the block";
    NewAccountOfSeveral = "new_account_of_several", "it pays an account that did not exist before the block and that another transaction pays too";
    MultisigChanged = "multisig_changed", "it sets, replaces or deletes a multisig configuration";
    MultisigChangedAndUsed = "multisig_changed_and_used", "its account changes its multisig configuration and sends another transaction in the block";
    MultisigSigned = "multisig_signed", "it carries the signatures of participants";
    FailedTransaction = "failed_transaction", "its effects broke";
    NonceGap = "nonce_gap", "its nonce left a gap";
    NonceOutOfOrder = "nonce_out_of_order", "its nonce was below the expected one and unused";
    NonceRefused = "nonce_refused", "it was passed over because of its nonce";
    Duplicate = "duplicate", "it was passed over because another block had executed it";
    SideBlock = "side_block", "it took effect in a side block";
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many transactions take part in each shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShapeCounts([u64; Shape::ALL.len()]);

impl ShapeCounts {
    /// The transactions that take part in one.
    pub const fn of(&self, shape: Shape) -> u64 {
        self.0[shape as usize]
    }

    /// The shapes that are there, with their transactions.
    pub fn iter(&self) -> impl Iterator<Item = (Shape, u64)> {
        Shape::ALL.iter().zip(self.0).filter(|(_, count)| *count > 0).map(|(s, count)| (*s, count))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Counts more of one.
    pub(crate) const fn add(&mut self, shape: Shape, count: u64) {
        self.0[shape as usize] += count;
    }

    /// One transaction that takes part in all of these.
    fn add_each(&mut self, mut shapes: ShapeSet) {
        while shapes.0 != 0 {
            self.0[shapes.0.trailing_zeros() as usize] += 1;
            shapes.0 &= shapes.0 - 1;
        }
    }
}

impl FromIterator<(Shape, u64)> for ShapeCounts {
    fn from_iter<I: IntoIterator<Item = (Shape, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        counts.into_iter().for_each(|(shape, count)| all.add(shape, count));
        all
    }
}

/// Which transactions of a block take part in which shape, given what the control made of them.
///
/// A transaction that was passed over had no effect, so it meets nobody: it counts for the reason why
/// it was passed over and for nothing else. One that failed keeps some of its effects, so it counts.
pub fn shapes(block: &ExecutableBlock, pre_state: &PreState, control: &Control) -> ShapeCounts {
    // What was resolved for the block names all of its accounts. Of a world that was read from its values
    // that may be told only at an account that it does not name.
    let counts = shapes_on(block, pre_state, control);
    counts.or_else(|| shapes_on(block, &pre_state.covering(block), control)).unwrap_or_default()
}

/// `None` if the world does not name an account of the block.
fn shapes_on(
    block: &ExecutableBlock,
    pre_state: &PreState,
    control: &Control,
) -> Option<ShapeCounts> {
    let mut counts = ShapeCounts::default();
    for (quirk, count) in control.quirks.iter() {
        match quirk {
            Quirk::NonceGap => counts.add(Shape::NonceGap, count),
            Quirk::NonceOutOfOrder => counts.add(Shape::NonceOutOfOrder, count),
            _ => {}
        }
    }

    let mut accounts = Accounts::of(pre_state);
    let (miner, dev) = (accounts.named(&block.miner)?, accounts.named(&block.dev)?);
    let mut effective = Vec::with_capacity(block.transactions.len());
    let mut destinations = Vec::with_capacity(block.transactions.len());
    // The control's outcomes are in the order of the block.
    let outcomes = control.execution.outcomes.iter();
    for (number, (transaction, outcome)) in block.transactions.iter().zip(outcomes).enumerate() {
        accounts.places.go_to(number);
        let mut own = ShapeSet::default();
        match outcome.status {
            Status::Skipped(SkipReason::AlreadyExecuted) => {
                counts.add(Shape::Duplicate, 1);
                continue;
            }
            Status::Skipped(_) => {
                counts.add(Shape::NonceRefused, 1);
                continue;
            }
            Status::Failed(_) => own.insert(Shape::FailedTransaction),
            Status::Executed if block.side_block => own.insert(Shape::SideBlock),
            Status::Executed => {}
        }
        // Positions begin with 1, so that 0 is before all of them.
        let position = effective.len() as u32 + 1;
        let source = accounts.sends(&transaction.body, position)?;
        own.insert_all(accounts.pays(&transaction.body, source, position, &mut destinations)?);
        effective.push(Effective { source, own, destinations_end: destinations.len() });
    }
    accounts.mark(pre_state, control);

    let mut start = 0;
    for (position, Effective { source, own, destinations_end }) in (1..).zip(effective) {
        let paid = &destinations[start..destinations_end];
        start = destinations_end;
        let mut shapes = own;
        shapes.insert_all(accounts.all[source as usize].of_source(position));
        let (mut pays_miner, mut pays_dev) = (false, false);
        for destination in paid {
            shapes.insert_all(accounts.all[*destination as usize].of_destination(position));
            pays_miner |= *destination == miner;
            pays_dev |= *destination == dev;
        }
        shapes.insert_if(Shape::MinerSpends, source == miner);
        shapes.insert_if(Shape::MinerInTransaction, source == miner || pays_miner);
        shapes.insert_if(Shape::DevInTransaction, source == dev || pays_dev);
        counts.add_each(shapes);
    }
    Some(counts)
}

/// A transaction that was not passed over.
struct Effective {
    source: u32,
    /// What can be told from the transaction alone.
    own: ShapeSet,
    destinations_end: usize,
}

/// Shapes as bits.
#[derive(Clone, Copy, Default)]
struct ShapeSet(u32);

const _: () = assert!(Shape::ALL.len() <= u32::BITS as usize, "every shape has a bit");

impl ShapeSet {
    fn insert(&mut self, shape: Shape) {
        self.0 |= 1 << shape as u32;
    }

    fn insert_if(&mut self, shape: Shape, applies: bool) {
        self.0 |= u32::from(applies) << shape as u32;
    }

    fn insert_all(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The accounts of a block by their places.
struct Accounts<'a> {
    places: Walk<'a>,
    all: Vec<Account>,
}

/// What the transactions of a block do with an account, by their positions among those that have an
/// effect; 0 where none does.
#[derive(Default)]
struct Account {
    sends: u32,
    first_sent: u32,
    last_sent: u32,
    /// By how many transactions it is paid.
    payers: u32,
    first_paid: u32,
    last_paid: u32,
    changes_multisig: bool,
    is_new: bool,
    is_net_zero: bool,
}

impl<'a> Accounts<'a> {
    fn of(pre_state: &'a PreState) -> Self {
        let mut all = Vec::new();
        all.resize_with(pre_state.accounts().len(), Account::default);
        Self { places: pre_state.walk(), all }
    }

    fn named(&mut self, account: &Address) -> Option<u32> {
        // A block of 2^32 accounts fits into no memory.
        self.places.place(account).map(|place| place as u32)
    }

    fn sends(&mut self, transaction: &Transaction, position: u32) -> Option<u32> {
        let place = self.named(&transaction.source)?;
        let account = &mut self.all[place as usize];
        account.sends += 1;
        account.last_sent = position;
        if account.sends == 1 {
            account.first_sent = position;
        }
        account.changes_multisig |= matches!(transaction.data, TransactionData::Multisig(_));
        Some(place)
    }

    /// Notes whom a transaction pays, and what can be told from it alone.
    fn pays(
        &mut self,
        transaction: &Transaction,
        source: u32,
        position: u32,
        destinations: &mut Vec<u32>,
    ) -> Option<ShapeSet> {
        let mut own = ShapeSet::default();
        own.insert_if(Shape::MultisigSigned, transaction.multisig.is_some());
        match &transaction.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    own.insert_if(Shape::ZeroAmount, transfer.amount == Amount::ZERO);
                    own.insert_if(Shape::SeveralAssets, transfer.asset != AssetId::NATIVE);
                    let place = self.named(&transfer.destination)?;
                    own.insert_if(Shape::SelfTransfer, place == source);
                    let account = &mut self.all[place as usize];
                    if account.last_paid == position {
                        own.insert(Shape::RepeatedDestination);
                        continue;
                    }
                    account.payers += 1;
                    account.last_paid = position;
                    if account.payers == 1 {
                        account.first_paid = position;
                    }
                    destinations.push(place);
                }
            }
            TransactionData::Burn { asset, .. } => {
                own.insert(Shape::Burn);
                own.insert_if(Shape::SeveralAssets, *asset != AssetId::NATIVE);
            }
            TransactionData::Multisig(_) => own.insert(Shape::MultisigChanged),
            // It has no control, so it does not come here.
            TransactionData::Opaque(_) => {}
        }
        Some(own)
    }

    /// Notes of the accounts what the control wrote of them.
    fn mark(&mut self, pre_state: &PreState, control: &Control) {
        let delta = &control.execution.delta;
        // The control registers exactly the accounts that did not exist, and these writes are the last.
        let mut places = pre_state.finder();
        for key in delta.keys_rev() {
            let StateKey::Registered(account) = key else { break };
            if let Some(place) = places.place(account) {
                self.all[place].is_new = true;
            }
        }
        // Only few accounts do both.
        for (account, address) in self.all.iter_mut().zip(pre_state.accounts()) {
            if account.sends > 0 && account.payers > 0 {
                let key = StateKey::Balance(*address, AssetId::NATIVE);
                let before = pre_state.read(&key);
                account.is_net_zero = delta
                    .get(&key)
                    .is_some_and(|after| before.is_ok_and(|before| before.as_ref() == after));
            }
        }
    }
}

impl Account {
    /// What a transaction takes part in because this account sends it.
    fn of_source(&self, position: u32) -> ShapeSet {
        let mut shapes = ShapeSet::default();
        shapes.insert_if(Shape::SameSenderChain, self.sends > 1);
        shapes.insert_if(Shape::MultisigChangedAndUsed, self.changes_multisig && self.sends > 1);
        shapes.insert_if(Shape::ReceiverSpends, self.payers > 0 && self.first_paid < position);
        shapes.insert_if(Shape::SpenderReceives, self.last_paid > position);
        shapes.insert_if(Shape::NewAccount, self.is_new);
        shapes.insert_if(Shape::NetZero, self.is_net_zero);
        shapes
    }

    /// What a transaction takes part in because it pays this account.
    fn of_destination(&self, position: u32) -> ShapeSet {
        let mut shapes = ShapeSet::default();
        shapes.insert_if(Shape::SharedReceiver, self.payers > 1);
        shapes.insert_if(Shape::ReceiverSpends, self.last_sent > position);
        shapes.insert_if(Shape::SpenderReceives, self.sends > 0 && self.first_sent < position);
        shapes.insert_if(Shape::NewAccount, self.is_new);
        shapes.insert_if(Shape::NewAccountOfSeveral, self.is_new && self.payers > 1);
        shapes.insert_if(Shape::NetZero, self.is_net_zero);
        shapes
    }
}

impl Serialize for Shape {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::ALL
            .iter()
            .copied()
            .find(|shape| shape.as_str() == word)
            .ok_or_else(|| de::Error::custom(format_args!("there is no shape {word:?}")))
    }
}

/// An object of the shapes that are there.
impl Serialize for ShapeCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(None)?;
        for (shape, count) in self.iter() {
            object.serialize_entry(&shape, &count)?;
        }
        object.end()
    }
}

impl<'de> Deserialize<'de> for ShapeCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts = std::collections::BTreeMap::<Shape, u64>::deserialize(deserializer)?;
        Ok(counts.into_iter().collect())
    }
}
