//! The schedule simulator: how the parallel engine would do on more cores than there are.
//!
//! It goes through a block as the engine does, batch by batch and lane by lane, with the times that
//! its parts took here, and adds up what has to wait for what. Beside it stands what no engine can
//! exceed on the same block, because transactions that conflict have to wait for each other: so one can
//! tell what the engine loses from what the workload does not give.
//!
//! What it leaves out is what more cores do to each other: memory that they share, and caches that they
//! take from each other. It is an upper bound.

use comparator::Failure;
use serde::Serialize;

use super::{Workload, transfers};
use crate::execute::{
    BlockExecutor, SerialExecutor,
    parallel::{Costs, lanes_of},
};

/// How fast a block would be executed, over executing it serially.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Simulated {
    /// The share of the block's transactions that meet in one account.
    pub conflict_rate: f64,
    /// How many cores there would be, and workers.
    pub cores: usize,
    /// The speed of the parallel engine over that of the serial one.
    pub engine: f64,
    /// What any engine can reach that executes a transaction as fast as the serial one: the block's
    /// longest chain of conflicts has to be gone through one by one, and the rest in shares.
    pub limit: f64,
}

/// Simulates blocks of so many transfers.
pub(super) fn measure(transactions: usize) -> Result<Vec<Simulated>, Failure> {
    let mut rows = Vec::new();
    for conflict_rate in [0.0, 0.1, 0.5, 1.0] {
        let workload = transfers(transactions, conflict_rate, 1);
        let (costs, batches) = Costs::measure(&workload.block, &workload.pre_state)?;
        let serial = serial_seconds(&workload)?;
        for cores in [4, 8, 16, 32, 64] {
            let engine = serial / elapsed(&costs, &batches, cores);
            let limit = limit(&workload, &costs, cores);
            rows.push(Simulated { conflict_rate, cores, engine, limit });
        }
    }
    Ok(rows)
}

fn serial_seconds(workload: &Workload) -> Result<f64, Failure> {
    let schedule = comparator::Schedule { workers: 1, seed: 0 };
    let mut times = Vec::new();
    for _ in 0..11 {
        let (performed, time) =
            super::timed(|| SerialExecutor.execute(&workload.block, &workload.pre_state, schedule));
        performed?;
        times.push(time);
    }
    Ok(super::median(times).as_secs_f64())
}

/// How long the engine would take on so many cores, in seconds.
fn elapsed(costs: &Costs, batches: &[Vec<usize>], cores: usize) -> f64 {
    let mut elapsed = costs.plan + costs.rest;
    let mut was_wide = false;
    for batch in batches {
        let lanes = lanes_of(batch.len(), cores, was_wide);
        let chunk = batch.len().div_ceil(lanes).max(1);
        let work = |lane: &[usize]| lane.iter().map(|index| costs.transactions[*index]).sum();
        let longest = batch.chunks(chunk).map(work).fold(0.0, f64::max);
        let woken = batch.len().div_ceil(chunk);
        if woken > 1 {
            was_wide = true;
            elapsed += costs.wake + costs.wake_another * (woken - 2) as f64;
        }
        elapsed += longest;
    }
    elapsed
}

/// The work of a block over what is left of it on so many cores, however it is spread.
fn limit(workload: &Workload, costs: &Costs, cores: usize) -> f64 {
    let mut ends = std::collections::HashMap::new();
    let (mut work, mut longest) = (0.0, 0.0_f64);
    for (transaction, cost) in workload.block.transactions.iter().zip(&costs.transactions) {
        work += cost;
        let begins = transaction.body.accounts().filter_map(|account| ends.get(account));
        let end = begins.copied().fold(0.0, f64::max) + cost;
        longest = longest.max(end);
        for account in transaction.body.accounts() {
            ends.insert(*account, end);
        }
    }
    work / longest.max(work / cores as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One second for each transaction and nothing for the rest.
    fn seconds(transactions: usize) -> Costs {
        Costs { transactions: vec![1.0; transactions], ..Costs::default() }
    }

    #[track_caller]
    fn check_elapsed(costs: &Costs, batches: &[usize], cores: usize, expected: f64) {
        let mut next = 0..;
        let batches: Vec<Vec<_>> =
            batches.iter().map(|length| next.by_ref().take(*length).collect()).collect();
        assert_eq!(elapsed(costs, &batches, cores), expected);
    }

    #[test]
    fn a_batch_takes_as_long_as_its_longest_lane() {
        check_elapsed(&seconds(100), &[100], 4, 25.0);
        check_elapsed(&seconds(101), &[101], 4, 26.0);
        check_elapsed(&seconds(100), &[100], 1, 100.0);
    }

    #[test]
    fn a_small_batch_is_spread_only_until_one_was() {
        check_elapsed(&seconds(20), &[10, 10], 2, 15.0);
    }

    #[test]
    fn what_is_done_by_one_is_added_and_waking_costs() {
        let costs = Costs { plan: 3.0, rest: 4.0, wake: 0.5, wake_another: 0.25, ..seconds(128) };
        check_elapsed(&costs, &[128], 2, 7.0 + 64.0 + 0.5);
        check_elapsed(&costs, &[128], 4, 7.0 + 32.0 + 1.0);
    }

    #[test]
    fn no_engine_goes_faster_than_the_longest_chain_or_its_cores() {
        let check = |conflict_rate, expected: f64| {
            let workload = transfers(64, conflict_rate, 1);
            let limit = limit(&workload, &seconds(64), 16);
            assert!((limit - expected).abs() < 1e-9, "{limit} at {conflict_rate}");
        };
        check(0.0, 16.0);
        check(1.0, 1.0);
    }
}
