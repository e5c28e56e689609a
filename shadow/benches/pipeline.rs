//! The steps of a block's way, one by one: `cargo bench -p shadow`.
//!
//! `shadow bench` tells ratios between alternating runs, which is what to quote from a busy machine;
//! these tell which step became slower.

#![expect(clippy::expect_used, reason = "a benchmark that cannot start tells its reader")]
#![expect(missing_docs, reason = "the harness makes a public function of a group")]

use std::{hint::black_box, sync::Arc};

use comparator::{Limits, Schedule, check, compare_with_sound};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use shadow::{
    bench::{Workload, transfers},
    chain::{block_to_json, decode_block},
    execute::{
        BlockExecutor, PreState, SerialExecutor, expectations,
        parallel::{ParallelExecutor, conflict_free_batches},
    },
    observe::observe,
    rules::NamedKeys,
    shapes::shapes,
    source::{BlockSource, ChainEvent, GeneratedChain, GeneratedOptions, Profile},
};
use storage_snapshot::{
    BlockCommit, BlockFacts, BlockHash, BlockRef, MemoryState, StateDelta, Store, StoreOptions,
    TopoHeight,
};

const TRANSACTIONS: [usize; 3] = [100, 1000, 10_000];
const CONFLICT_RATES: [f64; 3] = [0.0, 0.5, 1.0];

/// A block and how many transactions per second it makes.
fn for_each_size(
    criterion: &mut Criterion,
    name: &str,
    mut measure: impl FnMut(&mut Group<'_>, Workload),
) {
    let mut group = criterion.benchmark_group(name);
    for transactions in TRANSACTIONS {
        group.throughput(Throughput::Elements(transactions as u64));
        measure(&mut group, transfers(transactions, 0.1, 1));
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn size_of_block(workload: &Workload) -> BenchmarkId {
    BenchmarkId::from_parameter(workload.block.transactions.len())
}

fn execute(criterion: &mut Criterion) {
    let cores = num_cpus::get().max(2);
    let engine = ParallelExecutor::new(cores).expect("the system has a thread to spare");
    let engines: [(&str, &dyn BlockExecutor, usize); 3] =
        [("serial", &SerialExecutor, 1), ("v3 on one", &engine, 1), ("v3 on all", &engine, cores)];
    for (name, executor, workers) in engines {
        let mut group = criterion.benchmark_group(format!("execute/{name}"));
        let schedule = Schedule { workers: workers as u32, seed: 0 };
        for transactions in TRANSACTIONS {
            group.throughput(Throughput::Elements(transactions as u64));
            for conflict_rate in CONFLICT_RATES {
                let workload = transfers(transactions, conflict_rate, 1);
                group.bench_function(
                    BenchmarkId::new(transactions.to_string(), conflict_rate),
                    |b| {
                        b.iter_with_large_drop(|| {
                            executor.execute(&workload.block, &workload.pre_state, schedule)
                        });
                    },
                );
            }
        }
        group.finish();
    }
}

fn plan(criterion: &mut Criterion) {
    for_each_size(criterion, "conflict-free batches", |group, workload| {
        group.bench_function(size_of_block(&workload), |b| {
            b.iter(|| conflict_free_batches(black_box(&workload.block.transactions)));
        });
    });
}

fn resolve(criterion: &mut Criterion) {
    for_each_size(criterion, "name and resolve from memory", |group, workload| {
        let mut before = MemoryState::new();
        for (key, value) in workload.pre_state.iter() {
            before.set(key, Some(value.clone()));
        }
        let block = &workload.block;
        group.bench_function(size_of_block(&workload), |b| {
            b.iter_with_large_drop(|| {
                let bodies = block.transactions.iter().map(|listed| &listed.body);
                let keys = Arc::new(NamedKeys::of_block(&block.miner, &block.dev, bodies));
                PreState::resolve(&keys, &before)
            });
        });
    });
}

fn compare(criterion: &mut Criterion) {
    for_each_size(criterion, "check the invariants", |group, workload| {
        let control = SerialExecutor.control(&workload.block, &workload.pre_state);
        let control = control.expect("transfers are executable").execution;
        group.bench_function(size_of_block(&workload), |b| {
            b.iter(|| check(&control, &workload.pre_state, &expectations(&workload.block)));
        });
    });
    for_each_size(criterion, "compare two that agree", |group, workload| {
        let (block, before) = (&workload.block, &workload.pre_state);
        let control = SerialExecutor.control(block, before);
        let control = control.expect("transfers are executable").execution;
        let schedule = Schedule { workers: 2, seed: 0 };
        let (candidate, _) = observe(&SerialExecutor, block, before, schedule);
        let (expected, limits) = (expectations(block), Limits::default());
        group.bench_function(size_of_block(&workload), |b| {
            b.iter(|| compare_with_sound(&control, &candidate, before, &expected, &limits));
        });
    });
}

fn find_shapes(criterion: &mut Criterion) {
    for_each_size(criterion, "find the shapes", |group, workload| {
        let (block, before) = (&workload.block, &workload.pre_state);
        let control = SerialExecutor.control(block, before).expect("transfers are executable");
        group.bench_function(size_of_block(&workload), |b| {
            b.iter(|| shapes(black_box(block), before, &control));
        });
    });
}

fn commit(criterion: &mut Criterion) {
    for_each_size(criterion, "commit", |group, workload| {
        let directory = tempfile::tempdir().expect("there is room for temporary files");
        let store = Store::open(directory.path(), StoreOptions::default())
            .expect("an empty directory becomes a store");
        let base: StateDelta =
            workload.pre_state.iter().map(|(key, value)| (key, Some(value.clone()))).collect();
        store.seed(&base).expect("an empty store takes a base");
        let control = SerialExecutor.control(&workload.block, &workload.pre_state);
        let delta = control.expect("transfers are executable").execution.delta;
        let mut topoheight = TopoHeight::GENESIS;
        group.bench_function(size_of_block(&workload), |b| {
            b.iter_batched(
                || {
                    let hash = *blake3::hash(&topoheight.as_u64().to_be_bytes()).as_bytes();
                    let block = BlockRef { topoheight, hash: BlockHash::new(hash) };
                    topoheight = topoheight.next();
                    BlockCommit::new(block, BlockFacts::default(), delta.clone())
                },
                |block| {
                    let tip = store.commit(block).expect("the next block is committed");
                    // What is above the view is kept in memory.
                    let behind = tip.block.topoheight.checked_sub(64);
                    if let Some(view) = behind.filter(|view| view.as_u64() % 64 == 0) {
                        store.advance_view(view).expect("nothing is pinned");
                    }
                },
                BatchSize::PerIteration,
            );
        });
    });
}

fn json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode a block of a node");
    for transactions in [10, 100, 1000] {
        let mut source = GeneratedChain::new(GeneratedOptions {
            profile: Profile::Transfers,
            seed: 1,
            blocks: 3,
            transactions_per_block: transactions,
            conflict_rate: 0.1,
        });
        let mut text = String::new();
        while let Ok(Some(event)) = source.next_event() {
            if let ChainEvent::Committed(committed) = event {
                text = block_to_json(&committed.block).expect("transfers have a text form");
            }
        }
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(transactions), |b| {
            b.iter_with_large_drop(|| decode_block(black_box(&text)));
        });
    }
    group.finish();
}

criterion_group! {
    name = steps;
    config = Criterion::default().sample_size(20);
    targets = execute, plan, resolve, compare, find_shapes, commit, json
}
criterion_main!(steps);
