//! A cause: what an explanation says, of whom, and how sure it is.

use std::{collections::BTreeSet, fmt};

use storage_snapshot::{Amount, StateKey, TxHash};

macro_rules! findings {
    ($($name:ident = $word:literal, $means:literal;)*) => {
        /// What went wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Finding {
            $(#[doc = $means] $name,)*
        }

        impl Finding {
            /// Every finding.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it in files and answers; it never changes.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What it means, in words.
            pub const fn means(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)*
                }
            }
        }
    };
}

findings! {
    DebitMissing = "debit_missing", "What a transaction takes from an account was not taken.";
    DebitTwice = "debit_twice", "What a transaction takes from an account was taken twice.";
    CreditMissing = "credit_missing", "What a transaction gives to an account was not given.";
    CreditTwice = "credit_twice", "What a transaction gives to an account was given twice.";
    EffectMissing = "effect_missing", "What a transaction takes and gives is not there.";
    EffectTwice = "effect_twice", "What a transaction takes and gives of one balance is there twice.";
    Overwritten = "overwritten", "What an account had before the block was overwritten by a credit.";
    NotLoaded = "not_loaded", "What an account had before the block was taken to be nothing.";
    UpdateLost = "update_lost", "Of several transactions that alter a balance only one did.";
    Stale = "stale", "A balance is what it was before the block, or in the middle of it.";
    ValuesSwapped = "values_swapped", "Two keys have each other's value.";
    OutputsSwapped = "outputs_swapped", "Two outputs of a transaction have each other's amount.";
    WrongAsset = "wrong_asset", "An amount was credited in another asset.";
    WrongAccount = "wrong_account", "An amount was credited to another account.";
    Rounded = "rounded", "An amount passed through a floating-point number.";
    StopsAtZero = "stops_at_zero", "An overdrawn balance stopped at zero.";
    SpendingWraps = "spending_wraps", "A sum of debits wrapped around 2^64.";
    OverflowPublished = "overflow_published", "A credit that overflows left 2^64-1.";
    OverflowClamped = "overflow_clamped", "A transaction whose credit overflows was executed.";
    FailedDebitsReturned = "failed_debits_returned", "What a failed transaction spent was given back.";
    FailedWentOn = "failed_went_on", "A failed transaction credited what comes after its failure.";
    FailedRolledBack = "failed_rolled_back", "What a failed transaction leaves behind was taken back.";
    FeeOfFailedCharged = "fee_of_failed_charged", "A transaction that was not executed was charged.";
    RewardMissing = "reward_missing", "A share of the reward was not credited.";
    RewardTwice = "reward_twice", "A share of the reward was credited twice.";
    RewardMultiplied = "reward_multiplied", "A multiple of the reward was paid.";
    SharesSwapped = "shares_swapped", "Miner and dev key were paid each other's share.";
    ShareRounded = "share_rounded", "The reward was divided with another rounding.";
    FeeNotCredited = "fee_not_credited", "A fee did not reach the miner.";
    FeeCreditedTwice = "fee_credited_twice", "A fee reached the miner twice.";
    FeeOfUnexecutedCredited = "fee_of_unexecuted_credited", "The miner got the fee of a transaction that was not executed.";
    FeeNotCounted = "fee_not_counted", "The total of fees lacks some.";
    TotalCountsUnexecuted = "total_counts_unexecuted", "A total counts a transaction that was not executed.";
    TotalWrongShare = "total_wrong_share", "A total of the reward is made of the wrong shares.";
    TotalLeftAtZero = "total_left_at_zero", "A total was never set.";
    CounterClamped = "counter_clamped", "A counter stopped at the largest number of a smaller type.";
    BurnWithoutEffect = "burn_without_effect", "A burn was executed and burned nothing.";
    BurnPaid = "burn_paid", "What was burned was credited to somebody.";
    BurnNotCounted = "burn_not_counted", "The counter of burned units lacks a burn.";
    OtherBurnCounted = "other_burn_counted", "The counter of burned units counts another asset.";
    WriteLost = "write_lost", "A key that the block changes was not written.";
    NetZeroDropped = "net_zero_dropped", "A touched key that ends up as it was got no version.";
    WrittenUnchanged = "written_unchanged", "A key that nothing touches was written with its own value.";
    UntouchedWritten = "untouched_written", "A key that nothing touches was written.";
    StrangerWritten = "stranger_written", "A key of an account that the block does not name was written.";
    ZeroDeleted = "zero_deleted", "A balance of zero was written as a deletion.";
    RegistrationMissing = "registration_missing", "An account that receives for the first time was not registered.";
    FirstNonceMissing = "first_nonce_missing", "An account that receives for the first time got no nonce.";
    NothingReceivedIgnored = "nothing_received_ignored", "A payment of nothing was ignored.";
    NonceBehind = "nonce_behind", "A nonce was not advanced past the last one used.";
    NonceAhead = "nonce_ahead", "A nonce was advanced once too often.";
    NonceOfLast = "nonce_of_last", "A nonce follows the transaction that came last instead of the highest.";
    MultisigWriteLost = "multisig_write_lost", "A configuration that was set is not there.";
    MultisigDeleteLost = "multisig_delete_lost", "The deletion of a configuration is not there.";
    MultisigNoneWritten = "multisig_none_written", "No configuration was written for an account that sets none.";
    MultisigReordered = "multisig_reordered", "The participants of a configuration are in another order.";
    MultisigThresholdOff = "multisig_threshold_off", "A configuration asks for another number of signatures.";
    MultisigEarlierWins = "multisig_earlier_wins", "Of several configurations it is not the last that stayed.";
    GapRefused = "gap_refused", "A nonce that leaves a gap was refused.";
    OutOfOrderRefused = "out_of_order_refused", "An unused nonce below the expected one was refused.";
    SecondOfSenderRefused = "second_of_sender_refused", "The next nonce of a sender was refused in the same block.";
    NonceNotGivenBack = "nonce_not_given_back", "A failed transaction kept its nonce.";
    ReplayAccepted = "replay_accepted", "A nonce that was used in the block was accepted again.";
    OldNonceAccepted = "old_nonce_accepted", "A nonce that was used before the block was accepted.";
    ExecutedAgain = "executed_again", "A transaction that another block executed was tried again.";
    ReportedFailed = "reported_failed", "A transaction that has to succeed is said to have failed.";
    SkippedReportedExecuted = "skipped_reported_executed", "A skipped transaction is said to have been executed.";
    SkipReasonWrong = "skip_reason_wrong", "A transaction was skipped for another reason.";
    FailReasonWrong = "fail_reason_wrong", "A transaction failed for another reason.";
    OutcomeFeeOff = "outcome_fee_off", "An outcome shows another fee.";
    OutcomesShifted = "outcomes_shifted", "Outcomes have moved up by one.";
    OutcomesPermuted = "outcomes_permuted", "Outcomes belong to other transactions.";
    OutcomeMissing = "outcome_missing", "A transaction has no outcome, and its effects are there.";
    OutcomeTwice = "outcome_twice", "A transaction has two outcomes.";
    OutcomeOfNobody = "outcome_of_nobody", "An outcome belongs to no transaction of the block.";
    LeftOut = "left_out", "A transaction was never executed.";
    OtherOrder = "other_order", "The transactions were executed in another order.";
    Crashes = "crashes", "The candidate crashes.";
    Errors = "errors", "The candidate answers with an error.";
    Hangs = "hangs", "The candidate does not come back.";
    Nonsense = "nonsense", "The candidate's answer makes no sense.";
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A transaction of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Its position, from 0.
    pub index: usize,
    /// Its hash.
    pub hash: TxHash,
}

