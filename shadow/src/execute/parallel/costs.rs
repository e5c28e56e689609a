//! What the parts of the engine's work on a block cost, measured one by one on this machine.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use comparator::{Failure, Schedule};

use super::{ParallelChainState, ParallelExecutor, conflicts::world_and_batches};
use crate::execute::{
    BlockExecutor, ExecutableBlock, PreState,
    workers::{StdThreading, WorkerPool},
};

/// What a block costs the engine, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Costs {
    /// Finding the batches.
    pub plan: f64,
    /// Executing each transaction, in the block's order; 0 for one that was executed before.
    pub transactions: Vec<f64>,
    /// What is left of a run on one worker: rewards, merging what the lanes did, and letting go of it.
    pub rest: f64,
    /// Having one more worker begin, and waiting until it has ended, besides its work.
    pub wake: f64,
    /// The same for each further one.
    pub wake_another: f64,
}

impl Costs {
    /// Measures them; the block is executed some times. Returns the batches as well.
    ///
    /// # Errors
    ///
    /// When the block cannot be executed.
    pub fn measure(
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
    ) -> Result<(Self, Vec<Vec<usize>>), Failure> {
        let started_thread = |error: std::io::Error| Failure::Error(error.to_string());
        let engine = ParallelExecutor::new(1).map_err(started_thread)?;
        let (world, _) = world_and_batches(pre_state, block);
        let mut costs = Self::default();
        let mut batches = Vec::new();
        let (mut plans, mut wholes) = (Vec::new(), Vec::new());
        let mut transactions = vec![Vec::new(); block.transactions.len()];
        for _ in 0..ROUNDS {
            let started = Instant::now();
            batches = world_and_batches(&world, block).1;
            plans.push(started.elapsed());

            let state = ParallelChainState::new(&*world);
            let mut lane = state.lane();
            for index in batches.iter().flatten() {
                let started = Instant::now();
                let executed = lane.execute(*index, &block.transactions[*index]);
                transactions[*index].push(started.elapsed());
                executed.map_err(super::executor::failure)?;
            }
            drop(lane);

            let started = Instant::now();
            let performed = engine.execute(block, pre_state, Schedule { workers: 1, seed: 0 });
            wholes.push(started.elapsed());
            performed?;
        }
        let clock = median((0..1000).map(|_| Instant::now().elapsed()).collect());
        costs.plan = median(plans);
        costs.transactions =
            transactions.into_iter().map(|times| (median(times) - clock).max(0.0)).collect();
        let parallel: f64 = costs.transactions.iter().sum();
        costs.rest = (median(wholes) - costs.plan - parallel).max(0.0);
        let [two, four] = [2, 4].map(|lanes| woken(lanes).map_err(started_thread));
        costs.wake = two?;
        costs.wake_another = ((four? - costs.wake) / 2.0).max(0.0);
        Ok((costs, batches))
    }
}

/// What it takes to have so many lanes do nothing.
fn woken(lanes: usize) -> std::io::Result<f64> {
    let mut pool = WorkerPool::<StdThreading>::new(lanes)?;
    let times = (0..ROUNDS * 50).map(|_| {
        let started = Instant::now();
        pool.run(vec![|| {}; lanes]);
        started.elapsed()
    });
    Ok(median(times.collect()))
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, Duration::as_secs_f64)
}

const ROUNDS: usize = 11;
