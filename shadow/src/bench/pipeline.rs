//! The whole way of a block, with verification and without.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use comparator::MemorySink;
use cpu_time::ProcessTime;
use storage_snapshot::{Address, BlockCommit, Store, StoreError, StoreOptions, TopoHeight, TxHash};

use super::{
    Length, PipelineRow, Report, median, medians, micros_each, speed_up, workload::chain_options,
};
use crate::{
    canary::CanaryRate,
    execute::{PreState, SerialExecutor, WithinBudget, parallel::ParallelExecutor},
    judge::{Candidate, FLUSH_INTERVAL, Judge, KEEP_BLOCKS, Progress, fold_below},
    ledger::entries,
    node::{NodeCheck, executed_transactions},
    prepare::{ChainSoFar, prepare},
    rules::SIDE_BLOCK_WINDOW,
    schedules::Schedules,
    source::{
        BlockSource, ChainEvent, CommittedBlock, GeneratedChain, GeneratedOptions, SourceError,
    },
    verifier::{Verifier, VerifyError},
};

pub(super) fn measure(
    length: Length,
    workers: u32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let [mut compare, mut ledger, mut processor] = [Duration::ZERO; 3];
    for transactions in [100, 1000] {
        // Long enough that what happens at the end alone, when nothing more comes, does not count.
        let rounds = match length {
            Length::Full => 21,
            Length::Quick => 11,
        };
        let chain = Chain::generate(transactions, (200_000 / transactions) as u64)?;
        let mut runs = Vec::new();
        let mut alone_processor = Vec::new();
        let [alone, folded_beside, beside_another, verified] = medians(
            rounds,
            [
                &mut || {
                    let cost = chain.prepared()?.apply(Folding::Between)?;
                    alone_processor.push(cost.processor);
                    Ok(cost.elapsed)
                },
                &mut || Ok(chain.prepared()?.apply(Folding::Beside)?.elapsed),
                &mut || chain.serial_and_commit_twice(),
                &mut || {
                    let run = chain.verified(workers)?;
                    let elapsed = run.cost.elapsed;
                    runs.push(run);
                    Ok(elapsed)
                },
            ],
        )?;
        compare += runs.iter().map(|run| run.steps.compare).sum::<Duration>();
        ledger += runs.iter().map(|run| run.steps.ledger).sum::<Duration>();
        processor += runs.iter().map(|run| run.cost.processor).sum::<Duration>();

        let count = chain.transactions();
        let step = |step: fn(&VerifiedRun) -> Duration| {
            micros_each(median(runs.iter().map(step).collect()), count)
        };
        let row = PipelineRow {
            transactions,
            alone_us: micros_each(alone, count),
            verified_us: micros_each(verified, count),
            alone_cpu_us: micros_each(median(alone_processor), count),
            verified_cpu_us: step(|run| run.cost.processor),
            serial_us: step(|run| run.steps.serial),
            commit_us: step(|run| run.steps.commit),
            parallel_us: step(|run| run.steps.parallel),
            compare_us: step(|run| run.steps.compare),
            ledger_us: step(|run| run.steps.ledger),
        };
        report.overhead.insert(transactions.to_string(), speed_up(alone, verified));
        report
            .overhead_folded_beside
            .insert(transactions.to_string(), speed_up(folded_beside, verified));
        report.beside_another.insert(transactions.to_string(), speed_up(alone, beside_another));
        report
            .cpu_over_serial
            .insert(transactions.to_string(), row.verified_cpu_us / row.alone_cpu_us);
        report.pipeline.push(row);
    }
    report.comparator_share = speed_up(compare, processor);
    report.compare_share = speed_up(compare + ledger, processor);
    Ok(())
}

/// A judge of the built-in engine, as a run has one.
pub(super) fn judge_of(
    store: &Store,
    workers: u32,
    progress: &Arc<Progress>,
) -> Result<Judge, SourceError> {
    let executor = ParallelExecutor::new(workers as usize).map_err(SourceError::Io)?;
    let executor = WithinBudget::new(Arc::new(executor), Duration::from_secs(10));
    let schedules = Schedules::disturbed(1, workers);
    Judge::start(
        store.clone(),
        vec![Candidate { executor: Arc::new(executor), schedules }],
        CanaryRate::every(1000),
        Box::new(MemorySink::new()),
        Arc::clone(progress),
    )
    .map_err(SourceError::Io)
}

/// What a run cost.
#[derive(Clone, Copy)]
struct Cost {
    elapsed: Duration,
    /// The time of all processors together.
    processor: Duration,
}

impl Cost {
    fn of<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Self, E> {
        let (started, processor) = (Instant::now(), ProcessTime::now());
        work()?;
        Ok(Self { elapsed: started.elapsed(), processor: processor.elapsed() })
    }
}

/// A verified run of a chain.
struct VerifiedRun {
    cost: Cost,
    /// Where the time went.
    steps: Steps,
}

#[derive(Clone, Copy, Default)]
struct Steps {
    serial: Duration,
    commit: Duration,
    parallel: Duration,
    /// With the invariants of the control.
    compare: Duration,
    /// Making and writing the entries of the ledger.
    ledger: Duration,
}

/// A chain that was generated beforehand, so that only its way is measured.
struct Chain {
    options: GeneratedOptions,
    blocks: Vec<CommittedBlock>,
}

