//! The shapes of a block: the ways in which its transactions meet, each of which an executor can get
//! wrong on its own.
//!
//! A thousand blocks of strangers who pay strangers agree whatever the executor does about conflicts.
//! So the transactions that take part in each shape are counted, and not those that happened to stand
//! in the same block.

use std::fmt;

use comparator::{Before, SkipReason, Status};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use storage_snapshot::{Amount, AssetId, StateKey, StateValue};

use crate::{
    chain::{Transaction, TransactionData},
    execute::{Control, ExecutableBlock, PreState, spent},
    kinds::TransactionKind,
    rules::Quirk,
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
    /// be waited for: it comes to be executed only where they were made of another state, before a
    /// re-order, or not made at all.
    pub const fn is_accepted(self) -> bool {
        !matches!(self, Self::SelfTransfer | Self::DebitWrapped | Self::DebitSaturated)
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
    DebitWrapped = "debit_wrapped", "it belongs to an overdraft: one for each balance that wraps around 2^64";
    DebitSaturated = "debit_saturated", "what its account spends in the block exceeds 2^64-1 with it";
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

/// What a transaction tells by itself of how it is to be counted.
///
/// It is noted while the transaction is at hand: to come back to it for that takes longer than all the counting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its kind.
    pub(crate) kind: TransactionKind,
    own: ShapeSet,
    spent: Amount,
}

impl Told {
    /// What the transactions of a block tell, in their order.
    pub(crate) fn of_block(block: &ExecutableBlock) -> Vec<Self> {
        block.transactions.iter().map(|transaction| Self::of(&transaction.body)).collect()
    }

    fn of(transaction: &Transaction) -> Self {
        let mut own = ShapeSet::default();
        own.insert_if(Shape::MultisigSigned, transaction.multisig.is_some());
        match &transaction.data {
            TransactionData::Transfers(transfers) => {
                for transfer in transfers {
                    own.insert_if(Shape::ZeroAmount, transfer.amount == Amount::ZERO);
                    own.insert_if(Shape::SeveralAssets, transfer.asset != AssetId::NATIVE);
                }
            }
            TransactionData::Burn { asset, .. } => {
                own.insert(Shape::Burn);
                own.insert_if(Shape::SeveralAssets, *asset != AssetId::NATIVE);
            }
            TransactionData::Multisig(_) => own.insert(Shape::MultisigChanged),
            // It has no control, so there is nothing to be told of it.
            TransactionData::Opaque(_) => {}
        }
        Self { kind: TransactionKind::of(transaction), own, spent: spent(transaction) }
    }

    /// What it spends if it is executed, whatever the assets, added up to 2^64-1 at most.
    pub(crate) const fn spent(&self) -> Amount {
        self.spent
    }
}

/// Which transactions of a block take part in which shape, given what the control made of them.
///
/// A transaction that was passed over had no effect, so it meets nobody: it counts for the reason why
/// it was passed over and for nothing else. One that failed keeps what it took from its account, so it
/// counts for what it sends. It counts for nothing that it pays: the credit that broke and those after it
/// had no effect, and the control does not tell which one that was.
///
/// The world is the one that was made for the block, or one that was read from its values.
pub fn shapes(block: &ExecutableBlock, pre_state: &PreState, control: &Control) -> ShapeCounts {
    shapes_of(&Told::of_block(block), block, pre_state, control)
}

/// The same where it is known what the transactions tell.
pub(crate) fn shapes_of(
    told: &[Told],
    block: &ExecutableBlock,
    pre_state: &PreState,
    control: &Control,
) -> ShapeCounts {
    if pre_state.mentions().len() != told.len() {
        // A world that was read from its values does not know where the transactions name its accounts.
        return shapes_of(told, block, &pre_state.made_for(block), control);
    }
    let mut counts = ShapeCounts::default();
    for (quirk, count) in control.quirks.iter() {
        match quirk {
            Quirk::NonceGap => counts.add(Shape::NonceGap, count),
            Quirk::NonceOutOfOrder => counts.add(Shape::NonceOutOfOrder, count),
            Quirk::DebitWrapped => counts.add(Shape::DebitWrapped, count),
            Quirk::DebitSaturated => counts.add(Shape::DebitSaturated, count),
            Quirk::FailedKeepsEffects | Quirk::SideRewardOrder | Quirk::DuplicateTransaction => {}
        }
    }

    let mut accounts = Accounts::of(pre_state);
    let mut effective = Vec::with_capacity(told.len());
    let mut destinations = Vec::with_capacity(told.len());
    // The control's outcomes are in the order of the block.
    let outcomes = control.execution.outcomes.iter();
    for ((told, mentioned), outcome) in told.iter().zip(pre_state.mentions()).zip(outcomes) {
        let mut own = told.own;
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
        // Every transaction has a source.
        let Some((source, paid)) = mentioned.split_first() else { continue };
        // Positions begin with 1, so that 0 is before all of them.
        let paid = if own.contains(Shape::FailedTransaction) { &[] } else { paid };
        let position = effective.len() as u32 + 1;
        accounts.sends(*source, own, position);
        own.insert_all(accounts.pays(*source, paid, position, &mut destinations));
        effective.push(Effective { source: *source, own, destinations_end: destinations.len() });
    }
    accounts.mark(pre_state, control);

    // The block names both.
    let place = |account| pre_state.place(account).map(|place| place as u32);
    let (miner, dev) = (place(&block.miner), place(&block.dev));
    let mut start = 0;
    for (position, Effective { source, own, destinations_end }) in (1..).zip(effective) {
        let paid = &destinations[start..destinations_end];
        start = destinations_end;
        let mut shapes = own;
        shapes.insert_all(accounts.all[source as usize].of_source(position));
        let (mut pays_miner, mut pays_dev) = (false, false);
        for destination in paid {
            shapes.insert_all(accounts.all[*destination as usize].of_destination(position));
            pays_miner |= Some(*destination) == miner;
            pays_dev |= Some(*destination) == dev;
        }
        let source = Some(source);
        shapes.insert_if(Shape::MinerSpends, source == miner);
        shapes.insert_if(Shape::MinerInTransaction, source == miner || pays_miner);
        shapes.insert_if(Shape::DevInTransaction, source == dev || pays_dev);
        counts.add_each(shapes);
    }
    counts
}

/// A transaction that was not passed over.
struct Effective {
    source: u32,
    /// What can be told from the transaction alone.
    own: ShapeSet,
    destinations_end: usize,
}

/// Shapes as bits.
#[derive(Clone, Copy, Debug, Default)]
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

    const fn contains(self, shape: Shape) -> bool {
        self.0 & 1 << shape as u32 != 0
    }
}

