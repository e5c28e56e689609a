//! The diagnosis: the right sentence for numbers that tell, and none for numbers that do not.

use comparator::{
    Execution, FailReason, Failure, Field, LocateMethod, Outcome, Schedule, SkipReason, Status,
};
use shadow::{
    diagnosis::{Cause, Confidence, Diagnosis, Finding},
    evidence::{Evidence, Replay},
    execute::{BlockExecutor, ExecutableBlock, PreState, SerialExecutor},
};
use storage_snapshot::{Address, Amount, AssetId, Nonce, StateKey, StateValue};

use crate::support::*;

const SCHEDULE: Schedule = Schedule { workers: 2, seed: 0 };

fn diagnosis(world: &World, candidate: &dyn BlockExecutor) -> Diagnosis {
    Diagnosis::of_evidence(&evidence(world, candidate)).unwrap()
}

fn evidence(world: &World, candidate: &dyn BlockExecutor) -> Evidence {
    let replay = Replay::new(world.block(), world.pre_state()).unwrap();
    let run = replay.run(candidate, SCHEDULE).unwrap();
    replay.evidence(run, candidate).expect("nothing differs")
}

/// Alters the right result, and checks the only cause that is given: what it is, of which transactions,
/// and what is said.
#[track_caller]
fn check(
    world: &World,
    fault: impl Fn(&mut Execution) + Send + Sync,
    finding: Finding,
    transactions: &[usize],
    says: &str,
) {
    let altered = Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        fault(execution);
    });
    let found = diagnosis(world, &altered);
    let [cause] = &found.causes[..] else { panic!("{found:#?}") };
    let named: Vec<usize> = cause.transactions.iter().map(|named| named.index).collect();
    assert_eq!((cause.finding, &named[..]), (finding, transactions), "{found}");
    assert_eq!(cause.confidence, Confidence::Certain, "{found}");
    assert!(cause.to_string().contains(says), "{found}");
    assert_eq!(found.unexplained, 0, "{found}");
}

/// A has 1000 and B 500; transaction 0 is A → B 10/1, transaction 1 is B → C 70/7.
fn world() -> World {
    World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1).pay(B, 0, C, 70, 7)
}

fn raise(account: Address, by: i64) -> impl Fn(&mut Execution) {
    raise_in(account, NATIVE, by)
}

fn raise_in(account: Address, asset: AssetId, by: i64) -> impl Fn(&mut Execution) {
    move |execution| {
        let amount = balance(execution, account, asset);
        let raised = amount.wrapping_add(Amount::new(by as u64));
        execution.delta.set_balance(account, asset, raised);
    }
}

fn balance(execution: &Execution, account: Address, asset: AssetId) -> Amount {
    match execution.delta.get(&StateKey::Balance(account, asset)) {
        Some(Some(StateValue::Balance(amount))) => *amount,
        _ => Amount::ZERO,
    }
}

#[test]
fn a_debit_that_is_missing() {
    let says = "is too high by 11 = fee 1 + amount 10 of transaction #0: its debit is missing";
    check(&world().pay(A, 1, C, 35, 3), raise(A, 11), Finding::DebitMissing, &[0], says);
    check(&world(), raise(A, 1), Finding::DebitMissing, &[0], "= fee 1 of transaction #0");
    check(&world(), raise(A, 10), Finding::DebitMissing, &[0], "= amount 10 of transaction #0");
}

#[test]
fn a_debit_that_is_taken_twice() {
    let says = "is too low by 11 = fee 1 + amount 10 of transaction #0: its debit was taken twice";
    check(&world(), raise(A, -11), Finding::DebitTwice, &[0], says);
}

#[test]
fn a_credit_that_is_missing_or_given_twice() {
    check(&world(), raise(B, -10), Finding::CreditMissing, &[0], "too low by 10 = amount 10");
    check(&world(), raise(C, 70), Finding::CreditTwice, &[1], "too high by 70 = amount 70");
}

#[test]
fn a_balance_that_was_overwritten() {
    let says = "exactly what the block adds up to without the 500 from before: they were overwritten \
                by the credit of transaction #0";
    let world = World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1);
    check(&world, raise(B, -500), Finding::Overwritten, &[0], says);
}