/// How sure an explanation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// Its numbers fit exactly, and no other explanation fits as many of the differences.
    Certain,
    /// Its numbers fit exactly, and another one fits as many of the differences.
    Likely,
}

impl Confidence {
    /// The word for it in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
        }
    }
}

/// An explanation that fits.
#[derive(Clone, Debug)]
pub struct Cause {
    /// What went wrong.
    pub finding: Finding,
    /// Where it shows, for state.
    pub key: Option<StateKey>,
    /// The amount that it is about.
    pub amount: Option<Amount>,
    /// The transactions at fault, the one that says most first; none where it is the block's own.
    pub transactions: Vec<Named>,
    /// How sure it is.
    pub confidence: Confidence,
    /// How many more differences have an explanation of this kind, with the same other readings.
    pub alike: usize,
    pub(super) sentence: String,
}

/// In one sentence, without a line break at its end.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)?;
        if self.alike > 0 {
            write!(f, " (and {} more like it)", self.alike)?;
        }
        match self.confidence {
            Confidence::Certain => Ok(()),
            Confidence::Likely => f.write_str(" (likely)"),
        }
    }
}

/// An explanation on trial.
#[derive(Clone, Debug)]
pub(super) struct Hypothesis {
    pub(super) cause: Cause,
    /// The differences that it predicts, by their index.
    pub(super) explains: BTreeSet<usize>,
    /// How telling it is: what fits by chance more easily is less, and given later.
    pub(super) rank: u8,
}

/// Those that fit one difference.
#[derive(Debug, Default)]
pub(super) struct Hypotheses(pub(super) Vec<Hypothesis>);

/// Numbers that could hardly be these for another reason.
pub(super) const STRIKING: u8 = 3;
/// Numbers that one step of the block makes up.
pub(super) const EXACT: u8 = 2;
/// Numbers that several steps together make up.
pub(super) const SUMMED: u8 = 1;
/// No numbers: said where nothing else fits.
pub(super) const NUMBERLESS: u8 = 0;

impl Hypotheses {
    pub(super) fn add(
        &mut self,
        rank: u8,
        explains: impl IntoIterator<Item = usize>,
        cause: Cause,
    ) {
        self.0.push(Hypothesis { cause, explains: explains.into_iter().collect(), rank });
    }
}

impl Cause {
    pub(super) fn new(finding: Finding, sentence: String) -> Self {
        Self {
            finding,
            key: None,
            amount: None,
            transactions: Vec::new(),
            confidence: Confidence::Likely,
            alike: 0,
            sentence,
        }
    }

    /// Whether both blame the same transactions for the same thing.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        (self.finding, &self.transactions) == (other.finding, &other.transactions)
    }

    pub(super) fn at(self, key: StateKey) -> Self {
        Self { key: Some(key), ..self }
    }

    pub(super) fn of(self, amount: Amount) -> Self {
        Self { amount: Some(amount), ..self }
    }

    pub(super) fn by(self, transactions: impl IntoIterator<Item = Named>) -> Self {
        Self { transactions: transactions.into_iter().collect(), ..self }
    }
}
