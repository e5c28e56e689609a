//! What is compared, and what is not: the frame of every claim.
//!
//! The first list is generated from the types that are compared, so it cannot fall behind them. The
//! second is written down, because nothing in the types knows of what is left out.

use comparator::Field;
use serde::Serialize;
use storage_snapshot::{Address, AssetId, StateKey};

/// One thing that is compared in every block with a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// The field that a difference in it is reported under.
    pub field: Field,
    /// What it belongs to.
    pub of: Scope,
}

/// What a compared thing belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A key of the state.
    State,
    /// One transaction.
    Transaction,
    /// The block as a whole.
    Block,
}

/// Everything that is compared, in the order of the fields.
pub fn compared() -> Vec<Compared> {
    Field::ALL
        .iter()
        .filter_map(|field| scope(*field).map(|of| Compared { field: *field, of }))
        .collect()
}

/// One key of each kind that the state has.
///
/// Each names the next one in the order of the keys. A kind that is new does not compile here until
/// it has its place, and then every list and test that walks over the kinds has it.
pub fn key_kinds() -> impl Iterator<Item = StateKey> {
    let account = Address::new([0; 32]);
    std::iter::successors(Some(StateKey::Nonce(account)), |key| match *key {
        StateKey::Nonce(account) => Some(StateKey::Balance(account, AssetId::NATIVE)),
        StateKey::Balance(account, _) => Some(StateKey::Multisig(account)),
        StateKey::Multisig(account) => Some(StateKey::Registered(account)),
        StateKey::Registered(_) => None,
    })
}

/// What a field is about; `None` for those that say how a candidate failed to answer.
const fn scope(field: Field) -> Option<Scope> {
    match field {
        Field::Nonce | Field::Balance | Field::Multisig | Field::Registration | Field::Version => {
            Some(Scope::State)
        }
        Field::Outcome => Some(Scope::Transaction),
        Field::Fees | Field::Burned | Field::Emitted | Field::MinerReward | Field::DevReward => {
            Some(Scope::Block)
        }
        Field::Schedule | Field::Protocol | Field::Error | Field::Crashed | Field::Hang => None,
    }
}

macro_rules! not_compared {
    ($($name:ident = $word:literal, $means:literal;)*) => {
        /// Something that a block may change, or that its validity hangs on, and that is not compared.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum NotCompared {
            $(#[doc = $means] $name,)*
        }

        impl NotCompared {
            /// All of it, in the order in which it is shown.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it in files and answers.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// What it is, in words.
            pub const fn means(self) -> &'static str {
                match self {
                    $(Self::$name => $means,)*
                }
            }
        }
    };
}

not_compared! {
    VersionMetadata = "version_metadata",
        "what the chain stores beside a value: the pointer to the version before, the type, the output balance";
    RegistrationTopoheight = "registration_topoheight",
        "where an account was registered; of the node, only at the end of a recording";
    Contracts = "contracts",
        "modules, storage, balances and outputs of contracts";
    Energy = "energy", "frozen amounts and energy";
    AiMining = "ai_mining", "the state of AI mining";
    Assets = "assets", "which assets exist, and their data";
    AssetSupply = "asset_supply",
        "the supply of assets other than the native one";
    OpaqueBlocks = "opaque_blocks",
        "blocks that hold a transaction not executed here, its fees and effects included: their state is taken from the node";
    Signatures = "signatures",
        "whether the source and the participants of a multisig signed";
    Acceptance = "acceptance",
        "whether the block should have been accepted: proof of work, order, sizes, fee floors, funds";
    Mempool = "mempool", "what becomes of transactions outside of blocks";
}

impl Serialize for NotCompared {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