impl Chain {
    fn generate(transactions_per_block: usize, blocks: u64) -> Result<Self, VerifyError> {
        let options = chain_options(transactions_per_block, blocks);
        let mut source = GeneratedChain::new(options);
        let mut blocks = Vec::new();
        while let Some(event) = source.next_event()? {
            if let ChainEvent::Committed(block) = event {
                blocks.push(*block);
            }
        }
        Ok(Self { options, blocks })
    }

    fn copies(&self) -> Vec<CommittedBlock> {
        let copy = |block: &CommittedBlock| CommittedBlock {
            block: block.block.clone(),
            answers: block.answers.clone(),
        };
        self.blocks.iter().map(copy).collect()
    }

    fn transactions(&self) -> usize {
        self.blocks.iter().map(|listed| listed.block.transactions.len()).sum()
    }

    /// Serial execution and commit on two threads, each with a store of its own, and how long the slower one
    /// takes: what two of them lose to each other where the processors share something, although they have
    /// nothing in common.
    fn serial_and_commit_twice(&self) -> Result<Duration, VerifyError> {
        let prepared = [self.prepared()?, self.prepared()?];
        let [one, other] = thread::scope(|scope| {
            prepared
                .map(|prepared| scope.spawn(|| prepared.apply(Folding::Between)))
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        Ok(one?.elapsed.max(other?.elapsed))
    }

    fn prepared(&self) -> Result<Prepared, VerifyError> {
        let directory = tempfile::tempdir().map_err(SourceError::Io)?;
        let store = Store::open(directory.path(), StoreOptions::default())?;
        let source = GeneratedChain::new(self.options);
        store.seed(&source.base())?;
        let dev = source.identity().dev;
        Ok(Prepared { store, dev, blocks: self.copies(), _directory: directory })
    }

    /// The same, verified.
    fn verified(&self, workers: u32) -> Result<VerifiedRun, VerifyError> {
        let directory = tempfile::tempdir().map_err(SourceError::Io)?;
        let store = Store::open(directory.path(), StoreOptions::default())?;
        let source = GeneratedChain::new(self.options);
        let progress = Arc::<Progress>::default();
        let judge = judge_of(&store, workers, &progress)?;
        let mut verifier = Verifier::new(store.clone(), &source, NodeCheck::Ignore, judge)?;
        let blocks = self.copies();
        let cost = Cost::of(|| {
            for block in blocks {
                verifier.verify_block(block)?;
            }
            verifier.finish()
        })?;
        let (compare, ledger) = (progress.compare_clock.shown(), progress.ledger_clock.shown());
        let mut steps = Steps { compare, ledger, ..Steps::default() };
        for entry in entries(&store, TopoHeight::GENESIS) {
            let seconds = entry?.seconds;
            steps.serial += Duration::from_secs_f64(seconds.serial);
            steps.commit += Duration::from_secs_f64(seconds.commit);
            steps.parallel += Duration::from_secs_f64(seconds.parallel);
        }
        Ok(VerifiedRun { cost, steps })
    }
}

/// Blocks, and a store that they have not been applied to.
struct Prepared {
    store: Store,
    dev: Address,
    blocks: Vec<CommittedBlock>,
    /// Removed at the end.
    _directory: tempfile::TempDir,
}

/// Who folds the store of a serial run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Folding {
    /// The one thread, between blocks.
    Between,
    /// The thread that flushes.
    Beside,
}

impl Prepared {
    /// Serial execution and commit: what a node does anyway.
    fn apply(self, folding: Folding) -> Result<Cost, VerifyError> {
        let Self { _directory, store, dev, blocks } = self;
        Cost::of(|| Self::apply_all(&store, dev, blocks, folding))
    }

    fn apply_all(
        store: &Store,
        dev: Address,
        blocks: Vec<CommittedBlock>,
        folding: Folding,
    ) -> Result<(), VerifyError> {
        // The verifier makes its verdicts durable on another thread now and then, and the commits with
        // them; without the same here the comparison would flatter it.
        let (stop, stopped) = mpsc::channel::<()>();
        let flushed = store.clone();
        let flusher = thread::spawn(move || {
            while stopped.recv_timeout(FLUSH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                flushed.flush()?;
                if let (Folding::Beside, Some(tip)) = (folding, flushed.tip()) {
                    fold_below(&flushed, tip.block.topoheight, KEEP_BLOCKS)?;
                }
            }
            Ok::<(), StoreError>(())
        });
        for CommittedBlock { block, .. } in blocks {
            let parent = match block.topoheight.previous() {
                Some(parent) => store.snapshot_at(parent)?,
                None => store.base_snapshot()?,
            };
            let previous = block
                .topoheight
                .previous()
                .map(|parent| store.facts_before(parent, SIDE_BLOCK_WINDOW))
                .unwrap_or_default();
            let was_executed = |transaction: &TxHash| store.executed_at(transaction).is_some();
            let prepared = prepare(block, &ChainSoFar { dev, previous: &previous, was_executed });
            let pre_state = PreState::resolve(&prepared.named_keys, &parent)?;
            let control = SerialExecutor
                .control(&prepared.executable, &pre_state)
                .map_err(|error| SourceError::Input(Box::new(error)))?;
            let block = prepared.executable.block;
            store.commit(BlockCommit {
                executed: executed_transactions(&control.execution, None),
                ..BlockCommit::new(block, prepared.facts, control.execution.delta)
            })?;
            // The store has to be kept small here as there.
            if folding == Folding::Between {
                fold_below(store, block.topoheight, KEEP_BLOCKS)?;
            }
        }
        drop(stop);
        // A thread that panicked has flushed nothing more; the last flush is here.
        flusher.join().unwrap_or(Ok(()))?;
        Ok(store.flush()?)
    }
}
