//! The control: a block executed one transaction after another, as the chain's serial path does it.
//!
//! This is the source of truth that everything else is compared with, so it is written to be checked
//! by eye against the chain's rules: no cleverness, no sharing with the engine under test beyond the
//! rules themselves. Read `SerialExecutor::on` from top to bottom; it is the block's life.

use std::{fmt, sync::Arc};

use comparator::{
    Execution, Exercise, FailReason, Failure, Outcome, Provenance, Schedule, SkipReason, Status,
    Totals,
};
use smallvec::SmallVec;
use storage_snapshot::{
    Address, Amount, AssetId, MultisigConfig, Nonce, ReadError, StateDelta, StateKey, StateValue,
    TxHash,
};

use super::{BlockExecutor, ExecutableBlock, Loads, Performed, PreState};
use crate::rules::{Effect, NonceWindow, Quirk, Quirks, Used, Walk, for_each_effect};

/// Executes a block serially.
#[derive(Clone, Copy, Debug, Default)]
pub struct SerialExecutor;

/// What the serial execution of a block found.
#[derive(Clone, Debug)]
pub struct Control {
    /// The result that candidates are compared with.
    pub execution: Execution,
    /// Which oddities of the chain fired on the way.
    pub quirks: Quirks,
}

impl SerialExecutor {
    /// Executes a block on top of its parent's state.
    ///
    /// # Errors
    ///
    /// When the rules do not lead to a result: a value is not known, or the block is one that no
    /// node would have accepted.
    pub fn control(
        &self,
        block: &ExecutableBlock,
        parent: &PreState,
    ) -> Result<Control, ControlError> {
        match Self::on(parent, block) {
            // What was resolved for the block names all of its accounts. A world that was read from its values
            // may not, and then the block begins again on one that does.
            Err(ControlError::NotNamed(_)) => Self::on(&parent.covering(block), block),
            decided => decided,
        }
    }

    /// The block's life, on a world that names its accounts.
    fn on(parent: &PreState, block: &ExecutableBlock) -> Result<Control, ControlError> {
        let mut state = SerialState::new(parent);
        let mut outcomes = Vec::with_capacity(block.transactions.len());
        let mut fees = Amount::ZERO;

        // The reward comes first, so a miner may spend it in its own block.
        state.credit_block(&block.dev, block.reward.dev)?;
        state.credit_block(&block.miner, block.reward.miner)?;

        for (number, transaction) in block.transactions.iter().enumerate() {
            let body = &transaction.body;
            state.places.go_to(number);
            if transaction.already_executed {
                outcomes.push(skipped(body.hash, SkipReason::AlreadyExecuted));
                continue;
            }
            if !state.use_nonce(&body.source, body.nonce, body.hash)? {
                outcomes.push(skipped(body.hash, SkipReason::Nonce));
                continue;
            }
            match for_each_effect(body, |effect| state.apply(effect)) {
                Ok(()) => {
                    state.settle_nonce(&body.source, body.nonce)?;
                    fees = fees.checked_add(body.fee).ok_or(ControlError::TotalOverflow("fees"))?;
                    outcomes.push(Outcome {
                        hash: body.hash,
                        status: Status::Executed,
                        fee: body.fee,
                    });
                }
                // What was applied before the failing credit stays, as on the chain.
                Err(Stop::CreditOverflow) => {
                    state.undo_nonce(&body.source, body.nonce)?;
                    outcomes.push(Outcome {
                        hash: body.hash,
                        status: Status::Failed(FailReason::CreditOverflow),
                        fee: Amount::ZERO,
                    });
                }
                Err(Stop::Control(error)) => return Err(error),
            }
        }

        // The fees come last: a miner cannot spend them in its own block.
        state.credit_block(&block.miner, fees)?;

        let totals = Totals {
            fees,
            burned: state.burned,
            miner_reward: block.reward.miner,
            dev_reward: block.reward.dev,
        };
        let (delta, quirks) = state.finish()?;
        let exercise = Exercise {
            workers: 1,
            batches: 1,
            max_in_flight: 1,
            fallback: None,
            provenance: Provenance::Independent,
        };
        Ok(Control { execution: Execution { outcomes, delta, totals, exercise }, quirks })
    }
}

impl BlockExecutor for SerialExecutor {
    fn name(&self) -> &str {
        "serial"
    }

