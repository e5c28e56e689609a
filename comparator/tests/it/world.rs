//! A plain model of a chain: it executes random blocks and says what is expected of them.

use std::collections::{BTreeMap, BTreeSet};

use comparator::{
    Execution, Expected, ExpectedTransaction, FailReason, Outcome, SkipReason, Status, Totals,
};
use proptest::prelude::*;
use storage_snapshot::{
    Address, Amount, AssetId, MemoryState, MultisigConfig, Nonce, StateDelta, StateKey, StateRead,
    StateValue, TxHash,
};

use crate::support::*;

/// What is expected of a block, written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectations {
    pub(crate) miner_reward: Amount,
    pub(crate) dev_reward: Amount,
    pub(crate) transactions: Vec<TransactionExpectation>,
    pub(crate) leaky_assets: BTreeSet<AssetId>,
    /// The accounts that have places, in order; none unless a test says so.
    pub(crate) accounts: Vec<Address>,
    /// Where the source of each transaction is said to stand among them, rightly or not.
    pub(crate) places: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
pub(crate) struct TransactionExpectation {
    pub(crate) hash: TxHash,
    pub(crate) source: Address,
    pub(crate) assets: Vec<AssetId>,
    pub(crate) burns: Option<(AssetId, Amount)>,
    pub(crate) changes_multisig: bool,
}

impl Expected for Expectations {
    fn miner_reward(&self) -> Amount {
        self.miner_reward
    }

    fn dev_reward(&self) -> Amount {
        self.dev_reward
    }

    fn transactions(&self) -> usize {
        self.transactions.len()
    }

    fn transaction(&self, number: usize) -> ExpectedTransaction<'_> {
        let TransactionExpectation { hash, source, burns, changes_multisig, .. } =
            &self.transactions[number];
        ExpectedTransaction { hash, source, burns: *burns, changes_multisig: *changes_multisig }
    }

    fn for_each_asset(&self, number: usize, each: &mut dyn FnMut(AssetId)) {
        self.transactions[number].assets.iter().copied().for_each(each);
    }

    fn leaky_assets(&self) -> BTreeSet<AssetId> {
        self.leaky_assets.clone()
    }

    fn accounts(&self) -> &[Address] {
        &self.accounts
    }

    fn place_of_source(&self, number: usize) -> Option<usize> {
        self.places.get(number).copied().flatten()
    }
}

/// A block, what it starts from, what it does, and what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) pre_state: MemoryState,
    pub(crate) control: Execution,
    pub(crate) expectations: Expectations,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    source: usize,
    nonce_is_right: bool,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Transfer { to: usize, gold: bool, amount: u64 },
    Burn { gold: bool, amount: u64 },
    Multisig(Option<u8>),
}

const ACCOUNTS: [Address; 5] = [A, B, C, MINER, DEV];
const FEE: u64 = 3;
const MINER_REWARD: u64 = 90;
const DEV_REWARD: u64 = 10;

/// Blocks of up to `transactions` transactions.
pub(crate) fn any_world(transactions: usize) -> impl Strategy<Value = World> {
    let amounts = || prop_oneof![8 => 0..1_000_u64, 1 => Just(u64::MAX - 5)];
    let balances = prop::collection::vec(prop::option::of(amounts()), ACCOUNTS.len() * 2);
    let nonces = prop::collection::vec(prop::option::weighted(0.8, 0..9_u64), ACCOUNTS.len());
    let configs = prop::collection::vec(prop::option::weighted(0.3, 1..3_u8), ACCOUNTS.len());
    let kind = prop_oneof![
        4 => (0..ACCOUNTS.len(), any::<bool>(), 0..50_u64)
            .prop_map(|(to, gold, amount)| Kind::Transfer { to, gold, amount }),
        1 => (any::<bool>(), 0..50_u64).prop_map(|(gold, amount)| Kind::Burn { gold, amount }),
        1 => prop::option::of(1..3_u8).prop_map(Kind::Multisig),
    ];
    let plan = (0..ACCOUNTS.len(), prop::bool::weighted(0.9), kind)
        .prop_map(|(source, nonce_is_right, kind)| Plan { source, nonce_is_right, kind });
    let plans = prop::collection::vec(plan, 0..transactions);
    (balances, nonces, configs, plans).prop_map(|(balances, nonces, configs, plans)| {
        let mut pre_state = MemoryState::new();
        for (i, account) in ACCOUNTS.into_iter().enumerate() {
            pre_state.set(native(account), balances[i * 2].and_then(balance));
            pre_state.set(StateKey::Balance(account, GOLD), balances[i * 2 + 1].and_then(balance));
            pre_state.set(StateKey::Nonce(account), nonces[i].and_then(nonce));
            let registered = nonces[i].map(|_| StateValue::Registered);
            pre_state.set(StateKey::Registered(account), registered);
            let config = configs[i].and_then(|threshold| multisig(threshold, &[A, B]));
            pre_state.set(StateKey::Multisig(account), config);
        }
        execute(pre_state, &plans)
    })
}

