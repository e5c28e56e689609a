//! Small blocks made by hand.

use std::sync::Arc;

use comparator::{
    Execution, Failure, Limits, LocatedTransaction, Mismatch, Schedule, Verdict, compare,
};
use shadow::{
    chain::{FeeType, Reference, Transaction, TransactionData, Transfer},
    execute::{
        BlockExecutor, ExecutableBlock, ExecutableTransaction, Loads, Performed, PreState,
        SerialExecutor,
    },
    locate::{Rerun, locate},
    observe::observe,
    rules::Reward,
};
use storage_snapshot::{
    Address, Amount, AssetId, BlockHash, BlockRef, MultisigConfig, Nonce, StateKey, StateValue,
    TopoHeight, TxHash,
};

pub(crate) const NATIVE: AssetId = AssetId::NATIVE;
pub(crate) const GOLD: AssetId = AssetId::new([0x60; 32]);
pub(crate) const A: Address = Address::new([0xaa; 32]);
pub(crate) const B: Address = Address::new([0xbb; 32]);
pub(crate) const C: Address = Address::new([0xcc; 32]);
pub(crate) const D: Address = Address::new([0xdd; 32]);
/// Mines every block made here.
pub(crate) const M: Address = Address::new([0x11; 32]);
/// The dev key.
pub(crate) const DEV: Address = Address::new([0x22; 32]);

pub(crate) const MINER_REWARD: u64 = 90;
pub(crate) const DEV_REWARD: u64 = 10;

/// A block and the state before it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    before: Vec<(StateKey, StateValue)>,
    transactions: Vec<ExecutableTransaction>,
}

impl World {
    /// Miner and dev key exist and have nothing.
    pub(crate) fn new() -> Self {
        Self::default().account(M, 0, 0).account(DEV, 0, 0)
    }

    /// An account with a nonce and so many native units.
    pub(crate) fn account(self, account: Address, nonce: u64, balance: u64) -> Self {
        self.with(StateKey::Nonce(account), StateValue::Nonce(Nonce::new(nonce)))
            .with(StateKey::Registered(account), StateValue::Registered)
            .holding(account, NATIVE, balance)
    }

    pub(crate) fn holding(self, account: Address, asset: AssetId, balance: u64) -> Self {
        let value = StateValue::Balance(Amount::new(balance));
        self.with(StateKey::Balance(account, asset), value)
    }

    pub(crate) fn with(mut self, key: StateKey, value: StateValue) -> Self {
        self.before.retain(|(other, _)| *other != key);
        self.before.push((key, value));
        self
    }

    /// A transfer of native units.
    pub(crate) fn pay(self, from: Address, nonce: u64, to: Address, amount: u64, fee: u64) -> Self {
        self.transfer(from, nonce, &[(NATIVE, to, amount)], fee)
    }

    pub(crate) fn transfer(
        self,
        from: Address,
        nonce: u64,
        outputs: &[(AssetId, Address, u64)],
        fee: u64,
    ) -> Self {
        let transfers = outputs
            .iter()
            .map(|(asset, destination, amount)| Transfer {
                asset: *asset,
                destination: *destination,
                amount: Amount::new(*amount),
                extra_data: None,
            })
            .collect();
        self.transaction(from, nonce, fee, TransactionData::Transfers(transfers))
    }

    pub(crate) fn burn(
        self,
        from: Address,
        nonce: u64,
        asset: AssetId,
        amount: u64,
        fee: u64,
    ) -> Self {
        let data = TransactionData::Burn { asset, amount: Amount::new(amount) };
        self.transaction(from, nonce, fee, data)
    }

    pub(crate) fn multisig(
        self,
        from: Address,
        nonce: u64,
        threshold: u8,
        participants: &[Address],
        fee: u64,
    ) -> Self {
        let data = TransactionData::Multisig(config(threshold, participants));
        self.transaction(from, nonce, fee, data)
    }

