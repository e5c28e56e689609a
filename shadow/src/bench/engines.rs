//! Execution alone: the serial engine against the parallel one.

use std::hint::black_box;

use comparator::Schedule;

use super::{EngineRow, Length, Report, medians, micros_each, speed_up, timed, transfers};
use crate::{
    execute::{BlockExecutor, SerialExecutor, parallel::ParallelExecutor},
    source::SourceError,
    verifier::VerifyError,
};

pub(super) fn measure(
    length: Length,
    workers: u32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let engine = ParallelExecutor::new(workers as usize).map_err(SourceError::Io)?;
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
            let [serial, one, all] = medians(
                rounds,
                [&mut || run(&SerialExecutor, 1), &mut || run(&engine, 1), &mut || {
                    run(&engine, workers)
                }],
            )?;
            let per_transaction = |time| micros_each(time, transactions);
            report.engines.push(EngineRow {
                transactions,
                conflict_rate,
                serial_us: per_transaction(serial),
                parallel_one_us: per_transaction(one),
                parallel_all_us: per_transaction(all),
            });
            if transactions == 10_000 && conflict_rate == 0.0 {
                report.serial_tx_per_second = 1e6 / per_transaction(serial);
            }
            let name = format!("{transactions}/{conflict_rate:.1}");
            if REPORTED.contains(&&*name) {
                report.parallel_over_serial.insert(name, speed_up(serial, all));
            }
        }
    }
    Ok(())
}

const REPORTED: [&str; 4] = ["10000/0.0", "1000/0.0", "10000/0.5", "10000/1.0"];
