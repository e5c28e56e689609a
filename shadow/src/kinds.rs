//! The kinds of transactions, as they are counted.
//!
//! An agreement on ten thousand transfers says nothing about a multisig, so what was exercised is
//! counted by kind.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chain::{Transaction, TransactionData};

/// What a transaction is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// Amounts move to other accounts.
    Transfer,
    /// An amount ceases to exist.
    Burn,
    /// A multisig configuration is set, replaced or deleted.
    Multisig,
    /// Anything that is not executed here, transfers that pay with energy among it.
    Opaque,
}

impl TransactionKind {
    /// Every kind, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Transfer, Self::Burn, Self::Multisig, Self::Opaque];

    /// The kinds that are executed here, and so can be exercised.
    pub const EXECUTED: [Self; 3] = [Self::Transfer, Self::Burn, Self::Multisig];

    /// The kind of a transaction.
    pub const fn of(transaction: &Transaction) -> Self {
        if transaction.opaque_kind().is_some() {
            return Self::Opaque;
        }
        match transaction.data {
            TransactionData::Transfers(_) => Self::Transfer,
            TransactionData::Burn { .. } => Self::Burn,
            TransactionData::Multisig(_) => Self::Multisig,
            TransactionData::Opaque(_) => Self::Opaque,
        }
    }

    /// The word for it in files and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transfer => "transfer",
            Self::Burn => "burn",
            Self::Multisig => "multisig",
            Self::Opaque => "opaque",
        }
    }
}

impl fmt::Display for TransactionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many transactions of each kind a block has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KindCounts {
    /// Transfers.
    #[serde(skip_serializing_if = "KindCount::is_empty")]
    pub transfer: KindCount,
    /// Burns.
    #[serde(skip_serializing_if = "KindCount::is_empty")]
    pub burn: KindCount,
    /// Multisig configurations.
    #[serde(skip_serializing_if = "KindCount::is_empty")]
    pub multisig: KindCount,
    /// What is not executed here.
    #[serde(skip_serializing_if = "KindCount::is_empty")]
    pub opaque: KindCount,
}

/// The transactions of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// All of them.
    pub total: u64,
    /// Those that took effect in the control.
    pub executed: u64,
}

impl KindCounts {
    /// The counts of one kind.
    pub const fn of(&self, kind: TransactionKind) -> KindCount {
        match kind {
            TransactionKind::Transfer => self.transfer,
            TransactionKind::Burn => self.burn,
            TransactionKind::Multisig => self.multisig,
            TransactionKind::Opaque => self.opaque,
        }
    }

    /// Counts one more.
    pub const fn count(&mut self, kind: TransactionKind, executed: bool) {
        let counts = match kind {
            TransactionKind::Transfer => &mut self.transfer,
            TransactionKind::Burn => &mut self.burn,
            TransactionKind::Multisig => &mut self.multisig,
            TransactionKind::Opaque => &mut self.opaque,
        };
        counts.total += 1;
        counts.executed += executed as u64;
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl KindCount {
    const fn is_empty(&self) -> bool {
        self.total == 0
    }
}