#[test]
fn a_balance_that_was_not_loaded() {
    let says = "its 1000 from before the block: it was not loaded, and taken to be 0";
    check(&world(), raise(A, -1000), Finding::NotLoaded, &[0], says);
}

#[test]
fn a_value_that_is_stale() {
    // Of three that A sends only the first is there.
    let world = World::new().account(A, 0, 1000).account(B, 0, 500);
    let world = world.pay(A, 0, B, 10, 1).pay(A, 1, C, 30, 4).pay(A, 2, D, 70, 7);
    let first_alone = |execution: &mut Execution| {
        execution.delta.set_balance(A, NATIVE, Amount::new(989));
    };
    let says =
        "is what it is after transaction #0 alone: the writes of transactions #1, #2 are lost";
    check(&world, first_alone, Finding::UpdateLost, &[1, 2, 0], says);
    let as_before = |execution: &mut Execution| {
        execution.delta.set_balance(B, NATIVE, Amount::new(500));
    };
    check(
        &self::world(),
        as_before,
        Finding::Stale,
        &[0, 1],
        "is 500, as it was before the block: a stale value was written over what transactions #0, #1",
    );
}

#[test]
fn what_the_block_pays() {
    check(
        &world(),
        raise(M, 90),
        Finding::RewardTwice,
        &[],
        "the miner's reward: it was counted twice",
    );
    check(
        &world(),
        raise(M, -90),
        Finding::RewardMissing,
        &[],
        "the miner's reward: it is missing",
    );
    check(&world(), raise(M, -7), Finding::FeeNotCredited, &[1], "= fee 7 of transaction #1");
    check(
        &world(),
        raise(M, -8),
        Finding::FeeNotCredited,
        &[0, 1],
        "the fees of transactions #0, #1",
    );
}

#[test]
fn what_went_to_somebody_else() {
    let to_dev = |execution: &mut Execution| {
        raise(B, -10)(execution);
        raise(DEV, 10)(execution);
    };
    let says = "= amount 10 of transaction #0: credited to the wrong account";
    check(&world(), to_dev, Finding::WrongAccount, &[0], says);
    let fees = |execution: &mut Execution| {
        raise(M, -8)(execution);
        raise(DEV, 8)(execution);
    };
    check(&world(), fees, Finding::WrongAccount, &[0, 1], "the fees of transactions #0, #1");

    let gold = World::new().account(A, 0, 1000).holding(A, GOLD, 300).account(B, 0, 1);
    let gold = gold.transfer(A, 0, &[(GOLD, B, 30)], 1);
    let native = |execution: &mut Execution| {
        raise_in(B, GOLD, -30)(execution);
        execution.delta.set_balance(B, NATIVE, Amount::new(31));
    };
    check(&gold, native, Finding::WrongAsset, &[0], "credited to the wrong asset");
}

#[test]
fn two_values_that_are_swapped() {
    let world = World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1);
    let swapped = |execution: &mut Execution| {
        let [a, b] = [A, B].map(|account| balance(execution, account, NATIVE));
        execution.delta.set_balance(A, NATIVE, b);
        execution.delta.set_balance(B, NATIVE, a);
    };
    check(&world, swapped, Finding::ValuesSwapped, &[0], "each has the other's value");
}

#[test]
fn two_outputs_that_are_swapped() {
    let world = World::new().account(A, 0, 1000).account(B, 0, 500);
    let world = world.transfer(A, 0, &[(NATIVE, B, 10), (NATIVE, C, 35)], 1);
    let swapped = |execution: &mut Execution| {
        raise(B, 25)(execution);
        raise(C, -25)(execution);
    };
    let says = "the amounts of two outputs were swapped";
    check(&world, swapped, Finding::OutputsSwapped, &[0], says);
}

