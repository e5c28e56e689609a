//! The whole way of a block, with verification and without.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use comparator::{MemorySink, Schedule};
use storage_snapshot::{
    BlockCommit, StateDelta, Store, StoreError, StoreOptions, TopoHeight, TxHash,
};

use super::{Length, Report, medians, speed_up};
use crate::{
    execute::{PreState, SerialExecutor, parallel::ParallelExecutor},
    judge::{Candidate, FLUSH_INTERVAL, Judge, Progress},
    ledger::entries,
    node::{NodeCheck, executed_transactions},
    prepare::{ChainSoFar, prepare},
    rules::SIDE_BLOCK_WINDOW,
    source::{
        BlockSource, ChainEvent, CommittedBlock, GeneratedChain, GeneratedOptions, Profile,
        SourceError,
    },
    verifier::{Verifier, VerifyError},
};

pub(super) fn measure(
    length: Length,
    workers: u32,
    report: &mut Report,
) -> Result<(), VerifyError> {
    let (mut compare, mut elapsed) = (0.0, 0.0);
    for transactions in [100, 1000] {
        let (blocks, rounds) = match length {
            Length::Full => (40_000 / transactions, 11),
            Length::Quick => (20_000 / transactions, 5),
        };
        let chain = Chain::generate(transactions, blocks as u64)?;
        let [alone, verified] = medians(
            rounds,
            [&mut || chain.serial_and_commit(), &mut || {
                let (time, compared) = chain.verified(workers)?;
                compare += compared;
                elapsed += time.as_secs_f64();
                Ok(time)
            }],
        )?;
        report.overhead.insert(transactions.to_string(), speed_up(alone, verified));
    }
    report.compare_share = compare / elapsed;
    Ok(())
}

/// A chain that was generated beforehand, so that only its way is measured.
struct Chain {
    options: GeneratedOptions,
    blocks: Vec<CommittedBlock>,
}

impl Chain {
    fn generate(transactions_per_block: usize, blocks: u64) -> Result<Self, VerifyError> {
        let options = GeneratedOptions {
            profile: Profile::Transfers,
            seed: 1,
            blocks,
            transactions_per_block,
            conflict_rate: 0.1,
        };
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

    /// Serial execution and commit: what a node does anyway.
    fn serial_and_commit(&self) -> Result<Duration, VerifyError> {
        let directory = tempfile::tempdir().map_err(SourceError::Io)?;
        let store = Store::open(directory.path(), StoreOptions::default())?;
        let source = GeneratedChain::new(self.options);
        store.seed(&source.base())?;
        let dev = source.identity().dev;
        let blocks = self.copies();
        let started = Instant::now();
        // The verifier makes its verdicts durable on another thread now and then, and the commits with
        // them; without the same here the comparison would flatter it.
        let (stop, stopped) = mpsc::channel::<()>();
        let flushed = store.clone();
        let flusher = thread::spawn(move || {
            while stopped.recv_timeout(FLUSH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                flushed.flush()?;
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
            store.commit(BlockCommit {
                block: prepared.executable.block,
                facts: prepared.facts,
                executed: executed_transactions(&control.execution, None),
                delta: control.execution.delta,
                correction: StateDelta::new(),
                unknown: Vec::new(),
            })?;
        }
        drop(stop);
        // A thread that panicked has flushed nothing more; the last flush is here.
        flusher.join().unwrap_or(Ok(()))?;
        store.flush()?;
        Ok(started.elapsed())
    }

    /// The same, verified: the time it takes, and the seconds of it that comparing took.
    fn verified(&self, workers: u32) -> Result<(Duration, f64), VerifyError> {
        let directory = tempfile::tempdir().map_err(SourceError::Io)?;
        let store = Store::open(directory.path(), StoreOptions::default())?;
        let source = GeneratedChain::new(self.options);
        let executor = ParallelExecutor::new(workers as usize).map_err(SourceError::Io)?;
        let schedule = Schedule { workers, seed: 0 };
        let judge = Judge::start(
            store.clone(),
            vec![Candidate { executor: Arc::new(executor), schedule }],
            Box::new(MemorySink::new()),
            Arc::new(Progress::default()),
        )
        .map_err(SourceError::Io)?;
        let mut verifier = Verifier::new(store.clone(), &source, NodeCheck::Ignore, judge)?;
        let blocks = self.copies();
        let started = Instant::now();
        for block in blocks {
            verifier.verify_block(block)?;
        }
        verifier.finish()?;
        let elapsed = started.elapsed();
        let mut compare = 0.0;
        for entry in entries(&store, TopoHeight::GENESIS) {
            compare += entry?.seconds.compare;
        }
        Ok((elapsed, compare))
    }
}
