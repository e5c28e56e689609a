//! An executor in Rust under test, without a program of its own: a team implements `BlockExecutor` and
//! runs the verifier from its own tests (here: `cargo run --release --example embed`).

use std::{error::Error, sync::Arc};

use comparator::{Failure, MemorySink, Schedule};
use shadow::{
    Verifier,
    canary::CanaryRate,
    execute::{BlockExecutor, ExecutableBlock, Performed, PreState, parallel::ParallelExecutor},
    judge::{Candidate, Judge, Progress},
    node::NodeCheck,
    schedules::Schedules,
    source::{GeneratedChain, GeneratedOptions},
    summary::{RunVerdict, Summary},
};
use storage_snapshot::{Store, StoreOptions};

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
    let (progress, sink) = (Arc::new(Progress::default()), Box::new(MemorySink::default()));
    let judge =
        Judge::start(store.clone(), vec![candidate], CanaryRate::every(50), sink, progress)?;

    let mut chain = GeneratedChain::new(GeneratedOptions { blocks: 200, ..Default::default() });
    Verifier::new(store.clone(), &chain, NodeCheck::Ignore, judge)?.verify_chain(&mut chain)?;

    let summary = Summary::read(&store, ["mine"])?;
    print!("{}", summary.to_text());
    assert_eq!(summary.verdict(), RunVerdict::Clean, "see above");
    Ok(())
}