#[test]
fn nonces_that_are_behind_or_ahead() {
    let nonce = |nonce: u64| {
        move |execution: &mut Execution| {
            execution.delta.set_nonce(A, Nonce::new(nonce));
        }
    };
    let world = World::new().account(A, 4, 1000).pay(A, 4, B, 10, 1).pay(A, 5, C, 10, 1);
    check(&world, nonce(5), Finding::NonceBehind, &[1], "is 5, that of transaction #1 itself");
    check(&world, nonce(7), Finding::NonceAhead, &[1], "is 7 instead of 6: it was advanced twice");
    let world = World::new().account(A, 0, 1000).pay(A, 3, B, 10, 1).pay(A, 1, C, 10, 1);
    let says = "is 2, the one after transaction #1, which came last";
    check(&world, nonce(2), Finding::NonceOfLast, &[1], says);
}

#[test]
fn outcomes_that_are_shifted_or_swapped() {
    let world = World::new().account(A, 0, 1000).account(B, 0, 1000).account(C, 0, 1000);
    let world = world.pay(A, 0, D, 10, 1).pay(B, 0, D, 10, 3).pay(C, 0, D, 10, 7);
    let shifted = |execution: &mut Execution| {
        let hashes: Vec<_> = execution.outcomes.iter().map(|outcome| outcome.hash).collect();
        execution.outcomes.remove(1);
        for (outcome, hash) in execution.outcomes.iter_mut().zip(hashes) {
            outcome.hash = hash;
        }
    };
    let says = "outcomes from #1 on are shifted by one";
    check(&world, shifted, Finding::OutcomesShifted, &[1, 2], says);
    let swapped = |execution: &mut Execution| {
        let [one, _, three] = &mut execution.outcomes[..] else { panic!("{execution:#?}") };
        std::mem::swap(&mut one.fee, &mut three.fee);
    };
    check(&world, swapped, Finding::OutcomesPermuted, &[0, 2], "have each other's outcomes");
}

#[test]
fn a_transaction_that_was_never_executed_and_one_that_only_has_no_outcome() {
    let forgotten =
        World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1).serial();
    let left_out = move |execution: &mut Execution| {
        let exercise = execution.exercise.clone();
        *execution = Execution { exercise, ..forgotten.clone() };
    };
    check(&world(), left_out, Finding::LeftOut, &[1], "was never executed");
    let missing = |execution: &mut Execution| {
        execution.outcomes.pop();
    };
    check(&world(), missing, Finding::OutcomeMissing, &[1], "and its effects are there");
}

#[test]
fn transactions_that_are_refused_and_should_not_be() {
    let refused = |index: usize| {
        move |execution: &mut Execution| {
            let outcome = &mut execution.outcomes[index];
            outcome.status = Status::Skipped(SkipReason::Nonce);
            outcome.fee = Amount::ZERO;
        }
    };
    let world = World::new().account(A, 2, 1000).pay(A, 2, B, 10, 1).pay(A, 3, C, 10, 1);
    check(&world, refused(1), Finding::SecondOfSenderRefused, &[1, 0], "after transaction #0");
    let world = World::new().account(A, 2, 1000).pay(A, 5, B, 10, 1);
    check(&world, refused(0), Finding::GapRefused, &[0], "nonce 5 leaves a gap after 2");
    let full = World::new().account(A, 0, 1000).account(B, 0, u64::MAX);
    let world = full.pay(A, 0, B, 10, 1).pay(A, 0, C, 10, 1);
    let says = "transaction #0 with the same nonce 0 failed, and did not give it back";
    check(&world, refused(1), Finding::NonceNotGivenBack, &[1, 0], says);
}

