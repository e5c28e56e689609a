//! The engine: plans the batches of a block, runs them on the pool, merges what came out.

use std::{
    borrow::Cow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use comparator::{
    Execution, Exercise, FailReason, Failure, Outcome, Provenance, Schedule, SkipReason, Status,
    Totals,
};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::{Amount, ReadError};

use super::{ParallelChainState, chain_state::Stop, conflicts::world_and_batches};
use crate::execute::{
    BlockExecutor, ExecutableBlock, ExecutableTransaction, Performed, PreState, panic_message,
    workers::{Disturbance, SharedPool, WorkerPool, workers_of},
};

/// Executes blocks in conflict-free batches over a pool of workers.
#[derive(Debug)]
pub struct ParallelExecutor {
    pool: SharedPool,
}

impl ParallelExecutor {
    /// Its name as a candidate.
    pub const NAME: &str = "v3";

    /// An engine with so many workers ready.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub fn new(workers: usize) -> std::io::Result<Self> {
        Ok(Self { pool: SharedPool::new(workers)? })
    }

    /// Executes a block on a pool that has as many workers as are asked for.
    pub(in crate::execute) fn run_on(
        pool: &mut WorkerPool,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let (world, batches) = planned(block, pre_state, schedule.seed);
        let pre_state = match world {
            Cow::Borrowed(_) => Arc::clone(pre_state),
            Cow::Owned(world) => Arc::new(world),
        };
        let state = Arc::new(ParallelChainState::new(Arc::clone(&pre_state)));
        state.credit(&block.dev, block.reward.dev).map_err(failure)?;
        state.credit(&block.miner, block.reward.miner).map_err(failure)?;

        let mut outcomes = already_executed(block);
        let mut max_in_flight = 0;
        let disturbance = Disturbance::new(schedule.seed);
        for batch in &batches {
            // In a schedule that is meant to find races every batch is for all of them.
            let was_wide = schedule.seed == 0 && max_in_flight >= 2;
            let lanes = lanes_of(batch.len(), workers_of(schedule), was_wide);
            let lanes = Lanes { pool, count: lanes, disturbance };
            let ran = run_batch(lanes, block, &state, batch, &mut outcomes)?;
            max_in_flight = max_in_flight.max(ran);
        }

        let fees = state.fees().ok_or_else(|| total_overflow("fees"))?;
        state.credit(&block.miner, fees).map_err(failure)?;
        let burned = state.burned().ok_or_else(|| total_overflow("burned units"))?;
        let loads = state.loads();
        // Every lane has let go of the state: the pool drops a job before it reports its end.
        let state = Arc::into_inner(state)
            .ok_or_else(|| Failure::Error("a lane still holds the block's state".to_owned()))?;
        let delta = state.into_delta().map_err(|error| failure(Stop::Read(error)))?;
        // In the order of the block, however they came: nobody has to search for them then.
        let mut in_order = Vec::with_capacity(outcomes.len());
        in_order.extend(outcomes.into_iter().flatten());
        let execution = Execution {
            outcomes: in_order,
            delta,
            totals: Totals {
                fees,
                burned,
                miner_reward: block.reward.miner,
                dev_reward: block.reward.dev,
            },
            exercise: Exercise {
                workers: schedule.workers,
                batches: u32::try_from(batches.len()).unwrap_or(u32::MAX),
                max_in_flight,
                fallback: None,
                provenance: Provenance::Independent,
            },
        };
        Ok(Performed { execution, loads, elapsed: None })
    }
}

impl BlockExecutor for ParallelExecutor {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn build(&self) -> String {
        concat!("shadow v3 ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn spec(&self) -> Option<String> {
        Some(Self::NAME.to_owned())
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let mut pool = self.pool.with(workers_of(schedule))?;
        Self::run_on(&mut pool, block, pre_state, schedule)
    }
}

/// On how many workers at most a batch is run.
///
/// A small batch is done before another worker has woken up. It is still given to all of them until
/// some batch of the block has really run on two, for that is what is on trial.
pub(crate) const fn lanes_of(transactions: usize, workers: usize, was_wide: bool) -> usize {
    if transactions >= workers * LANE_TRANSACTIONS_MIN || !was_wide { workers } else { 1 }
}

/// Waking a worker costs about as much as so many transactions.
const LANE_TRANSACTIONS_MIN: usize = 16;

/// So many transactions take about as long as waking a worker.
const SHORT_LANE_TRANSACTIONS: usize = 128;

/// The batches of a block, and the world that it is executed in; a seed other than 0 shuffles the transactions
/// within each batch.
fn planned<'a>(
    block: &ExecutableBlock,
    pre_state: &'a PreState,
    seed: u64,
) -> (Cow<'a, PreState>, Vec<Vec<usize>>) {
    let (world, mut batches) = world_and_batches(pre_state, block);
    if seed != 0 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for batch in &mut batches {
            batch.shuffle(&mut random);
        }
    }
    (world, batches)
}

