//! Planted faults: executors that are wrong on purpose, so that the verifier can be seen to see.
//!
//! A verifier that never finds anything looks like one that works. Each [`Mutant`] is the built-in
//! engine with one fault that parallel executors have been shipped with, or could be: its finished
//! result is altered, or it is given another block than the one on trial, or it does not answer. A
//! mutant knows what it altered and because of which transactions, so whether the first reported
//! difference is the right one is decided without asking the comparison that is being tested.
//!
//! What cannot be planted: a value of the wrong kind under a key (the type of a delta has no room for
//! one), and a fault that the control shares (nothing differs then; that is what invariants are for).

mod altered;
mod causes;
mod failed;
mod idle;
mod keys;
mod money;
mod multisig;
mod nonces;
mod outcomes;
mod races;
mod rewards;
mod site;
mod stops;
mod wrong;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

pub use altered::{Altered, Place};
use comparator::{Failure, Field, Schedule};
pub use idle::{Idle, NOT_EXERCISED};
use site::Site;
use storage_snapshot::{BlockHash, TopoHeight};
use wrong::Wrong;

use crate::execute::{
    BlockExecutor, ExecutableBlock, Performed, PreState, parallel::ParallelExecutor,
};

/// A fault, and how it has to be noticed.
#[derive(Debug)]
pub struct Mutant {
    /// The stable name.
    pub name: &'static str,
    /// Its number in the list of faults that a real parallel executor was shipped with.
    pub class: Option<&'static str>,
    /// What it does wrong, in one sentence.
    pub does: &'static str,
    /// Of which fields the first difference may be. More than one where it depends on the block.
    pub fields: &'static [Field],
    plant: Plant,
}

/// Where the fault sits.
#[derive(Debug)]
enum Plant {
    /// In the result.
    Alters(Alter),
    /// There is no result.
    Stops {
        from: fn(&Stopping<'_>) -> Stop,
        /// Comes to an end like this; it may as well panic, or never return.
        how: fn() -> Failure,
        /// Whether it has to be waited for in vain.
        hangs: bool,
    },
}

type Alter = fn(&Site<'_>, &mut Wrong) -> Result<(), Failure>;

/// What decides whether there is a result.
struct Stopping<'a> {
    block: &'a ExecutableBlock,
    pre_state: &'a PreState,
    /// The first block that was seen at each topoheight.
    seen: &'a Mutex<HashMap<TopoHeight, BlockHash>>,
}

/// Whether there is a result, and which transaction is to blame if not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Never,
    Always,
    At(usize),
}

/// Every mutant.
pub fn catalogue() -> impl Iterator<Item = &'static Mutant> {
    let parts = [
        money::MUTANTS,
        rewards::MUTANTS,
        keys::MUTANTS,
        nonces::MUTANTS,
        failed::MUTANTS,
        outcomes::MUTANTS,
        multisig::MUTANTS,
        races::MUTANTS,
        stops::MUTANTS,
    ];
    parts.into_iter().flatten()
}

impl Mutant {
    /// An executor with this fault, and no other if the engine has none.
    pub fn executor(&'static self, engine: Arc<ParallelExecutor>) -> MutantExecutor {
        let name = format!("fault-{}", self.name);
        MutantExecutor { mutant: self, name, engine, seen: Mutex::default() }
    }

    /// Whether it does not answer at all, so that it has to be waited for in vain.
    pub const fn hangs(&self) -> bool {
        matches!(self.plant, Plant::Stops { hangs: true, .. })
    }

    const fn alters(
        name: &'static str,
        class: Option<&'static str>,
        does: &'static str,
        fields: &'static [Field],
        alter: Alter,
    ) -> Self {
        Self { name, class, does, fields, plant: Plant::Alters(alter) }
    }
}

/// An executor that is wrong on purpose.
#[derive(Debug)]
pub struct MutantExecutor {
    mutant: &'static Mutant,
    name: String,
    engine: Arc<ParallelExecutor>,
    seen: Mutex<HashMap<TopoHeight, BlockHash>>,
}

impl MutantExecutor {
    /// What the fault alters in a block under a schedule, told by the fault itself.
    ///
    /// # Errors
    ///
    /// When the engine that the fault is planted in fails by itself.
    pub fn altered(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Altered, Failure> {
        match &self.mutant.plant {
            Plant::Alters(alter) => {
                let site = Site::new(block, pre_state, schedule, &self.engine)?;
                let mut wrong = Wrong::new(&site);
                Ok(match alter(&site, &mut wrong) {
                    Ok(()) => Altered::between(block, &site.right, &wrong),
                    Err(_) => Altered::all(None),
                })
            }
            Plant::Stops { from, hangs, .. } => Ok(match self.stop(*from, block, pre_state) {
                Stop::Never => Altered::nothing(),
                // Nobody executes parts of a block again with something that hangs.
                Stop::At(index) if !hangs => Altered::all(Some(index)),
                Stop::At(_) | Stop::Always => Altered::all(None),
            }),
        }
    }

    fn stop(
        &self,
        from: fn(&Stopping<'_>) -> Stop,
        block: &ExecutableBlock,
        pre_state: &PreState,
    ) -> Stop {
        // Nothing panics while it is locked.
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(block.block.topoheight).or_insert(block.block.hash);
        drop(seen);
        from(&Stopping { block, pre_state, seen: &self.seen })
    }
}

impl BlockExecutor for MutantExecutor {
    fn name(&self) -> &str {
        &self.name
    }

    fn build(&self) -> String {
        concat!("shadow mutant ", env!("CARGO_PKG_VERSION")).to_owned()
    }

    fn spec(&self) -> Option<String> {
        Some(format!("fault:{}", self.mutant.name))
    }

    fn execute(
        &self,
        block: &Arc<ExecutableBlock>,
        pre_state: &Arc<PreState>,
        schedule: Schedule,
    ) -> Result<Performed, Failure> {
        match &self.mutant.plant {
            Plant::Alters(alter) => {
                let site = Site::new(block, pre_state, schedule, &self.engine)?;
                let mut wrong = Wrong::new(&site);
                alter(&site, &mut wrong)?;
                Ok(Performed { execution: wrong.execution, loads: site.loads, elapsed: None })
            }
            Plant::Stops { from, how, .. } => match self.stop(*from, block, pre_state) {
                Stop::Never => self.engine.execute(block, pre_state, schedule),
                Stop::Always | Stop::At(_) => Err(how()),
            },
        }
    }
}