/// All readings of an altered result and how sure they are, and how many differences have none.
fn readings(
    world: &World,
    fault: impl Fn(&mut Execution) + Send + Sync,
) -> (Vec<(Finding, &'static str)>, usize) {
    let altered = Altered(move |_: &ExecutableBlock, _: &PreState, e: &mut Execution| fault(e));
    let found = diagnosis(world, &altered);
    let causes = found.causes.iter().map(|cause| (cause.finding, cause.confidence.as_str()));
    (causes.collect(), found.unexplained)
}

/// What is said of an altered result, and how many differences it leaves unexplained.
fn said(world: &World, fault: impl Fn(&mut Execution) + Send + Sync) -> (String, usize) {
    let altered = Altered(move |_: &ExecutableBlock, _: &PreState, e: &mut Execution| fault(e));
    let found = diagnosis(world, &altered);
    (found.causes.first().map(ToString::to_string).unwrap_or_default(), found.unexplained)
}

fn report(execution: &mut Execution, index: usize, status: Status, fee: u64) {
    execution.outcomes[index].status = status;
    execution.outcomes[index].fee = Amount::new(fee);
}

#[test]
fn a_wrong_outcome_explains_what_follows_from_it_and_nothing_else() {
    let failed = || Status::Failed(FailReason::CreditOverflow);
    let alone = said(&world(), |execution| report(execution, 1, failed(), 0));
    assert!(alone.0.contains("though its effects are there") && alone.1 == 0, "{alone:?}");
    let and_the_miner = said(&world(), |execution| {
        report(execution, 1, failed(), 0);
        raise(M, 123_457)(execution);
    });
    assert_eq!(and_the_miner, (alone.0, 1));

    let without = World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1).serial();
    let rolled_back = said(&world(), |execution| {
        execution.delta = without.delta.clone();
        execution.totals = without.totals;
        report(execution, 1, failed(), 0);
    });
    assert!(rolled_back.0.contains("is said to be failed"), "{rolled_back:?}");
    assert!(!rolled_back.0.contains("effects") && rolled_back.1 == 0, "{rolled_back:?}");
}

#[test]
fn what_follows_from_an_outcome_has_no_other_cause() {
    #[track_caller]
    fn check(world: &World, finding: Finding, fault: impl Fn(&mut Execution) + Send + Sync) {
        assert_eq!(readings(world, fault), (vec![(finding, "certain")], 0));
    }
    let failed = |execution: &mut Execution, without: &Execution| {
        execution.delta = without.delta.clone();
        execution.totals = without.totals;
        report(execution, 1, Status::Failed(FailReason::CreditOverflow), 0);
    };
    let start = World::new().account(A, 0, 1000).account(B, 0, 500).pay(A, 0, B, 10, 1);
    let without = start.clone().serial();
    let paid = start.clone().pay(B, 0, C, 70, 7);
    check(&paid, Finding::ReportedFailed, |execution| failed(execution, &without));
    let burned = start.burn(B, 0, NATIVE, 70, 7);
    check(&burned, Finding::ReportedFailed, |execution| failed(execution, &without));

    check(&paid, Finding::OutcomeFeeOff, |execution| {
        report(execution, 1, Status::Executed, 9);
        raise(M, 2)(execution);
        execution.totals.fees = Amount::new(10);
    });

    let full = World::new().account(A, 0, 1000).account(B, 0, u64::MAX - 5).account(C, 0, 5);
    let full = full.transfer(A, 0, &[(NATIVE, B, 10), (NATIVE, C, 35)], 1);
    check(&full, Finding::OverflowClamped, |execution| {
        report(execution, 0, Status::Executed, 1);
        execution.delta.set_balance(B, NATIVE, Amount::new(u64::MAX));
        execution.delta.set_balance(C, NATIVE, Amount::new(40));
        raise(M, 1)(execution);
        execution.totals.fees = Amount::new(1);
    });
}

#[test]
fn a_nonce_was_let_in_only_where_what_it_moves_is_there() {
    let world = world().pay(A, 0, C, 35, 3);
    let executed = |execution: &mut Execution| report(execution, 2, Status::Executed, 3);
    let (said_alone, _) = said(&world, executed);
    assert!(said_alone.contains("nothing else of it is there"), "{said_alone}");
    let and_the_miner = said(&world, |execution| {
        executed(execution);
        raise(M, 123_457)(execution);
    });
    assert_eq!(and_the_miner, (said_alone, 1));
    let (said_of_another, _) = said(&world, |execution| {
        executed(execution);
        raise(A, 123_457)(execution);
    });
    assert!(!said_of_another.contains("was accepted"), "{said_of_another}");
    let replay = |execution: &mut Execution| {
        executed(execution);
        raise(A, -38)(execution);
        raise(C, 35)(execution);
        raise(M, 3)(execution);
        execution.totals.fees = Amount::new(11);
    };
    let says = "was accepted with nonce 0, which transaction #0 used already";
    check(&world, replay, Finding::ReplayAccepted, &[2, 0], says);
    let advanced = |execution: &mut Execution| {
        replay(execution);
        execution.delta.set_nonce(A, Nonce::new(2));
    };
    check(&world, advanced, Finding::ReplayAccepted, &[2, 0], says);
}