/// What a batch runs on.
struct Lanes<'a> {
    pool: &'a mut WorkerPool,
    /// How many at most.
    count: usize,
    disturbance: Disturbance,
}

/// Runs one batch in static chunks, one a lane, and returns how many lanes executed at least one
/// transaction.
fn run_batch(
    lanes: Lanes<'_>,
    block: &Arc<ExecutableBlock>,
    state: &Arc<ParallelChainState<Arc<PreState>>>,
    batch: &[usize],
    outcomes: &mut [Option<Outcome>],
) -> Result<u32, Failure> {
    let Lanes { pool, count, disturbance } = lanes;
    let chunk = batch.len().div_ceil(count).max(1);
    let ran = if batch.len() <= chunk {
        vec![run_lane(block, state, batch, disturbance)]
    } else {
        let lane = |indexes: &[usize]| {
            let (block, state, indexes) = (Arc::clone(block), Arc::clone(state), indexes.to_vec());
            move || run_lane(&block, &state, &indexes, disturbance)
        };
        let lanes = batch.chunks(chunk).map(lane).collect();
        if chunk < SHORT_LANE_TRANSACTIONS { pool.run_short(lanes) } else { pool.run(lanes) }
    };
    let mut lanes_that_executed = 0;
    for ran in ran {
        let ran = ran?;
        let executed = ran.iter().any(|(_, outcome)| outcome.status == Status::Executed);
        lanes_that_executed += u32::from(executed);
        for (index, outcome) in ran {
            outcomes[index] = Some(outcome);
        }
    }
    Ok(lanes_that_executed)
}

/// One lane's share of a batch. A transaction that panics is reported as itself and moves nobody
/// else's outcome: outcomes carry the hash that they belong to.
fn run_lane(
    block: &ExecutableBlock,
    state: &ParallelChainState<Arc<PreState>>,
    indexes: &[usize],
    disturbance: Disturbance,
) -> Result<Vec<(usize, Outcome)>, Failure> {
    let mut outcomes = Vec::with_capacity(indexes.len());
    let mut lane = state.lane();
    for index in indexes {
        disturbance.pause_before(*index);
        let transaction = &block.transactions[*index];
        let outcome = catch_unwind(AssertUnwindSafe(|| lane.execute(*index, transaction)));
        let outcome = match outcome {
            Ok(outcome) => outcome.map_err(failure)?,
            Err(panic) => Outcome {
                hash: transaction.body.hash,
                status: Status::Failed(FailReason::Other(panic_message(&*panic))),
                fee: Amount::ZERO,
            },
        };
        outcomes.push((*index, outcome));
    }
    Ok(outcomes)
}

/// The outcomes of a block's transactions before any is executed.
fn already_executed(block: &ExecutableBlock) -> Vec<Option<Outcome>> {
    let outcome = |transaction: &ExecutableTransaction| {
        transaction.already_executed.then_some(Outcome {
            hash: transaction.body.hash,
            status: Status::Skipped(SkipReason::AlreadyExecuted),
            fee: Amount::ZERO,
        })
    };
    block.transactions.iter().map(outcome).collect()
}

pub(super) fn failure(stop: Stop) -> Failure {
    Failure::Error(match stop {
        Stop::CreditOverflow => "reward or fees overflow a balance".to_owned(),
        Stop::SourceWithoutNonce(transaction) => {
            format!("the source of transaction {transaction} has no nonce")
        }
        Stop::NotNamed(account) => format!("the block does not name {account}"),
        Stop::Read(error @ ReadError::Unknown(_)) => format!("not executable: {error}"),
        Stop::Read(error) => error.to_string(),
    })
}

fn total_overflow(total: &str) -> Failure {
    Failure::Error(format!("the block's {total} exceed 2^64-1"))
}
