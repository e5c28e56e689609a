//! A violation: a rule that any right execution keeps, and that one does not.

use std::fmt;

use storage_snapshot::{Address, Amount, AssetId, Nonce, TxHash};

use crate::Field;

/// A rule that does not hold, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A transaction of the block has no outcome.
    OutcomeMissing(TxHash),
    /// An outcome belongs to no transaction of the block.
    OutcomeUnexpected(TxHash),
    /// A total is not what the transactions and the block add up to.
    Total {
        /// Which total.
        field: Field,
        /// What they add up to.
        expected: Amount,
        /// What the execution says.
        found: Amount,
    },
    /// A nonce ended below its value before the block.
    NonceWentBack {
        /// Whose.
        account: Address,
        /// The value before the block.
        before: Option<Nonce>,
        /// The value after it.
        after: Option<Nonce>,
    },
    /// An account sent an executed transaction, and its nonce did not rise.
    NonceNotRaised {
        /// Whose.
        account: Address,
        /// Its first executed transaction.
        transaction: TxHash,
    },
    /// A multisig configuration was written that no transaction changes.
    MultisigNotAllowed(Address),
    /// The balances of an asset changed by another sum than was minted and burned.
    Conservation {
        /// The asset.
        asset: AssetId,
        /// By how much they had to change, modulo 2^64.
        expected: Amount,
        /// By how much they did, modulo 2^64.
        found: Amount,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutcomeMissing(hash) => write!(f, "transaction {hash} has no outcome"),
            Self::OutcomeUnexpected(hash) => {
                write!(f, "an outcome names {hash}, which the block does not have, or not again")
            }
            Self::Total { field, expected, found } => {
                write!(f, "{field} is {found}, and the block adds up to {expected}")
            }
            Self::NonceWentBack { account, before, after } => write!(
                f,
                "the nonce of {account} went back from {} to {}",
                NonceOrNone(*before),
                NonceOrNone(*after)
            ),
            Self::NonceNotRaised { account, transaction } => write!(
                f,
                "the nonce of {account} did not rise, and its transaction {transaction} was executed"
            ),
            Self::MultisigNotAllowed(account) => {
                write!(f, "the multisig of {account} was written, and no transaction changes it")
            }
            Self::Conservation { asset, expected, found } => write!(
                f,
                "the balances of asset {asset} changed by {} in sum, and had to change by {}",
                signed(*found),
                signed(*expected)
            ),
        }
    }
}

struct NonceOrNone(Option<Nonce>);

impl fmt::Display for NonceOrNone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nonce) => nonce.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// A change modulo 2^64, as the smallest change in either direction that it can be.
const fn signed(change: Amount) -> i64 {
    change.as_u64() as i64
}