#[test]
fn a_failure_keeps_what_the_chain_keeps() {
    let full = World::new().account(A, 0, 1000).account(B, 0, u64::MAX - 5);
    let world = full.clone().transfer(A, 0, &[(NATIVE, B, 10), (NATIVE, C, 35)], 1);
    // That it keeps its nonce tells a debit that was given back from a transaction that was taken back.
    let second = full.clone().pay(A, 0, D, 7, 2).transfer(A, 1, &[(NATIVE, B, 10)], 1);
    let says = "was given back, though it failed";
    check(&second, raise(A, 11), Finding::FailedDebitsReturned, &[1], says);
    let went_on = |execution: &mut Execution| {
        execution.delta.set_balance(C, NATIVE, Amount::new(35));
    };
    check(&world, went_on, Finding::FailedWentOn, &[0], "comes after the output that fails");
    let published = |execution: &mut Execution| {
        execution.delta.set_balance(B, NATIVE, Amount::new(u64::MAX));
    };
    check(&world, published, Finding::OverflowPublished, &[0], "is 2^64-1");
    let rolled_back = |execution: &mut Execution| {
        execution.delta.remove(&StateKey::Nonce(A));
        execution.delta.remove(&StateKey::Balance(A, NATIVE));
    };
    check(&world, rolled_back, Finding::FailedRolledBack, &[0], "was taken back");
    let charged = |execution: &mut Execution| execution.outcomes[0].fee = Amount::new(1);
    check(&world, charged, Finding::FeeOfFailedCharged, &[0], "pays nothing");
    let reason = |execution: &mut Execution| {
        let reason = "no\nfunds \u{1b}[31m".to_owned();
        execution.outcomes[0].status = Status::Failed(FailReason::Other(reason));
    };
    // What a candidate writes can neither break the line nor reach the terminal.
    check(&world, reason, Finding::FailReasonWrong, &[0], "no\\nfunds \\u{1b}[31m");
}

#[test]
fn multisigs_that_are_not_the_last_one() {
    let world = World::new().account(A, 0, 1000);
    let world = world.multisig(A, 0, 2, &[B, C], 1).multisig(A, 1, 1, &[D, B], 3);
    let earlier = |execution: &mut Execution| {
        execution.delta.set_multisig(A, Some(config(2, &[B, C])));
    };
    // That the block was executed the other way round would lead there as well.
    let altered = Altered(move |_: &ExecutableBlock, _: &PreState, e: &mut Execution| earlier(e));
    let found = diagnosis(&world, &altered);
    let findings: Vec<_> = found.causes.iter().map(|cause| cause.finding).collect();
    assert_eq!(findings, [Finding::MultisigEarlierWins, Finding::OtherOrder], "{found}");
    assert!(found.causes.iter().all(|cause| cause.confidence == Confidence::Likely), "{found}");
    let more = |execution: &mut Execution| {
        execution.delta.set_multisig(A, Some(config(2, &[D, B])));
    };
    check(
        &world,
        more,
        Finding::MultisigThresholdOff,
        &[1],
        "asks for 2 signatures instead of the 1",
    );
    let sorted = |execution: &mut Execution| {
        execution.delta.set_multisig(A, Some(config(1, &[B, D])));
    };
    check(&world, sorted, Finding::MultisigReordered, &[1], "in another order, sorted");
    let lost = |execution: &mut Execution| {
        execution.delta.remove(&StateKey::Multisig(A));
    };
    check(&world, lost, Finding::MultisigWriteLost, &[0, 1], "is not in the result");
}

