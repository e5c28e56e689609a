//! The engine: divides a block's accounts, has the lanes do their work, puts together what came out.

use std::sync::Arc;

use comparator::{Execution, Exercise, Failure, Provenance, Schedule, Totals};
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use storage_snapshot::Amount;

use super::{
    Stop,
    accounts::KINDS,
    lane::{Part, Plan},
    ranges::Ranges,
};
use crate::execute::{
    BlockExecutor, ExecutableBlock, ExecutableTransaction, Loads, Performed, PreState,
    parallel::ParallelExecutor,
    workers::{Seat, SharedPool, WorkerPool, workers_of},
};

/// Executes blocks on lanes that own accounts.
#[derive(Debug)]
pub struct ShardedExecutor {
    pool: SharedPool,
}

impl ShardedExecutor {
    /// Its name as a candidate.
    pub const NAME: &str = "sharded";

    /// An engine with so many workers ready.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub fn new(workers: usize) -> std::io::Result<Self> {
        Ok(Self { pool: SharedPool::new(workers)? })
    }

    fn run_on(
        pool: &mut WorkerPool,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        // Nearly always the world was made for this block. Whether it was turns out on the way.
        let performed = match attempt(pool, block, pre_state, schedule) {
            Err(Stop::Elsewhere) => {
                let world = Arc::new(pre_state.made_for(block));
                attempt(pool, block, &world, schedule)
            }
            performed => performed,
        };
        let reason = match performed {
            Ok(performed) => return Ok(performed),
            Err(Stop::Elsewhere) => "unnamed_account",
            Err(Stop::InOrder(reason)) => reason,
        };

        let mut performed = ParallelExecutor::run_on(pool, block, pre_state, schedule)?;
        // Another engine's work, however parallel that was, is none of this one's.
        performed.execution.exercise = Exercise {
            workers: schedule.workers,
            batches: 0,
            max_in_flight: 0,
            fallback: Some(reason.to_owned()),
            provenance: Provenance::Delegated,
        };
        Ok(performed)
    }
}

