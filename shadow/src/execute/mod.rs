//! Executing a block: what an executor is given, what it answers, and the engines built in.
//!
//! An executor is handed a block and a [`PreState`] that it can only read, so nothing that it does
//! can reach the store.

mod block;
mod expectations;
pub mod external;
pub mod parallel;
mod pre_state;
mod serial;
pub mod sharded;
mod within_budget;
pub mod workers;

use std::{any::Any, fmt, sync::Arc, time::Duration};

pub use block::{ExecutableBlock, ExecutableTransaction};
use comparator::{Execution, Failure, Schedule};
pub(crate) use expectations::{Placed, spent};
pub use pre_state::PreState;
pub use serial::{Control, ControlError, SerialExecutor};
pub use within_budget::WithinBudget;

/// Something that can be put under test.
pub trait BlockExecutor: fmt::Debug + Send + Sync {
    /// The name in reports, metrics and evidence.
    fn name(&self) -> &str;

    /// Which build of what this is, so that two runs can be told apart.
    fn build(&self) -> String;

    /// Executes a block on top of its parent's state.
    ///
    /// # Errors
    ///
    /// When there is no result. That is an observation about the executor, not an error of the
    /// verifier: it is compared like any other answer.
    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure>;

    /// Says that this block will be executed soon, so that one who can may begin. Whoever announces blocks
    /// executes them in the same order, and may leave some out.
    fn announce(
        &self,
        _block: &Arc<ExecutableBlock>,
        _pre_state: &Arc<PreState>,
        _schedule: Schedule,
    ) {
    }

    /// How it is named on the command line, if it can be started there.
    fn spec(&self) -> Option<String> {
        None
    }

    /// The end of the log that it keeps of itself, if it keeps one: bounded, and safe to be shown.
    fn log(&self) -> String {
        String::new()
    }
}

/// What an executor did, and what it cost in state reads.
#[derive(Clone, Debug)]
pub struct Performed {
    /// The result that is compared.
    pub execution: Execution,
    /// How the state was loaded: a statistic, not compared.
    pub loads: Loads,
    /// How long it took, if that is not how long somebody waited for it.
    pub elapsed: Option<Duration>,
}

/// How often state was asked for, and where the answer came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Reads of an account's nonce, balance or registration by the engine.
    pub requested: u64,
    /// Those answered by what the engine had loaded before.
    pub from_cache: u64,
    /// Those that went to the snapshot.
    pub from_store: u64,
}

impl Loads {
    /// Adds others.
    pub(crate) const fn add(&mut self, other: Self) {
        self.requested += other.requested;
        self.from_cache += other.from_cache;
        self.from_store += other.from_store;
    }
}

/// What a panic says of itself.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no message"))
}