fn execute(pre_state: MemoryState, plans: &[Plan]) -> World {
    let mut block = Block { touched: BTreeMap::new(), delta: StateDelta::new(), pre_state };
    let mut outcomes = Vec::new();
    let mut transactions = Vec::new();
    let mut totals = Totals {
        miner_reward: Amount::new(MINER_REWARD),
        dev_reward: Amount::new(DEV_REWARD),
        ..Totals::default()
    };
    // A reward that overflows ends the real chain's block; here the balance wraps, so that the sums
    // still have to hold.
    block.add(DEV, AssetId::NATIVE, DEV_REWARD);
    block.add(MINER, AssetId::NATIVE, MINER_REWARD);

    for (number, plan) in plans.iter().enumerate() {
        let hash = TxHash::new([number as u8 + 1; 32]);
        let source = ACCOUNTS[plan.source];
        let (status, expectation) = block.transaction(hash, source, plan);
        let mut fee = Amount::ZERO;
        if status == Status::Executed {
            fee = Amount::new(FEE);
            totals.fees = totals.fees.checked_add(fee).unwrap();
            if let Some((AssetId::NATIVE, amount)) = expectation.burns {
                totals.burned = totals.burned.checked_add(amount).unwrap();
            }
        }
        outcomes.push(Outcome { hash, status, fee });
        transactions.push(expectation);
    }
    block.add(MINER, AssetId::NATIVE, totals.fees.as_u64());

    for ((account, asset), amount) in block.touched {
        block.delta.set_balance(account, asset, Amount::new(amount));
    }
    World {
        control: Execution { outcomes, delta: block.delta, totals, exercise: wide() },
        expectations: Expectations {
            miner_reward: totals.miner_reward,
            dev_reward: totals.dev_reward,
            transactions,
            ..Expectations::default()
        },
        pre_state: block.pre_state,
    }
}

struct Block {
    touched: BTreeMap<(Address, AssetId), u64>,
    delta: StateDelta,
    pre_state: MemoryState,
}

impl Block {
    fn transaction(
        &mut self,
        hash: TxHash,
        source: Address,
        plan: &Plan,
    ) -> (Status, TransactionExpectation) {
        let asset = |gold| if gold { GOLD } else { AssetId::NATIVE };
        let mut expectation = TransactionExpectation {
            hash,
            source,
            assets: [AssetId::NATIVE].into(),
            burns: None,
            changes_multisig: matches!(plan.kind, Kind::Multisig(_)),
        };
        match plan.kind {
            Kind::Transfer { gold, .. } => expectation.assets.push(asset(gold)),
            Kind::Burn { gold, amount } => {
                expectation.assets.push(asset(gold));
                expectation.burns = Some((asset(gold), Amount::new(amount)));
            }
            Kind::Multisig(_) => {}
        }

        let Some(nonce) = self.nonce(source).filter(|_| plan.nonce_is_right) else {
            return (Status::Skipped(SkipReason::Nonce), expectation);
        };
        self.delta.set_nonce(source, nonce.next().unwrap());
        self.add(source, AssetId::NATIVE, FEE.wrapping_neg());
        let mut status = Status::Executed;
        match plan.kind {
            Kind::Transfer { to, gold, amount } => {
                self.add(source, asset(gold), amount.wrapping_neg());
                let to = ACCOUNTS[to];
                if self.balance(to, asset(gold)).checked_add(amount).is_some() {
                    self.add(to, asset(gold), amount);
                    if self.nonce(to).is_none() {
                        self.delta.set_nonce(to, Nonce::new(0));
                        self.delta.register(to);
                    }
                } else {
                    status = Status::Failed(FailReason::CreditOverflow);
                }
            }
            Kind::Burn { gold, amount } => self.add(source, asset(gold), amount.wrapping_neg()),
            Kind::Multisig(threshold) => {
                let config = threshold
                    .map(|threshold| MultisigConfig { threshold, participants: vec![B, C] });
                self.delta.set_multisig(source, config);
            }
        }
        (status, expectation)
    }

    fn nonce(&self, account: Address) -> Option<Nonce> {
        let key = StateKey::Nonce(account);
        let value = match self.delta.get(&key) {
            Some(written) => written.cloned(),
            None => self.pre_state.read(&key).unwrap(),
        };
        value.map(|value| match value {
            StateValue::Nonce(nonce) => nonce,
            other => panic!("{other:?} is no nonce"),
        })
    }

    fn balance(&self, account: Address, asset: AssetId) -> u64 {
        if let Some(amount) = self.touched.get(&(account, asset)) {
            return *amount;
        }
        match self.pre_state.read(&StateKey::Balance(account, asset)).unwrap() {
            Some(StateValue::Balance(amount)) => amount.as_u64(),
            _ => 0,
        }
    }

    fn add(&mut self, account: Address, asset: AssetId, amount: u64) {
        let sum = self.balance(account, asset).wrapping_add(amount);
        self.touched.insert((account, asset), sum);
    }
}