    fn build(&self) -> String {
        concat!("shadow serial ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        _schedule: Schedule,
    ) -> Result<Performed, Failure> {
        match self.control(block, pre_state) {
            Ok(control) => Ok(Performed {
                execution: control.execution,
                loads: Loads::default(),
                elapsed: None,
            }),
            Err(error) => Err(Failure::Error(error.to_string())),
        }
    }
}

/// Why the serial execution of a block has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// State that the block needs cannot be told.
    Read(ReadError),
    /// The source has no nonce. A node refuses such a block whole.
    SourceWithoutNonce {
        /// The transaction.
        transaction: TxHash,
        /// Its source.
        source: Address,
    },
    /// The account is none of those that the block names.
    NotNamed(Address),
    /// A sum over the whole block exceeds 2^64-1. A node refuses such a block whole.
    TotalOverflow(&'static str),
}

impl From<ReadError> for ControlError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::SourceWithoutNonce { transaction, source } => {
                write!(f, "transaction {transaction} is from {source}, which has no nonce")
            }
            Self::NotNamed(account) => write!(f, "the block does not name {account}"),
            Self::TotalOverflow(total) => write!(f, "the block's {total} exceed 2^64-1"),
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::SourceWithoutNonce { .. } | Self::NotNamed(_) | Self::TotalOverflow(_) => None,
        }
    }
}

/// Why the effects of one transaction end early.
enum Stop {
    CreditOverflow,
    Control(ControlError),
}

impl From<ControlError> for Stop {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

/// The block's staging area: nothing is decided about a balance until the block ends, because the
/// chain takes what an account spends from what it received in one go.
struct SerialState<'a> {
    parent: &'a PreState,
    /// Finds the place of an account among the accounts that the block names.
    places: Walk<'a>,
    /// By their places.
    accounts: Vec<Account>,
    burned: Amount,
    quirks: Quirks,
}

/// An account within a block, as far as the block got to it.
#[derive(Default)]
struct Account {
    /// The nonces that it used; of a source only.
    window: Option<NonceWindow>,
    /// The nonce that was written.
    nonce: Option<Nonce>,
    /// Nearly always the native one alone.
    balances: SmallVec<[(AssetId, Balance); 1]>,
    /// The configuration that was written, if one was; most accounts have none.
    multisig: Option<Box<Option<MultisigConfig>>>,
}

/// A balance within a block.
struct Balance {
    /// The balance before the block and everything credited since.
    credited: Amount,
    /// The sum of everything spent.
    spent: Amount,
    /// Whether the block credited it, be it with zero.
    was_credited: bool,
    /// Whether the block debited it, be it by zero.
    was_debited: bool,
}

impl<'a> SerialState<'a> {
    fn new(parent: &'a PreState) -> Self {
        let mut accounts = Vec::new();
        accounts.resize_with(parent.accounts().len(), Account::default);
        Self {
            parent,
            places: parent.walk(),
            accounts,
            burned: Amount::ZERO,
            quirks: Quirks::default(),
        }
    }

    fn apply(&mut self, effect: Effect<'_>) -> Result<(), Stop> {
        match effect {
            Effect::Nonce(account, nonce) => self.account(account)?.nonce = Some(nonce),
            Effect::Debit(account, asset, amount) => {
                let balance = self.balance(account, asset)?;
                let exact = balance.spent.checked_add(amount);
                balance.spent = balance.spent.saturating_add(amount);
                balance.was_debited = true;
                if exact.is_none() {
                    self.quirks.count(Quirk::DebitSaturated);
                }
            }
            Effect::Credit(account, asset, amount) => {
                let balance = self.balance(account, asset)?;
                let credited = balance.credited.checked_add(amount).ok_or(Stop::CreditOverflow)?;
                balance.credited = credited;
                balance.was_credited = true;
            }
            Effect::Burn(amount) => {
                let burned = self.burned.checked_add(amount);
                self.burned = burned.ok_or(ControlError::TotalOverflow("burned units"))?;
            }
            Effect::Multisig(account, config) => {
                self.account(account)?.multisig = Some(Box::new(config));
            }
        }
        Ok(())
    }

    /// Credits the miner or the dev key. Here an overflow is no failed transaction: the node
    /// refuses the block.
    fn credit_block(&mut self, account: &Address, amount: Amount) -> Result<(), ControlError> {
        match self.apply(Effect::Credit(account, AssetId::NATIVE, amount)) {
            Ok(()) => Ok(()),
            Err(Stop::CreditOverflow) => Err(ControlError::TotalOverflow("reward and fees")),
            Err(Stop::Control(error)) => Err(error),
        }
    }