    pub(crate) fn transaction(
        mut self,
        source: Address,
        nonce: u64,
        fee: u64,
        data: TransactionData,
    ) -> Self {
        let body = Transaction {
            hash: TxHash::new([0; 32]),
            version: 0,
            source,
            data,
            fee: Amount::new(fee),
            fee_type: FeeType::Tos,
            nonce: Nonce::new(nonce),
            reference: Reference {
                hash: BlockHash::new([0xee; 32]),
                topoheight: TopoHeight::new(11),
            },
            multisig: None,
            signature: [0; 64],
        };
        let body = body.seal().unwrap();
        self.transactions.push(ExecutableTransaction { body, already_executed: false });
        self
    }

    /// The last transaction was executed by another block.
    pub(crate) fn executed_before(mut self) -> Self {
        self.transactions.last_mut().unwrap().already_executed = true;
        self
    }

    pub(crate) fn block(&self) -> Arc<ExecutableBlock> {
        Arc::new(ExecutableBlock {
            block: BlockRef { topoheight: TopoHeight::new(12), hash: BlockHash::new([0xff; 32]) },
            side_block: false,
            miner: M,
            dev: DEV,
            reward: Reward { miner: Amount::new(MINER_REWARD), dev: Amount::new(DEV_REWARD) },
            transactions: self.transactions.clone(),
        })
    }

    pub(crate) fn pre_state(&self) -> Arc<PreState> {
        Arc::new(self.before.iter().cloned().collect())
    }

    /// What the serial executor makes of it.
    pub(crate) fn serial(&self) -> Execution {
        SerialExecutor.control(&self.block(), &self.pre_state()).unwrap().execution
    }

    /// What a candidate makes of it, held against the serial executor.
    pub(crate) fn verdict(&self, candidate: &dyn BlockExecutor, workers: u32) -> Verdict {
        let (block, pre_state) = (self.block(), self.pre_state());
        let control = self.serial();
        let schedule = Schedule { workers, seed: 0 };
        let (observation, _) = observe(candidate, &block, &pre_state, schedule);
        compare(&control, &observation, &*pre_state, &*block, &Limits::default()).unwrap()
    }

    /// The mismatch that a candidate must be found guilty of, and where its first difference begins.
    #[track_caller]
    pub(crate) fn mismatch(
        &self,
        candidate: &dyn BlockExecutor,
    ) -> (Mismatch, Option<LocatedTransaction>) {
        let Verdict::Mismatch(mismatch) = self.verdict(candidate, 2) else {
            panic!("the fault was not noticed");
        };
        let schedule = Schedule { workers: 2, seed: 0 };
        let pre_state = self.pre_state();
        let rerun = Rerun { candidate, pre_state: &pre_state, schedule };
        let located = locate(mismatch.first().unwrap(), &self.block(), Some(rerun));
        (mismatch, located)
    }
}

pub(crate) fn config(threshold: u8, participants: &[Address]) -> MultisigConfig {
    MultisigConfig { threshold, participants: participants.to_vec() }
}

/// An executor that is right but for one alteration of its result, made the same way every time.
pub(crate) struct Altered<F>(pub(crate) F);

impl<F> std::fmt::Debug for Altered<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Altered")
    }
}

impl<F> BlockExecutor for Altered<F>
where
    F: Fn(&ExecutableBlock, &PreState, &mut Execution) + Send + Sync,
{
    fn name(&self) -> &str {
        "altered"
    }

    fn build(&self) -> String {
        "test".to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let control = SerialExecutor.control(block, pre_state);
        let mut execution = control.map_err(|error| Failure::Error(error.to_string()))?.execution;
        execution.exercise.workers = schedule.workers;
        execution.exercise.max_in_flight = schedule.workers;
        (self.0)(block, pre_state, &mut execution);
        Ok(Performed { execution, loads: Loads::default(), elapsed: None })
    }
}

/// A file or directory that the tests were given.
pub(crate) fn fixture(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
