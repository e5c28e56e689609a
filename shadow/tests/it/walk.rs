//! A generated chain, walked block by block with the serial executor.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use comparator::{Execution, Limits, Schedule, Status, Verdict, compare};
use shadow::{
    chain::{Block, Transaction, TransactionData, Transfer},
    execute::{ExecutableBlock, PreState, SerialExecutor, parallel::ParallelExecutor},
    observe::observe,
    prepare::{ChainSoFar, prepare},
    rules::{Quirk, Quirks, SIDE_BLOCK_WINDOW},
    source::{BlockSource, ChainEvent, GeneratedChain, GeneratedOptions},
};
use storage_snapshot::{
    Address, Amount, AssetId, BlockFacts, BlockRef, MemoryState, MultisigConfig, Nonce, StateDelta,
    StateKey, StateRead, StateValue, TopoHeight, TxHash,
};

/// One block and what the serial executor makes of it.
pub(crate) struct Step {
    pub(crate) block: Block,
    pub(crate) executable: Arc<ExecutableBlock>,
    pub(crate) pre_state: Arc<PreState>,
    pub(crate) control: Execution,
    pub(crate) quirks: Quirks,
    /// Those that showed before it ran.
    pub(crate) prepared_quirks: Quirks,
}

/// What an account was paid and spent of an asset in a block, fees and rewards included.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) sent: u128,
    pub(crate) received: u128,
}

impl Step {
    pub(crate) fn status(&self, transaction: &Transaction) -> &Status {
        let mut outcomes = self.control.outcomes.iter();
        &outcomes.find(|outcome| outcome.hash == transaction.hash).unwrap().status
    }

    pub(crate) fn with_status(
        &self,
        status: impl Fn(&Status) -> bool,
    ) -> impl Iterator<Item = &Transaction> {
        // The serial executor tells outcomes in the block's order.
        let transactions = self.block.transactions.iter().zip(&self.control.outcomes);
        transactions.filter(move |(_, outcome)| status(&outcome.status)).map(|(sent, _)| sent)
    }

    pub(crate) fn executed(&self) -> impl Iterator<Item = &Transaction> {
        self.with_status(|status| *status == Status::Executed)
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &Transaction> {
        self.with_status(|status| matches!(status, Status::Failed(_)))
    }

    /// What was executed, by who sent it.
    pub(crate) fn by_source(&self) -> BTreeMap<Address, Vec<&Transaction>> {
        let mut by_source: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for transaction in self.executed() {
            by_source.entry(transaction.source).or_default().push(transaction);
        }
        by_source
    }

    /// Of everybody but the miner and the dev key, in executed transfers.
    pub(crate) fn flows(&self) -> HashMap<(Address, AssetId), Flow> {
        let mut flows: HashMap<_, Flow> = HashMap::new();
        for transaction in self.executed() {
            let source = transaction.source;
            let fee = u128::from(transaction.fee.as_u64());
            flows.entry((source, AssetId::NATIVE)).or_default().sent += fee;
            for output in outputs(transaction) {
                let amount = u128::from(output.amount.as_u64());
                flows.entry((source, output.asset)).or_default().sent += amount;
                flows.entry((output.destination, output.asset)).or_default().received += amount;
            }
        }
        let paid = [self.block.miner, self.executable.dev];
        flows.retain(|(account, _), _| !paid.contains(account));
        flows
    }

    pub(crate) fn before(&self, account: Address, asset: AssetId) -> Amount {
        match self.pre_state.read(&StateKey::Balance(account, asset)).unwrap() {
            Some(StateValue::Balance(amount)) => amount,
            _ => Amount::ZERO,
        }
    }

    /// The balance that the block wrote, if it wrote one.
    pub(crate) fn after(&self, account: Address, asset: AssetId) -> Option<Amount> {
        match self.control.delta.get(&StateKey::Balance(account, asset)) {
            Some(Some(StateValue::Balance(amount))) => Some(*amount),
            _ => None,
        }
    }

    pub(crate) fn nonce_before(&self, account: Address) -> Option<Nonce> {
        match self.pre_state.read(&StateKey::Nonce(account)).unwrap() {
            Some(StateValue::Nonce(nonce)) => Some(nonce),
            _ => None,
        }
    }

    /// Whether the engine executed the block on its own, with the same result; it must not differ.
    #[track_caller]
    pub(crate) fn is_match(&self, engine: &ParallelExecutor) -> bool {
        let schedule = Schedule { workers: 2, seed: 0 };
        let (observation, _) = observe(engine, &self.executable, &self.pre_state, schedule);
        let limits = Limits::default();
        match compare(&self.control, &observation, &*self.pre_state, &*self.executable, &limits) {
            Ok(Verdict::Match) => true,
            Ok(Verdict::NotExercised(_)) => false,
            other => panic!("block {}: {other:#?}", self.block.topoheight),
        }
    }
}

/// A chain, executed serially block by block.
pub(crate) struct Walk {
    chain: GeneratedChain,
    state: MemoryState,
    facts: Vec<(BlockRef, BlockFacts)>,
    /// What each block wrote and executed, for when the chain goes back.
    done: Vec<(StateDelta, Vec<TxHash>)>,
    executed: HashSet<TxHash>,
}

impl Walk {
    pub(crate) fn new(options: GeneratedOptions) -> Self {
        let chain = GeneratedChain::new(options);
        let mut state = MemoryState::new();
        state.apply(&chain.base());
        Self { chain, state, facts: Vec::new(), done: Vec::new(), executed: HashSet::new() }
    }

