//! What a diagnosis has to say of each fault.
//!
//! More than one finding where two names are right for what the block shows: a transaction that moves
//! nothing but a fee has its debit missing as well as its fee.

use super::Mutant;
use crate::diagnosis::Finding;

impl Mutant {
    /// The findings of which a diagnosis has to name one.
    pub fn causes(&self) -> &'static [Finding] {
        use Finding as F;
        match self.name {
            "fee-not-debited" => &[F::DebitMissing],
            "fee-debited-twice" => &[F::DebitTwice],
            "sender-not-debited" => &[F::DebitMissing],
            "sender-debited-twice" => &[F::DebitTwice],
            "credit-overwrites" => &[F::Overwritten],
            "unloaded-is-zero" => &[F::NotLoaded],
            "last-output-lost" => &[F::CreditMissing],
            "first-output-twice" => &[F::CreditTwice],
            "outputs-swapped" => &[F::OutputsSwapped],
            "wrong-asset" => &[F::WrongAsset],
            "wrong-destination" => &[F::WrongAccount],
            "credit-to-sender-lost" => &[F::CreditMissing],
            "amounts-as-doubles" => &[F::Rounded],
            "overdraft-stops-at-zero" => &[F::StopsAtZero],
            "spending-wraps" => &[F::SpendingWraps],
            // With a single transaction on the balance a stale value is one without its debit.
            "stale-write" => &[F::Stale, F::DebitMissing, F::EffectMissing],
            "writes-swapped" => &[F::ValuesSwapped],

            "reward-not-visible" => &[F::RewardMissing],
            "reward-overwrites" => &[F::Overwritten],
            "reward-twice" => &[F::RewardTwice],
            "dev-reward-lost" => &[F::RewardMissing],
            "reward-shares-swapped" => &[F::SharesSwapped],
            "dev-share-rounded-up" => &[F::ShareRounded],
            "side-block-paid-in-full" => &[F::RewardMultiplied],
            "miner-reward-misreported" => &[F::TotalWrongShare],
            "dev-reward-misreported" => &[F::TotalLeftAtZero],
            "fees-to-dev" => &[F::WrongAccount],
            "fees-credited-early" => &[F::FeeOfUnexecutedCredited],
            "last-fee-not-credited" => &[F::FeeNotCredited],
            "fees-of-failed-counted" => &[F::TotalCountsUnexecuted],
            "burn-does-nothing" => &[F::BurnWithoutEffect],
            "burn-of-other-asset-counted" => &[F::OtherBurnCounted],
            "burn-counter-clamped" => &[F::CounterClamped],
            "burn-paid-to-miner" => &[F::BurnPaid],

            // Nothing received by somebody who is known already is the smallest change of nothing.
            "net-zero-dropped" => &[F::NetZeroDropped, F::NothingReceivedIgnored],
            "untouched-nonce-written" => &[F::WrittenUnchanged],
            "registered-again" => &[F::WrittenUnchanged],
            "registration-dropped" => &[F::RegistrationMissing],
            "first-nonce-dropped" => &[F::FirstNonceMissing],
            "nothing-received-ignored" => &[F::NothingReceivedIgnored],
            "write-lost" => &[F::WriteLost, F::NetZeroDropped],
            "other-assets-not-merged" => &[F::WriteLost, F::NetZeroDropped],
            "zero-deletes" => &[F::ZeroDeleted],
            "stranger-written" => &[F::StrangerWritten],

            "nonce-not-advanced" => &[F::NonceBehind],
            "nonce-advanced-twice" => &[F::NonceAhead],
            "highest-nonce-forgotten" => &[F::NonceOfLast],
            "nonce-gap-refused" => &[F::GapRefused],
            "nonce-out-of-order-refused" => &[F::OutOfOrderRefused],
            "nonce-replay-accepted" => &[F::ReplayAccepted],
            "old-nonce-accepted" => &[F::OldNonceAccepted],
            "nonce-not-given-back" => &[F::NonceNotGivenBack],
            // Where the first one failed and the second has its nonce, both names are right.
            "second-of-sender-refused" => &[F::SecondOfSenderRefused, F::NonceNotGivenBack],
            "executed-mark-ignored" => &[F::ExecutedAgain],

            "failed-rolled-back" => &[F::FailedRolledBack],
            "failed-debits-returned" => &[F::FailedDebitsReturned],
            "failed-credit-published" => &[F::OverflowPublished],
            "failed-goes-on" => &[F::FailedWentOn],
            "overflow-clamped" => &[F::OverflowClamped],
            "failed-fee-charged" => &[F::FeeOfFailedCharged],
            "panic-becomes-failure" => &[F::ReportedFailed],

            "outcomes-shifted-by-panic" => &[F::OutcomesShifted, F::OutcomeMissing],
            "outcomes-shifted-by-skip" => &[F::OutcomesShifted, F::OutcomeMissing],
            "outcomes-by-position" => &[F::OutcomesPermuted],
            "outcome-missing" => &[F::OutcomeMissing],
            "outcome-twice" => &[F::OutcomeTwice],
            "outcome-of-nobody" => &[F::OutcomeOfNobody],
            "outcome-fee-off-by-one" => &[F::OutcomeFeeOff],
            "wrong-skip-reason" => &[F::SkipReasonWrong],
            "wrong-fail-reason" => &[F::FailReasonWrong],
            "skipped-counts-as-executed" => &[F::SkippedReportedExecuted],

            "multisig-not-merged" => &[F::MultisigWriteLost],
            "multisig-delete-lost" => &[F::MultisigDeleteLost],
            "multisig-none-for-everybody" => &[F::MultisigNoneWritten],
            "multisig-participants-sorted" => &[F::MultisigReordered],
            "multisig-threshold-off-by-one" => &[F::MultisigThresholdOff],
            "multisig-first-wins" => &[F::MultisigEarlierWins],
            "multisig-tombstone-wins" => &[F::MultisigEarlierWins],
            "multisig-merged-by-hash" => &[F::MultisigEarlierWins],

            // Which of them it is depends on who is last, and on whether a lost debit is one of a
            // transaction that failed.
            "lost-update" => &[
                F::CreditMissing,
                F::DebitMissing,
                F::EffectMissing,
                F::UpdateLost,
                F::FailedDebitsReturned,
            ],
            "planner-forgets-destinations" => &[F::CreditMissing],
            "planner-forgets-miner" => &[F::FeeNotCredited],
            "loser-overwrites" => &[F::DebitMissing],
            "batch-in-reverse" => &[F::OtherOrder],
            "remainder-forgotten" => &[F::LeftOut],
            "third-worker-lost" => &[F::CreditMissing],
            "seed-decides" => &[F::CreditMissing],
            "rare-race" => &[F::CreditMissing],
            "burn-counter-raced" => &[F::BurnNotCounted],
            "fee-counter-raced" => &[F::FeeNotCredited],

            "panics-on-transaction" | "panics-on-burn" | "worker-panics" => &[F::Crashes],
            "error-over-threshold" | "fails-after-re-order" | "memory-hog" => &[F::Errors],
            "hangs-over-threshold" | "hangs-on-second-spend" => &[F::Hangs],
            "nonsense-answer" => &[F::Nonsense],
            _ => &[],
        }
    }

    /// How many transactions the smallest block has at most that shows the fault: those that were
    /// shipped show in a block of two, but for results that shift by one, which take three. Where the
    /// order of hashes decides, one more may be needed for its place.
    pub fn transactions_max(&self) -> usize {
        match (self.name, self.class) {
            ("outcomes-by-position", _) => 4,
            (_, Some("T14") | None) => 3,
            (_, Some(_)) => 2,
        }
    }
}
