//! Faults that leave no result: panics, errors, hangs, and answers that are none.

use std::{hint::black_box, panic::resume_unwind, sync::PoisonError, thread, time::Duration};

use comparator::{Failure, Field};
use storage_snapshot::{Nonce, StateKey, StateRead, StateValue};

use super::{Mutant, Plant, Stop, Stopping};
use crate::{
    chain::TransactionData,
    execute::workers::{StdThreading, WorkerPool},
};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "panics-on-transaction",
        class: Some("T14"),
        does: "the third transaction of a block panics, and takes everything with it",
        fields: &[Field::Crashed],
        plant: Plant::Stops { from: |site| nth(site, 2), how: panics, hangs: false },
    },
    Mutant {
        name: "panics-on-burn",
        class: Some("T7"),
        does: "a burn is a kind that was forgotten, and panics",
        fields: &[Field::Crashed],
        plant: Plant::Stops { from: first_burn, how: panics, hangs: false },
    },
    Mutant {
        name: "worker-panics",
        class: None,
        does: "a worker thread dies of a block with three transactions",
        fields: &[Field::Crashed],
        plant: Plant::Stops { from: |site| nth(site, 2), how: worker_panics, hangs: false },
    },
    Mutant {
        name: "error-over-threshold",
        class: None,
        does: "a block of more than two transactions is answered with an error",
        fields: &[Field::Error],
        plant: Plant::Stops { from: |site| nth(site, 2), how: error, hangs: false },
    },
    Mutant {
        name: "fails-after-re-order",
        class: Some("T26"),
        does: "a block that takes the place of another one is answered with an error",
        fields: &[Field::Error],
        plant: Plant::Stops { from: after_re_order, how: error, hangs: false },
    },
    Mutant {
        name: "hangs-over-threshold",
        class: Some("T23"),
        does: "a block of two transactions or more waits for a lock that it holds itself",
        fields: &[Field::Hang],
        plant: Plant::Stops { from: |site| nth(site, 1), how: hangs, hangs: true },
    },
    Mutant {
        name: "hangs-on-second-spend",
        class: Some("T24"),
        does: "the look-up of an account that has sent in an earlier block never ends",
        fields: &[Field::Hang],
        plant: Plant::Stops { from: second_spend, how: hangs, hangs: true },
    },
    Mutant {
        name: "memory-hog",
        class: None,
        does: "a block of more than two transactions takes 256 MiB of memory, and is answered with an error",
        fields: &[Field::Error],
        plant: Plant::Stops { from: |site| nth(site, 2), how: hogs, hangs: false },
    },
    Mutant {
        name: "nonsense-answer",
        class: None,
        does: "a block of more than one transaction is answered with something that is no answer",
        fields: &[Field::Protocol],
        plant: Plant::Stops { from: |site| nth(site, 1), how: nonsense, hangs: false },
    },
];

/// Stops at the transaction with this index, if there is one.
fn nth(site: &Stopping<'_>, index: usize) -> Stop {
    if site.block.transactions.len() > index { Stop::At(index) } else { Stop::Never }
}

fn first_burn(site: &Stopping<'_>) -> Stop {
    let mut transactions = site.block.transactions.iter();
    let burn = transactions.position(|transaction| {
        !transaction.already_executed
            && matches!(transaction.body.data, TransactionData::Burn { .. })
    });
    burn.map_or(Stop::Never, Stop::At)
}

fn after_re_order(site: &Stopping<'_>) -> Stop {
    let seen = site.seen.lock().unwrap_or_else(PoisonError::into_inner);
    match seen.get(&site.block.block.topoheight) {
        Some(hash) if *hash != site.block.block.hash => Stop::Always,
        _ => Stop::Never,
    }
}

fn second_spend(site: &Stopping<'_>) -> Stop {
    let mut transactions = site.block.transactions.iter();
    let second = transactions.position(|transaction| {
        let nonce = site.pre_state.read(&StateKey::Nonce(transaction.body.source));
        matches!(nonce, Ok(Some(StateValue::Nonce(nonce))) if nonce > Nonce::new(0))
    });
    second.map_or(Stop::Never, Stop::At)
}

/// Unwinds without the message that a panic prints: it is planted, and nobody has to look into it.
fn panics() -> Failure {
    resume_unwind(Box::new("index out of bounds, as planted".to_owned()))
}

fn worker_panics() -> Failure {
    match WorkerPool::<StdThreading>::new(2) {
        Ok(mut pool) => {
            let dies = |lane| {
                move || {
                    if lane == 1 {
                        resume_unwind(Box::new("a worker died, as planted".to_owned()));
                    }
                }
            };
            pool.run((0..2).map(dies).collect());
            error()
        }
        Err(error) => Failure::Error(format!("starting two workers: {error}")),
    }
}

fn error() -> Failure {
    Failure::Error("no version of the balance, as planted".to_owned())
}

/// Sleeps, so that it costs nothing until the process ends, and does not keep it from ending.
fn hangs() -> Failure {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// Takes memory and gives it back, as one that notices in time; who does not takes the verifier with it, so only an
/// outside program can be limited.
fn hogs() -> Failure {
    let hogged: Vec<Vec<u8>> = (0..256).map(|_| vec![1; 1 << 20]).collect();
    let bytes: usize = black_box(&hogged).iter().map(Vec::len).sum();
    Failure::Error(format!("gave up after {bytes} bytes of memory, as planted"))
}

fn nonsense() -> Failure {
    Failure::Protocol("expected a result, found \"}{\", as planted".to_owned())
}
