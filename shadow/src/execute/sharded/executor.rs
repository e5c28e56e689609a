//! The engine: divides a block's accounts, has the lanes do their work, puts together what came out.

use std::sync::{Arc, Mutex, PoisonError};

use comparator::{Execution, Exercise, Failure, Provenance, Schedule, Totals};
use storage_snapshot::Amount;

use super::{
    Stop,
    accounts::KINDS,
    lane::{Part, Plan},
    ranges::{Ranges, assigned},
};
use crate::execute::{
    BlockExecutor, ExecutableBlock, Loads, Performed, PreState,
    parallel::ParallelExecutor,
    workers::{Exchange, WorkerPool},
};

/// Executes blocks on lanes that own accounts.
#[derive(Debug)]
pub struct ShardedExecutor {
    /// Grown to the largest worker count asked for. The engine runs one block at a time; the mutex
    /// is how a second caller waits for its turn, no lane ever takes it.
    pool: Mutex<WorkerPool>,
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
        Ok(Self { pool: Mutex::new(WorkerPool::new(workers)?) })
    }

    fn run(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        let workers = (schedule.workers as usize).max(1);
        // A panic in a lane leaves the pool as it was, so a poisoned mutex means nothing here.
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.grow(workers)
            .map_err(|error| Failure::Error(format!("starting {workers} workers: {error}")))?;

        // Nearly always the world was made for this block. Whether it was turns out on the way.
        let performed = match attempt(&mut pool, block, pre_state, schedule) {
            Err(Stop::Elsewhere) => {
                let world = Arc::new(pre_state.made_for(block));
                attempt(&mut pool, block, &world, schedule)
            }
            performed => performed,
        };
        let reason = match performed {
            Ok(performed) => return Ok(performed),
            Err(Stop::Elsewhere) => "unnamed_account",
            Err(Stop::InOrder(reason)) => reason,
        };

        let mut performed = ParallelExecutor::run_on(&mut pool, block, pre_state, schedule)?;
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
        self.run(block, pre_state, schedule)
    }
}

/// On how many lanes a block is executed.
///
/// A small block is done before another worker has woken up. It still runs on two, for that is what is on
/// trial, and in a schedule that is meant to find races it is for all of them.
fn lanes_of(transactions: usize, schedule: Schedule) -> usize {
    let workers = (schedule.workers as usize).max(1);
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
    let ranges = divided(block, world, lanes, schedule.seed);
    let seed = schedule.seed;
    let plan = Plan { block: Arc::clone(block), world: Arc::clone(world), ranges, seed };
    let plan = Arc::new(plan);
    let parts = worked(pool, &plan, assigned(lanes, seed))?;
    merged(&plan, parts, schedule)
}

/// The accounts of a block, divided by what is sent from them.
fn divided(block: &ExecutableBlock, world: &PreState, lanes: usize, seed: u64) -> Ranges {
    let by_every = |nth: usize| {
        let listed = block.transactions.iter().zip(world.mentions()).step_by(nth);
        let to_do = listed.filter(|(transaction, _)| !transaction.already_executed);
        let sources = to_do.filter_map(|(_, mentions)| mentions.first().copied());
        Ranges::balanced(world.accounts().len(), sources, lanes, seed)
    };
    if block.transactions.len() < lanes * SAMPLED_FROM {
        return by_every(1);
    }
    // Of many a few tell as much, unless all of these are from the same sources.
    match by_every(SAMPLED) {
        ranges if ranges.sources() >= lanes => ranges,
        _ => by_every(1),
    }
}

/// One transaction in so many tells where a large block's transactions come from.
const SAMPLED: usize = 8;

/// How many transactions each lane has of a large block.
const SAMPLED_FROM: usize = 1024;

/// What came out of each range of a plan.
fn worked(
    pool: &mut WorkerPool,
    plan: &Arc<Plan>,
    range_of_lane: Vec<usize>,
) -> Result<Vec<Part>, Stop> {
    let lanes = range_of_lane.len();
    let done: Arc<Vec<_>> = Arc::new((0..lanes).map(|_| Mutex::new(None)).collect());
    let exchange = Exchange::new(lanes);
    let job = {
        let (plan, done) = (Arc::clone(plan), Arc::clone(&done));
        move |lane: usize| {
            let range = range_of_lane[lane];
            let Some(seat) = exchange.seat(range) else { return };
            let part = plan.work(range, seat);
            *done[range].lock().unwrap_or_else(PoisonError::into_inner) = Some(part);
        }
    };
    pool.run(lanes, Arc::new(job));
    let take = |part: &Mutex<Option<Result<Part, Stop>>>| {
        // Every lane has put its part there, or the pool would have passed on its panic.
        let part = part.lock().unwrap_or_else(PoisonError::into_inner).take();
        part.unwrap_or(Err(Stop::OTHER_LANE))
    };
    let (mut parts, mut stops) = (Vec::with_capacity(lanes), Vec::new());
    for part in done.iter().map(take) {
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