#[test]
fn a_candidate_without_a_result() {
    #[derive(Debug)]
    struct Fails(Failure);
    impl BlockExecutor for Fails {
        fn name(&self) -> &str {
            "fails"
        }
        fn build(&self) -> String {
            "test".to_owned()
        }
        fn execute(
            &self,
            block: &std::sync::Arc<ExecutableBlock>,
            pre_state: &std::sync::Arc<PreState>,
            schedule: Schedule,
        ) -> Result<shadow::execute::Performed, Failure> {
            match block.transactions.len() {
                0 => SerialExecutor.execute(block, pre_state, schedule),
                _ => Err(self.0.clone()),
            }
        }
    }
    let text = || "on two\nlines".to_owned();
    for (failure, finding) in [
        (Failure::Error(text()), Finding::Errors),
        (Failure::Crashed(text()), Finding::Crashes),
        (Failure::Protocol(text()), Finding::Nonsense),
        (Failure::Hang { budget: std::time::Duration::from_secs(1) }, Finding::Hangs),
    ] {
        let found = diagnosis(&world(), &Fails(failure));
        assert_eq!(found.causes[0].finding, finding, "{found}");
        assert!(!found.to_string().contains('\n'), "{found}");
    }
}

#[test]
fn numbers_that_fit_nothing_are_not_explained() {
    for by in [5, -5, 123, -987_654] {
        let altered =
            Altered(move |_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
                raise(A, by)(execution);
            });
        let found = diagnosis(&world(), &altered);
        assert!(found.causes.is_empty() && found.sentences().is_empty(), "{by}: {found}");
        assert_eq!(found.unexplained, 1);
    }
}

#[test]
fn where_two_readings_fit_both_are_given_as_likely() {
    // A pays the same twice.
    let world = World::new().account(A, 0, 1000).account(B, 0, 1);
    let world = world.pay(A, 0, B, 10, 1).transfer(A, 1, &[(NATIVE, B, 25), (NATIVE, B, 10)], 1);
    let altered = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        raise(B, -10)(execution);
    });
    let found = diagnosis(&world, &altered);
    let blamed: Vec<_> = found.causes.iter().flat_map(|cause| &cause.transactions).collect();
    assert_eq!(found.causes[0].finding, Finding::CreditMissing);
    assert_eq!(found.causes[0].confidence, Confidence::Likely, "{found}");
    assert_eq!(blamed.iter().map(|named| named.index).collect::<Vec<_>>(), [0, 1], "{found}");
}

#[test]
fn a_reading_is_not_left_out_for_being_less_telling() {
    // What is not debited is what it was before.
    let (found, _) = readings(&world(), raise(A, 11));
    assert_eq!(found, [(Finding::DebitMissing, "likely"), (Finding::Stale, "likely")]);
}

#[test]
fn a_transfer_of_which_nothing_is_left_is_told_beside_one_that_went_back_to_its_sender() {
    let (found, unexplained) = readings(&world(), |execution| {
        raise(A, 10)(execution);
        raise(B, -10)(execution);
    });
    let likely = |finding| (finding, "likely");
    assert_eq!(found, [Finding::WrongAccount, Finding::EffectMissing].map(likely));
    assert_eq!(unexplained, 0);
}

#[test]
fn a_likely_explanation_is_not_counted_with_a_certain_one() {
    // What is missing of B is a debit for certain; what is missing of A may be one.
    let world = world().pay(B, 1, C, 35, 3);
    let (found, _) = readings(&world, |execution| {
        raise(A, 11)(execution);
        raise(B, 77)(execution);
    });
    let causes = [
        (Finding::DebitMissing, "likely"),
        (Finding::Stale, "likely"),
        (Finding::DebitMissing, "certain"),
    ];
    assert_eq!(found, causes);
}

#[test]
fn what_a_failed_transaction_leaves_behind_is_taken_back_as_a_whole() {
    let world = World::new().account(A, 0, 1000).account(B, 0, u64::MAX - 5);
    let failing = [(NATIVE, C, 35), (NATIVE, B, 10)];
    let world = world.transfer(A, 0, &failing, 1).pay(A, 1, D, 7, 2);
    let rolled_back = |execution: &mut Execution| {
        raise(A, 46)(execution);
        for key in [StateKey::Nonce(C), StateKey::Registered(C), StateKey::Balance(C, NATIVE)] {
            execution.delta.remove(&key);
        }
    };
    check(&world, rolled_back, Finding::FailedRolledBack, &[0], "was taken back");
}

