//! Execution alone: the serial engine against the parallel ones.

use std::{collections::BTreeMap, hint::black_box};

use comparator::Schedule;

use super::{EngineRow, Length, Report, medians, micros_each, speed_up, timed, transfers};
use crate::{
    execute::{
        BlockExecutor, SerialExecutor, parallel::ParallelExecutor, sharded::ShardedExecutor,
    },
    source::SourceError,
    verifier::VerifyError,
};

pub(super) fn measure(
    length: Length,
    workers: u32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let v3 = ParallelExecutor::new(workers as usize).map_err(SourceError::Io)?;
    let sharded = ShardedExecutor::new(workers as usize).map_err(SourceError::Io)?;
    let mut over_serial = BTreeMap::<_, Ratios>::new();
    for transactions in [10, 100, 1000, 10_000] {
        // About as many transactions for every size, and at least eleven rounds.
        let rounds = match length {
            Length::Full => (400_000 / transactions).clamp(11, 401),
            Length::Quick => (100_000 / transactions).clamp(11, 101),
        };
        for conflict_rate in [0.0, 0.1, 0.5, 1.0] {
            let workload = transfers(transactions, conflict_rate, 1);
            let run = |executor: &dyn BlockExecutor, workers| {
                let schedule = Schedule { workers, seed: 0 };
                let (performed, time) =
                    timed(|| executor.execute(&workload.block, &workload.pre_state, schedule));
                match performed {
                    Ok(performed) => {
                        black_box(performed);
                        Ok(time)
                    }
                    Err(failure) => {
                        Err(SourceError::Io(std::io::Error::other(failure.to_string())).into())
                    }
                }
            };
            let [serial, one, all, sharded_one, sharded_all] = medians(
                rounds,
                [
                    &mut || run(&SerialExecutor, 1),
                    &mut || run(&v3, 1),
                    &mut || run(&v3, workers),
                    &mut || run(&sharded, 1),
                    &mut || run(&sharded, workers),
                ],
            )?;
            let per_transaction = |time| micros_each(time, transactions);
            report.engines.push(EngineRow {
                transactions,
                conflict_rate,
                serial_us: per_transaction(serial),
                parallel_one_us: per_transaction(one),
                parallel_all_us: per_transaction(all),
                sharded_one_us: per_transaction(sharded_one),
                sharded_all_us: per_transaction(sharded_all),
            });
            if transactions == 10_000 && conflict_rate == 0.0 {
                report.serial_tx_per_second = 1e6 / per_transaction(serial);
            }
            let name = format!("{transactions}/{conflict_rate:.1}");
            if REPORTED.contains(&&*name) {
                for (engine, time) in
                    [(ParallelExecutor::NAME, all), (ShardedExecutor::NAME, sharded_all)]
                {
                    let ratios = over_serial.entry(engine).or_default();
                    ratios.insert(name.clone(), speed_up(serial, time));
                }
            }
        }
    }
    if let Some((engine, ratios)) = faster(over_serial) {
        report.parallel_engine = engine.to_owned();
        report.parallel_over_serial = ratios;
    }
    Ok(())
}

/// The speed of an engine over that of the serial one, by the kind of block.
type Ratios = BTreeMap<String, f64>;

/// The engine that is the faster one over all kinds of blocks: that with the larger product, which is the one
/// that a mean of ratios goes by.
fn faster(over_serial: BTreeMap<&'static str, Ratios>) -> Option<(&'static str, Ratios)> {
    let product = |ratios: &Ratios| ratios.values().product::<f64>();
    over_serial.into_iter().max_by(|(_, one), (_, other)| product(one).total_cmp(&product(other)))
}

const REPORTED: [&str; 4] = ["10000/0.0", "1000/0.0", "10000/0.5", "10000/1.0"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_faster_engine_is_the_one_that_is_faster_on_the_whole() {
        #[track_caller]
        fn check(one: [f64; 2], other: [f64; 2], expected: Option<&str>) {
            let ratios = |of: [f64; 2]| ["a", "b"].map(str::to_owned).into_iter().zip(of).collect();
            let found = faster([("one", ratios(one)), ("other", ratios(other))].into());
            assert_eq!(found.map(|(engine, _)| engine), expected);
        }
        check([2.0, 1.0], [1.0, 1.0], Some("one"));
        check([4.0, 0.1], [1.0, 0.5], Some("other"));
        assert_eq!(faster(BTreeMap::new()), None);
    }
}
