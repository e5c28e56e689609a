//! What is measured is what it is said to be.

use shadow::{
    bench::transfers,
    execute::{SerialExecutor, parallel::conflict_free_batches},
};

#[test]
fn the_conflict_rate_of_a_workload_is_that_of_its_batches() {
    #[track_caller]
    fn check(conflict_rate: f64, batches: std::ops::RangeInclusive<usize>) {
        let workload = transfers(200, conflict_rate, 1);
        let found = conflict_free_batches(&workload.block.transactions).len();
        assert!(batches.contains(&found), "{found} batches at {conflict_rate}");
    }
    check(0.0, 1..=1);
    check(0.5, 70..=130);
    check(1.0, 200..=200);
}

#[test]
fn every_transaction_of_a_workload_is_executed() {
    let workload = transfers(50, 0.3, 2);
    let control = SerialExecutor.control(&workload.block, &workload.pre_state).unwrap();
    assert_eq!(control.execution.executed(), 50);
    assert_eq!(control.quirks.iter().count(), 0);
}