#[test]
fn balances_alone_tell_what_was_taken_back_as_well() {
    let world = World::new().account(A, 0, 1000).account(B, 0, u64::MAX - 5).account(C, 0, 500);
    let failing = [(NATIVE, C, 35), (NATIVE, B, 10)];
    let world = world.transfer(A, 0, &failing, 1).pay(A, 1, D, 7, 2).pay(C, 0, D, 1, 1);
    let (found, unexplained) = readings(&world, |execution| {
        raise(A, 46)(execution);
        raise(C, -35)(execution);
    });
    assert!(found.iter().any(|(finding, _)| *finding == Finding::FailedRolledBack), "{found:?}");
    assert_eq!(unexplained, 0);
}

#[test]
fn what_only_some_readings_explain_is_still_to_be_explained() {
    let [payee, other, payer] = [1, 2, 3].map(|name| Address::new([name; 32]));
    let world = World::new().account(payee, 0, 500).account(other, 0, 500).account(payer, 0, 500);
    let world = world.pay(payer, 0, payee, 10, 1).pay(other, 0, payee, 7, 2);
    // It went to another account, or it was never paid: both at once are two causes.
    let (found, _) = readings(&world, |execution| {
        raise(payee, -10)(execution);
        raise(other, 10)(execution);
        raise(payer, 10)(execution);
    });
    let likely = |finding| (finding, "likely");
    assert_eq!(found[..2], [Finding::WrongAccount, Finding::EffectMissing].map(likely));
    assert!(found.len() > 2, "{found:?}");
}

#[test]
fn a_certain_cause_is_not_one_with_a_likely_one_of_its_name() {
    // A pays B the same twice.
    let world = World::new().account(A, 0, 1000).account(B, 0, 1).account(C, 0, 300);
    let world = world.account(D, 0, 1).pay(A, 0, B, 10, 1).pay(A, 1, B, 10, 2);
    let world = world.pay(C, 0, D, 35, 4).pay(C, 1, D, 7, 5);
    let (found, _) = readings(&world, |execution| {
        raise(B, -10)(execution);
        raise(D, -35)(execution);
    });
    let missing = |sure| (Finding::CreditMissing, sure);
    let mut sure: Vec<_> = found.clone();
    sure.sort_by_key(|(_, sure)| *sure);
    assert_eq!(sure, ["certain", "likely", "likely"].map(missing), "{found:?}");
}

#[test]
fn a_transfer_is_not_undone_in_two_assets() {
    let world = World::new().account(A, 0, 1000).holding(A, GOLD, 500).account(B, 0, 500);
    let world = world.holding(B, GOLD, 50).transfer(A, 0, &[(GOLD, B, 10)], 1);
    let (found, _) = readings(&world, |execution| {
        raise(A, 10)(execution);
        raise_in(B, GOLD, -10)(execution);
    });
    assert!(found.iter().all(|(finding, _)| *finding != Finding::EffectMissing), "{found:?}");
}

#[test]
fn more_explanations_than_are_given_are_not_explained() {
    let accounts: Vec<Address> = (1..=12).map(|name| Address::new([name; 32])).collect();
    let mut world = World::new().account(B, 0, 500);
    for account in &accounts {
        world = world.account(*account, 0, 1000).pay(*account, 0, B, 10, 1);
    }
    // Each of them is explained, most of them by something else.
    let (found, unexplained) = readings(&world, |execution| {
        let by = [1, 10, -1, -10, -11, 11, -1000];
        for (account, by) in accounts.iter().zip(by) {
            raise(*account, by)(execution);
        }
        raise(B, -10)(execution);
        raise(M, 90)(execution);
        raise(DEV, -10)(execution);
        execution.totals.burned = Amount::new(255);
        execution.totals.fees = Amount::new(11);
    });
    assert_eq!((found.len(), unexplained), (8, 4), "{found:?}");
}

#[test]
fn the_same_mistake_in_many_places_is_one_cause() {
    let altered = Altered(|block: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        for listed in &block.transactions {
            raise(listed.body.source, listed.body.fee.as_u64() as i64)(execution);
        }
    });
    let found = diagnosis(&world(), &altered);
    let [Cause { finding: Finding::DebitMissing, alike: 1, .. }] = &found.causes[..] else {
        panic!("{found:#?}")
    };
    assert!(found.to_string().contains("and 1 more like it"), "{found}");
}