impl BlockExecutor for ShardedExecutor {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn build(&self) -> String {
        concat!("shadow sharded ", env!("CARGO_PKG_VERSION")).to_owned()
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

/// On how many lanes a block is executed.
///
/// A small block is done before another worker has woken up. It still runs on two, for that is what is on
/// trial, and in a schedule that is meant to find races it is for all of them.
fn lanes_of(transactions: usize, schedule: Schedule) -> usize {
    let workers = workers_of(schedule);
    let worth_it = if schedule.seed == 0 { transactions / LANE_TRANSACTIONS_MIN } else { workers };
    workers.min(worth_it.max(2))
}

/// Waking a worker costs about as much as so many transactions.
const LANE_TRANSACTIONS_MIN: usize = 64;

/// Executes a block regardless of the order of its sources. There is no result if the order matters.
fn attempt(
    pool: &mut WorkerPool,
    block: &Arc<ExecutableBlock>,
    world: &Arc<PreState>,
    schedule: Schedule,
) -> Result<Performed, Stop> {
    let transactions = block.transactions.len();
    if world.mentions().len() < transactions {
        return Err(Stop::Elsewhere);
    }
    let lanes = lanes_of(transactions, schedule);
    // The helpers wake up while it is decided what they do.
    pool.wake(lanes);
    let seed = schedule.seed;
    let ranges = divided(block, world, lanes, seed);
    let plan = Plan { block: Arc::clone(block), world: Arc::clone(world), ranges, seed };
    let plan = Arc::new(plan);
    let parts = worked(pool, &plan)?;
    merged(&plan, parts, schedule)
}

/// The accounts of a block, divided by what is sent from them.
fn divided(block: &ExecutableBlock, world: &PreState, lanes: usize, seed: u64) -> Ranges {
    let listed = || {
        let sources = world.mentions().map(|mentions| mentions.first().copied());
        block.transactions.iter().zip(sources)
    };
    let divided_by = |counts: &dyn Fn(&ExecutableTransaction) -> bool| {
        let counted = listed().filter(|(transaction, _)| counts(transaction));
        let sources = counted.filter_map(|(_, source)| source);
        Ranges::balanced(world.accounts().len(), sources, lanes, HEAD_START, seed)
    };
    if block.transactions.len() >= lanes * UNSEEN_FROM {
        // Most of a large block is in no cache yet, and what was executed before is rare: the transactions are
        // not looked at, only where they are from.
        let ranges = divided_by(&|_| true);
        let mut idle = vec![true; lanes];
        for (transaction, source) in listed() {
            if let (false, Some(source)) = (transaction.already_executed, source) {
                idle[ranges.of(source)] = false;
            }
            if !idle.contains(&true) {
                return ranges;
            }
        }
    }
    divided_by(&|transaction| !transaction.already_executed)
}

/// How many transactions each lane has of a large block.
const UNSEEN_FROM: usize = 128;

/// So many transactions the first lane executes while the others wake up, and find what they need in no cache.
const HEAD_START: u64 = 150;

/// What came out of each range of a plan.
fn worked(pool: &mut WorkerPool, plan: &Arc<Plan>) -> Result<Vec<Part>, Stop> {
    let mut seats: Vec<_> = Seat::all(plan.ranges.len()).into_iter().enumerate().collect();
    if plan.seed != 0 {
        // Not the first lane on the first range.
        seats.shuffle(&mut ChaCha8Rng::seed_from_u64(!plan.seed));
    }
    let lane = |(range, seat)| {
        let plan = Arc::clone(plan);
        move || (range, plan.work(range, seat))
    };
    let mut done = pool.run(seats.into_iter().map(lane).collect());
    done.sort_unstable_by_key(|(range, _)| *range);
    let (mut parts, mut stops) = (Vec::with_capacity(done.len()), Vec::new());
    for (_, part) in done {
        match part {
            Ok(part) => parts.push(part),
            Err(stop) => stops.push(stop),
        }
    }
    // A world that was made for another block explains whatever else went wrong, and that another lane
    // stopped explains nothing.
    match stops.into_iter().max_by_key(|stop| (*stop == Stop::Elsewhere, *stop != Stop::OTHER_LANE))
    {
        Some(stop) => Err(stop),
        None => Ok(parts),
    }
}

/// Puts the parts together: the outcomes in the block's order, the writes in that of their keys.
fn merged(plan: &Plan, parts: Vec<Part>, schedule: Schedule) -> Result<Performed, Stop> {
    let block = &plan.block;
    // Every part has the fees of the whole block.
    let fees = parts.first().map_or(Amount::ZERO, |part| part.fees);
    let mut burned = Amount::ZERO;
    let (mut max_in_flight, mut requested, mut from_store) = (0, 0, 0);
    let (mut outcomes, mut kinds) = (Vec::new(), Vec::new());
    for part in parts {
        burned = burned.checked_add(part.burned).ok_or(Stop::TOTAL_OVERFLOW)?;
        max_in_flight += u32::from(part.executed > 0);
        requested += part.requested;
        from_store += part.writes.loads;
        if outcomes.is_empty() {
            // It has room for all of them.
            outcomes = part.outcomes;
        } else {
            outcomes.extend(part.outcomes);
        }
        kinds.push(part.writes.kinds.into_iter());
    }
    // Ranges are in the order of their accounts, so those of one kind are in the order of their keys.
    let delta = (0..KINDS)
        .flat_map(|_| kinds.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>())
        .collect();
    let execution = Execution {
        outcomes,
        delta,
        totals: Totals {
            fees,
            burned,
            miner_reward: block.reward.miner,
            dev_reward: block.reward.dev,
        },
        exercise: Exercise {
            workers: schedule.workers,
            batches: 1,
            max_in_flight,
            fallback: None,
            provenance: Provenance::Independent,
        },
    };
    let from_cache = requested.saturating_sub(from_store);
    let loads = Loads { requested, from_cache, from_store };
    Ok(Performed { execution, loads, elapsed: None })
}
