//! An executor in Rust under test, without a program of its own: a team implements `BlockExecutor`
//! and runs the verifier from its own tests.
//!
//! ```text
//! cargo run --release --example embed
//! ```

use std::{error::Error, sync::Arc};

use comparator::{Failure, MemorySink, Schedule};
use shadow::{
    Verifier,
    canary::CanaryRate,
    execute::{BlockExecutor, ExecutableBlock, Performed, PreState, parallel::ParallelExecutor},
    judge::{Candidate, Judge, Progress},
    ledger::entries,
    node::NodeCheck,
    schedules::Schedules,
    source::{BlockSource, GeneratedChain, GeneratedOptions, Profile},
    summary::{RunVerdict, Summary},
};
use storage_snapshot::{Store, StoreOptions, TopoHeight};

/// Your executor. This one hands on to the engine that is built in; yours does the work itself.
#[derive(Debug)]
struct Mine(ParallelExecutor);

impl BlockExecutor for Mine {
    fn name(&self) -> &str {
        "mine"
    }

    fn build(&self) -> String {
        concat!("mine ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        self.0.execute(block, pre_state, schedule)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let executor = Arc::new(Mine(ParallelExecutor::new(4)?));
    let candidate = Candidate { executor, schedules: Schedules::disturbed(2, 4) };

    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path(), StoreOptions::default())?;
    let progress = Arc::new(Progress::default());
    let (canaries, sink) = (CanaryRate::every(50), Box::new(MemorySink::default()));
    let judge = Judge::start(store.clone(), vec![candidate], canaries, sink, progress)?;
    let mut chain = GeneratedChain::new(GeneratedOptions {
        profile: Profile::Everything,
        seed: 1,
        blocks: 200,
        transactions_per_block: 60,
        conflict_rate: 0.2,
    });
    let mut verifier = Verifier::new(store.clone(), &chain, NodeCheck::Ignore, judge)?;
    while let Some(event) = chain.next_event()? {
        verifier.take(event)?;
    }
    verifier.finish()?;

    let mut summary = Summary::new(["mine".to_owned()]);
    for entry in entries(&store, TopoHeight::GENESIS) {
        summary.add(&entry?);
    }
    let summary = summary.finish(store.tip().map(|tip| tip.digest), 0.0, None);
    print!("{}", summary.to_text());
    assert_eq!(summary.verdict(), RunVerdict::Clean, "see above");
    Ok(())
}