/// The accounts of a block by their places.
struct Accounts {
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

impl Accounts {
    fn of(pre_state: &PreState) -> Self {
        let mut all = Vec::new();
        all.resize_with(pre_state.accounts().len(), Account::default);
        Self { all }
    }

    fn sends(&mut self, source: u32, own: ShapeSet, position: u32) {
        let account = &mut self.all[source as usize];
        account.sends += 1;
        account.last_sent = position;
        if account.sends == 1 {
            account.first_sent = position;
        }
        account.changes_multisig |= own.contains(Shape::MultisigChanged);
    }

    /// Notes whom a transaction pays, each once, and what can be told from that alone.
    fn pays(
        &mut self,
        source: u32,
        paid: &[u32],
        position: u32,
        destinations: &mut Vec<u32>,
    ) -> ShapeSet {
        let mut own = ShapeSet::default();
        for place in paid {
            own.insert_if(Shape::SelfTransfer, *place == source);
            let account = &mut self.all[*place as usize];
            if account.last_paid == position {
                own.insert(Shape::RepeatedDestination);
                continue;
            }
            account.payers += 1;
            account.last_paid = position;
            if account.payers == 1 {
                account.first_paid = position;
            }
            destinations.push(*place);
        }
        own
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
        // Only some accounts do both. They come in the order of the keys, so the writes are gone through once.
        let mut writes = delta.iter().skip_while(|(key, _)| matches!(key, StateKey::Nonce(_)));
        let mut write = writes.next();
        let accounts = self.all.iter_mut().zip(pre_state.accounts()).enumerate();
        for (place, (account, address)) in accounts {
            if account.sends == 0 || account.payers == 0 {
                continue;
            }
            let key = StateKey::Balance(*address, AssetId::NATIVE);
            // The first bytes nearly always decide, and fit into a register.
            let wanted = address.prefix();
            while let Some((StateKey::Balance(written, asset), _)) = write
                && (written.prefix() < wanted || StateKey::Balance(*written, *asset) < key)
            {
                write = writes.next();
            }
            let before = pre_state.before_at(place, &key);
            account.is_net_zero = matches!(
                write,
                Some((written, Some(StateValue::Balance(after))))
                    if *written == key && before == Some(Before::Number(after.as_u64()))
            );
        }
    }
}

impl Account {
    /// What a transaction takes part in because this account sends it.
    fn of_source(&self, position: u32) -> ShapeSet {
        let mut shapes = ShapeSet::default();
        if self.sends == 1 && self.payers == 0 && !self.is_new {
            return shapes;
        }
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
        if self.payers == 1 && self.sends == 0 && !self.is_new {
            return shapes;
        }
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