#[test]
fn the_two_transactions_that_meet_are_named() {
    let altered = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        raise(B, -10)(execution);
    });
    let found = diagnosis(&world(), &altered);
    let conflict = found.conflict.unwrap();
    assert_eq!((conflict.earlier.index, conflict.later.index), (0, 1));
    assert_eq!(conflict.key, StateKey::Balance(B, NATIVE));
    assert!(found.to_string().contains("run with 2 workers, seed 0"), "{found}");
}

#[test]
fn what_meets_is_what_the_cause_names_and_not_what_touches_the_key_first() {
    let altered = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        raise(D, -35)(execution);
    });
    let world = World::new().account(A, 0, 1000).account(B, 0, 500).account(C, 0, 300);
    let world = world.account(D, 0, 100).pay(A, 0, D, 7, 1).pay(B, 0, D, 10, 3).pay(C, 0, D, 35, 4);
    let found = diagnosis(&world, &altered);
    let conflict = found.conflict.unwrap();
    assert_eq!((conflict.earlier.index, conflict.later.index), (1, 2), "{found}");
    assert!(found.to_string().contains("of transaction #2: its credit is missing"), "{found}");
    assert!(!found.to_string().contains("#0"), "{found}");

    // Whoever executed up to a transaction knows better.
    let mut evidence = evidence(&world, &altered);
    let first = evidence.record.differences[0].transaction.as_mut().unwrap();
    assert_eq!((first.index, first.method), (0, LocateMethod::Touch));
    first.method = LocateMethod::Prefix;
    let found = Diagnosis::of_evidence(&evidence).unwrap();
    assert_eq!(found.first.map(|first| first.index), Some(0), "{found}");
}

#[test]
fn where_it_begins_is_told_if_no_cause_is_known_of_the_first_difference() {
    let world = World::new().account(A, 0, 1000).account(B, 0, 500).account(C, 0, 300);
    let world = world.account(D, 0, 100).pay(A, 0, B, 10, 1);
    let world = world.pay(C, 0, D, 35, 4).pay(C, 1, D, 7, 5);
    let altered = Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
        raise(A, 123_457)(execution);
        raise(D, -35)(execution);
    });
    let found = diagnosis(&world, &altered);
    assert_eq!((found.causes.len(), found.unexplained), (1, 1), "{found}");
    assert_eq!(found.first.unwrap().index, 0, "{found}");
}

#[test]
fn totals_are_explained_by_what_they_count() {
    let world = World::new().account(A, 0, 1000).holding(A, GOLD, 500).account(B, 0, u64::MAX);
    let world = world.burn(A, 0, GOLD, 30, 1).burn(A, 1, NATIVE, 300, 3).pay(A, 2, B, 10, 7);
    type Alter = fn(&mut Execution);
    let cases: [(Alter, Finding, &[usize]); 5] = [
        (|e| e.totals.burned = Amount::new(330), Finding::OtherBurnCounted, &[0]),
        (|e| e.totals.burned = Amount::new(255), Finding::CounterClamped, &[1]),
        (|e| e.totals.fees = Amount::new(11), Finding::TotalCountsUnexecuted, &[2]),
        (|e| e.totals.fees = Amount::new(3), Finding::FeeNotCounted, &[0]),
        (|e| e.totals.miner_reward = Amount::new(100), Finding::TotalWrongShare, &[]),
    ];
    for (alter, finding, transactions) in cases {
        check(&world, alter, finding, transactions, "");
    }
    let found = diagnosis(
        &world,
        &Altered(|_: &ExecutableBlock, _: &PreState, execution: &mut Execution| {
            execution.outcomes.push(Outcome {
                hash: storage_snapshot::TxHash::new([9; 32]),
                status: Status::Executed,
                fee: Amount::ZERO,
            });
        }),
    );
    assert_eq!(found.causes[0].finding, Finding::OutcomeOfNobody, "{found}");
    assert_eq!(Field::Outcome.as_str(), "outcome");
}