    fn go_back(&mut self, to: TopoHeight) {
        let kept = to.as_u64() as usize + 1;
        assert!(kept < self.done.len(), "the chain goes back to where it is");
        self.facts.truncate(kept);
        self.done.truncate(kept);
        self.executed = self.done.iter().flat_map(|(_, executed)| executed).copied().collect();
        self.state = MemoryState::new();
        self.state.apply(&self.chain.base());
        for (delta, _) in &self.done {
            self.state.apply(delta);
        }
    }
}

impl Iterator for Walk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let block = loop {
            match self.chain.next_event().unwrap()? {
                ChainEvent::Committed(committed) => break committed.block,
                ChainEvent::Reverted { to } => self.go_back(to),
                other => panic!("a generated chain tells of no {other:?}"),
            }
        };
        assert_eq!(block.topoheight.as_u64(), self.facts.len() as u64);
        let dev = self.chain.identity().dev;
        let recent = self.facts.len().saturating_sub(SIDE_BLOCK_WINDOW);
        let was_executed = |hash: &TxHash| self.executed.contains(hash);
        let so_far = ChainSoFar { dev, previous: &self.facts[recent..], was_executed };
        let prepared = prepare(block.clone(), &so_far);
        assert_eq!(prepared.opaque, None);
        assert_eq!(prepared.facts.emitted_supply, block.claimed.supply);
        let pre_state = Arc::new(PreState::resolve(&prepared.named_keys, &self.state).unwrap());
        let executable = Arc::new(prepared.executable);
        let control = SerialExecutor.control(&executable, &pre_state).unwrap();
        self.state.apply(&control.execution.delta);
        self.facts.push((executable.block, prepared.facts));
        let executed =
            control.execution.outcomes.iter().filter(|outcome| outcome.status == Status::Executed);
        let executed: Vec<_> = executed.map(|outcome| outcome.hash).collect();
        self.executed.extend(&executed);
        self.done.push((control.execution.delta.clone(), executed));
        Some(Step {
            block,
            executable,
            pre_state,
            control: control.execution,
            quirks: control.quirks,
            prepared_quirks: prepared.quirks,
        })
    }
}

/// The blocks that stand in the end.
pub(crate) fn standing(mut chain: GeneratedChain) -> Vec<Block> {
    let mut blocks = Vec::new();
    while let Some(event) = chain.next_event().unwrap() {
        match event {
            ChainEvent::Committed(committed) => blocks.push(committed.block),
            ChainEvent::Reverted { to } => blocks.truncate(to.as_u64() as usize + 1),
            other => panic!("a generated chain tells of no {other:?}"),
        }
    }
    blocks
}

pub(crate) fn outputs(transaction: &Transaction) -> &[Transfer] {
    match &transaction.data {
        TransactionData::Transfers(transfers) => transfers,
        _ => &[],
    }
}

pub(crate) fn config(transaction: &Transaction) -> Option<&MultisigConfig> {
    match &transaction.data {
        TransactionData::Multisig(config) => Some(config),
        _ => None,
    }
}

pub(crate) fn count(quirks: &Quirks, quirk: Quirk) -> u64 {
    quirks.iter().find(|(fired, _)| *fired == quirk).map_or(0, |(_, count)| count)
}