    fn use_nonce(
        &mut self,
        account: &Address,
        nonce: Nonce,
        transaction: TxHash,
    ) -> Result<bool, ControlError> {
        let place = self.place(account)?;
        let source = &mut self.accounts[place];
        let window = match &mut source.window {
            Some(window) => window,
            None => {
                let initial = self.parent.nonce_at(place)?;
                let initial = initial
                    .ok_or(ControlError::SourceWithoutNonce { transaction, source: *account })?;
                source.window.insert(NonceWindow::new(initial))
            }
        };
        let used = window.use_nonce(nonce);
        match used {
            Some(Used::WithGap) => self.quirks.count(Quirk::NonceGap),
            Some(Used::OutOfOrder) => self.quirks.count(Quirk::NonceOutOfOrder),
            Some(Used::InOrder) | None => {}
        }
        Ok(used.is_some())
    }

    fn undo_nonce(&mut self, account: &Address, nonce: Nonce) -> Result<(), ControlError> {
        self.quirks.count(Quirk::FailedKeepsEffects);
        if let Some(window) = &mut self.account(account)?.window {
            window.undo(nonce);
        }
        Ok(())
    }

    /// After an executed transaction the account's nonce is the highest expected one.
    fn settle_nonce(&mut self, account: &Address, nonce: Nonce) -> Result<(), ControlError> {
        let source = self.account(account)?;
        if let Some(window) = &source.window
            && Some(window.expected()) != nonce.next()
        {
            source.nonce = Some(window.expected());
        }
        Ok(())
    }

    fn account(&mut self, account: &Address) -> Result<&mut Account, ControlError> {
        let place = self.place(account)?;
        Ok(&mut self.accounts[place])
    }

    fn place(&mut self, account: &Address) -> Result<usize, ControlError> {
        self.places.place(account).ok_or(ControlError::NotNamed(*account))
    }

    fn balance(&mut self, account: &Address, asset: AssetId) -> Result<&mut Balance, ControlError> {
        let place = self.place(account)?;
        let balances = &mut self.accounts[place].balances;
        let index = match balances.iter().position(|(held, _)| *held == asset) {
            Some(index) => index,
            None => {
                let untouched = Balance {
                    credited: self.parent.balance_at(place, asset)?,
                    spent: Amount::ZERO,
                    was_credited: false,
                    was_debited: false,
                };
                balances.push((asset, untouched));
                balances.len() - 1
            }
        };
        Ok(&mut balances[index].1)
    }

    /// The writes of the block: every touched key once, with its value at the end, in the order of
    /// the keys.
    fn finish(mut self) -> Result<(StateDelta, Quirks), ControlError> {
        let parent = self.parent;
        let mut writes = Vec::with_capacity(self.accounts.len() * 3);
        for (place, (account, staged)) in parent.accounts().iter().zip(&self.accounts).enumerate() {
            let nonce = match staged.nonce {
                None if staged.was_credited() && parent.nonce_at(place)?.is_none() => {
                    Some(Nonce::new(0))
                }
                written => written,
            };
            if let Some(nonce) = nonce {
                writes.push((StateKey::Nonce(*account), Some(StateValue::Nonce(nonce))));
            }
        }
        for (account, staged) in parent.accounts().iter().zip(&mut self.accounts) {
            staged.balances.sort_unstable_by_key(|(asset, _)| *asset);
            for (asset, balance) in &staged.balances {
                if !balance.was_touched() {
                    continue;
                }
                if balance.spent > balance.credited {
                    self.quirks.count(Quirk::DebitWrapped);
                }
                let after = balance.credited.wrapping_sub(balance.spent);
                let key = StateKey::Balance(*account, *asset);
                writes.push((key, Some(StateValue::Balance(after))));
            }
        }
        for (account, staged) in parent.accounts().iter().zip(&mut self.accounts) {
            if let Some(config) = staged.multisig.take() {
                writes.push((StateKey::Multisig(*account), config.map(StateValue::from)));
            }
        }
        for (place, (account, staged)) in parent.accounts().iter().zip(&self.accounts).enumerate() {
            if staged.was_credited() && !parent.is_registered_at(place)? {
                writes.push((StateKey::Registered(*account), Some(StateValue::Registered)));
            }
        }
        Ok((writes.into_iter().collect(), self.quirks))
    }
}

impl Account {
    fn was_credited(&self) -> bool {
        self.balances.iter().any(|(_, balance)| balance.was_credited)
    }
}

impl Balance {
    /// A credit that overflowed looked at the balance and left it alone.
    const fn was_touched(&self) -> bool {
        self.was_credited || self.was_debited
    }
}

fn skipped(hash: TxHash, reason: SkipReason) -> Outcome {
    Outcome { hash, status: Status::Skipped(reason), fee: Amount::ZERO }
}
