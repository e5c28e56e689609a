//! A block as an executor sees it: everything that the chain decides *before* its transactions run
//! is decided, so that all executors start from the same facts.

use storage_snapshot::{Address, BlockRef};

use crate::{chain::Transaction, rules::Reward};

/// A block that is ready to be executed.
#[derive(Clone, Debug)]
pub struct ExecutableBlock {
    /// Which block, and where in the order.
    pub block: BlockRef,
    /// Whether it is rewarded as a side block.
    pub side_block: bool,
    /// Who is credited with the miner's share and the fees.
    pub miner: Address,
    /// Who is credited with the dev share.
    pub dev: Address,
    /// What the block pays out before its first transaction.
    pub reward: Reward,
    /// In the block's order.
    pub transactions: Vec<ExecutableTransaction>,
}

/// A transaction of a block.
#[derive(Clone, Debug)]
pub struct ExecutableTransaction {
    /// What it says.
    pub body: Transaction,
    /// Whether another block executed it already: then it has no effect here.
    pub already_executed: bool,
}

impl ExecutableBlock {
    /// The same block with only its first `count` transactions.
    #[must_use]
    pub fn prefix(&self, count: usize) -> Self {
        let transactions = self.transactions.iter().take(count).cloned().collect();
        Self { transactions, ..self.without_transactions() }
    }

    fn without_transactions(&self) -> Self {
        Self { transactions: Vec::new(), ..*self }
    }
}
